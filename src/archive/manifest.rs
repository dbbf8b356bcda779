//! What stands beside the files: which partition they hold, and what proves that they are whole. Each manifest names the BLAKE3
//! of the one before it, so that none can be taken out, and none be changed without all that follow it.

use serde::{Deserialize, Serialize};

use crate::table::archived_columns::{Column, RowDigest};
use crate::table::archives::Which;
use crate::table::time_partitions::Parent;

/// What stands in every manifest.
const FORMAT: &str = "turnstile archive";
/// The form of manifests and files. A program reads those of its own version and refuses others.
pub const VERSION: u32 = 1;
/// Where manifests are.
pub const FOLDER: &str = "manifests/";

/// What is archived, by whom, and how it is recognised.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// What it is.
    pub format: String,
    /// Its form.
    pub version: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// The id of the archive, the same in all of its manifests.
    pub archive: String,
    /// Its number, from 1.
    pub sequence: u64,
    /// BLAKE3 of the manifest before it, in hexadecimal digits; none for the first.
    pub previous: Option<String>,
    /// What was done.
    pub act: Act,
    /// The table that the rows belonged to.
    pub table: String,
    /// The partition that held them.
    pub partition: String,
    /// Which time they are of, as the folder says it.
    pub label: String,
    /// The how many-th form of them.
    pub generation: u32,
    /// The time with which the partition begins; none where it holds whatever is older.
    pub since: Option<String>,
    /// The time before which it ends.
    pub until: String,
    /// When it was begun, by the database's clock.
    pub noted_at: String,
    /// The columns, in their order.
    pub columns: Vec<Column>,
    /// What the rows come to.
    pub rows: Rows,
    /// The files, in the order of the rows.
    pub files: Vec<FileOf>,
    /// The keys that unmask the values: they must stay in the keyring for as long as the files are to be of use.
    pub keys: Vec<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A partition was archived.
    Archived,
    /// It was written anew without the rows of somebody.
    Forgotten,
}

/// What rows come to.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// The earliest time of a message, in microseconds since 1970.
    pub first: Option<i64>,
    /// The latest.
    pub last: Option<i64>,
    /// The digest, in decimal digits: it is larger than JSON's numbers.
    pub digest: String,
}

impl Rows {
    /// As it is written.
    pub fn of(digest: &RowDigest) -> Self {
        let RowDigest { rows, first, last, sum } = digest;
        Self { count: *rows, first: *first, last: *last, digest: sum.to_string() }
    }

    /// The digest to compare with. A text that is not a number becomes a sum that no rows have.
    pub fn reckoned(&self) -> RowDigest {
        let sum = self.digest.parse().unwrap_or(u128::MAX);
        RowDigest { rows: self.count, first: self.first, last: self.last, sum }
    }
}

/// A file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct FileOf {
    /// Its name in the archive.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3, in hexadecimal digits.
    pub blake3: String,
    /// What its rows come to.
    pub rows: Rows,
}

/// A manifest as it is stored: with the BLAKE3 of itself, so that a change shows in the last one too.
#[derive(Deserialize, Serialize)]
struct Sealed {
    manifest: Manifest,
    /// BLAKE3 of the manifest as JSON without spaces.
    blake3: String,
}

impl Manifest {
    /// The first lines, which are the same in all.
    pub fn begin(archive: &str, sequence: u64, previous: Option<[u8; 32]>, which: &Which) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            archive: archive.to_owned(),
            sequence,
            previous: previous.map(|hash| hex(&hash)),
            act: Act::Archived,
            table: which.parent.to_string(),
            partition: which.partition.clone(),
            label: which.label.clone(),
            generation: which.generation,
            since: None,
            until: String::new(),
            noted_at: String::new(),
            columns: Vec::new(),
            rows: Rows::of(&RowDigest::default()),
            files: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// The table that the rows belonged to.
    pub fn parent(&self) -> Option<Parent> {
        self.table.parse().ok().filter(|parent: &Parent| parent.is_archived())
    }

    /// The name under which it is stored.
    pub fn name(&self) -> String {
        name_of(self.sequence)
    }

    /// Its bytes.
    ///
    /// # Errors
    ///
    /// Where it cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let blake3 = blake3::hash(&serde_json::to_vec(self)?).to_hex().to_string();
        let mut bytes = serde_json::to_vec_pretty(&Sealed { manifest: self.clone(), blake3 })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads one; nothing where these are not the bytes that [`Manifest::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Sealed { manifest, .. } = serde_json::from_slice(bytes).ok()?;
        let is_whole = manifest.format == FORMAT && manifest.to_bytes().ok()? == bytes && manifest.parent().is_some();
        is_whole.then_some(manifest)
    }

    /// The version that bytes say they are of, where they are a manifest of an archive.
    pub fn version_of(bytes: &[u8]) -> Option<u32> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let manifest = value.get("manifest")?;
        let is_one = manifest.get("format")?.as_str()? == FORMAT;
        manifest.get("version")?.as_u64().filter(|_| is_one).and_then(|version| u32::try_from(version).ok())
    }
}

/// The name of a manifest by its number.
pub fn name_of(sequence: u64) -> String {
    format!("{FOLDER}{sequence:08}.json")
}

/// The number of a manifest by its name.
pub fn sequence_of(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER)?.strip_suffix(".json")?.parse().ok().filter(|sequence| name_of(*sequence) == name)
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

/// Hexadecimal digits as bytes.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_with_a_changed_byte_is_none() {
        let parent = Parent::UserLogins;
        let which =
            Which { parent, label: "2026-11".to_owned(), generation: 1, partition: "user_logins_202611".to_owned() };
        let manifest = Manifest::begin("an id", 7, Some([7; 32]), &which);
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes(&bytes), Some(manifest));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Manifest::from_bytes(&changed), None, "byte {at}");
        }
        assert_eq!(sequence_of(&name_of(12)), Some(12));
        assert_eq!(sequence_of("manifests/12.json"), None);
    }
}
