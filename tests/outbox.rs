//! Events are read by their positions, and nothing else of the outbox is.

use turnstile::table::outbox;

use crate::support::tables::Tables;

/// Far more events than are read: a look at each would be the shorter way through a small table.
const EVENTS: i64 = 20_000;

#[tokio::test]
async fn events_are_looked_up_by_position_however_many_there_are() {
    let tables = Tables::new().await;
    let fill = format!(
        "INSERT INTO outbox (event_id, message_sent_at, user_id, device_type, masked_ip, masked_device_id, app_version, create_date)
         SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), now(), 'u', 'ios', 'a', 'b', 1, current_date
         FROM generate_series(1, {EVENTS}) AS n;
         DELETE FROM outbox WHERE position = 7; ANALYZE outbox"
    );
    tables.client.batch_execute(&fill).await.unwrap();

    let looked_up = tables.database.begin().await.unwrap();
    let ranges = [6..=8, 15_000..=15_001, EVENTS - 1..=EVENTS + 20];
    let found = outbox::within(&looked_up, &ranges).await.unwrap();
    let positions: Vec<i64> = found.iter().map(|event| event.position).collect();
    assert_eq!(positions, [6, 8, 15_000, 15_001, EVENTS - 1, EVENTS]);
    let above = outbox::above(&looked_up, 5, 3).await.unwrap();
    assert_eq!(above.iter().map(|event| event.position).collect::<Vec<_>>(), [6, 8, 9]);

    let scans = "SELECT pg_catalog.sum(seq_scan)::bigint, pg_catalog.sum(idx_scan)::bigint
                 FROM pg_catalog.pg_stat_xact_user_tables WHERE relname LIKE 'outbox%'";
    let row = looked_up.query_one("ask", scans, &[]).await.unwrap();
    let (whole, by_index): (i64, i64) = (row.get(0), row.get(1));
    assert!(whole == 0 && by_index >= 4, "{whole} looks at a whole partition, {by_index} at an index");
    looked_up.rollback().await.unwrap();
}
