//! What the loader's role must be granted, derived from the statements of these rooms, and what it is granted beyond that.
//! `deploy/grants.sql` grants the same.

use super::facts::{LOGINS, OF_RELAY, SEQUENCE};
use super::login_columns::{EVENT_ID, LoginColumns, MESSAGE_HASH, TRACEPARENT};
use crate::database::schemas::Schemas;
use crate::database::{DatabaseError, Transaction};
use crate::stream::LOGIN;

/// The table in which the versions stand.
pub const MIGRATIONS: &str = "refinery_schema_history";

/// What a privilege is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The schema of Turnstile's own tables.
    OwnSchema,
    /// The schema of the logins.
    LoginsSchema,
    /// A table: of Turnstile's own, or that of the logins.
    Table(&'static str),
    /// The sequence of the positions.
    Sequence,
    /// A function, by its name and the types that it takes: there is no other of that name.
    Function(&'static str, &'static str),
}

/// The function that makes partitions.
pub const EXTEND_OUTBOX: Object = Object::Function("extend_outbox", "");
/// The function that makes those by time.
pub const EXTEND_PARTITIONS: Object = Object::Function("extend_partitions", "");
/// The functions by which messages are loaded that an operator sent back to the queue.
pub const OF_REQUEUED: [Object; 2] = [
    Object::Function("take_requeued", "bytea[], timestamptz[]"),
    Object::Function("resolve_requeued", "bytea[], timestamptz[]"),
];
/// The function that removes the rows of loaders that are gone.
pub const FORGET_LOADERS: Object = Object::Function("forget_loaders", "");

impl Object {
    /// As GRANT names it.
    pub fn in_words(self, schemas: &Schemas) -> String {
        let Schemas { own, logins } = schemas;
        match self {
            Self::OwnSchema => format!("SCHEMA {own}"),
            Self::LoginsSchema => format!("SCHEMA {logins}"),
            Self::Table(LOGINS) => format!("{logins}.{LOGINS}"),
            Self::Table(name) => format!("{own}.{name}"),
            Self::Sequence => format!("SEQUENCE {own}.{SEQUENCE}"),
            Self::Function(name, takes) => format!("FUNCTION {own}.{name}({takes})"),
        }
    }

    fn schema(self, schemas: &Schemas) -> &str {
        match self {
            Self::LoginsSchema | Self::Table(LOGINS) => schemas.logins.name(),
            Self::OwnSchema | Self::Table(_) | Self::Sequence | Self::Function(..) => schemas.own.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::OwnSchema | Self::LoginsSchema => "",
            Self::Table(name) | Self::Function(name, _) => name,
            Self::Sequence => SEQUENCE,
        }
    }
}

/// A privilege on an object or, of a table, on a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// `SELECT`, `INSERT`, `UPDATE`, `USAGE` or `EXECUTE`.
    pub action: &'static str,
    /// On what.
    pub object: Object,
    /// Of a table, the column; else nothing.
    pub column: &'static str,
}

/// What the loader does with a table, column by column. What `RETURNING`, `WHERE` and `ON CONFLICT` name counts as selected.
struct Use {
    table: &'static str,
    inserted: Inserted,
    selected: &'static [&'static str],
    updated: &'static [&'static str],
}

/// The columns that the loader writes in a new row.
enum Inserted {
    /// These.
    Columns(&'static [&'static str]),
    /// Those of a login, and the hash of its message under this name.
    Login(&'static str),
    /// Those of an event.
    Event,
}

impl Inserted {
    fn columns(&self) -> Vec<&'static str> {
        match self {
            Self::Columns(columns) => columns.to_vec(),
            Self::Login(hash) => LoginColumns::of(&LOGIN, hash).names().to_vec(),
            Self::Event => [LoginColumns::of(&LOGIN, EVENT_ID).names(), &[TRACEPARENT]].concat(),
        }
    }
}

