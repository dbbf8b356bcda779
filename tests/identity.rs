//! What makes two deliveries the same message.

use proptest::prelude::*;
use time::OffsetDateTime;
use turnstile::message::{
    Attributes, Delivery, Identifier, Identity, IdentityMissing, MessageHash, MessageId, QueueIdentity, RawBody,
    ReceiptHandle, ReceivedMessage, SentAt,
};

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:logins";

fn message(id: &str, body: &str) -> ReceivedMessage {
    ReceivedMessage {
        delivery: Delivery {
            message_id: MessageId::new(id),
            receipt: ReceiptHandle::new("handle"),
            sent_at: SentAt::Queue(OffsetDateTime::UNIX_EPOCH),
            received_at: OffsetDateTime::UNIX_EPOCH,
            receive_count: 1,
        },
        body: RawBody::new(body),
        attributes: Attributes::from_iter([("Order".to_owned(), b"17".to_vec()), ("Void".to_owned(), Vec::new())]),
    }
}

fn hash(identity: &str, message: &ReceivedMessage) -> Result<MessageHash, IdentityMissing> {
    Identifier::new(identity.parse().unwrap(), &QueueIdentity::new(QUEUE)).hash(message)
}

fn by_field(pointer: &str, body: &str) -> Result<MessageHash, IdentityMissing> {
    hash(&format!("field:{pointer}"), &message("m", body))
}

#[test]
fn an_identity_is_read_as_it_is_written() {
    for text in ["message-id", "content", "field:/a/0/b~1c~0d", "field:/", "attribute:Order", "attribute:a:b"] {
        assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
    }
    for text in ["", "message_id", "field", "field:", "field:id", "attribute:", "content:x", "Content"] {
        assert!(text.parse::<Identity>().is_err(), "{text}");
    }
}

#[test]
fn a_redelivery_is_the_same_message_and_an_equal_body_is_not() {
    let (first, again, other) = (message("a", "{}"), message("a", "{}"), message("b", "{}"));
    assert_eq!(hash("message-id", &first), hash("message-id", &again));
    assert_ne!(hash("message-id", &first), hash("message-id", &other));
    assert_eq!(hash("content", &first), hash("content", &other));
}

