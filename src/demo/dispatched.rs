//! What the demo sent: counted, and kept to be compared with the tables.

use super::logins::MadeUp;
use crate::audit::comparison::Expected;
use crate::audit::journal::{Kind, Sent};
use crate::message::{MessageHasher, MessageId};

/// How many messages' clear values are looked for afterwards, of each kind.
const CANARIES_KEPT: u64 = 5;

/// Every message that the queue took.
pub(super) struct Dispatched {
    messages: MessageHasher,
    pub(super) count: SentCount,
    pub(super) expected: Expected,
    /// Some clear values that were sent, of logins and of malformed messages.
    pub(super) canaries: Vec<String>,
}

/// How many messages were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentCount {
    /// Logins.
    pub logins: u64,
    /// Of these, logins that repeat an earlier one word for word: each is a login of its own.
    pub repeats: u64,
    /// Messages that are not logins.
    pub malformed: u64,
}

impl SentCount {
    /// All of them.
    pub fn messages(&self) -> u64 {
        self.logins + self.malformed
    }
}

impl Dispatched {
    /// Nothing yet.
    pub(super) fn new(messages: MessageHasher) -> Self {
        Self { messages, count: SentCount::default(), expected: Expected::default(), canaries: Vec::new() }
    }

    /// Notes a message that the queue took.
    pub(super) fn note(&mut self, id: &MessageId, message: MadeUp) {
        let of_its_kind = match message.kind {
            Kind::Login | Kind::Contradicting => &mut self.count.logins,
            Kind::Malformed => &mut self.count.malformed,
        };
        *of_its_kind += 1;
        if *of_its_kind <= CANARIES_KEPT {
            self.canaries.extend(message.secrets);
        }
        self.count.repeats += u64::from(message.repeats);
        self.expected.take(&Sent::by_message_id(id, message.kind), &self.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::QueueIdentity;

    #[test]
    fn clear_values_of_both_kinds_of_messages_are_kept_to_be_looked_for() {
        let messages = MessageHasher::new(&QueueIdentity::new("arn:aws:sqs:us-east-1:0:logins"));
        let mut dispatched = Dispatched::new(messages);
        for (number, made) in super::super::logins::Logins::new(1, 300).enumerate() {
            dispatched.note(&MessageId::new(number.to_string()), made);
        }
        assert_eq!(dispatched.canaries.len() as u64, 2 * 2 * CANARIES_KEPT);
        assert_eq!((dispatched.count.messages(), dispatched.count.malformed), (300, 10));
        assert_eq!(dispatched.expected.len(), 300);
    }
}
