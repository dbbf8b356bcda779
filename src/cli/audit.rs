//! `turnstile audit`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Outcome, migrate, say};
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
        let bar = bar();
        let audited = audit(&database, deadline, |rules_done| bar.set_position(rules_done as u64)).await;
        bar.finish_and_clear();
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
    let mut mistakes = Mistakes::default();
    let database = given.database(1, &mut mistakes);
    let deadline = given.read(&rows::AUDIT_TIMEOUT, &mut mistakes);
    mistakes.or(database.zip(deadline))
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rules, {elapsed}");
    let bar = ProgressBar::new(RULES.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
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
