//! The messages that the demo makes up: the same ones for the same seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::audit::journal::Kind;
use crate::stream::{self, Field, LOGIN, Privacy};

/// How likely a login is one that was made before, by the same user on the same device.
const REPEATS: f64 = 0.25;
/// One of so many messages is malformed, at most; of few messages every tenth, so that there are some.
const MALFORMED_ONE_IN: u64 = 200;

const DEVICE_TYPES: [&str; 3] = ["android", "iOS", "web"];
const LOCALES: [&str; 8] = ["DE", "RU", "US", "FR", "JP", "BR", "IN", "zh-Hant-TW"];

/// Makes messages, one after the other.
pub(super) struct Logins {
    seed: u64,
    random: StdRng,
    made: u64,
    of: u64,
    users: u64,
}

/// A message to be sent. No `Debug`: it holds personal data, even if nobody's.
pub(super) struct MadeUp {
    pub(super) body: String,
    pub(super) kind: Kind,
    /// Whether the same body was sent before: an honest repeat, which must be loaded too.
    pub(super) repeats: bool,
    /// The values in it that must be clear nowhere behind the queue.
    pub(super) secrets: Vec<String>,
}

impl Logins {
    pub(super) fn new(seed: u64, of: u64) -> Self {
        Self { seed, random: StdRng::seed_from_u64(seed), made: 0, of, users: 0 }
    }

    /// How many are made in all.
    pub(super) fn all(&self) -> usize {
        usize::try_from(self.of).unwrap_or(usize::MAX)
    }

    fn malformed_every(&self) -> u64 {
        (self.of / 10).clamp(2, MALFORMED_ONE_IN)
    }

    /// Somebody who logs in for the first time, or, now and then, somebody who did before.
    fn next_user(&mut self) -> (u64, bool) {
        if self.users > 0 && self.random.random_bool(REPEATS) {
            return (self.random.random_range(0..self.users), true);
        }
        self.users += 1;
        (self.users - 1, false)
    }
}

impl Iterator for Logins {
    type Item = MadeUp;

    fn next(&mut self) -> Option<MadeUp> {
        if self.made == self.of {
            return None;
        }
        let (round, place) = (self.made / self.malformed_every(), self.made % self.malformed_every());
        self.made += 1;
        if place + 1 == self.malformed_every() {
            // A user of no login, so that what is malformed holds values that nothing else holds.
            let login = Login::of(self.seed, u64::MAX - round);
            let spoil = MALFORMED.iter().cycle().nth(round as usize % MALFORMED.len())?;
            return Some(MadeUp {
                body: spoil(&login),
                kind: Kind::Malformed,
                repeats: false,
                secrets: login.secrets(),
            });
        }
        let (user, repeats) = self.next_user();
        let login = Login::of(self.seed, user);
        Some(MadeUp { body: login.body(), kind: Kind::Login, repeats, secrets: login.secrets() })
    }
}

