//! What was measured, round by round, and the table of it.

use std::fmt::Write as _;

/// A figure's name, unit and goal.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// The part of the table that it belongs to.
    pub(crate) part: &'static str,
    /// What it says; `name_of` may say more.
    pub(crate) unit: Unit,
    /// What it should be.
    pub(crate) goal: Goal,
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Microseconds of CPU a message.
    Micros,
    /// Messages a second.
    Rate,
    /// Milliseconds.
    Millis,
    /// Bytes a message.
    Bytes,
    /// Mebibytes.
    MiB,
    /// One figure as a multiple of another one of the same round.
    Times,
    /// A number of things.
    Count,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// There is none.
    None,
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// All figures, in the order in which they were first noted, each with a value a round.
#[derive(Default)]
pub(crate) struct Figures(Vec<(String, Figure, Vec<f64>)>);

impl Figures {
    /// Notes what one round came to.
    pub(crate) fn note(&mut self, figure: Figure, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, known_figure, _)| *known == name && known_figure.part == figure.part) {
            Some((_, _, values)) => values.push(value),
            None => self.0.push((name, figure, vec![value])),
        }
    }

    /// Markdown: a line a figure, its median, its least and largest value, its goal and whether the median keeps it.
    pub(crate) fn table(&self) -> String {
        let mut table =
            String::from("| part | figure | median | least – most | goal | |\n|---|---|---:|---:|---:|---|\n");
        let mut part = "";
        for (name, figure, values) in &self.0 {
            let mut values = values.clone();
            values.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (values.first(), values.last()) else { continue };
            let median = values.get(values.len() / 2).unwrap_or(least);
            let unit = figure.unit;
            let heading = if std::mem::replace(&mut part, figure.part) == figure.part { "" } else { figure.part };
            let (goal, verdict) = match figure.goal {
                Goal::None => (String::new(), ""),
                Goal::AtMost(limit) => (format!("≤ {}", written(limit, unit)), kept(*median <= limit)),
                Goal::AtLeast(limit) => (format!("≥ {}", written(limit, unit)), kept(*median >= limit)),
            };
            let (median, least, most) = (written(*median, unit), written(*least, unit), written(*most, unit));
            writeln!(table, "| {heading} | {name} | {median} | {least} – {most} | {goal} | {verdict} |")
                .unwrap_or_default(); // A String takes everything.
        }
        table
    }
}

fn kept(is: bool) -> &'static str {
    if is { "kept" } else { "**missed**" }
}

fn written(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Micros => format!("{value:.1} µs"),
        Unit::Rate => format!("{value:.0}/s"),
        Unit::Millis => format!("{value:.1} ms"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::MiB => format!("{value:.1} MiB"),
        Unit::Times => format!("{value:.2} ×"),
        Unit::Count => format!("{value:.0}"),
    }
}
