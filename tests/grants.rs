//! The roles of `deploy/grants.sql` can do what their commands do; and each privilege of the loader is needed, and named
//! where it is missing.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::audit::audit;
use turnstile::batch::Batch;
use turnstile::database::schemas::Schemas;
use turnstile::database::server::cluster_id;
use turnstile::database::{Database, DatabaseError, Transaction};
use turnstile::decode::Form;
use turnstile::discard::discard;
use turnstile::keys;
use turnstile::load::LoadError;
use turnstile::mask::MaskKind;
use turnstile::message::{ProducerContext, TimeBasis};
use turnstile::relay::again::{self, Bound, Change, ReplayError};
use turnstile::replay::Replay;
use turnstile::table::dead_letters;
use turnstile::table::facts::{Counting, Positions, TableFacts, partitions_of_outbox};
use turnstile::table::relay_failures::{Failure, InOrder, Retrying};
use turnstile::table::relay_refusals::Filter;
use turnstile::table::relay_sinks::SinkRecord;
use turnstile::table::relay_slot::Slot;
use turnstile::table::relay_status::OutboxStatus;
use turnstile::table::rights::{MIGRATIONS, Object, Right, needed};
use turnstile::table::{
    outbox, outbox_pruned, processed_messages, relay_chunks, relay_failures, relay_gaps, relay_marks, relay_refusals,
    relay_sinks,
};

use crate::check::{Installation, database, migrate};
use crate::support::loading::{destination, load, load_into};
use crate::support::postgres::{TestDatabase, connect};
use crate::support::verdicts::{QUEUE_ARN, batch, judge, judge_of, keyring, login, message};

const SCHEME: &str = "field:/event_id";

#[tokio::test]
async fn the_loader_needs_each_of_its_privileges_and_a_missing_one_is_named_with_what_mends_it() {
    let test = TestDatabase::empty().await;
    migrate(test.url()).await;
    let owner = connect(test.url()).await;
    owner.batch_execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let roles = Roles::granted(test.url()).await;
    let installation = Installation::new(&roles.loader_url).await;
    assert_eq!(installation.check(&[]).await.exit_code, 0, "{}", installation.check(&[]).await.stdout);
    do_all_that_a_loader_does(&roles, "before").await.unwrap();

    for (number, right) in needed().into_iter().enumerate() {
        let (privilege, object) = (in_words(&right), right.object.in_words(&Schemas::default()));
        let revoke = format!("REVOKE {privilege} ON {object} FROM {}", roles.name("loader"));
        owner.batch_execute(&revoke).await.unwrap();
        let done = do_all_that_a_loader_does(&roles, &format!("without {number}")).await;
        assert!(matches!(&done, Err(error) if error.sqlstate() == Some("42501")), "{privilege} ON {object}: {done:?}");

        let checked = installation.check(&[]).await;
        let line = checked.line(line_of(right.object));
        let lacks = format!("lacks {privilege} on {object}");
        assert!(line.starts_with("error") && line.contains(&lacks), "{lacks}: {line}");
        let (_, remedy) = line.split_once(" → ").unwrap();
        let (grant, _) = remedy.split_once(" (deploy/grants.sql").unwrap();
        owner.batch_execute(grant).await.unwrap();
    }
    do_all_that_a_loader_does(&roles, "after").await.unwrap();
    assert_eq!(installation.check(&[]).await.exit_code, 0);

    let run = format!("REVOKE SELECT (retained_since) ON turnstile.horizon FROM {}", roles.login("loader"));
    owner.batch_execute(&run).await.unwrap();
    let refused = installation.run("run", &["--until-empty"]).await;
    assert_eq!(refused.exit_code, 1);
    assert!(
        refused.stderr.contains("lacks SELECT (retained_since)"),
        "a run says what a check says: {}",
        refused.stderr
    );
    roles.drop().await;
}

fn in_words(right: &Right) -> String {
    match right.column {
        "" => right.action.to_owned(),
        column => format!("{} ({column})", right.action),
    }
}

