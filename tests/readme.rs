//! What the README and the other pages say is what the program does, and where their links lead is something.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use turnstile::rejection::{Advice, Rejection};

#[test]
fn the_list_of_commands_has_every_command_and_no_other() {
    let told: BTreeSet<String> = rows_under(&page("README.md"), "## Commands")
        .iter()
        .filter(|row| row[0] != "command")
        .flat_map(|row| row[0].split(", ").map(name_of).collect::<Vec<_>>())
        .collect();
    let mut known = BTreeSet::new();
    let mut to_do = vec![(String::new(), built())];
    while let Some((path, command)) = to_do.pop() {
        let inner = command.get_subcommands().map(|inner| {
            let name = format!("{path} {}", inner.get_name()).trim_start().to_owned();
            (name, inner.clone())
        });
        let before = to_do.len();
        to_do.extend(inner);
        // One that can be typed without a further word does something, too.
        if to_do.len() == before || !command.is_subcommand_required_set() {
            known.insert(path);
        }
    }
    assert_eq!(told, known);
}

#[test]
fn every_flag_that_a_page_shows_is_one_of_its_command() {
    let mut shown = 0;
    for path in pages() {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let typed = line.trim().trim_start_matches("$ ");
            let Some(arguments) = typed.strip_prefix("turnstile ") else { continue };
            let words: Vec<&str> = arguments.split('#').next().unwrap().split_whitespace().collect();
            let command = innermost(&words);
            for flag in words.iter().filter_map(|word| word.strip_prefix("--")) {
                let is_known = command.get_arguments().any(|argument| argument.get_long() == Some(flag));
                assert!(is_known, "{}: {line}", path.display());
                shown += 1;
            }
        }
    }
    assert!(shown > 10);
}

#[test]
fn the_policy_allows_the_five_actions_that_the_loader_calls_and_nothing_else() {
    let setup = page("docs/SETUP.md");
    let policy = setup.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let [statement] = policy["Statement"].as_array().unwrap().as_slice() else { panic!("one statement") };
    let allowed: BTreeSet<&str> =
        statement["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
    let called = [
        ("receive_message", "sqs:ReceiveMessage"),
        ("delete_message_batch", "sqs:DeleteMessage"),
        ("change_message_visibility_batch", "sqs:ChangeMessageVisibility"),
        ("get_queue_attributes", "sqs:GetQueueAttributes"),
        ("get_queue_url", "sqs:GetQueueUrl"),
    ];
    assert_eq!(allowed, called.iter().map(|(_, action)| *action).collect());
    let source = page("src/queue/sqs.rs") + &page("src/queue/sqs/connect.rs");
    for (call, action) in called {
        assert!(source.contains(&format!(".{call}()")), "nothing calls for {action}");
    }
}

#[test]
fn the_night_page_says_of_every_code_what_the_program_says() {
    let head = "| code | the body | usual cause | what to do |\n|---|---|---|---|\n";
    let rows: String = Rejection::ADVICE
        .iter()
        .map(|Advice { code, body, cause, remedy }| format!("| `{code}` | {body} | {cause} | {remedy} |\n"))
        .collect();
    let page = page("docs/OPERATIONS.md");
    let (before, rest) = page.split_once(head).expect("the page has the table of the codes");
    let (written, after) = rest.split_once("\n\n").unwrap();
    if std::env::var_os("TURNSTILE_TEST_WRITE_CODES").is_some() {
        let anew = format!("{before}{head}{rows}\n{after}");
        std::fs::write(root().join("docs/OPERATIONS.md"), anew).unwrap();
        return;
    }
    assert!(
        format!("{written}\n") == rows,
        "the codes in docs/OPERATIONS.md are others: `make codes` writes them anew"
    );
}

#[test]
fn every_message_that_the_night_page_explains_is_one_of_the_program() {
    let mut program = String::new();
    for folder in ["src", "crates/core/src", "migrations"] {
        read_sources(&root().join(folder), &mut program);
    }
    let program = without_line_ends(&program);
    let page = page("docs/OPERATIONS.md");
    let rows = rows_with_marks_under(&page, "## At night");
    let prose = prose_under(&page, "## At night");
    // What stands between code marks is the program's, but for what it fills in (`…`) and the server's own codes.
    let in_rows: Vec<&str> = rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)).collect();
    // Prose also has what is to be typed.
    let is_typed = |marked: &str| marked.starts_with("turnstile ") || marked.starts_with("--");
    let in_prose: Vec<&str> = prose.split('`').skip(1).step_by(2).filter(|marked| !is_typed(marked)).collect();
    let messages = |marked: &[&'_ str]| -> Vec<String> {
        let parts = marked.iter().flat_map(|marked| marked.split('…')).map(str::trim);
        parts.filter(|part| part.contains(' ') && !part.contains("SQLSTATE")).map(str::to_owned).collect()
    };
    let (in_rows, in_prose) = (messages(&in_rows), messages(&in_prose));
    assert!(in_rows.len() > 40 && in_prose.len() > 10, "{in_rows:?}, {in_prose:?}");
    let said = in_rows.into_iter().chain(in_prose);
    let by_nothing: Vec<String> = said.filter(|said| !program.contains(said)).collect();
    assert_eq!(by_nothing, [""; 0], "nothing in the program says these");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut followed = 0;
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(headings.contains(anchor), "{}: {link}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 20);
}

/// The cells of the tables under a heading, up to the next one of its level, without their code marks.
fn rows_under(page: &str, heading: &str) -> Vec<Vec<String>> {
    let rows = rows_with_marks_under(page, heading).into_iter();
    rows.map(|row| row.into_iter().map(|cell| cell.replace('`', "")).collect()).collect()
}

fn rows_with_marks_under(page: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect();
    lines_under(page, heading).filter_map(|line| line.strip_prefix("| ")).map(cells).collect()
}

/// What stands outside the tables, in one line.
fn prose_under(page: &str, heading: &str) -> String {
    let lines = lines_under(page, heading).filter(|line| !line.starts_with('|'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The lines under a heading, up to the next one of its level.
fn lines_under<'p>(page: &'p str, heading: &str) -> impl Iterator<Item = &'p str> {
    let next = format!("{} ", heading.split(' ').next().unwrap());
    let lines = page.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(move |line| !line.starts_with(&next))
}

fn read_sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => read_sources(&entry, into),
            false => into.push_str(&fs::read_to_string(&entry).unwrap()),
        }
    }
}

/// A source in which no text goes on in the next line.
fn without_line_ends(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// `keys new` of `turnstile keys new`; a value to fill in is written in capitals.
fn name_of(typed: &str) -> String {
    let words = typed.split(' ').skip(1).filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    words.collect::<Vec<_>>().join(" ")
}

fn built() -> Command {
    let mut program = turnstile::cli::command().disable_help_subcommand(true);
    program.build();
    program
}

/// The command that these words lead to.
fn innermost(words: &[&str]) -> Command {
    let mut command = built();
    for word in words {
        let Some(inner) = command.find_subcommand(word).cloned() else { break };
        command = inner;
    }
    command
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The names under which a page's headings can be linked to.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

fn pages() -> Vec<PathBuf> {
    let at_root = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    at_root.into_iter().chain(docs.filter(|path| path.extension().is_some_and(|end| end == "md"))).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
