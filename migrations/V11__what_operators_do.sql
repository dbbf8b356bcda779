-- Where in its body the fault of a dead letter is, so that most are understood without being opened.
ALTER TABLE turnstile.dead_letters ADD COLUMN field text, ADD COLUMN place text;

UPDATE turnstile.dead_letters SET field = substring(detail FROM '^the field ([a-z0-9_]+) ') WHERE detail LIKE 'the field %';

COMMENT ON COLUMN turnstile.dead_letters.field IS
    'The field of the login that is wrong; NULL where the fault is of no single field.';
COMMENT ON COLUMN turnstile.dead_letters.place IS
    'Where in the body the fault is: offset and length in bytes, what stands there by its kind and never its value, and the JSON pointer. NULL where the body is not at fault, or the row is older than the column.';

-- What a group of dead letters is of, beside its code.
ALTER TABLE turnstile.dead_letters ADD COLUMN grounds text NOT NULL
    GENERATED ALWAYS AS (coalesce(field, CASE WHEN code = 'refused_by_database' THEN detail ELSE '' END)) STORED;

COMMENT ON COLUMN turnstile.dead_letters.grounds IS
    'What it is grouped by, beside its code: the field, the detail of refused_by_database, or nothing.';

-- For the groups, for the newest of each, and for the letter of a MessageId.
CREATE INDEX dead_letters_groups_idx ON turnstile.dead_letters (queue, code, grounds, status, dead_lettered_at);
CREATE INDEX dead_letters_message_id_idx ON turnstile.dead_letters (message_id);

-- What people do with dead letters. The database itself writes it, in the transaction of what is done.
CREATE TABLE turnstile.operator_actions (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    role         text        NOT NULL DEFAULT session_user,
    person       text,
    action       text        NOT NULL CHECK (action IN ('taken', 'revealed', 'replayed', 'absorbed', 'discarded', 'reopened')),
    letters      integer     NOT NULL DEFAULT 1 CHECK (letters > 0),
    sent_at      timestamptz,
    message_hash bytea       CHECK (octet_length(message_hash) = 32),
    reason       text,
    CHECK ((sent_at IS NULL) = (message_hash IS NULL)),
    CHECK (action = 'taken' OR message_hash IS NOT NULL AND letters = 1)
);

CREATE INDEX operator_actions_message_hash_idx ON turnstile.operator_actions (message_hash) WHERE message_hash IS NOT NULL;
CREATE INDEX operator_actions_done_at_idx ON turnstile.operator_actions (done_at);

COMMENT ON TABLE turnstile.operator_actions IS
    'What was done with dead letters, by whom and why: rows are added by the database, and neither changed nor removed. turnstile dead-letters history shows it.';
COMMENT ON COLUMN turnstile.operator_actions.done_at IS
    'When, by the database''s clock.';
COMMENT ON COLUMN turnstile.operator_actions.role IS
    'The database role that had logged in.';
COMMENT ON COLUMN turnstile.operator_actions.person IS
    'The name that was given with it (--by). Unlike the role, it is only said.';
COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), replayed, absorbed, discarded or reopened.';
COMMENT ON COLUMN turnstile.operator_actions.letters IS
    'How many dead letters: more than one only where bodies were taken.';
COMMENT ON COLUMN turnstile.operator_actions.sent_at IS
    'The dead letter: dead_letters.sent_at. NULL where bodies were taken.';
COMMENT ON COLUMN turnstile.operator_actions.message_hash IS
    'The dead letter: dead_letters.message_hash. NULL where bodies were taken.';
COMMENT ON COLUMN turnstile.operator_actions.reason IS
    'Why, in the words of the person.';

CREATE FUNCTION turnstile.keep_actions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'operator_actions is only added to';
END
$$;

CREATE TRIGGER operator_actions_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON turnstile.operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION turnstile.keep_actions();

-- What is said along with an action: settings of the transaction, letters.person and letters.reason.
CREATE FUNCTION turnstile.note_action(what text, its_sent_at timestamptz, its_hash bytea, how_many integer) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO turnstile.operator_actions (action, sent_at, message_hash, letters, person, reason)
    VALUES (what, its_sent_at, its_hash, how_many,
            nullif(current_setting('letters.person', true), ''), nullif(current_setting('letters.reason', true), ''))
    RETURNING id;
