-- Dead letters that operators send back to their queue. They stay open until a loader loads them, under the hash that they had.

ALTER TABLE turnstile.operator_actions
    DROP CONSTRAINT operator_actions_action_check,
    ADD CONSTRAINT operator_actions_action_check CHECK (action IN
        ('taken', 'revealed', 'edited', 'requeued', 'replayed', 'absorbed', 'discarded', 'reopened', 'cancelled', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_letters_check,
    ADD CONSTRAINT operator_actions_letters_check CHECK (letters > 0 OR action IN ('cancelled', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_check1,
    ADD CONSTRAINT operator_actions_check1 CHECK (CASE
        WHEN action IN ('cancelled', 'paused', 'resumed', 'unmasked') THEN letters = 0 AND message_hash IS NULL AND subject IS NOT NULL
        ELSE action = 'taken' OR message_hash IS NOT NULL AND letters = 1 END);

COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, requeued (its body was read to be sent back to its queue), replayed or absorbed (by an operator, or by the loader that received it again), discarded or reopened; cancelled (a plan); paused or resumed (receiving from a queue); unmasked (values of logins were recovered).';

COMMENT ON COLUMN turnstile.operator_actions.subject IS
    'What was cancelled, a plan by its number; what was paused or resumed: a queue, by its ARN, one loader, by its id, or all; or how many values were unmasked. NULL for what is done with letters.';

-- Who stops what others have begun is an action, too.
CREATE FUNCTION turnstile.note_cancelled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO turnstile.operator_actions (action, letters, subject, plan, person, reason)
    VALUES ('cancelled', 0, 'plan ' || NEW.plan, NEW.plan,
            nullif(current_setting('letters.person', true), ''), nullif(current_setting('letters.reason', true), ''));
    RETURN NULL;
END
$$;

CREATE TRIGGER replay_plans_cancelled AFTER UPDATE ON turnstile.replay_plans
    FOR EACH ROW WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled') EXECUTE FUNCTION turnstile.note_cancelled();

-- What is older than memory, or was passed off as a letter, is not sent back: nobody can say whether it was loaded. A message
-- without a time of its own is not either: its claim may be removed while it is in the queue.
CREATE FUNCTION turnstile.requeue_letters(hashes bytea[], sent timestamptz[], as_delivered boolean)
RETURNS TABLE (sent_at timestamptz, message_hash bytea, queue text, message_id text, revision bigint, sealed_body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        WITH letters AS MATERIALIZED (
            SELECT l.sent_at, l.message_hash, l.queue, l.message_id, r.plan, coalesce(r.sealed_body, l.sealed_body) AS body
            FROM unnest(hashes, sent) AS wanted (hash, sent_at)
            JOIN turnstile.dead_letters l ON l.message_hash = wanted.hash AND l.sent_at = wanted.sent_at
            LEFT JOIN LATERAL (
                SELECT v.plan, v.sealed_body FROM turnstile.dead_letter_revisions v
                WHERE v.sent_at = l.sent_at AND v.message_hash = l.message_hash AND v.tried_at IS NOT NULL AND NOT as_delivered
                ORDER BY v.tried_at DESC, v.plan DESC LIMIT 1) r ON true
            WHERE l.status = 'open' AND l.sent_timestamp = l.sent_at AND l.code NOT IN ('older_than_memory', 'not_requeued')
        )
        SELECT t.sent_at, t.message_hash, t.queue, t.message_id, t.plan, t.body
        FROM letters t CROSS JOIN LATERAL turnstile.note_action('requeued', t.sent_at, t.message_hash, 1)
        ORDER BY t.sent_at, t.message_hash;
END
$$;

-- The claims of open letters whose messages came back. Who calls it holds the lock on dead letters, and writes rows and events.
CREATE FUNCTION turnstile.take_requeued(hashes bytea[], sent timestamptz[])
RETURNS TABLE (sent_at timestamptz, message_hash bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE turnstile.processed_messages p SET outcome = 'loaded'
    FROM unnest(hashes, sent) AS wanted (hash, sent_at)
    JOIN turnstile.dead_letters l ON l.message_hash = wanted.hash AND l.sent_at = wanted.sent_at
    WHERE p.message_hash = l.message_hash AND p.sent_at = l.sent_at AND p.outcome = 'dead_lettered'
      AND l.status = 'open' AND l.code NOT IN ('older_than_memory', 'not_requeued')
    RETURNING p.sent_at, p.message_hash;
$$;

-- A loader does not say what has become of a letter: the claim does, and the row.
CREATE FUNCTION turnstile.resolve_requeued(hashes bytea[], sent timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    resolved bigint;
BEGIN
    WITH letters AS (
        UPDATE turnstile.dead_letters AS l
        SET status = CASE p.outcome WHEN 'loaded' THEN 'replayed' ELSE 'absorbed' END, resolved_at = now(), resolved_by = session_user
        FROM unnest(hashes, sent) AS wanted (hash, sent_at)
        JOIN turnstile.processed_messages p ON p.message_hash = wanted.hash AND p.sent_at = wanted.sent_at
        WHERE l.message_hash = p.message_hash AND l.sent_at = p.sent_at AND l.status = 'open'
          AND (p.outcome = 'absorbed'
               OR p.outcome = 'loaded' AND EXISTS (SELECT FROM public.user_logins u
                                                   WHERE u.message_sent_at = p.sent_at AND u.message_hash = p.message_hash))
        RETURNING l.sent_at, l.message_hash, l.status
    )
    SELECT count(turnstile.note_action(status, sent_at, message_hash, 1)) INTO resolved FROM letters;
    RETURN resolved;
END
$$;

REVOKE ALL ON FUNCTION
    turnstile.note_cancelled(), turnstile.requeue_letters(bytea[], timestamptz[], boolean), turnstile.take_requeued(bytea[], timestamptz[]),
    turnstile.resolve_requeued(bytea[], timestamptz[])
    FROM PUBLIC;

COMMENT ON FUNCTION turnstile.requeue_letters(bytea[], timestamptz[], boolean) IS
    'The sealed bodies of those of these dead letters that are open, to be sent back to their queue; notes it for each.';
COMMENT ON FUNCTION turnstile.take_requeued(bytea[], timestamptz[]) IS
    'Turns the claims of those of these messages that are open dead letters into loaded ones, and gives them back.';
COMMENT ON FUNCTION turnstile.resolve_requeued(bytea[], timestamptz[]) IS
    'Resolves those of these dead letters that are open and whose messages are loaded or absorbed; notes it for each, and gives their number.';
