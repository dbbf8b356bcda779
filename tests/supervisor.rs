//! What a supervisor such as systemd is told of a loader, and the unit that starts one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::support::postgres::TestDatabase;
use crate::support::program::{Loader, turnstile};
use crate::support::site::Site;
use crate::support::wait_until;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/turnstile.service");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_hears_that_a_loader_prepares_is_ready_loads_lives_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut supervisor = Supervisor::at(UnixDatagram::bind(&path).unwrap());
    let watched = Watched::start(path.to_str().unwrap()).await;
    supervisor.hears("READY=1", |word| word == "READY=1").await;
    assert_eq!(&supervisor.heard[..2], ["STATUS=preparing: looking at the database and the queue", LONGER]);
    watched.site.fill(25, 0);
    supervisor.hears("what is loaded", |word| word.starts_with("STATUS=") && word.contains("; 25 loaded")).await;
    supervisor.hears("that it lives", |word| word == "WATCHDOG=1").await;
    watched.loader.terminate();
    assert!(watched.loader.ended().await.success());
    supervisor.hears("that it ends", |word| word == "STOPPING=1").await;
    supervisor.hears("that it takes its time", |word| word == LONGER).await;
    let (before, after) = supervisor.heard.split_at(supervisor.place_of("STOPPING=1"));
    assert!(after[1].starts_with("STATUS=ending: ") && after[2] == LONGER, "{after:?}");
    let loading = &before[supervisor.place_of("READY=1")..];
    assert!(!loading.iter().any(|word| word == LONGER), "neither a start nor an end: {loading:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_whose_socket_has_no_file_is_told_too_and_one_that_never_listens_delays_nothing() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    let name = format!("turnstile-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut supervisor = Supervisor::at(UnixDatagram::bind_addr(&address).unwrap());
    let watched = Watched::start(&format!("@{name}")).await;
    supervisor.hears("READY=1", |word| word == "READY=1").await;
    // From now on nobody reads, and the socket fills: a hundred words a second.
    watched.site.fill(40, 0);
    let client = watched.site.client().await;
    let mut rounds = 0;
    wait_until("its socket is full, and all is loaded", async || {
        rounds += 1;
        let rows: i64 = client.query_one("SELECT count(*) FROM user_logins", &[]).await.unwrap().get(0);
        rounds > 200 && rows == 40
    })
    .await;
    watched.loader.terminate();
    assert!(watched.loader.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_hears_of_a_relay_that_it_prepares_is_ready_carries_lives_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut supervisor = Supervisor::at(UnixDatagram::bind(&path).unwrap());
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let mut command = site.command(&["relay", "--to", "stdout:"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "90000").stdout(std::process::Stdio::null());
    let relay = site.start(command, "log");
    supervisor.hears("READY=1", |word| word == "READY=1").await;
    assert_eq!(&supervisor.heard[..2], ["STATUS=preparing: looking at the database and the sink", LONGER]);
    let write = "INSERT INTO turnstile.outbox (event_id, message_sent_at)
                 SELECT sha256(n::text::bytea), now() FROM generate_series(1, 25) n";
    test.client().await.batch_execute(write).await.unwrap();
    supervisor.hears("what is carried", |word| word.starts_with("STATUS=") && word.contains("; 25 carried")).await;
    supervisor.hears("that it lives", |word| word == "WATCHDOG=1").await;
    relay.terminate();
    assert!(relay.ended().await.success());
    supervisor.hears("that it ends", |word| word == "STOPPING=1").await;
    supervisor.hears("what is in hand", |word| word == "STATUS=ending: 0 events in hand").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_whose_database_is_away_is_not_called_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut supervisor = Supervisor::at(UnixDatagram::bind(&path).unwrap());
    let site = Site::without_tables("postgres://nobody@127.0.0.1:1/nothing?sslmode=disable").await;
    let mut command = site.command(&["run", "--wait-for-database", "1s"]);
    command.env("NOTIFY_SOCKET", &path);
    let loader = site.start(command, "log");
    assert!(!loader.ended().await.success());
    supervisor.hears("that it prepares", |word| word == LONGER).await;
    assert!(!supervisor.heard.iter().any(|word| word == "READY=1"), "{:?}", supervisor.heard);
}

#[cfg(target_os = "linux")]
#[test]
fn the_unit_starts_what_is_there_and_lets_it_do_nothing_else() {
    if std::env::var_os("TURNSTILE_TEST_NO_SYSTEMD").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("turnstile.service");
    let text = fs::read_to_string(UNIT).unwrap();
    let there = text.replace("/usr/local/bin/turnstile", turnstile().to_str().unwrap());
    assert_ne!(text, there);
    fs::write(&unit, there).unwrap();
    let path = unit.to_str().unwrap();
    systemd_analyze(&["verify", "--man=no", path]);
    // In tenths of its scale from 0 to 10.
    systemd_analyze(&["security", "--offline=true", "--threshold=15", path]);
}

#[test]
fn the_unit_asks_for_what_the_loader_tells_and_waits_longer_than_it_takes_to_end() {
    let settings: BTreeMap<String, String> = fs::read_to_string(UNIT)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    assert_eq!((&*settings["Type"], &*settings["NotifyAccess"]), ("notify", "main"));
    let default = turnstile::config::rows::settings().find(|row| row.flag() == Some("shutdown-timeout")).unwrap();
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap();
    assert!(seconds(&settings["TimeoutStopSec"]) > seconds(&default.default().text().unwrap()));
}

/// What a start or an end says each time: that it takes 15 s more.
const LONGER: &str = "EXTEND_TIMEOUT_USEC=15000000";

#[cfg(target_os = "linux")]
fn systemd_analyze(arguments: &[&str]) {
    let output = Command::new("systemd-analyze").args(arguments).output().unwrap_or_else(|error| {
        panic!("systemd-analyze cannot be run ({error}): install systemd, or set TURNSTILE_TEST_NO_SYSTEMD=1")
    });
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && !said.contains("Unknown key"), "{arguments:?}: {said}");
}

/// A loader that was started by a supervisor, whose watchdog wants to hear every 30 ms.
struct Watched {
    site: Site,
    loader: Loader,
    _test: TestDatabase,
}

impl Watched {
    async fn start(socket: &str) -> Self {
        let test = TestDatabase::with_tables().await;
        let site = Site::without_tables(test.url()).await;
        let mut command = site.command(&["run", "--wait", "2s"]);
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "90000");
        let loader = site.start(command, "log");
        Self { site, loader, _test: test }
    }
}

/// Who hears what is said.
struct Supervisor {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Supervisor {
    fn at(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// Listens until it hears this.
    async fn hears(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let mut word = [0; 4096];
        wait_until(what, async || {
            while let Ok(length) = self.socket.recv(&mut word) {
                self.heard.push(String::from_utf8(word[..length].to_vec()).unwrap());
                if is_it(self.heard.last().unwrap()) {
                    return true;
                }
            }
            false
        })
        .await;
    }

    fn place_of(&self, word: &str) -> usize {
        self.heard.iter().position(|heard| heard == word).unwrap_or_else(|| panic!("no {word}: {:?}", self.heard))
    }
}
