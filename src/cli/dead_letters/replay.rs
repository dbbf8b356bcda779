//! `turnstile dead-letters replay`.

use super::plans::{Replaying, report};
use super::{count, edits, open, resolved, said, said_with_reason, which};
use crate::cli::terminal::{Progress, agreed, counted};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings};
use crate::replay::edit::Edit;
use crate::replay::{Report, Wanted, compare};
use crate::table::dead_letters::{Filter, Status};
use crate::table::operator_actions::Said;
use crate::table::replay_plans::{Draft, Plan};

/// What `turnstile dead-letters replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A replay is a plan: which letters it has is settled before any of them is loaded, and `turnstile dead-letters plans` shows what \
was foreseen for each and what became of it. A replay that is stopped goes on with `plans run`.\n\n\
The key of a login is that of the --identity which is recorded for its queue. Where another message has brought the same \
login, the letter is absorbed. Replaying twice changes nothing, and several may replay at once.")]
pub(super) struct Args {
    #[command(flatten)]
    which: which::Letters,

    /// Only draw up the plan, and say what would become of each letter; a row that the database would refuse is not found this way
    #[arg(long)]
    dry_run: bool,

    /// Also load those whose messages are older than what the tables remember; they may have been loaded before
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    edits: edits::Edits,

    /// Do not ask before more than one letter is edited
    #[arg(long)]
    yes: bool,
}

struct Settings {
    database: DatabaseSettings,
    replaying: Replaying,
    which: which::Which,
    edit: Option<Edit>,
    said: Said,
    limit: Option<u64>,
    format: Format,
}

impl Args {
    /// What the plan is of, as it is shown beside it.
    fn meant(&self, which: &which::Which, limit: Option<u64>) -> String {
        let limit = limit.map(|limit| format!("limit {limit}"));
        let version = self.edits.as_delivered.then(|| "as delivered".to_owned());
        [Some(which.in_words()), limit, version].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, replaying, which, edit, said, limit, format } = self.read(given)?;
        let database = open(&database).await?;
        let filter = which.find(&database).await?;
        let discarded = self.say_resolved(&database, &filter).await?;
        if self.edits.replaces() && filter.hashes.as_ref().is_none_or(|hashes| hashes.len() != 1) {
            return Err(Failure::new("--replace is for a single letter", "name it by its hash"));
        }
        let draft = Draft {
            meant: self.meant(&which, limit),
            force: self.force,
            edits: edit.as_ref().map(Edit::operations).unwrap_or_default(),
        };
        let replay = replaying.replay(database, said).await?;
        let open = count(&replay.database, &filter.clone().with_status(Status::Open)).await?.letters;
        let wanted = Wanted { filter, limit, draft, as_delivered: self.edits.as_delivered };
        let mut progress = Progress::of(open, "dead letters");
        let plan = replay
            .draw_up(&wanted, edit.as_ref(), |letters| progress.show(letters, || format!("{letters} are looked at")))
            .await;
        progress.end();
        let plan = plan?;
        if self.dry_run || edit.is_some() && plan.letters > 1 {
            let foreseen = Report::foreseen(&compare(&replay.database, plan.id).await?);
            if self.dry_run || !self.is_agreed(&plan, &foreseen)? {
                report::say_foreseen(&plan, &foreseen, format)?;
                let is_done = self.dry_run && foreseen.stay_open() == 0 && discarded == 0;
                return Ok(if is_done { Outcome::Done } else { Outcome::Failed });
            }
        }
        let outcome = report::run(&replay, &plan, limit, format).await?;
        Ok(if discarded > 0 { Outcome::Failed } else { outcome })
    }

    /// Whether more than one edited letter is to be replayed.
    fn is_agreed(&self, plan: &Plan, foreseen: &Report) -> Result<bool, Failure> {
        let letters = counted(plan.letters, "dead letter");
        let question = format!(
            "Replay {letters} with the changes {}? {} would be loaded.",
            plan.edits.join(", "),
            indicatif::HumanCount(foreseen.replayed)
        );
        agreed(&question, self.yes)
            .map_err(|failure| failure.within(format!("plan {} is drawn up, and nothing of it is done", plan.id)))
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let replaying = Replaying::read(given, &mut mistakes);
        let which = self.which.read(given, Status::Open, &mut mistakes);
        let edit = self.edits.read(&mut mistakes);
        let said = match &edit {
            Some(None) => said(given, &mut mistakes),
            Some(Some(_)) | None => said_with_reason(given, &mut mistakes),
        };
        let limit = given.optional(&rows::REPLAY_LIMIT, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || {
            Some(Settings {
                database: database?,
                replaying: replaying?,
                which: which?,
                edit: edit?,
                said: said?,
                limit: limit?,
                format: format?,
            })
        };
        mistakes.or(all())
    }

    /// Says which of the letters that were asked for by name are resolved already, and counts those that were discarded:
    /// they are not replayed.
    async fn say_resolved(&self, database: &Database, filter: &Filter) -> Result<u64, Failure> {
        let resolved = resolved(database, filter).await?;
        for letter in &resolved {
            tracing::warn!(hash = %letter.key.hash, "a dead letter is {} already and is not replayed", letter.status.as_str());
        }
        Ok(resolved.iter().filter(|letter| letter.status == Status::Discarded).count() as u64)
    }
}
