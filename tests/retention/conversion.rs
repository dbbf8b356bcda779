//! A table that stands there is partitioned beside those who write and read it, and nobody but the tables notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use turnstile::retention::{ConvertError, Converted};

use super::*;

const PATIENT: Duration = Duration::from_secs(60);

async fn convert(tables: &Tables, period: Period) -> Result<Converted, ConvertError> {
    partition(&tables.database, period, PATIENT).await
}

async fn relkind(client: &Client, table: &str) -> String {
    let sql = "SELECT relkind::text FROM pg_class WHERE oid = $1::text::regclass";
    client.query_one(sql, &[&table]).await.unwrap().get(0)
}

/// Everything that is granted on a table and its columns, without who granted it.
async fn granted(client: &Client, table: &str) -> Vec<String> {
    let sql = "SELECT format('%s %s %s %s', a.grantee::regrole, a.privilege_type, a.is_grantable, a.column_name)
               FROM (SELECT (aclexplode(relacl)).*, '' AS column_name FROM pg_class WHERE oid = $1::text::regclass
                     UNION ALL
                     SELECT (aclexplode(attacl)).*, attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass) AS a
               ORDER BY 1";
    client.query(sql, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn loaders_go_on_while_their_tables_are_partitioned_under_them() {
    let tables = Tables::new().await;
    load_at(&tables, "before", super::month(0)).await;
    let (stop, loaded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let beside = {
        let (stop, loaded, beside) = (stop.clone(), loaded.clone(), Tables::at(&tables.url, PATIENT).await);
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let number = loaded.fetch_add(1, Ordering::SeqCst);
                load_at(&beside, &format!("user {number}"), now()).await;
            }
        })
    };
    let wait = async |more: u64| {
        let until = loaded.load(Ordering::SeqCst) + more;
        while loaded.load(Ordering::SeqCst) < until {
            assert!(!beside.is_finished(), "the loader ended");
            tokio::task::yield_now().await;
        }
    };
    wait(5).await;
    let done = convert(&tables, Period::Monthly).await.unwrap();
    assert_eq!(done.converted.iter().map(|(parent, _)| *parent).collect::<Vec<_>>(), Parent::OF_MESSAGES);
    assert!(done.made >= 4, "{done:?}");
    wait(5).await;
    stop.store(true, Ordering::SeqCst);
    beside.await.unwrap();
    let all = i64::try_from(loaded.load(Ordering::SeqCst)).unwrap() + 1;
    assert_eq!(tables.counts().await, [all, all, 0, all]);
    for table in ["turnstile.processed_messages", "public.user_logins"] {
        assert_eq!(relkind(&tables.client, table).await, "p");
    }
    tables.assert_promise().await;

    // A row that stands there already is no new one, also where rows are inserted one by one.
    let forget = "DELETE FROM processed_messages WHERE message_id = 'before'";
    tables.client.execute(forget, &[]).await.unwrap();
    load_at(&tables, "before", super::month(0)).await;
    assert_eq!(tables.counts().await, [all, all, 0, all]);

    let again = convert(&tables, Period::Daily).await.unwrap();
    assert_eq!(again.converted, []);
    let period = "partitioning WHERE period = 'daily' AND since IS NOT NULL";
    assert_eq!(tables.count(period).await, 2);
}

