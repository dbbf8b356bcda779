//! The proxies of the fault tests do what those tests take them to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::support::postgres::{TestDatabase, connect};
use crate::support::proxy::{Cut, Direction, Ending, Kind, Moment, NetworkProxy, PostgresProxy, Side, Trouble};
use crate::support::{PATIENCE, wait_until};

/// A database with a table of numbers, and a proxy before it.
struct Place {
    proxy: PostgresProxy,
    direct: Client,
    _database: TestDatabase,
}

impl Place {
    async fn new() -> Self {
        let database = TestDatabase::empty().await;
        let direct = database.client().await;
        direct.batch_execute("CREATE TABLE numbers (n integer)").await.unwrap();
        Self { proxy: PostgresProxy::before(database.url()).await, direct, _database: database }
    }

    async fn client(&self) -> Client {
        connect(self.proxy.url()).await
    }

    async fn numbers(&self) -> i64 {
        self.direct.query_one("SELECT count(*) FROM numbers", &[]).await.unwrap().get(0)
    }

    /// How many other connections the server has.
    async fn connections(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        self.direct.query_one(sql, &[]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn a_connection_passes_untouched_until_a_plan_names_it() {
    let place = Place::new().await;
    let client = place.client().await;
    client.execute("INSERT INTO numbers SELECT generate_series(1, $1::integer)", &[&10_000]).await.unwrap();
    let rows = client.query("SELECT n, repeat('x', 100) FROM numbers", &[]).await.unwrap();
    assert_eq!((rows.len(), place.proxy.requests(), place.proxy.strikes()), (10_000, 0, 0));
    assert_eq!((place.proxy.accepted(), place.proxy.open_connections()), (1, 1));
    drop(client);
    wait_until("the connection is closed", async || place.proxy.open_connections() == 0).await;
}

#[tokio::test]
async fn a_commit_that_is_cut_holds_exactly_if_all_of_it_reached_the_server() {
    let place = Place::new().await;
    let mut held = 0;
    let later = Duration::from_millis(100);
    for side in [Side::Both, Side::Client(later), Side::Server(later)] {
        for ending in [Ending::Close, Ending::Reset] {
            for moment in [Moment::Before, Moment::Middle, Moment::Forwarded, Moment::Answered] {
                let cut = Cut { moment, side, ending };
                let client = place.client().await;
                place.proxy.arm(move |asked| (asked.kind == Kind::Commit).then_some(cut));
                client.batch_execute("BEGIN; INSERT INTO numbers VALUES (1)").await.unwrap();
                client.simple_query("COMMIT; SELECT 1").await.expect_err("no answer may come through");
                assert_eq!(place.proxy.strikes_by_cut().into_iter().collect::<Vec<_>>(), [((Kind::Commit, cut), 1)]);
                wait_until("nothing of it is left", async || place.connections().await == 0).await;
                let numbers = place.numbers().await;
                match moment {
                    Moment::Before | Moment::Middle => assert_eq!(numbers, held, "{cut:?}"),
                    // A reset may overtake what the server has not read.
                    Moment::Forwarded if ending == Ending::Reset => assert!(numbers - held <= 1, "{cut:?}"),
                    Moment::Forwarded | Moment::Answered => assert_eq!(numbers, held + 1, "{cut:?}"),
                }
                held = numbers;
            }
        }
    }
    assert_eq!(place.proxy.open_connections(), 0);
}

#[tokio::test]
async fn the_nth_request_is_cut_and_statements_in_one_go_count_one_by_one() {
    let place = Place::new().await;
    let statements = async |client: &Client| {
        let insert = client.prepare("INSERT INTO numbers VALUES ($1)").await?;
        let (one, two, three): (&i32, &i32, &i32) = (&1, &2, &3);
        futures_util::future::try_join3(
            client.execute(&insert, &[one]),
            client.execute(&insert, &[two]),
            client.execute(&insert, &[three]),
        )
        .await
    };
    // Opening, preparing, three inserts.
    for moment in [Moment::Before, Moment::Middle, Moment::Answered] {
        for nth in 1..=6 {
            place.direct.batch_execute("TRUNCATE numbers").await.unwrap();
            place.proxy.arm_for_nth(nth, Cut::at(moment));
            let done = match crate::support::postgres::try_connect(place.proxy.url()).await {
                Ok(client) => statements(&client).await.is_ok(),
                Err(_) => false,
            };
            let reached = nth.saturating_sub(if moment == Moment::Answered { 2 } else { 3 }).min(3);
            assert_eq!((done, place.proxy.strikes()), (nth == 6, u64::from(nth < 6)), "{moment:?} {nth}");
            assert_eq!(place.proxy.requests(), nth.min(5), "{moment:?} {nth}");
            wait_until("the server is done", async || place.connections().await == 0).await;
            assert_eq!(place.numbers().await, i64::try_from(reached).unwrap(), "{moment:?} {nth}");
        }
    }
}

#[tokio::test]
async fn a_copy_is_cut_in_the_middle_of_its_rows_and_passes_when_nothing_is_cut() {
    let place = Place::new().await;
    let copy = async |client: &Client| {
        let sink = client.copy_in("COPY numbers FROM STDIN").await?;
        futures_util::pin_mut!(sink);
        for n in 0..20_000 {
            sink.send(Bytes::from(format!("{n}\n"))).await?;
        }
        sink.finish().await
    };
    for moment in [Moment::Before, Moment::Middle, Moment::Forwarded] {
        let client = place.client().await;
        let cut = Cut::at(moment);
        let mut seen = 0;
        place.proxy.arm(move |asked| {
            let is_data = asked.kind == Kind::CopyData;
            seen += u64::from(is_data);
            (is_data && seen == 3).then_some(cut)
        });
        copy(&client).await.expect_err("a cut COPY cannot succeed");
        assert_eq!(place.proxy.strikes_by_cut().into_iter().collect::<Vec<_>>(), [((Kind::CopyData, cut), 1)]);
        wait_until("nothing of it is left", async || place.connections().await == 0).await;
        assert_eq!(place.numbers().await, 0);
    }
    place.proxy.disarm();
    let client = place.client().await;
    assert_eq!(copy(&client).await.unwrap(), 20_000);
    let one: i32 = client.query_one("SELECT 1", &[]).await.unwrap().get(0);
    assert_eq!((one, place.numbers().await), (1, 20_000));

    // After its last row: done, and nobody hears of it.
    let cut = Cut::at(Moment::Answered);
    place.proxy.arm(move |asked| (asked.kind == Kind::Sync).then_some(cut));
    copy(&client).await.expect_err("the answer is cut off");
    assert_eq!((place.proxy.strikes(), place.numbers().await), (1, 40_000));
}

/// A proxy before a server that says everything again.
struct Echo {
    proxy: NetworkProxy,
    /// Told when the server sees a connection end.
    ended: Arc<Notify>,
}

impl Echo {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(Notify::new());
        let ending = ended.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let ending = ending.clone();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                    ending.notify_one();
                });
            }
        });
        Self { proxy: NetworkProxy::before(("127.0.0.1".to_owned(), port)).await, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }
}

