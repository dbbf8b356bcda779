//! What was found at a place: values, which are rendered for people and for scripts alike.

mod actions;
mod audit;
mod check;
mod costs;
mod filters;
mod groups;
mod letter;
mod letters;
mod letters_every;
mod loader;
mod loaders;
mod loading;
mod now;
mod outbox;
mod plan;
mod plans;
mod replaying;

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

pub(super) use self::letters::{file_csv, file_ndjson};
pub(super) use self::letters_every::MOST;
pub(super) use self::replaying::editing;
use super::Console;
use super::link::Wrong;
use super::place::Place;
use super::session::Session;
use crate::database::DatabaseError;

/// A page, but for the frame around it.
pub(super) trait View: Send + Sync {
    /// What the browser's tab says: the state first.
    fn title(&self) -> String;

    /// What stands still: a heading, filters, forms.
    fn still(&self) -> Markup;

    /// What is kept up to date while somebody looks.
    fn live(&self, now: OffsetDateTime) -> Markup;

    /// What stands still below it.
    fn below(&self) -> Markup {
        html! {}
    }

    /// All of it for scripts.
    fn json(&self) -> Value;
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// There is nothing at this address.
    Unknown,
    /// What is asked for is not understood.
    Wrong(Vec<Wrong>),
    /// There is no such thing.
    Absent(String),
    /// The role may not see it, and what it lacks.
    Forbidden(&'static str),
    /// The database does not give it.
    Database(DatabaseError),
    /// The database does not let the role in any more.
    Over,
}

impl From<DatabaseError> for NoPage {
    fn from(error: DatabaseError) -> Self {
        match error.sqlstate() {
            // The password is another one now, or the role is gone.
            Some("28P01" | "28000") => Self::Over,
            Some("42501") => Self::Forbidden("what the tables are granted for (deploy/grants.sql)"),
            Some(_) | None => Self::Database(error),
        }
    }
}

/// What may see dead letters.
pub(super) const LISTS: &str = "turnstile_viewer, turnstile_operator or turnstile_revealer";

/// What may see the loaders and the outbox.
const SEES_PROCESSES: &str = "turnstile_viewer or turnstile_operator";

/// Whether somebody may see dead letters.
///
/// # Errors
///
/// [`NoPage`] where it may not.
pub(super) async fn may_list(session: &Session) -> Result<(), NoPage> {
    match session.powers().await?.lists {
        true => Ok(()),
        false => Err(NoPage::Forbidden(LISTS)),
    }
}

/// Looks at what stands at a place.
///
/// # Errors
///
/// [`NoPage`]
pub(super) async fn look(place: &Place, console: &Console, session: &Session) -> Result<Box<dyn View>, NoPage> {
    let powers = session.powers().await?;
    if !powers.lists && !matches!(place, Place::Audit(_) | Place::Check) {
        return Err(NoPage::Forbidden(LISTS));
    }
    Ok(match place {
        Place::Now => Box::new(now::look(console, session, &powers).await?),
        Place::Loaders | Place::Loader(_) | Place::Costs if !powers.loaders => {
            return Err(NoPage::Forbidden(SEES_PROCESSES));
        }
        Place::Loaders => Box::new(loaders::look(session, &powers).await?),
        Place::Loader(id) => Box::new(loader::look(id, session, &powers).await?),
        Place::Costs => Box::new(costs::look(console, session).await?),
        Place::Groups(groups) => Box::new(groups::look(groups, session, &powers).await?),
        Place::Letters(letters) => Box::new(letters::look(letters, session, &powers).await?),
        Place::Every(letters) => Box::new(letters_every::look(letters, console, session, &powers).await?),
        Place::Letter(hash) => Box::new(letter::look(*hash, console, session, &powers).await?),
        Place::Plans | Place::Plan(_) if !powers.plans => return Err(NoPage::Forbidden(LISTS)),
        Place::Plans => Box::new(plans::look(session).await?),
        Place::Plan(id) => Box::new(plan::look(*id, console, session, &powers).await?),
        Place::Outbox if !powers.outbox => return Err(NoPage::Forbidden(SEES_PROCESSES)),
        Place::Outbox => Box::new(outbox::look(session).await?),
        Place::Actions(_) if !powers.history => return Err(NoPage::Forbidden(LISTS)),
        Place::Actions(actions) => Box::new(actions::look(actions, session).await?),
        Place::Audit(sought) => Box::new(audit::look(sought, console, session, &powers).await?),
        Place::Check => Box::new(check::look(console, session, &powers).await?),
    })
}
