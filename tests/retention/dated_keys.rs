//! Keys that carry their own time leave behind the horizon, and are never claimed again.

use time::{Duration, OffsetDateTime};
use turnstile::message::SentAt;
use turnstile::retention::{RetainSettings, Retained};
use turnstile::table::leaving::Keep;

use super::{KEPT_SINCE, how, load_body, month, months, one_a_month, run};
use crate::key_time::{keyed, uuid};
use crate::support::postgres::connect;
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, batch, judge_of, message};

/// One login a month under a key of that time, and one whose key was made two months before it was sent.
async fn dated_months() -> Tables {
    let mut tables = months().await;
    tables.judge = judge_of("uuidv7:field:/id", QUEUE_ARN);
    for number in 0..6 {
        let sent_at = month(number) - Duration::days(10);
        let user = format!("user {number}");
        load_body(&tables, &user, &keyed(&uuid(sent_at, number as u64), &user, "ios"), sent_at).await;
    }
    let (made, sent_at) = (month(3) - Duration::days(20), month(5) - Duration::days(10));
    load_body(&tables, "made early", &keyed(&uuid(made, 9), "made early", "ios"), sent_at).await;
    tables
}

async fn key_times(tables: &Tables) -> Vec<OffsetDateTime> {
    let rows = tables.client.query("SELECT key_time FROM identities ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn keys_leave_by_their_own_time_and_are_never_loaded_again() {
    let tables = dated_months().await;
    let longer = Keep { months: 0, days: how().keep.days + 1_000 };
    let how = RetainSettings { identity_memory: longer, ..how() };
    let would = run(&tables, RetainSettings { dry_run: true, ..how }).await;
    assert_eq!((would.identities, tables.count("identities").await), (0, 7));
    let retained = run(&tables, how).await;
    assert_eq!((retained.identities, retained.horizon), (5, Some(KEPT_SINCE)));
    assert_eq!(key_times(&tables).await, [4, 5].map(|number| month(number) - Duration::days(10)));
    tables.assert_promise().await;

    // Its login stands, its key does not; and it is sent again, twice.
    for id in ["again", "once more"] {
        let body = keyed(&uuid(month(3) - Duration::days(20), 9), "made early", "ios");
        load_body(&tables, id, &body, month(5) - Duration::days(5)).await;
    }
    assert_eq!(tables.count("user_logins WHERE user_id = 'made early'").await, 1);
    assert_eq!(tables.count("dead_letters WHERE code = 'older_than_memory' AND sent_at <> 'epoch'").await, 2);
    tables.assert_promise().await;
}

#[tokio::test]
async fn an_open_letter_under_its_own_time_holds_that_time_though_its_key_is_older() {
    let tables = dated_months().await;
    run(&tables, how()).await;
    let sent_at = month(5) - Duration::days(5);
    load_body(&tables, "late", &keyed(&uuid(month(2), 7), "late", "ios"), sent_at).await;
    let days = (OffsetDateTime::now_utc() - month(5)).whole_days();
    let later = Keep { months: 0, days: i32::try_from(days).unwrap() };
    let Retained { refused, horizon, .. } = run(&tables, RetainSettings { keep: later, ..how() }).await;
    assert_eq!((refused.len(), horizon), (1, Some(month(4))));
    assert_eq!(tables.count("processed_messages WHERE message_id = 'late'").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_key_ahead_of_its_message_outlives_it_whatever_the_memory() {
    let tables = dated_months().await;
    let body = keyed(&uuid(KEPT_SINCE + Duration::HOUR, 8), "ahead", "ios");
    load_body(&tables, "ahead", &body, KEPT_SINCE - Duration::HOUR).await;
    tables.client.execute("UPDATE identities SET claimed_at = owner_sent_at", &[]).await.unwrap();
    run(&tables, how()).await;
    assert_eq!(tables.count("processed_messages WHERE message_id = 'ahead'").await, 0);
    tables.assert_promise().await;
    load_body(&tables, "again", &body, KEPT_SINCE + Duration::HOUR).await;
    assert_eq!(tables.count("processed_messages WHERE message_id = 'again' AND outcome = 'absorbed'").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn keys_stay_while_somebody_may_have_read_the_horizon_before_it_moved() {
    let tables = dated_months().await;
    tables.client.execute("UPDATE turnstile.horizon SET retained_since = $1", &[&month(1)]).await.unwrap();
    let mut loader = connect(&tables.url).await;
    let claiming = loader.transaction().await.unwrap();
    claiming.execute("UPDATE processed_messages SET outcome = outcome WHERE message_id = 'user 5'", &[]).await.unwrap();
    // Nothing is due that old: only the keys are.
    let century = Keep { months: 1_200, days: 0 };
    let impatient = RetainSettings { keep: century, patience: std::time::Duration::from_millis(300), ..how() };
    let retained = run(&tables, impatient).await;
    assert!(retained.in_the_way.is_some(), "{retained:?}");
    assert_eq!((retained.identities, tables.count("identities").await), (0, 7));
    claiming.commit().await.unwrap();
    let retained = run(&tables, impatient).await;
    assert_eq!((retained.in_the_way, retained.identities, tables.count("identities").await), (None, 2, 5));
}

#[tokio::test]
async fn keys_without_a_time_stay_for_their_memory_beside_such_that_have_one() {
    let mut tables = dated_months().await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    one_a_month(&tables).await;
    let mut message = message("today", &keyed("x", "today", "ios"), 1);
    message.delivery.sent_at = SentAt::Queue(OffsetDateTime::now_utc().replace_nanosecond(0).unwrap());
    tables.load_batch(batch(&tables.judge, [message])).await;
    tables.client.execute("UPDATE identities SET claimed_at = owner_sent_at", &[]).await.unwrap();
    let longer = Keep { months: 0, days: how().keep.days + 45 };
    let retained = run(&tables, RetainSettings { identity_memory: longer, ..how() }).await;
    assert_eq!((retained.identities, tables.count("identities WHERE key_time = 'epoch'").await), (5 + 2, 5));
}
