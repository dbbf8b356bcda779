//! One message of a receive reply, and what of it can be delivered on.

use std::ops::RangeInclusive;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use md5::{Digest, Md5};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::message::{
    Attributes, Delivery, MessageId, ProducerContext, REQUEUED, RawBody, ReceiptHandle, ReceivedMessage, RequeueNote,
    SentAt,
};

/// The name under which the FIFO deduplication id stands among the [`Attributes`].
pub const DEDUPLICATION_ID: &str = "MessageDeduplicationId";

/// What is asked for, and given, where it alone names no message.
pub(super) const GROUP_ID: &str = "MessageGroupId";

/// The name under which the ARN of the queue that gave a message up stands among the [`Attributes`]. No sender can give an attribute
/// this name: the queue keeps what begins like it for itself.
pub const SOURCE_QUEUE: &str = "AWS.DeadLetterQueueSourceArn";

/// The message attribute in which a producer says which of its spans sent the message.
const TRACEPARENT: &str = "traceparent";

/// Whether the queue is asked which span of its producer sent each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Producers {
    /// It is not.
    Unasked,
    /// By what AWS notes of its own traces only: the message attribute is the producer's key of the login.
    ByHeader,
    /// By that, and by the message attribute, which is no matter of the message.
    ByHeaderAndAttribute,
}

impl Producers {
    /// Adds what says it to what is asked for.
    pub(super) fn asked_for(system: &mut Vec<MessageSystemAttributeName>, own: &mut Vec<String>) -> Self {
        system.push(MessageSystemAttributeName::AwsTraceHeader);
        if own.iter().any(|name| name == TRACEPARENT) {
            return Self::ByHeader;
        }
        own.push(TRACEPARENT.to_owned());
        Self::ByHeaderAndAttribute
    }

    /// What the producer says, which the message then no longer holds.
    fn take(self, trace_header: Option<&str>, attributes: &mut Vec<(String, Vec<u8>)>) -> Option<ProducerContext> {
        let of_attribute = match self {
            Self::Unasked => return None,
            Self::ByHeader => None,
            Self::ByHeaderAndAttribute => take(TRACEPARENT, attributes),
        };
        let of_attribute = of_attribute.and_then(|text| ProducerContext::of_traceparent(str::from_utf8(&text).ok()?));
        of_attribute.or_else(|| ProducerContext::of_xray(trace_header?))
    }
}

/// Takes an attribute out of those of a message.
fn take(wanted: &str, attributes: &mut Vec<(String, Vec<u8>)>) -> Option<Vec<u8>> {
    let place = attributes.iter().position(|(name, _)| name == wanted);
    place.map(|place| attributes.remove(place).1)
}

/// A message as the reply holds it, before anything in it is believed. No `Debug`: it holds the body.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) message_id: Option<String>,
    pub(super) receipt: Option<String>,
    pub(super) body: Vec<u8>,
    /// MD5OfBody, hexadecimal.
    pub(super) body_md5: Option<String>,
    /// Milliseconds since 1970.
    pub(super) sent_timestamp: Option<String>,
    pub(super) receive_count: Option<String>,
    pub(super) attributes: Vec<(String, Vec<u8>)>,
    pub(super) trace_header: Option<String>,
}

impl Delivered {
    /// The message, unless something on the way damaged it.
    ///
    /// A server that gives no MD5 is believed. Without a readable SentTimestamp the message is one of unknown time,
    /// without a readable ApproximateReceiveCount it counts as delivered for the first time.
    pub(super) fn into_message(
        mut self,
        received_at: OffsetDateTime,
        producers: Producers,
    ) -> Result<ReceivedMessage, Damaged> {
        let producer = producers.take(self.trace_header.as_deref(), &mut self.attributes);
        let requeued = take(REQUEUED, &mut self.attributes).map(RequeueNote::from_bytes);
        let (Some(message_id), Some(receipt)) = (self.message_id, self.receipt) else {
            return Err(Damaged { message_id: None });
        };
        let message_id = MessageId::new(message_id);
        if self.body_md5.is_some_and(|expected| !md5_is(&self.body, &expected)) {
            return Err(Damaged { message_id: Some(message_id) });
        }
        let delivery = Delivery {
            message_id,
            receipt: ReceiptHandle::new(receipt),
            sent_at: match self.sent_timestamp.as_deref().and_then(sent_at) {
                Some(sent_at) => SentAt::Queue(sent_at),
                None => SentAt::Receipt(received_at),
            },
            received_at,
            receive_count: self.receive_count.and_then(|count| count.parse().ok()).unwrap_or(1),
        };
        let attributes: Attributes = self.attributes.into_iter().collect();
        Ok(ReceivedMessage { delivery, body: RawBody::new(self.body), attributes, producer, requeued })
    }
}

/// A message whose body is not what the queue sent, or that has no id or no handle.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) message_id: Option<MessageId>,
}

