//! `turnstile dead-letters requeue`.

use serde_json::json;

use super::{count, in_words, open, resolved, said, which};
use crate::cli::terminal::{Progress, agreed, counted, say};
use crate::cli::{Failure, Outcome, refuse_other_keys};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::keyring::Keyring;
use crate::requeue::{self, Report, Requeue, Unfinished};
use crate::table::dead_letters::Status;
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters requeue` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The messages are sent as they were delivered, or as they were edited and tried last. Each says which message it was, signed with \
the keyring's hash key: a loader of the same keyring takes it for that message, loads it and resolves its letter. Until then the \
letter is open. Sending twice changes nothing, nor does a replay or a discard meanwhile.\n\n\
The queue is the one that delivered the letter: it is found by the name in its ARN, with the standard AWS settings, and must \
have that ARN. Letters whose messages may be loaded already (older_than_memory, not_requeued) are not sent; nor are those of a \
queue that gives no SentTimestamp.\n\n\
Where the letters are not named one by one, it says how many there are and asks first.")]
pub(super) struct Args {
    #[command(flatten)]
    which: which::Letters,

    /// Send what was delivered, not what was edited and tried last
    #[arg(long)]
    as_delivered: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

struct Settings {
    database: DatabaseSettings,
    keyring: Keyring,
    which: which::Which,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, keyring, which, said, format } = self.read(given)?;
        let database = open(&database).await?;
        refuse_other_keys(&database, &keyring, None).await?;
        let filter = which.find(&database).await?.with_status(Status::Open);
        let resolved = resolved(&database, &filter).await?;
        for letter in &resolved {
            tracing::warn!(hash = %letter.key.hash, "a dead letter is {} already and is not sent", letter.status.as_str());
        }
        let found = count(&database, &filter).await?;
        let question = format!("Send {} back to the queue?", in_words(found));
        if filter.hashes.is_none() && found.letters > 0 && !agreed(&question, self.yes)? {
            say("nothing is sent")?;
            return Ok(Outcome::Failed);
        }
        let requeue = Requeue {
            opener: keyring.body_opener(),
            hash_key: keyring.shared_hash_key(),
            said,
            as_delivered: self.as_delivered,
            database,
        };
        let mut progress = Progress::of(found.letters, "dead letters");
        let show = |done: u64| progress.show(done, || format!("{done} are dealt with"));
        let ended = requeue.run(&filter, |address| given.queue_at(address), show).await;
        progress.end();
        let (report, stopped) = match ended {
            Ok(report) => (report, None),
            Err(Unfinished { report, error }) => (report, Some(error)),
        };
        say_report(&report, format)?;
        match stopped {
            Some(error) => {
                let within = "sending back stopped, and what is reported above holds";
                Err(Failure::new(error.to_string(), error.remedy()).within(within))
            }
            None if resolved.is_empty() && report.not_sent.is_empty() => Ok(Outcome::Done),
            None => Ok(Outcome::Failed),
        }
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let which = self.which.read(given, Status::Open, &mut mistakes);
        let said = said(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all =
            || Some(Settings { database: database?, keyring: keyring?, which: which?, said: said?, format: format? });
        mistakes.or(all())
    }
}

fn say_report(report: &Report, format: Format) -> Result<(), Failure> {
    let Report { sent, perhaps_twice, not_sent } = report;
    if format == Format::Json {
        return say(&json!({"sent": sent, "perhaps_twice": perhaps_twice, "not_sent": not_sent}).to_string());
    }
    let mut text = format!("{} sent back to the queue; open until a loader takes them", counted(*sent, "dead letter"));
    if *perhaps_twice > 0 {
        text += &format!("; at most {perhaps_twice} of them twice, which changes nothing");
    }
    say(&text)?;
    for (why, letters) in not_sent {
        let words = requeue::in_words(why).map(|words| format!(": {words}")).unwrap_or_default();
        say(&format!("{letters} not sent, {why}{words}"))?;
    }
    Ok(())
}