fn line_of(object: Object) -> &'static str {
    match object {
        Object::OwnSchema | Object::LoginsSchema => "grants on the schemas",
        Object::Sequence => "grants on positions",
        Object::ExtendOutbox => "grants on extend_outbox",
        Object::Table(MIGRATIONS) => "grants on the migrations",
        Object::Table("processed_messages") => "grants on processed_messages",
        Object::Table("identities") => "grants on identities",
        Object::Table("queues") => "grants on queues",
        Object::Table("user_logins") => "grants on user_logins",
        Object::Table("dead_letters") => "grants on dead_letters",
        Object::Table("outbox") => "grants on outbox",
        Object::Table("turnstile_keys") => "grants on turnstile_keys",
        Object::Table("horizon") => "grants on horizon",
        Object::Table(other) => panic!("{other} has no line"),
    }
}

#[tokio::test]
async fn row_level_security_which_forbids_copy_is_loaded_under() {
    let (test, roles) = granted().await;
    let owner = connect(test.url()).await;
    for table in ["user_logins", "outbox"] {
        let secure = format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON {table} USING (true) WITH CHECK (true)"
        );
        owner.batch_execute(&secure).await.unwrap();
    }
    do_all_that_a_loader_does(&roles, "secured").await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM user_logins) > 0, (SELECT count(*) FROM outbox) > 0";
    let row = owner.query_one(counts, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1));
    roles.drop().await;
}

#[tokio::test]
async fn a_role_that_may_do_more_than_load_is_warned_of() {
    let (test, roles) = granted().await;
    let owner = connect(test.url()).await;
    let installation = Installation::new(&roles.loader_url).await;
    assert_eq!(installation.check(&[]).await.level("least privilege"), "ok");
    let (loader, login) = (roles.name("loader"), roles.login("loader"));
    for (grant, named) in [
        (format!("GRANT SELECT (masked_ip) ON public.user_logins TO {loader}"), "SELECT (masked_ip) on"),
        (format!("GRANT SELECT ON turnstile.dead_letters TO {loader}"), "SELECT (sealed_body) on"),
        (format!("GRANT INSERT (position) ON turnstile.outbox TO {loader}"), "INSERT (position) on"),
        (format!("GRANT DELETE ON turnstile.outbox TO {loader}"), "DELETE on turnstile.outbox"),
        (format!("GRANT TRUNCATE ON public.user_logins TO {loader}"), "TRUNCATE on public.user_logins"),
        (format!("GRANT TRIGGER ON turnstile.identities TO {loader}"), "TRIGGER on turnstile.identities"),
        (format!("GRANT UPDATE ON turnstile.horizon TO {loader}"), "UPDATE on turnstile.horizon"),
        (format!("GRANT UPDATE ON SEQUENCE turnstile.outbox_position_seq TO {loader}"), "UPDATE on sequence"),
        (format!("GRANT CREATE ON SCHEMA turnstile TO {loader}"), "CREATE on schema turnstile"),
        (format!("GRANT SELECT (code) ON turnstile.relay_failures TO {loader}"), "SELECT on turnstile.relay_failures"),
        (format!("GRANT INSERT ON turnstile.relay_marks TO {loader}"), "INSERT on turnstile.relay_marks"),
        (format!("GRANT UPDATE (target) ON turnstile.relay_sinks TO {loader}"), "UPDATE on turnstile.relay_sinks"),
        (format!("GRANT DELETE ON turnstile.relay_gaps TO {loader}"), "DELETE on turnstile.relay_gaps"),
        (format!("GRANT TRIGGER ON turnstile.relay_chunks TO {loader}"), "TRIGGER on turnstile.relay_chunks"),
        (format!("ALTER ROLE {login} CREATEROLE"), "CREATEROLE"),
        (format!("GRANT pg_read_all_data TO {login}"), "member of pg_read_all_data"),
    ] {
        owner.batch_execute(&grant).await.unwrap();
        let checked = installation.check(&[]).await;
        let line = checked.line("least privilege");
        assert!(line.starts_with("warning") && line.contains(named), "{grant}: {line}");
    }
    assert!(!installation.check(&[]).await.line("least privilege").contains("TRUNCATE on turnstile.outbox"));
    roles.drop().await;
}

