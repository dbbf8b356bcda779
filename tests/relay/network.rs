//! A bad network between a relay and its database: whichever call fails, everything is carried, and an event comes once more at
//! most for each call that failed.

use std::collections::BTreeSet;
use std::fs::File;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::*;
use crate::support::evidence::survived;
use crate::support::program::{self, Loader};
use crate::support::proxy::{Cut, Ending, Moment, Side};

const COMMAND: &str = "cargo test --test main relay::network";
/// More calls than any run makes: a run that comes here does not end.
const TOO_MANY: u64 = 300;
/// How many runs there are at once, each to a sink of its own.
const AT_ONCE: usize = 8;
/// Not shorter, because connecting alone costs a loaded machine a while.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A sink that was left with everything to do: a chunk of a dead relay, a gap that is filled, one that is not, and events above
/// the frontier. Gives the positions that are not carried yet.
async fn left_behind(client: &Client, sink: &str, all: &[i64]) -> Vec<i64> {
    let (first, frontier) = (all[0], all[19]);
    let gap = (all[3] + 1, all[7]);
    let done = "INSERT INTO turnstile.relay_sinks (sink, target, cluster_id)
                SELECT $1, 'stdout:', system_identifier FROM pg_control_system()";
    client.execute(done, &[&sink]).await.unwrap();
    let mark = "INSERT INTO turnstile.relay_marks (sink, slot, position) VALUES ($1, 0, $2)";
    client.execute(mark, &[&sink, &frontier]).await.unwrap();
    let chunk = "INSERT INTO turnstile.relay_chunks (sink, slot, first_position, last_position, lease, leased_until)
                 VALUES ($1, 0, $2, $3, gen_random_uuid(), now())";
    client.execute(chunk, &[&sink, &first, &all[3]]).await.unwrap();
    let noted = "INSERT INTO turnstile.relay_gaps (sink, slot, first_position, last_position) VALUES ($1, 0, $2, $3)";
    client.execute(noted, &[&sink, &gap.0, &gap.1]).await.unwrap();
    all.iter().copied().filter(|position| *position <= gap.1 || *position > frontier).collect()
}

/// Thirty events, with positions missing below and above the twentieth.
async fn thirty_events(client: &Client) -> Vec<i64> {
    let mut all = write(client, 5).await;
    for events in [15, 10] {
        client.batch_execute("BEGIN").await.unwrap();
        write(client, 2).await;
        client.batch_execute("ROLLBACK").await.unwrap();
        all.extend(write(client, events).await);
    }
    all
}

/// A run of a relay whose nth call is cut in this way; whether there was an nth call.
async fn carry_although(url: &str, cut: Cut, n: u64, all: &[i64]) -> bool {
    let client = connect(url).await;
    let name = format!("cut-{n}");
    let expected = left_behind(&client, &name, all).await;
    let proxy = PostgresProxy::before(url).await;
    let database = pool(proxy.url(), 3, CALL_TIMEOUT);
    let settings = RelaySettings { sink: name, lanes: 1, lease: Duration::from_secs(1), ..settings(true) };
    proxy.arm_for_nth(n, cut);
    let sink = TestSink::default();
    let relay = Relay { database, sink: sink.clone(), settings };
    relay.run(Shutdown::default()).await.unwrap();
    assert_eq!(sink.positions(), expected, "call {n}");
    let struck = proxy.strikes();
    let most = sink.came.lock().unwrap().values().map(|(times, _)| *times).max().unwrap();
    assert!(most as u64 <= 1 + struck, "call {n}: an event came {most} times");
    struck > 0
}

async fn cut_each_call(cut: Cut, fault: &str) {
    let (test, _, client) = outbox().await;
    let all = thirty_events(&client).await;
    let runs = stream::iter(1..TOO_MANY).map(|n| carry_although(test.url(), cut, n, &all)).buffered(AT_ONCE);
    let struck = runs.take_while(|struck| std::future::ready(*struck)).count().await as u64;
    assert!(struck > 20 && struck < TOO_MANY - 1, "{struck} calls");
    survived(fault, struck, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_of_a_relay_is_cut_off_before_its_effect_everything_is_carried() {
    cut_each_call(Cut::at(Moment::Before), "nth call of a relay to PostgreSQL cut off before it took effect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_of_a_relay_is_cut_off_after_its_effect_everything_is_carried() {
    cut_each_call(Cut::at(Moment::Answered), "nth call of a relay to PostgreSQL cut off after it took effect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_of_a_relay_is_never_answered_everything_is_carried() {
    let frozen = Cut { moment: Moment::Answered, side: Side::Server(Duration::from_secs(60)), ending: Ending::Close };
    cut_each_call(frozen, "nth call of a relay to PostgreSQL never answered").await;
}

/// The same of the whole command, from the looks that it takes before it begins.
async fn command_although(url: &str, n: u64, all: &[i64]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("events");
    let proxy = PostgresProxy::before(url).await;
    proxy.arm_for_nth(n, Cut::at(Moment::Before));
    let mut relay = program::command(program::turnstile(), proxy.url(), &program::write_keyring(folder.path()));
    relay.args(["relay", "--to", "stdout:", "--sink", &format!("cut-{n}"), "--lease", "1s", "--until-empty"]);
    relay.stdout(File::create(&output).unwrap());
    let log = folder.path().join("log");
    let ended = Loader::start(relay, log.clone()).ended().await;
    assert!(ended.success(), "call {n}: {}", program::text_of(&log));
    let position = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_str()?.parse().ok();
    let carried: BTreeSet<i64> = program::text_of(&output).lines().filter_map(position).collect();
    assert!(carried.iter().eq(all), "call {n}: {carried:?}");
    proxy.strikes() > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_of_the_command_is_cut_off_it_goes_on() {
    let (test, _, client) = outbox().await;
    let all = write(&client, 5).await;
    let runs = stream::iter(1..TOO_MANY).map(|n| command_although(test.url(), n, &all)).buffered(AT_ONCE);
    let struck = runs.take_while(|struck| std::future::ready(*struck)).count().await as u64;
    assert!(struck > 10 && struck < TOO_MANY - 1, "{struck} calls");
    survived("nth call of `turnstile relay` to PostgreSQL cut off", struck, COMMAND);
}
