ALTER TABLE processed_messages ADD COLUMN second_hash bytea CHECK (octet_length(second_hash) = 32);

-- What does not decode is claimed under the hash of its MessageId whatever the scheme, and that is its second hash too.
-- What the database refused decodes, and may be claimed under another.
UPDATE processed_messages p SET second_hash = p.message_hash
FROM dead_letters d
WHERE d.message_hash = p.message_hash AND d.code <> 'refused_by_database';

CREATE UNIQUE INDEX processed_messages_second_hash_key ON processed_messages (second_hash)
    WHERE second_hash IS NOT NULL;

COMMENT ON COLUMN processed_messages.second_hash IS
    'The hash of the MessageId, claimed beside message_hash under every identity scheme but message-id: there one message has different hashes as a login and as a rejection. NULL under message-id, and in logins loaded before this column was there.';
