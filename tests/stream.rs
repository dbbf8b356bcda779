//! What a login is, is said in one place: a further field is one more row of it, and no document or file says otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use turnstile::batch::{LoginRow, Sorted};
use turnstile::login::AppVersion;
use turnstile::mask::{MaskKind, Masker, Unmasker};
use turnstile::seal::{Key, MasterKey};
use turnstile::stream::{Column, ColumnType, Field, Kind, LOGIN, Limit, Privacy, Stream};
use turnstile::table::{outbox, user_logins};
use turnstile::verdict::{Judge, Verdict};
use zeroize::Zeroizing;

use crate::support::tables::Tables;
use crate::support::verdicts::{judge, message};

/// A login that says from which phone it came, too.
const SEVEN_FIELDS: Stream = Stream {
    fields: &[
        LOGIN.fields[0],
        LOGIN.fields[1],
        LOGIN.fields[2],
        LOGIN.fields[3],
        LOGIN.fields[4],
        LOGIN.fields[5],
        Field::masked("phone", "masked_phone", Kind::Text { may_be_empty: false, most: Limit::Chars(20) }).nullable(),
    ],
    ..LOGIN
};

/// A judge of such logins, and what recovers what it masks.
fn judge_of_seven() -> (Judge, Unmasker) {
    let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
    let key = Arc::new(Key::derive(&SEVEN_FIELDS, "seven".parse().unwrap(), &master).unwrap());
    let masker = Masker::new(MaskKind::Seal, Arc::clone(&key));
    (Judge { masker, ..judge() }, Unmasker::new(vec![key]))
}

fn body(user: &str, phone: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","app_version":"1","device_type":"d","ip":"::1","locale":null,"device_id":"i","phone":{phone}}}"#
    )
}

