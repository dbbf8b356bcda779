//! What the queue says of itself, judged.

use std::time::Duration;

use super::Judgement;
use crate::lease::LONGEST_RETRY_DELAY;
use crate::load::{GIVE_SENT_TIMESTAMPS, NO_SENT_TIMESTAMP};
use crate::message::{Identity, TimeBasis};
use crate::queue::sqs::{ConnectError, QueueFacts, SqsQueue};
use crate::retry::pause_before_redelivery;
use crate::table::queues::QueueRecord;

/// A clock that is off by more is worth a look.
pub(super) const CLOCKS_AGREE_WITHIN: time::Duration = time::Duration::seconds(5);

/// Amazon refuses a request whose signature is older or newer than this (AWS Signature Version 4).
const SIGNATURES_HOLD_FOR: time::Duration = time::Duration::minutes(15);

pub(super) fn reached(queue: &Result<SqsQueue, ConnectError>) -> Judgement {
    match queue {
        Ok(queue) => {
            let kind = if queue.facts().fifo { "FIFO" } else { "standard" };
            Judgement::ok(format!("{}, a {kind} queue, called at {}", queue.facts().url, queue.endpoint()))
        }
        Err(error) => Judgement::error(error.to_string(), error.remedy()),
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

/// A message that is not a login must become a dead letter before the queue drops it.
pub(super) fn retries(retention: Option<Duration>, max_attempts: u32, retry_delay: Duration) -> Judgement {
    let pauses = (1..max_attempts).map(|delivery| pause_before_redelivery(delivery, retry_delay, LONGEST_RETRY_DELAY));
    let (tries, in_all) = (format!("{max_attempts} deliveries"), pauses.sum::<Duration>());
    match retention {
        Some(retention) if in_all >= retention => Judgement::warning(
            format!(
                "{tries} take {} of pauses, and the queue keeps a message for {}: one that is not a login is gone \
                 before it becomes a dead letter",
                in_words(in_all),
                in_words(retention)
            ),
            "lower --max-attempts or --retry-delay, or raise the queue's MessageRetentionPeriod",
        ),
        Some(_) | None => Judgement::ok(format!("{tries} before a dead letter, {} of pauses", in_words(in_all))),
    }
}

/// What the queue means by an id of deduplication, where that is to be the key of a login for ever.
pub(super) fn deduplication(identity: &Identity, facts: &QueueFacts) -> Judgement {
    if !facts.fifo || identity.attribute() != Some("MessageDeduplicationId") {
        return Judgement::ok("no matter: it is not what tells logins apart");
    }
    let unique = "a MessageDeduplicationId is unique for 5 minutes to the queue, and for ever to --identity";
    if facts.deduplicates_by_content {
        return Judgement::warning(
            format!("{unique}: with ContentBasedDeduplication, equal bodies are one login for ever"),
            "use --identity message-id, or have the producer give each login an id of its own",
        );
    }
    let scope = if facts.deduplicates_by_group { " in its message group" } else { "" };
    Judgement::ok(format!("{unique}: a producer must not use one again{scope}"))
}

/// Under which scheme the logins of the queue were remembered so far.
pub(super) fn remembered(scheme: &Identity, record: Option<&QueueRecord>) -> Judgement {
    let Some(record) = record else { return Judgement::ok("none: this is the first loader of the queue") };
    let (before, since) = (record.scheme.as_flags(), record.scheme_since.date());
    if scheme.key_time().is_some() && record.time_basis == Some(TimeBasis::None) {
        return Judgement::error(NO_SENT_TIMESTAMP, GIVE_SENT_TIMESTAMPS);
    }
    match record.scheme == *scheme {
        true => Judgement::ok(format!("under {before}, since {since}")),
        false => Judgement::warning(
            format!(
                "keys are remembered under {before} since {since}, and this is {}: a login that was loaded before is loaded \
                 again if it is sent again",
                scheme.as_flags()
            ),
            format!("use {before}, unless that is meant"),
        ),
    }
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
    let remedy = "let this machine's clock be set by NTP";
    match difference.abs() {
        far if far > SIGNATURES_HOLD_FOR => {
            Judgement::error(format!("{found}: Amazon SQS refuses signatures more than 15 minutes old"), remedy)
        }
        near if near > CLOCKS_AGREE_WITHIN => {
            Judgement::warning(format!("{found}: latencies are wrong by as much"), remedy)
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
    fn a_message_must_become_a_dead_letter_before_the_queue_drops_it() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        for (retention, attempts, delay, level) in [
            (days(4), 3, 5, Level::Ok),
            (days(4), 500, 900, Level::Warning),
            (days(14), 500, 900, Level::Ok),
            (None, 1000, 900, Level::Ok),
            (Some(Duration::from_secs(60)), 4, 10, Level::Warning),
            (Some(Duration::from_secs(60)), 3, 10, Level::Ok),
            (Some(Duration::from_secs(60)), 1, 900, Level::Ok),
        ] {
            let judged = retries(retention, attempts, Duration::from_secs(delay));
            assert_eq!(judged.level, level, "{judged:?}");
        }
    }

    #[test]
    fn ids_that_the_queue_takes_for_five_minutes_are_warned_of_where_they_would_be_keys_for_ever() {
        let facts = |fifo, deduplicates_by_content, deduplicates_by_group| QueueFacts {
            url: "http://localhost/logins".to_owned(),
            identity: crate::message::QueueIdentity::new("arn"),
            visibility_timeout: None,
            max_receive_count: None,
            retention: None,
            fifo,
            deduplicates_by_content,
            deduplicates_by_group,
            encrypted: true,
        };
        for (scheme, facts, level) in [
            ("attribute:MessageDeduplicationId", facts(true, false, false), Level::Ok),
            ("attribute:MessageDeduplicationId", facts(true, true, false), Level::Warning),
            ("attribute:MessageDeduplicationId", facts(true, false, true), Level::Ok),
            ("attribute:MessageDeduplicationId", facts(false, true, true), Level::Ok),
            ("attribute:EventId", facts(true, true, true), Level::Ok),
            ("message-id", facts(true, true, true), Level::Ok),
        ] {
            assert_eq!(deduplication(&scheme.parse().unwrap(), &facts).level, level, "{scheme} {facts:?}");
        }
    }

    #[test]
    fn another_scheme_than_the_one_in_force_is_warned_of() {
        let record = QueueRecord {
            scheme: "field:/event_id".parse().unwrap(),
            scheme_since: time::macros::datetime!(2026-03-01 12:00 UTC),
            time_basis: None,
        };
        assert_eq!(remembered(&record.scheme, None).level, Level::Ok);
        assert_eq!(remembered(&record.scheme, Some(&record)).level, Level::Ok);
        let judged = remembered(&Identity::MessageId, Some(&record));
        assert_eq!(judged.level, Level::Warning);
        assert!(judged.found.contains("field:/event_id since 2026-03-01"), "{judged:?}");
    }

    #[test]
    fn a_time_in_the_keys_is_another_scheme_and_needs_the_time_of_the_messages() {
        let scheme: Identity = "uuidv7:field:/event_id".parse().unwrap();
        let scheme_since = time::macros::datetime!(2026-03-01 12:00 UTC);
        let record =
            |scheme: &str, time_basis| Some(QueueRecord { scheme: scheme.parse().unwrap(), scheme_since, time_basis });
        let judged = |record: Option<QueueRecord>| remembered(&scheme, record.as_ref());
        assert_eq!(judged(record("uuidv7:field:/event_id", Some(TimeBasis::SentTimestamp))).level, Level::Ok);
        assert_eq!(judged(record("uuidv7:field:/event_id", Some(TimeBasis::None))).level, Level::Error);
        let other = judged(record("field:/event_id", None));
        assert_eq!(other.level, Level::Warning);
        let flags = "this is --identity field:/event_id --identity-time uuidv7";
        assert!(other.found.contains(flags), "{other:?}");
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
