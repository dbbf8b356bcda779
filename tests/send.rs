//! `turnstile send`: every line is in the queue, or named.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufReader, Cursor, Read};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use aws_config::SdkConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use turnstile::queue::sqs::{Outgoing, Sender, SqsSettings};
use turnstile::queue::{Code, Fault};
use turnstile::send::{Bodies, EndedEarly, NotSent, SendReport, send};

use crate::support::scripted_http::{Asked, Reply, ScriptedHttp, aws_at, md5_of};
use crate::support::verdicts::login;

#[tokio::test]
async fn every_line_is_sent_once_and_ten_go_in_a_call() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let report = send_lines(&server, "logins", &lines(95)).await;
    assert_eq!((report.sent, report.last_line, report.perhaps_twice), (95, 95, 0));
    assert!(report.is_complete());
    assert_eq!(counts(&server), lines(95).lines().map(|line| (line.to_owned(), 1)).collect());
    assert_eq!(server.asked("SendMessageBatch").len(), 10);
}

#[tokio::test]
async fn an_entry_that_the_queue_could_not_take_is_sent_again_alone() {
    let server = ScriptedHttp::start(|asked, before| match before {
        0 => refusing(asked, &["line 3", "line 7"], "InternalError", false),
        _ => taken(asked),
    })
    .await;
    let report = send_lines(&server, "logins", &lines(10)).await;
    assert_eq!((report.sent, report.perhaps_twice, report.is_complete()), (10, 0, true));
    assert_eq!(bodies(&server.asked("SendMessageBatch")[1]), ["line 3", "line 7"]);
}

