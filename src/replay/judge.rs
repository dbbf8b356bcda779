//! Letters as logins, or what stands in their way.

use std::collections::HashMap;

use super::Replay;
use super::edit::Edit;
use crate::batch::LoginRow;
use crate::decode::Rejection;
use crate::fault::{Fault, locate};
use crate::login::MaskedLogin;
use crate::message::{Attributes, Identifier, QueueIdentity, RawBody};
use crate::seal::OpenError;
use crate::table::dead_letters::Sealed;
use crate::table::replay_plan_letters::Obstacle;
use crate::verdict::LoginIdentity;

/// What makes the hashes of each queue's logins.
pub(super) type Identifiers = HashMap<QueueIdentity, Identifier>;

/// A letter that is a login now.
pub(super) struct LoginAgain<'l> {
    pub(super) letter: &'l Sealed,
    pub(super) identity: Option<LoginIdentity>,
    login: MaskedLogin,
}

impl LoginAgain<'_> {
    pub(super) fn row(&self) -> LoginRow<'_> {
        LoginRow { key: self.letter.key, sent_at: self.letter.sent_at, login: &self.login, origin: None }
    }
}

/// Why a letter is not a login.
pub(super) struct NoLogin {
    pub(super) obstacle: Obstacle,
    /// Where its body is wrong.
    pub(super) fault: Option<Fault>,
}

impl From<Obstacle> for NoLogin {
    fn from(obstacle: Obstacle) -> Self {
        Self { obstacle, fault: None }
    }
}

/// A body that was opened, with its attributes.
pub(super) struct Opened {
    body: RawBody,
    attributes: Attributes,
    /// What was changed in it, and how it is sealed.
    pub(super) edited: Option<Edited>,
}

/// What an edit made of a body.
pub(super) struct Edited {
    pub(super) paths: Vec<String>,
    pub(super) sealed: crate::seal::SealedBody,
}

impl Replay {
    /// Opens the body of a letter.
    pub(super) fn open(&self, letter: &Sealed) -> Result<Opened, Obstacle> {
        let hash = letter.key.hash;
        let opened = self.opener.open_version(hash, letter.revision.map(|plan| plan.0), &letter.body);
        let (body, attributes) = opened.map_err(|error: OpenError| Obstacle::Sealed(error.to_string()))?;
        Ok(Opened { body, attributes, edited: None })
    }

    /// Edits a body that was opened; one in which nothing changes stays what it is.
    pub(super) fn edit(
        &self,
        letter: &Sealed,
        opened: Opened,
        edit: &Edit,
        plan: crate::table::plan_id::PlanId,
    ) -> Result<Opened, Obstacle> {
        let changed = edit.apply(&opened.body).map_err(|error| Obstacle::Unedited(error.to_string()))?;
        let Some((body, paths)) = changed else { return Ok(opened) };
        let sealed = self.sealer.seal_revision(letter.key.hash, plan.0, &body, &opened.attributes);
        Ok(Opened { body, attributes: opened.attributes, edited: Some(Edited { paths, sealed }) })
    }

    /// The letter as the login that its body is. No clear value outlives this.
    pub(super) fn read<'l>(
        &self,
        letter: &'l Sealed,
        opened: &Opened,
        identifiers: &Identifiers,
        force: bool,
    ) -> Result<LoginAgain<'l>, NoLogin> {
        if letter.code == Rejection::OlderThanMemory.code() && !force {
            return Err(Obstacle::OlderThanMemory.into());
        }
        if letter.code == Rejection::NotRequeued.code() && !force {
            return Err(Obstacle::Rejected(letter.code.clone()).into());
        }
        let identifier = identifiers.get(&letter.queue).ok_or(Obstacle::UnknownQueue)?;
        let Opened { body, attributes, .. } = opened;
        let rejected = |rejection: Rejection| NoLogin {
            fault: locate(&self.form, self.masker.stream(), body, &rejection),
            obstacle: Obstacle::Rejected(rejection.code().to_owned()),
        };
        let login = self.form.read(self.masker.stream(), body).map_err(rejected)?.login;
        let key = identifier.key(body, attributes, Some(letter.sent_at)).map_err(|no_key| rejected(no_key.into()))?;
        let identity = key.map(|key| LoginIdentity { key, login: identifier.login(&login) });
        Ok(LoginAgain { letter, identity, login: self.masker.mask(login) })
    }
}
