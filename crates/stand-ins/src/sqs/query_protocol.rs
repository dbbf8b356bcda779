//! The protocol that SQS spoke before AWS JSON: `Action=SendMessage&…` in a form or a URL, answered in XML.
//!
//! It is told apart so that an old SDK gets an answer that it can print.

use hyper::Uri;
use hyper::header::HeaderMap;

/// The operation that a call of the query protocol names, if it is one.
pub(super) fn action<'r>(uri: &'r Uri, headers: &HeaderMap, body: &'r [u8]) -> Option<&'r str> {
    if headers.contains_key("x-amz-target") {
        return None;
    }
    let form = std::str::from_utf8(body).unwrap_or_default();
    [uri.query().unwrap_or_default(), form].into_iter().flat_map(|pairs| pairs.split('&')).find_map(|pair| {
        let name = pair.strip_prefix("Action=")?.trim_end();
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_name.then_some(name)
    })
}

/// The refusal of such a call, in the form of the API reference, "Common Errors", and of the service's old model.
pub(super) fn refusal(action: &str, request_id: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n\
         <ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>Sender</Type>\
         <Code>AWS.SimpleQueueService.UnsupportedOperation</Code>\
         <Message>This server speaks the AWS JSON 1.0 protocol, and {action} was called in the AWS query protocol. Use an \
         AWS SDK or CLI of November 2023 or later: these speak AWS JSON 1.0 to SQS.</Message>\
         <Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_the_query_protocol_is_known_by_its_action() {
        let none = HeaderMap::new();
        let of = |uri: &'static str, body: &'static str| {
            action(&Uri::from_static(uri), &HeaderMap::new(), body.as_bytes()).map(str::to_owned)
        };
        assert_eq!(of("/", "Action=SendMessage&Version=2012-11-05").as_deref(), Some("SendMessage"));
        assert_eq!(of("/", "Version=2012-11-05&Action=ListQueues\n").as_deref(), Some("ListQueues"));
        assert_eq!(of("/000000000000/logins?Action=ReceiveMessage", "").as_deref(), Some("ReceiveMessage"));
        for (uri, body) in
            [("/", "{}"), ("/", "Action="), ("/", "Action=%3Cscript%3E"), ("/faults", ""), ("/", "XAction=a")]
        {
            assert_eq!(of(uri, body), None, "{uri} {body}");
        }
        assert_eq!(action(&Uri::from_static("/"), &none, b"\xff&Action=a"), None);
        let mut json = HeaderMap::new();
        json.insert("x-amz-target", "AmazonSQS.SendMessage".parse().unwrap());
        assert_eq!(action(&Uri::from_static("/"), &json, b"Action=SendMessage"), None);
    }
}
