//! `turnstile dead-letters plans show`.

use indicatif::HumanCount;
use serde_json::Value;

use super::report::progress;
use super::{Named, find};
use crate::cli::dead_letters::open;
use crate::cli::dead_letters::text::{hash_in_table, place_words, seconds, table};
use crate::cli::terminal::{aligned, printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::Given;
use crate::config::rows::{self, Format};
use crate::database::{Database, Transaction};
use crate::message::MessageKey;
use crate::records::plans::{compared_json, fate_words, letter_json, plan_json};
use crate::replay::{Fate, compare};
use crate::table::replay_plan_letters::{self, Compared, PlanLetter};
use crate::table::replay_plans::Plan;

/// What `turnstile dead-letters plans show` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    /// Also list each of its letters
    #[arg(long)]
    entries: bool,
}

/// How many letters are read at once.
const PAGE: u64 = 1_000;

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let (database, id) = (given.database(1, &mut mistakes), self.named.read(&mut mistakes));
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some((database?, id?, format?));
        let (database, id, format) = mistakes.or(all())?;
        let database = open(&database).await?;
        let plan = find(&database, id).await?;
        let compared = compare(&database, id).await?;
        match format {
            Format::Json => {
                let mut facts = plan_json(&plan);
                if let Value::Object(facts) = &mut facts {
                    let outcomes = compared.iter().map(compared_json).collect();
                    facts.insert("outcomes".to_owned(), Value::Array(outcomes));
                }
                say(&facts.to_string())?;
            }
            Format::Text => for_people(&plan, &compared)?,
        }
        if self.entries {
            entries(&database, &plan, format).await?;
        }
        Ok(Outcome::Done)
    }
}

fn for_people(plan: &Plan, compared: &[Compared]) -> Result<(), Failure> {
    let by = plan.person.as_ref().map_or_else(|| plan.role.clone(), |person| format!("{}: {person}", plan.role));
    let mut facts = vec![
        ("plan", plan.id.to_string()),
        ("state", plan.state.as_str().to_owned()),
        ("done", progress(plan)),
        ("letters of", plan.meant.clone()),
        ("by", by),
        ("made", seconds(plan.made_at)),
    ];
    facts.extend(plan.reason.clone().map(|reason| ("reason", reason)));
    facts.extend((!plan.edits.is_empty()).then(|| ("changes", plan.edits.join(", "))));
    facts.extend(plan.force.then(|| ("force", "also those older than what the tables remember".to_owned())));
    facts.extend(plan.begun_at.map(|at| ("begun", seconds(at))));
    facts.extend(plan.ended_at.map(|at| ("ended", seconds(at))));
    let lines: Vec<Vec<String>> =
        facts.into_iter().map(|(name, fact)| vec![name.to_owned(), printable(fact.as_bytes())]).collect();
    aligned(&lines).iter().try_for_each(|line| say(line))?;
    if compared.is_empty() {
        return Ok(());
    }
    say("")?;
    let row = |one: &Compared| {
        let at = one.pointer.as_ref().map(|pointer| format!(" at {pointer}")).unwrap_or_default();
        let became = one.became.as_ref().map_or_else(|| "-".to_owned(), fate_words);
        let foreseen = format!("{}{at}", fate_words(&one.foreseen));
        vec![HumanCount(one.letters).to_string(), printable(foreseen.as_bytes()), printable(became.as_bytes())]
    };
    table(&["letters", "foreseen", "became"], compared.iter().map(row))
}

/// All of them, page by page: what is shown is complete.
async fn entries(database: &Database, plan: &Plan, format: Format) -> Result<(), Failure> {
    let mut after: Option<MessageKey> = None;
    if format == Format::Text {
        say("")?;
    }
    loop {
        let read = async |seen: &Transaction| replay_plan_letters::page(seen, plan.id, after, PAGE).await;
        let letters = database.snapshot(read).await?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = Some(last.key);
        match format {
            Format::Json => letters.iter().try_for_each(|letter| say(&letter_json(letter).to_string()))?,
            Format::Text => table(&["hash", "code", "foreseen", "place", "became"], letters.iter().map(letter_row))?,
        }
    }
}

fn letter_row(letter: &PlanLetter) -> Vec<String> {
    let words = |fate: &Fate| printable(fate_words(fate).as_bytes());
    vec![
        hash_in_table(letter.key.hash),
        letter.code.clone(),
        words(&letter.foreseen),
        letter.place.as_deref().map(|place| printable(place_words(place).as_bytes())).unwrap_or_default(),
        letter.became.as_ref().map_or_else(|| "-".to_owned(), words),
    ]
}
