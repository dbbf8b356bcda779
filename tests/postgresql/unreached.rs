//! What cannot be reached says host, port, database, role, cause and remedy, in every command, and never a password.

use std::path::Path;
use std::time::Duration;

use stand_ins::postgres::Options;
use tokio::net::TcpListener;
use tokio::process::Command;
use turnstile::database::address::DatabaseAddress;
use turnstile::database::{Database, DatabaseError, DatabaseSettings};

use super::tls::{TlsServer, connecting, give_to_server, make_self_signed, openssl};
use crate::support::postgres::{connect, pool};
use crate::support::program;
use crate::support::proxy::server_of;
use crate::support::server::{self, installed};
use crate::support::wait_until;

fn database(url: &str) -> Database {
    pool(url, 1, Duration::from_secs(2))
}

async fn refused(url: &str) -> DatabaseError {
    connecting(&database(url)).await.expect_err(url)
}

#[tokio::test]
async fn what_cannot_be_reached_says_where_why_and_what_to_do() {
    let server = server::start(Options { fast: true, ..installed() }).await;
    let administrator = connect(&server.url()).await;
    for sql in [
        "CREATE ROLE loader LOGIN PASSWORD 'right'",
        "CREATE ROLE retired NOLOGIN PASSWORD 'sesame'",
        "CREATE DATABASE shut",
        "REVOKE CONNECT ON DATABASE shut FROM PUBLIC",
    ] {
        administrator.batch_execute(sql).await.unwrap();
    }
    let (_, port) = server_of(&server.url());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (address.port(), silent)).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let at = |role: &str, port: u16, database: &str| format!("postgres://{role}@127.0.0.1:{port}/{database}");
    for (url, cause, remedy) in [
        (at("loader:sesame", port, "turnstile"), "password authentication failed", "PGPASSWORD"),
        (at("loader", port, "turnstile"), "asks for a password, and none is given", "PGPASSWORD"),
        (at("nobody:sesame", port, "turnstile"), "SQLSTATE 28P01", "whether the role exists"),
        (at("retired:sesame", port, "turnstile"), "not permitted to log in", "may log in"),
        (at("loader:right", port, "nowhere"), "SQLSTATE 3D000", "create the database"),
        (at("loader:right", port, "shut"), "SQLSTATE 42501", "GRANT CONNECT ON DATABASE"),
        (at("loader:sesame", closed, "turnstile"), "connection refused", "listen_addresses"),
        (at("loader:sesame", silent.0, "turnstile"), "no answer within 2000 ms", "--database-timeout"),
        (at("loader:right", port, "turnstile?sslmode=require"), "did not offer TLS", "sslmode=disable"),
    ] {
        let error = refused(&url).await;
        let said = error.to_string();
        let role = url.trim_start_matches("postgres://").split([':', '@']).next().unwrap();
        let (authority, rest) = url.rsplit_once('/').unwrap();
        let port = authority.rsplit_once(':').unwrap().1;
        let name = rest.split('?').next().unwrap();
        let place = format!("connect to 127.0.0.1:{port}, database {name}, role {role}: ");
        assert!(said.starts_with(&place) && said.contains(cause), "{said}");
        assert!(error.remedy().contains(remedy) && !said.contains(remedy), "{said}: {}", error.remedy());
        assert!(!said.contains("sesame") && !said.contains("right@"), "{said}");
    }
    let unknown = refused("postgres://loader:sesame@nowhere.invalid/turnstile?sslmode=disable").await;
    let (unknown, remedy) = (unknown.to_string(), unknown.remedy());
    assert!(
        unknown.contains("nowhere.invalid:5432, database turnstile, role loader: the host's name is not found"),
        "{unknown}"
    );
    assert!(remedy.contains("DNS") && !unknown.contains("sesame"), "{unknown}");
}

#[tokio::test]
async fn every_command_says_alike_why_it_does_not_reach_the_database() {
    let server = server::start(Options { fast: true, ..installed() }).await;
    connect(&server.url()).await.batch_execute("CREATE ROLE loader LOGIN PASSWORD 'right'").await.unwrap();
    let (_, port) = server_of(&server.url());
    let url = format!("postgres://loader:sesame@127.0.0.1:{port}/main");
    let error = refused(&url).await;
    let (said, remedy) = (error.to_string(), error.remedy());
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        ["migrate"].as_slice(),
        &["audit"],
        &["dead-letters", "list"],
        &["dead-letters", "discard", "--by", "me", "--reason", "why", "00000000"],
        &["dead-letters", "reopen", "--by", "me", "--reason", "why", "00000000"],
        &["dead-letters", "history"],
        &["run", "--queue", "http://127.0.0.1:1/1/logins"],
    ] {
        let output = turnstile(folder.path(), &url).args(arguments).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap().replace(r#"\""#, "\"");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(&said) && !text.contains("sesame"), "{arguments:?} does not say {said}: {text}");
        // A loader's errors are lines of its log, with the remedy in a field of its own.
        let told = if arguments[0] == "run" { format!("\"remedy\":\"{remedy}\"") } else { format!("\n    {remedy}\n") };
        assert!(text.contains(&told), "{arguments:?} does not say {told}: {text}");
    }
    let output = turnstile(folder.path(), &url).args(["check", "--queue", "http://127.0.0.1:1/1/logins"]).output();
    let text = String::from_utf8(output.await.unwrap().stdout).unwrap();
    assert!(text.contains(&format!("{said} → {remedy}")), "{text}");
}

