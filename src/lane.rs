//! A lane: receive → decode → mask → batch → load → acknowledge, over and over.
//!
//! It receives in its turn only, and what it has committed is deleted while it receives and loads the next.

mod books;
mod guard;
mod mutants;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

pub use self::guard::Guard;
pub use self::turns::Turns;

use self::books::{Sum, ended};
use self::turns::{News, Turn};
use crate::acknowledge::{Acknowledged, Deletes, DeletesRefused, UnderWay};
use crate::batch::Sorted;
use crate::failpoint::{Step, around};
use crate::lease::{self, InHand};
use crate::load::{Destination, LoadError, Loaded};
use crate::message::{Delivery, TimeBasis};
use crate::metrics::{Deletion, Label as _, LaneState, LaneWatch, Metrics, Outcome, Peer};
use crate::queue::{Depth, Queue, QueueError};
use crate::receive::{ReceiveLimits, Received, Stride, by_time, receive};
use crate::retry::Pauses;
use crate::shutdown::Shutdown;
use crate::spans::{self, Settlement};
use crate::storm::{self, Permit};
use crate::table::dead_letters;
use crate::verdict::{Judge, Verdict};

/// How a lane works; the same for all of a process.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// How much is received at once, and for how long it is hidden.
    pub limits: ReceiveLimits,
    /// How many deliveries a message that is not a login gets before it is dead-lettered.
    pub max_attempts: u32,
    /// How long a rejected message is hidden before its second delivery; doubled after that.
    pub retry_delay: Duration,
    /// Whether to end when the queue is drained.
    pub until_empty: bool,
    /// For how long the queue may refuse every delete for good before the lane ends.
    pub delete_patience: Duration,
    /// When so many messages are rejected that no more are taken; none: never.
    pub storm: Option<storm::Limits>,
    /// How many bytes the dead letters may take before no more messages are taken; none: as many as there is room for.
    pub dead_letter_quota: Option<u64>,
    /// Whether events say in which trace their message was sent.
    pub keeps_trace_context: bool,
}

/// One lane. Any number of them, in any number of processes, may share a queue and a database.
pub struct Lane<Q> {
    /// Where messages come from.
    pub queue: Q,
    /// Where they go; shared by the lanes of a process.
    pub destination: Arc<Destination>,
    /// What makes verdicts of them.
    pub judge: Arc<Judge>,
    /// How to work.
    pub settings: LaneSettings,
    /// Where it is counted.
    pub metrics: Metrics,
    /// What it is doing.
    pub watch: LaneWatch,
    /// When to receive; shared by the lanes of a process.
    pub turns: Arc<Turns>,
    /// Whether too many messages are not logins; shared by the lanes of a process.
    pub guard: Arc<Guard>,
    /// Whether the queue deletes what is committed; shared by the lanes of a process.
    pub deletes: Arc<Deletes>,
    /// When to end.
    pub shutdown: Shutdown,
}

/// What made a lane stop before its end. Nothing is lost by it: what was not committed comes again.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The queue refuses, and a pause would not help.
    #[error("the queue cannot be received from: {0}")]
    Queue(QueueError),
    /// The queue refuses to delete what is loaded, and a pause did not help.
    #[error(transparent)]
    Deletes(#[from] DeletesRefused),
    /// Too many messages are rejected, and somebody waits for the end of the queue.
    #[error("too many messages are not logins (--max-rejection-rate): the queue is not taken to its end")]
    Storm,
    /// There is no room for dead letters, and somebody waits for the end of the queue.
    #[error("the dead letters have taken their quota (--dead-letter-quota): the queue is not taken to its end")]
    Full,
    /// The database refuses, or could not be reached until the end.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl LaneError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Queue(error) => Some(error.remedy()),
            Self::Deletes(refused) => Some(refused.remedy().to_owned()),
            Self::Storm => Some(guard::REMEDY_UNTIL_EMPTY.to_owned()),
            Self::Full => Some(guard::REMEDY_OF_QUOTA_UNTIL_EMPTY.to_owned()),
            Self::Load(error) => error.remedy().map(str::to_owned),
        }
    }
}

