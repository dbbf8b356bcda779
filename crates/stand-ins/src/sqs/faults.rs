//! Faults on purpose: each by its own probability, all from one seed, each counted.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::error::{ApiError, ErrorCode};

/// How often each fault happens: probabilities from 0 (never, the default) to 1 (always).
///
/// With one seed and one order of calls the same faults happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Where the dice start.
    pub seed: u64,
    /// The API call that alone is throttled, fails, loses its reply, is delayed, or has entries that fail, as SQS names
    /// it (`DeleteMessageBatch`); where it is absent, every call is.
    pub only: Option<&'static str>,
    /// A call is refused with `ThrottlingException`, without effect.
    pub throttle: f64,
    /// A call is refused with status 500, without effect.
    pub error_500: f64,
    /// A call takes effect, and the connection closes without an answer.
    pub lost_reply: f64,
    /// Whether no reply to a send is lost: a producer that hears nothing sends again, and the queue holds two messages
    /// of which only one is known to it.
    pub sends_are_answered: bool,
    /// An entry of a send, delete or visibility batch fails by the server's fault, without effect.
    pub partial_batch_failure: f64,
    /// A delivered message stays visible, as if its visibility timeout were over at once.
    pub early_redelivery: f64,
    /// A delete succeeds, and the message becomes visible again after [`REDELIVERY_AFTER`].
    pub redelivery_after_delete: f64,
    /// A receive of at least two messages brings its first message twice, under two receipt handles.
    pub duplicate_in_receive: f64,
    /// An answer is held back for up to `max_delay`.
    pub delay: f64,
    /// The longest time for which an answer is held back.
    pub max_delay: Duration,
    /// What a standard queue does with a delete by a receipt of an earlier delivery, or of a message that is gone.
    pub stale_receipts: StaleReceipts,
}

/// What becomes of a delete by a stale receipt: SQS promises nothing, and servers that speak its protocol disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleReceipts {
    /// It is answered with success, and deletes nothing.
    #[default]
    Ignored,
    /// It deletes the message.
    Taken,
    /// It is refused with `ReceiptHandleIsInvalid`.
    Refused,
}

/// How long a message stays away that comes back after its delete.
pub const REDELIVERY_AFTER: Duration = Duration::from_secs(1);

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            only: None,
            throttle: 0.0,
            error_500: 0.0,
            lost_reply: 0.0,
            sends_are_answered: false,
            partial_batch_failure: 0.0,
            early_redelivery: 0.0,
            redelivery_after_delete: 0.0,
            duplicate_in_receive: 0.0,
            delay: 0.0,
            max_delay: Duration::from_secs(1),
            stale_receipts: StaleReceipts::default(),
        }
    }
}

impl Faults {
    /// The names of the faults, as `--fault` takes them.
    pub const NAMES: [&'static str; 8] = [
        "throttle",
        "error_500",
        "lost_reply",
        "partial_batch_failure",
        "early_redelivery",
        "redelivery_after_delete",
        "duplicate_in_receive",
        "delay",
    ];

    /// Sets one fault as `--fault` says it: its name, `=`, and its probability.
    ///
    /// # Errors
    ///
    /// [`NoFault`]
    pub fn set(&mut self, text: &str) -> Result<(), NoFault> {
        let (name, probability) = text.split_once('=').unwrap_or((text, ""));
        let fault = self.probability_mut(name).ok_or_else(|| NoFault::Name(text.to_owned()))?;
        let probability = probability.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
        *fault = probability.ok_or_else(|| NoFault::Probability(text.to_owned()))?;
        Ok(())
    }

    /// The probability of the fault of this name.
    pub fn probability_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "throttle" => Some(&mut self.throttle),
            "error_500" => Some(&mut self.error_500),
            "lost_reply" => Some(&mut self.lost_reply),
            "partial_batch_failure" => Some(&mut self.partial_batch_failure),
            "early_redelivery" => Some(&mut self.early_redelivery),
            "redelivery_after_delete" => Some(&mut self.redelivery_after_delete),
            "duplicate_in_receive" => Some(&mut self.duplicate_in_receive),
            "delay" => Some(&mut self.delay),
            _ => None,
        }
    }
}

/// A text says no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFault {
    /// No fault has the name.
    #[error("{0:?} names no fault")]
    Name(String),
    /// The name is known; the probability is not a number from 0 to 1.
    #[error("{0:?} has no probability from 0 to 1")]
    Probability(String),
}

