//! What the catalogues say of the tables, judged: whether the promise can be kept in them.

use super::database::failed;
use super::{Judgement, Level};
use crate::database::DatabaseError;
use crate::database::schemas::Schemas;
use crate::table::facts::{
    Counting, HalfDropped, KEYS_OF_RELAY, LOGINS, Positions, RowDropper, SEQUENCE, Stranger, TableFacts, UNIQUE_KEYS,
    UniqueKey, partitions_ahead,
};

/// How many partitions must be ready beyond the one that is written.
const PARTITIONS_AHEAD: usize = 2;

/// The facts, once they are read.
pub(super) type Read<T> = Result<T, DatabaseError>;

pub(super) fn judge<T>(read: &Read<T>, judge: impl FnOnce(&T) -> Judgement) -> Judgement {
    match read {
        Ok(facts) => judge(facts),
        Err(error) => failed(error),
    }
}

pub(super) fn complete(facts: &TableFacts) -> Judgement {
    match facts.missing.as_slice() {
        [] => Judgement::ok("all are there"),
        missing => Judgement::error(
            format!("although their version is noted, these are missing: {}", missing.join(", ")),
            "restore them from a backup, or drop Turnstile's schema and run `turnstile migrate`: an empty table of claims \
             remembers nothing",
        ),
    }
}

/// An adopted table may have been made without a log, and then no setting of the server saves its rows.
pub(super) fn logged(facts: &TableFacts) -> Judgement {
    match facts.unlogged.as_slice() {
        [] => Judgement::ok("logged: a crash of the server leaves them whole"),
        tables => Judgement::error(
            format!("unlogged, so that a crash of the server empties them: {}", tables.join(", ")),
            format!("ALTER TABLE {} SET LOGGED", tables.join(" SET LOGGED; ALTER TABLE ")),
        ),
    }
}

/// Without its index, `ON CONFLICT` fails; with one that is not valid, a message may be loaded twice.
pub(super) fn unique(facts: &TableFacts, schemas: &Schemas) -> Judgement {
    let problems: Vec<(String, String)> =
        UNIQUE_KEYS.iter().filter_map(|key| without_key(facts, *key, schemas)).collect();
    if problems.is_empty() {
        return Judgement::ok("there, and valid: no message can be recorded twice");
    }
    let (found, ways_out): (Vec<String>, Vec<String>) = problems.into_iter().unzip();
    Judgement::error(
        format!("{}: a message could be recorded twice", found.join("; ")),
        format!("{}; `turnstile audit` names what stands there twice", ways_out.join("; ")),
    )
}

fn without_key(facts: &TableFacts, key: UniqueKey, schemas: &Schemas) -> Option<(String, String)> {
    let (table, columns) = (in_schema(key.0, schemas), key.1.join(", "));
    match facts.index_of(key) {
        Some(index) if index.valid && index.immediate => None,
        Some(index) if !index.valid => Some((
            format!("the unique index {} on {table} is not valid", index.name),
            format!("REINDEX INDEX {}.{}", schema_of(key.0, schemas), index.name),
        )),
        Some(index) => Some((
            format!("the unique key {} on {table} is deferrable, so that ON CONFLICT cannot use it", index.name),
            format!("ALTER TABLE {table} ALTER CONSTRAINT {} NOT DEFERRABLE, or make it anew", index.name),
        )),
        None => Some((
            format!("no unique index on {table} ({columns})"),
            format!("CREATE UNIQUE INDEX ON {table} ({columns})"),
        )),
    }
}

fn schema_of(table: &str, schemas: &Schemas) -> String {
    if table == LOGINS { schemas.logins.to_string() } else { schemas.own.to_string() }
}

fn in_schema(table: &str, schemas: &Schemas) -> String {
    format!("{}.{table}", schema_of(table, schemas))
}

/// What may keep a row out in silence is found out when it does: then the loader stops, or the row becomes a dead letter.
pub(super) fn droppers(facts: &TableFacts) -> Judgement {
    let (of_logins, of_own): (Vec<&RowDropper>, Vec<&RowDropper>) =
        facts.droppers.iter().partition(|dropper| dropper.of_logins);
    let named = |droppers: &[&RowDropper]| {
        let named = droppers.iter().map(|RowDropper { kind, name, table, .. }| format!("{kind} {name} on {table}"));
        named.collect::<Vec<_>>().join(", ")
    };
    let ways_out = |droppers: &[&RowDropper]| {
        let drops = droppers.iter().map(|dropper| match dropper.kind.as_str() {
            "trigger" => format!("DROP TRIGGER {} ON {}", dropper.name, dropper.table),
            _ => format!("DROP RULE {} ON {}", dropper.name, dropper.table),
        });
        drops.collect::<Vec<_>>().join("; ")
    };
    match (of_own.as_slice(), of_logins.as_slice()) {
        ([], []) => Judgement::ok("none that could keep a row out"),
        ([], of_logins) => Judgement::warning(
            format!("may keep logins out or change them: {}", named(of_logins)),
            "make sure that none drops a row in silence (RETURN NULL, INSTEAD NOTHING): a login that is kept out becomes a \
             dead letter",
        ),
        (of_own, _) => Judgement::error(
            format!("may keep out what Turnstile records: {}", named(of_own)),
            format!("{}; a trigger AFTER the row may do what it did", ways_out(of_own)),
        ),
    }
}

