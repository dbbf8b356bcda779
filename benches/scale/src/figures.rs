//! What is seen of a world.

use crate::clock::{Nanos, millis};
use crate::queue::Counts;
use crate::world::Task;

/// A queue's SentTimestamp is cut to it.
const MILLI: Nanos = millis(1.0);

/// What is noted while a world is at work.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    since: Nanos,
    recorded: Vec<Nanos>,
    lasting: Vec<Nanos>,
    logins: u64,
    transactions: u64,
    loaders: Nanos,
    database: Nanos,
    served: Nanos,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Logins committed a second.
    pub rate: f64,
    /// Logins in a transaction.
    pub batch: f64,
    /// From the send to the record of the commit in the log, 50th and 99th percentile: what the benches measure.
    pub recorded: [Nanos; 2],
    /// From the send to the commit that lasts.
    pub lasting: [Nanos; 2],
    /// Cores that the loaders took.
    pub loader_cores: f64,
    /// Cores that the database took.
    pub database_cores: f64,
    /// Cores that the queue took, where it runs on the same machine.
    pub queue_cores: f64,
    /// The share of their cores that the loaders' machines were busy with.
    pub loaders_busy: f64,
    /// The share of the database's cores.
    pub database_busy: f64,
    /// The share of what the disk can write.
    pub disk_busy: f64,
    /// Connections open at the end.
    pub connections: usize,
    /// Connections refused.
    pub connections_refused: u64,
    /// Calls to the queue a second.
    pub calls: f64,
    /// What the queue counted.
    pub queue: Counts,
}

impl Figures {
    /// Microseconds of a core that each login took, where so many cores were busy.
    pub fn micros(&self, cores: f64) -> f64 {
        cores / self.rate * 1e6
    }
}

impl Counting {
    pub(crate) fn since(since: Nanos) -> Self {
        Self { since, ..Self::default() }
    }

    pub(crate) fn recorded(&mut self, sent: &[Nanos], now: Nanos) {
        let since = self.since;
        self.logins += sent.len() as u64;
        self.transactions += 1;
        self.recorded.extend(sent.iter().filter(|sent| **sent >= since).map(|sent| now - sent / MILLI * MILLI));
    }

    pub(crate) fn lasting(&mut self, sent: &[Nanos], now: Nanos) {
        let since = self.since;
        self.lasting.extend(sent.iter().filter(|sent| **sent >= since).map(|sent| now - sent));
    }

    pub(crate) fn computed(&mut self, task: Task, cost: Nanos) {
        match task {
            Task::CallOut(_) | Task::CallIn(_) | Task::Judge(_) => self.loaders += cost,
            Task::Statement(_) => self.database += cost,
            Task::Serve(_) | Task::Take(_) => self.served += cost,
        }
    }

    pub(crate) fn figures(&mut self, lasted: f64) -> Figures {
        Figures {
            rate: self.logins as f64 / lasted * 1e9,
            batch: self.logins as f64 / self.transactions.max(1) as f64,
            recorded: percentiles(&mut self.recorded),
            lasting: percentiles(&mut self.lasting),
            loader_cores: self.loaders as f64 / lasted,
            database_cores: self.database as f64 / lasted,
            queue_cores: self.served as f64 / lasted,
            ..Figures::default()
        }
    }
}

fn percentiles(times: &mut [Nanos]) -> [Nanos; 2] {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
    [at(50), at(99)]
}
