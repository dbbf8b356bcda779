//! Which series an expression of PromQL asks for. It reads what promtool has found right, and no more than our rules use.

use std::collections::BTreeMap;

/// A series that is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    /// Its name.
    pub(super) name: String,
    /// The values that are named for a label: several where any of them will do, none where a pattern says it.
    pub(super) selected: BTreeMap<String, Vec<String>>,
}

/// What names labels in parentheses.
const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: &[&str] = &["and", "or", "unless", "offset", "bool"];

/// Every series of an expression, in its order.
pub(super) fn asked(expression: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let (word, after) = rest.split_at(rest.find(|c: char| !is_of_a_name(c)).unwrap_or(rest.len()));
        let next = after.trim_start();
        rest = match first {
            '[' => past(rest, ']'),
            '"' => past(&rest[1..], '"'),
            '0'..='9' => after,
            _ if word.is_empty() => &rest[first.len_utf8()..],
            _ if GROUPING.contains(&word) => next.strip_prefix('(').map_or(next, |labels| past(labels, ')')),
            _ if OPERATORS.contains(&word) || next.starts_with('(') || aggregates(next) => next,
            _ => {
                let inside = after.strip_prefix('{').map(|inside| inside.split('}').next().unwrap_or(inside));
                found.push(Asked { name: word.to_owned(), selected: inside.map(selected).unwrap_or_default() });
                inside.map_or(after, |_| past(after, '}'))
            }
        };
    }
    found
}

fn aggregates(next: &str) -> bool {
    next.starts_with("by (") || next.starts_with("without (")
}

fn selected(inside: &str) -> BTreeMap<String, Vec<String>> {
    let mut selected = BTreeMap::new();
    let mut rest = inside;
    while let Some((key, further)) = rest.split_once(['=', '!']) {
        let (operator, further) = further.split_once('"').unwrap_or((further, ""));
        let (value, further) = further.split_once('"').unwrap_or((further, ""));
        let values = value.split('|').map(str::to_owned);
        let is_pattern = operator.contains('~') && value.contains(['*', '+']);
        let key = key.trim_matches([' ', ',']).to_owned();
        selected.insert(key, values.filter(|_| !is_pattern).collect());
        rest = further;
    }
    selected
}

fn past(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, after)| after)
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

#[test]
fn series_are_found_wherever_they_stand_and_labels_are_no_series() {
    let one = |name: &str, selected: &[(&str, &[&str])]| Asked {
        name: name.to_owned(),
        selected: selected
            .iter()
            .map(|(key, values)| ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
            .collect(),
    };
    for (expression, expected) in [
        ("sum by (job, le) (rate(a_bucket{b=\"c\"}[5m] offset 1d))", vec![one("a_bucket", &[("b", &["c"])])]),
        ("time() - a > on (job) group_left () 0.5 * 1e6 * max by (job) (b)", vec![one("a", &[]), one("b", &[])]),
        ("a - sum without (d) (b) - c != 0", vec![one("a", &[]), one("b", &[]), one("c", &[])]),
        (
            "count(x:y:rate5m{le=\"900.0\"}) or absent(up)",
            vec![one("x:y:rate5m", &[("le", &["900.0"])]), one("up", &[])],
        ),
        ("a{b=~\"c|d\", e!=\"f\", g=~\"h.*\"}", vec![one("a", &[("b", &["c", "d"]), ("e", &["f"]), ("g", &[])])]),
        ("clamp_min(max(a) - sum(b), 0) unless on (c) d", vec![one("a", &[]), one("b", &[]), one("d", &[])]),
    ] {
        assert_eq!(asked(expression), expected, "{expression}");
    }
}
