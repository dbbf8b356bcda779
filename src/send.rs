//! Sends a file of bodies, one a line, to a queue.
//!
//! Sending is at least once: after a lost reply a batch is sent again, and its messages may then be in the queue
//! twice. The report says how many that may be. On a FIFO queue a deduplication id prevents it; there one batch is
//! sent at a time, so that the lines keep their order, unless the queue refuses one and takes its successors.

mod form;
mod lines;
mod look;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

pub use self::form::{Bodies, Form, Misfit};
use self::lines::{Chunk, Line, divided, read_ahead};
pub use self::look::{Look, look};
use crate::message::MessageId;
use crate::queue::sqs::{Outgoing, Sender};
use crate::queue::{Answer, Fault, QueueError};
use crate::retry::Pauses;

/// How many batches are under way at once; each holds up to 1 MiB, and about as much again while it is written.
const BATCHES_IN_FLIGHT: usize = 8;

/// How often a batch or an entry of it is tried before it is given up: half a minute of pauses in all.
const TRIES: u32 = 10;

/// The same where no server has ever answered: most likely there is none.
const TRIES_OF_THE_UNREACHED: u32 = 3;

/// How many of the lines that were not sent the report names; all are counted.
const LINES_NAMED: usize = 20;

/// What became of a file.
#[derive(Debug, Default)]
pub struct SendReport {
    /// Messages that the queue took.
    pub sent: u64,
    /// Empty lines, which are skipped: a message must have a body.
    pub empty: u64,
    /// The first lines that were not sent.
    pub not_sent: Vec<NotSent>,
    /// All lines that were read and not sent, by code.
    pub not_sent_by_code: BTreeMap<String, u64>,
    /// Of the messages that were sent, at most so many are in the queue more than once, because the reply to an
    /// earlier try was lost.
    pub perhaps_twice: u64,
    /// Of the lines that count as not sent, at most so many are in the queue, because a reply was lost.
    pub perhaps_sent: u64,
    /// The last line that was taken up; with `stopped`, the lines after it were not sent.
    pub last_line: u64,
    /// Bytes of the file that were read.
    pub bytes_read: u64,
    /// What ended the job before the end of the file.
    pub stopped: Option<EndedEarly>,
}

/// A line that is not in the queue, by its number, never by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// The line, counted from 1.
    pub line: u64,
    /// The queue's error code, or `too-long` (over 1 MiB), `not-utf-8`, `md5` (the queue has another body), `missing`
    /// (the queue did not answer for it), `stopped` (a call before it failed).
    pub code: String,
}

/// What ended a job before the end of its file.
#[derive(Debug, thiserror::Error)]
pub enum EndedEarly {
    /// The queue refuses everything, or was away for too long.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The file could not be read on.
    #[error("the file cannot be read on: {0}")]
    File(#[from] io::Error),
    /// A line is not a login. No line from it on is sent.
    #[error(transparent)]
    Misfit(Misfit),
    /// Someone asked for it.
    #[error("stopped by a signal")]
    Signal,
}

impl EndedEarly {
    /// What to do about it; nothing about an end that was asked for.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Queue(error) => Some(error.remedy()),
            Self::File(_) => {
                Some("look at the disk or the pipe that the file is read from, and send the rest".to_owned())
            }
            Self::Misfit(misfit) => Some(misfit.remedy().to_owned()),
            Self::Signal => None,
        }
    }
}

impl SendReport {
    /// How many lines were read and not sent.
    pub fn not_sent_count(&self) -> u64 {
        self.not_sent_by_code.values().sum()
    }

    /// Whether every line of the file that holds something is in the queue.
    pub fn is_complete(&self) -> bool {
        self.stopped.is_none() && self.not_sent_by_code.is_empty()
    }

    fn take_up(&mut self, chunk: &mut Chunk) {
        (self.last_line, self.bytes_read) = (chunk.last_line, chunk.bytes_read);
        self.empty += chunk.empty;
        chunk.unsendable.drain(..).for_each(|not_sent| self.miss(not_sent));
    }

    fn add(&mut self, delivered: Delivered) {
        self.sent += delivered.sent;
        self.perhaps_twice += delivered.perhaps_twice;
        self.perhaps_sent += delivered.perhaps_sent;
        delivered.not_sent.into_iter().for_each(|not_sent| self.miss(not_sent));
        if let Some(error) = delivered.stopped {
            self.stopped.get_or_insert(EndedEarly::Queue(error));
        }
    }

