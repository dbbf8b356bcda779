//! What the relay's role may do, and the operator's with the outbox and with what relays note.

use turnstile::table::relay_status;

use super::*;

#[tokio::test]
async fn the_relay_needs_each_of_its_privileges_and_no_other() {
    let (test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "carried").await.unwrap();
    do_all_that_a_relay_does(&roles, "before").await.unwrap();
    let owner = connect(test.url()).await;
    let role = roles.name("relay");
    let held = privileges_of(&owner, &role).await;
    assert!(held.len() > 50, "{held:?}");
    for (number, privilege) in held.iter().enumerate() {
        owner.batch_execute(&format!("REVOKE {privilege} FROM {role}")).await.unwrap();
        let done = do_all_that_a_relay_does(&roles, &format!("without-{number}")).await;
        assert!(matches!(&done, Err(error) if error.sqlstate() == Some("42501")), "{privilege}: {done:?}");
        owner.batch_execute(&format!("GRANT {privilege} TO {role}")).await.unwrap();
    }
    do_all_that_a_relay_does(&roles, "after").await.unwrap();
    roles.drop().await;
}

#[tokio::test]
async fn the_operator_needs_each_of_its_privileges_on_the_outbox_and_on_what_relays_note() {
    let (test, roles) = granted().await;
    do_all_that_a_loader_does(&roles, "carried").await.unwrap();
    let owner = connect(test.url()).await;
    do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await.unwrap();
    let role = roles.name("operator");
    let held = privileges_of(&owner, &role).await;
    // The others are those of a replay of dead letters.
    let of_outbox = |held: &&String| {
        held.contains("relay_") || held.contains("outbox") && !held.contains("INSERT") && !held.contains("USAGE")
    };
    let held: Vec<&String> = held.iter().filter(of_outbox).collect();
    assert!(held.len() > 35, "{held:?}");
    for privilege in held {
        owner.batch_execute(&format!("REVOKE {privilege} FROM {role}")).await.unwrap();
        let done = do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await;
        assert!(matches!(&done, Err(error) if error.sqlstate() == Some("42501")), "{privilege}: {done:?}");
        owner.batch_execute(&format!("GRANT {privilege} TO {role}")).await.unwrap();
    }
    do_all_that_an_operator_does_with_the_outbox(&roles, &owner).await.unwrap();
    roles.drop().await;
}

