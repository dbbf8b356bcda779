//! A password that AWS's IAM stands for: a token for one host, port and role of RDS, good for fifteen minutes.
//!
//! It is a presigned request, by Signature Version 4, of the service `rds-db`
//! ([Amazon RDS User Guide, "IAM database authentication"](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html)).
//! Only the making of a connection needs one, so each connection is made with its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use tokio::sync::OnceCell;

/// How long the server takes a token for: no longer is allowed.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// Makes tokens with the credentials and the region of the standard AWS settings.
#[derive(Clone)]
pub(super) struct RdsTokens {
    host: String,
    port: u16,
    user: String,
    aws: Arc<OnceCell<SdkConfig>>,
}

impl RdsTokens {
    pub(super) fn of(host: &str, port: u16, user: &str) -> Self {
        Self { host: host.to_owned(), port, user: user.to_owned(), aws: Arc::default() }
    }

    /// A token of now, or why there is none.
    pub(super) async fn make(&self) -> Result<String, String> {
        let aws = self.aws.get_or_init(aws_config::load_from_env).await;
        let region = self.region(aws).ok_or("no AWS region is set (AWS_REGION)")?;
        let provider = aws.credentials_provider().ok_or("no AWS credentials are configured")?;
        let credentials = provider.provide_credentials().await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            // The rest is a list of where they were looked for.
            let cause = cause.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
            format!("no AWS credentials are available ({error}{cause})")
        })?;
        self.sign(&credentials, &region, SystemTime::now()).map_err(|error| error.to_string())
    }

    /// The host of an RDS instance names its region.
    fn region(&self, aws: &SdkConfig) -> Option<String> {
        let labels: Vec<&str> = self.host.split('.').collect();
        match labels.as_slice() {
            [.., region, "rds", "amazonaws", "com"] | [.., region, "rds", "amazonaws", "com", "cn"] => {
                Some((*region).to_owned())
            }
            _ => aws.region().map(ToString::to_string).filter(|region| !region.is_empty()),
        }
    }

    fn sign(
        &self,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let Self { host, port, user, .. } = self;
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(GOOD_FOR);
        settings.signature_location = SignatureLocation::QueryParams;
        let identity = credentials.clone().into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("rds-db")
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let mut token = format!("{host}:{port}/?Action=connect&DBUser={}", percent_encoded(user));
        let url = format!("https://{token}");
        let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
        let (signed, _) = sign(request, &parameters)?.into_parts();
        for (name, value) in signed.params() {
            write!(token, "&{name}={}", percent_encoded(value))?;
        }
        Ok(token)
    }
}

/// As Signature Version 4 wants it: everything but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.extend(format!("%{byte:02X}").chars()),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The clock and the credentials with which botocore's own test of `generate_db_auth_token` runs.
    #[test]
    fn a_token_is_the_one_that_other_tools_make_of_the_same_clock_and_credentials() {
        let tokens = RdsTokens::of("prod-instance.us-east-1.rds.amazonaws.com", 3306, "someusername");
        let credentials = Credentials::new("akid", "skid", None, None, "test");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_478_540_373);
        let token = tokens.sign(&credentials, "us-east-1", now).unwrap();
        let (place, query) = token.split_once("/?").unwrap();
        assert_eq!(place, "prod-instance.us-east-1.rds.amazonaws.com:3306");
        let said: BTreeMap<&str, &str> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
        let expected = BTreeMap::from([
            ("Action", "connect"),
            ("DBUser", "someusername"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Date", "20161107T173933Z"),
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Expires", "900"),
            ("X-Amz-Credential", "akid%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request"),
            ("X-Amz-Signature", "d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61"),
        ]);
        assert_eq!(said, expected);
    }

    #[test]
    fn a_session_s_token_and_an_odd_role_s_name_are_encoded() {
        let tokens = RdsTokens::of("db.example", 5432, "jane doe/ä");
        let credentials = Credentials::new("akid", "skid", Some("a+b/c==".to_owned()), None, "test");
        let token = tokens.sign(&credentials, "eu-central-1", SystemTime::UNIX_EPOCH).unwrap();
        assert!(token.starts_with("db.example:5432/?Action=connect&DBUser=jane%20doe%2F%C3%A4&X-Amz-"), "{token}");
        assert!(token.contains("&X-Amz-Security-Token=a%2Bb%2Fc%3D%3D"), "{token}");
    }

    #[test]
    fn the_host_of_an_instance_names_its_region() {
        let nothing = SdkConfig::builder().build();
        for (host, region) in [
            ("db.abc.eu-west-1.rds.amazonaws.com", Some("eu-west-1")),
            ("db.abc.cn-north-1.rds.amazonaws.com.cn", Some("cn-north-1")),
            ("db.example", None),
        ] {
            assert_eq!(RdsTokens::of(host, 5432, "me").region(&nothing).as_deref(), region, "{host}");
        }
    }
}
