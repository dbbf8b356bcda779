//! `turnstile retain`.

use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::migrate::open;
use super::terminal::{counted, say};
use super::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::detach::InTheWay;
use crate::prune::{PruneSettings, prune};
use crate::readable::exact;
use crate::retention::{Gone, Refusal, RetainError, RetainSettings, Retained, retain};
use crate::table::leaving::Needed;

/// How long each step waits for those who are in the way.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `turnstile retain` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
For the owner of the tables, once a day. `turnstile migrate --partition` comes first, once. Partitions are made for some time \
ahead; then what is older than --keep leaves, whole partitions at a time: the events, the logins, and last the claims. Before \
any of it the horizon moves: a message that was sent before it, or whose key carries such a time, becomes a dead letter \
(older_than_memory) and is not loaded. A time stays while one of its letters is open, or one of its events has not come to every sink. Loaders go \
on meanwhile. What a run leaves half done, the next one ends.")]
pub struct Args {
    /// Only say what would leave, and what keeps it
    #[arg(long)]
    dry_run: bool,

    /// Detach partitions and leave them standing, for `turnstile archive`
    #[arg(long)]
    for_archive: bool,

    /// Let events go that nobody has had: there is no sink, and none is wanted
    #[arg(long)]
    without_sinks: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (database, settings, format) = self.read(given)?;
        let database = open(&database).await?;
        let mut said = Ok(());
        let retained = retain(&database, settings, |gone| {
            if said.is_ok() {
                said = say(&line_of(gone, self.dry_run, format));
            }
        });
        let retained = retained.await?;
        said?;
        if !self.dry_run && retained.in_the_way.is_none() {
            let RetainSettings { patience, beside_writers, without_sinks, .. } = settings;
            prune(&database, PruneSettings { without_sinks, dry_run: false, patience, beside_writers }, |_| {}).await?;
        }
        match format {
            Format::Json => say(&summary(&retained).to_string())?,
            Format::Text => say_rest(&retained, self.dry_run)?,
        }
        let failures: Vec<(String, Option<String>)> =
            retained.in_the_way.iter().map(of_holders).chain(retained.refused.iter().map(of_refusal)).collect();
        if failures.is_empty() { Ok(Outcome::Done) } else { Err(Failure::of(failures)) }
    }

    fn read(&self, given: &Given) -> Result<(DatabaseSettings, RetainSettings, Format), Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let keep = given.read(&rows::KEPT_FOR, &mut mistakes);
        let memory = given.optional(&rows::IDENTITY_MEMORY, &mut mistakes);
        if let (Some(keep), Some(Some(memory))) = (keep, memory)
            && memory != keep
            && memory.fewest_days() < keep.most_days()
        {
            let problem = "is shorter than --keep: a key would be loaded again whose login still stands in the tables";
            let remedy = "make it longer than --keep, or leave it out";
            mistakes.note::<()>(given.name_of(&rows::IDENTITY_MEMORY), problem, remedy);
        }
        let settings = keep.zip(memory).map(|(keep, memory)| RetainSettings {
            keep,
            identity_memory: memory.unwrap_or(keep),
            for_archive: self.for_archive,
            without_sinks: self.without_sinks,
            dry_run: self.dry_run,
            patience: PATIENCE,
            beside_writers: true,
        });
        let all = || Some((database?, settings?, format?));
        mistakes.or(all())
    }
}

fn line_of(gone: &Gone, dry_run: bool, format: Format) -> String {
    let Gone { parent, partition, rows, reckoned, bytes, for_archive } = gone;
    match format {
        Format::Json => json!({
            "table": parent.as_str(),
            "partition": partition,
            "left": !dry_run,
            "rows": rows,
            "reckoned": reckoned,
            "bytes": bytes,
            "for_archive": for_archive,
        })
        .to_string(),
        Format::Text => {
            let does = match (dry_run, for_archive) {
                (true, false) => "would drop",
                (true, true) => "would detach",
                (false, false) => "dropped",
                (false, true) => "detached for the archive",
            };
            let about = if *reckoned { "about " } else { "" };
            format!("{does} {partition}: {about}{}, {}", counted(*rows, "row"), HumanBytes(*bytes))
        }
    }
}

