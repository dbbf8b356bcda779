//! Attacks: the password of one role, or an account of the server and no role at all, leads no further than
//! `deploy/grants.sql` says.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::check::{Installation, database, migrate};
use crate::grants::{
    Roles, as_user, do_all_that_a_loader_does, do_all_that_a_relay_does, do_all_that_an_operator_does,
    do_all_that_an_operator_does_with_the_outbox, granted,
};
use crate::support::loading;
use crate::support::postgres::{TestDatabase, connect};

/// Statements that nobody but the owner may run.
const OF_NOBODY: [&str; 62] = [
    "DELETE FROM turnstile.replay_plans",
    "UPDATE turnstile.replay_plans SET role = 'bob'",
    "INSERT INTO turnstile.replay_plans (role, meant, force, edits) VALUES ('bob', 'all', false, '{}')",
    "DELETE FROM turnstile.replay_plan_letters",
    "UPDATE turnstile.replay_plan_letters SET message_hash = ''",
    "INSERT INTO turnstile.dead_letter_revisions (sent_at) VALUES (now())",
    "SELECT sealed_body FROM turnstile.dead_letter_revisions",
    "UPDATE turnstile.dead_letter_revisions SET sealed_body = '', role = 'bob'",
    "DELETE FROM turnstile.processed_messages",
    "DELETE FROM turnstile.identities",
    "DELETE FROM public.user_logins",
    "DELETE FROM turnstile.dead_letters",
    "DELETE FROM turnstile.outbox",
    "DELETE FROM turnstile.queues",
    "TRUNCATE turnstile.processed_messages",
    "TRUNCATE turnstile.outbox",
    "TRUNCATE public.user_logins",
    "DROP TABLE turnstile.outbox",
    "SELECT 1; LOCK TABLE turnstile.processed_messages IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM turnstile.outbox",
    "SELECT body_hash FROM turnstile.processed_messages",
    "UPDATE turnstile.processed_messages SET body_hash = ''",
    "UPDATE turnstile.identities SET owner = ''",
    "UPDATE public.user_logins SET user_id = 'mallory'",
    "UPDATE turnstile.outbox SET user_id = 'mallory'",
    "UPDATE turnstile.dead_letters SET sealed_body = ''",
    "UPDATE turnstile.turnstile_keys SET check_value = ''",
    "INSERT INTO turnstile.turnstile_keys (key_id, purpose, check_value) VALUES ('k', 'hash', '')",
    "UPDATE turnstile.horizon SET retained_since = now()",
    "SELECT setval('turnstile.outbox_position_seq', 1)",
    "INSERT INTO turnstile.outbox (event_id, message_sent_at, position) VALUES ('', now(), 9223372036854775807)",
    "INSERT INTO turnstile.outbox (event_id, message_sent_at, position) OVERRIDING SYSTEM VALUE SELECT '', now(), generate_series(3, 5000)",
    "INSERT INTO turnstile.dead_letters (message_hash, sent_at, status, resolved_by) VALUES ('', now(), 'discarded', 'alice')",
    "CREATE TABLE turnstile.mine ()",
    "CREATE TRIGGER t BEFORE INSERT ON public.user_logins EXECUTE FUNCTION turnstile.keep_horizon()",
    "UPDATE turnstile.refinery_schema_history SET version = 99",
    "DELETE FROM turnstile.relay_sinks",
    "TRUNCATE turnstile.relay_marks",
    "DROP TABLE turnstile.relay_gaps",
    "INSERT INTO turnstile.outbox_pruned (below, partition) VALUES (10000000, 'outbox_0')",
    "UPDATE turnstile.outbox_pruned SET below = 0",
    "DELETE FROM turnstile.outbox_pruned",
    "ALTER TABLE turnstile.outbox DETACH PARTITION turnstile.outbox_0",
    "UPDATE turnstile.relay_marks SET position = 0",
    "UPDATE turnstile.relay_chunks SET first_position = last_position",
    "UPDATE turnstile.relay_gaps SET first_position = last_position",
    "UPDATE turnstile.relay_failures SET event_id = ''",
    "INSERT INTO turnstile.relay_chunks (id) OVERRIDING SYSTEM VALUE VALUES (1)",
    "SELECT setval('turnstile.relay_chunks_id_seq', 1)",
    "SELECT sealed_body FROM turnstile.dead_letters",
    "UPDATE turnstile.dead_letters SET resolved_by = 'mallory'",
    "INSERT INTO turnstile.operator_actions (action, letters) VALUES ('taken', 1)",
    "UPDATE turnstile.operator_actions SET role = 'mallory'",
    "DELETE FROM turnstile.operator_actions",
    "TRUNCATE turnstile.operator_actions",
    "SELECT turnstile.note_action('taken', NULL, NULL, 1)",
    "DELETE FROM turnstile.loaders",
    "TRUNCATE turnstile.loaders",
    "INSERT INTO turnstile.loader_pauses (reason) VALUES ('mallory')",
    "UPDATE turnstile.loader_pauses SET role = 'mallory'",
    "DELETE FROM turnstile.loader_pauses",
    "SELECT turnstile.note_receiving('paused', NULL, NULL)",
];

