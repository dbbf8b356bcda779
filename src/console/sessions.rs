//! Who is signed in: in memory only, so that the end of the console signs everybody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::session::Session;

/// The most sessions at once. One more ends the one that has not been used for longest.
const MOST: usize = 200;

/// The sessions, by the hashes of their tokens: how long it takes to look for one says nothing of the token.
pub(super) struct Sessions {
    idle: Duration,
    lasts: Duration,
    all: Mutex<HashMap<[u8; 32], Kept>>,
}

struct Kept {
    session: Arc<Session>,
    begun: Instant,
    used: Instant,
}

impl Sessions {
    pub(super) fn lasting(idle: Duration, lasts: Duration) -> Self {
        Self { idle, lasts, all: Mutex::default() }
    }

    /// Begins one, and gives its token.
    pub(super) fn begin(&self, session: Session) -> String {
        let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        self.keep(&token, session);
        token
    }

    /// Keeps one under a name of somebody's own; gives what is kept.
    pub(super) fn keep(&self, name: &str, session: Session) -> Arc<Session> {
        let (session, now) = (Arc::new(session), Instant::now());
        let mut all = self.living(now);
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, kept)| kept.used).map(|(hash, _)| *hash)
        {
            all.remove(&oldest);
        }
        all.insert(hash_of(name), Kept { session: session.clone(), begun: now, used: now });
        session
    }

    /// The session of a token, which somebody uses now.
    pub(super) fn used(&self, token: &str) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut all = self.living(now);
        let kept = all.get_mut(&hash_of(token))?;
        kept.used = now;
        Some(kept.session.clone())
    }

    /// The session of a token, of which a page keeps itself up to date by itself: that is no use.
    pub(super) fn looked_at(&self, token: &str) -> Option<Arc<Session>> {
        self.living(Instant::now()).get(&hash_of(token)).map(|kept| kept.session.clone())
    }

    /// Ends the session of a token.
    pub(super) fn end(&self, token: &str) {
        self.living(Instant::now()).remove(&hash_of(token));
    }

    /// Ends what is over, and closes connections that are not used.
    pub(super) fn tidy(&self, unused_for: Duration) {
        self.living(Instant::now()).values().for_each(|kept| {
            kept.session.forget_revealed();
            kept.session.database.close_idle(unused_for);
        });
    }

    /// Those that are not over: a session that is has no connections either.
    fn living(&self, now: Instant) -> MutexGuard<'_, HashMap<[u8; 32], Kept>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| now.duration_since(kept.used) < self.idle && now.duration_since(kept.begun) < self.lasts);
        all
    }
}

fn hash_of(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
