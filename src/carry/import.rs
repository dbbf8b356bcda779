//! Dead letters from a file into the table, each message at most once.

use std::collections::{BTreeMap, HashMap};

use super::CHUNK;
use super::line::{Line, ReadBody, time};
use super::manifest::{Bodies, QueueOf};
use super::read::{LetterFile, LetterFileError};
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::load::bury::{Buried, bury_letters, foresee};
use crate::message::{Identity, MessageKey, NO_TIME, QueueIdentity, TimeBasis};
use crate::seal::{BodyOpener, BodySealer, KeyId};
use crate::table::dead_letters::{NewLetter, Status};
use crate::table::operator_actions::Said;
use crate::table::queues;

const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// An import.
pub struct Import<'i> {
    /// Where the letters go.
    pub database: &'i Database,
    /// The keys of the keyring.
    pub keys: Vec<KeyId>,
    /// Opens the bodies that are sealed.
    pub opener: BodyOpener,
    /// Seals those that are not.
    pub sealer: BodySealer,
    /// Who imports them, and why.
    pub said: &'i Said,
}

/// What became of the letters of a file, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters that were looked at.
    pub seen: u64,
    /// New letters, and messages that were recorded before.
    pub buried: Buried,
    /// Letters that were replayed or absorbed where they come from: their logins are there.
    pub resolved: u64,
    /// Letters whose bodies do not open, by why.
    pub unopened: BTreeMap<String, u64>,
    /// Letters without the time under which the messages of their queue are claimed here.
    pub timeless: u64,
    /// Letters that somebody has edited: they come as they were delivered.
    pub edited: u64,
}

impl Report {
    /// How many letters could not be imported.
    pub fn left_out(&self) -> u64 {
        self.unopened.values().sum::<u64>() + self.timeless
    }
}

/// Why an import ended early. What the report says holds.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    LetterFile(#[from] LetterFileError),
    /// Keys that seal the bodies are not in the keyring.
    #[error("the bodies are sealed with keys that are not in the keyring: {}", .0.join(", "))]
    UnknownKeys(Vec<String>),
    /// The manifest says something of a queue that nobody can read.
    #[error("the manifest says of the queue {0} what this version does not know")]
    UnknownQueue(String),
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ImportError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::LetterFile(error) => error.remedy().to_owned(),
            Self::UnknownKeys(_) => {
                "use a keyring that has them too, or have the letters exported with --reveal: they are sealed anew here"
                    .to_owned()
            }
            Self::UnknownQueue(_) => "import it with the version of Turnstile that the manifest names".to_owned(),
            Self::Database(error) => format!("{}; import the file again: what is imported stays so", error.remedy()),
        }
    }
}

