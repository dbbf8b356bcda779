-- The roles of Turnstile: what each may do, and not a column more.
--
-- A role belongs to the whole server, so its administrator makes them, once:
--
--     CREATE ROLE turnstile_loader   NOLOGIN;   -- turnstile run
--     CREATE ROLE turnstile_viewer   NOLOGIN;   -- turnstile console, to look at
--     CREATE ROLE turnstile_operator NOLOGIN;   -- turnstile dead-letters, loaders, and outbox (but its prune, which is the owner's)
--     CREATE ROLE turnstile_revealer NOLOGIN;   -- turnstile dead-letters show --reveal
--     CREATE ROLE turnstile_auditor  NOLOGIN;   -- turnstile audit
--     CREATE ROLE turnstile_analyst  NOLOGIN;   -- queries over user_logins
--     CREATE ROLE turnstile_relay    NOLOGIN;   -- turnstile relay
--
-- and for each program and person one that logs in, in one of them:
--
--     CREATE ROLE loader_1 LOGIN PASSWORD '…' IN ROLE turnstile_loader;
--     CREATE ROLE alice    LOGIN PASSWORD '…' IN ROLE turnstile_operator, turnstile_auditor;
--     CREATE ROLE grace    LOGIN PASSWORD '…' IN ROLE turnstile_operator, turnstile_revealer;
--
-- Then the owner of the tables runs this file, in the database of the logins: after `turnstile migrate`, and again after
-- each later one. It may be run as often as one likes; it takes effect as a whole or not at all.
--
--     psql "$DATABASE_URL" --set ON_ERROR_STOP=1 --file deploy/grants.sql
--
-- It is written for the schemas `turnstile` and `public`. For others (--schema, --logins-schema), write those in:
--
--     perl -pe 's/\bturnstile\b/mine/g; s/\bpublic\b/theirs/g' deploy/grants.sql
--
-- `turnstile check` says which of the loader's privileges a role lacks, and what it may do beyond them.

BEGIN;

-- PostgreSQL only warns where a GRANT grants nothing.
DO $$
DECLARE
    role_name text;
    own       CONSTANT text := 'turnstile';
    logins    CONSTANT text := 'public';
    own_oid   oid;
    foreign_object record;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['turnstile_loader', 'turnstile_viewer', 'turnstile_operator', 'turnstile_revealer', 'turnstile_auditor', 'turnstile_analyst', 'turnstile_relay'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            RAISE EXCEPTION 'there is no role %', role_name
                USING HINT = 'Let an administrator of the server run: CREATE ROLE ' || role_name
                             || ' NOLOGIN. At the head of this file are all seven.';
        END IF;
    END LOOP;

    SELECT oid INTO own_oid FROM pg_catalog.pg_namespace WHERE nspname = own;
    IF (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = own AND c.relname = 'loaders' OR n.nspname = logins AND c.relname = 'user_logins') < 2 THEN
        RAISE EXCEPTION 'there are no tables of Turnstile in the schemas % and %, or older ones than this file is for', own, logins
            USING HINT = 'Run `turnstile migrate` first, or write the names of your schemas into this file.';
    END IF;

    SELECT o.what, pg_catalog.pg_get_userbyid(o.owner) AS owner INTO foreign_object
    FROM (SELECT 'the schema ' || n.nspname::text, n.nspowner FROM pg_catalog.pg_namespace n WHERE n.oid = own_oid
          UNION ALL
          SELECT n.nspname::text || '.' || c.relname::text, c.relowner
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.oid = own_oid AND c.relkind IN ('r', 'p', 'S')
             OR n.nspname = logins AND c.relname = 'user_logins') AS o (what, owner)
    WHERE NOT pg_catalog.pg_has_role(o.owner, 'USAGE')
       -- Tables that a stranger has put there are not granted by a superuser either.
       OR o.what NOT LIKE '%.user_logins'
          AND NOT pg_catalog.pg_has_role(o.owner, (SELECT nspowner FROM pg_catalog.pg_namespace WHERE oid = own_oid), 'MEMBER')
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% belongs to %, and what this file grants on it would not be granted', foreign_object.what, foreign_object.owner
            USING HINT = 'Run this as the owner of the tables.';
    END IF;
END
$$;

-- Nothing of earlier versions of this file stays.
REVOKE ALL ON ALL TABLES    IN SCHEMA turnstile FROM turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_analyst, turnstile_relay;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA turnstile FROM turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_analyst, turnstile_relay;
REVOKE ALL ON public.user_logins                FROM turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_analyst, turnstile_relay;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA turnstile FROM turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_analyst, turnstile_relay;

GRANT USAGE ON SCHEMA turnstile TO turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_relay;

-- Where the logins stand: everybody may use that schema by default, and only its owner can grant it.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['turnstile_loader', 'turnstile_operator', 'turnstile_auditor', 'turnstile_analyst'] LOOP
        CONTINUE WHEN pg_catalog.has_schema_privilege(role_name, 'public', 'USAGE');
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA public TO %I', role_name);
        IF NOT pg_catalog.has_schema_privilege(role_name, 'public', 'USAGE') THEN
            RAISE EXCEPTION '% may not use the schema public, and this role cannot grant it', role_name
                USING HINT = 'Let the owner of that schema run: GRANT USAGE ON SCHEMA public TO ' || role_name;
        END IF;
    END LOOP;
END
$$;

-- Which version the tables are at: no command starts without knowing.
GRANT SELECT (version) ON turnstile.refinery_schema_history TO turnstile_loader, turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, turnstile_relay;


-- The loader: `turnstile run`. It writes logins and dead letters and cannot read them back: somebody with its
-- password finds hashes. What it selects is what WHERE, RETURNING and ON CONFLICT count as reading.

-- Claims messages, and says of some of those which others had brought their logins.
GRANT INSERT (sent_at, message_hash, outcome, message_id, body_hash, received_at),
      SELECT (sent_at, message_hash),
      UPDATE (outcome, absorbed_by, absorbed_by_sent_at)
    ON turnstile.processed_messages TO turnstile_loader;

-- Claims the keys of their logins, and reads whose they are.
GRANT INSERT (key_time, hash, owner_sent_at, owner, login_hash), SELECT (key_time, hash, owner_sent_at, owner, login_hash)
    ON turnstile.identities TO turnstile_loader;

-- Inserts logins. The message that brought one must be named, but in an adopted table.
GRANT INSERT (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_hash, message_sent_at),
      SELECT (message_sent_at, message_hash)
    ON public.user_logins TO turnstile_loader;

-- Writes the event of each login, under the position that the sequence gives, and looks at start whether that is a new one.
GRANT INSERT (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, event_id, message_sent_at, traceparent),
      SELECT (position)
    ON turnstile.outbox TO turnstile_loader;
GRANT USAGE, SELECT ON SEQUENCE turnstile.outbox_position_seq TO turnstile_loader;
GRANT EXECUTE ON FUNCTION turnstile.extend_outbox() TO turnstile_loader;
GRANT EXECUTE ON FUNCTION turnstile.extend_partitions() TO turnstile_loader;

-- Inserts the messages that are not logins, as open ones.
GRANT INSERT (message_hash, code, detail, sealed_body, message_id, receive_count, field, place, sent_at, sent_timestamp,
              received_at, queue),
      SELECT (sent_at, message_hash)
    ON turnstile.dead_letters TO turnstile_loader;

-- Loads the messages of open dead letters that an operator sent back to the queue: what becomes of a letter, the database says.
GRANT EXECUTE ON FUNCTION turnstile.take_requeued(bytea[], timestamptz[]), turnstile.resolve_requeued(bytea[], timestamptz[])
    TO turnstile_loader;

-- Notes what its queue's messages are claimed under.
GRANT INSERT (arn, scheme), SELECT (arn, scheme, scheme_since, time_basis), UPDATE (scheme, scheme_since, time_basis)
    ON turnstile.queues TO turnstile_loader;

-- Compares its keys with those of the tables, and heeds how far back these remember.
GRANT SELECT (key_id, purpose, mask, check_value, registered_at) ON turnstile.turnstile_keys TO turnstile_loader;
GRANT SELECT (retained_since) ON turnstile.horizon TO turnstile_loader;

-- Notes that it lives and how it is, has what is gone forgotten, and hears whether it is to receive. It loads without the first
-- two; the last, whoever may use the schema may ask.
GRANT INSERT (id, host, pid, version, queue, state, lanes, received, loaded, dead_lettered, absorbed, contradicting, returned,
              released, damaged, in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99, sqs_calls, sqs_billed,
              sqs_empty_receives),
      SELECT (id),
      UPDATE (seen_at, state, lanes, received, loaded, dead_lettered, absorbed, contradicting, returned, released, damaged,
              in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99, sqs_calls, sqs_billed, sqs_empty_receives)
    ON turnstile.loaders TO turnstile_loader;
GRANT EXECUTE ON FUNCTION turnstile.forget_loaders(), turnstile.receiving_paused(text, text) TO turnstile_loader;

-- The viewer: `turnstile console`, for who looks and does nothing. It sees what is known of dead letters but their bodies, how
-- messages are recorded, what operators did, how the loaders do, where receiving is paused, and how the sinks stand.

GRANT SELECT (message_hash, code, detail, field, grounds, place, message_id, receive_count, sent_at, sent_timestamp, received_at, queue,
              dead_lettered_at, status, resolved_at, resolved_by)
    ON turnstile.dead_letters TO turnstile_viewer;
GRANT SELECT (sent_at, message_hash, outcome, absorbed_by, received_at, processed_at)
    ON turnstile.processed_messages TO turnstile_viewer;
GRANT SELECT (id, done_at, role, person, action, letters, subject, sent_at, message_hash, reason, plan)
    ON turnstile.operator_actions TO turnstile_viewer;
GRANT SELECT (plan, made_at, role, person, reason, meant, force, edits, state, letters, done, begun_at, worked_at, ended_at)
    ON turnstile.replay_plans TO turnstile_viewer;
GRANT SELECT (plan, sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place, became, became_detail, became_at)
    ON turnstile.replay_plan_letters TO turnstile_viewer;
GRANT SELECT (sent_at, message_hash, plan, made_at, role, person, reason, paths, tried_at)
    ON turnstile.dead_letter_revisions TO turnstile_viewer;
GRANT SELECT (arn, scheme, scheme_since, time_basis) ON turnstile.queues TO turnstile_viewer;
GRANT SELECT (position, event_id, created_at) ON turnstile.outbox TO turnstile_viewer;
GRANT SELECT ON SEQUENCE turnstile.outbox_position_seq TO turnstile_viewer;
GRANT SELECT (below, written_until) ON turnstile.outbox_pruned TO turnstile_viewer;
GRANT SELECT (sink, target, ordered, slots, cluster_id, since) ON turnstile.relay_sinks TO turnstile_viewer;
GRANT SELECT (sink, slot, position, set_at) ON turnstile.relay_marks TO turnstile_viewer;
GRANT SELECT (sink, first_position, last_position, since, writers) ON turnstile.relay_gaps TO turnstile_viewer;
GRANT SELECT (sink, first_position, last_position, owner, attempts, leased_until) ON turnstile.relay_chunks TO turnstile_viewer;
GRANT SELECT (sink, position, event_id, status, code, attempts, since, next_at) ON turnstile.relay_failures TO turnstile_viewer;
GRANT SELECT (id, host, pid, version, queue, started_at, seen_at, state, lanes, received, loaded, dead_lettered, absorbed,
              contradicting, returned, released, damaged, in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99,
              sqs_calls, sqs_billed, sqs_empty_receives)
    ON turnstile.loaders TO turnstile_viewer;
GRANT SELECT (id, queue, loader, since, role, person, reason) ON turnstile.loader_pauses TO turnstile_viewer;
GRANT EXECUTE ON FUNCTION turnstile.receiving_paused(text, text) TO turnstile_viewer;


-- The operator: `turnstile dead-letters`, `turnstile loaders`, and `turnstile outbox` but for its `prune`. It takes the bodies of open dead letters to
-- replay them, which is noted; they are sealed, and without the keyring they say nothing. It cannot read the logins, nor what
-- the events say of them, nor delete anything, nor write or change what is noted of its actions.

-- Lists and shows dead letters, and has the database resolve them, which notes when, by whom and why.
GRANT SELECT (message_hash, code, detail, field, grounds, place, message_id, receive_count, sent_at, sent_timestamp, received_at, queue,
              dead_lettered_at, status, resolved_at, resolved_by)
    ON turnstile.dead_letters TO turnstile_operator;
GRANT EXECUTE ON FUNCTION turnstile.take_bodies(bytea[], timestamptz[]), turnstile.describe_body(timestamptz, bytea),
                          turnstile.set_status(bytea[], timestamptz[], text, text),
                          turnstile.requeue_letters(bytea[], timestamptz[], boolean), turnstile.note_code(text)
    TO turnstile_operator;
GRANT SELECT (id, done_at, role, person, action, letters, subject, sent_at, message_hash, reason, plan)
    ON turnstile.operator_actions TO turnstile_operator;

-- Writes their sealed bodies to files, which is noted, and has the database take dead letters from files and other queues: it claims
-- their messages as a loader does, and notes each. Who may do so can keep a message from being loaded before it comes, as a dead letter.
GRANT EXECUTE ON FUNCTION turnstile.export_letters(bytea[], timestamptz[]),
                          turnstile.import_letters(timestamptz[], bytea[], text[], text[], text[], text[], text[], bytea[], bytea[],
                                                   text[], integer[], timestamptz[], timestamptz[], boolean[]),
                          turnstile.note_queue(text, text, text)
    TO turnstile_operator;
GRANT SELECT (retained_since) ON turnstile.horizon TO turnstile_operator;

-- Draws replays up and runs them. Whose a plan is and which letters it has, nobody changes afterwards.
GRANT INSERT (person, reason, meant, force, edits),
      SELECT (plan, made_at, role, person, reason, meant, force, edits, state, letters, done, begun_at, worked_at, ended_at),
      UPDATE (state, letters, done, begun_at, worked_at, ended_at)
    ON turnstile.replay_plans TO turnstile_operator;
GRANT INSERT (plan, sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place),
      SELECT (plan, sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place, became, became_detail, became_at),
      UPDATE (became, became_detail, became_at)
    ON turnstile.replay_plan_letters TO turnstile_operator;
GRANT SELECT (sent_at, message_hash, plan, made_at, role, person, reason, paths, tried_at)
    ON turnstile.dead_letter_revisions TO turnstile_operator;
GRANT EXECUTE ON FUNCTION turnstile.take_letters(bytea[], timestamptz[], bigint[]),
                          turnstile.add_revisions(bigint, timestamptz[], bytea[], text[], bytea[]),
                          turnstile.try_revisions(bigint, timestamptz[], bytea[])
    TO turnstile_operator;

-- Replays: the claim of a dead letter becomes the claim of a login …
GRANT SELECT (sent_at, message_hash, outcome, absorbed_by, received_at, processed_at),
      UPDATE (outcome, absorbed_by, absorbed_by_sent_at)
    ON turnstile.processed_messages TO turnstile_operator;

-- … which claims its key as a loader's does, under what its queue's loaders noted and with the keys of the tables, …
GRANT INSERT (key_time, hash, owner_sent_at, owner, login_hash), SELECT (key_time, hash, owner_sent_at, owner, login_hash)
    ON turnstile.identities TO turnstile_operator;
GRANT SELECT (arn, scheme, scheme_since, time_basis) ON turnstile.queues TO turnstile_operator;
GRANT SELECT (key_id, purpose, mask, check_value, registered_at) ON turnstile.turnstile_keys TO turnstile_operator;

-- … and is inserted with its event.
GRANT INSERT (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_hash, message_sent_at),
      SELECT (message_sent_at, message_hash)
    ON public.user_logins TO turnstile_operator;
GRANT INSERT (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, event_id, message_sent_at)
    ON turnstile.outbox TO turnstile_operator;
GRANT USAGE ON SEQUENCE turnstile.outbox_position_seq TO turnstile_operator;

-- Sees how the sinks stand: where events are and when they were written, and what the relays note. What the sessions of other
-- roles do is seen by members of pg_read_all_stats only; the server's administrator may add: GRANT pg_read_all_stats TO …
GRANT SELECT (position, event_id, created_at) ON turnstile.outbox TO turnstile_operator;
GRANT SELECT ON SEQUENCE turnstile.outbox_position_seq TO turnstile_operator;
GRANT SELECT (below, written_until) ON turnstile.outbox_pruned TO turnstile_operator;
GRANT SELECT (sink, target, ordered, slots, cluster_id, since) ON turnstile.relay_sinks TO turnstile_operator;
GRANT SELECT (sink, slot, position, set_at) ON turnstile.relay_marks TO turnstile_operator;
GRANT SELECT (sink, first_position, last_position, since, writers) ON turnstile.relay_gaps TO turnstile_operator;

-- Lets events be carried again: the relays take over chunks that nobody has.
GRANT SELECT (sink, first_position, last_position, owner, attempts, leased_until),
      INSERT (sink, slot, first_position, last_position, lease, leased_until)
    ON turnstile.relay_chunks TO turnstile_operator;

-- Lists refused events, lets them be tried again, or gives them up.
GRANT SELECT (sink, position, event_id, status, code, attempts, since, next_at), UPDATE (status, attempts, next_at)
    ON turnstile.relay_failures TO turnstile_operator;

-- Sees the loaders, and has the database pause and resume them, which notes when, by whom and why.
GRANT SELECT (id, host, pid, version, queue, started_at, seen_at, state, lanes, received, loaded, dead_lettered, absorbed,
              contradicting, returned, released, damaged, in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99,
              sqs_calls, sqs_billed, sqs_empty_receives)
    ON turnstile.loaders TO turnstile_operator;
GRANT SELECT (id, queue, loader, since, role, person, reason) ON turnstile.loader_pauses TO turnstile_operator;
GRANT EXECUTE ON FUNCTION turnstile.pause_receiving(text, text), turnstile.resume_receiving(text, text),
                          turnstile.receiving_paused(text, text)
    TO turnstile_operator;


-- The revealer: `turnstile dead-letters show --reveal` and `turnstile unmask --note`, for an operator who may see what a body says. Each time is noted, with
-- a reason.

GRANT SELECT (message_hash, code, detail, field, grounds, place, message_id, receive_count, sent_at, sent_timestamp, received_at, queue,
              dead_lettered_at, status, resolved_at, resolved_by)
    ON turnstile.dead_letters TO turnstile_revealer;
GRANT SELECT (sent_at, message_hash, outcome, absorbed_by, received_at, processed_at)
    ON turnstile.processed_messages TO turnstile_revealer;
GRANT EXECUTE ON FUNCTION turnstile.reveal_body(timestamptz, bytea), turnstile.describe_body(timestamptz, bytea),
                          turnstile.reveal_revision(timestamptz, bytea, bigint), turnstile.note_unmasking(bigint)
    TO turnstile_revealer;
GRANT SELECT (plan, made_at, role, person, reason, meant, force, edits, state, letters, done, begun_at, worked_at, ended_at)
    ON turnstile.replay_plans TO turnstile_revealer;
GRANT SELECT (plan, sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place, became, became_detail, became_at)
    ON turnstile.replay_plan_letters TO turnstile_revealer;
GRANT SELECT (sent_at, message_hash, plan, made_at, role, person, reason, paths, tried_at)
    ON turnstile.dead_letter_revisions TO turnstile_revealer;
GRANT SELECT (id, done_at, role, person, action, letters, subject, sent_at, message_hash, reason, plan)
    ON turnstile.operator_actions TO turnstile_revealer;

-- … and `turnstile dead-letters export --reveal`, which says from which queues the letters are.
GRANT SELECT (arn, scheme, scheme_since, time_basis) ON turnstile.queues TO turnstile_revealer;


-- The auditor: `turnstile audit`. It reads hashes and times, and changes nothing.

GRANT SELECT (sent_at, message_hash, outcome, absorbed_by, absorbed_by_sent_at, received_at, processed_at)
    ON turnstile.processed_messages TO turnstile_auditor;
GRANT SELECT (hash, owner_sent_at, owner) ON turnstile.identities TO turnstile_auditor;
GRANT SELECT (message_sent_at, message_hash) ON public.user_logins TO turnstile_auditor;
GRANT SELECT (event_id, message_sent_at) ON turnstile.outbox TO turnstile_auditor;
GRANT SELECT (written_until) ON turnstile.outbox_pruned TO turnstile_auditor;
GRANT SELECT (sent_at, message_hash, code, status, resolved_at) ON turnstile.dead_letters TO turnstile_auditor;
GRANT SELECT (time_basis) ON turnstile.queues TO turnstile_auditor;
GRANT SELECT (retained_since) ON turnstile.horizon TO turnstile_auditor;


-- The analyst: queries over the masked logins. Not the message of each, whose time says to the millisecond when it was
-- sent, which joins with other logs that hold address and time.

GRANT SELECT (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
    ON public.user_logins TO turnstile_analyst;


-- The relay: `turnstile relay`. It reads the events, masked values only, and notes how far it has carried them. It cannot
-- read the logins nor the dead letters, nor change an event.

-- Reads events, and which position the sequence gave last.
GRANT SELECT (position, event_id, created_at, traceparent, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
    ON turnstile.outbox TO turnstile_relay;
GRANT SELECT ON SEQUENCE turnstile.outbox_position_seq TO turnstile_relay;

-- Makes its sink, finds it again, and takes it over to another target or from another cluster.
GRANT INSERT (sink, target, cluster_id, ordered), SELECT (sink, target, cluster_id, ordered), UPDATE (target, cluster_id)
    ON turnstile.relay_sinks TO turnstile_relay;

-- Begins a new sink after what is gone. (Who prunes is the owner of the tables: `turnstile outbox prune`.)
GRANT SELECT (below) ON turnstile.outbox_pruned TO turnstile_relay;

-- Moves the frontier, and forgets where it stood long ago.
GRANT INSERT (sink, slot, position), SELECT (sink, slot, position), DELETE ON turnstile.relay_marks TO turnstile_relay;

-- Leases events, takes over those of a relay that is gone, and lets go of what is carried.
GRANT INSERT (sink, slot, first_position, last_position, lease, leased_until, owner),
      SELECT (id, sink, slot, first_position, last_position, lease, leased_until, attempts),
      UPDATE (lease, leased_until, attempts, owner),
      DELETE
    ON turnstile.relay_chunks TO turnstile_relay;

-- Notes what may still come below the frontier, and who may bring it.
GRANT INSERT (sink, slot, first_position, last_position, writers),
      SELECT (id, sink, slot, first_position, last_position, writers, since),
      UPDATE (writers),
      DELETE
    ON turnstile.relay_gaps TO turnstile_relay;

-- Notes what a sink refuses, and tries it again.
GRANT INSERT (sink, position, event_id, code, next_at, subject, attempts, status),
      SELECT (sink, position, status, attempts, next_at, subject),
      UPDATE (status, attempts, next_at, code),
      DELETE
    ON turnstile.relay_failures TO turnstile_relay;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus') THEN
        -- Where tables are distributed (docs/SCALE.md), the coordinator writes the defaults of columns itself.
        GRANT INSERT (processed_at) ON turnstile.processed_messages TO turnstile_loader;
        GRANT INSERT (claimed_at) ON turnstile.identities TO turnstile_loader, turnstile_operator;
        -- An audit asks only for what was decided on all servers when it began.
        GRANT SELECT (processed_at) ON turnstile.processed_messages TO turnstile_auditor;
        GRANT SELECT (claimed_at) ON turnstile.identities TO turnstile_auditor;
        GRANT SELECT (dead_lettered_at, resolved_at) ON turnstile.dead_letters TO turnstile_auditor;
        GRANT SELECT (created_at) ON turnstile.outbox TO turnstile_auditor;
    END IF;
END
$$;

COMMIT;
