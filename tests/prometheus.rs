//! A real Prometheus over real loaders: what it scrapes, what it makes of the shipped rules, and the rehearsal of an outage that
//! OPERATIONS describes.

mod rehearsal;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use turnstile::http::Client;

use crate::support::postgres::TestDatabase;
use crate::support::served::figures_at;
use crate::support::site::Site;
use crate::support::{LONG_PATIENCE, wait_for, wait_until};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/turnstile-rules.yaml");

/// All that a loader tells.
const SERIES: &str = "count({__name__=~\"(turnstile|process)_.*\"})";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_of_two_loaders_is_scraped_and_a_hundred_times_the_traffic_brings_no_further_one() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let loaders = ["one", "other"].map(|name| {
        let command = site.command(&["run", "--metrics-address", "127.0.0.1:0", "--wait", "1s", "--retry-delay", "0s"]);
        site.start(command, name)
    });
    let mut addresses = Vec::new();
    for loader in &loaders {
        addresses.push(loader.serves_at().await);
    }
    let prometheus = Prometheus::over(&addresses);
    let all_is_done = async |logins: f64| {
        prometheus.sees("sum(turnstile_messages_total{outcome=\"loaded\"})", logins).await;
        prometheus.sees("sum(turnstile_messages_total{outcome=\"dead_lettered\"})", 10.0).await;
        prometheus.sees("sum(turnstile_in_hand_messages)", 0.0).await;
    };
    site.fill(990, 10);
    all_is_done(990.0).await;
    // Before its first commit a loader does not say when it was.
    prometheus.sees("count(turnstile_last_commit_timestamp_seconds)", 2.0).await;
    let after_a_thousand = prometheus.value(SERIES).await.unwrap();
    site.fill(99_000, 0);
    all_is_done(99_990.0).await;
    assert_eq!(prometheus.value(SERIES).await, Some(after_a_thousand), "a label came with the traffic");
    for address in &addresses {
        let told = figures_at(*address).await.len();
        let taken = SERIES.replace("})", &format!(",instance=\"{address}\"}})"));
        assert_eq!(prometheus.value(&taken).await, Some(told as f64), "not all that {address} tells was taken");
    }
    prometheus.is_content_with_the_rules().await;
    eprintln!("two loaders: {after_a_thousand} series");
}

/// A Prometheus that scrapes every second, with the shipped rules.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    fn over(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
        let jobs = serde_json::json!([{ "job_name": "turnstile", "static_configs": [{ "targets": targets }] }]);
        let every = serde_json::json!({ "scrape_interval": "1s", "evaluation_interval": "1s" });
        let settings = serde_json::json!({ "global": every, "rule_files": [RULES], "scrape_configs": jobs });
        let file = folder.path().join("prometheus.yaml");
        // JSON is YAML.
        fs::write(&file, settings.to_string()).unwrap();
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("series").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!(
                "prometheus cannot be run ({error}): `scripts/setup promtool` installs it, or says how it is installed"
            )
        });
        Self { process, address, _folder: folder }
    }

    /// Waits until an expression has this value.
    async fn sees(&self, expression: &str, expected: f64) {
        let what = format!("{expression} is {expected}");
        wait_for(LONG_PATIENCE, &what, async || self.value(expression).await == Some(expected)).await;
    }

    /// The one value of an expression; nothing where there is none yet.
    async fn value(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.asked(&format!("query?query={encoded}")).await?;
        let [one] = &answer["result"].as_array()?[..] else { return None };
        one["value"][1].as_str()?.parse().ok()
    }

    /// What its interface says; nothing while it starts.
    async fn asked(&self, path: &str) -> Option<Value> {
        let uri = format!("http://{}/api/v1/{path}", self.address).parse().unwrap();
        let answer = Client::towards(&uri).unwrap().get(&uri, Duration::from_secs(10)).await.ok()?;
        let answer: Value = serde_json::from_slice(answer.body()).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    /// Waits until it has evaluated every rule of the file, and found nothing wrong with any.
    async fn is_content_with_the_rules(&self) {
        let rules = async || -> Vec<(String, String)> {
            let groups = self.asked("rules").await.unwrap()["groups"].clone();
            let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            rules.map(|rule| (text(&rule["name"]), text(&rule["health"]))).collect()
        };
        let written = fs::read_to_string(RULES).unwrap();
        let written = written.lines().filter(|line| ["- alert: ", "- record: "].iter().any(|key| line.contains(key)));
        assert_eq!(rules().await.len(), written.count());
        wait_until("every rule was evaluated", async || rules().await.iter().all(|(_, health)| health != "unknown"))
            .await;
        let ill: Vec<_> = rules().await.into_iter().filter(|(_, health)| health != "ok").collect();
        assert_eq!(ill, []);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// An address at which nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
