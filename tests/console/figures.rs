//! What the console serves for Prometheus: at an address of its own, by the rights of a viewer, and never old as new.

use std::time::Duration;

use turnstile::console::{Collector, Console, ConsoleSettings};
use turnstile::database::address::DatabaseAddress;
use turnstile::database::{Database, DatabaseSettings};
use turnstile::metrics::{Code, Deed, GrowingTable, LetterStatus, Peer, Query, Route, StatusClass};

use super::world::{Browser, World};
use crate::alerts::promtool_reads;
use crate::support::program::{Loader, command};
use crate::support::served::{figures_at, health_at, page_at};
use crate::support::wait_until;

/// The settings of a console whose database is that of the world, by a role of this kind.
fn settings(world: &World, kind: &str) -> ConsoleSettings {
    let address = DatabaseAddress::parse(&world.tables.url).unwrap();
    let address = address.as_role(&world.roles.login(kind), Some("sesame"));
    ConsoleSettings::new(DatabaseSettings::new(address, 1, Duration::from_secs(5)))
}

fn collector(world: &World, kind: &str) -> (Console, Collector) {
    let settings = settings(world, kind);
    let database = Database::new(&settings.database).unwrap();
    let console = Console::new(settings, None).unwrap();
    let collector = Collector::new(&console, database);
    (console, collector)
}

fn open(code: &'static str) -> (LetterStatus, Code) {
    (LetterStatus::Open, Code(code))
}

#[tokio::test]
async fn a_viewer_may_collect_every_figure_of_the_tables() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a", "b"]).await;
    let (console, mut collector) = collector(&world, "viewer");
    collector.collect().await;
    let seen = console.metrics().snapshot();
    for query in Query::ALL {
        assert_eq!(seen.collection_errors.get((*query,)), 0, "{query:?}");
        assert!(seen.collected_at.get((*query,)).is_some(), "{query:?}");
    }
    assert_eq!(seen.letters.get(open("invalid_version")), Some(2.0));
    assert_eq!(
        seen.letters.get((LetterStatus::Discarded, Code("invalid_version"))),
        Some(0.0),
        "it is known to be none"
    );
    assert!(seen.oldest_open.get(()).is_some());
    for table in GrowingTable::ALL {
        assert!(seen.table_bytes.get((*table,)).is_some_and(|bytes| bytes > 0.0), "{table:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn actions_are_counted_once_each_wherever_they_are_done() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a", "b"]).await;
    let browser = world.signed_in("operator").await;
    let discard = async |id: &str| {
        let path = format!("/dead-letters/{}/discard", world.hash(id).await);
        assert_eq!(browser.post(&path, &[("once", id), ("reason", "a test")]).await.status, 303);
    };
    discard("a").await;
    let (console, mut collector) = collector(&world, "viewer");
    let discarded = || console.metrics().snapshot().deeds.get((Deed::Discarded,));
    collector.collect().await;
    assert_eq!(discarded(), 0, "that was before the process began");
    discard("b").await;
    for expected in [0, 1, 1] {
        collector.collect().await;
        assert_eq!(discarded(), expected);
    }
    world.end().await;
}

#[tokio::test]
async fn a_query_that_fails_is_counted_and_hides_no_other() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    // A revealer sees dead letters, and not the outbox.
    let (console, mut collector) = collector(&world, "revealer");
    collector.collect().await;
    let seen = console.metrics().snapshot();
    assert_eq!((seen.collection_errors.get((Query::Outbox,)), seen.collected_at.get((Query::Outbox,))), (1, None));
    assert_eq!((seen.letters.get(open("invalid_version")), seen.outbox_backlog.get(())), (Some(1.0), None));
    assert_eq!(seen.away_since.get((Peer::Database,)), None, "a database that refuses is there");
    world.end().await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_no_path_becomes_a_label() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("viewer").await;
    let hash = world.hash("a").await;
    for path in [format!("/dead-letters/{hash}"), format!("/dead-letters/{hash}.json"), format!("/nothing/{hash}")] {
        browser.get(&path).await;
    }
    browser.post(&format!("/dead-letters/{hash}/discard"), &[("once", "1"), ("reason", "a test")]).await;
    let seen = world.console.metrics().snapshot();
    let counted = |route, class| seen.requests.get((route, class));
    assert_eq!(counted(Route::Letter, StatusClass::Answered), 2);
    assert_eq!(counted(Route::Other, StatusClass::Refused), 1);
    assert_eq!(counted(Route::ActOnLetters, StatusClass::Refused), 1);
    assert_eq!(seen.request_duration.get((Route::Letter,)).unwrap().count(), 2);
    let build = turnstile::metrics::Build {
        version: String::new(),
        revision: String::new(),
        mask: String::new(),
        identity: String::new(),
    };
    let page = seen.exposition(&build).unwrap();
    assert!(!page.contains(&hash) && !page.contains("nothing"), "{page}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_probes_are_served_at_their_own_address_and_pages_at_theirs() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let folder = tempfile::tempdir().unwrap();
    let url = world.tables.url.replacen("://", &format!("://{}:sesame@", world.roles.login("viewer")), 1);
    let url = match url.split_once("sesame@").map(|(before, after)| (before, after.rsplit_once('@'))) {
        Some((before, Some((_, host)))) => format!("{before}sesame@{host}"),
        _ => url,
    };
    let keyring = crate::support::program::write_keyring(folder.path());
    let mut console = command(crate::support::program::turnstile(), &url, &keyring);
    console.args(["console", "--listen", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]);
    let console = Loader::start(console, folder.path().join("log"));
    let address = console.serves_at().await;
    let letters = "turnstile_dead_letters{code=\"invalid_version\",status=\"open\"}";
    let letters_else = "turnstile_dead_letters{status=\"open\",code=\"invalid_version\"}";
    wait_until("it has asked the tables", async || {
        let figures = figures_at(address).await;
        figures.get(letters).or(figures.get(letters_else)) == Some(&1.0)
    })
    .await;
    promtool_reads(&page_at(address).await);
    assert_eq!(health_at(address, &["--ready"]).0, Some(0), "{}", console.said());
    let pages = Browser::at(address).get("/").await;
    assert_eq!(pages.status, 404, "no page of the console is there");
    let figures = Browser::at(world.address).get("/metrics").await;
    assert!([303, 404].contains(&figures.status), "no figures are among the pages: {figures:?}");
    assert!(!figures.body.contains("turnstile_"), "{figures:?}");
    console.terminate();
    assert!(console.ended().await.success());
    world.end().await;
}
