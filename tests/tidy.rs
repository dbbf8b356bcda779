//! The house rules that no compiler checks: who may import whom, where SQL stands, what a file may be.
//!
//! A rule that fails says why it stands. An arrow that is really needed is added to [`ROOMS`], where a reviewer sees it.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::source::{Source, holds_word};

/// Decides and computes: a function of its arguments, without clock, environment, network, database or log.
const CORE: &[&str] =
    &["message", "stream", "login", "rejection", "decode", "fault", "seal", "mask", "verdict", "batch", "retry"];
/// Where the core is: a crate, so that Cargo holds what it may import.
const CORE_SOURCES: &str = "crates/core/src/";
/// Does one thing each with the queue or the database.
const STEPS: &[&str] = &["queue", "receive", "lease", "database", "table", "load", "acknowledge", "sink", "detach"];
/// Composes steps.
const JOBS: &[&str] =
    &["lane", "relay", "prune", "retention", "distribution", "archive", "replay", "discard", "carry", "drain", "audit"];
/// What the steps and jobs stand on.
const GROUND: &[&str] = &["keyring", "config", "shutdown", "metrics", "spans", "telemetry"];

/// Rooms, what they may import, and why no more.
type Rule = (&'static [&'static str], &'static [&'static [&'static str]], &'static str);

/// Who may import whom. Each room may also import itself.
const ROOMS: &[Rule] = &[
    (CORE, &[CORE], "the pure core imports only itself, so that it can be tested and fuzzed without a world around it"),
    (&["aws"], &[CORE, &["http"]], "what the services have in common knows none of them"),
    (&["queue"], &[CORE, &["aws", "metrics"]], "the queue never sees a table, a database or a step"),
    (&["receive"], &[CORE, &["queue"]], "what is in hand is no matter of the database"),
    (&["lease"], &[CORE, &["queue", "failpoint", "metrics"]], "what is in hand is no matter of the database"),
    (
        &["database"],
        &[CORE, &["failpoint", "outage", "metrics"]],
        "the database's calls and deadlines are the same for every table",
    ),
    (&["table"], &[CORE, &["database"]], "a table knows its own rows, and no other table"),
    (
        &["load"],
        &[CORE, &["database", "table", "failpoint", "outage", "pause", "metrics", "spans"]],
        "the transaction has no queue: it only says what is committed",
    ),
    (&["acknowledge"], &[CORE, &["queue", "load"]], "a delete needs the proof of a commit, and no database"),
    (&["detach"], &[CORE, &["database", "table"]], "how a partition goes is the same for every table"),
    (&["sink"], &[CORE, &["queue", "table", "aws", "http"]], "where events go is no matter of how they are found"),
    (
        &["carry"],
        &[CORE, STEPS, &["keyring", "readable"]],
        "a file of letters is written and read by what the tables know, and its times as scripts are told them",
    ),
    (
        &["archive"],
        &[CORE, STEPS, &["aws", "failpoint", "readable"]],
        "an archive is written from the tables and read without them, and its times as scripts are told them",
    ),
    (
        JOBS,
        &[CORE, STEPS, &["keyring", "shutdown", "metrics", "spans", "failpoint", "outage", "storm"]],
        "a job calls steps and tables, never another job",
    ),
    (
        &["requeue"],
        &[CORE, STEPS, &["send", "failpoint"]],
        "what goes back to a queue is sent as everything else is, and no job is called",
    ),
    (&["send"], &[CORE, &["queue"], GROUND], "sending needs a queue and nothing behind it"),
    (&["run"], &[CORE, STEPS, GROUND, &["lane", "failpoint", "outage"]], "`run` starts the jobs that go on for ever"),
    (&["check"], &[CORE, STEPS, GROUND, &["keys"]], "a preflight looks at parts and starts no job"),
    (
        &["demo"],
        &[CORE, STEPS, GROUND, JOBS, &["run", "send", "keys", "http"]],
        "the demo is a small world: it may start everything",
    ),
    (
        &["keys"],
        &[CORE, STEPS, &["keyring"]],
        "what the tables know of keys is compared with a keyring, and nothing else",
    ),
    (&["keyring"], &[CORE], "keys come before everything that needs them"),
    (
        &["config"],
        &[CORE, STEPS, JOBS, &["keyring", "failpoint", "metrics", "storm"]],
        "settings know the parts that they set, and start none",
    ),
    (&["shutdown"], &[], "a signal knows nobody: it is asked"),
    (&["failpoint"], &[], "an edge knows nobody: the steps name it"),
    (&["outage", "storm", "pause"], &[], "it notes what it is told, and asks nobody"),
    (&["metrics"], &[CORE, &["outage"]], "a figure knows nobody: it is counted where it happens"),
    (&["spans"], &[CORE], "a span knows nobody: it is filled where the work is done"),
    (
        &["telemetry"],
        &[CORE, &["metrics", "spans", "outage", "http"]],
        "a line of the log renders a snapshot, and nothing else; traces are sent as they come",
    ),
    (
        &["serve"],
        &[CORE, &["queue", "metrics", "telemetry", "outage"]],
        "what is shown is a snapshot: no lane waits for who looks",
    ),
    (&["top"], &[CORE, &["metrics", "http"]], "a loader is watched from outside: only what it serves is known of it"),
    (&["http"], &[], "a request is sent to whom its address names"),
    (&["readable"], &[], "how a time or a text is written depends on nothing else"),
    (
        &["records"],
        &[CORE, &["table", "audit", "check", "readable"]],
        "what scripts are told is the same from every face, and asks nobody",
    ),
    (
        &["console"],
        &[
            CORE,
            &[
                "database", "table", "queue", "discard", "replay", "requeue", "audit", "check", "keyring", "keys",
                "config", "readable", "records", "http", "metrics", "outage",
            ],
        ],
        "a page shows what the library knows, and calls the jobs that the command line calls",
    ),
    (
        &["cli"],
        &[
            CORE,
            STEPS,
            JOBS,
            GROUND,
            &[
                "run", "send", "requeue", "check", "demo", "keys", "serve", "http", "top", "console", "readable",
                "records",
            ],
        ],
        "the command line starts everything",
    ),
    (&["main"], &[&["cli", "telemetry"]], "the program parses, dispatches and turns the end into an exit code"),
    (&["lib"], &[], "the map of the rooms does nothing"),
];

