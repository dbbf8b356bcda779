//! PgBouncer between the loaders and PostgreSQL: what works behind it, works; what does not, says so and loses nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_postgres::{Client, Config};
use turnstile::database::address::DatabaseAddress;
use turnstile::database::on_loan::{OnLoan, Options};
use turnstile::database::{Database, DatabaseSettings};
use turnstile::retry::Class;

use crate::postgresql::{RUNS_AGAIN, SETTINGS, Siege, times};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::proxy::server_of;
use crate::support::site::Site;
use crate::support::{PATIENCE, wait_until};

/// What repeats the evidence of this module.
const COMMAND: &str = "cargo test --test main poolers::";

/// Leaves these tests out where there is no PgBouncer.
const LEFT_OUT: &str = "TURNSTILE_TEST_NO_POOLER";

/// The first that keeps the prepared statements of its clients in transaction mode.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// How often each fault strikes.
fn strikes() -> u64 {
    times("TURNSTILE_TEST_POOLER_STRIKES", 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_work_behind_a_pooler_in_session_mode_and_survive_its_faults() {
    let Some(program) = PgBouncer::program() else { return };
    let server = OnLoan::start(Options::default()).await.unwrap();
    survive_faults("session", PgBouncer::before(&program, &server.url(), "session").await, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_work_behind_a_pooler_in_transaction_mode_where_it_keeps_their_statements() {
    let Some(program) = PgBouncer::program() else { return };
    if version(&program) < KEEPS_STATEMENTS {
        return refused_and_nothing_lost(&program).await;
    }
    let server = OnLoan::start(Options::default()).await.unwrap();
    survive_faults("transaction", PgBouncer::before(&program, &server.url(), "transaction").await, &server).await;
}

/// Kills the pooler and the connections behind it, in full swing.
async fn survive_faults(mode: &str, mut pooler: PgBouncer, server: &OnLoan) {
    // Tables are made past the pooler: the lock of a migration belongs to its session.
    drop(Site::at(&server.url()).await);
    let siege = Siege::begin(&pooler.url, 2, &[]).await;
    let administrator = connect(&server.url()).await;
    for _ in 0..strikes() {
        siege.in_full_swing().await;
        pooler.kill();
        siege.hears(RUNS_AGAIN, 1).await;
        pooler.start().await;
        siege.is_relieved().await;
        wait_until("a connection behind the pooler is ended", async || {
            siege.feed();
            end_one(&administrator).await
        })
        .await;
    }
    siege.end().await;
    survived(&format!("PgBouncer killed, pool_mode={mode}"), strikes(), COMMAND);
    survived(&format!("connection behind PgBouncer terminated, pool_mode={mode}"), strikes(), COMMAND);
}

/// Ends a connection of the loaders in the middle of a transaction, if there is one.
async fn end_one(administrator: &Client) -> bool {
    let sql = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
               FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'turnstile' AND state <> 'idle' LIMIT 1) AS v";
    administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
}

/// A pooler that mixes up prepared statements: the loaders stop and say why, and another finds all that they left.
async fn refused_and_nothing_lost(program: &Path) {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let pooler = PgBouncer::before(program, &server.url(), "transaction").await;
    let site = Site::at(&server.url()).await;
    site.fill(400, 10);
    let start = |name: &str| {
        let mut command = site.command(&["run", "--until-empty"]);
        command.envs(SETTINGS).env("TURNSTILE_LANES", "4").env("DATABASE_URL", &pooler.url);
        site.start(command, name)
    };
    let mut said = String::new();
    for mut loader in ["first", "second"].map(start) {
        let status = loader.ends_within(PATIENCE).await.expect("an end");
        said += &loader.said();
        assert_eq!(status.code(), Some(1), "{said}");
    }
    assert!(said.contains("use its session mode") && said.contains("max_prepared_statements"), "{said}");
    let direct = site.start(site.command(&["run", "--until-empty", "--retry-delay", "0s", "--wait", "1s"]), "direct");
    assert!(direct.ended().await.success());
    site.assert_promise().await;
    survived("PgBouncer that mixes up prepared statements, pool_mode=transaction", 1, COMMAND);
}

#[tokio::test]
async fn a_connection_with_the_prepared_statements_of_another_process_is_refused_before_one_of_them_runs() {
    let Some(program) = PgBouncer::program() else { return };
    let server = OnLoan::start(Options { fast: true, ..Options::default() }).await.unwrap();
    for mode in ["session", "transaction"] {
        let pooler = PgBouncer::before(&program, &server.url(), mode).await;
        let other = connect(&pooler.url).await;
        let statement = other.prepare("SELECT 'of another' /* turnstile: 0123456789abcdef */").await.unwrap();
        // Whoever comes next gets the same connection, which is the only idle one, or in session mode another.
        let begun = pool(&pooler.url).begin().await;
        match mode == "session" || version(&program) >= KEEPS_STATEMENTS {
            true => begun.unwrap().rollback().await.unwrap(),
            false => {
                let error = begun.unwrap_err();
                assert_eq!(error.class(), Class::OfTheSystem);
                let said = error.to_string();
                assert!(said.contains("session mode") && said.contains("max_prepared_statements"), "{said}");
            }
        }
        drop((statement, other));
    }
}

#[tokio::test]
async fn deadlines_hold_behind_a_pooler_and_stay_with_their_transaction() {
    let Some(program) = PgBouncer::program() else { return };
    let server = OnLoan::start(Options { fast: true, ..Options::default() }).await.unwrap();
    for mode in ["session", "transaction"] {
        let pooler = PgBouncer::before(&program, &server.url(), mode).await;
        let database = pool(&pooler.url);
        let transaction = database.begin().await.unwrap();
        for (name, value) in [("statement_timeout", "9s"), ("lock_timeout", "5s"), ("client_min_messages", "warning")] {
            let ask = format!("SELECT pg_catalog.current_setting('{name}')");
            let row = transaction.query_one("ask", &ask, &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), value, "{name} with pool_mode={mode}");
        }
        transaction.rollback().await.unwrap();
        let others = connect(&pooler.url).await;
        let row = others.query_one("SELECT current_setting('statement_timeout')", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "0", "what the next client of the pooler gets");
    }
}

fn pool(url: &str) -> Database {
    let address = DatabaseAddress::parse(url).unwrap();
    Database::new(&DatabaseSettings::new(address, 1, Duration::from_secs(10))).unwrap()
}

/// A PgBouncer of the installed program, on a port and in a folder of its own.
struct PgBouncer {
    /// The database, by way of the pooler.
    url: String,
    program: PathBuf,
    port: u16,
    folder: TempDir,
    running: Option<Running>,
}

impl PgBouncer {
    /// The installed program. Without one the test fails, unless `TURNSTILE_TEST_NO_POOLER` says that it shall be left out.
    fn program() -> Option<PathBuf> {
        if std::env::var_os(LEFT_OUT).is_some() {
            eprintln!("left out, as {LEFT_OUT} says: nothing is proven about poolers");
            return None;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps it where only root looks.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let found = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file());
        assert!(
            found.is_some(),
            "PgBouncer is missing: run scripts/setup pgbouncer, or set {LEFT_OUT}=1 to leave this out"
        );
        found
    }

    /// Starts one before the database of this URL.
    async fn before(program: &Path, url: &str, mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let port = free_port();
        let config: Config = url.parse().unwrap();
        let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
        let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
        let users = folder.path().join("users");
        fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        let (host, server_port) = server_of(url);
        let keeps_statements = match version(program) >= KEEPS_STATEMENTS {
            true => "max_prepared_statements = 200",
            false => "",
        };
        let settings = format!(
            "[databases]
             {database} = host={host} port={server_port}
             [pgbouncer]
             listen_addr = 127.0.0.1
             listen_port = {port}
             unix_socket_dir =
             auth_type = trust
             auth_file = {}
             pool_mode = {mode}
             default_pool_size = 6
             server_login_retry = 1
             {keeps_statements}\n",
            users.display()
        );
        let settings: String = settings.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
        fs::write(folder.path().join("settings"), settings).unwrap();
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        let mut pooler = Self { url, program: program.to_owned(), port, folder, running: None };
        pooler.start().await;
        pooler
    }

    /// Starts it, and waits until it takes connections.
    async fn start(&mut self) {
        self.running = Some(Running::start(&self.program, &self.folder.path().join("settings")));
        wait_until("PgBouncer listens", async || TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()).await;
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        drop(self.running.take());
    }
}

/// Killed when dropped, or when the process that holds it ends in whatever way.
struct Running(Child);

impl Running {
    fn start(program: &Path, settings: &Path) -> Self {
        // The shell reads from us, and comes to the end of that when we are gone.
        let script = r#""$0" --quiet "$1" & echo started; read -r _; kill -9 $!; wait"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(program).arg(settings);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if Uid::effective().is_root() {
            // It refuses to run as root.
            let postgres = User::from_name("postgres").unwrap().expect("the user postgres");
            shell.uid(postgres.uid.as_raw()).gid(postgres.gid.as_raw());
        }
        let mut shell = shell.spawn().unwrap();
        let said = BufReader::new(shell.stdout.take().unwrap()).lines().next();
        assert_eq!(said.unwrap().unwrap(), "started");
        Self(shell)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// Major and minor version.
fn version(program: &Path) -> (u32, u32) {
    let said = Command::new(program).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let version = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Below the range from which systems give out ports: while the pooler is down, nobody else may come by this one.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(free).unwrap()
}
