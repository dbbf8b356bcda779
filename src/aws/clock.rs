//! The server's clock, from the Date header of a reply.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

/// Looks at the replies of the calls that it intercepts, and keeps by how much the server's clock was ahead of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock(Arc<Mutex<Option<Duration>>>);

impl ServerClock {
    /// What the last reply with a Date header said; positive when the server is ahead.
    pub(crate) fn difference(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date").and_then(read_date) {
            let difference = date - OffsetDateTime::now_utc();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(difference);
        }
        Ok(())
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, RFC 9110. It is cut to the second, so half of one is added.
fn read_date(header: &str) -> Option<OffsetDateTime> {
    Some(OffsetDateTime::parse(header, &Rfc2822).ok()? + Duration::milliseconds(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_reply_is_read_as_http_writes_it() {
        let date = read_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date, OffsetDateTime::from_unix_timestamp(784_111_777).unwrap() + Duration::milliseconds(500));
        assert_eq!(read_date("yesterday"), None);
    }
}
