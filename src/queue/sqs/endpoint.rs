//! Where the calls go: the URL of the queue, the AWS settings, or Amazon, in this order; and what is not gone to in silence.

use aws_config::SdkConfig;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_sdk_sqs::config::Region;
use aws_types::service_config::ServiceConfigKey;

use super::SqsSettings;
use super::address::{QueueAddress, QueueUrl, host_of};
use super::connect::ConnectError;

/// Reads the standard AWS settings: environment, profile, container, instance. A region that is set to nothing is not set.
pub(super) async fn aws_settings() -> SdkConfig {
    const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let values = REGIONS.map(|name| std::env::var(name).ok());
    if values.iter().flatten().all(|value| !value.is_empty()) {
        return aws_config::load_from_env().await;
    }
    let given = values.into_iter().flatten().find(|value| !value.is_empty()).map(Region::new);
    let region = RegionProviderChain::first_try(given)
        .or_else(ProfileFileRegionProvider::new())
        .or_else(ImdsRegionProvider::builder().build());
    aws_config::from_env().region(region).load().await
}

/// The region of the queue: that of its host, else that of the AWS settings.
pub(super) fn region(queue: &QueueAddress, aws: &SdkConfig) -> Result<String, ConnectError> {
    let of_host = match queue {
        QueueAddress::Url(url) => url.region(),
        QueueAddress::Name(_) => None,
    };
    let region = of_host.or(aws.region().map(Region::as_ref)).filter(|region| !region.is_empty());
    region.map(str::to_owned).ok_or(ConnectError::NoRegion)
}

/// The endpoint of the calls; none where it is Amazon's own.
pub(super) fn endpoint(settings: &SqsSettings, aws: &SdkConfig) -> Result<Option<String>, ConnectError> {
    let configured = configured(aws);
    let endpoint = match &settings.queue {
        QueueAddress::Name(_) => configured,
        QueueAddress::Url(url) => match (url.endpoint(), configured) {
            (Some(own), _) => Some(own.to_owned()),
            (None, Some(other)) if !settings.allow_endpoint_override && !leads_to(&other, url) => {
                let (endpoint, host) = (printable(&other), url.host().to_owned());
                return Err(ConnectError::EndpointOverride { endpoint, host });
            }
            (None, configured) => configured,
        },
    };
    endpoint.map(|endpoint| fit(endpoint, settings.allow_clear_queue)).transpose()
}

/// `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL`, or the same of the profile, as the SDK looks for them.
fn configured(aws: &SdkConfig) -> Option<String> {
    let of_service = || {
        let key = ServiceConfigKey::builder().service_id("SQS").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
        aws.service_config()?.load_config(key.ok()?)
    };
    let given =
        aws.get_origin("endpoint_url").is_client_config().then(|| aws.endpoint_url().map(str::to_owned)).flatten();
    let found = given.or_else(of_service).or_else(|| aws.endpoint_url().map(str::to_owned));
    found.filter(|endpoint| !endpoint.is_empty())
}

/// Refuses what is no endpoint, and clear text that leaves this machine.
fn fit(endpoint: String, allow_clear: bool) -> Result<String, ConnectError> {
    match endpoint.split_once("://") {
        Some(("https", rest)) if !rest.is_empty() => Ok(endpoint),
        Some(("http", rest)) if allow_clear || is_this_machine(authority_of(rest)) => Ok(endpoint),
        Some(("http", _)) => Err(ConnectError::InClear { endpoint: printable(&endpoint) }),
        Some(_) | None => Err(ConnectError::NotAnEndpoint { endpoint: printable(&endpoint) }),
    }
}

fn leads_to(endpoint: &str, url: &QueueUrl) -> bool {
    endpoint.split_once("://").is_some_and(|(_, rest)| host_of(authority_of(rest)).eq_ignore_ascii_case(url.host()))
}

fn authority_of(rest: &str) -> &str {
    rest.split('/').next().unwrap_or(rest)
}

fn is_this_machine(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An endpoint for people: without a user and a password.
fn printable(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => endpoint.to_owned(),
    }
}