pub(super) fn required(facts: &TableFacts) -> Judgement {
    match facts.required.as_slice() {
        [] => Judgement::ok("every column that a login does not fill may be null or has a default"),
        columns => Judgement::error(
            format!(
                "no login could be stored: these columns must not be null and have no default: {}",
                columns.join(", ")
            ),
            "give them a default, or drop NOT NULL",
        ),
    }
}

/// A table's owner may read and change all of it, and a stranger's object in Turnstile's schema may run as its owner.
pub(super) fn owners(facts: &TableFacts) -> Judgement {
    let of_own = |strangers: &[Stranger]| strangers.iter().filter(|one| !one.of_logins).cloned().collect::<Vec<_>>();
    let owned = |strangers: &[Stranger]| list(strangers, "belongs to");
    let (owners, makers) = (of_own(&facts.owners), of_own(&facts.makers));
    if !owners.is_empty() {
        return Judgement::error(
            format!("not the owner of the schema owns these: {}", owned(&owners)),
            ways_out(&owners, |one| format!("ALTER TABLE {} OWNER TO the schema's owner", one.of)),
        );
    }
    let revoke = |one: &Stranger| format!("REVOKE CREATE ON SCHEMA {} FROM {}", one.of, one.role);
    if !makers.is_empty() {
        return Judgement::error(
            format!("others may make objects in Turnstile's schema: {}", list(&makers, "by")),
            ways_out(&makers, revoke),
        );
    }
    match (facts.owners.as_slice(), facts.makers.as_slice()) {
        ([], []) => Judgement::ok("one owner, and nobody else makes objects beside the tables"),
        ([], makers) => Judgement::warning(
            format!("others may make objects where the logins stand: {}", list(makers, "by")),
            ways_out(makers, revoke),
        ),
        (owners, _) => Judgement::warning(
            format!("another role may change and read the logins: {}", owned(owners)),
            ways_out(owners, |one| format!("ALTER TABLE {} OWNER TO the owner of Turnstile's schema", one.of)),
        ),
    }
}

fn list(strangers: &[Stranger], verb: &str) -> String {
    strangers.iter().map(|one| format!("{} {verb} {}", one.of, one.role)).collect::<Vec<_>>().join(", ")
}

fn ways_out(strangers: &[Stranger], of_one: impl Fn(&Stranger) -> String) -> String {
    strangers.iter().map(of_one).collect::<Vec<_>>().join("; ")
}

/// A sequence that fell behind (a restore, a switch to a logical replica) gives positions that stand: no event gets through.
pub(super) fn sequence(facts: &TableFacts, positions: &Positions, schemas: &Schemas) -> Judgement {
    let sequence = format!("{}.{SEQUENCE}", schemas.own);
    if let Some(highest) = positions.highest.filter(|highest| *highest >= positions.next) {
        return Judgement::error(
            format!("the next position is {}, and an event has {highest}: no event can be written", positions.next),
            format!("SELECT setval('{sequence}', {highest})"),
        );
    }
    match facts.counting {
        Some(Counting { increment: 1, cache: 1, cycles: false }) => {
            Judgement::ok(format!("the next position is {}, beyond every event", positions.next))
        }
        Some(_) => Judgement::error(
            "positions are not counted one by one: a reader that goes by their order may miss events",
            format!("ALTER SEQUENCE {sequence} INCREMENT 1 CACHE 1 NO CYCLE"),
        ),
        None => Judgement::error("there is none", "restore it from a backup: see migrations/ for how it is made"),
    }
}

pub(super) fn partitions(facts: &TableFacts, positions: &Positions) -> Judgement {
    const REMEDY: &str = "run `turnstile migrate`, which makes them";
    let next = positions.next;
    let Some(ahead) = partitions_ahead(&facts.partitions, next) else {
        return Judgement::error(format!("none takes the next position, {next}: no event can be written"), REMEDY);
    };
    let found = match ahead {
        usize::MAX => format!("the next position is {next}, and there is room for every other"),
        ahead => format!("the next position is {next}, and {ahead} partitions are ready beyond its own"),
    };
    let too_few = (ahead < PARTITIONS_AHEAD).then(|| {
        let remedy =
            "run `turnstile migrate`; a loader makes them too, if it may execute extend_outbox() (deploy/grants.sql)";
        (format!("{found}: each takes ten million events"), remedy.to_owned())
    });
    let problems: Vec<(String, String)> = too_few.into_iter().chain(half_dropped(facts)).collect();
    if problems.is_empty() {
        return Judgement::ok(found);
    }
    let (found, ways_out): (Vec<String>, Vec<String>) = problems.into_iter().unzip();
    Judgement::warning(found.join("; "), ways_out.join("; "))
}

