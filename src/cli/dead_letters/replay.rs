//! `turnstile dead-letters replay`.

use serde_json::json;

use super::{filter, find, open, prefixes, said};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::{Progress, say};
use crate::cli::{Failure, Outcome, refuse_other_keys, warn_of_weak_mask};
use crate::config::rows::{self, BodyKind, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings};
use crate::keyring::Keyring;
use crate::mask::MaskKind;
use crate::message::MessageHash;
use crate::replay::{Replay, Report, Unfinished};
use crate::table::dead_letters::{self, Filter, Status};
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The key of a login is that of the --identity which is recorded for its queue. Where another message has brought the same \
login, the letter is absorbed. Replaying twice changes nothing, and several may replay at once.")]
pub(super) struct Args {
    /// Which ones: hashes, or at least their first 8 digits
    #[arg(value_name = "HASH")]
    hashes: Vec<String>,

    /// Every open dead letter
    #[arg(long, conflicts_with = "hashes")]
    all: bool,

    /// Only say what would be replayed; a row that the database would refuse is not found this way
    #[arg(long)]
    dry_run: bool,

    /// Also load those whose messages are older than what the tables remember; they may have been loaded before
    #[arg(long)]
    force: bool,
}

struct Settings {
    database: DatabaseSettings,
    keyring: Keyring,
    mask: MaskKind,
    body: BodyKind,
    filter: Filter,
    prefixes: Vec<Prefix>,
    said: Said,
    limit: u64,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, keyring, mask, body, mut filter, prefixes, said, limit, format } = self.read(given)?;
        warn_of_weak_mask(mask);
        let database = open(&database).await?;
        refuse_other_keys(&database, &keyring, Some(mask)).await?;
        let mut discarded = 0;
        if !prefixes.is_empty() {
            let hashes = find(&database, &prefixes).await?;
            discarded = self.say_resolved(&database, &hashes).await?;
            filter.hashes = Some(hashes);
        }
        let replay = Replay {
            opener: keyring.body_opener(),
            form: body.form(&keyring),
            hash_key: keyring.shared_hash_key(),
            masker: keyring.masker(mask),
            said,
            dry_run: self.dry_run,
            force: self.force,
            database,
        };
        let open = count_open(&replay.database, &filter).await?;
        let mut progress = Progress::of(open, "dead letters");
        let show = |report: &Report| {
            let seen = report.seen();
            progress.show(seen, || format!("{} of {seen} seen are replayed, {open} are open", report.replayed));
        };
        let ended = replay.run(&filter, limit, show).await;
        progress.end();
        let (report, stopped) = match ended {
            Ok(report) => (report, None),
            Err(Unfinished { report, error }) => (*report, Some(error)),
        };
        self.say_report(&report, limit, format)?;
        match stopped {
            Some(error) => Err(Failure::from(error).within("the replay stopped, and what is reported above holds")),
            None if report.stay_open() > 0 || discarded > 0 => Ok(Outcome::Failed),
            None => Ok(Outcome::Done),
        }
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let mask = given.read(&rows::MASK, &mut mistakes);
        let body = given.read(&rows::BODY, &mut mistakes);
        let filter = filter(given, &mut mistakes);
        let prefixes = prefixes(&self.hashes, &mut mistakes);
        let said = said(given, &mut mistakes);
        let limit = given.optional(&rows::REPLAY_LIMIT, &mut mistakes).map(|limit| limit.unwrap_or(u64::MAX));
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let asked = self.all || !self.hashes.is_empty() || given.has(&rows::CODE);
        if !asked {
            let remedy = "give HASH…, --code CODE or --all";
            mistakes.note::<()>("HASH", "nothing says which dead letters are meant", remedy);
        }
        let all = || {
            let (database, keyring, mask, body) = (database?, keyring?, mask?, body?);
            Some(Settings {
                database,
                keyring,
                mask,
                body,
                filter,
                prefixes,
                said: said?,
                limit: limit?,
                format: format?,
            })
        };
        mistakes.or(all())
    }

    /// Says which of the letters that were asked for by name are resolved already, and counts those that were discarded:
    /// they are not replayed.
    async fn say_resolved(&self, database: &Database, hashes: &[MessageHash]) -> Result<u64, Failure> {
        let filter = Filter { hashes: Some(hashes.to_vec()), ..Filter::default() };
        let most = hashes.len() as u64;
        let letters = database.snapshot(async |seen| dead_letters::newest(seen, &filter, most).await).await?;
        let mut discarded = 0;
        for letter in letters.iter().filter(|letter| letter.status != Status::Open) {
            discarded += u64::from(letter.status == Status::Discarded);
            tracing::warn!(hash = %letter.key.hash, "a dead letter is {} already and is not replayed", letter.status.as_str());
        }
        Ok(discarded)
    }

    fn say_report(&self, report: &Report, limit: u64, format: Format) -> Result<(), Failure> {
        let Report { replayed, absorbed, open, no_longer_open } = report;
        if format == Format::Json {
            let open: Vec<_> =
                open.iter().map(|(why, letters)| json!({"why": why.to_string(), "letters": letters})).collect();
            let report = json!({"dry_run": self.dry_run, "replayed": replayed, "absorbed": absorbed, "stay_open": open, "no_longer_open": no_longer_open});
            return say(&report.to_string());
        }
        let would = if self.dry_run { "would be " } else { "" };
        say(&format!("{replayed} of {} open dead letters {would}replayed", report.seen()))?;
        if *absorbed > 0 {
            say(&format!("{absorbed} are absorbed: another message had brought the same login"))?;
        }
        if *replayed == limit {
            say("stopped at --limit")?;
        }
        for (why, letters) in open {
            say(&format!("{letters} stay open: {why}"))?;
        }
        if *no_longer_open > 0 {
            say(&format!(
                "{no_longer_open} were resolved meanwhile: by somebody else, or by this replay in a commit whose answer was lost"
            ))?;
        }
        Ok(())
    }
}

async fn count_open(database: &Database, filter: &Filter) -> Result<u64, Failure> {
    let filter = Filter { status: Some(Status::Open), ..filter.clone() };
    let counts = database.snapshot(async |seen| dead_letters::count(seen, &filter).await).await?;
    Ok(counts.iter().map(|count| count.letters).sum())
}
