//! Backends that a frozen rival has left in the middle of a COPY: a loader that waits for what they claimed ends them.
//!
//! A backend that waits for the rows of a COPY heeds none of the server's deadlines, and keepalives say nothing of a
//! client that is stopped (SIGSTOP, a paused container): its kernel answers them. So each COPY of ours bears the
//! deadline that its client has given it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Database, DatabaseError, Transaction};

/// What became of the backends whose clients are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrozenRivals {
    /// Those that were ended: what they had claimed is free.
    pub ended: u64,
    /// Those that this role may not end, and loaders' backends of which it may not even see what they do.
    pub not_permitted: u64,
}

/// A client that is alive gives up at its deadline; one whose COPY is open for longer by half cannot.
const FROZEN: &str = "a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
      AND a.state = 'active' AND a.wait_event = 'ClientRead'
      AND pg_catalog.clock_timestamp() - a.query_start > interval '1.5 ms'
          * substring(a.query FROM '^COPY /[*] turnstile: deadline ([0-9]{1,9}) ms [*]/ ')::float8";

/// Of a role whose statistics this one may not read, PostgreSQL shows the name of the program and no more.
const UNSEEN: &str = "a.datname = pg_catalog.current_database() AND a.query = '<insufficient privilege>'
      AND a.application_name = pg_catalog.current_setting('application_name')";

/// The text of a COPY that says by when its client gives it up. It stands at the beginning, because
/// `pg_stat_activity` cuts a text off.
pub(super) fn with_deadline(copy: &str, call_timeout: Duration) -> String {
    match copy.strip_prefix("COPY ") {
        Some(rest) => format!("COPY /* turnstile: deadline {} ms */ {rest}", call_timeout.as_millis()),
        None => copy.to_owned(),
    }
}

impl Database {
    /// Ends the backends of this database whose client has left a COPY of Turnstile's open for one and a half times its
    /// own deadline: it is frozen, and others that want the messages that it claimed would wait for as long as it is.
    ///
    /// Where this role may not end or see them, that is no error: it is counted, and said once.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn end_frozen_rivals(&self) -> Result<FrozenRivals, DatabaseError> {
        let (frozen, unseen) = self.frozen_rivals().await?;
        let mut rivals = FrozenRivals { ended: 0, not_permitted: unseen };
        for backend in frozen {
            match self.end_if_frozen(backend).await {
                Ok(true) => rivals.ended += 1,
                Ok(false) => {}
                Err(error) if error.sqlstate() == Some("42501") => rivals.not_permitted += 1,
                Err(error) => return Err(error),
            }
        }
        if rivals.not_permitted > 0 && !self.said_not_permitted.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                backends = rivals.not_permitted,
                "loaders that run as other roles cannot be looked after: if one freezes, its messages wait for it; let \
                 all loaders log in as one role, or grant pg_read_all_stats and pg_signal_backend to this one"
            );
        }
        Ok(rivals)
    }

    async fn frozen_rivals(&self) -> Result<(Vec<i32>, u64), DatabaseError> {
        let sql = format!(
            "SELECT a.pid, ({FROZEN}) IS TRUE FROM pg_catalog.pg_stat_activity AS a WHERE ({FROZEN}) OR ({UNSEEN})"
        );
        let look = async |transaction: &Transaction| transaction.query("look for frozen rivals", &sql, &[]).await;
        let rows = self.without_effect(look).await?;
        let (frozen, unseen): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get(1));
        Ok((frozen.iter().map(|row| row.get(0)).collect(), unseen.len() as u64))
    }

    /// In a transaction of its own: it looks anew, and one that may not be ended keeps nobody from the next.
    async fn end_if_frozen(&self, backend: i32) -> Result<bool, DatabaseError> {
        let sql = format!(
            "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
             WHERE a.pid = $1 AND ({FROZEN})"
        );
        let end = async |transaction: &Transaction| transaction.query("end a frozen rival", &sql, &[&backend]).await;
        Ok(self.without_effect(end).await?.first().is_some_and(|row| row.get(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_by_when_its_client_gives_it_up() {
        let deadline = Duration::from_millis(1_500);
        let told = with_deadline("COPY logins (n) FROM STDIN BINARY", deadline);
        assert_eq!(told, "COPY /* turnstile: deadline 1500 ms */ logins (n) FROM STDIN BINARY");
        assert_eq!(with_deadline("SELECT 1", deadline), "SELECT 1");
    }
}
