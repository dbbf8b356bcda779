//! Dead letters through decode, mask and load again, under the hashes that they had.
//!
//! A letter becomes a login when what refused it has changed: the rules of decode, or the database's own constraints. Its
//! login claims its key as it does in a loader, under the scheme that is recorded for its queue, and the owner of the key
//! decides: another message may have brought it meanwhile.
//!
//! A replay is a plan: a list of letters that does not change any more, with what was foreseen for each. Each chunk of them is
//! one transaction that locks them all first, and that records what became of each. Others that replay or discard meanwhile
//! wait, and find them no longer open; after a crash they are open and left to do, or replayed with all that belongs to it.

pub mod edit;
mod foresee;
mod judge;
mod report;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use self::foresee::Wanted;
use self::judge::{Identifiers, LoginAgain};
pub use self::report::Report;
use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::decode::Form;
use crate::failpoint::{Step, around};
use crate::mask::Masker;
use crate::message::{MessageKey, NO_TIME, QueueIdentity};
use crate::retry::Class;
use crate::seal::{BodyOpener, BodySealer, HashKey};
use crate::table::dead_letters::{self, Filter, Sealed, Status, Version};
use crate::table::operator_actions::{self, Said};
use crate::table::plan_id::PlanId;
use crate::table::replay_plan_letters::{self, Compared, Left, Locked};
pub use crate::table::replay_plan_letters::{Fate, Obstacle};
use crate::table::replay_plans::{self, Plan, State};
use crate::table::{dead_letter_revisions, horizon, identities, outbox, processed_messages, queues, user_logins};
use crate::verdict::LoginIdentity;

/// How many letters are replayed in one transaction. It bounds memory: a body is at most 1 MiB, and stands there twice
/// (as it came over the wire, and sealed), so a chunk takes at most 200 MiB.
const CHUNK: u64 = 100;

/// How long it may take to compare what was foreseen of a plan with what became: of millions, it takes seconds.
const COMPARED_WITHIN: Duration = Duration::from_secs(300);

/// How often a transaction is tried.
const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// How often letters wait or take too long before they are tried in two halves.
const CONTENDED_BEFORE_SPLIT: u32 = 2;

/// Replays dead letters.
pub struct Replay {
    /// Where they are, and where their logins go.
    pub database: Database,
    /// Opens their bodies.
    pub opener: BodyOpener,
    /// Seals those that are edited.
    pub sealer: BodySealer,
    /// Hashes their logins and the keys of these.
    pub hash_key: Arc<HashKey>,
    /// What their bodies are.
    pub form: Form,
    /// Masks their logins.
    pub masker: Masker,
    /// Who replays them, and why.
    pub said: Said,
}

/// The replay did not come to its end. What the report says holds.
#[derive(Debug, thiserror::Error)]
#[error("the replay stopped: {error}")]
pub struct Unfinished {
    /// What became of the letters before.
    pub report: Box<Report>,
    /// What the database said.
    #[source]
    pub error: DatabaseError,
}

impl Unfinished {
    /// Nothing is known of the letters.
    fn before(error: DatabaseError) -> Self {
        Self { report: Box::default(), error }
    }
}

impl Replay {
    /// Draws up a plan of the open letters that match, and runs it. `progress` is told after each chunk.
    ///
    /// # Errors
    ///
    /// [`Unfinished`]
    pub async fn run(
        &self,
        filter: &Filter,
        limit: Option<u64>,
        progress: impl FnMut(&Plan),
    ) -> Result<Report, Unfinished> {
        let wanted = Wanted { filter: filter.clone(), limit, ..Wanted::default() };
        let plan = self.draw_up(&wanted, None, |_| {}).await.map_err(Unfinished::before)?;
        self.run_plan(plan.id, progress).await
    }

    /// Goes through the letters of a plan of which nothing has become, until none is left or somebody cancels it. Several may
    /// run one plan at once: each letter is one's.
    ///
    /// A row that the database refuses is found by splitting its chunk, so that its neighbours land. A failure that
    /// passes, and a commit that may or may not hold, make the same transaction run again, for about half a minute.
    ///
    /// # Errors
    ///
    /// [`Unfinished`]
    pub async fn run_plan(&self, plan: PlanId, progress: impl FnMut(&Plan)) -> Result<Report, Unfinished> {
        self.run_and_compare(plan, progress).await.map(|compared| Report::of(&compared))
    }

