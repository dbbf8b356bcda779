//! What `--help`, the manual and the completions say is complete, and holds no secret.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Arg;
use turnstile::cli::command;
use turnstile::config::rows::{self, ALL};
use turnstile::config::{Default, Row, page};

use crate::support::postgres::TestDatabase;
use crate::support::site::Site;

/// Commands that only have others below them.
const GROUPS: [&str; 6] = ["keys", "dead-letters", "dead-letters plans", "outbox", "outbox failures", "config"];

/// Read by the build, in test builds, and where servers are started for a demo: not settings of a job.
const NO_SETTINGS: [&str; 4] = ["TURNSTILE_COMMIT", "TURNSTILE_PG_BIN", "TURNSTILE_FAILPOINT", "TURNSTILE_MUTANT"];

#[test]
fn every_number_is_documented_with_its_default_and_its_limits() {
    for row in ALL.iter().filter(|row| row.limits().is_some()) {
        let (help, default) = (row.help(), row.default().text());
        let (least, most) = row.limits().unwrap();
        assert!(help.contains(&format!("[default: {}]", default.unwrap_or_else(|| panic!("{help}")))), "{help}");
        assert!(help.contains(&format!("[{least} to {most}]")), "{help}");
    }
}

#[test]
fn every_default_and_every_limit_is_a_value_that_its_setting_takes() {
    for row in ALL {
        let defaults = match row.default() {
            Default::Unset | Default::Found(_) => vec![],
            Default::Is(text) => vec![(*text).to_owned()],
            Default::Unless { usually, then, .. } => vec![(*usually).to_owned(), (*then).to_owned()],
        };
        let limits = row.limits().into_iter().flat_map(|(least, most)| [least, most]);
        // A word may be the beginning of a value only.
        let words = row.words().iter().filter(|word| !word.ends_with(['/', ':'])).map(|word| (*word).to_owned());
        for text in defaults.into_iter().chain(limits).chain(words) {
            assert_eq!(row.unfit(text.as_ref()), None, "{} {text:?}", row.name());
        }
    }
}

#[test]
fn every_setting_is_taken_by_commands_that_are_there_and_no_two_share_a_flag() {
    for row in ALL {
        for command in row.commands() {
            let Some(flag) = row.flag() else { continue };
            let argument = arguments().into_iter().find(|(of, argument)| of == command && argument.get_id() == flag);
            assert!(argument.is_some(), "{command} --{flag}");
            let same = ALL.iter().filter(|other| other.is_of(command) && other.flag() == Some(flag));
            assert_eq!(same.count(), 1, "{command} --{flag}");
        }
    }
    let with_values =
        arguments().into_iter().filter(|(_, argument)| argument.get_long().is_some() && takes_value(argument));
    // The steps of an edit are no settings: each may be given several times.
    for (command, argument) in with_values.filter(|(_, argument)| argument.get_help_heading() != Some("Editing")) {
        let is_of = |row: &dyn Row| row.is_of(&command) || row.commands().is_empty();
        let is_row = ALL.iter().any(|row| is_of(*row) && row.flag() == argument.get_long());
        assert!(is_row, "{command} {argument} has no row");
    }
}

