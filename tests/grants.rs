//! The roles of `deploy/grants.sql` can do what their commands do; and each privilege of the loader is needed, and named
//! where it is missing.

mod relays;

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
use turnstile::discard::{Becomes, change};
use turnstile::keys;
use turnstile::load::LoadError;
use turnstile::mask::MaskKind;
use turnstile::message::{Identity, MessageId, Original, ProducerContext, TimeBasis};
use turnstile::relay::again::{self, Bound, Change, ReplayError};
use turnstile::replay::Replay;
use turnstile::table::dead_letters;
use turnstile::table::facts::{Counting, Positions, TableFacts, partitions_of_outbox};
use turnstile::table::operator_actions::{self, Action, Said};
use turnstile::table::relay_failures::{Failure, InOrder, Retrying};
use turnstile::table::relay_refusals::Filter;
use turnstile::table::relay_sinks::SinkRecord;
use turnstile::table::relay_slot::Slot;
use turnstile::table::relay_status::OutboxStatus;
use turnstile::table::rights::{EXTEND_OUTBOX, EXTEND_PARTITIONS, FORGET_LOADERS, MIGRATIONS, Object, Right, needed};
use turnstile::table::{
    outbox, outbox_pruned, processed_messages, relay_chunks, relay_failures, relay_gaps, relay_marks, relay_refusals,
    relay_sinks, time_partitions,
};

pub(crate) use self::relays::{do_all_that_a_relay_does, do_all_that_an_operator_does_with_the_outbox};
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
        EXTEND_OUTBOX => "grants on extend_outbox",
        EXTEND_PARTITIONS => "grants on extend_partitions",
        FORGET_LOADERS | Object::Table("loaders") => "grants on loaders",
        Object::Table(MIGRATIONS) => "grants on the migrations",
        Object::Table("processed_messages") => "grants on processed_messages",
        Object::Table("identities") => "grants on identities",
        Object::Table("queues") => "grants on queues",
        Object::Table("user_logins") => "grants on user_logins",
        Object::Table("dead_letters") | Object::Function("take_requeued" | "resolve_requeued", _) => {
            "grants on dead_letters"
        }
        Object::Table("outbox") => "grants on outbox",
        Object::Table("turnstile_keys") => "grants on turnstile_keys",
        Object::Table("horizon") => "grants on horizon",
        Object::Table(other) | Object::Function(other, _) => panic!("{other} has no line"),
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
        sealer: keyring().body_sealer(),
        form: Form::Login,
        hash_key: keyring().shared_hash_key(),
        masker: keyring().masker(MaskKind::Seal),
        said: Said::by("alice"),
    };
    let replayed = replay.run(&dead_letters::Filter::default(), Some(10), |_| {}).await.unwrap();
    assert_eq!((replayed.replayed, replayed.absorbed, replayed.stay_open()), (1, 1, 1), "{replayed:?}");

    let snapshot = operator.begin_snapshot().await.unwrap();
    dead_letters::count(&snapshot, &dead_letters::Filter::default()).await.unwrap();
    let letters = dead_letters::newest(&snapshot, &dead_letters::Filter::default(), 10).await.unwrap();
    for letter in &letters {
        let (key, hash) = (letter.key, letter.key.hash);
        dead_letters::describe_body(&snapshot, key).await.unwrap();
        assert!(processed_messages::read(&snapshot, key).await.unwrap().is_some());
        assert_eq!(dead_letters::between(&snapshot, hash, hash, 2).await.unwrap(), [hash]);
    }
    snapshot.rollback().await.unwrap();
    let hashes: Vec<_> = letters.iter().map(|letter| letter.key.hash).collect();
    let said = Said::by("alice").because("a test");
    assert_eq!(change(&operator, &hashes, &said, Becomes::Discarded).await.unwrap().len(), 1);
    assert_eq!(change(&operator, &hashes, &said, Becomes::Open).await.unwrap().len(), 1);
    assert_eq!(change(&operator, &hashes, &said, Becomes::Discarded).await.unwrap().len(), 1);
    let revealer = database(&roles.revealer_url);
    assert!(revealer.schema_version().await.unwrap().is_some());
    for role in [&operator, &revealer] {
        let done =
            role.snapshot(async |seen| operator_actions::newest(seen, &Default::default(), 10).await).await.unwrap();
        assert_eq!(done.iter().filter(|done| done.action == Action::Discarded).count(), 2, "{done:?}");
    }
    let revealing = revealer.transaction(async |transaction| {
        operator_actions::say(transaction, &said).await?;
        dead_letters::reveal_body(transaction, letters[0].key).await
    });
    revealing.await.unwrap();
    let snapshot = revealer.begin_snapshot().await.unwrap();
    for letter in dead_letters::newest(&snapshot, &dead_letters::Filter::default(), 10).await.unwrap() {
        dead_letters::describe_body(&snapshot, letter.key).await.unwrap();
        processed_messages::read(&snapshot, letter.key).await.unwrap();
        dead_letters::between(&snapshot, letter.key.hash, letter.key.hash, 2).await.unwrap();
    }
    snapshot.rollback().await.unwrap();

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
    owner.batch_execute("ALTER TABLE turnstile.loaders RENAME TO of_another_version").await.unwrap();
    refused(&owner, "older ones than this file is for").await;
    owner.batch_execute("ALTER TABLE turnstile.of_another_version RENAME TO loaders").await.unwrap();
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

