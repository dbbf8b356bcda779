//! Every error that ends a command has one shape: `error: WHAT`, and below it what to do.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::postgres::TestDatabase;

/// A folder with what the commands are given: a keyring, files of logins.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    crate::support::verdicts::masters().write_new(&folder.path().join("keyring")).unwrap();
    std::fs::write(folder.path().join("array"), "[\n{}\n]\n").unwrap();
    std::fs::write(folder.path().join("lines"), "no login\n").unwrap();
    std::fs::write(folder.path().join("logins"), crate::support::verdicts::login("u-1", "ios") + "\n").unwrap();
    folder
}

/// Runs a command in that folder, with a queue and a database at a port where nobody listens.
fn turnstile(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.args(arguments).current_dir(folder).env_clear().env("TURNSTILE_KEYRING", folder.join("keyring"));
    command.env("DATABASE_URL", "postgres://me@127.0.0.1:1/logins").env("USER", "me").env("TURNSTILE_QUEUE", "logins");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "eu-central-1");
    command
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    command.envs(variables.iter().copied()).output().unwrap()
}

#[tokio::test]
async fn every_error_that_ends_a_command_says_what_to_do_on_a_line_of_its_own() {
    let (folder, empty) = (folder(), TestDatabase::empty().await);
    let tables = [("DATABASE_URL", empty.url())];
    let none: &[(&str, &str)] = &[];
    let long = "0123456789abcdef";
    for (arguments, variables, what, remedy) in [
        (&["audit"][..], none, "connection refused", "listen_addresses"),
        (&["migrate", "--status"], none, "connection refused", "listen_addresses"),
        (&["audit"], &tables, "no tables of Turnstile", "turnstile migrate"),
        (&["dead-letters", "list"], &tables, "no tables of Turnstile", "turnstile migrate"),
        (&["dead-letters", "show", long], none, "connection refused", "listen_addresses"),
        (&["dead-letters", "show", "xyz"], none, "is not a message hash", "at least the first 8"),
        (&["keys", "register"], &tables, "no tables of Turnstile", "turnstile migrate"),
        (&["keys", "new", "--keyring", "keyring"], none, "is not overwritten", "--add"),
        (&["keys", "list"], &[("TURNSTILE_KEYRING", "/nonexistent")], "cannot read the keyring", "turnstile keys new"),
        (&["unmask", "--mask", "token", "x"], none, "a token is a digest", "--mask seal"),
        (&["mask", "x"], none, "--field", "--field ip"),
        (&["send", "logins", "--wait-for-queue", "0s"], none, "does not answer", "AWS_ENDPOINT_URL"),
        (&["send", "logins"], &[("AWS_REGION", "")], "no AWS region", "set AWS_REGION"),
        (&["send", "logins"], &[("AWS_ACCESS_KEY_ID", "")], "no AWS credentials", "AWS_PROFILE"),
        (&["send", "logins"], &[("AWS_ENDPOINT_URL", "127.0.0.1:1")], "is not a URL", "http://"),
        (&["send", "logins"], &[("AWS_ENDPOINT_URL", "http://h.example")], "in clear", "--allow-clear-queue"),
        (&["send", "logins", "--queue", "http://127.0.0.1:1/1/q"], none, "cannot be reached", "check the network"),
        (&["send", "array"], none, "nothing was sent: line 1 begins a JSON array", "jq -c '.[]'"),
        (&["send", "--dry-run", "array"], none, "nothing was sent: line 1 begins a JSON array", "jq -c '.[]'"),
        (&["send", "nothing"], none, "cannot be read", "- for standard input"),
        (&["run", "--lanes", "0"], none, "--lanes (TURNSTILE_LANES): \"0\"", "from 1 to"),
        (&["local-queue", "--listen", "192.0.2.1:1"], none, "cannot start", "--listen"),
        (&["demo"], &[("TURNSTILE_PG_BIN", "/nonexistent")], "no PostgreSQL server", "TURNSTILE_PG_BIN"),
    ] {
        let output = turnstile(folder.path(), arguments, variables);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {told}");
        // Lines of a file that are not sent are named before.
        let lines = told.lines().filter(|line| !line.starts_with("line ")).collect::<Vec<_>>();
        let [first, second] = lines[..] else { panic!("{arguments:?}: {told}") };
        assert!(
            first.starts_with("error: ") && first.contains(what) && !first.contains(remedy),
            "{arguments:?}: {told}"
        );
        assert!(second.starts_with("    ") && second.contains(remedy), "{arguments:?}: {told}");
    }
}

#[test]
fn several_errors_are_told_at_once_each_with_its_remedy() {
    let folder = folder();
    let output = turnstile(folder.path(), &["run", "--lanes", "0", "--linger", "soon"], &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    let shapes: Vec<bool> = told.lines().map(|line| line.starts_with("error: ")).collect();
    assert_eq!(shapes, [true, false, true, false], "{told}");
}

#[test]
fn lines_that_cannot_be_sent_are_named_before_the_error() {
    let folder = folder();
    let output = turnstile(folder.path(), &["send", "lines"], &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = "line 1: cannot be sent: invalid_json\n\
                    error: nothing was sent: 1 line cannot be\n    mend or remove them, or send with --raw\n";
    assert_eq!(told, expected);
}

/// In text, the log of a loader has the remedy on a line of its own too; in JSON it is a field.
#[test]
fn what_ends_a_loader_is_a_line_of_its_log_with_the_remedy() {
    let folder = folder();
    let wait = ["run", "--wait-for-database", "0s", "--log-format"];
    let text = turnstile(folder.path(), &[&wait[..], &["text"]].concat(), &[]);
    let text = String::from_utf8(text.stderr).unwrap();
    let below = text.split_once("connection refused").unwrap_or_else(|| panic!("{text}")).1;
    assert!(
        text.contains("ERROR connect to 127.0.0.1:1") && below.contains("\n    look whether the server runs"),
        "{text}"
    );

    let json = turnstile(folder.path(), &[&wait[..], &["json"]].concat(), &[]);
    let json = String::from_utf8(json.stderr).unwrap();
    let line: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((json.lines().count(), line["level"].as_str()), (1, Some("ERROR")), "{json}");
    assert!(!line["message"].as_str().unwrap().contains("look"), "{line}");
    assert!(line["remedy"].as_str().unwrap().starts_with("look whether the server runs"), "{line}");
}