    fn miss(&mut self, not_sent: NotSent) {
        name(&mut self.not_sent, &mut self.not_sent_by_code, not_sent);
    }
}

/// Counts a line, and keeps it if it is one of the first.
fn name(first: &mut Vec<NotSent>, by_code: &mut BTreeMap<String, u64>, line: NotSent) {
    *by_code.entry(line.code.clone()).or_default() += 1;
    first.push(line);
    first.sort_by_key(|line| line.line);
    first.truncate(LINES_NAMED);
}

/// Sends every line of `reader`, up to the first that is none of `bodies`. `progress` is called after every batch;
/// `stop` ends the job after the batches that are under way.
pub async fn send(
    reader: impl BufRead + Send + 'static,
    bodies: Bodies,
    sender: &Sender,
    stop: &CancellationToken,
    mut progress: impl FnMut(&SendReport),
) -> SendReport {
    let limit = if sender.is_fifo() { 1 } else { BATCHES_IN_FLIGHT };
    let mut report = SendReport::default();
    let mut chunks = read_ahead(reader, bodies, sender.is_fifo());
    let mut under_way = FuturesUnordered::new();
    let mut reading = true;
    while reading || !under_way.is_empty() {
        tokio::select! {
            () = stop.cancelled(), if reading => report.stopped = Some(EndedEarly::Signal),
            Some(delivered) = under_way.next(), if !under_way.is_empty() => report.add(delivered),
            chunk = chunks.recv(), if reading && under_way.len() < limit => match chunk {
                Some(Ok(mut chunk)) => {
                    report.take_up(&mut chunk);
                    report.stopped = chunk.misfit.map(EndedEarly::Misfit);
                    if !chunk.lines.is_empty() {
                        under_way.push(deliver(sender, chunk.lines));
                    }
                }
                Some(Err(error)) => report.stopped = Some(EndedEarly::File(error)),
                None => reading = false,
            }
        }
        reading &= report.stopped.is_none();
        progress(&report);
    }
    report
}

/// Sends messages that are in hand, one call after the other. The report counts them by their places, from 1, as it counts lines.
pub async fn send_all(messages: impl IntoIterator<Item = Outgoing>, sender: &Sender) -> SendReport {
    let mut report = SendReport::default();
    for lines in divided(messages) {
        match report.stopped {
            None => report.add(deliver(sender, lines).await),
            Some(_) => {
                let unsent = |line: Line| NotSent { line: line.number, code: "stopped".to_owned() };
                lines.into_iter().map(unsent).for_each(|line| report.miss(line));
            }
        }
    }
    report
}

/// What became of one chunk.
#[derive(Default)]
struct Delivered {
    sent: u64,
    perhaps_twice: u64,
    perhaps_sent: u64,
    not_sent: Vec<NotSent>,
    stopped: Option<QueueError>,
}

/// Sends lines in one call, or in as many as it takes.
///
/// Where one bad line makes the queue refuse the whole call, the halves are sent apart, until it stands alone.
async fn deliver(sender: &Sender, lines: Vec<Line>) -> Delivered {
    let mut delivered = Delivered::default();
    let mut parts = vec![lines];
    while let Some(mut lines) = parts.pop() {
        let Err(error) = delivered.try_all(sender, &mut lines).await else { continue };
        match consequence(&error) {
            Consequence::OfOneMessage if lines.len() > 1 => {
                let second = lines.split_off(lines.len() / 2);
                parts.extend([second, lines]);
            }
            Consequence::OfOneMessage => delivered.miss(lines, &error.fault),
            Consequence::Again | Consequence::Stop => {
                parts.drain(..).chain([lines]).for_each(|lines| delivered.miss(lines, &error.fault));
                delivered.stopped = Some(error);
            }
        }
    }
    delivered
}

impl Delivered {
    /// Sends the lines, and those again that the queue could not take, with growing pauses. `Ok` when each has its
    /// answer; an error leaves in `lines` those that have none.
    async fn try_all(&mut self, sender: &Sender, lines: &mut Vec<Line>) -> Result<(), QueueError> {
        let mut tries = 0;
        let mut pauses = Pauses::through_an_outage();
        while !lines.is_empty() {
            tries += 1;
            match sender.send(lines).await {
                Ok(answers) => self.note(lines, answers, sender.is_fifo(), tries == TRIES),
                Err(error) => {
                    if error.may_have_taken_effect() {
                        lines.iter_mut().for_each(|line| line.perhaps_sent = true);
                    }
                    let is_unreached = error.fault == Fault::Unreachable && !sender.was_reached();
                    let most = if is_unreached { TRIES_OF_THE_UNREACHED } else { TRIES };
                    if consequence(&error) != Consequence::Again || tries >= most {
                        return Err(error);
                    }
                    tracing::debug!(%error, lines = lines.len(), "sending again");
                }
            }
            if !lines.is_empty() {
                tokio::time::sleep(pauses.next_pause()).await;
            }
        }
        Ok(())
    }

