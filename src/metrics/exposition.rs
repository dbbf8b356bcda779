//! A snapshot as Prometheus reads it: text format 0.0.4.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::catalogue::{PREFIX, Snapshot};
use super::figure::{Kind, Sample};
use super::process;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

type Labels<'s> = Vec<(&'static str, &'s str)>;

/// What runs: it does not change while the process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The program's version.
    pub version: String,
    /// The commit that it was built from.
    pub revision: String,
    /// How addresses and device ids are masked; empty where nothing is loaded.
    pub mask: String,
    /// What a login is known by; empty where nothing is loaded.
    pub identity: String,
}

impl Snapshot {
    /// The text, with the process's own figures and what it was built from.
    ///
    /// # Errors
    ///
    /// None that is known: a text takes what is written into it.
    pub fn exposition(&self, build: &Build) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape { snapshot: self.clone(), build: build.clone() }));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Scrape {
    snapshot: Snapshot,
    build: Build,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Build { version, revision, mask, identity } = &self.build;
        let help = "The program that runs, and how it masks and recognises logins";
        let labels = [("version", version), ("revision", revision), ("mask", mask), ("identity", identity)];
        let name = format!("{PREFIX}build");
        encoder.encode_descriptor(&name, help, None, MetricType::Info)?.encode_info(&labels)?;
        for (row, figure) in self.snapshot.figures() {
            let more = self.snapshot.work.labels_of(row.part);
            let samples =
                figure.samples().into_iter().map(|(labels, sample)| ([more.clone(), labels].concat(), sample));
            family(&mut encoder, &format!("{PREFIX}{}", row.name), &row.help(), figure.kind(), samples)?;
        }
        for (row, sample) in process::figures() {
            family(&mut encoder, row.name, row.help, row.kind, sample.into_iter().map(|sample| (Vec::new(), sample)))?;
        }
        Ok(())
    }
}

fn family<'s>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    samples: impl IntoIterator<Item = (Labels<'s>, Sample)>,
) -> fmt::Result {
    let (name, kind) = match kind {
        // The library writes the ending itself.
        Kind::Counter => (name.trim_end_matches("_total"), MetricType::Counter),
        Kind::Gauge => (name, MetricType::Gauge),
        Kind::Histogram => (name, MetricType::Histogram),
    };
    let mut metric = encoder.encode_descriptor(name, help.trim_end_matches('.'), None, kind)?;
    for (labels, sample) in samples {
        let labels = labels.as_slice();
        match labels.is_empty() {
            true => one(&mut metric, &sample)?,
            false => one(&mut metric.encode_family(&labels)?, &sample)?,
        }
    }
    Ok(())
}

fn one(metric: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    match sample {
        Sample::Count(count) => metric.encode_counter::<NoLabelSet, u64, f64>(count, None),
        Sample::Seconds(seconds) => metric.encode_counter::<NoLabelSet, f64, f64>(seconds, None),
        Sample::Value(value) => metric.encode_gauge(value),
        Sample::Buckets(count, sum, buckets) => metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}
