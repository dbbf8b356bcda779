//! What is old leaves in order, and nothing is loaded twice, lost or kept waiting for it, whenever a run of it ends.

mod conversion;
mod dated_keys;
#[cfg(feature = "failpoints")]
mod killed;

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use turnstile::message::SentAt;
use turnstile::retention::{Refusal, RetainError, RetainSettings, Retained, partition, retain};
use turnstile::table::leaving::Keep;
use turnstile::table::time_partitions::{Parent, Period};

use crate::support::cluster::Cluster;
use crate::support::postgres::connect;
use crate::support::tables::Tables;
use crate::support::verdicts::QUEUE_ARN;
use crate::support::verdicts::{batch, judge_of, login, message};
use turnstile::distribution::distribute;

/// All partitions of tests begin here, one a month; the first holds whatever is older.
const FIRST: OffsetDateTime = datetime!(2025-01-01 0:00 UTC);

/// What was sent before this is to leave.
const KEPT_SINCE: OffsetDateTime = datetime!(2025-04-01 0:00 UTC);

/// Keeps all that was sent since [`KEPT_SINCE`], whenever the test runs.
pub(super) fn how() -> RetainSettings {
    let days = (OffsetDateTime::now_utc() - KEPT_SINCE).whole_days();
    let keep = Keep { months: 0, days: i32::try_from(days).unwrap() };
    RetainSettings {
        keep,
        identity_memory: keep,
        for_archive: false,
        without_sinks: true,
        dry_run: false,
        patience: Duration::from_secs(60),
        beside_writers: true,
    }
}

async fn run(tables: &Tables, how: RetainSettings) -> Retained {
    retain(&tables.database, how, |_| {}).await.unwrap()
}

/// Partitioned tables, monthly since [`FIRST`].
pub(super) async fn months() -> Tables {
    let is_cluster = Cluster::named().is_some();
    // Tables are partitioned first, and distributed then.
    let tables = if is_cluster { Tables::of_one_server().await } else { Tables::new().await };
    since_first(&tables).await;
    if is_cluster {
        distribute(&tables.database, None, Duration::from_secs(60)).await.unwrap();
    }
    tables
}

/// Partitions tables that hold nothing, and gives them a past.
async fn since_first(tables: &Tables) {
    partition(&tables.database, Period::Monthly, Duration::from_secs(60)).await.unwrap();
    let past = "DO $$
        DECLARE name text;
        BEGIN
            FOR name IN SELECT i.inhrelid::regclass::text FROM pg_inherits i
                        WHERE i.inhparent IN ('turnstile.processed_messages'::regclass, 'turnstile.identities'::regclass,
                                              'public.user_logins'::regclass) LOOP
                EXECUTE 'DROP TABLE ' || name;
            END LOOP;
            IF EXISTS (SELECT FROM turnstile.partitioning WHERE parent = 'identities') THEN
                CREATE TABLE turnstile.identities_first PARTITION OF turnstile.identities
                    FOR VALUES FROM (MINVALUE) TO ('2025-01-01 00:00:00Z');
            END IF;
        END $$;
        CREATE TABLE turnstile.processed_messages_first PARTITION OF turnstile.processed_messages
            FOR VALUES FROM (MINVALUE) TO ('2025-01-01 00:00:00Z');
        CREATE TABLE public.user_logins_first PARTITION OF public.user_logins FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
        UPDATE turnstile.partitioning SET made_until = '2025-01-01 00:00:00Z';
        SELECT turnstile.extend_partitions()";
    tables.client.batch_execute(past).await.unwrap();
}

/// Loads the login of a user whose message was sent then.
async fn load_at(tables: &Tables, user: &str, sent_at: OffsetDateTime) {
    load_body(tables, user, &login(user, "ios"), sent_at).await;
}

async fn load_body(tables: &Tables, id: &str, body: &str, sent_at: OffsetDateTime) {
    let mut message = message(id, body, 1);
    message.delivery.sent_at = SentAt::Queue(sent_at);
    message.delivery.received_at = sent_at;
    tables.load_batch(batch(&tables.judge, [message])).await;
}

