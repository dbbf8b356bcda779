//! `replay_plans`: the replays of dead letters, whose they are and how far they have come.

use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::plan_id::PlanId;
use super::said::{Said, say};
use crate::database::{DatabaseError, Transaction};

/// How far a plan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its list is being made, or who made it has gone.
    Unfinished,
    /// Its list is made, and nothing is replayed.
    Ready,
    /// It was begun; whether somebody runs it now, its `worked_at` says.
    Running,
    /// Somebody put an end to it.
    Cancelled,
    /// Something became of each of its letters.
    Done,
}

impl State {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// A text is no state of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no state of a plan")]
pub struct NoState;

impl FromStr for State {
    type Err = NoState;

    fn from_str(word: &str) -> Result<Self, NoState> {
        let all = [Self::Unfinished, Self::Ready, Self::Running, Self::Cancelled, Self::Done];
        all.into_iter().find(|state| state.as_str() == word).ok_or(NoState)
    }
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number.
    pub id: PlanId,
    /// When it was drawn up, by the database's clock.
    pub made_at: OffsetDateTime,
    /// The database role that drew it up.
    pub role: String,
    /// Who it said it was.
    pub person: Option<String>,
    /// Why, as the person said.
    pub reason: Option<String>,
    /// Which letters were asked for, in words.
    pub meant: String,
    /// Whether letters are loaded whose messages are older than what the tables remember.
    pub force: bool,
    /// What is changed in the bodies: operations and pointers, never values.
    pub edits: Vec<String>,
    /// How far it has come.
    pub state: State,
    /// How many letters it has.
    pub letters: u64,
    /// Of how many of them something became.
    pub done: u64,
    /// When it was first run.
    pub begun_at: Option<OffsetDateTime>,
    /// When something last became of one of its letters.
    pub worked_at: Option<OffsetDateTime>,
    /// When it was cancelled or came to its end.
    pub ended_at: Option<OffsetDateTime>,
}

/// What a plan is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Which letters are asked for, in words.
    pub meant: String,
    /// Whether letters are loaded whose messages are older than what the tables remember.
    pub force: bool,
    /// What is changed in the bodies: operations and pointers, never values.
    pub edits: Vec<String>,
}

/// What [`plan_from`] reads.
const COLUMNS: &str =
    "plan, made_at, role, person, reason, meant, force, edits, state, letters, done, begun_at, worked_at, ended_at";

fn plan_from(transaction: &Transaction, row: &Row) -> Result<Plan, DatabaseError> {
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(Plan {
        id: PlanId(row.get(0)),
        made_at: row.get(1),
        role: row.get(2),
        person: row.get(3),
        reason: row.get(4),
        meant: row.get(5),
        force: row.get(6),
        edits: row.get(7),
        state: state_from(transaction, row.get(8))?,
        letters: count(9),
        done: count(10),
        begun_at: row.get(11),
        worked_at: row.get(12),
        ended_at: row.get(13),
    })
}

fn state_from(transaction: &Transaction, word: &str) -> Result<State, DatabaseError> {
    word.parse().map_err(|NoState| transaction.broken(READING, "its state is unknown".to_owned()))
}

/// Begins a plan without letters, and gives its number and the time after which letters are none of it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn begin(
    transaction: &Transaction,
    draft: &Draft,
    said: &Said,
) -> Result<(PlanId, OffsetDateTime), DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.replay_plans (person, reason, meant, force, edits)
         VALUES (nullif($1, ''), nullif($2, ''), $3, $4, $5) RETURNING plan, made_at",
        transaction.schemas().own
    );
    let row = transaction
        .query_one("begin a plan", &sql, &[&said.person, &said.reason, &draft.meant, &draft.force, &draft.edits])
        .await?;
    Ok((PlanId(row.get(0)), row.get(1)))
}

/// Says that the list of a plan is made; one that was cancelled meanwhile stays so.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn finish(transaction: &Transaction, id: PlanId, letters: u64) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.replay_plans SET state = 'ready', letters = $2 WHERE plan = $1 AND state = 'unfinished'",
        transaction.schemas().own
    );
    let letters = i64::try_from(letters).unwrap_or(i64::MAX);
    transaction.execute("finish a plan", &sql, &[&id.0, &letters]).await.map(drop)
}

/// Says that a plan is run that is ready; others stay as they are.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn run(transaction: &Transaction, id: PlanId) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.replay_plans SET state = 'running', begun_at = pg_catalog.clock_timestamp()
         WHERE plan = $1 AND state = 'ready'",
        transaction.schemas().own
    );
    transaction.execute("run a plan", &sql, &[&id.0]).await.map(drop)
}

/// Counts letters of which something became.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn advance(transaction: &Transaction, id: PlanId, by: usize) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.replay_plans SET done = done + $2, worked_at = pg_catalog.clock_timestamp() WHERE plan = $1",
        transaction.schemas().own
    );
    let by = i64::try_from(by).unwrap_or(i64::MAX);
    transaction.execute("note the progress of a plan", &sql, &[&id.0, &by]).await.map(drop)
}

/// Ends a plan of whose letters none is left.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn end(transaction: &Transaction, id: PlanId) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.replay_plans SET state = 'done', ended_at = pg_catalog.clock_timestamp()
         WHERE plan = $1 AND state = 'running'",
        transaction.schemas().own
    );
    transaction.execute("end a plan", &sql, &[&id.0]).await.map(drop)
}

/// Puts an end to a plan that has none yet; `false` where it has one. Who runs it stops before the next chunk. The
/// database notes who did it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn cancel(transaction: &Transaction, id: PlanId, said: &Said) -> Result<bool, DatabaseError> {
    say(transaction, said).await?;
    let sql = format!(
        "UPDATE {}.replay_plans SET state = 'cancelled', ended_at = pg_catalog.clock_timestamp()
         WHERE plan = $1 AND ended_at IS NULL",
        transaction.schemas().own
    );
    Ok(transaction.execute("cancel a plan", &sql, &[&id.0]).await? > 0)
}

/// Reads a plan, if there is one with this number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn find(transaction: &Transaction, id: PlanId) -> Result<Option<Plan>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM {}.replay_plans WHERE plan = $1", transaction.schemas().own);
    let rows = transaction.query(READING, &sql, &[&id.0]).await?;
    rows.first().map(|row| plan_from(transaction, row)).transpose()
}

/// Reads a plan that was there before: plans are not removed.
///
/// # Errors
///
/// [`DatabaseError`], also when it is gone.
pub async fn read(transaction: &Transaction, id: PlanId) -> Result<Plan, DatabaseError> {
    let found = find(transaction, id).await?;
    found.ok_or_else(|| transaction.broken(READING, format!("plan {id} is gone")))
}

const READING: &str = "read a plan";

/// Reads up to `limit` plans, the newest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn newest(transaction: &Transaction, limit: u64) -> Result<Vec<Plan>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM {}.replay_plans ORDER BY plan DESC LIMIT $1", transaction.schemas().own);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.query("read plans", &sql, &[&limit]).await?;
    rows.iter().map(|row| plan_from(transaction, row)).collect()
}