    /// Keeps in `lines` those that are worth another try.
    fn note(&mut self, lines: &mut Vec<Line>, answers: Vec<Answer<MessageId>>, is_fifo: bool, last_try: bool) {
        let answered: Vec<(Line, Answer<MessageId>)> = lines.drain(..).zip(answers).collect();
        for (line, answer) in answered {
            match answer {
                Ok(_) => {
                    self.sent += 1;
                    // The deduplication id makes one message of both.
                    self.perhaps_twice += u64::from(line.perhaps_sent && !is_fifo);
                }
                Err(refusal) if !refusal.is_for_good() && !last_try => lines.push(line),
                Err(refusal) => self.miss(vec![line], &refusal.fault),
            }
        }
    }

    fn miss(&mut self, lines: Vec<Line>, fault: &Fault) {
        self.perhaps_sent += lines.iter().filter(|line| line.perhaps_sent).count() as u64;
        self.not_sent.extend(lines.iter().map(|line| NotSent { line: line.number, code: fault.to_string() }));
    }
}

/// What a failed call means for its lines.
#[derive(Debug, PartialEq, Eq)]
enum Consequence {
    /// It passes: the same again.
    Again,
    /// The queue does not like one of the bodies.
    OfOneMessage,
    /// The next call would fail too.
    Stop,
}

fn consequence(error: &QueueError) -> Consequence {
    if error.names_bodies() {
        return Consequence::OfOneMessage;
    }
    if error.is_for_good() { Consequence::Stop } else { Consequence::Again }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Code;

    #[test]
    fn a_failed_call_is_repeated_split_or_ends_the_job_by_its_code_and_status() {
        let refused = |code: &str| Fault::Refused(Code::new(code));
        for (fault, status, expected) in [
            (Fault::Timeout, None, Consequence::Again),
            (Fault::Connection, None, Consequence::Again),
            (Fault::Unreachable, None, Consequence::Again),
            (Fault::Response, Some(502), Consequence::Again),
            (Fault::Credentials, None, Consequence::Again),
            (Fault::Request, None, Consequence::Stop),
            (refused("InternalError"), Some(500), Consequence::Again),
            (refused("ServiceUnavailable"), Some(503), Consequence::Again),
            (refused("ThrottlingException"), Some(400), Consequence::Again),
            (refused("RequestThrottled"), Some(403), Consequence::Again),
            (refused("KMS.ThrottlingException"), Some(400), Consequence::Again),
            (refused("Anything"), Some(429), Consequence::Again),
            (refused("InvalidMessageContents"), Some(400), Consequence::OfOneMessage),
            (refused("InvalidParameterValue"), Some(400), Consequence::OfOneMessage),
            (refused("BatchRequestTooLong"), Some(400), Consequence::OfOneMessage),
            (refused("AWS.SimpleQueueService.BatchRequestTooLong"), Some(400), Consequence::OfOneMessage),
            (refused("com.amazonaws.sqs#InvalidMessageContents"), Some(400), Consequence::OfOneMessage),
            (refused("AccessDeniedException"), Some(403), Consequence::Stop),
            (refused("AWS.SimpleQueueService.NonExistentQueue"), Some(400), Consequence::Stop),
            (refused("SomethingNew"), Some(400), Consequence::Stop),
        ] {
            let error = QueueError { call: "SendMessageBatch", fault, status };
            assert_eq!(consequence(&error), expected, "{error}");
        }
    }

    #[test]
    fn the_report_names_the_first_lines_and_counts_all() {
        let mut report = SendReport::default();
        for line in (1..=50).rev() {
            report.miss(NotSent { line, code: "too-long".to_owned() });
        }
        assert_eq!((report.not_sent.len(), report.not_sent[0].line, report.not_sent_count()), (LINES_NAMED, 1, 50));
        assert!(!report.is_complete());
    }
}