impl From<Message> for Delivered {
    fn from(message: Message) -> Self {
        let mut system = message.attributes.unwrap_or_default();
        let own = message.message_attributes.unwrap_or_default();
        let deduplication_id = system.remove(&MessageSystemAttributeName::MessageDeduplicationId);
        let group = system.remove(&MessageSystemAttributeName::MessageGroupId);
        let source = system.remove(&MessageSystemAttributeName::DeadLetterQueueSourceArn);
        let attributes = own.into_iter().filter_map(|(name, value)| Some((name, bytes_of(value)?)));
        Self {
            message_id: message.message_id,
            receipt: message.receipt_handle,
            body: message.body.unwrap_or_default().into_bytes(),
            body_md5: message.md5_of_body,
            sent_timestamp: system.remove(&MessageSystemAttributeName::SentTimestamp),
            receive_count: system.remove(&MessageSystemAttributeName::ApproximateReceiveCount),
            trace_header: system.remove(&MessageSystemAttributeName::AwsTraceHeader),
            attributes: with_source(with_deduplication_id(attributes, deduplication_id, group), source),
        }
    }
}

/// The message's own attributes and, after them, so that it wins, the system's deduplication id: behind its group,
/// framed by its length, where the group was asked for.
pub(super) fn with_deduplication_id(
    own: impl Iterator<Item = (String, Vec<u8>)>,
    id: Option<String>,
    group: Option<String>,
) -> Vec<(String, Vec<u8>)> {
    let id = id.map(|id| match group {
        Some(group) => format!("{}:{group}{id}", group.len()),
        None => id,
    });
    own.chain(id.map(|id| (DEDUPLICATION_ID.to_owned(), id.into_bytes()))).collect()
}

/// The attributes, and the queue that gave the message up by the word of the system alone.
pub(super) fn with_source(mut attributes: Vec<(String, Vec<u8>)>, source: Option<String>) -> Vec<(String, Vec<u8>)> {
    attributes.retain(|(name, _)| name != SOURCE_QUEUE);
    attributes.extend(source.map(|arn| (SOURCE_QUEUE.to_owned(), arn.into_bytes())));
    attributes
}

fn bytes_of(value: MessageAttributeValue) -> Option<Vec<u8>> {
    match value.string_value {
        Some(text) => Some(text.into_bytes()),
        None => value.binary_value.map(|blob| blob.into_inner()),
    }
}

/// Group and deduplication id of a message whose attributes are these.
pub fn deduplication_of(attributes: &Attributes, by_group: bool) -> Option<(Option<String>, String)> {
    let text = str::from_utf8(attributes.get(DEDUPLICATION_ID)?).ok()?;
    if !by_group {
        return Some((None, text.to_owned()));
    }
    let (length, rest) = text.split_once(':')?;
    let (group, id) = rest.split_at_checked(length.parse().ok()?)?;
    Some((Some(group.to_owned()), id.to_owned()))
}

/// Between these a SentTimestamp is believed: one in seconds, or of a clock that was never set, is none. They are
/// constants, because what is unreadable today must be so tomorrow: a message is claimed under its time.
const READABLE: RangeInclusive<OffsetDateTime> = datetime!(2000-01-01 0:00 UTC)..=datetime!(2200-01-01 0:00 UTC);

fn sent_at(milliseconds: &str) -> Option<OffsetDateTime> {
    let nanoseconds = milliseconds.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?;
    READABLE.contains(&time).then_some(time)
}

