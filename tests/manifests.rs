//! What `deploy/` starts is what the program takes: every command line, flag and variable, with its value. Its numbers are those
//! of docs/SCALE.md. What the makers of the platforms say of the files, tests/manifests/run asks.

mod files;
mod numbers;

use std::collections::BTreeSet;

use turnstile::config::Row;
use turnstile::config::rows;
use yaml_rust2::Yaml;

use self::files::{Started, yaml};

/// What a container is given that is no setting of the program: docs/SETTINGS.md names them under *Also read*.
const ALSO_READ: [&str; 1] = ["AWS_REGION"];

#[test]
fn every_command_flag_and_variable_in_deploy_is_one_of_the_program() {
    let started = files::started();
    let wrong: Vec<String> = started.iter().flat_map(wrong_in).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    for (folder, commands) in [
        ("kubernetes", &["run", "relay", "console", "audit", "migrate", "retain", "archive"][..]),
        ("ecs", &["run", "relay", "audit", "migrate", "health", "retain", "archive"]),
        ("systemd", &["run", "relay", "console", "audit", "retain", "archive"]),
    ] {
        let found: BTreeSet<String> =
            started.iter().filter(|one| one.place.starts_with(folder)).map(command_of).collect();
        assert!(commands.iter().all(|command| found.contains(*command)), "{folder} starts {found:?}");
    }
    let variables = started.iter().flat_map(|one| &one.variables).count();
    assert!(variables > 30, "only {variables} variables were found");
}

#[test]
fn every_file_of_variables_in_deploy_is_given_to_a_command() {
    let given: BTreeSet<String> = files::started().into_iter().flat_map(|one| one.maps).collect();
    let made: BTreeSet<String> = files::maps().into_keys().collect();
    assert_eq!(given, made);
}

#[test]
fn a_misspelt_command_flag_or_variable_is_found_and_so_is_a_value_that_does_not_fit() {
    let started = |words: &[&str], variables: &[(&str, &str)]| Started {
        place: "here".to_owned(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect(),
        maps: vec![],
    };
    for (words, variables, said) in [
        (&["rum"][..], &[][..], "rum"),
        (&["run", "--lane", "2"], &[], "--lane"),
        (&["run", "--lanes", "two"], &[], "two"),
        (&["audit", "--lanes", "2"], &[], "--lanes"),
        (&["run"], &[("TURNSTILE_LANE", "2")], "TURNSTILE_LANE"),
        (&["run"], &[("TURNSTILE_LANES", "0")], "TURNSTILE_LANES"),
        (&["run"], &[("DATABASE_URI", "postgres://h/d")], "DATABASE_URI"),
        (&["run"], &[("AWS_REGIO", "eu-central-1")], "AWS_REGIO"),
        (&["migrate"], &[("TURNSTILE_LANES", "2")], "migrate does not take"),
    ] {
        let wrong = wrong_in(&started(words, variables));
        assert!(wrong.len() == 1 && wrong[0].contains(said), "{words:?} {variables:?}: {wrong:?}");
    }
    let right = started(&["run", "--lanes", "2"], &[("TURNSTILE_QUEUE", "logins"), ("AWS_REGION", "eu-central-1")]);
    assert_eq!(wrong_in(&right), [""; 0]);
}

#[test]
fn the_loaders_of_the_templates_may_do_what_the_page_says_and_nothing_else() {
    let setup = files::read("docs/SETUP.md");
    let policy = setup.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let allowed: BTreeSet<&str> =
        policy["Statement"][0]["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
    for template in ["deploy/ecs/turnstile.yaml", "deploy/kubernetes/eks/identity.yaml"] {
        let document = yaml(template).remove(0);
        let [policy] = document["Resources"]["LoaderRole"]["Properties"]["Policies"].as_vec().unwrap().as_slice()
        else {
            panic!("{template}: one policy");
        };
        let [statement] = policy["PolicyDocument"]["Statement"].as_vec().unwrap().as_slice() else {
            panic!("{template}: one statement");
        };
        let given: BTreeSet<&str> = statement["Action"].as_vec().unwrap().iter().filter_map(Yaml::as_str).collect();
        assert_eq!(given, allowed, "{template}");
    }
}

/// What the program would not take of what is started.
fn wrong_in(started: &Started) -> Vec<String> {
    let Started { place, words, variables, .. } = started;
    let typed = std::iter::once("turnstile").chain(words.iter().map(String::as_str));
    if let Err(error) = turnstile::cli::command().try_get_matches_from(typed) {
        return vec![format!("{place}: {}", error.to_string().lines().next().unwrap_or_default())];
    }
    let command = command_of(started);
    let flags = words.windows(2).filter_map(|pair| {
        let flag = pair[0].strip_prefix("--")?;
        let row = rows_of(&command).find(|row| row.flag() == Some(flag))?;
        row.value_name().and_then(|_| unfit(row, &pair[1]))
    });
    let variables = variables.iter().filter(|(name, _)| !ALSO_READ.contains(&name.as_str()));
    let variables = variables.filter_map(|(name, value)| {
        let Some(row) = rows_of(&command).find(|row| row.variable() == Some(name)) else {
            return Some(match rows::settings().any(|row| row.variable() == Some(name)) {
                true => format!("{command} does not take {name}"),
                false => format!("{name} is not a variable that the program reads"),
            });
        };
        unfit(row, value.as_deref()?)
    });
    flags.chain(variables).map(|wrong| format!("{place}: {wrong}")).collect()
}

fn unfit(row: &dyn Row, text: &str) -> Option<String> {
    row.unfit(text.as_ref()).map(|_| format!("{} cannot be {text:?}", row.name()))
}

fn rows_of(command: &str) -> impl Iterator<Item = &'static dyn Row> {
    rows::ALL.iter().copied().filter(move |row| row.is_of(command) || row.commands().is_empty())
}

/// The command of what is started: the words up to its first flag that name one.
fn command_of(started: &Started) -> String {
    let mut command = turnstile::cli::command();
    let mut path = Vec::new();
    for word in &started.words {
        let Some(inner) = command.find_subcommand(word).cloned() else { break };
        (command, _) = (inner, path.push(word.as_str()));
    }
    path.join(" ")
}