const KINDS: [&str; 7] = ["loader", "viewer", "operator", "revealer", "auditor", "analyst", "relay"];

/// The roles of `deploy/grants.sql` under names of their own (roles belong to a whole server, tests to a database), and one
/// that logs in in each.
pub(crate) struct Roles {
    owner_url: String,
    number: String,
    pub(crate) loader_url: String,
    pub(crate) viewer_url: String,
    pub(crate) operator_url: String,
    pub(crate) revealer_url: String,
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
        let [loader_url, viewer_url, operator_url, revealer_url, auditor_url, analyst_url, relay_url] = KINDS.map(of);
        let owner_url = url.to_owned();
        let roles = Self {
            owner_url,
            number,
            loader_url,
            viewer_url,
            operator_url,
            revealer_url,
            auditor_url,
            analyst_url,
            relay_url,
        };
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
    destination.time_basis(TimeBasis::SentTimestamp, &Identity::MessageId, &token).await.map_err(of_load)?;
    outbox::extend(&loader).await?;
    time_partitions::extend(&loader).await?;

    let owner = connect(&roles.owner_url).await;
    let plain = || batch(&judge(), [message(&format!("{name} login"), &login("u", "ios"), 1)]);
    for _ in 0..2 {
        for batch in [plain(), letter(name), plain(), sent_back(name)] {
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
        LoadError::GaveUp | LoadError::NoSentTimestamp => panic!("nobody told it to end"),
    }
}

/// A message that is not a login.
fn letter(name: &str) -> Batch {
    batch(&judge(), [message(&format!("{name} letter"), "no login", 1)])
}

/// The message of that letter as an operator has sent it back, edited to a login.
fn sent_back(name: &str) -> Batch {
    let mut message = message(&format!("{name} sent back"), &login("u", "ios"), 1);
    let first = &message.delivery;
    let (message_id, sent_at) = (MessageId::new(format!("{name} letter")), first.sent_at.time());
    let note = judge().identifier.requeue_note(&Original { message_id, sent_at }, &message.body, &message.attributes);
    message.requeued = Some(note);
    batch(&judge(), [message])
}

/// A login of this user under this key, in a message of its own.
fn keyed(event: &str, user: &str) -> Batch {
    static MESSAGES: AtomicU32 = AtomicU32::new(0);
    let number = MESSAGES.fetch_add(1, Ordering::Relaxed);
    let body = login(user, "ios").replacen('{', &format!(r#"{{"event_id":"{event}","#), 1);
    batch(&judge_of(SCHEME, QUEUE_ARN), [message(&format!("{event} {user} {number}"), &body, 1)])
}
