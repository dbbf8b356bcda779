//! The queue: a standard one, at least once, in no order.

use crate::set::Set;
use crate::world::{MESSAGES, Message};

/// The queue's side of every message.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    slots: [Slot; MESSAGES],
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Slot {
    place: Place,
    /// How often it was received: `ApproximateReceiveCount`, and the number of the receipt given last.
    receives: u8,
    came_after_delete: bool,
    outlived: bool,
    /// How often an operator sent it back: it is delivered under the identity that it had.
    requeued: u8,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The next that receives may get it.
    #[default]
    Visible,
    /// Received, and hidden until its visibility timeout.
    InFlight,
    /// Deleted; a standard queue may deliver it all the same, once more.
    Deleted,
    /// Past the queue's retention: it never comes again.
    Gone,
    /// Given up by the queue: in its dead-letter queue, to be received there.
    Dead,
    /// The same, received there and hidden.
    DeadInFlight,
}

impl Queue {
    /// Where the message is.
    pub fn place(&self, message: Message) -> Place {
        self.slots[message].place
    }

    /// How often the message was received.
    pub fn receives(&self, message: Message) -> usize {
        usize::from(self.slots[message].receives)
    }

    /// Whether it was delivered although it had been deleted.
    pub fn came_after_delete(&self, message: Message) -> bool {
        self.slots[message].came_after_delete
    }

    /// Whether it was delivered, or in somebody's hand, for longer than the queue keeps a message.
    pub fn outlived_retention(&self, message: Message) -> bool {
        self.slots[message].outlived
    }

    /// How often an operator sent it back to the queue.
    pub fn requeued(&self, message: Message) -> u8 {
        self.slots[message].requeued
    }

    /// Whether it may be received now.
    pub fn is_visible(&self, message: Message) -> bool {
        self.place(message) == Place::Visible
    }

    /// Whether it is neither deleted nor gone, here or in the dead-letter queue.
    pub fn holds(&self, message: Message) -> bool {
        !matches!(self.place(message), Place::Deleted | Place::Gone)
    }

    /// Whether it is here, and not in the dead-letter queue.
    pub fn is_here(&self, message: Message) -> bool {
        matches!(self.place(message), Place::Visible | Place::InFlight)
    }

    /// The queue gives it up.
    pub fn give_up(&mut self, message: Message) {
        self.slots[message].place = Place::Dead;
    }

    /// It is received from the dead-letter queue.
    pub fn receive_dead(&mut self, message: Message) {
        self.slots[message].place = Place::DeadInFlight;
    }

    /// Its visibility timeout there ends.
    pub fn show_dead(&mut self, message: Message) {
        self.slots[message].place = Place::Dead;
    }

    /// A delete from the dead-letter queue takes effect.
    pub fn delete_dead(&mut self, message: Message) {
        if matches!(self.place(message), Place::Dead | Place::DeadInFlight) {
            self.slots[message].place = Place::Deleted;
        }
    }

    /// Whether one of the receipts is the last that was given.
    pub fn is_current(&self, message: Message, receipts: Set) -> bool {
        receipts.has(self.receives(message))
    }

    /// Hands the message out under a new receipt.
    pub fn receive(&mut self, message: Message) -> usize {
        let slot = &mut self.slots[message];
        slot.place = Place::InFlight;
        slot.receives += 1;
        usize::from(slot.receives)
    }

    /// The visibility timeout ends.
    pub fn show(&mut self, message: Message) {
        self.slots[message].place = Place::Visible;
    }

    /// A delete takes effect.
    pub fn delete(&mut self, message: Message) {
        if self.is_here(message) {
            self.slots[message].place = Place::Deleted;
        }
    }

    /// A deleted message is delivered all the same.
    pub fn deliver_again(&mut self, message: Message) {
        self.slots[message].place = Place::Visible;
        self.slots[message].came_after_delete = true;
    }

    /// An operator sends the message back, as a new one that names it.
    pub fn requeue(&mut self, message: Message) {
        self.slots[message].place = Place::Visible;
        self.slots[message].requeued += 1;
    }

    /// The retention ends.
    pub fn forget(&mut self, message: Message) {
        self.slots[message].place = Place::Gone;
    }

    /// The retention has ended, and the message is there all the same.
    pub fn outlive(&mut self, message: Message) {
        self.slots[message].outlived = true;
    }

    /// A message is delivered after its retention.
    pub fn deliver_late(&mut self, message: Message) {
        self.slots[message].place = Place::Visible;
        self.slots[message].outlived = true;
    }
}