    /// The same, and gives what was foreseen beside what became.
    ///
    /// # Errors
    ///
    /// [`Unfinished`]
    pub async fn run_and_compare(
        &self,
        plan: PlanId,
        mut progress: impl FnMut(&Plan),
    ) -> Result<Vec<Compared>, Unfinished> {
        let ended = self.go_through(plan, &mut progress).await;
        match (ended, persist(PATIENCE, || compare(&self.database, plan)).await) {
            (Ok(()), Ok(compared)) => Ok(compared),
            (Err(error), Ok(compared)) => Err(Unfinished { report: Box::new(Report::of(&compared)), error }),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(Unfinished::before(error)),
        }
    }

    async fn go_through(&self, plan: PlanId, progress: &mut impl FnMut(&Plan)) -> Result<(), DatabaseError> {
        let begin = async |transaction: &Transaction| {
            replay_plans::run(transaction, plan).await?;
            replay_plans::read(transaction, plan).await
        };
        let begun = persist(PATIENCE, || self.database.transaction(&begin)).await?;
        let identifiers = persist(PATIENCE, || self.identifiers()).await?;
        let run = Run { plan: &begun, identifiers: &identifiers };
        // At first, what others have locked is left to them; then they are waited for, so that none is left.
        for locked in [Locked::Skip, Locked::Await] {
            let mut after = None;
            loop {
                let look = async |seen: &Transaction| {
                    let left = replay_plan_letters::left(seen, plan, after, CHUNK).await?;
                    Ok((replay_plans::read(seen, plan).await?, left))
                };
                let (now, left) = persist(PATIENCE, || self.database.snapshot(&look)).await?;
                progress(&now);
                let Some(last) = left.last().filter(|_| now.state == State::Running) else { break };
                after = Some(*last);
                self.replay(left, locked, &run).await?;
            }
        }
        let end = async |transaction: &Transaction| match replay_plan_letters::left(transaction, plan, None, 1).await? {
            left if left.is_empty() => replay_plans::end(transaction, plan).await,
            _ => Ok(()),
        };
        persist(PATIENCE, || self.database.transaction(&end)).await
    }

    /// What makes the hashes of each queue's logins, by the scheme that is recorded for it.
    async fn identifiers(&self) -> Result<Identifiers, DatabaseError> {
        let queues = self.database.snapshot(queues::read_all).await?;
        let identifier = |(queue, record): (QueueIdentity, queues::QueueRecord)| {
            let identifier = self.hash_key.identifier(record.scheme, &queue);
            (queue, identifier)
        };
        Ok(queues.into_iter().map(identifier).collect())
    }

    /// A loader splits by the same rule; but it waits without end, may be told to give up, and writes what is refused
    /// as a dead letter, where here it is one and stays it.
    async fn replay(&self, chunk: Vec<MessageKey>, locked: Locked, run: &Run<'_>) -> Result<(), DatabaseError> {
        let mut to_do = vec![chunk];
        while let Some(mut keys) = to_do.pop() {
            let contended = if keys.len() > 1 { CONTENDED_BEFORE_SPLIT } else { PATIENCE.contended };
            let patience = Patience { contended, ..PATIENCE };
            let load_again = async |transaction: &Transaction| self.load_again(transaction, &keys, locked, run).await;
            let error = match persist(patience, || self.database.transaction(&load_again)).await {
                Ok(()) => continue,
                Err(error) if error.class() == Class::OfTheRows => error,
                // Only what is loaded by force can be so old, and it may be one letter of many.
                Err(error) if run.plan.force && error.may_lack_partition_of(identities::TABLE) => error,
                // Fewer at once take less time, and wait for fewer.
                Err(error) if error.class() == Class::Contended && keys.len() > 1 => error,
                Err(error) => return Err(error),
            };
            match keys.as_slice() {
                [key] => {
                    tracing::warn!(%error, hash = %key.hash, "the database refuses a row; its dead letter stays open");
                    let obstacle = Obstacle::Refused(error.sqlstate().unwrap_or("02000").to_owned());
                    let keep_open = async |transaction: &Transaction| {
                        let left = replay_plan_letters::lock(transaction, run.plan.id, &[*key], locked).await?;
                        let fate = Fate::StaysOpen(obstacle.clone());
                        run.record(transaction, &left, left.iter().map(|left| (left.key, fate.clone())).collect()).await
                    };
                    persist(PATIENCE, || self.database.transaction(&keep_open)).await?;
                }
                _ => {
                    let second = keys.split_off(keys.len() / 2);
                    to_do.extend([second, keys]);
                }
            }
        }
        Ok(())
    }

