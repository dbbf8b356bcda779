//! What a lane writes into the books: each delivery comes once, and ends in one way.

use time::OffsetDateTime;

use crate::load::{Contradictions, Loaded, Tally};
use crate::message::ReceivedMessage;
use crate::metrics::{Code, Nth, Outcome, Snapshot, unix_seconds};
use crate::spans;
use crate::verdict::{Content, Verdict};

/// How the deliveries of a batch ended, as its span has it.
pub(super) type Sum = spans::Ended;

impl Sum {
    /// Adds what one transaction did.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.loaded += tally.loaded;
        self.dead_lettered += tally.dead_lettered;
        self.duplicates += tally.duplicates();
    }
}

/// Deliveries that ended in one way.
pub(super) fn ended(how: Outcome) -> impl FnOnce(&mut Snapshot, usize) {
    move |figures, deliveries| figures.messages.add((how,), deliveries as u64)
}

impl Snapshot {
    /// Messages came from the queue.
    pub(super) fn came(&mut self, messages: &[ReceivedMessage]) {
        let deliveries = messages.iter().map(|message| &message.delivery);
        let first = deliveries.filter(|delivery| Nth::of(delivery.receive_count) == Nth::First);
        let waited = first.filter_map(|delivery| Some((delivery.sent_at.of_queue()?, delivery.received_at)));
        let mut oldest: Option<OffsetDateTime> = None;
        for (sent_at, received_at) in waited {
            self.wait.observe((), (received_at - sent_at).as_seconds_f64());
            oldest = Some(oldest.map_or(sent_at, |oldest| oldest.min(sent_at)));
        }
        oldest.into_iter().for_each(|oldest| self.oldest_received.set((), unix_seconds(oldest)));
    }

    /// Messages were judged.
    pub(super) fn judged(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            self.unknown_keys.add((), verdict.unknown_keys as u64);
            if let Content::Rejected(rejection, _) = &verdict.content {
                self.rejections.add((Code::from(rejection),), 1);
            }
        }
    }

    /// Messages are recorded.
    pub(super) fn recorded(&mut self, loaded: &Loaded, contradictions: Contradictions) {
        let now = OffsetDateTime::now_utc();
        for login in &loaded.logins {
            self.lag.observe((Nth::of(login.receive_count),), (now - login.sent_at).as_seconds_f64());
        }
        loaded.letters.iter().for_each(|code| self.dead_letters.add((Code(code),), 1));
        for (how, deliveries) in outcomes(&loaded.tally, contradictions) {
            self.messages.add((how,), deliveries);
        }
    }
}

/// How the deliveries ended, each in one way.
fn outcomes(tally: &Tally, contradictions: Contradictions) -> [(Outcome, u64); 4] {
    let (buried, absorbed) = match contradictions {
        Contradictions::DeadLetter => (tally.contradicting, 0),
        Contradictions::Absorb => (0, tally.contradicting),
    };
    [
        (Outcome::Loaded, tally.loaded),
        (Outcome::DeadLettered, tally.dead_lettered.saturating_sub(buried)),
        (Outcome::Absorbed, tally.duplicates().saturating_sub(absorbed)),
        (Outcome::Contradicting, tally.contradicting),
    ]
}
