-- No foreign key leads from here: a check of one would wait against the order in which loaders wait for each other.
CREATE TABLE turnstile.identities (
    hash          bytea       NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    owner_sent_at timestamptz NOT NULL,
    owner         bytea       NOT NULL CHECK (octet_length(owner) = 32),
    login_hash    bytea       NOT NULL CHECK (octet_length(login_hash) = 32),
    claimed_at    timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE turnstile.identities IS
    'One row per key that a producer gave to a login which was loaded, under every --identity but message-id: what makes a login that is sent twice one login.';
COMMENT ON COLUMN turnstile.identities.hash IS
    'Hash over queue, identity scheme and key, keyed by the keyring''s hash key: nobody can try keys without it.';
COMMENT ON COLUMN turnstile.identities.owner_sent_at IS
    'The sent_at of the message that owns the key.';
COMMENT ON COLUMN turnstile.identities.owner IS
    'The message_hash of the loaded message that owns the key.';
COMMENT ON COLUMN turnstile.identities.login_hash IS
    'Hash of that message''s decoded login, keyed by the keyring''s hash key: tells the same login again from another login under the same key.';
COMMENT ON COLUMN turnstile.identities.claimed_at IS
    'Start of the transaction that claimed the key, by the database''s clock.';
