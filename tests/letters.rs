//! Dead letters are found by what is wrong with them, and a list says what it leaves out.

mod pages;

use std::fs::File;
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};
use turnstile::rejection::Rejection;

use crate::grants::as_user;
use crate::support::program;
use crate::support::tables::{Ended, Tables};

/// Writes so many open dead letters of the queue `logins`, a second apart up to now. `set` says in SQL over `n`, which counts
/// them, what other columns hold.
pub(crate) async fn write(tables: &Tables, letters: i32, set: &[(&str, &str)]) {
    let given = |column: &str| set.iter().find(|(name, _)| *name == column).map(|(_, value)| (*value).to_owned());
    let or = |column: &str, usually: &str| given(column).unwrap_or_else(|| usually.to_owned());
    let (status, name) = (or("status", "'open'"), format!("{set:?}").replace('\'', "''"));
    let sql = format!(
        "INSERT INTO dead_letters (sent_at, message_hash, queue, code, detail, field, sealed_body, message_id, receive_count,
                                   received_at, dead_lettered_at, status, resolved_at, resolved_by)
         SELECT {sent_at}, sha256(convert_to('{name}' || n, 'UTF8')), {queue}, {code}, {detail}, {field}, 'sealed', {message_id},
                3, now(), {at}, {status}, CASE WHEN {status} <> 'open' THEN now() END, CASE WHEN {status} <> 'open' THEN 'ada' END
         FROM generate_series(1, {letters}) AS n",
        sent_at = or("sent_at", "now()"),
        queue = or("queue", "'arn:aws:sqs:eu-central-1:123456789012:logins'"),
        code = or("code", "'invalid_json'"),
        detail = or("detail", "'in words'"),
        field = or("field", "NULL"),
        message_id = or("message_id", "'id ' || n"),
        at = or("dead_lettered_at", "now() - interval '1 s' * n"),
    );
    tables.client.batch_execute(&sql).await.unwrap();
}

/// Runs `turnstile dead-letters list`.
async fn list(tables: &Tables, more: &[&str]) -> Ended {
    let listed = tables.turnstile(&[&["dead-letters", "list"], more].concat()).await;
    listed.assert_discreet();
    listed
}

