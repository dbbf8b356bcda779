-- Who loads: one row for each process of `turnstile run`, which it renews while it lives. Nothing depends on it.
CREATE TABLE turnstile.loaders (
    id                  text             PRIMARY KEY,
    host                text             NOT NULL,
    pid                 integer          NOT NULL,
    version             text             NOT NULL,
    queue               text             NOT NULL,
    started_at          timestamptz      NOT NULL DEFAULT now(),
    seen_at             timestamptz      NOT NULL DEFAULT now(),
    state               text             NOT NULL
                        CHECK (state IN ('running', 'paused', 'full', 'storm', 'queue_away', 'ending', 'stopped')),
    lanes               jsonb            NOT NULL,
    received            bigint           NOT NULL,
    loaded              bigint           NOT NULL,
    dead_lettered       bigint           NOT NULL,
    absorbed            bigint           NOT NULL,
    contradicting       bigint           NOT NULL,
    returned            bigint           NOT NULL,
    released            bigint           NOT NULL,
    damaged             bigint           NOT NULL,
    in_hand             bigint           NOT NULL,
    received_per_second double precision NOT NULL,
    loaded_per_second   double precision NOT NULL,
    lag_p50             double precision,
    lag_p99             double precision,
    sqs_calls           jsonb            NOT NULL,
    sqs_billed          jsonb            NOT NULL,
    sqs_empty_receives  bigint           NOT NULL
);

COMMENT ON TABLE turnstile.loaders IS
    'The processes of turnstile run: each writes its row at its start, twice a minute and at its end. Rows that were not renewed for a day are removed. turnstile loaders shows them.';
COMMENT ON COLUMN turnstile.loaders.id IS
    'Random, another one at each start.';
COMMENT ON COLUMN turnstile.loaders.host IS
    'The name of the machine, container or pod.';
COMMENT ON COLUMN turnstile.loaders.pid IS
    'The process there.';
COMMENT ON COLUMN turnstile.loaders.version IS
    'The version of the program.';
COMMENT ON COLUMN turnstile.loaders.queue IS
    'The queue that it loads from, by its ARN.';
COMMENT ON COLUMN turnstile.loaders.started_at IS
    'When it began to load, by the database''s clock.';
COMMENT ON COLUMN turnstile.loaders.seen_at IS
    'When it last wrote this row, by the database''s clock. One that is not stopped and has been silent for minutes was killed, or does not reach the database.';
COMMENT ON COLUMN turnstile.loaders.state IS
    'running, paused (an operator wants it so), full (--dead-letter-quota), storm (--max-rejection-rate), queue_away, ending or stopped.';
COMMENT ON COLUMN turnstile.loaders.lanes IS
    'What each of its lanes was doing, and for how many seconds.';
COMMENT ON COLUMN turnstile.loaders.received IS
    'Deliveries that came from the queue since its start. All counts are those of its metrics, and of the same moment.';
COMMENT ON COLUMN turnstile.loaders.loaded IS
    'Deliveries whose logins are rows.';
COMMENT ON COLUMN turnstile.loaders.dead_lettered IS
    'Deliveries whose messages are dead letters.';
COMMENT ON COLUMN turnstile.loaders.absorbed IS
    'Deliveries that brought nothing new.';
COMMENT ON COLUMN turnstile.loaders.contradicting IS
    'Deliveries that brought another login under a key that was taken.';
COMMENT ON COLUMN turnstile.loaders.returned IS
    'Deliveries that went back to the queue for another attempt.';
COMMENT ON COLUMN turnstile.loaders.released IS
    'Deliveries that were given back untried.';
COMMENT ON COLUMN turnstile.loaders.damaged IS
    'Deliveries that arrived damaged.';
COMMENT ON COLUMN turnstile.loaders.in_hand IS
    'Deliveries that had not ended.';
COMMENT ON COLUMN turnstile.loaders.received_per_second IS
    'Deliveries a second, since the row was written before.';
COMMENT ON COLUMN turnstile.loaders.loaded_per_second IS
    'Logins loaded a second, since the row was written before.';
