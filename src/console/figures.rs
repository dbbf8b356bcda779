//! What the console serves of itself and of the tables, for Prometheus: at a port of its own, never at that of the pages.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::Console;
use super::audits::Standing;
use crate::database::{Database, DatabaseError, Transaction};
use crate::metrics::{
    AuditRule, Code, Deed, GrowingTable, Label as _, LetterStatus, Metrics, Peer, Query, Snapshot, unix_seconds,
};
use crate::outage::Outage;
use crate::table::dead_letters::{Search, Status, groups};
use crate::table::facts::sizes;
use crate::table::operator_actions::{self, Action};
use crate::table::relay_status::OutboxStatus;

/// How often the tables are asked.
const EVERY: Duration = Duration::from_secs(30);
/// For how long an answer is shown where no other comes: then the figure has no sample, and nobody takes it for news.
const GOOD_FOR: Duration = Duration::from_secs(90);
/// The most actions that are counted at once: more wait for the next time.
const COUNTED_AT_ONCE: i64 = 100_000;

/// Asks the tables now and then, query by query, and counts what they say.
pub struct Collector {
    database: Database,
    metrics: Metrics,
    answered: Arc<Mutex<[Option<Instant>; Query::ALL.len()]>>,
    outages: [Outage; Query::ALL.len()],
    seen: Seen,
}

/// How far the actions are counted: those that the last look saw are counted at the next, once all below are committed.
#[derive(Clone, Copy, Default)]
struct Seen {
    counted: Option<i64>,
    highest: i64,
}

impl Collector {
    /// A collector that asks by this database, whose role is best a member of `turnstile_viewer`. Each of its statements has the
    /// deadline of a page. What it says is counted in the console's figures.
    pub fn new(console: &Console, database: Database) -> Self {
        let (metrics, audits) = (console.metrics.clone(), console.audits.clone());
        let answered = Arc::new(Mutex::new([None::<Instant>; Query::ALL.len()]));
        let asked = answered.clone();
        metrics.read_at_each_snapshot(move |figures| {
            let answered = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = |at: &Option<Instant>| at.is_none_or(|at| at.elapsed() > GOOD_FOR);
            let old = Query::ALL.iter().zip(&answered).filter(|(_, at)| is_old(at));
            old.for_each(|(query, _)| forget(figures, *query));
            if let Some(run) = audits.last_that_ended()
                && let Standing::Ended { took, audit } = &run.standing
            {
                figures.audited_at.set((), unix_seconds(run.begun + *took));
                for rule in AuditRule::ALL {
                    let broken = audit.broken.iter().find(|(broken, _)| broken.name == rule.word());
                    figures.discrepancies.set((*rule,), broken.map_or(0.0, |(_, breaks)| breaks.total as f64));
                }
            }
        });
        Self {
            database: database.counted_in(&metrics),
            metrics,
            answered,
            outages: Default::default(),
            seen: Seen::default(),
        }
    }

    /// Asks until it is dropped.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.collect().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks every query once.
    pub async fn collect(&mut self) {
        for query in Query::ALL {
            let begun = Instant::now();
            let answer = self.ask(*query).await;
            self.note(*query, begun, answer);
        }
    }

    async fn ask(&mut self, query: Query) -> Result<Box<dyn FnOnce(&mut Snapshot) + Send>, DatabaseError> {
        Ok(match query {
            Query::DeadLetters => {
                let now = OffsetDateTime::now_utc();
                let read = async |seen: &Transaction| groups(seen, &Search::default(), now).await;
                let groups = self.database.snapshot(read).await?;
                Box::new(move |figures| {
                    for status in LetterStatus::ALL {
                        Code::VALUES.iter().for_each(|code| figures.letters.set((*status, Code(code)), 0));
                    }
                    for group in &groups {
                        // Another version may have had other codes.
                        let Some(code) = Code::named(&group.code) else { continue };
                        let labels = || (status(group.status), Code(code.0));
                        let before = figures.letters.get(labels()).unwrap_or_default();
                        figures.letters.set(labels(), before + group.letters.letters as f64);
                    }
                    let open = groups.iter().filter(|group| group.status == Status::Open);
                    match open.map(|group| group.first).min() {
                        Some(oldest) => figures.oldest_open.set((), unix_seconds(oldest)),
                        None => figures.oldest_open.clear(()),
                    }
                })
            }
            Query::TableBytes => {
                let names = GrowingTable::VALUES;
                let sizes = self.database.snapshot(async |seen: &Transaction| sizes(seen, names).await).await?;
                Box::new(move |figures| {
                    for (table, bytes) in sizes {
                        let table = GrowingTable::named(&table);
                        table.into_iter().for_each(|table| figures.table_bytes.set((table,), bytes as f64));
                    }
                })
            }
            Query::OperatorActions => {
                let Seen { counted, highest } = self.seen;
                let read = async |seen: &Transaction| {
                    let now = operator_actions::highest(seen).await?;
                    // What was there before the process started is not counted.
                    let from = counted.unwrap_or(now);
                    let to = highest.max(from).min(from.saturating_add(COUNTED_AT_ONCE));
                    Ok((now, to, operator_actions::count_between(seen, from, to).await?))
                };
                let (now, to, counts) = self.database.snapshot(read).await?;
                self.seen = Seen { counted: Some(to), highest: now };
                Box::new(move |figures| counts.iter().for_each(|(action, n)| figures.deeds.add((deed(*action),), *n)))
            }
            Query::Outbox => {
                let read = async |seen: &Transaction| OutboxStatus::read(seen, None).await;
                let outbox = self.database.snapshot(read).await?;
                Box::new(move |figures| {
                    match outbox.sinks.iter().map(|sink| sink.backlog.events).max() {
                        Some(events) => figures.outbox_backlog.set((), events as f64),
                        None => figures.outbox_backlog.clear(()),
                    }
                    match outbox.sinks.iter().filter_map(|sink| sink.oldest).min() {
                        Some(oldest) => figures.outbox_oldest.set((), unix_seconds(oldest)),
                        None => figures.outbox_oldest.clear(()),
                    }
                })
            }
        })
    }

