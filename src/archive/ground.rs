//! What a run begins with: the lock, the archive as it stands, and what the database knows of it; and the end of what an earlier
//! run has left.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::chain::{self, Chain, Link};
use super::failure::ArchiveError;
use super::manifest::{Act, Manifest, unhex};
use super::storage::{Place, Storage};
use super::stored::{PutFile, noted, read_back};
use super::writer::Whole;
use crate::database::{Database, LoneSession};
use crate::detach::{Came, until_so};
use crate::failpoint::{ArchiveStep, around};
use crate::table::archives::{self, Row, Which};
use crate::table::retired_partitions;

/// What a run stands on.
pub(super) struct Ground {
    pub(super) session: LoneSession,
    pub(super) storage: Storage,
    pub(super) place: String,
    /// The id of the archive.
    pub(super) archive: String,
    pub(super) chain: Chain,
    pub(super) known: Vec<Row>,
}

impl Ground {
    /// Takes the lock, and compares the archive with what the database knows of it.
    pub(super) async fn stand(
        database: &Database,
        storage: Storage,
        place: &Place,
        patience: Duration,
    ) -> Result<Self, ArchiveError> {
        let session = database.lone_session().await?;
        let locked = until_so(Instant::now() + patience, || retired_partitions::try_lock(&session)).await?;
        if locked == Came::InTheWay {
            return Err(ArchiveError::Busy);
        }
        let (chain, problems) = chain::look(&storage).await?;
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem.into());
        }
        let known = archives::read(&session).await?;
        let archive = archive_of(&chain, &known, &place.to_string())?;
        Ok(Self { session, storage, place: place.to_string(), archive, chain, known })
    }

    /// The manifest that is stored and not recorded: an earlier run has ended between the two.
    pub(super) fn unrecorded(&self) -> Option<&Link> {
        let head = self.chain.head()?;
        (head.manifest.sequence > last_known(&self.known, &self.archive).0).then_some(head)
    }

    /// Begins the next manifest.
    pub(super) fn next_manifest(&self, which: &Which) -> Manifest {
        let (sequence, previous) = self.end(which);
        Manifest::begin(&self.archive, sequence, previous, which)
    }

    /// Where the next manifest goes: one that stands there for the same already is not counted.
    fn end(&self, which: &Which) -> (u64, Option<[u8; 32]>) {
        let is_same = |manifest: &Manifest| {
            manifest.parent() == Some(which.parent)
                && manifest.label == which.label
                && manifest.generation == which.generation
        };
        let skipped = self.unrecorded().is_some_and(|link| is_same(&link.manifest));
        let head = self.chain.links.iter().rev().nth(usize::from(skipped));
        head.map_or((1, None), |link| (link.manifest.sequence + 1, Some(link.blake3)))
    }

    /// A manifest has been stored and recorded.
    pub(super) fn recorded(&mut self, manifest: Manifest, blake3: [u8; 32], noted_at: time::OffsetDateTime) {
        let Some(parent) = manifest.parent() else { return };
        let which = Which {
            parent,
            label: manifest.label.clone(),
            generation: manifest.generation,
            partition: manifest.partition.clone(),
        };
        let previous = manifest.previous.as_deref().and_then(unhex);
        let of_row = archives::Manifest { sequence: manifest.sequence, blake3, previous };
        self.known.retain(|row| row.which != which);
        self.known.push(Row {
            which,
            archive: self.archive.clone(),
            place: self.place.clone(),
            noted_at,
            manifest: Some(of_row),
            is_replaced: false,
        });
        self.chain.links.retain(|link| link.manifest.sequence != manifest.sequence);
        self.chain.links.push(Link { manifest, blake3 });
    }

    /// Ends what a run has left that wrote a partition anew: whose manifest is stored is recorded, and the files in whose place
    /// others stand are deleted.
    pub(super) async fn finish(&mut self) -> Result<(), ArchiveError> {
        if let Some(link) = self.unrecorded().filter(|link| link.manifest.act == Act::Forgotten).cloned() {
            self.record_again(link).await?;
        }
        self.delete_replaced().await
    }

    async fn record_again(&mut self, link: Link) -> Result<(), ArchiveError> {
        let Link { manifest, blake3 } = link;
        let Some(parent) = manifest.parent() else { return Ok(()) };
        let Manifest { label, generation, partition, .. } = manifest.clone();
        let which = Which { parent, label, generation, partition };
        let put: Vec<PutFile> = manifest.files.iter().filter_map(put_before).collect();
        let keys = manifest.keys.iter().cloned().collect();
        let read = read_back(&self.storage, parent, &manifest.columns, &put, &keys).await?;
        let expected = manifest.rows.reckoned();
        if read.digest != expected {
            return Err(ArchiveError::NotEqual {
                what: which.partition,
                whose: "manifest",
                found: Box::new(read.digest),
                expected: Box::new(expected),
            });
        }
        let noted_at = archives::note(&self.session, &which, &self.archive, &self.place).await?;
        archives::written(&self.session, &which, &noted(&put)).await?;
        archives::verified(&self.session, &which, &read.digest).await?;
        let previous = manifest.previous.as_deref().and_then(unhex);
        let of_row = archives::Manifest { sequence: manifest.sequence, blake3, previous };
        archives::record(&self.session, &which, &of_row).await?;
        self.recorded(manifest, blake3, noted_at);
        Ok(())
    }

    /// Deletes the files in whose place others are recorded.
    pub(super) async fn delete_replaced(&mut self) -> Result<(), ArchiveError> {
        let replaced: Vec<Link> = self.chain.replaced().into_iter().cloned().collect();
        for Link { manifest, .. } in replaced {
            let is_of = |row: &&mut Row| {
                row.archive == self.archive
                    && row.manifest.is_some_and(|known| known.sequence == manifest.sequence)
                    && !row.is_replaced
            };
            let Some(row) = self.known.iter_mut().find(is_of) else { continue };
            for file in &manifest.files {
                around(ArchiveStep::Remove, self.storage.remove(&file.name)).await?;
            }
            archives::replaced(&self.session, &row.which).await?;
            row.is_replaced = true;
        }
        Ok(())
    }
}

