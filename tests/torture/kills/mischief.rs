//! What others do to the database while loaders load from it: triggers, a sequence set back, an index dropped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::connect;
use crate::world::USERS;

/// Between two of them.
const CALM: Duration = Duration::from_millis(1_500);
/// How long one that stops loaders goes on at most, where it stops none.
const LONGEST: Duration = Duration::from_secs(8);
/// How long a trigger meddles: for some messages until their last attempt.
const MEDDLES_FOR: Duration = Duration::from_secs(8);
/// How many users it has something against.
const SOME: u64 = 4;
/// For how long after its end a loader may still stop because of it.
const AFTERMATH: Duration = Duration::from_secs(15);
/// More than loaders have in hand: events that were under way keep the positions that they have.
const POSITIONS_IN_HAND: i64 = 10_000;

/// What a trigger may give, and what stands for something else where the server gives it.
const ODD_CODES: [&str; 6] = ["38000", "44000", "XX000", "42501", "23505", "TS001"];

/// A trigger that does nothing until its function is replaced, which locks no table; and a count of what it did, which no
/// transaction takes back.
const PREPARE: &str = "
    CREATE SEQUENCE public.strikes;
    CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER meddle BEFORE INSERT ON public.user_logins FOR EACH ROW EXECUTE FUNCTION public.meddle()";

/// One kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mischief {
    /// A trigger refuses the logins of a user.
    Raise,
    /// The same, with a code that means something else.
    RaiseOddly,
    /// A trigger drops the logins of a user in silence.
    Drop,
    /// A trigger takes longer over the logins of a user than a statement may.
    Sleep,
    /// The sequence of the events starts again from the first; then somebody sets it right.
    SetSequenceBack,
    /// The claims' index is gone for a while.
    DropIndexOfMessages,
    /// The index of the keys is gone for a while.
    DropIndexOfIdentities,
}

impl Mischief {
    pub(crate) const ALL: [Self; 7] = [
        Self::Raise,
        Self::RaiseOddly,
        Self::Drop,
        Self::Sleep,
        Self::SetSequenceBack,
        Self::DropIndexOfMessages,
        Self::DropIndexOfIdentities,
    ];

    /// What a loader says that stops because of it.
    fn stops_with(self) -> &'static [&'static str] {
        match self {
            Self::Raise | Self::RaiseOddly | Self::Drop | Self::Sleep => &[],
            Self::SetSequenceBack => &["SQLSTATE 23505", "outbox_position_seq"],
            Self::DropIndexOfMessages => &["SQLSTATE 42P10", ".processed_messages (sent_at, message_hash)"],
            Self::DropIndexOfIdentities => &["SQLSTATE 42P10", ".identities (key_time, hash)"],
        }
    }
}

/// All of it, over and over, in a drawn order.
pub(crate) struct Mischiefs {
    client: tokio::sync::Mutex<Client>,
    random: Mutex<StdRng>,
    /// How often each was done, and how often it met a row or a loader.
    done: Mutex<BTreeMap<Mischief, Done>>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) times: u64,
    pub(crate) met: u64,
    /// How often a loader refused to begin because of it.
    pub(crate) refused: u64,
    /// When it was over; none while it goes on.
    over: Option<Instant>,
}

impl Mischiefs {
    pub(crate) async fn prepare(url: &str, seed: u64) -> Self {
        let client = connect(url).await;
        client.batch_execute(PREPARE).await.unwrap();
        Self { client: client.into(), random: StdRng::seed_from_u64(seed).into(), done: Mutex::default() }
    }

    /// One after the other, until `until` is cancelled; leaves everything as it should be.
    pub(crate) async fn work(&self, until: &CancellationToken) {
        let mut left = Vec::new();
        while !until.is_cancelled() {
            if left.is_empty() {
                left = Mischief::ALL.to_vec();
                left.shuffle(&mut *self.random.lock().unwrap());
            }
            self.make(left.pop().expect("there are some")).await;
            tokio::time::sleep(CALM).await;
        }
    }

    /// This one, once.
    pub(crate) async fn make(&self, mischief: Mischief) {
        self.note(mischief, |done| {
            done.times += 1;
            done.over = None;
        });
        self.perform(mischief).await;
        self.note(mischief, |done| done.over = Some(Instant::now()));
    }

    /// Whether a loader that said this stopped because of one of them; it is counted then.
    pub(crate) fn excuse(&self, said: &str) -> bool {
        let mut done = self.done.lock().unwrap();
        let is_recent = |done: &Done| done.over.is_none_or(|over| over.elapsed() < AFTERMATH);
        let excuses = |mischief: &Mischief| mischief.stops_with().iter().any(|text| said.contains(text));
        // Two of them stop it with the same words: it was the one that goes on, or the last to end.
        let last = |done: &Done| (done.over.is_none(), done.over);
        let found = done.iter_mut().filter(|(mischief, done)| excuses(mischief) && is_recent(done));
        let found = found.max_by_key(|(_, done)| last(done));
        let Some((_, done)) = found else { return false };
        match said.contains("SQLSTATE") {
            true => done.met += 1,
            false => done.refused += 1,
        }
        true
    }

