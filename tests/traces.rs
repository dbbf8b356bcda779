//! Traces: what is sent of a batch, and what never is; and that no lane waits for who takes them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use turnstile::message::REQUEUED;

use crate::support::collector::{Collector, Manner, attribute};
use crate::support::postgres::TestDatabase;
use crate::support::program::{Loader, text_of};
use crate::support::proxy::{Asked, Cut, Ending, Kind, Moment, PostgresProxy, Side};
use crate::support::scripted_http::{self, Reply, ScriptedHttp, aws_at};
use crate::support::site::Site;
use crate::support::verdicts::login;
use crate::support::wait_until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const SECRET: &str = "canary-of-the-header";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_one_trace_from_the_queue_to_the_delete_with_links_to_its_producers() {
    let (site, _test) = site().await;
    let collector = Collector::start(Manner::Says(200)).await;
    send_with_contexts(&site).await;
    let loader = site.start(traced(&site, &collector, &["--until-empty", "--lanes", "1"]), "log");
    assert!(loader.ended().await.success(), "{}", text_of(&site.log("log")));

    let sent = collector.spans();
    for (process, _) in &sent {
        assert_eq!(attribute(&process.attributes, "service.name").as_deref(), Some("turnstile"));
        let version = attribute(&process.attributes, "service.version");
        assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(attribute(&process.attributes, "service.instance.id").is_some_and(|id| id.len() == 36));
    }
    let spans: Vec<Span> = sent.into_iter().map(|(_, span)| span).collect();
    let root = the(&spans, "receive logins");
    assert!(root.parent_span_id.is_empty());
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id), "one batch is one trace");
    let process = the(&spans, "process logins");
    let transaction = the(&spans, "transaction");
    for (name, kind, parent) in [
        ("receive logins", SpanKind::Client, None),
        ("process logins", SpanKind::Consumer, Some(root)),
        ("settle logins", SpanKind::Client, Some(process)),
        ("transaction", SpanKind::Internal, Some(process)),
        ("BEGIN", SpanKind::Client, Some(transaction)),
        ("INSERT processed_messages", SpanKind::Client, Some(transaction)),
        ("COPY user_logins", SpanKind::Client, Some(transaction)),
        ("COPY outbox", SpanKind::Client, Some(transaction)),
        ("COMMIT", SpanKind::Client, Some(transaction)),
    ] {
        let span = the(&spans, name);
        assert_eq!(span.kind(), kind, "{name}");
        assert_eq!(span.parent_span_id, parent.map_or(&[][..], |parent| &parent.span_id), "{name}");
        assert_eq!(span.status.as_ref().map_or(StatusCode::Unset, |status| status.code()), StatusCode::Unset, "{name}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano && span.events.is_empty(), "{name}");
    }
    assert_eq!(spans.len(), 9, "nothing else: {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    for (name, key, value) in [
        ("receive logins", "messaging.system", "aws_sqs"),
        ("receive logins", "messaging.operation.type", "receive"),
        ("receive logins", "messaging.destination.name", "logins"),
        ("process logins", "messaging.batch.message_count", "4"),
        ("process logins", "turnstile.loaded", "4"),
        ("process logins", "turnstile.dead_lettered", "0"),
        ("settle logins", "messaging.operation.name", "settle"),
        ("settle logins", "turnstile.settlement", "delete"),
        ("COPY user_logins", "db.system.name", "postgresql"),
        ("COPY user_logins", "db.operation.name", "COPY"),
        ("COPY user_logins", "db.collection.name", "user_logins"),
        ("COMMIT", "db.operation.name", "COMMIT"),
    ] {
        assert_eq!(attribute(&the(&spans, name).attributes, key).as_deref(), Some(value), "{name}: {key}");
    }
    let links: BTreeSet<(String, String)> =
        process.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    let producers = [(TRACE, "00f067aa0ba902b7"), ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8")];
    assert_eq!(links, producers.map(|(trace, span)| (trace.to_owned(), span.to_owned())).into());
    assert_eq!(process.links.len(), 2, "two messages of one span are one link");

    for (path, key) in collector.exports(|export| (export.path.clone(), export.headers.get("api-key").cloned())) {
        assert_eq!((path.as_str(), key.unwrap().to_str().unwrap()), ("/v1/traces", SECRET));
    }
    let log = text_of(&site.log("log"));
    assert!(!log.contains(SECRET) && !log.contains(TRACE), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_message_and_no_secret_is_sent_while_everything_fails() {
    let (mut site, test) = site().await;
    let proxy = PostgresProxy::before(test.url()).await;
    site.database_url = proxy.url().to_owned();
    let collector = Collector::start(Manner::Says(200)).await;
    let client = test.client().await;
    client.batch_execute("ALTER TABLE user_logins ADD CHECK (device_type <> 'refused')").await.unwrap();
    let body = r#"{"user_id":"canary-user","app_version":"1.0","device_type":"ios","ip":"198.51.100.77","locale":"canary-locale","device_id":"canary-device"}"#;
    let bodies = [body.to_owned(), body.replace("ios", "refused"), "canary-garbage".to_owned()];
    let mut command = traced(&site, &collector, &["--wait", "1s", "--retry-delay", "0s", "--lanes", "1"]);
    command.env("AWS_ACCESS_KEY_ID", "canary-access").env("AWS_SECRET_ACCESS_KEY", "canary-secret");
    command.env("PGPASSWORD", "canary-password");
    // Whatever the log shows, spans are made of what is safe only.
    command.env("RUST_LOG", "trace");
    // Of a batch in which something happened, none is left out.
    command.env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio").env("OTEL_TRACES_SAMPLER_ARG", "0");
    let loader = site.start(command, "log");
    let mut ids = vec![site.insert(login("canary-before", "ios"))];
    wait_until("loading has begun", async || site.rows(&client).await == 1).await;
    proxy.arm(two_commits_are_cut());
    ids.extend(bodies.map(|body| site.insert(body)));
    wait_until("all is recorded", async || site.rows(&client).await == 4 && site.depth() == 0).await;
    loader.terminate();
    assert!(loader.ended().await.success(), "{}", text_of(&site.log("log")));
    assert_eq!(proxy.strikes(), 2);

    let spans: Vec<Span> = collector.spans().into_iter().map(|(_, span)| span).collect();
    let errors = |key: &str| -> BTreeSet<String> {
        let is_error = |span: &&Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        let failed = spans.iter().filter(is_error).filter(|span| span.name == "transaction");
        failed.filter_map(|span| attribute(&span.attributes, key)).collect()
    };
    assert_eq!(errors("error.type"), ["ambiguous", "of_the_rows"].map(str::to_owned).into());
    assert_eq!(errors("db.response.status_code"), ["23514".to_owned()].into(), "the constraint's");
    assert!(named(&spans, "transaction").len() >= 5, "each attempt is one");
    assert!(named(&spans, "INSERT user_logins").len() >= 2 && !named(&spans, "INSERT dead_letters").is_empty());
    let settled: BTreeSet<_> =
        spans.iter().filter_map(|span| attribute(&span.attributes, "turnstile.settlement")).collect();
    assert_eq!(settled, ["delete", "return"].map(str::to_owned).into());

    assert_all_is_of_closed_sets(&spans);

    let rows = client.query("SELECT message_hash FROM processed_messages", &[]).await.unwrap();
    assert_eq!(rows.len(), 4);
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    let key = text_of(&site.keyring());
    let key = key.lines().find_map(|line| line.strip_prefix("key ")).unwrap().split(' ').nth(1).unwrap().to_owned();
    let password = test.url().split([':', '@']).nth(2).unwrap();
    let mut canaries: Vec<Vec<u8>> =
        ["canary", "198.51.100.77", "198.51.100", &key, SECRET, "refused", "user_logins_device_type", "127.0.0.1"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    canaries.extend(ids.into_iter().map(String::into_bytes));
    canaries.extend(hashes.iter().map(|hash| hex(hash).into_bytes()));
    canaries.extend(hashes);
    canaries.extend(Some(password.as_bytes().to_vec()).filter(|password| password.len() >= 8));
    let sent = collector.exports(|export| export.body.to_vec()).concat();
    assert!(holds(&sent, b"turnstile.dead_lettered"), "the traces are not here");

    let log = text_of(&site.log("log"));
    assert!(log.contains("the database refuses a row"), "nothing was logged within a span: {log}");
    for line in log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert!(line.get("span").is_none() && line.get("spans").is_none(), "a span stands in the log: {line}");
    }
    for canary in canaries {
        assert!(!holds(&sent, &canary), "{} stands in a trace", String::from_utf8_lossy(&canary));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_batch_is_left_out_where_the_sampler_says_so() {
    let (site, _test) = site().await;
    let collector = Collector::start(Manner::Says(200)).await;
    site.insert(login("u-1", "ios"));
    let mut command = traced(&site, &collector, &["--until-empty"]);
    command.env("OTEL_TRACES_SAMPLER", "traceidratio").env("OTEL_TRACES_SAMPLER_ARG", "0");
    assert!(site.start(command, "log").ended().await.success(), "{}", text_of(&site.log("log")));
    assert_eq!(collector.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_unless_it_is_asked_for() {
    let (site, _test) = site().await;
    let collector = Collector::start(Manner::Says(200)).await;
    site.insert(login("u-1", "ios"));
    let mut command = traced(&site, &collector, &["--until-empty"]);
    command.env("OTEL_SDK_DISABLED", "true");
    assert!(site.start(command, "log").ended().await.success(), "{}", text_of(&site.log("log")));
    // And a command that loads nothing has no traces.
    let mut command = site.command(&["check"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let checked = command.output().unwrap();
    assert!(!String::from_utf8_lossy(&checked.stderr).contains("OTEL_"));
    assert_eq!(collector.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_asked_for_producers_only_while_traces_are_sent() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let collector = Collector::start(Manner::Says(200)).await;
    let asked = async |mut command: Command| {
        let server = ScriptedHttp::start(|asked: &scripted_http::Asked, _| match asked.call.as_str() {
            "GetQueueAttributes" => Reply::json(json!({"Attributes": {
                "QueueArn": "arn:aws:sqs:us-east-1:000000000000:logins", "VisibilityTimeout": "30",
                "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0",
                "ApproximateNumberOfMessagesDelayed": "0",
            }})),
            _ => Reply::json(json!({})),
        })
        .await;
        let url = format!("{}/000000000000/logins", server.url());
        command.env("TURNSTILE_QUEUE", &url).env("AWS_ENDPOINT_URL", server.url());
        assert!(site.start(command, "log").ended().await.success(), "{}", text_of(&site.log("log")));
        let received = server.asked("ReceiveMessage");
        ["MessageSystemAttributeNames", "AttributeNames", "MessageAttributeNames"].map(|key| received[0][key].clone())
    };
    let plain = json!(["SentTimestamp", "ApproximateReceiveCount"]);
    let off = asked(site.command(&["run", "--until-empty"])).await;
    assert_eq!(off, [plain.clone(), plain, json!([REQUEUED])]);
    let more = json!(["SentTimestamp", "ApproximateReceiveCount", "AWSTraceHeader"]);
    let on = asked(traced(&site, &collector, &["--until-empty"])).await;
    assert_eq!(on, [more.clone(), more, json!([REQUEUED, "traceparent"])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_fails_or_is_away_keeps_nobody_from_loading_and_is_told_once() {
    for (manner, told) in [
        (Some(Manner::Says(500)), "the collector answers 500"),
        (Some(Manner::Says(401)), "the collector answers 401"),
        (Some(Manner::Hangs), "no answer within 0.3 s"),
        (None, "Connection refused"),
    ] {
        let (site, _test) = site().await;
        let collector = Collector::start(manner.unwrap_or(Manner::Hangs)).await;
        let mut command = traced(&site, &collector, &["--lanes", "2", "--wait", "1s", "--retry-delay", "0s"]);
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "300").env("OTEL_BSP_MAX_QUEUE_SIZE", "16");
        command.env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8");
        if manner.is_none() {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        }
        let mut loader = site.start(command, "log");
        site.fill(400, 4);
        wait_until("trouble is told", async || loader.said().contains(told)).await;
        site.is_drained().await;
        assert!(ends_soon(&mut loader).await, "{told}: {}", loader.said());
        let lines = loader.said().lines().filter(|line| line.contains("traces cannot be sent")).count();
        assert_eq!(lines, 1, "{told}: {}", loader.said());
        assert!(!loader.said().contains(SECRET));
        site.assert_promise().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_sent_when_the_loader_is_told_to_end_and_a_collector_that_hangs_does_not_hold_it() {
    let (site, _test) = site().await;
    for (manner, name) in [(Manner::Says(200), "sent"), (Manner::Hangs, "hung")] {
        let collector = Collector::start(manner).await;
        let mut command = traced(&site, &collector, &["--wait", "1s"]);
        // Nothing is sent before the end.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        let mut loader = site.start(command, name);
        site.insert(login("u-1", "ios"));
        wait_until("it is loaded", async || loader.said().contains("\"loading\"") && site.depth() == 0).await;
        assert_eq!(collector.connections(), 0);
        assert!(ends_soon(&mut loader).await, "{}", loader.said());
        match manner {
            Manner::Says(_) => assert_eq!(named_of(&collector, "process logins"), 1),
            Manner::Hangs => assert!(loader.said().contains("the last traces were not sent"), "{}", loader.said()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_cannot_be_followed_is_told_with_the_remedy_and_loading_goes_on() {
    let (site, _test) = site().await;
    for (name, value, remedy) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense", "http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET, "NAME=VALUE"),
    ] {
        let collector = Collector::start(Manner::Says(200)).await;
        site.insert(login("u-1", "ios"));
        let mut command = traced(&site, &collector, &["--until-empty"]);
        command.env(name, value);
        let loader = site.start(command, name);
        assert!(loader.ended().await.success());
        assert_eq!((site.depth(), collector.connections()), (0, 0));
        let said = text_of(&site.log(name));
        let warning = said.lines().find(|line| line.contains("traces are not sent")).unwrap_or_default();
        let warning: Value = serde_json::from_str(warning).unwrap();
        assert_eq!(warning["level"], "WARN");
        assert!(warning["message"].as_str().unwrap().contains(name), "{warning}");
        assert!(warning["remedy"].as_str().unwrap().contains(remedy), "{warning}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// Names and texts are all known beforehand, and the page says what each attribute is: no receipt, key or hash is one.
fn assert_all_is_of_closed_sets(spans: &[Span]) {
    const TEXTS: &str = "aws_sqs receive process settle logins delete return release postgresql copy insert BEGIN COMMIT \
        INSERT COPY SELECT processed_messages user_logins outbox dead_letters ambiguous of_the_rows of_the_system \
        aborted 23514 25P02 gave_up transaction";
    let is_known = |text: &str| text.split(' ').all(|word| TEXTS.split(' ').any(|known| known == word));
    let page = include_str!("../docs/TRACES.md");
    for span in spans {
        assert!(is_known(&span.name), "{}", span.name);
        assert!(span.events.is_empty() && span.trace_state.is_empty(), "{}", span.name);
        assert!(span.status.as_ref().is_none_or(|status| status.message.is_empty()), "{}", span.name);
        for pair in &span.attributes {
            let (key, value) = (&pair.key, attribute(&span.attributes, &pair.key).unwrap());
            assert!(value.parse::<u16>().is_ok() || is_known(&value), "{key}: {value}");
            assert!(page.contains(&format!("`{key}`")), "docs/TRACES.md does not say what {key} is");
        }
    }
}

async fn site() -> (Site, TestDatabase) {
    let test = TestDatabase::with_tables().await;
    (Site::without_tables(test.url()).await, test)
}

/// A loader that sends its traces there, with a secret.
fn traced(site: &Site, collector: &Collector, arguments: &[&str]) -> Command {
    let mut command = site.command(&["run"]);
    command.args(arguments).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={SECRET}")).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command
}

/// Tells it to end, and sees that it does: within the two seconds for traces, and some for a busy machine.
async fn ends_soon(loader: &mut Loader) -> bool {
    let since = Instant::now();
    loader.terminate();
    let ended = loader.ends_within(Duration::from_secs(20)).await;
    ended.is_some_and(|status| status.success()) && since.elapsed() < Duration::from_secs(10)
}

/// Four logins: one without a context, two from one span, one from AWS's own trace.
async fn send_with_contexts(site: &Site) {
    let client = aws_sdk_sqs::Client::new(&aws_at(&site.sqs.endpoint()));
    let url = site.sqs.queue_url(site.queue());
    let text = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap();
    let system = MessageSystemAttributeValue::builder().data_type("String").string_value(TRACE_HEADER).build().unwrap();
    let send = |user| client.send_message().queue_url(&url).message_body(login(user, "ios"));
    send("u-1").send().await.unwrap();
    for user in ["u-2", "u-3"] {
        send(user).message_attributes("traceparent", text(TRACEPARENT)).send().await.unwrap();
    }
    let header = MessageSystemAttributeNameForSends::AwsTraceHeader;
    send("u-4").message_system_attributes(header, system).send().await.unwrap();
}

fn two_commits_are_cut() -> impl FnMut(Asked) -> Option<Cut> {
    let mut commits = 0;
    move |asked| {
        commits += usize::from(asked.kind == Kind::Commit);
        let cut = Cut { moment: Moment::Before, side: Side::Both, ending: Ending::Close };
        (asked.kind == Kind::Commit && commits <= 2).then_some(cut)
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn the<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    match named(spans, name)[..] {
        [span] => span,
        ref found => panic!("{} spans are named {name}: {:?}", found.len(), spans.iter().map(|span| &span.name)),
    }
}

fn named_of(collector: &Collector, name: &str) -> usize {
    collector.spans().iter().filter(|(_, span)| span.name == name).count()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
