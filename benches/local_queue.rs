//! What a message costs the local SQS server: one receive and one delete of ten, by a small and by a large backlog.
//!
//! The server is a process of its own, so that its CPU time can be told from the driver's, which speaks HTTP by hand.
//! Linux only: CPU time and memory are read from /proc.

// Clippy's leave for tests does not reach benches.
#![allow(clippy::indexing_slicing)]

#[path = "support/cpu.rs"]
#[expect(dead_code, reason = "the other bench uses the rest")]
mod cpu;
#[path = "support/raw_queue.rs"]
#[expect(dead_code, reason = "the other bench uses the rest")]
mod raw_queue;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use self::raw_queue::RawQueue;

const BACKLOGS: [usize; 2] = [1_000, 1_000_000];

/// Messages received and deleted for one figure.
const MEASURED: usize = 100_000;

const BODY: &str = r#"{"user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae","app_version":"2.3.0","device_type":"android","ip":"198.51.100.135","locale":"RU","device_id":"593-47-5928"}"#;

fn main() -> Result<()> {
    let ten = vec![BODY.to_owned(); 10];
    for backlog in BACKLOGS {
        let mut queue = RawQueue::start()?;
        let before = queue.memory()?;
        for _ in 0..backlog / 10 {
            queue.send(&ten)?;
        }
        let bytes = (queue.memory()?.saturating_sub(before)) / backlog as u64;
        let spent = drain_and_refill(&mut queue, backlog, &ten)?;
        writeln!(
            std::io::stdout(),
            "backlog {backlog:>9}: {:>7.0} messages/s of server CPU, {:>7.0} messages/s on one connection, {bytes} \
             bytes of memory a message",
            MEASURED as f64 / spent.cpu,
            MEASURED as f64 / spent.wall.as_secs_f64(),
        )?;
    }
    Ok(())
}

#[derive(Default)]
struct Spent {
    /// In seconds.
    cpu: f64,
    wall: Duration,
}

/// Receives and deletes, and refills between without counting that, so that the backlog stays what it is.
fn drain_and_refill(queue: &mut RawQueue, backlog: usize, ten: &[String]) -> Result<Spent> {
    let mut spent = Spent::default();
    let at_once = (backlog / 2).min(MEASURED);
    for _ in 0..MEASURED / at_once {
        let (cpu, started) = (queue.cpu()?, Instant::now());
        for _ in 0..at_once / 10 {
            queue.receive_and_delete_ten()?;
        }
        spent.wall += started.elapsed();
        spent.cpu += queue.cpu()? - cpu;
        for _ in 0..at_once / 10 {
            queue.send(ten)?;
        }
    }
    Ok(spent)
}