/// Says something, and gives what comes back.
async fn say(stream: &mut TcpStream, something: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(something).await?;
    let mut heard = vec![0; something.len()];
    stream.read_exact(&mut heard).await?;
    Ok(heard)
}

async fn assert_heard(stream: &mut TcpStream) {
    assert_eq!(tokio::time::timeout(PATIENCE, say(stream, b"hello")).await.unwrap().unwrap(), b"hello");
}

/// Neither an answer nor a close comes within a moment.
async fn assert_silent(stream: &mut TcpStream) {
    tokio::time::timeout(Duration::from_millis(200), say(stream, b"hello")).await.expect_err("silence was due");
}

#[tokio::test]
async fn latency_delays_and_slices_cut_up_and_neither_changes_a_byte() {
    let echo = Echo::new().await;
    let mut stream = echo.connect().await;
    assert_heard(&mut stream).await;
    assert_eq!(echo.proxy.strikes(), 0);
    let delay = Duration::from_millis(50);
    echo.proxy.trouble(Trouble::Latency { delay, jitter: delay });
    let since = Instant::now();
    assert_heard(&mut stream).await;
    assert!(since.elapsed() >= delay * 2 && echo.proxy.strikes() == 2);

    echo.proxy.trouble(Trouble::Slices { most: 3 });
    let before = echo.proxy.strikes();
    let something: Vec<u8> = (0..2_000_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(say(&mut stream, &something).await.unwrap(), something);
    assert!(echo.proxy.strikes() > before);
}

#[tokio::test]
async fn a_reset_ends_open_connections_and_those_that_come_until_it_heals() {
    let echo = Echo::new().await;
    let mut open = echo.connect().await;
    assert_heard(&mut open).await;
    echo.proxy.trouble(Trouble::Reset);
    let mut comes = echo.connect().await;
    for stream in [&mut open, &mut comes] {
        say(stream, b"hello").await.expect_err("it is reset");
    }
    assert_eq!(echo.proxy.strikes(), 2);
    wait_until("both are closed", async || echo.proxy.open_connections() == 0).await;
    echo.proxy.heal();
    assert_heard(&mut echo.connect().await).await;
}

#[tokio::test]
async fn a_half_open_connection_stays_lost_and_others_come_back_when_it_heals() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let echo = Echo::new().await;
        let mut open = echo.connect().await;
        assert_heard(&mut open).await;
        echo.proxy.trouble(Trouble::HalfOpen(direction));
        wait_until("it has struck", async || echo.proxy.strikes() == 1).await;
        assert_silent(&mut open).await;
        echo.proxy.heal();
        assert_silent(&mut open).await;
        assert_heard(&mut echo.connect().await).await;
        drop(open);
        wait_until("its close is passed on", async || echo.proxy.open_connections() == 0).await;
        echo.ended.notified().await;
    }
}

#[tokio::test]
async fn a_black_hole_says_nothing_and_gives_everything_back_when_it_heals() {
    let echo = Echo::new().await;
    let mut open = echo.connect().await;
    assert_heard(&mut open).await;
    echo.proxy.trouble(Trouble::BlackHole);
    let mut comes = echo.connect().await;
    for stream in [&mut open, &mut comes] {
        assert_silent(stream).await;
    }
    assert_eq!(echo.proxy.strikes(), 2);
    echo.proxy.heal();
    for stream in [&mut open, &mut comes] {
        let mut late = [0; 5];
        stream.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"hello");
    }
}

#[tokio::test]
async fn a_slow_close_is_known_to_the_server_at_once_and_to_the_client_late() {
    let echo = Echo::new().await;
    let mut open = echo.connect().await;
    assert_heard(&mut open).await;
    let since = Instant::now();
    let after = Duration::from_secs(2);
    echo.proxy.trouble(Trouble::SlowClose(after));
    echo.ended.notified().await;
    assert_silent(&mut open).await;
    assert!(matches!(open.read(&mut [0; 5]).await, Ok(0) | Err(_)));
    assert!(since.elapsed() >= after);
    assert_eq!((echo.proxy.strikes(), echo.proxy.accepted()), (1, 1));
}
