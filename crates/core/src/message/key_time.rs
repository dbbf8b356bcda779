//! Keys of a producer that carry their own time, from which they can be claimed by time.

use std::fmt;
use std::str::FromStr;

use time::{OffsetDateTime, PrimitiveDateTime};

/// What the keys are that carry their time (`--identity-time`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// A UUID of version 7 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)).
    Uuidv7,
    /// A [ULID](https://github.com/ulid/spec).
    Ulid,
}

/// A key as the number that its text spells, and the time in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatedKey {
    /// The same for every spelling.
    pub(super) number: u128,
    /// To the millisecond.
    pub(super) at: OffsetDateTime,
}

impl KeyTime {
    const ALL: [Self; 2] = [Self::Uuidv7, Self::Ulid];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuidv7 => "uuidv7",
            Self::Ulid => "ulid",
        }
    }

    /// Its name among people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uuidv7 => "UUIDv7",
            Self::Ulid => "ULID",
        }
    }

    /// Reads a key as its producer wrote it, in letters of either case; none where it is not one, or its time is zero, which
    /// stands for none.
    pub(super) fn read(self, text: &[u8]) -> Option<DatedKey> {
        let number = match self {
            Self::Uuidv7 => uuid(text).filter(|number| number >> 76 & 0xf == 7 && number >> 62 & 0b11 == 0b10),
            Self::Ulid => ulid(text),
        }?;
        let milliseconds = number >> 80;
        (milliseconds > 0).then(|| DatedKey { number, at: time_of(milliseconds) })
    }
}

/// 36 characters: 32 hexadecimal digits, and hyphens in four places.
fn uuid(text: &[u8]) -> Option<u128> {
    let is_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let digit = |(at, byte): (usize, &u8)| match is_hyphen(at) {
        true => (*byte == b'-').then_some(None),
        false => char::from(*byte).to_digit(16).map(Some),
    };
    let digits: Vec<u32> =
        text.iter().enumerate().map(digit).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    (text.len() == 36).then(|| digits.iter().fold(0, |number, digit| number << 4 | u128::from(*digit)))
}

/// 26 characters of Crockford's Base32, of which the first is at most 7: they would spell 130 bits otherwise.
fn ulid(text: &[u8]) -> Option<u128> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let value = |byte: &u8| ALPHABET.iter().position(|letter| *letter == byte.to_ascii_uppercase());
    let digits: Vec<usize> = text.iter().map(value).collect::<Option<_>>()?;
    let fits = digits.len() == 26 && digits.first().is_some_and(|first| *first <= 7);
    fits.then(|| digits.iter().fold(0, |number, digit| number << 5 | *digit as u128))
}

/// What is after the year 9999 counts as its end.
fn time_of(milliseconds: u128) -> OffsetDateTime {
    let nanoseconds = i128::try_from(milliseconds).ok().and_then(|number| number.checked_mul(1_000_000));
    let time = nanoseconds.and_then(|number| OffsetDateTime::from_unix_timestamp_nanos(number).ok());
    time.unwrap_or(PrimitiveDateTime::MAX.assume_utc())
}

impl fmt::Display for KeyTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no kind of key that carries its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither uuidv7 nor ulid")]
pub struct NoKeyTime;

impl FromStr for KeyTime {
    type Err = NoKeyTime;

    fn from_str(text: &str) -> Result<Self, NoKeyTime> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(NoKeyTime)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(kind: KeyTime, text: &str) -> Option<(u128, i128)> {
        kind.read(text.as_bytes()).map(|key| (key.number, key.at.unix_timestamp_nanos()))
    }

