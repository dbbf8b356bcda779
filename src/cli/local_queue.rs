//! `turnstile local-queue`: the local SQS server as a program of its own.

use std::time::Duration;

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions, Redrive, ServerOptions};

use super::failure::with_causes;
use super::terminal::say;
use super::{Failure, Outcome};
use crate::config::{Given, Kind, Mistakes, Setting, rows};
use crate::shutdown::Signals;

/// What `turnstile local-queue` takes.
///
/// The server is for development and tests: it keeps all messages in memory and lets everybody in. Besides SQS it
/// answers GET /health, and GET /faults with how often each fault has happened.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let options = options(given, &mut mistakes);
        serve(mistakes.or(options)?).await.map(|()| Outcome::Done)
    }
}

fn options(given: &Given, mistakes: &mut Mistakes) -> Option<ServerOptions> {
    let listen = given.read(&rows::LISTEN, mistakes);
    let host_names = host_names(given, mistakes);
    let visibility_timeout = whole_seconds(&rows::LOCAL_VISIBILITY_TIMEOUT, given, mistakes);
    let delay = whole_seconds(&rows::LOCAL_DELAY, given, mistakes);
    let region = given.read(&rows::LOCAL_REGION, mistakes);
    let redrive = given.optional(&rows::REDRIVE, mistakes).flatten();
    let queues = queues(given, redrive.as_ref(), mistakes);
    let faults = faults(given, mistakes);
    let (visibility_timeout, delay) = visibility_timeout.zip(delay)?;
    let queues = queues.into_iter().map(|queue| QueueOptions { visibility_timeout, delay, ..queue }).collect();
    Some(ServerOptions {
        host_names: host_names?,
        region: region?,
        queues,
        faults: faults?,
        ..ServerOptions::at(listen?)
    })
}

fn host_names(given: &Given, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let names = given.optional(&rows::HOST_NAMES, mistakes)?.unwrap_or_default();
    let is_host = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    for name in names.iter().filter(|name| !is_host(name)) {
        let remedy = "write the name alone, without http:// and port, for example queue.internal";
        mistakes.note::<()>(given.name_of(&rows::HOST_NAMES), format!("{name:?} is not a host name"), remedy);
    }
    Some(names)
}

fn queues(given: &Given, redrive: Option<&Redrive>, mistakes: &mut Mistakes) -> Vec<QueueOptions> {
    const REMEDY: &str = "choose 1 to 80 letters, digits, hyphens and underscores; a FIFO queue's name ends in .fifo";
    let setting = given.name_of(&rows::LOCAL_QUEUES);
    let mut queues: Vec<QueueOptions> = Vec::new();
    for name in given.read(&rows::LOCAL_QUEUES, mistakes).unwrap_or_default() {
        if !QueueOptions::is_valid_name(&name) {
            mistakes.note::<()>(&setting, format!("{name:?} is not the name of a queue"), REMEDY);
        } else if queues.iter().any(|queue| queue.name == *name) {
            mistakes.note::<()>(&setting, format!("{name:?} is given twice"), "remove one");
        }
        queues.push(QueueOptions { content_based_deduplication: true, ..QueueOptions::new(&name) });
    }
    let Some(redrive) = redrive else { return queues };
    let dead = QueueOptions { content_based_deduplication: true, ..QueueOptions::new(&redrive.dead_letter_queue) };
    queues.retain(|queue| queue.name != dead.name);
    if queues.iter().any(|queue| queue.fifo != dead.fifo) {
        let problem =
            "the dead-letter queue of a FIFO queue is a FIFO queue, and that of a standard one a standard one";
        let remedy = "start two servers, or give all names the same ending";
        mistakes.note::<()>(given.name_of(&rows::REDRIVE), problem, remedy);
    }
    queues.iter_mut().for_each(|queue| queue.redrive = Some(redrive.clone()));
    queues.push(dead);
    queues
}

fn faults(given: &Given, mistakes: &mut Mistakes) -> Option<Faults> {
    let mut faults = Faults::default();
    for text in given.optional(&rows::FAULT, mistakes)?.unwrap_or_default() {
        if let Err(problem) = faults.set(&text) {
            let names = Faults::NAMES.join(", ");
            let remedy = format!("write NAME=PROBABILITY, for example throttle=0.05; the names: {names}");
            mistakes.note::<()>(given.name_of(&rows::FAULT), problem, remedy);
        }
    }
    let max_delay = given.read(&rows::MAX_FAULT_DELAY, mistakes);
    let seed = given.read(&rows::LOCAL_SEED, mistakes);
    (faults.max_delay, faults.seed) = (max_delay?, seed?);
    Some(faults)
}

/// Reads a time that SQS takes: whole seconds.
fn whole_seconds(
    setting: &'static Setting<impl Kind<Value = Duration>>,
    given: &Given,
    mistakes: &mut Mistakes,
) -> Option<Duration> {
    let time = given.read(setting, mistakes)?;
    match time.subsec_nanos() {
        0 => Some(time),
        _ => mistakes.note(
            given.name_of(setting),
            format!("{time:?} is not a whole number of seconds"),
            "write for example 30s",
        ),
    }
}

async fn serve(options: ServerOptions) -> Result<(), Failure> {
    // Asked for before the server says that it is ready, so that no early signal is missed.
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let names: Vec<String> = options.queues.iter().map(|queue| queue.name.clone()).collect();
    let region = options.region.clone();
    let listen = "choose another address with --listen; port 0 takes a free one";
    let started = LocalQueue::start_with(options).await;
    let queue = started.map_err(|error| Failure::new(with_causes(&error), listen).within("the queue cannot start"))?;
    say(&greeting(&queue, &names, &region))?;
    signals.next().await;
    let last = farewell(&queue);
    queue.shutdown().await;
    say(&last)
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

    fn settings(arguments: &[&str]) -> Result<ServerOptions, Mistakes> {
        let typed = crate::cli::command().get_matches_from([&["turnstile", "local-queue"], arguments].concat());
        let given = Given::new(typed.subcommand().unwrap().1, []);
        let mut mistakes = given.mistakes();
        let options = options(&given, &mut mistakes);
        mistakes.or(options)
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_option() {
        let refused = settings(&[
            "--listen=nowhere",
            "--host-name=http://queue",
            "--queue=a b",
            "--queue=twice",
            "--queue=twice",
            "--visibility-timeout=13h",
            "--delay=1500ms",
            "--redrive=dead:0",
            "--region=?",
            "--fault=gremlins=0.5",
            "--fault=throttle=2",
            "--max-fault-delay=soon",
            "--seed=x",
        ])
        .unwrap_err();
        let refused = Failure::from(refused).to_string();
        let options: Vec<&str> = refused
            .lines()
            .filter(|line| line.starts_with("error: --"))
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        let all = [
            "--listen",
            "--host-name",
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
        assert_eq!(settings(&["--queue=a.fifo", "--redrive=dead:3"]).unwrap_err().into_iter().count(), 1);
        assert!(settings(&["--queue=a.fifo", "--redrive=dead.fifo:3"]).is_ok());
    }
}