#[tokio::test]
async fn a_line_that_the_queue_does_not_like_is_named_by_number_and_code_and_never_by_content() {
    let server = ScriptedHttp::start(|asked, _| refusing(asked, &["line 4"], "InvalidMessageContents", true)).await;
    let report = send_lines(&server, "logins", &lines(12)).await;
    assert_eq!(report.not_sent, [NotSent { line: 4, code: "InvalidMessageContents".to_owned() }]);
    assert_eq!((report.sent, report.is_complete()), (11, false));
    assert!(!format!("{report:?}").contains("line 4"), "{report:?}");
    assert!(counts(&server).values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_line_that_makes_the_queue_refuse_the_whole_call_holds_no_other_back() {
    let server = ScriptedHttp::start(|asked, _| match bodies(&asked.body).contains(&"line 7".to_owned()) {
        true => Reply::error(400, "InvalidMessageContents"),
        false => taken(asked),
    })
    .await;
    let report = send_lines(&server, "logins", &lines(10)).await;
    assert_eq!(report.not_sent, [NotSent { line: 7, code: "InvalidMessageContents".to_owned() }]);
    assert_eq!((report.sent, report.stopped.is_none()), (9, true));
}

#[tokio::test]
async fn a_batch_that_is_too_long_for_the_queue_is_sent_in_parts_and_only_what_is_too_long_alone_is_not() {
    const LIMIT: usize = 256 * 1024;
    type Spelling = fn() -> Reply;
    let spellings: [Spelling; 3] = [
        || Reply::error(400, "BatchRequestTooLong"),
        || {
            let name = "AWS.SimpleQueueService.BatchRequestTooLong;Sender";
            Reply::error(400, "BatchRequestTooLong").with_header("x-amzn-query-error", name)
        },
        || Reply::error(400, "AWS.SimpleQueueService.BatchRequestTooLong"),
    ];
    for too_long in spellings {
        let server =
            ScriptedHttp::start(move |asked, _| match bodies(&asked.body).iter().map(String::len).sum::<usize>() {
                ..=LIMIT => taken(asked),
                _ => too_long(),
            })
            .await;
        let file = format!("{}{}\nshort\n", format!("{}\n", "x".repeat(100_000)).repeat(8), "x".repeat(300_000));
        let report = send_lines(&server, "logins", &file).await;
        let lines: Vec<u64> = report.not_sent.iter().map(|not_sent| not_sent.line).collect();
        assert_eq!((lines, report.sent, report.stopped.is_none()), (vec![9], 9, true), "{report:?}");
    }
}

#[tokio::test]
async fn a_call_that_fails_in_passing_is_repeated_and_a_lost_reply_is_owned_up_to() {
    for (failure, perhaps_twice) in
        [(Reply::Close, 10), (Reply::error(500, "InternalFailure"), 10), (Reply::error(400, "ThrottlingException"), 0)]
    {
        let failure = Mutex::new(Some(failure));
        let server =
            ScriptedHttp::start(move |asked, _| failure.lock().unwrap().take().unwrap_or_else(|| taken(asked))).await;
        let report = send_lines(&server, "logins", &lines(10)).await;
        assert_eq!((report.sent, report.perhaps_twice, report.is_complete()), (10, perhaps_twice, true));
        assert_eq!(server.asked("SendMessageBatch").len(), 2);
    }
}

#[tokio::test]
async fn lines_that_were_given_up_after_a_lost_reply_are_not_sent_and_perhaps_in_the_queue() {
    let server = ScriptedHttp::start(|asked, before| match (asked.call.as_str(), before) {
        ("SendMessageBatch", 0) => Reply::Close,
        ("SendMessageBatch", _) => Reply::error(403, "AccessDeniedException"),
        _ => taken(asked),
    })
    .await;
    let report = send_lines(&server, "logins", &lines(10)).await;
    assert_eq!((report.sent, report.not_sent_count()), (0, 10));
    assert_eq!((report.perhaps_twice, report.perhaps_sent), (0, 10));
}

#[tokio::test]
async fn a_queue_that_is_away_took_nothing() {
    let sender = sender_at("http://127.0.0.1:1", "logins", &aws_at("http://127.0.0.1:1")).await;
    let message = Outgoing::of("a");
    let error = sender.send(&[message]).await.unwrap_err();
    assert_eq!((&error.fault, error.status, error.is_for_good()), (&Fault::Unreachable, None, false));
}

#[tokio::test]
async fn a_queue_that_refuses_everything_ends_the_job_and_the_report_says_where() {
    let server = ScriptedHttp::start(|asked, before| match before {
        0 => taken(asked),
        _ => Reply::error(403, "AccessDeniedException"),
    })
    .await;
    let report = send_lines(&server, "logins", &lines(10_000)).await;
    let Some(EndedEarly::Queue(error)) = &report.stopped else { panic!("{report:?}") };
    assert_eq!(error.fault, Fault::Refused(Code::new("AccessDeniedException")));
    assert_eq!(report.sent, 10);
    assert!(report.last_line < 1_000, "{}", report.last_line);
    assert_eq!(report.sent + report.not_sent_count(), report.last_line);
}

#[tokio::test]
async fn a_body_that_arrived_as_another_is_named() {
    let server = ScriptedHttp::start(|asked, _| {
        let mut reply = answer(asked, &[], "", false);
        reply["Successful"][1]["MD5OfMessageBody"] = json!(md5_of(b"something else"));
        Reply::json(reply)
    })
    .await;
    let report = send_lines(&server, "logins", &lines(3)).await;
    assert_eq!(report.not_sent, [NotSent { line: 2, code: "md5".to_owned() }]);
    assert_eq!((report.sent, server.asked("SendMessageBatch").len()), (2, 1));
}

#[tokio::test]
async fn a_fifo_queue_gets_the_lines_in_order_under_ids_that_repetitions_keep() {
    let server = ScriptedHttp::start(|asked, before| match before {
        0 => Reply::Close,
        _ => taken(asked),
    })
    .await;
    let report = send_lines(&server, "logins.fifo", &"same\n".repeat(35)).await;
    assert_eq!((report.sent, report.perhaps_twice, report.is_complete()), (35, 0, true));

    let calls = server.asked("SendMessageBatch");
    assert_eq!(calls[0]["Entries"], calls[1]["Entries"]);
    let entries: Vec<_> = calls.iter().skip(1).flat_map(|call| call["Entries"].as_array().unwrap()).collect();
    let ids: HashSet<_> = entries.iter().map(|entry| entry["MessageDeduplicationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 35);
    assert!(entries.iter().all(|entry| entry["MessageGroupId"] == "the group"));
}

#[tokio::test]
async fn a_standard_queue_gets_neither_group_nor_deduplication_id() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    send_lines(&server, "logins", "a\n").await;
    let entry = &server.asked("SendMessageBatch")[0]["Entries"][0];
    assert_eq!(entry, &json!({"Id": "0", "MessageBody": "a"}));
}

#[tokio::test]
async fn at_most_eight_batches_are_under_way() {
    let server = ScriptedHttp::start(|_, _| Reply::Hang).await;
    let (sender, stop) = (sender(&server, "logins").await, CancellationToken::new());
    let mut last_line = 0;
    let sending = send(Cursor::new(lines(1_000)), Bodies::Raw, &sender, &stop, |report| last_line = report.last_line);
    tokio::time::timeout(Duration::from_secs(2), sending).await.unwrap_err();
    assert_eq!((server.asked("SendMessageBatch").len(), last_line), (8, 80));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_on_is_told_and_what_was_read_is_sent() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let sender = sender(&server, "logins").await;
    let reader = BufReader::new(Cursor::new(lines(20)).chain(Broken));
    let report = send(reader, Bodies::Raw, &sender, &CancellationToken::new(), |_| {}).await;
    assert!(report.stopped.as_ref().is_some_and(|stopped| stopped.to_string().contains("the disk is gone")));
    assert_eq!((report.sent, report.last_line), (20, 20));
}

#[tokio::test]
async fn a_stop_lets_the_batches_under_way_come_home() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let (sender, stop) = (sender(&server, "logins").await, CancellationToken::new());
    let report = send(Cursor::new(lines(100_000)), Bodies::Raw, &sender, &stop, |report| {
        if report.sent >= 50 {
            stop.cancel();
        }
    })
    .await;
    assert!(matches!(report.stopped, Some(EndedEarly::Signal)), "{report:?}");
    assert_eq!(report.sent, report.last_line);
    assert!((50..5_000).contains(&report.sent), "{}", report.sent);
}

#[tokio::test]
async fn the_command_sends_standard_input_and_ends_with_a_line_of_counts() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let (code, out, complaints) = turnstile(&server, &["--queue", "logins", "--raw", "-"], b"a\n\nb\n").await;
    assert_eq!((code, complaints.as_str()), (0, ""));
    assert!(
        out.starts_with("2 messages sent to logins at http://127.0.0.1:") && out.ends_with("1 empty line skipped\n"),
        "{out}"
    );
}

#[tokio::test]
async fn the_command_fails_when_a_line_was_not_sent_and_shows_no_body() {
    let server = ScriptedHttp::start(|asked, _| refusing(asked, &["secret"], "InvalidMessageContents", true)).await;
    let (code, out, complaints) = turnstile(&server, &["--queue", "logins", "--raw", "-"], b"a\nsecret\n\xff\n").await;
    assert_eq!(code, 1);
    assert_eq!(complaints, "line 2: not sent: InvalidMessageContents\nline 3: not sent: not-utf-8\n");
    assert!(out.contains("2 not sent") && !out.contains("secret"), "{out}");
}

#[tokio::test]
async fn the_command_tells_all_mistakes_at_once() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let wrong = ["--queue", "no queue", "--wait-for-queue", "soon", "/nonexistent"];
    let (code, out, complaints) = turnstile(&server, &wrong, b"").await;
    assert_eq!((code, out.as_str()), (2, ""));
    let named = ["TURNSTILE_QUEUE", "TURNSTILE_WAIT_FOR_QUEUE", "/nonexistent"];
    assert!(named.iter().all(|name| complaints.contains(name)), "{complaints}");
}

