//! The loaders, and where receiving is paused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::readable::exact;
use crate::table::loader_pauses::{InForce, Target};
use crate::table::loaders::{Beat, Seen, State};

/// How long a loader is silent at most that lives, in seconds. It writes its row every 30 s: what missed three beats is gone.
pub const SILENT_AFTER_SECONDS: f64 = 100.0;

/// How a loader stands: what it says of itself, unless more is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not ended and says nothing any more: it was killed, or does not reach the database.
    Gone,
    /// It is to receive nothing, and has not said yet that it has heard of it.
    Pausing,
    /// What it says.
    Says(State),
}

impl Standing {
    /// That of this loader.
    pub fn of(loader: &Seen) -> Self {
        match loader.beat.state {
            State::Stopped => Self::Says(State::Stopped),
            _ if loader.silent_for > SILENT_AFTER_SECONDS => Self::Gone,
            State::Running if loader.paused_since.is_some() => Self::Pausing,
            state => Self::Says(state),
        }
    }

    /// The word for people and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Pausing => "pausing",
            Self::Says(state) => state.as_str(),
        }
    }

    /// Whether it is there no more: its rates and what it had in hand are of the past.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Says(State::Stopped))
    }
}

/// Which loaders, for people.
pub fn target_words(target: &Target) -> String {
    match target {
        Target::All => "all loaders".to_owned(),
        Target::Queue(arn) => format!("the queue {arn}"),
        Target::Loader(id) => format!("the loader {id}"),
    }
}

/// Whether a pause is of the loader that says this.
pub fn is_of(pause: &InForce, beat: &Beat) -> bool {
    match &pause.target {
        Target::All => true,
        Target::Queue(arn) => *arn == beat.queue,
        Target::Loader(loader) => loader == beat.id.as_str(),
    }
}

/// Who wants it so, as the history has it.
pub fn who(pause: &InForce) -> String {
    match &pause.person {
        Some(person) => format!("{}: {person}", pause.role),
        None => pause.role.clone(),
    }
}

/// What each lane was doing, and for how many seconds.
pub fn lanes(beat: &Beat) -> Vec<(String, f64)> {
    let Ok(Value::Array(lanes)) = serde_json::from_str(&beat.lanes) else { return Vec::new() };
    let lane = |lane: &Value| Some((lane["doing"].as_str()?.to_owned(), lane["seconds"].as_f64().unwrap_or_default()));
    lanes.iter().filter_map(lane).collect()
}

/// Calls, or what they are billed as, by kind.
pub fn by_kind(counts: &str) -> BTreeMap<String, u64> {
    serde_json::from_str(counts).unwrap_or_default()
}

/// The names of a loader's record, in the order of a table.
pub const NAMES: [&str; 28] = [
    "id",
    "host",
    "pid",
    "version",
    "queue",
    "state",
    "started_at",
    "seen_at",
    "silent_for_seconds",
    "paused_since",
    "pauses",
    "lanes",
    "received",
    "loaded",
    "dead_lettered",
    "absorbed",
    "contradicting",
    "returned",
    "released",
    "damaged",
    "in_hand",
    "received_per_second",
    "loaded_per_second",
    "lag_p50_seconds",
    "lag_p99_seconds",
    "sqs_calls",
    "sqs_billed",
    "sqs_empty_receives",
];

/// A pause that is in force.
pub fn pause_json(pause: &InForce) -> Value {
    json!({
        "since": exact(pause.since),
        "of": target_words(&pause.target),
        "by": who(pause),
        "reason": pause.reason,
    })
}

/// A loader, with those of the pauses that are of it.
pub fn loader_json(loader: &Seen, pauses: &[InForce]) -> Value {
    let beat = &loader.beat;
    let pauses: Vec<Value> = pauses.iter().filter(|pause| is_of(pause, beat)).map(pause_json).collect();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "id": beat.id.as_str(),
        "host": beat.host,
        "pid": beat.pid,
        "version": beat.version,
        "queue": beat.queue,
        "state": Standing::of(loader).as_str(),
        "started_at": exact(loader.started_at),
        "seen_at": exact(loader.seen_at),
        "silent_for_seconds": loader.silent_for,
        "paused_since": loader.paused_since.map(exact),
        "pauses": pauses,
        "lanes": parsed(&beat.lanes),
        "received": beat.received,
        "loaded": beat.ended.loaded,
        "dead_lettered": beat.ended.dead_lettered,
        "absorbed": beat.ended.absorbed,
        "contradicting": beat.ended.contradicting,
        "returned": beat.ended.returned,
        "released": beat.ended.released,
        "damaged": beat.ended.damaged,
        "in_hand": beat.in_hand,
        "received_per_second": beat.received_per_second,
        "loaded_per_second": beat.loaded_per_second,
        "lag_p50_seconds": beat.lag_p50,
        "lag_p99_seconds": beat.lag_p99,
        "sqs_calls": parsed(&beat.sqs_calls),
        "sqs_billed": parsed(&beat.sqs_billed),
        "sqs_empty_receives": beat.sqs_empty_receives,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::table::loaders::{Ended, LoaderId};

    /// A loader that says it is so, and was last heard of so many seconds ago.
    pub(in crate::records) fn seen(state: State, silent_for: f64) -> Seen {
        let started_at = time::OffsetDateTime::UNIX_EPOCH;
        let beat = Beat {
            id: LoaderId::of("0123456789ab"),
            host: "h".to_owned(),
            pid: 1,
            version: "1.0.0".to_owned(),
            queue: "arn:aws:sqs:eu-central-1:1:logins".to_owned(),
            state,
            lanes: r#"[{"doing":"resting","seconds":2.0}]"#.to_owned(),
            received: 0,
            ended: Ended::default(),
            in_hand: 0,
            received_per_second: 0.0,
            loaded_per_second: 0.0,
            lag_p50: None,
            lag_p99: None,
            sqs_calls: "{}".to_owned(),
            sqs_billed: "{}".to_owned(),
            sqs_empty_receives: 0,
        };
        Seen { beat, started_at, seen_at: started_at, silent_for, paused_since: None }
    }

    #[test]
    fn a_loader_that_is_silent_is_gone_unless_it_said_that_it_ends() {
        let paused = |state| Seen { paused_since: Some(time::OffsetDateTime::UNIX_EPOCH), ..seen(state, 1.0) };
        for (loader, word, is_over) in [
            (seen(State::Running, 1.0), "running", false),
            (seen(State::Running, 101.0), "gone", true),
            (seen(State::Storm, 101.0), "gone", true),
            (seen(State::Stopped, 1.0), "stopped", true),
            (seen(State::Stopped, 1_000.0), "stopped", true),
            (paused(State::Running), "pausing", false),
            (paused(State::Paused), "paused", false),
            (paused(State::Full), "full", false),
        ] {
            let standing = Standing::of(&loader);
            assert_eq!((standing.as_str(), standing.is_over()), (word, is_over), "{loader:?}");
        }
    }

    #[test]
    fn what_a_loader_writes_as_json_is_read_back() {
        assert_eq!(lanes(&seen(State::Running, 1.0).beat), [("resting".to_owned(), 2.0)]);
        assert_eq!(
            by_kind(r#"{"delete":3,"receive":0}"#),
            [("delete".to_owned(), 3), ("receive".to_owned(), 0)].into()
        );
    }
}
