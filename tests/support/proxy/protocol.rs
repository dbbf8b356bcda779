//! As much of PostgreSQL's protocol 3.0, in clear, as says where a request begins and where its answer ends.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// One message as it travels: tag, length and body. The start-up message has no tag; its tag here is zero.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// The message that opens a connection.
    pub(super) async fn read_startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let length = from.read_u32().await?;
        let mut bytes = length.to_be_bytes().to_vec();
        read_body(from, length, &mut bytes).await?;
        match bytes[4..8] {
            // 3.0 in the upper and lower half; requests for TLS and cancellation bear other numbers.
            [0, 3, 0, 0] => Ok(Self { tag: 0, bytes }),
            _ => Err(io::Error::other("only connections with sslmode=disable are understood")),
        }
    }

    /// Every later one, of either side.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let tag = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        read_body(from, length, &mut bytes).await?;
        Ok(Self { tag, bytes })
    }

    /// Of a simple query, what it says.
    fn sql(&self) -> String {
        String::from_utf8_lossy(&self.bytes[5..]).trim_end_matches('\0').to_owned()
    }
}

/// The length counts itself.
async fn read_body(from: &mut (impl AsyncRead + Unpin), length: u32, into: &mut Vec<u8>) -> io::Result<()> {
    let body = length.checked_sub(4).ok_or_else(|| io::Error::other("a message shorter than its own length"))?;
    let read = from.take(u64::from(body)).read_to_end(into).await?;
    match read == body as usize {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Opening a connection, up to its first ReadyForQuery.
    Startup,
    /// A simple query that begins with COMMIT.
    Commit,
    /// PREPARE TRANSACTION: the first phase of a transaction over several servers.
    PrepareTransaction,
    /// COMMIT PREPARED: the second.
    CommitPrepared,
    /// ROLLBACK PREPARED: the second of one that failed.
    RollbackPrepared,
    /// Another simple query.
    Query,
    /// Messages of the extended protocol up to Sync, with parameters among them.
    Bind,
    /// Messages of the extended protocol up to Sync, without parameters: most often to prepare a statement.
    Prepare,
    /// One message of the rows of a COPY; the server does not answer it.
    CopyData,
    /// A Sync by itself: it ends a COPY.
    Sync,
}

/// What the server answers as a whole, up to its next ReadyForQuery.
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    /// Where "in the middle" is: within the message that makes the request what it is.
    pub(super) middle: usize,
}

/// What a client sends next.
pub(super) enum Next {
    Request(Request),
    /// Passwords, which belong to the start-up; the end of the rows of a COPY, before its Sync; the good-bye.
    Other(Message),
}

impl Next {
    /// Reads on to the end of the next request.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let first = Message::read(from).await?;
        Ok(match first.tag {
            b'Q' => Self::Request(Request::of(kind_of_query(&first.sql()), first)),
            b'd' => Self::Request(Request::of(Kind::CopyData, first)),
            b'S' => Self::Request(Request::of(Kind::Sync, first)),
            b'P' | b'B' | b'D' | b'E' | b'C' => Self::Request(Request::read_to_sync(from, first).await?),
            _ => Self::Other(first),
        })
    }
}

impl Request {
    pub(super) async fn read_startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        Ok(Self::of(Kind::Startup, Message::read_startup(from).await?))
    }

    async fn read_to_sync(from: &mut (impl AsyncRead + Unpin), first: Message) -> io::Result<Self> {
        let mut tag = first.tag;
        let mut request = Self::of(Kind::Prepare, Message { tag, bytes: Vec::new() });
        let mut message = first;
        loop {
            if tag == b'B' {
                request.kind = Kind::Bind;
                request.middle = request.bytes.len() + message.bytes.len() / 2;
            }
            request.bytes.append(&mut message.bytes);
            if tag == b'S' {
                return Ok(request);
            }
            message = Message::read(from).await?;
            tag = message.tag;
        }
    }

    fn of(kind: Kind, message: Message) -> Self {
        Self { kind, middle: message.bytes.len() / 2, bytes: message.bytes }
    }
}

fn kind_of_query(sql: &str) -> Kind {
    let mut words = sql.split_whitespace().map(str::to_ascii_uppercase);
    let (first, second) = (words.next(), words.next());
    match (first.as_deref(), second.as_deref()) {
        (Some("PREPARE"), Some("TRANSACTION")) => Kind::PrepareTransaction,
        (Some("COMMIT"), Some("PREPARED")) => Kind::CommitPrepared,
        (Some("ROLLBACK"), Some("PREPARED")) => Kind::RollbackPrepared,
        (Some(word), _) if word.starts_with("COMMIT") => Kind::Commit,
        _ => Kind::Query,
    }
}

/// The requests that a server has not answered to the end.
#[derive(Default)]
pub(super) struct Outstanding(VecDeque<Kind>);

impl Outstanding {
    pub(super) fn sent(&mut self, kind: Kind) {
        if kind != Kind::CopyData {
            self.0.push_back(kind);
        }
    }

    /// Takes note of what the server says: ReadyForQuery ends an answer. A server that asks for the rows of a COPY
    /// overlooks the Sync that came with the question, and answers to the one behind the rows.
    pub(super) fn heard(&mut self, message: &Message) {
        let in_extended_protocol = matches!(self.first(), Some(Kind::Bind | Kind::Prepare));
        if message.tag == b'Z' || (message.tag == b'G' && in_extended_protocol) {
            self.0.pop_front();
        }
    }

    /// The one that is being answered.
    pub(super) fn first(&self) -> Option<Kind> {
        self.0.front().copied()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
