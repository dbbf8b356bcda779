//! Receive replies that the SDK cannot read.
//!
//! A queue that lets invalid UTF-8 through sends it on inside its JSON. The SDK then refuses the whole reply, and with
//! it up to nine healthy messages, each time that they come together, until the queue's redrive takes them all. SQS
//! itself refuses such bodies; servers that speak its protocol do not all.
//!
//! So a successful reply that the SDK could not read is read once more here, bodies as bytes. Nothing is guessed: a
//! body whose bytes do not match its MD5 is not delivered on, and a reply that is no receive reply stays an error.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::delivery::{DEDUPLICATION_ID, Delivered, GROUP_ID, with_deduplication_id, with_source};

/// What AWS notes of its own traces.
const TRACE_HEADER: &str = "AWSTraceHeader";

/// Where the system says which queue gave a message up.
const SOURCE_ARN: &str = "DeadLetterQueueSourceArn";

/// The messages of a receive reply, if it is one.
pub(super) fn messages(reply: &[u8]) -> Option<Vec<Delivered>> {
    let reply: Reply = serde_json::from_slice(reply).ok()?;
    Some(reply.messages?.into_iter().map(Delivered::from).collect())
}

/// The receive reply of the AWS JSON protocol, as far as it is needed.
#[derive(serde::Deserialize)]
struct Reply {
    #[serde(rename = "Messages")]
    messages: Option<Vec<OddMessage>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OddMessage {
    message_id: Option<String>,
    receipt_handle: Option<String>,
    #[serde(rename = "MD5OfBody")]
    body_md5: Option<String>,
    #[serde(default)]
    body: TextBytes,
    #[serde(default)]
    attributes: HashMap<String, TextBytes>,
    #[serde(default)]
    message_attributes: HashMap<String, OddAttribute>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OddAttribute {
    string_value: Option<TextBytes>,
    binary_value: Option<String>,
}

impl OddAttribute {
    fn into_bytes(self) -> Option<Vec<u8>> {
        match self.string_value {
            Some(text) => Some(text.0),
            None => BASE64_STANDARD.decode(self.binary_value?).ok(),
        }
    }
}

impl From<OddMessage> for Delivered {
    fn from(mut message: OddMessage) -> Self {
        let mut system = |name: &str| message.attributes.remove(name).and_then(|text| String::from_utf8(text.0).ok());
        let (sent_timestamp, receive_count) = (system("SentTimestamp"), system("ApproximateReceiveCount"));
        let (trace_header, source) = (system(TRACE_HEADER), system(SOURCE_ARN));
        let (deduplication_id, group) = (system(DEDUPLICATION_ID), system(GROUP_ID));
        let own = message.message_attributes.into_iter();
        Self {
            message_id: message.message_id,
            receipt: message.receipt_handle,
            body: message.body.0,
            body_md5: message.body_md5,
            sent_timestamp,
            receive_count,
            trace_header,
            attributes: with_source(
                with_deduplication_id(
                    own.filter_map(|(name, value)| Some((name, value.into_bytes()?))),
                    deduplication_id,
                    group,
                ),
                source,
            ),
        }
    }
}

/// A JSON text as bytes: serde_json resolves its escapes and leaves unchecked whether the rest is UTF-8.
#[derive(Default)]
struct TextBytes(Vec<u8>);

impl<'de> Deserialize<'de> for TextBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(AsBytes).map(Self)
    }
}

struct AsBytes;

impl Visitor<'_> for AsBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_utf_8_come_through_as_they_are_and_escapes_are_resolved() {
        let reply =
            b"{\"Messages\":[{\"MessageId\":\"m\",\"ReceiptHandle\":\"r\",\"MD5OfBody\":\"d\",\"Unknown\":\"\xff\",\
            \"Body\":\"a\\n\\u00e9\xff\xc3\",\"Attributes\":{\"SentTimestamp\":\"5\",\"SenderId\":\"\xfe\"},\
            \"MessageAttributes\":{\"s\":{\"DataType\":\"String\",\"StringValue\":\"\xfd\"},\
            \"b\":{\"DataType\":\"Binary\",\"BinaryValue\":\"AP8=\"}}}]}";
        let mut read = messages(reply).unwrap();
        read[0].attributes.sort();
        assert_eq!(read[0].body, b"a\n\xc3\xa9\xff\xc3");
        assert_eq!(read[0].sent_timestamp.as_deref(), Some("5"));
        assert_eq!(read[0].attributes, [("b".to_owned(), vec![0, 255]), ("s".to_owned(), vec![0xfd])]);
    }

    #[test]
    fn what_is_no_receive_reply_stays_an_error() {
        for reply in ["", "{", "[]", "{}", "<html>", "{\"Messages\":7}", "{\"Messages\":[{\"Body\":[1]}]}"] {
            assert!(messages(reply.as_bytes()).is_none(), "{reply}");
        }
    }
}
