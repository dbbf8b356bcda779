//! Whether an archive is whole, told from the archive alone: no database is asked.

use super::chain::{self, Link, Problem};
use super::manifest::{FOLDER, FileOf, hex};
use super::reader;
use super::storage::{Storage, StorageError};

/// What an archive holds, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many manifests.
    pub manifests: u64,
    /// How many files they name that are to be there.
    pub files: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many rows these hold.
    pub rows: u64,
    /// BLAKE3 of the last manifest; none where there is none.
    pub head: Option<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Objects that no manifest names: a run that was cut off leaves such.
    pub unnamed: Vec<String>,
}

/// Looks at every manifest and at the length of every file; with `deep`, also at each of their bytes and rows. `tell` hears of
/// each file that was looked at.
///
/// # Errors
///
/// [`StorageError`]
pub async fn verify(
    storage: &Storage,
    deep: bool,
    head: Option<&str>,
    mut tell: impl FnMut(&str),
) -> Result<Verified, StorageError> {
    let (chain, problems) = chain::look(storage).await?;
    let found = chain.head().map(|link| hex(&link.blake3));
    let mut verified =
        Verified { manifests: chain.links.len() as u64, head: found.clone(), problems, ..Verified::default() };
    if let Some(expected) = head.filter(|expected| found.as_deref() != Some(*expected)) {
        let found = found.unwrap_or_else(|| "none".to_owned());
        verified.problems.push(Problem::OtherHead { found, expected: expected.to_owned() });
    }
    for link in chain.current().values() {
        for file in &link.manifest.files {
            verified.files += 1;
            verified.bytes += file.bytes;
            verified.rows += file.rows.count;
            verified.problems.extend(look_at(storage, link, file, deep).await?);
            tell(&file.name);
        }
    }
    let current: Vec<&str> = chain.current().values().flat_map(|link| names_of(link)).collect();
    for replaced in chain.replaced() {
        for name in names_of(replaced).filter(|name| !current.contains(name)) {
            if storage.head(name).await?.is_some() {
                verified.problems.push(Problem::StillThere(name.to_owned()));
            }
        }
    }
    let named: Vec<&str> = chain.links.iter().flat_map(names_of).collect();
    let objects = storage.list("").await?.into_iter().map(|object| object.name);
    verified.unnamed = objects.filter(|name| !name.starts_with(FOLDER) && !named.contains(&name.as_str())).collect();
    Ok(verified)
}

fn names_of(link: &Link) -> impl Iterator<Item = &str> {
    link.manifest.files.iter().map(|file| file.name.as_str())
}

async fn look_at(storage: &Storage, link: &Link, file: &FileOf, deep: bool) -> Result<Option<Problem>, StorageError> {
    let name = || file.name.clone();
    match storage.head(&file.name).await? {
        None => return Ok(Some(Problem::MissingFile(name()))),
        Some(found) if found != file.bytes => {
            return Ok(Some(Problem::OtherLength { name: name(), found, expected: file.bytes }));
        }
        Some(_) => {}
    }
    let Some(parent) = link.manifest.parent().filter(|_| deep) else { return Ok(None) };
    let mut stored = storage.get(&file.name).await?;
    let of_rows = |what: String| Some(Problem::OtherRows { name: name(), what });
    match reader::fingerprint(&mut stored) {
        Err(error) => return Ok(of_rows(format!("cannot be read: {error}"))),
        Ok((_, blake3)) if hex(&blake3) != file.blake3 => return Ok(Some(Problem::OtherBytes(name()))),
        Ok(_) => {}
    }
    Ok(match reader::digest(stored, parent, &link.manifest.columns) {
        Err(error) => of_rows(error.to_string()),
        Ok(digest) if digest != file.rows.reckoned() => of_rows("holds other rows than its manifest says".to_owned()),
        Ok(_) => None,
    })
}