/// How often each fault has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FaultCounts {
    /// Calls refused with `ThrottlingException`.
    pub throttle: u64,
    /// Calls refused with status 500.
    pub error_500: u64,
    /// Calls that took effect and were not answered.
    pub lost_reply: u64,
    /// Batch entries that failed by the server's fault.
    pub partial_batch_failure: u64,
    /// Deliveries that hid nothing.
    pub early_redelivery: u64,
    /// Deletes after which the message came back.
    pub redelivery_after_delete: u64,
    /// Receives that brought a message twice.
    pub duplicate_in_receive: u64,
    /// Answers held back.
    pub delay: u64,
    /// Calls refused because their credentials had expired.
    pub expired_token: u64,
    /// Calls refused because they were not signed at the server's time.
    pub skewed_clock: u64,
}

/// On which side of its effect a call fails. Its connection closes without an answer either way, so that the caller
/// cannot tell the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing has happened.
    BeforeEffect,
    /// All has happened, and the reply is lost.
    AfterEffect,
}

/// A call chosen to fail by its number, and what has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// Which call fails, counted from 1 where it was chosen.
    pub number: u64,
    /// On which side of its effect.
    pub when: When,
    /// How many calls have come since it was chosen.
    pub seen: u64,
}

impl FailedCall {
    /// Whether the chosen call has come, and failed.
    pub fn struck(&self) -> bool {
        self.seen >= self.number
    }
}

/// What happens to one call as a whole.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) refusal: Option<ApiError>,
    /// Where the connection closes, if it does.
    pub(super) cut: Option<When>,
    pub(super) delay: Duration,
}

/// Throws for every fault, and counts.
pub(super) struct Dice {
    faults: Faults,
    random: StdRng,
    counts: FaultCounts,
    chosen: Option<FailedCall>,
}

