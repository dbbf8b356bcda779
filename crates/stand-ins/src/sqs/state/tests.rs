use std::collections::BTreeMap;

use super::*;
use crate::sqs::faults::{FaultCounts, Faults};

/// A queue, its dice, and a clock that moves only when told.
struct Bench {
    state: State,
    dice: Dice,
    now: Moment,
}

impl Bench {
    fn new(name: &str, attributes: &[(&str, &str)]) -> Self {
        let mut all: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if name.ends_with(".fifo") {
            all.insert("FifoQueue".to_owned(), "true".to_owned());
        }
        let state = State::new(QueueSettings::create(name, &all).unwrap(), 7);
        Self { state, dice: Dice::new(Faults::default()), now: Moment::from_millis(1_000_000) }
    }

    fn standard() -> Self {
        Self::new("q", &[])
    }

    fn fifo() -> Self {
        Self::new("q.fifo", &[])
    }

    fn with_faults(faults: Faults) -> Self {
        Self { dice: Dice::new(faults), ..Self::standard() }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn send(&mut self, body: &str) -> Accepted {
        self.state.send(NewMessage::of_body(Bytes::copy_from_slice(body.as_bytes())), self.now)
    }

    fn send_to(&mut self, group: &str, body: &str) -> Accepted {
        self.send_as(group, body, body)
    }

    fn send_as(&mut self, group: &str, body: &str, deduplication_id: &str) -> Accepted {
        let mut message = NewMessage::of_body(Bytes::copy_from_slice(body.as_bytes()));
        message.group = Some(group.into());
        message.deduplication_id = Some(deduplication_id.into());
        self.state.send(message, self.now)
    }

    fn receive(&mut self, max: usize) -> Vec<DeliveredMessage> {
        self.receive_for(max, Duration::from_secs(30))
    }

    fn receive_for(&mut self, max: usize, visibility_timeout: Duration) -> Vec<DeliveredMessage> {
        let terms = Terms { max, visibility_timeout, max_receive_count: None };
        self.state.receive(&terms, self.now, &mut self.dice).0
    }

    fn bodies(&mut self, max: usize) -> Vec<String> {
        self.receive(max).iter().map(|delivery| String::from_utf8(delivery.body.to_vec()).unwrap()).collect()
    }

    fn delete(&mut self, delivery: &DeliveredMessage) -> Result<(), ApiError> {
        self.state.delete(&delivery.receipt.write(), self.now, &mut self.dice)
    }

    fn hide(&mut self, delivery: &DeliveredMessage, seconds: u64) -> Result<(), ApiError> {
        self.state.change_visibility(&delivery.receipt.write(), Duration::from_secs(seconds), self.now)
    }

    fn stats(&mut self) -> (usize, usize, usize) {
        self.state.advance(self.now);
        let stats = self.state.stats();
        (stats.visible, stats.in_flight, stats.delayed)
    }
}

#[test]
fn a_delivered_message_stays_hidden_until_its_timeout_and_comes_back_with_a_new_handle() {
    let mut q = Bench::standard();
    q.send("a");
    let first = q.receive(10);
    assert_eq!((first.len(), q.stats()), (1, (0, 1, 0)));
    q.pass(29);
    assert!(q.receive(10).is_empty());
    q.pass(1);
    assert_eq!(q.stats(), (1, 0, 0));
    let second = q.receive(10);
    assert_eq!((second[0].id, second[0].receive_count, second[0].sent), (first[0].id, 2, first[0].sent));
    assert_eq!(second[0].first_received, first[0].first_received);
    assert!(second[0].receipt != first[0].receipt);
}

#[test]
fn a_visibility_timeout_of_zero_hides_nothing() {
    let mut q = Bench::standard();
    q.send("a");
    assert_eq!(q.receive_for(10, Duration::ZERO).len(), 1);
    assert_eq!(q.receive_for(10, Duration::ZERO)[0].receive_count, 2);
}

#[test]
fn a_receive_brings_no_more_than_it_asks_for_and_the_oldest_first() {
    let mut q = Bench::standard();
    ["a", "b", "c"].into_iter().for_each(|body| drop(q.send(body)));
    assert_eq!(q.bodies(2), ["a", "b"]);
    assert_eq!(q.bodies(2), ["c"]);
}

#[test]
fn a_deleted_message_is_gone_and_deleting_it_again_succeeds() {
    let mut q = Bench::standard();
    q.send("a");
    let delivery = &q.receive(1)[0];
    assert!(q.delete(delivery).is_ok() && q.delete(delivery).is_ok());
    q.pass(100);
    assert_eq!((q.receive(1).len(), q.stats()), (0, (0, 0, 0)));
}

#[test]
fn the_latest_handle_deletes_even_after_the_timeout_and_an_older_one_deletes_nothing() {
    let mut q = Bench::standard();
    q.send("a");
    let old = &q.receive(1)[0];
    q.pass(30);
    let latest = &q.receive(1)[0];
    assert!(q.delete(old).is_ok());
    assert_eq!(q.stats(), (0, 1, 0));
    q.pass(30);
    assert!(q.delete(latest).is_ok());
    assert_eq!(q.stats(), (0, 0, 0));
}

#[test]
fn a_handle_of_another_queue_or_of_no_delivery_is_invalid() {
    let mut q = Bench::standard();
    q.send("a");
    let receipt = q.receive(1)[0].receipt;
    let others = [
        Receipt { queue: 8, ..receipt },
        Receipt { key: 1, ..receipt },
        Receipt { delivery_number: 2, ..receipt },
        Receipt { delivery_number: 0, ..receipt },
    ];
    for handle in others.map(Receipt::write).into_iter().chain(["nonsense".to_owned()]) {
        let deleted = q.state.delete(&handle, q.now, &mut q.dice);
        assert_eq!(deleted.unwrap_err().code, ErrorCode::ReceiptHandleIsInvalid);
        let hidden = q.state.change_visibility(&handle, Duration::ZERO, q.now);
        assert_eq!(hidden.unwrap_err().code, ErrorCode::ReceiptHandleIsInvalid);
    }
}

#[test]
fn visibility_counts_from_the_change_and_at_zero_the_message_is_back() {
    let mut q = Bench::standard();
    q.send("a");
    let delivery = &q.receive(1)[0];
    q.pass(20);
    q.hide(delivery, 60).unwrap();
    q.pass(59);
    assert_eq!(q.stats(), (0, 1, 0));
    q.hide(delivery, 0).unwrap();
    assert_eq!(q.receive(1)[0].receive_count, 2);
}

#[test]
fn a_message_that_is_not_in_flight_cannot_be_hidden() {
    let mut q = Bench::standard();
    q.send("a");
    let delivery = &q.receive(1)[0];
    q.pass(30);
    assert_eq!(q.hide(delivery, 10).unwrap_err().code, ErrorCode::MessageNotInflight);
    let latest = &q.receive(1)[0];
    assert_eq!(q.hide(delivery, 10).unwrap_err().code, ErrorCode::InvalidParameterValue);
    q.delete(latest).unwrap();
    assert_eq!(q.hide(latest, 10).unwrap_err().code, ErrorCode::InvalidParameterValue);
}

#[test]
fn a_message_is_hidden_for_twelve_hours_from_its_receive_at_most() {
    let mut q = Bench::standard();
    q.send("a");
    let delivery = &q.receive(1)[0];
    q.pass(10);
    assert_eq!(q.hide(delivery, 43_191).unwrap_err().code, ErrorCode::InvalidParameterValue);
    q.hide(delivery, 43_190).unwrap();
    q.pass(43_189);
    assert_eq!(q.stats(), (0, 1, 0));
    q.pass(1);
    assert_eq!(q.stats(), (1, 0, 0));
}

#[test]
fn a_delay_hides_a_message_after_its_send_and_its_own_goes_before_the_queues() {
    let mut q = Bench::new("q", &[("DelaySeconds", "10")]);
    q.send("the queue's");
    let mut own = NewMessage::of_body(Bytes::from_static(b"its own"));
    own.delay = Some(Duration::from_secs(5));
    q.state.send(own, q.now);
    let mut none = NewMessage::of_body(Bytes::from_static(b"none"));
    none.delay = Some(Duration::ZERO);
    q.state.send(none, q.now);
    assert_eq!((q.stats(), q.bodies(10)), ((1, 0, 2), vec!["none".to_owned()]));
    assert_eq!(q.state.next_visible(), Some(q.now.after(Duration::from_secs(5))));
    q.pass(5);
    assert_eq!(q.bodies(10), ["its own"]);
    q.pass(5);
    assert_eq!(q.bodies(10), ["the queue's"]);
}

#[test]
fn a_message_past_the_retention_period_is_gone_wherever_it_is() {
    let mut q = Bench::new("q", &[("MessageRetentionPeriod", "60"), ("VisibilityTimeout", "100")]);
    ["a", "b"].into_iter().for_each(|body| drop(q.send(body)));
    assert_eq!(q.receive_for(1, Duration::from_secs(100)).len(), 1);
    q.pass(59);
    assert_eq!(q.stats(), (1, 1, 0));
    q.pass(1);
    assert_eq!(q.stats(), (0, 0, 0));
    assert_eq!(q.state.next_visible(), None);
}

#[test]
fn a_message_received_too_often_is_given_up_and_keeps_id_age_and_count() {
    let mut q = Bench::standard();
    let sent = q.send("a");
    let sent_at = q.now;
    let terms = |max_receive_count| Terms { max: 10, visibility_timeout: Duration::ZERO, max_receive_count };
    for _ in 0..2 {
        let (deliveries, dead) = q.state.receive(&terms(Some(2)), q.now, &mut q.dice);
        assert_eq!((deliveries.len(), dead.len()), (1, 0));
    }
    q.pass(5);
    let (deliveries, mut dead) = q.state.receive(&terms(Some(2)), q.now, &mut q.dice);
    assert_eq!((deliveries.len(), dead.len(), q.stats()), (0, 1, (0, 0, 0)));

    let mut target = Bench::standard();
    target.now = q.now;
    target.state.bury(dead.remove(0), &"the source".into(), q.now);
    let buried = &target.receive(1)[0];
    assert_eq!((buried.id, buried.sent, buried.receive_count), (sent.id, sent_at, 3));
    assert_eq!(buried.dead_letter_source_arn.as_deref(), Some("the source"));

    target.pass(30);
    let moved = target.state.withdraw(target.now).unwrap();
    q.state.adopt(moved, target.now);
    q.now = target.now;
    let adopted = &q.receive(1)[0];
    assert!(adopted.id != sent.id && adopted.dead_letter_source_arn.is_none());
    assert_eq!((adopted.sent, adopted.receive_count), (q.now, 1));
}

#[test]
fn a_group_keeps_its_order_and_is_blocked_while_one_of_it_is_in_flight() {
    let mut q = Bench::fifo();
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")] {
        q.send_to(group, body);
    }
    let first = q.receive(2);
    assert_eq!(first.iter().map(|d| d.body.as_ref()).collect::<Vec<_>>(), [b"a1", b"a2"]);
    assert_eq!(q.bodies(1), ["b1"]);
    assert!(q.receive(10).is_empty());
    q.delete(&first[0]).unwrap();
    assert!(q.receive(10).is_empty());
    q.delete(&first[1]).unwrap();
    assert_eq!(q.bodies(10), ["a3"]);
    q.pass(30);
    assert_eq!(q.bodies(10), ["b1", "b2", "a3"]);
}