/// Where the program may use the stand-ins: a loader starts no servers.
const USE_STAND_INS: &[&str] = &["src/demo.rs", "src/demo/", "src/cli/local_queue.rs", "src/config/rows/demo.rs"];

/// Where each feature may be asked for: it takes whole modules away, and changes none.
const ASK_FOR: &[(&str, &[&str])] = &[
    ("archive", &["src/lib.rs", "src/cli.rs", "src/config/rows.rs"]),
    ("demo", &["src/lib.rs", "src/main.rs", "src/audit.rs", "src/cli.rs", "src/config/rows.rs"]),
    ("console", &["src/lib.rs", "src/main.rs", "src/cli.rs", "src/config/rows.rs", "src/demo.rs"]),
    ("top", &["src/lib.rs", "src/main.rs", "src/cli.rs", "src/config/rows.rs"]),
    // A span's links have no form without the exporter.
    ("traces", &["src/telemetry.rs", "src/spans.rs"]),
];

/// What the standard library and `time` have of clocks, environment, network and log: no Cargo.toml keeps them out of the core.
const NOT_IN_CORE: &[&str] = &["Instant", "SystemTime", "now_utc", "now_local", "println", "eprintln"];
const NOT_USED_IN_CORE: &[&str] = &["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread"];
/// Addresses are values; only sockets are a network.
const USED_IN_CORE: &[&str] = &["std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr"];

