//! Connections cut around COMMIT: nobody can say whether it holds, and still each message is loaded once.

use std::time::Duration;

use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use crate::support::evidence::survived;
use crate::support::pipeline::{Pipeline, quick};
use crate::support::postgres::pool;
use crate::support::proxy::{Asked, Cut, Ending, Kind, Moment, PostgresProxy, Side};
use crate::support::totals::Totals;

/// How many connections are cut; `TURNSTILE_TEST_CUTS` sets more than a test run of every day needs.
fn cuts() -> u64 {
    std::env::var("TURNSTILE_TEST_CUTS").map_or(200, |text| text.parse().unwrap())
}

/// Many, because most of the time a lane waits for a deadline.
const LANES: usize = 12;

const BATCH_SIZE: usize = 2;

/// So many COMMITs pass between two cuts: a lane that fails over and over waits longer and longer.
const COMMITS_BETWEEN: usize = 3;

const MESSAGES_PER_CUT: usize = 5;

const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a connection is cut, as the evidence calls it.
const PLACES: [(Kind, Moment, &str); 7] = [
    (Kind::Commit, Moment::Before, "connection cut before COMMIT was forwarded"),
    (Kind::Commit, Moment::Middle, "connection cut in the middle of COMMIT"),
    (Kind::Commit, Moment::Forwarded, "connection cut as soon as COMMIT was forwarded"),
    (Kind::Commit, Moment::Answered, "connection cut between COMMIT and its answer"),
    (Kind::Bind, Moment::Middle, "connection cut in the middle of a bind"),
    (Kind::CopyData, Moment::Middle, "connection cut in the middle of the rows of a COPY"),
    (Kind::Sync, Moment::Answered, "connection cut between a COPY and its answer"),
];

/// A server that does not know stays in the transaction until after the loader's next attempt waited for its locks (half
/// of the deadline); a loader that does not know finds out by its own deadline.
const SIDES: [Side; 3] =
    [Side::Both, Side::Client(Duration::from_millis(1_200)), Side::Server(CALL_TIMEOUT.saturating_mul(3))];

const ENDINGS: [Ending; 2] = [Ending::Close, Ending::Reset];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_commit_is_cut_off_is_loaded_exactly_once() {
    let mut pipeline = Pipeline::new().await;
    let proxy = PostgresProxy::before(pipeline.test.url()).await;
    pipeline.database = pool(proxy.url(), LANES, CALL_TIMEOUT);

    proxy.arm(each_in_turn());
    let mut totals = Totals::default();
    while proxy.strikes() < cuts() {
        let messages = MESSAGES_PER_CUT * usize::try_from(cuts() - proxy.strikes()).unwrap();
        pipeline.send_mixed(messages, messages / 10).await;
        let done = pipeline.start(LANES, small_batches()).await.ended().await.unwrap();
        totals += done;
    }
    proxy.disarm();

    pipeline.assert_promise().await;
    assert_eq!(totals.received, totals.loaded + totals.dead_lettered + totals.duplicates + totals.returned);
    assert!(totals.attempts_repeated >= proxy.strikes(), "a cut was not counted: {totals:?}");
    let struck = proxy.strikes_by_cut();
    assert_eq!(struck.len(), PLACES.len() * SIDES.len() * ENDINGS.len(), "a cut was never made: {struck:?}");
    for (kind, moment, name) in PLACES {
        let times = struck.iter().filter(|((of, cut), _)| (*of, cut.moment) == (kind, moment));
        let times = times.map(|(_, times)| times).sum();
        let answered_unheard = moment == Moment::Answered;
        assert!(!answered_unheard || totals.duplicates >= times, "a commit that held was not met again: {totals:?}");
        survived(name, times, "TURNSTILE_TEST_CUTS=2000 cargo test --test main ambiguous::");
    }
}

/// So small that there are many transactions.
fn small_batches() -> LaneSettings {
    let quick = quick();
    LaneSettings { limits: ReceiveLimits { batch_size: BATCH_SIZE, ..quick.limits }, ..quick }
}

/// Cuts at each place, on each side, in each way, one after the other.
fn each_in_turn() -> impl FnMut(Asked) -> Option<Cut> {
    let all = PLACES.into_iter().flat_map(|(kind, moment, _)| {
        let cut = move |side, ending| (kind, Cut { moment, side, ending });
        SIDES.into_iter().flat_map(move |side| ENDINGS.map(|ending| cut(side, ending)))
    });
    let mut turns = all.collect::<Vec<_>>().into_iter().cycle().peekable();
    let mut commits = 0;
    move |asked| {
        commits += usize::from(asked.kind == Kind::Commit);
        if commits <= COMMITS_BETWEEN {
            return None;
        }
        let (_, cut) = turns.next_if(|(kind, _)| *kind == asked.kind)?;
        commits = 0;
        Some(cut)
    }
}