#[tokio::test]
async fn an_adopted_table_takes_its_views_grants_comments_and_indexes_along() {
    let test = crate::support::postgres::TestDatabase::empty().await;
    let client = connect(test.url()).await;
    let adopted = "CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
            masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date, note text DEFAULT 'n',
            number bigserial, CONSTRAINT no_toaster CHECK (device_type <> 'toaster'));
        COMMENT ON COLUMN public.user_logins.note IS 'what analysts say of it';
        CREATE INDEX by_user ON public.user_logins (user_id);
        CREATE UNIQUE INDEX by_number ON public.user_logins (number, create_date);
        INSERT INTO public.user_logins (user_id, create_date) SELECT 'old ' || n, '2024-01-01' FROM generate_series(1, 3) n;
        CREATE VIEW public.users WITH (security_barrier = true) AS SELECT DISTINCT user_id, note FROM public.user_logins;
        CREATE VIEW public.user_numbers AS SELECT count(*) AS number FROM public.users;";
    client.batch_execute(adopted).await.unwrap();
    let database = crate::support::postgres::pool(test.url(), 2, PATIENT);
    crate::support::loading::migrate(&database).await;
    let tables = Tables::at(test.url(), PATIENT).await;
    let role = format!("analyst_{:x}", rand::random::<u32>());
    let grants = format!(
        "CREATE ROLE {role}; GRANT SELECT ON public.users TO {role}; GRANT SELECT ON public.user_logins TO {role} WITH GRANT OPTION;
         GRANT UPDATE (note) ON public.user_logins TO {role}; GRANT SELECT ON public.user_logins TO PUBLIC"
    );
    tables.client.batch_execute(&grants).await.unwrap();
    let before = granted(&tables.client, "public.user_logins").await;

    convert(&tables, Period::Daily).await.unwrap();

    assert_eq!(granted(&tables.client, "public.user_logins").await, before);
    load_at(&tables, "new", now()).await;
    assert_eq!(users(&tables.client).await, ["old 1", "old 2", "old 3", "new"]);
    assert_eq!(
        tables.count("public.users WHERE user_id = 'new' AND note = 'n'").await,
        1,
        "a view sees what is loaded"
    );
    let number: i64 = tables.client.query_one("SELECT number FROM public.user_numbers", &[]).await.unwrap().get(0);
    assert_eq!(number, 4);
    let kept = "SELECT (SELECT reloptions::text FROM pg_class WHERE oid = 'public.users'::regclass),
                       has_table_privilege($1, 'public.users', 'SELECT'),
                       col_description('public.user_logins'::regclass, 8), obj_description('public.user_logins'::regclass),
                       (SELECT count(*) FROM pg_index WHERE indrelid = 'public.user_logins'::regclass AND indisvalid),
                       (SELECT max(number) FROM public.user_logins),
                       (SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.user_logins'::regclass AND conname = 'no_toaster'),
                       pg_get_serial_sequence('public.user_logins', 'number')";
    let row = tables.client.query_one(kept, &[&role]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "{security_barrier=true}");
    assert!(row.get::<_, bool>(1));
    assert_eq!(row.get::<_, &str>(2), "what analysts say of it");
    assert_eq!(row.get::<_, &str>(3), "One row per login, personal fields masked.");
    assert_eq!(row.get::<_, i64>(4), 3, "two of the analysts', and the key of the messages");
    assert_eq!((row.get::<_, i64>(5), row.get::<_, i64>(6)), (4, 1));
    assert_eq!(row.get::<_, &str>(7), "public.user_logins_number_seq");
    tables.assert_promise().await;
    let checked = tables.turnstile(&["retain", "--keep", "13months", "--without-sinks"]).await;
    checked.assert_said(0, &["no whole partition is older"]);
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    tables.client.batch_execute(&drop).await.unwrap();
}

#[tokio::test]
async fn what_would_not_go_along_is_named_and_nothing_is_touched() {
    for (sql, named) in [
        ("ALTER TABLE user_logins ADD COLUMN id bigserial PRIMARY KEY", "unique index user_logins_pkey"),
        ("ALTER TABLE user_logins ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY", "identity column id"),
        ("CREATE MATERIALIZED VIEW seen AS SELECT user_id FROM user_logins", "materialized view public.seen"),
        ("ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY", "row security enabled"),
        (
            "ALTER TABLE user_logins ALTER message_sent_at DROP NOT NULL, ALTER message_hash DROP NOT NULL;
             INSERT INTO user_logins (user_id) VALUES ('dateless')",
            "rows without create_date 1",
        ),
        ("CREATE PUBLICATION logins FOR TABLE user_logins", "publication logins"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER watch BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION f()",
            "trigger watch",
        ),
        ("CREATE RULE aside AS ON DELETE TO user_logins DO NOTHING", "rule aside"),
        (
            "CREATE FUNCTION all_of() RETURNS SETOF user_logins LANGUAGE sql AS 'SELECT * FROM public.user_logins'",
            "use of its row type function public.all_of()",
        ),
        (
            "ALTER TABLE user_logins ADD CONSTRAINT later CHECK (user_id <> '') NOT VALID",
            "constraint that is NOT VALID later",
        ),
        ("CREATE TABLE child () INHERITS (user_logins)", "inheritance public.child"),
        (
            "CREATE TABLE days (day date PRIMARY KEY); ALTER TABLE user_logins ADD FOREIGN KEY (create_date) REFERENCES days",
            "foreign key user_logins_create_date_fkey",
        ),
    ] {
        let tables = Tables::new().await;
        tables.client.batch_execute(&format!("SET search_path = public, turnstile; {sql}")).await.unwrap();
        let refused = convert(&tables, Period::Monthly).await.unwrap_err();
        assert!(refused.to_string().contains(named), "{named}: {refused}");
        assert!(!refused.remedy().is_empty());
        for table in ["turnstile.processed_messages", "public.user_logins"] {
            assert_eq!(relkind(&tables.client, table).await, "r", "{named}");
        }
        assert_eq!(tables.count("turnstile.partitioning").await, 0);
    }
}