/// Statements that an operator may run, and nobody else but the owner.
const OF_OPERATORS: [&str; 3] = [
    "SELECT * FROM turnstile.export_letters('{}', '{}')",
    "SELECT * FROM turnstile.import_letters('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "SELECT turnstile.note_queue('a', 'content', 'none')",
];

/// Statements that a relay may run, and nobody else but the owner.
const OF_RELAYS: [&str; 13] = [
    "SELECT masked_ip FROM turnstile.outbox",
    "SELECT user_id FROM turnstile.outbox",
    "SELECT id FROM turnstile.relay_chunks",
    "INSERT INTO turnstile.relay_sinks (sink, target, cluster_id) VALUES ('s', 't', 1)",
    "INSERT INTO turnstile.relay_marks (sink, slot, position) VALUES ('s', 0, 1)",
    "INSERT INTO turnstile.relay_gaps (sink, slot, first_position, last_position, writers) VALUES ('s', 0, 1, 2, '{}')",
    "INSERT INTO turnstile.relay_failures (sink, position, event_id, code, next_at)
     VALUES ('s', 1, decode(repeat('00', 32), 'hex'), 'c', now())",
    "UPDATE turnstile.relay_sinks SET target = 'u'",
    "UPDATE turnstile.relay_gaps SET writers = '{}'",
    "DELETE FROM turnstile.relay_marks",
    "DELETE FROM turnstile.relay_chunks",
    "DELETE FROM turnstile.relay_gaps",
    "DELETE FROM turnstile.relay_failures",
];

/// Statements that a relay and an operator may run, and nobody else but the owner.
const OF_RELAYS_AND_OPERATORS: [&str; 8] = [
    "SELECT created_at FROM turnstile.outbox",
    "SELECT sink FROM turnstile.relay_sinks",
    "SELECT position FROM turnstile.relay_marks",
    "SELECT attempts FROM turnstile.relay_chunks",
    "SELECT writers FROM turnstile.relay_gaps",
    "SELECT status FROM turnstile.relay_failures",
    "INSERT INTO turnstile.relay_chunks (sink, slot, first_position, last_position, lease, leased_until)
     VALUES ('s', 0, 1, 2, gen_random_uuid(), now())",
    "UPDATE turnstile.relay_failures SET status = 'waiting'",
];

