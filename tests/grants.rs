//! The roles of `deploy/grants.sql` can do what the loader and the operator do, and nothing more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use turnstile::audit::audit;
use turnstile::batch::{Batch, Sorted};
use turnstile::load::LoadError;
use turnstile::mask::MaskKind;
use turnstile::message::{
    Attributes, Delivery, Identity, MessageId, QueueIdentity, RawBody, ReceiptHandle, ReceivedMessage, SentAt,
};
use turnstile::table::dead_letters::{self, Filter, Status};
use turnstile::table::{outbox, processed_messages, user_logins};
use turnstile::verdict::Judge;

use crate::check::{Installation, database, migrate, with_options};
use crate::support::loading::load;
use crate::support::postgres::{TestDatabase, connect};
use crate::support::verdicts::{QUEUE_ARN, SENT_AT, keyring};

const LOGIN: &str = r#"{"user_id":"u1","app_version":"2.3.0","device_type":"android","ip":"199.172.111.135","locale":"RU","device_id":"593-47-5928"}"#;

#[tokio::test]
async fn a_role_with_the_documented_grants_loads_and_reads_nothing_personal() {
    let (test, roles) = granted().await;
    loads_in_every_way(&roles, "first").await.unwrap();

    let loader = connect(&roles.url_of_loader()).await;
    for forbidden in [
        "SELECT user_id FROM user_logins",
        "SELECT masked_ip FROM user_logins",
        "SELECT masked_device_id FROM user_logins",
        "SELECT * FROM user_logins",
        "SELECT sealed_body FROM dead_letters",
        "SELECT user_id FROM outbox",
        "SELECT masked_ip FROM outbox",
        "SELECT masked_device_id FROM outbox",
        "UPDATE processed_messages SET outcome = 'loaded'",
        "DELETE FROM processed_messages",
        "DELETE FROM user_logins",
        "DELETE FROM dead_letters",
        "TRUNCATE outbox",
        "DROP TABLE outbox",
    ] {
        refused(&loader, forbidden).await;
    }
    let checked = Installation::new(&roles.url_of_loader()).await.check(&[]).await;
    assert_eq!(checked.level("least privilege"), "ok", "{}", checked.stdout);
    roles.drop(test).await;
}

#[tokio::test]
async fn each_grant_of_the_loader_is_needed_and_a_missing_one_is_named_with_what_mends_it() {
    let (test, roles) = granted().await;
    let installation = Installation::new(&roles.url_of_loader()).await;
    let owner = connect(&roles.url).await;
    for (number, (table, privilege)) in [
        ("processed_messages", "INSERT"),
        ("processed_messages", "SELECT (message_hash)"),
        ("processed_messages", "SELECT (second_hash)"),
        ("processed_messages", "SELECT (claimed_before_v6)"),
        ("processed_messages", "SELECT (first_message_id)"),
        ("processed_messages", "SELECT (body_hash)"),
        ("processed_messages", "SELECT (sent_at)"),
        ("user_logins", "INSERT"),
        ("user_logins", "SELECT (message_hash)"),
        ("user_logins", "SELECT (message_sent_at)"),
        ("dead_letters", "INSERT"),
        ("dead_letters", "SELECT (message_hash)"),
        ("outbox", "INSERT"),
    ]
    .into_iter()
    .enumerate()
    {
        let loader = &roles.loader;
        owner.batch_execute(&format!("REVOKE {privilege} ON {table} FROM {loader}")).await.unwrap();
        let ended = loads_in_every_way(&roles, &format!("without {number}")).await;
        assert!(matches!(ended, Err(LoadError::Stopped(error)) if error.sqlstate() == Some("42501")), "{privilege}");

        let checked = installation.check(&[]).await;
        let line = checked.line(&format!("grants on {table}"));
        assert!(line.starts_with("error") && line.contains(&format!("lacks {privilege}")), "{line}");
        let (_, way_out) = line.split_once(" → ").unwrap();
        let (grant, _) = way_out.split_once(" (deploy/grants.sql").unwrap();
        owner.batch_execute(grant).await.unwrap();
        loads_in_every_way(&roles, &format!("with {number}")).await.unwrap();
    }

    owner.batch_execute(&format!("REVOKE SELECT ON refinery_schema_history FROM {}", roles.loader)).await.unwrap();
    let checked = installation.check(&[]).await;
    assert_eq!((checked.level("tables"), checked.level("grants on the migrations")), ("error", "error"));
    assert_eq!(checked.level("grants on outbox"), "ok", "the other grants are looked at all the same");
    drop(owner);
    roles.drop(test).await;
}

