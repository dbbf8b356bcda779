//! The alert rules in `deploy/`: what they ask for is there, each alert fires when it should and not when it should not, and
//! leads to a section of the night page and to a panel of a dashboard.
//!
//! `promtool` judges the expressions. What it cannot know is which figures and labels the program has.

mod dashboards;
mod known;
mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::known::Known;
use self::promql::asked;
use crate::readme::anchors;

const RULES: &str = "deploy/prometheus/turnstile-rules.yaml";
const CASES: &str = "tests/alerts/cases.yaml";
const NIGHT_PAGE: &str = "docs/OPERATIONS.md";

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES]);
}

#[test]
fn every_alert_fires_when_it_should_and_not_when_it_should_not() {
    promtool(&["test", "rules", CASES]);
    let cases = read(CASES);
    let mut tried: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for case in cases.split("- alertname: ").skip(1) {
        let alert = case.lines().next().unwrap();
        let fires = !case.lines().take(3).any(|line| line.trim() == "exp_alerts: []");
        tried.entry(alert).or_default().insert(fires);
    }
    let asked: Vec<&str> = cases.lines().filter(|line| line.trim_start().starts_with("- expr: ")).collect();
    for Rule { name, is_alert, .. } in rules() {
        match is_alert {
            true => assert_eq!(tried.get(&*name).map(BTreeSet::len), Some(2), "{name}: both, firing and not"),
            false => assert!(asked.iter().any(|line| line.contains(&name)), "nobody looks at what {name} records"),
        }
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_leads_to_its_section_of_the_night_page() {
    let sections = anchors(&read(NIGHT_PAGE));
    let mut found = 0;
    for rule in rules().into_iter().filter(|rule| rule.is_alert) {
        let name = &rule.name;
        assert!(["critical", "warning", "info"].contains(&&*rule.field("severity")), "{name}");
        assert!(!rule.field("summary").ends_with('.') && rule.field("description").ends_with('.'), "{name}");
        let anchor = name.to_lowercase();
        assert_eq!(rule.field("runbook_url"), format!("{NIGHT_PAGE}#{anchor}"));
        assert!(sections.contains(&anchor), "{NIGHT_PAGE} has no section {name}");
        found += 1;
    }
    assert!(found > 10, "{found}");
}

#[test]
fn the_night_page_has_a_section_for_every_alert_and_its_list_gives_their_severities() {
    let page = read(NIGHT_PAGE);
    let sections: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("#### ")).map(str::to_owned).collect();
    let alerts: Vec<Rule> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    assert_eq!(sections, alerts.iter().map(|rule| rule.name.clone()).collect());
    for rule in alerts {
        let (name, severity) = (&rule.name, rule.field("severity"));
        let row = format!("| [{name}](#{}) | {severity} |", name.to_lowercase());
        assert!(page.contains(&row), "the list of the alerts has no row {row}");
    }
}

#[test]
fn whatever_rules_and_their_cases_ask_for_is_a_figure_of_the_program() {
    let known = Known::of_the_program();
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().filter(|rule| !rule.is_alert).map(|rule| &*rule.name).collect();
    let mut wrong = Vec::new();
    let mut check = |place: &str, expression: &str| {
        for asked in asked(expression) {
            if !recorded.contains(&*asked.name) {
                wrong.extend(known.objections_to(&asked).map(|objection| format!("{place}: {objection}")));
            }
        }
    };
    rules.iter().for_each(|rule| check(&rule.name, &rule.field("expr")));
    for case in read(CASES).lines().filter_map(|line| line.trim().strip_prefix("- {series: '")) {
        check(CASES, case.split('\'').next().unwrap());
    }
    assert_eq!(wrong, [""; 0]);
}

/// A rule, as it is written.
struct Rule {
    name: String,
    is_alert: bool,
    lines: Vec<String>,
}

impl Rule {
    /// What stands under a key, in one line.
    fn field(&self, key: &str) -> String {
        let begins = format!("{key}: ");
        let indent = |line: &str| line.len() - line.trim_start().len();
        let at = self.lines.iter().position(|line| line.trim_start().starts_with(&begins));
        let at = at.unwrap_or_else(|| panic!("{} has no {key}", self.name));
        let line = &self.lines[at];
        let value = line.trim_start().strip_prefix(&begins).unwrap();
        if !matches!(value, "|" | ">-") {
            return value.to_owned();
        }
        let inside = self.lines[at + 1..].iter().take_while(|further| indent(further) > indent(line));
        inside.map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// The rules of the file. It is read by its lines: each rule begins with its name, and no text goes on without a mark.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in read(RULES).lines().filter(|line| !line.trim_start().starts_with('#')) {
        let named = |key| line.trim_start().strip_prefix(key).map(str::to_owned);
        match (named("- alert: "), named("- record: ")) {
            (None, None) => rules.last_mut().into_iter().for_each(|rule| rule.lines.push(line.to_owned())),
            (alert, record) => {
                let is_alert = alert.is_some();
                rules.push(Rule { name: alert.or(record).unwrap(), is_alert, lines: Vec::new() });
            }
        }
    }
    assert!(rules.len() > 15, "the rules were not found");
    rules
}

/// The families that a rule looks at, through the rules that record what it looks at.
fn watched(rule: &Rule, rules: &[Rule]) -> BTreeSet<String> {
    let looks_at = families(&rule.field("expr"));
    let of_recorded = rules.iter().filter(|other| !other.is_alert && looks_at.contains(&other.name));
    let further: Vec<String> = of_recorded.flat_map(|recorded| watched(recorded, rules)).collect();
    looks_at.into_iter().chain(further).collect()
}

/// A histogram is one family, whichever of its series is asked for.
fn families(expression: &str) -> BTreeSet<String> {
    let family = |name: String| {
        ["_bucket", "_count", "_sum"].iter().find_map(|end| Some(name.strip_suffix(end)?.to_owned())).unwrap_or(name)
    };
    asked(expression).into_iter().map(|asked| family(asked.name)).collect()
}

/// Whether what is served is what `promtool` expects of it.
pub(crate) fn promtool_reads(page: &str) {
    use std::io::Write as _;

    let mut command = Command::new("promtool");
    let mut child = command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs it, and fails with what it says unless it is content.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(root()).output().unwrap_or_else(|error| {
        panic!("promtool cannot be run ({error}): `scripts/setup promtool` installs it, or says how it is installed")
    });
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