#[test]
fn a_delayed_head_holds_up_its_group_only() {
    let mut q = Bench::new("q.fifo", &[("DelaySeconds", "10")]);
    q.send_to("a", "a1");
    q.state.settings.delay = Duration::ZERO;
    q.send_to("a", "a2");
    q.send_to("b", "b1");
    assert_eq!((q.stats(), q.bodies(10)), ((2, 0, 1), vec!["b1".to_owned()]));
    q.pass(10);
    assert_eq!(q.bodies(10), ["a1", "a2"]);
}

#[test]
fn a_repeated_deduplication_id_is_answered_with_the_first_send_for_five_minutes() {
    let mut q = Bench::fifo();
    let first = q.send_as("g", "one", "id");
    let delivery = &q.receive(1)[0];
    q.delete(delivery).unwrap();
    q.pass(299);
    let repeated = q.send_as("other group", "two", "id");
    assert_eq!((repeated.id, &repeated.sequence_number), (first.id, &first.sequence_number));
    assert_eq!(q.stats(), (0, 0, 0));
    q.pass(1);
    assert!(q.send_as("g", "three", "id").id != first.id);
    assert_eq!(q.bodies(10), ["three"]);
}

#[test]
fn where_deduplication_is_by_group_two_groups_may_use_one_id() {
    let mut q = Bench::new("q.fifo", &[("DeduplicationScope", "messageGroup")]);
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        q.send_as(group, body, "id");
    }
    assert_eq!(q.bodies(10), ["a1", "b1"]);
}

