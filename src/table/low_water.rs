//! Up to where no sink needs the events any more. Reads all that the relays note, and that in one statement, which sees one
//! state: between two of them, what was open may have moved from one table to the next.

use crate::database::{DatabaseError, LoneSession};

/// The low water, and what holds it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowWater {
    /// No sink needs the event at this position, nor any below.
    pub position: i64,
    /// The sink that needs the next.
    pub sink: String,
    /// What for.
    pub held_by: HeldBy,
}

/// What a sink needs events for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBy {
    /// It has not come further.
    Frontier,
    /// A relay is carrying them.
    Chunk,
    /// A transaction may still write them.
    Gap,
    /// The sink has refused one, which waits for another attempt.
    Failure,
}

impl HeldBy {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frontier => "frontier",
            Self::Chunk => "chunk",
            Self::Gap => "gap",
            Self::Failure => "failure",
        }
    }
}

/// Reads it; nothing where there is no sink. It holds as long as nobody adds a sink or has events sent once more, and the server
/// does not crash.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(session: &LoneSession) -> Result<Option<LowWater>, DatabaseError> {
    // Notes without a sink count too: a relay may be at work whose sink somebody has removed by hand.
    let sql = "SELECT h.sink, h.kind, h.position
               FROM (SELECT k.sink, 0 AS kind, coalesce(pg_catalog.max(m.position), 0::bigint) + 1::bigint AS position
                     FROM (SELECT sink, slot FROM own.relay_marks
                           UNION
                           SELECT s.sink, n.slot::smallint FROM own.relay_sinks s, pg_catalog.generate_series(0, s.slots - 1) AS n (slot)
                          ) AS k LEFT JOIN own.relay_marks m ON m.sink = k.sink AND m.slot = k.slot
                     GROUP BY k.sink, k.slot
                     UNION ALL SELECT sink, 1, first_position FROM own.relay_chunks
                     UNION ALL SELECT sink, 2, first_position FROM own.relay_gaps
                     UNION ALL SELECT sink, 3, position FROM own.relay_failures WHERE status = 'waiting') AS h
               ORDER BY h.position, h.sink, h.kind LIMIT 1";
    let sql = sql.replace("own.", &format!("{}.", session.schemas().own));
    let rows = session.query("read the low water", &sql, &[]).await?;
    let held_by = |kind: i32| match kind {
        0 => HeldBy::Frontier,
        1 => HeldBy::Chunk,
        2 => HeldBy::Gap,
        _ => HeldBy::Failure,
    };
    let read = |row: &tokio_postgres::Row| LowWater {
        position: row.get::<_, i64>(2) - 1,
        sink: row.get(0),
        held_by: held_by(row.get(1)),
    };
    Ok(rows.first().map(read))
}