/// One login in each of the first months of the past.
pub(super) async fn one_a_month(tables: &Tables) {
    for (number, user) in ["before", "january", "february", "march", "april", "may"].iter().enumerate() {
        load_at(tables, user, month(number) - time::Duration::days(10)).await;
    }
}

/// The beginning of the month after so many.
fn month(number: usize) -> OffsetDateTime {
    let months = [FIRST, datetime!(2025-02-01 0:00 UTC), datetime!(2025-03-01 0:00 UTC), KEPT_SINCE];
    let later = [datetime!(2025-05-01 0:00 UTC), datetime!(2025-06-01 0:00 UTC)];
    months.into_iter().chain(later).nth(number).unwrap()
}

/// The time, as precise as a queue tells it.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap()
}

async fn users(client: &Client) -> Vec<String> {
    let rows = client.query("SELECT user_id FROM user_logins ORDER BY create_date, user_id", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn left(retained: &Retained) -> Vec<&str> {
    retained.gone.iter().map(|gone| gone.partition.as_str()).collect()
}

const WHAT_LEAVES: [&str; 8] = [
    "user_logins_first",
    "user_logins_202501",
    "user_logins_202502",
    "user_logins_202503",
    "processed_messages_first",
    "processed_messages_202501",
    "processed_messages_202502",
    "processed_messages_202503",
];

#[tokio::test]
async fn whole_months_leave_the_logins_first_and_the_claims_last() {
    let tables = months().await;
    one_a_month(&tables).await;
    assert_eq!(tables.counts().await, [6, 6, 0, 6]);

    let would = run(&tables, RetainSettings { dry_run: true, ..how() }).await;
    assert_eq!(left(&would), WHAT_LEAVES);
    assert!(would.gone.iter().all(|gone| gone.rows == 1 && gone.bytes > 0), "{would:?}");
    assert_eq!(would.horizon, Some(OffsetDateTime::UNIX_EPOCH), "a dry run moves nothing");
    assert_eq!(tables.counts().await, [6, 6, 0, 6]);

    let retained = run(&tables, how()).await;
    assert_eq!(left(&retained), WHAT_LEAVES);
    assert_eq!(retained.horizon, Some(KEPT_SINCE));
    assert_eq!(retained.events, 4);
    assert_eq!(tables.counts().await, [2, 2, 0, 2]);
    assert_eq!(users(&tables.client).await, ["april", "may"]);
    tables.assert_promise().await;

    let again = run(&tables, how()).await;
    assert_eq!((left(&again), again.refused.len()), (vec![], 0));
    load_at(&tables, "today", now()).await;
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_message_from_before_the_horizon_is_not_loaded_again() {
    let tables = months().await;
    one_a_month(&tables).await;
    run(&tables, how()).await;
    let today = now();
    for _ in 0..2 {
        // Its claim is gone, and no partition takes another; one of today is in the same batch.
        let mut old = message("february", &login("february", "ios"), 1);
        old.delivery.sent_at = SentAt::Queue(month(2) - time::Duration::days(10));
        let mut new = message("new", &login("new", "ios"), 1);
        new.delivery.sent_at = SentAt::Queue(today);
        tables.load_batch(batch(&tables.judge, [old, new])).await;
    }
    let letters = "dead_letters WHERE code = 'older_than_memory' AND sent_at = 'epoch'";
    assert_eq!(tables.count(letters).await, 1);
    assert!(!users(&tables.client).await.contains(&"february".to_owned()));
    tables.assert_promise().await;

    // The first partition left: claims under the constant time have one of their own, which stays.
    run(&tables, how()).await;
    assert_eq!(tables.count("processed_messages_timeless").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn without_a_partition_for_today_the_loader_stops_and_nothing_is_dead_lettered() {
    for of in ["processed_messages", "user_logins"] {
        let tables = months().await;
        let today = now();
        let schema = if of == "user_logins" { "public" } else { "turnstile" };
        let name = format!("{schema}.{of}_{}{:02}", today.year(), u8::from(today.month()));
        tables.client.batch_execute(&format!("DROP TABLE {name}")).await.unwrap();
        let mut message = message("today", &login("today", "ios"), 1);
        message.delivery.sent_at = SentAt::Queue(today);
        let loaded = crate::support::loading::load(&tables.database, batch(&tables.judge, [message]), 1).await;
        assert!(loaded.is_err(), "{of}");
        assert_eq!(tables.counts().await, [0, 0, 0, 0], "{of}");
    }
}

#[tokio::test]
async fn an_open_letter_keeps_its_time_and_a_resolved_one_leaves_with_it() {
    let tables = months().await;
    one_a_month(&tables).await;
    load_body(&tables, "discarded", "[1]", month(1) - time::Duration::days(3)).await;
    load_body(&tables, "open", "[2]", month(2) - time::Duration::days(3)).await;
    let discard = "UPDATE dead_letters SET status = 'discarded', resolved_at = now(), resolved_by = 'ada'
                   WHERE message_id = 'discarded'";
    tables.client.execute(discard, &[]).await.unwrap();

    let retained = run(&tables, how()).await;
    let [Refusal::OpenLetters(letters)] = retained.refused[..] else { panic!("{retained:?}") };
    assert_eq!((letters.count, letters.oldest), (1, month(2) - time::Duration::days(3)));
    let until_january =
        ["user_logins_first", "user_logins_202501", "processed_messages_first", "processed_messages_202501"];
    assert_eq!(left(&retained), until_january);
    assert_eq!((retained.horizon, retained.letters), (Some(month(1)), 1));
    assert_eq!(tables.count("dead_letters").await, 1);
    tables.assert_promise().await;

    let said = tables.turnstile(&["retain", "--keep", "30d", "--without-sinks"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("dead letters of a time that is due are open: 1 from 2025-02-26 on"), "{said:?}");
    said.assert_discreet();

    tables
        .client
        .execute(&discard.replace("'discarded'\n", "'open'").replace("message_id = 'discarded'", "true"), &[])
        .await
        .unwrap();
    let retained = run(&tables, how()).await;
    assert_eq!((retained.refused.len(), retained.letters, retained.horizon), (0, 1, Some(KEPT_SINCE)));
    tables.assert_promise().await;
}

#[tokio::test]
async fn an_event_that_no_sink_has_had_keeps_its_time() {
    let tables = months().await;
    one_a_month(&tables).await;
    let retained = run(&tables, RetainSettings { without_sinks: false, ..how() }).await;
    let [Refusal::NoSink(events)] = retained.refused[..] else { panic!("{retained:?}") };
    assert_eq!((events.count, retained.gone.len(), retained.horizon), (4, 0, Some(OffsetDateTime::UNIX_EPOCH)));

    // A sink that has had the first two events.
    let sink = "INSERT INTO turnstile.relay_sinks (sink, target, cluster_id) VALUES ('warehouse', 'stdout:', 1)";
    let marked = "INSERT INTO turnstile.relay_marks (sink, slot, position)
                  SELECT 'warehouse', 0, position FROM turnstile.outbox ORDER BY position OFFSET 1 LIMIT 1";
    for sql in [sink, marked] {
        tables.client.execute(sql, &[]).await.unwrap();
    }
    let retained = run(&tables, how()).await;
    let [Refusal::UnsentEvents(events)] = retained.refused[..] else { panic!("{retained:?}") };
    assert_eq!((events.count, retained.horizon, retained.events), (2, Some(month(1)), 2));
    assert_eq!(users(&tables.client).await, ["february", "march", "april", "may"]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn the_horizon_moves_and_waits_for_claims_that_were_made_before() {
    let tables = months().await;
    one_a_month(&tables).await;
    // A loader that has claimed a message of February, and dead-letters it.
    let mut loader = connect(&tables.url).await;
    let claiming = loader.transaction().await.unwrap();
    let claim = "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
                 SELECT '2025-02-03 00:00:00Z', decode(repeat('ab', 32), 'hex'), 'dead_lettered', 'late', body_hash, now()
                 FROM processed_messages LIMIT 1";
    claiming.execute(claim, &[]).await.unwrap();
    let impatient = RetainSettings { patience: Duration::from_millis(300), ..how() };
    let retained = run(&tables, impatient).await;
    assert!(retained.in_the_way.is_some() && retained.gone.is_empty(), "{retained:?}");
    assert_eq!(retained.horizon, Some(KEPT_SINCE), "nobody claims what is older any more");

    let letter = "INSERT INTO dead_letters (sent_at, message_hash, queue, code, detail, sealed_body, message_id, receive_count, received_at)
                  VALUES ('2025-02-03 00:00:00Z', decode(repeat('ab', 32), 'hex'), 'q', 'not_json', 'x', 'x', 'late', 1, now())";
    claiming.execute(letter, &[]).await.unwrap();
    claiming.commit().await.unwrap();
    let retained = run(&tables, how()).await;
    assert!(matches!(retained.refused[..], [Refusal::OpenLetters(_)]), "{retained:?}");
    assert_eq!(tables.count("processed_messages WHERE message_id = 'late'").await, 1);
}

#[tokio::test]
async fn an_analyst_keeps_a_partition_for_a_while_and_loaders_go_on() {
    let tables = months().await;
    one_a_month(&tables).await;
    let mut analyst = connect(&tables.url).await;
    let looking = analyst
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    looking.query("SELECT count(*) FROM user_logins", &[]).await.unwrap();
    let impatient = RetainSettings { patience: Duration::from_millis(500), ..how() };
    let retained = run(&tables, impatient).await;
    let in_the_way = retained.in_the_way.unwrap();
    assert_eq!((in_the_way.partition.as_str(), in_the_way.holders.len()), ("user_logins_first", 1));
    load_at(&tables, "meanwhile", now()).await;
    drop(looking);
    drop(analyst);
    let retained = run(&tables, how()).await;
    assert_eq!(left(&retained), WHAT_LEAVES);
    assert_eq!(users(&tables.client).await, ["april", "may", "meanwhile"]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_server_that_cannot_detach_beside_writers_is_asked_again_and_again() {
    let tables = months().await;
    one_a_month(&tables).await;
    let retained = run(&tables, RetainSettings { beside_writers: false, ..how() }).await;
    assert_eq!(left(&retained), WHAT_LEAVES);
    tables.assert_promise().await;
}

#[tokio::test]
async fn what_is_for_the_archive_is_detached_and_stays() {
    let tables = months().await;
    one_a_month(&tables).await;
    let retained = run(&tables, RetainSettings { for_archive: true, ..how() }).await;
    assert_eq!(left(&retained), WHAT_LEAVES);
    assert_eq!(tables.counts().await, [2, 2, 0, 2]);
    assert_eq!(tables.count("user_logins_202502").await, 1);
    let waiting =
        "retired_partitions WHERE for_archive AND detached_at IS NOT NULL AND dropped_at IS NULL AND row_count = 1";
    assert_eq!(tables.count(waiting).await, 8);
    let again = run(&tables, how()).await;
    assert_eq!(left(&again), Vec::<&str>::new(), "they are the archive's");
    tables.assert_promise().await;
}

#[tokio::test]
async fn keys_are_forgotten_once_they_and_their_logins_are_old_enough() {
    let mut tables = months().await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    one_a_month(&tables).await;
    let longer = Keep { months: 0, days: how().keep.days + 45 };
    let since = "UPDATE identities SET claimed_at = owner_sent_at";
    tables.client.execute(since, &[]).await.unwrap();
    let retained = run(&tables, RetainSettings { identity_memory: longer, ..how() }).await;
    assert_eq!((retained.identities, tables.count("identities").await), (2, 4));
    tables.assert_promise().await;
    let retained = run(&tables, how()).await;
    assert_eq!((retained.identities, tables.count("identities").await), (2, 2));
    tables.assert_promise().await;
}

#[tokio::test]
async fn claims_under_the_constant_time_stay_and_their_logins_leave_by_their_day() {
    let tables = months().await;
    for (number, user) in ["january", "may"].into_iter().enumerate() {
        let mut message = message(user, &login(user, "ios"), 1);
        message.delivery.received_at = month(1 + number * 4) - time::Duration::days(5);
        message.delivery.sent_at = SentAt::Receipt(message.delivery.received_at);
        tables.load_batch(batch(&tables.judge, [message])).await;
    }
    let basis = "UPDATE queues SET time_basis = 'none'";
    tables.client.execute(basis, &[]).await.unwrap();
    assert_eq!(tables.counts().await, [2, 2, 0, 2]);
    run(&tables, how()).await;
    assert_eq!(users(&tables.client).await, ["may"]);
    assert_eq!(tables.count("processed_messages_timeless").await, 2);
    tables.assert_promise().await;
    // They are known still.
    let mut again = message("january", &login("january", "ios"), 1);
    again.delivery.sent_at = SentAt::Receipt(OffsetDateTime::now_utc());
    tables.load_batch(batch(&tables.judge, [again])).await;
    assert_eq!(users(&tables.client).await, ["may"]);
}

#[tokio::test]
async fn two_runs_do_not_meet_and_tables_in_one_piece_are_left_alone() {
    let whole = Tables::new().await;
    let refused = retain(&whole.database, how(), |_| {}).await;
    assert!(matches!(refused, Err(RetainError::NotPartitioned(Parent::UserLogins))), "{refused:?}");

    let tables = months().await;
    let session = tables.database.lone_session().await.unwrap();
    assert!(turnstile::table::retired_partitions::try_lock(&session).await.unwrap());
    let refused = retain(&tables.database, RetainSettings { patience: Duration::ZERO, ..how() }, |_| {}).await;
    assert!(matches!(refused, Err(RetainError::Busy)), "{refused:?}");
}

#[tokio::test]
async fn the_program_says_what_would_leave_and_what_left() {
    let tables = months().await;
    one_a_month(&tables).await;
    let days = format!("{}d", how().keep.days);
    let keep = ["retain", "--keep", &days, "--without-sinks"];
    let would = tables.turnstile(&[&keep[..], &["--dry-run"]].concat()).await;
    would.assert_said(0, &["would drop user_logins_202502: 1 row, "]);
    let said = tables.turnstile(&keep).await;
    said.assert_said(
        0,
        &["dropped processed_messages_202503: 1 row, ", "removed 4 old events", "the horizon is 2025-04-01"],
    );
    said.assert_discreet();
    let later = tables.another_client().await;
    later.batch_execute("ANALYZE public.user_logins, turnstile.processed_messages").await.unwrap();
    let json = tables.turnstile(&[&keep[..], &["--format", "json"]].concat()).await;
    json.assert_said(0, &["\"partitions_left\":0", "\"horizon\":\"2025-04-01T00:00:00Z\""]);

    let april = format!("{}d", how().keep.days - 31);
    let reckoned = tables.turnstile(&["retain", "--keep", &april, "--without-sinks"]).await;
    reckoned.assert_said(0, &["dropped user_logins_202504: about 1 row, "]);

    let short = tables.turnstile(&["retain", "--keep", "20d"]).await;
    assert!(short.code != 0 && short.stderr.contains("from 28d to 100years"), "{short:?}");
    let shorter = tables.turnstile(&["retain", "--keep", "13months", "--identity-memory", "90d"]).await;
    assert!(shorter.code != 0 && shorter.stderr.contains("is shorter than --keep"), "{shorter:?}");
}

#[tokio::test]
async fn check_tells_when_partitions_run_out() {
    let tables = months().await;
    let facts = async || {
        let read =
            async |seen: &turnstile::database::Transaction| turnstile::table::facts::TableFacts::read(seen).await;
        tables.database.snapshot(read).await.unwrap().by_time
    };
    let now = facts().await;
    assert_eq!(now.len(), 2);
    assert!(now.iter().all(|table| table.has_now && table.days_ahead >= 80 && !table.has_default), "{now:?}");
    let drop = "DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT c.oid::regclass::text FROM pg_class c
                    WHERE c.relname > 'user_logins_' || to_char(now() - interval '1 month', 'YYYYMM') AND c.relname ~ '^user_logins_[0-9]+$'
                      AND c.relkind = 'r' LOOP
            EXECUTE 'DROP TABLE ' || name;
        END LOOP; END $$";
    tables.client.batch_execute(drop).await.unwrap();
    let gone = facts().await;
    assert_eq!(gone.iter().filter(|table| !table.has_now).count(), 1, "{gone:?}");
}

/// What PostgreSQL says of a row that no partition takes.
#[tokio::test]
async fn the_database_itself_refuses_a_claim_from_before_the_horizon() {
    let tables = months().await;
    one_a_month(&tables).await;
    run(&tables, how()).await;
    let claim = "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
                 SELECT '2025-02-03 00:00:00Z', message_hash, outcome, message_id, body_hash, received_at
                 FROM processed_messages LIMIT 1";
    let refused = tables.client.execute(claim, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::CHECK_VIOLATION));
}

#[tokio::test]
async fn what_is_asked_for_the_archive_late_is_kept_for_it() {
    let tables = months().await;
    one_a_month(&tables).await;
    let mut analyst = connect(&tables.url).await;
    let looking = analyst.transaction().await.unwrap();
    looking.query("SELECT count(*) FROM user_logins", &[]).await.unwrap();
    let retained = run(&tables, RetainSettings { patience: Duration::from_millis(300), ..how() }).await;
    assert_eq!(retained.in_the_way.unwrap().partition, "user_logins_first");
    drop(looking);
    drop(analyst);
    run(&tables, RetainSettings { for_archive: true, ..how() }).await;
    let waiting = "retired_partitions WHERE for_archive AND detached_at IS NOT NULL AND dropped_at IS NULL";
    assert_eq!((tables.count(waiting).await, tables.count("user_logins_first").await), (8, 1));
}

#[tokio::test]
async fn a_partition_that_somebody_dropped_is_made_again_and_one_of_theirs_is_left_alone() {
    let tables = months().await;
    let next = "to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYYMM')";
    let dropped = format!("DO $$ BEGIN EXECUTE 'DROP TABLE public.user_logins_' || {next}; END $$");
    tables.client.batch_execute(&dropped).await.unwrap();
    let read = async |seen: &turnstile::database::Transaction| turnstile::table::facts::TableFacts::of_time(seen).await;
    let ahead = async || {
        let mut of = tables.database.snapshot(read).await.unwrap();
        of.remove(1).days_ahead
    };
    assert!(ahead().await < 31, "days are counted up to the first gap");
    // Somebody has a table of that name, and has made a partition of one day by hand.
    let theirs = format!(
        "DO $$ BEGIN EXECUTE 'CREATE TABLE public.user_logins_' || {next} || ' ()';
         EXECUTE format('CREATE TABLE public.by_hand PARTITION OF public.user_logins FOR VALUES FROM (%L) TO (%L)',
                        (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month 10 days')::date,
                        (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month 11 days')::date); END $$"
    );
    tables.client.batch_execute(&theirs).await.unwrap();
    assert_eq!(turnstile::table::time_partitions::extend(&tables.database).await.unwrap(), 2);
    assert!(ahead().await >= 80);
}

#[tokio::test]
async fn too_many_claims_under_the_constant_time_keep_their_partition_and_nothing_else() {
    let tables = months().await;
    one_a_month(&tables).await;
    let many = "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
                SELECT 'epoch', sha256(n::text::bytea), 'loaded', 'of a queue without times', sha256('x'), '2024-06-01'
                FROM generate_series(1, 3001) AS n";
    tables.client.execute(many, &[]).await.unwrap();
    for left_before in [7, 0] {
        let retained = run(&tables, how()).await;
        assert_eq!(retained.refused, [Refusal::TimelessClaims(3001)]);
        assert_eq!((retained.gone.len(), retained.horizon), (left_before, Some(KEPT_SINCE)));
    }
    assert_eq!(users(&tables.client).await, ["april", "may"]);
    assert_eq!(tables.count("processed_messages_first").await, 3002);
}

#[tokio::test]
async fn a_day_stays_while_the_message_of_one_of_its_rows_is_remembered() {
    let tables = months().await;
    one_a_month(&tables).await;
    let back = "UPDATE user_logins SET create_date = '2025-02-03' WHERE user_id = 'may'";
    tables.client.execute(back, &[]).await.unwrap();
    run(&tables, how()).await;
    assert_eq!(users(&tables.client).await, ["may", "february", "april"]);
    tables.assert_promise().await;
}