    /// One transaction: all of it holds when it is committed, with what became of each letter, or none of it.
    async fn load_again(
        &self,
        transaction: &Transaction,
        keys: &[MessageKey],
        locked: Locked,
        run: &Run<'_>,
    ) -> Result<(), DatabaseError> {
        let left = replay_plan_letters::lock(transaction, run.plan.id, keys, locked).await?;
        if left.is_empty() {
            return Ok(());
        }
        let letters = around(Step::ReplayTake, self.take(transaction, &left, run.plan)).await?;
        let taken: HashSet<MessageKey> = letters.iter().map(|letter| letter.key).collect();
        let mut fates: Vec<(MessageKey, Fate)> = Vec::with_capacity(left.len());
        let gone = left.iter().filter(|left| !taken.contains(&left.key));
        fates.extend(gone.map(|left| (left.key, Fate::NoLongerOpen)));
        if !fates.is_empty() {
            transaction.rely_on_earlier_commits().await?;
        }
        let mut logins = Vec::with_capacity(letters.len());
        // What could not be edited as it should be is not replayed as it is.
        let edits = !run.plan.edits.is_empty();
        let unedited = |left: &&Left| match left.foreseen {
            Fate::StaysOpen(Obstacle::Unedited(_)) => true,
            Fate::StaysOpen(Obstacle::Sealed(_)) => edits,
            Fate::StaysOpen(_) | Fate::Replayed | Fate::Absorbed | Fate::NoLongerOpen => false,
        };
        let unedited: HashMap<MessageKey, &Fate> =
            left.iter().filter(unedited).map(|left| (left.key, &left.foreseen)).collect();
        let revisions: HashMap<MessageKey, Option<PlanId>> =
            left.iter().map(|left| (left.key, left.revision)).collect();
        for letter in &letters {
            if let Some(fate) = unedited.get(&letter.key) {
                fates.push((letter.key, (*fate).clone()));
                continue;
            }
            // Another body than the one that was looked at is not replayed in its place.
            if revisions.get(&letter.key) != Some(&letter.revision) {
                let gone = Obstacle::Sealed("its edited body is gone".to_owned());
                fates.push((letter.key, Fate::StaysOpen(gone)));
                continue;
            }
            let opened = self.open(letter);
            match opened
                .map_err(Into::into)
                .and_then(|opened| self.read(letter, &opened, run.identifiers, run.plan.force))
            {
                Ok(login) => logins.push(login),
                Err(no_login) => fates.push((letter.key, Fate::StaysOpen(no_login.obstacle))),
            }
        }
        let of_logins: Vec<MessageKey> = logins.iter().map(|login| login.letter.key).collect();
        let claimed = around(Step::ReplayClaim, processed_messages::mark_loaded(transaction, &of_logins)).await?;
        logins.retain(|login| is_claimed(login.letter, &claimed, &mut fates));

        if !run.plan.force {
            leave_older(transaction, &mut logins, &mut fates).await?;
        }
        self.decide(transaction, &mut logins, &mut fates).await?;
        let rows: Vec<LoginRow<'_>> = logins.iter().map(LoginAgain::row).collect();
        let new = around(Step::Rows, user_logins::insert(transaction, &rows)).await?;
        let rows: Vec<LoginRow<'_>> = rows.into_iter().filter(|row| new.contains(&row.key)).collect();
        around(Step::Events, outbox::insert(transaction, &rows)).await?;
        fates.extend(logins.iter().map(|login| (login.letter.key, Fate::Replayed)));
        around(Step::ReplayResolve, run.record(transaction, &left, fates)).await
    }

