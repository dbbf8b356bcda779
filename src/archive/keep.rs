//! Partitions into the archive, one after the other, and then away.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use super::failure::ArchiveError;
use super::ground::Ground;
use super::manifest::{Act, Manifest, Rows, unhex};
use super::storage::{Place, Storage};
use super::stored::{PutFile, ReadBack, file_name, noted, open, put, put_manifest, read_back};
use super::writer::{WriteError, Writer};
use super::{chain::Link, reader};
use crate::database::{Database, DatabaseError, RowOut};
use crate::failpoint::{ArchiveStep, around};
use crate::readable::exact;
use crate::table::archived_columns::{Column, RowDigest};
use crate::table::archives::{self, Which};
use crate::table::retired::{self, Looks, Recorded, Retired};
use crate::table::turnstile_keys;

/// How it is archived.
#[derive(Clone, Debug)]
pub struct KeepSettings {
    /// Only look what would go.
    pub dry_run: bool,
    /// How long is waited for the lock, and for those who use a table that is to be dropped.
    pub patience: Duration,
    /// From which length on the rows of a partition go on in another file.
    pub file_bytes: u64,
}

impl Default for KeepSettings {
    fn default() -> Self {
        Self { dry_run: false, patience: Duration::from_secs(60), file_bytes: 1 << 30 }
    }
}

/// A partition that went, or would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub partition: String,
    /// The table that it belonged to.
    pub table: &'static str,
    /// Which time its rows are of.
    pub label: String,
    /// How many rows it held.
    pub rows: u64,
    /// How many bytes its files have; 0 where it only would go.
    pub bytes: u64,
    /// The digest of its rows, in decimal digits.
    pub digest: String,
    /// Its manifest; none where it only would go.
    pub manifest: Option<String>,
}

/// Archives every partition that waits for it, and drops it. `tell` hears of each as it goes.
///
/// # Errors
///
/// [`ArchiveError`]: what was dropped before was dropped rightly, and the rest stands where it stood.
pub async fn archive(
    database: &Database,
    storage: Storage,
    place: &Place,
    settings: &KeepSettings,
    mut tell: impl FnMut(&Kept),
) -> Result<Vec<Kept>, ArchiveError> {
    let mut keeping = Keeping {
        ground: Ground::stand(database, storage, place, settings.patience).await?,
        settings,
        keys: known_keys(database).await?,
    };
    if !settings.dry_run {
        keeping.ground.finish().await?;
    }
    let mut kept = Vec::new();
    for retired in keeping.due().await? {
        let one = match settings.dry_run {
            true => keeping.foresee(&retired).await?,
            false => keeping.keep(&retired).await?,
        };
        tell(&one);
        kept.push(one);
    }
    Ok(kept)
}

/// The ids of the keys that the tables know.
pub(super) async fn known_keys(database: &Database) -> Result<BTreeSet<String>, DatabaseError> {
    let keys = database.snapshot(turnstile_keys::read).await?;
    Ok(keys.into_iter().map(|key| key.id.as_str().to_owned()).collect())
}

/// Which time the rows of a partition are of, as the folder of the archive says it.
pub fn label_of(retired: &Retired) -> String {
    let day = |time: OffsetDateTime| exact(time).chars().take(10).collect::<String>();
    match retired.since {
        None => format!("before-{}", day(retired.until)),
        Some(since) if retired.is_daily => day(since),
        Some(since) => day(since).chars().take(7).collect(),
    }
}

struct Keeping<'s> {
    ground: Ground,
    settings: &'s KeepSettings,
    keys: BTreeSet<String>,
}

