//! A relay that keeps order: the events of a subject reach the sink in the order of their positions.
//!
//! One chunk of the sink is open at a time, and the frontier passes no position at which an event may still appear (`claim`). The
//! lanes of the chunk's owner work side by side, each with subjects of its own. What the sink refuses keeps the later events of
//! its subject waiting, in this chunk and in those that follow, among the failures; these are tried again one after the other.

mod claim;

use std::collections::{HashMap, HashSet, VecDeque};

use self::claim::Held;
use super::carry::{Lease, Left, Progress};
use super::{RelayError, Shared, claim as chunks};
use crate::database::{Patience, persist};
use crate::message::MessageHash;
use crate::metrics::LaneWatch;
use crate::queue::side_by_side;
use crate::sink::{Envelope, Sink};
use crate::table::relay_failures::{Failure, InOrder, Subject};

/// The code of an event that the sink was not asked about, because an earlier one of its subject is refused.
const BEHIND: &str = "BehindARefusedEvent";

/// What the order of an event is kept by. One without a subject has no order: it is known by itself.
fn subject_of(subject: Option<&str>, id: &MessageHash) -> Subject {
    subject.map_or(*id.as_bytes(), |subject| *blake3::hash(subject.as_bytes()).as_bytes())
}

impl<S: Sink> Shared<S> {
    pub(super) async fn carry_in_order(&self, watch: &LaneWatch) -> Result<u64, RelayError> {
        let (mut carried, mut in_vain) = (0, 0);
        while !self.is_stopping() {
            let claimed = self.persist(watch, || claim::next(self)).await?;
            self.count_claim(claimed.is_some());
            match claimed {
                Some(held) => {
                    in_vain = 0;
                    carried += self.carry_in_lines(held, watch).await?;
                }
                None if self.may_end() && self.has_carried_all(watch).await? => break,
                None => self.rest_in_vain(watch, &mut in_vain).await,
            }
        }
        Ok(carried)
    }

    /// Carries a chunk, and lets go of it. Gives the number of events that the sink has taken.
    async fn carry_in_lines(&self, found: Held, watch: &LaneWatch) -> Result<u64, RelayError> {
        let Held { chunk, events, held, how, since } = found;
        self.note_takeover(how);
        let lines = Line::divide(self.envelopes(&events)?, &held, self.settings.lanes);
        let ends = side_by_side(
            lines.into_iter().map(|line| self.carry_line(line, Lease { chunk: Some(&chunk), since, how, watch })),
        )
        .await;
        let (mut taken, mut failures, mut left) = (0, Vec::new(), None);
        for end in ends {
            let (line, outcome) = end?;
            taken += line.progress.taken.len() as u64;
            failures.extend(line.failures());
            left = left.or(outcome.err());
        }
        let refused: Vec<&InOrder> = failures.iter().filter(|failure| failure.was_tried).collect();
        if let Some(InOrder { failure, .. }) = refused.first() {
            let behind = failures.len() - refused.len();
            tracing::warn!(
                events = refused.len(),
                code = failure.code,
                behind,
                "the sink refuses events; they are tried again, and later ones of their subjects wait"
            );
        }
        match left {
            None => {
                let first = refused.first().map(|refused| &refused.failure);
                match self.persist(watch, || claim::close(self, &chunk, &failures)).await? {
                    true => self.tell_set_aside(self.set_aside_at_once(refused.len()), first),
                    false => tracing::debug!("a chunk was taken over while it was carried: its events come again"),
                }
            }
            Some(Left::Lost) => tracing::debug!("a chunk was taken over: its events come again"),
            Some(Left::GaveUp) => {
                persist(Patience::attempts(2), || chunks::release(self, &chunk)).await?;
            }
        }
        Ok(taken)
    }

    async fn carry_line(&self, mut line: Line, mut lease: Lease<'_>) -> Result<(Line, Result<(), Left>), RelayError> {
        loop {
            let call = line.next_call(self.sink.limits().events);
            if call.is_empty() {
                return Ok((line, Ok(())));
            }
            if let Err(left) = self.through_sink(call, &mut line.progress, &mut lease).await? {
                return Ok((line, Err(left)));
            }
        }
    }
}

/// The events of some subjects of a chunk. No `Debug`: it holds users' ids.
#[derive(Default)]
struct Line {
    todo: VecDeque<(Subject, Envelope)>,
    /// Whose events are not sent, because an earlier one is refused.
    held: HashSet<Subject>,
    progress: Progress,
    /// Whose events were sent, by position.
    sent: HashMap<i64, Subject>,
    behind: Vec<InOrder>,
}

impl Line {
    /// So many lines, each with every event of its subjects.
    fn divide(events: Vec<Envelope>, held: &HashSet<Subject>, lines: usize) -> Vec<Self> {
        let mut divided: Vec<Self> = (0..lines).map(|_| Self { held: held.clone(), ..Self::default() }).collect();
        for event in events {
            let subject = subject_of(event.subject.as_deref(), &event.id);
            let number = usize::from(subject[0]) % divided.len().max(1);
            if let Some(line) = divided.get_mut(number) {
                line.todo.push_back((subject, event));
            }
        }
        divided
    }

    /// The events of the next call: of each subject one at most, the first that is left, as a call may be taken in part. Everything
    /// of the call before it is answered. Empty where nothing is left.
    fn next_call(&mut self, most: usize) -> Vec<Envelope> {
        let refused = self.progress.refused.iter().filter_map(|failure| self.sent.get(&failure.position));
        self.held.extend(refused);
        let (mut call, mut subjects, mut later) = (Vec::new(), HashSet::new(), VecDeque::new());
        while call.len() < most
            && let Some((subject, event)) = self.todo.pop_front()
        {
            if self.held.contains(&subject) {
                let failure = Failure { position: event.position, event_id: event.id, code: BEHIND.to_owned() };
                self.behind.push(InOrder { failure, subject, was_tried: false });
            } else if subjects.insert(subject) {
                self.sent.insert(event.position, subject);
                call.push(event);
            } else {
                later.push_back((subject, event));
            }
        }
        later.append(&mut self.todo);
        self.todo = later;
        call
    }

    /// What was refused, and what stands behind it.
    fn failures(self) -> impl Iterator<Item = InOrder> {
        let Self { progress, sent, behind, .. } = self;
        let refused = progress.refused.into_iter().filter_map(move |failure| {
            let subject = *sent.get(&failure.position)?;
            Some(InOrder { failure, subject, was_tried: true })
        });
        refused.chain(behind)
    }
}
