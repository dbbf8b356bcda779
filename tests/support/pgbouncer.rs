//! A PgBouncer of the installed program, where there is one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_postgres::Config;

use super::proxy::server_of;
use super::wait_until;

/// The first that keeps the prepared statements of its clients in transaction mode.
pub(crate) const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// On a port and in a folder of its own.
pub(crate) struct PgBouncer {
    /// The database, by way of the pooler.
    pub(crate) url: String,
    program: PathBuf,
    port: u16,
    folder: TempDir,
    running: Option<Running>,
}

impl PgBouncer {
    /// The installed program.
    pub(crate) fn installed() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps it where only root looks.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let mut programs = folders.map(|folder| folder.join("pgbouncer"));
        programs.find(|program| program.is_file())
    }

    /// Starts one before the database of this URL.
    pub(crate) async fn before(program: &Path, url: &str, mode: &str) -> Self {
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
    pub(crate) async fn start(&mut self) {
        self.running = Some(Running::start(&self.program, &self.folder.path().join("settings")));
        wait_until("PgBouncer listens", async || TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()).await;
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
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
pub(crate) fn version(program: &Path) -> (u32, u32) {
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
