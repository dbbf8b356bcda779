//! What is wrong with the settings, all of it at once.

use std::ffi::OsStr;
use std::fmt;

use super::kinds::Unfit;

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    setting: String,
    problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Mistake {
    /// The setting, and what is wrong with it.
    pub fn what(&self) -> String {
        format!("{}: {}", self.setting, self.problem)
    }
}

/// The mistakes found so far. A reader notes each and goes on with `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl IntoIterator for Mistakes {
    type Item = Mistake;
    type IntoIter = std::vec::IntoIter<Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Mistakes {
    /// Notes a mistake.
    pub fn note<T>(
        &mut self,
        setting: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Option<T> {
        let mistake = Mistake { setting: setting.into(), problem: problem.to_string(), remedy: remedy.to_string() };
        // Two readers may read the same setting.
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
        None
    }

    /// Takes a value that was read, or notes why it could not be.
    pub fn take<T, E: fmt::Display>(
        &mut self,
        setting: impl Into<String>,
        read: Result<T, E>,
        remedy: impl fmt::Display,
    ) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => self.note(setting, problem, remedy),
        }
    }

    /// Notes that a value does not fit.
    pub(crate) fn unfit<T>(&mut self, setting: String, text: &OsStr, unfit: &Unfit) -> Option<T> {
        let problem = match unfit.is_shown {
            true => format!("{text:?} {}", unfit.problem),
            false => unfit.problem.clone(),
        };
        self.note(setting, problem, &unfit.remedy)
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