/// Without a partition for the day, no login can be loaded; one that is made late is made too late.
pub(super) fn partitions_by_time(facts: &TableFacts) -> Judgement {
    const REMEDY: &str = "run `turnstile migrate`, which makes them";
    if facts.by_time.is_empty() {
        return Judgement::ok(
            "no table has any: `turnstile migrate --partition monthly` makes them, and then old rows can leave",
        );
    }
    if let Some(table) = facts.by_time.iter().find(|table| !table.has_now) {
        return Judgement::error(format!("{} has none for today: no login can be loaded", table.table), REMEDY);
    }
    let mut problems: Vec<(String, &str)> = Vec::new();
    for table in &facts.by_time {
        let name = &table.table;
        if table.days_ahead < DAYS_AHEAD {
            let remedy = "run `turnstile migrate`; a loader makes them too, if it may execute extend_partitions() (deploy/grants.sql)";
            problems.push((format!("{name} has none beyond the next {} days", table.days_ahead), remedy));
        }
        if !table.pending.is_empty() {
            let remedy = "run `turnstile retain`, which ends what it has begun";
            problems.push((format!("detached by half: {}", table.pending.join(", ")), remedy));
        }
        if table.has_default {
            let remedy = "move its rows, and drop it: beside it none can be detached while loaders write, and it takes what is \
                          older than the horizon";
            problems.push((format!("{name} has a default partition"), remedy));
        }
    }
    if problems.is_empty() {
        let ahead = facts.by_time.iter().map(|table| table.days_ahead).min().unwrap_or(0);
        return Judgement::ok(format!("there are some for the next {ahead} days"));
    }
    let (found, ways_out): (Vec<String>, Vec<&str>) = problems.into_iter().unzip();
    Judgement::warning(found.join("; "), ways_out.join("; "))
}

/// How many days of partitions there must be, so that somebody can look after them in time.
const DAYS_AHEAD: i64 = 7;

/// What a pruning has left behind, or somebody has detached by hand.
fn half_dropped(facts: &TableFacts) -> Option<(String, String)> {
    let (pending, detached): (Vec<&HalfDropped>, Vec<&HalfDropped>) =
        facts.half_dropped.iter().partition(|one| one.is_pending);
    let named = |tables: &[&HalfDropped], how: &str| match tables {
        [] => None,
        tables => {
            let names: Vec<&str> = tables.iter().map(|one| one.name.as_str()).collect();
            Some(format!("{how}: {}", names.join(", ")))
        }
    };
    let found: Vec<String> = named(&pending, "detached by half")
        .into_iter()
        .chain(named(&detached, "detached from outbox and not dropped"))
        .collect();
    let remedy = "run `turnstile outbox prune`, which ends what it has begun; what somebody else has detached, drop, attach \
                  again or move to another schema";
    (!found.is_empty()).then(|| (found.join("; "), remedy.to_owned()))
}

/// What only a relay needs: it is told, and no run is refused for it.
pub(super) fn of_relay(read: &Read<TableFacts>, schemas: &Schemas) -> Judgement {
    let facts = match read {
        Ok(facts) => facts,
        Err(error) => return Judgement::warning(error.to_string(), error.remedy()),
    };
    let problems: Vec<(String, String)> = missing_of_relay(facts)
        .into_iter()
        .chain(
            KEYS_OF_RELAY.iter().filter(|key| stands(facts, key.0)).filter_map(|key| without_key(facts, *key, schemas)),
        )
        .chain([logged(facts), droppers(facts), owners(facts)].into_iter().filter_map(problem))
        .collect();
    if problems.is_empty() {
        return Judgement::ok("all are there, logged, with their keys and one owner");
    }
    let (found, ways_out): (Vec<String>, Vec<String>) = problems.into_iter().unzip();
    Judgement::warning(
        format!("`turnstile relay` could fail, or pass events over: {}", found.join("; ")),
        ways_out.join("; "),
    )
}

fn missing_of_relay(facts: &TableFacts) -> Option<(String, String)> {
    let remedy = "restore them from a backup: without them a relay does not know what it has carried";
    (!facts.missing.is_empty()).then(|| (format!("missing: {}", facts.missing.join(", ")), remedy.to_owned()))
}

fn stands(facts: &TableFacts, table: &str) -> bool {
    facts.missing.iter().all(|missing| missing != table)
}

