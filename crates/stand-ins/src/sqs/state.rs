//! One queue's messages and the rules by which they are delivered, hidden, delayed, counted and forgotten.
//!
//! Pure of clocks: every rule takes `now`. No call looks at more messages than it answers with or than have become
//! due since the last: each step is a lookup by key or an operation on an ordered set.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::clock::Moment;
use super::error::{ApiError, ErrorCode};
use super::faults::{Dice, REDELIVERY_AFTER, StaleReceipts};
use super::line::{Key, Line};
use super::message::{Attributes, NewMessage, md5};
use super::receipt::Receipt;
use super::settings::QueueSettings;

/// The most messages in flight at once (developer guide, "Amazon SQS standard queue quotas" and "FIFO queue quotas").
pub const MAX_IN_FLIGHT: usize = 120_000;

/// The longest time for which a message can be hidden, counted from its receive.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);

/// How long a FIFO queue remembers a deduplication id.
pub const DEDUPLICATION_INTERVAL: Duration = Duration::from_secs(300);

/// The first number that a FIFO queue gives; SQS's have twenty digits too.
const FIRST_SEQUENCE_NUMBER: u128 = 18_800_000_000_000_000_000;

/// A queue's messages.
pub(super) struct State {
    pub(super) settings: QueueSettings,
    /// Tells this queue's receipt handles from another's.
    instance: u64,
    next_key: Key,
    deliveries: u64,
    messages: HashMap<Key, Box<Message>>,
    line: Line,
    /// When delayed and delivered messages become visible.
    timers: BTreeSet<(Moment, Key)>,
    /// All messages, the oldest first: what the retention period ends.
    ages: BTreeSet<(Moment, Key)>,
    in_flight: usize,
    delayed: usize,
    sends_seen: Deduplication,
    /// Whether a waiting receive has reason to look again.
    news: bool,
}

/// A stored message.
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) body: Bytes,
    pub(super) body_md5: [u8; 16],
    pub(super) attributes: Option<Arc<Attributes>>,
    pub(super) trace_header: Option<Box<str>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) deduplication_id: Option<Arc<str>>,
    pub(super) sent: Moment,
    pub(super) first_received: Option<Moment>,
    pub(super) receive_count: u32,
    /// The queue from which a redrive brought it here.
    pub(super) dead_letter_source_arn: Option<Arc<str>>,
    /// The number of its last delivery: the receipt that counts.
    delivery_number: u64,
    place: Place,
}

/// Where a message is.
#[derive(Clone, Copy)]
enum Place {
    Visible,
    Delayed { until: Moment },
    InFlight { until: Moment, since: Moment },
}

/// One message in the answer to a receive.
pub(super) struct DeliveredMessage {
    pub(super) receipt: Receipt,
    pub(super) id: Uuid,
    pub(super) body: Bytes,
    pub(super) body_md5: [u8; 16],
    pub(super) attributes: Option<Arc<Attributes>>,
    pub(super) trace_header: Option<Box<str>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) deduplication_id: Option<Arc<str>>,
    pub(super) sequence_number: Option<String>,
    pub(super) sent: Moment,
    pub(super) first_received: Moment,
    pub(super) receive_count: u32,
    pub(super) dead_letter_source_arn: Option<Arc<str>>,
}

/// What a send is answered with.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) id: Uuid,
    pub(super) sequence_number: Option<String>,
}

/// How a receive wants its messages.
pub(super) struct Terms {
    pub(super) max: usize,
    pub(super) visibility_timeout: Duration,
    /// The receive count above which a message is not delivered but dead-lettered.
    pub(super) max_receive_count: Option<u32>,
}

/// What a receipt is still worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It is its message's last, and the message is hidden.
    Current,
    /// It is its message's last, and the message is visible again.
    Late,
    /// There has been a later delivery, or the message is gone.
    Stale,
}

/// A queue's exact counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that a receive would deliver (`ApproximateNumberOfMessages`).
    pub visible: usize,
    /// Messages delivered and neither deleted nor visible again (`ApproximateNumberOfMessagesNotVisible`).
    pub in_flight: usize,
    /// Messages whose delay has not passed (`ApproximateNumberOfMessagesDelayed`).
    pub delayed: usize,
}

