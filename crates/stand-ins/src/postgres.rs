//! A throw-away PostgreSQL: a real server of the installed programs, in a temporary folder.
//!
//! [`Postgres::start`] makes a cluster and runs `postgres` itself as a child process. When the value is dropped, the
//! server is stopped and the folder removed. When the process that holds it dies without dropping anything (SIGKILL, a
//! static at the end of a test run), a watchdog does both.
//!
//! The server can be stopped, killed, frozen and copied, to see what its clients make of it.

mod copy;
mod faults;
mod place;
mod standby;
mod watchdog;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, io, thread};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use self::faults::send;
use self::place::{Account, Programs};
use self::watchdog::Watchdog;

/// How long `initdb`, a start and a fast stop may each take: generous, because a loaded machine is no error.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a statement of our own may take: `CREATE DATABASE` copies some megabytes.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// How long an immediate stop may take. `postgres` itself kills what does not obey after 5 s.
const IMMEDIATE_STOP_DEADLINE: Duration = Duration::from_secs(7);

/// How often another port is tried when the server does not start on the first.
const PORTS_TRIED: u32 = 3;

/// The superuser.
const USER: &str = "superuser";

/// The first database.
const DATABASE: &str = "main";

/// How to run the server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Gives up durability for speed (`fsync`, `synchronous_commit` and `full_page_writes` off): committed rows can be
    /// lost when the server is killed. By default PostgreSQL keeps what it acknowledges, as in production.
    pub fast: bool,
    /// More server settings, by name: they win over all others.
    pub settings: Vec<(String, String)>,
    /// The folder of `initdb` and `postgres`; `None`: the first on the `PATH`, else where systems install them.
    pub programs: Option<PathBuf>,
    /// The folder inside which the cluster's own folder is made, such as a small disk; `None`: the system's temporary one.
    pub inside: Option<PathBuf>,
}

/// A server that lives as long as this value, at most.
///
/// It listens on 127.0.0.1 only, and wants a password that is made for it.
pub struct Postgres {
    // Dropped in this order, after the server was stopped: the watchdog's own removal finds nothing left to do.
    folder: TempDir,
    _watchdog: Watchdog,
    server: Option<Child>,
    paused: bool,
    programs: Programs,
    account: Account,
    port: u16,
    password: String,
    options: Options,
}

impl Postgres {
    /// Makes a cluster, starts its server, waits until it answers, and creates the database `main`: about a second.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] says what is missing or what the server's log says. Nothing is left behind.
    pub async fn start(options: Options) -> Result<Self, PostgresError> {
        let password = format!("{:032x}", rand::random::<u128>());
        let mut server = Self::in_a_folder_of_its_own(options, password).await?;
        server.make_cluster().await?;
        server.launch_on_a_free_port().await?;
        server.create_database(DATABASE, None).await?;
        Ok(server)
    }

    async fn in_a_folder_of_its_own(options: Options, password: String) -> Result<Self, PostgresError> {
        let programs = Programs::find(options.programs.as_deref()).await?;
        let account = Account::of_server()?;
        let inside = options.inside.clone().unwrap_or_else(env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("stand-in-postgres-")
            .tempdir_in(inside)
            .map_err(cannot("make a temporary folder"))?;
        account.own(folder.path())?;
        let watchdog = Watchdog::over(folder.path(), &account).map_err(cannot("start the watchdog `sh`"))?;
        Ok(Self {
            folder,
            _watchdog: watchdog,
            server: None,
            paused: false,
            programs,
            account,
            port: 0,
            password,
            options,
        })
    }

    /// The URL of the database `main`, with its password.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The URL of the database of this name, whether it exists or not.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Creates a database, empty or as a copy of `template` (to which nobody may be connected), and returns its URL.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Statement`] if it exists already, or the server does not answer.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<String, PostgresError> {
        // template0 is as PostgreSQL ships it, whatever was put into template1.
        let template = quoted(template.unwrap_or("template0"));
        let statement = format!("CREATE DATABASE {} TEMPLATE {template}", quoted(name));
        let created = execute(&self.config("postgres"), &statement).await;
        created.map_err(|source| PostgresError::Statement { what: "create a database", source })?;
        Ok(self.url_of(name))
    }

