//! Draws a plan up: freezes its list, and says of each letter what a replay would make of it.
//!
//! Nothing is loaded and nothing resolved. What the database itself would refuse is not found this way.

use std::collections::HashMap;

use super::edit::Edit;
use super::judge::{Identifiers, LoginAgain, NoLogin, Opened};
use super::{CHUNK, PATIENCE, Replay};
use crate::database::{DatabaseError, Transaction, persist};
use crate::failpoint::{Step, around};
use crate::message::{IdentityKey, LoginHash, MessageKey, NO_TIME};
use crate::table::dead_letter_revisions::{self, NewRevision};
use crate::table::dead_letters::{self, Filter, Sealed, Status, Version};
use crate::table::operator_actions::{self, Said};
use crate::table::plan_id::PlanId;
use crate::table::replay_plan_letters::{self, Fate, Foreseen, Obstacle};
use crate::table::replay_plans::{self, Draft, Plan, State};
use crate::table::{horizon, identities, processed_messages};
use crate::verdict::LoginIdentity;

/// Of how many keys it is remembered that a letter of the plan brings them: of more, what is foreseen may be wrong.
const KEYS_REMEMBERED: usize = 1_000_000;

/// What a plan is to be of.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which open letters.
    pub filter: Filter,
    /// The most letters of which it is foreseen that they are loaded; none: all.
    pub limit: Option<u64>,
    /// What is said of it.
    pub draft: Draft,
    /// Whether the bodies are those that were delivered, whatever was made of them since.
    pub as_delivered: bool,
}

/// Keys that letters of the plan bring, each with the login that brings it first.
type Brought = HashMap<IdentityKey, (MessageKey, LoginHash)>;

/// A letter as it is foreseen.
struct Looked {
    foreseen: Foreseen,
    identity: Option<LoginIdentity>,
}

impl Replay {
    /// Draws up a plan. `progress` is told how many letters it has, after each chunk.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], after half a minute if it might pass: then the plan stays unfinished.
    pub async fn draw_up(
        &self,
        wanted: &Wanted,
        edit: Option<&Edit>,
        mut progress: impl FnMut(u64),
    ) -> Result<Plan, DatabaseError> {
        let identifiers = persist(PATIENCE, || self.identifiers()).await?;
        let begin = async |transaction: &Transaction| replay_plans::begin(transaction, &wanted.draft, &self.said).await;
        let (plan, made_at) = persist(PATIENCE, || self.database.transaction(&begin)).await?;
        let mut open = wanted.filter.clone().with_status(Status::Open);
        // What comes later is another plan's.
        open.search.until = Some(open.search.until.map_or(made_at, |until| until.min(made_at)));
        let divide = async |seen: &Transaction| open.by_code(seen).await;
        let mut parts = persist(PATIENCE, || self.database.snapshot(&divide)).await?;
        parts.reverse();
        let (mut after, mut letters, mut loads) = (None, 0, 0);
        let mut brought = Brought::new();
        while wanted.limit.is_none_or(|limit| loads < limit) {
            let Some(part) = parts.last() else { break };
            let most = wanted.limit.map_or(CHUNK, |limit| CHUNK.min(limit - loads));
            let find = async |seen: &Transaction| {
                let state = replay_plans::read(seen, plan).await?.state;
                Ok((state, dead_letters::next(seen, part, after, most).await?))
            };
            let (state, chunk) = persist(PATIENCE, || self.database.snapshot(&find)).await?;
            if state != State::Unfinished {
                break;
            }
            let Some(last) = chunk.last() else {
                parts.pop();
                after = None;
                continue;
            };
            after = Some(*last);
            let look = Look { plan, edit, identifiers: &identifiers, wanted, keys: &chunk, brought: &brought };
            let looked = persist(PATIENCE, || self.look(&look)).await?;
            letters += looked.len() as u64;
            loads += looked.iter().filter(|letter| letter.foreseen.fate == Fate::Replayed).count() as u64;
            remember(&mut brought, &looked);
            progress(letters);
        }
        let finish = async |transaction: &Transaction| {
            let letters = replay_plan_letters::count(transaction, plan).await?;
            replay_plans::finish(transaction, plan, letters).await?;
            replay_plans::read(transaction, plan).await
        };
        persist(PATIENCE, || self.database.transaction(&finish)).await
    }

    /// One transaction: some letters are looked at, and added to the plan.
    async fn look(&self, look: &Look<'_>) -> Result<Vec<Looked>, DatabaseError> {
        let said = Said { plan: Some(look.plan), ..self.said.clone() };
        let add = async |transaction: &Transaction| {
            if look.edit.is_some() {
                dead_letters::lock(transaction).await?;
            }
            operator_actions::say(transaction, &said).await?;
            let version = if look.wanted.as_delivered { Version::Delivered } else { Version::Latest };
            let keys: Vec<(MessageKey, Version)> = look.keys.iter().map(|key| (*key, version)).collect();
            let letters = dead_letters::take_open(transaction, &keys).await?;
            let (looked, revisions) = self.foresee(transaction, look, &letters).await?;
            let foreseen: Vec<&Foreseen> = looked.iter().map(|letter| &letter.foreseen).collect();
            let adding = async {
                dead_letter_revisions::add(transaction, look.plan, &revisions).await?;
                replay_plan_letters::insert(transaction, look.plan, &foreseen).await
            };
            around(Step::ReplayForesee, adding).await?;
            Ok(looked)
        };
        self.database.transaction(&add).await
    }