const USES: [Use; 9] = [
    Use {
        table: "processed_messages",
        inserted: Inserted::Columns(&["sent_at", "message_hash", "outcome", "message_id", "body_hash", "received_at"]),
        selected: &["sent_at", "message_hash"],
        updated: &["outcome", "absorbed_by", "absorbed_by_sent_at"],
    },
    Use {
        table: "identities",
        inserted: Inserted::Columns(&["key_time", "hash", "owner_sent_at", "owner", "login_hash"]),
        selected: &["key_time", "hash", "owner_sent_at", "owner", "login_hash"],
        updated: &[],
    },
    Use {
        table: "queues",
        inserted: Inserted::Columns(&["arn", "scheme"]),
        selected: &["arn", "scheme", "scheme_since", "time_basis"],
        updated: &["scheme", "scheme_since", "time_basis"],
    },
    Use {
        table: LOGINS,
        inserted: Inserted::Login(MESSAGE_HASH),
        selected: &["message_sent_at", "message_hash"],
        updated: &[],
    },
    Use {
        table: "dead_letters",
        inserted: Inserted::Columns(&[
            "message_hash",
            "code",
            "detail",
            "sealed_body",
            "message_id",
            "receive_count",
            "field",
            "place",
            "sent_at",
            "sent_timestamp",
            "received_at",
            "queue",
        ]),
        selected: &["sent_at", "message_hash"],
        updated: &[],
    },
    Use { table: "outbox", inserted: Inserted::Event, selected: &["position"], updated: &[] },
    Use {
        table: "turnstile_keys",
        inserted: Inserted::Columns(&[]),
        selected: &["key_id", "purpose", "mask", "check_value", "registered_at"],
        updated: &[],
    },
    Use { table: "horizon", inserted: Inserted::Columns(&[]), selected: &["retained_since"], updated: &[] },
    Use { table: MIGRATIONS, inserted: Inserted::Columns(&[]), selected: &["version"], updated: &[] },
];

/// The table in which a loader notes that it lives.
pub const LOADERS: &str = "loaders";

/// What it does there. It loads all the same where it may not.
const OF_HEARTBEAT: Use = Use {
    table: LOADERS,
    inserted: Inserted::Columns(&[
        "id",
        "host",
        "pid",
        "version",
        "queue",
        "state",
        "lanes",
        "received",
        "loaded",
        "dead_lettered",
        "absorbed",
        "contradicting",
        "returned",
        "released",
        "damaged",
        "in_hand",
        "received_per_second",
        "loaded_per_second",
        "lag_p50",
        "lag_p99",
        "sqs_calls",
        "sqs_billed",
        "sqs_empty_receives",
    ]),
    selected: &["id"],
    updated: &[
        "seen_at",
        "state",
        "lanes",
        "received",
        "loaded",
        "dead_lettered",
        "absorbed",
        "contradicting",
        "returned",
        "released",
        "damaged",
        "in_hand",
        "received_per_second",
        "loaded_per_second",
        "lag_p50",
        "lag_p99",
        "sqs_calls",
        "sqs_billed",
        "sqs_empty_receives",
    ],
};

/// Columns that hold personal values, masked or sealed, with their tables: the loader writes them and never reads them.
fn personal_columns() -> Vec<(&'static str, &'static str)> {
    let of_login = LOGIN.fields.iter().filter(|field| field.is_personal());
    let of_login = of_login.flat_map(|field| [(LOGINS, field.column), ("outbox", field.column)]);
    of_login.chain([("dead_letters", "sealed_body")]).collect()
}

/// Every right that the loader needs.
pub fn needed() -> Vec<Right> {
    let wholes = [
        Right::whole("USAGE", Object::OwnSchema),
        Right::whole("USAGE", Object::LoginsSchema),
        Right::whole("USAGE", Object::Sequence),
        Right::whole("SELECT", Object::Sequence),
        Right::whole("EXECUTE", EXTEND_OUTBOX),
        Right::whole("EXECUTE", EXTEND_PARTITIONS),
    ];
    let wholes = wholes.into_iter().chain(OF_REQUEUED.map(|function| Right::whole("EXECUTE", function)));
    wholes.chain(USES.iter().flat_map(Use::rights)).collect()
}

/// Every right without which a loader is not seen, and loads.
pub fn of_heartbeat() -> Vec<Right> {
    OF_HEARTBEAT.rights().chain([Right::whole("EXECUTE", FORGET_LOADERS)]).collect()
}

