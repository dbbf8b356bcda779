//! An import that is killed at any edge of its path loses nothing and doubles nothing, and the next one brings it to its end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use super::drained::World;
use super::{Between, Tables};
use crate::support::program;
use crate::support::verdicts::login;

/// SIGABRT, by which a process dies at its edge.
const ABORTED: i32 = 6;

fn import(tables: &Tables, arguments: &[&str], failpoint: &str) -> Command {
    let mut command = program::command(program::turnstile(), &tables.url, &tables.keyring_file());
    command.args(["dead-letters", "import", "--visibility-timeout", "1s"]).args(arguments);
    command.env("TURNSTILE_FAILPOINT", failpoint).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs an import that is to die, and says whether it did.
async fn dies(mut command: Command) -> bool {
    spawn_blocking(move || command.status().unwrap().signal() == Some(ABORTED)).await.unwrap()
}

fn edges(steps: &[&str]) -> Vec<String> {
    let of = |step: &&str| ["before", "underway", "after"].map(|side| format!("{step}.{side}"));
    steps.iter().flat_map(of).collect()
}

#[tokio::test]
async fn an_import_from_a_queue_may_die_at_every_edge() {
    let world = World::new().await;
    let (url, mut kills, mut sent) = (world.url(), 0, 0);
    for edge in edges(&["receive", "import", "commit", "delete"]) {
        // Messages of the rounds before may still be in the queue. One in ten is not a login.
        let body = |n: u32| if n.is_multiple_of(10) { format!("[{n}]") } else { login(&format!("canary {n}"), "ios") };
        world.redrive((sent..sent + 10).map(body)).await;
        sent += 10;
        kills += u64::from(dies(import(&world.tables, &["--from-queue", &url], &format!("{edge}:1"))).await);
        world.tables.assert_promise().await;
        world.all_come_again().await;
        // What is deleted is recorded.
        let [recorded, rows, letters, _] = world.tables.counts().await;
        assert_eq!((recorded, rows), (letters, 0), "{edge}");
        let left = i64::try_from(world.left_dead()).unwrap();
        assert!(recorded + left >= i64::from(sent), "{edge}: something is lost");
    }
    let rest = world.tables.turnstile(&["dead-letters", "import", "--from-queue", &url]).await;
    assert_eq!(rest.code, 0, "{rest:?}");
    assert_eq!((world.left_dead(), world.tables.counts().await), (0, [120, 0, 120, 0]));
    assert_eq!(world.tables.count("operator_actions WHERE action = 'imported'").await, 120);
    let replayed = world.tables.replay_all().await;
    assert_eq!((replayed.replayed, replayed.stay_open()), (108, 12));
    world.tables.assert_promise().await;
    println!("{kills} imports from a queue were killed");
    // What is to die under way may be done before.
    assert!(kills >= 9, "only {kills} died");
}

#[tokio::test]
async fn an_import_from_a_file_may_die_at_every_edge() {
    let between = Between::of(450).await;
    let file = between.file();
    let (file, mut kills) = (file.to_str().unwrap(), 0);
    for edge in edges(&["import", "commit"]) {
        for visit in [1, 2, 3] {
            kills += u64::from(dies(import(&between.to, &[file], &format!("{edge}:{visit}"))).await);
            between.to.assert_promise().await;
            let [recorded, rows, letters, _] = between.to.counts().await;
            assert_eq!((recorded, rows, recorded % 50), (letters, 0, 0), "{edge}: chunks are whole");
        }
    }
    let rest = between.to.turnstile(&["dead-letters", "import", file]).await;
    assert_eq!(rest.code, 0, "{rest:?}");
    assert_eq!(between.to.counts().await, [450, 0, 450, 0]);
    assert_eq!(between.to.count("operator_actions WHERE action = 'imported'").await, 450);
    assert_eq!(between.to.replay_all().await.replayed, 450);
    between.to.assert_promise().await;
    println!("{kills} imports from a file were killed");
    assert_eq!(kills, 18);
}
