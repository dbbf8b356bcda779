//! What is told of the sinks is so, and is not told where it is not so.

use stand_ins::postgres::Options;
use turnstile::table::relay_status::{COUNTED, OutboxStatus};

use super::*;
use crate::check::Installation;
use crate::support::loading::migrate;
use crate::support::postgres::{connect, pool};
use crate::support::program::Loader;
use crate::support::replicated::ReplicatedPair;
use crate::support::server::{self, installed};
use crate::support::wait_until;

#[tokio::test]
async fn without_a_relay_there_is_no_sink_and_that_is_said() {
    let outbox = Outbox::new().await;
    let ended = outbox.run(&["outbox", "status"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("no sink: no relay has run yet"), "{}", ended.stdout);
    assert!(ended.stdout.contains("3 partitions, 2 ahead of the next position"), "{}", ended.stdout);
    assert_eq!(outbox.run(&["outbox", "status", "--json"]).lines()[0]["sinks"], serde_json::json!([]));
    outbox.run(&["outbox", "status", "--sink", "nowhere"]).is_refused_with(&["there is no sink nowhere"]);
}

#[tokio::test]
async fn a_sink_that_has_everything_has_nothing_to_look_at() {
    let outbox = Outbox::new().await;
    let last = *outbox.write(30).await.last().unwrap();
    outbox.drain("files");
    let sink = outbox.status("files");
    assert_eq!(sink["sink"], "files");
    assert_eq!(sink["target"], "stdout:");
    assert_eq!(sink["ordered"], false);
    assert_eq!(sink["of_this_cluster"], true);
    assert_eq!(sink["frontier"], last);
    assert_eq!(sink["backlog"], serde_json::json!({"events": 0, "is_exact": true, "positions": 0}));
    for nothing in ["oldest", "oldest_age_seconds"] {
        assert!(sink[nothing].is_null(), "{sink}");
    }
    for empty in [&sink["chunks"], &sink["gaps"]["lowest"], &sink["failures"], &sink["look_at"]] {
        assert_eq!(*empty, serde_json::json!([]), "{sink}");
    }
    let text = outbox.run(&["outbox", "status"]).stdout;
    for said in ["files, without order, since", "0 events; in chunks 0 positions", "none is open", "failures  none"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("look at"), "{text}");
}

#[tokio::test]
async fn what_waits_is_counted_and_the_oldest_of_it_is_found_wherever_it_waits() {
    let outbox = Outbox::new().await;
    outbox.write(5).await;
    outbox.drain("files");
    let waiting = outbox.write(7).await;
    let sink = outbox.status("files");
    assert_eq!(sink["backlog"], serde_json::json!({"events": 7, "is_exact": true, "positions": 7}));
    assert!(sink["oldest_age_seconds"].as_f64().unwrap() < 60.0, "{sink}");

    let age = |position: i64, minutes: i64| {
        format!("UPDATE outbox SET created_at = now() - interval '{minutes} minutes' WHERE position = {position}")
    };
    let is_old = |minutes: f64| {
        let seconds = outbox.status("files")["oldest_age_seconds"].as_f64().unwrap();
        assert!((seconds - minutes * 60.0).abs() < 30.0, "{seconds} s, and not {minutes} min");
    };
    outbox.execute(&age(waiting[0], 6)).await;
    is_old(6.0);
    // In a chunk that somebody has, …
    outbox.execute(&age(2, 20)).await;
    outbox
        .execute(
            "INSERT INTO relay_chunks (sink, slot, first_position, last_position, lease, leased_until, owner)
                  VALUES ('files', 0, 1, 3, gen_random_uuid(), now() + interval '30 seconds', 'host/7')",
        )
        .await;
    outbox.execute("DELETE FROM outbox WHERE position = 1").await;
    is_old(20.0);
    // … or refused, and to be tried again; what is set aside is nobody's but the operator's.
    outbox.execute(&age(5, 90)).await;
    outbox.refuse("files", &[5], "set_aside").await;
    is_old(20.0);
    outbox.execute("UPDATE relay_failures SET status = 'waiting'").await;
    is_old(90.0);
    let sink = outbox.status("files");
    let chunks = &sink["chunks"][0];
    assert_eq!((&chunks["owner"], &chunks["chunks"], &chunks["positions"]), (&"host/7".into(), &1.into(), &3.into()));
    assert_eq!(chunks["most_attempts"], 1);
    assert_eq!(sink["failures"][0]["code"], "Malformed");
    assert_eq!((&sink["failures"][0]["status"], &sink["failures"][0]["events"]), (&"waiting".into(), &1.into()));
    let look_at: Vec<&str> =
        sink["look_at"].as_array().unwrap().iter().map(|trouble| trouble["what"].as_str().unwrap()).collect();
    assert_eq!(look_at, ["lag of sinks"]);
    assert!(
        outbox.run(&["outbox", "status"]).stdout.contains("the oldest event that it has not got is 1 h 30 min old")
    );
}

#[tokio::test]
async fn the_rate_is_that_of_the_marks_and_only_of_as_long_as_they_reach_back() {
    let outbox = Outbox::new().await;
    outbox.drain("files");
    outbox.drain("young");
    outbox
        .execute(
            "INSERT INTO relay_marks (sink, slot, position, set_at)
             SELECT 'files', 0, 1000 * n, now() - (1000 - n) * interval '1 second' FROM generate_series(1, 1000) n;
             INSERT INTO relay_marks (sink, slot, position, set_at)
             SELECT 'young', 0, 100 * n, now() - (20 - n) * interval '1 second' FROM generate_series(1, 20) n",
        )
        .await;
    let rate = |sink: &str, window: &str| {
        let rate = outbox.status(sink)["rate"][window].clone();
        (rate["positions_a_second"].as_f64().unwrap(), rate["over_seconds"].as_f64().unwrap())
    };
    let (minute, ten) = (rate("files", "last_minute"), rate("files", "last_ten_minutes"));
    assert!((minute.0 - 1_000.0).abs() < 50.0 && (minute.1 - 60.0).abs() < 0.1, "{minute:?}");
    assert!((ten.0 - 1_000.0).abs() < 50.0 && (ten.1 - 600.0).abs() < 0.1, "{ten:?}");
    let young = rate("young", "last_ten_minutes");
    assert!((70.0..101.0).contains(&young.0) && (19.0..40.0).contains(&young.1), "{young:?}");
    // Nothing came for a long time.
    outbox.execute("UPDATE relay_marks SET set_at = set_at - interval '1 hour'").await;
    assert_eq!(rate("files", "last_minute").0, 0.0);
}

#[tokio::test]
async fn who_holds_a_gap_open_is_told_by_pid_or_gid_also_over_a_crash_and_nobody_else_is() {
    let prepared = vec![("max_prepared_transactions".to_owned(), "10".to_owned())];
    let mut server = server::start(Options { settings: prepared, ..installed() }).await;
    migrate(&pool(&server.url(), 1, std::time::Duration::from_secs(10))).await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let run = |arguments: &[&str]| {
        let mut command = program::command(program::turnstile(), &url, folder.path());
        Ended::of(command.args(arguments).stdin(Stdio::null()).output().unwrap())
    };
    let [holder, later, client] = [connect(&url).await, connect(&url).await, connect(&url).await];
    holder.batch_execute("SET application_name = 'a loader'; BEGIN").await.unwrap();
    let held = write(&holder, 3).await;
    client.batch_execute("BEGIN").await.unwrap();
    let of_prepared = write(&client, 2).await;
    client.batch_execute("PREPARE TRANSACTION 'it''s forgotten'").await.unwrap();
    write(&client, 4).await;

    let relay = |sink: &str| {
        let mut command = program::command(program::turnstile(), &url, folder.path());
        command.args(["relay", "--to", "stdout:", "--sink", sink]).stdout(Stdio::null());
        Loader::start(command, folder.path().join("log"))
    };
    let gaps = async |client: &Client| -> i64 {
        client.query_one("SELECT count(*) FROM relay_gaps WHERE writers IS NOT NULL", &[]).await.unwrap().get(0)
    };
    let running = relay("files");
    wait_until("the gap is known", async || gaps(&client).await == 1).await;
    // A relay leaves a gap as it is while nobody of it ends.
    running.kill();
    // One that begins later holds nothing open.
    later.batch_execute("BEGIN").await.unwrap();
    write(&later, 1).await;

    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let status = run(&["outbox", "status", "--format", "json"]).lines()[0].clone();
    let gap = &status["sinks"][0]["gaps"]["lowest"][0];
    assert_eq!((&gap["first"], &gap["last"]), (&held[0].into(), &of_prepared[1].into()), "{status}");
    let held_by = gap["held_by"].as_array().unwrap();
    assert_eq!(held_by.len(), 2, "{status}");
    let by = |key: &str| held_by.iter().find(|holder| !holder[key].is_null()).unwrap();
    assert_eq!(by("pid")["pid"], pid);
    assert_eq!(
        (&by("pid")["application_name"], &by("pid")["state"]),
        (&"a loader".into(), &"idle in transaction".into())
    );
    assert_eq!(by("gid")["gid"], "it's forgotten");
    assert!(held_by.iter().all(|holder| holder["since"].is_string()), "{status}");
    assert_eq!(status["sinks"][0]["look_at"], serde_json::json!([]), "a young gap is nothing to look at");

    client.batch_execute("UPDATE relay_gaps SET since = now() - interval '2 minutes'").await.unwrap();
    let text = run(&["outbox", "status"]).stdout;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        &*format!("held by pid {pid} (a loader, idle in transaction, for"),
        "the prepared transaction 'it\\'s forgotten' (for",
        "ROLLBACK PREPARED 'it",
        &format!("SELECT pg_terminate_backend({pid})"),
    ] {
        assert!(words.contains(said), "{said}: {text}");
    }

    client.batch_execute("SELECT pg_switch_wal(); CHECKPOINT").await.unwrap();
    server.kill_hard();
    server.restart().await.unwrap();
    let status = run(&["outbox", "status", "--format", "json"]).lines()[0].clone();
    let held_by = status["sinks"][0]["gaps"]["lowest"][0]["held_by"].as_array().unwrap();
    assert_eq!(held_by.len(), 1, "{status}");
    assert_eq!(held_by[0]["gid"], "it's forgotten", "its virtual id is another now");

    connect(&url).await.batch_execute("ROLLBACK PREPARED 'it''s forgotten'").await.unwrap();
    let gap = run(&["outbox", "status", "--format", "json"]).lines()[0]["sinks"][0]["gaps"]["lowest"][0].clone();
    assert_eq!(gap["held_by"], serde_json::json!([]));
    let client = connect(&url).await;
    let again = relay("files");
    wait_until("the gap is over", async || gaps(&client).await == 0).await;
    again.kill();
}

