//! `turnstile audit`.

use std::time::Duration;

use super::terminal::{Progress, say};
use super::{Outcome, migrate};
use crate::audit::{Audit, audit};
use crate::config::{Given, Mistakes, rows};
use crate::database::{Database, DatabaseSettings};
use crate::table::agreement::{Breaks, RULES, Rule};

/// What `turnstile audit` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads one snapshot: loaders may go on meanwhile, and a standby will do.
Exit codes: 0 the promise holds, 1 it is broken or could not be proven, 2 wrong use.")]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
        let (settings, deadline) = read(given)?;
        let database = Database::new(&settings)?;
        migrate::refuse_older(&database).await?;
        let mut progress = Progress::of(RULES.len() as u64, "rules");
        let show = |rules: usize| progress.show(rules as u64, || format!("{rules} of {} rules", RULES.len()));
        let audited = audit(&database, deadline, show).await;
        progress.end();
        let audit = audited?;
        say_counts(&audit)?;
        for (rule, breaks) in &audit.broken {
            say_broken(rule, breaks)?;
        }
        match audit.holds() {
            true => {
                say("the promise holds: every message is recorded once, and stands where its record says")?;
                Ok(Outcome::Done)
            }
            false => {
                say(&format!("the promise is broken: {} of {} rules", audit.broken.len(), RULES.len()))?;
                Ok(Outcome::Failed)
            }
        }
    }
}

fn read(given: &Given) -> Result<(DatabaseSettings, Duration), Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let deadline = given.read(&rows::AUDIT_TIMEOUT, &mut mistakes);
    mistakes.or(database.zip(deadline))
}

fn say_counts(audit: &Audit) -> anyhow::Result<()> {
    let counts = audit.counts;
    let recorded = counts.loaded + counts.dead_lettered + counts.absorbed;
    let (loaded, dead_lettered, absorbed) = (counts.loaded, counts.dead_lettered, counts.absorbed);
    say(&format!(
        "processed_messages  {recorded} ({loaded} loaded, {dead_lettered} dead-lettered, {absorbed} absorbed)"
    ))?;
    say(&format!("identities          {}", counts.identities))?;
    say(&format!(
        "user_logins         {} (and {} that stood there before Turnstile)",
        counts.rows, counts.adopted_rows
    ))?;
    let (open, replayed, absorbed, discarded) =
        (counts.open, counts.replayed, counts.letters_absorbed, counts.discarded);
    let letters = open + replayed + absorbed + discarded;
    say(&format!(
        "dead_letters        {letters} ({open} open, {replayed} replayed, {absorbed} absorbed, {discarded} discarded)"
    ))?;
    say(&format!("outbox              {}", counts.events))
}

fn say_broken(rule: &Rule, breaks: &Breaks) -> anyhow::Result<()> {
    say(&format!("broken: {}: {} messages, each of which {}", rule.name, breaks.total, rule.broken_by))?;
    breaks.first.iter().try_for_each(|hash| say(&format!("  {} {hash}", rule.name)))?;
    match breaks.total - breaks.first.len() as u64 {
        0 => Ok(()),
        more => say(&format!("  {} and {more} more", rule.name)),
    }
}
