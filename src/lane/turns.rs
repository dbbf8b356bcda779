//! Which lanes receive, and which rest: one when the queue is idle, all when it is deep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::queue::Depth;
use crate::retry::Pauses;

/// How often in a row the queue must say that it holds nothing, and a receive bring nothing, before it is taken to be
/// drained: the queue's counts are approximate.
const DRAINED_AFTER: u32 = 3;

/// The first and the longest pause after a receive that brought nothing, and did not wait for it either.
const PAUSES_OVER_NOTHING: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The turns at receiving that the lanes of a process take.
///
/// A lane receives in its turn only, loads without one, and rests until the next. Nobody rests while a turn is
/// free, so that one lane always receives unless all are loading, whatever they wait for.
#[derive(Debug)]
pub struct Turns {
    lanes: usize,
    /// The free turns: with those that are taken, as many as `receiving` allows.
    free: Semaphore,
    receiving: Mutex<Receiving>,
    over_nothing: Mutex<Pauses>,
    /// What the queue last said that it holds, while nothing could be received.
    held: Mutex<Depth>,
    /// Since when the queue does not answer, whichever lane asks it.
    pub(super) outage: Outage,
}

/// What a lane learnt in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The queue had more than was taken.
    More,
    /// It had no more, or does not answer.
    NoMore,
    /// It had nothing, and says that it holds nothing.
    Nothing,
}

impl Turns {
    /// For this many lanes, the first of which may receive.
    pub fn among(lanes: usize) -> Self {
        let receiving = Receiving { at_once: 1, drained: 0 };
        let over_nothing = Pauses::new(PAUSES_OVER_NOTHING.0, PAUSES_OVER_NOTHING.1);
        Self {
            lanes,
            free: Semaphore::new(receiving.at_once),
            receiving: Mutex::new(receiving),
            over_nothing: Mutex::new(over_nothing),
            held: Mutex::default(),
            outage: Outage::default(),
        }
    }

    /// Rests until it is the caller's turn: first come, first served. `None` when there is nothing to receive any more:
    /// once `stopping` is cancelled, or the queue is drained.
    pub async fn next(&self, stopping: &CancellationToken) -> Option<Turn<'_>> {
        let free = tokio::select! {
            biased;
            () = stopping.cancelled() => return None,
            free = self.free.acquire() => free.ok()?,
        };
        if self.receiving().is_drained() {
            return None;
        }
        free.forget();
        Some(Turn { turns: self, news: News::NoMore })
    }

    /// What a lane had in hand has been loaded. Some of it may have gone back to the queue, whatever that said
    /// meanwhile.
    pub fn loaded(&self) {
        self.receiving().drained = 0;
        self.over_nothing().reset();
    }

    /// Whether the queue holds something else than it said the last time.
    pub(super) fn is_news(&self, depth: Depth) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, depth) != depth
    }

    /// How long to keep a turn that brought nothing, before the next may ask: the receive took so long, and should have
    /// waited for up to `wait`. Not at all where it did wait; longer each time where it did not, until there is a message.
    pub fn pause_over_nothing(&self, took: Duration, wait: Duration) -> Duration {
        let wait = wait.max(2 * PAUSES_OVER_NOTHING.0);
        if took >= wait / 2 {
            return Duration::ZERO;
        }
        self.over_nothing().next_pause().min(wait)
    }

    fn receiving(&self) -> MutexGuard<'_, Receiving> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over_nothing(&self) -> MutexGuard<'_, Pauses> {
        self.over_nothing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to receive. Given up without news, it counts as [`News::NoMore`]: a queue that fails is asked less.
#[derive(Debug)]
pub struct Turn<'t> {
    turns: &'t Turns,
    news: News,
}

impl Turn<'_> {
    /// Gives it up for the next lane, with what was learnt.
    pub fn end(mut self, news: News) {
        self.news = news;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut receiving = self.turns.receiving();
        let before = receiving.at_once;
        *receiving = receiving.after(self.news, self.turns.lanes);
        // This one, and one more or one less.
        self.turns.free.add_permits((1 + receiving.at_once).saturating_sub(before));
    }
}

/// How much is received at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receiving {
    /// How many lanes may receive: from one to all.
    at_once: usize,
    /// How often in a row the only receiving lane heard that there is nothing.
    drained: u32,
}

impl Receiving {
    fn after(self, news: News, lanes: usize) -> Self {
        let fewer = (self.at_once - 1).max(1);
        let (at_once, drained) = match news {
            News::More => ((self.at_once + 1).min(lanes), 0),
            News::Nothing if self.at_once == 1 => (1, self.drained + 1),
            News::NoMore | News::Nothing => (fewer, 0),
        };
        Self { at_once, drained }
    }

    fn is_drained(self) -> bool {
        self.drained >= DRAINED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    const LANES: usize = 4;

    /// Takes a turn that is free at once.
    fn taken(turns: &Turns) -> Turn<'_> {
        turns.next(&CancellationToken::new()).now_or_never().flatten().expect("a turn")
    }

