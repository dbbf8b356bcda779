//! What the role that is logged in may do with the tables, asked of the database: what it refuses need not be offered.

use crate::database::{DatabaseError, Transaction};

/// What a role may do. The grants of `deploy/grants.sql` are what usually gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// The role that has logged in.
    pub role: String,
    /// Whether it is a superuser, which may do everything.
    pub is_superuser: bool,
    /// See what is known of dead letters but their bodies (`turnstile_viewer`, `turnstile_operator`, `turnstile_revealer`).
    pub lists: bool,
    /// See how messages are recorded (the same roles).
    pub claims: bool,
    /// See what operators did (the same roles).
    pub history: bool,
    /// See which queues there are (`turnstile_viewer`, `turnstile_operator`).
    pub queues: bool,
    /// See how the sinks of the outbox stand (`turnstile_viewer`, `turnstile_operator`).
    pub outbox: bool,
    /// See the loaders, and where receiving is paused (`turnstile_viewer`, `turnstile_operator`).
    pub loaders: bool,
    /// Pause receiving, and end that (`turnstile_operator`).
    pub pauses: bool,
    /// See how long a sealed body is, and with which key it is sealed (`turnstile_operator`, `turnstile_revealer`).
    pub describes: bool,
    /// Discard dead letters and open them again (`turnstile_operator`).
    pub resolves: bool,
    /// See the replays that were drawn up (`turnstile_viewer`, `turnstile_operator`, `turnstile_revealer`).
    pub plans: bool,
    /// See what was edited, but for the bodies (the same roles).
    pub revisions: bool,
    /// Draw replays up and run them (`turnstile_operator`).
    pub replays: bool,
    /// Note something about a code (`turnstile_operator`).
    pub notes: bool,
    /// Read bodies, to send them back to their queue (`turnstile_operator`).
    pub requeues: bool,
    /// Read sealed bodies, to show them (`turnstile_revealer`).
    pub reveals: bool,
    /// Hold the tables to each other (`turnstile_auditor`).
    pub audits: bool,
}

const ATTEMPTED: &str = "ask what the role may do";

impl Powers {
    /// Asks for those of the role that has logged in.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Self, DatabaseError> {
        let own = transaction.schemas().own.name();
        // The names of tables in a schema that the role may not use cannot be looked up.
        let sql =
            "SELECT session_user::text, r.rolsuper, coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false)
                   FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1::text
                   WHERE r.rolname = session_user";
        let row = transaction.query_one(ATTEMPTED, sql, &[&own]).await?;
        let powers = Self { role: row.get(0), is_superuser: row.get(1), ..Self::default() };
        if !row.get::<_, bool>(2) {
            return Ok(powers);
        }
        let sql = "SELECT t.relname::text, w.col
                   FROM unnest($2::text[], $3::text[]) AS w (tab, col)
                   JOIN pg_catalog.pg_namespace n ON n.nspname = $1::text
                   JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid AND t.relname = w.tab
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = w.col AND NOT a.attisdropped
                   WHERE pg_catalog.has_column_privilege(t.oid, a.attnum, 'SELECT')
                   UNION ALL
                   SELECT p.proname::text, '' FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                   WHERE n.nspname = $1::text AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')";
        let (tables, columns): (Vec<&str>, Vec<&str>) = COLUMNS.into_iter().unzip();
        let rows = transaction.query(ATTEMPTED, sql, &[&own, &tables, &columns]).await?;
        let held: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let all = |wanted: &[(&str, &str)]| wanted.iter().all(|wanted| held.contains(wanted));
        Ok(Self {
            lists: all(&[("dead_letters", "detail"), ("dead_letters", "resolved_by")]),
            claims: all(&[("processed_messages", "outcome"), ("processed_messages", "processed_at")]),
            history: all(&[("operator_actions", "reason")]),
            queues: all(&[("queues", "arn")]),
            outbox: all(&[("relay_failures", "code"), ("relay_marks", "set_at"), ("outbox", "created_at")]),
            loaders: all(&[("loaders", "sqs_calls"), ("loader_pauses", "reason")]),
            pauses: all(&[("pause_receiving", ""), ("resume_receiving", "")]),
            describes: all(&[("describe_body", "")]),
            resolves: all(&[("set_status", "")]),
            plans: all(&[("replay_plans", "state"), ("replay_plan_letters", "became")]),
            revisions: all(&[("dead_letter_revisions", "paths")]),
            replays: all(&[("take_letters", ""), ("add_revisions", ""), ("set_status", "")]),
            notes: all(&[("note_code", "")]),
            requeues: all(&[("requeue_letters", "")]),
            reveals: all(&[("reveal_body", "")]),
            audits: all(&[
                ("processed_messages", "absorbed_by_sent_at"),
                ("processed_messages", "received_at"),
                ("identities", "owner"),
                ("outbox", "event_id"),
            ]) && all(&[("outbox", "message_sent_at"), ("horizon", "retained_since")]),
            ..powers
        })
    }
}

/// The columns that are asked for: each stands for what its table is granted for.
const COLUMNS: [(&str, &str); 20] = [
    ("dead_letter_revisions", "paths"),
    ("loaders", "sqs_calls"),
    ("loader_pauses", "reason"),
    ("replay_plans", "state"),
    ("replay_plan_letters", "became"),
    ("dead_letters", "detail"),
    ("dead_letters", "resolved_by"),
    ("processed_messages", "outcome"),
    ("processed_messages", "processed_at"),
    ("processed_messages", "absorbed_by_sent_at"),
    ("processed_messages", "received_at"),
    ("operator_actions", "reason"),
    ("queues", "arn"),
    ("relay_failures", "code"),
    ("relay_marks", "set_at"),
    ("outbox", "created_at"),
    ("outbox", "event_id"),
    ("outbox", "message_sent_at"),
    ("identities", "owner"),
    ("horizon", "retained_since"),
];