#[tokio::test]
async fn a_file_that_is_no_login_a_line_is_refused_with_the_way_to_make_it_one_and_nothing_is_sent() {
    let good = login("u", "ios");
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&good).unwrap()).unwrap();
    for (file, words) in [
        (pretty.into_bytes(), ["line 1 ", "jq -c . "]),
        (format!("[{good},\n{good}]\n").into_bytes(), ["line 1 ", "jq -c '.[]' "]),
        (format!("\n[\n{good}\n]\n").into_bytes(), ["line 2 ", "jq -c '.[]' "]),
        (format!("\u{feff}{good}\n").into_bytes(), ["byte order mark", "tail -c +4 "]),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\n".to_vec(), ["gzip", "zcat "]),
        ([&b"\xff\xfe"[..], b"{\0"].concat(), ["UTF-16", "iconv "]),
        (
            format!("{good}\n").repeat(14).into_bytes().into_iter().chain(*b"canary\n{}\n").collect(),
            ["line 15", "line 16"],
        ),
        (format!("{good}\n{}", "x".repeat(2 << 20)).into_bytes(), ["line 2", "too-long"]),
    ] {
        let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&named, &file).unwrap();
        let name = named.path().to_str().unwrap();
        for (flag, answer) in [("--wait-for-queue=0s", ""), ("--dry-run", "to be sent")] {
            let (code, out, complaints) = turnstile(&server, &["--queue", "logins", flag, name], b"").await;
            assert_eq!(code, 1, "{words:?}");
            assert!(words.iter().all(|word| complaints.contains(word)), "{words:?}: {complaints}");
            assert!(complaints.contains("nothing was sent") && out.contains(answer), "{words:?}: {out}{complaints}");
            assert!(!complaints.contains("canary"), "{complaints}");
        }
        assert!(server.asked("GetQueueUrl").is_empty() && server.asked("SendMessageBatch").is_empty());
        // Where it cannot be looked through before, what stands before the first bad line is sent.
        let (code, _, complaints) = turnstile(&server, &["--queue", "logins", "-"], &file).await;
        assert_eq!(code, 1, "{words:?}");
        assert!(words[..1].iter().all(|word| complaints.contains(word)), "{words:?}: {complaints}");
        assert!(counts(&server).keys().all(|body| *body == good));
    }
}

