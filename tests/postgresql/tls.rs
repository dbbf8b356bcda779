//! Once these settings have led to the server, what keeps the next connection from being made passes; before, it is
//! a mistake in them, and said as one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::unistd::{Uid, User, chown};
use stand_ins::postgres::{Options, Postgres};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use turnstile::database::{Database, DatabaseError};
use turnstile::retry::Class;

use super::COMMAND;
use crate::support::evidence::survived;
use crate::support::postgres::{connect, pool};
use crate::support::proxy::server_of;
use crate::support::server::{self, installed};

/// What a server that cannot serve answers to the request for TLS, and then.
const TROUBLES: [(&str, &[u8]); 4] = [
    ("no process for the connection", b"Ecould not fork new process for connection\n\0"),
    ("no TLS", b"N"),
    // A fatal alert, internal_error, of TLS 1.2's record layer.
    ("a TLS alert", b"S\x15\x03\x03\x00\x02\x02\x50"),
    ("no TLS behind the word that there is", b"SE\0\0\0\x21SFATAL\0C57P03\0Mstarting up\0\0"),
];

#[tokio::test]
async fn what_keeps_a_connection_from_being_made_passes_once_one_was_made() {
    let server = TlsServer::start().await;
    let gate = Gate::before(&server.url).await;
    for (trouble, answer) in TROUBLES {
        gate.answers(Some(answer));
        let database = server.by_way_of(&gate);
        let error = connecting(&database).await.unwrap_err();
        assert_eq!(error.class(), Class::OfTheSystem, "{trouble} at first: {error}");

        gate.answers(None);
        connecting(&database).await.unwrap();
        gate.answers(Some(answer));
        let error = connecting(&database).await.unwrap_err();
        assert_eq!(error.class(), Class::Transient, "{trouble} later: {error}");
        gate.answers(None);
        connecting(&database).await.unwrap();
    }
    survived("connection refused behind TLS", TROUBLES.len() as u64, COMMAND);
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_had_it() {
    let server = TlsServer::start().await;
    let gate = Gate::before(&server.url).await;
    gate.answers(Some(b"N"));
    let database = server.by_way_of(&gate);
    let first = connecting(&database).await.unwrap_err();
    assert!(first.to_string().ends_with("did not offer TLS"), "{first}");
    let remedy = first.remedy();
    assert!(remedy.contains("set ssl = on") && remedy.contains("sslmode=disable"), "{remedy}");
    gate.answers(None);
    connecting(&database).await.unwrap();
    gate.answers(Some(b"N"));
    let later = connecting(&database).await.unwrap_err().to_string();
    assert!(later.contains("did not offer TLS, which it did before"), "{later}");
}

#[tokio::test]
async fn what_only_a_person_can_mend_stops_the_line_after_a_connection_too() {
    let server = TlsServer::start().await;
    let gate = Gate::before(&server.url).await;
    let database = server.by_way_of(&gate);
    connecting(&database).await.unwrap();
    let administrator = connect(&server.postgres.url()).await;

    administrator.batch_execute("ALTER ROLE loader PASSWORD 'changed'").await.unwrap();
    let password = connecting(&database).await.unwrap_err();
    assert_eq!((password.sqlstate(), password.class()), (Some("28P01"), Class::OfTheSystem));
    administrator.batch_execute("ALTER ROLE loader PASSWORD 'x'").await.unwrap();

    administrator.batch_execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC").await.unwrap();
    let privilege = connecting(&database).await.unwrap_err();
    assert_eq!((privilege.sqlstate(), privilege.class()), (Some("42501"), Class::OfTheSystem));
    administrator.batch_execute("GRANT CONNECT ON DATABASE shop TO PUBLIC").await.unwrap();

    make_certificate(server.folder.path());
    administrator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The server takes the signal when it can, so some connections may come first.
    let certificate = loop {
        if let Err(error) = connecting(&database).await {
            break error;
        }
    };
    assert_eq!(certificate.class(), Class::OfTheSystem, "{certificate}");
    assert!(certificate.to_string().contains("certificate"), "{certificate}");
    let drop = "DROP DATABASE shop WITH (FORCE)";
    administrator.batch_execute(drop).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_gone_stops_the_line_after_a_connection_too() {
    let server = TlsServer::start().await;
    let gate = Gate::before(&server.url).await;
    let database = server.by_way_of(&gate);
    connecting(&database).await.unwrap();
    connect(&server.postgres.url()).await.batch_execute("DROP DATABASE shop WITH (FORCE)").await.unwrap();
    let gone = connecting(&database).await.unwrap_err();
    assert_eq!((gone.sqlstate(), gone.class()), (Some("3D000"), Class::OfTheSystem));
}

/// A connection of its own for a transaction, and how that went.
pub(super) async fn connecting(database: &Database) -> Result<(), DatabaseError> {
    // Dropped in the middle, it takes its connection with it.
    database.begin().await.map(drop)
}

/// A throw-away server that offers TLS, and the role `loader` with the database `shop` in it.
pub(super) struct TlsServer {
    pub(super) postgres: Postgres,
    pub(super) url: String,
    /// With `server.crt`, which is its own authority, as `root.crt`.
    pub(super) folder: TempDir,
}

impl TlsServer {
    async fn start() -> Self {
        Self::start_with(|_| Vec::new()).await
    }

    /// The same with more settings, which may name files in the server's folder.
    pub(super) async fn start_with(more: impl FnOnce(&Path) -> Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        make_certificate(folder.path());
        std::fs::copy(folder.path().join("server.crt"), folder.path().join("root.crt")).unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let settings =
            [("ssl", "on".into()), ("ssl_cert_file", file("server.crt")), ("ssl_key_file", file("server.key"))];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into_iter();
        let settings = settings.chain(more(folder.path())).collect();
        let postgres = server::start(Options { fast: true, settings, ..installed() }).await;
        let administrator = connect(&postgres.url()).await;
        for sql in ["CREATE ROLE loader LOGIN PASSWORD 'x'", "CREATE DATABASE shop"] {
            administrator.batch_execute(sql).await.unwrap();
        }
        let (host, port) = server_of(&postgres.url());
        Self { postgres, url: format!("postgres://loader:x@{host}:{port}/shop"), folder }
    }

    fn by_way_of(&self, gate: &Gate) -> Database {
        let root = self.folder.path().join("root.crt");
        let url = format!(
            "postgres://loader:x@localhost:{}/shop?sslmode=verify-full&sslrootcert={}",
            gate.port,
            root.display()
        );
        pool(&url, 1, Duration::from_secs(10))
    }
}

/// Makes a new key and certificate for `localhost`, and gives them to the user that runs the server.
fn make_certificate(folder: &Path) {
    let extensions = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    make_self_signed(folder, "server", "localhost", &extensions);
    give_to_server(folder);
}

/// Makes a key and a certificate that is its own authority, NAME.key and NAME.crt.
pub(super) fn make_self_signed(folder: &Path, name: &str, subject: &str, extensions: &[&str]) {
    let (subject, key, certificate) = (format!("/CN={subject}"), format!("{name}.key"), format!("{name}.crt"));
    let mut arguments = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    arguments.extend(["-days", "1", "-subj", &subject, "-keyout", &key, "-out", &certificate]);
    arguments.extend(extensions);
    openssl(folder, &arguments);
}

/// Runs openssl in a folder.
pub(super) fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Lets the user that runs the server read its key, and nobody else.
pub(super) fn give_to_server(folder: &Path) {
    std::fs::set_permissions(folder.join("server.key"), PermissionsExt::from_mode(0o600)).unwrap();
    if Uid::effective().is_root() {
        let postgres = User::from_name("postgres").unwrap().expect("the user postgres");
        chown(&folder.join("server.key"), Some(postgres.uid), Some(postgres.gid)).unwrap();
    }
}

/// Stands before a server, and answers in its place while it is told to.
struct Gate {
    port: u16,
    answer: Arc<Mutex<Option<&'static [u8]>>>,
}

impl Gate {
    async fn before(url: &str) -> Self {
        let server = server_of(url);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer: Arc<Mutex<Option<&'static [u8]>>> = Arc::default();
        let answering = answer.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let answer = *answering.lock().unwrap();
                tokio::spawn(serve(client, server.clone(), answer));
            }
        });
        Self { port, answer }
    }

    fn answers(&self, answer: Option<&'static [u8]>) {
        *self.answer.lock().unwrap() = answer;
    }
}

async fn serve(mut client: TcpStream, server: (String, u16), answer: Option<&[u8]>) -> std::io::Result<()> {
    let Some(answer) = answer else {
        let mut server = TcpStream::connect(server).await?;
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    };
    let mut request = [0; 8];
    client.read_exact(&mut request).await?;
    client.write_all(answer).await?;
    // Until the client has read it and leaves: closing with something unread would reset the connection.
    while client.read(&mut request).await? > 0 {}
    Ok(())
}