/// What an app sends: a value for each field of a login.
struct Login(Vec<(&'static Field, Value)>);

impl Login {
    /// The login of a user, the same each time.
    fn of(seed: u64, user: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ user.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self(LOGIN.fields.iter().map(|field| (field, value(field, &mut random))).collect())
    }

    fn body(&self) -> String {
        let members: Vec<String> =
            self.0.iter().map(|(field, value)| format!("{}:{value}", json!(field.key))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// What must stand nowhere in clear.
    fn secrets(&self) -> Vec<String> {
        let masked = self.0.iter().filter(|(field, _)| field.is_masked());
        masked.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
    }

    /// The body with another value for the first of these fields; `None` leaves the field out.
    fn body_with(&self, which: fn(&Field) -> bool, value: Option<Value>) -> String {
        let mut members = self.0.clone();
        if let Some(place) = members.iter().position(|(field, _)| which(field)) {
            let (field, _) = members.remove(place);
            value.into_iter().for_each(|value| members.insert(place, (field, value)));
        }
        Self(members).body()
    }
}

fn value(field: &Field, random: &mut StdRng) -> Value {
    match (field.kind, field.privacy) {
        (stream::Kind::Address, _) => json!(address(random)),
        (stream::Kind::Version, _) => json!(version(random)),
        (stream::Kind::Text { .. }, Privacy::Personal) => {
            json!(uuid::Builder::from_random_bytes(random.random()).into_uuid().to_string())
        }
        (stream::Kind::Text { .. }, Privacy::Masked) => json!(format!(
            "{:03}-{:02}-{:04}",
            random.random_range(1..1000),
            random.random_range(1..100),
            random.random_range(1..10_000)
        )),
        (stream::Kind::Text { .. }, Privacy::Open) if field.nullable => {
            json!(LOCALES.choose(random).filter(|_| random.random_bool(0.7)))
        }
        (stream::Kind::Text { .. }, Privacy::Open) => json!(DEVICE_TYPES.choose(random)),
    }
}

fn version(random: &mut StdRng) -> String {
    let [major, minor, patch] = [random.random_range(0..9), random.random_range(0..30), random.random_range(0..12)];
    match random.random_range(0..4) {
        0 => format!("{major}.{minor}"),
        1 if major > 0 => format!("{major}"),
        _ => format!("{major}.{minor}.{patch}"),
    }
}

/// Addresses of documentation (RFC 5737, RFC 3849), of private networks (RFC 1918, RFC 4193), and public ones.
fn address(random: &mut StdRng) -> IpAddr {
    let documentation = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let [a, b, c, d]: [u8; 4] = random.random();
    match random.random_range(0..10) {
        0..3 => {
            let [a, b, c] = *documentation.choose(random).unwrap_or(&[192, 0, 2]);
            Ipv4Addr::new(a, b, c, d).into()
        }
        3..5 => Ipv4Addr::new(10, b, c, d).into(),
        5..7 => Ipv4Addr::new(a % 100 + 100, b, c, d).into(),
        7 => Ipv6Addr::from((0x2001_0db8 << 96) | random.random::<u64>() as u128).into(),
        8 => Ipv6Addr::from((0xfd00 << 112) | random.random::<u64>() as u128).into(),
        _ => Ipv6Addr::from((0x2a02 << 112) | random.random::<u64>() as u128).into(),
    }
}

/// The ways in which a login is spoilt, taken in turn; each ends under a code of its own.
const MALFORMED: [fn(&Login) -> String; 11] = [
    |login| format!("a login from {}", login.secrets().join(" on ")),
    |login| login.body().trim_end_matches('}').to_owned(),
    |login| format!("[{}]", login.body()),
    |login| login.body().repeat(2),
    |login| login.body_with(is_address, None),
    |login| login.body_with(|field| field.is_masked() && !is_address(field), Some(Value::Null)),
    |login| login.body_with(|field| field.limit().is_some(), Some(json!(42))),
    |login| login.body_with(is_address, Some(json!(format!("{}.256", login.secrets().join("."))))),
    |login| login.body_with(is_version, Some(json!("2.3.0-beta"))),
    |login| login.body_with(is_version, Some(json!("2.1000"))),
    |login| login.body().replacen('{', r#"{"odd":1,"odd":2,"#, 1),
];

fn is_address(field: &Field) -> bool {
    field.kind == stream::Kind::Address
}

fn is_version(field: &Field) -> bool {
    field.kind == stream::Kind::Version
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;
    use crate::decode::decode;
    use crate::message::RawBody;

    #[test]
    fn one_seed_makes_one_sequence_of_messages() {
        let bodies = |seed| Logins::new(seed, 500).map(|made| made.body).collect::<Vec<_>>();
        assert_eq!(bodies(7).len(), 500);
        assert!(bodies(7) == bodies(7) && bodies(7) != bodies(8));
    }

    #[test]
    fn every_login_decodes_and_nothing_malformed_does() {
        let mut codes = BTreeSet::new();
        for made in Logins::new(3, 4_000) {
            match (made.kind, decode(&LOGIN, &RawBody::new(made.body))) {
                (Kind::Login | Kind::Contradicting, Ok(_)) => {}
                (Kind::Malformed, Err(rejection)) => drop(codes.insert(rejection.code())),
                (Kind::Login | Kind::Contradicting, Err(rejection)) => panic!("a login is rejected: {rejection}"),
                (Kind::Malformed, Ok(_)) => panic!("a malformed message decodes"),
            }
        }
        assert_eq!(codes.len(), MALFORMED.len(), "{codes:?}");
    }

    #[test]
    fn repeats_are_bodies_that_came_before_and_a_quarter_of_all() {
        let mut before = HashSet::new();
        let mut repeats = 0;
        for made in Logins::new(5, 4_000) {
            assert_eq!(!before.insert(made.body), made.repeats);
            repeats += u32::from(made.repeats);
        }
        assert!((800..1_200).contains(&repeats), "{repeats}");
    }

    #[test]
    fn few_messages_have_malformed_ones_among_them_too() {
        let malformed = |of| Logins::new(1, of).filter(|made| made.kind == Kind::Malformed).count();
        assert_eq!([1, 2, 300, 10_000].map(malformed), [0, 1, 10, 50]);
    }
}