impl Right {
    fn whole(action: &'static str, object: Object) -> Self {
        Self { action, object, column: "" }
    }
}

impl Use {
    fn rights(&self) -> impl Iterator<Item = Right> + use<> {
        let object = Object::Table(self.table);
        let (inserted, selected, updated) = (self.inserted.columns(), self.selected.to_vec(), self.updated.to_vec());
        [("INSERT", inserted), ("SELECT", selected), ("UPDATE", updated)]
            .into_iter()
            .flat_map(move |(action, columns)| columns.into_iter().map(move |column| Right { action, object, column }))
    }
}

/// What the role may do with the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Every right that is needed or of the heartbeat, and whether the role has it; none where there is no such column or object.
    pub needed: Vec<(Right, Option<bool>)>,
    /// What the role may do beyond that, in words: with the tables, the schemas and the server.
    pub beyond: Vec<String>,
}

impl Rights {
    /// Reads them for the role as which statements run.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Self, DatabaseError> {
        let rights = [needed(), of_heartbeat()].concat();
        let mut held = whole(transaction, &rights).await?.into_iter();
        let mut of_columns = columns(transaction, &rights).await?.into_iter();
        let answer = |right: Right| {
            let answers = if right.column.is_empty() { &mut held } else { &mut of_columns };
            (right, answers.next().flatten())
        };
        let needed: Vec<_> = rights.into_iter().map(answer).collect();
        let mut beyond = of_tables(transaction).await?;
        beyond.extend(personal(transaction).await?);
        beyond.extend(of_role(transaction).await?);
        Ok(Self { needed, beyond })
    }
}

const ATTEMPTED: &str = "ask for privileges";

