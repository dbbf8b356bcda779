//! Asking the loaders: each in a task of its own, so that a slow one holds up neither another nor the screen.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::address::Address;
use super::watched::Watched;
use super::{INTERVAL, WITHIN};
use crate::http::{Client, HttpError};
use crate::metrics::{Build, Snapshot};

/// How many answers may wait to be taken: more than come before a screen is drawn.
const ANSWERS: usize = 64;

/// What a loader answered, or why it did not.
pub type Answer = Result<(Snapshot, Build), String>;

/// An answer.
pub struct Heard {
    /// Of which loader: its place among the addresses.
    pub which: usize,
    /// When it came.
    pub at: Instant,
    /// What it is.
    pub answer: Answer,
}

impl Heard {
    /// Tells it to the loader that it is of.
    pub fn tell(self, loaders: &mut [Watched]) {
        if let Some(watched) = loaders.get_mut(self.which) {
            watched.hear(self.answer, self.at);
        }
    }
}

/// Asks each loader once a second, until it is dropped.
pub struct Asking {
    heard: mpsc::Receiver<Heard>,
    _tasks: JoinSet<()>,
}

impl Asking {
    /// Begins.
    ///
    /// # Errors
    ///
    /// [`HttpError::Tls`]
    pub fn start(addresses: &[Address]) -> Result<Self, HttpError> {
        let (answers, heard) = mpsc::channel(ANSWERS);
        let mut tasks = JoinSet::new();
        for (which, address) in addresses.iter().cloned().enumerate() {
            let client = Client::towards(&address.uri)?;
            tasks.spawn(ask_on(which, address, client, answers.clone()));
        }
        Ok(Self { heard, _tasks: tasks })
    }

    /// Waits for the next answer.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // Nobody is asked.
            None => std::future::pending().await,
        }
    }
}

async fn ask_on(which: usize, address: Address, client: Client, answers: mpsc::Sender<Heard>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = ask(&client, &address).await;
        if answers.send(Heard { which, at: Instant::now(), answer }).await.is_err() {
            return;
        }
    }
}

async fn ask(client: &Client, address: &Address) -> Answer {
    let answer = client.get(&address.uri, WITHIN).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    Snapshot::read(&String::from_utf8_lossy(answer.body())).map_err(|error| error.to_string())
}
