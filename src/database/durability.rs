//! Whether the server keeps the commits that it acknowledges.

use super::server::Shortcoming;
use super::{Database, DatabaseError};

/// The settings on which the promise rests, as they are in a session of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `fsync`: `off` loses data when the operating system crashes.
    pub fsync: String,
    /// `synchronous_commit`: `off` acknowledges commits that a crash of the server loses.
    pub synchronous_commit: String,
    /// `full_page_writes`: `off` may leave torn pages after a crash.
    pub full_page_writes: String,
}

impl Durability {
    /// What is wrong with the settings; empty when acknowledged commits are kept.
    pub fn problems(&self) -> Vec<Shortcoming> {
        let off = [
            ("fsync", &self.fsync),
            ("synchronous_commit", &self.synchronous_commit),
            ("full_page_writes", &self.full_page_writes),
        ];
        off.into_iter().filter(|(_, value)| *value == "off").map(|(name, _)| problem_with(name)).collect()
    }

    /// What of it a relay cannot do without. Its own notes wait for no disk, so that `synchronous_commit` of its role is no matter.
    pub fn problems_of_relay(&self) -> Vec<Shortcoming> {
        let off = [("fsync", &self.fsync), ("full_page_writes", &self.full_page_writes)];
        let lost = |name| Shortcoming {
            found: format!(
                "{name} is off: a crash of the server may take back events that were carried, or notes about others"
            ),
            remedy: format!("set {name} = on for this server"),
        };
        off.into_iter().filter(|(_, value)| *value == "off").map(|(name, _)| lost(name)).collect()
    }
}

/// What follows when a setting is off.
pub(super) fn problem_with(name: &str) -> Shortcoming {
    Shortcoming {
        found: format!(
            "{name} is off: PostgreSQL may lose commits that it acknowledged, after their messages were deleted"
        ),
        remedy: format!("set {name} = on for this server, database and role"),
    }
}

impl Database {
    /// Asks the server for its durability.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn durability(&self) -> Result<Durability, DatabaseError> {
        // A transaction of ours does not keep a `synchronous_commit` of the session that is off. What is wrong is the
        // session's.
        let sql = "SELECT pg_catalog.current_setting('fsync'),
                          (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit'),
                          pg_catalog.current_setting('full_page_writes')";
        let row = self.snapshot(async |seen| seen.query_one("ask for durability", sql, &[]).await).await?;
        Ok(Durability { fsync: row.get(0), synchronous_commit: row.get(1), full_page_writes: row.get(2) })
    }
}
