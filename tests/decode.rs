//! What is a login and what is none, and that a rejection says nothing of the body.

use std::collections::BTreeSet;

use proptest::prelude::*;
use turnstile::decode::{Decoded, Rejection, decode};
use turnstile::login::Value;
use turnstile::message::{KeyTime, NoKey, RawBody};
use turnstile::stream::LOGIN;

use crate::support::bodies::{damaged_login, fixtures};
use crate::support::verdicts::field;

fn code(body: &RawBody) -> &'static str {
    decode(&LOGIN, body).map_or_else(|rejection| rejection.code(), |_| "ok")
}

fn rejection(body: impl Into<Vec<u8>>) -> Rejection {
    decode(&LOGIN, &RawBody::new(body)).err().expect("a rejection")
}

fn login(body: &RawBody) -> Decoded<'_> {
    decode(&LOGIN, body).unwrap_or_else(|rejection| panic!("{rejection}"))
}

/// What the field with this key says; none for `null`.
fn said(decoded: &Decoded<'_>, key: &str) -> Option<String> {
    match decoded.login.value(key).expect("a field of a login") {
        Value::Null => None,
        value => Some(value.text().into_owned()),
    }
}

/// Every rejection that exists: a body can only choose among them.
fn every_rejection() -> Vec<Rejection> {
    let mut every = vec![
        Rejection::EmptyBody,
        Rejection::InvalidUtf8,
        Rejection::ByteOrderMark,
        Rejection::NestedTooDeep,
        Rejection::InvalidJson,
        Rejection::TruncatedJson,
        Rejection::TrailingData,
        Rejection::ArrayBody,
        Rejection::NotAnObject,
        Rejection::NotAnEvent,
        Rejection::InvalidDay,
        Rejection::from(NoKey::Missing),
        Rejection::from(NoKey::WithoutTime(KeyTime::Uuidv7)),
        Rejection::from(NoKey::Ahead),
        Rejection::RefusedByDatabase { sqlstate: "22P05".to_owned(), constraint: None },
        Rejection::Contradicts { owner: turnstile::message::MessageHash::from_bytes([7; 32]) },
        Rejection::OlderThanMemory,
        Rejection::NotRequeued,
        Rejection::Redriven,
    ];
    for field in LOGIN.fields {
        every.extend([Rejection::MissingField(field), Rejection::NullField(field), Rejection::WrongType(field)]);
        every.extend([Rejection::FieldTooLong(field), Rejection::EmptyField(field), Rejection::NulCharacter(field)]);
        every.extend([Rejection::InvalidIp(field), Rejection::InvalidVersion(field), Rejection::InvalidMask(field)]);
        every.extend([Rejection::VersionPreRelease(field), Rejection::VersionPartTooLarge(field)]);
    }
    for field in LOGIN.fields.iter().map(Some).chain([None]) {
        every.extend([Rejection::NumberOutOfRange(field), Rejection::DuplicateKey(field)]);
        every.push(Rejection::LoneSurrogate(field));
    }
    every
}

#[test]
fn every_fixture_gets_the_code_that_its_name_says() {
    for (name, body) in fixtures() {
        assert_eq!(code(&body), name.split("--").next().unwrap(), "{name}");
    }
}

/// What no login says by itself.
const MADE_BY_THE_LOADER: [&str; 8] = [
    "identity_missing",
    "identity_without_time",
    "identity_ahead",
    "refused_by_database",
    "contradicts",
    "older_than_memory",
    "not_requeued",
    "redriven",
];
const OF_EVENTS: [&str; 3] = ["not_an_event", "invalid_mask", "invalid_day"];

#[test]
fn every_code_that_decode_can_give_has_a_fixture() {
    let names: Vec<String> = fixtures().into_iter().map(|(name, _)| name).collect();
    let of_others = |code: &str| MADE_BY_THE_LOADER.contains(&code) || OF_EVENTS.contains(&code);
    for code in Rejection::CODES.iter().filter(|code| !of_others(code)) {
        assert!(names.iter().any(|name| name.starts_with(&format!("{code}--"))), "{code}");
    }
}

#[test]
fn the_list_of_codes_names_each_rejection_once() {
    let codes: BTreeSet<&str> = every_rejection().iter().map(Rejection::code).collect();
    assert_eq!(codes, Rejection::CODES.iter().copied().collect());
    assert_eq!(codes.len(), Rejection::CODES.len());
}

