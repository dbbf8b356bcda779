//! The events as everybody outside sees them: their page and its schema say what they are.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use aws_sdk_sqs::types::MessageAttributeValue;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::support::postgres::TestDatabase;
use crate::support::scripted_http::aws_at;
use crate::support::site::Site;
use crate::support::verdicts::login;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The schema of the events, as it is published.
struct Schema {
    schemas: Schemas,
    event: SchemaIndex,
}

impl Schema {
    fn published() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let text = read("docs/login-loaded.v1.schema.json");
        compiler.enable_format_assertions();
        compiler.add_resource("event.json", serde_json::from_str(&text).unwrap()).unwrap();
        let event = compiler.compile("event.json", &mut schemas).unwrap();
        Self { schemas, event }
    }

    fn allows(&self, event: &Value) -> bool {
        self.schemas.validate(event, self.event).is_ok()
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What `turnstile relay --to stdout:` writes.
fn carried(site: &Site, sink: &str) -> Vec<Value> {
    let mut command = site.command(&["relay", "--to", "stdout:", "--until-empty", "--sink", sink]);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Two logins, of which the second says in which trace it was sent.
async fn send_two(site: &Site, users: [&str; 2]) {
    let client = aws_sdk_sqs::Client::new(&aws_at(&site.sqs.endpoint()));
    let send =
        |user| client.send_message().queue_url(site.sqs.queue_url(site.queue())).message_body(login(user, "ios"));
    let trace = MessageAttributeValue::builder().data_type("String").string_value(TRACEPARENT).build().unwrap();
    send(users[0]).send().await.unwrap();
    send(users[1]).message_attributes("traceparent", trace).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_names_the_trace_of_its_message_where_that_is_kept() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    for (users, keeps) in [(["u-1", "u-2"], false), (["u-3", "u-4"], true)] {
        send_two(&site, users).await;
        let keep: &[&str] = if keeps { &["--keep-trace-context"] } else { &[] };
        let loader = site.start(site.command(&[&["run", "--until-empty"], keep].concat()), "log");
        assert!(loader.ended().await.success());
    }
    let events = carried(&site, "default");
    let of = |user: &str| events.iter().find(|event| event["subject"] == user).unwrap()["traceparent"].clone();
    let traces = ["u-1", "u-2", "u-3", "u-4"].map(of);
    assert_eq!(traces, [Value::Null, Value::Null, Value::Null, TRACEPARENT.into()]);
    let schema = Schema::published();
    assert!(events.iter().all(|event| schema.allows(event)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_as_its_schema_says_and_so_is_the_one_on_the_page() {
    let schema = Schema::published();
    let page = read("docs/OUTBOX.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert!(schema.allows(&shown));

    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    site.fill(200, 0);
    let loader = site.start(site.command(&["run", "--until-empty"]), "log");
    assert!(loader.ended().await.success());
    let nothing = "INSERT INTO turnstile.outbox (event_id, message_sent_at) VALUES (sha256('nothing'), now())";
    site.client().await.batch_execute(nothing).await.unwrap();
    let events = carried(&site, "default");
    assert_eq!(events.len(), 201);
    for event in &events {
        assert!(schema.allows(event), "{:?}", schema.schemas.validate(event, schema.event).unwrap_err());
    }
    let keys = |event: &Value| event["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shown), keys(&events[0]), "the page shows every column");

    // The schema refuses what is no event of ours.
    for (place, value) in [
        ("/id", json!("7")),
        ("/specversion", json!("0.3")),
        ("/time", json!("2026-02-30T00:00:00Z")),
        ("/sequence", json!("7")),
        ("/data/app_version", json!("2.3.1")),
        ("/data/create_date", json!("yesterday")),
        ("/data", json!({})),
    ] {
        let mut other = events[0].clone();
        *other.pointer_mut(place).unwrap() = value;
        assert!(!schema.allows(&other), "{place}");
    }
    let mut clear = events[0].clone();
    clear["data"]["ip"] = json!("203.0.113.7");
    assert!(!schema.allows(&clear), "it has no other columns");
}