#[tokio::test]
async fn a_password_on_the_command_line_is_refused_though_the_variable_holds_the_same() {
    let url = "postgres://loader:sesame@127.0.0.1:1/turnstile";
    let folder = tempfile::tempdir().unwrap();
    let output = turnstile(folder.path(), url).args(["audit", "--database-url", url]).output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--database-url") && text.contains("holds a password") && !text.contains("sesame"), "{text}");
}

#[tokio::test]
async fn a_role_that_may_not_is_told_which_role_may() {
    let server = server::start(Options { fast: true, ..installed() }).await;
    let administrator = connect(&server.url()).await;
    database(&server.url()).migrate().await.unwrap();
    administrator.batch_execute("CREATE ROLE stranger LOGIN PASSWORD 'x'").await.unwrap();
    let (_, port) = server_of(&server.url());
    let make = "CREATE ROLE maker LOGIN PASSWORD 'x'; CREATE DATABASE fresh";
    for sql in make.split("; ").chain(["GRANT CREATE ON DATABASE fresh TO maker"]) {
        administrator.batch_execute(sql).await.unwrap();
    }
    let fresh = format!("postgres://maker:x@127.0.0.1:{port}/fresh");
    let owner = connect(&server.url_of("fresh")).await;
    owner.batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let halfway = database(&fresh).migrate().await.unwrap_err();
    assert!(halfway.to_string().contains("42501"), "{halfway}");
    assert!(halfway.remedy().contains("migrate as the owner of the tables"), "{}", halfway.remedy());

    let url = server.url();
    let (_, name) = url.rsplit_once('/').unwrap();
    let url = format!("postgres://stranger:x@127.0.0.1:{port}/{name}");
    let folder = tempfile::tempdir().unwrap();
    for (arguments, needed) in [
        (["migrate"].as_slice(), "migrate as that role"),
        (&["audit"], "turnstile_auditor"),
        (&["dead-letters", "list"], "turnstile_operator"),
    ] {
        let output = turnstile(folder.path(), &url).args(arguments).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(needed), "{arguments:?}: {text}");
    }
}

/// The program, in an environment in which only the database is set, and a keyring.
fn turnstile(folder: &Path, url: &str) -> Command {
    let keyring = program::keyring_in(folder);
    if !keyring.exists() {
        program::write_keyring(folder);
    }
    let mut command = program::command(program::turnstile(), url, &keyring);
    command.env("TURNSTILE_WAIT_FOR_DATABASE", "0s").current_dir(folder);
    command.into()
}

