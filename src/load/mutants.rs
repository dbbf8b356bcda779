//! The transaction, broken on purpose: each of these the checker must find.

use tokio::sync::mpsc::UnboundedSender;

use super::transaction::{Attempt, Recorded};
use super::work::{Part, Way, Work};
use super::{Destination, LoadError, Loaded, Tally, hand_over};
use crate::batch::{Batch, DeadLetterRow, Entry};
use crate::database::{DatabaseError, Transaction};
use crate::decode::Rejection;
use crate::failpoint::{Mutant, Step, around, mutated};
use crate::retry::Class;
use crate::table::identities::{self, Owner};
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
) -> Result<Option<Part>, LoadError> {
    match error.class() {
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitTakenAsCommitted) => {
            hand_over(recorded, part.batch, Recorded { tally: Tally::default(), sent_at: Vec::new() });
        }
        Class::Ambiguous if mutated(Mutant::AmbiguousCommitDeadLettered) => {
            dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
        }
        Class::OfTheRows if mutated(Mutant::BatchErrorDeadLettersNeighbours) => {
            dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
        }
        Class::OfTheRows | Class::OfTheSystem if mutated(Mutant::ClassBySqlstateAlone) => {
            by_sqlstate(error, part, work)?;
        }
        Class::Contended if mutated(Mutant::WaitForEver) => work.first(part),
        Class::Ambiguous | Class::OfTheRows | Class::Contended | Class::Transient | Class::OfTheSystem => {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// Data and constraints are a row's fault, wherever they stand; all else is nobody's.
fn by_sqlstate(error: &DatabaseError, part: Part, work: &mut Work) -> Result<(), LoadError> {
    match error.sqlstate().and_then(|code| code.get(..2)) {
        Some("22" | "23") if part.way == Way::Copy => work.first(Part { way: Way::Insert, ..part }),
        Some("22" | "23") if part.batch.len() == 1 => {
            dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
        }
        Some("22" | "23") => {
            let halves = part.batch.split(2).into_iter();
            halves.for_each(|batch| work.first(Part::of(batch, part.way)));
        }
        Some(_) | None => return Err(LoadError::Stopped(error.clone())),
    }
    Ok(())
}

/// Claims keys for messages that are not new, too.
pub(super) async fn claim_keys_of_all(
    destination: &Destination,
    transaction: &Transaction,
    entries: &[Entry],
) -> Result<(), DatabaseError> {
    let keyed = |entry: &Entry| entry.identity.map(|identity| (entry.key, identity));
    let wanted: Vec<_> = entries.iter().filter_map(keyed).collect();
    if mutated(Mutant::KeysOfRepeatedMessages) && !wanted.is_empty() {
        identities::claim(transaction, destination.hash_key, &wanted).await?;
    }
    Ok(())
}

/// Whether a message is taken for the first of its key because the key is new.
pub(super) fn is_taken_for_new(new: &[&Entry], owner: &Owner) -> bool {
    mutated(Mutant::TwinsTakenForNew) && is_among(new, owner)
}

/// Whether nobody looks at what the owner of a key brought.
pub(super) fn is_overlooked(new: &[&Entry], owner: &Owner) -> bool {
    mutated(Mutant::ContradictionInABatchAbsorbed) && is_among(new, owner)
}

fn is_among(new: &[&Entry], owner: &Owner) -> bool {
    new.iter().any(|entry| entry.key == owner.message)
}

/// The dead letter of a row that the database refuses.
pub(super) fn refused(entry: Entry, rejection: Rejection) -> Entry {
    let identity = entry.identity.filter(|_| mutated(Mutant::RefusedLetterKeepsItsKey));
    Entry { identity, ..entry.rejected(rejection) }
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
