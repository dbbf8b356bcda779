//! Which names the server answers to.
//!
//! A website can give its own name the address 127.0.0.1 once it is loaded (DNS rebinding). A browser then lets its scripts
//! call a server on this machine, and reads the answers to them. What gives such a call away is the header `Host`.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap};

use super::error::{ApiError, ErrorCode, shortened};

/// The names that a server answers to.
pub(super) enum Hosts {
    /// Those of this machine, and these.
    Local(Vec<String>),
    /// The server is there for others, who may know it by any name.
    Any,
}

impl Hosts {
    /// The names of a server that listens on `address` and was given `names`: all, if it is there for others and has no
    /// name.
    pub(super) fn of(address: SocketAddr, names: Vec<String>) -> Self {
        if names.is_empty() && !address.ip().is_loopback() { Self::Any } else { Self::Local(names) }
    }

    /// Why a request is not answered.
    pub(super) fn refusal(&self, headers: &HeaderMap) -> Option<ApiError> {
        let Self::Local(names) = self else { return None };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = without_port(host);
        let is_known = is_of_this_machine(name) || names.iter().any(|known| known.eq_ignore_ascii_case(name));
        (!is_known).then(|| {
            let others: String = names.iter().map(|name| format!(", {name}")).collect();
            let message = format!(
                "The server does not answer to the host '{}', but to localhost, 127.0.0.1, [::1]{others}. Use one of them \
                 in the endpoint, or start the server with this name among its host names.",
                shortened(host)
            );
            ApiError::new(ErrorCode::AccessDenied, message)
        })
    }
}

fn is_of_this_machine(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `localhost:9324` without its port; the colons of `[::1]` stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        hosts.refusal(&headers).is_none()
    }

    #[test]
    fn a_server_on_loopback_answers_to_the_names_of_this_machine_and_its_own() {
        let hosts = Hosts::of(([127, 0, 0, 1], 9324).into(), vec!["queue".to_owned()]);
        for known in ["localhost", "LocalHost:9324", "127.0.0.1:9324", "127.0.0.1", "[::1]:9324", "[::1]", "queue:80"] {
            assert!(answers(&hosts, known), "{known}");
        }
        for unknown in
            ["", "evil.example", "evil.example:9324", "localhost.evil.example", "queue.evil.example", "10.0.0.1"]
        {
            assert!(!answers(&hosts, unknown), "{unknown}");
        }
        assert!(hosts.refusal(&HeaderMap::new()).is_some(), "a browser always sends the header");
    }

    #[test]
    fn a_server_for_others_answers_to_any_name_until_it_is_given_some() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 9324));
        assert!(answers(&Hosts::of(everywhere, Vec::new()), "anything.example"));
        let named = Hosts::of(everywhere, vec!["queue".to_owned()]);
        assert!(answers(&named, "queue") && answers(&named, "localhost") && !answers(&named, "anything.example"));
    }
}
