//! Dead letters out of the table, into a file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::line::{Body, Edited, Line};
use super::manifest::{Bodies, FORMAT, HashKeyOf, Manifest, QueueOf, Tally, VERSION};
use super::{CHUNK, manifest_of};
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::keyring::Keyring;
use crate::message::{MessageHash, MessageKey, QueueIdentity};
use crate::readable::exact;
use crate::seal::{BodyOpener, CheckValue, KeyId, OpenError, SealedBody};
use crate::table::dead_letters::{self, DeadLetter, Exported, Filter, Pages};
use crate::table::operator_actions::{self, Said};
use crate::table::plan_id::PlanId;
use crate::table::powers::Powers;
use crate::table::turnstile_keys::{self, Purpose};
use crate::table::{dead_letter_revisions, queues};

const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// An export.
pub struct Export<'e> {
    /// Where the letters are.
    pub database: &'e Database,
    /// Which of them.
    pub filter: &'e Filter,
    /// The same in words.
    pub meant: String,
    /// Who exports them, and why.
    pub said: &'e Said,
    /// The keyring, where the bodies are to stand there in clear.
    pub keyring: Option<&'e Keyring>,
    /// The file.
    pub to: &'e Path,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something stands there already.
    #[error("--to: there is a file {0:?} already")]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("--to: {path:?} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A body does not open.
    #[error("the body of the dead letter {hash} cannot be revealed: {error}")]
    Sealed {
        /// The letter.
        hash: MessageHash,
        /// Why.
        error: OpenError,
    },
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ExportError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Exists(_) => "name another: an export overwrites nothing".to_owned(),
            Self::Unwritable { .. } => "name a file in a folder that can be written to, with room for it".to_owned(),
            Self::Sealed { .. } => {
                "add its key to the keyring, or export the letters sealed, without --reveal".to_owned()
            }
            Self::Database(error) => error.remedy().to_owned(),
        }
    }
}

impl Export<'_> {
    /// Writes the letters that match, page by page in the order of their keys, and then the manifest. What becomes a dead letter
    /// meanwhile is not among them; each of the others stands there as it was when it was read. `progress` is told the number
    /// after each page.
    ///
    /// # Errors
    ///
    /// [`ExportError`]: there is no file then, or one without a manifest.
    pub async fn run(&self, mut progress: impl FnMut(u64)) -> Result<Manifest, ExportError> {
        let manifest = manifest_of(self.to);
        [self.to, &manifest].into_iter().try_for_each(refuse_existing)?;
        let mut file = Sink::beside(self.to)?;
        let opener = self.keyring.map(Keyring::body_opener);
        let mut tally = Tally::default();
        let mut pages = Pages::of(self.database, self.filter, CHUNK as u64).await?;
        while let Some(keys) = pages.next().await? {
            for (letter, bodies) in self.read(&keys).await? {
                tally.add(&letter, bodies.keys(self.keyring.is_some()));
                file.write(&line(opener.as_ref(), &letter, &bodies)?)?;
            }
            progress(tally.letters);
        }
        let (bytes, digest) = file.place()?;
        let manifest_file = Sink::beside(&manifest)?;
        let made = self.manifest(tally, pages.begun_at, bytes, &digest).await?;
        manifest_file.of_manifest(&made)?;
        Ok(made)
    }

    /// The letters of a page with their bodies. The database notes that they are read, and nothing is opened before that holds.
    async fn read(&self, keys: &[MessageKey]) -> Result<Vec<(DeadLetter, Exported)>, DatabaseError> {
        let hashes: Vec<MessageHash> = keys.iter().map(|key| key.hash).collect();
        let of_page = Filter { hashes: Some(hashes), ..self.filter.clone() };
        let read = async |transaction: &Transaction| {
            operator_actions::say(transaction, self.said).await?;
            let letters = dead_letters::newest(transaction, &of_page, u64::MAX).await?;
            let mut letters: HashMap<MessageKey, DeadLetter> =
                letters.into_iter().map(|letter| (letter.key, letter)).collect();
            let still: Vec<MessageKey> = keys.iter().filter(|key| letters.contains_key(key)).copied().collect();
            let bodies = match self.keyring {
                None => dead_letters::export(transaction, &still).await?,
                Some(_) => reveal(transaction, &still, self.said).await?,
            };
            let with_letter = |bodies: Exported| Some((letters.remove(&bodies.key)?, bodies));
            Ok(bodies.into_iter().filter_map(with_letter).collect())
        };
        persist(PATIENCE, || self.database.transaction(&read)).await
    }

    /// The key that hashes in these tables. Who reveals bodies has it, and need not be told by the tables.
    async fn hash_key(&self, seen: &Transaction) -> Result<Option<HashKeyOf>, DatabaseError> {
        let of = |id: &KeyId, check_value: &[u8]| HashKeyOf {
            id: id.as_str().to_owned(),
            check_value: check_value.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        if let Some(key) = self.keyring.map(Keyring::hash_key) {
            return Ok(Some(of(key.id(), CheckValue::as_bytes(&key.check_value()))));
        }
        let registered = turnstile_keys::read(seen).await?;
        let key = registered.into_iter().rev().find(|key| key.purpose == Purpose::Hash);
        Ok(key.map(|key| of(&key.id, &key.check_value)))
    }

    async fn manifest(
        &self,
        tally: Tally,
        made_at: time::OffsetDateTime,
        bytes: u64,
        digest: &str,
    ) -> Result<Manifest, DatabaseError> {
        let look = async |seen: &Transaction| {
            let role = Powers::read(seen).await?.role;
            Ok((role, self.hash_key(seen).await?, queues::read_all(seen).await?))
        };
        let (role, hash_key, recorded) = persist(PATIENCE, || self.database.snapshot(&look)).await?;
        let queue = |arn: &String| {
            let record = recorded.get(&QueueIdentity::new(arn.as_str()));
            let time_basis = record.and_then(|record| record.time_basis);
            QueueOf {
                arn: arn.clone(),
                scheme: record.map(|record| record.scheme.to_string()),
                time_basis: time_basis.map(|basis| basis.as_str().to_owned()),
            }
        };
        let (first, last) = tally.span();
        Ok(Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: exact(made_at),
            role,
            person: self.said.person.clone(),
            reason: self.said.reason.clone(),
            filter: self.meant.clone(),
            bodies: if self.keyring.is_some() { Bodies::Revealed } else { Bodies::Sealed },
            letters: tally.letters,
            counts: tally.counts(),
            first,
            last,
            bytes,
            blake3: digest.to_owned(),
            queues: tally.queues.iter().map(queue).collect(),
            keys: tally.keys,
            hash_key,
        })
    }
}

