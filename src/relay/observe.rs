//! What no lane knows, asked of the database now and then: what is not carried, which gaps stay, whether there is room ahead.
//!
//! It tells how well the sink is served by all of its relays. A relay whose lanes stand still says the same.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::{RelayError, Shared, gaps};
use crate::database::{DatabaseError, Transaction};
use crate::metrics::{Snapshot, Standing, unix_seconds};
use crate::outage::Outage;
use crate::sink::Sink;
use crate::table::facts::{Positions, partitions_ahead, partitions_of_outbox};
use crate::table::outbox;
use crate::table::relay_failures::{self, Failures};
use crate::table::relay_gaps::Gap;
use crate::table::relay_status::{self, Holder};
use crate::table::{relay_chunks, relay_gaps, relay_marks};

/// How often.
const EVERY: Duration = Duration::from_secs(15);
/// From what age on a gap is told.
const OLD: Duration = Duration::from_secs(60);
/// Up to how many events are counted one by one.
const COUNTED: i64 = 10_000;
/// The most chunks, gaps and failures that are looked at one by one.
const LOOKED_AT: i64 = 1_000;

/// As how many a partition without an end counts.
const MOST_AHEAD: usize = 1_000;

/// What the database says.
struct Seen {
    backlog: i64,
    oldest: Option<OffsetDateTime>,
    gaps: i64,
    old_gaps: i64,
    chunks: i64,
    failures: Failures,
    partitions_ahead: Option<usize>,
    version: Option<i32>,
    /// Gaps that are old and were not told before.
    to_tell: Vec<(Gap, Duration)>,
    /// Those that are old and were.
    told: BTreeSet<i64>,
}

impl<S: Sink> Shared<S> {
    /// Looks until the relay is told to stop. A look that fails leaves the figures as they are, with their age.
    pub(super) async fn observe(&self) -> Result<u64, RelayError> {
        let (mut told, refusals) = (BTreeSet::new(), Outage::default());
        while !self.is_stopping() {
            let look = async { self.look(&told).await };
            let seen = tokio::select! {
                seen = look => seen,
                () = self.shutdown.stopping.cancelled() => break,
            };
            match seen {
                Ok(seen) => told = self.tell(seen).await,
                // That the database is away, the lanes tell.
                Err(error) if error.class().passes() => tracing::debug!(%error, "the outbox could not be looked at"),
                Err(error) => {
                    if refusals.failed_among_many(Instant::now()).1 {
                        tracing::warn!(%error, remedy = error.remedy(), "the outbox cannot be looked at: its figures are old");
                    }
                }
            }
            self.rest(EVERY).await;
        }
        Ok(0)
    }

    async fn look(&self, told: &BTreeSet<i64>) -> Result<Seen, DatabaseError> {
        let version = self.database.schema_version().await?;
        self.database
            .snapshot(async |seen| {
                let sink = &self.slot.sink;
                let failures = relay_failures::count(seen, sink).await?;
                let open = relay_gaps::open(seen, sink, LOOKED_AT).await?;
                let (gaps, old_gaps) = relay_gaps::count_by_age(seen, sink, OLD).await?;
                let next = Positions::read(seen).await?.next;
                let (backlog, oldest) = self.not_carried(seen, &open, next, failures.waiting).await?;
                let old = open.into_iter().filter(|(_, age)| *age > OLD);
                let (known, to_tell): (Vec<_>, Vec<_>) = old.partition(|(gap, _)| told.contains(&gap.id));
                Ok(Seen {
                    backlog,
                    oldest,
                    gaps,
                    old_gaps,
                    chunks: relay_chunks::count(seen, sink).await?,
                    failures,
                    partitions_ahead: partitions_ahead(&partitions_of_outbox(seen).await?, next),
                    version,
                    to_tell,
                    told: known.into_iter().map(|(gap, _)| gap.id).collect(),
                })
            })
            .await
    }

