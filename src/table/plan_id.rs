//! The number of a plan: what the rows of several tables are of.

use std::fmt;
use std::str::FromStr;

/// The number of a plan to replay dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(pub i64);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not the number of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the number of a plan")]
pub struct NoPlanId;

impl FromStr for PlanId {
    type Err = NoPlanId;

    fn from_str(text: &str) -> Result<Self, NoPlanId> {
        text.parse().ok().filter(|number| *number > 0).map(Self).ok_or(NoPlanId)
    }
}
