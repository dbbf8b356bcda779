//! What the loader's role may do, against what the statements of `table` need. `deploy/grants.sql` grants the same.

use super::{Judgement, Server};
use crate::database::server::Privilege;
use crate::database::{Database, DatabaseError};

/// The table in which refinery keeps the versions.
pub(super) const MIGRATIONS: &str = "refinery_schema_history";

/// What the loader does with a table: the columns that it writes, and those that it reads, by which `RETURNING` and
/// `ON CONFLICT` count too.
struct Need {
    table: &'static str,
    inserted: &'static [&'static str],
    selected: &'static [&'static str],
}

const NEEDS: [Need; 5] = [
    Need {
        table: "processed_messages",
        inserted: &[
            "message_hash",
            "second_hash",
            "outcome",
            "first_message_id",
            "body_hash",
            "sent_at",
            "received_at",
        ],
        selected: &["message_hash", "second_hash", "claimed_before_v6", "first_message_id", "body_hash", "sent_at"],
    },
    Need {
        table: "user_logins",
        inserted: &[
            "user_id",
            "device_type",
            "masked_ip",
            "masked_device_id",
            "locale",
            "app_version",
            "create_date",
            "message_hash",
            "message_sent_at",
        ],
        selected: &["message_hash", "message_sent_at"],
    },
    Need {
        table: "dead_letters",
        inserted: &[
            "message_hash",
            "code",
            "detail",
            "sealed_body",
            "message_id",
            "receive_count",
            "sent_at",
            "received_at",
        ],
        selected: &["message_hash"],
    },
    Need {
        table: "outbox",
        inserted: &[
            "event_id",
            "user_id",
            "device_type",
            "masked_ip",
            "masked_device_id",
            "locale",
            "app_version",
            "create_date",
        ],
        selected: &[],
    },
    Need { table: MIGRATIONS, inserted: &[], selected: &["version"] },
];

/// Columns that hold personal values, masked or sealed: the loader writes them and never reads them.
const PERSONAL: [(&str, &str); 7] = [
    ("user_logins", "user_id"),
    ("user_logins", "masked_ip"),
    ("user_logins", "masked_device_id"),
    ("dead_letters", "sealed_body"),
    ("outbox", "user_id"),
    ("outbox", "masked_ip"),
    ("outbox", "masked_device_id"),
];

/// A privilege, and whether the role has it; `None` where there is no such column.
pub(super) type Held = (Privilege, Option<bool>);

/// Asks for every privilege that is judged here.
pub(super) async fn held(database: &Database) -> Result<Vec<Held>, DatabaseError> {
    let needed = NEEDS.iter().flat_map(|need| {
        let insert = need.inserted.iter().map(|column| Privilege { action: "INSERT", table: need.table, column });
        let select = need.selected.iter().map(|column| Privilege { action: "SELECT", table: need.table, column });
        insert.chain(select)
    });
    let personal = PERSONAL.iter().map(|(table, column)| Privilege { action: "SELECT", table, column });
    let asked: Vec<Privilege> = needed.chain(personal).collect();
    let answers = database.privileges(&asked).await?;
    Ok(asked.into_iter().zip(answers).collect())
}

/// Whether the role has all that the loader needs of this table.
pub(super) fn needed(table: &str, server: &Server) -> Judgement {
    match &server.grants {
        Ok(held) => judge_needed(table, &server.facts.role, held),
        Err(error) => unanswered(error),
    }
}

fn judge_needed(table: &str, role: &str, held: &[Held]) -> Judgement {
    let of_table = || held.iter().filter(|(privilege, _)| privilege.table == table && !is_personal(privilege));
    let columns = |action: &str, of: fn(Option<bool>) -> bool| -> Vec<&str> {
        of_table().filter(|(p, held)| p.action == action && of(*held)).map(|(privilege, _)| privilege.column).collect()
    };
    let absent: Vec<&str> = of_table().filter(|(_, held)| held.is_none()).map(|(p, _)| p.column).collect();
    if !absent.is_empty() {
        return Judgement::error(
            format!("no column {}", absent.join(", ")),
            "somebody changed the table, or another one stands before it in the search_path: compare with migrations/",
        );
    }
    let (insert, select) = (columns("INSERT", |held| held != Some(true)), columns("SELECT", |held| held != Some(true)));
    if insert.is_empty() && select.is_empty() {
        return Judgement::ok(privileges(!columns("INSERT", |_| true).is_empty(), &columns("SELECT", |_| true)));
    }
    let missing = privileges(!insert.is_empty(), &select);
    Judgement::error(
        format!("{role} lacks {missing}"),
        format!("GRANT {missing} ON {table} TO \"{}\" (deploy/grants.sql has them all)", role.replace('"', "\"\"")),
    )
}

