//! Where a lane can be broken on purpose, so that the checker can be seen to find it.

use std::future::ready;

use crate::acknowledge::{Acknowledged, Deletes, acknowledge as delete};
use crate::failpoint::{Mutant, mutated, unless};
use crate::lease::InHand;
use crate::load::Committed;
use crate::message::{MessageHash, ReceiptHandle};
use crate::queue::{MESSAGES_PER_CALL, Queue, side_by_side};
use crate::verdict::Verdict;

/// The verdict; a mutant claims a login under its key, and all else under its message.
pub(super) fn verdict(verdict: Verdict) -> Verdict {
    mutated(Mutant::ClaimUnderTheKey, verdict, |verdict| match verdict.identity {
        Some(identity) => Verdict { hash: MessageHash::from_bytes(*identity.key.hash.as_bytes()), ..verdict },
        None => verdict,
    })
}

/// Nothing; a mutant deletes what is not committed.
pub(super) async fn before_the_commit<Q: Queue>(queue: &Q, in_hand: &InHand) {
    unless(Mutant::DeleteBeforeCommit, (), |()| ready(()), |()| delete_all(queue, in_hand.receipts())).await;
}

/// Deletes what is committed; a mutant takes every delete as done.
pub(super) async fn acknowledge<Q: Queue>(queue: &Q, committed: Committed, deletes: &Deletes) -> Acknowledged {
    let as_done = |committed: Committed| async {
        let receipts: Vec<_> = committed.into_deliveries().into_iter().map(|delivery| delivery.receipt).collect();
        let deleted = receipts.len() as u64;
        delete_all(queue, receipts).await;
        Acknowledged { deleted, not_deleted: 0 }
    };
    unless(Mutant::RefusedDeletesTakenAsDone, committed, |committed| delete(queue, committed, deletes), as_done).await
}

async fn delete_all<Q: Queue>(queue: &Q, receipts: Vec<ReceiptHandle>) {
    side_by_side(receipts.chunks(MESSAGES_PER_CALL).map(|chunk| queue.delete(chunk))).await;
}
