//! What the SDK says when a call fails, as a [`QueueError`].

use std::error::Error;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::queue::QueueError;

/// A failed call. `code` is the queue's own error code where it gave one, else one of ours:
///
/// | code | means | status |
/// |---|---|---|
/// | `timeout` | no complete reply within the deadline; the call may have taken effect | – |
/// | `unreachable` | no connection: refused, not found, no TLS, or none in time; the call was not made | – |
/// | `connection` | closed before the reply; the call may have taken effect | – |
/// | `response` | a reply that is not the protocol's: a proxy's page, a cut body; it may have taken effect | the reply's |
/// | `credentials` | the call was not made, because no credentials could be had | – |
/// | `request` | the call could not be written | – |
pub(super) fn failure<E>(call: &'static str, error: &SdkError<E, HttpResponse>) -> QueueError
where
    E: ProvideErrorMetadata,
{
    QueueError { call, code: code_of(error).to_owned(), status: status_of(error) }
}

fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    match error {
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(failure) => failure.as_connector_error().map_or("connection", code_of_undelivered),
        SdkError::ResponseError(_) => "response",
        SdkError::ServiceError(refusal) => refusal.err().code().unwrap_or("response"),
        // The SDK may grow further kinds.
        SdkError::ConstructionFailure(_) | _ => "request",
    }
}

fn code_of_undelivered(error: &ConnectorError) -> &'static str {
    if causes(error).filter_map(|cause| cause.downcast_ref()).any(hyper_util::client::legacy::Error::is_connect) {
        return "unreachable";
    }
    let kinds = [(error.is_timeout(), "timeout"), (error.is_io(), "connection"), (error.is_user(), "request")];
    if let Some((_, code)) = kinds.into_iter().find(|(is, _)| *is) {
        return code;
    }
    // What remains is either HTTP gone wrong, or what the SDK does before it: sign the request, for which it needs
    // credentials.
    let is_http = error.as_other().is_some() || causes(error).any(|cause| cause.is::<hyper::Error>());
    if is_http { "connection" } else { "credentials" }
}

fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|reply| reply.status().as_u16())
}

/// The queue's own words, else the chain of causes: for errors at start, where no body is on its way.
pub(super) fn explanation<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::message) {
        Some(message) => message.to_owned(),
        None => chain(error),
    }
}

/// An error and its causes, outermost first, without repeating what a cause already says.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text {
            text if text.is_empty() => cause,
            text if text.ends_with(&cause) => text,
            text => format!("{text}: {cause}"),
        }
    })
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
