//! Proxies in front of a server, in this process, that do on purpose what networks do by chance.
//!
//! [`PostgresProxy`] understands PostgreSQL's protocol and cuts connections at chosen requests. [`NetworkProxy`] takes
//! any bytes and delays, slices, swallows or resets them. Both end, with every connection through them, when dropped.

mod network;
mod postgres;
mod protocol;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub(crate) use self::network::{Direction, NetworkProxy, Trouble};
pub(crate) use self::postgres::{Asked, Cut, Ending, Moment, PostgresProxy, Side};
pub(crate) use self::protocol::Kind;

/// A listening socket, and the connections that came in by it.
struct Door {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    open: AtomicUsize,
}

impl Door {
    /// Opens a port of its own on this machine, and serves each connection that comes in.
    async fn open<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(listener, counts.clone(), serve));
        Self { address, counts, accepting }
    }

    fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    fn open_connections(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections live in a set of this task, so that they end with it.
async fn accept<F>(listener: TcpListener, counts: Arc<Counts>, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                client.set_nodelay(true).unwrap_or_default();
                let open = Open::new(&counts);
                let served = serve(client);
                // How a connection ended is for its two ends to say, not for the proxy.
                connections.spawn(async move { drop((served.await, open)) });
            }
        }
    }
}

/// One connection, for as long as it is counted as open.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.accepted.fetch_add(1, Ordering::SeqCst);
        counts.open.fetch_add(1, Ordering::SeqCst);
        Self(counts.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes a socket such that its other end sees a reset and loses what it has not read yet.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap_or_default();
}

/// Host and port of the server that a database URL names.
pub(crate) fn server_of(url: &str) -> (String, u16) {
    let config: Config = url.parse().expect("a database URL");
    match config.get_hosts() {
        [Host::Tcp(host)] => (host.clone(), config.get_ports().first().copied().unwrap_or(5432)),
        _ => panic!("a proxy needs one host that is reached by TCP"),
    }
}

/// The same database, with the same name and password, in clear and by way of another address.
pub(crate) fn url_through(url: &str, address: SocketAddr) -> String {
    let config: Config = url.parse().expect("a database URL");
    let password = config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let kept = [
        ("user", config.get_user()),
        ("password", password.as_deref()),
        ("dbname", config.get_dbname()),
        ("options", config.get_options()),
    ];
    let mut through = format!("host={} port={} sslmode=disable", address.ip(), address.port());
    for (name, value) in kept.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let value = value.replace('\\', r"\\").replace('\'', r"\'");
        through.push_str(&format!(" {name}='{value}'"));
    }
    through
}
