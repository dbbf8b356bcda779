//! A person, out of an archive. What holds rows of theirs is written anew without them, as another generation with a manifest of
//! its own, and the files before it are deleted once that is read back and recorded. Claims name no person.

use std::collections::HashSet;
use std::time::Duration;

use super::binary::binary;
use super::chain::Link;
use super::failure::ArchiveError;
use super::ground::Ground;
use super::keep::equal;
use super::manifest::{Act, Manifest, Rows, unhex};
use super::reader::{self, Group, Value};
use super::storage::{Place, Storage};
use super::stored::{PutFile, ReadBack, file_name, noted, open, put, put_manifest, read_back};
use super::writer::{WriteError, Writer};
use crate::database::Database;
use crate::failpoint::{ArchiveStep, around};
use crate::readable::exact;
use crate::table::archived_columns::RowDigest;
use crate::table::archives::{self, Which};
use crate::table::retired;
use crate::table::time_partitions::Parent;

/// The column that names a person.
const PERSON: &str = "user_id";

/// The people who are to be forgotten: their `user_id`s, as the app sent them. Prints nothing of them.
pub struct People(HashSet<Vec<u8>>);

impl People {
    /// One on each line of a text; empty lines name nobody.
    pub fn of_lines(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        Self(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn are_of(&self, group: &Group<'_>, row: usize) -> bool {
        let Some(column) = group.column(PERSON) else { return false };
        match group.value(row, column) {
            Value::Bytes(bytes) => self.0.contains(bytes.data()),
            Value::Null | Value::Boolean(_) | Value::Int32(_) | Value::Int64(_) => false,
        }
    }
}

/// How it is done.
#[derive(Clone, Debug)]
pub struct ForgetSettings {
    /// Only count the rows.
    pub dry_run: bool,
    /// How long is waited for the lock.
    pub patience: Duration,
}

/// A time of which rows went, or would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Which time.
    pub label: String,
    /// How many rows went.
    pub rows: u64,
    /// How many are left.
    pub left: u64,
    /// The manifest; none where they only would go.
    pub manifest: Option<String>,
}

/// Writes anew whatever holds rows of these people. `tell` hears of each time.
///
/// # Errors
///
/// [`ArchiveError`]: what was told holds; what was not is as it was, and is done by another run.
pub async fn forget(
    database: &Database,
    storage: Storage,
    place: &Place,
    people: &People,
    settings: &ForgetSettings,
    mut tell: impl FnMut(&Forgotten),
) -> Result<Vec<Forgotten>, ArchiveError> {
    let mut ground = Ground::stand(database, storage, place, settings.patience).await?;
    refuse_unfinished(&ground).await?;
    if !settings.dry_run {
        ground.finish().await?;
    }
    let links: Vec<Link> = ground.chain.current().into_values().cloned().collect();
    let mut done = Vec::new();
    for link in links.into_iter().filter(|link| link.manifest.parent() == Some(Parent::UserLogins)) {
        let (left, gone) = look(&ground.storage, &link.manifest, people).await?;
        if gone.rows == 0 {
            continue;
        }
        let manifest = match settings.dry_run {
            true => None,
            false => Some(write_anew(&mut ground, &link.manifest, people, &left).await?),
        };
        let one = Forgotten { label: link.manifest.label.clone(), rows: gone.rows, left: left.rows, manifest };
        tell(&one);
        done.push(one);
    }
    Ok(done)
}

/// A partition whose rows are still in the table as well is not written anew: the table would be compared with less.
async fn refuse_unfinished(ground: &Ground) -> Result<(), ArchiveError> {
    let unrecorded = ground.unrecorded().filter(|link| link.manifest.act == Act::Archived);
    let undropped = retired::due(&ground.session).await?.into_iter().map(|retired| retired.partition);
    let recorded = |partition: &String| ground.known.iter().any(|row| row.which.partition == *partition);
    let between = unrecorded.map(|link| link.manifest.partition.clone());
    match between.or_else(|| undropped.into_iter().find(recorded)) {
        Some(partition) => Err(ArchiveError::Unfinished(partition)),
        None => Ok(()),
    }
}

/// What of a partition is left, and what goes.
async fn look(storage: &Storage, manifest: &Manifest, people: &People) -> Result<(RowDigest, RowDigest), ArchiveError> {
    let (mut left, mut gone) = (RowDigest::default(), RowDigest::default());
    for file in &manifest.files {
        let opened = open(storage, file).await?;
        let groups = reader::groups(opened, &manifest.columns).map_err(ArchiveError::unreadable(&file.name))?;
        for group in groups {
            let group = group.map_err(ArchiveError::unreadable(&file.name))?;
            for row in 0..group.rows {
                let digest = if people.are_of(&group, row) { &mut gone } else { &mut left };
                group.add_to(digest, Parent::UserLogins, row);
            }
        }
    }
    let mut all = left;
    all.add_all(&gone);
    equal(&manifest.partition, "manifest", &all, &manifest.rows.reckoned())?;
    Ok((left, gone))
}

async fn write_anew(
    ground: &mut Ground,
    before: &Manifest,
    people: &People,
    left: &RowDigest,
) -> Result<String, ArchiveError> {
    let which = Which {
        parent: Parent::UserLogins,
        label: before.label.clone(),
        generation: before.generation + 1,
        partition: before.partition.clone(),
    };
    let Ground { session, storage, archive, place, .. } = &*ground;
    let noted_at = around(ArchiveStep::Note, archives::note(session, &which, archive, place)).await?;
    let put = write(storage, before, &which, people).await?;
    archives::written(session, &which, &noted(&put)).await?;

    let known = before.keys.iter().cloned().collect();
    let reading = read_back(storage, Parent::UserLogins, &before.columns, &put, &known);
    let ReadBack { digest, files, keys } = around(ArchiveStep::ReadBack, reading).await?;
    equal(&before.partition, "generation before it, without those rows,", &digest, left)?;
    archives::verified(session, &which, &digest).await?;

    let manifest = Manifest {
        act: Act::Forgotten,
        since: before.since.clone(),
        until: before.until.clone(),
        noted_at: exact(noted_at),
        columns: before.columns.clone(),
        rows: Rows::of(&digest),
        files,
        keys: keys.into_iter().collect(),
        ..ground.next_manifest(&which)
    };
    let blake3 = put_manifest(storage, &manifest).await?;
    let previous = manifest.previous.as_deref().and_then(unhex);
    let of_row = archives::Manifest { sequence: manifest.sequence, blake3, previous };
    around(ArchiveStep::Record, archives::record(session, &which, &of_row)).await?;
    let name = manifest.name();
    ground.recorded(manifest, blake3, noted_at);
    ground.delete_replaced().await?;
    Ok(name)
}

/// Writes each file anew, without the rows of these people. What an earlier run left under these names was perhaps without
/// others: no manifest names it, and it goes.
async fn write(
    storage: &Storage,
    before: &Manifest,
    which: &Which,
    people: &People,
) -> Result<Vec<PutFile>, ArchiveError> {
    let is_daily = before.files.first().is_some_and(|file| file.name.contains("/day="));
    let mut written = Vec::new();
    for file in &before.files {
        let name = file_name(which, is_daily, written.len() + 1);
        storage.remove(&name).await?;
        let partial = storage.begin(&name)?;
        let mut writer = Writer::new(partial.file().map_err(WriteError::from)?, &before.columns)?;
        let opened = open(storage, file).await?;
        let groups = reader::groups(opened, &before.columns).map_err(ArchiveError::unreadable(&file.name))?;
        for group in groups {
            let group = group.map_err(ArchiveError::unreadable(&file.name))?;
            for row in (0..group.rows).filter(|row| !people.are_of(&group, *row)) {
                let columns = before.columns.iter().enumerate();
                let values: Vec<_> = columns.map(|(at, column)| binary(group.value(row, at), column.kept_as)).collect();
                writer.add(|column| values.get(column)?.as_deref())?;
            }
        }
        let whole = around(ArchiveStep::Write, async { writer.end() }).await?;
        put(storage, &name, partial, &whole).await?;
        written.push(PutFile { name, whole });
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_person() {
        let people = People::of_lines(b"ada\r\n\ngrace hopper\nada");
        assert_eq!(people.count(), 2);
        assert!(people.0.contains(&b"ada"[..]) && people.0.contains(&b"grace hopper"[..]));
    }
}
