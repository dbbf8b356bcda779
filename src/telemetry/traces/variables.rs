//! What the standard variables say of traces. The exporter reads some of them itself, and is silent about what it
//! cannot follow: here that is told.

use std::time::Duration;

use hyper::Uri;

/// Whether, where to and how much is to be sent.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    /// Where the collector is.
    pub(super) endpoint: Uri,
    /// How long a request may take.
    pub(super) within: Duration,
    /// Which share of the batches is sent in which nothing happened that is worth a look.
    pub(super) share: f64,
}

/// A variable cannot be followed. What it holds is not told: it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct Unusable {
    /// Which, and what is wrong with it.
    pub(in crate::telemetry) what: String,
    /// What to do about it.
    pub(in crate::telemetry) remedy: &'static str,
}

/// How long a request may take where nobody says so, as the standard has it.
const WITHIN: Duration = Duration::from_secs(10);

impl Wanted {
    /// What the variables ask for; nothing where they ask for no traces.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Unusable> {
        // An empty one is as good as none.
        let variable = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let of_traces_or_all = |rest: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{rest}"), format!("OTEL_EXPORTER_OTLP_{rest}")];
            names.into_iter().find_map(|name| variable(&name).map(|text| (name, text)))
        };
        let Some((name, address)) = of_traces_or_all("ENDPOINT") else { return Ok(None) };
        let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let exporter = variable("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        if is_disabled || exporter == "none" {
            return Ok(None);
        }
        if exporter != "otlp" {
            return Err(unusable(
                "OTEL_TRACES_EXPORTER",
                "names an exporter that is not there",
                "set it to otlp or none",
            ));
        }
        let endpoint = endpoint(&address).ok_or_else(|| {
            let remedy = "give the address of a collector that takes OTLP over HTTP, such as http://localhost:4318";
            unusable(&name, "is not the address of a collector", remedy)
        })?;
        if let Some((name, _)) = of_traces_or_all("PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
            let remedy = "set it to http/protobuf, and let the endpoint be the collector's for HTTP (port 4318)";
            return Err(unusable(&name, "asks for another protocol than http/protobuf", remedy));
        }
        if let Some((name, _)) = of_traces_or_all("COMPRESSION").filter(|(_, how)| how != "none") {
            return Err(unusable(&name, "asks for a compression", "take it away: requests are sent as they are"));
        }
        if let Some((name, _)) = of_traces_or_all("HEADERS").filter(|(_, headers)| !are_headers(headers)) {
            return Err(unusable(&name, "is not a list of headers", "write NAME=VALUE, with commas between them"));
        }
        let within = match of_traces_or_all("TIMEOUT") {
            None => WITHIN,
            Some((name, text)) => text
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| unusable(&name, "is not a number of milliseconds", "write 10000 for ten seconds"))?,
        };
        let share = share(variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"))?;
        Ok(share.map(|share| Self { endpoint, within, share }))
    }
}

fn endpoint(text: &str) -> Option<Uri> {
    let endpoint: Uri = text.parse().ok()?;
    let is_http = matches!(endpoint.scheme_str(), Some("http" | "https"));
    (is_http && endpoint.host().is_some_and(|host| !host.is_empty())).then_some(endpoint)
}

fn are_headers(text: &str) -> bool {
    let is_header = |header: &str| header.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty());
    text.split_terminator(',').all(is_header)
}

/// Nothing where no trace is wanted, whatever happens. A batch has no parent, so that a sampler goes by its root.
fn share(sampler: Option<String>, argument: Option<String>) -> Result<Option<f64>, Unusable> {
    let sampler = sampler.unwrap_or_else(|| "parentbased_always_on".to_owned());
    match sampler.strip_prefix("parentbased_").unwrap_or(&sampler) {
        "always_on" => Ok(Some(1.0)),
        "always_off" => Ok(None),
        "traceidratio" => {
            let share = argument.map_or(Some(1.0), |text| text.parse().ok());
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            let wrong =
                || unusable("OTEL_TRACES_SAMPLER_ARG", "is no share", "write a number from 0 to 1, such as 0.1");
            share.map(Some).ok_or_else(wrong)
        }
        _ => {
            let remedy = "set it to always_on, always_off or traceidratio, each with or without parentbased_ before it";
            Err(unusable("OTEL_TRACES_SAMPLER", "names a sampler that is not there", remedy))
        }
    }
}

fn unusable(name: &str, what: &str, remedy: &'static str) -> Unusable {
    Unusable { what: format!("{name} {what}"), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Option<Wanted>, Unusable> {
        Wanted::read(|name| given.iter().find(|(given, _)| *given == name).map(|(_, text)| (*text).to_owned()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn nothing_is_sent_unless_an_endpoint_is_given_or_where_it_is_turned_off() {
        for given in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER", "nonsense")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
            &[ENDPOINT, ("OTEL_TRACES_SAMPLER", "always_off")],
            &[ENDPOINT, ("OTEL_TRACES_SAMPLER", "parentbased_always_off")],
        ] {
            assert_eq!(read(given), Ok(None), "{given:?}");
        }
    }

    #[test]
    fn what_is_said_of_traces_comes_before_what_is_said_of_all_signals() {
        let all = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!((all.within, all.share), (WITHIN, 1.0));
        let own = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example/v1/traces"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret,tenant=a=b"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        let own = read(&own).unwrap().unwrap();
        assert_eq!((own.endpoint.host(), own.within), (Some("collector.example"), Duration::from_secs(3)));
        assert_eq!(own.share, 0.25);
    }

    #[test]
    fn a_variable_that_cannot_be_followed_is_named_and_what_it_holds_is_not() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://localhost"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a-secret-alone"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ] {
            let unusable = read(&[ENDPOINT, (name, text)]).unwrap_err();
            assert!(unusable.what.starts_with(&format!("{name} ")) && !unusable.remedy.is_empty(), "{unusable:?}");
            assert!(!unusable.what.contains("secret"), "{unusable:?}");
        }
        for text in ["", "half", "1.5", "-0.1", "NaN"] {
            let given = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", text)];
            assert_eq!(read(&given).is_err(), !text.is_empty(), "{text}");
        }
    }
}
