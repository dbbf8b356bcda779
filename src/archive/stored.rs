//! Objects, put and read back.

use std::collections::BTreeSet;

use super::failure::ArchiveError;
use super::manifest::{FileOf, Manifest, Rows, hex};
use super::reader::{self, Value};
use super::storage::{Partial, Put, Storage};
use super::writer::{Whole, write_small};
use crate::failpoint::{ArchiveStep, around};
use crate::table::archived_columns::{Column, RowDigest};
use crate::table::archives::{Stored, Which};
use crate::table::time_partitions::Parent;

/// The columns whose values name the key that unmasks them.
const MASKED: [&str; 2] = ["masked_ip", "masked_device_id"];

/// A file that stands in the archive, as the writer has it.
#[derive(Clone, Debug)]
pub(super) struct PutFile {
    pub(super) name: String,
    pub(super) whole: Whole,
}

/// What files hold, by the reader.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadBack {
    pub(super) digest: RowDigest,
    pub(super) files: Vec<FileOf>,
    pub(super) keys: BTreeSet<String>,
}

/// The name of a file.
pub(super) fn file_name(which: &Which, is_daily: bool, part: usize) -> String {
    let Which { parent, label, generation, .. } = which;
    let period = if is_daily { "day" } else { "month" };
    format!("{parent}/{period}={label}/{parent}-{label}.g{generation}.{part:04}.parquet")
}

/// Stores a file under its name. Where the name is taken, what stands there must be the same.
pub(super) async fn put(storage: &Storage, name: &str, partial: Partial, whole: &Whole) -> Result<(), ArchiveError> {
    let put = around(ArchiveStep::Store, storage.put(name, partial, &whole.sha256)).await?;
    match put {
        Put::Stored => Ok(()),
        Put::Taken => match fingerprint(storage, name).await? == (whole.bytes, whole.blake3) {
            true => Ok(()),
            false => Err(ArchiveError::Taken(name.to_owned())),
        },
    }
}

/// Stores a manifest. Where its name is taken, the same must stand there, though another version of the program may have
/// written it; gives the BLAKE3 of what stands there.
pub(super) async fn put_manifest(storage: &Storage, manifest: &Manifest) -> Result<[u8; 32], ArchiveError> {
    let name = manifest.name();
    let local = |error: std::io::Error| ArchiveError::Write(error.into());
    let bytes = manifest.to_bytes().map_err(|error| local(error.into()))?;
    let partial = storage.begin(&name)?;
    let sha256 = partial.file().and_then(|file| write_small(file, &bytes)).map_err(local)?;
    let put = around(ArchiveStep::Manifest, storage.put(&name, partial, &sha256)).await?;
    if put == Put::Stored {
        return Ok(*blake3::hash(&bytes).as_bytes());
    }
    let stands = storage.get_small(&name).await?;
    let same = Manifest::from_bytes(&stands).map(|there| Manifest { program: manifest.program.clone(), ..there });
    match same.as_ref() == Some(manifest) {
        true => Ok(*blake3::hash(&stands).as_bytes()),
        false => Err(ArchiveError::Taken(name)),
    }
}

/// Reads files back: each must have the bytes that were put.
pub(super) async fn read_back(
    storage: &Storage,
    parent: Parent,
    columns: &[Column],
    put: &[PutFile],
    known_keys: &BTreeSet<String>,
) -> Result<ReadBack, ArchiveError> {
    let mut read_back = ReadBack::default();
    for PutFile { name, whole } in put {
        let mut file = storage.get(name).await?;
        let stands = reader::fingerprint(&mut file).map_err(|error| ArchiveError::unreadable(name)(error.into()))?;
        if stands != (whole.bytes, whole.blake3) {
            let what = "was read back with other bytes than were stored".to_owned();
            return Err(ArchiveError::Damaged { name: name.clone(), what });
        }
        let mut digest = RowDigest::default();
        for group in reader::groups(file, columns).map_err(ArchiveError::unreadable(name))? {
            let group = group.map_err(ArchiveError::unreadable(name))?;
            let masked: Vec<usize> = MASKED.iter().filter_map(|name| group.column(name)).collect();
            for row in 0..group.rows {
                group.add_to(&mut digest, parent, row);
                for column in &masked {
                    let key = key_of(group.value(row, *column), known_keys);
                    if let Some(key) = key.filter(|key| !read_back.keys.contains(*key)) {
                        read_back.keys.insert(key.clone());
                    }
                }
            }
        }
        let (bytes, blake3) = (whole.bytes, hex(&whole.blake3));
        read_back.files.push(FileOf { name: name.clone(), bytes, blake3, rows: Rows::of(&digest) });
        read_back.digest.add_all(&digest);
    }
    Ok(read_back)
}

/// The key that a masked value names, where the database knows it: what else stands before a dot is no key's id.
fn key_of<'k>(value: &Value, known: &'k BTreeSet<String>) -> Option<&'k String> {
    let Value::Bytes(bytes) = value else { return None };
    let text = bytes.as_utf8().ok()?;
    known.get(text.split(['.', ':']).next()?)
}

/// The length and BLAKE3 of an object.
pub(super) async fn fingerprint(storage: &Storage, name: &str) -> Result<(u64, [u8; 32]), ArchiveError> {
    let mut file = storage.get(name).await?;
    reader::fingerprint(&mut file).map_err(|error| ArchiveError::unreadable(name)(error.into()))
}

/// Opens a file of the archive that is what its manifest says.
pub(super) async fn open(storage: &Storage, of: &FileOf) -> Result<std::fs::File, ArchiveError> {
    let mut file = storage.get(&of.name).await?;
    let found = reader::fingerprint(&mut file).map_err(|error| ArchiveError::unreadable(&of.name)(error.into()))?;
    match (found.0, hex(&found.1)) == (of.bytes, of.blake3.clone()) {
        true => Ok(file),
        false => Err(ArchiveError::Damaged {
            name: of.name.clone(),
            what: "is not what its manifest says: its length or BLAKE3 is another".to_owned(),
        }),
    }
}

/// As the database notes it.
pub(super) fn noted(put: &[PutFile]) -> Stored {
    Stored {
        objects: put.iter().map(|put| put.name.clone()).collect(),
        blake3: put.iter().map(|put| put.whole.blake3).collect(),
        bytes: put.iter().map(|put| put.whole.bytes).sum(),
    }
}