#[tokio::test]
async fn the_operator_replays_and_discards_and_the_auditor_audits() {
    let (_test, roles) = granted().await;
    do_all_that_an_operator_does(&roles).await;
    roles.drop().await;
}

/// A replay of a letter that is a login now, a look at it and at one that is none, which is discarded; and an audit.
pub(crate) async fn do_all_that_an_operator_does(roles: &Roles) {
    let owner = connect(&roles.owner_url).await;
    let loader = database(&roles.loader_url);
    destination(&loader, 1).introduce(&SCHEME.parse().unwrap(), &CancellationToken::new()).await.unwrap();
    let empty = "DELETE FROM dead_letters; DELETE FROM processed_messages; DELETE FROM user_logins; DELETE FROM outbox;
                 DELETE FROM identities";
    owner.batch_execute(empty).await.unwrap();
    for batch in [keyed("event 9", "nadia"), keyed("event 9", "omar"), keyed("event 9", "omar"), letter("letter 9")] {
        load(&loader, batch, 1).await.unwrap();
    }
    // The contradicting logins find their key free, as if its owner had been forgotten: one is loaded, one absorbed.
    owner.batch_execute("DELETE FROM identities").await.unwrap();

    let operator = database(&roles.operator_url);
    assert!(operator.schema_version().await.unwrap().is_some());
    keys::compare(&keys::registered(&operator).await.unwrap(), &keyring(), Some(MaskKind::Seal)).unwrap();
    let replay = Replay {
        database: operator.clone(),
        opener: keyring().body_opener(),
        form: Form::Login,
        hash_key: keyring().shared_hash_key(),
        masker: keyring().masker(MaskKind::Seal),
        force: false,
        by: "alice".to_owned(),
        dry_run: false,
    };
    let replayed = replay.run(&dead_letters::Filter::default(), 10, |_| {}).await.unwrap();
    assert_eq!((replayed.replayed, replayed.absorbed, replayed.stay_open()), (1, 1, 1), "{replayed:?}");

    let snapshot = operator.begin_snapshot().await.unwrap();
    dead_letters::count(&snapshot, &dead_letters::Filter::default()).await.unwrap();
    let letters = dead_letters::newest(&snapshot, &dead_letters::Filter::default(), 10).await.unwrap();
    for letter in &letters {
        let (key, hash) = (letter.key, letter.key.hash);
        dead_letters::body(&snapshot, key).await.unwrap();
        assert!(processed_messages::read(&snapshot, key).await.unwrap().is_some());
        assert_eq!(dead_letters::between(&snapshot, hash, hash, 2).await.unwrap(), [hash]);
    }
    snapshot.rollback().await.unwrap();
    let hashes: Vec<_> = letters.iter().map(|letter| letter.key.hash).collect();
    assert_eq!(discard(&operator, &hashes, "alice").await.unwrap().len(), 1);

    let auditor = database(&roles.auditor_url);
    assert!(auditor.schema_version().await.unwrap().is_some());
    audit(&auditor, Duration::from_secs(60), |_| {}).await.unwrap();
}

#[tokio::test]
async fn the_analyst_reads_the_seven_columns_and_no_more() {
    let (_test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "first").await.unwrap();
    let analyst = connect(&roles.analyst_url).await;
    let sql =
        "SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date FROM user_logins";
    assert!(!analyst.query(sql, &[]).await.unwrap().is_empty());
    drop(analyst);
    roles.drop().await;
}