#[test]
fn another_queue_or_scheme_makes_another_message() {
    let message = message("17", r#"{"id": "17"}"#);
    let identifier = |queue| Identifier::new(Identity::MessageId, &QueueIdentity::new(queue));
    assert_ne!(identifier(QUEUE).hash(&message), identifier("arn:aws:sqs:us-east-1:000000000000:other").hash(&message));
    let schemes = ["message-id", "content", "field:/id", "attribute:Order"];
    let hashes: Vec<MessageHash> = schemes.iter().map(|scheme| hash(scheme, &message).unwrap()).collect();
    for (at, one) in hashes.iter().enumerate() {
        assert!(hashes.iter().skip(at + 1).all(|other| other != one), "{}", schemes[at]);
    }
}

#[test]
fn a_hash_by_message_id_is_the_same_under_every_scheme() {
    let message = message("17", "no login");
    let by_message_id = hash("message-id", &message).unwrap();
    for scheme in ["message-id", "content", "field:/id", "attribute:Order"] {
        let identifier = Identifier::new(scheme.parse().unwrap(), &QueueIdentity::new(QUEUE));
        assert_eq!(identifier.hash_by_message_id(&message.delivery.message_id), by_message_id, "{scheme}");
    }
}

#[test]
fn a_message_has_a_second_hash_where_its_message_id_is_not_its_identity() {
    let message = message("17", "no login");
    let by_message_id = hash("message-id", &message).unwrap();
    for (scheme, second) in [
        ("message-id", None),
        ("content", Some(by_message_id)),
        ("field:/id", Some(by_message_id)),
        ("attribute:Order", Some(by_message_id)),
    ] {
        let identifier = Identifier::new(scheme.parse().unwrap(), &QueueIdentity::new(QUEUE));
        assert_eq!(identifier.second_hash(&message.delivery), second, "{scheme}");
        let without_time =
            Delivery { sent_at: SentAt::Receipt(OffsetDateTime::UNIX_EPOCH), ..message.delivery.clone() };
        assert_eq!(identifier.second_hash(&without_time), Some(by_message_id), "{scheme}");
    }
}

#[test]
fn stored_hashes_stay_what_they_are() {
    // Computed once with another implementation of BLAKE3. If one of these changes, messages that are loaded already
    // would be loaded again.
    let message = message("17", r#"{"id": "17"}"#);
    for (scheme, stored) in [
        ("message-id", "51b126d89dd7ac04ec9b4c4191837d16a2848fbcf236e09ae6cd6346ff922b69"),
        ("content", "141e478a7b7127f8e46802133850d5f5eb7e02793a42660ed47c930fe139da8a"),
        ("field:/id", "89b069726cfbe6c5bb32f308b8f695fd7cb17bfd2d1a7bf2bfba3b910a12ec55"),
        ("attribute:Order", "c0f8225a96cef74fe2f91037eff3c1d3151d160611c15d2f3949c18e61a7c9ab"),
    ] {
        assert_eq!(hash(scheme, &message).unwrap().to_string(), stored, "{scheme}");
    }
}

#[test]
fn a_field_is_found_at_any_depth_and_told_by_its_kind() {
    let body = |id: &str| format!(r#"{{"a/b": {{"~": [0, {{"id": {id}}}]}}, "id": 8}}"#);
    let hash = |id: &str| by_field("/a~1b/~0/1/id", &body(id)).unwrap();
    assert_eq!(hash(r#""7""#), hash(r#" "\u0037" "#));
    assert_ne!(hash(r#""7""#), hash("7"));
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn a_key_is_found_however_it_is_escaped_and_the_last_one_counts_where_it_stands_twice() {
    let plain = by_field("/a/id", r#"{"a": {"id": "7"}}"#);
    assert_eq!(by_field("/a/id", r#"{"a": {"\u0069d": "7"}}"#), plain);
    assert_eq!(by_field("/a/id", r#"{"a": {"id": "8", "x": 1, "id": "7"}}"#), plain);
}

#[test]
fn a_message_without_the_field_or_attribute_has_no_identity() {
    for (pointer, body) in [
        ("/id", "{}"),
        ("/id", r#"{"id": null}"#),
        ("/id", r#"{"id": ""}"#),
        ("/id", r#"{"id": {"id": 1}}"#),
        ("/id/0", r#"{"id": []}"#),
        ("/id/x", r#"{"id": ["x"]}"#),
        ("/id/deep", r#"{"id": "x"}"#),
        ("/id", "not JSON"),
        ("/id", ""),
    ] {
        assert_eq!(by_field(pointer, body), Err(IdentityMissing), "{pointer} in {body}");
    }
    assert_eq!(hash("attribute:Nothing", &message("m", "{}")), Err(IdentityMissing));
    assert_eq!(hash("attribute:Void", &message("m", "{}")), Err(IdentityMissing));
}

#[test]
fn a_message_hash_is_read_as_it_is_written() {
    let hash = hash("message-id", &message("m", "{}")).unwrap();
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert!("17".parse::<MessageHash>().is_err());
}

proptest! {
    #[test]
    fn any_pointer_is_read_as_it_is_written(steps in prop::collection::vec("[^~/]{0,5}(~0|~1)?[^~/]{0,5}", 1..5)) {
        let text = format!("field:/{}", steps.join("/"));
        prop_assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
    }

    #[test]
    fn long_integers_that_a_float_would_merge_stay_apart(id in 10_u128.pow(17)..10_u128.pow(30)) {
        let body = |id: u128| format!(r#"{{"id": {id}}}"#);
        prop_assert_ne!(by_field("/id", &body(id)).unwrap(), by_field("/id", &body(id + 1)).unwrap());
        prop_assert_eq!(by_field("/id", &body(id)).unwrap(), by_field("/id", &body(id)).unwrap());
    }

    #[test]
    fn different_keys_are_different_messages(one in "[^\0]{1,20}", other in "[^\0]{1,20}") {
        let body = |id: &str| serde_json::json!({ "id": id }).to_string();
        let same = by_field("/id", &body(&one)).unwrap() == by_field("/id", &body(&other)).unwrap();
        prop_assert_eq!(same, one == other);
    }
}
