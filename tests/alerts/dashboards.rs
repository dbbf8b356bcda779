//! The dashboards in `deploy/`: every panel asks for what is there, and says what it shows; every alert has one.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::known::Known;
use super::promql::asked;
use super::{NIGHT_PAGE, Rule, families, promtool, read, rules, watched};

const DASHBOARDS: [&str; 3] = [
    "deploy/grafana/turnstile-overview.json",
    "deploy/grafana/turnstile-loader.json",
    "deploy/grafana/turnstile-relay.json",
];

#[test]
fn whatever_a_panel_asks_for_is_a_figure_of_the_program() {
    let known = Known::of_the_program();
    let mut wrong = Vec::new();
    for Panel { place, expressions, .. } in panels() {
        for asked in expressions.iter().flat_map(|expression| asked(expression)) {
            wrong.extend(known.objections_to(&asked).map(|objection| format!("{place}: {objection}")));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn promtool_understands_every_expression_of_the_dashboards() {
    let rules = panels().into_iter().flat_map(|panel| {
        let numbered = panel.expressions.into_iter().enumerate();
        let place = panel.place;
        numbered
            .map(move |(n, expr)| json!({ "record": format!("panel:{n}"), "expr": expr, "labels": { "at": &place } }))
    });
    let rules: Vec<Value> = rules.collect();
    assert!(rules.len() > 40, "{}", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("expressions.yaml");
    // JSON is YAML.
    fs::write(&file, json!({ "groups": [{ "name": "dashboards", "rules": rules }] }).to_string()).unwrap();
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", file.to_str().unwrap()]);
}

#[test]
fn every_panel_has_a_unit_and_says_what_it_shows() {
    let mut ids = BTreeSet::new();
    for panel in panels() {
        let place = &panel.place;
        assert!(panel.description.ends_with('.'), "{place} has no description");
        assert!(!panel.unit.is_empty(), "{place} has no unit");
        assert!(!panel.expressions.is_empty(), "{place} shows nothing");
        assert!(["stat", "table", "timeseries"].contains(&&*panel.kind), "{place} needs a plugin: {}", panel.kind);
        assert!(ids.insert((panel.dashboard, panel.id)), "{place} has the id of another panel");
    }
}

#[test]
fn every_dashboard_lets_choose_source_job_process_and_price_or_sink() {
    for path in DASHBOARDS {
        let dashboard = dashboard(path);
        let variables: Vec<&str> = array(&dashboard["templating"]["list"]).iter().map(|v| text(&v["name"])).collect();
        let last = if path.contains("relay") { "sink" } else { "price" };
        assert_eq!(variables, ["datasource", "job", "instance", last], "{path}");
        let json = read(path);
        assert!(json.contains(&format!("${last}")) && json.contains("$__rate_interval"), "{path}");
        assert_eq!(json.matches("\"uid\": ").count(), json.matches("\"uid\": \"${datasource}\"").count() + 1, "{path}");
    }
}

#[test]
fn every_alert_has_a_panel_that_shows_what_it_watches() {
    let rules = rules();
    let panels = panels();
    let alerts: Vec<&Rule> = rules.iter().filter(|rule| rule.is_alert).collect();
    for alert in &alerts {
        let watched = watched(alert, &rules);
        let shows = |panel: &&Panel| {
            panel.expressions.iter().flat_map(|shown| families(shown)).any(|name| watched.contains(&name))
        };
        let said: Vec<&Panel> = panels.iter().filter(|panel| panel.alerts().contains(&&*alert.name)).collect();
        assert!(!said.is_empty(), "no panel says that it belongs to {}", alert.name);
        said.iter().for_each(|panel| assert!(shows(panel), "{} shows nothing of {}", panel.place, alert.name));
    }
    for panel in &panels {
        let unknown: Vec<&str> =
            panel.alerts().into_iter().filter(|name| !alerts.iter().any(|alert| alert.name == **name)).collect();
        assert_eq!(unknown, [""; 0], "{}", panel.place);
    }
}

#[test]
fn every_panel_that_the_night_page_names_is_on_a_dashboard() {
    let page = read(NIGHT_PAGE);
    let alerts = page.split_once("\n### The alerts\n").unwrap().1.split("\n### ").next().unwrap();
    let prose = alerts.split_whitespace().collect::<Vec<_>>().join(" ").replace("**", "");
    let named: BTreeSet<&str> = prose.split('*').skip(1).step_by(2).collect();
    let titles = DASHBOARDS.map(|path| text(&dashboard(path)["title"]).replace("Turnstile / ", ""));
    let panels: BTreeSet<String> = panels().into_iter().map(|panel| panel.title).chain(titles).collect();
    let unknown: Vec<&str> = named.iter().filter(|name| !panels.contains(**name)).copied().collect();
    assert_eq!(unknown, [""; 0]);
    assert!(named.len() > 10, "{named:?}");
}

/// A panel that shows something.
struct Panel {
    dashboard: &'static str,
    title: String,
    /// Dashboard and title.
    place: String,
    id: u64,
    kind: String,
    description: String,
    unit: String,
    /// What it asks for, with the variables replaced.
    expressions: Vec<String>,
}

impl Panel {
    /// The alerts that it says to belong to.
    fn alerts(&self) -> Vec<&str> {
        let words = self.description.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| word.starts_with("Turnstile") && *word != "Turnstile").collect()
    }
}

fn panels() -> Vec<Panel> {
    let mut found = Vec::new();
    for path in DASHBOARDS {
        for panel in array(&dashboard(path)["panels"]).iter().filter(|panel| panel["type"] != "row") {
            let expressions = array(&panel["targets"]).iter().map(|target| with_variables(text(&target["expr"])));
            found.push(Panel {
                dashboard: path,
                title: text(&panel["title"]).to_owned(),
                place: format!("{path}, {}", text(&panel["title"])),
                id: panel["id"].as_u64().unwrap(),
                kind: text(&panel["type"]).to_owned(),
                description: panel["description"].as_str().unwrap_or_default().to_owned(),
                unit: panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default().to_owned(),
                expressions: expressions.collect(),
            });
        }
    }
    assert!(found.len() > 30, "the panels were not found");
    found
}

/// An expression as Grafana would send it.
fn with_variables(expression: &str) -> String {
    let values =
        [("$__rate_interval", "2m"), ("$job", "turnstile"), ("$instance", ".*"), ("$price", "0.40"), ("$sink", ".*")];
    let replaced = values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!replaced.contains('$'), "a variable that is none of the dashboards': {replaced}");
    replaced
}

fn dashboard(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
