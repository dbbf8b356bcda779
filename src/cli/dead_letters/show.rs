//! `turnstile dead-letters show`.

use serde_json::{Value, json};

use super::text::{body_json, exact, letter_json, place_words, seconds};
use super::{find, open, prefixes, said_with_reason};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::{aligned, printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings, Transaction};
use crate::message::{MessageHash, RawBody};
use crate::records::letters::{paths_words, revision_json};
use crate::seal::{BodyOpener, OpenError};
use crate::table::dead_letter_revisions::{self, Revision};
use crate::table::dead_letters::{self, BodyFacts, DeadLetter, Filter};
use crate::table::operator_actions::{self, Said};
use crate::table::plan_id::PlanId;
use crate::table::processed_messages::{self, Processed};

/// What `turnstile dead-letters show` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The hashes, or at least their first 8 digits
    #[arg(value_name = "HASH", required = true)]
    hashes: Vec<String>,

    /// Also show the body, which is personal data; needs the keyring and a --reason, and is noted in the history of the letter.
    /// What a terminal cannot print is escaped
    #[arg(long)]
    reveal: bool,
}

struct Settings {
    database: DatabaseSettings,
    prefixes: Vec<Prefix>,
    reveals: Option<Reveals>,
    format: Format,
}

/// How a body is to be shown.
struct Reveals {
    opener: BodyOpener,
    said: Said,
    /// As which plan edited it; none: as it was delivered.
    revision: Option<PlanId>,
}

/// All that is known of a dead letter.
struct Facts {
    letter: DeadLetter,
    processed: Option<Processed>,
    sealed: BodyFacts,
    revisions: Vec<Revision>,
    /// Where it was asked for.
    body: Option<Result<RawBody, OpenError>>,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, prefixes, reveals, format } = self.read(given)?;
        let database = open(&database).await?;
        let mut outcome = Outcome::Done;
        for (n, letter) in letters(&database, find(&database, &prefixes).await?).await?.into_iter().enumerate() {
            let facts = Facts::read(&database, letter, reveals.as_ref()).await?;
            if matches!(facts.body, Some(Err(_))) {
                outcome = Outcome::Failed;
            }
            match format {
                Format::Json => say(&facts.json().to_string())?,
                Format::Text if n > 0 => say(&format!("\n{}", facts.lines()))?,
                Format::Text => say(&facts.lines())?,
            }
        }
        Ok(outcome)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let prefixes = prefixes(&self.hashes, &mut mistakes);
        let revision = given.optional(&rows::REVISION, &mut mistakes);
        if given.has(&rows::REVISION) && !self.reveal {
            mistakes.note::<()>("--revision", "is of a body that is shown", "add --reveal");
        }
        let reveals = match self.reveal {
            true => {
                let (keyring, said) = (given.keyring(&mut mistakes), said_with_reason(given, &mut mistakes));
                let all = || Some(Reveals { opener: keyring?.body_opener(), said: said?, revision: revision? });
                all().map(Some)
            }
            false => Some(None),
        };
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some(Settings { database: database?, prefixes, reveals: reveals?, format: format? });
        mistakes.or(all())
    }
}

/// The dead letters of these messages. A message has a second one where it came again after the tables had forgotten it.
async fn letters(database: &Database, hashes: Vec<MessageHash>) -> Result<Vec<DeadLetter>, Failure> {
    let only = Filter::of(hashes);
    let mut letters = database.snapshot(async |seen| dead_letters::newest(seen, &only, u64::MAX).await).await?;
    letters.sort_by_key(|letter| (letter.key.hash, letter.key.sent_at));
    Ok(letters)
}

impl Facts {
    async fn read(database: &Database, letter: DeadLetter, reveals: Option<&Reveals>) -> Result<Self, Failure> {
        let key = letter.key;
        let read = async |seen: &Transaction| {
            let processed = processed_messages::read(seen, key).await?;
            let sealed = dead_letters::describe_body(seen, key).await?;
            Ok((processed, sealed, dead_letter_revisions::of_letter(seen, key).await?))
        };
        let (processed, sealed, revisions) = database.snapshot(read).await?;
        let body = match reveals {
            None => None,
            Some(Reveals { opener, said, revision }) => {
                if let Some(plan) = revision.filter(|plan| revisions.iter().all(|revision| revision.plan != *plan)) {
                    let what = format!("plan {plan} did not edit the dead letter {}", key.hash);
                    return Err(Failure::new(what, "`turnstile dead-letters show` names the plans that did"));
                }
                let reveal = async |transaction: &Transaction| {
                    operator_actions::say(transaction, said).await?;
                    match revision {
                        None => dead_letters::reveal_body(transaction, key).await,
                        Some(plan) => dead_letter_revisions::reveal(transaction, key, *plan).await,
                    }
                };
                // Noted before it is shown: what is committed twice was read twice.
                let sealed = database.transaction(reveal).await?;
                let opened = opener.open_version(key.hash, revision.map(|plan| plan.0), &sealed);
                Some(opened.map(|(body, _)| body))
            }
        };
        Ok(Self { letter, processed, sealed, revisions, body })
    }

