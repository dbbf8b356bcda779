//! A part of the events of a sink: what the rows of several tables are of.

/// A part of the events of a sink, which is carried for itself: all of them, where no order is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The sink's name.
    pub sink: String,
    /// Which of its parts.
    pub number: i16,
}
