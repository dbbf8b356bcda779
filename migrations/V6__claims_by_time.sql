-- An index of random hashes grows out of memory, and then each claim reads, changes and logs a page of its own. What the
-- queue's SentTimestamp says of a MessageId never changes, and messages come in the order of it, more or less.
ALTER TABLE processed_messages DROP CONSTRAINT processed_messages_pkey;

-- Which identity scheme made the claims that stand here is not known: they keep both ways of being found. No row is written
-- for this, neither now nor later: the default of a column that is added stays with the rows that were there.
ALTER TABLE processed_messages ADD COLUMN claimed_before_v6 boolean DEFAULT true;
ALTER TABLE processed_messages ALTER COLUMN claimed_before_v6 DROP DEFAULT;

CREATE UNIQUE INDEX processed_messages_sent_at_message_hash_key ON processed_messages (sent_at, message_hash)
    WHERE second_hash IS NULL OR claimed_before_v6;

CREATE UNIQUE INDEX processed_messages_message_hash_key ON processed_messages (message_hash)
    WHERE second_hash IS NOT NULL OR claimed_before_v6;

COMMENT ON COLUMN processed_messages.message_hash IS
    'BLAKE3 (derive_key mode, context naming scheme and version) over queue ARN, identity scheme and identity key. Claimed once: together with sent_at where second_hash is NULL, else alone.';
COMMENT ON COLUMN processed_messages.claimed_before_v6 IS
    'True in claims from before version 6 of the tables, which count both together with sent_at and alone; else NULL.';
COMMENT ON COLUMN processed_messages.second_hash IS
    'The hash of the MessageId, claimed beside message_hash under every identity scheme but message-id: there one message has different hashes as a login and as a rejection. Equal to message_hash under message-id where the queue gave no SentTimestamp. NULL under message-id otherwise, and in logins loaded before this column was there.';
COMMENT ON COLUMN processed_messages.sent_at IS
    'The queue''s SentTimestamp; where it gave none, when the message was received.';
