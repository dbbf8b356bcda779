//! Sessions that write all along, and how long one of them waits at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::world::{World, connect};

const WRITERS: usize = 4;

/// They write until they are asked how long they waited.
pub(crate) struct Writers {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<Duration>>>,
}

impl Writers {
    /// Each runs this statement again and again.
    pub(crate) async fn start(world: &World, sql: &str) -> Result<Self> {
        let mut writers = Self { over: Arc::new(AtomicBool::new(false)), tasks: Vec::new() };
        for _ in 0..WRITERS {
            let client = connect(&world.url).await?;
            writers.tasks.push(tokio::spawn(write(client, sql.to_owned(), writers.over.clone())));
        }
        Ok(writers)
    }

    /// Ends them. The longest time that a transaction took, in milliseconds.
    pub(crate) async fn longest_wait(self) -> Result<f64> {
        self.over.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for task in self.tasks {
            longest = longest.max(task.await??);
        }
        Ok(longest.as_secs_f64() * 1e3)
    }
}

async fn write(client: Client, sql: String, over: Arc<AtomicBool>) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let since = Instant::now();
        client.batch_execute(&sql).await?;
        longest = longest.max(since.elapsed());
    }
    Ok(longest)
}
