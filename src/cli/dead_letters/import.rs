//! `turnstile dead-letters import`.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{open, said};
use crate::carry::import::{Import, Report};
use crate::carry::read::LetterFile;
use crate::cli::terminal::{Progress, counted, say};
use crate::cli::{Failure, Outcome, refuse_other_keys};
use crate::config::rows::{self, BodyKind, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings};
use crate::drain::{Drain, Drained, LIMITS};
use crate::keyring::Keyring;
use crate::load::bury::Buried;
use crate::mask::MaskKind;
use crate::message::Identity;
use crate::queue::Queue as _;
use crate::queue::sqs::{SqsQueue, SqsSettings};
use crate::receive::ReceiveLimits;
use crate::shutdown::Signals;
use crate::table::loaders;
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters import` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Each message is claimed as a loader claims it, in the transaction that writes its letter: one that is recorded here already, whatever \
became of it, is left alone, and the same file again changes nothing. Letters that are open or discarded are imported; of those that \
were replayed or absorbed, the logins are where they come from. A letter comes as it was delivered, without the edits of it, and \
became a dead letter here when it was imported.\n\n\
--from-queue drains a standard queue. A message that SQS moved there is claimed under the queue that gave it up, so that one which \
was loaded or dead-lettered before is only deleted. A body that is a login becomes a dead letter `redriven`, and `dead-letters replay` \
loads it. Loaders may run meanwhile, and several may import at once.")]
pub(super) struct Args {
    /// The file, as `dead-letters export` wrote it, with its manifest beside it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Only say what would become of the letters of the file
    #[arg(long)]
    dry_run: bool,
}

/// Where letters come from.
enum From {
    File(PathBuf),
    Queue(SqsSettings),
}

struct Settings {
    database: DatabaseSettings,
    keyring: Keyring,
    from: From,
    identity: Identity,
    body: BodyKind,
    limit: Option<u64>,
    visibility_timeout: Duration,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, keyring, from, identity, body, limit, visibility_timeout, said, format } =
            self.read(given)?;
        let database = open(&database).await?;
        refuse_other_keys(&database, &keyring, None).await?;
        match from {
            From::File(path) => self.import(path, &database, &keyring, &said, format).await,
            From::Queue(settings) => {
                let queue = SqsQueue::connect(&settings).await?;
                refuse_loaded(&database, &queue).await?;
                let drain = Drain {
                    queue,
                    database,
                    hash_key: keyring.shared_hash_key(),
                    form: body.form(&keyring),
                    masker: keyring.masker(MaskKind::Seal),
                    sealer: keyring.body_sealer(),
                    identity,
                    limits: ReceiveLimits { visibility_timeout, ..LIMITS },
                    said,
                };
                drained(&drain, limit, format).await
            }
        }
    }

    async fn import(
        &self,
        path: PathBuf,
        database: &Database,
        keyring: &Keyring,
        said: &Said,
        format: Format,
    ) -> Result<Outcome, Failure> {
        let opening = tokio::task::spawn_blocking(move || LetterFile::open(&path)).await;
        let letter_file =
            opening.map_err(|error| Failure::without_remedy(format!("the file was not read: {error}")))??;
        let import = Import {
            database,
            keys: keyring.ids().cloned().collect(),
            opener: keyring.body_opener(),
            sealer: keyring.body_sealer(),
            said,
        };
        let mut progress = Progress::of(letter_file.manifest.letters, "dead letters");
        let show = |report: &Report| progress.show(report.seen, || format!("{} are read", report.seen));
        let report = import.run(&letter_file, self.dry_run, show).await;
        progress.end();
        let report = report?;
        say(&match format {
            Format::Json => report_json(&report, self.dry_run).to_string(),
            Format::Text => report_text(&report, self.dry_run),
        })?;
        Ok(if report.left_out() > 0 { Outcome::Failed } else { Outcome::Done })
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let queue = given.optional(&rows::FROM_QUEUE, &mut mistakes);
        let limit = given.optional(&rows::IMPORT_LIMIT, &mut mistakes);
        let identity = given.identity(&mut mistakes);
        let body = given.read(&rows::BODY, &mut mistakes);
        let visibility_timeout = given.read(&rows::VISIBILITY_TIMEOUT, &mut mistakes);
        let from = match (&self.file, queue) {
            (Some(file), Some(None)) => Some(From::File(file.clone())),
            (None, Some(Some(address))) => {
                Some(From::Queue(SqsSettings { asks_sources: true, ..given.queue_at(address) }))
            }
            (None, Some(None)) => mistakes.note("FILE", "is not given", "name a file, or a queue with --from-queue"),
            (Some(_), Some(Some(_))) => {
                mistakes.note("--from-queue", "is given beside a file", "give one or the other")
            }
            (_, None) => None,
        };
        if matches!(from, Some(From::File(_))) && limit.flatten().is_some() {
            mistakes.note::<()>("--limit", "is of a queue, and a file is imported whole", "omit it");
        }
        if matches!(from, Some(From::Queue(_))) && self.dry_run {
            let remedy = "omit it, or take a few messages with --limit: the letters can be discarded and opened again";
            mistakes.note::<()>("--dry-run", "is of a file: a queue shows its messages by handing them out", remedy);
        }
        let said = said(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || {
            Some(Settings {
                database: database?,
                keyring: keyring?,
                from: from?,
                identity: identity?,
                body: body?,
                limit: limit?,
                visibility_timeout: visibility_timeout?,
                said: said?,
                format: format?,
            })
        };
        mistakes.or(all())
    }
}

/// Refuses a queue from which loaders load: its messages would become dead letters before anybody has tried to load them.
async fn refuse_loaded(database: &Database, queue: &SqsQueue) -> Result<(), Failure> {
    let seen = database.snapshot(loaders::read).await?;
    let arn = queue.identity().as_str();
    match seen.iter().any(|seen| seen.beat.queue == arn) {
        false => Ok(()),
        true => {
            let what = format!("--from-queue: {arn} is a queue that loaders load from, and not a dead-letter queue");
            Err(Failure::new(what, "name the queue to which it moves what it gives up (its RedrivePolicy)"))
        }
    }
}

async fn drained(drain: &Drain, limit: Option<u64>, format: Format) -> Result<Outcome, Failure> {
    let stopping = CancellationToken::new();
    let mut progress = Progress::of_bytes(None);
    let show = |drained: &Drained| {
        progress.show(0, || format!("{} drained, {} new", HumanCount(drained.received), drained.buried.letters()));
    };
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let mut draining = Box::pin(drain.run(limit, &stopping, show));
    // What is in hand is brought to its end; a second signal cuts it off, and then it comes again.
    let (drained, ended_by) = tokio::select! {
        drained = &mut draining => (drained, None),
        signal = signals.next() => {
            stopping.cancel();
            tokio::select! {
                drained = &mut draining => (drained, Some(signal)),
                signal = signals.next() => return Ok(Outcome::EndedBy(signal)),
            }
        }
    };
    drop(draining);
    progress.end();
    let drained = drained?;
    say(&match format {
        Format::Json => drained_json(&drained).to_string(),
        Format::Text => drained_text(&drained),
    })?;
    Ok(match ended_by {
        Some(signal) => Outcome::EndedBy(signal),
        None if drained.not_deleted + drained.timeless > 0 => Outcome::Failed,
        None => Outcome::Done,
    })
}

/// `3 dead letters are imported: 2 invalid_json, 1 redriven`, and how many were known.
fn buried_text(buried: &Buried, would_be: bool) -> Vec<String> {
    let Buried { new, recorded } = buried;
    let codes: Vec<String> = new.iter().map(|(code, letters)| format!("{} {code}", HumanCount(*letters))).collect();
    let verb = if would_be { "would be imported" } else { "imported" };
    let mut lines = vec![match codes.is_empty() {
        true => format!("0 dead letters {verb}"),
        false => format!("{} {verb}: {}", counted(buried.letters(), "dead letter"), codes.join(", ")),
    }];
    if *recorded > 0 {
        lines.push(format!("{} recorded here already: nothing changes for them", HumanCount(*recorded)));
    }
    lines
}

fn report_text(report: &Report, would_be: bool) -> String {
    let Report { seen: _, buried, resolved, unopened, timeless, edited } = report;
    let mut lines = buried_text(buried, would_be);
    if *resolved > 0 {
        let why = "replayed or absorbed where they come from: their logins are there";
        lines.push(format!("{} not taken, {why}", HumanCount(*resolved)));
    }
    if *edited > 0 {
        let why = "what an edit made of them stays in the file";
        lines.push(format!("{} as they were delivered: {why}", HumanCount(*edited)));
    }
    for (why, letters) in unopened {
        lines.push(format!("{} not imported, the body does not open: {why}", HumanCount(*letters)));
    }
    if *timeless > 0 {
        let why = "they have no SentTimestamp, under which the messages of their queue are claimed here";
        lines.push(format!("{} not imported: {why}", HumanCount(*timeless)));
    }
    lines.join("\n")
}

fn report_json(report: &Report, is_dry_run: bool) -> Value {
    let Report { seen, buried: Buried { new, recorded }, resolved, unopened, timeless, edited } = report;
    json!({
        "dry_run": is_dry_run,
        "letters": seen,
        "imported": new,
        "recorded_already": recorded,
        "resolved_elsewhere": resolved,
        "unopened": unopened,
        "timeless": timeless,
        "edited": edited,
    })
}

fn drained_text(drained: &Drained) -> String {
    let Drained { received, buried, deleted, not_deleted, timeless, hidden } = drained;
    let mut lines = vec![format!("{} drained", counted(*received, "message"))];
    lines.extend(buried_text(buried, false));
    lines.push(format!("{} deleted from the queue", HumanCount(*deleted)));
    if *not_deleted > 0 {
        lines.push(format!("{} not deleted: import again, and they are known", HumanCount(*not_deleted)));
    }
    if *timeless > 0 {
        lines.push(format!("{} left in the queue: they came without a SentTimestamp", HumanCount(*timeless)));
    }
    if let Some(hidden) = hidden.filter(|hidden| *hidden > 0) {
        let why = "somebody has them in hand, or was stopped with them: import again after --visibility-timeout";
        lines.push(format!("{} still hidden by the queue: {why}", HumanCount(hidden)));
    }
    lines.join("\n")
}

fn drained_json(drained: &Drained) -> Value {
    let Drained { received, buried: Buried { new, recorded }, deleted, not_deleted, timeless, hidden } = drained;
    json!({
        "drained": received,
        "imported": new,
        "recorded_already": recorded,
        "deleted": deleted,
        "not_deleted": not_deleted,
        "timeless": timeless,
        "hidden": hidden,
    })
}
