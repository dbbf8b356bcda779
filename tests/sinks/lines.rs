//! Standard output, and what else is written to line by line: a write fails before, within or after the lines, or nobody reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use turnstile::relay::RelayError;
use turnstile::sink::lines::Lines;

use super::*;

/// Writes into memory, and fails at some of its writes, by seed.
#[derive(Clone)]
struct Failing {
    written: Arc<std::sync::Mutex<Vec<u8>>>,
    dice: Arc<std::sync::Mutex<StdRng>>,
    fails_as: io::ErrorKind,
}

impl Failing {
    fn new(fails_as: io::ErrorKind) -> Self {
        let dice = Arc::new(std::sync::Mutex::new(StdRng::seed_from_u64(5)));
        Self { written: Arc::default(), dice, fails_as }
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut written = self.written.lock().unwrap();
        let taken = match self.dice.lock().unwrap().random_range(0..5) {
            0 => return Poll::Ready(Err(self.fails_as.into())),
            1 => bytes.len().div_ceil(3),
            _ => bytes.len(),
        };
        written.extend(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let fails = self.dice.lock().unwrap().random_range(0..5) == 0;
        Poll::Ready(if fails { Err(self.fails_as.into()) } else { Ok(()) })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone)]
struct SharedLines(Arc<Lines<Failing>>);

impl Sink for SharedLines {
    fn limits(&self) -> Limits {
        Limits { events: 9, ..self.0.limits() }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        self.0.carry(events).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_a_whole_line_although_writes_fail_within_lines() {
    let (_test, database, client) = outbox().await;
    write(&client, EVENTS).await;
    let plain = TestSink::default();
    drain(&database, &plain).await;
    let expected: Vec<String> = plain.came.lock().unwrap().values().map(|(_, body)| body.clone()).collect();
    let writer = Failing::new(io::ErrorKind::StorageFull);
    let sink = SharedLines(Arc::new(Lines::to(writer.clone())));
    let to_lines = RelaySettings { sink: "lines".to_owned(), ..settings(true) };
    start(&database, &sink, to_lines, &Shutdown::default()).await.await.unwrap().unwrap();
    let text = writer.text();
    let lines: Vec<&str> = text.lines().collect();
    let missing = expected.iter().filter(|body| !lines.contains(&body.as_str())).count();
    assert_eq!(missing, 0);
    let broken = lines.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).count();
    assert!(broken > 0 && lines.len() > expected.len() + broken, "{broken} of {}: nothing was tried", lines.len());
    assert_eq!(count(&client, "relay_failures").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_reads_any_more_the_relay_ends_and_sets_nothing_aside() {
    let (_test, database, client) = outbox().await;
    write(&client, EVENTS).await;
    let sink = SharedLines(Arc::new(Lines::to(Failing::new(io::ErrorKind::BrokenPipe))));
    let ended = start(&database, &sink, settings(true), &Shutdown::default()).await.await.unwrap();
    assert!(matches!(ended, Err(RelayError::Sink(SinkError::Gone(_)))), "{ended:?}");
    assert_eq!(count(&client, "relay_failures").await, 0);
}
