//! The manifests of an archive, from the first to the last.

use std::collections::BTreeMap;

use super::manifest::{FOLDER, Manifest, VERSION, hex, name_of, sequence_of};
use super::storage::{Storage, StorageError};
use crate::table::time_partitions::Parent;

/// A manifest in its place.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it says.
    pub manifest: Manifest,
    /// BLAKE3 of its bytes.
    pub blake3: [u8; 32],
}

/// Something that is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A manifest is not there.
    #[error("{0} is missing: what it recorded cannot be told")]
    MissingManifest(String),
    /// A manifest was changed, or is none.
    #[error("{0} is not a manifest as it was written: it was changed, or damaged")]
    Edited(String),
    /// A manifest is of another version.
    #[error("{name} is of version {version} of the format, and this program reads version {VERSION}")]
    OtherVersion {
        /// The manifest.
        name: String,
        /// Its version.
        version: u32,
    },
    /// A manifest does not follow the one before it.
    #[error("{0} does not follow the manifest before it: one of the two was replaced")]
    BrokenLink(String),
    /// A manifest belongs to another archive.
    #[error("{0} belongs to another archive")]
    OtherArchive(String),
    /// The last manifest is not the one that was expected.
    #[error("the last manifest is {found}, and {expected} was expected: manifests were taken from the end, or added")]
    OtherHead {
        /// BLAKE3 of the last one.
        found: String,
        /// What it should have been.
        expected: String,
    },
    /// A file is not there.
    #[error("{0} is missing")]
    MissingFile(String),
    /// A file has another length.
    #[error("{name} has {found} bytes and not {expected}")]
    OtherLength {
        /// The file.
        name: String,
        /// Its length.
        found: u64,
        /// What its manifest says.
        expected: u64,
    },
    /// A file has other bytes.
    #[error("{0} is not what its manifest says: its BLAKE3 is another")]
    OtherBytes(String),
    /// A file does not hold the rows that its manifest names.
    #[error("{name} {what}")]
    OtherRows {
        /// The file.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A file is still there that was written anew without somebody.
    #[error("{0} is still there, although it was written anew: it holds the rows that were to be forgotten")]
    StillThere(String),
}

/// The manifests of an archive.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// All of them, in order.
    pub links: Vec<Link>,
}

/// Reads every manifest, and says all that is wrong with them.
///
/// # Errors
///
/// [`StorageError`]
pub async fn look(storage: &Storage) -> Result<(Chain, Vec<Problem>), StorageError> {
    let (mut chain, mut problems) = (Chain::default(), Vec::new());
    let mut before: Option<[u8; 32]> = None;
    let mut due = 1;
    for object in storage.list(FOLDER).await? {
        let Some(sequence) = sequence_of(&object.name) else {
            problems.push(Problem::Edited(object.name));
            continue;
        };
        problems.extend((due..sequence).map(|missing| Problem::MissingManifest(name_of(missing))));
        let follows = sequence == due;
        due = sequence + 1;
        let bytes = storage.get_small(&object.name).await?;
        let blake3 = *blake3::hash(&bytes).as_bytes();
        let previous = before.replace(blake3);
        let manifest = match Manifest::version_of(&bytes) {
            Some(version) if version != VERSION => {
                problems.push(Problem::OtherVersion { name: object.name, version });
                continue;
            }
            _ => Manifest::from_bytes(&bytes),
        };
        let Some(manifest) = manifest.filter(|manifest| manifest.sequence == sequence) else {
            problems.push(Problem::Edited(object.name));
            continue;
        };
        if follows && manifest.previous != previous.map(|hash| hex(&hash)) {
            problems.push(Problem::BrokenLink(object.name.clone()));
        }
        if chain.links.first().is_some_and(|first: &Link| first.manifest.archive != manifest.archive) {
            problems.push(Problem::OtherArchive(object.name));
        }
        chain.links.push(Link { manifest, blake3 });
    }
    Ok((chain, problems))
}

impl Chain {
    /// Its last manifest.
    pub fn head(&self) -> Option<&Link> {
        self.links.last()
    }

    /// The manifests that say what the archive holds now: of each partition the last, in the order of their tables and times.
    pub fn current(&self) -> BTreeMap<(Parent, String), &Link> {
        let of = |link: &Link| Some((link.manifest.parent()?, link.manifest.label.clone()));
        self.links.iter().filter_map(|link| Some((of(link)?, link))).collect()
    }

    /// The manifests in whose place a later one stands.
    pub fn replaced(&self) -> Vec<&Link> {
        let current = self.current();
        let is_current = |link: &Link| current.values().any(|last| last.manifest.sequence == link.manifest.sequence);
        self.links.iter().filter(|link| !is_current(link)).collect()
    }
}