fn objects(listed: &Ended) -> Vec<Value> {
    assert_eq!(listed.code, 0, "{listed:?}");
    listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What stands in the objects under these names.
fn values(listed: &Ended, names: &[&str]) -> Vec<Value> {
    let values = |object: &Value| names.iter().map(|name| object[name].clone()).collect::<Vec<_>>();
    objects(listed).iter().map(|object| Value::from(values(object))).collect()
}

#[tokio::test]
async fn groups_are_by_code_then_by_field_and_refused_logins_by_what_refused_them() {
    let tables = Tables::new().await;
    let refused =
        Rejection::RefusedByDatabase { sqlstate: "23514".to_owned(), constraint: Some("no_toaster".to_owned()) };
    let refused = format!("'{refused}'");
    write(&tables, 2, &[("code", "'invalid_ip'"), ("field", "'ip'")]).await;
    write(&tables, 3, &[("code", "'null_field'"), ("field", "'ip'")]).await;
    write(&tables, 4, &[("code", "'null_field'"), ("field", "'user_id'"), ("queue", "'arn:other'")]).await;
    write(&tables, 1, &[("code", "'null_field'"), ("field", "'user_id'")]).await;
    write(&tables, 2, &[("code", "'contradicts'"), ("detail", "'of hash ' || n")]).await;
    write(&tables, 2, &[("code", "'refused_by_database'"), ("detail", &refused)]).await;
    write(&tables, 1, &[("code", "'refused_by_database'"), ("detail", "'another'")]).await;
    write(&tables, 9, &[("code", "'invalid_ip'"), ("field", "'ip'"), ("status", "'discarded'")]).await;

    let groups = list(&tables, &["--format", "ndjson"]).await;
    let refused = refused.trim_matches('\'');
    let expected = [
        json!(["open", "null_field", "user_id", null, 5]),
        json!(["open", "null_field", "ip", null, 3]),
        json!(["open", "refused_by_database", null, refused, 2]),
        json!(["open", "refused_by_database", null, "another", 1]),
        json!(["open", "contradicts", null, null, 2]),
        json!(["open", "invalid_ip", "ip", null, 2]),
        json!(["discarded", "invalid_ip", "ip", null, 9]),
    ];
    assert_eq!(values(&groups, &["status", "code", "field", "detail", "letters"]), expected);
    for group in objects(&groups) {
        assert!(group["first"].as_str() <= group["last"].as_str() && group["or_more"] == false, "{group}");
    }
    let text = list(&tables, &[]).await;
    text.assert_said(0, &["field or rule", "user_id", "SQLSTATE 23514, constraint no_toaster"]);
}

#[tokio::test]
async fn a_list_says_once_of_each_of_its_codes_what_usually_causes_it_and_what_to_do() {
    let tables = Tables::new().await;
    write(&tables, 1, &[("code", "'null_field'"), ("field", "'ip'")]).await;
    write(&tables, 1, &[("code", "'null_field'"), ("field", "'locale'")]).await;
    write(&tables, 1, &[("code", "'of_a_later_version'")]).await;
    let listed = list(&tables, &[]).await;
    let told = Rejection::advice("null_field").unwrap();
    listed.assert_said(0, &["of_a_later_version", told.body, told.cause, told.remedy]);
    let lines: Vec<&str> = listed.stdout.lines().filter(|line| line.contains("What to do: ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("null_field: "), "{listed:?}");
}

#[tokio::test]
async fn a_share_is_of_the_messages_that_were_sent_last() {
    let tables = Tables::new().await;
    let claims = "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
                  SELECT CASE WHEN n <= 30 THEN '1970-01-01Z' ELSE now() - interval '1 ms' * n END,
                         sha256(int8send(n)), 'loaded', 'x', sha256('x'), now() FROM generate_series(1, $1::bigint) AS n";
    tables.client.execute(claims, &[&430_i64]).await.unwrap();
    write(&tables, 3, &[("code", "'invalid_ip'"), ("field", "'ip'")]).await;
    write(&tables, 2, &[("sent_at", "timestamptz '1970-01-01Z'")]).await;
    let recent = ["code", "recent_letters", "recent_messages"];
    let listed = list(&tables, &["--format", "json"]).await;
    assert_eq!(values(&listed, &recent), [json!(["invalid_ip", 3, 400]), json!(["invalid_json", 0, 400])]);
    let text = list(&tables, &[]).await;
    text.assert_said(0, &["0.75 %", "0 %", "share: how many of the 400 messages that were sent last"]);

    tables.client.batch_execute("TRUNCATE processed_messages").await.unwrap();
    tables.client.execute(claims, &[&12_000_i64]).await.unwrap();
    let listed = list(&tables, &["--format", "json", "--code", "invalid_ip"]).await;
    assert_eq!(values(&listed, &recent), [json!(["invalid_ip", 3, 10_000])]);
}

#[tokio::test]
async fn many_letters_are_counted_up_to_a_limit_which_is_said() {
    let tables = Tables::new().await;
    write(&tables, 10_000, &[]).await;
    let page = ["--entries", "--limit", "1"];
    list(&tables, &page).await.assert_said(0, &["the newest 1 of 10,000:"]);
    write(&tables, 1, &[("field", "'ip'")]).await;
    list(&tables, &page).await.assert_said(0, &["the newest 1 of 10,000+:"]);
    // Of many kinds of letters, fewer of each are counted.
    let letters = ["letters", "or_more"];
    let json = ["--format", "json", "--code", "invalid_json"];
    assert_eq!(values(&list(&tables, &json).await, &letters), [json!([10_000, false]), json!([1, false])]);
    write(&tables, 100, &[("queue", "'arn:' || n")]).await;
    assert_eq!(values(&list(&tables, &json).await, &letters)[0], json!([1_100, true]));
    list(&tables, &[]).await.assert_said(0, &["1,100+"]);
}

#[tokio::test]
async fn each_filter_narrows_groups_and_entries_alike() {
    let tables = Tables::new().await;
    let hour = "now() - interval '1 h' * n";
    write(&tables, 4, &[("code", "'invalid_ip'"), ("field", "'ip'"), ("dead_lettered_at", hour)]).await;
    write(&tables, 3, &[("code", "'null_field'"), ("field", "'locale'"), ("queue", "'arn:aws:sqs:x:1:rare'")]).await;
    write(&tables, 2, &[("code", "'null_field'"), ("field", "'ip'"), ("status", "'absorbed'")]).await;
    write(&tables, 1, &[("code", "'refused_by_database'"), ("detail", "'ip'")]).await;
    for (filter, found) in [
        (&["--status", "all"][..], 10),
        (&["--status", "open"], 8),
        (&["--code", "null_field", "--status", "all"], 5),
        (&["--field", "ip", "--status", "all"], 6),
        (&["--field", "ip", "--code", "null_field", "--status", "absorbed"], 2),
        (&["--queue", "rare", "--status", "all"], 3),
        (&["--queue", "arn:aws:sqs:x:1:rare", "--status", "all"], 3),
        (&["--since", "150m", "--code", "invalid_ip", "--status", "all"], 2),
        (&["--until", "150m", "--code", "invalid_ip", "--status", "all"], 2),
        (&["--since", "210m", "--until", "90m", "--status", "all"], 2),
    ] {
        let groups = list(&tables, &[&["--format", "json"], filter].concat()).await;
        let sum: u64 = objects(&groups).iter().map(|group| group["letters"].as_u64().unwrap()).sum();
        let entries = list(&tables, &[&["--entries", "--format", "json"], filter].concat()).await;
        assert_eq!((sum, objects(&entries).len()), (found, usize::try_from(found).unwrap()), "{filter:?}");
    }
    let of_message = list(&tables, &["--entries", "--format", "json", "--message-id", "id 4"]).await;
    assert_eq!(values(&of_message, &["code", "message_id"]), [json!(["invalid_ip", "id 4"])]);
}

#[tokio::test]
async fn a_page_ends_with_what_the_next_one_begins_with() {
    let tables = Tables::new().await;
    write(&tables, 7, &[]).await;
    for sort in ["newest", "oldest"] {
        let all = ["--entries", "--format", "json", "--sort", sort];
        let whole = list(&tables, &all).await;
        assert_eq!(whole.stderr.lines().find(|line| line.contains("--after")), None, "{whole:?}");
        let (mut pages, mut after) = (String::new(), None);
        loop {
            let more = after.iter().flat_map(|after: &String| ["--after", after.as_str()]);
            let page: Vec<&str> = all.into_iter().chain(["--limit", "3"]).chain(more).collect();
            let page = list(&tables, &page).await;
            pages += &page.stdout;
            let Some((_, place)) = page.stderr.split_once("--after ") else { break };
            after = Some(place.split_whitespace().next().unwrap().to_owned());
        }
        assert_eq!((objects(&whole).len(), pages), (7, whole.stdout), "{sort}");
    }
}

#[tokio::test]
async fn a_filter_that_finds_nothing_says_what_it_was_and_how_many_letters_it_leaves_out() {
    let tables = Tables::new().await;
    let filter = ["--status", "discarded", "--code", "invalid_ip", "--field", "ip", "--since", "1h"];
    let said = "no discarded dead letters with the code invalid_ip with the field ip since 20";
    for kind in [&[][..], &["--entries"]] {
        let nothing = list(&tables, &[kind, &filter].concat()).await;
        nothing.assert_said(0, &[said]);
        assert!(!nothing.stdout.contains("open"), "{nothing:?}");
    }
    write(&tables, 2, &[]).await;
    for kind in [&[][..], &["--entries"]] {
        let nothing = list(&tables, &[kind, &filter].concat()).await;
        nothing.assert_said(0, &[said, "2 other dead letters are open"]);
        for format in ["json", "csv"] {
            let nothing = list(&tables, &[kind, &filter, &["--format", format]].concat()).await;
            assert_eq!(nothing.stdout.lines().count(), usize::from(format == "csv"), "{nothing:?}");
            assert!(nothing.stderr.contains(said) && nothing.stderr.contains("2 other"), "{nothing:?}");
        }
    }
    let queue = list(&tables, &["--queue", "login"]).await;
    queue.assert_said(
        0,
        &["no dead letters from the queue login;", "came from: arn:aws:sqs:eu-central-1:123456789012:logins"],
    );
    let message = list(&tables, &["--entries", "--message-id", "nobody's"]).await;
    message.assert_said(0, &["no open dead letters with the MessageId nobody's; 2 other dead letters are open"]);
}

#[tokio::test]
async fn a_slip_in_a_filter_is_told_with_what_was_meant() {
    let tables = Tables::new().await;
    for (filter, told) in [
        (&["--code", "invalid_jsom"][..], "did you mean \"invalid_json\"?"),
        (&["--field", "divice_id"], "did you mean \"device_id\"?"),
        (&["--status", "opne"], "did you mean \"open\"?"),
        (&["--sort", "newst", "--entries"], "did you mean \"newest\"?"),
        (&["--format", "ndjsn"], "did you mean \"ndjson\"?"),
        (&["--entries", "--after", "76ae79cd"], "is not the end of a page"),
        (&["--since", "1h", "--until", "2h"], "leave no time between them"),
        (&["--message-id", "x"], "add --entries"),
        (&["--sort", "oldest"], "add --entries"),
    ] {
        let refused = list(&tables, filter).await;
        assert!(refused.code == 2 && refused.stderr.contains(told), "{filter:?}: {refused:?}");
    }
}

#[tokio::test]
async fn lists_for_scripts_say_the_same_in_each_format() {
    let tables = Tables::new().await;
    let odd = "E'a \"detail\", of\\n two lines'";
    write(&tables, 2, &[("code", "'refused_by_database'"), ("detail", odd)]).await;
    write(&tables, 1, &[("code", "'null_field'"), ("field", "'ip'"), ("status", "'replayed'")]).await;
    for kind in [&["--status", "all"][..], &["--entries", "--status", "all"]] {
        let as_format = async |format| list(&tables, &[kind, &["--format", format]].concat()).await;
        let json = as_format("json").await;
        assert_eq!(as_format("ndjson").await.stdout, json.stdout);
        let csv = as_format("csv").await.stdout;
        let mut lines = csv::Reader::from_reader(csv.as_bytes());
        let names = lines.headers().unwrap().clone();
        let records: Vec<csv::StringRecord> = lines.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), objects(&json).len());
        for (object, record) in objects(&json).iter().zip(&records) {
            assert_eq!(names.len(), object.as_object().unwrap().len(), "{names:?}, {object}");
            for (name, cell) in names.iter().zip(record) {
                let value = match &object[name] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                assert_eq!(cell, value, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn on_a_terminal_a_table_is_as_wide_as_it_and_elsewhere_it_is_whole() {
    let tables = Tables::new().await;
    write(
        &tables,
        3,
        &[("code", "'null_field'"), ("field", "'device_id'"), ("detail", "'the end of ' || repeat('x', 99)")],
    )
    .await;
    for (more, width, kept) in [(&["--entries"][..], 76, "null_field"), (&[], 60, "device_id")] {
        let shown = on_terminal(&tables, more, width);
        let table: Vec<&str> = shown.lines().take_while(|line| !line.is_empty() && !line.contains(": ")).collect();
        assert!(table.iter().all(|line| line.chars().count() <= usize::from(width)), "{shown}");
        assert!(table.iter().filter(|line| line.contains(kept)).all(|line| line.ends_with('…')), "{shown}");
        assert!(table.iter().filter(|line| line.contains(kept)).count() > 0, "{shown}");
    }
    let piped = list(&tables, &["--entries"]).await;
    assert!(piped.stdout.contains(&"x".repeat(99)) && !piped.stdout.contains('…'), "{piped:?}");
}

#[tokio::test]
async fn no_list_reads_a_body() {
    let tables = Tables::new().await;
    write(&tables, 3, &[("code", "'null_field'"), ("field", "'ip'")]).await;
    let role = format!("test_lister_{}", std::process::id());
    let columns = "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'dead_letters'::regclass
                   AND attnum > 0 AND attname <> 'sealed_body'";
    let columns: String = tables.client.query_one(columns, &[]).await.unwrap().get(0);
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'sesame'; GRANT USAGE ON SCHEMA turnstile TO {role};
         GRANT SELECT ({columns}) ON dead_letters TO {role};
         GRANT SELECT (sent_at, message_hash) ON processed_messages TO {role};
         GRANT SELECT (code, became, became_at) ON replay_plan_letters TO {role};
         GRANT SELECT (id, done_at, role, person, action, letters, subject, sent_at, message_hash, reason, plan)
             ON operator_actions TO {role};
         GRANT SELECT (version) ON refinery_schema_history TO {role}"
    );
    tables.client.batch_execute(&make).await.unwrap();
    let lister = Tables::at(&as_user(&tables.url, &role), Duration::from_secs(30)).await;
    for more in [&[][..], &["--entries"], &["--entries", "--limit", "1"], &["--entries", "--message-id", "id 1"]] {
        list(&lister, more).await.assert_said(0, &["null_field", "ip"]);
    }
    list(&lister, &["--code", "invalid_ip"]).await.assert_said(0, &["3 other dead letters are open"]);
    let body = lister.client.query("SELECT sealed_body FROM dead_letters", &[]).await;
    assert!(body.is_err(), "the role may read no body");
    drop(lister);
    tables.client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

/// What a list shows on a terminal of this width.
fn on_terminal(tables: &Tables, more: &[&str], width: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).unwrap();
    let mut command: Command = program::command(program::turnstile(), &tables.url, &tables.keyring_file());
    let mut child = command.args(["dead-letters", "list"]).args(more).stdout(terminal.slave).spawn().unwrap();
    // The command holds the terminal's other side, too.
    drop(command);
    assert!(child.wait().unwrap().success());
    let (mut shown, mut bytes) = (Vec::new(), [0; 4096]);
    let mut screen = File::from(terminal.master);
    // A terminal that nobody writes to any more is an error to read.
    while let Ok(count @ 1..) = screen.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(shown).unwrap().replace('\r', "")
}
