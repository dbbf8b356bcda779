//! A proxy that knows no protocol, and treats bytes and connections as a bad network does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Door, reset};

/// What the network does, to connections that are open and to those that come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// Whatever arrives is held back for `delay` and up to `jitter` more.
    Latency { delay: Duration, jitter: Duration },
    /// Whatever arrives is passed on in slices of one to `most` bytes.
    Slices { most: usize },
    /// Every connection is reset.
    Reset,
    /// In one direction every byte, and the close, goes nowhere. A connection that met this stays so after it has
    /// healed, as one whose other end was forgotten by a firewall; only its close is passed on then.
    HalfOpen(Direction),
    /// No byte passes and no close, and connections are accepted without a word. After it has healed, everything
    /// arrives, late.
    BlackHole,
    /// The server's side closes at once; the client hears nothing, and sees the close after this long.
    SlowClose(Duration),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Passes everything until there is trouble.
pub(crate) struct NetworkProxy {
    door: Door,
    trouble: watch::Sender<Trouble>,
    strikes: Arc<AtomicU64>,
}

impl NetworkProxy {
    /// Listens in front of a server, by its host and port.
    pub(crate) async fn before(server: (String, u16)) -> Self {
        let (trouble, weather) = watch::channel(Trouble::None);
        let strikes = Arc::new(AtomicU64::new(0));
        let counted = strikes.clone();
        let door = Door::open(move |client| {
            let (weather, strikes) = (weather.clone(), counted.clone());
            serve(client, server.clone(), Weather { now: weather, strikes })
        });
        Self { door: door.await, trouble, strikes }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// From now on the network is like this.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    /// From now on everything passes again.
    pub(crate) fn heal(&self) {
        self.trouble(Trouble::None);
    }

    /// How often trouble struck since the start: chunks of bytes that were delayed or sliced, connections that were
    /// reset, swallowed or closed.
    pub(crate) fn strikes(&self) -> u64 {
        self.strikes.load(Ordering::SeqCst)
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

/// What one connection knows of the network.
#[derive(Clone)]
struct Weather {
    now: watch::Receiver<Trouble>,
    strikes: Arc<AtomicU64>,
}

impl Weather {
    fn is(&self) -> Trouble {
        *self.now.borrow()
    }

    fn struck(&self) {
        self.strikes.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until the network is as `wanted`; at the end of the proxy, for ever: its connections are aborted.
    async fn becomes(&mut self, wanted: impl FnMut(&Trouble) -> bool) -> Trouble {
        let found = self.now.wait_for(wanted).await.map(|trouble| *trouble);
        match found {
            Ok(trouble) => trouble,
            Err(_) => std::future::pending().await,
        }
    }
}

/// One connection, from its accept until both sides are closed.
async fn serve(mut client: TcpStream, server: (String, u16), mut weather: Weather) -> io::Result<()> {
    if weather.is() == Trouble::BlackHole {
        weather.struck();
        weather.becomes(|trouble| *trouble != Trouble::BlackHole).await;
    }
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut there = Way::new(Direction::ToServer, weather.clone());
        let mut back = Way::new(Direction::ToClient, weather.clone());
        tokio::select! {
            _ = there.pass(from_client, to_server) => None,
            _ = back.pass(from_server, to_client) => None,
            trouble = weather.becomes(|trouble| matches!(trouble, Trouble::Reset | Trouble::SlowClose(_))) => Some(trouble),
        }
    };
    match broken {
        Some(Trouble::SlowClose(after)) => {
            weather.struck();
            drop(server);
            tokio::time::sleep(after).await;
        }
        Some(_) => {
            weather.struck();
            reset(client);
            reset(server);
        }
        None => {}
    }
    Ok(())
}

/// One direction of a connection.
struct Way {
    direction: Direction,
    weather: Weather,
    /// Whether its bytes go nowhere, for good.
    lost: bool,
}

impl Way {
    fn new(direction: Direction, weather: Weather) -> Self {
        Self { direction, weather, lost: false }
    }

    /// Passes bytes until one end closes, and the other may know of it.
    async fn pass(&mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            let lost = Trouble::HalfOpen(self.direction);
            let read = tokio::select! {
                biased;
                // A connection that says nothing just now is lost all the same.
                _ = self.weather.becomes(|trouble| *trouble == lost), if !self.lost => {
                    self.weather.struck();
                    self.lost = true;
                    continue;
                }
                read = from.read(&mut chunk) => read,
            };
            match read {
                Ok(length @ 1..) => self.forward(&chunk[..length], &mut to).await?,
                Ok(_) | Err(_) => return self.close().await,
            }
        }
    }

    async fn forward(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        if self.lost {
            return Ok(());
        }
        match self.weather.is() {
            Trouble::Latency { delay, jitter } => {
                self.weather.struck();
                let jitter = jitter.mul_f64(rand::random());
                tokio::time::sleep(delay + jitter).await;
                to.write_all(bytes).await
            }
            Trouble::Slices { most } => {
                self.weather.struck();
                write_sliced(bytes, most, to).await
            }
            Trouble::BlackHole => {
                self.weather.struck();
                self.weather.becomes(|trouble| *trouble != Trouble::BlackHole).await;
                to.write_all(bytes).await
            }
            // Half-open in the other direction; or the connection is about to end.
            Trouble::None | Trouble::HalfOpen(_) | Trouble::Reset | Trouble::SlowClose(_) => to.write_all(bytes).await,
        }
    }

    /// Waits until the other end may know that this one has closed.
    async fn close(&mut self) -> io::Result<()> {
        let hiding = [Trouble::HalfOpen(self.direction), Trouble::BlackHole];
        self.weather.becomes(|trouble| !hiding.contains(trouble)).await;
        Ok(())
    }
}

async fn write_sliced(bytes: &[u8], most: usize, to: &mut WriteHalf<'_>) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (slice, behind) = rest.split_at(rand::random_range(1..=most).min(rest.len()));
        to.write_all(slice).await?;
        // Lets the reader run, so that it sees the slice by itself.
        tokio::task::yield_now().await;
        rest = behind;
    }
    Ok(())
}
