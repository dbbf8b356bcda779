//! What the pages say of it: tables in Markdown, each between its marks in docs/SCALE.md.

use std::fmt::Write as _;

use crate::clock::{Nanos, millis};
use crate::measured::{self, Of, POINTS};
use crate::plan::{Plan, RATES, plan};
use crate::scenario::{Bought, DATABASES, FIFO, KEPT, Scenario};

/// Loaders of the table, and their databases.
const LOADERS: [(usize, Bought); 5] =
    [(1, DATABASES[0]), (8, DATABASES[0]), (64, DATABASES[0]), (64, DATABASES[1]), (64, DATABASES[3])];
/// Loaders of the curve.
pub const CURVE: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Databases of both.
pub const COMPARED: [Bought; 3] = [DATABASES[0], DATABASES[1], DATABASES[3]];
/// Days for which rows are kept at least (`turnstile retain --keep`).
const LEAST_DAYS: f64 = 28.0;

/// Every table, by the name of its marks.
pub fn tables() -> [(&'static str, String); 6] {
    let [loaders, dollars] = loaders();
    [
        ("rates", rates()),
        ("loaders", loaders),
        ("dollars", dollars),
        ("limits", limits()),
        ("calls", calls()),
        ("measured", compared()),
    ]
}

/// A page with a table put between its marks; none, if it has no such marks.
pub fn filled(page: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}: written by `make scale` -->\n"), "<!-- end -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

/// Two digits that count, and commas between thousands.
pub fn rough(number: f64) -> String {
    if number <= 0.0 {
        return "0".to_owned();
    }
    let mut unit = 1.0;
    while number / unit >= 99.5 {
        unit *= 10.0;
    }
    if number >= 9.95 {
        return grouped((number / unit).round() as u64 * unit as u64);
    }
    let mut digits = 1;
    let mut below = number;
    while below < 0.995 && digits < 4 {
        (below, digits) = (below * 10.0, digits + 1);
    }
    format!("{number:.digits$}")
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn bytes(bytes: f64) -> String {
    let (unit, name) = match bytes {
        bytes if bytes < 1e9 => (1e6, "MB"),
        bytes if bytes < 1e12 => (1e9, "GB"),
        bytes if bytes < 1e15 => (1e12, "TB"),
        _ => (1e15, "PB"),
    };
    format!("{} {name}", rough(bytes / unit))
}

fn times(times: [Nanos; 2]) -> String {
    let [half, most] = times.map(|time| rough(time as f64 / millis(1.0) as f64));
    format!("{half} / {most} ms")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// A table whose columns stand to the right, but for the first and those whose heads begin with `<`.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = head.iter().map(|name| name.trim_start_matches('<')).collect();
    let mut text = format!("| {} |\n|---|", names.join(" | "));
    text.extend(head.iter().skip(1).map(|name| if name.starts_with('<') { "---|" } else { "---:|" }));
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn loaders() -> [String; 2] {
    let (mut seen, mut paid) = (Vec::new(), Vec::new());
    for (loaders, database) in LOADERS {
        let scenario = Scenario::of(loaders, database);
        let full = scenario.full();
        let half = scenario.at(full.rate / 2.0);
        let limit = scenario.limit(&full);
        seen.push(vec![
            loaders.to_string(),
            database.name.to_owned(),
            rough(full.rate),
            times(half.lasting),
            rough(full.loader_cores),
            format!("{} ({})", rough(full.database_cores), percent(full.database_busy)),
            percent(full.disk_busy),
            rough(full.queue.most_in_flight as f64),
            full.connections.to_string(),
            limit.word().to_owned(),
            limit.remedy().to_owned(),
        ]);
        let dollars = scenario.dollars(&half, LEAST_DAYS);
        let mut row = vec![loaders.to_string(), database.name.to_owned(), rough(half.rate)];
        row.extend(dollars.iter().chain([&dollars.iter().sum()]).map(|dollars| rough(*dollars)));
        row.push(rough(half.batch));
        row.push(percent(half.database_busy));
        paid.push(row);
    }
    let head = [
        "loaders",
        "<database",
        "logins a second",
        "latency at half of it, p50 / p99",
        "cores of the loaders",
        "of the database",
        "its disk",
        "in flight",
        "connections",
        "<first limit",
        "<what to buy",
    ];
    let paid_head = [
        "loaders",
        "<database",
        "logins a second",
        "calls to SQS",
        "loaders",
        "database",
        "disk, 28 days",
        "together",
        "logins in a transaction",
        "the database's cores",
    ];
    [table(&head, &seen), table(&paid_head, &paid)]
}

fn limits() -> String {
    let large = DATABASES[3];
    let few_connections = Bought { connections: 97, ..large };
    let rows = [
        ("one loader with 8 lanes", Scenario { lanes: 8, ..Scenario::of(1, large) }),
        ("8 loaders, a FIFO queue", Scenario { queue: FIFO, ..Scenario::of(8, large) }),
        ("64 loaders, `max_connections = 100`", Scenario::of(64, few_connections)),
        ("256 loaders", Scenario::of(256, large)),
    ]
    .map(|(name, scenario)| {
        let full = scenario.full();
        let limit = scenario.limit(&full);
        let in_flight = rough(full.queue.most_in_flight as f64);
        vec![name.to_owned(), rough(full.rate), in_flight, limit.word().to_owned(), limit.remedy().to_owned()]
    });
    table(&["what", "logins a second", "in flight", "<first limit", "<what to buy"], &rows)
}

/// What hangs on the time of a call, which is assumed.
fn calls() -> String {
    let rows = [[15.0, 15.0], [5.0, 20.0], [15.0, 60.0], [30.0, 120.0]].map(|call| {
        let scenario = Scenario { call: call.map(millis), ..Scenario::of(1, DATABASES[0]) };
        let full = scenario.full();
        let half = scenario.at(full.rate / 2.0);
        vec![times(call.map(millis)), rough(full.rate / 2.0), rough(full.rate), times(half.lasting)]
    });
    let head = ["a call, p50 / p99", "logins a second of a lane", "of a loader", "latency at half of it, p50 / p99"];
    table(&head, &rows)
}

fn compared() -> String {
    let costs = measured::costs();
    let rows = POINTS.map(|point| {
        let simulated = measured::simulated(point.of, &costs);
        let figure = |figure: f64| match point.of {
            Of::Rate(..) => format!("{}/s", grouped(figure.round() as u64)),
            Of::Loader | Of::Postgres(_) | Of::LocalQueue => format!("{figure:.1} µs"),
            Of::Latency(..) => format!("{figure:.1} ms"),
        };
        vec![
            point.name.to_owned(),
            figure(point.measured),
            figure(simulated),
            format!("{:.2} ×", simulated / point.measured),
            format!("{:.2} ×", point.within),
            if point.given { "from here" } else { "found" }.to_owned(),
        ]
    });
    table(&["figure", "measured", "simulated", "differs by", "may by", "<the model has it"], &rows)
}

fn rates() -> String {
    let plans: Vec<Plan> = RATES.iter().filter_map(|rate| plan(*rate)).collect();
    let day = |plan: &Plan| plan.rate * 86_400.0 * KEPT;
    let dollars =
        |plan: &Plan, days: f64| plan.part.dollars(&plan.figures, days).map(|of_one| of_one * plan.parts as f64);
    let all = |plan: &Plan, of_one: f64| of_one * plan.parts as f64;
    type Cell<'c> = &'c dyn Fn(&Plan) -> String;
    let rows: [(&str, Cell<'_>); 21] = [
        ("queues, each with a database of its own", &|plan| plan.parts.to_string()),
        ("loaders in all", &|plan| (plan.parts * plan.part.loaders).to_string()),
        ("`--lanes` of each", &|plan| plan.part.lanes.to_string()),
        ("each database", &|plan| plan.part.database.name.to_owned()),
        ("logins a second that are loaded while one loader of each queue is away", &|plan| rough(all(plan, plan.most))),
        ("from the send to the commit, p50 / p99", &|plan| times(plan.figures.lasting)),
        ("logins in a transaction", &|plan| rough(plan.figures.batch)),
        ("cores that the loaders take", &|plan| rough(all(plan, plan.figures.loader_cores))),
        ("cores that the databases take", &|plan| rough(all(plan, plan.figures.database_cores))),
        ("connections of all", &|plan| (plan.parts * plan.part.loaders * plan.part.lanes).to_string()),
        ("in flight in one queue at most, of 120,000", &|plan| {
            rough((plan.part.loaders * plan.part.lanes * 500) as f64)
        }),
        ("log and tables written, a second", &|plan| bytes(plan.rate * (measured::LOG + measured::TABLES))),
        ("calls to SQS, a second", &|plan| rough(all(plan, plan.figures.calls))),
        ("disk of a day", &|plan| bytes(day(plan))),
        ("disk of a year", &|plan| bytes(365.0 * day(plan))),
        ("dollars a month: calls to SQS", &|plan| rough(dollars(plan, 0.0)[0])),
        ("loaders", &|plan| rough(dollars(plan, 0.0)[1])),
        ("databases", &|plan| rough(dollars(plan, 0.0)[2])),
        ("disk, if 28 days are kept", &|plan| rough(dollars(plan, LEAST_DAYS)[3])),
        ("**together**", &|plan| format!("**{}**", rough(dollars(plan, LEAST_DAYS).iter().sum()))),
        ("disk, if a year is kept", &|plan| rough(dollars(plan, 365.0)[3])),
    ];
    let rows = rows
        .map(|(name, cell)| std::iter::once(name.to_owned()).chain(plans.iter().map(cell)).collect::<Vec<String>>());
    let head: Vec<String> = plans.iter().map(|plan| grouped(plan.rate as u64)).collect();
    let head: Vec<&str> = std::iter::once("logins a second").chain(head.iter().map(String::as_str)).collect();
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_digits_that_count() {
        for (number, text) in [
            (0.0, "0"),
            (0.0234, "0.023"),
            (0.5, "0.50"),
            (4.04, "4.0"),
            (9.97, "10"),
            (99.6, "100"),
            (3_545.0, "3,500"),
            (1_234_567.0, "1,200,000"),
        ] {
            assert_eq!(rough(number), text);
        }
        assert_eq!(bytes(2.84e16), "28 PB");
    }

    #[test]
    fn a_table_is_put_between_its_marks_and_nowhere_else() {
        let page = "a\n<!-- x: written by `make scale` -->\nold\n<!-- end -->\nb\n";
        let new = filled(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: written by `make scale` -->\n\nnew\n\n<!-- end -->\nb\n");
        assert_eq!(filled(&new, "x", "new\n").as_ref(), Some(&new));
        assert_eq!(filled(page, "y", "new\n"), None);
    }
}