/// Whether `bytes` have this MD5, which SQS writes in hexadecimal. It guards against accidents, not against attackers.
pub(super) fn md5_is(bytes: &[u8], expected: &str) -> bool {
    let digest = Md5::digest(bytes);
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digit_of = |written: u8| char::from(written).to_digit(16);
    expected.len() == 2 * digest.len()
        && expected.bytes().zip(digits).all(|(written, digit)| digit_of(written) == Some(digit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered() -> Delivered {
        Delivered {
            message_id: Some("m".to_owned()),
            receipt: Some("r".to_owned()),
            body: b"hello".to_vec(),
            body_md5: Some("5d41402abc4b2a76b9719d911017c592".to_owned()),
            sent_timestamp: Some("1700000000123".to_owned()),
            receive_count: Some("7".to_owned()),
            attributes: Vec::new(),
            trace_header: None,
        }
    }

    #[test]
    fn a_message_carries_its_sent_time_and_count_and_sane_ones_where_the_server_gives_none() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let whole = delivered().into_message(now, Producers::Unasked).unwrap().delivery;
        assert_eq!(whole.sent_at, SentAt::Queue(time::macros::datetime!(2023-11-14 22:13:20.123 UTC)));
        assert_eq!(whole.receive_count, 7);

        let garbled = ["", "soon", "-", "99999999999999999999", "9223372036854775807"];
        for text in garbled.map(|text| Some(text.to_owned())).into_iter().chain([None]) {
            let odd = Delivered { sent_timestamp: text.clone(), receive_count: text.clone(), ..delivered() };
            let odd = odd.into_message(now, Producers::Unasked).unwrap().delivery;
            assert_eq!((odd.sent_at, odd.receive_count), (SentAt::Receipt(now), 1), "{text:?}");
        }
        // In seconds, in another notation, and of clocks that were never set.
        for text in ["1700000000", "1.7000000001e12", "0", "946684799999", "7258118400001"] {
            let odd = Delivered { sent_timestamp: Some(text.to_owned()), ..delivered() }
                .into_message(now, Producers::Unasked)
                .unwrap();
            assert_eq!(odd.delivery.sent_at, SentAt::Receipt(now), "{text}");
        }
    }

    #[test]
    fn a_body_that_does_not_match_its_md5_is_not_delivered_on() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for md5 in ["", "5d41402abc4b2a76b9719d911017c593", "not hexadecimal at all, but long", "5d41"] {
            let damaged =
                Delivered { body_md5: Some(md5.to_owned()), ..delivered() }.into_message(now, Producers::Unasked);
            assert_eq!(damaged.unwrap_err().message_id, Some(MessageId::new("m")), "{md5}");
        }
        let upper = Delivered { body_md5: Some("5D41402ABC4B2A76B9719D911017C592".to_owned()), ..delivered() };
        assert!(upper.into_message(now, Producers::Unasked).is_ok());
        assert!(Delivered { body_md5: None, ..delivered() }.into_message(now, Producers::Unasked).is_ok());
    }

    #[test]
    fn a_deduplication_id_is_told_from_that_of_another_group_where_groups_are_asked_for() {
        let value = |id: &str, group: Option<&str>| {
            let own = std::iter::once((DEDUPLICATION_ID.to_owned(), b"forged".to_vec()));
            let all = with_deduplication_id(own, Some(id.to_owned()), group.map(str::to_owned));
            all.into_iter().collect::<Attributes>().get(DEDUPLICATION_ID).unwrap().to_vec()
        };
        assert_eq!(value("id", None), b"id");
        assert_ne!(value("id", Some("a")), value("id", Some("b")));
        assert_ne!(value("bid", Some("a")), value("id", Some("ab")));
        assert_eq!(value("id", Some("a")), value("id", Some("a")));
        for group in [None, Some("7:a")] {
            let own = with_deduplication_id(std::iter::empty(), Some("i:d".to_owned()), group.map(str::to_owned));
            let read = deduplication_of(&own.into_iter().collect(), group.is_some());
            assert_eq!(read, Some((group.map(str::to_owned), "i:d".to_owned())));
        }
    }

    #[test]
    fn which_queue_gave_a_message_up_the_system_alone_says() {
        let forged = || vec![(SOURCE_QUEUE.to_owned(), b"forged".to_vec()), ("id".to_owned(), b"7".to_vec())];
        assert_eq!(with_source(forged(), None), [("id".to_owned(), b"7".to_vec())]);
        let said = with_source(forged(), Some("arn".to_owned()));
        assert_eq!(said, [("id".to_owned(), b"7".to_vec()), (SOURCE_QUEUE.to_owned(), b"arn".to_vec())]);
    }

    #[test]
    fn what_a_producer_says_of_its_span_is_taken_out_of_the_message_only_where_it_was_asked_for() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let header = "Root=1-00000000-000000000000000000000002;Parent=0000000000000003;Sampled=1";
        let given = |producers| {
            let attributes = vec![(TRACEPARENT.to_owned(), traceparent.into()), ("id".to_owned(), b"7".to_vec())];
            let message = Delivered { attributes, trace_header: Some(header.to_owned()), ..delivered() };
            let message = message.into_message(OffsetDateTime::UNIX_EPOCH, producers).unwrap();
            (message.producer.map(|producer| producer.span_id), message.attributes.iter().len())
        };
        assert_eq!(given(Producers::Unasked), (None, 2));
        assert_eq!(given(Producers::ByHeader), (Some(3), 2));
        assert_eq!(given(Producers::ByHeaderAndAttribute), (Some(0x00f0_67aa_0ba9_02b7), 1));
    }

    #[test]
    fn a_producers_span_is_asked_for_beside_the_key_and_not_under_its_name() {
        let (mut system, mut own) = (Vec::new(), vec!["EventId".to_owned()]);
        assert_eq!(Producers::asked_for(&mut system, &mut own), Producers::ByHeaderAndAttribute);
        assert_eq!((system.len(), own), (1, vec!["EventId".to_owned(), TRACEPARENT.to_owned()]));
        let mut own = vec![TRACEPARENT.to_owned()];
        assert_eq!(Producers::asked_for(&mut system, &mut own), Producers::ByHeader);
    }

    #[test]
    fn a_message_without_id_or_receipt_is_not_delivered_on() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(Delivered { message_id: None, ..delivered() }.into_message(now, Producers::Unasked).is_err());
        assert!(Delivered { receipt: None, ..delivered() }.into_message(now, Producers::Unasked).is_err());
    }
}