#[tokio::test]
async fn a_running_relay_owns_its_chunks_by_host_and_process_and_what_a_dead_one_left_is_told() {
    let outbox = Outbox::new().await;
    outbox.write(50).await;
    // Nobody answers there: what it takes up stays with it.
    let mut command =
        outbox.command(&["relay", "--to", "sqs:http://127.0.0.1:1/000000000000/events", "--sink", "away"]);
    command.args(["--chunk", "10", "--lease", "2s"]).stdout(Stdio::null());
    let running = Loader::start(command, outbox.folder.path().join("log"));
    let owner = || outbox.status("away")["chunks"][0]["owner"].clone();
    wait_until("it has chunks", async || {
        let sql = "SELECT count(*) FROM relay_chunks";
        outbox.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 4
    })
    .await;
    let host = nix::unistd::gethostname().map(|host| host.into_string().unwrap());
    assert_eq!(owner(), format!("{}/{}", host.unwrap(), running.process_id()));
    assert!(outbox.run(&["outbox", "status"]).stdout.contains("ends in"));
    running.kill();
    wait_until("the leases are over", async || outbox.run(&["outbox", "status"]).stdout.contains("over for")).await;
    assert_eq!(outbox.status("away")["look_at"], serde_json::json!([]), "not yet");
    outbox.execute("UPDATE relay_chunks SET leased_until = now() - interval '61 seconds'").await;
    let sink = outbox.status("away");
    assert_eq!(sink["look_at"][0]["what"], "chunks of sinks");
    assert!(sink["look_at"][0]["remedy"].as_str().unwrap().contains("--sink away"), "{sink}");
}

