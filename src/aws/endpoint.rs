//! The standard AWS settings: region, credentials, and the endpoint of a service where it is not Amazon's own.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_sdk_sqs::config::{ProvideCredentials, Region};
use aws_types::service_config::ServiceConfigKey;

use super::failure::chain;
use crate::http::is_this_machine;

/// How long the search for credentials may take: a process or a single sign-on may ask a server of its own.
const CREDENTIALS_DEADLINE: Duration = Duration::from_secs(10);

/// How long a TCP and TLS connection may take; a lost SYN is sent again after one second and after three.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);

/// Why the AWS settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSettings {
    /// No credentials in the environment, the profile, the container or the instance.
    #[error("no AWS credentials are available ({cause})")]
    NoCredentials {
        /// What the search ended with.
        cause: String,
    },
    /// The endpoint that they give is not one.
    #[error("the endpoint {endpoint} of the AWS settings (AWS_ENDPOINT_URL, or that of the service) is not a URL")]
    NotAnEndpoint {
        /// As it is given, without a user and a password.
        endpoint: String,
    },
    /// What is sent would leave this machine in clear.
    #[error("the server at {endpoint} is reached in clear, and everybody on the way can read what is sent")]
    InClear {
        /// Where the calls would go.
        endpoint: String,
    },
}

impl UnusableSettings {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoCredentials { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile that has them, or run where a \
                 role provides them; a local server accepts any value"
            }
            Self::NotAnEndpoint { .. } => "write http:// or https:// and a host",
            Self::InClear { .. } => "use https://, or add --allow-clear-queue where the way needs no protection",
        }
    }
}

/// Reads the standard AWS settings: environment, profile, container, instance. A region that is set to nothing is not set.
pub(crate) async fn aws_settings() -> SdkConfig {
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

/// `AWS_ENDPOINT_URL_…` of the service, `AWS_ENDPOINT_URL`, or the same of the profile, as the SDK looks for them.
pub(crate) fn configured(aws: &SdkConfig, service_id: &str) -> Option<String> {
    let of_service = || {
        let key =
            ServiceConfigKey::builder().service_id(service_id).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
        aws.service_config()?.load_config(key.ok()?)
    };
    let given =
        aws.get_origin("endpoint_url").is_client_config().then(|| aws.endpoint_url().map(str::to_owned)).flatten();
    let found = given.or_else(of_service).or_else(|| aws.endpoint_url().map(str::to_owned));
    found.filter(|endpoint| !endpoint.is_empty())
}

/// Refuses what is no endpoint, and clear text that leaves this machine.
pub(crate) fn fit(endpoint: String, allow_clear: bool) -> Result<String, UnusableSettings> {
    match endpoint.split_once("://") {
        Some(("https", rest)) if !rest.is_empty() => Ok(endpoint),
        Some(("http", rest)) if allow_clear || is_this_machine(host_of(authority_of(rest))) => Ok(endpoint),
        Some(("http", _)) => Err(UnusableSettings::InClear { endpoint: printable(&endpoint) }),
        Some(_) | None => Err(UnusableSettings::NotAnEndpoint { endpoint: printable(&endpoint) }),
    }
}

/// One search before the first call: its failure inside a call could not be told from a failure of the network.
pub(crate) async fn look_for_credentials(aws: &SdkConfig) -> Result<(), UnusableSettings> {
    let none = |cause: &str| Err(UnusableSettings::NoCredentials { cause: cause.to_owned() });
    let Some(provider) = aws.credentials_provider() else { return none("no provider is configured") };
    match tokio::time::timeout(CREDENTIALS_DEADLINE, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => none(&chain(&error)),
        Err(_) => none("the search took more than 10 s"),
    }
}

/// Host and port of what follows the scheme.
pub(crate) fn authority_of(rest: &str) -> &str {
    rest.split('/').next().unwrap_or(rest)
}

/// The host of `host`, `host:port`, `[address]` and `[address]:port`.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or(address),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// An endpoint for people: without a user and a password.
pub(crate) fn printable(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => endpoint.to_owned(),
    }
}
