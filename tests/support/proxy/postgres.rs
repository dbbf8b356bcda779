//! A proxy that sees each request to PostgreSQL, and cuts the connection at those that a plan names.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::protocol::{Kind, Message, Next, Outstanding, Request};
use super::{Door, reset, server_of, url_through};

/// Passes everything until it is armed. One request is what the server answers up to its ReadyForQuery, so that
/// statements that are sent without waiting for each other count one by one.
pub(crate) struct PostgresProxy {
    door: Door,
    url: String,
    judge: Arc<Mutex<Judge>>,
}

/// A request that is about to be forwarded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    /// Which one it is since the proxy was armed, over all connections, from 1.
    pub(crate) number: u64,
}

/// How a connection is cut at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) moment: Moment,
    pub(crate) side: Side,
    pub(crate) ending: Ending,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Nothing of the request reaches the server.
    Before,
    /// Its first half reaches the server: of the Bind, the query or the rows of a COPY.
    Middle,
    /// All of it reaches the server's socket; whether the server reads it in time, nobody knows.
    Forwarded,
    /// The server has answered it to the end, and the client has seen nothing of that.
    Answered,
}

/// Which end is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// Both at once.
    Both,
    /// The client. The server hears nothing for so long, and is cut off then, unless it closes before.
    Client(Duration),
    /// The server. The client hears nothing for so long, and is cut off then, unless it closes before.
    Server(Duration),
}

/// How the sockets end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// In order: what is on its way arrives.
    Close,
    /// By a reset: what the other end has not read is lost to it.
    Reset,
}

impl Cut {
    /// A cut on both sides, in order.
    pub(crate) fn at(moment: Moment) -> Self {
        Self { moment, side: Side::Both, ending: Ending::Close }
    }
}

impl PostgresProxy {
    /// Listens in front of the database of this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let server = server_of(url);
        let judge = Arc::new(Mutex::new(Judge::default()));
        let judging = judge.clone();
        let door = Door::open(move |client| serve(client, server.clone(), judging.clone())).await;
        Self { url: url_through(url, door.address), door, judge }
    }

    /// The same database, reached through the proxy.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub(crate) fn place(&self) -> (String, u16) {
        (self.door.address.ip().to_string(), self.door.address.port())
    }

    /// From now on `plan` decides at each request; counting begins again.
    pub(crate) fn arm(&self, plan: impl FnMut(Asked) -> Option<Cut> + Send + 'static) {
        *self.judge.lock().unwrap() = Judge { plan: Some(Box::new(plan)), ..Judge::default() };
    }

    /// Cuts at the nth request from now on, and at no other.
    pub(crate) fn arm_for_nth(&self, n: u64, cut: Cut) {
        self.arm(move |asked| (asked.number == n).then_some(cut));
    }

    /// Passes everything again; the counts stay.
    pub(crate) fn disarm(&self) {
        self.judge.lock().unwrap().plan = None;
    }

    /// How many requests came since the proxy was armed.
    pub(crate) fn requests(&self) -> u64 {
        self.judge.lock().unwrap().requests
    }

    /// How many cuts were made since the proxy was armed.
    pub(crate) fn strikes(&self) -> u64 {
        self.strikes_by_cut().values().sum()
    }

    /// How many of each.
    pub(crate) fn strikes_by_cut(&self) -> BTreeMap<(Kind, Cut), u64> {
        self.judge.lock().unwrap().strikes.clone()
    }

    /// How many connections came since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.door.accepted()
    }

    /// How many connections are not closed on both sides.
    pub(crate) fn open_connections(&self) -> usize {
        self.door.open_connections()
    }
}

/// Decides at each request, and counts.
#[derive(Default)]
struct Judge {
    plan: Option<Box<dyn FnMut(Asked) -> Option<Cut> + Send>>,
    requests: u64,
    strikes: BTreeMap<(Kind, Cut), u64>,
}

impl Judge {
    fn ask(&mut self, kind: Kind) -> Option<Cut> {
        let plan = self.plan.as_mut()?;
        self.requests += 1;
        plan(Asked { kind, number: self.requests })
    }

    fn struck(&mut self, kind: Kind, cut: Cut) {
        *self.strikes.entry((kind, cut)).or_default() += 1;
    }
}

/// One connection, until one of its ends closes it or it is cut.
async fn serve(mut client: TcpStream, to: (String, u16), judge: Arc<Mutex<Judge>>) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let answers = Answers::default();
    let mut asking = Asking { to_server, answers: &answers, judge: &judge };
    let struck = tokio::select! {
        struck = asking.run(BufReader::new(from_client)) => struck?,
        ended = answers.pass(BufReader::new(from_server), BufWriter::new(to_client)) => return ended,
    };
    if let Some((kind, cut)) = struck {
        judge.lock().unwrap().struck(kind, cut);
        cut.off(client, server).await;
    }
    Ok(())
}