    /// Connects to the database `main`; the connection closes when the client is dropped.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Statement`] if the server does not answer.
    pub async fn connect(&self) -> Result<Client, PostgresError> {
        let refused = |error| PostgresError::Statement { what: "connect", source: StatementError::Refused(error) };
        let (client, connection) = self.config(DATABASE).connect(NoTls).await.map_err(refused)?;
        // The client's next call says that the connection has ended.
        tokio::spawn(async { drop(connection.await) });
        Ok(client)
    }

    /// Stops the server as an administrator would (open transactions are rolled back), and keeps its data.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Io`] if it cannot be waited for. One that does not obey within a minute is killed: no error.
    pub async fn stop(&mut self) -> Result<(), PostgresError> {
        self.stop_by(Signal::SIGINT).await
    }

    async fn stop_by(&mut self, signal: Signal) -> Result<(), PostgresError> {
        self.resume();
        let Some(server) = self.server.as_mut() else { return Ok(()) };
        send(server, signal);
        let since = Instant::now();
        while server.try_wait().map_err(cannot("wait for postgres"))?.is_none() {
            if since.elapsed() > DEADLINE {
                self.kill_hard();
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.server = None;
        Ok(())
    }

    /// Stops the server if it runs, and starts it on the same data and the same port; after [`Self::kill_hard`] it
    /// recovers from its log first.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        self.stop().await?;
        let since = Instant::now();
        loop {
            match self.launch().await {
                // Processes of a killed server hold its shared memory until the kernel has cleared them away.
                Err(PostgresError::EndedEarly { .. }) if since.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                launched => return launched,
            }
        }
    }

    /// The process id of the server, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The temporary folder that holds the cluster and its log, `server.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn make_cluster(&self) -> Result<(), PostgresError> {
        let password_file = self.folder().join("password");
        fs::write(&password_file, &self.password).map_err(cannot("write the password file"))?;
        self.account.own(&password_file)?;
        let mut initdb: tokio::process::Command = self.command(&self.programs.initdb).into();
        initdb.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(&password_file).args([
            "--username",
            USER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]);
        let done = self.run_to_its_end(initdb, "run initdb").await;
        fs::remove_file(&password_file).map_err(cannot("remove the password file"))?;
        done
    }

    /// Runs a program that makes the cluster's files.
    async fn run_to_its_end(
        &self,
        mut program: tokio::process::Command,
        what: &'static str,
    ) -> Result<(), PostgresError> {
        let failed = |output| PostgresError::NoCluster { what, output };
        let done = tokio::time::timeout(DEADLINE, program.kill_on_drop(true).output())
            .await
            .map_err(|_| failed(format!("no end within {DEADLINE:?}")))?
            .map_err(cannot(what))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(failed(last_lines(&[done.stdout, done.stderr].concat()))),
        }
    }

    async fn launch_on_a_free_port(&mut self) -> Result<(), PostgresError> {
        let mut tried = 1;
        loop {
            self.port = place::free_port().map_err(cannot("find a free port on 127.0.0.1"))?;
            match self.launch().await {
                // Another process can take the port between our look and the server's.
                Err(PostgresError::EndedEarly { .. }) if tried < PORTS_TRIED => tried += 1,
                launched => return launched,
            }
        }
    }

    async fn launch(&mut self) -> Result<(), PostgresError> {
        let log = self.open_log().map_err(cannot("open the server's log"))?;
        let mut postgres = self.command(&self.programs.postgres);
        postgres.arg("-D").arg(self.data());
        for (name, value) in self.settings() {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        postgres.stdout(log.try_clone().map_err(cannot("open the server's log"))?).stderr(log);
        self.server = Some(postgres.spawn().map_err(cannot("run postgres"))?);
        self.wait_until_it_answers().await
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), PostgresError> {
        let since = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(status) = self.ended().map_err(cannot("wait for postgres"))? {
                return Err(PostgresError::EndedEarly { status, log: self.log_tail() });
            }
            match execute(&self.config("postgres"), "").await {
                Ok(()) => return Ok(()),
                Err(_) if since.elapsed() < DEADLINE => tokio::time::sleep(pause).await,
                Err(_) => return Err(PostgresError::NoAnswer { log: self.log_tail() }),
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// The exit status of a server that has ended; it is forgotten then.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.server.as_mut().map(Child::try_wait).transpose()?.flatten();
        if status.is_some() {
            self.server = None;
        }
        Ok(status)
    }

    /// A command of the server's account that nothing of the caller's PostgreSQL settings reaches.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir(self.folder()).stdin(Stdio::null());
        self.account.run(&mut command);
        command
    }

    fn settings(&self) -> Vec<(String, String)> {
        let fast: &[(&str, &str)] = match self.options.fast {
            true => &[("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")],
            false => &[],
        };
        let mut settings = vec![
            ("port", self.port.to_string()),
            ("listen_addresses", "127.0.0.1".to_owned()),
            // No Unix socket: a long temporary path would not fit into its address.
            ("unix_socket_directories", String::new()),
            // Statements and details hold values, and values are personal data.
            ("log_error_verbosity", "terse".to_owned()),
            ("log_min_error_statement", "panic".to_owned()),
        ];
        settings.extend(fast.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        settings.chain(self.options.settings.iter().cloned()).collect()
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).password(&self.password).dbname(database);
        config
    }

    fn data(&self) -> PathBuf {
        self.folder().join(watchdog::DATA)
    }

    fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.folder().join("server.log"))
    }

    fn log_tail(&self) -> String {
        last_lines(&fs::read(self.folder().join("server.log")).unwrap_or_default())
    }
}

