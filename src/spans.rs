//! The spans: what can be followed of a batch on its way, and all that each of them says.
//!
//! They are made where the work is done, one trace a batch. Unless traces are sent, no layer wants them: their
//! callsites are off then, and what they would say is not even computed. What they say comes from closed sets, or is
//! counted: never a value of a message, nor the text of an error.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::message::{ProducerContext, QueueIdentity};

/// The target of every span, by which they are told from the log.
pub const TARGET: &str = "turnstile::trace";

/// The most producers that a batch is linked to: backends keep no more.
pub const MOST_LINKS: usize = 128;

/// The attribute that says how many messages a span is about.
pub const MESSAGES: &str = "messaging.batch.message_count";

/// What of a batch makes its trace worth keeping, whatever the sampler says: attributes of `process` that are not zero.
pub const NOTEWORTHY: [&str; 3] = ["turnstile.dead_lettered", "turnstile.returned", "turnstile.released"];

/// How messages are settled with the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// They are recorded, and deleted.
    Delete,
    /// They go back, hidden for a while.
    Return,
    /// They go back, for the next that asks.
    Release,
}

impl Settlement {
    fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Return => "return",
            Self::Release => "release",
        }
    }
}

/// How the messages of a batch ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// As rows.
    pub loaded: u64,
    /// As dead letters.
    pub dead_lettered: u64,
    /// As nothing new.
    pub duplicates: u64,
    /// Back in the queue, for another attempt.
    pub returned: u64,
    /// Back in the queue, untried or through no fault of theirs.
    pub released: u64,
}

/// Gathering messages from the queue: the root of a batch's trace. The trace of a gathering that brings nothing is
/// dropped.
pub fn receive(queue: &QueueIdentity) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "receive",
        "otel.name" = format!("receive {}", name_of(queue)),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "messaging.system" = "aws_sqs",
        "messaging.operation.name" = "receive",
        "messaging.operation.type" = "receive",
        "messaging.destination.name" = name_of(queue),
        { MESSAGES } = Empty,
        "error.type" = Empty,
    )
}

/// Notes how many messages a gathering brought.
pub fn received(span: &Span, messages: usize) {
    span.record(MESSAGES, count(messages as u64));
}

/// Judging and recording what was received, and going on from what its producers did.
pub fn process(
    received: &Span,
    queue: &QueueIdentity,
    messages: usize,
    producers: impl Iterator<Item = ProducerContext>,
) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: received,
        "process",
        "otel.name" = format!("process {}", name_of(queue)),
        "otel.kind" = "consumer",
        "otel.status_code" = Empty,
        "messaging.system" = "aws_sqs",
        "messaging.operation.name" = "process",
        "messaging.operation.type" = "process",
        "messaging.destination.name" = name_of(queue),
        { MESSAGES } = count(messages as u64),
        "turnstile.loaded" = Empty,
        "turnstile.dead_lettered" = Empty,
        "turnstile.duplicates" = Empty,
        "turnstile.returned" = Empty,
        "turnstile.released" = Empty,
        "error.type" = Empty,
    );
    if !span.is_disabled() {
        link(&span, producers);
    }
    span
}

/// Notes how the messages of a batch ended.
pub fn processed(span: &Span, ended: Ended) {
    let Ended { loaded, dead_lettered, duplicates, returned, released } = ended;
    span.record("turnstile.loaded", count(loaded));
    span.record("turnstile.dead_lettered", count(dead_lettered));
    span.record("turnstile.duplicates", count(duplicates));
    span.record("turnstile.returned", count(returned));
    span.record("turnstile.released", count(released));
}

/// Settling messages with the queue; nothing where there are none.
pub fn settle(queue: &QueueIdentity, how: Settlement, messages: usize) -> Span {
    if messages == 0 {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "settle",
        "otel.name" = format!("settle {}", name_of(queue)),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "messaging.system" = "aws_sqs",
        "messaging.operation.name" = "settle",
        "messaging.operation.type" = "settle",
        "messaging.destination.name" = name_of(queue),
        { MESSAGES } = count(messages as u64),
        "turnstile.settlement" = how.word(),
        "error.type" = Empty,
    )
}

/// One attempt at the transaction that records messages, in this way of writing rows.
pub fn transaction(way: &'static str, messages: usize) -> Span {
    info_span!(
        target: TARGET,
        "transaction",
        "otel.status_code" = Empty,
        "db.system.name" = "postgresql",
        "turnstile.way" = way,
        { MESSAGES } = count(messages as u64),
        "db.response.status_code" = Empty,
        "error.type" = Empty,
    )
}

/// BEGIN or COMMIT.
pub fn bracket(operation: &'static str) -> Span {
    info_span!(
        target: TARGET,
        "statement",
        "otel.name" = operation,
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "db.system.name" = "postgresql",
        "db.operation.name" = operation,
        "db.response.status_code" = Empty,
        "error.type" = Empty,
    )
}

/// A statement over so many rows of a table; nothing where there are none, because nothing is sent then.
pub fn statement(operation: &'static str, table: &'static str, rows: usize) -> Span {
    if rows == 0 {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "statement",
        "otel.name" = format!("{operation} {table}"),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "db.system.name" = "postgresql",
        "db.operation.name" = operation,
        "db.collection.name" = table,
        "turnstile.rows" = count(rows as u64),
        "db.response.status_code" = Empty,
        "error.type" = Empty,
    )
}

/// Notes of what class a failure was, and the server's code for it.
pub fn failed(span: &Span, class: &'static str, sqlstate: Option<&str>) {
    span.record("otel.status_code", "error");
    span.record("error.type", class);
    sqlstate.map(|code| span.record("db.response.status_code", code));
}

/// What a queue is called, without where it is.
fn name_of(queue: &QueueIdentity) -> &str {
    queue.as_str().rsplit([':', '/']).next().unwrap_or_default()
}

/// As the exporter takes numbers.
fn count(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(feature = "traces")]
fn link(span: &Span, producers: impl Iterator<Item = ProducerContext>) {
    use std::collections::HashSet;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let mut linked = HashSet::new();
    // A producer that sends many messages under one span is one.
    for producer in producers.filter(|producer| linked.insert((producer.trace_id, producer.span_id))).take(MOST_LINKS) {
        let flags = if producer.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let (trace, of_trace) = (TraceId::from(producer.trace_id), SpanId::from(producer.span_id));
        span.add_link(SpanContext::new(trace, of_trace, flags, true, TraceState::default()));
    }
}

#[cfg(not(feature = "traces"))]
fn link(_: &Span, _: impl Iterator<Item = ProducerContext>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_without_its_place() {
        for (identity, name) in [
            ("arn:aws:sqs:eu-central-1:123456789012:logins.fifo", "logins.fifo"),
            ("http://localhost:9324/000000000000/logins", "logins"),
            ("logins", "logins"),
        ] {
            assert_eq!(name_of(&QueueIdentity::new(identity)), name);
        }
    }
}