#[tokio::test]
async fn no_role_gets_further_than_its_grants() {
    let (test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "victim").await.unwrap();
    for (url, forbidden) in [
        (
            &roles.loader_url,
            &[
                "SELECT user_id FROM public.user_logins",
                "SELECT masked_ip FROM public.user_logins",
                "SELECT * FROM public.user_logins",
                "SELECT sealed_body FROM turnstile.dead_letters",
                "SELECT * FROM turnstile.dead_letters",
                "UPDATE turnstile.dead_letters SET status = 'discarded'",
                "INSERT INTO turnstile.processed_messages (processed_at) VALUES ('2001-01-01')",
                "INSERT INTO turnstile.queues (arn, scheme, since) VALUES ('a', 'content', '2001-01-01')",
                "INSERT INTO turnstile.dead_letters (message_hash, sent_at, resolved_at) VALUES ('', now(), now())",
                "INSERT INTO turnstile.dead_letters (message_hash, sent_at, dead_lettered_at) VALUES ('', now(), now())",
            ][..],
        ),
        (
            &roles.viewer_url,
            &[
                "SELECT user_id FROM public.user_logins",
                "SELECT message_hash FROM public.user_logins",
                "SELECT message_id FROM turnstile.processed_messages",
                "SELECT hash FROM turnstile.identities",
                "SELECT check_value FROM turnstile.turnstile_keys",
                "SELECT turnstile.describe_body(now(), '')",
                "SELECT turnstile.reveal_body(now(), '')",
                "SELECT * FROM turnstile.take_bodies('{}', '{}')",
                "SELECT turnstile.set_status('{}', '{}', 'open', 'discarded')",
                "UPDATE turnstile.dead_letters SET status = 'discarded'",
                "UPDATE turnstile.processed_messages SET outcome = 'loaded'",
                "INSERT INTO public.user_logins (user_id) VALUES ('mallory')",
                "INSERT INTO turnstile.queues (arn, scheme) VALUES ('a', 'content')",
                "UPDATE turnstile.relay_failures SET status = 'waiting'",
                "INSERT INTO turnstile.relay_chunks (sink) VALUES ('s')",
                "SELECT nextval('turnstile.outbox_position_seq')",
                "SELECT turnstile.extend_outbox()",
                "SELECT turnstile.pause_receiving(NULL, NULL)",
                "SELECT turnstile.note_code('invalid_ip')",
                "SELECT turnstile.resume_receiving(NULL, NULL)",
                "SELECT turnstile.forget_loaders()",
                "UPDATE turnstile.loaders SET state = 'running'",
            ],
        ),
        (
            &roles.operator_url,
            &[
                "SELECT user_id FROM public.user_logins",
                "SELECT masked_ip FROM public.user_logins",
                "SELECT message_id FROM turnstile.processed_messages",
                "UPDATE turnstile.dead_letters SET code = 'x'",
                "UPDATE turnstile.dead_letters SET status = 'replayed'",
                "SELECT turnstile.reveal_body(now(), '')",
                "UPDATE turnstile.processed_messages SET message_hash = ''",
                "INSERT INTO turnstile.processed_messages DEFAULT VALUES",
                "INSERT INTO turnstile.dead_letters (message_hash) VALUES ('')",
                "INSERT INTO turnstile.queues (arn, scheme) VALUES ('a', 'content')",
                "UPDATE turnstile.queues SET scheme = 'content'",
                "SELECT turnstile.extend_outbox()",
                "SELECT user_id FROM turnstile.outbox",
                "SELECT lease FROM turnstile.relay_chunks",
                "UPDATE turnstile.relay_chunks SET leased_until = now()",
                "INSERT INTO turnstile.relay_chunks (sink, owner) VALUES ('s', 'me')",
                "UPDATE turnstile.relay_failures SET code = 'c'",
                "UPDATE turnstile.relay_sinks SET target = 'u'",
                "INSERT INTO turnstile.outbox_pruned (below, partition, written_until) VALUES (9, 'outbox_0', now())",
            ],
        ),
        (
            &roles.revealer_url,
            &[
                "SELECT user_id FROM public.user_logins",
                "SELECT * FROM turnstile.take_bodies('{}', '{}')",
                "UPDATE turnstile.dead_letters SET status = 'discarded'",
                "SELECT turnstile.set_status('{}', '{}', 'open', 'discarded')",
                "UPDATE turnstile.processed_messages SET outcome = 'loaded'",
                "INSERT INTO public.user_logins (user_id) VALUES ('mallory')",
                "SELECT hash FROM turnstile.identities",
                "SELECT check_value FROM turnstile.turnstile_keys",
            ],
        ),
        (
            &roles.auditor_url,
            &[
                "SELECT reason FROM turnstile.operator_actions",
                "SELECT turnstile.describe_body(now(), '')",
                "SELECT user_id FROM public.user_logins",
                "SELECT sealed_body FROM turnstile.dead_letters",
                "SELECT detail FROM turnstile.dead_letters",
                "SELECT login_hash FROM turnstile.identities",
                "SELECT message_id FROM turnstile.processed_messages",
                "SELECT arn FROM turnstile.queues",
                "SELECT check_value FROM turnstile.turnstile_keys",
                "UPDATE turnstile.processed_messages SET outcome = 'loaded'",
                "UPDATE turnstile.dead_letters SET status = 'open'",
                "INSERT INTO public.user_logins (user_id) VALUES ('mallory')",
                "SELECT nextval('turnstile.outbox_position_seq')",
                "SELECT turnstile.extend_outbox()",
            ],
        ),
        (
            &roles.analyst_url,
            &[
                "SELECT message_hash FROM public.user_logins",
                "SELECT message_sent_at FROM public.user_logins",
                "SELECT * FROM public.user_logins",
                "INSERT INTO public.user_logins (user_id) VALUES ('mallory')",
                "SELECT event_id FROM turnstile.outbox",
                "SELECT message_hash FROM turnstile.processed_messages",
                "SELECT retained_since FROM turnstile.horizon",
                "SELECT turnstile.extend_outbox()",
            ],
        ),
        (
            &roles.relay_url,
            &[
                "SELECT user_id FROM public.user_logins",
                "SELECT message_hash FROM public.user_logins",
                "SELECT message_sent_at FROM turnstile.outbox",
                "SELECT sealed_body FROM turnstile.dead_letters",
                "SELECT code FROM turnstile.dead_letters",
                "SELECT message_hash FROM turnstile.processed_messages",
                "SELECT hash FROM turnstile.identities",
                "SELECT arn FROM turnstile.queues",
                "SELECT check_value FROM turnstile.turnstile_keys",
                "SELECT retained_since FROM turnstile.horizon",
                "INSERT INTO public.user_logins (user_id) VALUES ('mallory')",
                "INSERT INTO turnstile.outbox (event_id, message_sent_at) VALUES ('', now())",
                "UPDATE turnstile.outbox SET event_id = ''",
                "INSERT INTO turnstile.dead_letters (message_hash) VALUES ('')",
                "SELECT 1; LOCK TABLE turnstile.outbox IN ROW EXCLUSIVE MODE",
                "SELECT nextval('turnstile.outbox_position_seq')",
                "SELECT turnstile.extend_outbox()",
                "SELECT event_id FROM turnstile.relay_failures",
            ],
        ),
    ] {
        let client = connect(url).await;
        for forbidden in OF_NOBODY.iter().chain(forbidden) {
            refused(&client, forbidden).await;
        }
    }
    for url in [
        &roles.loader_url,
        &roles.viewer_url,
        &roles.operator_url,
        &roles.revealer_url,
        &roles.auditor_url,
        &roles.analyst_url,
    ] {
        let client = connect(url).await;
        for of_relays in OF_RELAYS {
            refused(&client, of_relays).await;
        }
    }
    for url in [&roles.loader_url, &roles.revealer_url, &roles.auditor_url, &roles.analyst_url] {
        let client = connect(url).await;
        for of_both in OF_RELAYS_AND_OPERATORS {
            refused(&client, of_both).await;
        }
    }
    for url in [
        &roles.loader_url,
        &roles.viewer_url,
        &roles.revealer_url,
        &roles.auditor_url,
        &roles.analyst_url,
        &roles.relay_url,
    ] {
        let client = connect(url).await;
        for of_operators in OF_OPERATORS {
            refused(&client, of_operators).await;
        }
    }
    let may_run = async |url: &str, all: &[&str]| {
        let client = connect(url).await;
        for may in all {
            client.batch_execute(may).await.unwrap_or_else(|error| panic!("{may}: {error:?}"));
        }
    };
    may_run(&roles.operator_url, &OF_OPERATORS).await;
    may_run(&roles.operator_url, &OF_RELAYS_AND_OPERATORS).await;
    may_run(&roles.relay_url, &OF_RELAYS_AND_OPERATORS).await;
    may_run(&roles.relay_url, &OF_RELAYS).await;
    roles.drop().await;
    drop(test);
}

