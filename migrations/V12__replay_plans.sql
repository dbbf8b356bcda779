-- A replay is a plan: a list of dead letters that does not change any more, with what was foreseen for each and what became of it.
CREATE TABLE turnstile.replay_plans (
    plan         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    role         text        NOT NULL DEFAULT session_user,
    person       text,
    reason       text,
    meant        text        NOT NULL,
    force        boolean     NOT NULL,
    edits        text[]      NOT NULL,
    state        text        NOT NULL DEFAULT 'unfinished' CHECK (state IN ('unfinished', 'ready', 'running', 'cancelled', 'done')),
    letters      bigint      NOT NULL DEFAULT 0 CHECK (letters >= 0),
    done         bigint      NOT NULL DEFAULT 0 CHECK (done BETWEEN 0 AND letters),
    begun_at     timestamptz,
    worked_at    timestamptz,
    ended_at     timestamptz,
    CHECK ((state IN ('cancelled', 'done')) = (ended_at IS NOT NULL))
);

COMMENT ON TABLE turnstile.replay_plans IS
    'One row per replay of dead letters: whose it is, what it is of, and how far it has come. Written by turnstile dead-letters replay.';
COMMENT ON COLUMN turnstile.replay_plans.plan IS
    'Its number.';
COMMENT ON COLUMN turnstile.replay_plans.made_at IS
    'When it was drawn up, by the database''s clock. Letters that came later are not in it.';
COMMENT ON COLUMN turnstile.replay_plans.role IS
    'The database role that drew it up.';
COMMENT ON COLUMN turnstile.replay_plans.person IS
    'The name that was given with it (--by). Unlike the role, it is only said.';
COMMENT ON COLUMN turnstile.replay_plans.reason IS
    'Why, in the words of the person.';
COMMENT ON COLUMN turnstile.replay_plans.meant IS
    'Which letters were asked for, in words.';
COMMENT ON COLUMN turnstile.replay_plans.force IS
    'Whether letters are loaded whose messages are older than what the tables remember.';
COMMENT ON COLUMN turnstile.replay_plans.edits IS
    'What is changed in the bodies: operations and JSON pointers, never values. Empty where nothing is.';
COMMENT ON COLUMN turnstile.replay_plans.state IS
    'unfinished (the list is being made), ready, running, cancelled or done.';
COMMENT ON COLUMN turnstile.replay_plans.letters IS
    'How many letters it has.';
COMMENT ON COLUMN turnstile.replay_plans.done IS
    'Of how many of them something became.';
COMMENT ON COLUMN turnstile.replay_plans.begun_at IS
    'When it was first run.';
COMMENT ON COLUMN turnstile.replay_plans.worked_at IS
    'When something last became of one of its letters.';
COMMENT ON COLUMN turnstile.replay_plans.ended_at IS
    'When it was cancelled or came to its end.';

CREATE TABLE turnstile.replay_plan_letters (
    plan            bigint      NOT NULL REFERENCES turnstile.replay_plans,
    sent_at         timestamptz NOT NULL,
    message_hash    bytea       NOT NULL CHECK (octet_length(message_hash) = 32),
    code            text        NOT NULL,
    revision        bigint,
    foreseen        text        NOT NULL CHECK (foreseen IN ('replayed', 'absorbed', 'no_longer_open', 'rejected', 'sealed', 'unedited', 'refused', 'unclaimed', 'identity_taken', 'unknown_queue', 'older_than_memory')),
    foreseen_detail text,
    foreseen_place  text,
    became          text        CHECK (became IN ('replayed', 'absorbed', 'no_longer_open', 'rejected', 'sealed', 'unedited', 'refused', 'unclaimed', 'identity_taken', 'unknown_queue', 'older_than_memory')),
    became_detail   text,
    became_at       timestamptz,
    PRIMARY KEY (plan, sent_at, message_hash),
    CHECK ((became IS NULL) = (became_at IS NULL))
);

-- What is left to do of a plan, and what became of the letters of a code lately.
CREATE INDEX replay_plan_letters_left_idx ON turnstile.replay_plan_letters (plan, sent_at, message_hash) WHERE became IS NULL;
CREATE INDEX replay_plan_letters_lately_idx ON turnstile.replay_plan_letters (code, became_at) WHERE became IS NOT NULL;

COMMENT ON TABLE turnstile.replay_plan_letters IS
    'The letters of each plan.';
COMMENT ON COLUMN turnstile.replay_plan_letters.code IS
    'The code of its rejection.';
COMMENT ON COLUMN turnstile.replay_plan_letters.revision IS
    'Which body is replayed: the one that this plan made of it. NULL means the body as it was delivered.';
COMMENT ON COLUMN turnstile.replay_plan_letters.foreseen IS
    'What was foreseen: replayed, absorbed, or what stands in its way.';
COMMENT ON COLUMN turnstile.replay_plan_letters.foreseen_detail IS
    'The code of the rejection, an SQLSTATE, or why the body does not open.';
COMMENT ON COLUMN turnstile.replay_plan_letters.foreseen_place IS
    'Where the body is wrong, as in dead_letters.place.';
