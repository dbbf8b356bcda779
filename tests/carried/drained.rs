//! A dead-letter queue is drained into the table exactly once, whatever was recorded of its messages before.

use std::time::Duration;

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions, Redrive};
use tokio_util::sync::CancellationToken;
use turnstile::decode::Form;
use turnstile::drain::{Drain, DrainError, Drained, LIMITS};
use turnstile::mask::MaskKind;
use turnstile::message::{Identity, ReceivedMessage};
use turnstile::queue::Queue as _;
use turnstile::queue::sqs::{SqsQueue, SqsSettings};
use turnstile::receive::ReceiveLimits;
use turnstile::table::operator_actions::Said;

use crate::support::loading::{destination_of, load_into};
use crate::support::scripted_http::aws_at;
use crate::support::site::send_to;
use crate::support::tables::Tables;
use crate::support::verdicts::{batch, judge_of, login};
use crate::support::wait_until;

const DEAD: &str = "logins-dead";

/// Tables, and a queue that gives up what was received once.
pub(super) struct World {
    pub(super) tables: Tables,
    sqs: LocalQueue,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::of("logins", DEAD).await
    }

    async fn of(source: &str, dead: &str) -> Self {
        let redrive = Some(Redrive { dead_letter_queue: dead.to_owned(), max_receive_count: 1 });
        let queues = vec![QueueOptions::new(dead), QueueOptions { redrive, ..QueueOptions::new(source) }];
        let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), queues, Faults::default()).await.unwrap();
        Self { tables: Tables::new().await, sqs }
    }

    async fn queue(&self, name: &str, asks_sources: bool) -> SqsQueue {
        let settings = SqsSettings { asks_sources, ..SqsSettings::new(name.parse().unwrap()) };
        SqsQueue::connect_with(&settings, &aws_at(&self.sqs.endpoint())).await.unwrap()
    }

    async fn send(&self, queue: &str, bodies: impl IntoIterator<Item = String>) {
        send_to(queue, &self.sqs.endpoint(), bodies).await;
    }

    /// Receives everything once, and leaves it visible.
    async fn receive_all(&self, queue: &str) -> Vec<ReceivedMessage> {
        let queue = self.queue(queue, false).await;
        let (mut all, mut receipts) = (Vec::new(), Vec::new());
        loop {
            let some = queue.receive(10, Duration::ZERO, Duration::from_secs(60)).await.unwrap();
            if some.is_empty() {
                break;
            }
            receipts.extend(some.iter().map(|one| (one.delivery.receipt.clone(), Duration::ZERO)));
            all.extend(some);
        }
        for ten in receipts.chunks(10) {
            queue.change_visibility(ten).await.unwrap();
        }
        all
    }

    /// Has the queue give up what it holds, which was received once.
    async fn give_up(&self, source: &str) {
        let queue = self.queue(source, false).await;
        while !queue.receive(10, Duration::ZERO, Duration::from_secs(60)).await.unwrap().is_empty() {}
    }

    /// Sends bodies, of which each is received once in vain and given up.
    pub(super) async fn redrive(&self, bodies: impl IntoIterator<Item = String>) -> Vec<ReceivedMessage> {
        self.send("logins", bodies).await;
        let received = self.receive_all("logins").await;
        self.give_up("logins").await;
        received
    }

    /// Records messages as a loader of the queue does.
    async fn load(&self, messages: Vec<ReceivedMessage>) {
        let arn = self.sqs.queue_arn("logins");
        let destination = destination_of(&arn, &self.tables.database, 1, Default::default());
        destination.introduce(&Identity::MessageId, &CancellationToken::new()).await.unwrap();
        let batch = batch(&judge_of("message-id", &arn), messages);
        load_into(&destination, batch, &CancellationToken::new()).await.unwrap();
    }

    async fn drain_of(&self, queue: &str) -> Drain {
        let keyring = &self.tables.keyring;
        Drain {
            queue: self.queue(queue, true).await,
            database: self.tables.database.clone(),
            hash_key: keyring.shared_hash_key(),
            form: Form::Login,
            masker: keyring.masker(MaskKind::Seal),
            sealer: keyring.body_sealer(),
            identity: Identity::MessageId,
            // The local server answers at once, and what is not deleted comes again soon.
            limits: ReceiveLimits { wait: Duration::ZERO, visibility_timeout: Duration::from_secs(2), ..LIMITS },
            said: Said::by("ada").because("the database was away"),
        }
    }

    async fn drain(&self) -> Drained {
        self.drain_of(DEAD).await.run(None, &CancellationToken::new(), |_| {}).await.unwrap()
    }

    /// Waits until the queue hides nothing.
    async fn all_come_again(&self) {
        wait_until("all is visible", async || self.sqs.stats(DEAD).unwrap().in_flight == 0).await;
    }

    pub(super) fn left(&self, queue: &str) -> usize {
        let stats = self.sqs.stats(queue).unwrap();
        stats.visible + stats.in_flight + stats.delayed
    }
}

