CREATE TABLE outbox (
    event_id     bytea       NOT NULL PRIMARY KEY CHECK (octet_length(event_id) = 32),
    position     bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    payload      jsonb       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);

CREATE INDEX outbox_unpublished_idx ON outbox (position) WHERE published_at IS NULL;

COMMENT ON TABLE outbox IS
    'One event per loaded login, written in the transaction that loaded it. Published at least once, under the same event_id.';
COMMENT ON COLUMN outbox.event_id IS
    'The message hash: the same however often the event is published, so that a consumer can drop repeats.';
COMMENT ON COLUMN outbox.position IS
    'Order of writing; two lanes may commit out of this order.';
COMMENT ON COLUMN outbox.payload IS
    'The login as user_logins holds it: masked values only.';
COMMENT ON COLUMN outbox.created_at IS
    'Start of the transaction that loaded the login.';
COMMENT ON COLUMN outbox.published_at IS
    'When the event was published; NULL until then.';