    /// How many turns are free.
    fn free(turns: &Turns) -> usize {
        std::iter::from_fn(|| turns.next(&CancellationToken::new()).now_or_never().flatten())
            .map(std::mem::forget)
            .count()
    }

    #[test]
    fn more_lanes_receive_while_the_queue_has_more_and_one_when_it_has_not() {
        use News::{More, NoMore, Nothing};
        for (news, at_once, drained) in [
            (&[][..], 1, 0),
            (&[More], 2, 0),
            (&[More, More, More, More, More], LANES, 0),
            (&[More, More, NoMore], 2, 0),
            (&[NoMore, NoMore], 1, 0),
            (&[NoMore, More], 2, 0),
            (&[More, Nothing], 1, 0),
            (&[More, Nothing, Nothing], 1, 1),
            (&[Nothing, Nothing, Nothing], 1, DRAINED_AFTER),
            (&[Nothing, Nothing, NoMore, Nothing], 1, 1),
            (&[Nothing, Nothing, More], 2, 0),
        ] {
            let receiving =
                news.iter().fold(Receiving { at_once: 1, drained: 0 }, |receiving, news| receiving.after(*news, LANES));
            assert_eq!(receiving, Receiving { at_once, drained }, "{news:?}");
        }
        assert_eq!(
            Receiving { at_once: 1, drained: 0 }.after(News::More, 1).at_once,
            1,
            "never more than there are lanes"
        );
    }

    #[test]
    fn a_receive_that_brings_nothing_and_does_not_wait_is_followed_by_a_growing_pause_until_there_is_a_message() {
        let [none, wait] = [0, 20].map(Duration::from_secs);
        let turns = Turns::among(LANES);
        let pauses = |took| (0..20).map(|_| turns.pause_over_nothing(took, wait)).collect::<Vec<_>>();
        assert!(pauses(wait / 2).iter().all(Duration::is_zero), "it waited");
        let grown = pauses(Duration::from_millis(1));
        assert!(grown[0] <= 2 * PAUSES_OVER_NOTHING.0 && grown[19] >= PAUSES_OVER_NOTHING.1 / 2, "{grown:?}");
        assert!(turns.pause_over_nothing(none, none) <= 2 * PAUSES_OVER_NOTHING.0, "no wait is wanted");
        turns.loaded();
        assert!(turns.pause_over_nothing(none, wait) <= 2 * PAUSES_OVER_NOTHING.0);
    }

    #[test]
    fn a_turn_passes_to_another_lane_however_it_ends() {
        let turns = Turns::among(LANES);
        for news in [News::NoMore, News::Nothing] {
            taken(&turns).end(news);
        }
        drop(taken(&turns));
        let defect = std::panic::catch_unwind(|| {
            let _turn = taken(&turns);
            std::panic::resume_unwind(Box::new("a defect"));
        });
        assert!(defect.is_err());
        assert_eq!(free(&turns), 1);
    }

    #[test]
    fn lanes_that_receive_when_the_queue_runs_out_rest_one_after_the_other() {
        let turns = Turns::among(LANES);
        (0..LANES).for_each(|_| taken(&turns).end(News::More));
        let mut out: Vec<_> = (0..LANES).map(|_| taken(&turns)).collect();
        while let Some(turn) = out.pop() {
            assert!(turns.next(&CancellationToken::new()).now_or_never().is_none(), "{} receive", out.len() + 1);
            turn.end(News::NoMore);
        }
        assert_eq!(free(&turns), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lanes_that_rest_take_turns_and_never_more_of_them_than_there_are() {
        let turns = Turns::among(LANES);
        let out = std::sync::atomic::AtomicUsize::new(0);
        let stopping = CancellationToken::new();
        let lane = |lane: usize| {
            let (turns, out, stopping) = (&turns, &out, &stopping);
            async move {
                for n in 0..1000 {
                    let turn = turns.next(stopping).await.expect("a turn");
                    assert!(out.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < LANES);
                    tokio::task::yield_now().await;
                    out.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    turn.end(if (n + lane).is_multiple_of(3) { News::NoMore } else { News::More });
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), join_all((0..2 * LANES).map(lane)))
            .await
            .expect("none rests for ever");
    }

    #[tokio::test]
    async fn resting_lanes_end_at_once_when_told_to_stop() {
        let turns = Turns::among(LANES);
        let _taken = taken(&turns);
        let stopping = CancellationToken::new();
        let resting = join_all((1..LANES).map(|_| turns.next(&stopping)));
        let (ended, ()) = futures_util::future::join(resting, async { stopping.cancel() }).await;
        assert!(ended.iter().all(Option::is_none));
    }

    #[tokio::test]
    async fn all_lanes_end_when_the_queue_is_drained_and_one_that_was_loading_looks_again() {
        let turns = Turns::among(LANES);
        let stopping = CancellationToken::new();
        (0..DRAINED_AFTER).for_each(|_| taken(&turns).end(News::Nothing));
        for _ in 0..LANES {
            assert!(turns.next(&stopping).await.is_none());
        }
        turns.loaded();
        (0..DRAINED_AFTER).for_each(|_| taken(&turns).end(News::Nothing));
        assert!(turns.next(&stopping).await.is_none());
    }
}
