//! A PostgreSQL on loan: a throw-away server of the installed programs, for `demo` and the tests.
//!
//! [`OnLoan::start`] makes a cluster in a temporary folder and runs `postgres` itself as a child process. When the
//! value is dropped, the server is stopped and the folder removed; when the process that holds it dies without
//! dropping anything (SIGKILL, a static at the end of a test run), a watchdog does both. Nothing in `run` starts one.

mod faults;
mod loan;
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
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};

use self::faults::send;
pub use self::loan::{Loan, Named};
use self::place::{Account, Programs};
use self::watchdog::Watchdog;
use super::address::{AddressError, DatabaseAddress, TlsError};

/// How long `initdb`, a start and a fast stop may each take: generous, because a loaded machine is no error.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a statement of our own may take: `CREATE DATABASE` copies some megabytes.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// How long an immediate stop may take. `postgres` itself kills what does not obey after 5 s.
const IMMEDIATE_STOP_DEADLINE: Duration = Duration::from_secs(7);

/// How often another port is tried when the server does not start on the first.
const PORTS_TRIED: u32 = 3;

/// The superuser of a cluster on loan, and the name of its first database.
const NAME: &str = "turnstile";

/// How to run the server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Gives up durability for speed (`fsync`, `synchronous_commit` and `full_page_writes` off): committed rows can be
    /// lost when the server is killed. By default PostgreSQL keeps what it acknowledges, as in production.
    pub fast: bool,
    /// More server settings, by name: they win over all others.
    pub settings: Vec<(String, String)>,
    /// The folder of `initdb` and `postgres`; none: the variable `TURNSTILE_PG_BIN`, else where systems install them.
    pub programs: Option<PathBuf>,
    /// The folder inside which the cluster's own folder is made, such as a small disk; none: the system's temporary one.
    pub inside: Option<PathBuf>,
}

/// A server that lives as long as this value, at most.
///
/// It listens on 127.0.0.1 only, and wants a password that is made for it.
pub struct OnLoan {
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

impl OnLoan {
    /// Makes a cluster, starts its server, waits until it answers, and creates the database `turnstile`: about a second.
    ///
    /// # Errors
    ///
    /// [`OnLoanError`] says what is missing or what the server's log says. Nothing is left behind.
    pub async fn start(options: Options) -> Result<Self, OnLoanError> {
        let password = format!("{:032x}", rand::random::<u128>());
        let mut loan = Self::in_a_folder_of_its_own(options, password).await?;
        loan.make_cluster().await?;
        loan.launch_on_a_free_port().await?;
        loan.create_database(NAME, None).await?;
        Ok(loan)
    }