#[tokio::test]
async fn one_who_holds_the_table_is_named_and_no_constraint_is_left_behind() {
    let tables = Tables::new().await;
    let mut analyst = connect(&tables.url).await;
    let looking = analyst.transaction().await.unwrap();
    looking.query("SELECT count(*) FROM user_logins", &[]).await.unwrap();
    let refused = partition(&tables.database, Period::Monthly, Duration::from_millis(400)).await.unwrap_err();
    assert!(matches!(&refused, ConvertError::Database(_) | ConvertError::InTheWay(Parent::UserLogins, _)), "{refused}");
    drop(looking);
    drop(analyst);
    let promised = "pg_constraint WHERE conname LIKE '%_first_partition'";
    assert_eq!(tables.count(promised).await, 0);
    convert(&tables, Period::Monthly).await.unwrap();
    assert_eq!(tables.count(promised).await, 0);
}

/// A process that dies between the promise and the swap leaves a constraint that would refuse rows one day.
#[tokio::test]
async fn what_was_prepared_and_given_up_is_taken_back_before_it_can_refuse_a_row() {
    let tables = Tables::new().await;
    let prepared = "ALTER TABLE public.user_logins ADD CONSTRAINT user_logins_first_partition
                        CHECK (create_date < current_date + 1) NOT VALID;
                    INSERT INTO turnstile.partitioning (parent, period, made_until)
                    VALUES ('user_logins', 'monthly', current_date + 1)";
    tables.client.batch_execute(prepared).await.unwrap();
    assert_eq!(turnstile::table::time_partitions::extend(&tables.database).await.unwrap(), 0);
    assert_eq!(tables.count("pg_constraint WHERE conname LIKE '%_first_partition'").await, 0);
    assert_eq!(tables.count("partitioning").await, 0);
    // One whose time has not come is left alone, and the next run builds on it.
    tables.client.batch_execute(&prepared.replace("+ 1", "+ 20")).await.unwrap();
    assert_eq!(turnstile::table::time_partitions::extend(&tables.database).await.unwrap(), 0);
    assert_eq!(tables.count("partitioning").await, 1);
    convert(&tables, Period::Monthly).await.unwrap();
    load_at(&tables, "new", now()).await;
    tables.assert_promise().await;
}

#[tokio::test]
async fn the_program_partitions_and_says_so() {
    let tables = Tables::new().await;
    let said = tables.turnstile(&["migrate", "--partition", "monthly"]).await;
    said.assert_said(
        0,
        &[
            "user_logins is partitioned now: what stood there is its first partition, until 20",
            "new partitions are monthly",
        ],
    );
    let json = tables.turnstile(&["migrate", "--partition", "daily", "--format", "json"]).await;
    json.assert_said(0, &[r#""partitioned":{"#, r#""period":"daily""#, r#""tables":[]"#]);
}

#[tokio::test]
async fn both_tables_may_stand_in_one_schema() {
    let test = crate::support::postgres::TestDatabase::empty().await;
    let own = turnstile::database::schemas::Schemas { own: "app".parse().unwrap(), logins: "app".parse().unwrap() };
    let address = turnstile::database::address::DatabaseAddress::parse(test.url()).unwrap();
    let mut settings = turnstile::database::DatabaseSettings::new(address, 2, PATIENT);
    settings.schemas = own;
    let database = turnstile::database::Database::new(&settings).unwrap();
    database.migrate().await.unwrap();
    partition(&database, Period::Monthly, PATIENT).await.unwrap();
    let client = connect(test.url()).await;
    let keys =
        "SELECT count(*) FROM pg_index WHERE indrelid = 'app.user_logins'::regclass AND indisunique AND indisvalid";
    assert_eq!(client.query_one(keys, &[]).await.unwrap().get::<_, i64>(0), 1);
}
