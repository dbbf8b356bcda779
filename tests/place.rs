//! A dead letter says where its body is wrong, so that few bodies need to be opened for it, and nothing of what stands there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnstile::decode::{Form, Rejection};
use turnstile::fault::Fault;
use turnstile::stream::LOGIN;
use turnstile::verdict::{Content, Judge};

use crate::support::postgres::TestDatabase;
use crate::support::program::text_of;
use crate::support::site::Site;
use crate::support::tables::{Ended, Tables};
use crate::support::verdicts::{QUEUE_ARN, batch, judge, judge_of, keyring, login, message};

/// A body that is not a login, with the code, the field, the pointer and the piece that is wrong.
type Broken = (Vec<u8>, &'static str, Option<&'static str>, Option<&'static str>, Vec<u8>);

/// Bodies that are broken in several ways, each of which holds canaries.
fn broken() -> Vec<Broken> {
    let good = login("canary", "ios");
    let with = |from: &str, to: &str| {
        let body = good.replacen(from, to, 1);
        assert_ne!(body, good, "{from}");
        body
    };
    let long = "canary ".repeat(20);
    let lacking = with(r#","locale":"DE""#, "");
    let whole = format!("[{good}]");
    let of_fields = [
        (with("203.0.113.7", "203.0.113.7:8080"), "invalid_ip", Some("ip"), Some("/ip"), "203.0.113.7:8080"),
        (with("2.3.1", "2.3-canary"), "version_pre_release", Some("app_version"), Some("/app_version"), "2.3-canary"),
        (with(r#""2.3.1""#, "[ 2, 3 ]"), "wrong_type", Some("app_version"), Some("/app_version"), "[ 2, 3 ]"),
        (with("canary", &long), "field_too_long", Some("user_id"), Some("/user_id"), long.as_str()),
        (with("canary", r"canary\u0000"), "nul_character", Some("user_id"), Some("/user_id"), r"canary\u0000"),
        (lacking.clone(), "missing_field", Some("locale"), Some("/locale"), &lacking),
        (with("{", r#"{"i\u0070":"::1","#), "duplicate_key", Some("ip"), Some("/ip"), "ip"),
        (with("{", r#"{"canary":1,"canary":2,"#), "duplicate_key", None, Some(""), "canary"),
        (whole.clone(), "array_body", None, Some(""), &whole),
        (format!("\n{good} \u{e9} canary "), "trailing_data", None, None, "\u{e9} canary"),
        (with(":", ";"), "invalid_json", None, None, ";"),
        (good.trim_end_matches('}').to_owned(), "truncated_json", None, None, ""),
    ];
    let bytes = |(body, code, field, pointer, piece): (String, _, _, _, &str)| {
        (body.into_bytes(), code, field, pointer, piece.as_bytes().to_vec())
    };
    let mut latin_1 = good.clone().into_bytes();
    latin_1[20] = 0xe9;
    of_fields.map(bytes).into_iter().chain([(latin_1, "invalid_utf8", None, None, vec![0xe9])]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_cut_out_of_the_body_that_was_sent_is_the_piece_that_is_wrong() {
    let test = TestDatabase::with_tables().await;
    let site = Site::at(test.url()).await;
    let mut sent: BTreeMap<String, Broken> =
        broken().into_iter().map(|broken| (site.insert(broken.0.clone()), broken)).collect();
    let run = ["run", "--until-empty", "--wait", "1s", "--retry-delay", "0s", "--max-attempts", "2"];
    let ended = site.start(site.command(&run), "log").ended().await;
    assert!(ended.success(), "{}", text_of(&site.log("log")));

    let letters = "SELECT message_id, code, field, place, receive_count, (to_jsonb(l) - 'sealed_body')::text
                   FROM turnstile.dead_letters l";
    for letter in site.client().await.query(letters, &[]).await.unwrap() {
        let (body, code, field, pointer, piece) = sent.remove(letter.get::<_, &str>(0)).unwrap();
        let all: &str = letter.get(5);
        assert_eq!((letter.get(1), letter.get(2)), (code, field), "{all}");
        let fault = Fault::read(&LOGIN, letter.get(3)).unwrap_or_else(|| panic!("{all}"));
        assert_eq!(body[fault.offset..fault.offset + fault.length], piece, "{all}");
        assert_eq!(fault.pointer.map(|pointer| pointer.to_string()).as_deref(), pointer, "{all}");
        assert_eq!(letter.get::<_, i32>(4), 2, "{all}");
        assert!(!all.contains("canary") && !all.contains("203.0.113.7"), "{all}");
    }
    assert!(sent.is_empty(), "{} became no dead letters", sent.len());
}

#[test]
fn a_body_that_comes_again_is_not_looked_at_a_second_time_for_it() {
    let judge = Judge { max_attempts: 3, ..judge() };
    let located = |delivery| match judge.judge(message("m", "[]", delivery)).content {
        Content::Rejected(Rejection::ArrayBody, fault) => fault.is_some(),
        Content::Rejected(..) | Content::Login(_) => panic!("an array"),
    };
    assert_eq!([1, 2, 3, 4].map(located), [false, false, true, true]);
}

#[tokio::test]
async fn the_place_of_an_event_is_that_of_its_column_and_the_field_that_of_the_login() {
    let mut tables = Tables::new().await;
    tables.judge = Judge { form: Form::Event(keyring().unmasker()), ..judge() };
    let event = json!({
        "specversion": "1.0", "type": turnstile::decode::EVENT_TYPE,
        "data": {"user_id": "canary", "app_version": 1, "device_type": "ios", "masked_ip": "203.0.113.7", "locale": null,
                 "masked_device_id": "", "create_date": null},
    })
    .to_string();
    tables.load_rejected(&[("event", &event)]).await;
    let said = show(&tables, "event", &["--format", "json"]).await;
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let offset = event.find("203.0.113.7").unwrap();
    let place = json!({"pointer": "/data/masked_ip", "offset": offset, "length": 11, "shape": "string:digits,points"});
    assert_eq!((&said["code"], &said["field"], &said["place"]), (&"invalid_mask".into(), &"ip".into(), &place));
}

#[tokio::test]
async fn show_and_list_say_where_a_body_is_wrong_and_nothing_of_what_stands_there() {
    let tables = Tables::new().await;
    let body = login("canary", "ios").replace("203.0.113.7", "203.0.113.7:8080");
    tables.load_rejected(&[("port", &body), ("cut", r#"{"ip":"203.0.113.7"#)]).await;

    let offset = body.find("203.0.113.7").unwrap();
    let text = show(&tables, "port", &[]).await;
    let place = format!("at byte {offset} (/ip), a string of 16 bytes: digits, points and colons");
    assert_eq!((line(&text, "field"), line(&text, "place")), (Some("ip"), Some(place.as_str())));
    let json = show(&tables, "port", &["--format", "json"]).await;
    let of_show: Value = serde_json::from_str(&json.stdout).unwrap();
    let place = json!({"pointer": "/ip", "offset": offset, "length": 16, "shape": "string:digits,points,colons"});
    assert_eq!((&of_show["field"], &of_show["place"]), (&"ip".into(), &place));
    let cut = show(&tables, "cut", &[]).await;
    assert_eq!((line(&cut, "field"), line(&cut, "place")), (None, Some("at byte 18, the end of the body")));
    let of_cut = show(&tables, "cut", &["--format", "json"]).await;
    let facts: Value = serde_json::from_str(&of_cut.stdout).unwrap();
    let place = json!({"pointer": null, "offset": 18, "length": 0, "shape": "text"});
    assert_eq!((&facts["field"], &facts["place"]), (&Value::Null, &place));

    let list = ["dead-letters", "list", "--entries", "--code", "invalid_ip", "--format", "json"];
    let list = tables.turnstile(&list).await;
    let entry: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!((&entry["field"], &entry["place"]), (&of_show["field"], &of_show["place"]));
    for said in [text, json, cut, of_cut, list] {
        said.assert_discreet();
    }
}

#[tokio::test]
async fn the_statement_of_the_page_counts_letters_of_one_shape_together() {
    let tables = Tables::new().await;
    let with_port = |user: &str| login(user, "ios").replace("203.0.113.7", "203.0.113.7:80");
    let (one, other) = (with_port("canary"), with_port("another canary"));
    tables.load_rejected(&[("one", &one), ("other", &other), ("array", "[]")]).await;
    let page = include_str!("../docs/OPERATIONS.md");
    let statement = page.split("```").find(|block| block.starts_with("sql\n") && block.contains("(place")).unwrap();
    let rows = tables.client.query(statement.trim_start_matches("sql"), &[]).await.unwrap();
    let row = |row: &tokio_postgres::Row| (row.get(0), row.get(1), row.get(2), row.get(3));
    let expected: [(String, Option<String>, String, i64); 2] = [
        ("invalid_ip".to_owned(), Some("ip".to_owned()), "string:digits,points,colons".to_owned(), 2),
        ("array_body".to_owned(), None, "array".to_owned(), 1),
    ];
    assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_place_that_this_release_cannot_read_is_shown_as_it_is_stored() {
    let tables = Tables::new().await;
    tables.load_rejected(&[("m", "[]")]).await;
    tables.client.batch_execute("UPDATE dead_letters SET place = E'9+9 \\x1b[31mscroll #/x'").await.unwrap();
    let text = show(&tables, "m", &[]).await;
    assert_eq!(line(&text, "place"), Some(r"9+9 \u{1b}[31mscroll #/x"));
    let json = show(&tables, "m", &["--format", "json"]).await;
    let facts: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(facts["place"], "9+9 \u{1b}[31mscroll #/x");
}

#[tokio::test]
async fn a_letter_whose_body_is_right_has_no_place() {
    let mut tables = Tables::new().await;
    let rule = "ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')";
    tables.client.batch_execute(rule).await.unwrap();
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    let refused = [message("refused", &login("canary", "toaster"), 1), message("b", &login("b", "ios"), 1)];
    tables.load_batch(batch(&tables.judge, refused)).await;
    let contradicts = message("contradicts", &login("b", "android"), 1);
    tables.load_batch(batch(&tables.judge, [contradicts])).await;
    let lacks_key = judge_of("attribute:Order", QUEUE_ARN);
    tables.load_batch(batch(&lacks_key, [message("lacks_key", &login("c", "ios"), 1)])).await;
    let horizon = "UPDATE horizon SET retained_since = '2026-03-02'";
    tables.client.batch_execute(horizon).await.unwrap();
    tables.load_batch(batch(&tables.judge, [message("old", "[]", 1)])).await;

    let codes = [
        ("refused", "refused_by_database"),
        ("contradicts", "contradicts"),
        ("lacks_key", "identity_missing"),
        ("old", "older_than_memory"),
    ];
    for (id, code) in codes {
        let text = show(&tables, id, &[]).await;
        assert_eq!((line(&text, "code"), line(&text, "field"), line(&text, "place")), (Some(code), None, None));
        let json = show(&tables, id, &["--format", "json"]).await;
        let facts: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((facts.get("field"), facts.get("place")), (Some(&Value::Null), Some(&Value::Null)), "{id}");
    }
    assert_eq!(tables.count("dead_letters WHERE field IS NULL AND place IS NULL").await, 4);
}

/// What `dead-letters show` says of a message.
async fn show(tables: &Tables, message_id: &str, arguments: &[&str]) -> Ended {
    let sql = "SELECT encode(message_hash, 'hex') FROM dead_letters WHERE message_id = $1";
    let hash: String = tables.client.query_one(sql, &[&message_id]).await.unwrap().get(0);
    let shown = tables.turnstile(&[&["dead-letters", "show", &hash], arguments].concat()).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    shown
}

/// The fact of this name.
fn line<'s>(shown: &'s Ended, name: &str) -> Option<&'s str> {
    shown.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  ").map(str::trim))
}
