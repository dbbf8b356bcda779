//! A local SQS server: SQS-compatible, over real HTTP, in memory, and it can fail on purpose.
//!
//! It speaks the AWS JSON 1.0 protocol, accepts any credentials (unless told that they have expired), and behaves as the
//! SQS API reference and developer guide document. What AWS leaves open is decided here: a standard queue delivers the oldest
//! visible message first, a receive brings as many messages as it can, an old receipt handle deletes nothing, and what AWS
//! does within a minute (attributes, purges, counts) happens at once.
//!
//! It checks no password, so it is for this machine: on loopback it answers to the names of this machine only, so that no
//! website reaches it through a browser. Requests and connections have limits.
//!
//! # Invariants
//!
//! - No rule reads a clock: [`clock::Moment`] is handed in.
//! - No call costs more for a longer backlog, beyond the logarithm of an ordered set.
//! - No bytes from the network make it panic.

pub mod clock;
pub mod error;
pub mod faults;
mod gate;
mod host;
mod limits;
mod line;
pub mod message;
mod move_task;
mod query_protocol;
mod receipt;
mod reply;
pub mod request;
mod server;
mod service;
mod settings;
mod state;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

pub use faults::{FailedCall, FaultCounts, Faults, StaleReceipts, When};
pub use limits::{MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, MESSAGES_PER_CALL, PATIENCE};
pub use service::Served;
pub use settings::ACCOUNT;
pub use state::{DEDUPLICATION_INTERVAL, MAX_IN_FLIGHT, MAX_VISIBILITY, QueueStats};

use clock::{Clock, Moment};
use error::ApiError;
use host::Hosts;
use server::{Door, Server};
use service::Service;

/// The region of a server that was not given one.
pub const DEFAULT_REGION: &str = "us-east-1";

/// How long [`LocalQueue::shutdown`] waits for calls to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// A running server. It ends when this value is dropped, or better by [`LocalQueue::shutdown`].
pub struct LocalQueue {
    server: Arc<Server>,
    _end: DropGuard,
}

/// How to run a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Under which host names it is called besides those of this machine (`localhost`, `127.0.0.1`, `[::1]`). A request that
    /// names another is refused, unless the server listens on another address than loopback and this is empty.
    pub host_names: Vec<String>,
    /// The most connections at once: further ones wait until one closes.
    pub max_connections: usize,
    /// For how long a client may take to send the head of a request or its body, or leave a connection idle.
    pub patience: Duration,
    /// The region that the queues' ARNs name.
    pub region: String,
    /// The queues that it has from its start.
    pub queues: Vec<QueueOptions>,
    /// How it fails on purpose.
    pub faults: Faults,
}

impl ServerOptions {
    /// A server of this machine, without queues and faults.
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            host_names: Vec::new(),
            max_connections: MAX_CONNECTIONS,
            patience: PATIENCE,
            region: DEFAULT_REGION.to_owned(),
            queues: Vec::new(),
            faults: Faults::default(),
        }
    }
}

/// A queue that a server shall have from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Its name: up to 80 letters, digits, hyphens and underscores; a FIFO queue's ends in `.fifo`.
    pub name: String,
    /// How long a delivered message stays hidden: whole seconds, 0 s to 12 h.
    pub visibility_timeout: Duration,
    /// How long a message is hidden after its send: whole seconds, 0 s to 15 min.
    pub delay: Duration,
    /// For how long a message is kept: whole seconds, 1 min to 14 days.
    pub retention: Duration,
    /// Where a message goes that was received too often.
    pub redrive: Option<Redrive>,
    /// Whether the queue keeps the order of groups and drops repeated sends.
    pub fifo: bool,
    /// Whether a FIFO queue knows a repeated send by its body.
    pub content_based_deduplication: bool,
}

impl QueueOptions {
    /// A queue with the defaults of SQS (30 s visibility timeout, no delay, 4 days); FIFO where the name says so.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            fifo: name.ends_with(".fifo"),
            name,
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(345_600),
            redrive: None,
            content_based_deduplication: false,
        }
    }

    /// Whether a queue may bear this name.
    pub fn is_valid_name(name: &str) -> bool {
        settings::check_name(name, name.ends_with(".fifo")).is_ok()
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([
            ("VisibilityTimeout".to_owned(), self.visibility_timeout.as_secs().to_string()),
            ("DelaySeconds".to_owned(), self.delay.as_secs().to_string()),
            ("MessageRetentionPeriod".to_owned(), self.retention.as_secs().to_string()),
        ]);
        if self.fifo {
            attributes.insert("FifoQueue".to_owned(), "true".to_owned());
            let by_content = self.content_based_deduplication.to_string();
            attributes.insert("ContentBasedDeduplication".to_owned(), by_content);
        }
        attributes
    }
}

/// Where a message goes that was received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead-letter queue's name; a queue of its own among those that the server starts with.
    pub dead_letter_queue: String,
    /// How often a message is delivered before it goes there: 1 to 1000.
    pub max_receive_count: u32,
}

/// A server could not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalQueueError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A queue cannot be as it was asked for.
    #[error("queue {name}: {source}")]
    Queue {
        /// The queue's name.
        name: String,
        /// What is wrong with it.
        source: ApiError,
    },
}

