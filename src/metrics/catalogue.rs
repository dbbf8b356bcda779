//! Every figure, in one row: its name, what it means, how to read it, and what it is made of.
//!
//! The struct [`Snapshot`], the exposition, the difference of two snapshots and `docs/METRICS.md` derive from these rows.

use time::OffsetDateTime;

use super::figure::{Bounds, Counter, Family, Figure, Gauge, Histogram};
use super::labels::{
    CallOutcome, Code, ConnectionState, Deletion, Ended, LaneState, LogLevel, Nth, Operation, Outcome, Peer, Phase,
    Renewal, Whereabouts,
};
use super::reading::Page;

/// What stands before every name.
pub const PREFIX: &str = "turnstile_";

/// What a row says of its figure.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// The paragraphs of its documentation: what it means, and then how to read it.
    text: &'static [&'static str],
}

impl Row {
    /// What it means, in one sentence.
    pub fn help(&self) -> String {
        self.paragraphs().next().unwrap_or_default()
    }

    /// How to read it, where that needs to be said.
    pub fn reading(&self) -> String {
        self.paragraphs().skip(1).collect::<Vec<_>>().join(" ")
    }

    fn paragraphs(&self) -> impl Iterator<Item = String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        self.text.split(|line| line.trim().is_empty()).map(lines)
    }
}

