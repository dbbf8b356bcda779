//! The loader: lanes side by side until they are told to stop, the queue is drained, or one of them cannot go on.

mod heartbeat;

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use self::heartbeat::Heartbeat;
use crate::acknowledge::Deletes;
use crate::database::{Database, DatabaseError, Transaction, tell_end};
use crate::failpoint::{Step, around};
use crate::lane::{Guard, Lane, LaneError, LaneSettings, Turns};
use crate::load::{Destination, LoadError};
use crate::metrics::{Metrics, Peer};
use crate::outage::Outage;
use crate::queue::Queue;
use crate::retry::Class;
use crate::shutdown::Shutdown;
use crate::table::distribution::Standing;
use crate::table::facts::TableFacts;
use crate::table::{horizon, outbox, time_partitions};
use crate::telemetry::Report;
use crate::verdict::Judge;

/// How often a line says what was done: by a process that runs for ever, and by one that somebody waits for.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(60);
pub(crate) const REPORT_EVERY_UNTIL_EMPTY: Duration = Duration::from_secs(5);

/// Everything that the lanes share.
pub struct Loader<Q> {
    /// Where messages come from.
    pub queue: Q,
    /// Where they go.
    pub destination: Arc<Destination>,
    /// What makes verdicts of them.
    pub judge: Arc<Judge>,
    /// How many lanes there may be at work: one receives while the queue is idle, and the others rest.
    pub lanes: usize,
    /// How each works.
    pub lane: LaneSettings,
    /// How long the end may take once it was asked for.
    pub shutdown_timeout: Duration,
    /// Where it is counted.
    pub metrics: Metrics,
}

/// Why the loader ended otherwise than it should. No message is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A lane could not go on; the others were told to stop.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// A lane panicked: a defect.
    #[error("a lane ended by a defect of the program; its messages come again")]
    Defect,
    /// The lanes did not end in time and were cut off; what they had in hand comes again.
    #[error("{0} lanes did not end within --shutdown-timeout and were cut off; what they had in hand comes again")]
    Overrun(usize),
}

impl RunError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Lane(error) => error.remedy(),
            Self::Defect => Some("start the loader again, and report the defect with the log".to_owned()),
            Self::Overrun(_) => {
                Some("raise --shutdown-timeout, or lower --database-timeout, if that happens again".to_owned())
            }
        }
    }
}

impl<Q: Queue> Loader<Q> {
    /// Runs the lanes to their end.
    ///
    /// # Errors
    ///
    /// [`RunError`], already logged; the first that occurred, after every lane has ended.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let introduced = self.destination.introduce(self.judge.identifier.identity(), &shutdown.giving_up).await;
        match introduced {
            Ok(()) => {}
            Err(LoadError::GaveUp) => return Ok(()),
            Err(error) => {
                let error = RunError::Lane(error.into());
                tracing::error!(remedy = error.remedy(), "the loader cannot begin: {error}");
                return Err(error);
            }
        }
        // The first batch may need it.
        extend_tables(&self.destination.database).await;
        ask_for_version(&self.destination.database, &Outage::default()).await;
        look_at_time(&self.destination.database).await;
        let mut heartbeat = Heartbeat::begin(&self.destination, &self.metrics, &shutdown.giving_up).await;
        let ended = self.run_lanes(&shutdown, &mut heartbeat).await;
        heartbeat.end().await;
        ended
    }

    async fn run_lanes(&self, shutdown: &Shutdown, heartbeat: &mut Heartbeat) -> Result<(), RunError> {
        let mut lanes: JoinSet<Result<(), LaneError>> = JoinSet::new();
        let turns = Arc::new(Turns::among(self.lanes));
        let LaneSettings { delete_patience, limits, .. } = self.lane;
        let deletes = Deletes::new(delete_patience, limits.visibility_timeout, shutdown.stopping.clone());
        let deletes = Arc::new(deletes);
        let guard = Arc::new(Guard::new(self.lane.storm, self.lane.dead_letter_quota, &self.metrics));
        for _ in 0..self.lanes {
            lanes.spawn(self.lane(&turns, &guard, &deletes, shutdown).run());
        }
        let every = if self.lane.until_empty { REPORT_EVERY_UNTIL_EMPTY } else { REPORT_EVERY };
        let reporting = Report::keep_logging(&self.metrics, every);
        let caring = keep_looking_after_tables(&self.destination);
        let timed_out = async {
            shutdown.stopping.cancelled().await;
            self.metrics.count(|figures| figures.draining.set((), 1));
            around(Step::Shutdown, tokio::time::sleep(self.shutdown_timeout)).await;
        };
        tokio::select! {
            ended = wait_for_all(&mut lanes, shutdown, self.shutdown_timeout) => return ended,
            () = timed_out => {}
            never = heartbeat.keep() => match never {},
            never = reporting => match never {},
            never = caring => match never {},
        }
        let cut_off = lanes.len();
        lanes.shutdown().await;
        let overrun = RunError::Overrun(cut_off);
        tracing::error!(remedy = overrun.remedy(), "{overrun}");
        Err(overrun)
    }

    fn lane(&self, turns: &Arc<Turns>, guard: &Arc<Guard>, deletes: &Arc<Deletes>, shutdown: &Shutdown) -> Lane<Q> {
        Lane {
            queue: self.queue.clone(),
            destination: self.destination.clone(),
            judge: self.judge.clone(),
            settings: self.lane,
            metrics: self.metrics.clone(),
            watch: self.metrics.lane(),
            turns: turns.clone(),
            guard: guard.clone(),
            deletes: deletes.clone(),
            shutdown: shutdown.clone(),
        }
    }
}

