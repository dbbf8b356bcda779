//! What is the event of a login and what is none, and that nothing clear passes for masked.

use serde_json::{Value, json};
use turnstile::decode::{Form, Rejection};
use turnstile::keyring::Keyring;
use turnstile::mask::MaskKind;
use turnstile::message::RawBody;
use turnstile::sink::Envelope;
use turnstile::stream::LOGIN;
use turnstile::table::outbox::Event;
use turnstile::verdict::{Content, Judge};

use crate::support::verdicts::{SENT_AT, field, judge, keyring, login, message};

/// Another Turnstile's keys, under another id.
const OTHER: &str = "turnstile-keyring v1\n\
                     hash other-hash SGFzaGVzIHRoZSBib2RpZXMgb2YgYWxsIHRlc3RzLi4=\n\
                     key other-key TWFza3MgYW5kIHNlYWxzIGluIGFsbCB0aGUgdGVzdHM=\n\
                     active other-key\n";

/// The event of a login that was masked in this way with these keys.
fn event(keyring: &Keyring, kind: MaskKind) -> Value {
    let judge = Judge { masker: keyring.masker(kind), ..judge() };
    let verdict = judge.judge(message("m1", &login("nadia", "ios"), 1));
    let Content::Login(login) = verdict.content else { panic!("a login") };
    let day = Some(time::macros::date!(2026 - 02 - 27));
    let event = Event { position: 7, id: verdict.hash, login, day, created_at: SENT_AT, traceparent: None };
    serde_json::from_str(&Envelope::of(&event, "urn:test").unwrap().body).unwrap()
}

/// The columns that a loader of events makes of it, or the code of its rejection.
fn loaded(event: &Value) -> Result<Vec<Value>, &'static str> {
    let judge = Judge { form: Form::Event(keyring().unmasker()), ..judge() };
    match judge.judge(message("m2", &event.to_string(), 1)).content {
        Content::Rejected(rejection, _) => Err(rejection.code()),
        Content::Login(login) => {
            let stored = login.values().map(|(_, stored)| match (stored.text(), stored.integer()) {
                (Some(text), _) => json!(text),
                (None, integer) => json!(integer),
            });
            Ok(stored.chain([json!(login.day().map(|day| day.to_string()))]).collect())
        }
    }
}

fn columns(event: &Value) -> Vec<Value> {
    LOGIN.columns().map(|column| event["data"][column.name].clone()).collect()
}

#[test]
fn the_event_of_a_login_is_loaded_as_the_row_that_it_is_of_whoever_masked_it() {
    for keyring in [keyring(), Keyring::parse(OTHER).unwrap()] {
        for kind in [MaskKind::Seal, MaskKind::Token] {
            let event = event(&keyring, kind);
            assert_eq!(loaded(&event), Ok(columns(&event)), "{event}");
            assert!(!event.to_string().contains("203.0.113.7"));
        }
    }
}

#[test]
fn what_was_taken_out_of_a_row_since_is_no_login_any_more_but_for_its_day_and_its_locale() {
    let with = |column: &str| {
        let mut event = event(&keyring(), MaskKind::Seal);
        event["data"][column] = Value::Null;
        loaded(&event).map(|columns| columns.last().cloned())
    };
    assert_eq!(with("create_date"), Ok(Some(Value::Null)), "then the day is that of the message");
    assert!(with("locale").is_ok());
    for column in ["user_id", "app_version", "device_type", "masked_ip", "masked_device_id"] {
        assert_eq!(with(column), Err("null_field"), "{column}");
    }
}

