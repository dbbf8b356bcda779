//! `turnstile local-queue`: the local SQS server as a program of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use stand_ins::sqs::{Faults, LocalQueue, QueueOptions, Redrive};
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, refuse};
use crate::config::Mistakes;

/// What `turnstile local-queue` takes.
///
/// The server is for development and tests: it keeps all messages in memory and lets everybody in. Besides SQS it
/// answers GET /health, and GET /faults with how often each fault has happened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9324", env = "TURNSTILE_LOCAL_QUEUE_LISTEN")]
    listen: String,

    /// A queue to create, repeatable; a name that ends in .fifo makes a FIFO queue with content-based deduplication
    #[arg(
        long,
        value_name = "NAME",
        default_value = "logins",
        value_delimiter = ',',
        env = "TURNSTILE_LOCAL_QUEUE_QUEUE"
    )]
    queue: Vec<String>,

    /// How long a delivered message stays hidden [default: 30s] [0s to 12h]
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        hide_default_value = true,
        env = "TURNSTILE_LOCAL_QUEUE_VISIBILITY_TIMEOUT"
    )]
    visibility_timeout: String,

    /// How long a message is hidden after its send [default: 0s] [0s to 15m]
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        hide_default_value = true,
        env = "TURNSTILE_LOCAL_QUEUE_DELAY"
    )]
    delay: String,

    /// Move messages received COUNT times (1 to 1000) from every queue to this dead-letter queue, which is created too
    #[arg(long, value_name = "QUEUE:COUNT", env = "TURNSTILE_LOCAL_QUEUE_REDRIVE")]
    redrive: Option<String>,

    /// The region that the queues' ARNs name
    #[arg(long, value_name = "REGION", default_value = "us-east-1", env = "TURNSTILE_LOCAL_QUEUE_REGION")]
    region: String,

    /// A fault and its probability from 0 to 1, repeatable: throttle, error_500, lost_reply, partial_batch_failure,
    /// early_redelivery, redelivery_after_delete, duplicate_in_receive, delay
    #[arg(long, value_name = "NAME=PROBABILITY", value_delimiter = ',', env = "TURNSTILE_LOCAL_QUEUE_FAULT")]
    fault: Vec<String>,

    /// The longest time by which the fault `delay` holds an answer back [default: 1s] [0s to 1m]
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1s",
        hide_default_value = true,
        env = "TURNSTILE_LOCAL_QUEUE_MAX_FAULT_DELAY"
    )]
    max_fault_delay: String,

    /// Where the dice of the faults start: one seed and one order of calls make the same faults
    #[arg(long, value_name = "NUMBER", default_value = "0", env = "TURNSTILE_LOCAL_QUEUE_SEED")]
    seed: String,
}