#[tokio::test]
async fn a_certificate_that_other_tools_take_is_refused_with_the_words_that_help() {
    let server = TlsServer::start_with(|_| Vec::new()).await;
    let administrator = connect(&server.postgres.url()).await;
    let (_, port) = server_of(&server.postgres.url());
    let folder = server.folder.path();
    let file = |name: &str| folder.join(name).display().to_string();
    let url = |root: &str| {
        format!("postgres://loader:x@localhost:{port}/shop?sslmode=verify-full&sslrootcert={}", file(root))
    };
    make_self_signed(folder, "other", "other authority", &[]);
    let stranger = refused(&url("other.crt")).await;
    assert!(stranger.to_string().contains("not trusted here"), "{stranger}");
    assert!(stranger.remedy().contains("sslrootcert=FILE"), "{}", stranger.remedy());

    type Make = fn(&Path);
    let of_version_1: Make = |folder| {
        let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
        openssl(folder, &[&request[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
        let sign = ["x509", "-req", "-in", "server.csr", "-CA", "other.crt", "-CAkey", "other.key", "-CAcreateserial"];
        openssl(folder, &[&sign[..], &["-days", "1", "-out", "server.crt"]].concat());
    };
    let cases: [(Make, &str, &str, &str); 4] = [
        (
            |folder| make_self_signed(folder, "server", "localhost", &["-addext", "subjectAltName=DNS:localhost"]),
            "server.crt",
            "CA:TRUE",
            "basicConstraints=critical,CA:FALSE",
        ),
        (of_version_1, "other.crt", "X.509 version 1", "-extfile"),
        (
            |folder| {
                make_self_signed(folder, "server", "localhost", &["-addext", "basicConstraints=critical,CA:FALSE"])
            },
            "server.crt",
            "no subjectAltName",
            "subjectAltName=DNS:localhost",
        ),
        (
            |folder| {
                make_self_signed(
                    folder,
                    "server",
                    "localhost",
                    &["-addext", "subjectAltName=DNS:db.example", "-addext", "basicConstraints=critical,CA:FALSE"],
                )
            },
            "server.crt",
            "for db.example, not for localhost",
            "connect by one of its names",
        ),
    ];
    for (make, root, cause, remedy) in cases {
        make(folder);
        give_to_server(folder);
        administrator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let url = url(root);
        wait_until(cause, async || {
            let said = connecting(&database(&url)).await.err();
            said.is_some_and(|error| error.to_string().contains(cause) && error.remedy().contains(remedy))
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_the_server_asks_for_one() {
    let server = TlsServer::start_with(|folder| {
        make_self_signed(folder, "clients", "authority of the clients", &[]);
        std::fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
        for name in ["loader", "mallory"] {
            let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
            let subject = format!("/CN={name}");
            let ask = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key];
            openssl(folder, &[&ask[..], &["-out", &request]].concat());
            let sign = ["x509", "-req", "-in", &request, "-CA", "clients.crt", "-CAkey", "clients.key"];
            let more = ["-CAcreateserial", "-extfile", "extensions", "-days", "1", "-out", &format!("{name}.crt")];
            openssl(folder, &[&sign[..], &more[..]].concat());
        }
        let rules = "local all all trust\nhostssl all loader all cert\nhost all all all scram-sha-256\n";
        std::fs::write(folder.join("hba"), rules).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        [("ssl_ca_file", file("clients.crt")), ("hba_file", file("hba"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    })
    .await;
    let (_, port) = server_of(&server.postgres.url());
    let file = |name: &str| server.folder.path().join(name).display().to_string();
    let url = |certificate: &str| {
        format!("postgres://loader@localhost:{port}/shop?sslrootcert={}{certificate}", file("root.crt"))
    };
    let shown =
        |name: &str| url(&format!("&sslcert={}&sslkey={}", file(&format!("{name}.crt")), file(&format!("{name}.key"))));
    connecting(&database(&shown("loader"))).await.unwrap();

    let without = refused(&url("&sslmode=verify-full")).await;
    let told = format!("{without}\n    {}", without.remedy());
    assert!(told.contains("client certificate") && told.contains("sslcert=FILE"), "{told}");
    let other = refused(&shown("mallory")).await.to_string();
    assert!(other.contains("SQLSTATE 28000"), "{other}");
    for (parameters, problem) in [
        (format!("&sslcert={}&sslkey={}", file("none.crt"), file("loader.key")), "sslcert"),
        (format!("&sslcert={}&sslkey={}", file("loader.crt"), file("hba")), "holds no PEM key"),
        (format!("&sslcert={}&sslkey={}", file("loader.crt"), file("mallory.key")), "sslkey"),
    ] {
        let address = DatabaseAddress::parse(&url(&parameters)).unwrap();
        let error = Database::new(&DatabaseSettings::new(address, 1, Duration::from_secs(2))).unwrap_err();
        assert!(error.to_string().contains(problem) && error.remedy().contains("sslkey=FILE"), "{error}");
    }
}

#[tokio::test]
async fn a_token_of_iam_is_made_for_a_connection_and_what_is_missing_for_it_is_said() {
    let server = TlsServer::start_with(|_| Vec::new()).await;
    let (_, port) = server_of(&server.postgres.url());
    let root = server.folder.path().join("root.crt").display().to_string();
    let url = format!("postgres://loader@localhost:{port}/shop?auth=aws-iam&sslmode=verify-full&sslrootcert={root}");
    let folder = tempfile::tempdir().unwrap();
    // This server does not know the token, which shows that one was made and given.
    let output = turnstile(folder.path(), &url).env("PGPASSWORD", "x").arg("audit").output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("password authentication failed") && text.contains("rds_iam"), "{text}");

    for (missing, said) in [("AWS_REGION", "no AWS region"), ("AWS_ACCESS_KEY_ID", "no AWS credentials")] {
        let mut command = turnstile(folder.path(), &url);
        // No machine of Amazon answers for them.
        command.env(missing, "").env("AWS_EC2_METADATA_DISABLED", "true").arg("audit");
        let text = String::from_utf8(command.output().await.unwrap().stderr).unwrap();
        assert!(
            text.contains(said) && text.contains("auth=aws-iam") && text.contains("role loader"),
            "{missing}: {text}"
        );
    }
}