/// Where the calls go, for people.
pub(super) fn told(endpoint: Option<&str>, region: &str, aws: &SdkConfig) -> String {
    let is_special = aws.use_fips() == Some(true) || aws.use_dual_stack() == Some(true);
    match endpoint {
        Some(endpoint) => printable(endpoint),
        None if is_special => format!("the SQS endpoint of region {region}"),
        None if region.starts_with("cn-") => format!("https://sqs.{region}.amazonaws.com.cn"),
        None => format!("https://sqs.{region}.amazonaws.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMAZON: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/logins";

    fn aws(endpoint: &str) -> SdkConfig {
        SdkConfig::builder().endpoint_url(endpoint).build()
    }

    fn settings(queue: &str) -> SqsSettings {
        SqsSettings::new(queue.parse().unwrap())
    }

    /// What a user is told of a refusal.
    fn told_of(refused: Result<Option<String>, ConnectError>) -> String {
        let error = refused.unwrap_err();
        format!("{error}\n    {}", error.remedy())
    }

    #[test]
    fn an_endpoint_of_the_environment_does_not_lead_a_queue_s_url_elsewhere_unless_that_is_allowed() {
        let local = aws("http://127.0.0.1:9324");
        let error = told_of(endpoint(&settings(AMAZON), &local));
        let said = ["http://127.0.0.1:9324", "sqs.eu-central-1.amazonaws.com", "--allow-endpoint-override"];
        assert!(said.iter().all(|text| error.contains(text)), "{error}");

        let allowed = SqsSettings { allow_endpoint_override: true, ..settings(AMAZON) };
        assert_eq!(endpoint(&allowed, &local).unwrap().as_deref(), Some("http://127.0.0.1:9324"));
        let same = aws("https://sqs.eu-central-1.amazonaws.com");
        assert!(endpoint(&settings(AMAZON), &same).unwrap().is_some());
        let nothing = SdkConfig::builder().build();
        assert_eq!(endpoint(&settings(AMAZON), &nothing).unwrap(), None);
        assert_eq!(endpoint(&settings(AMAZON), &aws("")).unwrap(), None);
        let own = endpoint(&settings("http://localhost:9324/1/logins"), &aws("https://elsewhere.example"));
        assert_eq!(own.unwrap().as_deref(), Some("http://localhost:9324"));
        assert_eq!(endpoint(&settings("logins"), &local).unwrap().as_deref(), Some("http://127.0.0.1:9324"));
    }

    #[test]
    fn clear_text_leaves_this_machine_only_where_that_is_allowed() {
        for (place, is_fit) in [
            ("http://localhost:9324", true),
            ("http://127.8.0.1", true),
            ("http://[::1]:9324", true),
            ("https://queue.example", true),
            ("http://queue.example:9324", false),
            ("http://192.0.2.2", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(endpoint(&settings("logins"), &aws(place)).is_ok(), is_fit, "{place}");
            let allowed = SqsSettings { allow_clear_queue: true, ..settings("logins") };
            assert!(endpoint(&allowed, &aws(place)).is_ok(), "{place}");
        }
        let url = told_of(endpoint(&settings("http://192.0.2.2/1/logins"), &aws("")));
        assert!(url.contains("in clear") && url.contains("--allow-clear-queue"), "{url}");
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_told_as_that() {
        for place in ["127.0.0.1:15998", "ftp://host", "https://"] {
            let error = told_of(endpoint(&settings("logins"), &aws(place)));
            assert!(error.contains(place) && error.contains("http://"), "{error}");
        }
        let error = told_of(endpoint(&settings("logins"), &aws("me:sesame@host")));
        assert!(!error.contains("sesame"), "{error}");
    }

    #[test]
    fn where_the_calls_go_is_told_for_amazon_s_own_endpoints_too() {
        let nothing = SdkConfig::builder().build();
        for (place, region, text) in [
            (Some("http://localhost:9324"), "eu-central-1", "http://localhost:9324"),
            (None, "eu-central-1", "https://sqs.eu-central-1.amazonaws.com"),
            (None, "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(told(place, region, &nothing), text);
        }
        let fips = SdkConfig::builder().use_fips(true).build();
        assert_eq!(told(None, "us-east-1", &fips), "the SQS endpoint of region us-east-1");
    }
}
