//! Whether the queue takes deletes: what the lanes of a process know of it together.
//!
//! A loader that may not delete loads nothing twice, but it uses up the receives of its messages: in the end the queue's
//! own redrive takes them, although they are loaded. So after a refusal for good the lanes rest, and if nothing is
//! deleted for too long, they end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::queue::Fault;
use crate::retry::Pauses;

/// How many refusals in a row it takes at least to end the lanes: one or two may be stale receipts of a quiet queue.
const REFUSALS_AT_LEAST: u32 = 3;

/// How long the last of refused deletes may take: nobody receives meanwhile what may not be deleted.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Whether deletes are taken. Shared by the lanes of a process.
#[derive(Debug)]
pub struct Deletes {
    patience: Duration,
    memory: Duration,
    stopping: CancellationToken,
    standing: watch::Sender<Standing>,
}

/// Every delete is refused, for good and for too long. What was loaded stays; its messages come again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the queue has refused every delete for {} s ({fault}, {messages} messages)", .lasted.as_secs())]
pub struct DeletesRefused {
    /// What the queue says.
    pub fault: Fault,
    /// How many messages were not deleted.
    pub messages: u64,
    /// Since when none was.
    pub lasted: Duration,
    remedy: &'static str,
}

impl DeletesRefused {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

#[derive(Debug)]
enum Standing {
    /// The last delete that was answered was taken, or none was answered yet.
    Taken,
    Refused(Spell),
    GivenUp(DeletesRefused),
}

/// A time of refusals in which nothing is deleted.
#[derive(Debug)]
struct Spell {
    since: Instant,
    last: Instant,
    refusals: u32,
    messages: u64,
    /// Until when nothing is received.
    rests_until: Instant,
    pauses: Pauses,
}

/// What was refused for good in one attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'c> {
    /// What the queue says.
    pub(super) fault: &'c Fault,
    /// How many messages it has not been told of before.
    pub(super) messages: u64,
    /// Whether a whole call was: then the same receipts may be taken later. An entry is refused for its receipt, and
    /// only a further delivery brings another.
    pub(super) whole_call: bool,
}

impl Deletes {
    /// They are taken until one is refused. With none taken for as long as `patience`, the lanes end.
    ///
    /// What is refused comes again after `visibility_timeout`: a refusal that none has followed for much longer says
    /// nothing of the next.
    pub fn new(patience: Duration, visibility_timeout: Duration, stopping: CancellationToken) -> Self {
        let memory = patience + 2 * visibility_timeout;
        Self { patience, memory, stopping, standing: watch::Sender::new(Standing::Taken) }
    }

    /// Waits until it makes sense to receive: at once while deletes are taken; after a refusal when one is taken, or
    /// when only a further delivery can tell. Also ends when the program is told to stop.
    ///
    /// # Errors
    ///
    /// [`DeletesRefused`], for every lane that asks, once patience is at its end.
    pub async fn settled(&self) -> Result<(), DeletesRefused> {
        let mut standing = self.standing.subscribe();
        loop {
            let rests_until = match &*standing.borrow_and_update() {
                Standing::Taken => return Ok(()),
                Standing::GivenUp(refused) => return Err(refused.clone()),
                Standing::Refused(spell) => spell.rests_until,
            };
            tokio::select! {
                () = self.stopping.cancelled() => return Ok(()),
                () = sleep_until(rests_until) => return Ok(()),
                _ = standing.changed() => {}
            }
        }
    }

    /// A delete was taken.
    pub(super) fn taken(&self) {
        self.standing.send_if_modified(|standing| match standing {
            Standing::Refused(_) => {
                *standing = Standing::Taken;
                true
            }
            Standing::Taken | Standing::GivenUp(_) => false,
        });
    }

    /// Deletes were refused, and none of the same attempt was taken.
    pub(super) fn refused(&self, refused: Refused<'_>) {
        let now = Instant::now();
        self.standing.send_modify(|standing| {
            let begins = match standing {
                Standing::Taken => true,
                Standing::Refused(spell) => now - spell.last > self.memory,
                Standing::GivenUp(_) => return,
            };
            if begins {
                *standing = Standing::Refused(Spell::begin(now));
            }
            let Standing::Refused(spell) = standing else { return };
            spell.note(now, refused, self.patience);
            if spell.refusals >= REFUSALS_AT_LEAST && now - spell.since >= self.patience {
                *standing = Standing::GivenUp(spell.conclude(now, refused));
            }
        });
    }

    /// Rests for as long as `pause` before refused deletes are asked for again; says whether they should be. They
    /// were refused first at `since`.
    pub(super) async fn rest(&self, pause: Duration, since: Instant) -> bool {
        let until = since + self.patience;
        let is_given_up = matches!(&*self.standing.borrow(), Standing::GivenUp(_));
        if is_given_up || self.stopping.is_cancelled() || Instant::now() >= until {
            return false;
        }
        tokio::select! {
            () = self.stopping.cancelled() => false,
            () = sleep_until(until.min(Instant::now() + pause)) => true,
        }
    }
}