#[tokio::test]
async fn standard_input_is_sent_up_to_the_first_line_that_is_no_login_and_the_answer_says_how_far() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let good = (0..25).map(|n| login(&format!("user {n}"), "ios") + "\n").collect::<String>();
    let input = format!("{good}\n{}\n{good}", login("secret", "ios").replace("device_type", "secret"));
    let (code, out, complaints) = turnstile(&server, &["--queue", "logins", "-"], input.as_bytes()).await;
    assert_eq!(code, 1);
    assert!(complaints.contains("line 27 is not a login: missing_field"), "{complaints}");
    assert!(complaints.contains("no line from 27 on was sent"), "{complaints}");
    assert!(out.starts_with("25 messages sent to logins at "), "{out}");
    assert!(!complaints.contains("secret") && !out.contains("secret"));
    assert_eq!(counts(&server), good.lines().map(|line| (line.to_owned(), 1)).collect());
}

#[tokio::test]
async fn a_file_of_logins_is_sent_and_a_rehearsal_sends_nothing_and_needs_no_queue() {
    let server = ScriptedHttp::start(|asked, _| taken(asked)).await;
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&named, format!("{0}\r\n\n{0}", login("u", "ios"))).unwrap();
    let name = named.path().to_str().unwrap();
    let (code, out, complaints) = turnstile(&server, &["--dry-run", name], b"").await;
    assert_eq!(
        (code, out.as_str(), complaints.as_str()),
        (0, "2 messages to be sent, 1 empty line to be skipped\n", "")
    );
    assert!(counts(&server).is_empty());

    let (code, out, complaints) = turnstile(&server, &["--queue", "logins", name], b"").await;
    assert_eq!((code, complaints.as_str()), (0, ""));
    assert!(out.starts_with("2 messages sent to logins at http://127.0.0.1:"), "{out}");
    let (code, out, _) = turnstile(&server, &["--dry-run", "--raw", "-"], b"a\n\xff\n").await;
    assert_eq!((code, out.as_str()), (1, "1 message to be sent\n"));
    let (code, out, _) = turnstile(&server, &["--dry-run", "--raw", "--format", "json", "-"], b"a\n\xff\n").await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["sendable"], &answer["wrong"]), (1, &1.into(), &1.into()));
}

async fn turnstile(server: &ScriptedHttp, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_turnstile"))
        .arg("send")
        .args(args)
        .env_clear()
        .envs([("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])
        .env("AWS_ENDPOINT_URL", server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    child.stdin.take().unwrap().write_all(input).await.ok();
    let ended = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

async fn send_lines(server: &ScriptedHttp, queue: &str, lines: &str) -> SendReport {
    let sender = sender(server, queue).await;
    send(Cursor::new(lines.to_owned()), Bodies::Raw, &sender, &CancellationToken::new(), |_| {}).await
}

async fn sender(server: &ScriptedHttp, queue: &str) -> Sender {
    sender_at(&server.url(), queue, &server.aws()).await
}

async fn sender_at(endpoint: &str, queue: &str, aws: &SdkConfig) -> Sender {
    let url = format!("{endpoint}/000000000000/{queue}");
    Sender::connect_with(&SqsSettings::new(url.parse().unwrap()), "the group", aws).await.unwrap()
}

/// `line 1`, `line 2`, …
fn lines(count: usize) -> String {
    (1..=count).map(|number| format!("line {number}\n")).collect()
}

fn taken(asked: &Asked) -> Reply {
    match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        _ => refusing(asked, &[], "", false),
    }
}

fn refusing(asked: &Asked, refused: &[&str], code: &str, sender_fault: bool) -> Reply {
    match asked.call.as_str() {
        "SendMessageBatch" => Reply::json(answer(asked, refused, code, sender_fault)),
        _ => taken(asked),
    }
}

fn answer(asked: &Asked, refused: &[&str], code: &str, sender_fault: bool) -> Value {
    let entries = asked.body["Entries"].as_array().unwrap();
    let (failed, successful): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| refused.contains(&entry["MessageBody"].as_str().unwrap()));
    let done = |entry: &&Value| {
        let md5 = md5_of(entry["MessageBody"].as_str().unwrap().as_bytes());
        json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": md5})
    };
    let no = |entry: &&Value| json!({"Id": entry["Id"], "Code": code, "SenderFault": sender_fault});
    json!({
        "Successful": successful.iter().map(done).collect::<Vec<_>>(),
        "Failed": failed.iter().map(no).collect::<Vec<_>>(),
    })
}

fn bodies(call: &Value) -> Vec<String> {
    let entries = call["Entries"].as_array().into_iter().flatten();
    entries.map(|entry| entry["MessageBody"].as_str().unwrap().to_owned()).collect()
}

/// How often each body was sent.
fn counts(server: &ScriptedHttp) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for call in server.asked("SendMessageBatch") {
        bodies(&call).into_iter().for_each(|body| *counts.entry(body).or_default() += 1);
    }
    counts
}