#[test]
fn every_command_says_how_it_ends_and_shows_examples_that_can_be_typed() {
    for name in commands().iter().filter(|name| !GROUPS.contains(&name.as_str())) {
        let help = help_of(name);
        assert!(help.contains("Exit codes:") && help.contains("130"), "{name}: {help}");
        let examples = help.split("Examples:").nth(1).unwrap_or_else(|| panic!("{name} has no example"));
        let typed = examples.lines().filter_map(|line| line.trim().strip_prefix("turnstile "));
        let typed: Vec<&str> = typed.filter_map(|line| line.split(['|', '>', '<']).next()).collect();
        assert!(!typed.is_empty(), "{name}");
        for line in typed {
            let words = std::iter::once("turnstile").chain(line.split_whitespace());
            command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn the_short_help_is_short_and_the_long_one_has_headings() {
    let (short, long) = (turnstile(&["run", "-h"]), help_of("run"));
    assert!(short.lines().count() <= 72 && !short.contains("Examples:"), "{} lines: {short}", short.lines().count());
    for heading in
        ["Queue:", "Database:", "Keys and masks:", "Identity:", "Lanes:", "Figures and probes:", "Every command:"]
    {
        assert!(long.contains(&format!("\n{heading}\n")), "{heading}: {long}");
    }
    assert!(long.contains("[default: 200ms] [0s to 1m] [env: TURNSTILE_LINGER]"), "{long}");
}

#[test]
fn the_version_names_the_commit_and_the_tables_that_it_needs() {
    let version = turnstile(&["--version"]);
    let needed = turnstile::database::migrate::newest_version();
    assert!(version.starts_with(&format!("turnstile {} (commit ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.trim_end().ends_with(&format!("needs tables of version {needed})")), "{version}");
}

#[test]
fn a_code_that_is_none_is_a_usage_error_that_lists_the_codes() {
    let mut list = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    let refused = list.args(["dead-letters", "list", "--code", "invalid_jsom", "--status", "foo"]).env_clear().output();
    let refused = refused.unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    for part in ["--code: \"invalid_jsom\"", "did you mean \"invalid_json\"?", "older_than_memory", "--status: \"foo\""]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn the_page_of_the_settings_says_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SETTINGS.md");
    if std::env::var_os("TURNSTILE_TEST_WRITE_SETTINGS").is_some() {
        std::fs::write(path, page::settings()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page::settings(),
        "docs/SETTINGS.md is not what the program says: `make settings` writes it anew"
    );
}

#[test]
fn every_variable_is_named_after_its_flag() {
    for row in ALL {
        let (Some(flag), Some(variable)) = (row.flag(), row.variable()) else { continue };
        // The local SQS server is a server of its own: what is set for a loader beside it must not reach it.
        // So is the console, what it shares with other commands aside.
        let prefix = match row.commands() {
            ["console"] => "TURNSTILE_CONSOLE",
            _ if row.is_of("local-queue") => "TURNSTILE_LOCAL_QUEUE",
            _ => "TURNSTILE",
        };
        let expected = match flag {
            "database-url" => "DATABASE_URL".to_owned(),
            flag => format!("{prefix}_{}", flag.replace('-', "_").to_uppercase()),
        };
        assert_eq!(variable, &*expected);
    }
    // The last two say in short what --log-level says.
    let is_setting = |argument: &Arg| !["help", "version", "quiet", "verbose"].contains(&argument.get_id().as_str());
    for (command, argument) in arguments().into_iter().filter(|(command, _)| command == "run") {
        let has_variable = rows::settings().any(|row| row.flag() == argument.get_long());
        assert_eq!(has_variable, is_setting(&argument), "{command} {argument}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_on_when_its_variable_says_anything_but_no() {
    let test = TestDatabase::empty().await;
    let site = Site::without_tables(test.url()).await;
    let run = |value: &str| {
        let mut run = site.command(&["run"]);
        run.envs([("TURNSTILE_UNTIL_EMPTY", value), ("TURNSTILE_MIGRATE", value)]);
        run.stdout(Stdio::piped()).output().unwrap()
    };
    for no in ["", "0", "false", "off"] {
        let output = run(no);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains("run `turnstile migrate`"), "{no:?}: {said}");
    }
    let output = run("1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_variable_that_the_program_reads_is_in_a_help_text() {
    let mut variables = BTreeSet::new();
    variables_of(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut variables);
    assert!(variables.contains("TURNSTILE_KEYS") && variables.contains("TURNSTILE_LANES"));
    let helps: String = commands().iter().map(|name| help_of(name)).collect();
    for variable in variables.iter().filter(|variable| !NO_SETTINGS.contains(&variable.as_str())) {
        assert!(helps.contains(variable), "{variable}");
    }
}

#[test]
fn check_takes_exactly_what_run_takes() {
    let of = |name: &str| -> Vec<String> {
        arguments()
            .into_iter()
            .filter(|(command, _)| command == name)
            .map(|(_, argument)| argument.to_string())
            .collect()
    };
    // And how it answers, and what a relay would carry to.
    let is_of_run = |argument: &String| !["--format ", "--to "].iter().any(|more| argument.starts_with(more));
    let of_check: Vec<String> = of("check").into_iter().filter(is_of_run).collect();
    assert_eq!(of_check, of("run"));
    assert!(of("run").len() > 10);
}

#[test]
fn no_help_text_shows_what_a_variable_holds_that_may_be_a_secret() {
    for name in commands() {
        let help = help_of(&name);
        assert!(!help.contains(SECRET), "{name}: {help}");
    }
}

#[test]
fn the_manual_and_the_completions_name_every_command() {
    let page = turnstile(&["man"]).replace('\\', "");
    for name in commands() {
        let first = name.split(' ').next().unwrap();
        assert!(page.contains(&format!("turnstile-{first}(1)")), "{name}");
    }
    // Where the set of values is closed, shells complete it.
    for word in ["base64", "dead-letter", "discarded", "older_than_memory", "lost_reply", "powershell"] {
        assert!(turnstile(&["completions", "bash"]).contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = turnstile(&["completions", shell]);
        for name in commands().iter().flat_map(|name| name.split(' ')).chain(["visibility-timeout"]) {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command_with_every_flag_and_variable() {
    let folder = tempfile::tempdir().unwrap();
    turnstile(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap().replace('\\', "");
    assert!(page("turnstile.1").contains("SUBCOMMANDS"));
    let page_of = |command: &str| page(&format!("turnstile-{}.1", command.replace(' ', "-")));
    for command in commands() {
        assert!(page_of(&command).contains("SYNOPSIS"), "{command}");
        let has_commands = GROUPS.contains(&command.as_str());
        for heading in [".SH \"EXIT STATUS\"", ".SH EXAMPLES"].iter().filter(|_| !has_commands) {
            assert!(page_of(&command).contains(heading), "{command} {heading}");
        }
    }
    for (command, argument) in arguments() {
        let page = page_of(&command);
        assert!(argument.get_long().is_none_or(|flag| page.contains(&format!("--{flag}"))), "{command} {argument}");
    }
    for row in ALL {
        for command in row.commands() {
            let variable = row.variable().filter(|_| row.flag().is_some());
            assert!(variable.is_none_or(|variable| page_of(command).contains(variable)), "{command} {}", row.name());
        }
    }
}

/// What every variable holds that is set for [`turnstile`].
const SECRET: &str = "sesame";

fn help_of(command: &str) -> String {
    let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
    turnstile(&arguments)
}

fn turnstile(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_turnstile"))
        .args(arguments)
        .env_clear()
        .envs(
            [
                "DATABASE_URL",
                "PGPASSWORD",
                "TURNSTILE_KEYS",
                "TURNSTILE_KEYRING",
                "TURNSTILE_QUEUE",
                "AWS_SECRET_ACCESS_KEY",
            ]
            .map(|variable| (variable, SECRET)),
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every command and command of a command, as one types it after the program's name: `run`, `keys new`.
fn commands() -> Vec<String> {
    built().into_iter().map(|command| name_of(&command)).collect()
}

/// The flags and values of every command, with the command's name.
fn arguments() -> Vec<(String, Arg)> {
    let of = |command: clap::Command| {
        let name = name_of(&command);
        command.get_arguments().cloned().map(move |argument| (name.clone(), argument)).collect::<Vec<_>>()
    };
    built().into_iter().flat_map(of).collect()
}

fn built() -> Vec<clap::Command> {
    let mut program = command().disable_help_subcommand(true);
    program.build();
    let mut to_do: Vec<clap::Command> = program.get_subcommands().cloned().collect();
    let mut all = Vec::new();
    while let Some(command) = to_do.pop() {
        to_do.extend(command.get_subcommands().cloned());
        all.push(command);
    }
    all
}

fn name_of(command: &clap::Command) -> String {
    command.get_bin_name().unwrap().trim_start_matches("turnstile ").to_owned()
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

/// Collects every `TURNSTILE_…` in the source.
fn variables_of(folder: &Path, variables: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            variables_of(&path, variables);
            continue;
        }
        // It names those that set nothing, too.
        if path.ends_with("config/given.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("TURNSTILE_").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            if !name.is_empty() {
                variables.insert(format!("TURNSTILE_{name}"));
            }
        }
    }
}
