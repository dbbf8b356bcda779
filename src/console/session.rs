//! One person at work: by which role, with which connections, and what was done with which form.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::doing::Told;
use crate::database::{Database, DatabaseError};
use crate::table::operator_actions::Said;
use crate::table::powers::Powers;

/// How long what a role may do is believed. What it may no longer do, the database refuses at once.
const POWERS_GOOD_FOR: Duration = Duration::from_secs(30);
/// How many acts are remembered, so that none is done twice.
const REMEMBERED: usize = 100;
/// How long a revealed body is kept for the page that shows it.
const REVEALED_FOR: Duration = Duration::from_secs(120);
/// How many pages of a session may keep themselves up to date.
const FEEDS: usize = 6;

/// Somebody who is signed in.
pub(super) struct Session {
    /// Who it is: the role, or the person whom the proxy names.
    pub(super) name: String,
    /// Whether a proxy has named the person.
    pub(super) is_named_by_proxy: bool,
    /// The connections of the role.
    pub(super) database: Database,
    /// Pages that keep themselves up to date.
    pub(super) feeds: Arc<Semaphore>,
    /// One act at a time: the same form sent twice at once is done once.
    pub(super) acting: tokio::sync::Mutex<()>,
    /// One plan at a time is drawn up.
    pub(super) drawing: Arc<Semaphore>,
    powers: Mutex<Option<(Instant, Arc<Powers>)>>,
    done: Mutex<VecDeque<Done>>,
    revealed: Mutex<Option<Revealed>>,
}

struct Done {
    once: String,
    told: Told,
}

struct Revealed {
    once: String,
    at: Instant,
    body: Arc<Zeroizing<Vec<u8>>>,
}

impl Session {
    pub(super) fn new(name: String, is_named_by_proxy: bool, database: Database) -> Self {
        Self {
            name,
            is_named_by_proxy,
            database,
            feeds: Arc::new(Semaphore::new(FEEDS)),
            acting: tokio::sync::Mutex::default(),
            drawing: Arc::new(Semaphore::new(1)),
            powers: Mutex::default(),
            done: Mutex::default(),
            revealed: Mutex::default(),
        }
    }

    /// What is noted of an act. The database knows the role itself.
    pub(super) fn said(&self, reason: &str) -> Said {
        let person = if self.is_named_by_proxy { self.name.as_str() } else { "" };
        Said::by(person).because(reason)
    }

    /// What its role may do.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub(super) async fn powers(&self) -> Result<Arc<Powers>, DatabaseError> {
        let known = lock(&self.powers).clone();
        if let Some((_, powers)) = known.filter(|(at, _)| at.elapsed() < POWERS_GOOD_FOR) {
            return Ok(powers);
        }
        let powers = Arc::new(self.database.snapshot(Powers::read).await?);
        *lock(&self.powers) = Some((Instant::now(), powers.clone()));
        Ok(powers)
    }

    /// What came of a form that was sent before.
    pub(super) fn told(&self, once: &str) -> Option<Told> {
        lock(&self.done).iter().find(|done| done.once == once).map(|done| done.told.clone())
    }

    /// Notes what came of a form.
    pub(super) fn note(&self, once: &str, told: Told) {
        let mut done = lock(&self.done);
        if done.len() >= REMEMBERED {
            done.pop_front();
        }
        done.push_back(Done { once: once.to_owned(), told });
    }

    /// Keeps a body for the page that shows it; the one before is gone.
    pub(super) fn keep_revealed(&self, once: &str, body: Vec<u8>) {
        let body = Arc::new(Zeroizing::new(body));
        *lock(&self.revealed) = Some(Revealed { once: once.to_owned(), at: Instant::now(), body });
    }

    /// The body that was revealed with this form; none: it is gone.
    pub(super) fn revealed(&self, once: &str) -> Option<Arc<Zeroizing<Vec<u8>>>> {
        let mut revealed = lock(&self.revealed);
        *revealed = revealed.take().filter(|revealed| revealed.at.elapsed() < REVEALED_FOR);
        revealed.as_ref().filter(|revealed| revealed.once == once).map(|revealed| revealed.body.clone())
    }

    /// Forgets a body that was kept for too long.
    pub(super) fn forget_revealed(&self) {
        // Nothing has this name.
        self.revealed("");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
