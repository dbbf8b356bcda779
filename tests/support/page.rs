//! A page whose steps are typed into a shell, and what is seen there.

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

use super::LONG_PATIENCE;
use super::site::Site;

/// What is typed, and lines of what is seen then. Where nothing is said of what is seen, it is typed once; else until it is seen.
pub(crate) struct Step {
    pub(crate) typed: String,
    pub(crate) shown: Vec<String>,
}

/// The steps of a page, or of a part of it.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
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
pub(crate) struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where its pg_ctl leaves what is to be done.
    asked: std::path::PathBuf,
}

const END: &str = "-- end of the step";

impl Shell {
    pub(crate) fn start(site: &Site, folder: &Path) -> Self {
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
    pub(crate) async fn types(&mut self, typed: &str, shown: &[String], database: &mut Postgres) {
        let since = Instant::now();
        loop {
            let seen = self.once(typed, database).await;
            let missing = not_in(shown, &seen);
            if missing.is_empty() {
                return;
            }
            assert!(since.elapsed() < LONG_PATIENCE, "{typed}\nlacks {missing:?}:\n{}", seen.join("\n"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What one typing shows.
    async fn once(&mut self, typed: &str, database: &mut Postgres) -> Vec<String> {
        self.type_in(typed);
        if typed.contains("pg_ctl ") {
            self.obey(database).await;
        }
        self.seen()
    }

    /// Types a step once, and says what is seen; all must be that should.
    pub(crate) fn types_once(&mut self, Step { typed, shown }: &Step) -> Vec<String> {
        self.type_in(typed);
        let seen = self.seen();
        let missing = not_in(shown, &seen);
        assert!(missing.is_empty(), "{typed}\nlacks {missing:?}:\n{}", seen.join("\n"));
        seen
    }

    fn type_in(&mut self, typed: &str) {
        write!(self.input, "{{\n{typed}\n}} 2>&1\necho '{END}'\n").unwrap();
    }

    fn seen(&mut self) -> Vec<String> {
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

/// What should be seen, and is not.
fn not_in<'s>(shown: &'s [String], seen: &[String]) -> Vec<&'s String> {
    shown.iter().filter(|line| !seen.iter().any(|seen| is_like(seen, line))).collect()
}

/// Whether a line is as it is shown; what it leaves out is `…`.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.trim().split('…');
    let Some(mut rest) = line.trim().strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let ends_open = shown.trim().ends_with('…');
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
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