fn summary(retained: &Retained) -> Value {
    let at = |time: &Option<OffsetDateTime>| time.map(exact);
    let refused: Vec<Value> = retained
        .refused
        .iter()
        .map(|refusal| match refusal {
            Refusal::OpenLetters(needed) => of_needed("open_letters", needed),
            Refusal::UnsentEvents(needed) => of_needed("unsent_events", needed),
            Refusal::NoSink(needed) => of_needed("no_sink", needed),
            Refusal::TimelessClaims(count) => json!({"by": "timeless_claims", "count": count}),
        })
        .collect();
    let in_the_way =
        retained.in_the_way.as_ref().map(|one| json!({"partition": one.partition, "holders": one.holders}));
    json!({
        "older_than": at(&retained.older_than),
        "horizon": at(&retained.horizon),
        "partitions_made": retained.made,
        "partitions_left": retained.gone.len(),
        "letters_removed": retained.letters,
        "events_removed": retained.events,
        "keys_removed": retained.identities,
        "refused": refused,
        "in_the_way": in_the_way,
    })
}

fn of_needed(by: &str, needed: &Needed) -> Value {
    json!({"by": by, "count": needed.count, "oldest": exact(needed.oldest)})
}

fn say_rest(retained: &Retained, dry_run: bool) -> Result<(), Failure> {
    let Retained { older_than, horizon, made, gone, letters, events, identities, .. } = retained;
    if *made > 0 {
        say(&format!("made {}", counted(u64::from(*made), "partition")))?;
    }
    for (removed, what) in [(letters, "resolved letter"), (events, "old event"), (identities, "old key")] {
        if *removed > 0 {
            say(&format!("removed {}", counted(*removed, what)))?;
        }
    }
    if gone.is_empty() && retained.refused.is_empty() && retained.in_the_way.is_none() {
        let than = older_than.map_or_else(String::new, |time| format!(" than {}", time.date()));
        say(&format!("no whole partition is older{than}: nothing leaves"))?;
    }
    match (dry_run, horizon) {
        (false, Some(horizon)) if horizon.unix_timestamp() > 0 => {
            say(&format!("the horizon is {}: what was sent before it is not loaded any more", horizon.date()))
        }
        _ => Ok(()),
    }
}

fn of_holders(in_the_way: &InTheWay) -> (String, Option<String>) {
    let (partition, by) = (&in_the_way.partition, in_the_way.named());
    (
        format!("{partition} has not left yet, because transactions that began before are not ended{by}"),
        Some("run the same again once they have: it goes on from there, and nobody waits for it meanwhile".to_owned()),
    )
}

fn of_refusal(refusal: &Refusal) -> (String, Option<String>) {
    let since = |needed: &Needed| format!("{} from {} on", needed.count, needed.oldest.date());
    match refusal {
        Refusal::OpenLetters(needed) => (
            format!("dead letters of a time that is due are open: {}", since(needed)),
            Some("replay or discard them: `turnstile dead-letters list` shows them".to_owned()),
        ),
        Refusal::UnsentEvents(needed) => (
            format!("events of a time that is due have not come to every sink: {}", since(needed)),
            Some("let the relays carry them: `turnstile outbox status` shows which sink lags".to_owned()),
        ),
        Refusal::NoSink(needed) => (
            format!("events of a time that is due have come to no sink, because there is none: {}", since(needed)),
            Some("start `turnstile relay`, or let them go with --without-sinks".to_owned()),
        ),
        Refusal::TimelessClaims(count) => (
            format!(
                "{count} claims of a queue that gives no SentTimestamp stand in the first partition, and must stay"
            ),
            Some("keep this partition: claims under one constant time cannot leave by their time".to_owned()),
        ),
    }
}

impl From<RetainError> for Failure {
    fn from(error: RetainError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}
