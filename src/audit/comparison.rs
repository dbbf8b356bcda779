//! The checker: what was sent, compared with what stands in the tables.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use super::journal::{Kind, Sent};
use crate::database::{Database, DatabaseError};
use crate::message::{MessageHash, MessageHasher};
use crate::table::agreement::{self, Outcome, Traces};
use crate::table::clear_values;

/// How long one statement may take over all tables.
const DEADLINE: Duration = Duration::from_secs(600);

/// What was sent, by the hashes under which it must stand in the tables: some 100 bytes a message.
#[derive(Default)]
pub struct Expected {
    messages: HashMap<MessageHash, Expectation>,
    /// The logins that were sent under one key, of each of which one must be loaded.
    logins: HashMap<String, Logins>,
}

struct Expectation {
    kind: Kind,
    key: String,
    found: bool,
}

#[derive(Default)]
struct Logins {
    loaded: u64,
    absorbed: u64,
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
    /// Takes in a message that the queue took.
    pub fn take(&mut self, sent: &Sent, messages: &MessageHasher) {
        let Sent { key, kind, .. } = sent;
        let expectation = Expectation { kind: *kind, key: key.clone(), found: false };
        self.messages.insert(sent.hash(messages), expectation);
        if *kind == Kind::Login {
            self.logins.entry(key.clone()).or_default();
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
        let mut snapshot = database.begin_snapshot().await?;
        snapshot.set_deadline(DEADLINE).await?;
        agreement::begin_traces(&snapshot).await?;
        loop {
            let some = agreement::next_traces(&snapshot).await?;
            if some.is_empty() {
                break;
            }
            some.into_iter().for_each(|(hash, traces)| self.look_at(hash, traces, &mut found));
        }
        found.lost += self.messages.values().filter(|expectation| !expectation.found).count() as u64;
        // A message that was absorbed is there as long as another one brought its login.
        found.lost +=
            self.logins.values().map(|logins| if logins.loaded == 0 { logins.absorbed } else { 0 }).sum::<u64>();
        found.doubled += self.logins.values().map(|logins| logins.loaded.saturating_sub(1)).sum::<u64>();
        found.leaked = match canaries {
            [] => 0,
            _ => clear_values::count_rows_holding(&snapshot, canaries).await?,
        };
        snapshot.rollback().await?;
        Ok(found)
    }

    fn look_at(&mut self, hash: MessageHash, traces: Traces, found: &mut Discrepancies) {
        let Some(expectation) = self.messages.get_mut(&hash) else {
            found.unexpected += 1;
            return;
        };
        expectation.found = true;
        if let Some(logins) = self.logins.get_mut(&expectation.key) {
            logins.loaded += u64::from(traces.rows > 0);
            logins.absorbed += u64::from(traces.outcome == Some(Outcome::Absorbed));
        }
        if let Some(count) = discrepancy(expectation.kind, traces, found) {
            *count += 1;
        }
    }
}

/// Where a message that was sent is counted that has left these traces; nowhere, if they are as promised.
fn discrepancy(kind: Kind, traces: Traces, found: &mut Discrepancies) -> Option<&mut u64> {
    let Traces { outcome, claims, rows, letters, events } = traces;
    let is_absorbed = outcome == Some(Outcome::Absorbed);
    let place = match (rows, letters) {
        (1, 0) => Kind::Login,
        (0, 1) => Kind::Malformed,
        (0, 0) if is_absorbed => Kind::Login,
        (0, 0) => return Some(&mut found.lost),
        (_, _) => return Some(&mut found.doubled),
    };
    match (place, outcome, events) {
        _ if place != kind => Some(&mut found.misrouted),
        _ if claims > 1 => Some(&mut found.doubled),
        _ if is_absorbed && rows + letters > 0 => Some(&mut found.doubled),
        (_, Some(Outcome::Absorbed), 0) => None,
        (_, Some(Outcome::Absorbed), 1..) => Some(&mut found.unexpected),
        (_, None, _) | (Kind::Login, Some(_), 0) => Some(&mut found.lost),
        (Kind::Malformed, Some(_), 1..) => Some(&mut found.unexpected),
        (Kind::Login, Some(_), 2..) => Some(&mut found.doubled),
        (Kind::Login, Some(Outcome::DeadLettered), 1) | (Kind::Malformed, Some(Outcome::Loaded), 0) => {
            Some(&mut found.misrouted)
        }
        (Kind::Login, Some(Outcome::Loaded), 1) | (Kind::Malformed, Some(Outcome::DeadLettered), 0) => None,
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

    const LOADED: Traces = Traces { outcome: Some(Outcome::Loaded), claims: 1, rows: 1, letters: 0, events: 1 };
    const DEAD_LETTERED: Traces =
        Traces { outcome: Some(Outcome::DeadLettered), claims: 1, rows: 0, letters: 1, events: 0 };

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
        let absorbed = Traces { outcome: Some(Outcome::Absorbed), claims: 1, rows: 0, letters: 0, events: 0 };
        assert!(found(Kind::Login, absorbed).none());
        assert_eq!(found(Kind::Malformed, absorbed).misrouted, 1);
        assert_eq!(found(Kind::Login, Traces { rows: 1, ..absorbed }).doubled, 1);
        assert_eq!(found(Kind::Login, Traces { events: 1, ..absorbed }).unexpected, 1);
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
