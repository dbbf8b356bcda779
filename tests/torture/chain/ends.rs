//! What stands at the ends of the chain.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio_postgres::Client;

use super::Chain;

/// A login as a row or an event has it.
type Row = String;

/// What came of the logins of the first table.
pub(crate) struct Ends {
    /// How many there are, and how many events of them.
    pub(crate) logins: usize,
    pub(crate) events: u64,
    pub(crate) fifo: End,
    pub(crate) standard: End,
    pub(crate) output: End,
}

/// What came of them at one end.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    /// Rows that no login of the first table is equal to.
    pub(crate) different: usize,
    /// How often an event came again, under the same id.
    pub(crate) repeats: u64,
    /// Repeats that were not known by their id, or had other bytes.
    pub(crate) unknown: u64,
}

impl End {
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.different == 0 && self.unknown == 0
    }
}

impl Ends {
    pub(super) async fn of(chain: &Chain) -> Self {
        let client = chain.first.client().await;
        let logins = logins(&client).await;
        let events: i64 = client.query_one("SELECT count(*) FROM outbox", &[]).await.unwrap().get(0);
        Self {
            logins: logins.len(),
            events: events.unsigned_abs(),
            fifo: table(&logins, &chain.fifo.client().await).await,
            standard: table(&logins, &chain.standard.client().await).await,
            output: output(&logins, chain),
        }
    }
}

/// Each login, by what no other has.
async fn logins(client: &Client) -> BTreeMap<String, Vec<Row>> {
    let sql =
        "SELECT masked_device_id, concat_ws('|', user_id, app_version, device_type, masked_ip, locale, create_date)
               FROM user_logins";
    let mut logins: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        logins.entry(row.get(0)).or_default().push(row.get(1));
    }
    logins
}

fn compare(first: &BTreeMap<String, Vec<Row>>, last: &BTreeMap<String, Vec<Row>>) -> End {
    let mut end = End::default();
    for (device, rows) in last {
        end.doubled += rows.len() - 1;
        end.different += usize::from(first.get(device).is_none_or(|first| first.first() != rows.first()));
    }
    end.lost = first.keys().filter(|device| !last.contains_key(*device)).count();
    end
}

/// The table of a loader that has loaded the events.
async fn table(first: &BTreeMap<String, Vec<Row>>, client: &Client) -> End {
    let sql = "SELECT count(*) FILTER (WHERE outcome = 'absorbed'), count(*) FILTER (WHERE outcome NOT IN ('absorbed', 'loaded'))
               FROM processed_messages";
    let row = client.query_one(sql, &[]).await.unwrap();
    let [repeats, unknown] = [0, 1].map(|column| row.get::<_, i64>(column).unsigned_abs());
    End { repeats, unknown, ..compare(first, &logins(client).await) }
}

/// What the relays wrote to their standard outputs.
fn output(first: &BTreeMap<String, Vec<Row>>, chain: &Chain) -> End {
    let mut by_id: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut unknown = 0;
    for number in 0..chain.outputs.load(Ordering::SeqCst) {
        let text = std::fs::read_to_string(chain.output(number)).unwrap();
        // A line that a kill has cut has no end.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let event: Value = serde_json::from_str(line).unwrap();
            let (times, body) =
                by_id.entry(event["id"].as_str().unwrap().to_owned()).or_insert_with(|| (0, line.to_owned()));
            *times += 1;
            unknown += u64::from(body != line);
        }
    }
    let mut last: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for (_, body) in by_id.values() {
        let event: Value = serde_json::from_str(body).unwrap();
        let data = &event["data"];
        let text = |column: &str| match &data[column] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let columns = ["user_id", "app_version", "device_type", "masked_ip", "locale", "create_date"].map(text);
        last.entry(text("masked_device_id")).or_default().push(columns.join("|"));
    }
    let repeats = by_id.values().map(|(times, _)| times - 1).sum();
    End { repeats, unknown, ..compare(first, &last) }
}
