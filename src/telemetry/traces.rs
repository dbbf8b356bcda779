//! Traces, sent to a collector over OTLP: off unless the standard variables say where it is.
//!
//! A trace is a batch's, and is sent once the batch has ended (`batches`). A thread of its own sends them in bundles;
//! what it cannot send is lost, and no lane waits for it.

mod batches;
mod collector;
mod variables;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use self::batches::WholeBatches;
use self::collector::Collector;
use self::variables::{Unusable, Wanted};
use super::NeverValues;
use crate::spans::TARGET;

/// How long the end of the program waits for the last traces to be sent.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What sends them, once they are on.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What takes the spans, if they are wanted; and what is wrong with the variables, if they cannot be had.
pub(super) fn layer<S>() -> Result<Option<impl Layer<S> + Send + Sync>, Unusable>
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let Some(wanted) = Wanted::read(|name| std::env::var(name).ok())? else { return Ok(None) };
    let made = provider(&wanted)?;
    let provider = PROVIDER.get_or_init(|| made);
    let ours = filter_fn(|metadata| metadata.target() == TARGET).with_max_level_hint(LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("turnstile"));
    let layer = layer.with_location(false).with_threads(false).with_target(false).with_level(false);
    // A span's parent is the one that it was made in, as the log sees it.
    let layer = layer.with_context_activation(false).with_tracked_inactivity(false);
    Ok(Some(layer.with_filter(NeverValues.and(ours))))
}

/// Whether they are sent.
pub fn are_on() -> bool {
    PROVIDER.get().is_some()
}

/// Sends what is left, for two seconds at most. Blocks its thread.
pub fn end() {
    let Some(provider) = PROVIDER.get() else { return };
    if let Err(error) = provider.shutdown_with_timeout(END_WITHIN) {
        tracing::warn!(%error, "the last traces were not sent in time, and are lost");
    }
}

fn provider(wanted: &Wanted) -> Result<SdkTracerProvider, Unusable> {
    let collector = Collector::new(wanted)?;
    let exporter = SpanExporter::builder().with_http().with_http_client(collector).build();
    let exporter = exporter.map_err(|error| Unusable {
        what: error.to_string(),
        remedy: "correct the variables whose names begin with OTEL_EXPORTER_OTLP_",
    })?;
    let bundles = BatchSpanProcessor::builder(exporter).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        // Which of them are kept is decided once they are whole.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(WholeBatches::before(bundles, wanted.share))
        .build())
}

/// What the process says of itself; the standard variables have the last word.
fn resource() -> Resource {
    let service_name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.name", "turnstile"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(service_name.map(|name| KeyValue::new("service.name", name)))
        .build()
}
