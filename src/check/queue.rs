//! What the queue says of itself, judged.

use std::time::Duration;

use super::Judgement;
use crate::queue::sqs::{ConnectError, SqsQueue};

/// A clock that is off by more is worth a look.
pub(super) const CLOCKS_AGREE_WITHIN: time::Duration = time::Duration::seconds(5);

/// Amazon refuses a request whose signature is older or newer than this (AWS Signature Version 4).
const SIGNATURES_HOLD_FOR: time::Duration = time::Duration::minutes(15);

pub(super) fn reached(queue: &Result<SqsQueue, ConnectError>) -> Judgement {
    match queue {
        Ok(queue) => {
            let kind = if queue.facts().fifo { "FIFO" } else { "standard" };
            Judgement::ok(format!("{}, a {kind} queue", queue.facts().url))
        }
        Err(error) => Judgement::error("cannot be used", error.to_string()),
    }
}

pub(super) fn redrive(max_receive_count: Option<u32>, max_attempts: u32) -> Judgement {
    match max_receive_count {
        None => Judgement::ok(format!("none: only --max-attempts {max_attempts} decides what becomes a dead letter")),
        Some(count) if count > max_attempts => {
            Judgement::ok(format!("after {count} receives, beyond --max-attempts {max_attempts}"))
        }
        Some(count) => Judgement::error(
            format!(
                "after {count} receives, and --max-attempts is {max_attempts}: the queue takes messages away before \
                 they are loaded or become dead letters"
            ),
            format!(
                "set the queue's maxReceiveCount to {} or more (a lost reply counts as a receive), or lower --max-attempts",
                max_attempts.saturating_add(1)
            ),
        ),
    }
}

/// Claims are never removed, so that no retention is too long.
pub(super) fn retention(retention: Option<Duration>) -> Judgement {
    let kept = match retention {
        Some(retention) => in_words(retention),
        None => "not said".to_owned(),
    };
    Judgement::ok(format!("{kept}; claims are kept for good, so that no repeat outlives its claim"))
}

pub(super) fn encryption(encrypted: bool) -> Judgement {
    match encrypted {
        true => Judgement::ok("at rest"),
        false => Judgement::warning(
            "none at rest: the clear logins lie readable in the queue",
            "set the queue's attribute SqsManagedSseEnabled to true, or KmsMasterKeyId to a key",
        ),
    }
}

pub(super) fn clock(difference: Option<time::Duration>) -> Judgement {
    let Some(difference) = difference else {
        return Judgement::ok("the queue's server does not tell its time");
    };
    let found = format!("the queue's clock is {}", apart(difference));
    let way_out = "let this machine's clock be set by NTP";
    match difference.abs() {
        far if far > SIGNATURES_HOLD_FOR => {
            Judgement::error(format!("{found}: Amazon SQS refuses signatures more than 15 minutes old"), way_out)
        }
        near if near > CLOCKS_AGREE_WITHIN => {
            Judgement::warning(format!("{found}: latencies are wrong by as much"), way_out)
        }
        _ => Judgement::ok(found),
    }
}

/// `1.5 s ahead of ours`.
pub(super) fn apart(difference: time::Duration) -> String {
    let side = if difference.is_negative() { "behind" } else { "ahead of" };
    format!("{:.1} s {side} ours", difference.abs().as_seconds_f64())
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 86_400 == 0 && seconds > 0 => format!("{} d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 && seconds > 0 => format!("{} h", seconds / 3_600),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn a_redrive_must_leave_the_loader_all_its_attempts() {
        for (count, attempts, good) in
            [(None, 3, true), (Some(4), 3, true), (Some(3), 3, false), (Some(1), 3, false), (Some(1000), 1000, false)]
        {
            let expected = if good { Level::Ok } else { Level::Error };
            assert_eq!(redrive(count, attempts).level, expected, "{count:?} {attempts}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_seconds_and_not_by_more_than_a_signature_holds() {
        for (milliseconds, level) in [
            (0, Level::Ok),
            (5_000, Level::Ok),
            (-5_000, Level::Ok),
            (5_001, Level::Warning),
            (-5_001, Level::Warning),
            (900_000, Level::Warning),
            (900_001, Level::Error),
            (-900_001, Level::Error),
        ] {
            let difference = time::Duration::milliseconds(milliseconds);
            assert_eq!(clock(Some(difference)).level, level, "{milliseconds} ms");
        }
        assert_eq!(clock(None).level, Level::Ok);
    }

    #[test]
    fn a_queue_that_keeps_clear_bodies_on_disk_is_warned_of() {
        assert_eq!(encryption(false).level, Level::Warning);
        assert_eq!(encryption(true).level, Level::Ok);
    }

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        for (seconds, words) in [(345_600, "4 d"), (7_200, "2 h"), (90, "90 s"), (0, "0 s")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
        assert_eq!(apart(time::Duration::milliseconds(-1_500)), "1.5 s behind ours");
        assert_eq!(apart(time::Duration::milliseconds(200)), "0.2 s ahead of ours");
    }
}