COMMENT ON COLUMN turnstile.replay_plan_letters.became IS
    'What became of it, in the words of foreseen, or no_longer_open. Written in the transaction in which it became so. NULL until then.';
COMMENT ON COLUMN turnstile.replay_plan_letters.became_detail IS
    'As foreseen_detail.';

-- Which letters a plan has, only who draws it up says, and only until its list is made.
CREATE FUNCTION turnstile.keep_plan_letters() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM added a WHERE NOT EXISTS (
            SELECT FROM turnstile.replay_plans p WHERE p.plan = a.plan AND p.state IN ('unfinished', 'cancelled') AND p.role = session_user)) THEN
        RAISE EXCEPTION 'the list of a plan is made by who draws it up, and not changed afterwards';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER replay_plan_letters_keep AFTER INSERT ON turnstile.replay_plan_letters
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION turnstile.keep_plan_letters();

-- A plan only goes on.
CREATE FUNCTION turnstile.keep_plan() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT (OLD.state = 'unfinished' AND NEW.state = 'ready' OR OLD.state = 'ready' AND NEW.state = 'running'
           OR OLD.state = 'running' AND NEW.state = 'done' OR OLD.state IN ('unfinished', 'ready', 'running') AND NEW.state = 'cancelled') THEN
        RAISE EXCEPTION 'a plan that is % does not become %', OLD.state, NEW.state;
    END IF;
    IF NEW.letters <> OLD.letters AND OLD.state <> 'unfinished' OR NEW.done < OLD.done THEN
        RAISE EXCEPTION 'the number of the letters of a plan does not change, and what is done stays done';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER replay_plans_keep BEFORE UPDATE ON turnstile.replay_plans
    FOR EACH ROW EXECUTE FUNCTION turnstile.keep_plan();

REVOKE ALL ON FUNCTION turnstile.keep_plan_letters(), turnstile.keep_plan() FROM PUBLIC;

-- To find the letters of a code in the order of their keys, however many others there are.
CREATE INDEX dead_letters_of_code_idx ON turnstile.dead_letters (status, code, sent_at, message_hash);

-- Bodies that people have edited. The body as it was delivered stays in dead_letters.
CREATE TABLE turnstile.dead_letter_revisions (
    sent_at      timestamptz NOT NULL,
    message_hash bytea       NOT NULL CHECK (octet_length(message_hash) = 32),
    plan         bigint      NOT NULL REFERENCES turnstile.replay_plans,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    role         text        NOT NULL DEFAULT session_user,
    person       text,
    reason       text        NOT NULL,
    paths        text[]      NOT NULL,
    sealed_body  bytea       NOT NULL,
    tried_at     timestamptz,
    PRIMARY KEY (sent_at, message_hash, plan)
);

COMMENT ON TABLE turnstile.dead_letter_revisions IS
    'Edited bodies of dead letters: each plan that edits makes one of each letter. Rows are added by the database, and not removed.';
COMMENT ON COLUMN turnstile.dead_letter_revisions.plan IS
    'The plan that made it: its number among the letter''s revisions.';
COMMENT ON COLUMN turnstile.dead_letter_revisions.paths IS
    'The JSON pointers of what was changed; an empty one means the whole body.';
COMMENT ON COLUMN turnstile.dead_letter_revisions.sealed_body IS
    'The edited body, sealed as in dead_letters, for this letter and this plan alone.';
COMMENT ON COLUMN turnstile.dead_letter_revisions.tried_at IS
    'When its plan first tried it. Later edits start from what was tried last.';

-- Every action of a plan names it.
ALTER TABLE turnstile.operator_actions ADD COLUMN plan bigint;
ALTER TABLE turnstile.operator_actions DROP CONSTRAINT operator_actions_action_check;
ALTER TABLE turnstile.operator_actions ADD CONSTRAINT operator_actions_action_check
    CHECK (action IN ('taken', 'revealed', 'edited', 'replayed', 'absorbed', 'discarded', 'reopened'));

COMMENT ON COLUMN turnstile.operator_actions.plan IS
    'The plan of which it was a part: replay_plans.plan.';
COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, replayed, absorbed, discarded or reopened.';

CREATE OR REPLACE FUNCTION turnstile.note_action(what text, its_sent_at timestamptz, its_hash bytea, how_many integer) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO turnstile.operator_actions (action, sent_at, message_hash, letters, person, reason, plan)
    VALUES (what, its_sent_at, its_hash, how_many,
            nullif(current_setting('letters.person', true), ''), nullif(current_setting('letters.reason', true), ''),
            nullif(current_setting('letters.plan', true), '')::bigint)
    RETURNING id;
$$;