const SQL: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "insert into", "delete from", "select *"];
/// Where a statement may stand that names no table of ours: locks, settings, transaction ids.
const SQL_WITHOUT_TABLES: &[&str] = &["database", "check"];
const TABLES: &[&str] = &[
    "user_logins",
    "processed_messages",
    "identities",
    "queues",
    "dead_letters",
    "outbox",
    "outbox_pruned",
    "turnstile_keys",
    "horizon",
    "relay_sinks",
    "relay_marks",
    "relay_chunks",
    "relay_gaps",
    "relay_failures",
    "operator_actions",
    "replay_plans",
    "replay_plan_letters",
    "dead_letter_revisions",
    "loaders",
    "loader_pauses",
    "partitioning",
    "retired_partitions",
    "archives",
];

/// Tables that grow with the traffic or with the years.
const GROW: &[&str] = &[
    "user_logins",
    "processed_messages",
    "identities",
    "dead_letters",
    "outbox",
    "operator_actions",
    "replay_plans",
    "replay_plan_letters",
    "dead_letter_revisions",
];
/// What bounds a statement over one: a limit, one number for all, or keys.
const BOUNDS: &[&str] =
    &["LIMIT", "count(", "max(", "min(", "sum(", "EXISTS", "= ANY", "message_hash = $", "plan = $1", "unnest"];
/// Rules of an audit, which is a job with a deadline of its own. No page waits for it.
const UNBOUNDED: &str = "src/table/agreement.rs";

const MAX_LINES: usize = 600;
const NO_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

#[test]
fn no_room_imports_what_its_line_does_not_allow() {
    hold("arrows", &sources(), new_arrows);
}

#[test]
fn the_pure_core_has_no_world_around_it() {
    let core: Vec<Source> = sources_below(CORE_SOURCES);
    assert!(CORE.iter().all(|module| core.iter().any(|source| source.path.ends_with(&format!("/{module}.rs")))));
    let found: Vec<_> = core.iter().flat_map(world_in_core).collect();
    assert!(found.is_empty(), "the rule of the pure core is broken (tests/tidy.rs):\n{}\n", found.join("\n"));
}

#[test]
fn sql_stands_in_the_rooms_of_the_tables() {
    hold("SQL", &sources(), sql_outside_tables);
}

#[test]
fn no_statement_reads_a_table_that_grows_without_a_limit() {
    hold("limits", &sources(), unlimited_statements);
    let reads_all =
        Source::new("src/table/x.rs", "fn all() { query(\"SELECT code FROM {own}.dead_letters WHERE true\") }");
    assert_eq!(unlimited_statements(&reads_all).len(), 1);
    let limited = Source::new("src/table/x.rs", "fn few() { query(\"SELECT code FROM {own}.dead_letters LIMIT 5\") }");
    assert_eq!(unlimited_statements(&limited).len(), 0);
}

#[test]
fn every_error_has_a_type() {
    hold("anyhow", &sources(), untyped_errors);
}

