-- What `turnstile relay` knows of the events that it carries on: a few rows for thousands of events, none for a single one,
-- unless a sink refuses it. Each sink reads the outbox for itself.
CREATE TABLE turnstile.relay_sinks (
    sink       text        NOT NULL PRIMARY KEY CHECK (sink ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    target     text        NOT NULL,
    slots      smallint    NOT NULL DEFAULT 1 CHECK (slots BETWEEN 1 AND 64),
    ordered    boolean     NOT NULL DEFAULT false,
    cluster_id bigint      NOT NULL,
    since      timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE turnstile.relay_sinks IS
    'One row per sink that events are carried to. Written by turnstile relay.';
COMMENT ON COLUMN turnstile.relay_sinks.sink IS
    'Its name, which its relays share.';
COMMENT ON COLUMN turnstile.relay_sinks.target IS
    'Where the events go, without secrets.';
COMMENT ON COLUMN turnstile.relay_sinks.slots IS
    'Into how many parts the events are divided by their subject, each of which is carried in order. Without order, one.';
COMMENT ON COLUMN turnstile.relay_sinks.ordered IS
    'Whether the events of a subject are carried in the order of their positions.';
COMMENT ON COLUMN turnstile.relay_sinks.cluster_id IS
    'The system identifier of the cluster in which the sink was made: a copy of the database elsewhere must not carry the events a second time unasked.';
COMMENT ON COLUMN turnstile.relay_sinks.since IS
    'When it was made.';

-- Only appended to, so that the newest is found as fast while an old snapshot is held as without one.
CREATE TABLE turnstile.relay_marks (
    sink     text     NOT NULL,
    slot     smallint NOT NULL,
    position bigint   NOT NULL,
    PRIMARY KEY (sink, slot, position)
);

COMMENT ON TABLE turnstile.relay_marks IS
    'How far each sink has come: the highest position is its frontier. What lies at or below it is carried, in a chunk, in a gap, or a failure.';

CREATE TABLE turnstile.relay_chunks (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sink           text        NOT NULL,
    slot           smallint    NOT NULL,
    first_position bigint      NOT NULL,
    last_position  bigint      NOT NULL CHECK (last_position >= first_position),
    lease          uuid        NOT NULL,
    leased_until   timestamptz NOT NULL,
    attempts       integer     NOT NULL DEFAULT 1
);
CREATE INDEX relay_chunks_by_lease ON turnstile.relay_chunks (sink, leased_until);

COMMENT ON TABLE turnstile.relay_chunks IS
    'Events that a relay is carrying. A row is removed once its events are carried or have become failures.';
COMMENT ON COLUMN turnstile.relay_chunks.lease IS
    'What the lease on it is known by: each has another, so that a number that a crash has given again is not taken for the old one.';
COMMENT ON COLUMN turnstile.relay_chunks.leased_until IS
    'Until when nobody else takes it over.';
COMMENT ON COLUMN turnstile.relay_chunks.attempts IS
    'How many relays have had it.';

CREATE TABLE turnstile.relay_gaps (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sink           text        NOT NULL,
    slot           smallint    NOT NULL,
    first_position bigint      NOT NULL,
    last_position  bigint      NOT NULL CHECK (last_position >= first_position),
    writers        text[],
    since          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX relay_gaps_by_sink ON turnstile.relay_gaps (sink, first_position);

COMMENT ON TABLE turnstile.relay_gaps IS
    'Positions below the frontier at which no event was to be seen. A gap is removed once its events are seen, or once every transaction that may hold them has ended.';
COMMENT ON COLUMN turnstile.relay_gaps.writers IS
    'The transactions that may still commit an event of it, by their virtual ids; NULL until somebody has looked.';

CREATE TABLE turnstile.relay_failures (
    sink     text        NOT NULL,
    position bigint      NOT NULL,
    event_id bytea       NOT NULL CHECK (octet_length(event_id) = 32),
    status   text        NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'set_aside', 'discarded')),
    attempts integer     NOT NULL DEFAULT 1,
    next_at  timestamptz NOT NULL,
    code     text        NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, position)
);
CREATE INDEX relay_failures_that_wait ON turnstile.relay_failures (sink, next_at) WHERE status = 'waiting';

COMMENT ON TABLE turnstile.relay_failures IS
    'Events that a sink has refused for a reason of their own. They keep no other event waiting.';
COMMENT ON COLUMN turnstile.relay_failures.status IS
    'waiting: it is tried again at next_at. set_aside: it was refused too often, and waits for an operator. discarded: an operator has given it up.';
COMMENT ON COLUMN turnstile.relay_failures.code IS
    'What the sink says of it: a code, never a value of the event.';
