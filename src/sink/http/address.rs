//! The address of an HTTP sink.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::Scheme;

use crate::http::is_this_machine;
use crate::sink::NoTarget;

/// Where events are posted to: `https://HOST/PATH`, or `http://`. It has no user and no password. Prints without what follows a
/// question mark, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAddress(Uri);

impl HttpAddress {
    /// The whole address.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether what is sent can be read by others on the way.
    pub fn is_in_clear(&self) -> bool {
        self.0.scheme() != Some(&Scheme::HTTPS) && !self.0.host().map(unbracketed).is_some_and(is_this_machine)
    }
}

/// `[::1]` as an address is written elsewhere.
fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl FromStr for HttpAddress {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let (scheme, rest) = text.split_once("://").ok_or(NoTarget::Unknown)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(NoTarget::HoldsUser);
        }
        let uri: Uri = text.parse().map_err(|_| NoTarget::Unknown)?;
        let is_http = ["http", "https"].contains(&scheme) && uri.host().is_some_and(|host| !host.is_empty());
        match is_http && !text.contains('#') {
            true => Ok(Self(uri)),
            false => Err(NoTarget::Unknown),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority());
        write!(f, "{scheme}://{}{}", authority.map_or("", |authority| authority.as_str()), self.0.path())?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_no_secret_and_takes_no_user() {
        for (text, printed, is_in_clear) in [
            ("https://events.example/logins", "https://events.example/logins", false),
            ("https://events.example:8443/a?code=sesame", "https://events.example:8443/a?…", false),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/", false),
            ("http://[::1]:8080/a", "http://[::1]:8080/a", false),
            ("http://localhost", "http://localhost/", false),
            ("http://events.example/a", "http://events.example/a", true),
            ("http://localhost.example/a", "http://localhost.example/a", true),
        ] {
            let address: HttpAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_in_clear()), (printed, is_in_clear));
            assert!(!format!("{address:?}").contains("sesame"));
        }
        for text in ["", "https://", "https:///a", "ftp://host/a", "https://host/a#b", "https://ho st/"] {
            assert_eq!(text.parse::<HttpAddress>().err(), Some(NoTarget::Unknown), "{text}");
        }
        for text in ["https://me:sesame@host/a", "http://me@host"] {
            assert_eq!(text.parse::<HttpAddress>().err(), Some(NoTarget::HoldsUser), "{text}");
        }
        // In the path it is no user.
        assert!("https://host/a@b?c=d@e".parse::<HttpAddress>().is_ok());
    }
}
