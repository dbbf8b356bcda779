//! The checker: what was sent, compared with what stands in the tables.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use super::journal::{Kind, Sent};
use crate::database::{Database, DatabaseError, Transaction};
use crate::message::{MessageHash, MessageHasher};
use crate::table::agreement::{self, Outcome, Traces};
use crate::table::clear_values;

/// How long one statement may take over all tables.
const DEADLINE: Duration = Duration::from_secs(600);

/// What was sent, by the hashes under which it must stand in the tables: some 100 bytes a message.
#[derive(Default)]
pub struct Expected {
    messages: HashMap<MessageHash, Expectation>,
    /// The keys under which logins were sent.
    keys: HashMap<String, Logins>,
    /// Messages that were absorbed, with those that are said to have brought their logins.
    absorbed: Vec<(MessageHash, Option<MessageHash>)>,
    /// Whether logins of one key may each be loaded.
    by_message: bool,
}

struct Expectation {
    kind: Kind,
    key: String,
    found: bool,
    loaded: bool,
}

/// What became of the logins that were sent under one key.
#[derive(Default)]
struct Logins {
    loaded: u64,
    /// Dead letters that say that another login was loaded under the key.
    contradicted: u64,
}

/// How the tables differ from what was sent. The promise holds where every count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discrepancies {
    /// Messages that are nowhere, or that lack their event or their claim.
    pub lost: u64,
    /// Messages that are in the tables more than once.
    pub doubled: u64,
    /// Messages in the tables that nobody sent, and events of messages that were not loaded.
    pub unexpected: u64,
    /// Logins that were dead-lettered, and malformed messages that were loaded.
    pub misrouted: u64,
    /// Rows of the tables, and lines of other output, that hold a personal value in clear.
    pub leaked: u64,
}

impl Discrepancies {
    /// Whether there are none.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Discrepancies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, doubled, unexpected, misrouted, leaked } = self;
        write!(f, "{lost} lost, {doubled} doubled, {unexpected} unexpected, {misrouted} misrouted, {leaked} leaked")
    }
}

impl Expected {
    /// Nothing yet, where loaders went by different schemes: a key is remembered by those of one scheme only, so that of its
    /// logins more than one may be loaded. Each message is loaded once all the same, or absorbed by one of its key.
    pub fn by_message() -> Self {
        Self { by_message: true, ..Self::default() }
    }

    /// Takes in a message that the queue took.
    pub fn take(&mut self, sent: &Sent, messages: &MessageHasher) {
        let Sent { key, kind, .. } = sent;
        let expectation = Expectation { kind: *kind, key: key.clone(), found: false, loaded: false };
        self.messages.insert(sent.hash(messages), expectation);
        match kind {
            Kind::Login | Kind::Contradicting => drop(self.keys.entry(key.clone()).or_default()),
            Kind::Malformed => {}
        }
    }

    /// How many messages are expected.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Compares with the tables, in one state of the database, and looks through every column for the canaries:
    /// personal values that were sent and must stand nowhere in clear.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; nothing is proven then.
    pub async fn compare(mut self, database: &Database, canaries: &[String]) -> Result<Discrepancies, DatabaseError> {
        let mut found = Discrepancies::default();
        let look = async |seen: &Transaction| {
            agreement::begin_traces(seen).await?;
            loop {
                let some = agreement::next_traces(seen).await?;
                if some.is_empty() {
                    break;
                }
                some.into_iter().for_each(|(hash, traces)| self.look_at(hash, traces, &mut found));
            }
            match canaries {
                [] => Ok(0),
                _ => clear_values::count_rows_holding(seen, canaries).await,
            }
        };
        let leaked = database.snapshot_within(DEADLINE, look).await?;
        found.lost += self.messages.values().filter(|expectation| !expectation.found).count() as u64;
        self.look_at_keys(&mut found);
        Ok(Discrepancies { leaked, ..found })
    }

    fn look_at(&mut self, hash: MessageHash, traces: Traces, found: &mut Discrepancies) {
        let Some(expectation) = self.messages.get_mut(&hash) else {
            found.unexpected += 1;
            return;
        };
        expectation.found = true;
        expectation.loaded = traces.rows > 0;
        if traces.outcome == Some(Outcome::Absorbed) {
            self.absorbed.push((hash, traces.absorbed_by));
        }
        if let Some(logins) = self.keys.get_mut(&expectation.key) {
            logins.loaded += u64::from(traces.rows > 0);
            logins.contradicted += u64::from(expectation.kind == Kind::Contradicting && traces.letters > 0);
        }
        if let Some(count) = discrepancy(expectation.kind, traces, found) {
            *count += 1;
        }
    }

