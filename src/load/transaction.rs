//! The one transaction: claims, rows, dead letters and events, or nothing.
//!
//! Messages are claimed first, in their order; then, for the new ones only, the keys of their logins, in theirs; then the
//! owner of each key decides. Nobody waits for what is smaller than what he holds, in this order: a dead letter, a message,
//! a key, a row. So no two loaders wait for each other.

use std::collections::HashSet;

use time::OffsetDateTime;
use tracing::Span;

use super::books::Laps;
use super::traced::traced;
use super::{Contradictions, Destination, Tally, TimedLogin, Way, mutants};
use crate::batch::{DeadLetterRow, Entry, LoginRow};
use crate::database::{DatabaseError, Transaction};
use crate::decode::Rejection;
use crate::failpoint::{Step, around};
use crate::message::MessageKey;
use crate::metrics::Phase;
use crate::spans::{bracket, statement};
use crate::table::horizon::Horizon;
use crate::table::processed_messages::Claimed;
use crate::table::{dead_letters, horizon, identities, outbox, processed_messages, user_logins};
use crate::verdict::LoginIdentity;

/// How a transaction ended that did not fail.
pub(super) enum Attempt {
    /// All of it is committed.
    Recorded(Recorded),
    /// Nothing is written: some of the messages that it would have claimed are older than this time, since which the tables
    /// remember.
    Older(OffsetDateTime, Claimed),
}

/// What one committed transaction did.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) tally: Tally,
    /// The logins that it loaded.
    pub(super) logins: Vec<TimedLogin>,
    /// The codes of the dead letters that it wrote.
    pub(super) letters: Vec<&'static str>,
    /// How many bytes their sealed bodies have together.
    pub(super) letters_bytes: u64,
}

/// What becomes of new messages.
#[derive(Default)]
struct Decided<'e> {
    loaded: Vec<&'e Entry>,
    /// With the messages that had brought their logins.
    absorbed: Vec<(MessageKey, MessageKey)>,
    /// Logins that are dead letters, because others were or may have been loaded under their keys.
    buried: Vec<(&'e Entry, Rejection)>,
    /// How many brought another login under a key that was taken.
    contradicting: u64,
}

impl Destination {
    /// The transaction itself: all of it holds when this returns `Ok`, and none of it when it returns an error that is
    /// not ambiguous.
    pub(super) async fn transact(&self, entries: &[Entry], way: Way) -> Result<Attempt, DatabaseError> {
        mutants::transact(self, entries, way).await
    }

    pub(super) async fn transact_once(&self, entries: &[Entry], way: Way) -> Result<Attempt, DatabaseError> {
        let mut laps = Laps::default();
        let transaction = traced(bracket("BEGIN"), self.database.begin()).await?;
        laps.end(Phase::Begin);
        match self.record(&transaction, entries, way, &mut laps).await {
            Ok(Attempt::Older(horizon, new)) => transaction.rollback().await.map(|()| Attempt::Older(horizon, new)),
            recorded => {
                laps.end(Phase::Write);
                let span = if recorded.is_ok() { bracket("COMMIT") } else { Span::none() };
                let recorded = match traced(span, transaction.conclude(recorded)).await {
                    Err(error) if error.may_lack_partition_of(processed_messages::TABLE) => {
                        return self.older_than_partitions(entries, error).await;
                    }
                    recorded => recorded?,
                };
                laps.end(Phase::Commit);
                self.database.metrics().count(|figures| figures.committed(entries.len(), &laps));
                Ok(recorded)
            }
        }
    }

    /// The claims of a message that is older than the horizon may have no partition any more; where none of them is, something
    /// else is wrong. The horizon moved before the partition left.
    async fn older_than_partitions(&self, entries: &[Entry], error: DatabaseError) -> Result<Attempt, DatabaseError> {
        let look = async |transaction: &Transaction| {
            let horizon = horizon::retained_since(transaction).await?;
            let older: Vec<MessageKey> =
                entries.iter().filter(|entry| entry.is_older_than(horizon)).map(|entry| entry.key).collect();
            let standing = processed_messages::recorded(transaction, &older).await?;
            Ok((horizon, older.into_iter().filter(|key| !standing.contains(key)).collect::<HashSet<_>>()))
        };
        let (horizon, forgotten) = self.database.transaction(look).await?;
        match forgotten.is_empty() {
            true => Err(error),
            false => Ok(Attempt::Older(horizon, Claimed::These(forgotten))),
        }
    }

    async fn record(
        &self,
        transaction: &Transaction,
        entries: &[Entry],
        way: Way,
        laps: &mut Laps,
    ) -> Result<Attempt, DatabaseError> {
        if entries.iter().any(|entry| entry.is_requeued) {
            dead_letters::lock(transaction).await?;
        }
        let claiming = traced(
            statement("INSERT", "processed_messages", entries.len()),
            around(Step::Claim, processed_messages::claim(transaction, entries)),
        );
        let horizon = horizon::read(transaction, self.queue.as_str(), self.loader.as_str());
        let (claimed, taken, horizon) = futures_util::future::join3(claiming, transaction.take_id(), horizon).await;
        let claimed = claimed?; // First: behind a failed claim the others only say that the transaction is aborted.
        taken?;
        let Horizon { retained_since: horizon, paused_since } = horizon?;
        self.pause.heard(paused_since);
        let is_older = |entry: &Entry| entry.is_older_than(horizon) && claimed.holds(&entry.key);
        match entries.iter().any(is_older) {
            true => Ok(Attempt::Older(horizon, claimed)),
            false => {
                self.record_claimed(transaction, entries, &claimed, horizon, way, laps).await.map(Attempt::Recorded)
            }
        }
    }