impl State {
    pub(super) fn new(settings: QueueSettings, instance: u64) -> Self {
        Self {
            line: Line::new(settings.fifo),
            settings,
            instance,
            next_key: 0,
            deliveries: 0,
            messages: HashMap::new(),
            timers: BTreeSet::new(),
            ages: BTreeSet::new(),
            in_flight: 0,
            delayed: 0,
            sends_seen: Deduplication::default(),
            news: false,
        }
    }

    /// Stores a message, unless a FIFO queue has seen its deduplication id within the interval.
    pub(super) fn send(&mut self, new: NewMessage, now: Moment) -> Accepted {
        self.advance(now);
        let scope = new.group.clone().filter(|_| self.settings.deduplication_by_group);
        let seen_as = new.deduplication_id.clone().map(|id| (scope, id));
        if let Some(first) = seen_as.as_ref().and_then(|seen_as| self.sends_seen.sent.get(seen_as)) {
            return first.clone();
        }
        let delay = new.delay.unwrap_or(self.settings.delay);
        let place = if delay.is_zero() { Place::Visible } else { Place::Delayed { until: now.after(delay) } };
        let sent = Accepted { id: Uuid::new_v4(), sequence_number: self.sequence_number(self.next_key) };
        self.store(Message {
            id: sent.id,
            body_md5: md5(&new.body),
            body: new.body,
            attributes: new.attributes,
            trace_header: new.trace_header,
            group: new.group,
            deduplication_id: new.deduplication_id,
            sent: now,
            first_received: None,
            receive_count: 0,
            dead_letter_source_arn: None,
            delivery_number: 0,
            place,
        });
        if let Some(seen_as) = seen_as {
            self.sends_seen.remember(seen_as, sent.clone(), now);
        }
        sent
    }

    /// Delivers up to `terms.max` messages, and gives up those that were received too often: the caller buries them.
    pub(super) fn receive(
        &mut self,
        terms: &Terms,
        now: Moment,
        dice: &mut Dice,
    ) -> (Vec<DeliveredMessage>, Vec<Message>) {
        self.advance(now);
        let (mut deliveries, mut dead) = (Vec::new(), Vec::new());
        let doubles = terms.max > 1 && dice.receive_doubles();
        let max = if doubles { terms.max - 1 } else { terms.max };
        let mut group = None;
        while deliveries.len() < max && !self.is_at_limit() {
            let Some(key) = self.line.next_of(group.as_ref()).or_else(|| self.line.next()) else { break };
            let Some(message) = self.messages.get(&key) else { break };
            group.clone_from(&message.group);
            if terms.max_receive_count.is_some_and(|max| message.receive_count >= max) {
                dead.extend(self.remove(key));
                continue;
            }
            let until = now.after(terms.visibility_timeout);
            let until = if dice.delivery_hides_nothing() { now } else { until };
            self.place(key, Place::InFlight { until, since: now });
            deliveries.extend(self.deliver(key, now));
        }
        if let Some(first) = deliveries.first().map(|first| first.receipt.key).filter(|_| doubles) {
            dice.brought_twice();
            deliveries.extend(self.deliver(first, now));
        }
        (deliveries, dead)
    }

    /// Counts a delivery and makes the answer for it.
    fn deliver(&mut self, key: Key, now: Moment) -> Option<DeliveredMessage> {
        let sequence_number = self.sequence_number(key);
        let message = self.messages.get_mut(&key)?;
        self.deliveries += 1;
        message.delivery_number = self.deliveries;
        message.receive_count += 1;
        Some(DeliveredMessage {
            receipt: Receipt { queue: self.instance, key, delivery_number: self.deliveries },
            id: message.id,
            body: message.body.clone(),
            body_md5: message.body_md5,
            attributes: message.attributes.clone(),
            trace_header: message.trace_header.clone(),
            group: message.group.clone(),
            deduplication_id: message.deduplication_id.clone(),
            sequence_number,
            sent: message.sent,
            first_received: *message.first_received.get_or_insert(now),
            receive_count: message.receive_count,
            dead_letter_source_arn: message.dead_letter_source_arn.clone(),
        })
    }

    /// What the receipt behind a handle is still worth.
    pub(super) fn age_of(&mut self, handle: &str, now: Moment) -> Result<Age, ApiError> {
        self.advance(now);
        let receipt = self.read(handle)?;
        let message =
            self.messages.get(&receipt.key).filter(|message| message.delivery_number == receipt.delivery_number);
        Ok(match message.map(|message| message.place) {
            Some(Place::InFlight { .. }) => Age::Current,
            Some(Place::Visible | Place::Delayed { .. }) => Age::Late,
            None => Age::Stale,
        })
    }

