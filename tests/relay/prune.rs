//! Partitions that every sink has behind it are dropped, and nobody is kept waiting, whenever a run of it ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::SqlState;
use turnstile::database::Patience;
use turnstile::detach::InTheWay;
use turnstile::prune::{PruneError, PruneSettings, Pruned, prune};
use turnstile::table::facts::TableFacts;
use turnstile::table::low_water::HeldBy;
use turnstile::table::outbox;

use super::*;
use crate::grants::granted;
use crate::support::proxy::{Cut, Moment};
use crate::support::tables::Tables;

/// How many positions a partition has.
const SIZE: i64 = 10_000_000;

const HOW: PruneSettings =
    PruneSettings { without_sinks: false, dry_run: false, patience: Duration::from_secs(60), beside_writers: true };

/// Lets the next event be the first of the next partition.
pub(super) async fn turn_over(client: &Client) {
    let sql = format!(
        "SELECT turnstile.extend_outbox();
         SELECT setval('turnstile.outbox_position_seq', (last_value / {SIZE} + 1) * {SIZE}, false) FROM turnstile.outbox_position_seq;
         SELECT turnstile.extend_outbox()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Events in so many partitions, the last of which is the current one; gives their positions.
async fn fill(client: &Client, partitions: usize) -> Vec<i64> {
    let mut positions = write(client, 20).await;
    for _ in 1..partitions {
        turn_over(client).await;
        positions.extend(write(client, 20).await);
    }
    positions
}

async fn run(database: &Database, how: PruneSettings) -> Pruned {
    prune(database, how, |_| {}).await.unwrap()
}

fn names(pruned: &Pruned) -> Vec<&str> {
    pruned.gone.iter().map(|gone| gone.partition.as_str()).collect()
}

/// The tables of events, and those that are named so; with an exclamation mark those that are no partitions.
async fn standing(client: &Client) -> Vec<String> {
    let sql = "SELECT c.relname || CASE WHEN i.inhparent IS NULL OR (to_jsonb(i) ->> 'inhdetachpending')::boolean THEN '!' ELSE '' END
               FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
               WHERE c.relkind = 'r' AND c.relname ~ '^outbox_[0-9]+$' ORDER BY length(c.relname), 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn below(client: &Client) -> Option<i64> {
    client.query_one("SELECT max(below) FROM turnstile.outbox_pruned", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_sink_has_behind_it_goes_and_the_relay_goes_on() {
    let (_test, database, client) = outbox().await;
    let mut expected = fill(&client, 3).await;
    let none = run(&database, HOW).await;
    assert_eq!((names(&none), &none.low_water), (vec![], &None), "there is no sink");

    let sink = TestSink::default();
    drain(&database, &sink).await;
    let all = standing(&client).await;
    let would = run(&database, PruneSettings { dry_run: true, ..HOW }).await;
    assert_eq!(names(&would), ["outbox_0", "outbox_1"]);
    assert_eq!((standing(&client).await, below(&client).await), (all, None), "nothing was done");

    let pruned = run(&database, HOW).await;
    assert_eq!(pruned.gone, would.gone);
    assert!(pruned.gone.iter().all(|gone| gone.events == 20 && gone.bytes > 8_000), "{pruned:?}");
    assert_eq!(standing(&client).await, ["outbox_2", "outbox_3", "outbox_4"]);
    assert_eq!(below(&client).await, Some(2 * SIZE));
    let low = pruned.low_water.unwrap();
    assert_eq!((low.position, low.sink.as_str(), low.held_by), (expected[59], "test", HeldBy::Frontier));
    assert_eq!(names(&run(&database, HOW).await), [""; 0], "the current one stays");

    expected.extend(write(&client, 10).await);
    turn_over(&client).await;
    expected.extend(write(&client, 10).await);
    drain(&database, &sink).await;
    assert_eq!(sink.positions(), expected);
    assert_eq!(names(&run(&database, HOW).await), ["outbox_2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_in_which_no_event_is_goes_too() {
    let (_test, database, client) = outbox().await;
    turn_over(&client).await;
    turn_over(&client).await;
    write(&client, 5).await;
    drain(&database, &TestSink::default()).await;
    let pruned = run(&database, HOW).await;
    assert_eq!(pruned.gone.iter().map(|gone| gone.events).collect::<Vec<_>>(), [0, 0]);
    let until = "SELECT count(*) FROM turnstile.outbox_pruned WHERE written_until IS NULL";
    assert_eq!(client.query_one(until, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_still_needs_holds_its_partition_and_what_is_set_aside_does_not() {
    let (_test, database, client) = outbox().await;
    let slow = connect(_test.url()).await;
    slow.batch_execute("BEGIN").await.unwrap();
    write(&slow, 3).await;
    fill(&client, 3).await;
    let shutdown = Shutdown::default();
    let sink = TestSink::default();
    let running = start(&database, &sink, settings(false), &shutdown).await;
    wait_until("all is carried but what is open", async || sink.positions().len() == 60).await;
    wait_until("the gaps are left", async || {
        count(&client, "relay_gaps").await > 0 && count(&client, "relay_chunks").await == 0
    })
    .await;
    let held = run(&database, HOW).await;
    assert_eq!((names(&held), held.low_water.as_ref().unwrap().held_by), (vec![], HeldBy::Gap));
    slow.batch_execute("ROLLBACK").await.unwrap();
    wait_until("nobody can fill them any more", async || count(&client, "relay_gaps").await == 0).await;
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();

    let failure = |status: &str| {
        format!(
            "INSERT INTO turnstile.relay_failures (sink, position, event_id, status, next_at, code)
             SELECT 'test', position, event_id, '{status}', 'infinity', 'c' FROM turnstile.outbox ORDER BY position LIMIT 1"
        )
    };
    let of_another = "INSERT INTO turnstile.relay_sinks (sink, target, cluster_id) VALUES ('other', 'stdout:', 1)";
    let chunk = "INSERT INTO turnstile.relay_chunks (sink, slot, first_position, last_position, lease, leased_until)
                 VALUES ('test', 0, 7, 8, gen_random_uuid(), now())";
    for (holds, by, ends) in [
        (chunk.to_owned(), HeldBy::Chunk, "DELETE FROM turnstile.relay_chunks"),
        (failure("waiting"), HeldBy::Failure, "DELETE FROM turnstile.relay_failures"),
        (of_another.to_owned(), HeldBy::Frontier, "DELETE FROM turnstile.relay_sinks WHERE sink = 'other'"),
        (
            "INSERT INTO turnstile.relay_marks (sink, slot, position) VALUES ('other', 0, 5)".to_owned(),
            HeldBy::Frontier,
            "DELETE FROM turnstile.relay_marks WHERE sink = 'other'",
        ),
        (
            // One part of an ordered sink is behind.
            "UPDATE turnstile.relay_sinks SET slots = 2".to_owned(),
            HeldBy::Frontier,
            "UPDATE turnstile.relay_sinks SET slots = 1",
        ),
    ] {
        client.batch_execute(&holds).await.unwrap();
        let held = run(&database, HOW).await;
        assert_eq!((names(&held), held.low_water.as_ref().unwrap().held_by), (vec![], by), "{holds}");
        client.batch_execute(ends).await.unwrap();
    }
    // The second partition only: the first goes.
    let gap = format!(
        "INSERT INTO turnstile.relay_gaps (sink, slot, first_position, last_position) VALUES ('test', 0, {SIZE}, {SIZE})"
    );
    client.batch_execute(&gap).await.unwrap();
    client.batch_execute(&failure("set_aside")).await.unwrap();
    assert_eq!(names(&run(&database, HOW).await), ["outbox_0"]);
    client.batch_execute("DELETE FROM turnstile.relay_gaps").await.unwrap();
    client.batch_execute(&failure("discarded")).await.unwrap();
    assert_eq!(names(&run(&database, HOW).await), ["outbox_1"]);
}

/// A reader and a writer in the middle of their transactions, who have all partitions open.
async fn hold_open(test: &TestDatabase) -> [Client; 2] {
    let [reader, writer] = [test.client().await, test.client().await];
    for client in [&reader, &writer] {
        client.batch_execute("BEGIN; SELECT count(*) FROM turnstile.outbox").await.unwrap();
    }
    write(&writer, 1).await;
    [reader, writer]
}

async fn ready_to_go(partitions: usize) -> (TestDatabase, Database, Client) {
    let (test, database, client) = outbox().await;
    fill(&client, partitions).await;
    drain(&database, &TestSink::default()).await;
    (test, database, client)
}

/// Whether a statement of somebody waits for a lock.
async fn waits(client: &Client, statement: &str) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1";
    client.query_one(sql, &[&format!("%{statement}%")]).await.unwrap().get::<_, i64>(0) > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_are_kept_waiting_by_nobody_while_a_reader_and_a_writer_are_in_the_way() {
    let (test, database, client) = ready_to_go(3).await;
    let open = hold_open(&test).await;
    // What this test would see of a pruner that waits for the whole table.
    let plain = test.client().await;
    let waiting = tokio::spawn(async move { plain.batch_execute("DROP TABLE turnstile.outbox_0").await });
    wait_until("it waits", async || waits(&client, "DROP TABLE").await).await;
    client.batch_execute("SET lock_timeout = '1s'").await.unwrap();
    let insert = "INSERT INTO turnstile.outbox (event_id, message_sent_at) VALUES (sha256('x'), now())";
    let late = client.batch_execute(insert).await.unwrap_err();
    assert_eq!(late.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE 'DROP TABLE%'";
    client.batch_execute(cancel).await.unwrap();
    waiting.await.unwrap().unwrap_err();
    // As long as those in the way: a machine that is slow is not a writer that is kept waiting.
    client.batch_execute("SET lock_timeout = '5s'").await.unwrap();

    let of_pruner = database.clone();
    let pruner = tokio::spawn(async move { run(&of_pruner, HOW).await });
    wait_until("it waits for those in the way", async || waits(&client, "DETACH PARTITION").await).await;
    for _ in 0..50 {
        client.batch_execute(insert).await.expect("nobody waits for a pruner that waits");
    }
    assert_eq!(outbox::extend(&database).await.unwrap(), 0);
    turn_over(&client).await;
    client.batch_execute(insert).await.unwrap();
    assert!(!pruner.is_finished() && waits(&client, "DETACH PARTITION").await);
    drop(open);
    assert_eq!(names(&pruner.await.unwrap()), ["outbox_0", "outbox_1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_partitions_cannot_be_detached_beside_writers_they_are_dropped_in_a_moment_or_not_at_all() {
    let (test, database, client) = ready_to_go(3).await;
    let open = hold_open(&test).await;
    client.batch_execute("SET lock_timeout = '5s'").await.unwrap();
    let impatient = PruneSettings { beside_writers: false, patience: Duration::from_secs(1), ..HOW };
    let of_pruner = database.clone();
    let pruner = tokio::spawn(async move { run(&of_pruner, impatient).await });
    let mut written = 0;
    while !pruner.is_finished() {
        write(&client, 1).await;
        written += 1;
    }
    let gave_up = pruner.await.unwrap();
    assert!(written > 0 && names(&gave_up).is_empty(), "{written}");
    let InTheWay { partition, holders } = gave_up.in_the_way.unwrap();
    // The one that writes may be a third.
    assert!(partition == "outbox_0" && holders.len() >= 2, "{holders:?}");
    assert_eq!(standing(&client).await[0], "outbox_0", "it is whole");
    // Noted, and not gone.
    assert_eq!(below(&client).await, Some(SIZE));
    drop(open);
    let pruned = run(&database, PruneSettings { beside_writers: false, ..HOW }).await;
    assert_eq!(names(&pruned), ["outbox_0", "outbox_1"]);
    assert_eq!(standing(&client).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_a_default_partition_the_others_go_all_the_same() {
    let (_test, database, client) = ready_to_go(2).await;
    client.batch_execute("CREATE TABLE turnstile.rest PARTITION OF turnstile.outbox DEFAULT").await.unwrap();
    assert_eq!(names(&run(&database, HOW).await), ["outbox_0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_detached_by_half_is_told_and_the_next_run_ends_it() {
    let (test, database, client) = ready_to_go(3).await;
    let open = hold_open(&test).await;
    let gave_up = run(&database, PruneSettings { patience: Duration::from_millis(300), ..HOW }).await;
    let InTheWay { partition, holders } = gave_up.in_the_way.unwrap();
    assert_eq!((partition.as_str(), holders.len()), ("outbox_0", 2), "{holders:?}");
    assert!(holders.iter().all(|holder| holder.starts_with("pid ")), "{holders:?}");
    assert_eq!(standing(&client).await[..2], ["outbox_0!", "outbox_1"]);
    let facts = database.snapshot(TableFacts::read).await.unwrap();
    assert!(facts.half_dropped.len() == 1 && facts.half_dropped[0].is_pending, "{:?}", facts.half_dropped);
    assert_eq!(facts.partitions.len(), 4, "it takes no events any more");
    turn_over(&client).await;
    assert!(standing(&client).await.contains(&"outbox_5".to_owned()), "partitions are made meanwhile");
    let still = run(&database, PruneSettings { patience: Duration::from_millis(300), ..HOW }).await;
    assert_eq!(still.in_the_way.unwrap().partition, "outbox_0");
    drop(open);
    assert_eq!(names(&run(&database, HOW).await), ["outbox_0", "outbox_1"]);
    assert_eq!(database.snapshot(TableFacts::read).await.unwrap().half_dropped, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_has_detached_is_theirs() {
    let (_test, database, client) = ready_to_go(3).await;
    client.batch_execute("ALTER TABLE turnstile.outbox DETACH PARTITION turnstile.outbox_0").await.unwrap();
    client.batch_execute("CREATE TABLE turnstile.outbox_99 (of_mine int)").await.unwrap();
    assert_eq!(names(&run(&database, HOW).await), ["outbox_1"]);
    assert_eq!(standing(&client).await, ["outbox_0!", "outbox_2", "outbox_3", "outbox_4", "outbox_99!"]);
}

/// A run dies at its nth statement, before or after that has taken effect. Whichever it is, a sink that is made then gets every
/// event from where it begins, and the next run comes to the end.
async fn dies_at_each_statement(moment: Moment) {
    let (test, database, client) = outbox().await;
    let proxy = PostgresProxy::before(test.url()).await;
    let sink = TestSink::default();
    let mut all = Vec::new();
    for n in 1..100 {
        all.extend(write(&client, 5).await);
        let goes = standing(&client).await[0].clone();
        turn_over(&client).await;
        all.extend(write(&client, 5).await);
        drain(&database, &sink).await;

        proxy.arm_for_nth(n, Cut::at(moment));
        let ended = prune(&pool(proxy.url(), 1, Duration::from_secs(5)), HOW, |_| {}).await;
        let struck = proxy.strikes() > 0;
        proxy.disarm();
        assert_eq!(ended.is_err(), struck, "{ended:?}");
        let late = RelaySettings { sink: format!("late-{n}"), ..settings(true) };
        let of_late = TestSink::default();
        start_persistently(&database, &of_late, late).await;
        let begins = below(&client).await.unwrap_or(0);
        let of_late = of_late.positions();
        let due: Vec<i64> = all.iter().copied().filter(|position| *position >= begins).collect();
        assert_eq!(of_late, due, "death at statement {n}");

        run(&database, HOW).await;
        let standing = standing(&client).await;
        assert!(!standing.iter().any(|name| name.contains('!') || *name == goes), "{goes} at {n}: {standing:?}");
        assert_eq!(sink.positions(), all);
        for table in ["relay_sinks", "relay_marks"] {
            let retire = format!("DELETE FROM turnstile.{table} WHERE sink LIKE 'late-%'");
            client.batch_execute(&retire).await.unwrap();
        }
        if !struck {
            assert!(n > 8, "{n} statements are too few");
            return;
        }
    }
    panic!("it has too many statements");
}

/// What a dead run has locked is free once the server has noticed.
async fn start_persistently(database: &Database, sink: &TestSink, settings: RelaySettings) {
    let begun = || async {
        match begin(database, &settings, "stdout:", false).await {
            Err(NotReady::Database(error)) => Err(error),
            begun => {
                begun.unwrap();
                Ok(())
            }
        }
    };
    turnstile::database::persist(Patience::WHILE_SOMEBODY_WAITS, begun).await.unwrap();
    start(database, sink, settings.clone(), &Shutdown::default()).await.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_before_any_of_its_statements_is_ended_by_the_next() {
    dies_at_each_statement(Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_after_any_of_its_statements_is_ended_by_the_next() {
    dies_at_each_statement(Moment::Answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_sink_begins_after_what_is_gone_and_waits_for_a_pruning_to_end() {
    let (_test, database, client) = ready_to_go(2).await;
    run(&database, HOW).await;
    let lock = "pg_advisory_lock(hashtextextended('turnstile.outbox_pruned', 0))";
    client.batch_execute(&format!("SELECT {lock}")).await.unwrap();
    assert!(matches!(
        prune(&database, PruneSettings { patience: Duration::ZERO, ..HOW }, |_| {}).await,
        Err(PruneError::Busy)
    ));
    // One that is known does not wait.
    drain(&database, &TestSink::default()).await;
    let (of_late, to) = (database.clone(), TestSink::default());
    let late = RelaySettings { sink: "late".to_owned(), ..settings(true) };
    let carried = to.clone();
    let beginning = tokio::spawn(async move { start(&of_late, &to, late, &Shutdown::default()).await.await });
    wait_until("it waits", async || waits(&client, "pg_advisory_xact_lock").await).await;
    assert_eq!(count(&client, "relay_sinks").await, 1);
    client.batch_execute(&format!("SELECT {}", lock.replace("_lock(", "_unlock("))).await.unwrap();
    beginning.await.unwrap().unwrap().unwrap();
    let mark = "SELECT min(position) FROM turnstile.relay_marks WHERE sink = 'late'";
    assert_eq!(client.query_one(mark, &[]).await.unwrap().get::<_, i64>(0), SIZE - 1);
    assert_eq!(carried.positions(), (SIZE..SIZE + 20).collect::<Vec<_>>());

    // What a sequence gives that stands below that, the sink would pass over.
    let back = format!("SELECT setval('turnstile.outbox_position_seq', {})", SIZE - 5);
    client.batch_execute(&back).await.unwrap();
    let another = RelaySettings { sink: "another".to_owned(), ..settings(true) };
    let refused = begin(&database, &another, "stdout:", false).await.unwrap_err();
    assert!(matches!(refused, NotReady::Behind { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_no_writer_fails_while_partitions_turn_over_and_go() {
    const GO: i64 = 6;
    let (test, database, client) = outbox().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let sink = TestSink::default();
    let (shutdown, of_pruner) = (Shutdown::default(), database.clone());
    let relay = start(&database, &sink, settings(false), &shutdown).await;
    let mut writers = Vec::new();
    for _ in 0..3 {
        let (writer, is_over) = (test.client().await, is_over.clone());
        writers.push(tokio::spawn(async move {
            writer.batch_execute("SET lock_timeout = '5s'").await.unwrap();
            let mut written = BTreeSet::new();
            for round in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                writer.batch_execute("BEGIN").await.unwrap();
                let some = write(&writer, 5).await;
                if round % 7 == 0 {
                    writer.batch_execute("ROLLBACK").await.unwrap();
                } else {
                    writer.batch_execute("COMMIT").await.unwrap();
                    written.extend(some);
                }
            }
            written
        }));
    }
    let ends = is_over.clone();
    let pruner = tokio::spawn(async move {
        let mut gone = 0;
        while !ends.load(Ordering::SeqCst) {
            gone += run(&of_pruner, HOW).await.gone.len();
            tokio::task::yield_now().await;
        }
        gone
    });
    let gone = async || count(&client, "outbox_pruned").await;
    while gone().await < GO {
        let before = gone().await;
        turn_over(&client).await;
        wait_until("one more goes", async || gone().await > before).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut written = BTreeSet::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    assert!(pruner.await.unwrap() >= 5);
    shutdown.stopping.cancel();
    relay.await.unwrap().unwrap();
    drain(&database, &sink).await;
    let carried: BTreeSet<i64> = sink.positions().into_iter().collect();
    assert!(written.len() > 100 && written == carried, "{} written, {} carried", written.len(), carried.len());
}

#[tokio::test]
async fn the_command_says_what_it_drops_and_what_holds_the_rest() {
    let tables = Tables::new().await;
    let said = tables.turnstile(&["outbox", "prune"]).await;
    said.assert_said(0, &["there is no sink"]);
    fill(&tables.client, 3).await;
    drain(&tables.database, &TestSink::default()).await;
    let would = tables.turnstile(&["outbox", "prune", "--dry-run"]).await;
    would.assert_said(0, &["would drop outbox_0: 20 events, ", "would drop outbox_1"]);
    let json = tables.turnstile(&["outbox", "prune", "--dry-run", "--format", "json"]).await;
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["partition"], &lines[0]["dropped"]), (&"outbox_0".into(), &false.into()), "{json:?}");
    assert_eq!(lines[2]["low_water"], 2 * SIZE + 19);
    assert_eq!(lines[2]["held_by"], serde_json::json!({"sink": "test", "by": "frontier"}));
    let said = tables.turnstile(&["outbox", "prune"]).await;
    said.assert_said(
        0,
        &[
            "dropped outbox_0: 20 events",
            "dropped outbox_1",
            "the low water is at position 20,000,019: the sink test has not come further",
        ],
    );
    said.assert_discreet();
    tables.turnstile(&["outbox", "prune"]).await.assert_said(0, &["nothing is dropped"]);
}

#[tokio::test]
async fn nobody_but_the_owner_prunes() {
    let (_test, roles) = granted().await;
    for url in [&roles.loader_url, &roles.relay_url, &roles.auditor_url] {
        let refused = prune(&crate::check::database(url), HOW, |_| {}).await.unwrap_err();
        assert!(matches!(&refused, PruneError::Database(error) if error.sqlstate() == Some("42501")), "{refused}");
        assert!(refused.remedy().contains("`outbox prune` need the owner"), "{}", refused.remedy());
    }
    roles.drop().await;
}
