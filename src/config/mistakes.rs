//! What is wrong with the settings, all of it at once.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::values;

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    setting: &'static str,
    problem: String,
    way_out: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.setting, self.problem, self.way_out)
    }
}

/// The mistakes found so far. A reader notes each and goes on with `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes a mistake.
    pub fn note<T>(
        &mut self,
        setting: &'static str,
        problem: impl fmt::Display,
        way_out: impl fmt::Display,
    ) -> Option<T> {
        self.0.push(Mistake { setting, problem: problem.to_string(), way_out: way_out.to_string() });
        None
    }

    /// Takes a value that was read, or notes why it could not be.
    pub fn take<T, E: fmt::Display>(
        &mut self,
        setting: &'static str,
        read: Result<T, E>,
        way_out: impl fmt::Display,
    ) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => self.note(setting, problem, way_out),
        }
    }

    /// Reads a whole number within limits.
    pub fn whole(&mut self, setting: &'static str, text: &str, limits: RangeInclusive<usize>) -> Option<usize> {
        let way_out = format!("give a whole number from {} to {}", limits.start(), limits.end());
        self.take(setting, values::whole(text, limits), way_out)
    }

    /// Reads a length of time within limits.
    pub fn duration(
        &mut self,
        setting: &'static str,
        text: &str,
        limits: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let (shortest, longest) = (values::duration_text(*limits.start()), values::duration_text(*limits.end()));
        let way_out = format!("give a time with its unit (ms, s, m, h, d) from {shortest} to {longest}");
        self.take(setting, values::duration(text, limits), way_out)
    }

    /// Reads a number of bytes within limits.
    pub fn bytes(&mut self, setting: &'static str, text: &str, limits: RangeInclusive<usize>) -> Option<usize> {
        let (least, most) = (values::bytes_text(*limits.start()), values::bytes_text(*limits.end()));
        let way_out = format!("give a size with its unit (B, KiB, MiB, GiB) from {least} to {most}");
        self.take(setting, values::bytes(text, limits), way_out)
    }

    /// The value, if nothing at all was wrong.
    ///
    /// # Errors
    ///
    /// All the mistakes.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self),
        }
    }
}
