//! Bodies of messages: the fixtures, and strategies that make more of them.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use proptest::prelude::*;
use turnstile::message::RawBody;
use turnstile::stream::{Field, Kind, LOGIN, Limit};

/// The bodies in tests/fixtures/bodies: the file's name up to `--` is the expected code, or `ok`.
pub(crate) fn fixtures() -> Vec<(String, RawBody)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bodies");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), RawBody::new(fs::read(path).unwrap()))).collect()
}

/// A fixture in which some bytes were replaced, put in or left out.
pub(crate) fn damaged_login() -> impl Strategy<Value = Vec<u8>> {
    let good: Vec<Vec<u8>> = fixtures().into_iter().map(|(_, body)| body.as_bytes().to_vec()).collect();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6);
    (prop::sample::select(good), damage).prop_map(|(mut body, damage)| {
        for (place, byte, kind) in damage {
            let at = place.index(body.len() + 1);
            match kind {
                0 => drop(body.splice(at..at, [byte])),
                1 if at < body.len() => drop(body.remove(at)),
                _ if at < body.len() => body[at] = byte,
                _ => {}
            }
        }
        body
    })
}

/// A login as a producer may write it: any characters, any spelling of them, lengths on both sides of every limit. Most
/// are logins indeed.
pub(crate) fn written_login() -> impl Strategy<Value = Vec<u8>> {
    let fields: Vec<_> = LOGIN.fields.iter().map(value).collect();
    let layout = (
        Just(LOGIN.fields.iter().enumerate().collect::<Vec<_>>()).prop_shuffle(),
        prop::sample::select(vec!["", " ", "\t", "\n", "\r\n", " \t\r\n "]),
        prop::sample::select(vec![None, Some(r#""odd": {"user_id": [1e400, null]}"#), Some(r#""": "\ud83d\ude80""#)]),
    );
    (fields, layout).prop_map(move |(values, (order, blank, unknown))| {
        let member =
            |(place, field): (usize, &Field)| format!("{}{blank}:{blank}{}", json_string(field.key), values[place]);
        let members: Vec<String> = order.into_iter().map(member).chain(unknown.map(str::to_owned)).collect();
        format!("{blank}{{{blank}{}{blank}}}{blank}", members.join(&format!("{blank},{blank}"))).into_bytes()
    })
}

/// The JSON text of a field's value.
fn value(field: &'static Field) -> BoxedStrategy<String> {
    match field.kind {
        Kind::Address => address().boxed(),
        Kind::Version => version().boxed(),
        Kind::Text { most, .. } if field.nullable => prop_oneof![1 => Just("null".to_owned()), 3 => text(most)].boxed(),
        Kind::Text { most, .. } => text(most).boxed(),
    }
}

/// The JSON text of a text of this length or that, in any spelling.
fn text(limit: Limit) -> impl Strategy<Value = String> {
    let spelled = |symbols: Vec<u32>| json_of(&symbols.iter().copied().map(spelling).collect::<String>());
    prop_oneof![
        12 => prop::collection::vec(any::<u32>(), 1..10).prop_map(spelled),
        1 => prop::collection::vec(any::<u32>(), 0..40).prop_map(spelled),
        2 => at_the_edge(limit).prop_map(|text| json_string(&text)),
    ]
}

/// One byte or character less than a limit, exactly as much, or one more: mostly not more.
fn at_the_edge(limit: Limit) -> impl Strategy<Value = String> {
    let character = prop::sample::select(vec!['a', 'é', '\u{301}', '€', '\u{ffff}', '🚀', '\u{10ffff}']);
    (character, prop::sample::select(vec![0, 1, 1, 1, 2])).prop_map(move |(character, beyond)| match limit {
        Limit::Chars(most) => std::iter::repeat_n(character, most - 1 + beyond).collect(),
        Limit::Bytes(most) => {
            let bytes = most - 1 + beyond;
            let many = std::iter::repeat_n(character, bytes / character.len_utf8());
            many.chain(std::iter::repeat_n('b', bytes % character.len_utf8())).collect()
        }
    })
}

/// A character in one of its JSON spellings, chosen by a number; 0 is `a`.
fn spelling(symbol: u32) -> String {
    const ODD: [char; 24] = [
        '"',
        '\\',
        '/',
        '\u{7f}',
        '\u{80}',
        '\u{a0}',
        '\u{ad}',
        '\u{301}',
        '\u{308}',
        '\u{200b}',
        '\u{200d}',
        '\u{202e}',
        '\u{2028}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{fffd}',
        '\u{fffe}',
        '\u{ffff}',
        '\u{10000}',
        '\u{1f680}',
        '\u{10ffff}',
        'ß',
    ];
    let (spelling, kind, number) = (symbol % 8, symbol / 8 % 16, symbol / 128);
    let character = match kind {
        0..=7 => char::from_u32(0x20 + (number + 0x41) % 95),
        8 | 9 => ODD.get(number as usize % ODD.len()).copied(),
        10 => char::from_u32(1 + number % 31),
        _ => char::from_u32(number % 0x11_0000),
    };
    let character = character.unwrap_or('\u{fffd}');
    let units = |written: fn(u16) -> String| character.encode_utf16(&mut [0; 2]).iter().copied().map(written).collect();
    match (spelling, character) {
        (6, _) => units(|unit| format!("\\u{unit:04x}")),
        (7, _) => units(|unit| format!("\\u{unit:04X}")),
        (5, '/') => "\\/".to_owned(),
        (_, '"' | '\\') => format!("\\{character}"),
        (_, '\0'..='\u{1f}') => {
            let short = "\u{8}\u{c}\n\r\t".chars().zip("bfnrt".chars()).find(|(long, _)| *long == character);
            short.map_or_else(|| units(|unit| format!("\\u{unit:04x}")), |(_, short)| format!("\\{short}"))
        }
        _ => character.to_string(),
    }
}

fn version() -> impl Strategy<Value = String> {
    let parts = (any::<[u16; 3]>(), 0..9_usize).prop_map(|(parts, spelling)| {
        let [major, minor, patch] = [parts[0] % 2147, parts[1] % 1000, parts[2] % 1000];
        match spelling {
            0 => major.to_string(),
            1 => format!("{major:02}.{minor:03}"),
            2 => format!("{major:05}.{minor}.{patch:03}"),
            _ => format!("{major}.{minor}.{patch}"),
        }
    });
    let other = prop::sample::select(vec!["2146.999.999", "2147", "1.2.3-beta", "1.2.3.4", "0.0.0", "", "v1"]);
    prop_oneof![12 => parts, 1 => other.prop_map(str::to_owned)].prop_map(|text| json_string(&text))
}

fn address() -> impl Strategy<Value = String> {
    let spelled = (any::<IpAddr>(), 0..5_u8).prop_map(|(ip, spelling)| match (ip, spelling) {
        (IpAddr::V4(ip), 0) => format!("::ffff:{ip}"),
        (IpAddr::V4(ip), 1) => ip.to_ipv6_mapped().segments().map(|part| format!("{part:04X}")).join(":"),
        (IpAddr::V6(ip), 0 | 1) => ip.segments().map(|part| format!("{part:04x}")).join(":"),
        (IpAddr::V6(ip), 2) => ip.to_string().to_uppercase(),
        (ip, _) => ip.to_string(),
    });
    let other =
        prop::sample::select(vec!["::", "::1", "0.0.0.0", "::1.2.3.4", "fe80::1%eth0", "1.2.3", "01.2.3.4", ""]);
    prop_oneof![12 => spelled, 1 => other.prop_map(str::to_owned)].prop_map(|text| json_string(&text))
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn json_of(spelled: &str) -> String {
    format!("\"{spelled}\"")
}
