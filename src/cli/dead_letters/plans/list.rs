//! `turnstile dead-letters plans list`.

use super::report::progress;
use crate::cli::dead_letters::open;
use crate::cli::dead_letters::text::{seconds, table};
use crate::cli::terminal::{printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::Given;
use crate::config::rows::{self, Format};
use crate::database::Transaction;
use crate::records::plans::plan_json;
use crate::table::replay_plans::{self, Plan};

pub(super) async fn list(given: &Given) -> Result<Outcome, Failure> {
    let mut mistakes = given.mistakes();
    let (database, limit) = (given.database(1, &mut mistakes), given.read(&rows::PLANS_LIMIT, &mut mistakes));
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some((database?, limit?, format?));
    let (database, limit, format) = mistakes.or(all())?;
    let database = open(&database).await?;
    let plans = database.snapshot(async |seen: &Transaction| replay_plans::newest(seen, limit).await).await?;
    match format {
        Format::Json => plans.iter().try_for_each(|plan| say(&plan_json(plan).to_string()))?,
        Format::Text if plans.is_empty() => say("no replay was ever drawn up")?,
        Format::Text => {
            table(&["plan", "made", "state", "done", "by", "letters of", "changes"], plans.iter().map(row))?
        }
    }
    Ok(Outcome::Done)
}

fn row(plan: &Plan) -> Vec<String> {
    let by = plan.person.as_ref().unwrap_or(&plan.role);
    vec![
        plan.id.to_string(),
        seconds(plan.made_at),
        plan.state.as_str().to_owned(),
        progress(plan),
        printable(by.as_bytes()),
        printable(plan.meant.as_bytes()),
        printable(plan.edits.join(", ").as_bytes()),
    ]
}
