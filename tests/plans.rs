//! A replay is a plan: what it is of is settled before anything is loaded, each letter is done once whatever happens, and
//! bodies that are edited stay beside what was delivered.

mod edits;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use turnstile::replay::{Fate, Obstacle, Report, Wanted};
use turnstile::table::plan_id::PlanId;
use turnstile::table::replay_plan_letters;

use crate::grants::granted;
use crate::support::postgres::{TestDatabase, connect};
use crate::support::program;
use crate::support::tables::Tables;
use crate::support::verdicts::login;
use crate::support::wait_until;

/// What the command says, as JSON; it ends like this.
async fn told(tables: &Tables, code: i32, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["dead-letters"].iter().chain(arguments).copied().chain(["--format", "json"]).collect();
    let ended = tables.turnstile(&all).await;
    assert_eq!(ended.code, code, "{ended:?}");
    ended.assert_discreet();
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

async fn plan_of(tables: &Tables, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["replay", "--dry-run"].iter().chain(arguments).copied().collect();
    let ended = tables
        .turnstile(&["dead-letters"].into_iter().chain(all).chain(["--format", "json"]).collect::<Vec<_>>())
        .await;
    let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    said["plan"].to_string()
}

async fn users(tables: &Tables) -> Vec<String> {
    let rows = tables.client.query("SELECT user_id FROM user_logins ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_plan_has_exactly_the_letters_that_were_open_when_it_was_drawn_up() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b", "c"]).await;
    let plan = plan_of(&tables, &["--all"]).await;
    assert_eq!(users(&tables).await, [""; 0], "nothing is loaded before it is run");
    tables.load_once_rejected(&["late"]).await;
    tables.client.execute("UPDATE dead_letters SET status = 'discarded', resolved_at = now(), resolved_by = 'x' WHERE message_id = 'b'", &[]).await.unwrap();

    let report = told(&tables, 0, &["plans", "run", &plan]).await;
    assert_eq!((&report["replayed"], &report["no_longer_open"], &report["left"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(users(&tables).await, ["a", "c"]);
    let shown = told(&tables, 0, &["plans", "show", &plan]).await;
    assert_eq!((&shown["state"], &shown["letters"], &shown["done"]), (&"done".into(), &3.into(), &3.into()));
    tables.assert_promise().await;

    let again = tables.turnstile(&["dead-letters", "plans", "run", &plan]).await;
    again.assert_said(0, &["is done already", "2 of 3 open dead letters replayed"]);
    let again = told(&tables, 0, &["plans", "run", &plan]).await;
    assert_eq!((&again["replayed"], &again["no_longer_open"], &again["left"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(users(&tables).await, ["a", "c"], "it was run once");
}

#[tokio::test]
async fn what_is_foreseen_of_each_letter_is_what_becomes_of_it() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["loads"]).await;
    let broken = login("x", "ios").replace("\"ios\"", "null");
    tables.load_rejected(&[("null", &broken), ("array", "[1]"), ("cut", "{\"ip\": \"203.0.113.7")]).await;
    tables.load_once_rejected(&["unclaimed"]).await;
    tables.client.execute("DELETE FROM processed_messages WHERE message_id = 'unclaimed'", &[]).await.unwrap();
    tables.load_once_rejected(&["old"]).await;
    tables
        .client
        .execute("UPDATE dead_letters SET code = 'older_than_memory' WHERE message_id = 'old'", &[])
        .await
        .unwrap();
    tables.load_once_rejected(&["strange"]).await;
    tables
        .client
        .execute(
            "UPDATE dead_letters SET queue = 'arn:aws:sqs:eu-central-1:1:strange' WHERE message_id = 'strange'",
            &[],
        )
        .await
        .unwrap();
    tables.load_once_rejected(&["moved"]).await;
    let moved = "UPDATE dead_letters SET sealed_body = (SELECT sealed_body FROM dead_letters WHERE message_id = 'old') WHERE message_id = 'moved'";
    tables.client.execute(moved, &[]).await.unwrap();

    let plan = plan_of(&tables, &["--all"]).await;
    let foreseen = "SELECT d.message_id, l.foreseen, coalesce(l.foreseen_detail, ''), coalesce(l.foreseen_place, '')
                    FROM replay_plan_letters l JOIN dead_letters d USING (sent_at, message_hash) ORDER BY 1";
    let rows = tables.client.query(foreseen, &[]).await.unwrap();
    let foreseen: Vec<[&str; 3]> = rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
    let sealed = "it is not what the key of its id sealed for this message";
    let expected = [
        ["array", "rejected", "array_body"],
        ["cut", "rejected", "truncated_json"],
        ["loads", "replayed", ""],
        ["moved", "sealed", sealed],
        ["null", "rejected", "null_field"],
        ["old", "older_than_memory", ""],
        ["strange", "unknown_queue", ""],
        ["unclaimed", "unclaimed", ""],
    ];
    assert_eq!(foreseen, expected);
    let place: &str = rows[4].get(3);
    assert!(place.ends_with("#/device_type"), "{place}");
    let shown = tables.turnstile(&["dead-letters", "plans", "show", &plan, "--entries"]).await;
    shown.assert_said(0, &["open: null_field at /device_type", "(/device_type)", "0 of 8 (0 %)"]);
    shown.assert_discreet();

    let report = told(&tables, 1, &["plans", "run", &plan]).await;
    assert_eq!((&report["replayed"], &report["otherwise_than_foreseen"]), (&1.into(), &json!([])), "{report}");
    let differ = "replay_plan_letters WHERE (became, became_detail) IS DISTINCT FROM (foreseen, foreseen_detail)";
    assert_eq!(tables.count(differ).await, 0);
}

#[tokio::test]
async fn what_becomes_otherwise_than_foreseen_is_told() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b", "c"]).await;
    let plan = plan_of(&tables, &["--all"]).await;
    tables.client.batch_execute("ALTER TABLE user_logins ADD CHECK (user_id <> 'b')").await.unwrap();
    let run = tables.turnstile(&["dead-letters", "plans", "run", &plan]).await;
    let told = [
        "2 of 3 open dead letters replayed",
        "not all became as foreseen",
        "1: foreseen to be replayed, became open: the database refuses its row with SQLSTATE 23514",
    ];
    run.assert_said(1, &told);
    tables.assert_promise().await;
}

#[tokio::test]
async fn several_may_run_one_plan_and_another_of_the_same_letters_and_each_letter_is_loaded_once() {
    let tables = Tables::new().await;
    let users: Vec<String> = (0..450).map(|n| format!("user {n}")).collect();
    tables.load_once_rejected(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let replay = tables.replay();
    let plans = [
        replay.draw_up(&Wanted::default(), None, |_| {}).await.unwrap().id,
        replay.draw_up(&Wanted::default(), None, |_| {}).await.unwrap().id,
    ];
    let run = async |plan: PlanId| tables.replay().run_plan(plan, |_| {}).await.unwrap();
    let (one, same, other) = tokio::join!(run(plans[0]), run(plans[0]), run(plans[1]));
    assert_eq!(one, same, "both say what became of the whole plan");
    assert_eq!((one.left, other.left, one.seen(), other.seen()), (0, 0, 450, 450));
    assert_eq!(one.replayed + other.replayed, 450, "{one:?}, {other:?}");
    assert_eq!(tables.counts().await[1..], [450, 450, 450]);
    assert_eq!(tables.count("operator_actions WHERE action = 'replayed'").await, 450);
    assert_eq!(tables.count("replay_plans WHERE state = 'done' AND done = letters").await, 2);
    tables.assert_promise().await;
}

/// Each row takes this long, so that a chunk is seen under way.
async fn slow_down(tables: &Tables) {
    let slow = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_catalog.pg_sleep(0.005); RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION public.slow()";
    tables.client.batch_execute(slow).await.unwrap();
}

async fn many_letters() -> (TestDatabase, Tables) {
    let test = TestDatabase::empty().await;
    let tables = Tables::at(test.url(), Duration::from_secs(30)).await;
    crate::support::loading::migrate(&tables.database).await;
    let users: Vec<String> = (0..350).map(|n| format!("user {n:03}")).collect();
    tables.load_once_rejected(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    slow_down(&tables).await;
    (test, tables)
}

#[tokio::test]
async fn a_plan_whose_process_is_killed_goes_on_where_it_was() {
    let (_test, tables) = many_letters().await;
    let plan = plan_of(&tables, &["--all"]).await;
    let mut command = program::command(program::turnstile(), &tables.url, &tables.keyring_file());
    command.args(["dead-letters", "plans", "run", &plan]);
    let mut running = Command::from(command).kill_on_drop(true).spawn().unwrap();
    wait_until("a chunk is done", async || tables.count("replay_plans WHERE done > 0").await > 0).await;
    running.kill().await.unwrap();
    wait_until("its session is gone", async || {
        tables.count("pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%user_logins%' AND pid <> pg_backend_pid()").await == 0
    })
    .await;
    let shown = told(&tables, 0, &["plans", "show", &plan]).await;
    assert_eq!(shown["state"], "running");
    let done = shown["done"].as_u64().unwrap();
    assert!((100..350).contains(&done), "it was killed in the middle: {done}");
    assert_eq!(tables.counts().await[1].unsigned_abs(), done, "what is recorded of a plan is what is loaded");

    let report = told(&tables, 0, &["plans", "run", &plan]).await;
    assert_eq!((&report["replayed"], &report["left"]), (&350.into(), &0.into()));
    assert_eq!(tables.counts().await, [350; 4]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_plan_that_is_cancelled_stops_and_what_it_has_done_holds() {
    let (_test, tables) = many_letters().await;
    let plan = plan_of(&tables, &["--all"]).await;
    let run = async { tables.turnstile(&["dead-letters", "plans", "run", &plan]).await };
    let cancel = async {
        wait_until("a chunk is done", async || tables.count("replay_plans WHERE done > 0").await > 0).await;
        told(&tables, 0, &["plans", "cancel", &plan, "--reason", "too many"]).await
    };
    let (ran, cancelled) = tokio::join!(run, cancel);
    assert_eq!((ran.code, &cancelled["state"]), (1, &"cancelled".into()), "{ran:?}");
    assert!(ran.stderr.contains("was cancelled"), "{ran:?}");
    let noted = tables.turnstile(&["dead-letters", "history", "--action", "cancelled"]).await;
    noted.assert_said(0, &["cancelled", "grace", &format!("plan {plan}"), "too many"]);
    let shown = told(&tables, 0, &["plans", "show", &plan]).await;
    let done = shown["done"].as_i64().unwrap();
    assert!((100..350).contains(&done), "{shown}");
    assert_eq!(tables.counts().await, [350, done, 350, done]);
    tables.assert_promise().await;
    for command in [["plans", "cancel", &plan], ["plans", "run", &plan]] {
        let again = tables.turnstile(&["dead-letters"].into_iter().chain(command).collect::<Vec<_>>()).await;
        assert_eq!(again.code, 1, "{again:?}");
    }
}

#[tokio::test]
async fn a_plan_says_all_that_it_was_asked_for_with() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b"]).await;
    let asked = ["replay", "--dry-run", "--code", "invalid_version", "--limit", "1", "--as-delivered"];
    let plan = told(&tables, 0, &asked).await["plan"].to_string();
    let shown = told(&tables, 0, &["plans", "show", &plan]).await;
    assert_eq!(shown["of"], "code invalid_version, limit 1, as delivered");
}

#[tokio::test]
async fn the_groups_say_how_the_last_replays_of_their_code_went() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b"]).await;
    tables.load_rejected(&[("c", "[1]"), ("d", "[2]"), ("e", "[3]")]).await;
    let before = tables.turnstile(&["dead-letters", "list"]).await;
    assert!(!before.stdout.contains("replays:"), "{before:?}");
    tables.replay_all().await;
    tables.replay_all().await;
    let list = tables.turnstile(&["dead-letters", "list", "--format", "csv"]).await;
    let line = |code: &str| list.stdout.lines().find(|line| line.contains(code)).unwrap_or_default().to_owned();
    assert!(line("invalid_version").ends_with(",2,2,,,"), "{list:?}");
    assert!(line("array_body").ends_with(",6,0,,,"), "{list:?}");
    tables.turnstile(&["dead-letters", "list"]).await.assert_said(0, &["2 of 2", "0 of 6", "replays: how many"]);
}

#[tokio::test]
async fn a_plan_says_whose_it_is_and_what_it_is_of() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    assert_eq!(tables.turnstile(&["dead-letters", "plans", "list"]).await.stdout, "no replay was ever drawn up\n");
    let plan = plan_of(&tables, &["--code", "invalid_version", "--by", "ada", "--reason", "the rule is gone"]).await;
    let shown = told(&tables, 0, &["plans", "show", &plan]).await;
    assert_eq!((&shown["of"], &shown["name"]), (&"code invalid_version".into(), &"ada".into()));
    told(&tables, 0, &["plans", "run", &plan, "--by", "grace"]).await;
    let acted = tables
        .client
        .query_one("SELECT person, reason, plan FROM operator_actions WHERE action = 'replayed'", &[])
        .await
        .unwrap();
    assert_eq!(
        (acted.get(0), acted.get(1), acted.get::<_, i64>(2).to_string()),
        ("grace", "the rule is gone", plan.clone())
    );
    let list = tables.turnstile(&["dead-letters", "plans", "list"]).await;
    list.assert_said(0, &["done", "1 of 1 (100 %)", "ada", "code invalid_version"]);
    for unknown in ["99", "0", "x"] {
        let answer = tables.turnstile(&["dead-letters", "plans", "show", unknown]).await;
        assert_ne!(answer.code, 0, "{answer:?}");
        assert!(answer.stderr.contains("plans list"), "{answer:?}");
    }
}

#[tokio::test]
async fn letters_that_match_are_discarded_and_reopened_after_a_question() {
    let tables = Tables::new().await;
    tables.load_rejected(&[("a", "[1]"), ("b", "[2]"), ("c", "not json")]).await;
    let discard = ["dead-letters", "discard", "--code", "array_body", "--reason", "a test of ours"];
    let asked = tables.turnstile(&discard).await;
    assert_eq!(asked.code, 1);
    assert!(asked.stderr.contains("Discard 2 dead letters?") && asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(tables.count("dead_letters WHERE status = 'open'").await, 3);
    let unreasoned = tables.turnstile(&["dead-letters", "discard", "--all", "--yes"]).await;
    assert!(unreasoned.code != 0 && unreasoned.stderr.contains("--reason"), "{unreasoned:?}");
    let meant = tables.turnstile(&["dead-letters", "discard", "--reason", "x"]).await;
    assert!(meant.code != 0 && meant.stderr.contains("nothing says which"), "{meant:?}");

    let done = tables.turnstile(&discard.iter().copied().chain(["--yes"]).collect::<Vec<_>>()).await;
    done.assert_said(0, &["2 dead letters discarded"]);
    assert_eq!(tables.count("dead_letters WHERE status = 'discarded' AND code = 'array_body'").await, 2);
    assert_eq!(tables.count("operator_actions WHERE action = 'discarded' AND reason = 'a test of ours'").await, 2);
    let reopened = told(&tables, 0, &["reopen", "--all", "--yes", "--reason", "it was none"]).await;
    assert_eq!(reopened, json!({"reopened": 2}));
    assert_eq!(tables.count("dead_letters WHERE status = 'open'").await, 3);
    tables.assert_promise().await;
}

#[tokio::test]
async fn two_letters_of_one_login_are_foreseen_as_one_and_an_absorbed_one() {
    use crate::support::verdicts::{QUEUE_ARN, judge_of, message};
    let mut tables = Tables::new().await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    for id in ["m1", "m2", "m3"] {
        let device = if id == "m3" { "android" } else { "ios" };
        let mut verdict = tables.judge.judge(message(id, &login("twin", device), 1));
        verdict.content = turnstile::verdict::Content::Rejected(crate::support::verdicts::invalid_version(), None);
        verdict.identity = None;
        tables.load_batch(turnstile::batch::Sorted::from_verdicts([verdict], 1).batch).await;
    }
    let replay = tables.replay();
    let plan = replay.draw_up(&Wanted::default(), None, |_| {}).await.unwrap();
    let compared =
        tables.database.snapshot(async |seen| replay_plan_letters::compare(seen, plan.id).await).await.unwrap();
    let foreseen = Report::foreseen(&compared);
    let same: u64 = foreseen.replayed + foreseen.absorbed + foreseen.stay_open();
    assert_eq!((foreseen.replayed, same), (1, 3), "{foreseen:?}");
    let report = replay.run_plan(plan.id, |_| {}).await.unwrap();
    assert_eq!(report, foreseen);
    assert!(report.open.keys().all(|obstacle| *obstacle == Obstacle::IdentityTaken), "{report:?}");
    let fates =
        tables.database.snapshot(async |seen| replay_plan_letters::page(seen, plan.id, None, 10).await).await.unwrap();
    assert!(fates.iter().all(|letter| letter.became.as_ref() == Some(&letter.foreseen)), "{fates:?}");
    assert_eq!(fates.iter().filter(|letter| letter.foreseen == Fate::Replayed).count(), 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn no_operator_changes_the_plan_of_another_but_by_running_or_cancelling_it() {
    let (test, roles) = granted().await;
    let tables = Tables::at(test.url(), Duration::from_secs(30)).await;
    tables.load_once_rejected(&["a"]).await;
    plan_of(&tables, &["--all"]).await;
    let operator = connect(&roles.operator_url).await;
    let refused = [
        (
            "INSERT INTO turnstile.replay_plan_letters (plan, sent_at, message_hash, code, foreseen)
             SELECT plan, now(), decode(repeat('00', 32), 'hex'), 'x', 'replayed' FROM turnstile.replay_plans",
            "is made by who draws it up",
        ),
        (
            "SET letters.reason = 'x';
             SELECT turnstile.add_revisions(1, ARRAY[now()], ARRAY[''::bytea], ARRAY['/a'], ARRAY[''::bytea])",
            "only who draws a plan up",
        ),
        ("UPDATE turnstile.replay_plans SET letters = letters + 1", "does not change"),
        ("UPDATE turnstile.replay_plans SET state = 'done', ended_at = now()", "does not become done"),
        ("UPDATE turnstile.replay_plan_letters SET became = 'gone', became_at = now()", "check constraint"),
    ];
    for (statement, why) in refused {
        let error = operator.batch_execute(statement).await.expect_err(statement);
        let said = error.as_db_error().unwrap().message().to_owned();
        assert!(said.contains(why), "{statement}: {said}");
    }
    assert_eq!(tables.count("replay_plan_letters WHERE became IS NULL").await, 1);
    drop(operator);
    roles.drop().await;
}
