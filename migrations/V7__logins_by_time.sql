-- The second net under the claims, by the same time as theirs (V6).
ALTER TABLE user_logins ADD COLUMN message_sent_at timestamptz;

UPDATE user_logins u SET message_sent_at = p.sent_at
FROM processed_messages p
WHERE p.message_hash = u.message_hash;

DROP INDEX user_logins_message_hash_key;
CREATE UNIQUE INDEX user_logins_message_key ON user_logins (message_sent_at, message_hash);

COMMENT ON COLUMN user_logins.message_sent_at IS
    'When that message was sent: processed_messages.sent_at. NULL in rows that stood here before Turnstile.';