    /// Records what was claimed, and makes sure of the claims that were there before. The horizon must have been read after the
    /// claims were made.
    pub(super) async fn record_claimed(
        &self,
        transaction: &Transaction,
        entries: &[Entry],
        claimed: &Claimed,
        horizon: OffsetDateTime,
        way: Way,
        laps: &mut Laps,
    ) -> Result<Recorded, DatabaseError> {
        let resumed = resume(transaction, entries, claimed).await?;
        let is_new = |entry: &&Entry| claimed.holds(&entry.key) || resumed.contains(&entry.key);
        let (new, repeated): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(is_new);
        let repeated: Vec<MessageKey> = repeated.into_iter().map(|entry| entry.key).collect();
        mutants::claim_keys_of_all(self, transaction, entries).await?;
        let Decided { loaded, absorbed, mut buried, mut contradicting } =
            self.decide(transaction, &new, horizon).await?;
        laps.end(Phase::Claim);
        let logins: Vec<LoginRow<'_>> = loaded.iter().filter_map(|entry| entry.login_row()).collect();
        let corrected: Vec<MessageKey> = buried.iter().map(|(entry, _)| entry.key).collect();
        // The letter of a message that came back stays what it was.
        let unmoved: Vec<_> = buried.extract_if(.., |(entry, _)| resumed.contains(&entry.key)).collect();
        contradicting -= unmoved.iter().filter(|(_, why)| matches!(why, Rejection::Contradicts { .. })).count() as u64;
        let contradictions = buried.iter().map(|(entry, rejection)| entry.as_dead_letter(rejection));
        let letters = new.iter().filter_map(|entry| entry.dead_letter_row()).chain(contradictions).collect();
        let letters: Vec<DeadLetterRow<'_>> = mutants::letters(letters);
        processed_messages::correct(transaction, &absorbed, &corrected).await?;
        match way {
            Way::Copy => self.copy(transaction, &logins, &letters, &repeated).await?,
            Way::Insert => self.insert(transaction, &logins, &letters, &repeated).await?,
        }
        let resolved: Vec<MessageKey> = resumed.into_iter().filter(|key| !corrected.contains(key)).collect();
        if !resolved.is_empty() {
            around(Step::RequeuedResolve, dead_letters::resolve_requeued(transaction, &resolved)).await?;
        }
        let tally = Tally {
            loaded: logins.len() as u64,
            dead_lettered: letters.len() as u64,
            absorbed: absorbed.len() as u64,
            contradicting,
            redelivered: (repeated.len() + unmoved.len()) as u64,
            repeated_in_batch: entries.iter().map(|entry| entry.repeats.len() as u64).sum(),
        };
        // How long a login took that was a dead letter meanwhile says nothing of the loader.
        let timed = |Entry { delivery, is_requeued, .. }: &Entry| {
            let receive_count = delivery.receive_count;
            let sent_at = delivery.sent_at.of_queue().filter(|_| !is_requeued);
            sent_at.map(|sent_at| TimedLogin { sent_at, receive_count })
        };
        Ok(Recorded {
            tally,
            logins: loaded.iter().filter_map(|entry| timed(entry)).collect(),
            letters: letters.iter().map(|letter| letter.rejection.code()).collect(),
            letters_bytes: letters.iter().map(|letter| letter.sealed_body.as_bytes().len() as u64).sum(),
        })
    }