fn line(opener: Option<&BodyOpener>, letter: &DeadLetter, bodies: &Exported) -> Result<Line, ExportError> {
    let hash = letter.key.hash;
    let delivered = body(opener, hash, None, &bodies.body)?;
    let edited = bodies.edited.as_ref().map(|(plan, sealed)| {
        Ok::<_, ExportError>(Edited { plan: plan.0, body: body(opener, hash, Some(*plan), sealed)? })
    });
    Ok(Line::of(letter, delivered, edited.transpose()?))
}

/// A body as it is written: opened, where that is wanted.
fn body(
    opener: Option<&BodyOpener>,
    hash: MessageHash,
    plan: Option<PlanId>,
    sealed: &SealedBody,
) -> Result<Body, ExportError> {
    let Some(opener) = opener else { return Ok(Body::sealed(sealed)) };
    let opened = opener.open_version(hash, plan.map(|plan| plan.0), sealed);
    let (body, attributes) = opened.map_err(|error| ExportError::Sealed { hash, error })?;
    Ok(Body::clear(&body, &attributes))
}

/// The bodies by the functions that note each of them, and refuse where no reason was said.
async fn reveal(transaction: &Transaction, keys: &[MessageKey], said: &Said) -> Result<Vec<Exported>, DatabaseError> {
    let mut bodies = Vec::with_capacity(keys.len());
    for key in keys {
        let body = dead_letters::reveal_body(transaction, *key).await?;
        let revisions = dead_letter_revisions::of_letter(transaction, *key).await?;
        let tried = revisions.iter().filter_map(|revision| Some((revision.tried_at?, revision.plan)));
        let edited = match tried.max_by_key(|(tried_at, plan)| (*tried_at, plan.0)) {
            None => None,
            Some((_, plan)) => {
                let edited = dead_letter_revisions::reveal(transaction, *key, plan).await?;
                // The edit's plan was noted with it: it is none of the next letter.
                operator_actions::say(transaction, said).await?;
                Some((plan, edited))
            }
        };
        bodies.push(Exported { key: *key, body, edited });
    }
    Ok(bodies)
}

impl Exported {
    /// The keys that open it, unless it is to be in clear.
    fn keys(&self, is_revealed: bool) -> impl Iterator<Item = KeyId> {
        let sealed = std::iter::once(&self.body).chain(self.edited.iter().map(|(_, body)| body));
        sealed.filter(move |_| !is_revealed).filter_map(SealedBody::key_id)
    }
}

fn refuse_existing(path: &Path) -> Result<(), ExportError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(ExportError::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// A file that is being written, under another name in its folder.
struct Sink {
    to: PathBuf,
    file: BufWriter<NamedTempFile>,
    digest: blake3::Hasher,
    bytes: u64,
}

impl Sink {
    fn beside(to: &Path) -> Result<Self, ExportError> {
        let file = tempfile::Builder::new()
            .prefix(".turnstile-export-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder_of(to));
        let file = file.map_err(|error| ExportError::Unwritable { path: to.to_owned(), error })?;
        let file = BufWriter::with_capacity(256 * 1024, file);
        Ok(Self { to: to.to_owned(), file, digest: blake3::Hasher::new(), bytes: 0 })
    }

    fn write(&mut self, line: &Line) -> Result<(), ExportError> {
        let unwritable = |error| ExportError::Unwritable { path: self.to.clone(), error };
        let mut text = serde_json::to_vec(line).map_err(|error| unwritable(error.into()))?;
        text.push(b'\n');
        self.digest.update(&text);
        self.bytes += text.len() as u64;
        self.file.write_all(&text).map_err(unwritable)
    }

    fn of_manifest(mut self, manifest: &Manifest) -> Result<(), ExportError> {
        let unwritable = |error: io::Error| ExportError::Unwritable { path: self.to.clone(), error };
        let written = serde_json::to_writer_pretty(&mut self.file, manifest).map_err(io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(unwritable)?;
        self.place().map(drop)
    }

    /// Puts it on the disk and then in its place, where nothing may stand; gives its length and digest.
    fn place(self) -> Result<(u64, String), ExportError> {
        let Self { to, file, digest, bytes } = self;
        let unwritable = |error| ExportError::Unwritable { path: to.clone(), error };
        let file = file.into_inner().map_err(|error| unwritable(error.into_error()))?;
        file.as_file().sync_all().map_err(unwritable)?;
        file.persist_noclobber(&to).map_err(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(to.clone()),
            _ => unwritable(failed.error),
        })?;
        File::open(folder_of(&to)).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
        Ok((bytes, digest.finalize().to_hex().to_string()))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
