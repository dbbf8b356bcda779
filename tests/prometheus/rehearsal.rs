//! The rehearsal of docs/OPERATIONS.md, typed as it stands there.

use std::fs;

use super::free_address;
use crate::support::page::{self, Shell, Step};
use crate::support::server::{self, installed};
use crate::support::site::Site;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");

/// Where the page's processes listen.
const ADDRESSES: [&str; 3] = ["127.0.0.1:9464", "127.0.0.1:9465", "127.0.0.1:9090"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rehearsal_shows_what_the_page_says() {
    let mut database = server::start(installed()).await;
    let site = Site::at(&database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(&site, folder.path());
    let steps = steps(&fs::read_to_string(PAGE).unwrap());
    assert!(steps.len() > 8, "{}", steps.len());
    for Step { typed, shown } in steps {
        shell.types(&typed, &shown, &mut database).await;
    }
}

/// The blocks of code of the page's section, with addresses at which nobody listens yet.
fn steps(page: &str) -> Vec<Step> {
    let section = page.split_once("\n## A rehearsal\n").expect("the section").1.split("\n## ").next().unwrap();
    let section =
        ADDRESSES.iter().fold(section.to_owned(), |text, address| text.replace(address, &free_address().to_string()));
    page::steps(&section)
}