/// Every statement of `turnstile outbox`, but of its pruning.
pub(crate) async fn do_all_that_an_operator_does_with_the_outbox(
    roles: &Roles,
    owner: &Client,
) -> Result<(), DatabaseError> {
    let books =
        "DELETE FROM relay_failures; DELETE FROM relay_chunks; DELETE FROM relay_marks; DELETE FROM relay_sinks;
        DELETE FROM outbox_pruned; INSERT INTO outbox_pruned (below, partition, written_until) VALUES (0, 'outbox_0', '2001-01-01 00:00Z');
        INSERT INTO relay_sinks (sink, target, cluster_id) VALUES ('s', 'nowhere', 1);
        INSERT INTO relay_marks (sink, slot, position) SELECT 's', 0, max(position) FROM outbox;
        INSERT INTO relay_failures (sink, position, event_id, code, next_at, status)
        SELECT 's', position, event_id, 'c', now(), 'set_aside' FROM outbox ORDER BY position LIMIT 1";
    owner.batch_execute(books).await.unwrap();
    let operator = database(&roles.operator_url);
    let status = operator.snapshot(async |seen| OutboxStatus::read(seen, None).await).await?;
    assert_eq!(status.sinks.len(), 1);
    let filter = Filter { sink: Some("s".to_owned()), ..Filter::default() };
    let read = async |seen: &Transaction| {
        let listed = relay_refusals::list(seen, &filter, 10).await?;
        let event = listed[0].event;
        assert_eq!(relay_refusals::count(seen, &filter).await?, 1);
        relay_refusals::between(seen, event, event, 2).await
    };
    assert_eq!(operator.snapshot(read).await?.len(), 1);
    for changed in [again::retry(&operator, &filter).await?, again::discard(&operator, &filter).await?] {
        assert_eq!(changed.iter().map(|(_, change)| *change).collect::<Vec<_>>(), [Change::Done]);
    }
    let long_ago = OffsetDateTime::now_utc() - time::Duration::hours(1);
    let ends = (Bound::Time(long_ago), Bound::Time(OffsetDateTime::now_utc() + time::Duration::hours(1)));
    let replayed = async {
        let plan = again::plan(&operator, "s", ends.0, ends.1).await?;
        again::replay(&operator, "s", &plan).await
    };
    match replayed.await {
        Ok(chunks) => assert_eq!(chunks, 1),
        Err(ReplayError::Database(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    }
    Ok(())
}

/// Everything that a role is granted itself, as GRANT takes it.
async fn privileges_of(client: &Client, role: &str) -> Vec<String> {
    let sql = "SELECT format('%s (%I) ON %s', g.privilege_type, a.attname, a.attrelid::regclass)
               FROM pg_attribute a, aclexplode(a.attacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON %s %s', g.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                             c.oid::regclass)
               FROM pg_class c, aclexplode(c.relacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON SCHEMA %I', g.privilege_type, n.nspname)
               FROM pg_namespace n, aclexplode(n.nspacl) g WHERE g.grantee = $1::text::regrole
               UNION ALL
               SELECT format('%s ON FUNCTION %s', g.privilege_type, p.oid::regprocedure)
               FROM pg_proc p, aclexplode(p.proacl) g WHERE g.grantee = $1::text::regrole";
    client.query(sql, &[&role]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Every statement of `turnstile relay`, for a sink of this name that nobody has used.
pub(crate) async fn do_all_that_a_relay_does(roles: &Roles, sink: &str) -> Result<(), DatabaseError> {
    let relay = database(&roles.relay_url);
    relay.schema_version().await?;
    let slot = Slot { sink: sink.to_owned(), number: 0 };
    relay
        .unflushed_transaction(async |transaction| {
            Counting::read(transaction).await?;
            Positions::read(transaction).await?;
            let cluster_id = cluster_id(transaction).await?;
            assert!(!relay_sinks::is_known(transaction, sink).await?);
            outbox_pruned::keep_pruner_away(transaction).await?;
            assert_eq!(outbox_pruned::below(transaction).await?, None);
            let record = SinkRecord { target: "nowhere".to_owned(), cluster_id, is_ordered: true };
            assert_eq!(relay_sinks::introduce(transaction, sink, &record).await?, record);
            relay_sinks::adopt(transaction, sink, &record).await?;
            assert!(relay_sinks::try_lock(transaction, &slot).await?);
            assert_eq!(relay_marks::frontier(transaction, &slot).await?, 0);
            let events = outbox::above(transaction, 0, 10).await?;
            let (first, last) = (events.first().unwrap(), events.last().unwrap());
            let positions = first.position..=last.position;
            assert_eq!(outbox::within(transaction, std::slice::from_ref(&positions)).await?.len(), events.len());
            outbox::writers(transaction).await?;
            assert_eq!(outbox::tally(transaction, std::slice::from_ref(&positions), 10).await?.0, events.len() as i64);
            partitions_of_outbox(transaction).await?;
            relay_marks::append(transaction, &slot, first.position).await?;
            relay_marks::append(transaction, &slot, last.position + 1).await?;
            assert_eq!(relay_marks::prune(transaction, &slot, 0).await?, 1);
            carry(transaction, &slot, positions).await?;
            refuse(transaction, sink, Failure { position: first.position, event_id: first.id, code: "c".to_owned() })
                .await
        })
        .await
}

/// A chunk and a gap at these positions, from beginning to end.
async fn carry(transaction: &Transaction, slot: &Slot, positions: RangeInclusive<i64>) -> Result<(), DatabaseError> {
    let (ended, lease) = (Duration::ZERO, Duration::from_secs(60));
    let lost = relay_chunks::open(transaction, slot, positions.clone(), "host/1", ended).await?;
    let chunk = relay_chunks::take_over(transaction, slot, "host/2", lease).await?.unwrap();
    assert_eq!((chunk.id, &chunk.positions), (lost.id, &positions));
    assert!(!relay_chunks::renew(transaction, &lost, lease).await?, "the number is the same, and the lease another");
    assert!(!relay_chunks::close(transaction, &lost).await?);
    assert!(relay_chunks::renew(transaction, &chunk, lease).await?);
    assert_eq!(relay_chunks::count(transaction, &slot.sink).await?, 1);
    assert_eq!(relay_chunks::covered(transaction, &slot.sink, 10).await?, std::slice::from_ref(&positions));
    assert!(relay_chunks::close(transaction, &chunk).await?);

    relay_gaps::note(transaction, slot, &[positions], None).await?;
    let gaps = relay_gaps::lock(transaction, slot, 0, 10).await?;
    relay_gaps::await_writers(transaction, gaps[0].id, &["1/1".to_owned()]).await?;
    assert_eq!(relay_gaps::count(transaction, &slot.sink).await?, 1);
    assert_eq!(relay_gaps::count_by_age(transaction, &slot.sink, lease).await?, (1, 0));
    assert_eq!(relay_gaps::open(transaction, &slot.sink, 10).await?[0].0.writers, Some(vec!["1/1".to_owned()]));
    relay_status::holders(transaction).await?;
    relay_gaps::remove(transaction, &[gaps[0].id]).await
}

/// An event that is refused twice, and taken then.
async fn refuse(transaction: &Transaction, sink: &str, failure: Failure) -> Result<(), DatabaseError> {
    let (position, at_once) = (failure.position, Duration::ZERO);
    let retrying = Retrying { most_attempts: 3, pause: at_once };
    relay_failures::note(transaction, sink, std::slice::from_ref(&failure), retrying).await?;
    assert_eq!(relay_failures::take_due(transaction, sink, 10, at_once).await?, [position]);
    assert_eq!(relay_failures::refused_again(transaction, sink, std::slice::from_ref(&failure), retrying).await?, 0);
    assert_eq!(relay_failures::first_waiting(transaction, sink, 10).await?, [position]);
    assert_eq!(relay_failures::count(transaction, sink).await?.waiting, 1);
    relay_failures::remove(transaction, sink, &[position]).await?;

    let of_subject = InOrder { failure, subject: [7; 32], was_tried: false };
    relay_failures::note_in_order(transaction, sink, std::slice::from_ref(&of_subject), retrying).await?;
    assert_eq!(relay_failures::held(transaction, sink, &[[7; 32], [8; 32]]).await?, [[7; 32]]);
    assert_eq!(relay_failures::take_first_due(transaction, sink, 10, at_once).await?, [position]);
    assert!(relay_failures::waits_in_order(transaction, sink).await?);
    relay_failures::remove(transaction, sink, &[position]).await
}
