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
use crate::seal::{BodyOpener, OpenError};
use crate::table::dead_letters::{self, BodyFacts, DeadLetter, Filter};
use crate::table::operator_actions::{self, Said};
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
    /// Where the body is to be shown: what opens it, and what is noted.
    reveals: Option<(BodyOpener, Said)>,
    format: Format,
}

/// All that is known of a dead letter.
struct Facts {
    letter: DeadLetter,
    processed: Option<Processed>,
    sealed: BodyFacts,
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
        let reveals = match self.reveal {
            true => given.keyring(&mut mistakes).zip(said_with_reason(given, &mut mistakes)).map(Some),
            false => Some(None),
        };
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || {
            let reveals = reveals?.map(|(keyring, said)| (keyring.body_opener(), said));
            Some(Settings { database: database?, prefixes, reveals, format: format? })
        };
        mistakes.or(all())
    }
}

/// The dead letters of these messages. A message has a second one where it came again after the tables had forgotten it.
async fn letters(database: &Database, hashes: Vec<MessageHash>) -> Result<Vec<DeadLetter>, Failure> {
    let only = Filter { hashes: Some(hashes), ..Filter::default() };
    let mut letters = database.snapshot(async |seen| dead_letters::newest(seen, &only, u64::MAX).await).await?;
    letters.sort_by_key(|letter| (letter.key.hash, letter.key.sent_at));
    Ok(letters)
}

impl Facts {
    async fn read(
        database: &Database,
        letter: DeadLetter,
        reveals: Option<&(BodyOpener, Said)>,
    ) -> Result<Self, Failure> {
        let key = letter.key;
        let read = async |seen: &Transaction| {
            Ok((processed_messages::read(seen, key).await?, dead_letters::describe_body(seen, key).await?))
        };
        let (processed, sealed) = database.snapshot(read).await?;
        let body = match reveals {
            None => None,
            Some((opener, said)) => {
                let reveal = async |transaction: &Transaction| {
                    operator_actions::say(transaction, said).await?;
                    dead_letters::reveal_body(transaction, key).await
                };
                // Noted before it is shown: what is committed twice was read twice.
                let sealed = database.transaction(reveal).await?;
                Some(opener.open(key.hash, &sealed).map(|(body, _)| body))
            }
        };
        Ok(Self { letter, processed, sealed, body })
    }

    fn lines(&self) -> String {
        let Self { letter, processed, sealed, body } = self;
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
