//! What one row does to its neighbours when the database refuses it, drops it or keeps it waiting: nothing. And what no
//! message is at fault for: nothing becomes a dead letter by it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use turnstile::batch::Batch;
use turnstile::load::LoadError;
use turnstile::metrics::Metrics;

use crate::support::loading::{Outcome, destination, load, load_into};
use crate::support::tables::Tables;
use crate::support::verdicts::{batch, login, message};
use crate::support::wait_until;

const MAX_ATTEMPTS: u32 = 3;
/// Short, so that what waits for it is over soon: the server gives up a lock after half of it.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Within which the neighbours of a row that waits must have landed: some of those deadlines, on a machine that is busy.
const BOUND: Duration = Duration::from_secs(30);
/// How often a lone row is tried here.
const FEW: u32 = 4;

/// Turnstile's tables, and what is done to them.
struct Scene(Tables);

impl Scene {
    async fn new() -> Self {
        Self(Tables::with_deadline(CALL_TIMEOUT).await)
    }

    /// A trigger on `user_logins` that does this before each row.
    async fn before_each_row(&self, what: &str) {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what} RETURN NEW; END $$;
             CREATE OR REPLACE TRIGGER meddle BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION meddle()"
        );
        self.0.client.batch_execute(&sql).await.unwrap();
    }

    /// One login of each of these users, delivered for the nth time.
    fn logins(&self, users: std::ops::Range<u32>, delivery: u32) -> Batch {
        let sent = |n: u32| message(&format!("m{n}"), &login(&format!("u-{n}"), "ios"), delivery);
        batch(&self.0.judge, users.map(sent))
    }

    fn two_logins_and_a_letter(&self) -> Batch {
        let bodies = [("m1", login("u-1", "ios")), ("m2", "not a login".to_owned()), ("m3", login("u-3", "ios"))];
        batch(&self.0.judge, bodies.map(|(id, body)| message(id, &body, MAX_ATTEMPTS)))
    }

    async fn load(&self, batch: Batch) -> Result<Outcome, LoadError> {
        load(&self.0.database, batch, MAX_ATTEMPTS).await
    }

    /// Loads a batch into a destination of its own that tries a lone row [`FEW`] times.
    async fn load_impatiently(&self, batch: Batch) -> Result<Outcome, LoadError> {
        let mut destination = destination(&self.0.database, MAX_ATTEMPTS);
        destination.lone_attempts = FEW;
        load_into(&destination, batch, &CancellationToken::new()).await
    }

    /// Fails unless the load stopped, named this, and left nothing behind.
    async fn assert_stopped(&self, loaded: Result<Outcome, LoadError>, named: &str) {
        let error = loaded.err().expect("the loader stops");
        assert!(matches!(error, LoadError::Stopped(_)) && error.to_string().contains(named), "{error}");
        assert_eq!(self.0.counts().await, [0, 0, 0, 0], "{named}");
    }

    /// Waits until a loader has waited for a lock in so many statements; gives each of their beginnings.
    async fn waits_for_locks(&self, times: usize) {
        let sql = "SELECT query_start FROM pg_stat_activity
                   WHERE application_name = 'turnstile' AND datname = current_database() AND wait_event_type = 'Lock'";
        let mut waits = BTreeSet::new();
        wait_until("a loader waits for a lock, over and over", async || {
            let waiting = self.0.client.query(sql, &[]).await.unwrap();
            waits.extend(waiting.iter().map(|row| row.get::<_, time::OffsetDateTime>(0)));
            waits.len() >= times
        })
        .await;
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_refuses_with_whatever_code_harms_nobody_else() {
    let scene = Scene::new().await;
    let codes = ["P0001", "38000", "44000", "XX000", "42501", "23505", "23514", "0A000", "TS001"];
    for (n, code) in (0_u32..).zip(codes) {
        let users = n * 100..n * 100 + 50;
        let poison = format!("IF NEW.user_id = 'u-{}' THEN RAISE 'no' USING ERRCODE = '{code}'; END IF;", n * 100 + 7);
        scene.before_each_row(&poison).await;
        let first = scene.load(scene.logins(users.clone(), 1)).await.unwrap();
        let ended = (first.tally.loaded, first.tally.dead_lettered, first.returned.len(), first.released.len());
        assert_eq!(ended, (49, 0, 1, 0), "{code}");
        // Neighbours come again too, as they do when deletes are lost, and others for the first time.
        let last = scene.load(scene.logins(users.start + 5..users.end + 2, MAX_ATTEMPTS)).await.unwrap();
        assert_eq!((last.tally.loaded, last.tally.redelivered, last.tally.dead_lettered), (2, 44, 1), "{code}");
        assert_eq!(last.returned.len() + last.released.len(), 0, "{code}");
        let newest = "SELECT detail FROM dead_letters ORDER BY dead_lettered_at DESC LIMIT 1";
        let detail: String = scene.0.client.query_one(newest, &[]).await.unwrap().get(0);
        assert_eq!(detail, format!("the database refused the row with SQLSTATE {code}"));
    }
    let all = codes.len() as i64;
    assert_eq!(scene.0.counts().await, [52 * all, 51 * all, all, 51 * all]);
}

#[tokio::test]
async fn a_trigger_that_drops_one_row_in_silence_is_as_one_that_refuses_it() {
    let scene = Scene::new().await;
    scene.before_each_row("IF NEW.user_id = 'u-7' THEN RETURN NULL; END IF;").await;
    let first = scene.load(scene.logins(0..50, 1)).await.unwrap();
    assert_eq!((first.tally.loaded, first.tally.dead_lettered, first.returned.len()), (49, 0, 1));
    let mut again: Vec<_> = vec![message("m7", &login("u-7", "ios"), MAX_ATTEMPTS)];
    again.push(message("m50", &login("u-50", "ios"), 1));
    let last = scene.load(batch(&scene.0.judge, again)).await.unwrap();
    assert_eq!((last.tally.loaded, last.tally.dead_lettered, last.returned.len()), (1, 1, 0));
    assert_eq!(scene.0.counts().await, [51, 50, 1, 50]);
}

#[tokio::test]
async fn a_trigger_that_refuses_every_row_stops_the_loader_and_dead_letters_nothing() {
    for code in ["P0001", "38000", "XX000", "42501", "23514"] {
        let scene = Scene::new().await;
        scene.before_each_row(&format!("RAISE 'no' USING ERRCODE = '{code}';")).await;
        scene.assert_stopped(scene.load_impatiently(scene.logins(0..20, MAX_ATTEMPTS)).await, code).await;
    }
    let scene = Scene::new().await;
    scene.before_each_row("RETURN NULL;").await;
    let stopped = scene.load_impatiently(scene.logins(0..20, MAX_ATTEMPTS)).await;
    scene.assert_stopped(stopped, "user_logins took 0 of 1 rows").await;
}

#[tokio::test]
async fn a_lone_row_that_is_refused_is_tried_for_a_while_and_then_dead_lettered() {
    let scene = Scene::new().await;
    scene.before_each_row("RAISE 'no';").await;
    let mut destination = destination(&scene.0.database, MAX_ATTEMPTS);
    assert_eq!(destination.lone_attempts, 10);
    destination.lone_attempts = FEW;
    // However often it was delivered: nothing else may ever come.
    let begun = Instant::now();
    let loaded = load_into(&destination, scene.logins(7..8, 1), &CancellationToken::new()).await.unwrap();
    assert_eq!((loaded.tally.dead_lettered, loaded.returned.len(), loaded.committed.len()), (1, 0, 1));
    // 100, 200 and 400 ms, each drawn from half of it upwards.
    assert!(begun.elapsed() >= Duration::from_millis(350), "it waited between its attempts");
    assert_eq!(scene.0.counts().await, [1, 0, 1, 0]);
}

#[tokio::test]
async fn rows_that_come_one_by_one_and_are_all_refused_stop_the_loader_at_the_second() {
    let scene = Scene::new().await;
    scene.before_each_row("RAISE 'no';").await;
    let mut destination = destination(&scene.0.database, MAX_ATTEMPTS);
    destination.lone_attempts = FEW;
    let give_up = CancellationToken::new();
    let first = load_into(&destination, scene.logins(1..2, 1), &give_up).await.unwrap();
    assert_eq!(first.tally.dead_lettered, 1);
    let second = load_into(&destination, scene.logins(2..3, 1), &give_up).await.err().unwrap();
    assert!(matches!(second, LoadError::Stopped(_)) && second.to_string().contains("P0001"), "{second}");
    assert_eq!(scene.0.counts().await, [1, 0, 1, 0]);
    // Once something has landed, the next lone one is a matter of its own again.
    scene.before_each_row("").await;
    assert_eq!(load_into(&destination, scene.logins(2..3, 1), &give_up).await.unwrap().tally.loaded, 1);
    scene.before_each_row("RAISE 'no';").await;
    assert_eq!(load_into(&destination, scene.logins(3..4, 1), &give_up).await.unwrap().tally.dead_lettered, 1);
}

#[tokio::test]
async fn a_message_in_whose_way_somebody_stands_goes_back_uncounted_and_its_neighbours_land_at_once() {
    let scene = Scene::new().await;
    let users = "CREATE TABLE users (id varchar(128) PRIMARY KEY);
                 INSERT INTO users SELECT 'u-' || n FROM generate_series(0, 99) AS n;
                 ALTER TABLE user_logins ADD FOREIGN KEY (user_id) REFERENCES users (id)";
    scene.0.client.batch_execute(users).await.unwrap();
    let mut holder = scene.0.another_client().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM users WHERE id = 'u-7' FOR UPDATE").await.unwrap();

    let (recorded, mut parts) = mpsc::unbounded_channel();
    let destination = destination(&scene.0.database, MAX_ATTEMPTS);
    let begun = Instant::now();
    let (give_up, batch) = (CancellationToken::new(), scene.logins(0..50, MAX_ATTEMPTS));
    let lane = Metrics::default().lane();
    let loading = tokio::spawn(async move { destination.load(batch, &give_up, &recorded, &lane).await });
    let first = parts.recv().await.unwrap();
    assert!(!loading.is_finished(), "what has landed is handed over while the rest is tried");
    let left = loading.await.unwrap().unwrap();
    let mut acknowledged = first.committed.deliveries().len();
    while let Some(part) = parts.recv().await {
        acknowledged += part.committed.deliveries().len();
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let released: Vec<_> = left.released.iter().map(|delivery| delivery.message_id.as_str()).collect();
    assert_eq!((acknowledged, released, left.returned.len()), (49, vec!["m7"], 0));
    assert_eq!(scene.0.counts().await, [49, 49, 0, 49]);

    lock.rollback().await.unwrap();
    assert_eq!(scene.load(scene.logins(7..8, MAX_ATTEMPTS + 1)).await.unwrap().tally.loaded, 1);
}

#[tokio::test]
async fn while_a_whole_table_is_locked_everything_waits_and_nothing_is_given_back() {
    for table in ["user_logins", "processed_messages", "outbox"] {
        let scene = Scene::new().await;
        let mut holder = scene.0.another_client().await;
        let lock = holder.transaction().await.unwrap();
        lock.batch_execute(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE")).await.unwrap();
        let database = scene.0.database.clone();
        let batch = scene.logins(0..3, MAX_ATTEMPTS);
        let loading = tokio::spawn(async move { load(&database, batch, MAX_ATTEMPTS).await });
        // The batch twice, each of its messages twice.
        scene.waits_for_locks(8).await;
        assert!(!loading.is_finished(), "{table}: it is waited for");
        lock.rollback().await.unwrap();
        let loaded = loading.await.unwrap().unwrap();
        let ended = (loaded.tally.loaded, loaded.released.len(), loaded.returned.len());
        assert_eq!((ended, scene.0.counts().await), ((3, 0, 0), [3, 3, 0, 3]), "{table}");
    }
}

/// A statement that a new connection prepares waits for such a lock before anything behind it is executed.
#[tokio::test]
async fn a_table_that_nobody_may_even_look_at_is_waited_for_by_new_connections_too() {
    for table in ["processed_messages", "user_logins", "outbox"] {
        let scene = Scene::new().await;
        let mut holder = scene.0.another_client().await;
        let lock = holder.transaction().await.unwrap();
        lock.batch_execute(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        let (database, batch) = (scene.0.database.clone(), scene.two_logins_and_a_letter());
        let mut loading = tokio::spawn(async move { load(&database, batch, MAX_ATTEMPTS).await });
        tokio::select! {
            () = scene.waits_for_locks(4) => {}
            ended = &mut loading => panic!("{table} is not waited for: {:?}", ended.unwrap().err()),
        }
        lock.rollback().await.unwrap();
        let loaded = loading.await.unwrap().unwrap_or_else(|error| panic!("{table}: {error}"));
        let ended = (loaded.tally.loaded, loaded.tally.dead_lettered, loaded.released.len(), loaded.returned.len());
        assert_eq!(ended, (2, 1, 0, 0), "{table}");
    }
}

#[tokio::test]
async fn while_the_dead_letters_are_locked_letters_go_back_uncounted_and_logins_land() {
    let scene = Scene::new().await;
    let mut holder = scene.0.another_client().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let loaded = scene.load(scene.two_logins_and_a_letter()).await.unwrap();
    lock.rollback().await.unwrap();
    let ended = (loaded.tally.loaded, loaded.tally.dead_lettered, loaded.released.len(), loaded.returned.len());
    assert_eq!((ended, scene.0.counts().await), ((2, 0, 1, 0), [2, 2, 0, 2]));
}

#[tokio::test]
async fn a_row_that_takes_too_long_goes_back_uncounted_and_its_neighbours_land() {
    let scene = Scene::new().await;
    scene.before_each_row("IF NEW.user_id = 'u-3' THEN PERFORM pg_sleep(60); END IF;").await;
    let begun = Instant::now();
    let loaded = scene.load(scene.logins(0..8, MAX_ATTEMPTS)).await.unwrap();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!((loaded.tally.loaded, loaded.released.len(), loaded.returned.len()), (7, 1, 0));
    assert_eq!(loaded.released[0].message_id.as_str(), "m3");
    assert_eq!(scene.0.counts().await, [7, 7, 0, 7]);
}

#[tokio::test]
async fn a_lone_row_that_takes_too_long_keeps_no_lane_for_ever() {
    let scene = Scene::new().await;
    scene.before_each_row("PERFORM pg_sleep(60);").await;
    let begun = Instant::now();
    let loaded = scene.load(scene.logins(3..4, MAX_ATTEMPTS)).await.unwrap();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!((loaded.released.len(), loaded.returned.len()), (1, 0));
    assert_eq!(scene.0.counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_database_that_is_too_slow_for_every_row_is_waited_for() {
    let scene = Scene::new().await;
    scene.before_each_row("PERFORM pg_sleep(60);").await;
    let (database, batch) = (scene.0.database.clone(), scene.logins(0..3, MAX_ATTEMPTS));
    let loading = tokio::spawn(async move { load(&database, batch, MAX_ATTEMPTS).await });
    let sql = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let rollbacks = async || scene.0.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    wait_until("it has tried them together and alone", async || rollbacks().await >= 12).await;
    assert!(!loading.is_finished(), "it is waited for");
    scene.before_each_row("").await;
    let loaded = loading.await.unwrap().unwrap();
    assert_eq!((loaded.tally.loaded, loaded.released.len(), loaded.returned.len()), (3, 0, 0));
}

#[tokio::test]
async fn a_sequence_out_of_step_stops_the_loader_and_dead_letters_nothing() {
    let scene = Scene::new().await;
    scene.load(scene.logins(0..20, 1)).await.unwrap();
    scene.0.client.batch_execute("ALTER SEQUENCE outbox_position_seq RESTART").await.unwrap();
    let stopped = scene.load(scene.logins(20..30, MAX_ATTEMPTS)).await.err().unwrap();
    assert!(matches!(stopped, LoadError::Stopped(_)) && stopped.to_string().contains("23505"), "{stopped}");
    assert_eq!(scene.0.counts().await, [20, 20, 0, 20]);
    let mend = "SELECT setval('outbox_position_seq', (SELECT max(position) FROM outbox))";
    scene.0.client.query(mend, &[]).await.unwrap();
    assert_eq!(scene.load(scene.logins(20..30, MAX_ATTEMPTS)).await.unwrap().tally.loaded, 10);
}

#[tokio::test]
async fn an_outbox_without_the_partition_for_an_event_stops_the_loader_and_dead_letters_nothing() {
    let scene = Scene::new().await;
    scene.0.client.batch_execute("ALTER TABLE outbox DETACH PARTITION outbox_0").await.unwrap();
    scene.assert_stopped(scene.load(scene.logins(0..10, MAX_ATTEMPTS)).await, "23514").await;
}

#[tokio::test]
async fn a_constraint_of_turnstiles_own_tables_is_no_messages_fault() {
    for table in ["processed_messages", "outbox"] {
        let scene = Scene::new().await;
        let column = if table == "outbox" { "message_sent_at" } else { "sent_at" };
        let sql = format!("ALTER TABLE {table} ADD CONSTRAINT nonsense CHECK ({column} < '1999-01-01')");
        scene.0.client.batch_execute(&sql).await.unwrap();
        scene.assert_stopped(scene.load(scene.logins(0..10, MAX_ATTEMPTS)).await, "nonsense").await;
    }
}

#[tokio::test]
async fn a_claim_that_retention_removes_after_a_loader_met_it_is_claimed_by_another_run() {
    let scene = Scene::new().await;
    scene.load(scene.logins(0..1, 1)).await.unwrap();
    let mut holder = scene.0.another_client().await;
    // The loader waits between its claims and its look at those that stood before.
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE user_logins IN EXCLUSIVE MODE").await.unwrap();
    let (database, batch) = (scene.0.database.clone(), scene.logins(0..2, 1));
    let loading = tokio::spawn(async move { load(&database, batch, MAX_ATTEMPTS).await });
    scene.waits_for_locks(1).await;
    assert_eq!(scene.0.client.execute("DELETE FROM processed_messages", &[]).await.unwrap(), 1);
    lock.rollback().await.unwrap();
    let loaded = loading.await.unwrap().unwrap();
    assert!(loaded.attempts_repeated >= 1);
    assert_eq!((loaded.tally.loaded, loaded.tally.redelivered, loaded.tally.dead_lettered), (2, 0, 0));
    assert_eq!(scene.0.counts().await, [2, 2, 0, 2]);
}