$$;

-- Every change of a status is an action. When and by whom a letter was resolved is not the client's to say.
CREATE FUNCTION turnstile.set_status(hashes bytea[], sent timestamptz[], was text, becomes text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    IF NOT (was = 'open' AND becomes IN ('replayed', 'absorbed', 'discarded') OR was = 'discarded' AND becomes = 'open') THEN
        RAISE EXCEPTION 'a dead letter that is % does not become %', was, becomes;
    END IF;
    WITH letters AS (
        UPDATE turnstile.dead_letters AS l
        SET status = becomes,
            resolved_at = CASE WHEN becomes <> 'open' THEN now() END,
            resolved_by = CASE WHEN becomes <> 'open'
                               THEN concat_ws(': ', session_user, nullif(current_setting('letters.person', true), '')) END
        WHERE l.message_hash = ANY (hashes) AND l.sent_at = ANY (sent) AND l.status = was
        RETURNING l.sent_at, l.message_hash
    )
    SELECT count(turnstile.note_action(CASE becomes WHEN 'open' THEN 'reopened' ELSE becomes END, sent_at, message_hash, 1))
    INTO changed FROM letters;
    RETURN changed;
END
$$;

-- No sealed body leaves the table without a trace.
CREATE FUNCTION turnstile.take_bodies(hashes bytea[], sent timestamptz[])
RETURNS TABLE (sent_at timestamptz, message_hash bytea, queue text, code text, login_sent_at timestamptz, sealed_body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken integer;
BEGIN
    RETURN QUERY
        SELECT l.sent_at, l.message_hash, l.queue, l.code, coalesce(l.sent_timestamp, l.received_at), l.sealed_body
        FROM turnstile.dead_letters l
        WHERE l.message_hash = ANY (hashes) AND l.sent_at = ANY (sent) AND l.status = 'open'
        ORDER BY l.sent_at, l.message_hash;
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken > 0 THEN
        PERFORM turnstile.note_action('taken', NULL, NULL, taken);
    END IF;
END
$$;

CREATE FUNCTION turnstile.reveal_body(its_sent_at timestamptz, its_hash bytea) RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    body bytea;
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'a body is revealed for a reason only';
    END IF;
    SELECT l.sealed_body INTO STRICT body FROM turnstile.dead_letters l
    WHERE l.sent_at = its_sent_at AND l.message_hash = its_hash;
    PERFORM turnstile.note_action('revealed', its_sent_at, its_hash, 1);
    RETURN body;
END
$$;

CREATE FUNCTION turnstile.describe_body(its_sent_at timestamptz, its_hash bytea, OUT bytes integer, OUT head bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT octet_length(l.sealed_body), substring(l.sealed_body FROM 1 FOR greatest(position('\x2e'::bytea IN l.sealed_body), 1))
    FROM turnstile.dead_letters l WHERE l.sent_at = its_sent_at AND l.message_hash = its_hash;
$$;

REVOKE ALL ON FUNCTION
    turnstile.note_action(text, timestamptz, bytea, integer), turnstile.keep_actions(),
    turnstile.set_status(bytea[], timestamptz[], text, text), turnstile.take_bodies(bytea[], timestamptz[]), turnstile.reveal_body(timestamptz, bytea),
    turnstile.describe_body(timestamptz, bytea)
    FROM PUBLIC;

COMMENT ON FUNCTION turnstile.set_status(bytea[], timestamptz[], text, text) IS
    'Resolves those of these dead letters that are open, or opens those again that are discarded; notes it for each, and gives their number.';
COMMENT ON FUNCTION turnstile.take_bodies(bytea[], timestamptz[]) IS
    'The sealed bodies of those of these dead letters that are open, to be replayed; notes that they were taken.';
COMMENT ON FUNCTION turnstile.reveal_body(timestamptz, bytea) IS
    'The sealed body of a dead letter, to be shown; notes who reveals it and why. Without a reason (letters.reason) there is none.';
COMMENT ON FUNCTION turnstile.describe_body(timestamptz, bytea) IS
    'How long the sealed body of a dead letter is, and its beginning, which names the key.';