    /// What no message tells by itself: whether the login of one that left none is there.
    fn look_at_keys(&self, found: &mut Discrepancies) {
        let is_there =
            |message: &MessageHash, owner: &MessageHash| match (self.messages.get(message), self.messages.get(owner)) {
                (Some(absorbed), Some(owner)) => owner.loaded && owner.key == absorbed.key,
                (_, _) => false,
            };
        let orphans =
            self.absorbed.iter().filter(|(message, owner)| !owner.is_some_and(|owner| is_there(message, &owner)));
        found.lost += orphans.count() as u64;
        for Logins { loaded, contradicted } in self.keys.values() {
            match loaded {
                0 => found.lost += contradicted,
                _ if self.by_message => {}
                more => found.doubled += more - 1,
            }
        }
    }
}

/// Where a message stands, or that its login stands with another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Rows,
    DeadLetters,
    Absorbed,
}

/// Where a message that was sent is counted that has left these traces; nowhere, if they are as promised.
fn discrepancy(kind: Kind, traces: Traces, found: &mut Discrepancies) -> Option<&mut u64> {
    let Traces { outcome, absorbed_by: _, claims, rows, letters, events } = traces;
    let place = match (rows, letters) {
        (1, 0) => Place::Rows,
        (0, 1) => Place::DeadLetters,
        (0, 0) if outcome == Some(Outcome::Absorbed) => Place::Absorbed,
        (0, 0) => return Some(&mut found.lost),
        (_, _) => return Some(&mut found.doubled),
    };
    match (kind, place) {
        (Kind::Login, Place::DeadLetters) | (Kind::Malformed, Place::Rows | Place::Absorbed) => {
            return Some(&mut found.misrouted);
        }
        // Nothing is left of the login that it brought.
        (Kind::Contradicting, Place::Absorbed) => return Some(&mut found.lost),
        (Kind::Login, Place::Rows | Place::Absorbed)
        | (Kind::Malformed, Place::DeadLetters)
        | (Kind::Contradicting, Place::Rows | Place::DeadLetters) => {}
    }
    match (place, outcome, events) {
        _ if claims > 1 => Some(&mut found.doubled),
        (_, None, _) => Some(&mut found.lost),
        (Place::Absorbed | Place::DeadLetters, _, 1..) => Some(&mut found.unexpected),
        (Place::Rows | Place::DeadLetters, Some(Outcome::Absorbed), _) => Some(&mut found.doubled),
        (Place::Rows, Some(_), 0) => Some(&mut found.lost),
        (Place::Rows, Some(_), 2..) => Some(&mut found.doubled),
        (Place::Rows, Some(Outcome::DeadLettered), 1) | (Place::DeadLetters, Some(Outcome::Loaded), 0) => {
            Some(&mut found.misrouted)
        }
        (Place::Rows, Some(Outcome::Loaded), 1)
        | (Place::DeadLetters, Some(Outcome::DeadLettered), 0)
        | (Place::Absorbed, Some(_), 0) => None,
    }
}

