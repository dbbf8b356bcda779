//! The sink, counted: what it takes and how late, how its calls end, and for how long it takes nothing.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::time::timeout;

use crate::metrics::{Carriage, Metrics, Refusal, SinkCall, Snapshot, unix_seconds};
use crate::outage::Outage;
use crate::sink::{Carried, Envelope, Limits, Sink, SinkError};

/// A sink whose calls are counted, and whose outages are told: when one begins, once a minute, and when it is over.
pub(super) struct Counted<S> {
    sink: S,
    deadline: Duration,
    metrics: Metrics,
    outage: Outage,
}

impl<S> Counted<S> {
    /// A call may take so long.
    pub(super) fn new(sink: S, deadline: Duration, metrics: &Metrics) -> Self {
        Self { sink, deadline, metrics: metrics.clone(), outage: Outage::default() }
    }
}

impl<S: Sink> Sink for Counted<S> {
    fn limits(&self) -> Limits {
        self.sink.limits()
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let begun = Instant::now();
        let answer = timeout(self.deadline, self.sink.carry(events)).await;
        let answer = answer.unwrap_or_else(|_| Err(SinkError::Away("no answer within half of --lease".to_owned())));
        self.note(events, &answer, begun);
        answer
    }
}

impl<S> Counted<S> {
    fn note(&self, events: &[Envelope], answer: &Result<Vec<Carried>, SinkError>, begun: Instant) {
        let how = how_it_ended(events, answer);
        let away = (how == SinkCall::Away).then(|| self.outage.failed_among_many(begun));
        self.metrics.count(|figures| {
            figures.relay_calls.add((how,), 1);
            if !matches!(how, SinkCall::Away | SinkCall::Gone) {
                figures.relay_call_duration.observe((), begun.elapsed().as_secs_f64());
                figures.sink_takes();
            }
            if let Some((lasting, _)) = away {
                figures.sink_is_away(lasting);
            }
            figures.end_of_call(events, answer);
        });
        match (away, answer) {
            (Some((lasting, true)), Err(cause)) => {
                tracing::warn!(%cause, attempts = lasting.attempts, %lasting, "the sink takes nothing, and is tried again");
            }
            (Some((lasting, true)), Ok(_)) => {
                let attempts = lasting.attempts;
                tracing::warn!(attempts, %lasting, "the sink answers and takes nothing for now, and is tried again");
            }
            (Some((_, false)), _) => {}
            (None, _) => self.tell_end(),
        }
    }

    fn tell_end(&self) {
        if let Some(lasted) = self.outage.ended() {
            tracing::info!(after = %lasted, attempts = lasted.attempts, "the sink takes events again");
        }
    }
}

fn how_it_ended(events: &[Envelope], answer: &Result<Vec<Carried>, SinkError>) -> SinkCall {
    match answer {
        Ok(outcomes) => {
            let outcomes = || outcomes.iter().take(events.len());
            let taken = outcomes().filter(|outcome| **outcome == Carried::Taken).count();
            match outcomes().all(|outcome| *outcome == Carried::Again) {
                true => SinkCall::Away,
                false if taken == events.len() => SinkCall::Taken,
                false => SinkCall::Partly,
            }
        }
        Err(SinkError::Refused(_)) => SinkCall::Refused,
        Err(SinkError::Away(_)) => SinkCall::Away,
        Err(SinkError::Gone(_)) => SinkCall::Gone,
    }
}

impl Snapshot {
    /// Counts what became of the events of a call; those that are tried again stay in hand.
    fn end_of_call(&mut self, events: &[Envelope], answer: &Result<Vec<Carried>, SinkError>) {
        match answer {
            Ok(outcomes) => {
                let now = OffsetDateTime::now_utc();
                let mut taken = 0;
                for (event, outcome) in events.iter().zip(outcomes) {
                    match outcome {
                        Carried::Taken => {
                            taken += 1;
                            self.relay_delay.observe((), lasted(event.created_at, now).as_secs_f64());
                        }
                        Carried::Again => {}
                        Carried::Refused(code) => self.refused(code),
                    }
                }
                if taken > 0 {
                    self.settle_events(Carriage::Carried, taken);
                    self.relay_last_carried.set((), unix_seconds(now));
                }
            }
            // One that is refused alone is what was refused; of more, it is looked for in smaller calls.
            Err(SinkError::Refused(code)) if events.len() == 1 => self.refused(code),
            Err(_) => {}
        }
    }

    fn refused(&mut self, code: &str) {
        self.settle_events(Carriage::Refused, 1);
        self.relay_refusals.add((Refusal::of(code),), 1);
    }
}

/// By two clocks: the later may show less.
fn lasted(since: OffsetDateTime, until: OffsetDateTime) -> Duration {
    Duration::try_from(until - since).unwrap_or_default()
}