#[tokio::test]
async fn the_relay_needs_each_of_its_privileges_and_no_other() {
    let (test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "carried").await.unwrap();
    do_all_that_a_relay_does(&roles, "before").await.unwrap();
    let owner = connect(test.url()).await;
    let role = roles.name("relay");
    let held = privileges_of(&owner, &role).await;
    assert!(held.len() > 50, "{held:?}");
    for (number, privilege) in held.iter().enumerate() {
        owner.batch_execute(&format!("REVOKE {privilege} FROM {role}")).await.unwrap();
        let done = do_all_that_a_relay_does(&roles, &format!("without-{number}")).await;
        assert!(matches!(&done, Err(error) if error.sqlstate() == Some("42501")), "{privilege}: {done:?}");
        owner.batch_execute(&format!("GRANT {privilege} TO {role}")).await.unwrap();
    }
    do_all_that_a_relay_does(&roles, "after").await.unwrap();
    roles.drop().await;
}

#[tokio::test]
async fn the_operator_needs_each_of_its_privileges_on_the_outbox_and_on_what_relays_note() {
    let (test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "carried").await.unwrap();
    let owner = connect(test.url()).await;
    do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await.unwrap();
    let role = roles.name("operator");
    let held = privileges_of(&owner, &role).await;
    // The others are those of a replay of dead letters.
    let of_outbox = |held: &&String| {
        held.contains("relay_") || held.contains("outbox") && !held.contains("INSERT") && !held.contains("USAGE")
    };
    let held: Vec<&String> = held.iter().filter(of_outbox).collect();
    assert!(held.len() > 35, "{held:?}");
    for privilege in held {
        owner.batch_execute(&format!("REVOKE {privilege} FROM {role}")).await.unwrap();
        let done = do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await;
        assert!(matches!(&done, Err(error) if error.sqlstate() == Some("42501")), "{privilege}: {done:?}");
        owner.batch_execute(&format!("GRANT {privilege} TO {role}")).await.unwrap();
    }
    do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await.unwrap();
    roles.drop().await;
}

