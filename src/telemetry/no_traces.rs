//! A build without the feature `traces` sends none, and says so where they are asked for.

use tracing_subscriber::layer::Identity;

/// Why they cannot be had.
pub(super) struct Unusable {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// Nothing takes the spans.
pub(super) fn layer() -> Result<Option<Identity>, Unusable> {
    let asks = |name: &&str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
    match ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().find(asks) {
        None => Ok(None),
        Some(name) => Err(Unusable {
            what: format!("{name} is set, and this build sends no traces"),
            remedy: "take a release, or build with the feature `traces`",
        }),
    }
}

/// They are not sent.
pub fn are_on() -> bool {
    false
}

/// Nothing is left to be sent.
pub fn end() {}
