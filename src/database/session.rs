//! What a transaction gives its session for as long as it lives: deadlines and settings, which ride on BEGIN.
//!
//! Not in the startup packet, whose `options` poolers refuse or drop in silence
//! ([PgBouncer](https://www.pgbouncer.org/config.html#ignore_startup_parameters)), and not by a round trip of their own.
//! What is set for a transaction holds through the notices of its COMMIT, and wins over role, database and URL.

use std::sync::LazyLock;
use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

/// Ends the text of every statement that this process prepares. The driver numbers the statements of each process from
/// nought on: where a pooler mixes up connections, one process would run what another has prepared under that number.
static MARK: LazyLock<String> = LazyLock::new(|| format!("/* turnstile: {:016x} */", rand::random::<u64>()));

/// The text of a statement to be prepared.
pub(super) fn marked(sql: &str) -> String {
    format!("{sql} {}", *MARK)
}

/// The texts that begin transactions, made once: each is one simple query.
#[derive(Debug)]
pub(super) struct Beginnings {
    pub(super) read_committed: String,
    pub(super) snapshot: String,
    /// As the first, but its commit does not wait for the disk.
    pub(super) unflushed: String,
}

impl Beginnings {
    pub(super) fn with_deadline(call_timeout: Duration) -> Self {
        let settings = settings(call_timeout);
        Self {
            // Not READ WRITE: a standby refuses that with 0A000, and a write with 25006, which passes when it is promoted.
            read_committed: format!("BEGIN ISOLATION LEVEL READ COMMITTED; {settings}"),
            // What is read is counted along an index up to a limit, which costs much by the planner's reckoning and little in
            // truth: to compile such a statement takes a second, and to run it a tenth of that.
            snapshot: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {settings}, {}", local("jit", "'off'")),
            unflushed: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; {settings}, {}",
                local("synchronous_commit", "'off'")
            ),
        }
    }
}

/// Where names are looked for that a statement does not qualify: nowhere but among the server's own. Nobody who may
/// create something in a schema of somebody else's search path is called by a statement of ours.
const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// Where tables are distributed, the shards are written to one after the other, always in the same order: then two batches
/// with the same messages wait for each other as they do on one server, and two with different ones do not wait. Written to
/// side by side, a shard would be kept from all other batches until the commit. A server without Citus takes it, and does
/// nothing with it.
const SHARDS_IN_ORDER: &str = "sequential";

/// One statement for all of them.
fn settings(call_timeout: Duration) -> String {
    let mut calls: Vec<String> =
        deadlines(call_timeout).iter().map(|(name, value)| local(name, &format!("'{value}'"))).collect();
    calls.push(local("search_path", &format!("'{SEARCH_PATH}'")));
    // A commit is believed only as long as no warning came with it.
    calls.push(local("client_min_messages", "'warning'"));
    calls.push(local("synchronous_commit", &waits_for_the_disk()));
    calls.push(local("citus.multi_shard_modify_mode", &format!("'{SHARDS_IN_ORDER}'")));
    format!("SELECT {}, {}", statements_of_others(), calls.join(", "))
}

/// A session that is weakened behind our back (a failover to a server with other settings) loses no commit of ours; every
/// other value is the operator's choice.
fn waits_for_the_disk() -> String {
    let session = "pg_catalog.current_setting('synchronous_commit')";
    format!("CASE {session} WHEN 'off' THEN 'on' ELSE {session} END")
}

/// Whether another process of Turnstile has left statements behind under the driver's own names: the connection is one
/// that a pooler passes round as it is. A pooler that keeps statements for its clients gives them names of its own.
fn statements_of_others() -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name ~ '^s[0-9]+$'
             AND statement LIKE '%/* turnstile: %' AND statement NOT LIKE '%{}')",
        *MARK
    )
}

/// What the server answers to that in a transaction's beginning.
pub(super) fn is_passed_round(answer: &[SimpleQueryMessage]) -> bool {
    answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")))
}

fn local(name: &str, value: &str) -> String {
    format!("pg_catalog.set_config('{name}', {value}, true)")
}

/// What the server does by itself when a client is late or gone, by the names of its settings.
fn deadlines(call_timeout: Duration) -> Vec<(&'static str, u128)> {
    let [statement, lock, idle] = [of_the_server(call_timeout), call_timeout.mul_f64(0.5), call_timeout.mul_f64(1.5)];
    let mut deadlines = vec![
        ("statement_timeout", statement.as_millis()),
        ("lock_timeout", lock.as_millis()),
        // A client that says nothing for longer than its own deadline has given the transaction up, and perhaps cannot
        // say so: its locks are in the way of others that load the same messages.
        ("idle_in_transaction_session_timeout", idle.as_millis()),
    ];
    deadlines.extend(keepalives(call_timeout));
    deadlines
}

/// How the server notices that a client is unreachable. While it waits for the rows of a COPY it heeds no other
/// deadline, and its own default is more than two hours.
fn keepalives(call_timeout: Duration) -> [(&'static str, u128); 4] {
    [
        ("tcp_keepalives_idle", u128::from(call_timeout.as_secs().max(1))),
        ("tcp_keepalives_interval", u128::from((call_timeout.as_secs() / 5).max(1))),
        ("tcp_keepalives_count", 3),
        // The same for a server that is stuck in writing.
        ("tcp_user_timeout", call_timeout.as_millis()),
    ]
}

/// What a session is told whose statements may take their time: none of the role's or the database's deadlines holds,
/// and a client that is gone is noticed.
pub(super) fn without_deadlines(call_timeout: Duration) -> String {
    let none = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"].map(|name| (name, 0));
    none.into_iter().chain(keepalives(call_timeout)).map(|(name, value)| format!("SET {name} = {value};")).collect()
}

/// What a session of its own is told besides.
pub(super) fn of_its_own() -> String {
    let commit = waits_for_the_disk();
    format!(
        "SET search_path = {SEARCH_PATH}; SET client_min_messages = 'warning'; SET timezone = 'UTC'; SET datestyle = 'ISO';
         SELECT pg_catalog.set_config('synchronous_commit', {commit}, false)"
    )
}

/// Begins a transaction of such a session that reads: floating-point numbers are written with all of their digits.
pub(super) const BEGIN_READING: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL extra_float_digits = 1; SET LOCAL jit = off";

/// For how long the next statements of such a session may run, and wait for a lock. Zero is without end.
pub(super) fn limits(statement: Duration, lock: Duration) -> String {
    format!("SET statement_timeout = {}; SET lock_timeout = {}", statement.as_millis(), lock.as_millis())
}

/// What a transaction is told that is given another deadline.
pub(super) fn another_deadline(call_timeout: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", of_the_server(call_timeout).as_millis())
}

/// The server's own deadline ends before the client's, so that the usual overrun is an error and not a lost connection.
fn of_the_server(call_timeout: Duration) -> Duration {
    call_timeout.mul_f64(0.9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_the_call_timeout_and_keepalives_are_never_off() {
        let of = |millis| deadlines(Duration::from_millis(millis)).iter().map(|(_, value)| *value).collect::<Vec<_>>();
        assert_eq!(of(10_000), [9_000, 5_000, 15_000, 10, 2, 3, 10_000]);
        assert_eq!(of(500), [450, 250, 750, 1, 1, 3, 500]);
    }
}
