//! Which queue is meant: its name, or its URL.

use std::fmt;
use std::str::FromStr;

use crate::aws::endpoint::host_of;

/// A queue as `--queue` names it.
///
/// A name is looked up in the account and region of the credentials, at the endpoint that the AWS settings give.
/// A URL works as given: its host is where the calls go. Amazon's regional hosts bring their region with them,
/// any other host (a VPC endpoint, a queue server of one's own) is used as the endpoint, before `AWS_ENDPOINT_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueAddress {
    /// 1 to 80 letters, digits, `-` and `_`; a FIFO queue's name ends with `.fifo`.
    Name(String),
    /// `http://` or `https://`, a host, and a path that ends with the account and the name.
    Url(QueueUrl),
}

impl FromStr for QueueAddress {
    type Err = NoQueueAddress;

    fn from_str(text: &str) -> Result<Self, NoQueueAddress> {
        if text.contains("://") {
            return QueueUrl::parse(text).map(Self::Url);
        }
        let stem = text.strip_suffix(".fifo").unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !stem.is_empty() && text.len() <= 80 && stem.chars().all(allowed) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(NoQueueAddress),
        }
    }
}

impl fmt::Display for QueueAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Url(url) => f.write_str(&url.text),
        }
    }
}

/// A text is neither a queue's name nor its URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither the name of a queue (up to 80 letters, digits, - and _) nor its URL (https://HOST/ACCOUNT/NAME, \
     without user or password)"
)]
pub struct NoQueueAddress;

/// The URL of a queue, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrl {
    text: String,
    origin: String,
    host: String,
    path: Vec<String>,
}

impl QueueUrl {
    pub(super) fn parse(text: &str) -> Result<Self, NoQueueAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(NoQueueAddress)?;
        let (authority, path) = rest.split_once('/').ok_or(NoQueueAddress)?;
        let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let is_http = scheme == "http" || scheme == "https";
        let is_odd = |c: char| c.is_whitespace() || matches!(c, '@' | '?' | '#');
        if !is_http || authority.is_empty() || path.is_empty() || rest.contains(is_odd) {
            return Err(NoQueueAddress);
        }
        Ok(Self {
            text: text.to_owned(),
            origin: format!("{scheme}://{authority}"),
            host: host_of(authority).to_ascii_lowercase(),
            path,
        })
    }

    /// The URL as it was given: what the calls name the queue by.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The endpoint to call, unless the host is one that the SDK finds by itself from [`QueueUrl::region`].
    pub(super) fn endpoint(&self) -> Option<&str> {
        match self.amazon_host() {
            Some(AmazonHost { regional: true, .. }) => None,
            Some(AmazonHost { regional: false, .. }) | None => Some(&self.origin),
        }
    }

    /// The host, in small letters.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The region that an Amazon host names.
    pub(super) fn region(&self) -> Option<&str> {
        self.amazon_host().map(|host| host.region)
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The ARN that a queue at this URL has on Amazon, for servers that do not say it themselves.
    pub(super) fn arn(&self, region: &str) -> String {
        let account = self.path.iter().rev().nth(1).map_or("000000000000", String::as_str);
        let partition = match region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
            Some(_) | None => "aws",
        };
        format!("arn:{partition}:sqs:{region}:{account}:{}", self.name())
    }

    /// `sqs.REGION.amazonaws.com`, and the same behind a VPC endpoint: `ID.sqs.REGION.vpce.amazonaws.com`.
    fn amazon_host(&self) -> Option<AmazonHost<'_>> {
        let labels: Vec<&str> = self.host.split('.').collect();
        match *labels.as_slice() {
            ["sqs", region, "amazonaws", "com"] | ["sqs", region, "amazonaws", "com", "cn"] => {
                Some(AmazonHost { region, regional: true })
            }
            [.., "sqs", region, "vpce", "amazonaws", "com"] | [.., "sqs", region, "vpce", "amazonaws", "com", "cn"] => {
                Some(AmazonHost { region, regional: false })
            }
            ["sqs-fips", region, "amazonaws", "com"] | ["sqs", region, "api", "aws"] => {
                Some(AmazonHost { region, regional: false })
            }
            _ => None,
        }
    }
}

struct AmazonHost<'u> {
    region: &'u str,
    regional: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_call_and_an_amazon_host_says_which_region() {
        for (url, endpoint, region) in [
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/logins", None, Some("eu-central-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/logins", None, Some("cn-north-1")),
            (
                "https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com/123456789012/logins",
                Some("https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com"),
                Some("us-east-1"),
            ),
            (
                "https://sqs-fips.us-east-1.amazonaws.com/123456789012/logins",
                Some("https://sqs-fips.us-east-1.amazonaws.com"),
                Some("us-east-1"),
            ),
            ("http://localhost:9324/000000000000/logins", Some("http://localhost:9324"), None),
            ("http://[::1]:9324/000000000000/logins", Some("http://[::1]:9324"), None),
            ("http://queue/logins", Some("http://queue"), None),
        ] {
            let parsed = QueueUrl::parse(url).unwrap();
            assert_eq!((parsed.endpoint(), parsed.region()), (endpoint, region), "{url}");
            assert_eq!((parsed.as_str(), parsed.name()), (url, "logins"), "{url}");
        }
    }

    #[test]
    fn an_arn_is_derived_from_the_path_where_the_server_gives_none() {
        for (url, region, arn) in [
            ("http://localhost:9324/000000000000/logins", "us-east-1", "arn:aws:sqs:us-east-1:000000000000:logins"),
            ("http://localhost:9324/logins", "us-east-1", "arn:aws:sqs:us-east-1:000000000000:logins"),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/a.fifo",
                "cn-north-1",
                "arn:aws-cn:sqs:cn-north-1:123456789012:a.fifo",
            ),
        ] {
            assert_eq!(QueueUrl::parse(url).unwrap().arn(region), arn);
        }
    }

    #[test]
    fn what_is_neither_a_name_nor_a_url_is_refused() {
        for name in ["logins", "Logins_2-b", "logins.fifo", &"q".repeat(80)] {
            assert_eq!(name.parse(), Ok(QueueAddress::Name(name.to_owned())));
        }
        for odd in [
            "",
            ".fifo",
            "log ins",
            "logins.fifo.fifo",
            "arn:aws:sqs:eu-central-1:123456789012:logins",
            "ftp://host/q",
            "http:///q",
            "http://host",
            "http://host/",
            "http://user:secret@host/1/q",
            "http://host/1/q?x=y",
            &"q".repeat(81),
        ] {
            assert_eq!(odd.parse::<QueueAddress>(), Err(NoQueueAddress), "{odd}");
        }
    }
}