#[test]
fn nothing_clear_and_nothing_forged_passes_for_masked() {
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    let with = |column: &str, text: &str| {
        let mut event = event(&keyring(), MaskKind::Seal);
        event["data"][column] = json!(text);
        loaded(&event).map(|_| ()).err()
    };
    let encoded = BASE64_URL_SAFE_NO_PAD.encode("203.0.113.7");
    for text in [
        "203.0.113.7",
        "",
        "device of nadia",
        &BASE64_STANDARD.encode("203.0.113.7"),
        &format!("a-key.{encoded}"),
        &format!("a-key:{encoded}"),
        &format!("test-key.{encoded}"),
        // Of the right length, under a key that is known here.
        &format!("test-key.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 44])),
        &format!("no key id at all.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 44])),
    ] {
        assert_eq!(with("masked_ip", text), Some("invalid_mask"), "{text}");
    }
    let good = event(&keyring(), MaskKind::Seal);
    let (ip, device) = (&good["data"]["masked_ip"], &good["data"]["masked_device_id"]);
    assert_eq!(with("masked_ip", device.as_str().unwrap()), Some("invalid_mask"), "it was sealed for another column");
    assert_eq!(with("masked_device_id", ip.as_str().unwrap()), Some("invalid_mask"));
    let long = format!("a-key.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 200]));
    assert_eq!(with("masked_device_id", &long), Some("invalid_mask"));
    let base64 = event(&keyring(), MaskKind::Base64);
    assert_eq!(loaded(&base64), Err("invalid_mask"), "an encoding is no mask");
}

#[test]
fn what_is_no_event_of_a_login_is_told_from_one_with_a_wrong_field() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = event(&keyring(), MaskKind::Seal);
        change(&mut event);
        loaded(&event).map(|_| ()).err()
    };
    assert_eq!(changed(&|_| {}), None);
    assert_eq!(changed(&|event| event["type"] = json!("com.example.other")), Some("not_an_event"));
    assert_eq!(changed(&|event| event["specversion"] = json!("0.3")), Some("not_an_event"));
    assert_eq!(changed(&|event| event["data"] = json!([])), Some("not_an_event"));
    assert_eq!(changed(&|event| *event = event["data"].take()), Some("not_an_event"));
    assert_eq!(changed(&|event| event["data"] = json!({})), Some("missing_field"));
    assert_eq!(changed(&|event| event["data"]["app_version"] = json!("2.3.1")), Some("invalid_version"));
    assert_eq!(changed(&|event| event["data"]["app_version"] = json!(-1)), Some("invalid_version"));
    assert_eq!(changed(&|event| event["data"]["user_id"] = json!("x".repeat(129))), Some("field_too_long"));
    assert_eq!(changed(&|event| event["data"]["device_type"] = json!("a\0b")), Some("nul_character"));
    for day in [json!("2026-02-30"), json!("26-02-03"), json!("+026-02-03"), json!(20260203), json!("2026-02-03T00:00")]
    {
        assert_eq!(changed(&|event| event["data"]["create_date"] = day.clone()), Some("invalid_day"), "{day}");
    }
    assert_eq!(
        changed(&|event| drop(event["data"].as_object_mut().unwrap().remove("create_date"))),
        Some("invalid_day")
    );
}

#[test]
fn a_body_of_one_form_is_none_of_the_other() {
    let forms = [Form::Login, Form::Event(keyring().unmasker())];
    let read = |form: &Form, body: &str| form.read(&LOGIN, &RawBody::new(body)).err();
    let (event, login) = (event(&keyring(), MaskKind::Seal).to_string(), login("nadia", "ios"));
    assert_eq!(forms.each_ref().map(|form| read(form, &login)), [None, Some(Rejection::NotAnEvent)]);
    assert_eq!(
        forms.each_ref().map(|form| read(form, &event)),
        [Some(Rejection::MissingField(field("user_id"))), None]
    );
    for (body, rejection) in [
        ("", Rejection::EmptyBody),
        ("[]", Rejection::ArrayBody),
        ("1", Rejection::NotAnObject),
        (r#"{"type":1,"type":2}"#, Rejection::DuplicateKey(None)),
        (r#"{"type":1"#, Rejection::TruncatedJson),
        (r#"{"\ud800":1}"#, Rejection::LoneSurrogate(None)),
        (&format!("{}{}", "[".repeat(129), "]".repeat(129)), Rejection::NestedTooDeep),
    ] {
        assert_eq!(read(&forms[1], body), Some(rejection), "{body}");
    }
    let twice = event.replace(r#""user_id""#, r#""locale":"DE","locale":"DE","user_id""#);
    assert_eq!(read(&forms[1], &twice), Some(Rejection::DuplicateKey(None)));
}
