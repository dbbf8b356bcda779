CREATE TABLE processed_messages (
    message_hash     bytea       NOT NULL PRIMARY KEY CHECK (octet_length(message_hash) = 32),
    outcome          text        NOT NULL CHECK (outcome IN ('loaded', 'dead_lettered')),
    first_message_id text        NOT NULL,
    body_hash        bytea       NOT NULL CHECK (octet_length(body_hash) = 32),
    sent_at          timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    processed_at     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE processed_messages IS
    'One row per message identity: the claim that makes loading exactly-once. A delivery whose hash stands here is a duplicate.';
COMMENT ON COLUMN processed_messages.message_hash IS
    'BLAKE3 (derive_key mode, context naming scheme and version) over queue ARN, identity scheme and identity key.';
COMMENT ON COLUMN processed_messages.outcome IS
    'Where the message went: loaded (one row in user_logins) or dead_lettered (one row in dead_letters). Replay turns dead_lettered into loaded.';
COMMENT ON COLUMN processed_messages.first_message_id IS
    'SQS MessageId of the delivery that made the claim: tells a redelivery from another message with the same identity.';
COMMENT ON COLUMN processed_messages.body_hash IS
    'Keyed hash of the body that made the claim; of no use without the keyring.';
COMMENT ON COLUMN processed_messages.sent_at IS
    'The queue''s SentTimestamp.';
COMMENT ON COLUMN processed_messages.received_at IS
    'When the loader received the delivery that made the claim, by the loader''s clock.';
COMMENT ON COLUMN processed_messages.processed_at IS
    'Start of the transaction that made the claim, by the database''s clock.';
