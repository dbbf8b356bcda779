//! What was sent, kept by the demo itself, and the comparison of it with the tables.

use std::collections::HashMap;

use super::logins::MadeUp;
use crate::message::MessageHash;

/// How many messages' clear values are looked for afterwards, of each kind.
const SECRETS_KEPT: usize = 5;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A login, which must become a row of `user_logins`.
    Login,
    /// No login: it must become a dead letter.
    Malformed,
}

/// Where a message can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `user_logins`
    Logins,
    /// `dead_letters`
    DeadLetters,
}

/// Every message that the queue took, by its hash, and where it was found: some 80 bytes a message.
#[derive(Default)]
pub(super) struct Journal {
    sent: HashMap<MessageHash, Fate>,
    count: Sent,
    unknown: u64,
    secrets: Vec<String>,
}

struct Fate {
    kind: Kind,
    rows: u16,
    letters: u16,
}

/// How many messages were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Logins.
    pub logins: u64,
    /// Of these, logins that repeat an earlier one word for word: each is a login of its own.
    pub repeats: u64,
    /// Messages that are no logins.
    pub malformed: u64,
}

impl Sent {
    /// All of them.
    pub fn messages(&self) -> u64 {
        self.logins + self.malformed
    }
}

/// How the tables differ from what was sent: the promise holds where all counts are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that are nowhere.
    pub lost: u64,
    /// Messages that are in the tables more than once.
    pub doubled: u64,
    /// Malformed messages that were loaded.
    pub malformed_loaded: u64,
    /// Logins that were dead-lettered.
    pub logins_dead_lettered: u64,
    /// Rows and dead letters of messages that nobody sent.
    pub unknown: u64,
}

impl Verdict {
    /// Whether every message is in the tables once and in its right place, and nothing else is.
    pub fn holds(&self) -> bool {
        *self == Self::default()
    }

    /// Messages that ended in the wrong place.
    pub fn misrouted(&self) -> u64 {
        self.malformed_loaded + self.logins_dead_lettered
    }
}

impl Journal {
    /// Notes a message that the queue took.
    pub(super) fn note(&mut self, hash: MessageHash, message: MadeUp) {
        let of_its_kind = match message.kind {
            Kind::Login => &mut self.count.logins,
            Kind::Malformed => &mut self.count.malformed,
        };
        *of_its_kind += 1;
        if *of_its_kind <= SECRETS_KEPT as u64 {
            self.secrets.extend(message.secrets);
        }
        self.count.repeats += u64::from(message.repeats);
        self.sent.insert(hash, Fate { kind: message.kind, rows: 0, letters: 0 });
    }

    /// Notes that a message was found so many times in a table.
    pub(super) fn found(&mut self, hash: MessageHash, place: Place, times: u64) {
        let Some(fate) = self.sent.get_mut(&hash) else {
            self.unknown += times;
            return;
        };
        let found = match place {
            Place::Logins => &mut fate.rows,
            Place::DeadLetters => &mut fate.letters,
        };
        *found = found.saturating_add(u16::try_from(times).unwrap_or(u16::MAX));
    }

    /// What comes out once both tables have been looked through.
    pub(super) fn verdict(&self) -> Verdict {
        let mut verdict = Verdict { unknown: self.unknown, ..Verdict::default() };
        for fate in self.sent.values() {
            match (fate.kind, fate.rows, fate.letters) {
                (Kind::Login, 1, 0) | (Kind::Malformed, 0, 1) => {}
                (Kind::Malformed, 1, 0) => verdict.malformed_loaded += 1,
                (Kind::Login, 0, 1) => verdict.logins_dead_lettered += 1,
                (Kind::Login | Kind::Malformed, 0, 0) => verdict.lost += 1,
                (Kind::Login | Kind::Malformed, _, _) => verdict.doubled += 1,
            }
        }
        verdict
    }

    /// How many messages were noted.
    pub(super) fn count(&self) -> Sent {
        self.count
    }

    /// Some clear values that were sent, of logins and of malformed messages.
    pub(super) fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> MessageHash {
        MessageHash::from_bytes([number; 32])
    }

    /// Messages 0 to 8 are logins, 9 is malformed; `found` is what stands in the tables.
    fn verdict_of(found: impl IntoIterator<Item = (u8, Place, u64)>) -> Verdict {
        let mut journal = Journal::default();
        for number in 0..10 {
            let kind = if number == 9 { Kind::Malformed } else { Kind::Login };
            let secrets = ["203.0.113.9".to_owned(), "1-2-3".to_owned()];
            journal.note(hash(number), MadeUp { body: String::new(), kind, repeats: false, secrets });
        }
        found.into_iter().for_each(|(number, place, times)| journal.found(hash(number), place, times));
        journal.verdict()
    }

    fn as_promised() -> Vec<(u8, Place, u64)> {
        let logins = (0..9).map(|number| (number, Place::Logins, 1));
        logins.chain([(9, Place::DeadLetters, 1)]).collect()
    }

    fn with(more: (u8, Place, u64)) -> Verdict {
        verdict_of(as_promised().into_iter().chain([more]))
    }

    fn moved(number: u8, place: Place) -> Verdict {
        verdict_of(as_promised().into_iter().map(|found| if found.0 == number { (number, place, 1) } else { found }))
    }

    #[test]
    fn tables_that_hold_each_message_once_in_its_place_hold_the_promise() {
        assert!(verdict_of(as_promised()).holds());
    }

    #[test]
    fn a_message_that_is_nowhere_is_lost() {
        for missing in [0, 8, 9] {
            let verdict = verdict_of(as_promised().into_iter().filter(|found| found.0 != missing));
            assert_eq!(verdict, Verdict { lost: 1, ..Verdict::default() });
        }
        assert!(!verdict_of([]).holds());
    }

    #[test]
    fn a_message_that_is_there_more_than_once_is_doubled() {
        let doubled = Verdict { doubled: 1, ..Verdict::default() };
        for more in
            [(0, Place::Logins, 1), (0, Place::DeadLetters, 1), (9, Place::Logins, 1), (9, Place::Logins, 70_000)]
        {
            assert_eq!(with(more), doubled, "{more:?}");
        }
    }

    #[test]
    fn a_message_in_the_wrong_table_is_misrouted() {
        assert_eq!(moved(0, Place::DeadLetters), Verdict { logins_dead_lettered: 1, ..Verdict::default() });
        assert_eq!(moved(9, Place::Logins), Verdict { malformed_loaded: 1, ..Verdict::default() });
        assert_eq!(moved(9, Place::Logins).misrouted(), 1);
    }

    #[test]
    fn a_row_of_a_message_that_nobody_sent_breaks_the_promise() {
        assert_eq!(with((77, Place::Logins, 1)), Verdict { unknown: 1, ..Verdict::default() });
    }

    #[test]
    fn clear_values_of_both_kinds_of_messages_are_kept_to_be_looked_for() {
        let mut journal = Journal::default();
        for (number, made) in super::super::logins::Logins::new(1, 300).enumerate() {
            journal.note(hash(u8::try_from(number % 256).unwrap()), made);
        }
        assert_eq!(journal.secrets().len(), 2 * 2 * SECRETS_KEPT);
        assert_eq!((journal.count().messages(), journal.count().malformed), (300, 10));
    }
}
