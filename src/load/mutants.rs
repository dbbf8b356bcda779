//! The transaction, broken on purpose: each of these the checker must find.

use super::{DeadLetterRow, Loaded, Recorded, Tally, Way, record_claimed};
use crate::batch::{Batch, Entry};
use crate::database::{Database, DatabaseError};
use crate::decode::Rejection;
use crate::failpoint::{Mutant, Step, around, mutated};
use crate::retry::Class;
use crate::table::processed_messages::{self, Claimed};

/// What a mutant does instead of the one transaction.
pub(super) async fn transact(
    database: &Database,
    entries: &[Entry],
    way: Way,
) -> Option<Result<Recorded, DatabaseError>> {
    if mutated(Mutant::ClaimInAnEarlierTransaction) {
        return Some(claim_and_then_record(database, entries, way).await);
    }
    if mutated(Mutant::ClaimInALaterTransaction) {
        return Some(record_and_then_claim(database, entries, way).await);
    }
    None
}

async fn claim_and_then_record(database: &Database, entries: &[Entry], way: Way) -> Result<Recorded, DatabaseError> {
    let claimed = claim(database, entries).await?;
    record_as_claimed(database, entries, &claimed, way).await
}

async fn record_and_then_claim(database: &Database, entries: &[Entry], way: Way) -> Result<Recorded, DatabaseError> {
    let recorded = record_as_claimed(database, entries, &Claimed::All, way).await?;
    claim(database, entries).await.map(|_| recorded)
}

async fn claim(database: &Database, entries: &[Entry]) -> Result<Claimed, DatabaseError> {
    let transaction = database.begin().await?;
    let claimed = around(Step::Claim, processed_messages::claim(&transaction, entries)).await;
    transaction.conclude(claimed).await
}

async fn record_as_claimed(
    database: &Database,
    entries: &[Entry],
    claimed: &Claimed,
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let transaction = database.begin().await?;
    let recorded = record_claimed(&transaction, entries, claimed, way).await;
    transaction.conclude(recorded).await
}

/// What a mutant does with a failed attempt instead of trying again. Gives the batch back where there is no mutant.
pub(super) fn react(
    error: &DatabaseError,
    batch: Batch,
    way: Way,
    loaded: &mut Loaded,
    to_do: &mut Vec<(Batch, Way)>,
) -> Option<Batch> {
    match error.class() {
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitTakenAsCommitted) => {
            loaded.take_in(batch, Recorded { tally: Tally::default(), sent_at: Vec::new() });
            None
        }
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitDeadLettered) => {
            to_do.extend(dead_letters_of(batch).map(|batch| (batch, way)));
            None
        }
        Class::OfOneMessage if mutated(Mutant::BatchErrorDeadLettersNeighbours) => {
            to_do.extend(dead_letters_of(batch).map(|batch| (batch, way)));
            None
        }
        Class::Ambiguous | Class::OfOneMessage | Class::Transient | Class::OfTheSystem => Some(batch),
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