#[test]
fn every_file_is_short_enough_and_named_after_what_it_holds() {
    let rust = files().into_iter().filter(|path| path.ends_with(".rs"));
    let found: Vec<_> = rust.flat_map(|path| unwieldy(&path, &read(&path))).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let found: Vec<_> = files().iter().flat_map(|path| private_places(path, &read(path))).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn only_the_demo_and_the_local_queue_use_the_stand_ins() {
    hold("stand-ins", &sources(), stand_ins_in_the_loader);
}

/// Cargo holds the other half of the arrow: the crate cannot import what it does not depend on.
#[test]
fn the_stand_ins_know_nothing_of_turnstile() {
    let manifest = read("crates/stand-ins/Cargo.toml");
    assert!(manifest.contains("name = \"stand-ins\"") && !manifest.contains("turnstile"), "{manifest}");
}

#[test]
fn only_the_maps_ask_for_a_feature() {
    hold("features", &sources(), features_asked_for);
}

fn hold(rule: &str, sources: &[Source], broken: impl Fn(&Source) -> Vec<String>) {
    assert!(sources.len() > 20, "the sources were not found");
    let found: Vec<_> = sources.iter().flat_map(broken).collect();
    assert!(found.is_empty(), "the rule of the {rule} is broken (tests/tidy.rs):\n{}\n", found.join("\n"));
}

fn new_arrows(source: &Source) -> Vec<String> {
    let path = &source.path;
    let room = room_of(source);
    let Some((_, may, because)) = ROOMS.iter().find(|(rooms, _, _)| rooms.contains(&room)) else {
        return vec![format!("{path}: the room `{room}` has no line in ROOMS: say there what it may import")];
    };
    let tables = |module: &[&str]| module.first() == Some(&"table") && module.len() > 1;
    let own = source.module();
    let mut found = Vec::new();
    for import in source.crate_paths() {
        let import: Vec<&str> = import.iter().map(String::as_str).collect();
        let Some(to) = import.first().filter(|to| is_room(to)) else { continue };
        let another_table = tables(&own) && tables(&import) && own[1] != import[1] && TABLES.contains(&import[1]);
        if another_table || (*to != room && !may.iter().any(|rooms| rooms.contains(to))) {
            found.push(format!("{path} imports `{}`, but {because}", import.join("::")));
        }
    }
    found
}

/// Whether the first step of a path is a room, and not an item that the crate's root gives another name.
fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|(rooms, _, _)| rooms.contains(&name))
}

fn room_of(source: &Source) -> &str {
    match source.module().first() {
        Some(room) => room,
        None => source.path.trim_start_matches("src/").trim_end_matches(".rs"),
    }
}

fn world_in_core(source: &Source) -> Vec<String> {
    if !source.path.starts_with(CORE_SOURCES) {
        return Vec::new();
    }
    let words = NOT_IN_CORE.iter().filter(|word| source.has_word(word)).map(|word| (*word).to_owned());
    let paths = NOT_USED_IN_CORE.iter().flat_map(|banned| {
        let root = banned.split("::").next().unwrap_or(banned);
        let used = source.paths_of(root).into_iter().map(|path| path.join("::"));
        used.filter(move |path| path == banned || path.starts_with(&format!("{banned}::")))
    });
    words
        .chain(paths)
        .filter(|used| !USED_IN_CORE.contains(&used.as_str()))
        .map(|used| format!("{} uses `{used}`: the pure core is a function of its arguments", source.path))
        .collect()
}

fn sql_outside_tables(source: &Source) -> Vec<String> {
    let room = room_of(source);
    // A word alone is the name of a statement.
    let is_statement = |text: &str| SQL.iter().any(|word| holds_word(text, word) && text != *word);
    let names_a_table = |text: &str| TABLES.iter().any(|table| holds_word(text, table));
    source
        .literals
        .iter()
        .filter(|(_, text)| room != "table" && is_statement(text))
        .filter(|(_, text)| !SQL_WITHOUT_TABLES.contains(&room) || names_a_table(text))
        // What somebody is advised to type is no statement of ours.
        .filter(|(_, text)| !["GRANT", "setval"].iter().any(|word| holds_word(text, word)))
        .map(|(line, _)| {
            let path = &source.path;
            format!("{path}:{line}: SQL over our tables stands in src/table/*.rs, where it is read beside its table")
        })
        .collect()
}

fn unlimited_statements(source: &Source) -> Vec<String> {
    let reads = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.windows(2).any(|pair| {
            let table = pair[1].rsplit('.').next().unwrap_or_default();
            let table = table.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
            ["FROM", "JOIN"].contains(&pair[0]) && GROW.contains(&table)
        })
    };
    let changes = |text: &str| ["INSERT", "UPDATE", "DELETE"].iter().any(|word| holds_word(text, word));
    let found = source.literals.iter().filter(|(_, text)| holds_word(text, "SELECT") && reads(text) && !changes(text));
    let found = found.filter(|(_, text)| source.path != UNBOUNDED && !BOUNDS.iter().any(|bound| text.contains(bound)));
    found.map(|(line, _)| format!("{}:{line}: of a table that grows, a page would wait for all", source.path)).collect()
}

