//! What the log holds, and what it never does.

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};

use crate::support::pipeline::QUEUE;
use crate::support::postgres::TestDatabase;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_message_and_no_secret_is_logged_even_at_trace() {
    let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), vec![QueueOptions::new(QUEUE)], Faults::default()).await;
    let sqs = sqs.unwrap();
    let canaries = ["canary-user", "canary-device", "198.51.100.77", "canary-locale", "canary-garbage"];
    let body = r#"{"user_id":"canary-user","app_version":"1.0","device_type":"ios","ip":"198.51.100.77","locale":"canary-locale","device_id":"canary-device"}"#;
    sqs.insert_raw(QUEUE, body.into()).unwrap();
    sqs.insert_raw(QUEUE, body.replace("ios", "refused").into()).unwrap();
    sqs.insert_raw(QUEUE, "canary-garbage".into()).unwrap();
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    let folder = tempfile::tempdir().unwrap();
    let keyring = folder.path().join("keyring");
    turnstile::keyring::Masters::generate().unwrap().write_new(&keyring).unwrap();
    let key = std::fs::read_to_string(&keyring).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("key ")).unwrap().split(' ').nth(1).unwrap().to_owned();

    let run = |arguments: &'static [&'static str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_turnstile"))
            .args(arguments)
            .env_clear()
            .env("RUST_LOG", "trace")
            .env("DATABASE_URL", test.url())
            .env("TURNSTILE_QUEUE", QUEUE)
            .env("TURNSTILE_KEYRING", &keyring)
            .env("AWS_ENDPOINT_URL", sqs.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "canary-access")
            .env("AWS_SECRET_ACCESS_KEY", "canary-secret")
            .output()
            .unwrap()
    };
    assert!(run(&["migrate"]).status.success());
    client.batch_execute("ALTER TABLE user_logins ADD CHECK (device_type <> 'refused')").await.unwrap();
    let ended = run(&["run", "--until-empty", "--retry-delay", "0s", "--lanes", "1"]);
    let log = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(ended.status.success(), "{log}");

    let letters: i64 = client.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap().get(0);
    assert_eq!(letters, 2);
    assert!(log.contains("\"recorded\"") && log.contains("the database refuses a row"), "the log is on: {log}");
    for secret in canaries.into_iter().chain(["canary-access", "canary-secret", &key]) {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} stands in the log: {}", line.unwrap_or_default());
    }
    let password = test.url().split([':', '@']).nth(2).unwrap();
    assert!(password.len() < 8 || !log.contains(password), "the password stands in the log");
}