    /// Deletes the message of a delivery, if it was its last.
    ///
    /// A standard queue answers an older receipt with success and keeps the message, unless its faults say otherwise.
    /// A FIFO queue refuses a receipt whose visibility timeout is over (knowledge centre, "receipt handle has expired").
    pub(super) fn delete(&mut self, handle: &str, now: Moment, dice: &mut Dice) -> Result<(), ApiError> {
        let age = self.age_of(handle, now)?;
        let receipt = self.read(handle)?;
        let is_there = self.messages.contains_key(&receipt.key);
        match (age, dice.stale_receipts()) {
            (Age::Late | Age::Stale, _) if self.settings.fifo && is_there => {
                return Err(refused_receipt("The receipt handle has expired."));
            }
            (Age::Stale, StaleReceipts::Refused) => return Err(ApiError::invalid_receipt()),
            (Age::Stale, StaleReceipts::Ignored) => return Ok(()),
            (Age::Stale, StaleReceipts::Taken) | (Age::Current | Age::Late, _) => {}
        }
        if is_there && dice.deleted_comes_back() {
            self.place(receipt.key, Place::InFlight { until: now.after(REDELIVERY_AFTER), since: now });
        } else {
            self.remove(receipt.key);
        }
        Ok(())
    }

    /// Hides the message of a delivery for `timeout` from now on; at zero it is visible.
    pub(super) fn change_visibility(&mut self, handle: &str, timeout: Duration, now: Moment) -> Result<(), ApiError> {
        self.advance(now);
        let receipt = self.read(handle)?;
        let message =
            self.messages.get(&receipt.key).filter(|message| message.delivery_number == receipt.delivery_number);
        let Some(message) = message else {
            let reason = "Message does not exist or is not available for visibility timeout change.";
            return Err(refused_receipt(reason));
        };
        let Place::InFlight { since, .. } = message.place else {
            return Err(ApiError::new(ErrorCode::MessageNotInflight, "The specified message isn't in flight."));
        };
        if now.after(timeout) > since.after(MAX_VISIBILITY) {
            let message = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].";
            return Err(ApiError::invalid(message));
        }
        let place =
            if timeout.is_zero() { Place::Visible } else { Place::InFlight { until: now.after(timeout), since } };
        self.place(receipt.key, place);
        Ok(())
    }

    fn read(&self, handle: &str) -> Result<Receipt, ApiError> {
        Receipt::read(handle)
            .filter(|receipt| receipt.queue == self.instance)
            .filter(|receipt| receipt.key < self.next_key && (1..=self.deliveries).contains(&receipt.delivery_number))
            .ok_or_else(ApiError::invalid_receipt)
    }

    /// Takes a message from the queue that it was received from too often. It keeps its MessageId and its count, and
    /// in a standard queue its age (developer guide, "Using dead-letter queues in Amazon SQS").
    pub(super) fn bury(&mut self, message: Message, source_arn: &Arc<str>, now: Moment) {
        self.store(Message {
            sent: if self.settings.fifo { now } else { message.sent },
            dead_letter_source_arn: Some(Arc::clone(source_arn)),
            delivery_number: 0,
            place: Place::Visible,
            ..message
        });
    }

    /// Gives the next visible message away, to be moved to another queue.
    pub(super) fn withdraw(&mut self, now: Moment) -> Option<Message> {
        self.advance(now);
        let key = self.line.next()?;
        self.remove(key)
    }

    /// Takes back what [`State::withdraw`] gave away.
    pub(super) fn put_back(&mut self, message: Message) {
        self.store(Message { delivery_number: 0, place: Place::Visible, ..message });
    }

    /// Takes a message that a move task brings from a dead-letter queue: to SQS it is a new message, with an id, a time
    /// and a count of its own (developer guide, "Configuring a dead-letter queue redrive").
    pub(super) fn adopt(&mut self, message: Message, now: Moment) {
        self.store(Message {
            id: Uuid::new_v4(),
            sent: now,
            first_received: None,
            receive_count: 0,
            dead_letter_source_arn: None,
            delivery_number: 0,
            place: Place::Visible,
            ..message
        });
    }

    /// Forgets all messages. What a FIFO queue knows of deduplication ids stays.
    pub(super) fn purge(&mut self) {
        self.messages = HashMap::new();
        self.line = Line::new(self.settings.fifo);
        self.timers.clear();
        self.ages.clear();
        (self.in_flight, self.delayed) = (0, 0);
    }

    /// Makes visible what has become due, and forgets what is too old.
    pub(super) fn advance(&mut self, now: Moment) {
        while let Some((due, key)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, key));
            self.place(key, Place::Visible);
        }
        while let Some((sent, key)) = self.ages.first().copied() {
            if sent.after(self.settings.retention) > now {
                break;
            }
            self.ages.remove(&(sent, key));
            self.remove(key);
        }
        self.sends_seen.forget(now);
    }

    /// When the next hidden message becomes visible.
    pub(super) fn next_visible(&self) -> Option<Moment> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether a waiting receive has had reason to look again since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether as many messages are in flight as may be.
    pub(super) fn is_at_limit(&self) -> bool {
        self.in_flight >= MAX_IN_FLIGHT
    }

    pub(super) fn stats(&self) -> QueueStats {
        let hidden = self.in_flight + self.delayed;
        QueueStats {
            visible: self.messages.len().saturating_sub(hidden),
            in_flight: self.in_flight,
            delayed: self.delayed,
        }
    }

    fn sequence_number(&self, key: Key) -> Option<String> {
        self.settings.fifo.then(|| (FIRST_SEQUENCE_NUMBER + u128::from(key) * 256).to_string())
    }

    fn store(&mut self, message: Message) {
        let key = self.next_key;
        self.next_key += 1;
        self.ages.insert((message.sent, key));
        self.enter(key, message.place, message.group.as_ref());
        self.messages.insert(key, Box::new(message));
    }

    fn remove(&mut self, key: Key) -> Option<Message> {
        let message = *self.messages.remove(&key)?;
        self.exit(key, message.place, message.group.as_ref());
        self.ages.remove(&(message.sent, key));
        Some(message)
    }

    fn place(&mut self, key: Key, place: Place) {
        let Some(message) = self.messages.get_mut(&key) else { return };
        let before = std::mem::replace(&mut message.place, place);
        let group = message.group.clone();
        self.exit(key, before, group.as_ref());
        self.enter(key, place, group.as_ref());
    }

    fn enter(&mut self, key: Key, place: Place, group: Option<&Arc<str>>) {
        match place {
            Place::Visible => self.line.join(key, group, true),
            Place::Delayed { until } => {
                self.delayed += 1;
                self.line.join(key, group, false);
                self.timers.insert((until, key));
            }
            Place::InFlight { until, .. } => {
                self.in_flight += 1;
                self.line.take_off(group);
                self.timers.insert((until, key));
            }
        }
        // Only a new first timer moves the time at which a waiting receive must wake.
        self.news |= matches!(place, Place::Visible) || self.timers.first().is_some_and(|(_, first)| *first == key);
    }

    fn exit(&mut self, key: Key, place: Place, group: Option<&Arc<str>>) {
        match place {
            Place::Visible => self.line.leave(key, group),
            Place::Delayed { until } => {
                self.delayed -= 1;
                self.line.leave(key, group);
                self.timers.remove(&(until, key));
            }
            Place::InFlight { until, .. } => {
                self.in_flight -= 1;
                self.line.land(group);
                self.timers.remove(&(until, key));
                // A FIFO group may be open again.
                self.news |= self.settings.fifo;
            }
        }
    }
}

fn refused_receipt(reason: &str) -> ApiError {
    ApiError::invalid(format!("Value for parameter ReceiptHandle is invalid. Reason: {reason}"))
}

/// Scope (a group, where it is the group) and deduplication id.
type SeenAs = (Option<Arc<str>>, Arc<str>);

/// The sends that a FIFO queue remembers.
#[derive(Default)]
struct Deduplication {
    sent: HashMap<SeenAs, Accepted>,
    by_age: VecDeque<(Moment, SeenAs)>,
}

impl Deduplication {
    fn remember(&mut self, seen_as: SeenAs, sent: Accepted, now: Moment) {
        self.by_age.push_back((now, seen_as.clone()));
        self.sent.insert(seen_as, sent);
    }

    fn forget(&mut self, now: Moment) {
        while let Some((seen, _)) = self.by_age.front() {
            if seen.after(DEDUPLICATION_INTERVAL) > now {
                break;
            }
            if let Some((_, seen_as)) = self.by_age.pop_front() {
                self.sent.remove(&seen_as);
            }
        }
    }
}

#[cfg(test)]
mod tests;