    async fn foresee(
        &self,
        transaction: &Transaction,
        look: &Look<'_>,
        letters: &[Sealed],
    ) -> Result<(Vec<Looked>, Vec<NewRevision>), DatabaseError> {
        let mut looked: Vec<Looked> = Vec::with_capacity(letters.len());
        let mut revisions = Vec::new();
        for letter in letters {
            let (one, revision) = self.look_at(look, letter);
            looked.push(one);
            revisions.extend(revision);
        }
        let keys: Vec<MessageKey> = letters.iter().map(|letter| letter.key).collect();
        let claimed = processed_messages::dead_lettered(transaction, &keys).await?;
        let are_dated = |letter: &Looked| letter.identity.is_some_and(|identity| identity.key.at != NO_TIME);
        let horizon = match looked.iter().any(are_dated) {
            true => horizon::retained_since(transaction).await?,
            false => NO_TIME,
        };
        let is_older = |identity: LoginIdentity| identity.key.is_older_than(horizon) && !look.wanted.draft.force;
        let wanted: Vec<IdentityKey> =
            looked.iter().filter_map(|letter| letter.identity.map(|identity| identity.key)).collect();
        let owners = match wanted.is_empty() {
            true => HashMap::new(),
            false => identities::owners(transaction, &wanted).await?,
        };
        let mut brought = Brought::new();
        for letter in looked.iter_mut().filter(|letter| letter.foreseen.fate == Fate::Replayed) {
            let key = letter.foreseen.key;
            if !claimed.contains(&key) {
                letter.foreseen.fate = Fate::StaysOpen(Obstacle::Unclaimed);
                continue;
            }
            let Some(identity) = letter.identity else { continue };
            if is_older(identity) {
                letter.foreseen.fate = Fate::StaysOpen(Obstacle::OlderThanMemory);
                continue;
            }
            let owner = owners.get(&identity.key).map(|owner| (owner.message, owner.login));
            let owner = owner.or_else(|| look.brought.get(&identity.key).copied());
            let owner = owner.unwrap_or_else(|| *brought.entry(identity.key).or_insert((key, identity.login)));
            letter.foreseen.fate = match (owner.0 == key, owner.1 == identity.login) {
                (true, _) => Fate::Replayed,
                (false, true) => Fate::Absorbed,
                (false, false) => Fate::StaysOpen(Obstacle::IdentityTaken),
            };
        }
        Ok((looked, revisions))
    }

    /// What the body alone says, without a look at the other tables.
    fn look_at(&self, look: &Look<'_>, letter: &Sealed) -> (Looked, Option<NewRevision>) {
        let edited = |opened: Opened| match look.edit {
            Some(edit) => self.edit(letter, opened, edit, look.plan),
            None => Ok(opened),
        };
        let opened = self.open(letter).and_then(edited);
        let read = match &opened {
            Ok(opened) => self.read(letter, opened, look.identifiers, look.wanted.draft.force),
            Err(obstacle) => Err(NoLogin::from(obstacle.clone())),
        };
        let (fate, place, identity) = match read {
            Ok(LoginAgain { identity, .. }) => (Fate::Replayed, None, identity),
            Err(NoLogin { obstacle, fault }) => (Fate::StaysOpen(obstacle), fault.map(|fault| fault.stored()), None),
        };
        let edited = opened.ok().and_then(|opened| opened.edited);
        let revision = if edited.is_some() { Some(look.plan) } else { letter.revision };
        let foreseen = Foreseen { key: letter.key, code: letter.code.clone(), revision, fate, place };
        let new = edited.map(|edited| NewRevision { key: letter.key, paths: edited.paths, body: edited.sealed });
        (Looked { foreseen, identity }, new)
    }
}

/// What is looked at, for which plan.
struct Look<'a> {
    plan: PlanId,
    edit: Option<&'a Edit>,
    identifiers: &'a Identifiers,
    wanted: &'a Wanted,
    keys: &'a [MessageKey],
    brought: &'a Brought,
}

fn remember(brought: &mut Brought, looked: &[Looked]) {
    let loaded = looked.iter().filter(|letter| letter.foreseen.fate == Fate::Replayed);
    for letter in loaded.take(KEYS_REMEMBERED.saturating_sub(brought.len())) {
        if let Some(identity) = letter.identity {
            brought.entry(identity.key).or_insert((letter.foreseen.key, identity.login));
        }
    }
}