impl Drop for Postgres {
    /// Stops the server at once and removes its folder. Blocks the thread: some 50 ms, at most 7 s.
    fn drop(&mut self) {
        self.resume();
        let Some(server) = self.server.as_mut() else { return };
        // Not SIGKILL: `postgres` would leave its shared memory behind for ever.
        send(server, Signal::SIGQUIT);
        let since = Instant::now();
        while let Ok(None) = server.try_wait() {
            if since.elapsed() > IMMEDIATE_STOP_DEADLINE {
                return self.kill_hard();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres(port {}, {})", self.port, self.folder().display())
    }
}

/// Why there is no throw-away PostgreSQL, or why it did not obey.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// PostgreSQL is not installed, or not where it was looked for.
    #[error("found no PostgreSQL server: no `initdb` and `postgres` in {searched}")]
    ProgramsMissing {
        /// The folders that were searched.
        searched: String,
    },
    /// PostgreSQL refuses to run as root, and there is nobody to run it as.
    #[error("PostgreSQL does not run as root, and there is no user `postgres` to run it as")]
    NoAccount,
    /// A call to the system failed.
    #[error("cannot {what}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The cluster could not be made.
    #[error("cannot {what}. The end of what it said:\n{output}")]
    NoCluster {
        /// What was attempted.
        what: &'static str,
        /// The end of what the program said.
        output: String,
    },
    /// The server ended instead of answering.
    #[error("postgres ended ({status}) while it started. The end of its log:\n{log}")]
    EndedEarly {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The server runs and does not answer.
    #[error("postgres did not answer within {DEADLINE:?}. The end of its log:\n{log}")]
    NoAnswer {
        /// The end of its log.
        log: String,
    },
    /// The server refused a statement of ours.
    #[error("cannot {what}")]
    Statement {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        source: StatementError,
    },
}

impl PostgresError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ProgramsMissing { .. } => {
                "install it (Debian and Ubuntu: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; macOS: \
                 `brew install postgresql@17`)"
            }
            Self::NoAccount => "run this as another user, or make that one (`useradd --system postgres`)",
            Self::Io { .. } | Self::NoCluster { .. } => {
                "set TMPDIR to a folder with some hundred MiB free, which this user (for root: the user `postgres`) may enter and \
                 write to"
            }
            Self::EndedEarly { .. } | Self::NoAnswer { .. } | Self::Statement { .. } => {
                "look at what the server says; a full disk and too little memory are the usual causes"
            }
        }
    }
}

/// Why a statement to a server did not run.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The server refused it, or cannot be reached.
    #[error("the server refused it, or cannot be reached")]
    Refused(#[from] tokio_postgres::Error),
    /// It did not answer.
    #[error("no answer within {STATEMENT_DEADLINE:?}")]
    Deadline,
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> PostgresError {
    move |source| PostgresError::Io { what, source }
}

/// Runs a statement on a connection of its own, which is closed on return: nobody is left connected to a template.
async fn execute(config: &Config, statement: &str) -> Result<(), StatementError> {
    let on_own_connection = async {
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let executed = client.batch_execute(statement).await;
        drop(client);
        // Why a connection ended says nothing that the statement's own result does not say.
        drop(connection.await);
        Ok(executed?)
    };
    tokio::time::timeout(STATEMENT_DEADLINE, on_own_connection).await.map_err(|_| StatementError::Deadline)?
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_cannot_end_its_quotes() {
        assert_eq!(quoted(r#"a"; DROP"#), r#""a""; DROP""#);
    }
}
