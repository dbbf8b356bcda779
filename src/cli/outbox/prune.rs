//! `turnstile outbox prune`.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use super::open;
use crate::cli::terminal::{counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::detach::InTheWay;
use crate::prune::{Gone, PruneError, PruneSettings, Pruned, prune};
use crate::table::low_water::{HeldBy, LowWater};

/// How long a partition waits for those who still look into it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `turnstile outbox prune` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
For the owner of the tables, once an hour or a day. A partition goes when every sink has had all of its events: none of them is \
in a relay's hand, in a gap, or waiting for another attempt. Loaders and relays go on meanwhile. What a run leaves half done, \
the next one ends. Where there is no sink, nothing goes.")]
pub(super) struct Args {
    /// Only say what would be dropped
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (database, format) = read(given)?;
        let database = open(&database).await?;
        let settings =
            PruneSettings { without_sinks: false, dry_run: self.dry_run, patience: PATIENCE, beside_writers: true };
        let mut said = Ok(());
        let pruned = prune(&database, settings, |gone| {
            if said.is_ok() {
                said = say(&line_of(gone, self.dry_run, format));
            }
        });
        let pruned = pruned.await?;
        said?;
        match format {
            Format::Json => say(&summary(&pruned).to_string())?,
            Format::Text => say_rest(&pruned)?,
        }
        match &pruned.in_the_way {
            None => Ok(Outcome::Done),
            Some(in_the_way) => Err(failure(in_the_way)),
        }
    }
}

fn read(given: &Given) -> Result<(DatabaseSettings, Format), Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    mistakes.or(database.zip(format))
}

fn line_of(gone: &Gone, dry_run: bool, format: Format) -> String {
    let Gone { partition, events, bytes } = gone;
    match format {
        Format::Json => {
            json!({"partition": partition, "dropped": !dry_run, "events": events, "bytes": bytes}).to_string()
        }
        Format::Text => {
            let does = if dry_run { "would drop" } else { "dropped" };
            format!("{does} {partition}: {}, {}", counted(*events, "event"), HumanBytes(*bytes))
        }
    }
}

fn summary(pruned: &Pruned) -> Value {
    let Pruned { gone, low_water, in_the_way } = pruned;
    let held_by = low_water.as_ref().map(|low| json!({"sink": low.sink, "by": low.held_by.as_str()}));
    let in_the_way = in_the_way.as_ref().map(|one| json!({"partition": one.partition, "holders": one.holders}));
    json!({
        "partitions": gone.len(),
        "low_water": low_water.as_ref().map(|low| low.position),
        "held_by": held_by,
        "in_the_way": in_the_way,
    })
}

fn say_rest(pruned: &Pruned) -> Result<(), Failure> {
    let Some(low_water) = &pruned.low_water else {
        return say("there is no sink: nobody has had the events, and no partition is dropped for it");
    };
    let LowWater { position, sink, held_by } = low_water;
    if pruned.gone.is_empty() && pruned.in_the_way.is_none() {
        say("no partition lies wholly below the low water: nothing is dropped")?;
    }
    let holds = match held_by {
        HeldBy::Frontier => "has not come further",
        HeldBy::Chunk => "is being given the next",
        HeldBy::Gap => "has a gap there, which may still be filled",
        HeldBy::Failure => "has refused the next, which waits for another attempt",
    };
    let position = HumanCount(u64::try_from(*position).unwrap_or(0));
    say(&format!("the low water is at position {position}: the sink {sink} {holds}"))
}

fn failure(in_the_way: &InTheWay) -> Failure {
    let (partition, by) = (&in_the_way.partition, in_the_way.named());
    Failure::new(
        format!(
            "{partition} is not dropped yet, because transactions that began before still look into the outbox{by}"
        ),
        "run the same again once they have ended: it goes on from there, and nobody waits for it meanwhile",
    )
}

impl From<PruneError> for Failure {
    fn from(error: PruneError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}