impl Keeping<'_> {
    /// What waits. A partition whose manifest is stored already comes first: the next manifest follows it.
    async fn due(&self) -> Result<Vec<Retired>, DatabaseError> {
        let mut due = retired::due(&self.ground.session).await?;
        if let Some(link) = self.ground.unrecorded() {
            due.sort_by_key(|retired| retired.partition != link.manifest.partition);
        }
        Ok(due)
    }

    async fn columns(&self, retired: &Retired) -> Result<Option<Vec<Column>>, ArchiveError> {
        match retired::looks(&self.ground.session, retired).await? {
            Looks::NoTable => Ok(None),
            Looks::Columns(columns) => Ok(Some(columns)),
            Looks::Unfit(unfit) => {
                let columns: Vec<String> = unfit.into_iter().map(|(name, of)| format!("{name} ({of})")).collect();
                Err(ArchiveError::Unfit { partition: retired.partition.clone(), columns: columns.join(", ") })
            }
        }
    }

    async fn foresee(&self, retired: &Retired) -> Result<Kept, ArchiveError> {
        let columns = self.columns(retired).await?.ok_or_else(|| ArchiveError::Gone(retired.partition.clone()))?;
        let digest = self.digest_of_table(retired, &columns).await?;
        Ok(kept(retired, &digest, 0, None))
    }

    async fn keep(&mut self, retired: &Retired) -> Result<Kept, ArchiveError> {
        let which = Which {
            parent: retired.parent,
            label: label_of(retired),
            generation: 1,
            partition: retired.partition.clone(),
        };
        let columns = self.columns(retired).await?;
        let (manifest, recorded) = match (self.link_of(&which), columns) {
            (Some(link), columns) => self.look_again(retired, &which, link, columns).await?,
            (None, Some(columns)) => self.write_and_record(retired, &which, &columns).await?,
            (None, None) => return Err(ArchiveError::Gone(retired.partition.clone())),
        };
        let dropped = retired::drop_archived(&self.ground.session, retired, recorded, self.settings.patience);
        around(ArchiveStep::Drop, dropped).await.map_err(|error| match error.gave_way() {
            true => ArchiveError::InTheWay(retired.partition.clone()),
            false => error.into(),
        })?;
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        Ok(kept(retired, &manifest.rows.reckoned(), bytes, Some(manifest.name())))
    }

    /// The manifest under which it is recorded in this archive.
    fn link_of(&self, which: &Which) -> Option<Link> {
        let row = self.ground.known.iter().find(|row| row.which == *which && row.archive == self.ground.archive)?;
        let sequence = row.manifest?.sequence;
        self.ground.chain.links.iter().find(|link| link.manifest.sequence == sequence).cloned()
    }

    /// An earlier run has recorded it and not come to the drop. What is stored is compared once more.
    async fn look_again(
        &self,
        retired: &Retired,
        which: &Which,
        link: Link,
        columns: Option<Vec<Column>>,
    ) -> Result<(Manifest, Recorded), ArchiveError> {
        let Link { manifest, blake3 } = link;
        let mut stored = RowDigest::default();
        for file in &manifest.files {
            let opened = open(&self.ground.storage, file).await?;
            let digest = reader::digest(opened, retired.parent, &manifest.columns);
            stored.add_all(&digest.map_err(ArchiveError::unreadable(&file.name))?);
        }
        let of_table = match columns {
            Some(columns) => self.digest_of_table(retired, &columns).await?,
            None => manifest.rows.reckoned(),
        };
        equal(&retired.partition, "table", &stored, &of_table)?;
        let previous = manifest.previous.as_deref().and_then(unhex);
        let of_row = archives::Manifest { sequence: manifest.sequence, blake3, previous };
        let recorded = archives::record(&self.ground.session, which, &of_row).await?;
        Ok((manifest, recorded))
    }

    async fn write_and_record(
        &mut self,
        retired: &Retired,
        which: &Which,
        columns: &[Column],
    ) -> Result<(Manifest, Recorded), ArchiveError> {
        let Ground { session, storage, archive, place, .. } = &self.ground;
        let noted_at = around(ArchiveStep::Note, archives::note(session, which, archive, place)).await?;
        let files = self.write(retired, which, columns).await?;
        archives::written(session, which, &noted(&files)).await?;

        let reading = read_back(storage, retired.parent, columns, &files, &self.keys);
        let ReadBack { digest, files, keys } = around(ArchiveStep::ReadBack, reading).await?;
        equal(&retired.partition, "table", &digest, &self.digest_of_table(retired, columns).await?)?;
        archives::verified(session, which, &digest).await?;

        let manifest = Manifest {
            act: Act::Archived,
            since: retired.since.map(exact),
            until: exact(retired.until),
            noted_at: exact(noted_at),
            columns: columns.to_vec(),
            rows: Rows::of(&digest),
            files,
            keys: keys.into_iter().collect(),
            ..self.ground.next_manifest(which)
        };
        let blake3 = put_manifest(storage, &manifest).await?;
        let previous = manifest.previous.as_deref().and_then(unhex);
        let of_row = archives::Manifest { sequence: manifest.sequence, blake3, previous };
        let recorded = around(ArchiveStep::Record, archives::record(session, which, &of_row)).await?;
        self.ground.recorded(manifest.clone(), blake3, noted_at);
        Ok((manifest, recorded))
    }

    /// Writes the rows into as many files as they need, one at least, and stores each as it is whole.
    async fn write(&self, retired: &Retired, which: &Which, columns: &[Column]) -> Result<Vec<PutFile>, ArchiveError> {
        let Ground { session, storage, .. } = &self.ground;
        let mut rows = retired::rows(session, retired, columns).await?;
        let (mut files, mut next) = (Vec::new(), rows.next().await?);
        loop {
            let name = file_name(which, retired.is_daily, files.len() + 1);
            let partial = storage.begin(&name)?;
            let mut writer = Writer::new(partial.file().map_err(WriteError::from)?, columns)?;
            while let Some(row) = next.take() {
                writer.add(|column| RowOut::value(&row, column))?;
                next = rows.next().await?;
                if writer.bytes() >= self.settings.file_bytes {
                    break;
                }
            }
            let whole = around(ArchiveStep::Write, async { writer.end() }).await?;
            put(storage, &name, partial, &whole).await?;
            files.push(PutFile { name, whole });
            if next.is_none() {
                break;
            }
        }
        session.end_reading().await?;
        Ok(files)
    }

    /// What the server says that the table holds, which must be as many rows as when it was detached.
    async fn digest_of_table(&self, retired: &Retired, columns: &[Column]) -> Result<RowDigest, ArchiveError> {
        let digest = retired::digest(&self.ground.session, retired, columns).await?;
        match retired.rows {
            Some(counted) if counted != digest.rows => {
                Err(ArchiveError::Changed { partition: retired.partition.clone(), counted, found: digest.rows })
            }
            _ => Ok(digest),
        }
    }
}

