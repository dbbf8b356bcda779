use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::decode::EVENT_TYPE;
use crate::mask::Unmasker;
use crate::message::{KeyTime, MessageHash, NoKey};
use crate::stream::{LOGIN, Limit};

/// Codes of rejections that are no matter of the body.
const MADE_BY_OTHERS: [&str; 8] = [
    "identity_missing",
    "identity_without_time",
    "identity_ahead",
    "redriven",
    "refused_by_database",
    "contradicts",
    "older_than_memory",
    "not_requeued",
];

fn event_form() -> Form {
    Form::Event(Unmasker::new(Vec::new()))
}

/// The rejection of a body, and its fault.
fn refused(form: &Form, body: &[u8]) -> Option<(Rejection, Option<Fault>)> {
    let body = RawBody::new(body);
    let rejection = form.read(&LOGIN, &body).err()?;
    let fault = locate(form, &LOGIN, &body, &rejection);
    Some((rejection, fault))
}

/// A body with the code of its rejection, its fault as it is stored, and the piece.
struct Case {
    form: Form,
    body: Vec<u8>,
    code: &'static str,
    stored: String,
    piece: Vec<u8>,
}

/// What stands between the quotes of a JSON string, or the value.
fn between_quotes(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// A login whose field of this key has this value, as it is written; none: the field is not there.
fn login_with(key: &str, value: Option<&str>) -> String {
    let right = [r#""u""#, r#""1.2""#, r#""ios""#, r#""::1""#, "null", r#""d""#];
    let members = LOGIN.fields.iter().zip(right);
    let members = members.filter_map(|(field, right)| {
        let value = if field.key == key { value? } else { right };
        Some(format!(r#""{}":{value}"#, field.key))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// An event whose column of this name has this value, as it is written; none: the column is not there.
fn event_with(column: &str, value: Option<&str>) -> String {
    let masked = format!("\"k:{}\"", BASE64_URL_SAFE_NO_PAD.encode([7; 32]));
    let right = [r#""u""#, "1002000", r#""ios""#, &masked, "null", &masked, "null"];
    let members = LOGIN.columns().zip(right).filter_map(|(of, right)| {
        let value = if of.name == column { value? } else { right };
        Some(format!(r#""{}":{value}"#, of.name))
    });
    envelope(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

fn envelope(data: &str) -> String {
    format!(r#"{{"specversion":"1.0","type":"{EVENT_TYPE}","data":{data}}}"#)
}

/// Bodies that are wrong as a whole, in a key or behind an escaped one.
fn texts() -> Vec<Case> {
    let nested = format!(" {{\"a[{{\":{}", "[".repeat(128));
    let cases: [(&[u8], &str, &str, &[u8]); 24] = [
        (b"", "empty_body", "0+0 text", b""),
        (b" \r\n\t", "empty_body", "0+4 text:spaces,controls", b" \r\n\t"),
        (b" {\"ip\":\"\xc3\xa9\xff\"}", "invalid_utf8", "10+1 text:non_ascii", b"\xff"),
        (b"{\xe2\x82 }", "invalid_utf8", "1+2 text:non_ascii", b"\xe2\x82"),
        (b"{\"ip\":\"\xf0\x9f\x9a", "invalid_utf8", "7+3 text:non_ascii", b"\xf0\x9f\x9a"),
        (b"\xef\xbb\xbf{}", "byte_order_mark", "0+3 text:non_ascii", b"\xef\xbb\xbf"),
        (nested.as_bytes(), "nested_too_deep", "135+1 text:punctuation", b"["),
        (b"{'ip':1}", "invalid_json", "1+1 text:punctuation", b"'"),
        (b"{\"ip\":\"1\"", "truncated_json", "9+0 text", b""),
        (b"{\"ip\": \n", "truncated_json", "8+0 text", b""),
        (b" {} \n x 7.\n", "trailing_data", "6+4 text:digits,letters,points,spaces", b"x 7."),
        (b"{} \\u00e9\x0c\t", "trailing_data", "3+7 text:digits,letters,punctuation,controls", b"\\u00e9\x0c"),
        (b"12x", "trailing_data", "2+1 text:letters", b"x"),
        (b" [1,\t2] ", "array_body", "1+6 array #", b"[1,\t2]"),
        (br#" "a\u00e9:-" "#, "not_an_object", "2+9 string:letters,colons,hyphens,escapes #", br"a\u00e9:-"),
        (b"-1.5e3", "not_an_object", "0+6 number:digits,letters,points,hyphens #", b"-1.5e3"),
        (b"false", "not_an_object", "0+5 boolean #", b"false"),
        (b"\nnull", "not_an_object", "1+4 null #", b"null"),
        (b"1e999", "number_out_of_range", "0+5 number:digits,letters #", b"1e999"),
        (br#"{"ip":1, "\u0069p":2}"#, "duplicate_key", "10+7 string:letters,escapes #/ip", br"\u0069p"),
        (br#"{"Bob":1,"ip":2,"Bob":3}"#, "duplicate_key", "17+3 string:letters #", b"Bob"),
        (br#"{"\u0075ser_id":7}"#, "wrong_type", "16+1 number:digits #/user_id", b"7"),
        (br#"{"":1,"":3}"#, "duplicate_key", "7+0 string #", b""),
        (br#"{"ip":1,"a\ud800":2}"#, "lone_surrogate", "9+7 string:letters,escapes #", br"a\ud800"),
    ];
    let case = |(body, code, stored, piece): (&[u8], _, &str, &[u8])| Case {
        form: Form::Login,
        body: body.to_vec(),
        code,
        stored: stored.to_owned(),
        piece: piece.to_vec(),
    };
    cases.map(case).into()
}

/// Logins with a field that is wrong.
fn fields() -> Vec<Case> {
    let long = format!("\"{}é\"", "x".repeat(128));
    let cases = [
        ("ip", "null", "null_field", "4 null"),
        ("ip", "12", "wrong_type", "2 number:digits"),
        ("ip", "[ {} ]", "wrong_type", "6 array"),
        ("locale", r#"{"a": 1}"#, "wrong_type", "8 object"),
        ("device_id", "true", "wrong_type", "4 boolean"),
        ("user_id", "-1E400", "number_out_of_range", "6 number:digits,letters,hyphens"),
        ("user_id", &long, "field_too_long", "130 string:letters,non_ascii"),
        ("user_id", r#""""#, "empty_field", "0 string"),
        ("locale", r#""a\u0000""#, "nul_character", "7 string:letters,escapes"),
        ("device_id", r#""\\\uD800\"""#, "lone_surrogate", "10 string:escapes"),
        ("ip", r#""203.0.113.777""#, "invalid_ip", "13 string:digits,points"),
        ("ip", r#""fe80::1 %é""#, "invalid_ip", "11 string:digits,letters,colons,spaces,punctuation,non_ascii"),
        ("app_version", r#""v1""#, "invalid_version", "2 string:digits,letters"),
        ("app_version", r#""2.3-beta""#, "version_pre_release", "8 string:digits,letters,points,hyphens"),
        ("app_version", r#""1.1000""#, "version_part_too_large", "6 string:digits,points"),
    ];
    let case =
        |(key, value, code, stored)| of_member(Form::Login, login_with(key, Some(value)), (key, value), code, stored);
    let lacking = format!(" {}\n", login_with("device_id", None));
    let missing = Case {
        form: Form::Login,
        code: "missing_field",
        stored: format!("1+{} object #/device_id", lacking.trim().len()),
        piece: lacking.trim().into(),
        body: lacking.into(),
    };
    cases.map(case).into_iter().chain([missing]).collect()
}

/// Events with a column that is wrong.
fn columns() -> Vec<Case> {
    let cases = [
        ("masked_ip", r#""203.0.113.7""#, "invalid_mask", "11 string:digits,points"),
        ("masked_ip", "null", "null_field", "4 null"),
        ("masked_ip", "7", "wrong_type", "1 number:digits"),
        ("app_version", r#""2.3""#, "invalid_version", "3 string:digits,points"),
        ("app_version", "-1", "invalid_version", "2 number:digits,hyphens"),
        ("device_type", r#""""#, "empty_field", "0 string"),
        ("locale", r#""\ud800""#, "lone_surrogate", "6 string:escapes"),
        ("create_date", r#""2026-02-30""#, "invalid_day", "10 string:digits,hyphens"),
    ];
    let case = |(column, value, code, stored)| {
        let body = event_with(column, Some(value));
        let case = of_member(event_form(), body, (column, value), code, stored);
        Case { stored: case.stored.replace('#', "#/data"), ..case }
    };
    cases.map(case).into()
}

/// The case of a body whose member of this key has this value, which is what is wrong.
fn of_member(form: Form, body: String, (key, value): (&str, &str), code: &'static str, stored: &str) -> Case {
    let member = format!("\"{key}\":");
    let offset = body.find(&member).unwrap() + member.len() + usize::from(value.starts_with('"'));
    let stored = format!("{offset}+{stored} #/{key}");
    Case { form, body: body.into(), code, stored, piece: between_quotes(value).into() }
}

/// Events that are wrong around their columns.
fn envelopes() -> Vec<Case> {
    let good = event_with("", None);
    assert!(refused(&event_form(), good.as_bytes()).is_none(), "{good}");
    let (lacks_type, lacks_day) = (r#"{"specversion":"1.0","data":{}}"#, event_with("create_date", None));
    let lacks_day = lacks_day.split_once(r#""data":"#).unwrap().1.strip_suffix('}').unwrap();
    let cases: [(String, &str, &str, &str); 12] = [
        (r#" {"type":1} "#.to_owned(), "not_an_event", r#"{"type":1}"#, "object #/specversion"),
        (good.replace("1.0", "0.3"), "not_an_event", "0.3", "string:digits,points #/specversion"),
        (lacks_type.to_owned(), "not_an_event", lacks_type, "object #/type"),
        (good.replace(EVENT_TYPE, "Bob"), "not_an_event", "Bob", "string:letters #/type"),
        (envelope("[7]"), "not_an_event", "[7]", "array #/data"),
        (envelope("{}"), "missing_field", "{}", "object #/data/user_id"),
        (envelope(lacks_day), "invalid_day", lacks_day, "object #/data/create_date"),
        (envelope(r#"{"Bob":1,"B\u006fb":2}"#), "duplicate_key", r"B\u006fb", "string:letters,escapes #/data"),
        (envelope(r#"{"loc\u0061le":1,"locale":2}"#), "duplicate_key", "locale", "string:letters #/data/locale"),
        (envelope(r#"{"\udc00":1}"#), "lone_surrogate", r"\udc00", "string:escapes #/data"),
        (r#"{"\u0074ype":1,"type":2}"#.to_owned(), "duplicate_key", "type", "string:letters #/type"),
        (envelope("{!}"), "invalid_json", "!", "text:punctuation"),
    ];
    let case = |(body, code, piece, stored): (String, _, &str, _)| {
        let stored = format!("{}+{} {stored}", body.find(piece).unwrap(), piece.len());
        Case { form: event_form(), body: body.into(), code, stored, piece: piece.into() }
    };
    cases.map(case).into()
}

#[test]
fn every_rejection_of_a_body_is_located() {
    let mut codes = BTreeSet::from(MADE_BY_OTHERS);
    for case in [texts(), fields(), envelopes(), columns()].into_iter().flatten() {
        let (rejection, fault) = refused(&case.form, &case.body).expect("a body that is not a login");
        let body = String::from_utf8_lossy(&case.body);
        assert_eq!(rejection.code(), case.code, "{body}");
        let fault = fault.unwrap_or_else(|| panic!("{body}"));
        assert_eq!(fault.stored(), case.stored, "{body}");
        assert_eq!(case.body[fault.offset..fault.offset + fault.length], case.piece, "{body}");
        codes.insert(case.code);
    }
    assert_eq!(codes, Rejection::CODES.iter().copied().collect());
}

#[test]
fn the_parser_stops_at_the_character_that_it_does_not_expect() {
    for (before, at, after) in [
        ("\n\n{\"ip\":\n", "x", "\n}"),
        ("\r\n{\"a\": \"\u{e9}\u{1f680}\",\r\n", "\u{e9}", "}"),
        ("{\"\u{1f680}\" ", "\u{1f680}", ": 1}"),
        ("{\"ip\": \"a", "\n", "b\"}"),
        ("{\"ip", "\t", "\": 1}"),
        ("{\"ip\": \"\u{e9}\\", "x", "\n\"}"),
        ("{\"ip\": \"\\u00g", "0", "\n\"}"),
        ("{\"ip\": \"\\u12", "\u{1f680}", "\"}"),
        ("{\"ip\": 1,", "}", ""),
        ("{\"ip\": [1,", "]", "}"),
        ("{\"ip\" ", "1", "}"),
        ("{\"ip\": 0", "1", "}"),
        ("{\"ip\": 1.", "}", ""),
        ("{\"ip\": nu", "\n", "}"),
        ("[1", "\u{c}", "]"),
        ("1", "e", ""),
        ("\n", "-", "\n"),
    ] {
        let body = [before, at, after].concat();
        let (rejection, fault) = refused(&Form::Login, body.as_bytes()).unwrap();
        let place = fault.map(|fault| (fault.offset, fault.length));
        assert_eq!((rejection, place), (Rejection::InvalidJson, Some((before.len(), at.len()))), "{body:?}");
    }
}

#[test]
fn what_is_no_matter_of_the_body_has_no_place() {
    let others = [
        Rejection::from(NoKey::Missing),
        Rejection::from(NoKey::WithoutTime(KeyTime::Ulid)),
        Rejection::from(NoKey::Ahead),
        Rejection::Redriven,
        Rejection::RefusedByDatabase { sqlstate: "22P05".to_owned(), constraint: None },
        Rejection::Contradicts { owner: MessageHash::from_bytes([7; 32]) },
        Rejection::OlderThanMemory,
        Rejection::NotRequeued,
    ];
    assert_eq!(others.each_ref().map(Rejection::code), MADE_BY_OTHERS);
    for rejection in others {
        assert_eq!(locate(&Form::Login, &LOGIN, &RawBody::new("{}"), &rejection), None, "{rejection}");
    }
}

#[test]
fn a_fault_reads_as_a_sentence() {
    let says = |body: &str| refused(&Form::Login, body.as_bytes()).unwrap().1.unwrap().to_string();
    let body = login_with("ip", Some(r#""203.0.113.999-""#));
    assert_eq!(says(&body), "at byte 61 (/ip), a string of 14 bytes: digits, points and hyphens");
    assert_eq!(says("[]"), "at byte 0, an array of 2 bytes");
    assert_eq!(says("7"), "at byte 0, a number of 1 byte: digits");
    assert_eq!(says(" null"), "at byte 1, a null of 4 bytes");
    assert_eq!(says("{"), "at byte 1, the end of the body");
    assert_eq!(says("{} \u{e9}{\t"), "at byte 3, a text of 3 bytes: other punctuation and bytes beyond ASCII");
    assert_eq!(says(&login_with("user_id", Some(r#""""#))), "at byte 12 (/user_id), a string of 0 bytes");
}

#[test]
fn a_pointer_escapes_what_a_key_has_of_its_syntax() {
    assert_eq!(Pointer::OfData("a/b~c").to_string(), "/data/a~1b~0c");
    assert_eq!(Pointer::Body.to_string(), "");
}

#[test]
fn what_is_no_stored_fault_is_not_read_as_one() {
    for text in [
        "",
        "1",
        "1+",
        "1+2",
        "+1+2 text",
        "01+2 text",
        "1+2 Text",
        "1+2 text ",
        "1+2 text:",
        "1+2 array:digits",
        "1+2 text:digits,",
        "1+2 text:points,digits",
        "1+2 text #/Bob",
        "1+2 text #/ip ",
        "-1+2 text",
        "1+2 text:Bob",
    ] {
        assert_eq!(Fault::read(&LOGIN, text), None, "{text}");
    }
}

#[test]
fn a_mebibyte_of_anything_is_located() {
    let keys: String = (0..60_000).map(|number| format!("\"key {number}\":1,")).collect();
    for body in [
        "[".repeat(1 << 20),
        "\"".repeat(1 << 20),
        format!("\"{}", "\\\"".repeat(1 << 19)),
        format!("[{}x", "[],".repeat(1 << 18)),
        format!("{{{keys}\"key 59999\":1}}"),
        format!("{}x", "\n".repeat(1 << 20)),
    ] {
        assert!(refused(&Form::Login, body.as_bytes()).is_some_and(|(_, fault)| fault.is_some()));
    }
}

/// Whatever the body is: a fault exactly where one is documented, which lies in the body, is the same the next time, and
/// comes back from what is stored. The last proves that its text holds names and numbers only.
fn assert_is_located(body: &[u8]) {
    for form in [Form::Login, event_form()] {
        let Some((rejection, fault)) = refused(&form, body) else { continue };
        let fault = fault.unwrap_or_else(|| panic!("no fault for {rejection}"));
        assert!(fault.offset + fault.length <= body.len(), "{fault:?}");
        assert_eq!(refused(&form, body), Some((rejection, Some(fault))));
        assert_eq!(Fault::read(&LOGIN, &fault.stored()), Some(fault));
    }
}

/// Every rejection with every body: one that another body gave must do no harm.
fn assert_does_no_harm(body: &[u8]) {
    let body = RawBody::new(body);
    let mut every = vec![
        Rejection::EmptyBody,
        Rejection::InvalidUtf8,
        Rejection::ByteOrderMark,
        Rejection::NestedTooDeep,
        Rejection::InvalidJson,
        Rejection::TruncatedJson,
        Rejection::TrailingData,
        Rejection::ArrayBody,
        Rejection::NotAnEvent,
        Rejection::InvalidDay,
        Rejection::DuplicateKey(None),
    ];
    every.extend(LOGIN.fields.iter().map(Rejection::MissingField));
    for form in [Form::Login, event_form()] {
        for fault in every.iter().filter_map(|rejection| locate(&form, &LOGIN, &body, rejection)) {
            assert!(fault.offset + fault.length <= body.len(), "{fault:?}");
        }
    }
}

/// Pieces of JSON, in any order, in an object or not.
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
        "\"data\":{",
        "\"type\":",
        "\"specversion\":\"1.0\",",
        "null",
        "true",
        "1e999",
        "-",
        "0",
        "\\ud800",
        "\\u0000",
        "\u{feff}",
        " ",
        "\r\n",
        "\"x\"",
        "é",
        "🚀",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A login or an event in which some bytes were replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![login_with("", None), event_with("", None)]);
    (good, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)).prop_map(|(good, damage)| {
        let mut body = good.into_bytes();
        for (place, byte) in damage {
            let at = place.index(body.len());
            body[at] = byte;
        }
        body
    })
}

/// A value that its field cannot have, as it is written.
fn wrong_value(place: usize, text: &str) -> String {
    let field = &LOGIN.fields[place];
    match field.limit() {
        Some(Limit::Chars(most) | Limit::Bytes(most)) => serde_json::to_string(&text.repeat(most + 1)).unwrap(),
        None => serde_json::to_string(&format!("{text}?")).unwrap(),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_located_without_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_is_located(&body);
        assert_does_no_harm(&body);
    }

    #[test]
    fn anything_like_json_is_located_without_panic(body in json_like()) {
        assert_is_located(&body);
        assert_does_no_harm(&body);
    }

    #[test]
    fn a_damaged_body_is_located_without_panic(body in damaged()) {
        assert_is_located(&body);
        assert_does_no_harm(&body);
    }

    #[test]
    fn the_piece_is_the_value_that_is_wrong(
        place in 0..LOGIN.fields.len(),
        text in prop_oneof!["\\PC{1,4}", "[0-9.:-]{1,4}", "[\"\\\\\n\u{1}]{1,4}"],
        blank in "[ \t\r\n]{0,5}",
        other in prop::option::of(prop::sample::select(vec!["7", "true", "[ 1 ]", "{\"a\": \"\\n\"}"])),
    ) {
        let key = LOGIN.fields[place].key;
        let unknown = serde_json::to_string(&format!("unknown{text}")).unwrap();
        let value = other.map_or_else(|| wrong_value(place, &text), str::to_owned);
        let right = login_with(key, Some("VALUE")).replacen('{', &format!("{{{unknown}:{unknown},"), 1);
        let (before, after) = right.split_once("VALUE").unwrap();
        let body = format!("{blank}{before}{blank}{value}{blank}{after}");
        let fault = refused(&Form::Login, body.as_bytes()).unwrap().1.unwrap();
        let written = between_quotes(&value);
        prop_assert_eq!(body.get(fault.offset..fault.offset + fault.length), Some(written));
        let quote = usize::from(value.starts_with('"'));
        prop_assert_eq!(fault.offset, 2 * blank.len() + before.len() + quote);
        prop_assert_eq!(fault.pointer, Some(Pointer::Member(key)));
    }

    /// The names in a fault are of small letters, and its numbers of less than four digits here.
    #[test]
    fn no_fault_says_four_bytes_of_a_value(
        values in prop::collection::vec("[A-Z]{4,9}|[0-9]{4,9}|[А-я]{2,5}|([A-Z]\\\\n|[0-9]\\.){2,4}", 8),
        keys in prop::collection::vec("[A-Z]{4,9}", 2),
        damage in any::<prop::sample::Index>(),
        by in prop::sample::select(vec!["\"", "}", "\\", "A", "\u{feff}", ""]),
    ) {
        let members = LOGIN.columns().map(|column| column.name).chain(["ip"]).zip(&values);
        let members: Vec<_> = members.map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
        let object = format!(r#"{{"{}":1,{},"{}":2}}"#, keys[0], members.join(","), keys[1]);
        for body in [object.clone(), envelope(&object)] {
            let at = body.floor_char_boundary(damage.index(body.len()));
            let (before, after) = body.split_at(at);
            let damaged = format!("{before}{by}{after}");
            prop_assert!(damaged.len() < 1000);
            let faults = [Form::Login, event_form()].map(|form| refused(&form, damaged.as_bytes()));
            for fault in faults.into_iter().flatten().filter_map(|(_, fault)| fault) {
                for said in [fault.stored(), fault.to_string(), format!("{fault:?}")] {
                    let echoed = values.iter().chain(&keys).flat_map(|value| value.as_bytes().windows(4));
                    let mut echoed = echoed.filter(|run| said.as_bytes().windows(4).any(|of_said| of_said == *run));
                    prop_assert_eq!(echoed.next(), None, "{}", said);
                }
            }
        }
    }
}
