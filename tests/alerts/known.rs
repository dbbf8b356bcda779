//! Which series the program serves, and with which labels: what promtool cannot know.

use std::collections::BTreeMap;

use turnstile::metrics::{Build, Metrics, PREFIX, Part, Work};

use super::promql::Asked;

/// What the program serves.
pub(super) struct Known {
    /// The labels of each series, with their values where these are a closed set.
    series: BTreeMap<String, BTreeMap<&'static str, Vec<String>>>,
}

impl Known {
    pub(super) fn of_the_program() -> Self {
        let snapshot =
            Metrics::of(Work { serves_console: true, ..Work::loading().and_relaying("warehouse") }).snapshot();
        let [version, revision, mask, identity] = ["1", "2", "3", "4"].map(str::to_owned);
        let build = Build { version, revision, mask, identity };
        let served = snapshot.exposition(&build).unwrap();
        let announced = served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let figures: BTreeMap<String, _> = snapshot
            .figures()
            .into_iter()
            .map(|(row, figure)| (format!("{PREFIX}{}", row.name), (row.part, figure.labels())))
            .collect();
        let mut series = BTreeMap::new();
        for (name, kind) in announced {
            let (part, closed) = figures.get(name).copied().unwrap_or((Part::Process, &[]));
            let mut labels: BTreeMap<_, Vec<String>> = closed
                .iter()
                .map(|(key, values)| (*key, values.iter().map(|value| (*value).to_owned()).collect()))
                .collect();
            if part == Part::Relay {
                labels.insert("sink", Vec::new());
            }
            if name == format!("{PREFIX}build_info") {
                labels.extend(["version", "revision", "mask", "identity"].map(|key| (key, Vec::new())));
            }
            if kind == "histogram" {
                series.insert(format!("{name}_sum"), labels.clone());
                series.insert(format!("{name}_count"), labels.clone());
                let of_it = served.lines().filter(|line| line.starts_with(&format!("{name}_bucket")));
                let bounds = of_it.filter_map(|line| line.split("le=\"").nth(1)?.split('"').next());
                labels.insert("le", bounds.map(str::to_owned).collect());
                series.insert(format!("{name}_bucket"), labels);
            } else {
                series.insert(name.to_owned(), labels);
            }
        }
        // What Prometheus itself says of what it scrapes, and of its alerts.
        series.insert("up".to_owned(), BTreeMap::new());
        series.insert("ALERTS".to_owned(), BTreeMap::from([("alertname", Vec::new()), ("alertstate", Vec::new())]));
        Self { series }
    }

    /// What of it the program does not have.
    pub(super) fn objections_to(&self, asked: &Asked) -> impl Iterator<Item = String> {
        let Asked { name, selected } = asked;
        let Some(labels) = self.series.get(name) else { return vec![format!("there is no {name}")].into_iter() };
        let mut objections = Vec::new();
        for (key, values) in selected.iter().filter(|(key, _)| !["job", "instance"].contains(&key.as_str())) {
            match labels.get(key.as_str()) {
                None => objections.push(format!("{name} has no label {key}")),
                Some(known) if known.is_empty() => {}
                // Which of the ways to write a bound is there depends on Prometheus.
                Some(known) if *key == "le" && values.iter().any(|value| known.contains(value)) => {}
                Some(known) => {
                    let unknown = values.iter().filter(|value| !known.contains(value));
                    objections.extend(unknown.map(|value| format!("{name} has no {key} {value}")));
                }
            }
        }
        objections.into_iter()
    }
}
