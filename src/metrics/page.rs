//! The page of all figures, docs/METRICS.md, as the catalogue says it.

use super::catalogue::{PREFIX, Row, Snapshot};
use super::figure::{Figure, Kind};
use super::process;
use super::work::{Part, Work};

const HEAD: &str = "# Metrics

<!-- Generated from src/metrics/catalogue.rs: `make metrics` writes it, and tests/metrics.rs compares it with the program. -->

`turnstile run --metrics-address 127.0.0.1:9464` serves these figures at `/metrics`, in Prometheus' text format 0.0.4, and so
does `turnstile relay`. Every series is there from the start, and no label grows with the traffic. A figure that is not known
has no sample. Counters start at zero with the process. Times are Unix times, so that `time() - x` is an age that grows even if
the process stands still. A loader shows no figure of a relay, and a relay none of a loader; those of a relay bear its `--sink`.

`turnstile console --metrics-address 127.0.0.1:9466` serves the figures of the tables and of itself, at a port that is not that
of its pages. It reads the tables every 30 s by the role of `DATABASE_URL`, which is best a member of `turnstile_viewer`: see
[Figures](CONSOLE.md#figures). Figures of a query that has failed for 90 s have no sample until it is answered again.

| metric | of | type | unit | labels | meaning |
|---|---|---|---|---|---|
";

/// The page.
pub fn page() -> String {
    let snapshot = Snapshot::at(
        time::OffsetDateTime::UNIX_EPOCH,
        Work { serves_console: true, ..Work::loading().and_relaying("") },
    );
    let labels = "`version`, `revision`, `mask`, `identity`";
    let build = format!(
        "| `{PREFIX}build_info` | all | gauge | 1 | {labels} | The program that runs, and how it masks and recognises logins. |\n"
    );
    let figures = snapshot.figures();
    let lines = figures.iter().map(|(row, figure)| line(row, *figure));
    let of_process = process::figures().map(|(row, _)| {
        let unit = unit_of(row.name);
        format!("| `{}` | all | {} | {unit} | | {}. |\n", row.name, named(row.kind), row.help)
    });
    HEAD.to_owned() + &build + &lines.chain(of_process).collect::<String>()
}

fn line(row: &Row, figure: &dyn Figure) -> String {
    let labels = figure.labels().iter().map(|(key, values)| {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        format!("`{key}`: {}", values.join(", "))
    });
    let (of, sink) = match row.part {
        Part::Process => ("all", None),
        Part::Loader => ("loader", None),
        Part::Relay => ("relay", Some("`sink`".to_owned())),
        Part::Console => ("console", None),
    };
    let labels = sink.into_iter().chain(labels).collect::<Vec<_>>().join("; ");
    let meaning = [row.help(), row.reading()].join(" ");
    let meaning = meaning.trim_end().replace('|', "\\|");
    let (name, kind, unit) = (row.name, named(figure.kind()), unit_of(row.name));
    format!("| `{PREFIX}{name}` | {of} | {kind} | {unit} | {labels} | {meaning} |\n")
}

/// What a number of the metric of this name counts, or is measured in.
fn unit_of(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    let units = [("_timestamp_seconds", "Unix time in seconds"), ("_seconds", "seconds"), ("_bytes", "bytes")];
    units.iter().find(|(end, _)| name.ends_with(end)).map_or("count", |(_, unit)| unit)
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}