#[tokio::test]
async fn every_line_fits_eighty_columns_although_much_is_to_be_told() {
    let outbox = Outbox::new().await;
    outbox.write(40).await;
    outbox.drain("warehouse-of-the-north");
    outbox.write(20).await;
    outbox.refuse("warehouse-of-the-north", &[1, 2, 3], "set_aside").await;
    let holder = outbox.test.client().await;
    holder.batch_execute("SET application_name = 'a loader of the north'; BEGIN").await.unwrap();
    write(&holder, 3).await;
    outbox
        .execute(
            "UPDATE outbox SET created_at = now() - interval '3 days 4 hours';
             UPDATE relay_sinks SET cluster_id = 1,
                    target = 'sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/logins-loaded.fifo';
             INSERT INTO relay_gaps (sink, slot, first_position, last_position, since)
             SELECT sink, 0, 7, 8, now() - interval '1 hour' FROM relay_sinks, generate_series(1, 7);
             INSERT INTO relay_chunks (sink, slot, first_position, last_position, lease, leased_until, owner)
             SELECT sink, 0, 1, 2000000, gen_random_uuid(), now() - n * interval '1 hour',
                    CASE WHEN n > 1 THEN 'relay-7c9d8b6f4-x2v9q/' || n END
             FROM relay_sinks, generate_series(1, 3) n",
        )
        .await;
    for arguments in [&["outbox", "status"][..], &["outbox", "failures", "list"]] {
        let ended = outbox.run(arguments);
        // What cannot be broken is a word of its own: the target.
        let too_long = ended.stdout.lines().filter(|line| line.chars().count() > 80 && !line.contains("sqs:https://"));
        assert_eq!(too_long.collect::<Vec<_>>(), [""; 0], "{}", ended.stdout);
    }
    let text = outbox.run(&["outbox", "status"]).stdout;
    for said in ["and 2 other gaps", "nobody", "set aside", "2,000,000", "3 d 4 h"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let troubles = outbox.status("warehouse-of-the-north")["look_at"].as_array().unwrap().len();
    assert_eq!(troubles, 5, "all but a frontier ahead of the sequence: {text}");
}

#[tokio::test]
async fn a_large_backlog_is_told_by_its_positions_and_quickly() {
    let outbox = Outbox::new().await;
    outbox.drain("files");
    outbox.write(COUNTED).await;
    let exact = outbox.status("files")["backlog"].clone();
    assert_eq!(exact, serde_json::json!({"events": COUNTED, "is_exact": true, "positions": COUNTED}));
    outbox.write(20_000).await;
    let capped = outbox.status("files")["backlog"].clone();
    assert_eq!(capped, serde_json::json!({"events": COUNTED, "is_exact": false, "positions": COUNTED + 20_000}));
    let text = outbox.run(&["outbox", "status"]).stdout;
    assert!(text.contains("more than 100,000 events, at 120,000 positions"), "{text}");
    let database = pool(outbox.test.url(), 1, std::time::Duration::from_secs(20));
    let begun = std::time::Instant::now();
    database.snapshot(async |seen| OutboxStatus::read(seen, None).await).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_check_looks_at_every_sink_and_at_where_a_relay_would_carry_to() {
    let outbox = Outbox::new().await;
    outbox.write(10).await;
    for sink in ["one", "two"] {
        outbox.drain(sink);
    }
    let installation = Installation::new(outbox.test.url()).await;
    let of_sinks =
        ["sinks", "frontiers of sinks", "chunks of sinks", "lag of sinks", "gaps of sinks", "failures of sinks"];
    let checked = installation.check(&[]).await;
    assert!(of_sinks.iter().all(|what| checked.level(what) == "ok"), "{}", checked.stdout);
    assert!(checked.line("sinks").contains("one, two"), "{}", checked.stdout);
    assert!(checked.line("relay's target").contains("is not set"), "{}", checked.stdout);

    let chunk = "INSERT INTO relay_chunks (sink, slot, first_position, last_position, lease, leased_until)
                 VALUES ('two', 0, 1, 3, gen_random_uuid(), now() - interval '2 minutes')";
    let gap = "INSERT INTO relay_gaps (sink, slot, first_position, last_position, since)
               VALUES ('two', 0, 1, 3, now() - interval '2 minutes')";
    for (change, back, what) in [
        (
            "UPDATE relay_sinks SET cluster_id = cluster_id + 1 WHERE sink = 'two'",
            "UPDATE relay_sinks SET cluster_id = cluster_id - 1 WHERE sink = 'two'",
            "sinks",
        ),
        (
            "INSERT INTO relay_marks VALUES ('two', 0, 5000)",
            "DELETE FROM relay_marks WHERE position = 5000",
            "frontiers of sinks",
        ),
        (chunk, "DELETE FROM relay_chunks", "chunks of sinks"),
        (gap, "DELETE FROM relay_gaps", "gaps of sinks"),
        (
            "INSERT INTO outbox (event_id, message_sent_at, created_at) SELECT event_id, now(), now() - interval '1 hour' FROM outbox WHERE position = 1",
            "DELETE FROM outbox WHERE created_at < now() - interval '1 minute'",
            "lag of sinks",
        ),
    ] {
        outbox.execute(change).await;
        let checked = installation.check(&[]).await;
        let warned: Vec<&str> = of_sinks.into_iter().filter(|what| checked.level(what) != "ok").collect();
        assert_eq!(warned, [what], "{}", checked.stdout);
        let line = checked.line(what);
        assert!(line.starts_with("warning") && line.contains("two: ") && line.contains(" → "), "{line}");
        outbox.execute(back).await;
    }
    outbox.refuse("two", &[4], "set_aside").await;
    let checked = installation.check(&[]).await;
    assert!(checked.line("failures of sinks").contains("two: 1 event is set aside"), "{}", checked.stdout);
    assert_eq!(checked.exit_code, 0, "no loader is kept from its work: {}", checked.stdout);

    for (to, level) in [("stdout:", "ok"), ("sqs:http://127.0.0.1:1/000000000000/events", "error")] {
        assert_eq!(installation.check(&["--to", to]).await.level("relay's target"), level, "{to}");
    }
    let own = installation.check(&["--to", &format!("sqs:{}", installation.queue())]).await;
    assert_eq!(own.level("relay's target"), "error");
    assert!(own.line("relay's target").contains("is the queue that the loader reads"), "{}", own.stdout);
}

#[tokio::test]
async fn a_relay_does_not_begin_on_a_standby_nor_where_nothing_can_be_noted() {
    let pair = ReplicatedPair::start().await;
    migrate(&pool(&pair.primary.url(), 1, std::time::Duration::from_secs(10))).await;
    let folder = tempfile::tempdir().unwrap();
    let relay = |url: &str| {
        let mut command = program::command(program::turnstile(), url, folder.path());
        command.args(["relay", "--to", "stdout:", "--until-empty"]).stdin(Stdio::null());
        Ended::of(command.output().unwrap())
    };
    let standby = pair.standby.url();
    wait_until("the standby has the tables", async || {
        let client = connect(&standby).await;
        client.query("SELECT FROM turnstile.relay_sinks", &[]).await.is_ok()
    })
    .await;
    relay(&standby).is_refused_with(&["the server is a standby", "name the primary"]);
    let status = {
        let mut command = program::command(program::turnstile(), &standby, folder.path());
        Ended::of(command.args(["outbox", "status"]).output().unwrap())
    };
    assert_eq!(status.code, 0, "what is only looked at can be seen on a standby: {}", status.stderr);

    let primary = pair.primary.url();
    assert_eq!(relay(&primary).code, 0);
    relay(&crate::check::with_options(&primary, "-c default_transaction_read_only=on"))
        .is_refused_with(&["default_transaction_read_only is on"]);
    let client = connect(&primary).await;
    client.batch_execute("ALTER SYSTEM SET full_page_writes = off").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    wait_until("the setting is in force", async || {
        connect(&primary).await.query_one("SHOW full_page_writes", &[]).await.unwrap().get::<_, &str>(0) == "off"
    })
    .await;
    relay(&primary).is_refused_with(&["full_page_writes is off"]);
}
