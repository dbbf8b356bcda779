//! A file of bodies, one a line, as chunks that one call can send. Memory stays within a chunk or two, however long
//! the file or a line of it.

use std::borrow::Borrow;
use std::io::{self, BufRead, ErrorKind};
use std::thread;

use tokio::sync::mpsc;

use super::NotSent;
use super::form::{Bodies, Misfit, misfit};
use crate::queue::sqs::Outgoing;
use crate::queue::{MAX_MESSAGE_BYTES, MESSAGES_PER_CALL};

/// How many lines that cannot be sent, empty ones among them, a chunk may tell of before it ends.
const ODD_LINES_PER_CHUNK: u64 = 1_000;

/// A body and the line that it stood on. No `Debug`: it holds the body.
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) message: Outgoing,
    /// Whether it may be in the queue, although no reply says so.
    pub(super) perhaps_sent: bool,
}

impl Borrow<Outgoing> for Line {
    fn borrow(&self) -> &Outgoing {
        &self.message
    }
}

/// Some lines of the file, in order: at most ten bodies of at most 1 MiB in all.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) lines: Vec<Line>,
    pub(super) unsendable: Vec<NotSent>,
    pub(super) empty: u64,
    /// The line after the chunk, if it is none of the bodies that are wanted; nothing after it is read.
    pub(super) misfit: Option<Misfit>,
    /// The last line of the chunk.
    pub(super) last_line: u64,
    /// Bytes of the file up to its end.
    pub(super) bytes_read: u64,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.lines.len() == MESSAGES_PER_CALL || self.empty + self.unsendable.len() as u64 >= ODD_LINES_PER_CHUNK
    }

    fn has_room_for(&self, line: &Line) -> bool {
        let bytes: usize = self.lines.iter().map(|line| line.message.bytes()).sum();
        bytes + line.message.bytes() <= MAX_MESSAGE_BYTES
    }
}

/// Divides messages that are in hand into chunks; each is numbered by its place, from 1.
pub(super) fn divided(messages: impl IntoIterator<Item = Outgoing>) -> Vec<Vec<Line>> {
    let mut chunks = vec![Chunk::default()];
    for (number, message) in (1..).zip(messages) {
        let line = Line { number, message, perhaps_sent: false };
        match chunks.last_mut() {
            Some(chunk) if !chunk.is_full() && chunk.has_room_for(&line) => chunk.lines.push(line),
            Some(_) | None => chunks.push(Chunk { lines: vec![line], ..Chunk::default() }),
        }
    }
    chunks.into_iter().map(|chunk| chunk.lines).filter(|lines| !lines.is_empty()).collect()
}

/// Reads chunks in a thread of its own, one ahead of what is taken.
///
/// A thread, because a read of standard input cannot be cut short: one that the runtime owned would keep the process
/// from ending until the next line came.
pub(super) fn read_ahead(
    reader: impl BufRead + Send + 'static,
    bodies: Bodies,
    with_deduplication_id: bool,
) -> mpsc::Receiver<io::Result<Chunk>> {
    let (give, take) = mpsc::channel(1);
    thread::spawn(move || {
        let lines = Lines::new(reader, bodies);
        for chunk in (Chunks { lines, with_deduplication_id, left_over: None }) {
            let last = chunk.as_ref().map_or(true, |chunk| chunk.misfit.is_some());
            if give.blocking_send(chunk).is_err() || last {
                break;
            }
        }
    });
    take
}

struct Chunks<R> {
    lines: Lines<R>,
    with_deduplication_id: bool,
    left_over: Option<Line>,
}

impl<R: BufRead> Iterator for Chunks<R> {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<io::Result<Chunk>> {
        let mut chunk = Chunk { lines: self.left_over.take().into_iter().collect(), ..Chunk::default() };
        while !chunk.is_full() {
            let read = match self.lines.next_line() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => return Some(Err(error)),
            };
            match read {
                Read::Body(body) => {
                    let line = self.outgoing(body);
                    if !chunk.has_room_for(&line) {
                        self.left_over = Some(line);
                        break;
                    }
                    chunk.lines.push(line);
                }
                Read::Empty => chunk.empty += 1,
                Read::Unsendable(not_sent) => chunk.unsendable.push(not_sent),
                Read::Misfit(misfit) => {
                    chunk.misfit = Some(misfit);
                    break;
                }
            }
        }
        let not_of_it = self.left_over.is_some() || chunk.misfit.is_some();
        chunk.last_line = self.lines.line - u64::from(not_of_it);
        chunk.bytes_read = self.lines.bytes_read;
        let nothing =
            chunk.lines.is_empty() && chunk.unsendable.is_empty() && chunk.empty == 0 && chunk.misfit.is_none();
        (!nothing).then_some(Ok(chunk))
    }
}

impl<R> Chunks<R> {
    fn outgoing(&self, body: String) -> Line {
        // Says nothing of the body, and tells a second try from a second line that reads the same.
        let deduplication_id = self.with_deduplication_id.then(|| uuid::Uuid::new_v4().to_string());
        Line {
            number: self.lines.line,
            message: Outgoing { deduplication_id, ..Outgoing::of(body) },
            perhaps_sent: false,
        }
    }
}

