//! Where the calls to the queue go is told, and they go nowhere by mistake: not past the host of the queue's URL, not in
//! clear over a network, not to what is no endpoint.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::process::Command;

use crate::support::scripted_http::{Reply, ScriptedHttp};
use crate::support::verdicts::login;

const AMAZON: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/logins";
/// A closed port: nothing may get as far as the database.
const DATABASE: &str = "postgres://nobody@127.0.0.1:1/nothing";

#[tokio::test]
async fn an_endpoint_variable_does_not_lead_a_queue_s_url_elsewhere_unless_that_is_allowed() {
    for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"] {
        let server = queue().await;
        for command in ["check", "send"] {
            let refused = turnstile(command, AMAZON, &[(variable, &server.url())], &[]).await;
            let said = [server.url().as_str(), "sqs.eu-central-1.amazonaws.com", "--allow-endpoint-override"]
                .iter()
                .all(|text| text_of(&refused).contains(text));
            assert!(refused.status.code() == Some(1) && said, "{command}: {}", text_of(&refused));
        }
        assert!(server.asked("GetQueueAttributes").is_empty() && server.asked("SendMessageBatch").is_empty());

        let allowed = turnstile("check", AMAZON, &[(variable, &server.url())], &["--allow-endpoint-override"]).await;
        let told = format!("{AMAZON}, a standard queue, called at {}", server.url());
        assert!(text_of(&allowed).contains(&told), "{}", text_of(&allowed));
        assert_eq!(server.asked("GetQueueAttributes").len(), 1);
    }
}

#[tokio::test]
async fn a_queue_server_on_another_machine_is_not_reached_in_clear_unless_that_is_allowed() {
    let elsewhere = "http://192.0.2.2:1/1/logins";
    let began = Instant::now();
    let refused = turnstile("check", elsewhere, &[], &[]).await;
    assert!(text_of(&refused).contains("in clear") && text_of(&refused).contains("--allow-clear-queue"));
    assert!(began.elapsed() < Duration::from_secs(20), "no call was made");
}

#[tokio::test]
async fn an_endpoint_without_a_scheme_is_told_as_that_and_no_request_is_dumped() {
    let ended = turnstile("check", "logins", &[("AWS_ENDPOINT_URL", "127.0.0.1:15998")], &[]).await;
    let text = text_of(&ended);
    let line = text.lines().find(|line| line.starts_with("error    queue ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("127.0.0.1:15998") && line.contains("http://"), "{line}");
    assert!(!text.contains("SdkBody") && !text.contains("credentials"), "{text}");
}

#[tokio::test]
async fn a_region_that_is_set_to_nothing_is_not_set_and_the_search_for_one_is_not_dumped() {
    // Nobody answers there; on a machine of Amazon the instance would.
    let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    for region in [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")] {
        let ended = turnstile("check", "logins", &[metadata, ("AWS_REGION", ""), region], &[]).await;
        let text = text_of(&ended);
        assert!(text.contains("no AWS region is set"), "{text}");
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), "", "the log is quiet");
    }
}

#[tokio::test]
async fn a_send_to_where_nobody_listens_says_so_within_seconds() {
    let began = Instant::now();
    let ended = turnstile("send", "http://127.0.0.1:1/1/logins", &[], &[]).await;
    let text = text_of(&ended);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("http://127.0.0.1:1 cannot be reached") && text.contains("1 not sent"), "{text}");
    assert!(!text.contains("twice") && !text.contains("all the same"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_send_says_where_the_queue_of_that_name_was_called() {
    let server = queue().await;
    let ended = turnstile("send", "logins", &[("AWS_ENDPOINT_URL", &server.url())], &[]).await;
    let text = text_of(&ended);
    assert!(text.contains(&format!("1 message sent to logins at {} in ", server.url())), "{text}");
}

async fn queue() -> ScriptedHttp {
    ScriptedHttp::start(|asked, _| match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        "GetQueueAttributes" => Reply::json(json!({"Attributes": {}})),
        "SendMessageBatch" => {
            let entry = &asked.body["Entries"][0];
            let md5 = crate::support::scripted_http::md5_of(entry["MessageBody"].as_str().unwrap().as_bytes());
            Reply::json(json!({"Successful": [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": md5}]}))
        }
        _ => Reply::error(400, "UnsupportedOperation"),
    })
    .await
}

/// Runs a command with a queue, and one login to send.
async fn turnstile(command: &str, queue: &str, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, login("user", "ios") + "\n").unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    process.env_clear().env("DATABASE_URL", DATABASE).env("AWS_REGION", "eu-central-1");
    process.envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).envs(settings.iter().copied());
    process.args([command, "--queue", queue]).args(arguments).stdin(Stdio::null());
    if command == "send" {
        process.arg(file.path());
    }
    process.output().await.unwrap()
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
