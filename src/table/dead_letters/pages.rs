//! All letters that match, page by page, however many there are.

use time::OffsetDateTime;

use super::{Filter, next};
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::message::MessageKey;

const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// The letters that match and were there when it began: what becomes a dead letter since is another's.
pub struct Pages<'d> {
    database: &'d Database,
    /// When it began, by the database's clock.
    pub begun_at: OffsetDateTime,
    to_do: Vec<Filter>,
    after: Option<MessageKey>,
    size: u64,
}

impl<'d> Pages<'d> {
    /// Pages of so many letters.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], after half a minute if it might pass.
    pub async fn of(database: &'d Database, filter: &Filter, size: u64) -> Result<Self, DatabaseError> {
        let begin = async |seen: &Transaction| {
            let begun_at = seen.clock().await?;
            let mut meant = filter.clone();
            meant.search.until = Some(meant.search.until.map_or(begun_at, |until| until.min(begun_at)));
            Ok((begun_at, meant.by_code(seen).await?))
        };
        let (begun_at, mut to_do) = persist(PATIENCE, || database.snapshot(&begin)).await?;
        to_do.reverse();
        Ok(Self { database, begun_at, to_do, after: None, size })
    }

    /// The messages of the next page, in the order of their keys where they are of one code; none after the last.
    ///
    /// # Errors
    ///
    /// As [`Pages::of`]. It may be asked again.
    pub async fn next(&mut self) -> Result<Option<Vec<MessageKey>>, DatabaseError> {
        while let Some(part) = self.to_do.last() {
            let find = async |seen: &Transaction| next(seen, part, self.after, self.size).await;
            let keys = persist(PATIENCE, || self.database.snapshot(&find)).await?;
            self.after = keys.last().copied();
            if !keys.is_empty() {
                return Ok(Some(keys));
            }
            self.to_do.pop();
        }
        Ok(None)
    }
}