    fn note(&self, query: Query, begun: Instant, answer: Result<impl FnOnce(&mut Snapshot), DatabaseError>) {
        let Some(outage) = self.outages.get(query.index()) else { return };
        let took = begun.elapsed().as_secs_f64();
        match answer {
            Ok(count) => {
                outage.ended();
                if let Some(at) = self.answered.lock().unwrap_or_else(PoisonError::into_inner).get_mut(query.index()) {
                    *at = Some(Instant::now());
                }
                self.metrics.count(|figures| {
                    count(figures);
                    figures.collected_at.set((query,), unix_seconds(OffsetDateTime::now_utc()));
                    figures.collection_duration.set((query,), took);
                    figures.answered(Peer::Database);
                });
            }
            Err(error) => {
                let (lasting, is_due) = outage.failed_among_many(begun);
                if is_due {
                    let (remedy, query) = (error.remedy(), query.word());
                    tracing::warn!(%error, query, remedy, "the tables do not give a figure: it is left out once it is old");
                }
                self.metrics.count(|figures| {
                    figures.collection_errors.add((query,), 1);
                    figures.collection_duration.set((query,), took);
                    // A statement that is refused was answered.
                    if error.sqlstate().is_none() {
                        figures.unanswered(Peer::Database, lasting);
                    }
                });
            }
        }
    }
}

/// Makes the figures of a query unknown.
fn forget(figures: &mut Snapshot, query: Query) {
    match query {
        Query::DeadLetters => {
            for status in LetterStatus::ALL {
                Code::VALUES.iter().for_each(|code| figures.letters.clear((*status, Code(code))));
            }
            figures.oldest_open.clear(());
        }
        Query::TableBytes => GrowingTable::ALL.iter().for_each(|table| figures.table_bytes.clear((*table,))),
        // What is counted stays counted.
        Query::OperatorActions => {}
        Query::Outbox => {
            figures.outbox_backlog.clear(());
            figures.outbox_oldest.clear(());
        }
    }
}

fn status(status: Status) -> LetterStatus {
    match status {
        Status::Open => LetterStatus::Open,
        Status::Replayed => LetterStatus::Replayed,
        Status::Absorbed => LetterStatus::Absorbed,
        Status::Discarded => LetterStatus::Discarded,
    }
}

fn deed(action: Action) -> Deed {
    match action {
        Action::Taken => Deed::Taken,
        Action::Revealed => Deed::Revealed,
        Action::Edited => Deed::Edited,
        Action::Requeued => Deed::Requeued,
        Action::Exported => Deed::Exported,
        Action::Imported => Deed::Imported,
        Action::Noted => Deed::Noted,
        Action::Cancelled => Deed::Cancelled,
        Action::Replayed => Deed::Replayed,
        Action::Absorbed => Deed::Absorbed,
        Action::Discarded => Deed::Discarded,
        Action::Reopened => Deed::Reopened,
        Action::Paused => Deed::Paused,
        Action::Resumed => Deed::Resumed,
        Action::Unmasked => Deed::Unmasked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::ConsoleSettings;
    use crate::database::DatabaseSettings;
    use crate::database::address::DatabaseAddress;
    use crate::table::agreement::RULES;

    #[test]
    fn a_figure_is_shown_until_its_last_answer_is_old_and_not_as_if_it_were_new() {
        let address = DatabaseAddress::parse("postgres://localhost/none").unwrap();
        let settings = ConsoleSettings::new(DatabaseSettings::new(address, 1, Duration::from_secs(1)));
        let database = Database::new(&settings.database).unwrap();
        let console = Console::new(settings, None).unwrap();
        let collector = Collector::new(&console, database);
        console.metrics.count(|figures| {
            figures.letters.set((LetterStatus::Open, Code("invalid_ip")), 7);
            figures.outbox_backlog.set((), 3);
        });
        let shown = || {
            let seen = console.metrics.snapshot();
            (seen.letters.get((LetterStatus::Open, Code("invalid_ip"))), seen.outbox_backlog.get(()))
        };
        let answered = |query: Query, ago: Duration| {
            collector.answered.lock().unwrap()[query.index()] = Instant::now().checked_sub(ago);
        };
        assert_eq!(shown(), (None, None), "nothing was answered yet");
        answered(Query::DeadLetters, Duration::ZERO);
        answered(Query::Outbox, GOOD_FOR + Duration::from_secs(1));
        assert_eq!(shown(), (Some(7.0), None));
    }

    #[test]
    fn every_rule_of_an_audit_and_every_word_of_the_tables_has_its_label() {
        assert!(RULES.iter().map(|rule| rule.name).eq(AuditRule::VALUES.iter().copied()));
        assert_eq!(Action::WORDS, Deed::VALUES);
        for word in Action::WORDS {
            assert_eq!(word.parse().map(|action: Action| deed(action).word()), Ok(*word));
        }
        for letter in [Status::Open, Status::Replayed, Status::Absorbed, Status::Discarded] {
            assert_eq!(status(letter).word(), letter.as_str());
        }
    }
}
