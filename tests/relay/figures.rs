//! The figures of a relay: their books balance whatever fails, they say what is not carried although nothing moves, and what is
//! served holds no value of an event.

use std::net::SocketAddr;

use stand_ins::sqs::Faults;
use turnstile::metrics::{Carriage, Metrics, Part, SinkCall, Standing, TakenUp, Work};

use super::*;
use crate::alerts::promtool_reads;
use crate::support::program::Loader;
use crate::support::proxy::{Asked, Cut, Ending, Moment, Side};
use crate::support::served::{Served, figures_at, health_at, page_at};
use crate::support::{LONG_PATIENCE, wait_for};

/// Values of events that nobody may see but the sink.
const CANARIES: [&str; 3] = ["canary-user", "198.51.100.0-canary", "canary-device"];

/// A pool that counts as a relay's does.
fn counted(url: &str) -> (Database, Metrics) {
    let metrics = Metrics::of(Work::relaying("test"));
    (pool(url, 8, Duration::from_secs(30)).counted_in(&metrics), metrics)
}

async fn write_canaries(client: &Client, events: i64) {
    let sql = "INSERT INTO turnstile.outbox (event_id, message_sent_at, user_id, masked_ip, masked_device_id)
               SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), $2, $3, $4
               FROM generate_series(1, $1::bigint)";
    let [user, ip, device] = CANARIES;
    client.execute(sql, &[&events, &user, &ip, &device]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_of_a_relay_balance_at_every_moment_whatever_fails() {
    let test = TestDatabase::with_tables().await;
    let proxy = PostgresProxy::before(test.url()).await;
    let (database, metrics) = counted(proxy.url());
    let client = test.client().await;
    let events = 2_000;
    let bad = write(&client, events).await[777];
    let mut calls = 0;
    let sink = TestSink::answering(move |events| {
        calls += 1;
        let has_bad = events.iter().any(|event| event.position == bad);
        match calls % 9 {
            _ if has_bad => Some(Err(SinkError::Refused("InvalidMessageContents".to_owned()))),
            0 => Some(Err(SinkError::Away("busy".to_owned()))),
            1 => {
                Some(Ok((0..events.len()).map(|n| if n % 2 == 0 { Carried::Again } else { Carried::Taken }).collect()))
            }
            _ => None,
        }
    });
    proxy.arm(each_twentieth_commit_is_cut());
    let running = start(&database, &sink, settings(true), &Shutdown::default()).await;
    let mut in_hand = 0;
    wait_until("everything is carried or set aside", async || {
        let seen = metrics.snapshot();
        assert_eq!(seen.imbalance_of_events(), 0, "{seen:?}");
        in_hand += u64::from(seen.relay_in_hand.get(()).unwrap() > 0.0);
        running.is_finished()
    })
    .await;
    let carried = running.await.unwrap().unwrap();
    let seen = metrics.snapshot();
    assert_eq!((seen.imbalance_of_events(), seen.relay_in_hand.get(())), (0, Some(0.0)));
    assert!(in_hand > 0, "nothing was ever in hand");
    let times: usize = sink.came.lock().unwrap().values().map(|(times, _)| times).sum();
    let ended = |how| seen.relay_events.get((how,));
    assert_eq!((ended(Carriage::Carried), ended(Carriage::Carried)), (times as u64, carried));
    assert!(times as i64 >= events - 1, "{times}");
    assert_eq!((ended(Carriage::Refused), seen.relay_refusals.total(), seen.relay_set_aside.total()), (3, 3, 1));
    assert_eq!(seen.relay_taken_up.get((TakenUp::Again,)), 2);
    for call in [SinkCall::Taken, SinkCall::Partly, SinkCall::Refused, SinkCall::Away] {
        assert!(seen.relay_calls.get((call,)) > 0, "{call:?}: {seen:?}");
    }
    assert_eq!(seen.relay_delay.get(()).unwrap().count(), times as u64);
    assert_eq!(seen.relay_reachable.get(()), Some(1.0));
    assert!(seen.relay_claims.total() > 0 && seen.relay_last_carried.get(()).is_some());
}

fn each_twentieth_commit_is_cut() -> impl FnMut(Asked) -> Option<Cut> {
    let mut commits = 0;
    move |asked| {
        commits += usize::from(asked.kind == Kind::Commit);
        let cut = Cut { moment: Moment::Before, side: Side::Both, ending: Ending::Close };
        (asked.kind == Kind::Commit && commits % 20 == 0).then_some(cut)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_carries_nothing_says_what_is_not_carried_and_since_when() {
    let (test, _, client) = outbox().await;
    let (database, metrics) = counted(test.url());
    write(&client, 90).await;
    client
        .batch_execute("UPDATE turnstile.outbox SET created_at = now() - interval '1 hour' WHERE position = 33")
        .await
        .unwrap();
    let stuck = TestSink::answering(|_| Some(Err(SinkError::Away("busy".to_owned()))));
    let shutdown = Shutdown::default();
    let running = start(&database, &stuck, settings(false), &shutdown).await;
    wait_until("it is seen what is not carried", async || {
        let seen = metrics.snapshot();
        seen.relay_backlog.get(()) == Some(90.0) && seen.relay_chunks.get(()) == Some(2.0)
    })
    .await;
    let seen = metrics.snapshot();
    let age = turnstile::metrics::unix_seconds(seen.taken_at) - seen.relay_oldest.get(()).unwrap();
    assert!((3_600.0..3_700.0).contains(&age), "{age}");
    assert!(seen.sink_away().is_some() && seen.relay_reachable.get(()) == Some(0.0));
    assert_eq!(seen.relay_partitions_ahead.get(()), Some(2.0));
    shutdown.stopping.cancel();
    shutdown.giving_up.cancel();
    running.await.unwrap().unwrap();
    let left = metrics.snapshot();
    assert_eq!((left.relay_in_hand.get(()), left.relay_events.get((Carriage::Left,))), (Some(0.0), 40));

    // Chunks that were given back are taken over.
    let refusing = TestSink::answering(|events| {
        let answer = |n| if n == 0 { Carried::Refused("NotThis".to_owned()) } else { Carried::Taken };
        Some(Ok((0..events.len()).map(answer).collect()))
    });
    let patient = RelaySettings { failure_pause: Duration::from_secs(600), ..settings(false) };
    let shutdown = Shutdown::default();
    let running = start(&database, &refusing, patient, &shutdown).await;
    wait_until("what is refused waits", async || {
        let seen = metrics.snapshot();
        let waiting = seen.relay_failures.get((Standing::Waiting,));
        waiting.is_some_and(|waiting| waiting > 0.0 && seen.relay_backlog.get(()) == Some(waiting))
    })
    .await;
    let seen = metrics.snapshot();
    assert_eq!((seen.relay_taken_over.total(), seen.relay_taken_up.get((TakenUp::TakenOver,))), (2, 40));
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
}

/// A relay of its own process that carries to the site's queue, and serves its figures.
async fn served(site: &Site, log: &str) -> (Loader, SocketAddr) {
    let mut command = site.command(&["relay", "--to", &format!("sqs:{}", site.queue()), "--sink", "warehouse"]);
    command.args(["--metrics-address", "127.0.0.1:0"]).stdout(Stdio::null());
    let relay = site.start(command, log);
    let address = relay.serves_at().await;
    (relay, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_serves_figures_of_a_relay_and_no_others_and_no_value_of_an_event_is_in_them_or_in_its_log() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let client = site.client().await;
    let (relay, address) = served(&site, "log").await;
    wait_until("it has looked at the outbox", async || {
        figures_at(address).await.contains_key("turnstile_relay_backlog_events{sink=\"warehouse\"}")
    })
    .await;
    let idle = figures_at(address).await;
    write_canaries(&client, 300).await;
    let carried = "turnstile_relay_events_total{sink=\"warehouse\",outcome=\"carried\"}";
    wait_until("everything is carried", async || figures_at(address).await[carried] == 300.0).await;
    let busy = figures_at(address).await;
    assert_eq!(busy["turnstile_relay_event_delay_seconds_count{sink=\"warehouse\"}"], 300.0);
    assert_eq!(busy["turnstile_relay_sink_reachable{sink=\"warehouse\"}"], 1.0);
    assert!(busy["turnstile_relay_sink_calls_total{sink=\"warehouse\",outcome=\"taken\"}"] >= 30.0);
    let new: Vec<_> = busy.keys().filter(|series| !idle.contains_key(*series)).collect();
    let comes_late = ["sink_reachable", "sink_away_attempts", "last_carried_timestamp", "oldest_event_timestamp"];
    let is_late = |series: &&&String| comes_late.iter().any(|name| series.contains(name));
    assert!(new.iter().all(|series| is_late(&series)), "a label came with the traffic: {new:?}");
    let both = Metrics::of(Work::loading().and_relaying("warehouse")).snapshot();
    for (row, _) in both.figures().into_iter().filter(|(row, _)| row.part != Part::Process) {
        let is_its = |series: &&String| series.starts_with(&format!("turnstile_{}", row.name));
        let shown: Vec<_> = busy.keys().filter(is_its).collect();
        match row.part {
            Part::Loader => assert_eq!(shown, [""; 0], "{}", row.name),
            _ => assert!(shown.iter().all(|series| series.contains("{sink=\"warehouse\"")), "{shown:?}"),
        }
    }
    let mut top = std::process::Command::new(crate::support::program::turnstile());
    let told = top.env_clear().args(["top", "--once", "--json", &address.to_string()]).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let relay_of_top = &told["loaders"][0];
    assert_eq!((&relay_of_top["sink"], &relay_of_top["imbalance"]), (&"warehouse".into(), &0.into()), "{told}");
    assert!(relay_of_top["loaded_per_second"].is_null() && relay_of_top["carried_per_second"].is_f64(), "{told}");
    let page = page_at(address).await;
    promtool_reads(&page);
    for (where_it_is, text) in [("the page", page), ("the log", relay.said())] {
        CANARIES.iter().for_each(|canary| assert!(!text.contains(canary), "{canary} is in {where_it_is}"));
    }
    relay.terminate();
    assert!(relay.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_shows_no_figure_of_a_relay() {
    let served = Served::start(&["--wait", "1s"]).await;
    let shown: Vec<String> = served.scrape().await.into_keys().filter(|series| series.contains("relay")).collect();
    assert_eq!(shown, [""; 0]);
    assert!(!page_at(served.address).await.contains("turnstile_relay_"), "not even announced");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_is_not_ready_while_its_sink_is_away_and_says_so_once_and_again_when_it_is_back() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let client = site.client().await;
    let (relay, address) = served(&site, "log").await;
    let ready = || health_at(address, &["--ready"]);
    wait_until("it is ready", async || ready().0 == Some(0)).await;
    assert_eq!(ready(), (Some(0), "[+]draining ok\n[+]lanes ok\n[+]database ok\n[+]sink ok\nok\n".to_owned()));
    site.sqs.set_faults(Faults { throttle: 1.0, ..Faults::default() });
    write(&client, 200).await;
    wait_for(LONG_PATIENCE, "it is not ready", async || ready().0 == Some(1)).await;
    assert!(ready().1.contains("[-]sink failed: away for "), "{:?}", ready());
    assert_eq!(health_at(address, &[]).0, Some(0), "a restart would mend nothing");
    let away = figures_at(address).await;
    assert!(away["turnstile_relay_sink_away_attempts{sink=\"warehouse\"}"] > 5.0, "{away:?}");
    site.sqs.set_faults(Faults::default());
    wait_for(LONG_PATIENCE, "it is ready again", async || ready().0 == Some(0)).await;
    wait_until("everything is carried", async || {
        figures_at(address).await["turnstile_relay_events_total{sink=\"warehouse\",outcome=\"carried\"}"] == 200.0
    })
    .await;
    let said = relay.said();
    let told = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("the sink takes nothing"), told("the sink takes events again")), (1, 1), "{said}");
    relay.terminate();
    assert!(relay.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_database_is_away_is_not_ready_and_its_figures_grow_old() {
    let mut server = server::start(installed()).await;
    let site = Site::at(&server.url()).await;
    let (relay, address) = served(&site, "log").await;
    let observed = "turnstile_relay_observed_timestamp_seconds{sink=\"warehouse\"}";
    wait_until("it has looked", async || figures_at(address).await.contains_key(observed)).await;
    server.stop().await.unwrap();
    let ready = || health_at(address, &["--ready"]);
    wait_for(LONG_PATIENCE, "it is not ready", async || ready().0 == Some(1)).await;
    assert!(ready().1.contains("[-]database failed: away for "), "{:?}", ready());
    assert_eq!(health_at(address, &[]).0, Some(0), "a restart would mend nothing");
    let away = figures_at(address).await;
    assert!(away["turnstile_snapshot_timestamp_seconds"] - away[observed] > 15.0, "{away:?}");
    assert_eq!(away["turnstile_reachable{peer=\"database\"}"], 0.0);
    server.restart().await.unwrap();
    wait_for(LONG_PATIENCE, "it is ready again", async || ready().0 == Some(0)).await;
    wait_until("it has looked again", async || figures_at(address).await[observed] > away[observed]).await;
    let said = relay.said();
    let told = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert!((1..=3).contains(&told("the database does not answer")), "{said}");
    assert!(told("the database is back") >= 1, "{said}");
    relay.terminate();
    assert!(relay.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_stays_is_counted_and_the_log_says_once_who_holds_it() {
    let prepared = vec![("max_prepared_transactions".to_owned(), "10".to_owned())];
    let server = server::start(Options { settings: prepared, ..installed() }).await;
    let site = Site::at(&server.url()).await;
    let [idle, forgotten, client] = [site.client().await, site.client().await, site.client().await];
    idle.batch_execute("BEGIN").await.unwrap();
    write(&idle, 3).await;
    let pid: i32 = idle.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    write(&client, 1).await;
    forgotten.batch_execute("BEGIN").await.unwrap();
    write(&forgotten, 4).await;
    forgotten.batch_execute("PREPARE TRANSACTION 'forgotten-by-somebody'").await.unwrap();
    write(&client, 1).await;
    let (relay, address) = served(&site, "log").await;
    wait_until("both gaps have their writers", async || {
        let known = "SELECT count(*) FROM turnstile.relay_gaps WHERE writers IS NOT NULL";
        client.query_one(known, &[]).await.unwrap().get::<_, i64>(0) == 2
    })
    .await;
    client.batch_execute("UPDATE turnstile.relay_gaps SET since = now() - interval '2 minutes'").await.unwrap();
    let old = "turnstile_relay_old_gaps{sink=\"warehouse\"}";
    wait_until("both are seen to be old", async || figures_at(address).await.get(old) == Some(&2.0)).await;
    let gaps = || told_gaps(&relay).iter().map(|line| line["gaps"].as_u64().unwrap()).sum::<u64>();
    wait_until("they are told", async || gaps() >= 2).await;
    let observed = "turnstile_relay_observed_timestamp_seconds{sink=\"warehouse\"}";
    let first = figures_at(address).await[observed];
    wait_until("it has looked once more", async || figures_at(address).await[observed] > first).await;
    let told = told_gaps(&relay);
    assert_eq!(gaps(), 2, "each is told once: {told:?}");
    // Either transaction may fill either gap, as far as the relay knows.
    let names = |what: &str| told.iter().any(|line| line.to_string().contains(what));
    assert!(names(&pid.to_string()) && names("forgotten-by-somebody"), "{told:?}");
    let page = page_at(address).await;
    assert!(!page.contains("forgotten-by-somebody"), "a name that somebody gives is no label");
    idle.batch_execute("COMMIT").await.unwrap();
    client.batch_execute("COMMIT PREPARED 'forgotten-by-somebody'").await.unwrap();
    wait_until("no gap is old", async || figures_at(address).await[old] == 0.0).await;
    relay.terminate();
    assert!(relay.ended().await.success());
}

fn told_gaps(relay: &Loader) -> Vec<Value> {
    let lines = relay.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>();
    let is_it = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("stays open"));
    lines.into_iter().filter(is_it).collect()
}
