//! A console over a database with the roles of `deploy/grants.sql`, and a browser without script.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use turnstile::console::{Console, ConsoleSettings, SignIn, serve};
use turnstile::database::DatabaseSettings;
use turnstile::database::address::DatabaseAddress;

use crate::grants::Roles;
use crate::support::tables::{PRIVATE, Tables};
use crate::support::verdicts::keyring;

/// A console, and what it stands on.
pub(super) struct World {
    pub(super) tables: Tables,
    pub(super) roles: Roles,
    pub(super) address: SocketAddr,
    pub(super) console: Arc<Console>,
    serving: JoinHandle<()>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(true, |settings| settings).await
    }

    /// With or without a keyring, and with other settings.
    pub(super) async fn with(has_keys: bool, change: impl FnOnce(ConsoleSettings) -> ConsoleSettings) -> Self {
        let tables = Tables::new().await;
        let roles = Roles::granted(&tables.url).await;
        // The URL of the console needs no password, and no role either.
        let address = DatabaseAddress::parse(&without_person(&tables.url)).unwrap();
        let database = DatabaseSettings::new(address, 1, Duration::from_secs(30));
        let mut settings =
            change(ConsoleSettings { refresh: Duration::from_millis(50), ..ConsoleSettings::new(database) });
        if settings.sign_in != SignIn::Role {
            settings.database.address = DatabaseAddress::parse(&tables.url).unwrap();
        }
        let console = Arc::new(Console::new(settings, has_keys.then(keyring)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = console.clone();
        let serving = tokio::spawn(async move {
            serve(listener, served).await.unwrap();
        });
        Self { tables, roles, address, console, serving }
    }

    /// Somebody who has signed in with the role of this kind.
    pub(super) async fn signed_in(&self, kind: &str) -> Browser {
        let mut browser = Browser::at(self.address);
        let answer = browser.sign_in(&self.roles.login(kind), "sesame").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{kind}: {}", answer.body);
        browser
    }

    /// The hash of the dead letter of this message.
    pub(super) async fn hash(&self, message_id: &str) -> String {
        let sql = "SELECT encode(message_hash, 'hex') FROM dead_letters WHERE message_id = $1";
        self.tables.client.query_one(sql, &[&message_id]).await.unwrap().get(0)
    }

    /// Ends the console before the roles go, which its connections hold.
    pub(super) async fn end(self) {
        self.serving.abort();
        self.roles.drop().await;
    }
}

fn without_person(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Fails unless it says all of these.
    pub(crate) fn assert_says(&self, status: u16, things: &[&str]) {
        assert_eq!(self.status, status, "{}", self.body);
        things.iter().for_each(|thing| assert!(self.body.contains(thing), "{thing:?} in {}", self.body));
    }

    /// Fails if it says any of these.
    pub(super) fn assert_silent(&self, things: &[&str]) {
        things.iter().for_each(|thing| assert!(!self.body.contains(thing), "{thing:?} in {}", self.body));
    }

    /// Fails if anything of a body is in it.
    pub(super) fn assert_discreet(&self) {
        self.assert_silent(&PRIVATE);
    }
}

/// What a browser of ours sends along with a form.
pub(super) const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

/// A browser that keeps its cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    address: SocketAddr,
    pub(super) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    pub(crate) async fn sign_in(&mut self, role: &str, password: &str) -> Answer {
        let answer = self.post("/sign-in", &[("role", role), ("password", password)]).await;
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Sends a form as a page of the console does.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("POST", path, &[OURS, FORM], &form(fields)).await
    }

    /// Sends a form, and follows to the page that it leads to.
    pub(super) async fn act(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        self.get(answer.header("location").unwrap()).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        if let Some(cookie) = &self.cookie {
            head += &format!("Cookie: {cookie}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        // A server that refuses early does not read to the end.
        let _cut_short = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
        let mut answer = Vec::new();
        let _length = stream.read_to_end(&mut answer).await;
        read(&String::from_utf8(answer).unwrap())
    }

    /// The first event of a page's stream: its name, and its data.
    pub(super) async fn first_event(&self, page: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let cookie = self.cookie.as_deref().unwrap_or_default();
        let head = format!("GET /events?page={page} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut text, mut some) = (String::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "the stream ended: {text}");
            text += &String::from_utf8_lossy(&some[..read]);
            let named = text.split("event: ").nth(1).and_then(|event| event.split_once("\n\n"));
            if let Some((event, _)) = named {
                let (name, data) = event.split_once("\ndata: ").unwrap_or((event.trim(), ""));
                return (name.to_owned(), data.to_owned());
            }
        }
    }
}

pub(super) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect()
    };
    fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status: status.unwrap_or(0), headers, body: body.to_owned() }
}