/// The arguments, understood.
#[derive(Debug, PartialEq)]
struct Settings {
    listen: SocketAddr,
    region: String,
    queues: Vec<QueueOptions>,
    faults: Faults,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut mistakes = Mistakes::default();
        let settings = self.settings(&mut mistakes);
        match mistakes.or(settings) {
            Ok(settings) => serve(settings).await.map(|()| Outcome::Done),
            Err(mistakes) => refuse(&mistakes),
        }
    }

    fn settings(&self, mistakes: &mut Mistakes) -> Option<Settings> {
        let listen = self.listen.parse().map_err(|_| format!("{:?} is no address and port", self.listen));
        let listen =
            mistakes.take("--listen (TURNSTILE_LOCAL_QUEUE_LISTEN)", listen, "write for example 127.0.0.1:9324");
        let visibility_timeout = whole_seconds(
            "--visibility-timeout (TURNSTILE_LOCAL_QUEUE_VISIBILITY_TIMEOUT)",
            &self.visibility_timeout,
            Duration::from_secs(12 * 60 * 60),
            mistakes,
        );
        let delay =
            whole_seconds("--delay (TURNSTILE_LOCAL_QUEUE_DELAY)", &self.delay, Duration::from_secs(15 * 60), mistakes);
        let region = self.region(mistakes);
        let redrive = self.redrive(mistakes);
        let queues = self.queues(redrive.as_ref(), mistakes);
        let faults = self.faults(mistakes);
        let (visibility_timeout, delay) = visibility_timeout.zip(delay)?;
        let queues = queues.into_iter().map(|queue| QueueOptions { visibility_timeout, delay, ..queue }).collect();
        Some(Settings { listen: listen?, region: region?, queues, faults: faults? })
    }

    fn region(&self, mistakes: &mut Mistakes) -> Option<String> {
        if !self.region.is_empty() && self.region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Some(self.region.clone());
        }
        let problem = format!("{:?} is no region", self.region);
        mistakes.note("--region (TURNSTILE_LOCAL_QUEUE_REGION)", problem, "write for example us-east-1")
    }

    fn redrive(&self, mistakes: &mut Mistakes) -> Option<Redrive> {
        let text = self.redrive.as_ref()?;
        let (name, count) = text.rsplit_once(':').unwrap_or((text, ""));
        let count = count.parse().ok().filter(|count| (1..=1000).contains(count));
        match count.filter(|_| QueueOptions::is_valid_name(name)) {
            Some(max_receive_count) => Some(Redrive { dead_letter_queue: name.to_owned(), max_receive_count }),
            None => {
                let problem = format!("{text:?} is no queue name and count from 1 to 1000");
                mistakes.note(REDRIVE, problem, "write for example logins-dead:5")
            }
        }
    }

    fn queues(&self, redrive: Option<&Redrive>, mistakes: &mut Mistakes) -> Vec<QueueOptions> {
        const QUEUE: &str = "--queue (TURNSTILE_LOCAL_QUEUE_QUEUE)";
        const WAY_OUT: &str =
            "choose 1 to 80 letters, digits, hyphens and underscores; a FIFO queue's name ends in .fifo";
        let mut queues: Vec<QueueOptions> = Vec::new();
        for name in &self.queue {
            if !QueueOptions::is_valid_name(name) {
                mistakes.note::<()>(QUEUE, format!("{name:?} is no queue name"), WAY_OUT);
            } else if queues.iter().any(|queue| queue.name == *name) {
                mistakes.note::<()>(QUEUE, format!("{name:?} is given twice"), "leave one away");
            }
            queues.push(QueueOptions { content_based_deduplication: true, ..QueueOptions::new(name) });
        }
        let Some(redrive) = redrive else { return queues };
        let dead = QueueOptions { content_based_deduplication: true, ..QueueOptions::new(&redrive.dead_letter_queue) };
        queues.retain(|queue| queue.name != dead.name);
        if queues.iter().any(|queue| queue.fifo != dead.fifo) {
            let problem =
                "the dead-letter queue of a FIFO queue is a FIFO queue, and that of a standard one a standard one";
            mistakes.note::<()>(REDRIVE, problem, "start two servers, or give all names the same ending");
        }
        queues.iter_mut().for_each(|queue| queue.redrive = Some(redrive.clone()));
        queues.push(dead);
        queues
    }

    fn faults(&self, mistakes: &mut Mistakes) -> Option<Faults> {
        const FAULT: &str = "--fault (TURNSTILE_LOCAL_QUEUE_FAULT)";
        let mut faults = Faults::default();
        for text in &self.fault {
            if let Err(problem) = faults.set(text) {
                let way_out = format!(
                    "write NAME=PROBABILITY, for example throttle=0.05; the names: {}",
                    Faults::NAMES.join(", ")
                );
                mistakes.note::<()>(FAULT, problem, way_out);
            }
        }
        let max_delay = mistakes.duration(
            "--max-fault-delay (TURNSTILE_LOCAL_QUEUE_MAX_FAULT_DELAY)",
            &self.max_fault_delay,
            Duration::ZERO..=Duration::from_secs(60),
        );
        let seed = self.seed.parse().map_err(|_| format!("{:?} is no whole number", self.seed));
        let way_out = format!("give one from 0 to {}", u64::MAX);
        faults.seed = mistakes.take("--seed (TURNSTILE_LOCAL_QUEUE_SEED)", seed, way_out)?;
        faults.max_delay = max_delay?;
        Some(faults)
    }
}

