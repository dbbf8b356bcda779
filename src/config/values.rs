//! Numbers with units, as people write them.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::table::leaving::Keep;

/// A text is not the value that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoValue {
    /// Not of the form.
    #[error("is not a {0}")]
    Form(&'static str),
    /// Below or above its limits.
    #[error("is outside its limits")]
    Limits,
}

/// Reads a whole number within limits.
///
/// # Errors
///
/// [`NoValue`]
pub(super) fn whole<T: FromStr + PartialOrd>(text: &str, limits: &RangeInclusive<T>) -> Result<T, NoValue> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) => within(number, limits),
        // What has too many digits for the type is a number all the same.
        Err(_) if is_number => Err(NoValue::Limits),
        Err(_) => Err(NoValue::Form("whole number")),
    }
}

/// Reads a length of time with its unit (`ms`, `s`, `m`, `h`, `d`) within limits.
///
/// # Errors
///
/// [`NoValue`]
pub(super) fn duration(text: &str, limits: &RangeInclusive<Duration>) -> Result<Duration, NoValue> {
    let form = || NoValue::Form("time with a unit");
    let (number, unit) = with_unit(text).ok_or_else(form)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(form()),
    };
    let length = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(form)?;
    within(length, limits)
}

/// Reads a number of days, months or years, from four weeks to a century.
///
/// # Errors
///
/// [`NoValue`]
pub(super) fn span(text: &str) -> Result<Keep, NoValue> {
    let form = || NoValue::Form("number of months, years or days");
    let (number, unit) = with_unit(text).ok_or_else(form)?;
    let number = i32::try_from(number).map_err(|_| NoValue::Limits)?;
    let (months, days) = match unit {
        "d" | "day" | "days" => (0, number),
        "month" | "months" => (number, 0),
        "y" | "year" | "years" => (number.checked_mul(12).ok_or(NoValue::Limits)?, 0),
        _ => return Err(form()),
    };
    match (1..=1200).contains(&months) || (28..=36_525).contains(&days) {
        true => Ok(Keep { months, days }),
        false => Err(NoValue::Limits),
    }
}

/// Reads a number of bytes with its unit (`B`, `KiB`, `MiB`, `GiB`) within limits.
///
/// # Errors
///
/// [`NoValue`]
pub(super) fn bytes(text: &str, limits: &RangeInclusive<usize>) -> Result<usize, NoValue> {
    let form = || NoValue::Form("size with a unit");
    let (number, unit) = with_unit(text).ok_or_else(form)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return Err(form()),
    };
    let size = number.checked_mul(factor).and_then(|size| usize::try_from(size).ok()).ok_or_else(form)?;
    within(size, limits)
}

/// A length of time in the largest unit that divides it, as [`duration`] reads it.
pub(super) fn duration_text(length: Duration) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    if length.is_zero() { "0s".to_owned() } else { in_largest(length.as_millis(), &units, "ms") }
}

/// A number of bytes in the largest unit that divides it, as [`bytes`] reads it.
pub(super) fn bytes_text(size: usize) -> String {
    in_largest(size as u128, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")], "B")
}

fn in_largest(number: u128, units: &[(u128, &str)], smallest: &str) -> String {
    match units.iter().find(|(unit, _)| number != 0 && number.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", number / unit),
        None => format!("{number}{smallest}"),
    }
}

fn with_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn within<T: PartialOrd>(value: T, limits: &RangeInclusive<T>) -> Result<T, NoValue> {
    if limits.contains(&value) { Ok(value) } else { Err(NoValue::Limits) }
}

/// The word that is most like a text, if one is.
pub(super) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Less than this is another word, and no slip.
    const ALIKE: f64 = 0.8;
    let text = text.to_lowercase();
    let alike = words.map(|word| (strsim::jaro_winkler(&text, &word.to_lowercase()), word));
    alike.filter(|(likeness, _)| *likeness > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_its_unit_and_keeps_its_limits() {
        let second = Duration::from_secs(1);
        let read = |text| duration(text, &(Duration::ZERO..=second * 3600)).ok();
        for (text, length) in [
            ("200ms", Some(second / 5)),
            ("1s", Some(second)),
            (" 2 m ", Some(second * 120)),
            ("1h", Some(second * 3600)),
            ("0d", Some(Duration::ZERO)),
            ("1d", None),
            ("61m", None),
            ("10", None),
            ("1.5s", None),
            ("-1s", None),
            ("s", None),
            ("", None),
            ("18446744073709551615h", None),
            ("1日", None),
        ] {
            assert_eq!(read(text), length, "{text:?}");
        }
    }

    #[test]
    fn a_size_needs_its_unit_and_keeps_its_limits() {
        for (text, size) in
            [("4MiB", Some(4 << 20)), ("1KiB", Some(1024)), ("1B", None), ("4MB", None), ("4", None), ("2GiB", None)]
        {
            assert_eq!(bytes(text, &(1024..=1 << 30)).ok(), size, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_said_in_the_largest_unit_that_divides_it() {
        for (seconds, text) in [(1, "1s"), (90, "90s"), (600, "10m"), (43_200, "12h"), (172_800, "2d")] {
            assert_eq!(duration_text(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration_text(Duration::ZERO), "0s");
        assert_eq!(duration_text(Duration::from_millis(1500)), "1500ms");
        for (size, text) in [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (256 << 20, "256MiB"), (1 << 30, "1GiB")] {
            assert_eq!(bytes_text(size), text);
        }
    }
}
