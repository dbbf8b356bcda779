CREATE TABLE turnstile.dead_letters (
    sent_at          timestamptz NOT NULL,
    message_hash     bytea       NOT NULL CHECK (octet_length(message_hash) = 32),
    queue            text        NOT NULL,
    code             text        NOT NULL,
    detail           text        NOT NULL,
    sealed_body      bytea       NOT NULL,
    message_id       text        NOT NULL,
    receive_count    integer     NOT NULL CHECK (receive_count > 0),
    sent_timestamp   timestamptz,
    received_at      timestamptz NOT NULL,
    dead_lettered_at timestamptz NOT NULL DEFAULT now(),
    status           text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'absorbed', 'discarded')),
    resolved_at      timestamptz,
    resolved_by      text,
    PRIMARY KEY (sent_at, message_hash),
    CONSTRAINT dead_letters_resolved_check
        CHECK ((status = 'open') = (resolved_at IS NULL) AND (status = 'open') = (resolved_by IS NULL))
);

CREATE INDEX dead_letters_message_hash_idx ON turnstile.dead_letters (message_hash);
CREATE INDEX dead_letters_open_idx ON turnstile.dead_letters (code, dead_lettered_at) WHERE status = 'open';

COMMENT ON TABLE turnstile.dead_letters IS
    'One row per message that could not be loaded, after its bounded retries. turnstile dead-letters lists, shows and replays them.';
COMMENT ON COLUMN turnstile.dead_letters.sent_at IS
    'The message: processed_messages.sent_at.';
COMMENT ON COLUMN turnstile.dead_letters.message_hash IS
    'The message: processed_messages.message_hash.';
COMMENT ON COLUMN turnstile.dead_letters.queue IS
    'ARN of the queue that delivered it.';
COMMENT ON COLUMN turnstile.dead_letters.code IS
    'Why it was not loaded: the code of the rejection.';
COMMENT ON COLUMN turnstile.dead_letters.detail IS
    'The rejection in words; names fields and limits, never values.';
COMMENT ON COLUMN turnstile.dead_letters.sealed_body IS
    'The body as it was delivered, and the attributes that were asked for, sealed together (AES-256-GCM-SIV) for this message alone, under the key whose id stands before the first dot.';
COMMENT ON COLUMN turnstile.dead_letters.message_id IS
    'SQS MessageId.';
COMMENT ON COLUMN turnstile.dead_letters.receive_count IS
    'The queue''s ApproximateReceiveCount at the last delivery.';
COMMENT ON COLUMN turnstile.dead_letters.sent_timestamp IS
    'The queue''s SentTimestamp, also where sent_at is the constant time; NULL where the queue gave none.';
COMMENT ON COLUMN turnstile.dead_letters.received_at IS
    'When the loader received the last delivery, by the loader''s clock.';
COMMENT ON COLUMN turnstile.dead_letters.dead_lettered_at IS
    'Start of the transaction that wrote the row, by the database''s clock.';
COMMENT ON COLUMN turnstile.dead_letters.status IS
    'open; replayed (its login stands in user_logins under the same message); absorbed (another message brought the same login); discarded.';
COMMENT ON COLUMN turnstile.dead_letters.resolved_at IS
    'When it was replayed, absorbed or discarded.';
COMMENT ON COLUMN turnstile.dead_letters.resolved_by IS
    'Who resolved it: the database role, and the name given.';