fn untyped_errors(source: &Source) -> Vec<String> {
    source
        .has_word("anyhow")
        .then(|| format!("{}: a caller must see which error it is, and a command what to do about it", source.path))
        .into_iter()
        .collect()
}

fn stand_ins_in_the_loader(source: &Source) -> Vec<String> {
    let path = &source.path;
    let allowed = USE_STAND_INS.iter().any(|place| path == place || (place.ends_with('/') && path.starts_with(place)));
    let found = !allowed && source.has_word("stand_ins");
    found.then(|| format!("{path} uses the stand-ins: only {USE_STAND_INS:?} may")).into_iter().collect()
}

fn features_asked_for(source: &Source) -> Vec<String> {
    let path = &source.path;
    let asks = |feature: &str| {
        source.code.contains("feature = \"\"") && source.literals.iter().any(|(_, text)| text == feature)
    };
    let found = ASK_FOR.iter().filter(|(feature, places)| asks(feature) && !places.contains(&path.as_str()));
    found.map(|(feature, places)| format!("{path} asks for the feature `{feature}`: only {places:?} may")).collect()
}

fn unwieldy(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let long =
        (lines > MAX_LINES).then(|| format!("{path} has {lines} lines, at most {MAX_LINES}: it holds two things"));
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let unnamed = stem.split('_').any(|word| NO_NAMES.contains(&word));
    let unnamed = unnamed.then(|| format!("{path}: the name says nothing; name the file after what it holds"));
    long.into_iter().chain(unnamed).collect()
}

fn private_places(path: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not name them; the last is where this checkout lies.
    let homes = ["home", "Users", "root"].map(|folder| format!("/{folder}/"));
    let checkout = env!("CARGO_MANIFEST_DIR").to_owned();
    // A short one, as in a container, is a part of other paths.
    let checkout = Some(checkout).filter(|checkout| checkout.matches('/').count() > 1);
    let places = homes.into_iter().chain(checkout);
    places
        .filter(|place| text.contains(place))
        .map(|place| format!("{path} names {place}, which is nowhere else"))
        .collect()
}

fn sources() -> Vec<Source> {
    sources_below("src/")
}

fn sources_below(folder: &str) -> Vec<Source> {
    let rust = files().into_iter().filter(|path| path.starts_with(folder) && path.ends_with(".rs"));
    rust.map(|path| Source::new(&path, &read(&path))).collect()
}

/// Every text file of the project, below its folder.
fn files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            let built = matches!(name.as_str(), "target" | ".git" | ".venv" | "__pycache__" | "artifacts" | "coverage");
            match path.is_dir() {
                true if !built => folders.push(path),
                false if name != ".git" && fs::read_to_string(&path).is_ok() => found.push(below(root, path)),
                true | false => {}
            }
        }
    }
    found.sort();
    found
}

