//! Where the load can be broken on purpose, so that the checker can be seen to find it.

use std::future::ready;

use super::books::Laps;
use super::transaction::{Attempt, Recorded};
use super::work::{Part, Way, Work};
use super::{Destination, LoadError};
use crate::batch::{Batch, DeadLetterRow, Entry};
use crate::database::{DatabaseError, Transaction};
use crate::decode::Rejection;
use crate::failpoint::{Mutant, Step, around, diverted, mutated, unless};
use crate::message::NO_TIME;
use crate::retry::Class;
use crate::table::identities::{self, Owner};
use crate::table::processed_messages::{self, Claimed};
use crate::verdict::LoginIdentity;

/// The one transaction, unless a mutant makes two of it or believes an answer that says nothing.
pub(super) async fn transact(destination: &Destination, entries: &[Entry], way: Way) -> Result<Attempt, DatabaseError> {
    let one = |()| destination.transact_once(entries, way);
    let late = |()| record_and_then_claim(destination, entries, way);
    let early = |()| claim_and_then_record(destination, entries, way);
    let one_or_late = |()| unless(Mutant::ClaimInALaterTransaction, (), one, late);
    let attempt = unless(Mutant::ClaimInAnEarlierTransaction, (), one_or_late, early).await;
    mutated(Mutant::AmbiguousCommitTakenAsCommitted, attempt, |attempt| match attempt {
        Err(error) if error.class() == Class::Ambiguous => Ok(Attempt::Recorded(Recorded::default())),
        attempt => attempt,
    })
}

async fn claim_and_then_record(
    destination: &Destination,
    entries: &[Entry],
    way: Way,
) -> Result<Attempt, DatabaseError> {
    let claimed = claim(destination, entries).await?;
    record_as_claimed(destination, entries, &claimed, way).await.map(Attempt::Recorded)
}

async fn record_and_then_claim(
    destination: &Destination,
    entries: &[Entry],
    way: Way,
) -> Result<Attempt, DatabaseError> {
    let recorded = record_as_claimed(destination, entries, &Claimed::All, way).await?;
    claim(destination, entries).await.map(|_| Attempt::Recorded(recorded))
}

async fn claim(destination: &Destination, entries: &[Entry]) -> Result<Claimed, DatabaseError> {
    let claim =
        async |transaction: &Transaction| around(Step::Claim, processed_messages::claim(transaction, entries)).await;
    destination.database.transaction(claim).await
}

async fn record_as_claimed(
    destination: &Destination,
    entries: &[Entry],
    claimed: &Claimed,
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let record = async |transaction: &Transaction| {
        destination.record_claimed(transaction, entries, claimed, NO_TIME, way, &mut Laps::default()).await
    };
    destination.database.transaction(record).await
}

/// A part whose transaction failed, unless a mutant has done something with it instead of trying again.
pub(super) fn failed(error: &DatabaseError, part: Part, work: &mut Work) -> Result<Option<Part>, LoadError> {
    diverted(part, |mutant, part| {
        match (mutant, error.class()) {
            (Mutant::AmbiguousCommitDeadLettered, Class::Ambiguous)
            | (Mutant::BatchErrorDeadLettersNeighbours, Class::OfTheRows) => {
                dead_letters_of(part.batch).for_each(|batch| work.first(Part::of(batch, part.way)));
            }
            (Mutant::ClassBySqlstateAlone, Class::OfTheRows | Class::OfTheSystem) => by_sqlstate(error, part, work)?,
            (Mutant::WaitForEver, Class::Contended) => work.first(part),
            (_, _) => return Ok(Some(part)),
        }
        Ok(None)
    })
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

/// Nothing, unless a mutant claims keys for messages that are not new, too.
pub(super) async fn claim_keys_of_all(
    destination: &Destination,
    transaction: &Transaction,
    entries: &[Entry],
) -> Result<(), DatabaseError> {
    let claiming = |()| async {
        let keyed = |entry: &Entry| entry.identity.map(|identity| (entry.key, identity));
        let wanted: Vec<_> = entries.iter().filter_map(keyed).collect();
        match wanted.is_empty() {
            true => Ok(()),
            false => identities::claim(transaction, destination.hash_key, &wanted).await.map(drop),
        }
    };
    unless(Mutant::KeysOfRepeatedMessages, (), |()| ready(Ok(())), claiming).await
}

/// Whether another message owns the key; a mutant takes a message for the first of its key because the key is new.
pub(super) fn is_of_another(new: &[&Entry], entry: &Entry, owner: &Owner) -> bool {
    let is_of_another = owner.message != entry.key;
    mutated(Mutant::TwinsTakenForNew, is_of_another, |is_of_another| is_of_another && !is_among(new, owner))
}

/// Whether the owner of a key brought another login; a mutant does not look at what it brought in the same batch.
pub(super) fn is_contradicting(new: &[&Entry], identity: &LoginIdentity, owner: &Owner) -> bool {
    let differs = identity.login != owner.login;
    mutated(Mutant::ContradictionInABatchAbsorbed, differs, |differs| differs && !is_among(new, owner))
}

fn is_among(new: &[&Entry], owner: &Owner) -> bool {
    new.iter().any(|entry| entry.key == owner.message)
}

/// The dead letter of a row that the database refuses; a mutant lets it keep its key.
pub(super) fn refused(entry: Entry, rejection: Rejection) -> Entry {
    let identity = entry.identity;
    mutated(Mutant::RefusedLetterKeepsItsKey, entry.rejected(rejection), |letter| Entry { identity, ..letter })
}

fn dead_letters_of(batch: Batch) -> impl Iterator<Item = Batch> {
    let rejected = |entry: Entry| match entry.login_row().is_some() {
        true => entry.rejected(Rejection::RefusedByDatabase { sqlstate: "08006".to_owned(), constraint: None }),
        false => entry,
    };
    batch.into_entries().into_iter().map(rejected).map(Batch::of_one)
}

/// The dead letters that are written: all, but for a mutant.
pub(super) fn letters(letters: Vec<DeadLetterRow<'_>>) -> Vec<DeadLetterRow<'_>> {
    mutated(Mutant::DeleteWithoutDeadLetter, letters, |_| Vec::new())
}
