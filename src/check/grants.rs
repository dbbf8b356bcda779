//! What the loader's role may do, against what the statements of `table` need.

use super::{Judgement, Level};
use crate::database::schemas::Schemas;
use crate::database::server::ServerFacts;
use crate::table::rights::{Object, Right, Rights};

/// Whether the role has all that the loader needs of these objects.
pub(super) fn needed(objects: &[Object], rights: &Rights, role: &str, schemas: &Schemas) -> Judgement {
    let of = |object: Object| rights.needed.iter().filter(move |(right, _)| right.object == object);
    let mut judged: Vec<Judgement> = Vec::new();
    for object in objects {
        let named = object.in_words(schemas);
        let absent: Vec<&Right> = of(*object).filter(|(_, held)| held.is_none()).map(|(right, _)| right).collect();
        let lacking: Vec<&Right> =
            of(*object).filter(|(_, held)| *held == Some(false)).map(|(right, _)| right).collect();
        if !absent.is_empty() {
            judged.push(is_absent(&named, &absent));
        } else if !lacking.is_empty() {
            judged.push(is_lacking(&named, &lacking, role));
        }
    }
    match judged.is_empty() {
        true => Judgement::ok(held(objects, rights)),
        false => together(judged),
    }
}

/// The same of what only shows how the loader is.
pub(super) fn without_which_it_loads(judgement: Judgement) -> Judgement {
    match judgement.level {
        Level::Error => Judgement {
            level: Level::Warning,
            found: format!("{}: `turnstile loaders` will not show this loader", judgement.found),
            ..judgement
        },
        Level::Ok | Level::Warning | Level::Skipped => judgement,
    }
}

fn is_absent(named: &str, absent: &[&Right]) -> Judgement {
    let columns: Vec<&str> = absent.iter().map(|right| right.column).filter(|column| !column.is_empty()).collect();
    let found = match columns.is_empty() {
        true => format!("there is no {named}"),
        false => format!("{named} has no column {}", columns.join(", ")),
    };
    Judgement::error(found, "somebody changed the tables: compare them with migrations/")
}

fn is_lacking(named: &str, lacking: &[&Right], role: &str) -> Judgement {
    let missing = privileges(lacking);
    Judgement::error(
        format!("{role} lacks {missing} on {named}"),
        format!("GRANT {missing} ON {named} TO \"{}\" (deploy/grants.sql has them all)", role.replace('"', "\"\"")),
    )
}

fn held(objects: &[Object], rights: &Rights) -> String {
    let all: Vec<&Right> =
        rights.needed.iter().map(|(right, _)| right).filter(|right| objects.contains(&right.object)).collect();
    privileges(&all)
}

/// As GRANT takes them.
fn privileges(rights: &[&Right]) -> String {
    let mut actions: Vec<&str> = Vec::new();
    for right in rights {
        if !actions.contains(&right.action) {
            actions.push(right.action);
        }
    }
    let of_action = |action: &&str| {
        let columns: Vec<&str> = rights
            .iter()
            .filter(|right| right.action == *action)
            .map(|right| right.column)
            .filter(|column| !column.is_empty())
            .collect();
        if columns.is_empty() { (*action).to_owned() } else { format!("{action} ({})", columns.join(", ")) }
    };
    actions.iter().map(of_action).collect::<Vec<_>>().join(", ")
}

fn together(judged: Vec<Judgement>) -> Judgement {
    let (found, ways_out): (Vec<String>, Vec<Option<String>>) =
        judged.into_iter().map(|one| (one.found, one.remedy)).unzip();
    Judgement::error(found.join("; "), ways_out.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// Whether the role may do what no loader needs: anyone who gets its password may do that too.
pub(super) fn beyond_need(rights: &Rights, server: &ServerFacts) -> Judgement {
    const REMEDY: &str = "run as a role with the grants of deploy/grants.sql, which owns nothing";
    let role = &server.role;
    if server.superuser {
        return Judgement::warning(format!("{role} is a superuser: it may do and read everything"), REMEDY);
    }
    match rights.beyond.as_slice() {
        [] => Judgement::ok(format!(
            "{role} cannot read the personal columns that it writes, nor change what is recorded"
        )),
        beyond => Judgement::warning(format!("{role} may do more than load: {}", beyond.join(", ")), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    const TABLE: Object = Object::Table("outbox");

    fn rights(held: &[(&'static str, &'static str, Option<bool>)]) -> Rights {
        let right = |(action, column, held): &(&'static str, &'static str, Option<bool>)| {
            (Right { action, object: TABLE, column }, *held)
        };
        Rights { needed: held.iter().map(right).collect(), beyond: Vec::new() }
    }

    #[test]
    fn a_lacking_privilege_is_named_with_the_grant_that_gives_it() {
        let schemas = Schemas::default();
        let judge = |insert, select| {
            let rights = rights(&[("INSERT", "a", insert), ("INSERT", "b", insert), ("SELECT", "c", select)]);
            needed(&[TABLE], &rights, "lo\"ader", &schemas)
        };
        assert_eq!(judge(Some(true), Some(true)), Judgement::ok("INSERT (a, b), SELECT (c)"));
        for (insert, select, grant) in [
            (false, true, "GRANT INSERT (a, b) ON \"turnstile\".outbox TO \"lo\"\"ader\""),
            (true, false, "GRANT SELECT (c) ON \"turnstile\".outbox TO"),
            (false, false, "GRANT INSERT (a, b), SELECT (c) ON \"turnstile\".outbox TO"),
        ] {
            let judged = judge(Some(insert), Some(select));
            assert_eq!(judged.level, Level::Error);
            assert!(judged.remedy.as_ref().unwrap().starts_with(grant), "{judged:?}");
        }
        let absent = judge(Some(true), None);
        assert_eq!(absent.level, Level::Error);
        assert!(absent.found.contains("no column c"), "{absent:?}");
    }

    #[test]
    fn a_role_that_may_do_more_than_load_is_warned_of() {
        let server = |superuser| ServerFacts { superuser, ..crate::check::database::tests::facts() };
        let more = Rights { beyond: vec!["DELETE on turnstile.outbox".to_owned()], ..rights(&[]) };
        for (superuser, rights, level) in [
            (false, rights(&[]), Level::Ok),
            (false, more.clone(), Level::Warning),
            (true, rights(&[]), Level::Warning),
        ] {
            assert_eq!(beyond_need(&rights, &server(superuser)).level, level, "{superuser}");
        }
    }
}