    async fn in_a_folder_of_its_own(options: Options, password: String) -> Result<Self, OnLoanError> {
        let programs = Programs::find(options.programs.as_deref()).await?;
        let account = Account::of_server()?;
        let inside = options.inside.clone().unwrap_or_else(env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("turnstile-postgres-")
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

    /// The URL of the database `turnstile`, with its password.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The URL of the database of this name, whether it exists or not.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Creates a database, empty or as a copy of `template` (to which nobody may be connected), and returns its URL.
    ///
    /// # Errors
    ///
    /// [`OnLoanError::Statement`] if it exists already, or the server does not answer.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<String, OnLoanError> {
        create_database(&self.maintenance(), name, template).await?;
        Ok(self.url_of(name))
    }

    /// Stops the server as an administrator would (open transactions are rolled back), and keeps its data.
    ///
    /// # Errors
    ///
    /// [`OnLoanError::Io`] if it cannot be waited for. One that does not obey within a minute is killed: no error.
    pub async fn stop(&mut self) -> Result<(), OnLoanError> {
        self.stop_by(Signal::SIGINT).await
    }

    async fn stop_by(&mut self, signal: Signal) -> Result<(), OnLoanError> {
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
    pub async fn restart(&mut self) -> Result<(), OnLoanError> {
        self.stop().await?;
        let since = Instant::now();
        loop {
            match self.launch().await {
                // Processes of a killed server hold its shared memory until the kernel has cleared them away.
                Err(OnLoanError::EndedEarly { .. }) if since.elapsed() < Duration::from_secs(10) => {
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

    async fn make_cluster(&self) -> Result<(), OnLoanError> {
        let password_file = self.folder().join("password");
        fs::write(&password_file, &self.password).map_err(cannot("write the password file"))?;
        self.account.own(&password_file)?;
        let mut initdb: tokio::process::Command = self.command(&self.programs.initdb).into();
        initdb.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(&password_file).args([
            "--username",
            NAME,
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
    ) -> Result<(), OnLoanError> {
        let failed = |output| OnLoanError::NoCluster { what, output };
        let done = tokio::time::timeout(DEADLINE, program.kill_on_drop(true).output())
            .await
            .map_err(|_| failed(format!("no end within {DEADLINE:?}")))?
            .map_err(cannot(what))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(failed(last_lines(&[done.stdout, done.stderr].concat()))),
        }
    }

    async fn launch_on_a_free_port(&mut self) -> Result<(), OnLoanError> {
        let mut tried = 1;
        loop {
            self.port = place::free_port().map_err(cannot("find a free port on 127.0.0.1"))?;
            match self.launch().await {
                // Another process can take the port between our look and the server's.
                Err(OnLoanError::EndedEarly { .. }) if tried < PORTS_TRIED => tried += 1,
                launched => return launched,
            }
        }
    }

    async fn launch(&mut self) -> Result<(), OnLoanError> {
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

    async fn wait_until_it_answers(&mut self) -> Result<(), OnLoanError> {
        let since = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(status) = self.ended().map_err(cannot("wait for postgres"))? {
                return Err(OnLoanError::EndedEarly { status, log: self.log_tail() });
            }
            match execute(&self.maintenance(), "").await {
                Ok(()) => return Ok(()),
                Err(_) if since.elapsed() < DEADLINE => tokio::time::sleep(pause).await,
                Err(_) => return Err(OnLoanError::NoAnswer { log: self.log_tail() }),
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

    fn maintenance(&self) -> DatabaseAddress {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(NAME).password(&self.password).dbname("postgres");
        DatabaseAddress::in_clear(config)
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

impl Drop for OnLoan {
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

impl fmt::Debug for OnLoan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnLoan(port {}, {})", self.port, self.folder().display())
    }
}

/// Why there is no PostgreSQL on loan.
#[derive(Debug, thiserror::Error)]
pub enum OnLoanError {
    /// PostgreSQL is not installed, or not where it was looked for.
    #[error(
        "found no PostgreSQL server: no `initdb` and `postgres` in {searched}. Install it (Debian and Ubuntu: `apt-get \
         install postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql@17`), or name \
         the folder of its programs in TURNSTILE_PG_BIN, or a running server in DATABASE_URL"
    )]
    ProgramsMissing {
        /// The folders that were searched.
        searched: String,
    },
    /// PostgreSQL refuses to run as root, and there is nobody to run it as.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres` to run it as: run this as another user, or \
         make that one (`useradd --system postgres`)"
    )]
    NoAccount,
    /// `DATABASE_URL` cannot be read. The value is not shown: it holds a password.
    #[error("DATABASE_URL: {0}; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, or unset it")]
    NotAUrl(AddressError),
    /// A call to the system failed.
    #[error("cannot {what}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The cluster could not be made.
    #[error(
        "cannot {what}; as root, the user `postgres` must be able to enter the temporary folder (TMPDIR). It said:\n\
         {output}"
    )]
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

/// Why a statement to a server did not run.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The certificates that the way to it needs cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server refused it, or cannot be reached.
    #[error("the server refused it, or cannot be reached")]
    Refused(#[from] tokio_postgres::Error),
    /// It did not answer.
    #[error("no answer within {STATEMENT_DEADLINE:?}")]
    Deadline,
}

/// Connects to a database, secured as its URL says; the connection closes when the client is dropped.
///
/// # Errors
///
/// [`OnLoanError::NotAUrl`]; [`OnLoanError::Statement`] if the server refuses or cannot be reached.
pub async fn connect(url: &str) -> Result<Client, OnLoanError> {
    let address = DatabaseAddress::parse(url).map_err(OnLoanError::NotAUrl)?;
    let connected = connect_at(&address).await;
    connected.map(|(client, _)| client).map_err(|source| OnLoanError::Statement { what: "connect", source })
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> OnLoanError {
    move |source| OnLoanError::Io { what, source }
}

async fn create_database(address: &DatabaseAddress, name: &str, template: Option<&str>) -> Result<(), OnLoanError> {
    // template0, because somebody else's server may have put things into template1.
    let template = quoted(template.unwrap_or("template0"));
    let statement = format!("CREATE DATABASE {} TEMPLATE {template}", quoted(name));
    execute(address, &statement).await.map_err(|source| OnLoanError::Statement { what: "create a database", source })
}

async fn drop_database(address: &DatabaseAddress, name: &str) -> Result<(), OnLoanError> {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
    execute(address, &statement).await.map_err(|source| OnLoanError::Statement { what: "drop a database", source })
}

/// Runs a statement on a connection of its own, which is closed on return: nobody is left connected to a template.
async fn execute(address: &DatabaseAddress, statement: &str) -> Result<(), StatementError> {
    let on_own_connection = async {
        let (client, connection) = connect_at(address).await?;
        let executed = client.batch_execute(statement).await;
        drop(client);
        // Why a connection ended says nothing that the statement's own result does not say.
        drop(connection.await);
        Ok(executed?)
    };
    tokio::time::timeout(STATEMENT_DEADLINE, on_own_connection).await.map_err(|_| StatementError::Deadline)?
}

async fn connect_at(address: &DatabaseAddress) -> Result<(Client, JoinHandle<()>), StatementError> {
    let (client, connection) = address.config.connect(address.tls()?).await?;
    // The client's next call says that the connection has ended.
    Ok((client, tokio::spawn(async { drop(connection.await) })))
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
