//! The demo holds its promise, lets itself be ended at any time, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

#[cfg(feature = "console")]
use crate::console::Browser;
use crate::support::postgres::connect;
use crate::support::wait_until;

/// A demo whose temporary folders are all in one of ours: what is left in it was left behind.
struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    said: String,
    place: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        // As temporary folders are: where we are root, another user runs PostgreSQL, whose watchdog removes its own.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnstile"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output, said: String::new(), place }
    }

    /// Reads what the demo says up to a line that holds `text`.
    fn read_until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.output.read_line(&mut line).unwrap();
            self.said.push_str(&line);
            assert!(read > 0, "the demo ended without saying {text:?}:\n{}", self.said);
        }
    }

    fn send(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Reads to the end of what the demo says, and waits until it has ended.
    fn end(&mut self) -> ExitStatus {
        std::io::Read::read_to_string(&mut self.output, &mut self.said).unwrap();
        self.process.wait().unwrap()
    }

    async fn leaves_nothing_behind(&self) {
        let place = self.place.path();
        wait_until("no folder is left", async || fs::read_dir(place).unwrap().next().is_none()).await;
        wait_until("no process is left", async || processes_that_name(place).is_empty()).await;
    }

    /// The setting that the demo said how to export.
    fn exported(&self, name: &str) -> String {
        let start = format!("  export {name}='");
        let value = self.said.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('\''));
        value.unwrap_or_else(|| panic!("no {name} in:\n{}", self.said)).to_owned()
    }

    /// The figure behind the name of a line of the report.
    fn figure(&self, name: &str) -> u64 {
        let figure = self.said.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        let figure = figure.unwrap_or_else(|| panic!("no {name:?} in:\n{}", self.said));
        figure.replace(',', "").parse().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Already ended by a test that came so far.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Processes that were started with `place` in their arguments or environment; elsewhere than on Linux none is known.
fn processes_that_name(place: &Path) -> Vec<String> {
    let place = place.to_str().unwrap();
    let names_it = |file: &Path| fs::read(file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(place));
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|process| process.path())
        .filter(|process| names_it(&process.join("cmdline")) || names_it(&process.join("environ")))
        .map(|process| process.display().to_string())
        .collect()
}

#[tokio::test]
async fn the_demo_reports_that_the_promise_held_and_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--messages", "300", "--seed", "7"]);
    let status = demo.end();
    assert_eq!(status.code(), Some(0), "{}", demo.said);
    let figures = ["sent", "loaded", "dead-lettered", "lost", "doubled", "misrouted", "leaked"];
    assert_eq!(figures.map(|name| demo.figure(name)), [300, 290, 10, 0, 0, 0, 0], "{}", demo.said);
    assert!(demo.figure("delivered") > 300, "{}", demo.said);
    let of_the_loaders = ["books", "lag", "transactions", "calls a message", "cost of a million"];
    let promised =
        ["duplicates absorbed", "messages/s", "latency p50", "latency p99", "announced", "masked_device_id", "kill -9"];
    for promised in promised.into_iter().chain(of_the_loaders) {
        assert!(demo.said.contains(promised), "{promised}:\n{}", demo.said);
    }
    demo.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_kept_demo_says_how_to_connect_and_ends_with_ctrl_c() {
    let mut demo = Demo::start(&["--messages", "40", "--keep"]);
    demo.read_until("audit");
    let client = connect(&demo.exported("DATABASE_URL")).await;
    let rows: i64 = client.query_one("SELECT count(*) FROM user_logins", &[]).await.unwrap().get(0);
    assert_eq!(u64::try_from(rows).unwrap(), demo.figure("loaded"));
    let recovered = demo.said.lines().find(|line| line.contains(" unmask ")).unwrap();
    let masked = recovered.split_whitespace().last().unwrap();
    let unmask = Command::new(env!("CARGO_BIN_EXE_turnstile"))
        .args(["unmask", masked])
        .env("TURNSTILE_KEYRING", demo.exported("TURNSTILE_KEYRING"))
        .output()
        .unwrap();
    let clear = String::from_utf8(unmask.stdout).unwrap();
    assert!(clear.trim().parse::<std::net::IpAddr>().is_ok(), "{clear}");

    demo.send(Signal::SIGINT);
    assert_eq!(demo.end().code(), Some(0));
    demo.leaves_nothing_behind().await;
}

#[cfg(feature = "console")]
#[tokio::test]
async fn a_demo_with_the_console_says_where_it_is_and_who_may_sign_in_and_ends_with_ctrl_c() {
    let mut demo = Demo::start(&["--messages", "40", "--console"]);
    demo.read_until("The console is at");
    let line = demo.said.lines().last().unwrap().to_owned();
    let between = |before: &str, after: &str| {
        let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {line:?}"));
        rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {line:?}")).0
    };
    let (role, password) = (between("role: ", ","), between("password: ", ")"));
    let mut browser = Browser::at(between("http://", "/").parse().unwrap());
    browser.get("/sign-in").await.assert_says(200, &["name=\"password\"", "demo"]);
    assert_eq!(browser.sign_in(role, "another").await.status, 401);
    assert_eq!(browser.sign_in(role, password).await.status, 303);

    // Every page has something to show. As JSON: pages name every code and action in their filters.
    browser.get("/").await.assert_says(200, &["dead letters are open"]);
    for (page, shown) in [
        ("/dead-letters.json?status=open", &["\"code\":\"version_pre_release\"", "\"code\":\"truncated_json\""][..]),
        ("/dead-letters.json?status=discarded", &["\"code\":\"invalid_json\""]),
        ("/plans.json", &["\"of\":\"code version_pre_release\"", "\"state\":\"ready\"", "\"state\":\"done\""]),
        ("/actions.json", &["\"role\":\"demo\"", "\"action\":\"discarded\"", "\"action\":\"replayed\""]),
        ("/outbox.json", &["\"sink\":\"demo\""]),
        ("/check.json", &["\"findings\""]),
    ] {
        browser.get(page).await.assert_says(200, shown);
    }
    browser.get("/audit").await.assert_says(200, &["action=\"/audit/run\""]);

    demo.send(Signal::SIGINT);
    assert_eq!(demo.end().code(), Some(0), "{}", demo.said);
    demo.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_demo_that_is_interrupted_in_the_middle_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--messages", "100000"]);
    wait_until("a loader runs", async || a_loader_writes(demo.place.path())).await;
    demo.send(Signal::SIGINT);
    assert_eq!(demo.end().code(), Some(130), "{}", demo.said);
    demo.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_demo_that_is_killed_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--messages", "100000"]);
    wait_until("a loader runs", async || a_loader_writes(demo.place.path())).await;
    demo.send(Signal::SIGKILL);
    demo.end();
    demo.leaves_nothing_behind().await;
}

#[test]
fn a_demo_of_no_messages_is_refused_with_the_remedy() {
    let refused = Command::new(env!("CARGO_BIN_EXE_turnstile"))
        .args(["demo", "--messages", "0", "--seed", "x"])
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("--messages") && text.contains("1 to 1000000") && text.contains("--seed"), "{text}");
}

fn a_loader_writes(place: &Path) -> bool {
    let demo = fs::read_dir(place).unwrap().flatten().map(|entry| entry.path());
    demo.map(|folder| folder.join("loader-1.log")).any(|log| fs::metadata(log).is_ok_and(|log| log.len() > 0))
}
