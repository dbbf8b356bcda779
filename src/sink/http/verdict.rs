//! What the answer of a receiver means.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Taken,
    /// The receiver refuses it for what it is; the code says why.
    Refused(String),
    /// The receiver is away, busy or closed to us: the same again later.
    Away(String),
    /// The receiver wants no more events.
    Gone(String),
}

/// What a status means. What is not known to be the fault of an event is none: nothing is set aside by a wrong address, a
/// missing permission or an outage.
pub(super) fn verdict(status: StatusCode) -> Verdict {
    let code = status.as_u16();
    match code {
        200..=299 => Verdict::Taken,
        300..=399 => Verdict::Away(format!(
            "it answers with status {code} and points elsewhere, which is not followed: correct its address"
        )),
        400 | 409 | 413 | 415 | 422 => Verdict::Refused(format!("HTTP {code}")),
        401 | 403 => Verdict::Away(format!("it does not let this program in (status {code})")),
        404 | 405 => Verdict::Away(format!("it takes no events at this address (status {code})")),
        410 => Verdict::Gone("it answers with status 410: it wants no more events".to_owned()),
        _ => Verdict::Away(format!("it answers with status {code}")),
    }
}

/// For how long the receiver asks to be left alone.
pub(super) fn asked_pause(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || OffsetDateTime::parse(text, &Rfc2822).ok();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(Duration::try_from(until()? - now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn only_what_an_event_is_can_be_refused() {
        for code in 100..=599 {
            let verdict = verdict(StatusCode::from_u16(code).unwrap());
            let fits = match code {
                200..=299 => verdict == Verdict::Taken,
                400 | 409 | 413 | 415 | 422 => verdict == Verdict::Refused(format!("HTTP {code}")),
                410 => matches!(verdict, Verdict::Gone(_)),
                _ => matches!(&verdict, Verdict::Away(cause) if cause.contains(&code.to_string())),
            };
            assert!(fits, "{code}: {verdict:?}");
        }
    }

    #[test]
    fn a_receiver_says_in_seconds_or_by_a_date_for_how_long_it_wants_to_be_left_alone() {
        let now = datetime!(2026-03-08 12:00 UTC);
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 08 Mar 2026 12:00:30 GMT", Some(30)),
            ("Sun, 08 Mar 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(asked_pause(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(asked_pause(&HeaderMap::new(), now), None);
    }
}
