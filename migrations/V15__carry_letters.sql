-- Dead letters that operators carry: out of these tables into a file, and from a file or a queue into these tables.

ALTER TABLE turnstile.operator_actions
    DROP CONSTRAINT operator_actions_action_check,
    ADD CONSTRAINT operator_actions_action_check CHECK (action IN
        ('taken', 'revealed', 'edited', 'requeued', 'replayed', 'absorbed', 'discarded', 'reopened', 'exported', 'imported',
         'cancelled', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_check1,
    ADD CONSTRAINT operator_actions_check1 CHECK (CASE
        WHEN action IN ('cancelled', 'paused', 'resumed', 'unmasked') THEN letters = 0 AND message_hash IS NULL AND subject IS NOT NULL
        ELSE action IN ('taken', 'exported') OR message_hash IS NOT NULL AND letters = 1 END);

COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, requeued (its body was read to be sent back to its queue), replayed or absorbed (by an operator, or by the loader that received it again), discarded or reopened; exported (sealed bodies were read to be written to a file), imported (it came from a file, or from another queue); cancelled (a plan); paused or resumed (receiving from a queue); unmasked (values of logins were recovered).';
COMMENT ON COLUMN turnstile.operator_actions.letters IS
    'How many dead letters: more than one only where bodies were taken or exported, and none where no letter was concerned.';
COMMENT ON COLUMN turnstile.operator_actions.sent_at IS
    'The dead letter: dead_letters.sent_at. NULL where bodies were taken or exported.';
COMMENT ON COLUMN turnstile.operator_actions.message_hash IS
    'The dead letter: dead_letters.message_hash. NULL where bodies were taken or exported.';

-- The bodies that are exported, as they are sealed: of each letter the one that was delivered, and what an edit made of it that
-- was tried last.
CREATE FUNCTION turnstile.export_letters(hashes bytea[], sent timestamptz[])
RETURNS TABLE (sent_at timestamptz, message_hash bytea, sealed_body bytea, revision bigint, edited_body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    exported integer;
BEGIN
    RETURN QUERY
        SELECT l.sent_at, l.message_hash, l.sealed_body, r.plan, r.sealed_body
        FROM unnest(hashes, sent) AS wanted (hash, sent_at)
        JOIN turnstile.dead_letters l ON l.message_hash = wanted.hash AND l.sent_at = wanted.sent_at
        LEFT JOIN LATERAL (
            SELECT v.plan, v.sealed_body FROM turnstile.dead_letter_revisions v
            WHERE v.sent_at = l.sent_at AND v.message_hash = l.message_hash AND v.tried_at IS NOT NULL
            ORDER BY v.tried_at DESC, v.plan DESC LIMIT 1) r ON true
        ORDER BY l.sent_at, l.message_hash;
    GET DIAGNOSTICS exported = ROW_COUNT;
    IF exported > 0 THEN
        PERFORM turnstile.note_action('exported', NULL, NULL, exported);
    END IF;
END
$$;

-- Claims messages and writes their dead letters: both of a message, or neither. When a letter was written and resolved is not the
-- client's to say.
CREATE FUNCTION turnstile.import_letters(
    sent timestamptz[], hashes bytea[], queues text[], codes text[], details text[], fields text[], places text[], bodies bytea[],
    body_hashes bytea[], message_ids text[], counts integer[], by_queue timestamptz[], received timestamptz[], discarded boolean[])
RETURNS TABLE (sent_at timestamptz, message_hash bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    new_sent   timestamptz[];
    new_hashes bytea[];
BEGIN
    -- In the order in which loaders claim.
    WITH claimed AS (
        INSERT INTO turnstile.processed_messages AS p (sent_at, message_hash, outcome, message_id, body_hash, received_at)
        SELECT n.sent_at, n.hash, 'dead_lettered', n.message_id, n.body_hash, n.received_at
        FROM unnest(sent, hashes, message_ids, body_hashes, received) AS n (sent_at, hash, message_id, body_hash, received_at)
        ORDER BY n.sent_at, n.hash
        ON CONFLICT (sent_at, message_hash) DO NOTHING
        RETURNING p.sent_at, p.message_hash
    )
    SELECT array_agg(c.sent_at), array_agg(c.message_hash) INTO new_sent, new_hashes FROM claimed c;
    -- After the claims: it was no later when they were made. Claims from before it may be gone, so that these prove nothing.
    IF EXISTS (SELECT FROM turnstile.horizon h, unnest(new_sent) AS n (sent_at)
               WHERE n.sent_at <> 'epoch' AND n.sent_at < h.retained_since) THEN
        RAISE EXCEPTION 'the horizon has moved past messages that are imported' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN QUERY
        WITH letters AS (
            INSERT INTO turnstile.dead_letters AS l
                (sent_at, message_hash, queue, code, detail, field, place, sealed_body, message_id, receive_count, sent_timestamp,
                 received_at, status, resolved_at, resolved_by)
            SELECT n.sent_at, n.hash, n.queue, n.code, n.detail, n.field, n.place, n.body, n.message_id, n.receive_count, n.by_queue,
                   n.received_at, CASE WHEN n.discarded THEN 'discarded' ELSE 'open' END, CASE WHEN n.discarded THEN now() END,
                   CASE WHEN n.discarded THEN concat_ws(': ', session_user, nullif(current_setting('letters.person', true), '')) END
            FROM unnest(sent, hashes, queues, codes, details, fields, places, bodies, message_ids, counts, by_queue, received, discarded)
                AS n (sent_at, hash, queue, code, detail, field, place, body, message_id, receive_count, by_queue, received_at, discarded)
            JOIN unnest(new_sent, new_hashes) AS c (sent_at, hash) ON c.sent_at = n.sent_at AND c.hash = n.hash
            RETURNING l.sent_at, l.message_hash
        )
        SELECT i.sent_at, i.message_hash
        FROM letters i CROSS JOIN LATERAL turnstile.note_action('imported', i.sent_at, i.message_hash, 1);
END
$$;

-- What the claims of a queue's messages are made of, where no loader has said it yet: a loader's word stands.
CREATE FUNCTION turnstile.note_queue(its_arn text, its_scheme text, its_basis text) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO turnstile.queues AS q (arn, scheme, time_basis) VALUES (its_arn, its_scheme, its_basis)
    ON CONFLICT (arn) DO UPDATE SET time_basis = coalesce(q.time_basis, excluded.time_basis)
    RETURNING time_basis;
$$;

REVOKE ALL ON FUNCTION
    turnstile.export_letters(bytea[], timestamptz[]),
    turnstile.import_letters(timestamptz[], bytea[], text[], text[], text[], text[], text[], bytea[], bytea[], text[], integer[],
                             timestamptz[], timestamptz[], boolean[]),
    turnstile.note_queue(text, text, text)
    FROM PUBLIC;

COMMENT ON FUNCTION turnstile.export_letters(bytea[], timestamptz[]) IS
    'The sealed bodies of these dead letters, to be written to a file; notes that they were exported.';
COMMENT ON FUNCTION turnstile.import_letters(timestamptz[], bytea[], text[], text[], text[], text[], text[], bytea[], bytea[], text[], integer[], timestamptz[], timestamptz[], boolean[]) IS
    'Claims those of these messages that are not recorded, and writes their dead letters; notes it for each, and gives them back.';
COMMENT ON FUNCTION turnstile.note_queue(text, text, text) IS
    'Records a queue whose dead letters are imported, unless it is recorded, and gives what its messages are claimed under.';