/// How many lines of a file hold one of the canaries.
///
/// # Errors
///
/// When the file cannot be read.
pub fn count_lines_holding(path: &Path, canaries: &[String]) -> io::Result<u64> {
    let mut found = 0;
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        found += u64::from(canaries.iter().any(|canary| line.contains(canary.as_str())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADED: Traces =
        Traces { outcome: Some(Outcome::Loaded), absorbed_by: None, claims: 1, rows: 1, letters: 0, events: 1 };
    const DEAD_LETTERED: Traces =
        Traces { outcome: Some(Outcome::DeadLettered), absorbed_by: None, claims: 1, rows: 0, letters: 1, events: 0 };

    fn found(kind: Kind, traces: Traces) -> Discrepancies {
        let mut found = Discrepancies::default();
        if let Some(count) = discrepancy(kind, traces, &mut found) {
            *count += 1;
        }
        found
    }

    #[test]
    fn a_message_that_stands_once_in_its_place_is_as_promised() {
        assert!(found(Kind::Login, LOADED).none());
        assert!(found(Kind::Malformed, DEAD_LETTERED).none());
    }

    #[test]
    fn each_way_to_break_the_promise_has_its_count() {
        let lost = Discrepancies { lost: 1, ..Discrepancies::default() };
        let doubled = Discrepancies { doubled: 1, ..Discrepancies::default() };
        let unexpected = Discrepancies { unexpected: 1, ..Discrepancies::default() };
        let misrouted = Discrepancies { misrouted: 1, ..Discrepancies::default() };
        for (kind, traces, expected) in [
            (Kind::Login, Traces { rows: 0, ..LOADED }, lost),
            (Kind::Login, Traces { outcome: None, ..LOADED }, lost),
            (Kind::Login, Traces { events: 0, ..LOADED }, lost),
            (Kind::Login, Traces { rows: 2, ..LOADED }, doubled),
            (Kind::Login, Traces { claims: 2, ..LOADED }, doubled),
            (Kind::Malformed, Traces { claims: 2, ..DEAD_LETTERED }, doubled),
            (Kind::Login, Traces { letters: 1, ..LOADED }, doubled),
            (Kind::Login, Traces { events: 2, ..LOADED }, doubled),
            (Kind::Login, DEAD_LETTERED, misrouted),
            (Kind::Login, Traces { outcome: Some(Outcome::DeadLettered), ..LOADED }, misrouted),
            (Kind::Malformed, LOADED, misrouted),
            (Kind::Malformed, Traces { letters: 0, ..DEAD_LETTERED }, lost),
            (Kind::Malformed, Traces { outcome: None, ..DEAD_LETTERED }, lost),
            (Kind::Malformed, Traces { events: 1, ..DEAD_LETTERED }, unexpected),
            (Kind::Malformed, Traces { outcome: Some(Outcome::Loaded), ..DEAD_LETTERED }, misrouted),
        ] {
            assert_eq!(found(kind, traces), expected, "{kind:?} {traces:?}");
        }
    }

    #[test]
    fn a_message_that_was_absorbed_has_nothing_of_its_own() {
        let absorbed =
            Traces { outcome: Some(Outcome::Absorbed), absorbed_by: None, claims: 1, rows: 0, letters: 0, events: 0 };
        assert!(found(Kind::Login, absorbed).none());
        assert_eq!(found(Kind::Malformed, absorbed).misrouted, 1);
        assert_eq!(found(Kind::Login, Traces { rows: 1, ..absorbed }).doubled, 1);
        assert_eq!(found(Kind::Login, Traces { events: 1, ..absorbed }).unexpected, 1);
    }

    #[test]
    fn one_of_several_logins_under_a_key_is_a_row_or_a_dead_letter_and_never_absorbed() {
        assert!(found(Kind::Contradicting, LOADED).none());
        assert!(found(Kind::Contradicting, DEAD_LETTERED).none());
        let absorbed = Traces { outcome: Some(Outcome::Absorbed), rows: 0, events: 0, ..LOADED };
        assert_eq!(found(Kind::Contradicting, absorbed).lost, 1);
        assert_eq!(found(Kind::Contradicting, Traces { letters: 1, ..LOADED }).doubled, 1);
    }

    /// Compares messages of these kinds and keys with the traces that each left; the owner is given by its number.
    fn compared(mut expected: Expected, messages: &[(Kind, &str, Traces, Option<usize>)]) -> Discrepancies {
        let hasher = MessageHasher::new(&crate::message::QueueIdentity::new("queue"));
        let sent = |(n, (kind, key, _, _)): (usize, &(Kind, &str, Traces, Option<usize>))| Sent {
            key: (*key).to_owned(),
            message_id: n.to_string(),
            kind: *kind,
        };
        let sent: Vec<Sent> = messages.iter().enumerate().map(sent).collect();
        sent.iter().for_each(|sent| expected.take(sent, &hasher));
        let mut found = Discrepancies::default();
        for (one, (_, _, traces, owner)) in sent.iter().zip(messages) {
            let absorbed_by = owner.map(|owner| sent[owner].hash(&hasher));
            expected.look_at(one.hash(&hasher), Traces { absorbed_by, ..*traces }, &mut found);
        }
        expected.look_at_keys(&mut found);
        found
    }

    #[test]
    fn what_was_absorbed_is_there_only_while_its_owner_is_loaded_under_the_same_key() {
        let absorbed = Traces { outcome: Some(Outcome::Absorbed), rows: 0, events: 0, ..LOADED };
        let (login, malformed) = (Kind::Login, Kind::Malformed);
        let lost = Discrepancies { lost: 1, ..Discrepancies::default() };
        for (messages, expected) in [
            (vec![(login, "k", LOADED, None), (login, "k", absorbed, Some(0))], Discrepancies::default()),
            (vec![(malformed, "k", DEAD_LETTERED, None), (login, "k", absorbed, Some(0))], lost),
            (vec![(login, "k", LOADED, None), (login, "l", absorbed, Some(0))], lost),
            (vec![(login, "k", LOADED, None), (login, "k", absorbed, None)], lost),
        ] {
            assert_eq!(compared(Expected::default(), &messages), expected);
        }
    }

    #[test]
    fn of_the_logins_of_a_key_one_is_loaded_unless_loaders_went_by_different_schemes() {
        let twins = [(Kind::Login, "k", LOADED, None), (Kind::Login, "k", LOADED, None)];
        assert_eq!(compared(Expected::default(), &twins).doubled, 1);
        assert!(compared(Expected::by_message(), &twins).none());
        let none_loaded =
            [(Kind::Contradicting, "k", DEAD_LETTERED, None), (Kind::Contradicting, "k", DEAD_LETTERED, None)];
        assert_eq!(compared(Expected::default(), &none_loaded).lost, 2);
    }

    #[test]
    fn lines_that_hold_a_canary_are_counted_whatever_else_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"nothing\nthe canary-1 sings\n\xff canary-2\ncanary\n").unwrap();
        let canaries = ["canary-1", "canary-2"].map(str::to_owned);
        assert_eq!(count_lines_holding(&path, &canaries).unwrap(), 2);
    }
}
