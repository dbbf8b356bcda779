//! Where a loader's figures are, as one types it.

use hyper::Uri;
use hyper::http::uri::{PathAndQuery, Scheme};

/// Where a loader serves its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What is asked.
    pub uri: Uri,
    /// What it is called on the screen: host and port, and the path where it is another than `/metrics`.
    pub name: String,
}

/// The text is not an address at which a loader could serve its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// It has no host, or is malformed.
    #[error("is not the address of a loader")]
    Malformed,
    /// It is of another protocol.
    #[error("is neither http nor https")]
    Scheme,
    /// It holds a name or a password.
    #[error("holds a user name, and none is asked for")]
    User,
}

const PATH: &str = "/metrics";

impl Address {
    /// Reads `host:9464`, `http://host:9464` or `https://host/path`. Without a path it is `/metrics`.
    ///
    /// # Errors
    ///
    /// [`NoAddress`]
    pub fn parse(text: &str) -> Result<Self, NoAddress> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut parts = whole.parse::<Uri>().map_err(|_| NoAddress::Malformed)?.into_parts();
        let scheme = parts.scheme.as_ref();
        if !scheme.is_some_and(|scheme| [&Scheme::HTTP, &Scheme::HTTPS].contains(&scheme)) {
            return Err(NoAddress::Scheme);
        }
        let host = parts.authority.as_ref().filter(|host| !host.host().is_empty()).ok_or(NoAddress::Malformed)?;
        if host.as_str().contains('@') {
            return Err(NoAddress::User);
        }
        if host.as_str() != host.host() && host.port_u16().is_none() {
            return Err(NoAddress::Malformed);
        }
        let has_path = parts.path_and_query.as_ref().is_some_and(|path| path.as_str() != "/");
        let path = if has_path { parts.path_and_query } else { None };
        let path = path.unwrap_or(PathAndQuery::from_static(PATH));
        let name = match path.as_str() {
            PATH => host.to_string(),
            path => format!("{host}{path}"),
        };
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts).map_err(|_| NoAddress::Malformed)?;
        Ok(Self { uri, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_url_and_the_path_is_that_of_the_figures() {
        for (text, uri, name) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464/metrics", "127.0.0.1:9464"),
            ("[::1]:9464", "http://[::1]:9464/metrics", "[::1]:9464"),
            ("http://loader-1:9464", "http://loader-1:9464/metrics", "loader-1:9464"),
            ("http://loader-1:9464/", "http://loader-1:9464/metrics", "loader-1:9464"),
            ("https://gate.example/l/1", "https://gate.example/l/1", "gate.example/l/1"),
        ] {
            let Address { uri: found, name: called } = Address::parse(text).unwrap();
            assert_eq!((found.to_string().as_str(), called.as_str()), (uri, name), "{text}");
        }
        for (text, problem) in [
            ("", NoAddress::Malformed),
            ("http://", NoAddress::Malformed),
            ("a b:1", NoAddress::Malformed),
            ("host:99999999", NoAddress::Malformed),
            ("ftp://host:1", NoAddress::Scheme),
            ("http://me:sesame@host:1", NoAddress::User),
        ] {
            assert_eq!(Address::parse(text), Err(problem), "{text}");
        }
    }
}
