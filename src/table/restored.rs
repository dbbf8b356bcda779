//! Tables into which rows come back from an archive, beside the tables that they left.

use super::archived_columns::{Column, RowDigest};
use super::retired::digest_of;
use super::time_partitions::Parent;
use crate::database::{DatabaseError, LoneSession, RowsIn};

/// A table that is being filled. Nobody sees it before [`Filling::keep`]; where that is not come to, it was never there once the
/// session has ended.
pub struct Filling<'s> {
    session: &'s LoneSession,
    parent: Parent,
    table: String,
    columns: Vec<Column>,
}

/// Whether a table of this name stands there.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn stands(session: &LoneSession, parent: Parent, table: &str) -> Result<bool, DatabaseError> {
    let sql =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname = $1 AND c.relname = $2)";
    let schema = parent.schema(session.schemas()).name();
    Ok(session.query_one("look for a table", sql, &[&schema, &table]).await?.get(0))
}

impl<'s> Filling<'s> {
    /// Makes the table, in a transaction that [`Filling::keep`] ends.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin(
        session: &'s LoneSession,
        parent: Parent,
        table: &str,
        columns: &[Column],
    ) -> Result<Self, DatabaseError> {
        let place = parent.place(session.schemas(), table).partition();
        let definitions: Vec<String> = columns.iter().map(Column::definition).collect();
        let sql = format!("BEGIN; SET LOCAL extra_float_digits = 1; CREATE TABLE {place} ({})", definitions.join(", "));
        session.run_all("make a table", &sql).await?;
        Ok(Self { session, parent, table: table.to_owned(), columns: columns.to_vec() })
    }

    /// Begins to copy rows into it.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn rows(&self) -> Result<RowsIn, DatabaseError> {
        let place = self.parent.place(self.session.schemas(), &self.table).partition();
        self.session.copy_in("restore rows", &format!("COPY {place} FROM STDIN BINARY")).await
    }

    /// Gives each column its own type; gives the digest of the rows, which is taken after that.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn digest(&self) -> Result<RowDigest, DatabaseError> {
        let place = self.parent.place(self.session.schemas(), &self.table).partition();
        let retyped: Vec<String> = self.columns.iter().filter_map(Column::retyped).collect();
        if !retyped.is_empty() {
            let sql = format!("ALTER TABLE {place} {}", retyped.join(", "));
            self.session.run_all("give restored columns their types", &sql).await?;
        }
        digest_of(self.session, self.parent, &self.table, &self.columns).await
    }

    /// Keeps the table.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn keep(self) -> Result<(), DatabaseError> {
        self.session.run_all("keep a restored table", "COMMIT").await
    }
}