/// Fails unless the server refuses the statement for want of a privilege.
async fn refused(client: &Client, statement: &str) {
    let error = client.batch_execute(statement).await.expect_err(statement);
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
}

#[tokio::test]
async fn a_row_that_no_message_brought_cannot_be_passed_off_as_an_older_one() {
    let (test, roles) = granted().await;
    let loader = connect(&roles.loader_url).await;
    for columns in ["user_id", "user_id, message_hash", "user_id, message_sent_at"] {
        let values =
            columns.replace("user_id", "'mallory'").replace("message_hash", "''").replace("message_sent_at", "now()");
        let forged = format!("INSERT INTO public.user_logins ({columns}) VALUES ({values})");
        let error = loader.batch_execute(&forged).await.expect_err(&forged);
        assert_eq!(error.code(), Some(&SqlState::NOT_NULL_VIOLATION), "{forged}");
    }
    drop(loader);
    roles.drop().await;
    drop(test);
}

/// An account of the server that has no role of Turnstile, and one that will own the tables.
struct Accounts {
    owner: String,
    stranger: String,
    admin: Client,
    test: TestDatabase,
}

static ACCOUNTS: AtomicU32 = AtomicU32::new(0);

impl Accounts {
    async fn new() -> Self {
        let test = TestDatabase::empty().await;
        let admin = connect(test.url()).await;
        let number = format!("{}_{}", std::process::id(), ACCOUNTS.fetch_add(1, Ordering::Relaxed));
        let (owner, stranger) = (format!("test_owner_{number}"), format!("test_mallory_{number}"));
        let accounts = Self { owner, stranger, admin, test };
        let Self { owner, stranger, .. } = &accounts;
        // Who may create in public is what PostgreSQL 14 and older, and what was upgraded from them, grant by default.
        let make = format!(
            "CREATE ROLE {owner} LOGIN PASSWORD 'sesame'; CREATE ROLE {stranger} LOGIN PASSWORD 'sesame';
             GRANT CREATE ON SCHEMA public TO PUBLIC"
        );
        accounts.admin.batch_execute(&make).await.unwrap();
        accounts.may_create(owner).await;
        accounts
    }