async fn whole(transaction: &Transaction, rights: &[Right]) -> Result<Vec<Option<bool>>, DatabaseError> {
    let schemas = transaction.schemas();
    let rights: Vec<&Right> = rights.iter().filter(|right| right.column.is_empty()).collect();
    let names: Vec<&str> = rights.iter().map(|right| right.object.schema(schemas)).collect();
    let objects: Vec<&str> = rights.iter().map(|right| right.object.name()).collect();
    let actions: Vec<&str> = rights.iter().map(|right| right.action).collect();
    let sql = "SELECT CASE w.action
                   WHEN 'EXECUTE' THEN (SELECT pg_catalog.has_function_privilege(p.oid, w.action) FROM pg_catalog.pg_proc p
                                        WHERE p.pronamespace = n.oid AND p.proname = w.object)
                   ELSE CASE w.object WHEN '' THEN pg_catalog.has_schema_privilege(n.oid, w.action)
                        ELSE (SELECT pg_catalog.has_sequence_privilege(c.oid, w.action) FROM pg_catalog.pg_class c
                              WHERE c.relnamespace = n.oid AND c.relname = w.object AND c.relkind = 'S') END END
               FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w (sch, object, action, place)
               LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.sch
               ORDER BY w.place";
    let rows = transaction.query(ATTEMPTED, sql, &[&names, &objects, &actions]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn columns(transaction: &Transaction, rights: &[Right]) -> Result<Vec<Option<bool>>, DatabaseError> {
    let schemas = transaction.schemas();
    let rights: Vec<&Right> = rights.iter().filter(|right| !right.column.is_empty()).collect();
    let names: Vec<&str> = rights.iter().map(|right| right.object.schema(schemas)).collect();
    let tables: Vec<&str> = rights.iter().map(|right| right.object.name()).collect();
    let actions: Vec<&str> = rights.iter().map(|right| right.action).collect();
    let columns: Vec<&str> = rights.iter().map(|right| right.column).collect();
    let sql = "SELECT pg_catalog.has_column_privilege(a.attrelid, a.attnum, w.action)
               FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS w (sch, tab, action, col, place)
               LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.sch
               LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.tab
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.col AND NOT a.attisdropped
               ORDER BY w.place";
    let rows = transaction.query(ATTEMPTED, sql, &[&names, &tables, &actions, &columns]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What changes whole tables, or makes something that runs when others write; and whatever is granted on what only a relay uses.
async fn of_tables(transaction: &Transaction) -> Result<Vec<String>, DatabaseError> {
    let schemas = transaction.schemas();
    let (own, logins) = (schemas.own.name(), schemas.logins.name());
    let tables: Vec<&str> = USES.iter().map(|of| of.table).chain([LOADERS]).collect();
    let sql = "SELECT pg_catalog.format('%s on %I.%I', w.action, n.nspname, c.relname)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
                    pg_catalog.unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS w (action)
               WHERE c.relkind IN ('r', 'p') AND (n.nspname = $1::text AND c.relname = ANY ($3::text[])
                                                  OR n.nspname = $2::text AND c.relname = 'user_logins')
                 AND pg_catalog.has_table_privilege(c.oid, w.action)
               UNION ALL
               SELECT pg_catalog.format('%s on %I.%I', w.action, n.nspname, c.relname)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
                    pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS w (action)
               WHERE n.nspname = $1::text AND c.relname = ANY ($4::text[])
                 AND CASE WHEN w.action IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN pg_catalog.has_table_privilege(c.oid, w.action)
                          ELSE pg_catalog.has_any_column_privilege(c.oid, w.action) END
               UNION ALL
               SELECT pg_catalog.format('CREATE on schema %I', n.nspname) FROM pg_catalog.pg_namespace n
               WHERE n.nspname IN ($1::text, $2::text) AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
               UNION ALL
               SELECT pg_catalog.format('UPDATE on sequence %I.%I', n.nspname, c.relname)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'S' AND n.nspname = $1::text AND c.relname = 'outbox_position_seq'
                 AND pg_catalog.has_sequence_privilege(c.oid, 'UPDATE')
               ORDER BY 1";
    let rows = transaction.query(ATTEMPTED, sql, &[&own, &logins, &tables, &&OF_RELAY[..]]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Personal columns that the role may read or change, and single columns of Turnstile's own that only their default may fill.
async fn personal(transaction: &Transaction) -> Result<Vec<String>, DatabaseError> {
    let schemas = transaction.schemas();
    let right = |action, (table, column)| Right { action, object: Object::Table(table), column };
    let selected = personal_columns().into_iter().map(|personal| right("SELECT", personal));
    let filled = [("outbox", "position"), ("dead_letters", "status"), ("dead_letters", "resolved_by")];
    let updated = [("dead_letters", "sealed_body"), ("dead_letters", "status"), ("horizon", "retained_since")];
    let inserted = filled.map(|column| right("INSERT", column)).into_iter();
    let asked: Vec<Right> = selected.chain(inserted).chain(updated.map(|column| right("UPDATE", column))).collect();
    let held = columns(transaction, &asked).await?;
    let beyond = asked.iter().zip(held).filter(|(_, held)| *held == Some(true)).map(|(right, _)| right);
    Ok(beyond
        .map(|Right { action, object, column }| format!("{action} ({column}) on {}", object.in_words(schemas)))
        .collect())
}

/// What the role may do with the whole server.
async fn of_role(transaction: &Transaction) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT w.says FROM pg_catalog.pg_roles r,
                    unnest(ARRAY[r.rolcreaterole, r.rolcreatedb, r.rolbypassrls, r.rolreplication],
                           ARRAY['CREATEROLE', 'CREATEDB', 'BYPASSRLS', 'REPLICATION']) AS w (has, says)
               WHERE r.rolname = current_user AND w.has
               UNION ALL
               SELECT pg_catalog.format('member of %I', g.rolname) FROM pg_catalog.pg_roles g
               WHERE g.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                                   'pg_execute_server_program')
                 AND pg_catalog.pg_has_role(g.oid, 'MEMBER')
               UNION ALL
               SELECT pg_catalog.format('owner of %I', n.nspname) FROM pg_catalog.pg_namespace n
               WHERE n.nspname = $1::text AND pg_catalog.pg_has_role(n.nspowner, 'MEMBER')
               ORDER BY 1";
    let rows = transaction.query(ATTEMPTED, sql, &[&transaction.schemas().own.name()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
