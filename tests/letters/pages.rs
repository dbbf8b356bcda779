//! Page by page, a list has what a plain look through the whole table finds, in the same order; and so have the groups.

use std::fmt::Write as _;

use time::OffsetDateTime;
use turnstile::database::Transaction;
use turnstile::message::MessageHash;
use turnstile::table::dead_letters::{Order, Page, PageEnd, Search, Status, count_some, groups, page};

use super::write;
use crate::support::tables::Tables;

/// Letters of several queues, codes, fields and statuses, many of them of the same moment.
async fn seeded() -> Tables {
    let tables = Tables::new().await;
    let mixed = [
        ("queue", "'arn:aws:sqs:x:1:' || (ARRAY['a', 'b', 'ab'])[1 + n % 3]"),
        ("code", "(ARRAY['null_field', 'wrong_type', 'refused_by_database', 'empty_body'])[1 + n * 7 % 4]"),
        ("field", "CASE WHEN n * 7 % 4 < 2 THEN (ARRAY['ip', 'locale'])[1 + n / 5 % 2] END"),
        ("detail", "CASE WHEN n % 8 < 4 THEN 'ip' ELSE 'locale' END"),
        ("status", "(ARRAY['open', 'open', 'replayed', 'discarded', 'absorbed'])[1 + n / 3 % 5]"),
        ("dead_lettered_at", "timestamptz '2026-03-01Z' + interval '1 h' * (n * 13 % 17)"),
        ("message_id", "'id ' || n % 90"),
    ];
    write(&tables, 400, &mixed).await;
    tables
}

fn searches() -> Vec<Search> {
    let hour = |hours: i64| Some(time::macros::datetime!(2026-03-01 0:00 UTC) + time::Duration::hours(hours));
    let some = |text: &str| Some(text.to_owned());
    vec![
        Search::default(),
        Search { status: Some(Status::Open), ..Search::default() },
        Search { code: some("null_field"), field: some("ip"), ..Search::default() },
        Search { field: some("locale"), status: Some(Status::Replayed), ..Search::default() },
        Search { queue: some("b"), ..Search::default() },
        Search { queue: some("arn:aws:sqs:x:1:ab"), since: hour(3), until: hour(9), ..Search::default() },
        Search { code: some("refused_by_database"), since: hour(5), ..Search::default() },
        Search { code: some("no_such"), ..Search::default() },
        Search { until: hour(0), ..Search::default() },
    ]
}

/// The same as a condition that reads the whole table.
fn plainly(search: &Search, message_id: Option<&str>) -> String {
    let Search { code, field, status, queue, since, until } = search;
    let mut sql = "true".to_owned();
    let mut and = |condition: String| write!(sql, " AND {condition}").unwrap();
    code.iter().for_each(|code| and(format!("code = '{code}'")));
    field.iter().for_each(|field| and(format!("field = '{field}'")));
    status.iter().for_each(|status| and(format!("status = '{}'", status.as_str())));
    queue.iter().for_each(|queue| and(format!("(queue = '{queue}' OR queue LIKE '%:{queue}')")));
    since.iter().for_each(|since| and(format!("dead_lettered_at >= '{since}'")));
    until.iter().for_each(|until| and(format!("dead_lettered_at < '{until}'")));
    message_id.iter().for_each(|id| and(format!("message_id = '{id}'")));
    sql
}

#[tokio::test]
async fn pages_have_each_letter_once_in_the_order_of_time_whatever_is_looked_for() {
    let tables = seeded().await;
    let mut seen = 0;
    for (search, message_id) in searches().iter().flat_map(|search| [(search, None), (search, Some("id 13"))]) {
        for (order, sort) in [(Order::Newest, "DESC"), (Order::Oldest, "ASC")] {
            let sql = format!(
                "SELECT message_hash FROM dead_letters WHERE {} ORDER BY dead_lettered_at {sort}, message_hash {sort}",
                plainly(search, message_id)
            );
            let rows = tables.client.query(&sql, &[]).await.unwrap();
            let all: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
            seen += all.len();
            for limit in [1, 7, 50, 1_000] {
                let message_id = message_id.map(str::to_owned);
                let first = Page { search: search.clone(), message_id, order, after: None, limit };
                let listed = page_by_page(&tables, first).await;
                let listed: Vec<Vec<u8>> = listed.iter().map(|hash| hash.as_bytes().to_vec()).collect();
                assert_eq!(listed, all, "{search:?} {order:?} {limit}");
            }
        }
    }
    assert!(seen > 1_000, "{seen}: the searches find something");
}

async fn page_by_page(tables: &Tables, mut wanted: Page) -> Vec<MessageHash> {
    let mut all = Vec::new();
    loop {
        let letters = tables.database.snapshot(async |seen: &Transaction| page(seen, &wanted).await).await.unwrap();
        assert!(letters.len() as u64 <= wanted.limit);
        all.extend(letters.iter().map(|letter| letter.key.hash));
        let Some(last) = letters.last() else { return all };
        wanted.after = Some(PageEnd::of(last));
    }
}

#[tokio::test]
async fn groups_and_counts_are_those_of_the_whole_table() {
    let tables = seeded().await;
    for search in searches() {
        let sql = format!(
            "SELECT status, code, field, CASE code WHEN 'refused_by_database' THEN detail END, count(*),
                    min(dead_lettered_at), max(dead_lettered_at)
             FROM dead_letters WHERE {} GROUP BY 1, 2, 3, 4",
            plainly(&search, None)
        );
        type Facts = (String, String, Option<String>, Option<String>, i64, OffsetDateTime, OffsetDateTime);
        let rows = tables.client.query(&sql, &[]).await.unwrap();
        let whole =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5), row.get(6)));
        let mut whole: Vec<Facts> = whole.collect();
        let look = async |seen: &Transaction| {
            Ok((groups(seen, &search, OffsetDateTime::UNIX_EPOCH).await?, count_some(seen, &search).await?))
        };
        let (found, counted) = tables.database.snapshot(look).await.unwrap();
        let facts = found.into_iter().map(|group| {
            assert_eq!((group.recent, group.letters.or_more), (group.letters.letters, false));
            let letters = i64::try_from(group.letters.letters).unwrap();
            let status = group.status.as_str().to_owned();
            (status, group.code, group.field, group.detail, letters, group.first, group.last)
        });
        let mut found: Vec<Facts> = facts.collect();
        whole.sort();
        found.sort();
        assert_eq!(found, whole, "{search:?}");
        let all: i64 = whole.iter().map(|facts| facts.4).sum();
        assert_eq!((i64::try_from(counted.letters).unwrap(), counted.or_more), (all, false), "{search:?}");
    }
}