#[tokio::test]
async fn row_level_security_which_forbids_copy_is_loaded_under() {
    let (test, roles) = granted().await;
    let owner = connect(&roles.url).await;
    for table in ["user_logins", "outbox"] {
        let secure = format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON {table} USING (true) WITH CHECK (true)"
        );
        owner.batch_execute(&secure).await.unwrap();
    }
    loads_in_every_way(&roles, "secured").await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM user_logins), (SELECT count(*) FROM outbox)";
    let row = owner.query_one(counts, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
    drop(owner);
    roles.drop(test).await;
}

#[tokio::test]
async fn a_role_that_may_read_what_it_writes_is_warned_of() {
    let (test, roles) = granted().await;
    let owner = connect(&roles.url).await;
    owner.batch_execute(&format!("GRANT SELECT (masked_ip) ON user_logins TO {}", roles.loader)).await.unwrap();
    let checked = Installation::new(&roles.url_of_loader()).await.check(&[]).await;
    let line = checked.line("least privilege");
    assert!(line.starts_with("warning") && line.contains("user_logins.masked_ip"), "{line}");
    assert!(!line.contains("masked_device_id"), "{line}");
    drop(owner);
    roles.drop(test).await;
}

#[tokio::test]
async fn the_operator_replays_and_audits_and_can_neither_read_logins_nor_delete() {
    let (test, roles) = granted().await;
    loads_in_every_way(&roles, "before").await.unwrap();

    let operator = database(&roles.url_of_operator());
    let transaction = operator.begin().await.unwrap();
    let hashes = dead_letters::next(&transaction, &Filter::default(), None, 10).await.unwrap();
    dead_letters::lock(&transaction).await.unwrap();
    assert_eq!(dead_letters::read_open(&transaction, &hashes).await.unwrap().len(), 1);
    assert_eq!(dead_letters::count(&transaction, &Filter::default()).await.unwrap().len(), 1);
    assert_eq!(dead_letters::newest(&transaction, &Filter::default(), 10).await.unwrap().len(), 1);
    dead_letters::body(&transaction, hashes[0]).await.unwrap();
    assert!(processed_messages::read(&transaction, hashes[0]).await.unwrap().is_some());
    let (login, _) = batches("replayed");
    let rows: Vec<_> = login.entries().iter().filter_map(|entry| entry.login_row()).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(processed_messages::mark_loaded(&transaction, &hashes).await.unwrap().len(), 1);
    assert_eq!(user_logins::insert(&transaction, &rows).await.unwrap().len(), 1);
    outbox::insert(&transaction, &rows).await.unwrap();
    dead_letters::resolve(&transaction, &hashes, Status::Replayed, "alice").await.unwrap();
    transaction.commit().await.unwrap();
    audit(&operator, Duration::from_secs(60), |_| {}).await.unwrap();

    let client = connect(&roles.url_of_operator()).await;
    client.batch_execute("SELECT message_hash FROM user_logins; SELECT event_id FROM outbox").await.unwrap();
    for forbidden in [
        "SELECT masked_ip FROM user_logins",
        "SELECT masked_ip FROM outbox",
        "DELETE FROM dead_letters",
        "DELETE FROM user_logins",
        "UPDATE dead_letters SET sealed_body = ''",
        "UPDATE processed_messages SET body_hash = ''",
        "INSERT INTO processed_messages DEFAULT VALUES",
    ] {
        refused(&client, forbidden).await;
    }
    drop(client);
    drop(operator);
    roles.drop(test).await;
}

