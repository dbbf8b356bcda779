//! Every figure, in one row: its name, what it means, how to read it, and what it is made of.
//!
//! The struct [`Snapshot`], the exposition, the difference of two snapshots and `docs/METRICS.md` derive from these rows.

use time::OffsetDateTime;

use super::figure::{Bounds, Counter, Family, Figure, Gauge, Histogram};
use super::labels::{
    AuditRule, CallOutcome, Carriage, Claiming, Code, ConnectionState, Deed, Deletion, Ended, GrowingTable, LaneState,
    LetterStatus, LogLevel, Nth, Operation, Outcome, Peer, Phase, Query, Refusal, RelayLane, Renewal, Route, SinkCall,
    Standing, StatusClass, TakenUp, Whereabouts,
};
use super::reading::Page;
use super::work::{Part, Work};

/// What stands before every name.
pub const PREFIX: &str = "turnstile_";

/// What a row says of its figure.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// Which processes show it.
    pub part: Part,
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
    ($([$part:ident] $($(#[doc = $text:literal])+ $field:ident: $figure:ty = $name:literal,)+)+) => {
        /// What a process is doing, and has done since its start.
        #[derive(Clone, Debug)]
        pub struct Snapshot {
            /// When it was taken.
            pub taken_at: OffsetDateTime,
            /// What the process is there for: it shows the figures of that.
            pub work: Work,
            $($($(#[doc = $text])+ pub $field: $figure,)+)+
        }

        impl Snapshot {
            /// Nothing has happened yet.
            pub(super) fn at(taken_at: OffsetDateTime, work: Work) -> Self {
                Self { taken_at, work, $($($field: Default::default(),)+)+ }
            }

            /// What a page shows.
            pub(super) fn shown(taken_at: OffsetDateTime, page: &Page<'_>) -> Self {
                let work = page.work();
                $($(let $field = <$figure>::read(page, $name, &work.labels_of(Part::$part));)+)+
                Self { taken_at, $($($field,)+)+ work }
            }

            /// Whether no count has fallen since an earlier snapshot.
            pub(super) fn has_no_less_than(&self, earlier: &Self) -> bool {
                $($(self.$field.follows(&earlier.$field))&&+)&&+
            }

            /// What two processes have counted together; no gauge is known.
            pub(super) fn counted_with(&self, other: &Self) -> Self {
                let work = self.work.with(&other.work);
                Self { taken_at: self.taken_at.min(other.taken_at), work, $($($field: self.$field.with(&other.$field),)+)+ }
            }

            /// What has come since an earlier snapshot of the same process; gauges are as they are now.
            pub fn since(&self, earlier: &Self) -> Self {
                let work = self.work.clone();
                Self { taken_at: self.taken_at, work, $($($field: self.$field.since(&earlier.$field),)+)+ }
            }

            /// Every figure of what the process is there for with its row, in the order of the catalogue.
            pub fn figures(&self) -> Vec<(Row, &dyn Figure)> {
                let all = [$($((Row { name: $name, part: Part::$part, text: &[$($text),+] }, &self.$field as &dyn Figure),)+)+];
                all.into_iter().filter(|(row, _)| self.work.has(row.part)).collect()
            }
        }
    };
}

type Count = Family<(), Counter>;
type Value = Family<(), Gauge>;

catalogue! {
    [Process]
    /// When the figures were read.
    ///
    /// Compare it with the time of the scrape: figures that are old are no news.
    read_at: Value = "snapshot_timestamp_seconds",
    /// When the process started.
    started_at: Value = "start_timestamp_seconds",
    /// Whether the process is ending: 1 once it was asked to, and takes up no more.
    draining: Value = "draining",

    [Loader]
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

    /// Messages that are not logins, at each delivery, by what is wrong.
    ///
    /// They rise before the dead letters do: a message has several attempts.
    rejections: Family<(Code,), Counter> = "rejections_total",
    /// Dead letters written, by what is wrong.
    dead_letters: Family<(Code,), Counter> = "dead_letters_written_total",
    /// Whether too many messages are not logins: 1 while the loader takes none but a few now and then; absent where
    /// `--max-rejection-rate` is off.
    ///
    /// Each loader sees for itself, and nothing is shared between them.
    storm: Value = "storm",
    /// Since when that has been so; absent while it is not.
    storm_since: Value = "storm_since_timestamp_seconds",
    /// How often that has begun.
    ///
    /// Many in an hour mean that the share of rejections is near `--max-rejection-rate`.
    storms: Count = "storms_total",
    /// Rejected deliveries that went back to the queue because of that, or for want of room for dead letters.
    ///
    /// Each of them is counted as returned, too. What a storm spares the table of the dead letters is far more: most of it stays
    /// in the queue, unseen.
    held_back: Count = "storm_held_back_total",
    /// How much room the table of the dead letters takes, with its indexes, as last seen.
    ///
    /// It is looked at once at the start, and then at most every 30 s and only after this loader has written one.
    dead_letters_bytes: Value = "dead_letters_bytes",
    /// How much it may take (`--dead-letter-quota`); absent where that is not set.
    dead_letter_quota: Value = "dead_letter_quota_bytes",
    /// Whether it has taken that: 1 while the loader takes none but a few messages now and then; absent where no quota is set.
    ///
    /// The loader goes on by itself once there is room.
    dead_letters_full: Value = "dead_letters_full",
    /// Since when that has been so; absent while it is not.
    dead_letters_full_since: Value = "dead_letters_full_since_timestamp_seconds",

    /// Whether an operator has paused receiving: 1 while the loader receives nothing, and goes on by itself once it is resumed.
    ///
    /// It loads what it has in hand, and is healthy. What is not received is lost when the queue's retention is over.
    paused: Value = "paused",
    /// Since when that has been so, by the database's clock; absent while it is not.
    paused_since: Value = "paused_since_timestamp_seconds",

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
    [Process]
    /// The version of the tables, as last seen: at the start, and then every 15 s.
    ///
    /// Loaders of one version run on tables of that version or a newer one.
    schema_version: Value = "schema_version",
    /// The horizon: what was sent before it is not loaded. 1970 until retention removes something; absent before the first look.
    retained_since: Value = "retained_since_timestamp_seconds",
    /// For how many whole days there are partitions of the tables by time, of that which has the fewest; absent where none is
    /// partitioned.
    ///
    /// Loaders keep more than seven ready, and stop on a day that has none.
    partition_days: Value = "partition_days_ahead",
    /// When the oldest transaction was prepared that has not ended, on any server of a cluster; absent while there is none, and where
    /// no table is distributed.
    ///
    /// It keeps others from its messages. A crash leaves some, which the coordinator brings to their end.
    oldest_prepared: Value = "oldest_prepared_timestamp_seconds",
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

    [Loader]
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

    [Process]
    /// Lines of the log.
    ///
    /// An error means that the process stops, and that somebody must look.
    log_lines: Family<(LogLevel,), Counter> = "log_lines_total",
    [Loader]
    /// Lanes, by what they are doing.
    lanes: Family<(LaneState,), Gauge> = "lanes",
    [Process]
    /// Threads that the lanes and all else run on.
    workers: Value = "runtime_workers",
    /// Tasks that run or wait on these threads.
    tasks: Value = "runtime_alive_tasks",
    /// Tasks that are ready to run, and that no thread has taken up.
    ///
    /// More than a few for long: the process has too little CPU.
    waiting_tasks: Value = "runtime_waiting_tasks",
    [Loader]
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

    [Relay]
    /// Events that the relay has taken up, by how it came to them.
    relay_taken_up: Family<(TakenUp,), Counter> = "relay_events_taken_up_total",
    /// Events that were taken up and have ended, by how.
    ///
    /// Together with what is in hand they are what was taken up: the books balance. An event that is taken up again is counted
    /// again.
    relay_events: Family<(Carriage,), Counter> = "relay_events_total",
    /// Events that are taken up and have not ended.
    relay_in_hand: Value = "relay_in_hand_events",
    /// From the start of the transaction that loaded a login until the sink has taken its event.
    ///
    /// This is how late the sink is, by the clocks of the database and of the relay. What the relay finds when it begins, or after
    /// an outage, is late; so is an event that was refused before.
    relay_delay: Family<(), Histogram<Delay>> = "relay_event_delay_seconds",
    /// Refusals of single events, at each attempt, by what is wrong with them.
    ///
    /// They rise before anything is set aside: an event has several attempts. The log has the sink's own code.
    relay_refusals: Family<(Refusal,), Counter> = "relay_refusals_total",
    /// Events that this relay has set aside, because the sink refused them too often.
    ///
    /// They wait for somebody who decides what becomes of them.
    relay_set_aside: Count = "relay_events_set_aside_total",
    /// Calls to the sink, by how they ended.
    relay_calls: Family<(SinkCall,), Counter> = "relay_sink_calls_total",
    /// How long the calls to the sink took that were answered.
    relay_call_duration: Family<(), Histogram<Quick>> = "relay_sink_call_duration_seconds",
    /// Whether the sink takes events, or says what is wrong with them: 1, or 0 since the first call in which it did neither.
    relay_reachable: Value = "relay_sink_reachable",
    /// Since when the sink has taken nothing; absent while it takes events.
    relay_away_since: Value = "relay_sink_away_since_timestamp_seconds",
    /// Calls that have failed since the sink has taken nothing.
    relay_attempts: Value = "relay_sink_away_attempts",
    /// When the sink last took an event; absent before the first.
    ///
    /// That is no news of a relay whose outbox is empty: see the oldest event.
    relay_last_carried: Value = "relay_last_carried_timestamp_seconds",
    /// Looks for events above the frontier and for chunks whose relay is gone, by what came of them.
    relay_claims: Family<(Claiming,), Counter> = "relay_claims_total",
    /// Chunks that were taken over from a relay that did not let go of them in time.
    ///
    /// Some come with each relay that is killed. Many mean that chunks take longer than `--lease`.
    relay_taken_over: Count = "relay_chunks_taken_over_total",
    /// Lanes of the relay, by what they are doing.
    ///
    /// Two of them look after gaps and after refused events.
    relay_lanes: Family<(RelayLane,), Gauge> = "relay_lanes",
    /// When the database last said what the figures below tell: each relay asks every 15 s. Absent before the first answer.
    ///
    /// While it is old, so are they.
    relay_observed_at: Value = "relay_observed_timestamp_seconds",
    /// Events that can be seen and that the sink has not taken, but for those that are set aside.
    ///
    /// Counted one by one up to 10,000. Beyond that, it is how many positions there are above the frontier: more than there are
    /// events, for what was rolled back has positions too.
    relay_backlog: Value = "relay_backlog_events",
    /// When the oldest of these events was written: its created_at. Absent while there is none.
    ///
    /// Its age is how well the sink is served, whatever a process says of itself: it grows while nobody carries events. It may
    /// have been carried since the last look. Of more than 10,000 events above the frontier, only the first are looked at.
    relay_oldest: Value = "relay_oldest_event_timestamp_seconds",
    /// Gaps in the positions below the frontier, in which an event may still come.
    relay_gaps: Value = "relay_gaps",
    /// Gaps that were noted more than 60 s ago.
    ///
    /// The log names the process or the prepared transaction that holds each.
    relay_old_gaps: Value = "relay_old_gaps",
    /// Chunks that are being carried, by this relay and by others of its sink.
    relay_chunks: Value = "relay_open_chunks",
    /// Events that the sink has refused, by how they stand.
    relay_failures: Family<(Standing,), Gauge> = "relay_failures",
    /// Partitions of the outbox that are ready beyond the one of the next position.
    ///
    /// Loaders keep two ready, and stop where there is none for the next event: -1. One without an end counts as a thousand.
    relay_partitions_ahead: Value = "relay_partitions_ahead",

    [Console]
    /// Dead letters in the table, by where they stand and what is wrong.
    ///
    /// Of a field or detail, at most 100,000 are counted where there are few of these, and at least 1,000.
    letters: Family<(LetterStatus, Code), Gauge> = "dead_letters",
    /// When the oldest became a dead letter of those that are open; absent while none is.
    oldest_open: Value = "dead_letters_oldest_open_timestamp_seconds",
    /// How much room a table takes, with its indexes and what belongs to rows that are gone.
    table_bytes: Family<(GrowingTable,), Gauge> = "table_bytes",
    /// What operators did since the process started, by any console and on the command line.
    ///
    /// An action of one letter or of many counts once. It is counted half a minute after it is done, and one in a transaction that
    /// took longer than that to commit may be missed: the history has all of them.
    deeds: Family<(Deed,), Counter> = "operator_actions_total",
    /// Events that the sink that is furthest behind has not taken; absent where there is no sink.
    ///
    /// Counted one by one up to 10,000.
    outbox_backlog: Value = "outbox_backlog_events",
    /// When the oldest event was written that a sink has not taken; absent while there is none.
    outbox_oldest: Value = "outbox_oldest_event_timestamp_seconds",
    /// When the last audit that this console ran came to its end; absent before the first.
    ///
    /// Audits of the command line are not known here: their exit codes are theirs.
    audited_at: Value = "audit_last_completed_timestamp_seconds",
    /// Messages that break a rule of that audit; absent before the first.
    ///
    /// The promise is broken where one is above zero.
    discrepancies: Family<(AuditRule,), Gauge> = "audit_discrepancies",
    /// Requests that the console answered, by route and class of the status.
    requests: Family<(Route, StatusClass), Counter> = "http_requests_total",
    /// How long the answers took, those with a status of 5xx included.
    request_duration: Family<(Route,), Histogram<Quick>> = "http_request_duration_seconds",
    /// How long the last answer to a query for these figures took, or its failure.
    collection_duration: Family<(Query,), Gauge> = "collection_duration_seconds",
    /// When the query was last answered; absent before that.
    collected_at: Family<(Query,), Gauge> = "collection_timestamp_seconds",
    /// Queries for these figures that failed.
    ///
    /// The log says why. One that fails holds up no other.
    collection_errors: Family<(Query,), Counter> = "collection_errors_total",
}

/// From five milliseconds to a day: how late an event can be. One of an idle outbox leaves within a poll.
#[derive(Clone, Debug)]
pub struct Delay;

impl Bounds for Delay {
    const BOUNDS: &'static [f64] = &[
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0,
        86_400.0,
    ];
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
