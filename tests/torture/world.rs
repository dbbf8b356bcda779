//! Where it happens: a queue in a box with faults, a PostgreSQL of its own, and a sender that keeps a journal.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstile::audit::journal::{Kind, Sent};
use turnstile::batch::Sorted;
use turnstile::database::on_loan::{OnLoan, Options};
use turnstile::decode::Rejection;
use turnstile::keyring::Keyring;
use turnstile::load::Contradictions;
use turnstile::mask::MaskKind;
use turnstile::message::{Identity, QueueIdentity};
use turnstile::queue::local::Faults;
use turnstile::verdict::{Content, Judge};

use crate::support::loading::{destination_of, load_into};
use crate::support::pipeline::{QUEUE, mixed};
use crate::support::site::Site;
use crate::support::verdicts::{login, message};

/// Nothing is sent while the queue holds more: what is sent is loaded soon, and what is killed has work in hand.
const BACKLOG: usize = 2_000;
/// How many messages are sent at once, and how many of them are malformed.
const SENT_AT_ONCE: (usize, usize) = (480, 20);
const SENDER_PAUSE: Duration = Duration::from_millis(20);

/// The servers and the sender.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) server: OnLoan,
    pub(crate) sent: AtomicU64,
    letters: AtomicU64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = OnLoan::start(Options::default()).await.expect("a PostgreSQL");
        let site = Site::at(&server.url()).await;
        Self { site, server, sent: AtomicU64::new(0), letters: AtomicU64::new(0) }
    }

    /// Keeps the queue filled until enough is sent and `until` is cancelled.
    pub(crate) async fn send(&self, at_least: u64, until: &CancellationToken) {
        while self.sent.load(Ordering::Relaxed) < at_least || !until.is_cancelled() {
            if self.site.depth() < BACKLOG {
                let (logins, malformed) = SENT_AT_ONCE;
                self.site.fill_with(mixed(logins, malformed));
                self.sent.fetch_add((logins + malformed) as u64, Ordering::Relaxed);
            }
            tokio::time::sleep(SENDER_PAUSE).await;
        }
    }

    /// Dead-letters a login as a rule would that is no longer in force, so that a replay loads it.
    pub(crate) async fn dead_letter_a_login(&self) {
        let number = self.letters.fetch_add(1, Ordering::Relaxed);
        let id = format!("dead letter {number}");
        let keyring = Keyring::load(&self.site.keyring()).unwrap();
        let identity = QueueIdentity::new(self.site.box_.queue_arn(QUEUE));
        let judge = Judge {
            identifier: keyring.identifier(Identity::MessageId, &identity),
            masker: keyring.masker(MaskKind::Seal),
            sealer: keyring.body_sealer(),
        };
        let message = message(&id, &login("somebody", "ios"), 1);
        self.site.note(&[Sent::by_message_id(&message.delivery.message_id, Kind::Login)]);
        let mut verdict = judge.judge(message);
        verdict.content = Content::Rejected(Rejection::InvalidVersion);
        let batch = Sorted::from_verdicts([verdict], 1).batch;
        load_into(
            &destination_of(identity.as_str(), &self.site.database(), 1, Contradictions::default()),
            batch,
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    }

    /// The lines of the logs of what ran here that may tell why something went wrong.
    pub(crate) fn last_lines(&self, log: &Path) -> String {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
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
