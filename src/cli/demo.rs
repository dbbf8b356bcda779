//! `turnstile demo`.

use indicatif::HumanCount;

use super::failure::Remedied;
use super::terminal::say;
use super::{Failure, Outcome, terminal};
use crate::config::{Given, Mistakes, rows};
use crate::demo::{DemoError, HowFar, Report, Settings, World, run};
use crate::shutdown::{Signal, Signals};

/// What `turnstile demo` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Starts a queue of its own and a throw-away PostgreSQL (which must be installed), sends made-up logins, lets two loaders \
load them while the queue misbehaves and one of them is killed, and compares what was sent with what the tables hold. \
It leaves nothing behind; Ctrl-C ends it at any time.")]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let settings = read(given)?;
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let (world, report) = tokio::select! {
            played = play(settings) => played?,
            signal = signals.next() => return interrupted(signal),
        };
        if given.is_on(&rows::KEEP) {
            say(&how_to_connect(&world, &report))?;
            signals.next().await;
        }
        conclude(world, &report)
    }
}

/// Ends the world; where the promise did not hold, the logs stay.
pub(super) fn conclude(mut world: World, report: &Report) -> Result<Outcome, Failure> {
    if report.promise_held() {
        return Ok(Outcome::Done);
    }
    say(&format!("The logs of the loaders stay in {}", world.keep_logs().display()))?;
    Ok(Outcome::Failed)
}

impl Remedied for DemoError {
    fn remedy(&self) -> String {
        Self::remedy(self)
    }
}

pub(super) fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let messages = given.read(&rows::MESSAGES, &mut mistakes);
    let seed = given.read(&rows::DEMO_SEED, &mut mistakes);
    mistakes.or(messages.zip(seed).map(|(messages, seed)| Settings { messages, seed }))
}

/// What was dropped before this is called is stopped and removed.
pub(super) fn interrupted(signal: Signal) -> Result<Outcome, Failure> {
    say(&format!("Ended by {signal}: both servers and the loaders are stopped, and nothing is left behind."))?;
    Ok(Outcome::EndedBy(signal))
}

/// Plays the demo and tells its report. The world goes on for as long as it is held.
pub(super) async fn play(settings: Settings) -> Result<(World, Report), Failure> {
    say("Starting a queue and a throw-away PostgreSQL …")?;
    let mut world = World::start().await?;
    let messages = HumanCount(settings.messages);
    say(&format!("Sending {messages} made-up messages (seed {}), while two loaders load them …", settings.seed))?;
    let (of, mut view) = (settings.messages, terminal::Progress::of(settings.messages, "in the tables"));
    let show = |HowFar { sent, recorded }| view.show(recorded, || how_far(sent, recorded, of));
    let played = run(&world, settings, show).await;
    view.end();
    match played {
        Ok(report) => {
            say(&format!("\n{report}"))?;
            Ok((world, report))
        }
        Err(error) => {
            let logs = world.keep_logs();
            let of = format!("the demo broke off (the logs of its loaders stay in {})", logs.display());
            Err(Failure::from(error).within(of))
        }
    }
}

fn how_far(sent: u64, recorded: u64, of: u64) -> String {
    let n = HumanCount;
    match recorded < of {
        true => format!("{} of {} sent, {} in the tables", n(sent), n(of), n(recorded)),
        false => "All are in the tables; the loaders make sure that nothing is left in the queue".to_owned(),
    }
}

pub(super) fn how_to_connect(world: &World, report: &Report) -> String {
    let program = std::env::current_exe().map_or_else(|_| "turnstile".to_owned(), |path| path.display().to_string());
    let exports: Vec<String> =
        world.environment().iter().map(|(name, value)| format!("  export {name}='{value}'")).collect();
    let masked = report.rows.first().and_then(|(login, _)| login.values().find(|(field, _)| field.is_masked()));
    let value = masked.and_then(|(_, stored)| stored.text()).unwrap_or("VALUE");
    format!(
        "
Both servers run on until Ctrl-C, without faults. To use them from another terminal, or with any AWS client:

{exports}

  look at the tables       psql \"$DATABASE_URL\"
  send one message a line  {program} send FILE
  load what was sent       {program} run --until-empty
  recover a masked value   {program} unmask {value}
  see what was malformed   {program} dead-letters list
  prove the promise        {program} audit
",
        exports = exports.join("\n")
    )
}
