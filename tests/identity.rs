//! What makes two deliveries the same message, and two messages the same login.

use std::collections::BTreeSet;

use proptest::prelude::*;
use turnstile::decode::decode;
use turnstile::keyring::Keyring;
use turnstile::message::{
    Attributes, Identity, IdentityKey, MessageHash, MessageHasher, MessageId, NoKey, QueueIdentity, RawBody,
};
use turnstile::stream::{Field, Kind, LOGIN, Limit, Stream};

use crate::support::verdicts::{QUEUE_ARN, SENT_AT, keyring};

fn attributes() -> Attributes {
    Attributes::from_iter([("Order".to_owned(), b"17".to_vec()), ("Void".to_owned(), Vec::new())])
}

fn key_with(keyring: &Keyring, scheme: &str, queue: &str, body: &str) -> Result<Option<IdentityKey>, NoKey> {
    let identifier = keyring.identifier(scheme.parse().unwrap(), &QueueIdentity::new(queue));
    identifier.key(&RawBody::new(body), &attributes(), Some(SENT_AT))
}

fn key(scheme: &str, body: &str) -> Result<Option<IdentityKey>, NoKey> {
    key_with(&keyring(), scheme, QUEUE_ARN, body)
}

/// The bytes, because a hash of a key cannot be printed.
fn by_field(pointer: &str, body: &str) -> Result<[u8; 32], NoKey> {
    key(&format!("field:{pointer}"), body).map(|key| *key.unwrap().hash.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn message(queue: &str, id: &str) -> MessageHash {
    MessageHasher::new(&QueueIdentity::new(queue)).hash(&MessageId::new(id))
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
fn a_message_is_known_by_its_queue_and_its_id_whatever_the_scheme() {
    assert_eq!(message(QUEUE_ARN, "a"), message(QUEUE_ARN, "a"));
    assert_ne!(message(QUEUE_ARN, "a"), message(QUEUE_ARN, "b"));
    assert_ne!(message(QUEUE_ARN, "a"), message("arn:aws:sqs:us-east-1:000000000000:other", "a"));
    for scheme in ["message-id", "content", "field:/id", "attribute:Order"] {
        let identifier = keyring().identifier(scheme.parse().unwrap(), &QueueIdentity::new(QUEUE_ARN));
        assert_eq!(identifier.message(&MessageId::new("a")), message(QUEUE_ARN, "a"), "{scheme}");
    }
}

#[test]
fn another_scheme_queue_or_keyring_makes_another_key_of_the_same_text() {
    let body = r#"{"id": "17", "other": "17"}"#;
    assert!(key("message-id", body).unwrap().is_none(), "each message is a login of its own");
    let other_queue = "arn:aws:sqs:us-east-1:000000000000:other";
    let keys = [
        key("content", body),
        key("field:/id", body),
        key("field:/other", body),
        key("attribute:Order", body),
        key_with(&keyring(), "field:/id", other_queue, body),
        key_with(&Keyring::generate().unwrap(), "field:/id", QUEUE_ARN, body),
    ];
    let keys = keys.map(|key| *key.unwrap().unwrap().hash.as_bytes());
    for (at, one) in keys.iter().enumerate() {
        assert!(keys.iter().skip(at + 1).all(|other| other != one), "{at}");
    }
}

#[test]
fn stored_hashes_stay_what_they_are() {
    // Computed once with another implementation of BLAKE3. If one of these changes, messages and logins that are loaded already would be loaded again.
    assert_eq!(message(QUEUE_ARN, "17").to_string(), MESSAGE);
    let body = r#"{"id": "17"}"#;
    for (scheme, stored) in [("content", CONTENT), ("field:/id", FIELD), ("attribute:Order", ATTRIBUTE)] {
        assert_eq!(hex(key(scheme, body).unwrap().unwrap().hash.as_bytes()), stored, "{scheme}");
    }
}

const MESSAGE: &str = "c37ed6ba9dcc15e7ff46d002080b157883c346043adaa502d566e135f4f31f34";
const CONTENT: &str = "8b1811edbe2a4ee0f851cecbf88635e4b5ce4fc59bd22ebed24a9b1c021995af";
const FIELD: &str = "ebe44a500c1d99ec132d11da94f77cbde76ce9daa442610a5f5fb6d5a0f862a9";
const ATTRIBUTE: &str = "a26a191553643bf346eb0d4cc2d1578e59383748878b9075d1da7d7a3e657d39";

#[test]
fn the_same_login_in_another_spelling_is_the_same_login_and_any_other_field_makes_another() {
    let login = |changes: &[(&str, Option<&str>)]| {
        let mut body = serde_json::json!({
            "user_id": "a", "app_version": "2.3", "device_type": "ios", "ip": "203.0.113.7", "locale": "DE", "device_id": "d",
        });
        changes.iter().for_each(|(key, value)| body[key] = (*value).into());
        login_hash(&LOGIN, &body.to_string())
    };
    let same = login(&[]);
    assert_eq!(login(&[("app_version", Some("2.3.0"))]), same);
    assert_eq!(login(&[("ip", Some("::ffff:203.0.113.7"))]), same);
    let others: [&[(&str, Option<&str>)]; 8] = [
        &[("user_id", Some("ab"))],
        &[("app_version", Some("2.4"))],
        &[("device_type", Some("android"))],
        &[("ip", Some("203.0.113.8"))],
        &[("locale", None)],
        &[("locale", Some(""))],
        &[("device_id", Some("dx"))],
        &[("user_id", Some("ai")), ("device_type", Some("os"))],
    ];
    for (at, other) in others.into_iter().enumerate() {
        assert_ne!(login(other), same, "{at}");
    }
}

fn login_hash(stream: &'static Stream, body: &str) -> String {
    let body = RawBody::new(body);
    let decoded = decode(stream, &body).unwrap_or_else(|rejection| panic!("{rejection}"));
    let identifier = keyring().identifier("field:/id".parse().unwrap(), &QueueIdentity::new(QUEUE_ARN));
    hex(identifier.login(&decoded.login).as_bytes())
}

#[test]
fn stored_hashes_of_logins_stay_what_they_are() {
    // If one of these changes, a login that is sent again contradicts itself.
    let body = |ip: &str, locale: &str| {
        format!(
            r#"{{"user_id":"u-1","app_version":"2.3.1","device_type":"ios","ip":"{ip}","locale":{locale},"device_id":"device-1"}}"#
        )
    };
    for (body, stored) in [
        (body("198.51.100.7", r#""de-DE""#), "51f5d50d55eca3035cb208638261e51b3e9c16a227e83bf637da4f6b777d5218"),
        (body("2001:db8::7", "null"), "71b21589e0ea62cf9af050c7afe5fb56d2d701f6598cc4886f4604798983a210"),
    ] {
        assert_eq!(login_hash(&LOGIN, &body), stored);
    }
}

#[test]
fn a_value_that_is_not_there_is_never_taken_for_another() {
    const TEXT: Kind = Kind::Text { may_be_empty: true, most: Limit::Chars(9) };
    const STREAM: Stream = Stream {
        table: "t",
        fields: &[
            Field::stored("a", TEXT).nullable(),
            Field::stored("b", TEXT).nullable(),
            Field::stored("c", TEXT).nullable(),
        ],
        day: "day",
    };
    let mut hashes = BTreeSet::new();
    let values = ["null", r#""""#, r#""b""#, r#""c""#, r#""x""#];
    for (a, b, c) in values.iter().flat_map(|a| values.map(|b| (a, b))).flat_map(|(a, b)| values.map(|c| (a, b, c))) {
        hashes.insert(login_hash(&STREAM, &format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#)));
    }
    assert_eq!(hashes.len(), values.len().pow(3));
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
fn a_message_without_the_field_or_attribute_has_no_key() {
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
        assert_eq!(by_field(pointer, body), Err(NoKey::Missing), "{pointer} in {body}");
    }
    for attribute in ["attribute:Nothing", "attribute:Void"] {
        assert!(matches!(key(attribute, "{}"), Err(NoKey::Missing)), "{attribute}");
    }
}

#[test]
fn a_message_hash_is_read_as_it_is_written() {
    let hash = message(QUEUE_ARN, "m");
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
    fn different_keys_are_different_logins(one in "[^\0]{1,20}", other in "[^\0]{1,20}") {
        let body = |id: &str| serde_json::json!({ "id": id }).to_string();
        let same = by_field("/id", &body(&one)).unwrap() == by_field("/id", &body(&other)).unwrap();
        prop_assert_eq!(same, one == other);
    }
}