/// Waits for every lane; the first that fails makes the others stop.
async fn wait_for_all(
    lanes: &mut JoinSet<Result<(), LaneError>>,
    shutdown: &Shutdown,
    within: Duration,
) -> Result<(), RunError> {
    let mut outcome = Ok(());
    while let Some(ended) = lanes.join_next().await {
        let failure = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => RunError::Lane(error),
            Err(_) => RunError::Defect,
        };
        // The others will meet the same, or nothing: the first tells.
        if outcome.is_ok() {
            tracing::error!(remedy = failure.remedy(), "a lane cannot go on, and the others end: {failure}");
            outcome = Err(failure);
        }
        if !shutdown.stopping.is_cancelled() {
            let shutdown = shutdown.clone();
            tokio::spawn(async move { shutdown.begin(within).await });
        }
    }
    outcome
}

/// How often the database is asked for the version of the tables: a loader that has nothing to load must notice, too, that its
/// database is away.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// After how many of these it is looked whether a table needs another partition: one of the outbox is good for ten million
/// events, and those by time are made days ahead.
const EXTEND_EVERY: u64 = 4;

/// Keeps partitions ready before they are needed, and knows the version of the tables.
async fn keep_looking_after_tables(destination: &Destination) -> std::convert::Infallible {
    let (database, outage) = (&destination.database, Outage::default());
    let mut ticks = interval_at(tokio::time::Instant::now() + ASK_EVERY, ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = 0u64;
    loop {
        ticks.tick().await;
        ask_for_version(database, &outage).await;
        asked += 1;
        if asked.is_multiple_of(EXTEND_EVERY) {
            extend_tables(database).await;
            look_at_time(database).await;
        }
    }
}

async fn ask_for_version(database: &Database, outage: &Outage) {
    let begun = Instant::now();
    match database.schema_version().await {
        Ok(version) => {
            let is_back = tell_end(outage);
            database.metrics().count(|figures| {
                match version {
                    Some(version) => figures.schema_version.set((), version),
                    None => figures.schema_version.clear(()),
                }
                // Whether it takes what is loaded, those know that load.
                if is_back {
                    figures.answered(Peer::Database);
                }
            });
        }
        Err(error) if error.class() == Class::Transient => {
            let lasting = outage.failed(begun);
            database.metrics().count(|figures| figures.unanswered(Peer::Database, lasting));
            if lasting.attempts == 1 {
                tracing::warn!(%error, remedy = error.remedy(), "the database does not answer");
            }
        }
        Err(error) => tracing::debug!(%error, "the version of the tables could not be read"),
    }
}

/// Reads how far back the tables remember, and how far ahead they are partitioned.
async fn look_at_time(database: &Database) {
    let look = async |seen: &Transaction| Ok((horizon::retained_since(seen).await?, TableFacts::of_time(seen).await?));
    match database.snapshot(look).await {
        Ok((horizon, tables)) => database.metrics().count(|figures| {
            figures.retained_since.set((), horizon.unix_timestamp() as f64);
            match tables.iter().map(|table| table.days_ahead).min() {
                Some(days) => figures.partition_days.set((), days as f64),
                None => figures.partition_days.clear(()),
            }
        }),
        Err(error) => tracing::debug!(%error, "the horizon and the partitions could not be read"),
    }
    match database.snapshot(Standing::read).await {
        Ok(standing) => {
            let nodes = standing.iter().flat_map(|standing| &standing.nodes);
            let oldest = nodes.map(|node| node.oldest_prepared).filter(|age| *age > 0.0).reduce(f64::max);
            database.metrics().count(|figures| match oldest {
                Some(age) => figures.oldest_prepared.set((), OffsetDateTime::now_utc().unix_timestamp() as f64 - age),
                None => figures.oldest_prepared.clear(()),
            });
        }
        Err(error) => {
            database.metrics().count(|figures| figures.oldest_prepared.clear(()));
            tracing::debug!(%error, "the servers of the cluster could not be asked");
        }
    }
}

/// Makes the partitions that are missing, and says so; a failure is for the caller's next look to find.
pub(crate) async fn extend_tables(database: &Database) {
    say_made("outbox", outbox::extend(database).await);
    say_made("tables by time", time_partitions::extend(database).await);
}

fn say_made(of: &str, made: Result<u32, DatabaseError>) {
    match made {
        Ok(0) => {}
        Ok(made) => tracing::info!(made, of, "partitions made"),
        Err(error) => tracing::warn!(%error, of, remedy = error.remedy(), "partitions could not be looked after"),
    }
}