#[tokio::test]
async fn a_further_field_is_decoded_masked_and_stored_where_its_row_says() {
    let tables = Tables::new().await;
    let columns = "ALTER TABLE user_logins ADD COLUMN masked_phone varchar(256);
                   ALTER TABLE outbox ADD COLUMN masked_phone varchar(256)";
    tables.client.batch_execute(columns).await.unwrap();
    let (judge, unmasker) = judge_of_seven();
    let judged = |id: &str, phone: &str| judge.judge(message(id, &body(id, phone), 1));

    // As a loader does where nothing stands in the way, by COPY …
    tables.load_batch(sorted([judged("a", r#""+1 555 0100""#), judged("b", "null"), judged("c", "7")])).await;
    // … and by INSERT, as where something does.
    let batch = sorted([judged("d", r#""+1 555 0101""#), judged("e", "null")]);
    let rows: Vec<LoginRow<'_>> = batch.entries().iter().filter_map(|entry| entry.login_row()).collect();
    let transaction = tables.database.begin().await.unwrap();
    assert_eq!(user_logins::insert(&transaction, &rows).await.unwrap().len(), 2);
    outbox::insert(&transaction, &rows).await.unwrap();
    transaction.commit().await.unwrap();

    for table in ["user_logins", "outbox"] {
        let sql = format!("SELECT user_id, masked_phone, app_version FROM {table} ORDER BY user_id");
        let rows = tables.client.query(&sql, &[]).await.unwrap();
        let phone = |row: &tokio_postgres::Row| {
            let masked: Option<String> = row.get(1);
            let unmasked = unmasker.unmask(&masked?).unwrap();
            assert_eq!(unmasked.field.key, "phone");
            Some(unmasked.value)
        };
        let stored: Vec<(String, Option<String>)> = rows.iter().map(|row| (row.get(0), phone(row))).collect();
        let expected = [("a", Some("+1 555 0100")), ("b", None), ("d", Some("+1 555 0101")), ("e", None)];
        let expected = expected.map(|(user, phone)| (user.to_owned(), phone.map(str::to_owned)));
        assert_eq!(stored, expected, "{table}");
        assert!(rows.iter().all(|row| row.get::<_, i32>(2) == 1_000_000));
    }
    let letter = "SELECT detail, field, place FROM turnstile.dead_letters";
    let letter = tables.client.query_one(letter, &[]).await.unwrap();
    let place = format!("{}+1 number:digits #/phone", body("c", "7").len() - "7}".len());
    assert_eq!((letter.get(0), letter.get(1)), ("the field phone is not a string", "phone"));
    assert_eq!(letter.get::<_, &str>(2), place);
}

fn sorted(verdicts: impl IntoIterator<Item = Verdict>) -> turnstile::batch::Batch {
    Sorted::from_verdicts(verdicts, 1).batch
}

#[test]
fn a_page_tells_what_each_field_is() {
    let mut table = "| field | is |\n|---|---|\n".to_owned();
    for field in LOGIN.fields {
        table += &format!("| `{}` | {} |\n", field.key, what(field));
    }
    assert_told(&table);
}

#[test]
fn a_page_tells_what_each_column_of_a_login_holds() {
    let mut table = format!("| column of `{}` | type | holds |\n|---|---|---|\n", LOGIN.table);
    for field in LOGIN.fields {
        let Column { name, holds } = field.column();
        table += &format!("| `{name}` | `{holds}` | {} |\n", held(field));
    }
    table += &format!("| `{}` | `{}` | {DAY} |\n", LOGIN.day, ColumnType::Date);
    assert_told(&table);
}

/// What a value must be.
fn what(field: &Field) -> String {
    let is = match field.kind {
        Kind::Text { may_be_empty: false, most: Limit::Chars(most) } => format!("a string of 1 to {most} characters"),
        Kind::Text { may_be_empty: false, most: Limit::Bytes(most) } => {
            format!("a string of 1 to {most} bytes of UTF-8")
        }
        Kind::Text { may_be_empty: true, most } => format!("a string of at most {most}"),
        Kind::Address => "a string: any IPv4 or IPv6 address".to_owned(),
        Kind::Version => format!(
            "a string of one to three whole numbers between points, the first at most {}, the others at most {}: `2`, \
             `2.3.0`, `2024.1`. A build number as third part (`2.3.10452`), a tag (`2.3-beta`) or a fourth part is refused",
            AppVersion::MAX_MAJOR,
            AppVersion::MAX_PART
        ),
    };
    if field.nullable { is + ", or `null`" } else { is }
}

/// What a column holds.
fn held(field: &Field) -> String {
    let holds = match (field.privacy, field.kind) {
        (Privacy::Masked, Kind::Address) => format!("the masked `{}`. Spellings of one address mask alike", field.key),
        (Privacy::Masked, Kind::Text { .. } | Kind::Version) => format!("the masked `{}`", field.key),
        (_, Kind::Version) => "`major·1000000 + minor·1000 + patch`, missing parts 0".to_owned(),
        (Privacy::Personal, Kind::Text { .. } | Kind::Address) => "as the app sent it: **not masked**".to_owned(),
        (Privacy::Open, Kind::Text { .. } | Kind::Address) => "as the app sent it".to_owned(),
    };
    if field.nullable { holds + "; SQL `NULL` where it sent `null`" } else { holds }
}

const DAY: &str = "the UTC day on which the message was **sent** (the queue's SentTimestamp), not that of its loading. A \
                   queue that gives no SentTimestamp: the day on which it was received";

fn assert_told(table: &str) {
    let mut pages = vec![root().join("README.md")];
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let is_told = pages.iter().any(|page| fs::read_to_string(page).is_ok_and(|text| text.contains(table)));
    assert!(is_told, "neither the README nor a page of docs/ holds this table:\n\n{table}");
}

#[test]
fn the_grants_name_each_column_of_a_login() {
    let file = read("deploy/grants.sql");
    let statements: String =
        file.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect();
    let mut granted = Vec::new();
    for statement in statements.split(';').filter(|statement| statement.trim_start().starts_with("GRANT")) {
        let (rights, on) = statement.split_once(" ON ").unwrap();
        let columns_of = |right: &str| rights.split_once(right).map(|(_, rest)| rest.split(')').next().unwrap());
        for (table, hash) in [("public.user_logins", "message_hash"), ("turnstile.outbox", "event_id")] {
            let Some(role) = on.trim().strip_prefix(table) else { continue };
            if let Some(columns) = columns_of("INSERT (") {
                let own: &[&str] = match (table, role.trim()) {
                    ("turnstile.outbox", "TO turnstile_loader") => &[hash, "message_sent_at", "traceparent"],
                    _ => &[hash, "message_sent_at"],
                };
                assert_eq!(names(columns), columns_and(own), "{statement}");
                granted.push(role.trim().to_owned());
            }
            let own: &[&str] = match role.trim() {
                "TO turnstile_analyst" => &[],
                "TO turnstile_relay" => &["position", "event_id", "created_at", "traceparent"],
                _ => continue,
            };
            assert_eq!(names(columns_of("SELECT (").unwrap()), columns_and(own), "{statement}");
            granted.push(role.trim().to_owned());
        }
    }
    granted.sort();
    let [loader, operator] = ["TO turnstile_loader", "TO turnstile_operator"];
    assert_eq!(granted, ["TO turnstile_analyst", loader, loader, operator, operator, "TO turnstile_relay"]);
}

#[test]
fn the_migrations_make_each_column_of_a_login_with_its_type() {
    let schema = read("tests/schema.sql");
    let made = |table: &str| -> BTreeSet<(String, String)> {
        let columns = schema.lines().filter_map(|line| line.strip_prefix(table)?.strip_prefix('.')?.split_once(' '));
        columns.map(|(name, of)| (name.to_owned(), of.to_owned())).collect()
    };
    for table in ["public.user_logins", "turnstile.outbox"] {
        let missing: Vec<_> =
            LOGIN.columns().map(in_catalogue).filter(|column| !made(table).contains(column)).collect();
        assert_eq!(missing, [], "{table}");
    }
}

#[test]
fn a_table_that_stands_there_is_adopted_by_the_columns_of_a_login() {
    let migration = read("migrations/V4__user_logins.sql");
    let between = |start: &str, end: &str| migration.split_once(start).unwrap().1.split_once(end).unwrap().0.to_owned();
    let wanted = between("FROM (VALUES\n", "\n    ) AS wanted");
    let wanted: BTreeSet<(String, String)> = wanted
        .lines()
        .map(|line| line.split('\'').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .map(|quoted| (quoted[0].clone(), quoted[1].clone()))
        .collect();
    assert_eq!(wanted, LOGIN.columns().map(in_catalogue).collect());

    // Columns that no login leaves empty may be NOT NULL.
    let filled = names(&between("a.attname NOT IN (", ")").replace('\'', ""));
    let nullable = LOGIN.fields.iter().filter(|field| field.nullable).map(|field| field.column);
    let mut expected = columns_and(&["message_hash", "message_sent_at"]);
    nullable.for_each(|column| assert!(expected.remove(column)));
    assert_eq!(filled, expected);
}

/// A column as the catalogue spells its type.
fn in_catalogue(Column { name, holds }: Column) -> (String, String) {
    let of = match holds {
        ColumnType::Varchar(most) => format!("character varying({most})"),
        ColumnType::Integer | ColumnType::Date => holds.to_string(),
    };
    (name.to_owned(), of)
}

fn columns_and(more: &[&str]) -> BTreeSet<String> {
    LOGIN.columns().map(|column| column.name).chain(more.iter().copied()).map(str::to_owned).collect()
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
