//! What decode accepts is what the tables hold: PostgreSQL is asked, body by body.

use std::cell::Cell;
use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;
use tokio_postgres::Row;
use turnstile::batch::{Sorted, utc_day};
use turnstile::decode::{Decoded, Form, decode};
use turnstile::fault::{Fault, locate};
use turnstile::login::{UserLogin, Value};
use turnstile::message::{MessageHash, RawBody};
use turnstile::seal::SealedBody;
use turnstile::stream::LOGIN;
use uuid::Uuid;

use crate::support::bodies::{damaged_login, written_login};
use crate::support::tables::Tables;
use crate::support::verdicts::{SENT_AT, message};

/// How many bodies are tried at least; `TURNSTILE_TEST_BODIES` sets more than a test run of every day needs.
fn bodies() -> usize {
    std::env::var("TURNSTILE_TEST_BODIES").map_or(100_000, |text| text.parse().unwrap())
}

/// The most of them that are loaded in one transaction.
const TOGETHER: usize = 1000;

#[test]
fn what_decode_accepts_is_stored_and_given_back_unchanged() {
    let runtime = Runtime::new().unwrap();
    let tables = runtime.block_on(Tables::new());
    let (tried, accepted) = (Cell::new(0), Cell::new(0));
    let body = prop_oneof![9 => written_login(), 1 => damaged_login()];
    let together = prop::collection::vec(body, 1..=TOGETHER);
    let config = Config { cases: 1, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    while tried.get() < bodies() {
        // Not the default generator, which takes a third of the time in a build without optimisation.
        let random = TestRng::from_seed(RngAlgorithm::XorShift, Uuid::new_v4().as_bytes());
        let stored = TestRunner::new_with_rng(config.clone(), random).run(&together, |bodies| {
            let first = tried.replace(tried.get() + bodies.len());
            accepted.set(accepted.get() + runtime.block_on(store(&tables, first, bodies))?);
            Ok(())
        });
        match stored {
            Ok(()) => {}
            Err(TestError::Abort(why)) => panic!("{why}"),
            Err(TestError::Fail(why, bodies)) => panic!("{why} (one of {} that were loaded together)", bodies.len()),
        }
    }
    let (tried, accepted) = (tried.get(), accepted.get());
    assert!(accepted > tried / 2 && accepted < tried, "{accepted} of {tried} bodies are logins");
    eprintln!("{accepted} of {tried} bodies are logins, and all are stored");
}

/// Loads the bodies as a lane does and compares what the tables hold. Gives the number of the logins.
async fn store(tables: &Tables, first: usize, bodies: Vec<Vec<u8>>) -> Result<usize, TestCaseError> {
    let mut expected = HashMap::new();
    let mut verdicts = Vec::new();
    for (number, body) in (first..).zip(bodies) {
        let mut message = message(&format!("m{number}"), "", 1);
        message.body = RawBody::new(body);
        let body = message.body.clone();
        let verdict = tables.judge.judge(message);
        expected.insert(verdict.hash.as_bytes().to_vec(), body);
        verdicts.push(verdict);
    }
    // No index finds a hash alone.
    let empty = "TRUNCATE processed_messages, user_logins, dead_letters, outbox";
    tables.client.batch_execute(empty).await.unwrap();
    tables.load_batch(Sorted::from_verdicts(verdicts, 1).batch).await;
    let hashes: Vec<&[u8]> = expected.keys().map(Vec::as_slice).collect();
    let columns =
        |of: &str| LOGIN.columns().map(|column| format!("{of}.{}", column.name)).collect::<Vec<_>>().join(", ");
    let texts: Vec<String> = LOGIN.columns().map(|column| format!("u.{0}::text AS {0}", column.name)).collect();
    let sql = format!(
        "SELECT message_hash, {}, code, place, sealed_body, ({}) IS NOT DISTINCT FROM ({}) AS is_told
         FROM processed_messages
         LEFT JOIN user_logins u USING (message_hash) LEFT JOIN dead_letters USING (message_hash)
         LEFT JOIN outbox o ON event_id = message_hash WHERE message_hash = ANY($1)",
        texts.join(", "),
        columns("o"),
        columns("u")
    );
    let rows = tables.client.query(&sql, &[&hashes]).await.unwrap();
    prop_assert_eq!(rows.len(), expected.len());
    let mut logins = 0;
    for row in rows {
        let body = &expected[row.get::<_, &[u8]>("message_hash")];
        let said = || format!("the body {}", body.as_bytes().escape_ascii());
        match decode(&LOGIN, body) {
            Ok(Decoded { login, .. }) => {
                logins += 1;
                prop_assert_eq!(stored(tables, &row), sent(&login), "{}", said());
                prop_assert!(row.get::<_, bool>("is_told"), "{}", said());
            }
            Err(rejection) => {
                let sealed = SealedBody::from_bytes(row.get("sealed_body"));
                let hash = MessageHash::from_bytes(row.get::<_, &[u8]>("message_hash").try_into().unwrap());
                let fault = locate(&Form::Login, &LOGIN, body, &rejection).as_ref().map(Fault::stored);
                prop_assert_eq!(row.get::<_, &str>("code"), rejection.code(), "{}", said());
                prop_assert_eq!(row.get::<_, Option<String>>("place"), fault, "{}", said());
                prop_assert!(
                    tables.keyring.body_opener().open(hash, &sealed).is_ok_and(|(opened, _)| opened == *body),
                    "{}",
                    said()
                );
            }
        }
    }
    Ok(logins)
}

/// What a row says of a login, unmasked; the last is the code of a dead letter, which it must not have.
fn stored(tables: &Tables, row: &Row) -> Vec<Option<String>> {
    let text = |column| row.get::<_, Option<String>>(column);
    let unmasked = |column| tables.keyring.unmasker().unmask(&text(column)?).ok().map(|unmasked| unmasked.value);
    let of_fields = LOGIN.fields.iter().map(|field| match field.is_masked() {
        true => unmasked(field.column),
        false => text(field.column),
    });
    of_fields.chain([text(LOGIN.day), text("code")]).collect()
}

/// What it must say.
fn sent(login: &UserLogin<'_>) -> Vec<Option<String>> {
    let said = |value: &Value<'_>| match value {
        Value::Null => None,
        Value::Version(version) => Some(version.as_i32().to_string()),
        Value::Text(_) | Value::Address(_) | Value::Masked(_) => Some(value.text().into_owned()),
    };
    login.values().map(|(_, value)| said(value)).chain([Some(utc_day(SENT_AT).to_string()), None]).collect()
}