/// A file as it was put, by its manifest.
fn put_before(file: &super::manifest::FileOf) -> Option<PutFile> {
    let whole = Whole { rows: file.rows.count, bytes: file.bytes, blake3: unhex(&file.blake3)?, sha256: [0; 32] };
    Some(PutFile { name: file.name.clone(), whole })
}

/// The last manifest of an archive that the database knows: its number, 0 where it knows of none, and its BLAKE3.
fn last_known(known: &[Row], archive: &str) -> (u64, Option<[u8; 32]>) {
    let of_archive = known.iter().filter(|row| row.archive == archive).filter_map(|row| row.manifest);
    let last = of_archive.max_by_key(|manifest| manifest.sequence);
    last.map_or((0, None), |manifest| (manifest.sequence, Some(manifest.blake3)))
}

/// The id of the archive; refuses one that is not as this database knows it to be.
fn archive_of(chain: &Chain, known: &[Row], place: &str) -> Result<String, ArchiveError> {
    let Some(head) = chain.head() else {
        let stood = known.iter().filter(|row| row.place == place).filter_map(|row| row.manifest);
        if let Some(known) = stood.map(|manifest| manifest.sequence).max() {
            return Err(ArchiveError::Behind { sequence: 0, known });
        }
        // The first manifest of an archive was begun, and did not come to be stored.
        let recorded = |archive: &str| known.iter().any(|row| row.archive == archive && row.manifest.is_some());
        let begun = known.iter().find(|row| row.place == place && !recorded(&row.archive));
        return Ok(begun.map_or_else(|| Uuid::new_v4().to_string(), |row| row.archive.clone()));
    };
    let archive = head.manifest.archive.clone();
    let sequence = head.manifest.sequence;
    let (last, blake3) = last_known(known, &archive);
    let is_begun = known.iter().any(|row| row.archive == archive);
    let stands = chain.links.iter().find(|link| link.manifest.sequence == last).map(|link| link.blake3);
    if sequence < last || stands != blake3 {
        return Err(ArchiveError::Behind { sequence, known: last });
    }
    match is_begun && sequence <= last + 1 {
        true => Ok(archive),
        false => Err(ArchiveError::Ahead { sequence, known: last }),
    }
}