async fn granted() -> (TestDatabase, Roles) {
    let database = TestDatabase::empty().await;
    migrate(database.url()).await;
    let roles = Roles::granted(database.url()).await;
    (database, roles)
}

async fn refused(client: &Client, statement: &str) {
    let error = client.batch_execute(statement).await.expect_err(statement);
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
}

/// The roles of `deploy/grants.sql` under names of their own: roles belong to a whole server, tests to a database.
pub(crate) struct Roles {
    url: String,
    loader: String,
    operator: String,
}

static ROLES: AtomicU32 = AtomicU32::new(0);

impl Roles {
    /// Executes the file, twice: it may be run as often as one likes.
    pub(crate) async fn granted(url: &str) -> Self {
        let number = format!("{}_{}", std::process::id(), ROLES.fetch_add(1, Ordering::Relaxed));
        let (loader, operator) = (format!("test_loader_{number}"), format!("test_operator_{number}"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grants.sql");
        let grants = std::fs::read_to_string(path).unwrap();
        let grants = grants.replace("turnstile_loader", &loader).replace("turnstile_operator", &operator);
        let client = connect(url).await;
        client.batch_execute(&grants).await.unwrap();
        client.batch_execute(&grants).await.unwrap();
        Self { url: url.to_owned(), loader, operator }
    }

    pub(crate) fn url_of_loader(&self) -> String {
        with_options(&self.url, &format!("-c role={}", self.loader))
    }

    fn url_of_operator(&self) -> String {
        with_options(&self.url, &format!("-c role={}", self.operator))
    }

    /// Removes the roles before the database, which would keep them.
    async fn drop(self, database: TestDatabase) {
        let Self { url, loader, operator } = self;
        let client = connect(&url).await;
        let drop_roles = format!("DROP OWNED BY {loader}, {operator}; DROP ROLE {loader}, {operator}");
        client.batch_execute(&drop_roles).await.unwrap();
        drop(client);
        drop(database);
    }
}

/// Loads a login and a dead letter, the same again as repeats, and again as if their claims were gone: by then every
/// statement of the loader's transaction has run.
async fn loads_in_every_way(roles: &Roles, name: &str) -> Result<(), LoadError> {
    let loader = database(&roles.url_of_loader());
    let owner = connect(&roles.url).await;
    for _ in 0..2 {
        for batch in [batches(name).0, batches(name).1, batches(name).0] {
            load(&loader, batch, 1).await?;
        }
        owner.batch_execute("DELETE FROM processed_messages").await.unwrap();
    }
    let (login, letter) = batches(name);
    load(&loader, login, 1).await?;
    load(&loader, letter, 1).await?;
    let count = "SELECT count(*) FROM dead_letters WHERE status = 'open'";
    assert!(owner.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0);
    Ok(())
}

/// A batch of one login, and one of one dead letter.
fn batches(name: &str) -> (Batch, Batch) {
    let keyring = keyring();
    let judge = Judge {
        identifier: keyring.identifier(Identity::MessageId, &QueueIdentity::new(QUEUE_ARN)),
        masker: keyring.masker(MaskKind::Seal),
        sealer: keyring.body_sealer(),
    };
    let batch_of = |id: &str, body: &str| {
        let delivery = Delivery {
            message_id: MessageId::new(format!("{name} {id}")),
            receipt: ReceiptHandle::new("handle"),
            sent_at: SentAt::Queue(SENT_AT),
            received_at: SENT_AT,
            receive_count: 1,
        };
        let message = ReceivedMessage { delivery, body: RawBody::new(body), attributes: Attributes::default() };
        Sorted::from_verdicts([judge.judge(message)], 1).batch
    };
    (batch_of("login", LOGIN), batch_of("letter", "no login"))
}