COMMENT ON COLUMN turnstile.loaders.lag_p50 IS
    'How late half of these logins were at most, in seconds, from the queue''s SentTimestamp to the commit; first deliveries only. NULL where there were none.';
COMMENT ON COLUMN turnstile.loaders.lag_p99 IS
    'How late 99 of 100 of them were at most.';
COMMENT ON COLUMN turnstile.loaders.sqs_calls IS
    'Calls to the queue since its start, by kind.';
COMMENT ON COLUMN turnstile.loaders.sqs_billed IS
    'Requests that these calls are billed as, by kind.';
COMMENT ON COLUMN turnstile.loaders.sqs_empty_receives IS
    'Receives that brought nothing.';

-- Removes what nobody has renewed for a day. A loader may have this done, and delete nothing itself.
CREATE FUNCTION turnstile.forget_loaders() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH forgotten AS (
        DELETE FROM turnstile.loaders WHERE id IN (
            -- One that comes back after a day renews its row in this moment, and waits for nobody.
            SELECT id FROM turnstile.loaders WHERE seen_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT count(*) FROM forgotten;
$$;

-- Where nothing is received, because an operator wants it so.
CREATE TABLE turnstile.loader_pauses (
    id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue  text,
    loader text        REFERENCES turnstile.loaders ON DELETE CASCADE,
    since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    role   text        NOT NULL DEFAULT session_user,
    person text,
    reason text        NOT NULL,
    CHECK (queue IS NULL OR loader IS NULL)
);

CREATE UNIQUE INDEX loader_pauses_target_idx ON turnstile.loader_pauses (coalesce(queue, ''), coalesce(loader, ''));
-- For the cascade: a removal looks for pauses of the loader.
CREATE INDEX loader_pauses_loader_idx ON turnstile.loader_pauses (loader) WHERE loader IS NOT NULL;

COMMENT ON TABLE turnstile.loader_pauses IS
    'Pauses in receiving that are in force: turnstile loaders pause adds them, turnstile loaders resume removes them.';
COMMENT ON COLUMN turnstile.loader_pauses.queue IS
    'Every loader of this queue; NULL where one loader, or all of them, are meant.';
COMMENT ON COLUMN turnstile.loader_pauses.loader IS
    'This loader until it ends; NULL where a queue, or all loaders, are meant.';
COMMENT ON COLUMN turnstile.loader_pauses.since IS
    'Since when, by the database''s clock.';
COMMENT ON COLUMN turnstile.loader_pauses.role IS
    'The database role that had logged in.';
COMMENT ON COLUMN turnstile.loader_pauses.person IS
    'The name that was given with it (--by). Unlike the role, it is only said.';
COMMENT ON COLUMN turnstile.loader_pauses.reason IS
    'Why, in the words of the person.';

-- Since when a loader is to receive nothing; NULL where it is to receive. Every transaction of a batch asks, so it must not depend
-- on grants that a migration leaves behind: who may use the schema at all may ask, and is told no more than this.
CREATE FUNCTION turnstile.receiving_paused(of_queue text, of_loader text) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(p.since) FROM turnstile.loader_pauses p
    WHERE (p.queue IS NULL OR p.queue = of_queue) AND (p.loader IS NULL OR p.loader = of_loader);
$$;

-- What a pause or its end is of, beside actions on letters.
ALTER TABLE turnstile.operator_actions ADD COLUMN subject text;

ALTER TABLE turnstile.operator_actions
    DROP CONSTRAINT operator_actions_action_check,
    ADD CONSTRAINT operator_actions_action_check CHECK (action IN
        ('taken', 'revealed', 'edited', 'replayed', 'absorbed', 'discarded', 'reopened', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_letters_check,
    ADD CONSTRAINT operator_actions_letters_check CHECK (letters > 0 OR action IN ('paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_check1,
    ADD CONSTRAINT operator_actions_check1 CHECK (CASE
        WHEN action IN ('paused', 'resumed', 'unmasked') THEN letters = 0 AND message_hash IS NULL AND subject IS NOT NULL
        ELSE action = 'taken' OR message_hash IS NOT NULL AND letters = 1 END);

COMMENT ON TABLE turnstile.operator_actions IS
    'What was done with dead letters and with loaders, by whom and why: rows are added by the database, and neither changed nor removed. turnstile dead-letters history shows it.';
COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, replayed, absorbed, discarded or reopened; paused or resumed (receiving from a queue); unmasked (values of logins were recovered).';
COMMENT ON COLUMN turnstile.operator_actions.letters IS
    'How many dead letters: more than one only where bodies were taken, and none where no letter was concerned.';
COMMENT ON COLUMN turnstile.operator_actions.subject IS
    'What was paused or resumed: a queue, by its ARN, one loader, by its id, or all; or how many values were unmasked. NULL for what is done with letters.';

CREATE FUNCTION turnstile.note_receiving(what text, of_queue text, of_loader text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO turnstile.operator_actions (action, letters, subject, person, reason)
    VALUES (what, 0, coalesce('queue ' || of_queue, 'loader ' || of_loader, 'all'),
            nullif(current_setting('letters.person', true), ''), nullif(current_setting('letters.reason', true), ''));
$$;

CREATE FUNCTION turnstile.pause_receiving(of_queue text, of_loader text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'receiving is paused for a reason only';
    END IF;
    IF of_queue IS NOT NULL AND NOT EXISTS (SELECT FROM turnstile.queues q WHERE q.arn = of_queue) THEN
        RAISE EXCEPTION 'no loader has ever loaded from the queue %', of_queue;
    END IF;
    INSERT INTO turnstile.loader_pauses (queue, loader, person, reason)
    VALUES (of_queue, of_loader, nullif(current_setting('letters.person', true), ''), current_setting('letters.reason', true))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM turnstile.note_receiving('paused', of_queue, of_loader);
    RETURN true;
END
$$;

CREATE FUNCTION turnstile.resume_receiving(of_queue text, of_loader text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM turnstile.loader_pauses p
    WHERE p.queue IS NOT DISTINCT FROM of_queue AND p.loader IS NOT DISTINCT FROM of_loader;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM turnstile.note_receiving('resumed', of_queue, of_loader);
    RETURN true;
END
$$;

-- Notes that somebody is about to recover masked values. Who has the keyring can do that without the database, too.
CREATE FUNCTION turnstile.note_unmasking(how_many bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'values are unmasked for a reason only';
    END IF;
    INSERT INTO turnstile.operator_actions (action, letters, subject, person, reason)
    VALUES ('unmasked', 0, how_many || CASE how_many WHEN 1 THEN ' value' ELSE ' values' END,
            nullif(current_setting('letters.person', true), ''), current_setting('letters.reason', true));
END
$$;

REVOKE ALL ON FUNCTION
    turnstile.note_unmasking(bigint),
    turnstile.forget_loaders(), turnstile.note_receiving(text, text, text), turnstile.pause_receiving(text, text),
    turnstile.resume_receiving(text, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION turnstile.receiving_paused(text, text) TO PUBLIC;

COMMENT ON FUNCTION turnstile.forget_loaders() IS
    'Removes the rows of loaders that were not renewed for a day, and gives their number.';
COMMENT ON FUNCTION turnstile.receiving_paused(text, text) IS
    'Since when the loader with this id is to receive nothing from this queue; NULL where it is to receive.';
COMMENT ON FUNCTION turnstile.note_unmasking(bigint) IS
    'Notes that so many masked values are about to be recovered, by whom and why. Without a reason (letters.reason) it fails.';
COMMENT ON FUNCTION turnstile.pause_receiving(text, text) IS
    'Pauses receiving: of one queue, of one loader, or, with two NULLs, of all; notes it, and says whether it was not so before. Without a reason (letters.reason) nothing is paused.';
COMMENT ON FUNCTION turnstile.resume_receiving(text, text) IS
    'Ends the pause of exactly this queue, this loader, or all; notes it, and says whether there was one.';