/// Every statement of `turnstile outbox`, but of its pruning.
pub(crate) async fn do_all_that_an_operator_does_with_the_outbox(
    roles: &Roles,
    owner: &Client,
) -> Result<(), DatabaseError> {
    let books =
        "DELETE FROM relay_failures; DELETE FROM relay_chunks; DELETE FROM relay_marks; DELETE FROM relay_sinks;
        DELETE FROM outbox_pruned; INSERT INTO outbox_pruned (below, partition, written_until) VALUES (0, 'outbox_0', '2001-01-01 00:00Z');
        INSERT INTO relay_sinks (sink, target, cluster_id) VALUES ('s', 'nowhere', 1);
        INSERT INTO relay_marks (sink, slot, position) SELECT 's', 0, max(position) FROM outbox;
        INSERT INTO relay_failures (sink, position, event_id, code, next_at, status)
        SELECT 's', position, event_id, 'c', now(), 'set_aside' FROM outbox ORDER BY position LIMIT 1";
    owner.batch_execute(books).await.unwrap();
    let operator = database(&roles.operator_url);
    let status = operator.snapshot(async |seen| OutboxStatus::read(seen, None).await).await?;
    assert_eq!(status.sinks.len(), 1);
    let filter = Filter { sink: Some("s".to_owned()), ..Filter::default() };
    let read = async |seen: &Transaction| {
        let listed = relay_refusals::list(seen, &filter, 10).await?;
        let event = listed[0].event;
        assert_eq!(relay_refusals::count(seen, &filter).await?, 1);
        relay_refusals::between(seen, event, event, 2).await
    };
    assert_eq!(operator.snapshot(read).await?.len(), 1);
    for changed in [again::retry(&operator, &filter).await?, again::discard(&operator, &filter).await?] {
        assert_eq!(changed.iter().map(|(_, change)| *change).collect::<Vec<_>>(), [Change::Done]);
    }
    let long_ago = OffsetDateTime::now_utc() - time::Duration::hours(1);
    let ends = (Bound::Time(long_ago), Bound::Time(OffsetDateTime::now_utc() + time::Duration::hours(1)));
    let replayed = async {
        let plan = again::plan(&operator, "s", ends.0, ends.1).await?;
        again::replay(&operator, "s", &plan).await
    };
    match replayed.await {
        Ok(chunks) => assert_eq!(chunks, 1),
        Err(ReplayError::Database(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    }
    Ok(())
}

/// Everything that a role is granted itself, as GRANT takes it.
async fn privileges_of(client: &Client, role: &str) -> Vec<String> {
    let sql = "SELECT format('%s (%I) ON %s', g.privilege_type, a.attname, a.attrelid::regclass)
               FROM pg_attribute a, aclexplode(a.attacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON %s %s', g.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                             c.oid::regclass)
               FROM pg_class c, aclexplode(c.relacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON SCHEMA %I', g.privilege_type, n.nspname)
               FROM pg_namespace n, aclexplode(n.nspacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON FUNCTION %s', g.privilege_type, p.oid::regprocedure)
               FROM pg_proc p, aclexplode(p.proacl) g WHERE g.grantee = $1::text::regrole";
    client.query(sql, &[&role]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Every statement of `turnstile relay`, for a sink of this name that nobody has used.
pub(crate) async fn do_all_that_a_relay_does(roles: &Roles, sink: &str) -> Result<(), DatabaseError> {
    let relay = database(&roles.relay_url);
    relay.schema_version().await?;
    let slot = Slot { sink: sink.to_owned(), number: 0 };
    relay
        .unflushed_transaction(async |transaction| {
            Counting::read(transaction).await?;
            Positions::read(transaction).await?;
            let cluster_id = cluster_id(transaction).await?;
            assert!(!relay_sinks::is_known(transaction, sink).await?);
            outbox_pruned::keep_pruner_away(transaction).await?;
            assert_eq!(outbox_pruned::below(transaction).await?, None);
            let record = SinkRecord { target: "nowhere".to_owned(), cluster_id, is_ordered: true };
            assert_eq!(relay_sinks::introduce(transaction, sink, &record).await?, record);
            relay_sinks::adopt(transaction, sink, &record).await?;
            assert!(relay_sinks::try_lock(transaction, &slot).await?);
            assert_eq!(relay_marks::frontier(transaction, &slot).await?, 0);
            let events = outbox::above(transaction, 0, 10).await?;
            let (first, last) = (events.first().unwrap(), events.last().unwrap());
            let positions = first.position..=last.position;
            assert_eq!(outbox::within(transaction, std::slice::from_ref(&positions)).await?.len(), events.len());
            outbox::writers(transaction).await?;
            assert_eq!(outbox::tally(transaction, std::slice::from_ref(&positions), 10).await?.0, events.len() as i64);
            partitions_of_outbox(transaction).await?;
            relay_marks::append(transaction, &slot, first.position).await?;
            relay_marks::append(transaction, &slot, last.position + 1).await?;
            assert_eq!(relay_marks::prune(transaction, &slot, 0).await?, 1);
            carry(transaction, &slot, positions).await?;
            refuse(transaction, sink, Failure { position: first.position, event_id: first.id, code: "c".to_owned() })
                .await
        })
        .await
}

/// A chunk and a gap at these positions, from beginning to end.
async fn carry(transaction: &Transaction, slot: &Slot, positions: RangeInclusive<i64>) -> Result<(), DatabaseError> {
    let (ended, lease) = (Duration::ZERO, Duration::from_secs(60));
    let lost = relay_chunks::open(transaction, slot, positions.clone(), "host/1", ended).await?;
    let chunk = relay_chunks::take_over(transaction, slot, "host/2", lease).await?.unwrap();
    assert_eq!((chunk.id, &chunk.positions), (lost.id, &positions));
    assert!(!relay_chunks::renew(transaction, &lost, lease).await?, "the number is the same, and the lease another");
    assert!(!relay_chunks::close(transaction, &lost).await?);
    assert!(relay_chunks::renew(transaction, &chunk, lease).await?);
    assert_eq!(relay_chunks::count(transaction, &slot.sink).await?, 1);
    assert_eq!(relay_chunks::covered(transaction, &slot.sink, 10).await?, std::slice::from_ref(&positions));
    assert!(relay_chunks::close(transaction, &chunk).await?);

    relay_gaps::note(transaction, slot, &[positions], None).await?;
    let gaps = relay_gaps::lock(transaction, slot, 0, 10).await?;
    relay_gaps::await_writers(transaction, gaps[0].id, &["1/1".to_owned()]).await?;
    assert_eq!(relay_gaps::count(transaction, &slot.sink).await?, 1);
    assert_eq!(relay_gaps::count_by_age(transaction, &slot.sink, lease).await?, (1, 0));
    let writers = relay_gaps::open(transaction, &slot.sink, 10).await?[0].0.writers.clone().unwrap();
    outbox::holders(transaction, &writers).await?;
    relay_gaps::remove(transaction, &[gaps[0].id]).await
}

/// An event that is refused twice, and taken then.
async fn refuse(transaction: &Transaction, sink: &str, failure: Failure) -> Result<(), DatabaseError> {
    let (position, at_once) = (failure.position, Duration::ZERO);
    let retrying = Retrying { most_attempts: 3, pause: at_once };
    relay_failures::note(transaction, sink, std::slice::from_ref(&failure), retrying).await?;
    assert_eq!(relay_failures::take_due(transaction, sink, 10, at_once).await?, [position]);
    assert_eq!(relay_failures::refused_again(transaction, sink, std::slice::from_ref(&failure), retrying).await?, 0);
    assert_eq!(relay_failures::first_waiting(transaction, sink, 10).await?, [position]);
    assert_eq!(relay_failures::count(transaction, sink).await?.waiting, 1);
    relay_failures::remove(transaction, sink, &[position]).await?;

    let of_subject = InOrder { failure, subject: [7; 32], was_tried: false };
    relay_failures::note_in_order(transaction, sink, std::slice::from_ref(&of_subject), retrying).await?;
    assert_eq!(relay_failures::held(transaction, sink, &[[7; 32], [8; 32]]).await?, [[7; 32]]);
    assert_eq!(relay_failures::take_first_due(transaction, sink, 10, at_once).await?, [position]);
    assert!(relay_failures::waits_in_order(transaction, sink).await?);
    relay_failures::remove(transaction, sink, &[position]).await
}

#[tokio::test]
async fn grants_refuse_what_they_could_not_grant() {
    let test = TestDatabase::empty().await;
    let roles = Roles::made(test.url()).await;
    let owner = connect(test.url()).await;
    let refused = async |client: &Client, named: &str| {
        let error = client.batch_execute(&roles.grants()).await.expect_err(named);
        client.batch_execute("ROLLBACK").await.unwrap();
        let said = error.as_db_error().unwrap().message();
        assert!(said.contains(named), "{said}");
    };
    refused(&owner, "there are no tables of Turnstile").await;
    migrate(test.url()).await;
    owner.batch_execute("ALTER TABLE turnstile.outbox_pruned RENAME TO of_another_version").await.unwrap();
    refused(&owner, "older ones than this file is for").await;
    owner.batch_execute("ALTER TABLE turnstile.of_another_version RENAME TO outbox_pruned").await.unwrap();
    let stranger = connect(&roles.analyst_url).await;
    refused(&stranger, "belongs to").await;

    owner.batch_execute(&format!("ALTER TABLE turnstile.horizon OWNER TO {}", roles.login("analyst"))).await.unwrap();
    refused(&owner, "turnstile.horizon belongs to").await;
    owner.batch_execute("ALTER TABLE turnstile.horizon OWNER TO CURRENT_USER").await.unwrap();
    owner.batch_execute(&roles.grants()).await.unwrap();

    for kind in KINDS {
        let missing = roles.grants().replace(&roles.name(kind), "nobody_has_made_this_role");
        let error = owner.batch_execute(&missing).await.unwrap_err();
        owner.batch_execute("ROLLBACK").await.unwrap();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains("no role nobody_has_made_this_role"), "{error:?}");
        assert!(error.hint().unwrap().contains("CREATE ROLE nobody_has_made_this_role NOLOGIN"), "{error:?}");
    }
    roles.drop().await;
}

#[tokio::test]
async fn other_schemas_are_granted_by_writing_their_names_in() {
    let test = TestDatabase::empty().await;
    let roles = Roles::made(test.url()).await;
    let owner = connect(test.url()).await;
    owner.batch_execute("CREATE SCHEMA theirs").await.unwrap();
    let installation = Installation::new(&roles.loader_url).await;
    let schemas = ["--schema", "mine", "--logins-schema", "theirs"];
    crate::support::loading::migrate(&crate::check::database_in(test.url(), "mine", "theirs")).await;
    // As the file's head says.
    let perl = r"s/\bturnstile\b/mine/g; s/\bpublic\b/theirs/g";
    let written = roles.grants_through(&["perl", "-pe", perl]);
    owner.batch_execute(&written).await.unwrap();
    let checked = installation.check(&schemas).await;
    assert_eq!(checked.exit_code, 0, "{}", checked.stdout);
    assert_eq!(checked.level("least privilege"), "ok");
    owner.batch_execute("DROP SCHEMA mine CASCADE; DROP SCHEMA theirs CASCADE").await.unwrap();
    roles.drop().await;
}

pub(crate) async fn granted() -> (TestDatabase, Roles) {
    let database = TestDatabase::empty().await;
    migrate(database.url()).await;
    let roles = Roles::granted(database.url()).await;
    (database, roles)
}

const KINDS: [&str; 5] = ["loader", "operator", "auditor", "analyst", "relay"];

/// The roles of `deploy/grants.sql` under names of their own (roles belong to a whole server, tests to a database), and one
/// that logs in in each.
pub(crate) struct Roles {
    owner_url: String,
    number: String,
    pub(crate) loader_url: String,
    pub(crate) operator_url: String,
    pub(crate) auditor_url: String,
    pub(crate) analyst_url: String,
    pub(crate) relay_url: String,
}

static ROLES: AtomicU32 = AtomicU32::new(0);

impl Roles {
    /// Executes the file, twice: it may be run as often as one likes.
    pub(crate) async fn granted(url: &str) -> Self {
        let roles = Self::made(url).await;
        let client = connect(url).await;
        client.batch_execute(&roles.grants()).await.unwrap();
        client.batch_execute(&roles.grants()).await.unwrap();
        roles
    }

    /// The roles, which may do nothing yet.
    pub(crate) async fn made(url: &str) -> Self {
        let number = format!("{}_{}", std::process::id(), ROLES.fetch_add(1, Ordering::Relaxed));
        let of = |kind: &str| as_user(url, &format!("test_{kind}_login_{number}"));
        let [loader_url, operator_url, auditor_url, analyst_url, relay_url] = KINDS.map(of);
        let owner_url = url.to_owned();
        let roles = Self { owner_url, number, loader_url, operator_url, auditor_url, analyst_url, relay_url };
        let client = connect(url).await;
        for kind in KINDS {
            let (role, login) = (roles.name(kind), roles.login(kind));
            let make =
                format!("CREATE ROLE {role} NOLOGIN; CREATE ROLE {login} LOGIN PASSWORD 'sesame' IN ROLE {role}");
            client.batch_execute(&make).await.unwrap();
        }
        roles
    }

    /// The name of the role of the file.
    pub(crate) fn name(&self, kind: &str) -> String {
        format!("test_{kind}_{}", self.number)
    }

    /// The name of the role that logs in.
    pub(crate) fn login(&self, kind: &str) -> String {
        format!("test_{kind}_login_{}", self.number)
    }

    pub(crate) fn grants(&self) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grants.sql");
        self.under_own_names(&std::fs::read_to_string(path).unwrap())
    }

    /// What a command makes of the file.
    fn grants_through(&self, command: &[&str]) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grants.sql");
        let output = std::process::Command::new(command[0]).args(&command[1..]).arg(path).output().unwrap();
        assert!(output.status.success());
        self.under_own_names(&String::from_utf8(output.stdout).unwrap())
    }

    fn under_own_names(&self, grants: &str) -> String {
        let own = |text: String, kind: &str| text.replace(&format!("turnstile_{kind}"), &self.name(kind));
        KINDS.into_iter().fold(grants.to_owned(), own)
    }

    /// Removes the roles before the database, which would keep them.
    pub(crate) async fn drop(self) {
        let client = connect(&self.owner_url).await;
        let names: Vec<String> = KINDS.iter().flat_map(|kind| [self.login(kind), self.name(kind)]).collect();
        let names = names.join(", ");
        client.batch_execute(&format!("DROP OWNED BY {names}; DROP ROLE {names}")).await.unwrap();
    }
}

/// The same URL for another user, whose password is `sesame`.
pub(crate) fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{user}:sesame@{host}/{path}")
}

/// Everything that `turnstile run` asks of the database: what it looks at before it loads, logins and dead letters, the
/// same again as repeats and with their claims forgotten, keys that are claimed, taken and contradicted.
pub(crate) async fn do_all_that_a_loader_does(roles: &Roles, name: &str) -> Result<(), DatabaseError> {
    let loader = database(&roles.loader_url);
    loader.schema_version().await?;
    let snapshot = loader.begin_snapshot().await?;
    TableFacts::read(&snapshot).await?;
    Positions::read(&snapshot).await?;
    snapshot.rollback().await?;
    keys::registered(&loader).await?;
    let (destination, token) = (destination(&loader, 1), CancellationToken::new());
    for scheme in ["message-id", SCHEME] {
        destination.introduce(&scheme.parse().unwrap(), &token).await.map_err(of_load)?;
    }
    destination.time_basis(TimeBasis::SentTimestamp, &token).await.map_err(of_load)?;
    outbox::extend(&loader).await?;

    let owner = connect(&roles.owner_url).await;
    let plain = || batch(&judge(), [message(&format!("{name} login"), &login("u", "ios"), 1)]);
    for _ in 0..2 {
        for batch in [plain(), letter(name), plain()] {
            loads(&loader, batch).await?;
        }
        let mut traced = message(&format!("{name} traced"), &login("u", "ios"), 1);
        traced.producer = ProducerContext::of_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        loads(&loader, batch(&judge(), [traced])).await?;
        for user in ["nadia", "nadia", "omar"] {
            loads(&loader, keyed(name, user)).await?;
        }
        owner.batch_execute("DELETE FROM processed_messages").await.unwrap();
    }
    Ok(())
}

async fn loads(loader: &Database, batch: Batch) -> Result<(), DatabaseError> {
    // Nobody need be waited for to know whose fault it is.
    let mut destination = destination(loader, 1);
    destination.lone_attempts = 1;
    load_into(&destination, batch, &CancellationToken::new()).await.map(drop).map_err(of_load)
}

fn of_load(error: LoadError) -> DatabaseError {
    match error {
        LoadError::Stopped(error) => error,
        LoadError::GaveUp => panic!("nobody told it to end"),
    }
}

/// A message that is not a login.
fn letter(name: &str) -> Batch {
    batch(&judge(), [message(&format!("{name} letter"), "no login", 1)])
}

/// A login of this user under this key, in a message of its own.
fn keyed(event: &str, user: &str) -> Batch {
    static MESSAGES: AtomicU32 = AtomicU32::new(0);
    let number = MESSAGES.fetch_add(1, Ordering::Relaxed);
    let body = login(user, "ios").replacen('{', &format!(r#"{{"event_id":"{event}","#), 1);
    batch(&judge_of(SCHEME, QUEUE_ARN), [message(&format!("{event} {user} {number}"), &body, 1)])
}