    /// Claims the keys of new logins, and lets their owners decide. A key that carries a time from before the horizon is not
    /// claimed: it may have been, and its claim be gone.
    async fn decide<'e>(
        &self,
        transaction: &Transaction,
        new: &[&'e Entry],
        horizon: OffsetDateTime,
    ) -> Result<Decided<'e>, DatabaseError> {
        let is_older = |entry: &&&Entry| entry.identity.is_some_and(|identity| identity.key.is_older_than(horizon));
        let (older, new): (Vec<&Entry>, Vec<&Entry>) = new.iter().partition(is_older);
        let buried: Vec<_> = older.into_iter().map(|entry| (entry, Rejection::OlderThanMemory)).collect();
        if !buried.is_empty() {
            let logins = buried.len();
            tracing::warn!(%horizon, logins, "keys are older than what the tables remember: their logins become dead letters");
        }
        let keyed = |entry: &&Entry| entry.identity.map(|identity| (entry.key, identity));
        let wanted: Vec<(MessageKey, LoginIdentity)> = new.iter().filter_map(keyed).collect();
        if wanted.is_empty() {
            let is_login = |entry: &&Entry| entry.login_row().is_some();
            return Ok(Decided { loaded: new.into_iter().filter(is_login).collect(), buried, ..Decided::default() });
        }
        let claiming = identities::claim(transaction, self.hash_key, &wanted);
        let claiming = around(Step::Identities, claiming);
        let owners = traced(statement("INSERT", "identities", wanted.len()), claiming).await?;
        let mut decided = Decided { buried, ..Decided::default() };
        for entry in new.iter().filter(|entry| entry.login_row().is_some()) {
            let identity = entry.identity.and_then(|identity| Some((identity, owners.get(&identity.key)?)));
            let identity = identity.filter(|(_, owner)| mutants::is_of_another(&new, entry, owner));
            let Some((identity, owner)) = identity else {
                decided.loaded.push(entry);
                continue;
            };
            let is_contradicting = mutants::is_contradicting(&new, &identity, owner);
            decided.contradicting += u64::from(is_contradicting);
            match is_contradicting && self.contradictions == Contradictions::DeadLetter {
                true => decided.buried.push((entry, Rejection::Contradicts { owner: owner.message.hash })),
                false => decided.absorbed.push((entry.key, owner.message)),
            }
        }
        Ok(decided)
    }

    /// Everything one behind the other: each is sent as soon as the driver lets it. The server executes them in this order,
    /// but on a new connection it prepares all of them first, and may wait there.
    async fn copy(
        &self,
        transaction: &Transaction,
        logins: &[LoginRow<'_>],
        letters: &[DeadLetterRow<'_>],
        repeated: &[MessageKey],
    ) -> Result<(), DatabaseError> {
        let (stored, announced, buried, found, checked) = futures_util::future::join5(
            traced(
                statement("COPY", "user_logins", logins.len()),
                around(Step::Rows, user_logins::copy(transaction, logins)),
            ),
            traced(statement("COPY", "outbox", logins.len()), around(Step::Events, outbox::copy(transaction, logins))),
            self.bury(transaction, letters),
            look_for(transaction, repeated),
            transaction.check_deferred_constraints(),
        )
        .await;
        first_cause([stored, announced, buried, found, checked])
    }

    /// Everything one after the other: a login whose row stands already has its event too.
    async fn insert(
        &self,
        transaction: &Transaction,
        logins: &[LoginRow<'_>],
        letters: &[DeadLetterRow<'_>],
        repeated: &[MessageKey],
    ) -> Result<(), DatabaseError> {
        let storing = around(Step::Rows, user_logins::insert(transaction, logins));
        let new = traced(statement("INSERT", "user_logins", logins.len()), storing).await?;
        let announced: Vec<LoginRow<'_>> = logins.iter().filter(|login| new.contains(&login.key)).copied().collect();
        let announcing = around(Step::Events, outbox::insert(transaction, &announced));
        traced(statement("INSERT", "outbox", announced.len()), announcing).await?;
        self.bury(transaction, letters).await?;
        look_for(transaction, repeated).await
    }

    async fn bury(&self, transaction: &Transaction, letters: &[DeadLetterRow<'_>]) -> Result<(), DatabaseError> {
        let burying = around(Step::DeadLetters, dead_letters::insert(transaction, &self.queue, letters));
        traced(statement("INSERT", "dead_letters", letters.len()), burying).await
    }
}

/// Takes the open letters of messages that came back, as a replay takes them: their claims become those of logins.
async fn resume(
    transaction: &Transaction,
    entries: &[Entry],
    claimed: &Claimed,
) -> Result<HashSet<MessageKey>, DatabaseError> {
    let came_back = |entry: &&Entry| entry.is_requeued && entry.login_row().is_some() && !claimed.holds(&entry.key);
    let keys: Vec<MessageKey> = entries.iter().filter(came_back).map(|entry| entry.key).collect();
    match keys.is_empty() {
        true => Ok(HashSet::new()),
        false => around(Step::RequeuedTake, dead_letters::take_requeued(transaction, &keys)).await,
    }
}

async fn look_for(transaction: &Transaction, repeated: &[MessageKey]) -> Result<(), DatabaseError> {
    let looking = around(Step::Compare, find(transaction, repeated));
    traced(statement("SELECT", "processed_messages", repeated.len()), looking).await
}

/// Messages that were claimed before are deleted from the queue after this commit, as if it had recorded them.
async fn find(transaction: &Transaction, repeated: &[MessageKey]) -> Result<(), DatabaseError> {
    if repeated.is_empty() {
        return Ok(());
    }
    transaction.rely_on_earlier_commits().await?;
    processed_messages::insist(transaction, repeated).await
}

/// The error of the statement that failed. Those behind it say that the transaction is aborted (25P02); and behind a COPY that
/// is refused for that, the driver takes one answer for another and says something without an SQLSTATE
/// ([`Transaction::copy`]).
fn first_cause(outcomes: [Result<(), DatabaseError>; 5]) -> Result<(), DatabaseError> {
    let errors = outcomes.into_iter().filter_map(Result::err);
    let rank = |error: &DatabaseError| match error.sqlstate() {
        Some("25P02") => 2,
        Some(_) => 0,
        None => 1,
    };
    match errors.min_by_key(rank) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
