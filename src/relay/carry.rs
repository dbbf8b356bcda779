//! The way of a chunk through the sink: in calls that it takes, again while it is away, and smaller where it refuses.

use std::time::Duration;

use tokio::time::Instant;

use super::claim::{self, Held};
use super::patience::SinkPauses;
use super::{RelayError, Shared, mutants};
use crate::database::{Patience, persist};
use crate::failpoint::{RelayStep, around};
use crate::metrics::{Carriage, LaneWatch, RelayLane, TakenUp};
use crate::sink::{Carried, Envelope, Sink, SinkError, calls};
use crate::table::outbox::Event;
use crate::table::relay_chunks::Chunk;
use crate::table::relay_failures::Failure;

/// How the events of a chunk stand.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) taken: Vec<i64>,
    pub(super) refused: Vec<Failure>,
}

/// Why a chunk was not carried to its end. Nothing is lost by it: somebody carries it again.
pub(super) enum Left {
    /// Another relay has it: this one was too slow.
    Lost,
    /// This relay is told to give up.
    GaveUp,
}

impl<S: Sink> Shared<S> {
    /// Carries a chunk, and lets go of it. Gives the number of events that the sink has taken.
    pub(super) async fn carry(&self, held: Held, watch: &LaneWatch) -> Result<u64, RelayError> {
        let Held { chunk, events, how, since } = held;
        self.note_takeover(how);
        let mut progress = Progress::default();
        let mut lease = Lease { chunk: Some(&chunk), since, how, watch };
        mutants::before_it_is_carried(self, &chunk).await?;
        match self.through_sink(self.envelopes(&events)?, &mut progress, &mut lease).await? {
            Ok(()) => {
                let close = || mutants::close_noting(self, &chunk, &progress.refused);
                match self.persist(watch, close).await? {
                    true => {
                        self.tell_set_aside(self.set_aside_at_once(progress.refused.len()), progress.refused.first());
                        self.forget_failures(how, &progress.taken, watch).await?;
                    }
                    false => tracing::debug!("a chunk was taken over while it was carried: its events come again"),
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

    /// What was replayed and is taken now is refused no more, if it ever was.
    async fn forget_failures(&self, how: TakenUp, taken: &[i64], watch: &LaneWatch) -> Result<(), RelayError> {
        if how == TakenUp::TakenOver && !taken.is_empty() {
            self.persist(watch, || claim::settle_failures(self, taken, &[])).await?;
        }
        Ok(())
    }

    /// Tries events again that the sink has refused, and that were taken up no earlier than `since`.
    pub(super) async fn try_again(
        &self,
        events: Vec<Event>,
        since: Instant,
        watch: &LaneWatch,
    ) -> Result<u64, RelayError> {
        let mut progress = Progress::default();
        let mut lease = Lease { chunk: None, since, how: TakenUp::Again, watch };
        // Where this does not come to its end, what is taken is noted, and the rest is due again.
        let _left = self.through_sink(self.envelopes(&events)?, &mut progress, &mut lease).await?;
        let settle = || claim::settle_failures(self, &progress.taken, &progress.refused);
        let set_aside = self.persist(watch, settle).await?;
        self.tell_set_aside(set_aside, progress.refused.first());
        Ok(progress.taken.len() as u64)
    }

    /// Counts events that are set aside, and says so.
    pub(super) fn tell_set_aside(&self, events: u64, first: Option<&Failure>) {
        if events > 0 {
            self.database.metrics().count(|figures| figures.relay_set_aside.add((), events));
            let code = first.map(|failure| &*failure.code);
            tracing::warn!(events, code, "the sink has refused events too often: they are set aside");
        }
    }

    /// How many of those that were refused for the first time are set aside at once.
    pub(super) fn set_aside_at_once(&self, refused: usize) -> u64 {
        if self.settings.most_attempts <= 1 { refused as u64 } else { 0 }
    }

    /// Counts a chunk that another relay had left.
    pub(super) fn note_takeover(&self, how: TakenUp) {
        let is_taken_over = u64::from(how == TakenUp::TakenOver);
        self.database.metrics().count(|figures| figures.relay_taken_over.add((), is_taken_over));
    }

    pub(super) fn envelopes(&self, events: &[Event]) -> Result<Vec<Envelope>, RelayError> {
        events.iter().map(|event| Ok(Envelope::of(event, &self.settings.source)?)).collect()
    }

    /// Carries events as far as it can, and counts them: what was taken up has been taken or refused by the end, or is left.
    pub(super) async fn through_sink(
        &self,
        events: Vec<Envelope>,
        progress: &mut Progress,
        lease: &mut Lease<'_>,
    ) -> Result<Result<(), Left>, RelayError> {
        let (metrics, all) = (self.database.metrics(), events.len());
        metrics.count(|figures| {
            figures.relay_taken_up.add((lease.how,), all as u64);
            figures.relay_in_hand.set((), figures.relay_in_hand.get(()).unwrap_or_default() + all as f64);
        });
        let before = progress.ended();
        let outcome = self.in_calls(events, progress, lease).await;
        let left = (before + all).saturating_sub(progress.ended());
        metrics.count(|figures| figures.settle_events(Carriage::Left, left as u64));
        outcome
    }

    async fn in_calls(
        &self,
        events: Vec<Envelope>,
        progress: &mut Progress,
        lease: &mut Lease<'_>,
    ) -> Result<Result<(), Left>, RelayError> {
        let mut pauses = SinkPauses::new();
        // The next call is the last of these.
        let mut calls: Vec<Vec<Envelope>> = calls(events, self.sink.limits());
        calls.reverse();
        while let Some(mut events) = calls.pop() {
            if !lease.hold(self).await? {
                return Ok(Err(Left::Lost));
            }
            lease.watch.is(RelayLane::Carrying);
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
                Err(SinkError::Away(_)) => calls.push(events),
                Err(gone @ SinkError::Gone(_)) => return Err(gone.into()),
            }
            if let Err(left) = self.wait_for_sink(pauses.next(), lease).await? {
                return Ok(Err(left));
            }
        }
        Ok(Ok(()))
    }

    /// Waits, and keeps the lease meanwhile.
    async fn wait_for_sink(&self, pause: Duration, lease: &mut Lease<'_>) -> Result<Result<(), Left>, RelayError> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            lease.watch.is(RelayLane::WaitingForSink);
            let step = until.min(Instant::now() + self.settings.lease / 3);
            tokio::select! {
                () = tokio::time::sleep_until(step) => {}
                () = self.shutdown.giving_up.cancelled() => return Ok(Err(Left::GaveUp)),
            }
            if !lease.hold(self).await? {
                return Ok(Err(Left::Lost));
            }
        }
        Ok(Ok(()))
    }
}

impl Progress {
    /// How many events the sink has taken or refused.
    fn ended(&self) -> usize {
        self.taken.len() + self.refused.len()
    }

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

/// The lease on a chunk, where there is one, and who has it.
pub(super) struct Lease<'c> {
    pub(super) chunk: Option<&'c Chunk>,
    pub(super) since: Instant,
    pub(super) how: TakenUp,
    pub(super) watch: &'c LaneWatch,
}

impl Lease<'_> {
    /// Renews it in time; `false` where it was lost. What was refused before is held for one lease and no longer, so that it
    /// is known anew whether an operator has given it up: a call may take half of the lease.
    async fn hold<S: Sink>(&mut self, relay: &Shared<S>) -> Result<bool, RelayError> {
        let Some(chunk) = self.chunk else { return Ok(self.since.elapsed() < relay.settings.lease / 2) };
        if self.since.elapsed() <= relay.settings.lease / 3 {
            return Ok(true);
        }
        let begun = Instant::now();
        let is_ours = relay.persist(self.watch, || claim::renew(relay, chunk)).await?;
        self.since = begun;
        Ok(is_ours)
    }
}