    /// Lets an account make schemas.
    async fn may_create(&self, role: &str) {
        let grant =
            format!("DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$");
        self.admin.batch_execute(&grant).await.unwrap();
    }

    fn url(&self, role: &str) -> String {
        as_user(self.test.url(), role)
    }

    async fn as_stranger(&self, sql: &str) {
        connect(&self.url(&self.stranger)).await.batch_execute(sql).await.unwrap();
    }

    async fn drop(self) {
        let Self { owner, stranger, admin, test } = self;
        admin
            .batch_execute(&format!("DROP OWNED BY {owner}, {stranger} CASCADE; DROP ROLE {owner}, {stranger}"))
            .await
            .unwrap();
        drop((admin, test));
    }
}

/// Functions, by name and arguments, with what they return: better matches for the arguments of our statements than
/// PostgreSQL's own, where these take any type.
const PLANTED: [(&str, &str, &str); 11] = [
    ("unnest", "bytea[]", "SETOF bytea"),
    ("unnest", "text[]", "SETOF text"),
    ("unnest", "timestamptz[]", "SETOF timestamptz"),
    ("concat_ws", "text, name, text", "text"),
    ("concat_ws", "text, text, text", "text"),
    ("format", "text, name, name", "text"),
    ("format", "text, text, text", "text"),
    ("encode", "bytea, text", "text"),
    ("pg_advisory_xact_lock", "text", "void"),
    ("to_regclass", "varchar", "regclass"),
    ("octet_length", "varchar", "integer"),
];

const PLANTED_OPERATORS: [(&str, &str, &str, &str); 4] = [
    ("=", "oid", "regclass", "boolean"),
    ("*", "interval", "integer", "interval"),
    ("-", "bigint", "integer", "bigint"),
    ("||", "text", "name", "text"),
];

