//! The way of a chunk through the sink: in calls that it takes, again while it is away, and smaller where it refuses.

use tokio::time::Instant;

use super::claim::{self, Held};
use super::{RelayError, Shared, mutants};
use crate::database::{Patience, persist};
use crate::failpoint::{RelayStep, around};
use crate::retry::Pauses;
use crate::sink::{Carried, Envelope, Sink, SinkError, calls};
use crate::table::outbox::Event;
use crate::table::relay_chunks::Chunk;
use crate::table::relay_failures::Failure;

/// How the events of a chunk stand.
#[derive(Default)]
struct Progress {
    taken: Vec<i64>,
    refused: Vec<Failure>,
}

/// Why a chunk was not carried to its end. Nothing is lost by it: somebody carries it again.
enum Left {
    /// Another relay has it: this one was too slow.
    Lost,
    /// This relay is told to give up.
    GaveUp,
}

impl<S: Sink> Shared<S> {
    /// Carries a chunk, and lets go of it. Gives the number of events that the sink has taken.
    pub(super) async fn carry(&self, Held { chunk, events }: Held) -> Result<u64, RelayError> {
        let mut progress = Progress::default();
        let mut lease = Lease { chunk: Some(&chunk), since: Instant::now() };
        mutants::before_it_is_carried(self, &chunk).await?;
        match self.through_sink(self.envelopes(&events)?, &mut progress, &mut lease).await? {
            Ok(()) => {
                let close = || mutants::close_noting(self, &chunk, &progress.refused);
                if !persist(Patience::ENDLESS, close).await? {
                    tracing::debug!("a chunk was taken over while it was carried: its events come again");
                }
            }
            Err(Left::Lost) => tracing::debug!("a chunk was taken over: its events come again"),
            Err(Left::GaveUp) => {
                persist(Patience::attempts(2), || claim::release(self, &chunk)).await?;
            }
        }
        if !progress.refused.is_empty() {
            let codes: Vec<&str> = progress.refused.iter().map(|failure| &*failure.code).collect();
            tracing::warn!(events = codes.len(), code = codes.first(), "the sink refuses events; they are tried again");
        }
        Ok(progress.taken.len() as u64)
    }

    /// Tries events again that the sink has refused.
    pub(super) async fn try_again(&self, events: Vec<Event>) -> Result<u64, RelayError> {
        let mut progress = Progress::default();
        let mut lease = Lease { chunk: None, since: Instant::now() };
        // Where this does not come to its end, what is taken is noted, and the rest is due again.
        let _left = self.through_sink(self.envelopes(&events)?, &mut progress, &mut lease).await?;
        let settle = || claim::settle_failures(self, &progress.taken, &progress.refused);
        persist(Patience::ENDLESS, settle).await?;
        Ok(progress.taken.len() as u64)
    }

    fn envelopes(&self, events: &[Event]) -> Result<Vec<Envelope>, RelayError> {
        events.iter().map(|event| Ok(Envelope::of(event, &self.settings.source)?)).collect()
    }

    async fn through_sink(
        &self,
        events: Vec<Envelope>,
        progress: &mut Progress,
        lease: &mut Lease<'_>,
    ) -> Result<Result<(), Left>, RelayError> {
        let mut pauses = Pauses::through_an_outage();
        // The next call is the last of these.
        let mut calls: Vec<Vec<Envelope>> = calls(events, self.sink.limits());
        calls.reverse();
        while let Some(mut events) = calls.pop() {
            if !lease.hold(self).await? {
                return Ok(Err(Left::Lost));
            }
            let answer = around(RelayStep::Carry, self.sink.carry(&events)).await;
            match mutants::answer(answer, events.len()) {
                Ok(outcomes) => {
                    let again = progress.note(events, outcomes);
                    if again.is_empty() {
                        pauses.reset();
                        continue;
                    }
                    calls.push(again);
                }
                Err(SinkError::Refused(code)) if events.len() == 1 => {
                    let refused = vec![Carried::Refused(code)];
                    progress.note(events, refused);
                    continue;
                }
                Err(SinkError::Refused(_)) => {
                    let later = events.split_off(events.len() / 2);
                    calls.extend([later, events]);
                    continue;
                }
                Err(SinkError::Away(cause)) => {
                    tracing::warn!(%cause, "the sink takes nothing, and is tried again");
                    calls.push(events);
                }
                Err(gone @ SinkError::Gone(_)) => return Err(gone.into()),
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next_pause()) => {}
                () = self.shutdown.giving_up.cancelled() => return Ok(Err(Left::GaveUp)),
            }
        }
        Ok(Ok(()))
    }
}

impl Progress {
    /// Notes what became of the events of a call; gives those that are tried again.
    fn note(&mut self, events: Vec<Envelope>, outcomes: Vec<Carried>) -> Vec<Envelope> {
        let mut outcomes = outcomes.into_iter();
        let mut again = Vec::new();
        for event in events {
            // A sink that says nothing of an event has perhaps not taken it.
            match outcomes.next().unwrap_or(Carried::Again) {
                Carried::Taken => self.taken.push(event.position),
                Carried::Again => again.push(event),
                Carried::Refused(code) => {
                    self.refused.push(Failure { position: event.position, event_id: event.id, code });
                }
            }
        }
        again
    }
}

/// The lease on a chunk, where there is one.
struct Lease<'c> {
    chunk: Option<&'c Chunk>,
    since: Instant,
}

impl Lease<'_> {
    /// Renews it in time; `false` where it was lost.
    async fn hold<S: Sink>(&mut self, relay: &Shared<S>) -> Result<bool, RelayError> {
        let Some(chunk) = self.chunk.filter(|_| self.since.elapsed() > relay.settings.lease / 3) else {
            return Ok(true);
        };
        let begun = Instant::now();
        let is_ours = persist(Patience::ENDLESS, || claim::renew(relay, chunk)).await?;
        self.since = begun;
        Ok(is_ours)
    }
}
