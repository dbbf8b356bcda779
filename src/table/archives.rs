//! `archives`: what the archive holds, as the database knows it.

use time::OffsetDateTime;
use tokio_postgres::types::ToSql;

use super::archived_columns::RowDigest;
use super::retired::Recorded;
use super::time_partitions::Parent;
use crate::database::{DatabaseError, LoneSession};

/// What is archived: the rows of one partition, in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// The table that they belonged to.
    pub parent: Parent,
    /// Which time they are of.
    pub label: String,
    /// The how many-th form of them.
    pub generation: u32,
    /// The partition that held them.
    pub partition: String,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub which: Which,
    /// The archive.
    pub archive: String,
    /// Where that was.
    pub place: String,
    /// When it was begun.
    pub noted_at: OffsetDateTime,
    /// The manifest, where it is recorded.
    pub manifest: Option<Manifest>,
    /// Whether its files are gone, because others took their place.
    pub is_replaced: bool,
}

/// A manifest, as the database knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its number in the archive.
    pub sequence: u64,
    /// Its BLAKE3.
    pub blake3: [u8; 32],
    /// That of the one before it.
    pub previous: Option<[u8; 32]>,
}

/// Files, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Their names, in the order of the rows.
    pub objects: Vec<String>,
    /// BLAKE3 of each.
    pub blake3: Vec<[u8; 32]>,
    /// Their length in all.
    pub bytes: u64,
}

const WHICH: &str = "parent = $1 AND label = $2 AND generation = $3";

/// Reads all that is known of archives, in the order in which it was begun.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(session: &LoneSession) -> Result<Vec<Row>, DatabaseError> {
    let sql = format!(
        "SELECT parent, label, generation, partition, archive, noted_at, sequence, manifest_blake3, previous_blake3,
                replaced_at IS NOT NULL, place
         FROM {}.archives ORDER BY sequence NULLS LAST, noted_at",
        session.schemas().own
    );
    let rows = session.query("read what is archived", &sql, &[]).await?;
    let known = rows.iter().filter_map(|row| {
        let hash = |bytes: Option<&[u8]>| bytes.and_then(|bytes| bytes.try_into().ok());
        let manifest = row.get::<_, Option<i64>>(6).and_then(|sequence| {
            Some(Manifest {
                sequence: u64::try_from(sequence).ok()?,
                blake3: hash(row.get(7))?,
                previous: hash(row.get(8)),
            })
        });
        Some(Row {
            which: Which {
                parent: row.get::<_, &str>(0).parse().ok()?,
                label: row.get(1),
                generation: u32::try_from(row.get::<_, i32>(2)).ok()?,
                partition: row.get(3),
            },
            archive: row.get(4),
            noted_at: row.get(5),
            manifest,
            is_replaced: row.get(9),
            place: row.get(10),
        })
    });
    Ok(known.collect())
}

/// Notes that something is archived from now on, unless it was noted before; gives since when. What is recorded stays as it is.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(
    session: &LoneSession,
    which: &Which,
    archive: &str,
    place: &str,
) -> Result<OffsetDateTime, DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.archives AS known (parent, label, generation, partition, archive, place)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (parent, label, generation) DO UPDATE
             SET archive = excluded.archive, place = excluded.place, state = 'noted', objects = NULL, blake3 = NULL,
                 bytes = NULL, row_count = NULL, digest = NULL, first_at = NULL, last_at = NULL, written_at = NULL,
                 verified_at = NULL
             WHERE known.state <> 'recorded'
         RETURNING noted_at",
        session.schemas().own
    );
    let (parent, generation) = key(which);
    let values: [&(dyn ToSql + Sync); 6] = [&parent, &which.label, &generation, &which.partition, &archive, &place];
    Ok(session.query_one("note what is archived", &sql, &values).await?.get(0))
}

/// Notes that its files are stored.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn written(session: &LoneSession, which: &Which, stored: &Stored) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.archives SET state = 'written', written_at = pg_catalog.now(), objects = $4, blake3 = $5, bytes = $6
         WHERE {WHICH} AND state = 'noted'",
        session.schemas().own
    );
    let blake3: Vec<&[u8]> = stored.blake3.iter().map(|hash| &hash[..]).collect();
    let bytes = i64::try_from(stored.bytes).unwrap_or(i64::MAX);
    let (parent, generation) = key(which);
    let values: [&(dyn ToSql + Sync); 6] = [&parent, &which.label, &generation, &stored.objects, &blake3, &bytes];
    session.query("note what is stored", &sql, &values).await.map(drop)
}

/// Notes that its files were read back, and hold what they are to hold.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn verified(session: &LoneSession, which: &Which, digest: &RowDigest) -> Result<(), DatabaseError> {
    // The driver has no type for whole numbers of this size.
    let sql = format!(
        "UPDATE {}.archives
         SET state = 'verified', verified_at = pg_catalog.now(), row_count = $4, digest = $5::text::numeric,
             first_at = {}, last_at = {}
         WHERE {WHICH} AND state = 'written'",
        session.schemas().own,
        time("$6"),
        time("$7")
    );
    let rows = i64::try_from(digest.rows).unwrap_or(i64::MAX);
    let sum = digest.sum.to_string();
    let (parent, generation) = key(which);
    let values: [&(dyn ToSql + Sync); 7] =
        [&parent, &which.label, &generation, &rows, &sum, &digest.first, &digest.last];
    session.query("note what was read back", &sql, &values).await.map(drop)
}

/// Notes that a manifest names it. That is the proof on which its partition is dropped.
///
/// # Errors
///
/// [`DatabaseError`], also where it was not verified, or is recorded under another manifest.
pub async fn record(session: &LoneSession, which: &Which, manifest: &Manifest) -> Result<Recorded, DatabaseError> {
    let sql = format!(
        "UPDATE {}.archives
         SET state = 'recorded', recorded_at = coalesce(recorded_at, pg_catalog.now()), sequence = $4,
             manifest_blake3 = $5, previous_blake3 = $6
         WHERE {WHICH} AND (state = 'verified' OR state = 'recorded' AND sequence = $4 AND manifest_blake3 = $5)
         RETURNING partition",
        session.schemas().own
    );
    let sequence = i64::try_from(manifest.sequence).unwrap_or(i64::MAX);
    let (blake3, previous) = (&manifest.blake3[..], manifest.previous.as_ref().map(|hash| &hash[..]));
    let (parent, generation) = key(which);
    let values: [&(dyn ToSql + Sync); 6] = [&parent, &which.label, &generation, &sequence, &blake3, &previous];
    let row = session.query_one("record what is archived", &sql, &values).await?;
    Ok(Recorded::of(row.get(0)))
}

/// Notes that the files of a generation are gone, because a later one took their place.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn replaced(session: &LoneSession, which: &Which) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.archives SET replaced_at = coalesce(replaced_at, pg_catalog.now()) WHERE {WHICH}",
        session.schemas().own
    );
    let (parent, generation) = key(which);
    let values: [&(dyn ToSql + Sync); 3] = [&parent, &which.label, &generation];
    session.query("note what was replaced", &sql, &values).await.map(drop)
}

fn key(which: &Which) -> (&'static str, i32) {
    (which.parent.as_str(), i32::try_from(which.generation).unwrap_or(i32::MAX))
}

/// Microseconds since 1970 as a time.
fn time(micros: &str) -> String {
    format!("timestamptz 'epoch' + {micros}::bigint * interval '1 microsecond'")
}
