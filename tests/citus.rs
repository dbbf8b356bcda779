//! Tables that are distributed over the workers of a Citus cluster keep the promise that they keep on one server.
//!
//! `TURNSTILE_CITUS` names the cluster: `make citus`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use turnstile::audit::audit;
use turnstile::database::Transaction;
use turnstile::distribution::{DistributeError, Spread, distribute};
use turnstile::message::SentAt;
use turnstile::retention::{RetainSettings, partition, retain};
use turnstile::table::time_partitions::Period;

use crate::check::Installation;
use crate::grants::Roles;
use crate::support::cluster::Cluster;
use crate::support::loading::{destination, load, load_into, migrate};
use crate::support::postgres::{TestDatabase, connect, pool};
use crate::support::proxy::{Cut, Kind, Moment, PostgresProxy};
use crate::support::tables::Tables;
use crate::support::verdicts::{batch, judge, login, logins, message};
use crate::support::wait_until;

const PATIENT: Duration = Duration::from_secs(60);
const LOGINS: u32 = 40;

/// A cluster's database whose first worker is reached through a proxy.
struct Led {
    cluster: Cluster,
    name: String,
    proxy: PostgresProxy,
    tables: Tables,
}

impl Led {
    async fn new() -> Self {
        let cluster = Cluster::named().expect("TURNSTILE_CITUS names the servers of a cluster");
        let name = format!("turnstile_led_{:x}", rand::random::<u64>());
        let proxy = PostgresProxy::before(&cluster.workers[0].url_of(&name)).await;
        let url = cluster.create_database_by_way_of(&name, Some(proxy.place())).await;
        cluster.make_tables(&url, None).await;
        let tables = Tables::at(&url, PATIENT).await;
        Self { cluster, name, proxy, tables }
    }