    /// Claims the keys of the logins, and keeps those that own theirs. Where another message brought a login, its letter is
    /// absorbed; what contradicts another login stays open.
    async fn decide(
        &self,
        transaction: &Transaction,
        logins: &mut Vec<LoginAgain<'_>>,
        fates: &mut Vec<(MessageKey, Fate)>,
    ) -> Result<(), DatabaseError> {
        let wanted: Vec<(MessageKey, LoginIdentity)> =
            logins.iter().filter_map(|login| Some((login.letter.key, login.identity?))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let claiming = identities::claim(transaction, self.hash_key.check_value(), &wanted);
        let owners = around(Step::Identities, claiming).await?;
        let (mut absorbed, mut contradicting) = (Vec::new(), Vec::new());
        logins.retain(|LoginAgain { letter, identity, .. }| {
            let Some((identity, owner)) = identity.and_then(|one| Some((one, owners.get(&one.key)?))) else {
                return true;
            };
            match (owner.message == letter.key, owner.login == identity.login) {
                (true, _) => return true,
                (false, true) => absorbed.push((letter.key, owner.message)),
                (false, false) => contradicting.push(letter.key),
            }
            false
        });
        processed_messages::correct(transaction, &absorbed, &contradicting).await?;
        fates.extend(contradicting.into_iter().map(|key| (key, Fate::StaysOpen(Obstacle::IdentityTaken))));
        fates.extend(absorbed.into_iter().map(|(key, _)| (key, Fate::Absorbed)));
        Ok(())
    }

    /// Locks the letters, and reads those that are open.
    async fn take(&self, transaction: &Transaction, left: &[Left], plan: &Plan) -> Result<Vec<Sealed>, DatabaseError> {
        dead_letters::lock(transaction).await?;
        let reason = match (&self.said.reason, &plan.reason) {
            (own, Some(reason)) if own.is_empty() => reason.clone(),
            (own, _) => own.clone(),
        };
        operator_actions::say(transaction, &Said { reason, plan: Some(plan.id), ..self.said.clone() }).await?;
        let wanted: Vec<(MessageKey, Version)> =
            left.iter().map(|left| (left.key, Version::of(left.revision))).collect();
        dead_letters::take_open(transaction, &wanted).await
    }
}

/// Leaves those whose keys carry a time from before the horizon, which is read after their claims are theirs: another login may have
/// been loaded under such a key, and its claim be gone.
async fn leave_older(
    transaction: &Transaction,
    logins: &mut Vec<LoginAgain<'_>>,
    fates: &mut Vec<(MessageKey, Fate)>,
) -> Result<(), DatabaseError> {
    if logins.iter().all(|login| login.identity.is_none_or(|identity| identity.key.at == NO_TIME)) {
        return Ok(());
    }
    let horizon = horizon::retained_since(transaction).await?;
    let is_older =
        |login: &mut LoginAgain<'_>| login.identity.is_some_and(|identity| identity.key.is_older_than(horizon));
    let older: Vec<MessageKey> = logins.extract_if(.., is_older).map(|login| login.letter.key).collect();
    processed_messages::correct(transaction, &[], &older).await?;
    fates.extend(older.into_iter().map(|key| (key, Fate::StaysOpen(Obstacle::OlderThanMemory))));
    Ok(())
}

/// What was foreseen for the letters of a plan beside what became of them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn compare(database: &Database, plan: PlanId) -> Result<Vec<Compared>, DatabaseError> {
    let compare = async |seen: &Transaction| replay_plan_letters::compare(seen, plan).await;
    database.snapshot_within(COMPARED_WITHIN, compare).await
}

/// A plan that is run.
struct Run<'r> {
    plan: &'r Plan,
    identifiers: &'r Identifiers,
}

impl Run<'_> {
    /// Resolves letters as what became of them says, and records it in the plan.
    async fn record(
        &self,
        transaction: &Transaction,
        left: &[Left],
        fates: Vec<(MessageKey, Fate)>,
    ) -> Result<(), DatabaseError> {
        let of = |wanted: Fate| -> Vec<MessageKey> {
            fates.iter().filter(|(_, fate)| *fate == wanted).map(|(key, _)| *key).collect()
        };
        dead_letters::set_status(transaction, &of(Fate::Replayed), Status::Open, Status::Replayed).await?;
        dead_letters::set_status(transaction, &of(Fate::Absorbed), Status::Open, Status::Absorbed).await?;
        let gone = of(Fate::NoLongerOpen);
        let edited = left.iter().filter(|left| left.revision == Some(self.plan.id) && !gone.contains(&left.key));
        let edited: Vec<MessageKey> = edited.map(|left| left.key).collect();
        dead_letter_revisions::note_tried(transaction, self.plan.id, &edited).await?;
        replay_plan_letters::record(transaction, self.plan.id, &fates).await?;
        replay_plans::advance(transaction, self.plan.id, fates.len()).await
    }
}

fn is_claimed(letter: &Sealed, claimed: &HashSet<MessageKey>, fates: &mut Vec<(MessageKey, Fate)>) -> bool {
    let is_claimed = claimed.contains(&letter.key);
    if !is_claimed {
        tracing::warn!(hash = %letter.key.hash, "a dead letter stays open: {}", Obstacle::Unclaimed);
        fates.push((letter.key, Fate::StaysOpen(Obstacle::Unclaimed)));
    }
    is_claimed
}
