//! What becomes of a letter that is replayed.

use std::fmt;

/// What becomes of a letter, or is foreseen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Its login is loaded.
    Replayed,
    /// Another message had brought its login: it is resolved, and nothing is loaded.
    Absorbed,
    /// It stays open.
    StaysOpen(Obstacle),
    /// It was resolved by somebody else.
    NoLongerOpen,
}

/// Why a letter stays open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its body is not a login still; the code of the rejection.
    Rejected(String),
    /// Its body cannot be opened.
    Sealed(String),
    /// Its body cannot be edited as it was asked for.
    Unedited(String),
    /// The database refuses its row; the SQLSTATE.
    Refused(String),
    /// `processed_messages` does not record it as dead-lettered.
    Unclaimed,
    /// Another login was loaded under its key.
    IdentityTaken,
    /// No loader has told the database by what keys the logins of its queue are known.
    UnknownQueue,
    /// Its message is older than what the tables remember.
    OlderThanMemory,
}

impl Fate {
    /// The word in the column.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Absorbed => "absorbed",
            Self::NoLongerOpen => "no_longer_open",
            Self::StaysOpen(Obstacle::Rejected(_)) => "rejected",
            Self::StaysOpen(Obstacle::Sealed(_)) => "sealed",
            Self::StaysOpen(Obstacle::Unedited(_)) => "unedited",
            Self::StaysOpen(Obstacle::Refused(_)) => "refused",
            Self::StaysOpen(Obstacle::Unclaimed) => "unclaimed",
            Self::StaysOpen(Obstacle::IdentityTaken) => "identity_taken",
            Self::StaysOpen(Obstacle::UnknownQueue) => "unknown_queue",
            Self::StaysOpen(Obstacle::OlderThanMemory) => "older_than_memory",
        }
    }

    /// What stands beside the word.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::StaysOpen(
                Obstacle::Rejected(detail)
                | Obstacle::Sealed(detail)
                | Obstacle::Unedited(detail)
                | Obstacle::Refused(detail),
            ) => Some(detail),
            Self::Replayed
            | Self::Absorbed
            | Self::NoLongerOpen
            | Self::StaysOpen(
                Obstacle::Unclaimed | Obstacle::IdentityTaken | Obstacle::UnknownQueue | Obstacle::OlderThanMemory,
            ) => None,
        }
    }

    /// What a word and what stands beside it mean; none where the word is unknown.
    pub fn read(word: &str, detail: Option<&str>) -> Option<Self> {
        let detail = || detail.unwrap_or_default().to_owned();
        Some(match word {
            "replayed" => Self::Replayed,
            "absorbed" => Self::Absorbed,
            "no_longer_open" => Self::NoLongerOpen,
            "rejected" => Self::StaysOpen(Obstacle::Rejected(detail())),
            "sealed" => Self::StaysOpen(Obstacle::Sealed(detail())),
            "unedited" => Self::StaysOpen(Obstacle::Unedited(detail())),
            "refused" => Self::StaysOpen(Obstacle::Refused(detail())),
            "unclaimed" => Self::StaysOpen(Obstacle::Unclaimed),
            "identity_taken" => Self::StaysOpen(Obstacle::IdentityTaken),
            "unknown_queue" => Self::StaysOpen(Obstacle::UnknownQueue),
            "older_than_memory" => Self::StaysOpen(Obstacle::OlderThanMemory),
            _ => return None,
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(code) => f.write_str(code),
            Self::Sealed(why) => write!(f, "its body does not open: {why}"),
            Self::Unedited(why) => write!(f, "its body cannot be edited: {why}"),
            Self::Refused(sqlstate) => write!(f, "the database refuses its row with SQLSTATE {sqlstate}"),
            Self::Unclaimed => {
                f.write_str("processed_messages does not record it as dead-lettered (see turnstile audit)")
            }
            Self::IdentityTaken => f.write_str("identity_taken: another login was loaded under its key"),
            Self::UnknownQueue => f.write_str("its queue is not recorded in queues: start a loader of it once"),
            Self::OlderThanMemory => {
                f.write_str("older_than_memory: it may have been loaded before; --force loads it all the same")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_read_as_it_was_stored() {
        let why = || "why".to_owned();
        let obstacles = [
            Obstacle::Rejected(why()),
            Obstacle::Sealed(why()),
            Obstacle::Unedited(why()),
            Obstacle::Refused(why()),
            Obstacle::Unclaimed,
            Obstacle::IdentityTaken,
            Obstacle::UnknownQueue,
            Obstacle::OlderThanMemory,
        ];
        let fates =
            obstacles.map(Fate::StaysOpen).into_iter().chain([Fate::Replayed, Fate::Absorbed, Fate::NoLongerOpen]);
        for fate in fates {
            assert_eq!(Fate::read(fate.word(), fate.detail()), Some(fate));
        }
        assert_eq!(Fate::read("soon", None), None);
    }
}
