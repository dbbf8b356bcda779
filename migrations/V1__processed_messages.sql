-- The name of a schema stands before every name. `turnstile.` and `public.` are the defaults of --schema and --logins-schema:
-- where others are chosen, `turnstile migrate` writes those in their place.

-- The key begins with the time, because messages come in the order in which they were sent, more or less: their claims are
-- made side by side at one end of the index, which costs the same however many there are.
CREATE TABLE turnstile.processed_messages (
    sent_at             timestamptz NOT NULL,
    message_hash        bytea       NOT NULL CHECK (octet_length(message_hash) = 32),
    outcome             text        NOT NULL CHECK (outcome IN ('loaded', 'dead_lettered', 'absorbed')),
    absorbed_by         bytea       CHECK (octet_length(absorbed_by) = 32),
    absorbed_by_sent_at timestamptz,
    message_id          text        NOT NULL,
    body_hash           bytea       NOT NULL CHECK (octet_length(body_hash) = 32),
    received_at         timestamptz NOT NULL,
    processed_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sent_at, message_hash),
    CONSTRAINT processed_messages_absorbed_check CHECK (
        (outcome = 'absorbed') = (absorbed_by IS NOT NULL) AND (outcome = 'absorbed') = (absorbed_by_sent_at IS NOT NULL)
    )
);

COMMENT ON TABLE turnstile.processed_messages IS
    'One row per message: the claim that makes loading exactly-once. A delivery whose message stands here changes nothing.';
COMMENT ON COLUMN turnstile.processed_messages.sent_at IS
    'The queue''s SentTimestamp, the same on every delivery of a message. 1970-01-01 where the queue gives none, and for messages older than horizon.retained_since.';
COMMENT ON COLUMN turnstile.processed_messages.message_hash IS
    'BLAKE3 (derive_key mode) over the queue''s ARN and the MessageId.';
COMMENT ON COLUMN turnstile.processed_messages.outcome IS
    'Where the message went: loaded (one row in user_logins), dead_lettered (one row in dead_letters), or absorbed (another message brought the same login under the same key). Replay turns dead_lettered into loaded or absorbed.';
COMMENT ON COLUMN turnstile.processed_messages.absorbed_by IS
    'The message_hash of the loaded message that brought the same login; set exactly where the outcome is absorbed.';
COMMENT ON COLUMN turnstile.processed_messages.absorbed_by_sent_at IS
    'The sent_at of that message.';
COMMENT ON COLUMN turnstile.processed_messages.message_id IS
    'SQS MessageId.';
COMMENT ON COLUMN turnstile.processed_messages.body_hash IS
    'Hash of the body, keyed by the keyring''s hash key; of no use without it.';
COMMENT ON COLUMN turnstile.processed_messages.received_at IS
    'When the loader received the delivery that made the claim, by the loader''s clock.';
COMMENT ON COLUMN turnstile.processed_messages.processed_at IS
    'Start of the transaction that made the claim, by the database''s clock.';
