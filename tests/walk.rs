//! The walk of docs/DEAD_LETTERS.md, typed as it stands there.

use std::fs;

use crate::support::page::{Shell, steps};
use crate::support::server::{self, installed};
use crate::support::site::Site;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/DEAD_LETTERS.md");

/// What the bodies hold, and no answer and no log may.
const PRIVATE: [&str; 2] = ["203.0.113.7", "2.3-beta"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_shows_what_the_page_says_and_nothing_is_lost() {
    let database = server::start(installed()).await;
    let site = Site::at(&database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(&site, folder.path());
    let steps = steps(&fs::read_to_string(PAGE).unwrap());
    assert!(steps.len() >= 10, "{}", steps.len());
    for step in &steps {
        for line in shell.types_once(step) {
            assert!(PRIVATE.iter().all(|private| !line.contains(private)), "{line}");
        }
    }
}