    /// How many events are not carried, and when the oldest was written: in chunks and gaps, refused and waiting, or above the
    /// frontier.
    async fn not_carried(
        &self,
        seen: &Transaction,
        open: &[(Gap, Duration)],
        next: i64,
        waiting: i64,
    ) -> Result<(i64, Option<OffsetDateTime>), DatabaseError> {
        let sink = &self.slot.sink;
        let frontier = relay_marks::frontier(seen, &self.slot).await?;
        let chunks = relay_chunks::covered(seen, sink, LOOKED_AT).await?;
        // Under order a gap lies above the frontier.
        let gaps_below = open.iter().map(|(gap, _)| gap.positions.clone()).filter(|gap| *gap.start() <= frontier);
        let below = gaps::joined(chunks.into_iter().chain(gaps_below));
        let refused = relay_failures::first_waiting(seen, sink, LOOKED_AT).await?;
        let refused: Vec<_> = refused.into_iter().map(|position| position..=position).collect();
        let (in_hand, oldest_in_hand) = outbox::tally(seen, &below, COUNTED).await?;
        let (_, oldest_refused) = outbox::tally(seen, &refused, 1).await?;
        let above: RangeInclusive<i64> = frontier + 1..=i64::MAX;
        let (new, oldest_new) = outbox::tally(seen, &[above], COUNTED + 1).await?;
        let new = if new > COUNTED { new.max(next - 1 - frontier) } else { new };
        let oldest = [oldest_in_hand, oldest_refused, oldest_new].into_iter().flatten().min();
        Ok((in_hand + waiting + new, oldest))
    }

    /// Shows what was seen, and tells of gaps that have become old. Gives those that have been told and are still there.
    async fn tell(&self, seen: Seen) -> BTreeSet<i64> {
        self.database.metrics().count(|figures| figures.observed(&seen));
        let Seen { mut told, to_tell: mut rest, .. } = seen;
        if rest.is_empty() {
            return told;
        }
        let holders = match self.database.snapshot(relay_status::holders).await {
            Ok(holders) => holders,
            // It is told at the next look.
            Err(error) => {
                tracing::debug!(%error, "nobody says who holds a gap");
                return told;
            }
        };
        // A transaction that stands still has often many gaps: they are one trouble.
        while let Some((first, age)) = rest.first().cloned() {
            let (alike, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(gap, _)| gap.writers == first.writers);
            rest = others;
            self.warn_of(&first, age, alike.len(), &holders);
            told.extend(alike.iter().map(|(gap, _)| gap.id));
        }
        told
    }

    fn warn_of(&self, gap: &Gap, age: Duration, gaps: usize, holders: &[Holder]) {
        let (first, last) = (gap.positions.start(), gap.positions.end());
        let holds = |holder: &&Holder| gap.writers.iter().flatten().any(|writer| *writer == holder.id);
        let held_by = || holders.iter().filter(holds);
        let pids: Vec<i32> = held_by().filter_map(|holder| holder.pid).collect();
        let prepared: Vec<&str> = held_by().filter_map(|holder| holder.gid.as_deref()).collect();
        tracing::warn!(
            sink = self.slot.sink,
            gaps,
            first,
            last,
            seconds = age.as_secs(),
            ?pids,
            ?prepared,
            remedy = "see in pg_stat_activity what these processes do, and end their transactions; COMMIT PREPARED or ROLLBACK \
                      PREPARED what is prepared",
            "a gap in the outbox stays open: a transaction that may have written events there has not ended"
        );
    }
}

impl Snapshot {
    fn observed(&mut self, seen: &Seen) {
        self.relay_observed_at.set((), unix_seconds(OffsetDateTime::now_utc()));
        self.relay_backlog.set((), seen.backlog as f64);
        match seen.oldest {
            Some(oldest) => self.relay_oldest.set((), unix_seconds(oldest)),
            None => self.relay_oldest.clear(()),
        }
        self.relay_gaps.set((), seen.gaps as f64);
        self.relay_old_gaps.set((), seen.old_gaps as f64);
        self.relay_chunks.set((), seen.chunks as f64);
        self.relay_failures.set((Standing::Waiting,), seen.failures.waiting as f64);
        self.relay_failures.set((Standing::SetAside,), seen.failures.set_aside as f64);
        let ahead = seen.partitions_ahead.map_or(-1.0, |ahead| ahead.min(MOST_AHEAD) as f64);
        self.relay_partitions_ahead.set((), ahead);
        match seen.version {
            Some(version) => self.schema_version.set((), version),
            None => self.schema_version.clear(()),
        }
    }
}