/// The lines of a file.
pub(super) struct Lines<R> {
    reader: R,
    bodies: Bodies,
    /// How many were read.
    pub(super) line: u64,
    bytes_read: u64,
    /// Whether a line with a body was read.
    begun: bool,
}

/// One line of the file.
pub(super) enum Read {
    Body(String),
    Empty,
    Unsendable(NotSent),
    Misfit(Misfit),
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, bodies: Bodies) -> Self {
        Self { reader, bodies, line: 0, bytes_read: 0, begun: false }
    }

    /// The next line without its LF or CRLF; whatever else stands on it is the body.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Read>> {
        let mut bytes = Vec::new();
        let Some(length) = self.read_to_newline(&mut bytes)? else { return Ok(None) };
        self.line += 1;
        if length == bytes.len() && bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|byte| *byte == b'\r');
        }
        if bytes.is_empty() {
            return Ok(Some(Read::Empty));
        }
        let first = !std::mem::replace(&mut self.begun, true);
        if self.bodies == Bodies::Logins
            && let Some(misfit) = misfit(self.line, &bytes, first)
        {
            return Ok(Some(Read::Misfit(misfit)));
        }
        let unsendable = |code: &str| Read::Unsendable(NotSent { line: self.line, code: code.to_owned() });
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Ok(Some(unsendable("too-long")));
        }
        Ok(Some(String::from_utf8(bytes).map_or_else(|_| unsendable("not-utf-8"), Read::Body)))
    }

    /// Reads up to and with the next newline, and says how long that was; `None` at the end of the file. Keeps as
    /// many bytes as a body and its CRLF may have, and passes over the rest.
    fn read_to_newline(&mut self, line: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let mut length = 0;
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(bytes.len(), |at| at + 1);
            let room = (MAX_MESSAGE_BYTES + 2).saturating_sub(line.len());
            line.extend(bytes.iter().take(taken.min(room)));
            self.reader.consume(taken);
            self.bytes_read += taken as u64;
            length += taken;
            if newline.is_some() || taken == 0 {
                return Ok((length > 0).then_some(length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(file: impl Into<Vec<u8>>) -> Vec<Chunk> {
        let reader = io::BufReader::with_capacity(7, io::Cursor::new(file.into()));
        chunks_of(Lines::new(reader, Bodies::Raw))
    }

    fn chunks_of(lines: Lines<impl BufRead>) -> Vec<Chunk> {
        let chunks = Chunks { lines, with_deduplication_id: false, left_over: None };
        chunks.map(Result::unwrap).collect()
    }

    #[test]
    fn a_body_is_its_line_without_the_line_s_end_and_nothing_else_is_touched() {
        let all = chunks(" a \r\n\n\r\n{\"é\":1}\t\r\r\n\u{feff}b\nlast");
        let lines: Vec<_> = all.iter().flat_map(|chunk| &chunk.lines).collect();
        let read: Vec<_> = lines.iter().map(|line| (line.number, line.message.body.as_str())).collect();
        assert_eq!(read, [(1, " a "), (4, "{\"é\":1}\t\r"), (5, "\u{feff}b"), (6, "last")]);
        assert_eq!((all[0].empty, all[0].last_line, all[0].bytes_read), (2, 6, 29));
    }

    #[test]
    fn a_chunk_holds_at_most_ten_bodies_and_one_mebibyte() {
        let many = chunks("x\n".repeat(25));
        assert_eq!(many.iter().map(|chunk| chunk.lines.len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(many.iter().map(|chunk| chunk.last_line).collect::<Vec<_>>(), [10, 20, 25]);

        let large = chunks(format!("{}\n", "x".repeat(MAX_MESSAGE_BYTES / 2)).repeat(3) + "y");
        assert_eq!(large.iter().map(|chunk| chunk.lines.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(large.iter().map(|chunk| chunk.last_line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_line_that_no_queue_takes_is_told_by_its_number_and_the_others_are_read() {
        let largest = "x".repeat(MAX_MESSAGE_BYTES);
        let file = [
            format!("{largest}\r\n{largest}x\n{largest}xxxxxxxxxxx\na\n").as_bytes(),
            b"\xff\xfe\n",
            format!("b\n{largest}x").as_bytes(),
        ]
        .concat();
        let all = chunks(file);
        let sent: Vec<_> = all.iter().flat_map(|chunk| &chunk.lines).map(|line| line.number).collect();
        let not_sent: Vec<_> = all.iter().flat_map(|chunk| &chunk.unsendable).collect();
        assert_eq!(sent, [1, 4, 6]);
        let expected = [(2, "too-long"), (3, "too-long"), (5, "not-utf-8"), (7, "too-long")];
        assert_eq!(not_sent.iter().map(|line| (line.line, line.code.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_of_empty_lines_is_told_of_in_parts() {
        let all = chunks("\n".repeat(2_500));
        assert_eq!(all.iter().map(|chunk| chunk.empty).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        assert!(chunks("").is_empty());
    }
}
