//! What is decided of a request before anybody looks at what it asks for; and what every answer says to the browser.

use std::net::IpAddr;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, Uri};

/// What every answer says. Nothing is loaded from elsewhere, nothing runs inline, and no other page holds ours.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// What holds data is kept nowhere.
pub(super) const NOT_KEPT: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request that changes something comes from a page of ours. What the browser says of itself decides
/// (`Sec-Fetch-Site`); where it does not, as it does by http, `Origin` must name the host. Neither of them: it is refused.
pub(super) fn is_of_our_pages(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    match (headers.get(SEC_FETCH_SITE), headers.get(ORIGIN), headers.get(HOST)) {
        (Some(site), _, _) => site == "same-origin",
        (None, Some(origin), Some(host)) => {
            let of_origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            of_origin.is_some_and(|(_, authority)| host == authority)
        }
        (None, _, _) => false,
    }
}

/// Whether somebody followed a link from elsewhere: the browser keeps our cookie back then, which is no sign of nobody.
pub(super) fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Whether a request names this machine as its host. A console that is served in clear and to this machine only answers to
/// no other name, so that no website reaches it by a name of its own that leads here.
pub(super) fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Uri>().ok());
    let host = host.as_ref().and_then(Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    host.is_some_and(|host| crate::http::is_this_machine(&host))
}

/// Whether a peer is on this machine: an address of IPv4 may be written as one of IPv6.
pub(super) fn is_on_this_machine(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// The name of the cookie of a session.
pub(super) fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-turnstile" } else { "turnstile" }
}

/// A cookie with this value, or one that takes it away.
pub(super) fn set_cookie(is_secure: bool, value: Option<&str>) -> String {
    let (name, secure) = (cookie_name(is_secure), if is_secure { "; Secure" } else { "" });
    match value {
        Some(value) => format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"),
        None => format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{secure}"),
    }
}

/// The value of our cookie.
pub(super) fn cookie(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let name = cookie_name(is_secure);
    let of_all = headers.get_all(axum::http::header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = of_all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(its_name, _)| *its_name == name).map(|(_, value)| value)
}

/// Where to go after signing in: a path of ours, and nothing that a browser takes for another place.
pub(super) fn is_path_of_ours(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(HeaderName, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_our_own_pages_change_anything() {
        for (given, is_ours) in [
            (&[(SEC_FETCH_SITE, "same-origin")][..], true),
            (&[(SEC_FETCH_SITE, "same-site")], false),
            (&[(SEC_FETCH_SITE, "cross-site")], false),
            (&[(SEC_FETCH_SITE, "none")], false),
            (&[(SEC_FETCH_SITE, "cross-site"), (ORIGIN, "http://a:1"), (HOST, "a:1")], false),
            (&[(ORIGIN, "http://a:1"), (HOST, "a:1")], true),
            (&[(ORIGIN, "http://b:1"), (HOST, "a:1")], false),
            (&[(ORIGIN, "null"), (HOST, "a:1")], false),
            (&[(HOST, "a:1")], false),
            (&[], false),
        ] {
            assert_eq!(is_of_our_pages(&Method::POST, &headers(given)), is_ours, "{given:?}");
            assert!(is_of_our_pages(&Method::GET, &headers(given)));
        }
    }

    #[test]
    fn a_name_that_leads_here_is_no_name_of_this_machine() {
        for (host, is_ours) in [
            ("localhost:9465", true),
            ("127.0.0.1:9465", true),
            ("[::1]:9465", true),
            ("localhost", true),
            ("evil.example:9465", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(names_this_machine(&headers(&[(HOST, host)])), is_ours, "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_under_its_own_name_only() {
        let given = headers(&[(axum::http::header::COOKIE, "a=b; turnstile=x; __Host-turnstile=y")]);
        assert_eq!((cookie(&given, false), cookie(&given, true)), (Some("x"), Some("y")));
        assert_eq!(cookie(&HeaderMap::new(), true), None);
        assert!(
            set_cookie(true, Some("v")).starts_with("__Host-turnstile=v; Path=/; HttpOnly; SameSite=Strict; Secure")
        );
        assert!(!set_cookie(false, Some("v")).contains("Secure"));
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for (path, is_ours) in [
            ("/", true),
            ("/dead-letters?code=invalid_ip", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("", false),
            ("/a\nb", false),
        ] {
            assert_eq!(is_path_of_ours(path), is_ours, "{path:?}");
        }
    }
}