impl Import<'_> {
    /// Writes the letters of a file that are open or discarded, chunk by chunk. Of each, the message is claimed as a loader claims
    /// it, so that one which is recorded here is left alone; the same file again changes nothing. With `only_looks`, nothing is
    /// written. `progress` is told after each chunk.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: what was imported until then stays so.
    pub async fn run(
        &self,
        letter_file: &LetterFile,
        only_looks: bool,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, ImportError> {
        self.refuse_unknown_keys(letter_file)?;
        let bases = self.bases(letter_file, only_looks).await?;
        let mut report = Report::default();
        let mut chunk: Vec<NewLetter> = Vec::with_capacity(CHUNK);
        for line in letter_file.lines()? {
            let line = line?;
            report.seen += 1;
            chunk.extend(self.letter(&line, &bases, &mut report));
            if chunk.len() == CHUNK {
                self.take(&mut chunk, only_looks, &mut report).await?;
                progress(&report);
            }
        }
        self.take(&mut chunk, only_looks, &mut report).await?;
        progress(&report);
        Ok(report)
    }

    fn refuse_unknown_keys(&self, letter_file: &LetterFile) -> Result<(), ImportError> {
        let known = |id: &&String| !self.keys.iter().any(|key| key.as_str() == id.as_str());
        let unknown: Vec<String> = letter_file.manifest.keys.iter().filter(known).cloned().collect();
        match unknown.is_empty() || letter_file.manifest.bodies == Bodies::Revealed {
            true => Ok(()),
            false => Err(ImportError::UnknownKeys(unknown)),
        }
    }

    /// What the messages of each queue are claimed under here. Where nobody has said so yet, it is as where the file comes from.
    async fn bases(
        &self,
        letter_file: &LetterFile,
        only_looks: bool,
    ) -> Result<HashMap<QueueIdentity, TimeBasis>, ImportError> {
        let recorded = persist(PATIENCE, || self.database.snapshot(queues::read_all)).await?;
        let mut bases = HashMap::new();
        for QueueOf { arn, scheme, time_basis } in &letter_file.manifest.queues {
            let unknown = || ImportError::UnknownQueue(arn.clone());
            let scheme: Identity = scheme.as_deref().unwrap_or("message-id").parse().map_err(|_| unknown())?;
            let there = time_basis.as_deref().map(|word| TimeBasis::of(word).ok_or_else(unknown)).transpose()?;
            let there = there.unwrap_or(TimeBasis::SentTimestamp);
            let queue = QueueIdentity::new(arn.as_str());
            let here = recorded.get(&queue).and_then(|record| record.time_basis);
            let basis = match (here, only_looks) {
                (Some(here), _) => here,
                (None, true) => there,
                (None, false) => {
                    let note =
                        async |transaction: &Transaction| queues::note(transaction, &queue, &scheme, there).await;
                    persist(PATIENCE, || self.database.transaction(&note)).await?
                }
            };
            bases.insert(queue, basis);
        }
        Ok(bases)
    }

    /// A line as a letter here; nothing where there is to be none, which is counted.
    fn letter(&self, line: &Line, bases: &HashMap<QueueIdentity, TimeBasis>, report: &mut Report) -> Option<NewLetter> {
        let is_discarded = match line.status.parse() {
            Ok(Status::Open) => false,
            Ok(Status::Discarded) => true,
            Ok(Status::Replayed | Status::Absorbed) | Err(_) => {
                report.resolved += 1;
                return None;
            }
        };
        let hash = line.key()?.hash;
        let queue = QueueIdentity::new(line.queue.as_str());
        let sent_timestamp = line.sent_timestamp.as_deref().and_then(time);
        let sent_at = match (bases.get(&queue)?, sent_timestamp) {
            (TimeBasis::None, _) => NO_TIME,
            (TimeBasis::SentTimestamp, Some(sent_at)) => sent_at,
            (TimeBasis::SentTimestamp, None) => {
                report.timeless += 1;
                return None;
            }
        };
        let sealed = match line.body.read() {
            None => Err("it is not Base64".to_owned()),
            Some(ReadBody::Clear(body, attributes)) => Ok(self.sealer.seal(hash, &body, &attributes)),
            Some(ReadBody::Sealed(sealed)) => match self.opener.open(hash, &sealed) {
                Ok((body, _)) => Ok((self.sealer.hash(&body), sealed)),
                Err(error) => Err(error.to_string()),
            },
        };
        let (body_hash, body) = match sealed {
            Ok(sealed) => sealed,
            Err(why) => {
                *report.unopened.entry(why).or_default() += 1;
                return None;
            }
        };
        report.edited += u64::from(line.edited.is_some());
        Some(NewLetter {
            key: MessageKey { sent_at, hash },
            queue,
            code: line.code.clone(),
            detail: line.detail.clone(),
            field: line.field.clone(),
            place: line.place.clone(),
            body,
            body_hash,
            message_id: line.message_id.clone(),
            receive_count: line.receive_count.max(1),
            sent_timestamp,
            received_at: time(&line.received_at)?,
            is_discarded,
        })
    }

    async fn take(
        &self,
        chunk: &mut Vec<NewLetter>,
        only_looks: bool,
        report: &mut Report,
    ) -> Result<(), DatabaseError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let mut letters = std::mem::take(chunk);
        let all = letters.len();
        letters.sort_by_key(|letter| letter.key);
        letters.dedup_by_key(|letter| letter.key);
        report.buried.recorded += (all - letters.len()) as u64;
        let buried = match only_looks {
            true => foresee(self.database, &letters).await?,
            false => bury_letters(self.database, self.said, &letters).await?,
        };
        report.buried.add(&buried);
        Ok(())
    }
}