impl<Q: Queue> Lane<Q> {
    /// Works until told to stop, or until the queue is drained where that was asked.
    ///
    /// # Errors
    ///
    /// [`LaneError`]
    pub async fn run(self) -> Result<(), LaneError> {
        let mut under_way = UnderWay::default();
        let ended = self.work(&mut under_way).await;
        under_way.finish().await;
        ended
    }

    async fn work(&self, under_way: &mut UnderWay) -> Result<(), LaneError> {
        let mut pauses = Pauses::through_an_outage();
        let mut stride = Stride::default();
        while let Some(turn) = self.next_turn().await {
            // What cannot be deleted comes again: its receives must not be used up.
            self.deletes.settled().await?;
            if self.shutdown.stopping.is_cancelled() {
                break;
            }
            if self.rests_while_paused().await {
                continue;
            }
            self.look_at_dead_letters().await;
            let is_probe = match self.guard.permit() {
                Permit::All => false,
                Permit::Probe | Permit::Nothing(_) if self.settings.until_empty => {
                    return Err(if self.guard.is_full() { LaneError::Full } else { LaneError::Storm });
                }
                Permit::Probe => true,
                Permit::Nothing(pause) => {
                    self.rest(pause).await;
                    continue;
                }
            };
            let begun = Instant::now();
            self.watch.is(LaneState::Receiving);
            let limits = self.guard.narrowed(self.settings.limits, is_probe);
            let receiving = receive(&self.queue, &limits, &mut stride, &self.shutdown.stopping);
            let span = spans::receive(self.queue.identity());
            let mut received = match around(Step::Receive, receiving).instrument(span.clone()).await {
                Ok(received) => received,
                Err(error) => {
                    spans::failed(&span, error.outcome().word(), None);
                    drop(span);
                    drop(turn);
                    self.pause_after(error, begun, &mut pauses).await?;
                    continue;
                }
            };
            let took = begun.elapsed();
            spans::received(&span, received.messages.len());
            let news = self.news_of(&received).await;
            if received.messages.is_empty() {
                // Within its turn, so that no other lane asks meanwhile.
                self.rest(self.turns.pause_over_nothing(took, self.settings.limits.wait)).await;
            }
            turn.end(news);
            let failure = received.failure.take();
            failure.iter().for_each(|error| spans::failed(&span, error.outcome().word(), None));
            if !received.messages.is_empty() {
                let producers = received.messages.iter().filter_map(|message| message.producer);
                let span = spans::process(&span, self.queue.identity(), received.messages.len(), producers);
                self.take_through(received, is_probe, under_way, &span).instrument(span.clone()).await?;
                self.turns.loaded();
            }
            match failure {
                Some(error) => self.pause_after(error, begun, &mut pauses).await?,
                None => {
                    pauses.reset();
                    self.queue_answered();
                }
            }
        }
        Ok(())
    }

    /// Looks how much room the dead letters take, where nobody has done so lately.
    async fn look_at_dead_letters(&self) {
        if !self.guard.looks_at_dead_letters() {
            return;
        }
        match self.destination.database.snapshot(dead_letters::bytes).await {
            Ok(bytes) => self.guard.dead_letters_take(bytes),
            // What was written since the last look is known all the same.
            Err(error) => tracing::debug!(%error, "nobody says how much room the dead letters take"),
        }
    }

    /// Rests while an operator wants nothing to be received, and says whether that was so. It keeps its turn, so that no other
    /// lane receives meanwhile.
    async fn rests_while_paused(&self) -> bool {
        let pause = &self.destination.pause;
        if pause.since().is_none() {
            return false;
        }
        tokio::select! {
            () = pause.is_over() => {}
            () = self.shutdown.stopping.cancelled() => {}
        }
        true
    }