/// As GRANT takes them.
fn privileges(insert: bool, select: &[&str]) -> String {
    match (insert, select.join(", ")) {
        (true, columns) if columns.is_empty() => "INSERT".to_owned(),
        (true, columns) => format!("INSERT, SELECT ({columns})"),
        (false, columns) => format!("SELECT ({columns})"),
    }
}

/// Whether the role can read what the loader only writes: then whoever holds the loader's password reads it too.
pub(super) fn beyond_need(server: &Server) -> Judgement {
    match &server.grants {
        Ok(held) => judge_beyond_need(server.facts.superuser, &server.facts.role, held),
        Err(error) => unanswered(error),
    }
}

fn judge_beyond_need(superuser: bool, role: &str, held: &[Held]) -> Judgement {
    const WAY_OUT: &str = "run as a role with the grants of deploy/grants.sql, which owns nothing";
    if superuser {
        return Judgement::warning(format!("{role} is a superuser: it may do and read everything"), WAY_OUT);
    }
    let readable: Vec<String> = held
        .iter()
        .filter(|(privilege, held)| is_personal(privilege) && *held == Some(true))
        .map(|(privilege, _)| format!("{}.{}", privilege.table, privilege.column))
        .collect();
    match readable.is_empty() {
        true => Judgement::ok(format!("{role} cannot read the personal columns that it writes")),
        false => Judgement::warning(
            format!("{role} may read personal columns that it only writes: {}", readable.join(", ")),
            WAY_OUT,
        ),
    }
}

fn is_personal(privilege: &Privilege) -> bool {
    privilege.action == "SELECT" && PERSONAL.contains(&(privilege.table, privilege.column))
}

fn unanswered(error: &DatabaseError) -> Judgement {
    Judgement::error(error.to_string(), "look into the server's log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn held(lacking: &[(&str, &str)], absent: &[&str], readable: bool) -> Vec<Held> {
        let privilege = |action, column| Privilege { action, table: "user_logins", column };
        let mut held: Vec<Held> = [("INSERT", "message_hash"), ("INSERT", "masked_ip"), ("SELECT", "message_hash")]
            .into_iter()
            .map(|(action, column)| {
                let has = !lacking.contains(&(action, column));
                (privilege(action, column), (!absent.contains(&column)).then_some(has))
            })
            .collect();
        held.push((privilege("SELECT", "masked_ip"), Some(readable)));
        held
    }

    #[test]
    fn a_lacking_privilege_is_named_with_the_grant_that_gives_it() {
        let judged = judge_needed("user_logins", "lo\"ader", &held(&[], &[], false));
        assert_eq!(judged, Judgement::ok("INSERT, SELECT (message_hash)"));
        assert_eq!((privileges(true, &[]), privileges(false, &["a", "b"])), ("INSERT".into(), "SELECT (a, b)".into()));
        for (lacking, grant) in [
            (&[("INSERT", "masked_ip")][..], "GRANT INSERT ON user_logins TO \"lo\"\"ader\""),
            (&[("SELECT", "message_hash")], "GRANT SELECT (message_hash) ON user_logins TO"),
            (
                &[("INSERT", "message_hash"), ("SELECT", "message_hash")],
                "GRANT INSERT, SELECT (message_hash) ON user_logins TO",
            ),
        ] {
            let judged = judge_needed("user_logins", "lo\"ader", &held(lacking, &[], true));
            assert_eq!(judged.level, Level::Error);
            assert!(judged.way_out.as_ref().unwrap().starts_with(grant), "{judged:?}");
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_an_error_that_names_it() {
        let judged = judge_needed("user_logins", "loader", &held(&[], &["message_hash"], false));
        assert_eq!(judged.level, Level::Error);
        assert!(judged.found.contains("message_hash") && !judged.found.contains("masked_ip"), "{judged:?}");
    }

    #[test]
    fn a_role_that_can_read_personal_columns_is_warned_of() {
        for (superuser, readable, warned) in
            [(false, false, false), (false, true, true), (true, false, true), (true, true, true)]
        {
            let judged = judge_beyond_need(superuser, "loader", &held(&[], &[], readable));
            assert_eq!(judged.level == Level::Warning, warned, "{superuser} {readable}");
        }
    }
}
