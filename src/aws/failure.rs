//! What the SDK says when a call fails, as a [`CallError`].

use std::error::Error;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use super::{CallError, Code, Fault};

/// A failed call.
pub(crate) fn failure<E>(call: &'static str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata,
{
    CallError { call, fault: fault_of(error), status: status_of(error) }
}

fn fault_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Fault {
    match error {
        SdkError::TimeoutError(_) => Fault::Timeout,
        SdkError::DispatchFailure(failure) => {
            failure.as_connector_error().map_or(Fault::Connection, fault_of_undelivered)
        }
        SdkError::ResponseError(_) => Fault::Response,
        SdkError::ServiceError(refusal) => {
            refusal.err().code().map_or(Fault::Response, |code| Fault::Refused(Code::new(code)))
        }
        // The SDK may grow further kinds.
        SdkError::ConstructionFailure(_) | _ => Fault::Request,
    }
}

fn fault_of_undelivered(error: &ConnectorError) -> Fault {
    if causes(error).filter_map(|cause| cause.downcast_ref()).any(hyper_util::client::legacy::Error::is_connect) {
        return Fault::Unreachable;
    }
    let kinds =
        [(error.is_timeout(), Fault::Timeout), (error.is_io(), Fault::Connection), (error.is_user(), Fault::Request)];
    if let Some((_, fault)) = kinds.into_iter().find(|(is, _)| *is) {
        return fault;
    }
    // What remains is either HTTP gone wrong, or what the SDK does before it: sign the request, for which it needs
    // credentials.
    let is_http = error.as_other().is_some() || causes(error).any(|cause| cause.is::<hyper::Error>());
    if is_http { Fault::Connection } else { Fault::Credentials }
}

fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|reply| reply.status().as_u16())
}

/// The service's own words, else the chain of causes: for errors at start, where no body is on its way.
pub(crate) fn explanation<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::message) {
        Some(message) => message.to_owned(),
        None => chain(error),
    }
}

/// The cause of all others: what the system says, without the layers above it.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, |cause| first_line(&cause.to_string()))
}

/// An error and its causes, outermost first and on one line, without repeating what a cause already says, and without the
/// dumps of requests and the lists of attempts that some hold.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(String::new(), |text, cause| {
        let cause = first_line(&cause.to_string());
        match text {
            text if holds_dump(&cause) => text,
            text if text.is_empty() => cause,
            text if text.ends_with(&cause) => text,
            text => format!("{text}: {cause}"),
        }
    })
}

/// `no credentials found in chain` of the search for credentials, which lists below it where it looked.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:").to_owned()
}

fn holds_dump(text: &str) -> bool {
    text.contains("SdkBody") || text.contains("Request {")
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_dumps_a_request_is_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("{said}")]
        struct Cause {
            said: &'static str,
            #[source]
            source: Option<Box<Cause>>,
        }
        let cause = |said, source: Option<Cause>| Cause { said, source: source.map(Box::new) };
        let dump =
            cause("failed: Request { body: SdkBody { inner: Once(Some(b\"sesame\")) } }", Some(cause("no host", None)));
        assert_eq!(chain(&cause("dispatch failure", Some(dump))), "dispatch failure: no host");
        let list = cause("no credentials found in chain. Attempted:\n  Environment: no\n  Profile: no", None);
        assert_eq!(chain(&list), "no credentials found in chain");
    }
}