fn planted() -> String {
    let body = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a stranger''s function ran'; END $$";
    let function = |(name, arguments, gives): &(&str, &str, &str)| {
        format!("CREATE FUNCTION public.{name}({arguments}) RETURNS {gives} {body};")
    };
    let operator = |(at, (name, left, right, gives)): (usize, &(&str, &str, &str, &str))| {
        format!(
            "CREATE FUNCTION public.planted_{at}({left}, {right}) RETURNS {gives} {body};
             CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.planted_{at});"
        )
    };
    let aggregate = format!(
        "CREATE FUNCTION public.planted_state(bigint, bytea) RETURNS bigint {body};
         CREATE AGGREGATE public.count(bytea) (SFUNC = public.planted_state, STYPE = bigint, INITCOND = '0');"
    );
    PLANTED.iter().map(function).chain(PLANTED_OPERATORS.iter().enumerate().map(operator)).collect::<String>()
        + &aggregate
}

#[tokio::test]
async fn what_a_stranger_put_into_public_runs_for_nobody() {
    let accounts = Accounts::new().await;
    accounts.as_stranger(&planted()).await;
    let owner_url = accounts.url(&accounts.owner);
    migrate(&owner_url).await;
    let roles = Roles::made(accounts.test.url()).await;
    connect(&owner_url).await.batch_execute(&roles.grants()).await.unwrap();

    do_all_that_a_loader_does(&roles, "first").await.unwrap();
    do_all_that_a_relay_does(&roles, "first").await.unwrap();
    let owner = connect(accounts.test.url()).await;
    do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await.unwrap();
    do_all_that_an_operator_does(&roles).await;
    database(&roles.loader_url).end_frozen_rivals().await.unwrap();
    let installation = Installation::new(&roles.loader_url).await;
    let checked = installation.check(&[]).await;
    assert_eq!(checked.exit_code, 0, "{}", checked.stdout);
    assert!(checked.line("owners").starts_with("warning"), "{}", checked.stdout);

    let is_member = format!("SELECT pg_has_role('{}', '{}', 'MEMBER')", accounts.stranger, accounts.owner);
    assert!(!accounts.admin.query_one(&is_member, &[]).await.unwrap().get::<_, bool>(0));
    roles.drop().await;
    accounts.drop().await;
}

#[tokio::test]
async fn tables_that_a_stranger_made_first_are_refused_by_their_owner_s_name() {
    let accounts = Accounts::new().await;
    let Accounts { owner, stranger, .. } = &accounts;
    accounts.may_create(stranger).await;
    let standing =
        "CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                        masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date)";
    for planted in ["CREATE SCHEMA turnstile", standing] {
        accounts.as_stranger(planted).await;
        for url in [accounts.url(owner), accounts.test.url().to_owned()] {
            let refused = database(&url).migrate().await.unwrap_err().to_string();
            assert!(refused.contains(&format!("belongs to {stranger}")), "{planted}: {refused}");
        }
        accounts.admin.batch_execute(&format!("DROP OWNED BY {stranger} CASCADE")).await.unwrap();
        accounts.may_create(stranger).await;
        accounts.admin.batch_execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await.unwrap();
    }

    // A whole installation of theirs: with the owner's name on the schema, and theirs on the tables.
    loading::migrate(&database(&accounts.url(stranger))).await;
    accounts.admin.batch_execute(&format!("ALTER SCHEMA turnstile OWNER TO {owner}")).await.unwrap();
    let refused = database(&accounts.url(owner)).migrate().await.unwrap_err().to_string();
    assert!(refused.contains(&format!("belongs to {stranger}")), "{refused}");
    let installation = Installation::new(accounts.test.url()).await;
    let checked = installation.check(&[]).await;
    assert!(checked.line("owners").starts_with("error"), "{}", checked.stdout);
    let run = installation.run("run", &["--until-empty"]).await;
    assert!(run.exit_code == 1 && run.stderr.contains("owners: "), "{}", run.stderr);
    accounts.drop().await;
}
