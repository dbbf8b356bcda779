//! A loader of its own process whose figures are served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::postgres::TestDatabase;
use super::program::Loader;
use super::site::Site;

/// A loader whose figures are served.
pub(crate) struct Served {
    pub(crate) site: Site,
    pub(crate) loader: Loader,
    pub(crate) address: SocketAddr,
    _test: Option<TestDatabase>,
}

impl Served {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let test = TestDatabase::with_tables().await;
        let served = Self::over(Site::without_tables(test.url()).await, arguments).await;
        Self { _test: Some(test), ..served }
    }

    /// The same over a database of the caller's.
    pub(crate) async fn over(site: Site, arguments: &[&str]) -> Self {
        let mut command = site.command(&["run", "--metrics-address", "127.0.0.1:0"]);
        command.args(arguments);
        let loader = site.start(command, "log");
        let address = loader.serves_at().await;
        Self { site, loader, address, _test: None }
    }

    /// Every series with its value.
    pub(crate) async fn scrape(&self) -> BTreeMap<String, f64> {
        figures_at(self.address).await
    }

    pub(crate) fn health(&self, arguments: &[&str]) -> (Option<i32>, String) {
        health_at(self.address, arguments)
    }

    pub(crate) async fn end(self) {
        self.loader.terminate();
        assert!(self.loader.ended().await.success());
    }
}

/// What `turnstile health` says of the process at this address.
pub(crate) fn health_at(address: SocketAddr, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.env_clear().args(["health", "--metrics-address", &address.to_string()]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Every series of the process at this address with its value.
pub(crate) async fn figures_at(address: SocketAddr) -> BTreeMap<String, f64> {
    series(&page_at(address).await)
}

/// All that the process at this address tells.
pub(crate) async fn page_at(address: SocketAddr) -> String {
    let answer = tokio::time::timeout(PATIENCE, get(address, "/metrics")).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads the text format 0.0.4 strictly: every family is announced once, with its help and its type, before its samples.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut families = BTreeSet::new();
    let mut announced = String::new();
    let mut series = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            announced = help.split_once(' ').expect("a help text").0.to_owned();
            assert!(families.insert(announced.clone()), "{announced} is announced twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, announced, "the type of another family");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&announced), "{name} stands below {announced}");
            assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
        }
    }
    series
}
