//! Deletes from the queue what the database holds for good.

mod deletes;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use self::deletes::Refused;
pub use self::deletes::{Deletes, DeletesRefused};

use crate::load::Committed;
use crate::message::ReceiptHandle;
use crate::queue::{Answer, Fault, MESSAGES_PER_CALL, Queue, QueueError, side_by_side};
use crate::retry::Pauses;

/// For how long the queue may refuse every delete for good before the lanes end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a delete that fails in passing is tried. One that never succeeds costs a redelivery, which the claim absorbs.
const ATTEMPTS: u32 = 3;

/// What became of the deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Deliveries that the queue deleted.
    pub deleted: u64,
    /// Deliveries that it did not delete: their messages come again.
    pub not_deleted: u64,
}

/// The deletes of one batch, under way while the next one is received and loaded; dropped, they are cut off, and what
/// was not deleted comes again.
#[derive(Debug, Default)]
pub struct UnderWay(JoinSet<()>);

impl UnderWay {
    /// Begins deletes when those before them have come to their end: never more than one batch waits for them.
    pub async fn begin(&mut self, deleting: impl Future<Output = ()> + Send + 'static) {
        self.finish().await;
        self.0.spawn(deleting);
    }

    /// Waits for the end of those that were begun.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.0.join_next().await {
            // A panic there is one here, as if the lane had made the deletes itself.
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Deletes committed deliveries, ten a call and the calls side by side; what failed is tried again together.
///
/// What fails in passing gets three attempts. A call that is refused for good is made again for as long as `deletes` has
/// patience, because nothing is received meanwhile. An entry that is, is not: its receipt would be refused again.
pub async fn acknowledge<Q: Queue>(queue: &Q, committed: Committed, deletes: &Deletes) -> Acknowledged {
    let deliveries = committed.into_deliveries();
    let mut left: Vec<ReceiptHandle> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
    let all = left.len() as u64;
    let mut deleted = 0;
    let mut attempts = 0;
    let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut denied: Option<Denied> = None;
    while !left.is_empty() {
        let attempt = delete_once(queue, left).await;
        deleted += attempt.deleted;
        attempt.tell(deletes, denied.is_none());
        left = attempt.left;
        if attempt.denied {
            let Denied { since, pauses } = denied.get_or_insert_with(Denied::now);
            if !deletes.rest(pauses.next_pause(), *since).await {
                break;
            }
        } else if !left.is_empty() {
            attempts += 1;
            tracing::debug!(attempts, left = left.len(), "some deletes failed");
            if attempts == ATTEMPTS {
                break;
            }
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }
    if !left.is_empty() {
        let not_deleted = left.len();
        tracing::warn!(not_deleted, "the queue did not delete these: they come again and are absorbed");
    }
    Acknowledged { deleted, not_deleted: all - deleted }
}

/// When a call was first refused for good, and the pauses between the next ones.
struct Denied {
    since: Instant,
    pauses: Pauses,
}

impl Denied {
    fn now() -> Self {
        Self { since: Instant::now(), pauses: Pauses::new(Duration::from_millis(100), Duration::from_secs(5)) }
    }
}

/// What one attempt brought.
#[derive(Default)]
struct Attempt {
    deleted: u64,
    /// What may be tried again.
    left: Vec<ReceiptHandle>,
    /// How many were refused for good, and why.
    refused: BTreeMap<Fault, u64>,
    /// Whether whole calls were; their receipts are among those left.
    denied: bool,
}

async fn delete_once<Q: Queue>(queue: &Q, receipts: Vec<ReceiptHandle>) -> Attempt {
    let calls = receipts.chunks(MESSAGES_PER_CALL).map(async |chunk| (chunk, queue.delete(chunk).await));
    let mut attempt = Attempt::default();
    for (chunk, answer) in side_by_side(calls).await {
        match answer {
            Ok(taken) => chunk.iter().zip(taken).for_each(|(receipt, answer)| attempt.add(receipt, answer)),
            Err(error) => attempt.add_failed(chunk, error),
        }
    }
    attempt
}

impl Attempt {
    fn add(&mut self, receipt: &ReceiptHandle, answer: Answer<()>) {
        match answer {
            Ok(()) => self.deleted += 1,
            Err(refusal) if refusal.is_for_good() => *self.refused.entry(refusal.fault).or_default() += 1,
            Err(_) => self.left.push(receipt.clone()),
        }
    }

    fn add_failed(&mut self, receipts: &[ReceiptHandle], error: QueueError) {
        tracing::debug!(%error, messages = receipts.len(), "a delete call failed");
        self.left.extend_from_slice(receipts);
        if error.is_for_good() {
            self.denied = true;
            *self.refused.entry(error.fault).or_default() += receipts.len() as u64;
        }
    }

    /// Tells the log and the other lanes; `first` if these deletes have not been told of before.
    fn tell(&self, deletes: &Deletes, first: bool) {
        for (fault, messages) in self.refused.iter().filter(|_| first) {
            tracing::warn!(code = %fault, messages, "the queue refuses deletes: these messages come again and are absorbed");
        }
        if self.deleted > 0 {
            deletes.taken();
        } else if let Some(fault) = self.refused.keys().next() {
            let messages = if first { self.refused.values().sum() } else { 0 };
            deletes.refused(Refused { fault, messages, whole_call: self.denied });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::queue::{Code, Refusal};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_refused_for_good_is_told_once_at_warn_with_its_code_and_count() {
        let log = Log::default();
        let written = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
        let mut attempt = Attempt::default();
        let receipts = ["a", "b"].map(ReceiptHandle::new);
        let denied = Fault::Refused(Code::new("AccessDeniedException"));
        let error = QueueError { call: "DeleteMessageBatch", fault: denied, status: Some(403) };
        attempt.add_failed(&receipts, error);
        let stale = Refusal { fault: Fault::Refused(Code::new("ReceiptHandleIsInvalid")), sender_fault: true };
        attempt.add(&ReceiptHandle::new("c"), Err(stale));
        attempt.add(&ReceiptHandle::new("d"), Ok(()));
        assert_eq!((attempt.deleted, attempt.left.len()), (1, 2));

        let deletes = Deletes::new(PATIENCE, Duration::ZERO, CancellationToken::new());
        tracing::subscriber::with_default(lines, || [true, false].map(|first| attempt.tell(&deletes, first)));
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let told: Vec<&str> = log.lines().collect();
        let [denied, refused] = told[..] else { panic!("{log}") };
        assert!(["WARN", "AccessDeniedException", "messages=2"].iter().all(|word| denied.contains(word)), "{log}");
        assert!(["WARN", "ReceiptHandleIsInvalid", "messages=1"].iter().all(|word| refused.contains(word)), "{log}");
    }
}
