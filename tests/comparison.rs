//! The checker sees every way in which the tables can differ from what was sent.

use turnstile::audit::comparison::Discrepancies;

use crate::support::pipeline::Pipeline;

#[tokio::test]
async fn tables_that_a_loader_filled_do_not_differ_from_what_was_sent() {
    let pipeline = Pipeline::new().await;
    pipeline.send_mixed(250, 6).await;
    pipeline.drain().await;
    pipeline.assert_promise().await;
}

#[tokio::test]
async fn each_tampering_with_the_tables_is_found_and_counted_under_its_name() {
    let pipeline = Pipeline::new().await;
    pipeline.send_mixed(40, 4).await;
    pipeline.drain().await;
    let none = Discrepancies::default();
    // Each of them strikes two messages, or one with two traces of one.
    for (tampering, restoring, expected) in [
        (
            "DELETE FROM user_logins WHERE message_hash IN (SELECT message_hash FROM user_logins LIMIT 2)",
            "user_logins",
            Discrepancies { lost: 2, ..none },
        ),
        (
            "DELETE FROM dead_letters WHERE message_hash IN (SELECT message_hash FROM dead_letters LIMIT 2)",
            "dead_letters",
            Discrepancies { lost: 2, ..none },
        ),
        (
            "DELETE FROM outbox WHERE event_id IN (SELECT event_id FROM outbox LIMIT 2)",
            "outbox",
            Discrepancies { lost: 2, ..none },
        ),
        (
            "DELETE FROM processed_messages WHERE message_hash IN (SELECT message_hash FROM processed_messages LIMIT 2)",
            "processed_messages",
            Discrepancies { lost: 2, ..none },
        ),
        (
            "DROP INDEX user_logins_message_key; INSERT INTO user_logins SELECT * FROM user_logins LIMIT 2",
            "user_logins",
            Discrepancies { doubled: 2, ..none },
        ),
        (
            "INSERT INTO user_logins (message_sent_at, message_hash) SELECT now(), sha256('nobody sent this')",
            "user_logins",
            Discrepancies { unexpected: 1, ..none },
        ),
        (
            "INSERT INTO outbox (event_id, message_sent_at) SELECT message_hash, sent_at FROM dead_letters LIMIT 2",
            "outbox",
            Discrepancies { unexpected: 2, ..none },
        ),
        (
            "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
             SELECT sent_at + interval '1 ms', message_hash, outcome, message_id, body_hash, received_at FROM processed_messages LIMIT 2",
            "processed_messages",
            Discrepancies { doubled: 2, ..none },
        ),
        (
            "UPDATE processed_messages SET outcome = 'dead_lettered' WHERE message_hash IN (SELECT message_hash FROM user_logins LIMIT 2)",
            "processed_messages",
            Discrepancies { misrouted: 2, ..none },
        ),
        (
            "WITH taken AS (DELETE FROM user_logins WHERE message_hash IN (SELECT message_hash FROM user_logins LIMIT 2)
                            RETURNING message_hash AS hash),
                  silent AS (DELETE FROM outbox USING taken WHERE event_id = hash)
             UPDATE processed_messages p SET outcome = 'absorbed', absorbed_by = o.message_hash, absorbed_by_sent_at = o.sent_at
             FROM taken, (SELECT * FROM processed_messages WHERE outcome = 'loaded' ORDER BY message_hash DESC LIMIT 1) AS o
             WHERE p.message_hash = hash",
            "processed_messages, user_logins, outbox",
            Discrepancies { lost: 2, ..none },
        ),
        (
            "UPDATE user_logins SET locale = '203.0.113.7' WHERE message_hash IN (SELECT message_hash FROM user_logins LIMIT 2)",
            "user_logins",
            Discrepancies { leaked: 2, ..none },
        ),
        (
            "UPDATE dead_letters SET sealed_body = 'the device of canary' WHERE message_hash IN (SELECT message_hash FROM dead_letters LIMIT 1)",
            "dead_letters",
            Discrepancies { leaked: 1, ..none },
        ),
    ] {
        let tables: Vec<&str> = restoring.split(", ").collect();
        for table in &tables {
            pipeline.client.batch_execute(&format!("CREATE TABLE kept_{table} AS TABLE {table}")).await.unwrap();
        }
        pipeline.client.batch_execute(tampering).await.unwrap();
        assert_eq!(pipeline.discrepancies().await, expected, "{tampering}");
        for table in &tables {
            let columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                           WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";
            let columns: String = pipeline.client.query_one(columns, &[table]).await.unwrap().get(0);
            let restore = format!(
                "DELETE FROM {table}; INSERT INTO {table} ({columns}) SELECT {columns} FROM kept_{table}; DROP TABLE kept_{table}"
            );
            pipeline.client.batch_execute(&restore).await.unwrap();
        }
        assert!(pipeline.discrepancies().await.none(), "restored after {tampering}");
    }
}
