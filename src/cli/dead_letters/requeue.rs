//! `turnstile dead-letters requeue`.

use serde_json::json;

use super::{open, resolved, said, which};
use crate::cli::terminal::{Progress, agreed, counted, say};
use crate::cli::{Failure, Outcome, refuse_other_keys};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings};
use crate::keyring::Keyring;
use crate::requeue::{Origin, Report, Requeue, Stopped, Unfinished, in_words, name_in};
use crate::table::dead_letters::{self, Counted, Filter, Status, count_some};
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
        let letters = match &filter.hashes {
            Some(hashes) => hashes.len() as u64,
            None => {
                let Counted { letters, or_more } =
                    database.snapshot(async |seen| count_some(seen, &filter.search).await).await?;
                let more = if or_more { " or more" } else { "" };
                let question = format!("Send {}{more} back to the queue?", counted(letters, "dead letter"));
                if letters > 0 && !agreed(&question, self.yes)? {
                    say("nothing is sent")?;
                    return Ok(Outcome::Failed);
                }
                letters
            }
        };
        let queues = queues_of(&database, &filter).await?;
        let requeue = Requeue {
            opener: keyring.body_opener(),
            hash_key: keyring.shared_hash_key(),
            said,
            as_delivered: self.as_delivered,
            database,
        };
        let mut report = Report::default();
        let mut progress = Progress::of(letters, "dead letters");
        let ended = async {
            for arn in &queues {
                let sent = send_to(&requeue, arn, &filter, given, &mut progress).await;
                match sent {
                    Ok(sent) => report.add(sent),
                    Err((sent, failure)) => {
                        report.add(sent);
                        return Err(failure);
                    }
                }
            }
            Ok(())
        };
        let ended = ended.await;
        progress.end();
        say_report(&report, format)?;
        ended?;
        Ok(if resolved.is_empty() && report.not_sent.is_empty() { Outcome::Done } else { Outcome::Failed })
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

/// The ARNs of the queues that may have delivered such letters.
async fn queues_of(database: &Database, filter: &Filter) -> Result<Vec<String>, Failure> {
    let all = database.snapshot(async |seen| dead_letters::queues(seen).await).await?;
    let is_meant = |arn: &String| {
        let wanted = filter.search.queue.as_deref();
        wanted.is_none_or(|queue| arn == queue || name_in(arn) == queue)
    };
    Ok(all.into_iter().filter(is_meant).collect())
}

async fn send_to(
    requeue: &Requeue,
    arn: &str,
    filter: &Filter,
    given: &Given,
    progress: &mut Progress,
) -> Result<Report, (Report, Failure)> {
    let mut of_queue = filter.clone();
    of_queue.search.queue = Some(arn.to_owned());
    let any = async |seen: &_| Ok(!dead_letters::next(seen, &of_queue, None, 1).await?.is_empty());
    let stopped = |failure| (Report::default(), failure);
    if !requeue.database.snapshot(any).await.map_err(|error| stopped(error.into()))? {
        return Ok(Report::default());
    }
    let queue = Origin::find(arn, |address| given.queue_at(address)).await;
    let queue = queue.map_err(|error| stopped(Failure::new(error.to_string(), error.remedy())))?;
    let sent = requeue.run(&of_queue, &queue, |done| {
        progress.show(done, || format!("{done} of {} are dealt with", name_in(arn)));
    });
    sent.await.map_err(|Unfinished { report, error }| {
        let failure = match error {
            Stopped::Database(error) => Failure::from(error),
            Stopped::Queue(error) => Failure::new(error.to_string(), error.remedy()),
        };
        (report, failure.within("sending back stopped, and what is reported above holds"))
    })
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
        let words = in_words(why).map(|words| format!(": {words}")).unwrap_or_default();
        say(&format!("{letters} not sent, {why}{words}"))?;
    }
    Ok(())
}
