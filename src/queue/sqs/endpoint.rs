//! Where the calls go: the URL of the queue, the AWS settings, or Amazon, in this order; and what is not gone to in silence.

use aws_config::SdkConfig;
use aws_sdk_sqs::config::Region;

use super::SqsSettings;
use super::address::{QueueAddress, QueueUrl};
use super::connect::ConnectError;
use crate::aws::endpoint::{authority_of, configured, fit, host_of, printable};

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
    let configured = configured(aws, "SQS");
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
    endpoint.map(|endpoint| fit(endpoint, settings.allow_clear_queue)).transpose().map_err(ConnectError::from)
}

fn leads_to(endpoint: &str, url: &QueueUrl) -> bool {
    endpoint.split_once("://").is_some_and(|(_, rest)| host_of(authority_of(rest)).eq_ignore_ascii_case(url.host()))
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