#[test]
fn a_rejection_says_the_field_and_the_rule() {
    let says = |body: &str| rejection(body).to_string();
    assert_eq!(says("{}"), "the field user_id is missing");
    assert_eq!(says(r#"{"user_id": null}"#), "the field user_id is null");
    assert_eq!(says(r#"{"user_id": 1e999}"#), "the field user_id is a number that is out of range");
    assert_eq!(says("1e999"), "the body is a number that is out of range");
    assert_eq!(says(r#"{"ip": 1, "ip": 2}"#), "the field ip occurs twice");
    assert_eq!(says(r#"{"x": 1, "x": 2}"#), "a key that is not a field of a login occurs twice");
    assert_eq!(says(&"[".repeat(129)), "the body is nested more than 128 levels deep");
    assert_eq!(Rejection::FieldTooLong(field("locale")).to_string(), "the field locale is longer than 32 characters");
    assert_eq!(Rejection::FieldTooLong(field("device_id")).to_string(), "the field device_id is longer than 151 bytes");
    assert_eq!(
        Rejection::VersionPartTooLarge(field("app_version")).to_string(),
        "the field app_version has a major part above 2146 or another above 999"
    );
}

#[test]
fn of_several_broken_rules_the_first_in_the_documented_order_is_named() {
    // Syntax anywhere goes before a wrong key, a wrong key before a wrong field, and fields go in their own order.
    assert_eq!(rejection(r#"{"ip": 1, "ip": 2"#), Rejection::TruncatedJson);
    assert_eq!(rejection(r#"{"ip": 1, "ip": 2} x"#), Rejection::TrailingData);
    assert_eq!(
        rejection(r#"{"ip": 1, "ip": 2, "locale": 1, "locale": 2}"#),
        Rejection::DuplicateKey(Some(field("ip")))
    );
    assert_eq!(rejection(r#"{"\ud800": 1, "ip": 1, "ip": 2}"#), Rejection::LoneSurrogate(None));
    assert_eq!(rejection(r#"{"device_id": null, "user_id": 1}"#), Rejection::WrongType(field("user_id")));
    assert_eq!(
        rejection(r#"{"user_id": "\u0000"#.to_owned() + &"x".repeat(200) + "\"}"),
        Rejection::NulCharacter(field("user_id"))
    );
    assert_eq!(rejection(b"\xef\xbb\xbf\xff".as_slice()), Rejection::InvalidUtf8);
    assert_eq!(rejection("[".repeat(200) + "}"), Rejection::NestedTooDeep);
}

#[test]
fn a_mebibyte_of_brackets_is_rejected_without_filling_the_stack() {
    for body in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 17), "[{\"\":".repeat(1 << 17)] {
        assert_eq!(rejection(body), Rejection::NestedTooDeep);
    }
    let login =
        r#"{"user_id": "u", "app_version": "1", "device_type": "d", "ip": "::1", "locale": null, "device_id": "i""#;
    let body = RawBody::new(format!("{login}, \"odd\": \"{}\"}}", "[".repeat(1 << 20)));
    assert_eq!(self::login(&body).unknown_keys, 1);
}

#[test]
fn values_arrive_as_they_were_sent() {
    let body = r#"{"\u0075ser_id": "a\u0062\ud83d\ude80", "app_version": "2.03", "device_type": "i\/os", "odd": {"odd": 1},
        "ip": "::ffff:198.51.100.7", "locale": null, "device_id": "\"\\\n", "even": []}"#;
    let body = RawBody::new(body);
    let login = login(&body);
    assert_eq!(said(&login, "user_id").as_deref(), Some("ab🚀"));
    assert_eq!(said(&login, "app_version").as_deref(), Some("2.3.0"));
    assert_eq!(said(&login, "device_type").as_deref(), Some("i/os"));
    assert_eq!(said(&login, "ip").as_deref(), Some("198.51.100.7"));
    assert_eq!(said(&login, "locale"), None);
    assert_eq!(said(&login, "device_id").as_deref(), Some("\"\\\n"));
    assert_eq!(login.unknown_keys, 2);
}

#[test]
fn a_body_prints_its_length_only() {
    let body = RawBody::new("canary");
    assert_eq!(format!("{body:?}"), "RawBody(6 bytes)");
    assert!(!format!("{body:#?}").contains("canary"));
}

/// Decodes, and fails when the rejection is not one that exists without the body.
fn assert_says_nothing_of_the_body(body: Vec<u8>) {
    if let Err(rejection) = decode(&LOGIN, &RawBody::new(body)) {
        assert!(every_rejection().contains(&rejection), "a rejection of its own making");
    }
}

/// Pieces of JSON, in any order.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"ip\"",
        "\"locale\"",
        "null",
        "true",
        "1e999",
        "-",
        "0",
        "\\ud800",
        "\\u0000",
        "\u{feff}",
        " ",
        "\n",
        "\"x\"",
        "é",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_bytes_decode_without_panic_and_echo(body in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_says_nothing_of_the_body(body);
    }

    #[test]
    fn anything_like_json_decodes_without_panic_and_echo(body in json_like()) {
        assert_says_nothing_of_the_body(body);
    }

    #[test]
    fn a_damaged_login_decodes_without_panic_and_echo(body in damaged_login()) {
        assert_says_nothing_of_the_body(body);
    }

    #[test]
    fn any_login_within_the_limits_decodes_to_what_was_sent(
        user_id in "[^\0]{1,128}",
        device_type in "[^\0]{1,32}",
        locale in prop::option::of("[^\0]{0,32}"),
        device_id in "[^\0]{1,37}",
        ip in any::<std::net::IpAddr>(),
        (major, minor, patch) in (0..=2146_u32, 0..=999_u32, 0..=999_u32),
    ) {
        let version = format!("{major}.{minor}.{patch}");
        let body = serde_json::json!({
            "user_id": user_id, "app_version": version, "device_type": device_type, "ip": ip.to_string(),
            "locale": locale, "device_id": device_id,
        });
        let body = RawBody::new(body.to_string());
        let login = login(&body);
        prop_assert_eq!(said(&login, "user_id"), Some(user_id));
        prop_assert_eq!(said(&login, "app_version"), Some(version));
        prop_assert_eq!(said(&login, "device_type"), Some(device_type));
        prop_assert_eq!(said(&login, "ip"), Some(ip.to_canonical().to_string()));
        prop_assert_eq!(said(&login, "locale"), locale);
        prop_assert_eq!(said(&login, "device_id"), Some(device_id));
        prop_assert_eq!(login.unknown_keys, 0);
    }
}