impl Dice {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, random: StdRng::seed_from_u64(faults.seed), counts: FaultCounts::default(), chosen: None }
    }

    /// Takes other faults from here on; what has been counted or chosen stays.
    pub(super) fn set(&mut self, faults: Faults) {
        *self = Self { counts: self.counts, chosen: self.chosen, ..Self::new(faults) };
    }

    /// Lets the call of this number fail, in the place of one that was chosen before.
    pub(super) fn choose(&mut self, number: u64, when: When) {
        self.chosen = Some(FailedCall { number, when, seen: 0 });
    }

    pub(super) fn chosen(&self) -> Option<FailedCall> {
        self.chosen
    }

    pub(super) fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// What happens to a call of this name.
    pub(super) fn call(&mut self, name: &str) -> Fate {
        if let Some(when) = self.chosen_fails() {
            return Fate { cut: Some(when), ..Fate::default() };
        }
        let mut fate = Fate::default();
        if !self.may_befall(name) {
            return fate;
        }
        if self.throw(self.faults.throttle) {
            self.counts.throttle += 1;
            fate.refusal = Some(ApiError::new(ErrorCode::ThrottlingException, "Rate exceeded"));
        } else if self.throw(self.faults.error_500) {
            self.counts.error_500 += 1;
            let message = "The request failed because of an unknown internal error.";
            fate.refusal = Some(ApiError::new(ErrorCode::InternalError, message));
        }
        let is_answered = name.starts_with("SendMessage") && self.faults.sends_are_answered;
        let may_lose = fate.refusal.is_none() && !is_answered;
        if may_lose && self.throw(self.faults.lost_reply) {
            self.counts.lost_reply += 1;
            fate.cut = Some(When::AfterEffect);
        }
        if self.throw(self.faults.delay) {
            self.counts.delay += 1;
            fate.delay = self.faults.max_delay.mul_f64(self.random.random());
        }
        fate
    }

    /// What becomes of a delete by a stale receipt.
    pub(super) fn stale_receipts(&self) -> StaleReceipts {
        self.faults.stale_receipts
    }

    /// Counts a call that was not let in.
    pub(super) fn turned_away(&mut self, refusal: &ApiError) {
        match refusal.code {
            ErrorCode::ExpiredToken => self.counts.expired_token += 1,
            ErrorCode::SignatureDoesNotMatch => self.counts.skewed_clock += 1,
            _ => {}
        }
    }

    fn chosen_fails(&mut self) -> Option<When> {
        let chosen = self.chosen.as_mut()?;
        chosen.seen += 1;
        (chosen.seen == chosen.number).then_some(chosen.when)
    }

    fn may_befall(&self, name: &str) -> bool {
        self.faults.only.is_none_or(|only| only == name)
    }

    pub(super) fn batch_entry_fails(&mut self, call: &str) -> bool {
        let happens = self.may_befall(call) && self.throw(self.faults.partial_batch_failure);
        self.counts.partial_batch_failure += u64::from(happens);
        happens
    }

    pub(super) fn delivery_hides_nothing(&mut self) -> bool {
        let happens = self.throw(self.faults.early_redelivery);
        self.counts.early_redelivery += u64::from(happens);
        happens
    }

    pub(super) fn deleted_comes_back(&mut self) -> bool {
        let happens = self.throw(self.faults.redelivery_after_delete);
        self.counts.redelivery_after_delete += u64::from(happens);
        happens
    }

    /// Whether a receive shall bring a message twice; counted by [`Dice::brought_twice`] once it did.
    pub(super) fn receive_doubles(&mut self) -> bool {
        self.throw(self.faults.duplicate_in_receive)
    }

    pub(super) fn brought_twice(&mut self) {
        self.counts.duplicate_in_receive += 1;
    }

    /// A fault that is off takes no throw, so that switching one on does not shift the others' luck.
    fn throw(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random::<f64>() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence_of_faults() {
        let faults = Faults { seed: 7, throttle: 0.3, lost_reply: 0.3, ..Faults::default() };
        let sequence = |seed| {
            let mut dice = Dice::new(Faults { seed, ..faults });
            (0..200)
                .map(|_| dice.call("ReceiveMessage"))
                .map(|fate| (fate.refusal.is_some(), fate.cut))
                .collect::<Vec<_>>()
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
    }

    #[test]
    fn a_fault_that_is_off_never_happens_and_one_at_1_always() {
        let mut dice = Dice::new(Faults { error_500: 1.0, ..Faults::default() });
        let refused = (0..100).filter(|_| dice.call("ReceiveMessage").refusal.is_some()).count();
        assert_eq!((refused, dice.counts()), (100, FaultCounts { error_500: 100, ..FaultCounts::default() }));
    }

    #[test]
    fn where_sends_are_answered_only_other_calls_lose_their_replies() {
        let faults = Faults { lost_reply: 1.0, sends_are_answered: true, ..Faults::default() };
        let mut dice = Dice::new(faults);
        assert_eq!(
            (dice.call("SendMessageBatch").cut, dice.call("ReceiveMessage").cut),
            (None, Some(When::AfterEffect))
        );
        assert_eq!(dice.counts().lost_reply, 1);
    }

    #[test]
    fn where_one_call_is_named_no_other_is_befallen() {
        let faults = Faults { throttle: 1.0, partial_batch_failure: 1.0, ..Faults::default() };
        let mut dice = Dice::new(Faults { only: Some("DeleteMessageBatch"), ..faults });
        for (call, befallen) in [("DeleteMessageBatch", true), ("DeleteMessage", false), ("ReceiveMessage", false)] {
            assert_eq!(
                (dice.call(call).refusal.is_some(), dice.batch_entry_fails(call)),
                (befallen, befallen),
                "{call}"
            );
        }
    }

    #[test]
    fn the_chosen_call_fails_once_whatever_the_dice_say() {
        let mut dice = Dice::new(Faults { throttle: 1.0, ..Faults::default() });
        dice.choose(3, When::BeforeEffect);
        let fates: Vec<_> =
            (0..5).map(|_| dice.call("ReceiveMessage")).map(|fate| (fate.refusal.is_some(), fate.cut)).collect();
        let refused = (true, None);
        assert_eq!(fates, [refused, refused, (false, Some(When::BeforeEffect)), refused, refused]);
        let chosen = dice.chosen().unwrap();
        assert_eq!((chosen.seen, chosen.struck(), dice.counts().throttle), (5, true, 4));
        dice.choose(1, When::AfterEffect);
        assert!(!dice.chosen().unwrap().struck());
    }

    #[test]
    fn every_name_has_a_probability_of_its_own() {
        let mut faults = Faults::default();
        for (index, name) in Faults::NAMES.iter().enumerate() {
            *faults.probability_mut(name).unwrap() = index as f64 / 10.0;
        }
        for (index, name) in Faults::NAMES.iter().enumerate() {
            assert_eq!(*faults.probability_mut(name).unwrap(), index as f64 / 10.0, "{name}");
        }
    }
}
