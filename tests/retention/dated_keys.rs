//! Keys that carry their own time leave behind the horizon, and are never claimed again.

use time::{Duration, OffsetDateTime};
use turnstile::message::SentAt;
use turnstile::retention::{RetainSettings, Retained, partition};
use turnstile::table::leaving::Keep;
use turnstile::table::time_partitions::{Parent, Period};

use super::{KEPT_SINCE, how, load_body, month, months, now, one_a_month, run, since_first};
use crate::key_time::{keyed, uuid};
use crate::support::loading::introduce;
use crate::support::postgres::connect;
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, batch, judge_of, message};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const SCHEME: &str = "uuidv7:field:/id";

/// Partitioned tables, the keys among them.
async fn months_of_keys() -> Tables {
    let mut tables = Tables::new().await;
    tables.judge = judge_of(SCHEME, QUEUE_ARN);
    introduce(&tables.database, SCHEME).await;
    since_first(&tables).await;
    tables
}

/// The same, but for the keys.
async fn months_beside_keys() -> Tables {
    let mut tables = months().await;
    tables.judge = judge_of(SCHEME, QUEUE_ARN);
    tables
}

/// One login a month under a key of that time, and one whose key was made two months before it was sent.
async fn filled(tables: Tables) -> Tables {
    for number in 0..6 {
        let sent_at = month(number) - Duration::days(10);
        let user = format!("user {number}");
        load_body(&tables, &user, &keyed(&uuid(sent_at, number as u64), &user, "ios"), sent_at).await;
    }
    let (made, sent_at) = (month(3) - Duration::days(20), month(5) - Duration::days(10));
    load_body(&tables, "made early", &keyed(&uuid(made, 9), "made early", "ios"), sent_at).await;
    tables
}

async fn dated_months() -> Tables {
    filled(months_beside_keys().await).await
}

async fn key_times(tables: &Tables) -> Vec<OffsetDateTime> {
    let rows = tables.client.query("SELECT key_time FROM identities ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn keys_leave_by_their_own_time_and_are_never_loaded_again() {
    let longer = Keep { months: 0, days: how().keep.days + 1_000 };
    let how = RetainSettings { identity_memory: longer, for_archive: true, ..how() };
    let whole = ["identities_202501", "identities_202502", "identities_202503"];
    for (tables, one_by_one, whole) in
        [(months_beside_keys().await, 5, &whole[..0]), (months_of_keys().await, 1, &whole)]
    {
        let tables = filled(tables).await;
        let would = run(&tables, RetainSettings { dry_run: true, ..how }).await;
        assert_eq!((would.identities, tables.count("identities").await), (0, 7));
        let retained = run(&tables, how).await;
        assert_eq!((retained.identities, retained.horizon), (one_by_one, Some(KEPT_SINCE)));
        let of_keys = retained.gone.iter().filter(|gone| gone.parent == Parent::Identities);
        let of_keys: Vec<_> = of_keys.map(|gone| (gone.partition.as_str(), gone.for_archive)).collect();
        assert_eq!(of_keys, whole.iter().map(|name| (*name, false)).collect::<Vec<_>>(), "no archive keeps them");
        let last = retained.gone.last().unwrap().parent;
        assert_eq!(last, if whole.is_empty() { Parent::ProcessedMessages } else { Parent::Identities });
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
}

#[tokio::test]
async fn keys_without_a_time_keep_the_first_partition_which_is_emptied_of_all_others() {
    let mut tables = filled(months_of_keys().await).await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    one_a_month(&tables).await;
    tables.client.execute("UPDATE identities SET claimed_at = owner_sent_at", &[]).await.unwrap();
    let longer = Keep { months: 0, days: how().keep.days + 45 };
    for (removed, stay) in [(1 + 2, 4), (0, 4)] {
        let retained = run(&tables, RetainSettings { identity_memory: longer, ..how() }).await;
        assert_eq!((retained.identities, tables.count("identities_first").await), (removed, stay));
        assert_eq!(retained.refused, []);
    }
    let retained = run(&tables, how()).await;
    assert_eq!((retained.identities, tables.count("identities_first").await), (2, 2));
    tables.assert_promise().await;
}

#[tokio::test]
async fn keys_that_stand_there_become_the_first_partition_and_stay_known() {
    let mut tables = Tables::new().await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    load_body(&tables, "undated", &keyed("x", "undated", "ios"), now()).await;
    let monthly = async || partition(&tables.database, Period::Monthly, PATIENCE).await.unwrap().converted;
    let tables_of =
        |converted: Vec<(Parent, OffsetDateTime)>| converted.into_iter().map(|(of, _)| of).collect::<Vec<_>>();
    assert_eq!(tables_of(monthly().await), Parent::OF_MESSAGES, "no key carries a time");
    tables.judge = judge_of(SCHEME, QUEUE_ARN);
    let body = keyed(&uuid(now(), 1), "dated", "ios");
    load_body(&tables, "dated", &body, now()).await;
    let monthly = async || partition(&tables.database, Period::Monthly, PATIENCE).await.unwrap().converted;
    assert_eq!(tables_of(monthly().await), [Parent::Identities]);
    assert_eq!(tables_of(monthly().await), []);
    let bounds = "pg_inherits WHERE inhparent = 'turnstile.identities'::regclass";
    assert!(tables.count(bounds).await >= 3, "the first, and some ahead");

    load_body(&tables, "dated again", &body, now()).await;
    load_body(&tables, "later", &keyed(&uuid(now() + Duration::hours(23), 2), "later", "ios"), now()).await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    load_body(&tables, "undated again", &keyed("x", "undated", "ios"), now()).await;
    assert_eq!(tables.counts().await, [5, 3, 0, 3]);
    assert_eq!(tables.count("identities").await, 3);
    tables.assert_promise().await;

    let read = async |seen: &turnstile::database::Transaction| turnstile::table::facts::TableFacts::read(seen).await;
    let facts = tables.database.snapshot(read).await.unwrap();
    assert_eq!(facts.by_time.len(), 3);
    assert!(facts.by_time.iter().all(|table| table.has_now && table.days_ahead >= 80), "{:?}", facts.by_time);
    assert!(facts.index_of(("identities", &["key_time", "hash"])).is_some());
}

#[tokio::test]
async fn a_letter_whose_key_has_no_partition_any_more_stays_open_even_by_force() {
    let tables = filled(months_of_keys().await).await;
    run(&tables, how()).await;
    for (id, at) in [("gone", month(2)), ("first", month(0) - Duration::days(40))] {
        load_body(&tables, id, &keyed(&uuid(at, 7), id, "ios"), month(5) - Duration::days(5)).await;
    }
    let forced = tables.turnstile(&["dead-letters", "replay", "--all", "--yes", "--force"]).await;
    forced.assert_said(1, &["1 of 2 open dead letters replayed", "SQLSTATE 23514"]);
    assert_eq!(tables.count("user_logins WHERE user_id = 'first'").await, 1);
    assert_eq!(tables.count("dead_letters WHERE status = 'open' AND message_id = 'gone'").await, 1);
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
    let mut tables = dated_months().await;
    let body = keyed(&uuid(KEPT_SINCE + Duration::HOUR, 8), "ahead", "ios");
    load_body(&tables, "ahead", &body, KEPT_SINCE - Duration::HOUR).await;
    // Among keys without a time, which are looked through for their age.
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    load_body(&tables, "undated", &keyed("x", "undated", "ios"), month(5)).await;
    tables.judge = judge_of(SCHEME, QUEUE_ARN);
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
