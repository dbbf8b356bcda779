//! Where it happens: a local SQS server with faults, a PostgreSQL of its own, and a sender that keeps a journal.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stand_ins::postgres::Postgres;
use stand_ins::sqs::Faults;
use tokio_util::sync::CancellationToken;
use turnstile::audit::journal::{Kind, Sent};
use turnstile::batch::Sorted;
use turnstile::carry::export::Export;
use turnstile::database::Database;
use turnstile::load::{Contradictions, Destination};
use turnstile::message::Identity;
use turnstile::table::dead_letters::Filter;
use turnstile::table::operator_actions::Said;
use turnstile::verdict::Content;

use crate::support::loading::{destination_of, load_into, migrate};
use crate::support::postgres::pool;
use crate::support::server::installed;
use crate::support::site::Site;
use crate::support::verdicts::{invalid_version, judge_of, login, message};

/// Nothing is sent while the queue holds more: what is sent is loaded soon, and what is killed has work in hand.
const BACKLOG: usize = 2_000;
/// How many logins are sent at once, and how many malformed messages among them.
const SENT_AT_ONCE: (u64, u64) = (480, 20);
/// Who logs in.
pub(crate) const USERS: std::ops::Range<u64> = 0..400;
/// Where the producer says which login it is.
pub(crate) const EVENT_ID: &str = "field:/event_id";
/// One login of so many is sent twice, and one of so many is sent with another under its id.
const ONE_TWIN_IN: u64 = 20;
const ONE_CONTRADICTION_IN: u64 = 70;
/// How many letters come from elsewhere at a time.
const LETTERS_FROM_ELSEWHERE: u64 = 5;
const SENDER_PAUSE: Duration = Duration::from_millis(20);

/// The servers and the sender.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) server: Postgres,
    pub(crate) sent: AtomicU64,
    events: AtomicU64,
    /// A database whose letters are exported, to be imported here.
    elsewhere: Database,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = Postgres::start(installed()).await.expect("a PostgreSQL");
        let site = Site::at(&server.url()).await;
        let elsewhere = server.create_database("elsewhere", None).await.unwrap();
        let elsewhere = pool(&elsewhere, 2, Duration::from_secs(20));
        migrate(&elsewhere).await;
        Self { site, server, sent: AtomicU64::new(0), events: AtomicU64::new(0), elsewhere }
    }

    /// Keeps the queue filled until enough is sent and `until` is cancelled.
    pub(crate) async fn send(&self, at_least: u64, until: &CancellationToken) {
        while self.sent.load(Ordering::Relaxed) < at_least || !until.is_cancelled() {
            if self.site.depth() < BACKLOG {
                let some = self.some_messages();
                self.sent.fetch_add(some.len() as u64, Ordering::Relaxed);
                self.site.fill_keyed(some);
            }
            tokio::time::sleep(SENDER_PAUSE).await;
        }
    }

    /// Logins, some of them twice and some with others under their ids, with malformed messages evenly among them.
    fn some_messages(&self) -> Vec<(String, String, Kind)> {
        let (logins, malformed) = SENT_AT_ONCE;
        let mut some = Vec::new();
        for n in 0..logins {
            let user = format!("user {}", USERS.start + n % (USERS.end - USERS.start));
            let event = self.events.fetch_add(1, Ordering::Relaxed);
            let (id, of) = (format!("event {event}"), |device: &str| login_of(event, &user, device));
            if event.is_multiple_of(ONE_CONTRADICTION_IN) {
                some.push((id.clone(), of("ios"), Kind::Contradicting));
                some.push((id, of("android"), Kind::Contradicting));
            } else {
                let times = if event.is_multiple_of(ONE_TWIN_IN) { 2 } else { 1 };
                some.extend(std::iter::repeat_n((id, of("ios"), Kind::Login), times));
            }
            if n.is_multiple_of(logins / malformed) {
                let body = format!("no login of device of canary {event}, 203.0.113.7");
                some.push((format!("malformed {event}"), body, Kind::Malformed));
            }
        }
        some
    }

    fn destination(&self) -> Destination {
        destination_of(self.site.queue_identity().as_str(), &self.site.database(), 1, Contradictions::default())
    }

    /// Records the queue as its first loader does: a replay goes by what is recorded of it.
    pub(crate) async fn introduce_queue(&self) {
        self.destination().introduce(&Identity::MessageId, &CancellationToken::new()).await.unwrap();
    }

    /// Dead-letters a login as a rule would that is no longer in force, so that a replay loads it.
    pub(crate) async fn dead_letter_a_login(&self) {
        self.dead_letter(&self.destination()).await;
    }

    async fn dead_letter(&self, destination: &Destination) {
        let event = self.events.fetch_add(1, Ordering::Relaxed);
        let judge = judge_of("message-id", self.site.queue_identity().as_str());
        let id = format!("dead letter {event}");
        let dead_letter = || {
            let message = message(&id, &login_of(event, "somebody", "ios"), 1);
            let mut verdict = judge.judge(message);
            verdict.content = Content::Rejected(invalid_version(), None);
            Sorted::from_verdicts([verdict], 1).batch
        };
        self.site.note(&[Sent { key: format!("event {event}"), message_id: id.clone(), kind: Kind::Login }]);
        // It stops while an index is gone.
        while load_into(destination, dead_letter(), &CancellationToken::new()).await.is_err() {
            tokio::time::sleep(SENDER_PAUSE).await;
        }
    }

    /// Some more letters of another database, and with them all those before: an import that was killed is made up for by the
    /// next.
    pub(crate) async fn letters_from_elsewhere(&self) -> PathBuf {
        let arn = self.site.queue_identity();
        let destination = destination_of(arn.as_str(), &self.elsewhere, 1, Contradictions::default());
        destination.introduce(&Identity::MessageId, &CancellationToken::new()).await.unwrap();
        for _ in 0..LETTERS_FROM_ELSEWHERE {
            self.dead_letter(&destination).await;
        }
        let file = self.site.log(&format!("letters {}", rand::random::<u64>()));
        let export = Export {
            database: &self.elsewhere,
            filter: &Filter::default(),
            meant: "all".to_owned(),
            said: &Said::by("torture"),
            keyring: None,
            to: &file,
        };
        export.run(|_| {}).await.unwrap();
        file
    }

    /// How much a log holds.
    pub(crate) fn log_length(&self, name: &str) -> u64 {
        std::fs::metadata(self.site.log(name)).map_or(0, |log| log.len())
    }

    /// What a log holds from there on.
    pub(crate) fn said_since(&self, name: &str, length: u64) -> String {
        let text = std::fs::read(self.site.log(name)).unwrap_or_default();
        String::from_utf8_lossy(&text[usize::try_from(length).unwrap()..]).into_owned()
    }

    /// The lines of the logs of what ran here that may tell why something went wrong.
    pub(crate) fn last_lines(&self, log: &Path) -> String {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A login with its producer's id.
fn login_of(event: u64, user: &str, device: &str) -> String {
    login(user, device).replacen('{', &format!("{{\"event_id\":\"event {event}\","), 1)
}

/// What the queue does to every loader all the while: often enough that each happens, seldom enough that work goes on.
pub(crate) fn queue_faults(seed: u64) -> Faults {
    Faults {
        seed,
        throttle: 0.005,
        error_500: 0.005,
        lost_reply: 0.01,
        partial_batch_failure: 0.01,
        early_redelivery: 0.02,
        redelivery_after_delete: 0.01,
        duplicate_in_receive: 0.02,
        delay: 0.02,
        max_delay: Duration::from_millis(50),
        ..Faults::default()
    }
}