    async fn next_turn(&self) -> Option<Turn<'_>> {
        self.watch.is(LaneState::Resting);
        self.turns.next(&self.shutdown.stopping).await
    }

    fn queue_answered(&self) {
        if let Some(lasted) = self.turns.outage.ended() {
            tracing::info!(after = %lasted, attempts = lasted.attempts, "the queue is back");
        }
        self.metrics.count(|figures| figures.answered(Peer::Queue));
    }

    /// What the other lanes should know.
    async fn news_of(&self, received: &Received) -> News {
        let is_empty = received.messages.is_empty();
        match received.had_more {
            true => News::More,
            false if is_empty && self.settings.until_empty && self.holds_nothing().await => News::Nothing,
            false => News::NoMore,
        }
    }

    /// The way of the messages of one gathering.
    async fn take_through(
        &self,
        received: Received,
        is_probe: bool,
        under_way: &mut UnderWay,
        span: &Span,
    ) -> Result<(), LaneError> {
        let LaneSettings { limits, max_attempts, retry_delay, .. } = self.settings;
        let giving_up = &self.shutdown.giving_up;
        self.watch.is(LaneState::Loading);
        let in_hand = self.in_hand(&received);
        let seen = TimeBasis::of_first(received.messages.iter().map(|message| &message.delivery));
        let basis = self.destination.time_basis(seen, self.judge.identifier.identity(), giving_up);
        let basis = match lease::hold(&self.queue, &in_hand, limits.visibility_timeout, received.since, basis).await {
            Ok(basis) => basis,
            Err(error) => return self.give_back(error, &in_hand, Sum::default(), span).await,
        };
        let (messages, timeless) = by_time(received.messages, basis);
        let judge = |message| {
            let verdict = mutants::verdict(self.judge.judge(message));
            Verdict { origin: verdict.origin.filter(|_| self.settings.keeps_trace_context), ..verdict }
        };
        let verdicts: Vec<_> = messages.into_iter().map(judge).collect();
        self.metrics.count(|figures| figures.judged(&verdicts));
        let rejections = self.guard.judged(is_probe, &verdicts);
        let max_attempts = if rejections.may_be_buried { max_attempts } else { u32::MAX };
        let Sorted { batch, mut returned } = Sorted::from_verdicts(verdicts, max_attempts);
        self.guard.held_back(rejections, &returned);
        returned.extend(timeless);
        in_hand.let_go(&returned, ended(Outcome::Returned));
        mutants::before_the_commit(&self.queue, &in_hand).await;
        let (recorded, parts) = mpsc::unbounded_channel();
        let loading = async {
            // The other half of the channel hears of the end when this is dropped.
            let recorded = recorded;
            self.destination.load(batch, giving_up, &recorded, &self.watch).await
        };
        let loading = lease::hold(&self.queue, &in_hand, limits.visibility_timeout, received.since, loading);
        let returning =
            around(Step::Return, self.return_for_retry(&returned, rejections.hidden_for.unwrap_or(retry_delay)));
        let acknowledging = self.acknowledge_parts(parts, &in_hand, under_way);
        let (loaded, (), mut sum) = futures_util::future::join3(loading, returning, acknowledging).await;
        sum.returned += returned.len() as u64;
        match loaded {
            Ok(left) => {
                sum.returned += left.returned.len() as u64;
                sum.released += left.released.len() as u64;
                spans::processed(span, sum);
                in_hand.let_go(&left.returned, ended(Outcome::Returned));
                in_hand.let_go(&left.released, ended(Outcome::Released));
                let given_back: Vec<Delivery> = left.returned.into_iter().chain(left.released).collect();
                self.return_for_retry(&given_back, retry_delay).await;
                Ok(())
            }
            Err(error) => self.give_back(error, &in_hand, sum, span).await,
        }
    }

    async fn return_for_retry(&self, returned: &[Delivery], retry_delay: Duration) {
        let span = spans::settle(self.queue.identity(), Settlement::Return, returned.len());
        lease::return_for_retry(&self.queue, returned, retry_delay).instrument(span).await;
    }

    /// What was received, as it is counted.
    fn in_hand(&self, received: &Received) -> InHand {
        let messages = &received.messages;
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        let holding = self.metrics.hold(messages.len() as u64, bytes as u64, |figures| figures.came(messages));
        InHand::new(messages.iter().map(|message| message.delivery.receipt.clone()), holding)
    }

    /// Deletes what is recorded as soon as it is, while the rest is still being loaded; says how that ended.
    async fn acknowledge_parts(
        &self,
        mut parts: UnboundedReceiver<Loaded>,
        in_hand: &InHand,
        under_way: &mut UnderWay,
    ) -> Sum {
        let mut sum = Sum::default();
        while let Some(loaded) = parts.recv().await {
            sum.add(&loaded.tally);
            self.guard.recorded(&loaded);
            let contradictions = self.destination.contradictions;
            in_hand.let_go(loaded.committed.deliveries(), |figures, _| figures.recorded(&loaded, contradictions));
            under_way.begin(self.conclude(loaded)).await;
        }
        sum
    }

    /// What becomes of messages that were not loaded.
    async fn give_back(&self, error: LoadError, in_hand: &InHand, mut sum: Sum, span: &Span) -> Result<(), LaneError> {
        match error {
            LoadError::GaveUp => {
                let receipts = in_hand.take_all(ended(Outcome::Released));
                sum.released += receipts.len() as u64;
                spans::processed(span, sum);
                spans::failed(span, "gave_up", None);
                let settling = spans::settle(self.queue.identity(), Settlement::Release, receipts.len());
                lease::release(&self.queue, &receipts).instrument(settling).await;
                tracing::warn!(%error, messages = receipts.len(), "given back to the queue");
                Ok(())
            }
            // Not released: a program that is started again and again would use up the receives of healthy messages,
            // and the queue's own redrive would take them.
            LoadError::Stopped(_) | LoadError::NoSentTimestamp => {
                spans::processed(span, sum);
                spans::failed(span, "stopped", None);
                Err(error.into())
            }
        }
    }

    /// Lets go of what is loaded, and counts it. It borrows nothing, so that the lane can go on meanwhile.
    fn conclude(&self, loaded: Loaded) -> impl Future<Output = ()> + Send + 'static {
        let (queue, metrics, deletes) = (self.queue.clone(), self.metrics.clone(), self.deletes.clone());
        let Loaded { committed, tally, .. } = loaded;
        let span = spans::settle(self.queue.identity(), Settlement::Delete, committed.deliveries().len());
        async move {
            let Acknowledged { deleted, not_deleted } =
                around(Step::Delete, mutants::acknowledge(&queue, committed, &deletes)).instrument(span.clone()).await;
            if not_deleted > 0 {
                spans::failed(&span, "not_deleted", None);
            }
            tracing::debug!(
                loaded = tally.loaded,
                dead_lettered = tally.dead_lettered,
                duplicates = tally.duplicates(),
                deleted,
                not_deleted,
                "recorded"
            );
            metrics.count(|figures| {
                figures.deletes.add((Deletion::Deleted,), deleted);
                figures.deletes.add((Deletion::NotDeleted,), not_deleted);
            });
        }
    }

    async fn holds_nothing(&self) -> bool {
        match self.queue.depth().await {
            Ok(depth) => {
                if !depth.is_empty() && self.turns.is_news(depth) {
                    let Depth { visible, in_flight, delayed } = depth;
                    tracing::info!(visible, in_flight, delayed, "waiting for messages that cannot be received yet");
                }
                depth.is_empty()
            }
            Err(error) => {
                tracing::warn!(%error, "the queue does not say what it holds");
                false
            }
        }
    }

    async fn pause_after(&self, error: QueueError, begun: Instant, pauses: &mut Pauses) -> Result<(), LaneError> {
        if error.is_for_good() {
            return Err(LaneError::Queue(error));
        }
        let pause = pauses.next_pause_after(begun.elapsed());
        let lasting = self.turns.outage.failed(begun.into_std());
        let (pause_ms, attempt) = (pause.as_millis(), lasting.attempts);
        tracing::warn!(%error, pause_ms, attempt, %lasting, "receiving failed and is tried again");
        self.metrics.count(|figures| figures.unanswered(Peer::Queue, lasting));
        self.watch.is(LaneState::WaitingForQueue);
        self.rest(pause).await;
        Ok(())
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.stopping.cancelled() => {}
        }
    }
}
