//! What is wrong between this TLS and a server's, for people who have seen `psql` connect there: it takes certificates
//! that are not taken here.

use rustls::{CertificateError, Error};

/// What happened, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Explained {
    pub(super) cause: String,
    pub(super) remedy: String,
}

impl Explained {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }
}

/// How to make a certificate that is taken; `openssl` before 3.0 needs `-extfile` for the last.
const MAKE_ANEW: &str = "make it anew, for example by openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=HOST \
     -addext subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE -keyout server.key -out server.crt, and let \
     sslrootcert name that server.crt";

/// What to do about all else.
const ELSE: &str = "look into the server's log, and at sslrootcert, sslcert and sslkey in the database URL";

/// Why a handshake failed.
pub(super) fn explained(error: &Error) -> Explained {
    match error {
        Error::InvalidCertificate(problem) => of_certificate(problem),
        Error::AlertReceived(alert) => Explained::new(
            format!("the server ended the TLS handshake: {alert:?}"),
            "where the server asks for a client certificate, name one that it trusts by sslcert=FILE and sslkey=FILE; else \
             look into the server's log",
        ),
        Error::PeerIncompatible(problem) => Explained::new(
            format!("the server and this client share no way of TLS: {problem:?}"),
            "let the server offer TLS 1.2 or newer (ssl_min_protocol_version, ssl_ciphers)",
        ),
        other => Explained::new(other.to_string(), ELSE),
    }
}

fn of_certificate(problem: &CertificateError) -> Explained {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Explained::new("the server's certificate has expired", "renew it, or set this machine's clock by NTP")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Explained::new("the server's certificate is not valid yet", "set this machine's clock by NTP, or wait")
        }
        CertificateError::UnknownIssuer => Explained::new(
            "the server's certificate is signed by an authority that is not trusted here",
            "let sslrootcert=FILE name the certificate of that authority (PEM)",
        ),
        CertificateError::NotValidForName => not_for_this_name("HOST", &[]),
        CertificateError::NotValidForNameContext { expected, presented } => {
            not_for_this_name(&expected.to_str(), presented)
        }
        CertificateError::BadSignature => Explained::new(
            "the server's certificate is not signed by the authority that it names",
            "let sslrootcert=FILE name the authority that signed it: another one may have the same name",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => an_old_signature(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Explained::new(
            "the server's certificate is not one for servers (extendedKeyUsage)",
            "make it anew with extendedKeyUsage=serverAuth, or without that extension",
        ),
        CertificateError::Other(other) => of_the_library(&other.0.to_string()),
        other => Explained::new(format!("the server's certificate is refused: {other:?}"), ELSE),
    }
}

/// What the verifying library has names for, and the TLS library has not.
fn of_the_library(name: &str) -> Explained {
    match name {
        "CaUsedAsEndEntity" => Explained::new(
            "the server's certificate is that of an authority (CA:TRUE), which `openssl req -x509` makes unless told \
             otherwise: such a one may sign others and may not be a server's (CaUsedAsEndEntity)",
            MAKE_ANEW,
        ),
        "UnsupportedCertVersion" => Explained::new(
            "the server's certificate is of X.509 version 1, which `openssl x509 -req` makes without extensions \
             (UnsupportedCertVersion)",
            "sign it anew with -copy_extensions copy, or -extfile with a file that says subjectAltName=DNS:HOST",
        ),
        name if name.starts_with("UnsupportedSignatureAlgorithm") => an_old_signature(),
        name => Explained::new(format!("the server's certificate is refused: {name}"), MAKE_ANEW),
    }
}

fn an_old_signature() -> Explained {
    Explained::new(
        "a certificate of the server is signed in a way that is too weak (SHA-1, or an RSA key below 2048 bits)",
        "sign it anew with SHA-256 and a key of 2048 bits or more",
    )
}

/// `localhost` of `DnsName("localhost")`, which is how the library gives it.
fn unquoted(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

/// The CN is not looked at, as RFC 6125 says; `psql` looks at it where there is no subjectAltName.
fn not_for_this_name(expected: &str, presented: &[String]) -> Explained {
    match presented {
        [] => Explained::new(
            format!(
                "the server's certificate has no subjectAltName, and its CN is not looked at: it is not for {expected}"
            ),
            format!("make it anew with subjectAltName=DNS:{expected} (openssl: -addext, or -extfile)"),
        ),
        names => {
            let names = names.iter().map(|name| unquoted(name)).collect::<Vec<_>>().join(", ");
            Explained::new(
                format!("the server's certificate is for {names}, not for {expected}"),
                format!("connect by one of its names, or make it anew with subjectAltName=DNS:{expected}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{AlertDescription, OtherError};

    use super::*;

    #[test]
    fn what_a_handshake_fails_of_is_said_with_what_to_do() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Named(&'static str);
        let other = |name| CertificateError::Other(OtherError(Arc::new(Named(name))));
        for (problem, cause, remedy) in [
            (CertificateError::Expired, "has expired", "renew it"),
            (CertificateError::NotValidYet, "not valid yet", "clock"),
            (CertificateError::UnknownIssuer, "not trusted here", "sslrootcert=FILE"),
            (CertificateError::BadSignature, "not signed by", "sslrootcert=FILE"),
            (CertificateError::InvalidPurpose, "extendedKeyUsage", "serverAuth"),
            (other("CaUsedAsEndEntity"), "CA:TRUE", "CA:FALSE"),
            (other("UnsupportedCertVersion"), "version 1", "-extfile"),
            (other("UnsupportedSignatureAlgorithmContext(…)"), "SHA-1", "SHA-256"),
            (other("SomethingNew"), "SomethingNew", "make it anew"),
        ] {
            let explained = explained(&Error::InvalidCertificate(problem));
            assert!(explained.cause.contains(cause) && explained.remedy.contains(remedy), "{explained:?}");
        }
        let alert = explained(&Error::AlertReceived(AlertDescription::CertificateRequired));
        assert!(alert.remedy.contains("sslcert=FILE"));
    }
}
