//! `turnstile top` shows loaders that run, and no figure of one that does not answer as if it were of now.

mod screens;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::served::Served;
use crate::support::wait_until;

/// How many lines are read in vain: two a second, for a minute.
const LINES: usize = 120;

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_once_it_tells_every_figure_with_its_age_and_who_does_not_answer() {
    let served = loaded(40).await;
    let address = served.address.to_string();
    let (code, told) = once(&["--format", "json", &address, NOBODY]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let [live, away] = [&told["loaders"][0], &told["loaders"][1]];
    assert_eq!(
        (code, live["loader"].as_str(), live["state"].as_str()),
        (Some(1), Some(&*address), Some("idle")),
        "{told}"
    );
    let seconds = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {told}"));
    assert!((0.5..2.5).contains(&seconds(&live["window_seconds"])), "{live}");
    assert!(seconds(&live["figures_age_seconds"]) < 3.0 && live["figures_at"].is_string(), "{live}");
    let messages = live["figures"]["messages_total"].as_array().unwrap();
    let of =
        |outcome: &str| messages.iter().find(|sample| sample["labels"]["outcome"] == outcome).unwrap()["value"].clone();
    assert_eq!((of("loaded"), of("absorbed"), &live["imbalance"]), (40.into(), 0.into(), &0.into()));
    let served_figures = turnstile::metrics::Metrics::default().snapshot();
    for (row, _) in served_figures.figures() {
        assert!(live["figures"][row.name].is_array(), "{} is missing", row.name);
    }
    assert_eq!((away["state"].as_str(), away["is_live"].as_bool()), (Some("away"), Some(false)));
    assert!(away["problem"].as_str().unwrap().contains("refused") && away["figures"].is_null(), "{away}");
    let (code, told) = once(&["--json", &address]);
    let short: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &short["loaders"][0]["loader"]), (Some(0), &live["loader"]), "{told}");
    let (code, told) = once(&[&address]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("idle") && told.contains("over") && told.lines().count() == 2, "{told}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn into_a_pipe_it_tells_a_line_a_second_and_a_loader_that_ends_or_is_silent_holds_up_no_other() {
    let served = loaded(1).await;
    let address = served.address.to_string();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let mut top = top(&[&address, &silent_address]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next_of = |whose: &str, said: &str| {
        let line = lines.by_ref().take(LINES).find(|line| line.contains(&format!("{whose} ")) && line.contains(said));
        line.unwrap_or_else(|| panic!("{whose} is never said to be {said}"))
    };
    let live = next_of(&address, ": 0 in/s, 0 loaded/s, lag p50 – p99 –; now: 0 in hand");
    assert!(live.contains(" idle; over ") && live.contains("0 dead letters"), "{live}");
    next_of(&silent_address, " away: no answer within 5 s");
    next_of(&address, "idle; over ");
    served.end().await;
    let away = next_of(&address, "refused");
    assert!(away.contains(" away ") && !away.contains("/s"), "{away}");
    kill(pid(&top), Signal::SIGTERM).unwrap();
    assert_eq!(top.wait().unwrap().code(), Some(0));
}

#[test]
fn it_ends_when_nobody_reads_it_any_more() {
    let mut top = top(&["--format", "json", NOBODY]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(top.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["loaders"][0]["state"], "away");
    assert_eq!(top.wait().unwrap().code(), Some(0));
}

#[test]
fn a_url_that_is_none_is_told_before_anything_is_asked() {
    for (url, problem) in [
        ("ftp://host:1", "URL 1: \"ftp://host:1\" is neither http nor https"),
        ("http://me:sesame@host", "URL 1: holds a user name"),
        ("host:x", "is not the address of a loader"),
    ] {
        let output = top(&["--once", url]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{said}");
        assert!(!said.contains("sesame"), "{said}");
        assert!(said.contains(problem) && said.contains("give host:port or a URL, for example"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_it_draws_takes_keys_and_gives_the_terminal_back_however_it_ends() {
    let served = loaded(1).await;
    let address = served.address.to_string();
    for ending in ["q", "\u{1b}", "\u{3}", "SIGTERM", "SIGINT"] {
        let mut on_terminal = OnTerminal::start(&[&address]);
        wait_until("the loader is shown", async || on_terminal.shown().contains("idle")).await;
        on_terminal.press("?");
        wait_until("the help is shown", async || on_terminal.shown().contains("SentTimestamp")).await;
        on_terminal.press("?");
        match ending {
            "SIGTERM" => kill(pid(&on_terminal.child), Signal::SIGTERM).unwrap(),
            "SIGINT" => kill(pid(&on_terminal.child), Signal::SIGINT).unwrap(),
            key => on_terminal.press(key),
        }
        wait_until("it ends", async || on_terminal.child.try_wait().unwrap().is_some()).await;
        let code = on_terminal.child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{ending:?}: {}", on_terminal.shown());
        let [as_it_was, as_it_is] = [&on_terminal.before, &tcgetattr(&on_terminal.slave).unwrap()];
        assert_eq!(as_it_is.local_flags, as_it_was.local_flags, "{ending:?}: it echoes and takes lines again");
        wait_until("the screen is given back", async || on_terminal.shown().contains("\u{1b}[?1049l")).await;
        assert!(on_terminal.shown().contains("\u{1b}[?25h"), "{ending:?}: no cursor");
    }
    served.end().await;
}

/// A loader that has loaded so many logins and idles.
async fn loaded(logins: usize) -> Served {
    let served = Served::start(&["--wait", "1s"]).await;
    served.site.fill(logins, 0);
    let series = "turnstile_messages_total{outcome=\"loaded\"}";
    wait_until("the logins are loaded", async || served.scrape().await[series] == logins as f64).await;
    // A rate over the time before would be none of an idle loader.
    wait_until("no lane loads", async || served.scrape().await["turnstile_lanes{state=\"loading\"}"] == 0.0).await;
    served
}

fn top(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.env_clear().arg("top").args(arguments);
    command
}

fn once(arguments: &[&str]) -> (Option<i32>, String) {
    let output = top(&["--once"]).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// `turnstile top` on a terminal of 80×24.
struct OnTerminal {
    child: Child,
    master: File,
    slave: File,
    before: nix::sys::termios::Termios,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    fn start(arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let (master, slave) = (File::from(master), File::from(slave));
        let before = tcgetattr(&slave).unwrap();
        let side = || Stdio::from(slave.try_clone().unwrap());
        let child = top(arguments).env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reading, into) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, master, slave, before, shown }
    }

    /// All that was written to the terminal.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}