macro_rules! catalogue {
    ($($(#[doc = $text:literal])+ $field:ident: $figure:ty = $name:literal,)+) => {
        /// What a process is doing, and has done since its start.
        #[derive(Clone, Debug)]
        pub struct Snapshot {
            /// When it was taken.
            pub taken_at: OffsetDateTime,
            $($(#[doc = $text])+ pub $field: $figure,)+
        }

        impl Snapshot {
            /// Nothing has happened yet.
            pub(super) fn at(taken_at: OffsetDateTime) -> Self {
                Self { taken_at, $($field: Default::default(),)+ }
            }

            /// What a page shows.
            pub(super) fn shown(taken_at: OffsetDateTime, page: &Page<'_>) -> Self {
                Self { taken_at, $($field: <$figure>::read(page, $name),)+ }
            }

            /// Whether no count has fallen since an earlier snapshot.
            pub(super) fn has_no_less_than(&self, earlier: &Self) -> bool {
                $(self.$field.follows(&earlier.$field))&&+
            }

            /// What two processes have counted together; no gauge is known.
            pub(super) fn counted_with(&self, other: &Self) -> Self {
                Self { taken_at: self.taken_at.min(other.taken_at), $($field: self.$field.with(&other.$field),)+ }
            }

            /// What has come since an earlier snapshot of the same process; gauges are as they are now.
            pub fn since(&self, earlier: &Self) -> Self {
                Self { taken_at: self.taken_at, $($field: self.$field.since(&earlier.$field),)+ }
            }

            /// Every figure with its row, in the order of the catalogue.
            pub fn figures(&self) -> Vec<(Row, &dyn Figure)> {
                vec![$((Row { name: $name, text: &[$($text),+] }, &self.$field as &dyn Figure),)+]
            }
        }
    };
}

type Count = Family<(), Counter>;
type Value = Family<(), Gauge>;

catalogue! {
    /// When the figures were read.
    ///
    /// Compare it with the time of the scrape: figures that are old are no news.
    read_at: Value = "snapshot_timestamp_seconds",
    /// When the process started.
    started_at: Value = "start_timestamp_seconds",
    /// Whether the loader is ending: 1 once it was asked to, and receives no more.
    draining: Value = "draining",

    /// Deliveries that came from the queue.
    received: Count = "messages_received_total",
    /// Deliveries that have ended, by how.
    ///
    /// Together with what is in hand they are what was received: the books balance. A message that is redelivered is
    /// counted again, as absorbed.
    messages: Family<(Outcome,), Counter> = "messages_total",
    /// Deliveries that were received and have not ended.
    in_hand: Value = "in_hand_messages",
    /// Bytes of the bodies that were received with what is in hand.
    in_hand_bytes: Value = "in_hand_bytes",
    /// When the oldest of what is in hand was received; absent while nothing is.
    ///
    /// A batch that stays in hand for minutes waits for the database: see the lanes and the transactions.
    in_hand_since: Value = "in_hand_oldest_timestamp_seconds",

    /// From the queue's SentTimestamp to the verified commit, of each login that was loaded.
    ///
    /// This is how late the table is. Read the first deliveries: a repeat carries the time of the attempts before it.
    lag: Family<(Nth,), Histogram<Lag>> = "login_lag_seconds",
    /// From the queue's SentTimestamp to the first receive of a message.
    ///
    /// The queue's share of the lag. While it grows, there are too few lanes or loaders, or they stand still.
    wait: Family<(), Histogram<Lag>> = "message_wait_seconds",
    /// When a message of the last gathering with first deliveries was sent, the oldest of them.
    ///
    /// A lower bound of how far behind the queue is.
    oldest_received: Value = "queue_oldest_received_timestamp_seconds",

    /// Messages that are no logins, at each delivery, by what is wrong.
    ///
    /// They rise before the dead letters do: a message has several attempts.
    rejections: Family<(Code,), Counter> = "rejections_total",
    /// Dead letters written, by what is wrong.
    dead_letters: Family<(Code,), Counter> = "dead_letters_written_total",
    /// Keys in bodies that are none of a login's.
    ///
    /// A rise means that a producer sends something new. The logins are loaded all the same.
    unknown_keys: Count = "unknown_keys_total",

    /// Messages recorded in one transaction.
    batch: Family<(), Histogram<Size>> = "batch_messages",
    /// Transactions that record messages, by how they ended.
    ///
    /// All but the committed ones are attempts that run again, in parts or whole.
    transactions: Family<(Ended,), Counter> = "transactions_total",
    /// How long each phase of a transaction took that was committed.
    phases: Family<(Phase,), Histogram<Quick>> = "transaction_phase_duration_seconds",
    /// When a transaction was last committed; absent before the first.
    last_commit: Value = "last_commit_timestamp_seconds",
    /// The version of the tables, as last seen: at the start, and then every 15 s.
    ///
    /// Loaders of one version run on tables of that version or a newer one.
    schema_version: Value = "schema_version",
    /// Connections of the pool to the database.
    ///
    /// If all that `--database-connections` allows are used for long, see how long they are waited for.
    connections: Family<(ConnectionState,), Gauge> = "database_connections",
    /// How long a connection was waited for that the pool had to make or to give back.
    connection_wait: Family<(), Histogram<Quick>> = "database_connection_wait_seconds",
    /// Whether the last call to this peer was answered: 1, or 0 since the first that was not.
    reachable: Family<(Peer,), Gauge> = "reachable",
    /// Since when the peer has been away; absent while it is there.
    away_since: Family<(Peer,), Gauge> = "away_since_timestamp_seconds",
    /// Attempts that have failed since the peer has been away.
    attempts: Family<(Peer,), Gauge> = "away_attempts",

    /// Calls to the queue, by how they ended.
    calls: Family<(Operation, CallOutcome), Counter> = "sqs_calls_total",
    /// How long the calls took that were answered.
    ///
    /// A receive that brought nothing is left out, and one that brought something includes how long it waited for it.
    call_duration: Family<(Operation,), Histogram<Quick>> = "sqs_call_duration_seconds",
    /// Receives that brought nothing.
    ///
    /// An idle loader makes one every `--wait`.
    empty_receives: Count = "sqs_empty_receives_total",
    /// Requests that the calls are billed as: one for each 64 KiB of payload, at least one.
    billed: Family<(Operation,), Counter> = "sqs_billed_requests_total",
    /// When the queue last answered a receive, with messages or without; absent before the first.
    last_receive: Value = "last_receive_timestamp_seconds",
    /// Deliveries whose messages are recorded, by what the queue made of the delete.
    deletes: Family<(Deletion,), Counter> = "deletes_total",
    /// Renewals of the lease on a message in hand.
    renewals: Family<(Renewal,), Counter> = "lease_renewals_total",

    /// Lines of the log.
    ///
    /// An error means that the loader stops, and that somebody must look.
    log_lines: Family<(LogLevel,), Counter> = "log_lines_total",
    /// Lanes, by what they are doing.
    lanes: Family<(LaneState,), Gauge> = "lanes",
    /// Threads that the lanes and all else run on.
    workers: Value = "runtime_workers",
    /// Tasks that run or wait on these threads.
    tasks: Value = "runtime_alive_tasks",
    /// Tasks that are ready to run, and that no thread has taken up.
    ///
    /// More than a few for long: the process has too little CPU.
    waiting_tasks: Value = "runtime_waiting_tasks",
    /// What the queue says that it holds; absent where it was not asked.
    ///
    /// Approximate, and late by up to a minute.
    depth: Family<(Whereabouts,), Gauge> = "queue_messages",
    /// When the queue said so.
    depth_at: Value = "queue_observed_timestamp_seconds",
    /// For how long the queue keeps a message; absent where it does not say.
    ///
    /// What has not been received by then is lost.
    retention: Value = "queue_retention_seconds",
}

/// From a twentieth of a second to a day: how late a login can be.
#[derive(Clone, Debug)]
pub struct Lag;

impl Bounds for Lag {
    const BOUNDS: &'static [f64] =
        &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
}

/// From a millisecond to ten seconds: how long a call can take.
#[derive(Clone, Debug)]
pub struct Quick;

impl Bounds for Quick {
    const BOUNDS: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
}

/// How many messages a transaction can record.
#[derive(Clone, Debug)]
pub struct Size;

impl Bounds for Size {
    const BOUNDS: &'static [f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0];
}
