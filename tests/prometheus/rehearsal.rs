//! The rehearsal of docs/OPERATIONS.md, typed as it stands there.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use stand_ins::postgres::Postgres;

use super::free_address;
use crate::support::LONG_PATIENCE;
use crate::support::server::{self, installed};
use crate::support::site::Site;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");

/// Where the page's processes listen.
const ADDRESSES: [&str; 3] = ["127.0.0.1:9464", "127.0.0.1:9465", "127.0.0.1:9090"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rehearsal_shows_what_the_page_says() {
    let mut database = server::start(installed()).await;
    let site = Site::at(&database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(&site, folder.path());
    let steps = steps(&fs::read_to_string(PAGE).unwrap());
    assert!(steps.len() > 8, "{}", steps.len());
    for Step { typed, shown } in steps {
        shell.types(&typed, &shown, &mut database).await;
    }
}

/// What is typed, and lines of what is seen then. Where nothing is said of what is seen, it is typed once; else until it is seen.
struct Step {
    typed: String,
    shown: Vec<String>,
}

/// The blocks of code of the page's section, with addresses at which nobody listens yet.
fn steps(page: &str) -> Vec<Step> {
    let section = page.split_once("\n## A rehearsal\n").expect("the section").1.split("\n## ").next().unwrap();
    let section =
        ADDRESSES.iter().fold(section.to_owned(), |text, address| text.replace(address, &free_address().to_string()));
    let mut steps: Vec<Step> = Vec::new();
    for block in section.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "sh" => steps.push(Step { typed: text.to_owned(), shown: Vec::new() }),
            "text" => steps.last_mut().expect("a step").shown.extend(text.lines().map(str::to_owned)),
            other => panic!("a block of {other}"),
        }
    }
    steps
}

/// A shell in which the steps are typed; it and all that it started end with it.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where its pg_ctl leaves what is to be done.
    asked: std::path::PathBuf,
}

const END: &str = "-- end of the step";

impl Shell {
    fn start(site: &Site, folder: &Path) -> Self {
        let programs = folder.join("bin");
        fs::create_dir(&programs).unwrap();
        let asked = folder.join("asked");
        // The server is the test's own: it does what pg_ctl is told, and removes the file then.
        let pg_ctl = format!(
            "#!/bin/sh\nset -e\necho \"$1\" > {0}.new\nmv {0}.new {0}\nwhile [ -e {0} ]; do sleep 0.1; done\n",
            asked.display()
        );
        fs::write(programs.join("pg_ctl"), pg_ctl).unwrap();
        fs::set_permissions(programs.join("pg_ctl"), fs::Permissions::from_mode(0o755)).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_turnstile")).parent().unwrap();
        let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", programs.display(), program.display());
        let environment = site.command(&[]);
        let mut command = Command::new("bash");
        let variables = environment.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(variables).env("PATH", path).current_dir(folder);
        std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"), folder.join("deploy")).unwrap();
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, output, asked }
    }

    /// Types a step, again and again until all is seen that should be.
    async fn types(&mut self, typed: &str, shown: &[String], database: &mut Postgres) {
        let since = Instant::now();
        loop {
            let seen = self.once(typed, database).await;
            let missing: Vec<_> = shown.iter().filter(|line| !seen.iter().any(|seen| is_like(seen, line))).collect();
            if missing.is_empty() {
                return;
            }
            assert!(since.elapsed() < LONG_PATIENCE, "{typed}\nlacks {missing:?}:\n{}", seen.join("\n"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What one typing shows.
    async fn once(&mut self, typed: &str, database: &mut Postgres) -> Vec<String> {
        write!(self.input, "{{\n{typed}\n}} 2>&1\necho '{END}'\n").unwrap();
        if typed.contains("pg_ctl ") {
            self.obey(database).await;
        }
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the shell has ended: {seen:?}");
            match line.trim_end() {
                END => return seen,
                line => seen.push(line.to_owned()),
            }
        }
    }

    /// Does what pg_ctl was told.
    async fn obey(&self, database: &mut Postgres) {
        crate::support::wait_until("pg_ctl is told what to do", async || self.asked.exists()).await;
        match fs::read_to_string(&self.asked).unwrap().trim() {
            "stop" => database.stop().await.unwrap(),
            "start" => database.restart().await.unwrap(),
            other => panic!("pg_ctl {other}"),
        }
        fs::remove_file(&self.asked).unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        killpg(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGKILL).unwrap();
        self.process.wait().unwrap();
    }
}

/// Whether a line is as it is shown; what it leaves out is `…`.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.trim().split('…');
    let Some(mut rest) = line.trim().strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let ends_open = shown.trim().ends_with('…');
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    ends_open || rest.is_empty()
}

#[test]
fn a_line_is_like_another_but_for_what_that_leaves_out() {
    for (line, shown, is) in [
        ("{} => 200 @[1764150000]", "{} => 200 @[…]", true),
        ("{} => 20 @[1764150000]", "{} => 200 @[…]", false),
        ("[-]database failed: away for 31 s", "[-]database failed: away for … s", true),
        ("[+]lanes ok", "[+]lanes ok", true),
        ("[+]lanes ok, and more", "[+]lanes ok", false),
        ("{\"level\":\"INFO\"}", "…INFO…", true),
    ] {
        assert_eq!(is_like(line, shown), is, "{line} {shown}");
    }
}
