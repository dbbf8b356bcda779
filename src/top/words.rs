//! Numbers in few characters.

use std::time::Duration;

/// What stands for a number that is not known.
pub(super) const UNKNOWN: &str = "–";

/// What is known, in words, or that it is not.
pub(super) fn known<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), words)
}

/// A length of time, as `12s`, `3m12s`, `2h05m` or `3d04h`.
pub(super) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A length of time that was measured, to the nearest second: ten are not nine because they were a millisecond short.
pub(super) fn window(over: Duration) -> String {
    length(over + Duration::from_millis(500))
}

/// Seconds, as [`length`]; what is below zero, because clocks differ, is none.
pub(super) fn seconds(seconds: f64) -> String {
    length(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// How long something took, in five characters: `4.2ms`, `120ms`, `1.2s`, `192s`, `59m`.
pub(super) fn latency(seconds: f64) -> String {
    match seconds {
        _ if seconds < 0.009_95 => format!("{:.1}ms", seconds * 1e3),
        _ if seconds < 0.9995 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1}s"),
        _ if seconds < 999.5 => format!("{seconds:.0}s"),
        _ if seconds < 100.0 * 3_600.0 => format!("{:.0}m", seconds / 60.0),
        _ => format!("{:.0}d", seconds / 86_400.0),
    }
}

/// How often a second, in five characters: `0`, `3.2`, `512`, `123k`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        _ if per_second == 0.0 => "0".to_owned(),
        _ if per_second < 9.95 => format!("{per_second:.1}"),
        _ => count(per_second.round() as u64),
    }
}

/// A count in five characters: `99999`, `123k`, `12M`.
pub(super) fn count(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

/// A text of another program, as far as it is plain: it cannot move the cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_its_unit_and_fits_its_column() {
        let lengths = [0, 59, 60, 3_599, 7_500, 90_000].map(|seconds| length(Duration::from_secs(seconds)));
        assert_eq!(lengths, ["0s", "59s", "1m00s", "59m59s", "2h05m", "1d01h"]);
        let latencies = [0.0004, 0.0042, 0.01, 0.9994, 0.9996, 1.25, 12.0, 999.0, 1_000.0, 86_400.0, 864_000.0];
        let expected = ["0.4ms", "4.2ms", "10ms", "999ms", "1.0s", "1.2s", "12s", "999s", "17m", "1440m", "10d"];
        assert_eq!(latencies.map(latency), expected);
        let counts = [7, 99_999, 100_000, 9_999_999, 10_000_000, 99_999_999_999].map(count);
        assert_eq!(counts, ["7", "99999", "100k", "9999k", "10M", "99G"]);
        assert_eq!([0.0, 0.04, 9.94, 9.96, 1234.5].map(rate), ["0", "0.0", "9.9", "10", "1235"]);
        assert_eq!(plain("a\u{1b}[2Jb"), "a?[2Jb");
    }
}