fn problem(Judgement { level, found, remedy }: Judgement) -> Option<(String, String)> {
    (level != Level::Ok).then(|| (found, remedy.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::table::facts::Partition;

    fn stranger(of_logins: bool) -> Stranger {
        Stranger { role: "mallory".to_owned(), of: "a.b".to_owned(), of_logins }
    }

    #[test]
    fn what_keeps_rows_out_is_an_error_where_turnstile_records_and_a_warning_where_it_stores() {
        let dropper = |of_logins| RowDropper {
            kind: "trigger".to_owned(),
            name: "t".to_owned(),
            table: "a.b".to_owned(),
            of_logins,
        };
        for (droppers, level) in [
            (vec![], Level::Ok),
            (vec![dropper(true)], Level::Warning),
            (vec![dropper(false)], Level::Error),
            (vec![dropper(true), dropper(false)], Level::Error),
        ] {
            let judged = super::droppers(&TableFacts { droppers, ..TableFacts::default() });
            assert_eq!(judged.level, level, "{judged:?}");
        }
    }

    #[test]
    fn strangers_are_an_error_in_turnstile_s_schema_and_a_warning_where_the_logins_stand() {
        for (owners_, makers, level) in [
            (vec![], vec![], Level::Ok),
            (vec![stranger(true)], vec![], Level::Warning),
            (vec![], vec![stranger(true)], Level::Warning),
            (vec![stranger(false)], vec![], Level::Error),
            (vec![], vec![stranger(false)], Level::Error),
        ] {
            let judged = owners(&TableFacts { owners: owners_, makers, ..TableFacts::default() });
            assert_eq!(judged.level, level, "{judged:?}");
            assert_eq!(level == Level::Ok, !judged.found.contains("mallory"));
        }
    }

    #[test]
    fn the_next_position_is_beyond_every_event_and_counted_one_by_one() {
        let schemas = Schemas::default();
        let one_by_one = Counting { increment: 1, cache: 1, cycles: false };
        for (next, highest, counting, level) in [
            (1, None, one_by_one, Level::Ok),
            (8, Some(7), one_by_one, Level::Ok),
            (7, Some(7), one_by_one, Level::Error),
            (1, None, Counting { cache: 32, ..one_by_one }, Level::Error),
            (1, None, Counting { increment: 2, ..one_by_one }, Level::Error),
            (1, None, Counting { cycles: true, ..one_by_one }, Level::Error),
        ] {
            let facts = TableFacts { counting: Some(counting), ..TableFacts::default() };
            let judged = sequence(&facts, &Positions { next, highest }, &schemas);
            assert_eq!(judged.level, level, "{judged:?}");
        }
    }

    #[test]
    fn the_next_position_needs_a_partition_and_two_are_to_be_ready_behind_it() {
        let parts =
            |bounds: &[(i64, i64)]| bounds.iter().map(|(from, to)| Partition { from: *from, to: *to }).collect();
        for (next, bounds, level) in [
            (5, &[(0, 10), (10, 20), (20, 30)][..], Level::Ok),
            (9, &[(0, 10), (20, 30), (10, 20)], Level::Ok),
            (10, &[(0, 10), (10, 20), (20, 30)], Level::Warning),
            (5, &[(0, 10), (20, 30), (30, 40)], Level::Warning),
            (30, &[(0, 10), (10, 20), (20, 30)], Level::Error),
            (5, &[], Level::Error),
            (5, &[(i64::MIN, i64::MAX)], Level::Ok),
        ] {
            let facts = TableFacts { partitions: parts(bounds), ..TableFacts::default() };
            let judged = partitions(&facts, &Positions { next, highest: None });
            assert_eq!(judged.level, level, "{judged:?}");
        }
    }

    #[test]
    fn what_is_half_dropped_is_named_beside_what_is_missing() {
        let whole = vec![Partition { from: 0, to: 10 }, Partition { from: 10, to: 20 }, Partition { from: 20, to: 30 }];
        let half = |name: &str, is_pending| HalfDropped { name: name.to_owned(), is_pending };
        for (next, half_dropped, named) in [
            (5, vec![half("t.outbox_0", true)], &["detached by half: t.outbox_0"][..]),
            (15, vec![half("t.outbox_0", false)], &["1 partitions", "and not dropped: t.outbox_0"]),
            (5, vec![half("a", true), half("b", false), half("c", false)], &["by half: a;", "not dropped: b, c"]),
        ] {
            let facts = TableFacts { partitions: whole.clone(), half_dropped, ..TableFacts::default() };
            let Judgement { level, found, remedy } = partitions(&facts, &Positions { next, highest: None });
            assert_eq!(level, Level::Warning, "{found}");
            assert!(named.iter().all(|named| found.contains(named)), "{found}");
            assert!(remedy.unwrap().contains("turnstile outbox prune"));
        }
    }
}