const REDRIVE: &str = "--redrive (TURNSTILE_LOCAL_QUEUE_REDRIVE)";

/// Reads a time that SQS takes: whole seconds.
fn whole_seconds(setting: &'static str, text: &str, max: Duration, mistakes: &mut Mistakes) -> Option<Duration> {
    let time = mistakes.duration(setting, text, Duration::ZERO..=max)?;
    match time.subsec_nanos() {
        0 => Some(time),
        _ => mistakes.note(setting, format!("{text:?} is no whole number of seconds"), "write for example 30s"),
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // Asked for before the server says that it is ready, so that no early signal is missed.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let names: Vec<String> = settings.queues.iter().map(|queue| queue.name.clone()).collect();
    let queue = LocalQueue::start_in(&settings.region, settings.listen, settings.queues, settings.faults)
        .await
        .context("the queue could not start; --listen takes another address, port 0 a free one")?;
    say(&greeting(&queue, &names, &settings.region))?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let last = farewell(&queue);
    queue.shutdown().await;
    say(&last)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn greeting(queue: &LocalQueue, names: &[String], region: &str) -> String {
    let urls: Vec<String> = names.iter().map(|name| queue.queue_url(name)).collect();
    let endpoint = queue.endpoint();
    format!(
        "local-queue is ready at {endpoint} with {}; use it with: export AWS_ENDPOINT_URL={endpoint} \
         AWS_REGION={region} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
        urls.join(" ")
    )
}

fn farewell(queue: &LocalQueue) -> String {
    let served = queue.served();
    let faults = serde_json::to_value(queue.fault_counts()).unwrap_or_default();
    let happened: Vec<String> = faults
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let faults = if happened.is_empty() { "none".to_owned() } else { happened.join(", ") };
    format!(
        "local-queue served {} calls: {} messages sent, {} delivered, {} deleted, {} dead-lettered; faults: {faults}",
        served.calls, served.sent, served.delivered, served.deleted, served.dead_lettered
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn settings(arguments: &[&str]) -> Result<Settings, Mistakes> {
        let mut mistakes = Mistakes::default();
        let settings = Line::parse_from([&["local-queue"], arguments].concat()).args.settings(&mut mistakes);
        mistakes.or(settings)
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_option() {
        let mistakes = settings(&[
            "--listen=nowhere",
            "--queue=a b",
            "--queue=twice",
            "--queue=twice",
            "--visibility-timeout=13h",
            "--delay=1500ms",
            "--redrive=dead:0",
            "--region=",
            "--fault=gremlins=0.5",
            "--fault=throttle=2",
            "--max-fault-delay=soon",
            "--seed=x",
        ])
        .unwrap_err()
        .to_string();
        let options: Vec<&str> = mistakes
            .lines()
            .filter(|line| line.starts_with("--"))
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        let all = [
            "--listen",
            "--visibility-timeout",
            "--delay",
            "--region",
            "--redrive",
            "--queue",
            "--queue",
            "--fault",
            "--fault",
            "--max-fault-delay",
            "--seed",
        ];
        assert_eq!(options, all);
    }

    #[test]
    fn a_redrive_creates_its_dead_letter_queue() {
        let settings = settings(&["--queue=a", "--queue=b", "--redrive=dead:3", "--fault=lost_reply=0.1"]).unwrap();
        let redrive = Some(Redrive { dead_letter_queue: "dead".to_owned(), max_receive_count: 3 });
        let queues: Vec<_> = settings.queues.iter().map(|queue| (queue.name.as_str(), queue.redrive.clone())).collect();
        assert_eq!(queues, [("a", redrive.clone()), ("b", redrive), ("dead", None)]);
        assert_eq!(settings.faults.lost_reply, 0.1);
    }

    #[test]
    fn a_dead_letter_queue_of_another_kind_is_refused() {
        assert_eq!(settings(&["--queue=a.fifo", "--redrive=dead:3"]).unwrap_err().to_string().lines().count(), 2);
        assert!(settings(&["--queue=a.fifo", "--redrive=dead.fifo:3"]).is_ok());
    }
}
