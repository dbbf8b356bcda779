//! `turnstile audit`.

use std::time::Duration;

use super::terminal::{Progress, exact, say};
use super::{Failure, Outcome, migrate};
use crate::audit::{Audit, audit};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::records::audit::audit_json;
use crate::table::agreement::{Breaks, RULES, Rule};

/// What `turnstile audit` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Reads one snapshot: loaders may keep running, and a standby is good enough.")]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (settings, deadline, format) = read(given)?;
        let database = migrate::open(&settings).await?;
        let mut progress = Progress::of(RULES.len() as u64, "rules");
        let show = |rules: usize| progress.show(rules as u64, || format!("{rules} of {} rules", RULES.len()));
        let audited = audit(&database, deadline, show).await;
        progress.end();
        let audit = audited?;
        if format == Format::Json {
            say(&audit_json(&audit).to_string())?;
            return Ok(if audit.holds() { Outcome::Done } else { Outcome::Failed });
        }
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

fn read(given: &Given) -> Result<(DatabaseSettings, Duration, Format), Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let deadline = given.read(&rows::AUDIT_TIMEOUT, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    mistakes.or(database.zip(deadline).zip(format)).map(|((database, deadline), format)| (database, deadline, format))
}

fn say_counts(audit: &Audit) -> Result<(), Failure> {
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
    let pruned = audit.pruned_until.map(|until| format!(" (those written until {} may be pruned)", exact(until)));
    say(&format!("outbox              {}{}", counts.events, pruned.unwrap_or_default()))?;
    audit.decided_until.map_or(Ok(()), |until| {
        say(&format!("what began after {} is not proven: a transaction has run since then, or may have", exact(until)))
    })
}

fn say_broken(rule: &Rule, breaks: &Breaks) -> Result<(), Failure> {
    say(&format!("broken: {}: {} messages, each of which {}", rule.name, breaks.total, rule.broken_by))?;
    breaks.first.iter().try_for_each(|hash| say(&format!("  {} {hash}", rule.name)))?;
    match breaks.total - breaks.first.len() as u64 {
        0 => Ok(()),
        more => say(&format!("  {} and {more} more", rule.name)),
    }
}