fn below(root: &Path, path: PathBuf) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn a_new_arrow_breaks_the_rule_of_the_arrows() {
    for (path, code) in [
        ("src/retry.rs", "use crate::keyring::Keyring;"),
        ("src/table/outbox.rs", "use super::user_logins::Row;"),
        ("src/table/outbox.rs", "use crate::table::{dead_letters::Row, outbox::Event};"),
        ("src/queue/sqs/http.rs", "use crate::database::Pool;"),
        ("src/lane.rs", "fn f() { crate::replay::run() }"),
        ("src/load.rs", "use crate::cli::Outcome;"),
        ("src/unknown_room.rs", ""),
    ] {
        assert_eq!(new_arrows(&Source::new(path, code)).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("src/table/outbox.rs", "use super::outbox::Row; use crate::message::MessageHash;"),
        ("src/queue/sqs/http.rs", "use super::state::State; use crate::queue::sqs::Settings;"),
        ("src/cli/run.rs", "use super::Outcome; use crate::{config, run};"),
    ] {
        assert_eq!(new_arrows(&Source::new(path, code)), Vec::<String>::new(), "{path}: {code}");
    }
}

#[test]
fn a_clock_or_a_socket_breaks_the_rule_of_the_pure_core() {
    for code in [
        "use std::time::{Duration, Instant};",
        "use std::net::TcpStream;",
        "fn f() { std::env::var(n) }",
        "fn f() { OffsetDateTime::now_utc() }",
    ] {
        assert_eq!(world_in_core(&Source::new("crates/core/src/mask.rs", code)).len(), 1, "{code}");
        assert!(world_in_core(&Source::new("src/lane.rs", code)).is_empty());
    }
    let allowed = "use std::net::{IpAddr, Ipv4Addr}; use std::time::Duration; // an Instant";
    assert!(world_in_core(&Source::new("crates/core/src/mask.rs", allowed)).is_empty());
}

#[test]
fn a_statement_over_our_tables_breaks_the_rule_of_the_sql() {
    let found = |path: &str, text: &str| sql_outside_tables(&Source::new(path, &format!("q({text:?})"))).len();
    assert_eq!(found("src/audit.rs", "SELECT 1"), 1);
    assert_eq!(found("src/database.rs", "SELECT pg_advisory_lock(1)"), 0);
    assert_eq!(found("src/database/pool.rs", "DELETE FROM outbox"), 1);
    assert_eq!(found("src/table/outbox.rs", "DELETE FROM outbox"), 0);
    assert_eq!(found("src/check.rs", "GRANT INSERT ON outbox TO loader"), 0);
    assert_eq!(found("src/relay/begin.rs", "SELECT setval('outbox_position_seq', 1)"), 0);
    assert_eq!(found("src/queue/sqs.rs", "DeleteMessageBatch"), 0);
    assert_eq!(found("src/load/transaction.rs", "COPY"), 0);
    assert_eq!(found("src/load/transaction.rs", "COPY user_logins"), 1);
}

#[test]
fn a_file_that_is_long_or_nameless_or_uses_what_it_may_not_breaks_its_rule() {
    assert_eq!(unwieldy("src/a.rs", &"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(unwieldy("src/queue_utils.rs", "").len(), 1);
    assert_eq!(unwieldy("src/queue.rs", &"\n".repeat(MAX_LINES)).len(), 0);
    assert_eq!(private_places("a.md", "at home/me/x").len(), 0);
    assert_eq!(private_places("a.md", &["", "home", "me", "x"].join("/")).len(), 1);
    assert_eq!(stand_ins_in_the_loader(&Source::new("src/run.rs", "use stand_ins::sqs::Faults;")).len(), 1);
    assert_eq!(stand_ins_in_the_loader(&Source::new("src/demo/world.rs", "use stand_ins::sqs::Faults;")).len(), 0);
    let asking = "#[cfg(feature = \"demo\")] mod a;";
    assert_eq!(features_asked_for(&Source::new("src/lane.rs", asking)).len(), 1);
    assert_eq!(features_asked_for(&Source::new("src/lib.rs", asking)).len(), 0);
    let asking = "#[cfg(not(feature = \"traces\"))] mod a;";
    assert_eq!(features_asked_for(&Source::new("src/load.rs", asking)).len(), 1);
    assert_eq!(features_asked_for(&Source::new("src/spans.rs", asking)).len(), 0);
    assert_eq!(untyped_errors(&Source::new("src/load.rs", "use anyhow::Result;")).len(), 1);
    assert_eq!(untyped_errors(&Source::new("src/cli/run.rs", "use super::Failure;")).len(), 0);
}