    fn lines(&self) -> String {
        let Self { letter, processed, sealed, revisions, body } = self;
        let mut facts = vec![
            ("hash", letter.key.hash.to_string()),
            ("status", letter.status.as_str().to_owned()),
            ("code", letter.code.clone()),
            ("detail", letter.detail.clone()),
        ];
        facts.extend(letter.field.clone().map(|field| ("field", field)));
        facts.extend(letter.place.as_deref().map(|place| ("place", place_words(place))));
        facts.extend([
            ("dead-lettered", seconds(letter.dead_lettered_at)),
            ("queue", letter.queue.clone()),
            ("message id", letter.message_id.clone()),
            ("sent", letter.sent_timestamp.map_or_else(|| "the queue does not say".to_owned(), seconds)),
            ("last received", seconds(letter.received_at)),
            ("deliveries", letter.receive_count.to_string()),
        ]);
        if let (Some(at), Some(by)) = (letter.resolved_at, &letter.resolved_by) {
            facts.extend([("resolved", seconds(at)), ("resolved by", by.clone())]);
        }
        match processed {
            None => facts.push(("recorded as", "nothing: no row in processed_messages".to_owned())),
            Some(processed) => facts.extend([
                ("recorded as", processed.outcome.clone()),
                ("recorded", seconds(processed.processed_at)),
                ("first received", seconds(processed.received_at)),
            ]),
        }
        if let Some(owner) = processed.as_ref().and_then(|processed| processed.absorbed_by) {
            facts.push(("absorbed by", owner.to_string()));
        }
        facts.push(("sealed body", format!("{} bytes{}", sealed.bytes, sealed_with(sealed))));
        facts.extend(revisions.iter().map(|revision| ("edited", revision_words(revision))));
        let mut lines: Vec<Vec<String>> =
            facts.into_iter().map(|(name, fact)| vec![name.to_owned(), printable(fact.as_bytes())]).collect();
        match body {
            None => {}
            Some(Ok(body)) => lines.push(vec!["body".to_owned(), printable(body.as_bytes())]),
            Some(Err(error)) => lines.push(vec!["body".to_owned(), format!("cannot be opened: {error}")]),
        }
        aligned(&lines).join("\n")
    }

    fn json(&self) -> Value {
        let mut facts = letter_json(&self.letter);
        let mut add = |name: &str, value: Value| {
            if let Value::Object(facts) = &mut facts {
                facts.insert(name.to_owned(), value);
            }
        };
        add("processed", self.processed.as_ref().map_or(Value::Null, processed_json));
        add("sealed_bytes", Value::from(self.sealed.bytes));
        add("sealed_with", self.sealed.key_id.as_ref().map_or(Value::Null, |id| Value::from(id.as_str())));
        add("revisions", self.revisions.iter().map(revision_json).collect());
        match &self.body {
            None => {}
            Some(Ok(body)) => {
                let (name, body) = body_json(body);
                add(name, body);
            }
            Some(Err(error)) => add("body_error", Value::from(error.to_string())),
        }
        facts
    }
}

/// `2026-03-08 12:00:00Z by ada in plan 7, at /app_version, not tried: the app is old`.
fn revision_words(revision: &Revision) -> String {
    let Revision { plan, made_at, role, person, reason, tried_at, paths: _ } = revision;
    let by = person.as_ref().unwrap_or(role);
    let tried = if tried_at.is_some() { "" } else { ", not tried" };
    format!("{} by {by} in plan {plan}, at {}{tried}: {reason}", seconds(*made_at), paths_words(revision))
}

fn processed_json(processed: &Processed) -> Value {
    json!({
        "outcome": processed.outcome,
        "absorbed_by": processed.absorbed_by.map(|owner| owner.to_string()),
        "received_at": exact(processed.received_at),
        "processed_at": exact(processed.processed_at),
    })
}

fn sealed_with(sealed: &BodyFacts) -> String {
    sealed.key_id.as_ref().map(|id| format!(", under the key {id}")).unwrap_or_default()
}
