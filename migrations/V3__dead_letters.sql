CREATE TABLE dead_letters (
    message_hash     bytea       NOT NULL PRIMARY KEY CHECK (octet_length(message_hash) = 32),
    code             text        NOT NULL,
    detail           text        NOT NULL,
    sealed_body      bytea       NOT NULL,
    message_id       text        NOT NULL,
    receive_count    integer     NOT NULL CHECK (receive_count > 0),
    sent_at          timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    dead_lettered_at timestamptz NOT NULL DEFAULT now(),
    status           text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'discarded')),
    resolved_at      timestamptz,
    resolved_by      text,
    CHECK ((status = 'open') = (resolved_at IS NULL) AND (status = 'open') = (resolved_by IS NULL))
);

CREATE INDEX dead_letters_open_idx ON dead_letters (code, dead_lettered_at) WHERE status = 'open';

COMMENT ON TABLE dead_letters IS
    'One row per message that is no login, after its bounded retries. turnstile dead-letters lists, shows and replays them.';
COMMENT ON COLUMN dead_letters.message_hash IS
    'The message: processed_messages.message_hash.';
COMMENT ON COLUMN dead_letters.code IS
    'Why the body is no login: the code of the rejection.';
COMMENT ON COLUMN dead_letters.detail IS
    'The rejection in words; names fields and limits, never values.';
COMMENT ON COLUMN dead_letters.sealed_body IS
    'The body as it was delivered, sealed (AES-256-GCM-SIV) under the key whose id stands before the first dot.';
COMMENT ON COLUMN dead_letters.message_id IS
    'SQS MessageId.';
COMMENT ON COLUMN dead_letters.receive_count IS
    'The queue''s ApproximateReceiveCount at the last delivery.';
COMMENT ON COLUMN dead_letters.sent_at IS
    'The queue''s SentTimestamp.';
COMMENT ON COLUMN dead_letters.received_at IS
    'When the loader received the last delivery, by the loader''s clock.';
COMMENT ON COLUMN dead_letters.dead_lettered_at IS
    'Start of the transaction that wrote the row, by the database''s clock.';
COMMENT ON COLUMN dead_letters.status IS
    'open; replayed (its login stands in user_logins under the same hash); discarded.';
COMMENT ON COLUMN dead_letters.resolved_at IS
    'When it was replayed or discarded.';
COMMENT ON COLUMN dead_letters.resolved_by IS
    'Who replayed or discarded it: the database role, and the name given.';
