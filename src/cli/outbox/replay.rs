//! `turnstile outbox replay`.

use serde_json::json;

use super::open;
use super::text::{counted, number};
use crate::cli::terminal::{agreed, note, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::relay::again::{Bound, ReplayError, plan, replay};

/// What `turnstile outbox replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The relays of the sink that run carry the events, as they carry those of a relay that died, and before new ones. Each has the \
same id and the same bytes as before: a consumer that keeps ids drops it, a FIFO queue only if it took it within five minutes. \
Of a time, everything between the first and the last event of it is carried. What is above the frontier is left out: it comes by \
itself. A sink that keeps order takes no replay: give its consumer another sink.")]
pub(super) struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

struct Settings {
    database: DatabaseSettings,
    sink: String,
    from: Bound,
    to: Bound,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, sink, from, to, format } = read(given)?;
        let database = open(&database).await?;
        let plan = plan(&database, &sink, from, to).await?;
        let (first, last) = (plan.positions.start(), plan.positions.end());
        if plan.ends_at_frontier {
            note(&format!("the range ends at the frontier, {}: what is above comes by itself", number(*last)));
        }
        let question = format!(
            "carry {} at the positions {first} to {last} to the sink {sink} again? Its consumers will see them again, with the \
             same ids.",
            counted(plan.events, "event")
        );
        if !agreed(&question, self.yes)? {
            say("nothing is changed")?;
            return Ok(Outcome::Failed);
        }
        let chunks = replay(&database, &sink, &plan).await?;
        let said = match format {
            Format::Json => json!({"sink": sink, "first": first, "last": last, "events": plan.events, "chunks": chunks,
                       "ends_at_frontier": plan.ends_at_frontier})
            .to_string(),
            Format::Text => format!(
                "{} at the positions {first} to {last} are left to the relays of {sink}: `turnstile outbox status --sink {sink}` \
                 shows what is left of {}",
                counted(plan.events, "event"),
                counted(i64::try_from(chunks).unwrap_or(i64::MAX), "chunk")
            ),
        };
        say(&said)?;
        Ok(Outcome::Done)
    }
}

fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let sink = given.read(&rows::OF_SINK, &mut mistakes);
    let from = given.read(&rows::REPLAY_FROM, &mut mistakes);
    let to = given.read(&rows::REPLAY_TO, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some(Settings { database: database?, sink: sink?, from: from?, to: to?, format: format? });
    mistakes.or(all())
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}