#[test]
fn sequence_numbers_have_twenty_digits_and_grow() {
    let mut q = Bench::fifo();
    let numbers = ["a", "b"].map(|body| q.send_to("g", body).sequence_number.unwrap());
    assert!(numbers[0] < numbers[1] && numbers.iter().all(|number| number.len() == 20));
    assert_eq!(q.receive(1)[0].sequence_number.as_ref(), Some(&numbers[0]));
    assert_eq!(Bench::standard().send("a").sequence_number, None);
}

#[test]
fn a_fifo_queue_refuses_a_handle_whose_timeout_is_over() {
    let mut q = Bench::fifo();
    q.send_to("g", "a");
    let delivery = &q.receive(1)[0];
    q.pass(30);
    assert_eq!(q.delete(delivery).unwrap_err().code, ErrorCode::InvalidParameterValue);
    assert_eq!(q.stats(), (1, 0, 0));
}

#[test]
fn no_more_than_120_000_messages_are_in_flight() {
    let mut q = Bench::standard();
    for _ in 0..MAX_IN_FLIGHT + 5 {
        q.send("x");
    }
    for _ in 0..MAX_IN_FLIGHT / 10 {
        assert_eq!(q.receive(10).len(), 10);
    }
    assert!(q.receive(10).is_empty() && q.state.is_at_limit());
    assert_eq!(q.stats(), (5, MAX_IN_FLIGHT, 0));
    q.pass(30);
    assert_eq!(q.receive(10).len(), 10);
}

