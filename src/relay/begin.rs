//! What must be so before a relay begins: otherwise it could lose events, or repeat them unnoticed.

use super::RelaySettings;
use crate::database::server::{Shortcoming, cluster_id};
use crate::database::{Database, DatabaseError, Transaction};
use crate::table::facts::{Counting, Positions, TableFacts};
use crate::table::outbox_pruned;
use crate::table::relay_marks;
use crate::table::relay_sinks::{self, SinkRecord};
use crate::table::relay_slot::Slot;

/// Why a relay does not begin.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The server takes no notes, or not every one of them.
    #[error("{}", .0.found)]
    Server(Shortcoming),
    /// Positions may be handed out of order, or again.
    #[error("the sequence outbox_position_seq has {0}: events could be passed over")]
    Sequence(String),
    /// The sequence stands below what was carried: the next events would have positions that are passed already.
    #[error("the sequence outbox_position_seq stands at {at}, below the frontier {frontier} of this sink")]
    Behind {
        /// Where it stands.
        at: i64,
        /// How far the sink has come.
        frontier: i64,
    },
    /// What the relay notes could be dropped without an error, or is gone after a crash.
    #[error("the relay cannot rely on its tables: {0}")]
    Tables(String),
    /// The sink was made in another cluster: this database is a copy, and both would carry the events.
    #[error("the sink {0} was made in another PostgreSQL cluster: this database is a copy of it")]
    Copy(String),
    /// The sink leads elsewhere.
    #[error("the sink {sink} carries to {target}")]
    Elsewhere {
        /// Its name.
        sink: String,
        /// Where it goes.
        target: String,
    },
    /// The sink was made for another order.
    #[error("the sink {sink} {}", if *.is_ordered { "keeps the order of each subject" } else { "keeps no order" })]
    Order {
        /// Its name.
        sink: String,
        /// Whether it keeps order.
        is_ordered: bool,
    },
}

impl NotReady {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Server(lacks) => lacks.remedy.clone(),
            Self::Sequence(_) => {
                "let its owner set INCREMENT 1, CACHE 1 and NO CYCLE on it, in the schema of Turnstile's own tables"
                    .to_owned()
            }
            Self::Behind { frontier, .. } => {
                format!("let its owner set it to {frontier} by setval, before a loader writes")
            }
            Self::Tables(_) => "run `turnstile check`: it says what to do about each".to_owned(),
            Self::Copy(_) => "give --adopt if the original is gone for good, and else another --sink".to_owned(),
            Self::Order { is_ordered: true, .. } => {
                "give --ordered, or another --sink: a sink stays as it was made".to_owned()
            }
            Self::Order { is_ordered: false, .. } => {
                "leave out --ordered, or give another --sink: a sink stays as it was made".to_owned()
            }
            Self::Elsewhere { .. } => "give another --sink for another --to, or --adopt to move this one".to_owned(),
        }
    }
}

/// Looks whether a relay may begin, and makes its sink.
///
/// # Errors
///
/// [`NotReady`]
pub async fn begin(database: &Database, settings: &RelaySettings, target: &str, adopts: bool) -> Result<(), NotReady> {
    let slot = Slot { sink: settings.sink.clone(), number: 0 };
    if let Some(lacks) = database.server_facts().await?.shortcoming() {
        return Err(NotReady::Server(lacks));
    }
    let problems = database.durability().await?.problems_of_relay();
    if let Some(lacks) = problems.into_iter().next() {
        return Err(NotReady::Server(lacks));
    }
    let facts = database.snapshot(TableFacts::of_relay).await?;
    refuse_tables(&facts)?;
    let (counting, positions, frontier, cluster_id) = database
        .snapshot(async |seen| {
            let (counting, positions) = (Counting::read(seen).await?, Positions::read(seen).await?);
            let frontier = relay_marks::frontier(seen, &slot).await?;
            // A new sink begins after what is gone.
            let gone = outbox_pruned::below(seen).await?.map_or(0, |below| below - 1);
            Ok((counting, positions, frontier.max(gone), cluster_id(seen).await?))
        })
        .await?;
    refuse_sequence(counting, positions, frontier)?;
    let here = SinkRecord { target: target.to_owned(), cluster_id, is_ordered: settings.ordered };
    let (found, begins) = database
        .transaction(async |transaction| {
            let begins = begin_after_what_is_gone(transaction, &slot).await?;
            let found = relay_sinks::introduce(transaction, &slot.sink, &here).await?;
            if adopts && found.is_ordered == here.is_ordered {
                relay_sinks::adopt(transaction, &slot.sink, &here).await?;
            }
            Ok((found, begins))
        })
        .await?;
    if let Some(below) = begins {
        tracing::warn!(
            sink = slot.sink,
            below,
            "events below this position were pruned before: the new sink does not get them"
        );
    }
    if found.is_ordered != here.is_ordered {
        return Err(NotReady::Order { sink: slot.sink, is_ordered: found.is_ordered });
    }
    match adopts {
        true => Ok(()),
        false if found.cluster_id != here.cluster_id => Err(NotReady::Copy(slot.sink)),
        false if found.target != here.target => Err(NotReady::Elsewhere { sink: slot.sink, target: found.target }),
        false => Ok(()),
    }
}

/// Sets the first mark of a sink that is not known yet, where events are gone. Gives the position from which on it gets them.
/// Until the end of the transaction no more events go: the pruner knows nothing of the sink before.
async fn begin_after_what_is_gone(transaction: &Transaction, slot: &Slot) -> Result<Option<i64>, DatabaseError> {
    if relay_sinks::is_known(transaction, &slot.sink).await? {
        return Ok(None);
    }
    outbox_pruned::keep_pruner_away(transaction).await?;
    // Another relay may have made it while this one waited.
    if relay_sinks::is_known(transaction, &slot.sink).await? {
        return Ok(None);
    }
    let Some(below) = outbox_pruned::below(transaction).await? else { return Ok(None) };
    if relay_marks::frontier(transaction, slot).await? < below - 1 {
        relay_marks::append(transaction, slot, below - 1).await?;
    }
    Ok(Some(below))
}

/// What keeps a note out of a table in silence, or takes it away in a crash, loses events.
fn refuse_tables(facts: &TableFacts) -> Result<(), NotReady> {
    let missing = facts.missing.iter().map(|name| format!("{name} is missing"));
    let unlogged = facts.unlogged.iter().map(|name| format!("{name} is unlogged"));
    let droppers = facts.droppers.iter().map(|dropper| format!("{} has a {}", dropper.table, dropper.kind));
    let problems: Vec<String> = missing.chain(unlogged).chain(droppers).collect();
    if problems.is_empty() { Ok(()) } else { Err(NotReady::Tables(problems.join(", "))) }
}

fn refuse_sequence(counting: Option<Counting>, positions: Positions, frontier: i64) -> Result<(), NotReady> {
    match counting {
        Some(Counting { increment: 1, cache: 1, cycles: false }) => {}
        Some(Counting { increment, cache, cycles }) => {
            let cycle = if cycles { "CYCLE" } else { "NO CYCLE" };
            return Err(NotReady::Sequence(format!("INCREMENT {increment} CACHE {cache} {cycle}")));
        }
        None => return Err(NotReady::Tables("the sequence of the positions is missing".to_owned())),
    }
    let at = positions.next - 1;
    if at < frontier { Err(NotReady::Behind { at, frontier }) } else { Ok(()) }
}