    /// Those that have met nobody yet.
    pub(crate) fn unmet(&self) -> Vec<Mischief> {
        let done = self.done.lock().unwrap();
        let has_met = |mischief: &Mischief| done.get(mischief).is_some_and(|done| done.met > 0);
        Mischief::ALL.into_iter().filter(|mischief| !has_met(mischief)).collect()
    }

    /// How often each was done, and met somebody.
    pub(crate) fn done(&self) -> BTreeMap<Mischief, Done> {
        self.done.lock().unwrap().clone()
    }

    /// A trigger refuses the logins of some users for a while.
    pub(crate) async fn refuse_for_a_while(&self) {
        self.perform(Mischief::Raise).await;
    }

    async fn perform(&self, mischief: Mischief) {
        let (user, code) = (self.draw(USERS), self.draw(0..ODD_CODES.len() as u64) as usize);
        let only = |users: u64, what: &str| {
            let users: Vec<String> = (user..user + users).map(|user| format!("'user {user}'")).collect();
            let users = users.join(", ");
            format!("IF NEW.user_id IN ({users}) THEN PERFORM nextval('public.strikes'); {what} END IF;")
        };
        match mischief {
            Mischief::Raise => self.meddle(mischief, &only(SOME, "RAISE 'no';")).await,
            Mischief::RaiseOddly => {
                let code = ODD_CODES[code];
                self.meddle(mischief, &only(SOME, &format!("RAISE 'no' USING ERRCODE = '{code}';"))).await;
            }
            Mischief::Drop => self.meddle(mischief, &only(SOME, "RETURN NULL;")).await,
            Mischief::Sleep => self.meddle(mischief, &only(1, "PERFORM pg_sleep(60);")).await,
            Mischief::SetSequenceBack => self.set_sequence_back().await,
            Mischief::DropIndexOfMessages => {
                self.drop_key(mischief, "processed_messages", "sent_at, message_hash").await
            }
            Mischief::DropIndexOfIdentities => self.drop_key(mischief, "identities", "key_time, hash").await,
        }
    }

    /// Lets the trigger do this for a while.
    async fn meddle(&self, mischief: Mischief, what: &str) {
        let before = self.strikes().await;
        self.become_(what).await;
        tokio::time::sleep(MEDDLES_FOR).await;
        self.become_("").await;
        let met = self.strikes().await - before;
        self.note(mischief, |done| done.met += met.unsigned_abs());
    }

    fn draw(&self, from: std::ops::Range<u64>) -> u64 {
        self.random.lock().unwrap().random_range(from)
    }

    async fn become_(&self, what: &str) {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN {what} RETURN NEW; END $$"
        );
        self.client.lock().await.batch_execute(&sql).await.unwrap();
    }

    async fn strikes(&self) -> i64 {
        self.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.strikes").await
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.lock().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn set_sequence_back(&self) {
        let before = self.number("SELECT last_value FROM turnstile.outbox_position_seq").await;
        // To the first that stands: those before it may have been drawn by transactions that did not hold.
        let first = "(SELECT coalesce(min(position), 1) FROM turnstile.outbox)";
        self.number(&format!("SELECT setval('turnstile.outbox_position_seq', {first}, false)")).await;
        self.until_it_stopped_somebody(Mischief::SetSequenceBack).await;
        let mend = format!("SELECT setval('turnstile.outbox_position_seq', {})", before + POSITIONS_IN_HAND);
        self.number(&mend).await;
    }

    /// Drops a primary key, and makes it again.
    async fn drop_key(&self, mischief: Mischief, table: &str, columns: &str) {
        let drop = format!(
            "SET lock_timeout = '1s'; ALTER TABLE turnstile.{table} DROP CONSTRAINT {table}_pkey; RESET lock_timeout"
        );
        // A loader in the middle of a transaction comes first; those behind us shall not wait for long.
        while self.client.lock().await.batch_execute(&drop).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.until_it_stopped_somebody(mischief).await;
        let make = format!("ALTER TABLE turnstile.{table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({columns})");
        self.client.lock().await.batch_execute(&make).await.unwrap();
    }

    async fn until_it_stopped_somebody(&self, mischief: Mischief) {
        let met = || self.done.lock().unwrap().get(&mischief).map_or(0, |done| done.met);
        let (before, since) = (met(), Instant::now());
        while since.elapsed() < LONGEST && met() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn note(&self, mischief: Mischief, change: impl FnOnce(&mut Done)) {
        change(self.done.lock().unwrap().entry(mischief).or_default());
    }
}