#[test]
fn a_purge_leaves_nothing_and_the_queue_goes_on() {
    let mut q = Bench::fifo();
    ["a", "b", "c"].into_iter().for_each(|body| drop(q.send_to(body, body)));
    let delivery = &q.receive(1)[0];
    q.state.purge();
    assert_eq!((q.stats(), q.receive(10).len()), ((0, 0, 0), 0));
    assert!(q.delete(delivery).is_ok());
    q.send_to("a", "new");
    assert_eq!(q.bodies(10), ["new"]);
}

#[test]
fn early_redelivery_hides_nothing() {
    let mut q = Bench::with_faults(Faults { early_redelivery: 1.0, ..Faults::default() });
    q.send("a");
    assert_eq!((q.receive(10).len(), q.receive(10).len()), (1, 1));
    assert_eq!(q.dice.counts(), FaultCounts { early_redelivery: 2, ..FaultCounts::default() });
}

#[test]
fn redelivery_after_delete_brings_a_deleted_message_back() {
    let mut q = Bench::with_faults(Faults { redelivery_after_delete: 1.0, ..Faults::default() });
    q.send("a");
    let delivery = &q.receive(1)[0];
    q.delete(delivery).unwrap();
    assert!(q.receive(1).is_empty());
    q.now = q.now.after(REDELIVERY_AFTER);
    assert_eq!(q.receive(1)[0].receive_count, 2);
}

#[test]
fn duplicate_in_receive_brings_one_message_under_two_handles_within_the_limit() {
    let mut q = Bench::with_faults(Faults { duplicate_in_receive: 1.0, ..Faults::default() });
    (0..10).for_each(|n| drop(q.send(&n.to_string())));
    let deliveries = q.receive(10);
    assert_eq!(deliveries.len(), 10);
    assert_eq!(deliveries[0].id, deliveries[9].id);
    assert!(deliveries[0].receipt != deliveries[9].receipt);
    assert_eq!(q.receive(1).len(), 1);
    assert_eq!(q.dice.counts().duplicate_in_receive, 1);
    q.delete(&deliveries[0]).unwrap();
    q.delete(&deliveries[9]).unwrap();
    assert_eq!(q.stats(), (0, 9, 0));
}

#[test]
fn counts_stay_exact_through_any_order_of_calls() {
    for name in ["q", "q.fifo"] {
        let faults = Faults { early_redelivery: 0.2, redelivery_after_delete: 0.2, seed: 3, ..Faults::default() };
        let mut q = Bench { dice: Dice::new(faults), ..Bench::new(name, &[("MessageRetentionPeriod", "600")]) };
        let mut luck = 1_u64;
        let mut held = Vec::new();
        for step in 0..5_000 {
            luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (luck >> 33) % 6 {
                0 | 1 => drop(q.send_as(&format!("g{}", luck % 7), "x", &step.to_string())),
                2 => held.extend(q.receive(10)),
                3 => drop(held.pop().map(|delivery| q.delete(&delivery))),
                4 => drop(held.pop().map(|delivery| q.hide(&delivery, luck % 40))),
                _ => q.pass(luck % 5),
            }
            let (visible, in_flight, delayed) = q.stats();
            let places = |wanted: fn(&Place) -> bool| q.state.messages.values().filter(|m| wanted(&m.place)).count();
            assert_eq!(visible, places(|place| matches!(place, Place::Visible)));
            assert_eq!(in_flight, places(|place| matches!(place, Place::InFlight { .. })));
            assert_eq!(delayed, places(|place| matches!(place, Place::Delayed { .. })));
            assert_eq!(q.state.timers.len(), in_flight + delayed);
            assert_eq!(q.state.ages.len(), q.state.messages.len());
        }
    }
}
