//! A link that is cut while the server waits for the rows of a COPY, for so long that this side has forgotten the
//! connection: nobody will ever tell the server, which holds what the transaction has claimed.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid};
use stand_ins::postgres::Postgres;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use turnstile::database::{Database, DatabaseError};
use turnstile::retry::Class;

use super::{RECOVERY, pool};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::proxy::server_of;
use crate::support::server::installed;
use crate::support::wait_until;

/// The variable that tells [`in_a_network_of_its_own`] that it was started by us.
const INSIDE: &str = "TURNSTILE_TEST_CUT";

/// Leaves this out where no network can be made.
const LEFT_OUT: &str = "TURNSTILE_TEST_NO_NETWORK";

const CUTS: u64 = 2;

/// Starts the test again, in a network that is its own to cut. That takes root, or `sudo` without a password.
#[test]
fn what_a_connection_has_claimed_whose_link_was_cut_in_a_copy_is_free_soon_after() {
    if std::env::var_os(LEFT_OUT).is_some() {
        eprintln!("left out, as {LEFT_OUT} says: nothing is proven about a link that is cut in a COPY");
        return;
    }
    let mut unshare = as_root("unshare");
    unshare.arg("--net");
    if !Uid::effective().is_root() {
        unshare.args(["--setuid", &Uid::effective().to_string(), "--setgid", &Gid::effective().to_string()]);
    }
    unshare.args(["--", "env", &format!("{INSIDE}=1")]);
    // Where sudo keeps what it is given, it keeps these from it.
    let kept = ["PATH", "TURNSTILE_PG_BIN"].map(|name| (name, std::env::var_os(name)));
    for (name, value) in kept {
        unshare.args(value.map(|value| [OsStr::new(name), &value].join(OsStr::new("="))));
    }
    let name = concat!(module_path!(), "::in_a_network_of_its_own").split_once("::").unwrap().1;
    unshare.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--ignored", "--nocapture"]);
    let ended = unshare.output().expect("unshare, of util-linux");
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        ended.status.success() && said.contains("test result: ok. 1 passed"),
        "a network of its own needs root and `ip`; set {LEFT_OUT}=1 to leave this out: {said}"
    );
    survived(
        "link cut in the middle of a COPY, and forgotten on this side",
        CUTS,
        "cargo test --test main network::cut",
    );
}

/// The other process of the test above.
#[tokio::test]
#[ignore = "is started by what_a_connection_has_claimed_whose_link_was_cut_in_a_copy_is_free_soon_after"]
async fn in_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    link("up");
    let server = Postgres::start(installed()).await.unwrap();
    let tables = "CREATE TABLE claims (n bigint PRIMARY KEY); CREATE TABLE rows (n int)";
    connect(&server.url()).await.batch_execute(tables).await.unwrap();
    let (_, port) = server_of(&server.url());
    let database = pool(&server.url(), 2);
    for cut in 1..=CUTS {
        let cutting = Cutting::default();
        let error = claim_and_copy(&database, cut.cast_signed(), &cutting).await.unwrap_err();
        assert_eq!(cutting.cuts.load(Ordering::SeqCst), 1);
        assert_eq!(error.class(), Class::Contended, "{error}");
        wait_until("this side has forgotten the connection", async || connections_to(port) == 0).await;
        link("up");
        let healed = Instant::now();
        wait_until("another may claim the same", async || claim(&database, cut.cast_signed()).await.is_ok()).await;
        assert!(healed.elapsed() < RECOVERY, "{:?}", healed.elapsed());
    }
}

async fn claim_and_copy(database: &Database, n: i64, cutting: &Cutting) -> Result<(), DatabaseError> {
    let transaction = database.begin().await?;
    transaction.execute("claim", "INSERT INTO public.claims VALUES ($1)", &[&n]).await?;
    transaction.copy("copy", "COPY public.rows (n) FROM STDIN BINARY", &[Type::INT4], &[cutting]).await?;
    transaction.commit().await
}

async fn claim(database: &Database, n: i64) -> Result<(), DatabaseError> {
    let transaction = database.begin().await?;
    transaction.execute("claim", "INSERT INTO public.claims VALUES ($1)", &[&n]).await?;
    transaction.commit().await
}

/// A value that cuts the link: it is asked for when the server has said that the rows may come.
#[derive(Debug, Default)]
struct Cutting {
    cuts: AtomicU64,
}

impl ToSql for Cutting {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // Else the server would send that word again, and be told by this side, once it is back, that it knows of nothing.
        while !all_is_acknowledged() {
            std::thread::sleep(Duration::from_millis(1));
        }
        link("down");
        self.cuts.fetch_add(1, Ordering::SeqCst);
        1_i32.to_sql(&Type::INT4, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The only link of this network.
fn link(state: &str) {
    let set = as_root("ip").args(["link", "set", "lo", state]).status();
    assert!(set.expect("`ip`, of iproute2").success());
}

/// How many sockets of this network have this port at their other end and are not closed on both sides.
fn connections_to(port: u16) -> usize {
    const TIME_WAIT: &str = "06";
    let their_end = format!(":{port:04X}");
    sockets().iter().filter(|socket| socket[2].ends_with(&their_end) && socket[3] != TIME_WAIT).count()
}

/// Whether no socket of this network waits for its other end to say that it has got something.
fn all_is_acknowledged() -> bool {
    sockets().iter().all(|socket| socket[4].starts_with("00000000:"))
}

/// Of each socket of this network the columns that proc_net_tcp(5) names: number, both ends, state, queues.
fn sockets() -> Vec<Vec<String>> {
    let listed = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    listed.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn as_root(program: &str) -> Command {
    if Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}
