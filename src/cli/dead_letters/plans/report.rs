//! What is said of a plan: what was foreseen, how far it has come, what became.

use indicatif::HumanCount;
use serde_json::{Value, json};

use crate::cli::terminal::{Progress, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::Format;
use crate::database::Database;
use crate::records::plans::{compared_json, fate_words, rate};
use crate::replay::{Replay, Report, Unfinished, compare};
use crate::table::replay_plan_letters::Compared;
use crate::table::replay_plans::{Plan, State};

/// Runs a plan and says what became of it.
pub(in crate::cli::dead_letters) async fn run(
    replay: &Replay,
    plan: &Plan,
    limit: Option<u64>,
    format: Format,
) -> Result<Outcome, Failure> {
    // Said first: whatever ends this, the plan can be gone on with.
    tracing::info!(plan = plan.id.0, letters = plan.letters, "a plan is run");
    let mut progress = Progress::of(plan.letters, "dead letters");
    let mut now = plan.clone();
    let ended = replay
        .run_and_compare(plan.id, |plan| {
            now = plan.clone();
            progress.show(plan.done, || format!("plan {}", plan.id));
        })
        .await;
    progress.end();
    let (report, compared, stopped) = match ended {
        Ok(compared) => (Report::of(&compared), compared, None),
        Err(Unfinished { report, error }) => (*report, Vec::new(), Some(error)),
    };
    let otherwise: Vec<&Compared> = compared.iter().filter(|one| is_otherwise(one)).collect();
    match format {
        Format::Json => say(&json_of(plan, &report, Some(&otherwise)).to_string())?,
        Format::Text => {
            say_report(&report, limit)?;
            if stopped.is_none() {
                say_otherwise(plan, &otherwise, report.seen())?;
            }
        }
    }
    match stopped {
        Some(error) => {
            let within =
                format!("the replay stopped, and what is reported above holds; `plans run {}` goes on", plan.id);
            Err(Failure::from(error).within(&within))
        }
        None if now.state == State::Cancelled => Err(Failure::new(
            format!("plan {} was cancelled, and what is reported above holds", plan.id),
            "draw up another with `turnstile dead-letters replay`",
        )),
        None if report.stay_open() > 0 => Ok(Outcome::Failed),
        None => Ok(Outcome::Done),
    }
}

/// Says what became of a plan that has been run to its end before.
pub(super) async fn say_done(database: &Database, plan: &Plan, format: Format) -> Result<Outcome, Failure> {
    let compared = compare(database, plan.id).await?;
    let report = Report::of(&compared);
    let otherwise: Vec<&Compared> = compared.iter().filter(|one| is_otherwise(one)).collect();
    match format {
        Format::Json => say(&json_of(plan, &report, Some(&otherwise)).to_string())?,
        Format::Text => {
            say(&format!("plan {} is done already: this is what became of its letters", plan.id))?;
            say_report(&report, None)?;
            say_otherwise(plan, &otherwise, report.seen())?;
        }
    }
    Ok(Outcome::Done)
}

fn is_otherwise(compared: &Compared) -> bool {
    compared.became.as_ref().is_some_and(|became| *became != compared.foreseen)
}

/// Says what a plan would do that is not run.
pub(in crate::cli::dead_letters) fn say_foreseen(
    plan: &Plan,
    foreseen: &Report,
    format: Format,
) -> Result<(), Failure> {
    if format == Format::Json {
        return say(&json_of(plan, foreseen, None).to_string());
    }
    say(&format!("{} of {} open dead letters would be replayed", foreseen.replayed, foreseen.seen()))?;
    say_absorbed_and_open(foreseen)?;
    say(&format!("nothing is changed yet: `turnstile dead-letters plans run {}` does it", plan.id))
}

fn say_report(report: &Report, limit: Option<u64>) -> Result<(), Failure> {
    say(&format!("{} of {} open dead letters replayed", report.replayed, report.seen()))?;
    if Some(report.replayed) == limit {
        say("stopped at --limit")?;
    }
    say_absorbed_and_open(report)?;
    if report.no_longer_open > 0 {
        say(&format!("{} were resolved meanwhile by somebody else", report.no_longer_open))?;
    }
    match report.left {
        0 => Ok(()),
        left => say(&format!("{left} are left to do")),
    }
}

fn say_absorbed_and_open(report: &Report) -> Result<(), Failure> {
    if report.absorbed > 0 {
        say(&format!("{} are absorbed: another message had brought the same login", report.absorbed))?;
    }
    report.open.iter().try_for_each(|(why, letters)| say(&format!("{letters} stay open: {why}")))
}

fn say_otherwise(plan: &Plan, otherwise: &[&Compared], seen: u64) -> Result<(), Failure> {
    if otherwise.is_empty() {
        let as_foreseen = if seen == 0 { "" } else { ", all as foreseen" };
        return say(&format!("this was plan {}{as_foreseen}", plan.id));
    }
    say(&format!("this was plan {}, and not all became as foreseen:", plan.id))?;
    otherwise.iter().try_for_each(|one| {
        let became = one.became.as_ref().map(fate_words).unwrap_or_default();
        say(&format!("  {}: foreseen to be {}, became {became}", HumanCount(one.letters), fate_words(&one.foreseen)))
    })
}

/// How far a plan has come: `250 of 1,000 (25 %), 90 a second`.
pub(super) fn progress(plan: &Plan) -> String {
    let (done, letters) = (plan.done, plan.letters);
    let share = (done * 100).checked_div(letters).unwrap_or(0);
    let rate = rate(plan).map(|rate| format!(", {rate}")).unwrap_or_default();
    format!("{} of {} ({share} %){rate}", HumanCount(done), HumanCount(letters))
}

fn json_of(plan: &Plan, report: &Report, otherwise: Option<&[&Compared]>) -> Value {
    let Report { replayed, absorbed, open, no_longer_open, left } = report;
    let open: Vec<_> = open.iter().map(|(why, letters)| json!({"why": why.to_string(), "letters": letters})).collect();
    json!({
        "plan": plan.id.0,
        "dry_run": otherwise.is_none(),
        "replayed": replayed,
        "absorbed": absorbed,
        "stay_open": open,
        "no_longer_open": no_longer_open,
        "left": left,
        "otherwise_than_foreseen": otherwise.map(|all| all.iter().map(|one| compared_json(one)).collect::<Vec<_>>()),
    })
}