    /// How often the coordinator asked the first worker for something of this kind since.
    fn count(&self, kinds: &'static [Kind]) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        self.proxy.arm(move |asked| {
            counted.fetch_add(u64::from(kinds.contains(&asked.kind)), Ordering::SeqCst);
            None
        });
        count
    }

    async fn ends(self) {
        let Self { cluster, name, tables, .. } = self;
        drop(tables);
        cluster.drop_database(&name).await;
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn loaders_go_on_while_their_tables_are_distributed_under_them() {
    let tables = Tables::of_one_server().await;
    let database = &tables.database;
    let (stop, loaded) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let loader = {
        let (stop, loaded, database) = (stop.clone(), loaded.clone(), pool(&tables.url, 2, PATIENT));
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                let number = loaded.load(Ordering::SeqCst);
                let one = message(&format!("message {number}"), &login(&format!("user {number}"), "ios"), 1);
                load(&database, batch(&judge(), [one]), 1).await.unwrap();
                loaded.store(number + 1, Ordering::SeqCst);
            }
        })
    };
    let some_more = async || {
        let until = loaded.load(Ordering::SeqCst) + 5;
        wait_until("the loader loads", async || loaded.load(Ordering::SeqCst) >= until).await;
    };
    some_more().await;
    let spread = distribute(database, Some(4), PATIENT).await.unwrap();
    assert_eq!(spread.shards, Some(4));
    some_more().await;
    stop.cancel();
    loader.await.unwrap();
    let all = i64::try_from(loaded.load(Ordering::SeqCst)).unwrap();
    assert_eq!(tables.counts().await, [all, all, 0, all]);
    assert_eq!(distribute(database, None, PATIENT).await.unwrap(), Spread { shards: None, ..spread });
    tables.assert_promise().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn what_cannot_be_distributed_is_named_and_nothing_is_changed() {
    let test = TestDatabase::empty().await;
    let database = pool(test.url(), 2, PATIENT);
    let client = connect(test.url()).await;
    let adopted = "CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
            masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date, number integer UNIQUE);
        INSERT INTO public.user_logins (user_id, create_date) VALUES ('old', '2024-01-01')";
    client.batch_execute(adopted).await.unwrap();
    migrate(&database).await;
    let refused = distribute(&database, None, PATIENT).await.unwrap_err();
    let DistributeError::Obstacles("user_logins", found) = &refused else { panic!("{refused}") };
    let kinds: Vec<&str> = found.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["unique index without message_hash", "rows that no message brought"]);
    let some = "SELECT count(*) FROM pg_dist_partition";
    assert_eq!(client.query_one(some, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn what_is_written_to_one_shard_and_to_the_coordinator_ends_in_two_phases() {
    let led = Led::new().await;
    let load_letters = async |of: &str| {
        for number in 0..LOGINS {
            let broken = message(&format!("{of} {number}"), "no login", 9);
            load(&led.tables.database, batch(&led.tables.judge, [broken]), 1).await.unwrap();
        }
    };
    let at_once = &[Kind::Commit];
    let prepared = led.count(&[Kind::PrepareTransaction]);
    load_letters("first").await;
    assert_ne!(prepared.load(Ordering::SeqCst), 0, "no letter's claim came to the first worker");
    let committed = led.count(at_once);
    load_letters("second").await;
    by_hand(&led.tables, "third").await;
    assert_eq!(committed.load(Ordering::SeqCst), 0, "a claim was committed before its letter");

    // What the trigger is for.
    led.tables.client.batch_execute("DROP TRIGGER end_in_two_phases ON dead_letters").await.unwrap();
    by_hand(&led.tables, "fourth").await;
    assert_ne!(committed.load(Ordering::SeqCst), 0, "the trigger is not needed");
    let installation = Installation::new(&led.tables.url).await;
    let checked = installation.check(&[]).await;
    assert!(checked.stdout.contains("may part what is written to dead_letters from its claim"), "{}", checked.stdout);
    distribute(&led.tables.database, None, PATIENT).await.unwrap();
    let checked = installation.check(&[]).await;
    assert!(!checked.stdout.contains("may part"), "{}", checked.stdout);
    led.tables.assert_promise().await;
    led.ends().await;
}

/// Changes one claim and one letter in a transaction, again and again.
async fn by_hand(tables: &Tables, of: &str) {
    let one = "BEGIN;
        INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
            VALUES (now(), sha256('{}'), 'dead_lettered', '', sha256('body'), now());
        INSERT INTO dead_letters (sent_at, message_hash, queue, code, detail, sealed_body, message_id, receive_count, received_at)
            VALUES (now(), sha256('{}'), 'q', 'not_json', '', '', '', 1, now());
        COMMIT";
    for number in 0..LOGINS {
        tables.client.batch_execute(&one.replace("{}", &format!("{of} {number}"))).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn a_batch_does_not_wait_for_another_with_other_messages_in_the_same_shards() {
    let tables = Tables::new().await;
    let other = pool(&tables.url, 2, PATIENT);
    let holding = async |transaction: &Transaction| {
        let claim = "INSERT INTO turnstile.processed_messages
                (sent_at, message_hash, outcome, message_id, body_hash, received_at)
            SELECT now(), sha256(convert_to(n::text, 'UTF8')), 'loaded', '', sha256(''), now() FROM generate_series(1, 100) AS n
            ON CONFLICT DO NOTHING RETURNING message_hash";
        assert_eq!(transaction.query("claim", claim, &[]).await?.len(), 100);
        // In all shards, while the first holds its claims there.
        load(&other, logins(&tables.judge, 0..LOGINS), 1).await.unwrap();
        Ok(())
    };
    tables.database.without_effect(holding).await.unwrap();
    assert_eq!(tables.count("user_logins").await, i64::from(LOGINS));
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn an_audit_waits_for_what_is_committed_and_not_yet_to_be_seen() {
    let led = Led::new().await;
    let mut struck = false;
    led.proxy.arm(move |asked| {
        let strikes = asked.kind == Kind::CommitPrepared && !std::mem::replace(&mut struck, true);
        strikes.then(|| Cut::at(Moment::Before))
    });
    load(&led.tables.database, logins(&led.tables.judge, 0..LOGINS), 1).await.unwrap();
    led.proxy.disarm();
    let all = i64::from(LOGINS);
    assert!(led.tables.count("user_logins").await < all, "nothing was in doubt");
    assert_eq!(led.tables.audit().await.counts.rows, u64::from(LOGINS));
    assert_eq!(led.tables.counts().await, [all, all, 0, all]);
    led.ends().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn a_row_that_a_worker_refuses_is_a_dead_letter_and_its_neighbours_land() {
    let tables = Tables::new().await;
    tables.database.mark_sharded(true);
    let rule = "ALTER TABLE public.user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')";
    tables.client.batch_execute(rule).await.unwrap();
    let sent = [("m1", "ios"), ("m2", "toaster"), ("m3", "android")];
    let messages = sent.map(|(id, device)| message(id, &login(id, device), 1));
    let outcome = load(&tables.database, batch(&tables.judge, messages), 1).await.unwrap();
    assert_eq!((outcome.tally.loaded, outcome.tally.dead_lettered), (2, 1));
    tables.assert_promise().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn a_login_for_which_there_is_no_partition_stops_the_line_and_is_no_dead_letter() {
    let tables = Tables::of_one_server().await;
    let database = &tables.database;
    partition(database, Period::Monthly, PATIENT).await.unwrap();
    distribute(database, Some(2), PATIENT).await.unwrap();
    database.mark_sharded(true);
    let sent_in = |days: i64| {
        let mut one = message(&format!("in {days} days"), &login("user", "ios"), 1);
        one.delivery.sent_at =
            SentAt::Queue(OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap() + time::Duration::days(days));
        batch(&judge(), [one])
    };
    load(database, sent_in(0), 1).await.unwrap();
    // The claims have a partition for it, and the logins do not.
    tables.client.batch_execute("CREATE TABLE turnstile.later PARTITION OF processed_messages FOR VALUES FROM ('2040-01-01') TO ('2060-01-01')").await.unwrap();
    let refused = load_into(&destination(database, 1), sent_in(7_300), &CancellationToken::new()).await;
    let Err(error) = refused else { panic!("it was loaded") };
    assert!(error.to_string().contains("no partition"), "{error}");
    assert_eq!(tables.count("dead_letters").await, 0);
}

#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn the_roles_of_the_grants_load_and_audit_over_all_servers() {
    let test = TestDatabase::with_tables().await;
    let roles = Roles::granted(test.url()).await;
    let loader = pool(&roles.loader_url, 2, PATIENT);
    let messages = [message("m1", &login("user", "ios"), 1), message("m2", "no login", 9)];
    let outcome = load(&loader, batch(&judge(), messages), 1).await.unwrap();
    assert_eq!((outcome.tally.loaded, outcome.tally.dead_lettered), (1, 1));
    let audit = audit(&pool(&roles.auditor_url, 1, PATIENT), PATIENT, |_| {}).await.unwrap();
    assert!(audit.holds(), "{:?}", audit.broken);
    assert_eq!((audit.counts.rows, audit.counts.open), (1, 1));
    let checked = Installation::new(&roles.loader_url).await.check(&[]).await;
    for line in ["distributed tables", "servers of the cluster", "distributed transactions", "grants on user_logins"] {
        let found = checked.stdout.lines().find(|found| found.contains(line)).unwrap_or_default();
        assert!(found.starts_with("ok "), "{found}");
    }
}

#[cfg(feature = "archive")]
#[tokio::test]
#[ignore = "needs a cluster: make citus"]
async fn months_leave_distributed_tables_and_are_archived() {
    let tables = crate::retention::months().await;
    crate::retention::one_a_month(&tables).await;
    let settings = RetainSettings { for_archive: true, ..crate::retention::how() };
    let retained = retain(&tables.database, settings, |_| {}).await.unwrap();
    assert_eq!((retained.gone.len(), retained.events), (8, 4));
    assert_eq!(tables.counts().await, [2, 2, 0, 2]);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    tables.turnstile(&["archive", "--to", to]).await.assert_said(0, &["user_logins", "processed_messages"]);
    tables.turnstile(&["archive", "verify", "--from", to, "--deep"]).await.assert_said(0, &[]);
    let left = "SELECT count(*) FROM pg_class WHERE relname ~ '^(user_logins|processed_messages)_(first|20250[123])$'";
    assert_eq!(tables.client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    tables.assert_promise().await;
}
