//! What a batch is made of.

use std::collections::HashSet;

use proptest::prelude::*;
use time::Duration;
use turnstile::batch::{Batch, Sorted};
use turnstile::message::{Delivery, MessageKey, NO_TIME, ReceivedMessage, SentAt};

use crate::support::verdicts::{judge, login, message};

/// A delivery: which message, how often delivered, and whether its body is a login.
fn delivery() -> impl Strategy<Value = (u8, u32, bool)> {
    (0_u8..12, 1_u32..6, proptest::bool::weighted(0.7))
}

proptest! {
    #[test]
    fn every_delivery_is_in_the_outcome_once_and_every_hash_in_the_batch_once_in_order(
        deliveries in prop::collection::vec(delivery(), 0..40),
        max_attempts in 1_u32..5,
    ) {
        let judge = judge();
        let messages = deliveries.iter().map(|(id, count, good)| {
            let body = if *good { login("someone", "ios") } else { "[]".to_owned() };
            sent_at_random(message(&format!("m{id} {good}"), &body, *count), *id)
        });
        let given = receipts(messages.clone().map(|message| message.delivery));
        let Sorted { batch, returned } = Sorted::from_verdicts(messages.map(|message| judge.judge(message)), max_attempts);

        let has_attempts_left = |(_, count, good): &(u8, u32, bool)| !good && *count < max_attempts;
        prop_assert_eq!(returned.len(), deliveries.iter().filter(|d| has_attempts_left(d)).count());
        prop_assert!(returned.iter().all(|delivery| delivery.receive_count < max_attempts));

        let keys: HashSet<MessageKey> = keys(&batch).into_iter().collect();
        prop_assert_eq!(keys.len(), batch.len());
        prop_assert!(batch.entries().iter().is_sorted_by_key(|entry| entry.key));

        let recorded = batch.entries().iter().flat_map(|entry| entry.deliveries().cloned());
        prop_assert_eq!(receipts(recorded.chain(returned)), given);
    }

    #[test]
    fn splitting_keeps_every_message_and_the_order(length in 0_u32..30, parts in 1_usize..10) {
        let judge = judge();
        let whole = crate::support::verdicts::logins(&judge, 0..length);
        let all = keys(&whole);
        let split = whole.split(parts);
        prop_assert!(split.len() <= parts && split.iter().all(|part| !part.is_empty()));
        prop_assert_eq!(split.iter().flat_map(keys).collect::<Vec<_>>(), all);
    }
}

/// The message, sent at one of twelve times, of which the queue says nine.
fn sent_at_random(mut message: ReceivedMessage, id: u8) -> ReceivedMessage {
    let time = message.delivery.sent_at.time() - Duration::seconds(i64::from(id * 7 % 12));
    message.delivery.sent_at = if id < 9 { SentAt::Queue(time) } else { SentAt::Receipt(time) };
    message
}

fn keys(batch: &Batch) -> Vec<MessageKey> {
    batch.entries().iter().map(|entry| entry.key).collect()
}

fn receipts(deliveries: impl Iterator<Item = Delivery>) -> Vec<String> {
    let mut receipts: Vec<String> = deliveries.map(|delivery| delivery.receipt.as_str().to_owned()).collect();
    receipts.sort();
    receipts
}

#[test]
fn a_message_in_hand_twice_is_recorded_once_and_deleted_twice() {
    let judge = judge();
    let twice = [message("m", &login("a", "ios"), 1), message("m", &login("a", "ios"), 2)];
    let sorted = Sorted::from_verdicts(twice.map(|message| judge.judge(message)), 3);
    assert_eq!((sorted.batch.len(), sorted.batch.receipts().count()), (1, 2));
}

#[test]
fn of_the_deliveries_of_a_message_in_hand_the_first_is_recorded_and_the_others_follow_in_their_order() {
    let judge = judge();
    // Many of them, so that a sort that does not keep the order of equals shows.
    let deliveries = (1..=100).map(|count| message("m", &login("a", "ios"), count));
    let batch = crate::support::verdicts::batch(&judge, deliveries);
    let counts: Vec<u32> = batch.entries()[0].deliveries().map(|delivery| delivery.receive_count).collect();
    assert_eq!(counts, Vec::from_iter(1..=100));
}

#[test]
fn the_day_of_a_row_is_the_utc_day_on_which_its_message_was_sent() {
    let judge = judge();
    let mut late = message("m", &login("a", "ios"), 1);
    late.delivery.sent_at = SentAt::Queue(time::macros::datetime!(2026-03-01 23:30 -05:00));
    let batch = crate::support::verdicts::batch(&judge, [late]);
    let row = batch.entries()[0].login_row().unwrap();
    assert_eq!(row.day(), time::macros::date!(2026 - 03 - 02));
}

#[test]
fn a_message_of_a_queue_that_says_no_time_is_claimed_under_the_constant_one_and_dated_by_its_receipt() {
    let judge = judge();
    let mut timeless = message("m", &login("a", "ios"), 1);
    timeless.delivery.sent_at = SentAt::Receipt(time::macros::datetime!(2026-03-01 23:30 UTC));
    let batch = crate::support::verdicts::batch(&judge, [timeless]);
    let row = batch.entries()[0].login_row().unwrap();
    assert_eq!((row.key.sent_at, row.day()), (NO_TIME, time::macros::date!(2026 - 03 - 01)));
}

#[test]
fn what_is_older_than_the_horizon_becomes_a_dead_letter_under_the_constant_time() {
    let judge = judge();
    let at = |id: &str, day: u8| {
        let mut message = message(id, &login(id, "ios"), 1);
        message.delivery.sent_at =
            SentAt::Queue(time::macros::datetime!(2026-03-01 00:00 UTC).replace_day(day).unwrap());
        message
    };
    let batch = crate::support::verdicts::batch(&judge, [at("old", 1), at("new", 2)]);
    let judged = batch.judged_by(time::macros::datetime!(2026-03-02 00:00 UTC), |_| true);
    let [old, new] = judged.entries() else { panic!("two messages") };
    assert_eq!(old.key.sent_at, NO_TIME);
    assert_eq!(old.dead_letter_row().map(|letter| letter.rejection.code()), Some("older_than_memory"));
    assert!(new.login_row().is_some());
}