fn logins(users: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    users.map(|n| login(&format!("canary {n}"), "ios"))
}

fn new(drained: &Drained) -> Vec<(&str, u64)> {
    drained.buried.new.iter().map(|(code, letters)| (code.as_str(), *letters)).collect()
}

#[tokio::test]
async fn what_a_queue_gave_up_becomes_letters_and_a_replay_loads_those_that_are_logins() {
    let world = World::new().await;
    world.redrive(logins(0..25).chain(["no login of canary".to_owned(), "[1]".to_owned()])).await;
    assert_eq!((world.left("logins"), world.left(DEAD)), (0, 27));
    let drained = world.drain().await;
    assert_eq!(new(&drained), [("array_body", 1), ("invalid_json", 1), ("redriven", 25)]);
    assert_eq!((drained.received, drained.deleted, drained.not_deleted, drained.hidden), (27, 27, 0, Some(0)));
    assert_eq!((world.left(DEAD), world.tables.counts().await), (0, [27, 0, 27, 0]));
    let arn = world.sqs.queue_arn("logins");
    let of_source = format!("dead_letters WHERE queue = '{arn}' AND sent_at = sent_timestamp");
    assert_eq!(world.tables.count(&of_source).await, 27);
    let noted = "operator_actions WHERE action = 'imported' AND person = 'ada' AND reason = 'the database was away'";
    assert_eq!(world.tables.count(noted).await, 27);
    assert_eq!(world.tables.count("dead_letters WHERE code = 'invalid_json' AND place IS NOT NULL").await, 1);
    world.tables.assert_promise().await;
    let replayed = world.tables.replay_all().await;
    assert_eq!((replayed.replayed, replayed.stay_open()), (25, 2));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn what_was_loaded_or_dead_lettered_before_it_was_moved_is_only_deleted() {
    let world = World::new().await;
    world.send("logins", logins(0..4).chain(["no login".to_owned()])).await;
    let mut received = world.receive_all("logins").await;
    assert_eq!(received.len(), 5);
    // A login that the loader does not come to.
    let place = received.iter().position(|message| message.body.as_bytes().starts_with(b"{")).unwrap();
    received.remove(place);
    world.load(received).await;
    world.give_up("logins").await;
    let drained = world.drain().await;
    assert_eq!((new(&drained), drained.buried.recorded, drained.deleted), (vec![("redriven", 1)], 4, 5));
    assert_eq!((world.left(DEAD), world.tables.counts().await), (0, [5, 3, 2, 3]));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn a_loader_that_still_has_a_message_in_hand_finds_it_claimed() {
    let world = World::new().await;
    let in_hand = world.redrive(logins(0..3)).await;
    assert_eq!(world.drain().await.buried.letters(), 3);
    world.load(in_hand).await;
    assert_eq!(world.tables.counts().await, [3, 0, 3, 0]);
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn what_was_sent_to_the_dead_letter_queue_itself_is_claimed_under_its_own_name() {
    let world = World::new().await;
    world.send(DEAD, logins(0..2)).await;
    let drained = world.drain().await;
    assert_eq!((new(&drained), drained.deleted), (vec![("redriven", 2)], 2));
    let own = format!("dead_letters WHERE queue = '{}'", world.sqs.queue_arn(DEAD));
    assert_eq!(world.tables.count(&own).await, 2);
    assert_eq!(world.tables.replay_all().await.replayed, 2);
    world.tables.assert_promise().await;
    // The queue is no less a dead-letter queue for it.
    world.send(DEAD, logins(2..3)).await;
    let again = world.tables.turnstile(&["dead-letters", "import", "--from-queue", &world.sqs.queue_url(DEAD)]).await;
    again.assert_said(0, &["1 message drained", "1 dead letter imported: 1 redriven", "1 deleted"]);
    again.assert_discreet();
}

#[tokio::test]
async fn two_who_drain_at_once_write_each_letter_once() {
    let world = World::new().await;
    world.redrive(logins(0..150)).await;
    let duplicates = Faults { early_redelivery: 0.3, duplicate_in_receive: 0.5, ..Faults::default() };
    world.sqs.set_faults(duplicates);
    let (one, two) = tokio::join!(world.drain(), world.drain());
    assert_eq!(one.buried.letters() + two.buried.letters(), 150, "{one:?} {two:?}");
    assert!(one.received + two.received > 150, "some came twice: {one:?} {two:?}");
    assert_eq!((world.left(DEAD), world.tables.counts().await), (0, [150, 0, 150, 0]));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn deletes_that_fail_cost_a_redelivery_that_is_known() {
    let world = World::new().await;
    world.redrive(logins(0..30)).await;
    let failing = Faults { only: Some("DeleteMessageBatch"), partial_batch_failure: 1.0, ..Faults::default() };
    world.sqs.set_faults(failing);
    let drained = world.drain().await;
    assert_eq!((drained.buried.letters(), drained.deleted, drained.not_deleted), (30, 0, 30));
    world.sqs.set_faults(Faults::default());
    assert_eq!(drained.hidden, Some(30));
    world.all_come_again().await;
    let again = world.drain().await;
    assert_eq!((again.buried.letters(), again.buried.recorded, again.deleted), (0, 30, 30));
    assert_eq!((world.left(DEAD), world.tables.counts().await), (0, [30, 0, 30, 0]));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn lost_replies_and_errors_of_the_queue_lose_and_double_nothing() {
    let world = World::new().await;
    world.redrive(logins(0..60)).await;
    world.sqs.set_faults(Faults { lost_reply: 0.1, error_500: 0.1, throttle: 0.1, seed: 7, ..Faults::default() });
    world.drain().await;
    world.sqs.set_faults(Faults::default());
    world.all_come_again().await;
    world.drain().await;
    assert_eq!((world.left(DEAD), world.tables.counts().await), (0, [60, 0, 60, 0]));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn no_more_is_taken_than_was_asked_for() {
    let world = World::new().await;
    world.redrive(logins(0..30)).await;
    let drain = world.drain_of(DEAD).await;
    let drained = drain.run(Some(7), &CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!((drained.received, drained.deleted, world.left(DEAD)), (7, 7, 23));
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn a_fifo_queue_is_refused_because_it_gives_what_it_moves_another_time() {
    let world = World::of("logins.fifo", "dead.fifo").await;
    let drain = world.drain_of("dead.fifo").await;
    let refused = drain.run(None, &CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(matches!(&refused, DrainError::Fifo(_)) && refused.to_string().contains("--from-queue"), "{refused}");
    let url = world.sqs.queue_url("dead.fifo");
    let refused = world.tables.turnstile(&["dead-letters", "import", "--from-queue", &url]).await;
    assert!(refused.code == 1 && refused.stderr.contains("FIFO"), "{refused:?}");
}

#[tokio::test]
async fn a_queue_that_loaders_load_from_is_refused() {
    let world = World::new().await;
    world.send("logins", logins(0..3)).await;
    let arn = world.sqs.queue_arn("logins");
    let loader = "INSERT INTO loaders SELECT (jsonb_populate_record(NULL::loaders, $1::text::jsonb)).*";
    let row = format!(
        r#"{{"id":"a","host":"h","pid":1,"version":"v","queue":"{arn}","started_at":"2026-01-01T00:00Z","seen_at":"2026-01-01T00:00Z",
            "state":"stopped","lanes":[],"received":0,"loaded":0,"dead_lettered":0,"absorbed":0,"contradicting":0,"returned":0,
            "released":0,"damaged":0,"in_hand":0,"received_per_second":0,"loaded_per_second":0,"sqs_calls":{{}},"sqs_billed":{{}},
            "sqs_empty_receives":0}}"#
    );
    world.tables.client.execute(loader, &[&row]).await.unwrap();
    let url = world.sqs.queue_url("logins");
    let refused = world.tables.turnstile(&["dead-letters", "import", "--from-queue", &url]).await;
    assert!(refused.code == 1 && refused.stderr.contains("that loaders load from"), "{refused:?}");
    assert_eq!((world.left("logins"), world.tables.counts().await), (3, [0, 0, 0, 0]));
}

#[tokio::test]
async fn a_message_older_than_the_tables_remember_becomes_a_letter_of_its_own_kind() {
    let world = World::new().await;
    world.redrive(logins(0..3)).await;
    world.tables.client.batch_execute("UPDATE horizon SET retained_since = clock_timestamp()").await.unwrap();
    let drained = world.drain().await;
    assert_eq!((new(&drained), drained.deleted), (vec![("older_than_memory", 3)], 3));
    assert_eq!(world.tables.count("processed_messages WHERE sent_at = 'epoch'").await, 3);
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn the_scheme_of_the_source_says_which_attribute_is_sealed_with_the_body() {
    let world = World::new().await;
    let arn = world.sqs.queue_arn("logins");
    let destination = destination_of(&arn, &world.tables.database, 1, Default::default());
    let scheme: Identity = "attribute:EventId".parse().unwrap();
    destination.introduce(&scheme, &CancellationToken::new()).await.unwrap();
    world.redrive(logins(0..1)).await;
    assert_eq!(new(&world.drain().await), [("identity_missing", 1)]);
    world.tables.assert_promise().await;
}

#[tokio::test]
async fn what_is_asked_of_an_import_fits_together() {
    let tables = Tables::new().await;
    for (arguments, problem) in [
        (&["import"][..], "FILE: is not given"),
        (&["import", "a", "--from-queue", "b"], "--from-queue: is given beside a file"),
        (&["import", "--from-queue", "b", "--dry-run"], "--dry-run: is of a file"),
        (&["import", "a", "--limit", "1"], "--limit: is of a queue"),
    ] {
        let refused = tables.turnstile(&[&["dead-letters"], arguments].concat()).await;
        assert!(refused.code == 2 && refused.stderr.contains(problem), "{problem}: {refused:?}");
    }
}