    fn spelt(kind: KeyTime, number: u128) -> String {
        let part = |from: u32, digits: usize| format!("{:0digits$x}", number >> from & ((1 << (4 * digits)) - 1));
        let base32 =
            |place: usize| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(number >> (5 * place) & 31) as usize]);
        match kind {
            KeyTime::Uuidv7 => [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)].join("-"),
            KeyTime::Ulid => (0..26).rev().map(base32).collect(),
        }
    }

    fn uuidv7(milliseconds: u128, rest: u128) -> u128 {
        let (random, more) = (rest >> 64 & 0xfff, rest & ((1 << 62) - 1));
        (milliseconds << 80) | (7 << 76) | (random << 64) | (0b10 << 62) | more
    }

    #[test]
    fn the_examples_of_the_documents_are_read() {
        // RFC 9562 appendix A.6: 22 February 2022, 19:22:22 UTC.
        let uuid = at(KeyTime::Uuidv7, "017F22E2-79B0-7CC3-98C4-DC0C0C07398F");
        assert_eq!(uuid, Some((0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f, 1_645_557_742_000 * 1_000_000)));
        // The ULID specification's example of the encoding of a time: 1469918176385.
        let ulid = at(KeyTime::Ulid, "01ARYZ6S41TSV4RRFFQ69G5FAV").map(|(_, at)| at);
        assert_eq!(ulid, Some(1_469_918_176_385 * 1_000_000));
    }

    #[test]
    fn what_is_no_such_key_is_not_read() {
        let good = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        assert!(at(KeyTime::Uuidv7, good).is_some());
        for bad in [
            "",
            "017f22e279b07cc398c4dc0c0c07398f",
            "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
            "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
            " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-d8c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398fa",
            "017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
            "00000000-0000-7cc3-98c4-dc0c0c07398f",
            "01ARYZ6S41TSV4RRFFQ69G5FAV",
        ] {
            assert_eq!(at(KeyTime::Uuidv7, bad), None, "{bad}");
        }
        for bad in [
            "",
            "01ARYZ6S41TSV4RRFFQ69G5FA",
            "01ARYZ6S41TSV4RRFFQ69G5FAVV",
            "81ARYZ6S41TSV4RRFFQ69G5FAV",
            "01ARYZ6S41TSV4RRFFQ69G5FAU",
            "01ARYZ6S41TSV4RRFFQ69G5FAL",
            "01ARYZ6S41TSV4RRFFQ69G5FAI",
            "01ARYZ6S41TSV4RRFFQ69G5FAO",
            "01ARYZ6S41-TSV4RRFFQ69G5FA",
            "0000000000TSV4RRFFQ69G5FAV",
            good,
        ] {
            assert_eq!(at(KeyTime::Ulid, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_that_no_calendar_here_holds_is_the_latest() {
        let last = KeyTime::Ulid.read(b"7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap();
        assert_eq!(last.at, PrimitiveDateTime::MAX.assume_utc());
        assert_eq!(last.number, u128::MAX);
    }

    proptest! {
        #[test]
        fn every_key_is_read_as_its_number_and_time_in_either_case(
            milliseconds in 1_u128..253_402_300_800_000, rest in any::<u128>(), kind in prop::sample::select(&KeyTime::ALL[..]),
        ) {
            let number = match kind {
                KeyTime::Uuidv7 => uuidv7(milliseconds, rest),
                KeyTime::Ulid => milliseconds << 80 | rest >> 48,
            };
            let text = spelt(kind, number);
            let read = Some((number, i128::try_from(milliseconds).unwrap() * 1_000_000));
            prop_assert_eq!(at(kind, &text.to_lowercase()), read);
            prop_assert_eq!(at(kind, &text.to_uppercase()), read);
        }

        #[test]
        fn no_text_is_read_as_another_key_than_the_one_it_spells(
            text in "[0-9A-Za-z-]{0,40}", kind in prop::sample::select(&KeyTime::ALL[..]),
        ) {
            if let Some(key) = kind.read(text.as_bytes()) {
                prop_assert_eq!(spelt(kind, key.number).to_lowercase(), text.to_lowercase());
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for kind in KeyTime::ALL {
                let _ = kind.read(&bytes);
            }
        }
    }
}
