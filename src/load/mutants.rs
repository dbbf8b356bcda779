//! The transaction, broken on purpose: each of these the checker must find.

use tokio::sync::mpsc::UnboundedSender;

use super::transaction::{Attempt, Recorded};
use super::work::{Part, Way, Work};
use super::{Destination, Loaded, Tally, hand_over};
use crate::batch::{Batch, DeadLetterRow, Entry};
use crate::database::DatabaseError;
use crate::decode::Rejection;
use crate::failpoint::{Mutant, Step, around, mutated};
use crate::retry::Class;
use crate::table::processed_messages::{self, Claimed};

/// What a mutant does instead of the one transaction.
pub(super) async fn transact(
    destination: &Destination,
    entries: &[Entry],
    way: Way,
) -> Option<Result<Attempt, DatabaseError>> {
    let recorded = if mutated(Mutant::ClaimInAnEarlierTransaction) {
        claim_and_then_record(destination, entries, way).await
    } else if mutated(Mutant::ClaimInALaterTransaction) {
        record_and_then_claim(destination, entries, way).await
    } else {
        return None;
    };
    Some(recorded.map(Attempt::Recorded))
}

async fn claim_and_then_record(
    destination: &Destination,
    entries: &[Entry],
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let claimed = claim(destination, entries).await?;
    record_as_claimed(destination, entries, &claimed, way).await
}

async fn record_and_then_claim(
    destination: &Destination,
    entries: &[Entry],
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let recorded = record_as_claimed(destination, entries, &Claimed::All, way).await?;
    claim(destination, entries).await.map(|_| recorded)
}

async fn claim(destination: &Destination, entries: &[Entry]) -> Result<Claimed, DatabaseError> {
    let transaction = destination.database.begin().await?;
    let claimed = around(Step::Claim, processed_messages::claim(&transaction, entries)).await;
    transaction.conclude(claimed).await
}

async fn record_as_claimed(
    destination: &Destination,
    entries: &[Entry],
    claimed: &Claimed,
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let transaction = destination.database.begin().await?;
    let recorded = destination.record_claimed(&transaction, entries, claimed, way).await;
    transaction.conclude(recorded).await
}

/// What a mutant does with a failed attempt instead of trying again. Gives the part back where there is no mutant.
pub(super) fn react(
    error: &DatabaseError,
    part: Part,
    work: &mut Work,
    recorded: &UnboundedSender<Loaded>,
) -> Option<Part> {
    match error.class() {
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitTakenAsCommitted) => {
            hand_over(recorded, part.batch, Recorded { tally: Tally::default(), sent_at: Vec::new() });
            None
        }
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitDeadLettered) => {
            dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
            None
        }
        Class::OfTheRows if mutated(Mutant::BatchErrorDeadLettersNeighbours) => {
            dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
            None
        }
        Class::Ambiguous | Class::OfTheRows | Class::Contended | Class::Transient | Class::OfTheSystem => Some(part),
    }
}

fn dead_letters_of(batch: Batch) -> impl Iterator<Item = Batch> {
    let rejected = |entry: Entry| match entry.login_row().is_some() {
        true => entry.rejected(Rejection::RefusedByDatabase { sqlstate: "08006".to_owned(), constraint: None }),
        false => entry,
    };
    batch.into_entries().into_iter().map(rejected).map(Batch::of_one)
}

/// The dead letters that are written.
pub(super) fn letters(letters: Vec<DeadLetterRow<'_>>) -> Vec<DeadLetterRow<'_>> {
    match mutated(Mutant::DeleteWithoutDeadLetter) {
        true => Vec::new(),
        false => letters,
    }
}
