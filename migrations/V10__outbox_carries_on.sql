-- What the origin of a login called its trace. Most logins have none, and a NULL takes no room.
ALTER TABLE turnstile.outbox ADD COLUMN traceparent varchar(55);

COMMENT ON COLUMN turnstile.outbox.traceparent IS
    'The trace in which the message was sent, in the form of the W3C; NULL where the message names none or nobody asked for it.';

-- So that it can be told how fast a sink takes events, and who carries which.
ALTER TABLE turnstile.relay_marks ADD COLUMN set_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE turnstile.relay_chunks ADD COLUMN owner text;

COMMENT ON COLUMN turnstile.relay_marks.set_at IS
    'When it was set.';
COMMENT ON COLUMN turnstile.relay_chunks.owner IS
    'The host and process that carry it, for people to read; NULL where nobody has taken it up yet.';

-- Under order, a refused event keeps the later ones of its subject waiting.
ALTER TABLE turnstile.relay_failures ADD COLUMN subject bytea CHECK (octet_length(subject) = 32);

CREATE INDEX relay_failures_by_subject ON turnstile.relay_failures (sink, subject, position)
    WHERE subject IS NOT NULL AND status <> 'discarded';

COMMENT ON COLUMN turnstile.relay_failures.subject IS
    'The hash of the event''s subject, or the id of an event that has none, where the sink keeps order: the events of one subject are tried again one after the other.';

-- Which events are gone. A row for each partition that is dropped, committed before it goes.
CREATE TABLE turnstile.outbox_pruned (
    below         bigint      NOT NULL PRIMARY KEY,
    partition     text        NOT NULL,
    written_until timestamptz,
    pruned_at     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE turnstile.outbox_pruned IS
    'Which events were removed once every sink had them: a row per partition. Written by turnstile outbox prune.';
COMMENT ON COLUMN turnstile.outbox_pruned.below IS
    'Events at lower positions are gone, or go next. A sink that is made from now on begins here.';
COMMENT ON COLUMN turnstile.outbox_pruned.partition IS
    'The name of the partition. What stands under this name without being one is a remainder, which goes next.';
COMMENT ON COLUMN turnstile.outbox_pruned.written_until IS
    'The latest created_at of its events; NULL where it held none. A login that was loaded later than all of these has its event.';
COMMENT ON COLUMN turnstile.outbox_pruned.pruned_at IS
    'When this was noted.';