impl Spell {
    fn begin(now: Instant) -> Self {
        let pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(10));
        Self { since: now, last: now, refusals: 0, messages: 0, rests_until: now, pauses }
    }

    fn note(&mut self, now: Instant, refused: Refused<'_>, patience: Duration) {
        self.last = now;
        self.refusals += 1;
        self.messages += refused.messages;
        self.rests_until = match refused.whole_call {
            // The caller repeats the call, and so notices when its patience has run out.
            true => self.since + patience + ANSWERED_WITHIN,
            false => now + self.pauses.next_pause(),
        };
    }

    fn conclude(&self, now: Instant, refused: Refused<'_>) -> DeletesRefused {
        let remedy = match refused.whole_call {
            true if refused.fault.name().is_some_and(|name| name.starts_with("AccessDenied")) => {
                "allow the loader's role to call sqs:DeleteMessage on the queue"
            }
            true => {
                "see whether the queue is still there and the credentials are good (turnstile check), and whether the \
                 loader's role may call sqs:DeleteMessage on the queue"
            }
            false => {
                "see whether a batch takes longer than --visibility-timeout, and whether the loader's role may call \
                 sqs:DeleteMessage on the queue"
            }
        };
        let (messages, lasted) = (self.messages, now - self.since);
        DeletesRefused { fault: refused.fault.clone(), messages, lasted, remedy }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::queue::Code;

    const LONG: Duration = Duration::from_secs(3600);

    fn deletes(patience: Duration, visibility_timeout: Duration) -> Deletes {
        Deletes::new(patience, visibility_timeout, CancellationToken::new())
    }

    static DENIED: LazyLock<Fault> = LazyLock::new(|| Fault::Refused(Code::new("AccessDenied")));
    static STALE: LazyLock<Fault> = LazyLock::new(|| Fault::Refused(Code::new("ReceiptHandleIsInvalid")));

    fn denied() -> Refused<'static> {
        Refused { fault: &DENIED, messages: 10, whole_call: true }
    }

    fn stale() -> Refused<'static> {
        Refused { fault: &STALE, messages: 1, whole_call: false }
    }

    #[tokio::test]
    async fn after_a_call_was_denied_nothing_is_received_until_a_delete_is_taken() {
        let deletes = deletes(LONG, LONG);
        assert!(deletes.settled().now_or_never().unwrap().is_ok());
        deletes.refused(denied());
        assert!(deletes.settled().now_or_never().is_none());
        let (settled, ()) = futures_util::future::join(deletes.settled(), async { deletes.taken() }).await;
        assert!(settled.is_ok());
    }

    #[tokio::test]
    async fn after_a_stale_receipt_the_next_delivery_is_waited_for_and_received() {
        let deletes = deletes(LONG, LONG);
        deletes.refused(stale());
        assert!(deletes.settled().now_or_never().is_none(), "not at once");
        assert!(deletes.settled().await.is_ok());
    }

    #[tokio::test]
    async fn a_call_that_is_taken_again_ends_the_rest_although_its_receipts_are_stale_by_now() {
        let deletes = deletes(LONG, LONG);
        deletes.refused(denied());
        deletes.refused(stale());
        assert!(deletes.settled().await.is_ok());
    }

    #[tokio::test]
    async fn refusals_end_the_lanes_when_nothing_was_taken_between_them_for_too_long() {
        let impatient = deletes(Duration::ZERO, LONG);
        for _ in 1..REFUSALS_AT_LEAST {
            impatient.refused(denied());
            assert!(impatient.settled().await.is_ok(), "a few may be stale");
        }
        impatient.refused(denied());
        impatient.taken();
        let error = impatient.settled().await.unwrap_err();
        assert_eq!((&error.fault, error.messages), (&*DENIED, 30));
        assert!(error.remedy().contains("sqs:DeleteMessage"), "{error}");
    }

    #[tokio::test]
    async fn stale_receipts_end_nothing_while_others_are_taken_or_where_they_are_far_apart() {
        let impatient = deletes(Duration::ZERO, LONG);
        let forgetful = deletes(Duration::ZERO, Duration::ZERO);
        for _ in 0..10 * REFUSALS_AT_LEAST {
            impatient.refused(stale());
            impatient.taken();
            forgetful.refused(stale());
            let since = Instant::now();
            while Instant::now() == since {}
        }
        assert!(impatient.settled().await.is_ok() && forgetful.settled().await.is_ok());
    }

    #[tokio::test]
    async fn who_is_told_to_stop_neither_rests_nor_asks_again() {
        let deletes = deletes(LONG, LONG);
        deletes.refused(denied());
        deletes.stopping.cancel();
        assert!(deletes.settled().await.is_ok());
        assert!(!deletes.rest(LONG, Instant::now()).await);
    }
}