/// The way from the client to the server.
struct Asking<'c, W> {
    to_server: W,
    answers: &'c Answers,
    judge: &'c Mutex<Judge>,
}

impl<W: AsyncWrite + Unpin> Asking<'_, W> {
    /// Forwards until a cut is due, or the client closes.
    async fn run(&mut self, mut client: impl AsyncRead + Unpin) -> io::Result<Option<(Kind, Cut)>> {
        let mut next = Next::Request(Request::read_startup(&mut client).await?);
        loop {
            match next {
                Next::Other(message) => self.to_server.write_all(&message.bytes).await?,
                Next::Request(request) => {
                    let cut = self.judge.lock().unwrap().ask(request.kind);
                    if let Some(cut) = cut {
                        self.forward_as_far_as(cut.moment, &request, &mut client).await?;
                        return Ok(Some((request.kind, cut)));
                    }
                    self.answers.outstanding.lock().unwrap().sent(request.kind);
                    self.to_server.write_all(&request.bytes).await?;
                }
            }
            next = match Next::read(&mut client).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            };
        }
    }

    async fn forward_as_far_as(
        &mut self,
        moment: Moment,
        request: &Request,
        client: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<()> {
        match moment {
            Moment::Before => Ok(()),
            Moment::Middle => self.to_server.write_all(&request.bytes[..request.middle]).await,
            Moment::Forwarded => self.to_server.write_all(&request.bytes).await,
            Moment::Answered => {
                self.answers.swallow_from(request.kind);
                self.to_server.write_all(&request.bytes).await?;
                tokio::select! {
                    () = self.answers.came_home() => Ok(()),
                    ended = forward_passwords(client, &mut self.to_server) => ended,
                }
            }
        }
    }
}

/// A server answers a start-up only when it has heard the password. What else the client sends now is lost.
async fn forward_passwords(
    client: &mut (impl AsyncRead + Unpin),
    server: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        if let Next::Other(message) = Next::read(client).await? {
            server.write_all(&message.bytes).await?;
        }
    }
}

/// The way from the server to the client.
#[derive(Default)]
struct Answers {
    outstanding: Mutex<Outstanding>,
    /// Whether the answer to the last of the outstanding requests is kept from the client.
    swallowing: Mutex<bool>,
    home: Notify,
}

impl Answers {
    /// Passes what the server says, and ends when it closes.
    async fn pass(
        &self,
        mut server: BufReader<impl AsyncRead + Unpin>,
        mut client: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        loop {
            let message = Message::read(&mut server).await?;
            if !self.swallows(&message) {
                client.write_all(&message.bytes).await?;
            }
            if server.buffer().is_empty() {
                client.flush().await?;
            }
            let outstanding = {
                let mut outstanding = self.outstanding.lock().unwrap();
                outstanding.heard(&message);
                outstanding.count()
            };
            if outstanding == 0 {
                self.home.notify_one();
            }
        }
    }

    fn swallows(&self, message: &Message) -> bool {
        let outstanding = self.outstanding.lock().unwrap();
        // Of a start-up, what asks for the password must pass.
        let asks_for_password = outstanding.first() == Some(Kind::Startup) && message.tag == b'R';
        *self.swallowing.lock().unwrap() && outstanding.count() <= 1 && !asks_for_password
    }

    /// Keeps from the client what the server will answer to this request, which is the last.
    fn swallow_from(&self, kind: Kind) {
        self.outstanding.lock().unwrap().sent(kind);
        *self.swallowing.lock().unwrap() = true;
    }

    /// Returns when nothing is outstanding.
    async fn came_home(&self) {
        while self.outstanding.lock().unwrap().count() > 0 {
            self.home.notified().await;
        }
    }
}

impl Cut {
    async fn off(self, client: TcpStream, server: TcpStream) {
        let (now, later, after) = match self.side {
            Side::Both => (client, server, Duration::ZERO),
            Side::Client(after) => (client, server, after),
            Side::Server(after) => (server, client, after),
        };
        self.ending.of(now);
        let later = silent_until_closed(later, after).await;
        self.ending.of(later);
    }
}

impl Ending {
    fn of(self, stream: TcpStream) {
        match self {
            Self::Close => drop(stream),
            Self::Reset => reset(stream),
        }
    }
}

/// Keeps a socket open and says nothing, for so long or until its other end closes it.
async fn silent_until_closed(mut stream: TcpStream, longest: Duration) -> TcpStream {
    let mut unread = [0; 4096];
    let closed = async { while let Ok(1..) = stream.read(&mut unread).await {} };
    // Either way it is time.
    drop(tokio::time::timeout(longest, closed).await);
    stream
}