impl LocalQueue {
    /// Starts a server with these queues in the region [`DEFAULT_REGION`]. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`LocalQueueError`] when the address is taken or a queue's options are outside the limits of SQS.
    pub async fn start(listen: SocketAddr, queues: Vec<QueueOptions>, faults: Faults) -> Result<Self, LocalQueueError> {
        Self::start_with(ServerOptions { queues, faults, ..ServerOptions::at(listen) }).await
    }

    /// Starts a server as these options say.
    ///
    /// # Errors
    ///
    /// As [`LocalQueue::start`].
    pub async fn start_with(options: ServerOptions) -> Result<Self, LocalQueueError> {
        let clock = Clock::start();
        let mut service = Service::new(options.region, options.faults);
        create_queues(&mut service, options.queues, clock.now())?;
        let refused = |source| LocalQueueError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the local SQS server can be reached from other machines, and lets everybody in: listen on 127.0.0.1 instead, \
                 unless the network keeps others out"
            );
        }
        let door = Door::new(Hosts::of(address, options.host_names), options.max_connections, options.patience);
        let server = Arc::new(Server::new(service, clock, address, door));
        let end = server.ended.clone().drop_guard();
        server.tasks.spawn(Arc::clone(&server).accept(listener));
        Ok(Self { server, _end: end })
    }

    /// Where the server listens, as a client's endpoint: `http://127.0.0.1:9324`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The URL of the queue of this name, whether it exists or not.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint())
    }

    /// The ARN of the queue of this name, whether it exists or not.
    pub fn queue_arn(&self, name: &str) -> String {
        self.server.service().arn(name)
    }

    /// Switches faults on or off from here on; the dice start anew from the seed.
    pub fn set_faults(&self, faults: Faults) {
        self.server.service().dice.set(faults);
    }

    /// How often each fault has happened since the start.
    pub fn fault_counts(&self) -> FaultCounts {
        self.server.service().dice.counts()
    }

    /// Lets one single call fail: the `number`th from here on, counted from 1. No other fault befalls it, and it takes
    /// the place of a call that was chosen before.
    ///
    /// Calls are counted in the order in which their requests have arrived whole; what is asked by GET is none.
    pub fn fail_call(&self, number: u64, when: When) {
        self.server.service().dice.choose(number, when);
    }

    /// The call chosen last by [`LocalQueue::fail_call`], with how many calls have come since.
    pub fn failed_call(&self) -> Option<FailedCall> {
        self.server.service().dice.chosen()
    }

    /// Lets credentials expire, or come back: calls that are signed with this access key id are refused with
    /// `ExpiredToken` from here on, or no longer.
    pub fn set_expired(&self, access_key_id: &str, expired: bool) {
        let mut service = self.server.service();
        match expired {
            true => service.gate.expired.insert(access_key_id.to_owned()),
            false => service.gate.expired.remove(access_key_id),
        };
    }

    /// Sets by how much the server's clock is ahead of this machine's, as clients see it: in the header `Date` and in
    /// the timestamps of messages. A call signed more than 15 minutes from that time is refused. The queues' own rules
    /// do not follow, so that a jump neither hides nor revives a message.
    pub fn set_clock_ahead(&self, by: time::Duration) {
        self.server.service().gate.clock_ahead = by;
    }

    /// What has been served since the start.
    pub fn served(&self) -> Served {
        self.server.service().served
    }

    /// The exact counts of a queue, where there is one of this name.
    pub fn stats(&self, queue: &str) -> Option<QueueStats> {
        let now = self.server.now();
        self.server.service().stats(queue, now)
    }

    /// Puts any bytes into a queue as a message, also those that a send refuses, and gives its MessageId where there
    /// is such a queue. A receive brings the bytes as they are, in JSON that need not be UTF-8.
    pub fn insert_raw(&self, queue: &str, body: Vec<u8>) -> Option<String> {
        let now = self.server.now();
        self.server.service().insert_raw(queue, body.into(), now)
    }

    /// Stops: waiting receives are answered with what there is, calls end within a few seconds, the rest is cut off.
    pub async fn shutdown(self) {
        self.server.closing.cancel();
        self.server.tasks.close();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.server.tasks.wait()).await.is_err() {
            tracing::warn!("some calls to the local SQS server did not end in time");
        }
    }
}

/// Creates the queues, and lets them name their dead-letter queues once all exist.
fn create_queues(service: &mut Service, queues: Vec<QueueOptions>, now: Moment) -> Result<(), LocalQueueError> {
    for queue in &queues {
        service
            .create_queue(queue.name.clone(), &queue.attributes(), BTreeMap::new(), now)
            .map_err(|source| LocalQueueError::Queue { name: queue.name.clone(), source })?;
    }
    for (queue, redrive) in queues.iter().filter_map(|queue| Some((queue, queue.redrive.as_ref()?))) {
        let policy = serde_json::json!({
            "deadLetterTargetArn": service.arn(&redrive.dead_letter_queue),
            "maxReceiveCount": redrive.max_receive_count,
        });
        service
            .set_queue_attributes(&queue.name, &one_attribute("RedrivePolicy", policy.to_string()), now)
            .map_err(|source| LocalQueueError::Queue { name: queue.name.clone(), source })?;
    }
    Ok(())
}

fn one_attribute(name: &str, value: String) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value)])
}
