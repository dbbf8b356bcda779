//! Who is let in: the server checks no signature, but it can be told that credentials have expired, and when its clock
//! is told to be off it refuses, as SQS does, what was not signed at its own time.

use std::collections::BTreeSet;

use hyper::header::HeaderMap;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::clock::Moment;
use super::error::{ApiError, ErrorCode};

/// By how much the time that a request was signed at may differ from the server's (API reference, "Common Errors",
/// `RequestExpired`).
const TOLERANCE: Duration = Duration::minutes(15);

/// `20130524T000000Z`, the header `X-Amz-Date` (IAM user guide, "Elements of an AWS API request signature").
const SIGNED_AT: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// `Sun, 06 Nov 1994 08:49:37 GMT`, RFC 9110.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// What every request passes before its call is looked at.
#[derive(Default)]
pub(super) struct Gate {
    /// The ids of the access keys whose credentials have expired.
    pub(super) expired: BTreeSet<String>,
    /// By how much the clock that clients are told of is ahead of the one that the queues' rules go by.
    pub(super) clock_ahead: Duration,
}

impl Gate {
    /// Why a request is not let in. One that is not signed at all is.
    pub(super) fn refusal(&self, headers: &HeaderMap, now: Moment) -> Option<ApiError> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if header("x-amz-date").and_then(signed_at).is_some_and(|signed| !self.is_current(signed, now)) {
            let message = "Signature expired or not yet current: it was made more than 15 min. from the server's time.";
            return Some(ApiError::new(ErrorCode::SignatureDoesNotMatch, message));
        }
        if header("authorization").and_then(access_key).is_some_and(|key| self.expired.contains(key)) {
            let message = "The security token included in the request is expired";
            return Some(ApiError::new(ErrorCode::ExpiredToken, message));
        }
        None
    }

    /// The moment that clients are told in the place of this one.
    pub(super) fn told(&self, moment: Moment) -> Moment {
        let millis = i64::try_from(self.clock_ahead.whole_milliseconds()).unwrap_or_default();
        Moment::from_millis(moment.as_millis().saturating_add_signed(millis))
    }

    /// The header `Date` of a reply.
    pub(super) fn date(&self, now: Moment) -> Option<String> {
        time_of(self.told(now))?.format(HTTP_DATE).ok()
    }

    fn is_current(&self, signed: OffsetDateTime, now: Moment) -> bool {
        time_of(self.told(now)).is_none_or(|now| (now - signed).abs() <= TOLERANCE)
    }
}

fn time_of(moment: Moment) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(moment.as_secs()).ok()?).ok()
}

fn signed_at(date: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(date, SIGNED_AT).ok().map(PrimitiveDateTime::assume_utc)
}

/// The access key id in `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/sqs/aws4_request, …`.
fn access_key(authorization: &str) -> Option<&str> {
    authorization.split_once("Credential=")?.1.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Moment = Moment::from_millis(1_700_000_000_000);

    fn signed(at: &str, key: &str) -> HeaderMap {
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={key}/20231114/us-east-1/sqs/aws4_request, Signature=f");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", at.parse().unwrap());
        headers.insert("authorization", authorization.parse().unwrap());
        headers
    }

    #[test]
    fn what_was_signed_more_than_a_quarter_of_an_hour_from_the_servers_time_is_refused() {
        let mut gate = Gate::default();
        let refused = |gate: &Gate, at| gate.refusal(&signed(at, "a"), NOON).map(|error| error.code);
        for (at, is_refused) in [
            ("20231114T221320Z", false),
            ("20231114T215820Z", false),
            ("20231114T215819Z", true),
            ("20231114T222820Z", false),
            ("20231114T222821Z", true),
            ("yesterday", false),
        ] {
            assert_eq!(refused(&gate, at), is_refused.then_some(ErrorCode::SignatureDoesNotMatch), "{at}");
        }
        gate.clock_ahead = Duration::minutes(20);
        assert!(refused(&gate, "20231114T221320Z").is_some() && refused(&gate, "20231114T223320Z").is_none());
        assert_eq!(gate.date(NOON).as_deref(), Some("Tue, 14 Nov 2023 22:33:20 GMT"));
        gate.clock_ahead = Duration::minutes(-20);
        assert!(refused(&gate, "20231114T221320Z").is_some() && refused(&gate, "20231114T215320Z").is_none());
    }

    #[test]
    fn expired_credentials_are_known_by_their_access_key() {
        let gate = Gate { expired: BTreeSet::from(["old".to_owned()]), ..Gate::default() };
        let refused = |key| gate.refusal(&signed("20231114T221320Z", key), NOON).map(|error| error.code);
        assert_eq!([refused("old"), refused("new"), refused("older")], [Some(ErrorCode::ExpiredToken), None, None]);
        assert!(gate.refusal(&HeaderMap::new(), NOON).is_none());
    }
}