-- The bodies that are replayed: of each letter the revision of the plan that is named, where 0 names the body as it was
-- delivered; without a plan, what was tried last.
CREATE FUNCTION turnstile.take_letters(hashes bytea[], sent timestamptz[], plans bigint[])
RETURNS TABLE (sent_at timestamptz, message_hash bytea, queue text, code text, login_sent_at timestamptz, revision bigint, sealed_body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken integer;
BEGIN
    RETURN QUERY
        SELECT l.sent_at, l.message_hash, l.queue, l.code, coalesce(l.sent_timestamp, l.received_at), r.plan,
               coalesce(r.sealed_body, l.sealed_body)
        FROM unnest(hashes, sent, plans) AS wanted (hash, sent_at, plan)
        JOIN turnstile.dead_letters l ON l.message_hash = wanted.hash AND l.sent_at = wanted.sent_at
        LEFT JOIN LATERAL (
            SELECT v.plan, v.sealed_body FROM turnstile.dead_letter_revisions v
            WHERE v.sent_at = l.sent_at AND v.message_hash = l.message_hash
              AND CASE WHEN wanted.plan IS NULL THEN v.tried_at IS NOT NULL ELSE v.plan = wanted.plan END
            ORDER BY v.tried_at DESC NULLS LAST, v.plan DESC LIMIT 1) r ON true
        WHERE l.status = 'open'
        ORDER BY l.sent_at, l.message_hash;
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken > 0 THEN
        PERFORM turnstile.note_action('taken', NULL, NULL, taken);
    END IF;
END
$$;

CREATE FUNCTION turnstile.add_revisions(its_plan bigint, sent timestamptz[], hashes bytea[], changed text[], bodies bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'a body is edited for a reason only';
    END IF;
    IF NOT EXISTS (SELECT FROM turnstile.replay_plans p WHERE p.plan = its_plan AND p.state = 'unfinished' AND p.role = session_user) THEN
        RAISE EXCEPTION 'only who draws a plan up edits bodies for it, and only then';
    END IF;
    WITH revisions AS (
        INSERT INTO turnstile.dead_letter_revisions AS v (plan, sent_at, message_hash, paths, sealed_body, person, reason)
        SELECT its_plan, l.sent_at, l.message_hash, CASE new.paths WHEN '' THEN ARRAY[''] ELSE string_to_array(new.paths, E'\n') END, new.body,
               nullif(current_setting('letters.person', true), ''), current_setting('letters.reason', true)
        FROM unnest(sent, hashes, changed, bodies) AS new (sent_at, hash, paths, body)
        JOIN turnstile.dead_letters l ON l.sent_at = new.sent_at AND l.message_hash = new.hash
        WHERE l.status = 'open'
        ON CONFLICT (sent_at, message_hash, plan) DO NOTHING
        RETURNING v.sent_at, v.message_hash
    )
    SELECT count(turnstile.note_action('edited', sent_at, message_hash, 1)) INTO added FROM revisions;
    RETURN added;
END
$$;

CREATE FUNCTION turnstile.try_revisions(its_plan bigint, sent timestamptz[], hashes bytea[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE turnstile.dead_letter_revisions v SET tried_at = clock_timestamp()
    FROM unnest(sent, hashes) AS tried (sent_at, hash)
    WHERE v.plan = its_plan AND v.sent_at = tried.sent_at AND v.message_hash = tried.hash AND v.tried_at IS NULL
      AND EXISTS (SELECT FROM turnstile.replay_plans p WHERE p.plan = its_plan AND p.state IN ('running', 'cancelled'));
$$;

CREATE FUNCTION turnstile.reveal_revision(its_sent_at timestamptz, its_hash bytea, its_plan bigint) RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    body bytea;
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'a body is revealed for a reason only';
    END IF;
    SELECT v.sealed_body INTO STRICT body FROM turnstile.dead_letter_revisions v
    WHERE v.sent_at = its_sent_at AND v.message_hash = its_hash AND v.plan = its_plan;
    PERFORM set_config('letters.plan', its_plan::text, true);
    PERFORM turnstile.note_action('revealed', its_sent_at, its_hash, 1);
    RETURN body;
END
$$;

REVOKE ALL ON FUNCTION
    turnstile.take_letters(bytea[], timestamptz[], bigint[]), turnstile.add_revisions(bigint, timestamptz[], bytea[], text[], bytea[]),
    turnstile.try_revisions(bigint, timestamptz[], bytea[]), turnstile.reveal_revision(timestamptz, bytea, bigint)
    FROM PUBLIC;

COMMENT ON FUNCTION turnstile.take_letters(bytea[], timestamptz[], bigint[]) IS
    'The sealed bodies of those of these dead letters that are open, to be replayed; notes that they were taken.';
COMMENT ON FUNCTION turnstile.add_revisions(bigint, timestamptz[], bytea[], text[], bytea[]) IS
    'Adds edited bodies to those of these dead letters that are open; notes it for each, and gives their number. Without a reason (letters.reason) there is none.';
COMMENT ON FUNCTION turnstile.try_revisions(bigint, timestamptz[], bytea[]) IS
    'Notes that a plan tries what it made of these dead letters.';
COMMENT ON FUNCTION turnstile.reveal_revision(timestamptz, bytea, bigint) IS
    'An edited body of a dead letter, to be shown; notes who reveals it and why. Without a reason (letters.reason) there is none.';
