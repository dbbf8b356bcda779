//! What the log holds, and what it never does.

use std::process::Stdio;

use crate::support::postgres::TestDatabase;
use crate::support::program::text_of;
use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_message_and_no_secret_is_logged_even_at_trace() {
    let test = TestDatabase::empty().await;
    let site = Site::without_tables(test.url()).await;
    let canaries = ["canary-user", "canary-device", "198.51.100.77", "canary-locale", "canary-garbage"];
    let body = r#"{"user_id":"canary-user","app_version":"1.0","device_type":"ios","ip":"198.51.100.77","locale":"canary-locale","device_id":"canary-device"}"#;
    site.insert(body);
    site.insert(body.replace("ios", "refused"));
    site.insert("canary-garbage");
    let client = test.client().await;
    let key = text_of(&site.keyring());
    let key = key.lines().find_map(|line| line.strip_prefix("key ")).unwrap().split(' ').nth(1).unwrap().to_owned();

    let run = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", "canary-access").env("AWS_SECRET_ACCESS_KEY", "canary-secret");
        command.env("RUST_LOG", "trace").stdout(Stdio::piped()).output().unwrap()
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