/// Refuses what was read back, unless it is what it should be.
pub(super) fn equal(
    what: &str,
    whose: &'static str,
    found: &RowDigest,
    expected: &RowDigest,
) -> Result<(), ArchiveError> {
    match found == expected {
        true => Ok(()),
        false => Err(ArchiveError::NotEqual {
            what: what.to_owned(),
            whose,
            found: Box::new(*found),
            expected: Box::new(*expected),
        }),
    }
}

fn kept(retired: &Retired, digest: &RowDigest, bytes: u64, manifest: Option<String>) -> Kept {
    Kept {
        partition: retired.partition.clone(),
        table: retired.parent.as_str(),
        label: label_of(retired),
        rows: digest.rows,
        bytes,
        digest: digest.sum.to_string(),
        manifest,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::table::time_partitions::Parent;

    #[test]
    fn a_folder_is_named_after_the_time_of_its_rows() {
        let of = |is_daily, since, until| {
            let (parent, partition) = (Parent::UserLogins, String::new());
            label_of(&Retired { partition, parent, is_daily, since, until, rows: None })
        };
        let (october, november) = (datetime!(2026-10-01 00:00 UTC), datetime!(2026-11-01 00:00 UTC));
        assert_eq!(of(false, Some(october), november), "2026-10");
        assert_eq!(of(false, Some(datetime!(2026-10-20 00:00 UTC)), november), "2026-10", "what is left of a month");
        assert_eq!(of(true, Some(october), datetime!(2026-10-02 00:00 UTC)), "2026-10-01");
        assert_eq!(of(false, None, november), "before-2026-11-01");
        assert_eq!(of(true, None, november), "before-2026-11-01");
    }
}
