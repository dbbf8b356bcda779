//! What is known of loaders, for programs.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::Moment;
use super::row::Row;
use super::watched::{Standing, Watched};
use crate::metrics::{Sample, Snapshot};

/// All that is known of these loaders at this moment.
pub fn document(loaders: &[Watched], now: Moment) -> Value {
    let loaders: Vec<Value> = loaders.iter().map(|watched| loader(watched, now)).collect();
    json!({"at": now.clock.format(&Rfc3339).ok(), "loaders": loaders})
}

/// Rates and quantiles are null unless the loader is live. Its figures are its last ones, with their age.
fn loader(watched: &Watched, now: Moment) -> Value {
    let row = Row::of(watched, now);
    let last = watched.last();
    let relay = row.relay.as_ref();
    let of_loader = |figure: Option<f64>| figure.filter(|_| relay.is_none());
    let of_relay = |figure: Option<f64>| figure.filter(|_| relay.is_some());
    json!({
        "loader": row.name,
        "state": row.state.word().replace(' ', "_"),
        "state_lasts_seconds": row.lasting.map(|lasting| lasting.as_secs_f64()),
        "is_live": watched.standing(now) == Standing::Live,
        "is_trouble": row.state.is_trouble(),
        "problem": row.why,
        "version": watched.build().map(|build| &build.version),
        "revision": watched.build().map(|build| &build.revision),
        "mask": watched.build().map(|build| &build.mask),
        "identity": watched.build().map(|build| &build.identity),
        "uptime_seconds": row.uptime.map(|uptime| uptime.as_secs_f64()),
        "window_seconds": row.over.map(|over| over.as_secs_f64()),
        "received_per_second": of_loader(row.received),
        "loaded_per_second": of_loader(row.loaded),
        "lag_p50_seconds": of_loader(row.p50),
        "lag_p99_seconds": of_loader(row.p99),
        "sink": relay.map(|relay| &relay.sink),
        "carried_per_second": of_relay(row.loaded),
        "delay_p50_seconds": of_relay(row.p50),
        "delay_p99_seconds": of_relay(row.p99),
        "backlog": relay.and_then(|relay| relay.backlog),
        "oldest_seconds": relay.and_then(|relay| relay.oldest),
        "figures_at": last.and_then(|figures| figures.taken_at.format(&Rfc3339).ok()),
        "figures_age_seconds": watched.age(now).map(|age| age.as_secs_f64()),
        "imbalance": last.map(|last| last.imbalance() + last.imbalance_of_events()),
        "figures": last.map(figures),
    })
}

/// Every figure under its name, each a list with an entry for each combination of labels.
fn figures(snapshot: &Snapshot) -> Map<String, Value> {
    let figure = |(row, figure): (crate::metrics::Row, &dyn crate::metrics::Figure)| {
        let more = snapshot.work.labels_of(row.part);
        let samples = figure.samples().into_iter().map(|(labels, sample)| {
            let all = more.iter().copied().chain(labels);
            let labels: Map<String, Value> = all.map(|(key, value)| (key.to_owned(), json!(value))).collect();
            json!({"labels": labels, "value": value(sample)})
        });
        (row.name.to_owned(), samples.collect())
    };
    snapshot.figures().into_iter().map(figure).collect()
}

fn value(sample: Sample) -> Value {
    match sample {
        Sample::Count(count) => json!(count),
        Sample::Seconds(value) | Sample::Value(value) => json!(value),
        Sample::Buckets(count, sum, buckets) => {
            let bucket = |(bound, count): (f64, u64)| match bound.is_finite() {
                true => json!({"up_to": bound, "count": count}),
                false => json!({"up_to": null, "count": count}),
            };
            json!({"count": count, "sum": sum, "buckets": buckets.into_iter().map(bucket).collect::<Vec<_>>()})
        }
    }
}
