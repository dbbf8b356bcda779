CREATE TABLE turnstile.turnstile_keys (
    key_id        text        NOT NULL PRIMARY KEY CHECK (key_id ~ '^[a-z0-9-]{1,16}$'),
    purpose       text        NOT NULL CHECK (purpose IN ('mask', 'hash')),
    check_value   bytea       NOT NULL CHECK (octet_length(check_value) = 32),
    mask          text        CHECK (mask IN ('seal', 'token', 'base64')),
    registered_at timestamptz NOT NULL DEFAULT now(),
    registered_by text        NOT NULL DEFAULT current_user,
    CONSTRAINT turnstile_keys_kind_check CHECK ((purpose = 'mask') = (mask IS NOT NULL))
);

CREATE UNIQUE INDEX turnstile_keys_hash_key ON turnstile.turnstile_keys (purpose) WHERE purpose = 'hash';

COMMENT ON TABLE turnstile.turnstile_keys IS
    'The keys with which these tables may be written: a loader with another key under one of these ids, or without one of them, does not start.';
COMMENT ON COLUMN turnstile.turnstile_keys.key_id IS
    'The key''s id, as in the keyring.';
COMMENT ON COLUMN turnstile.turnstile_keys.purpose IS
    'mask: masks values and seals bodies. hash: hashes identities, logins and bodies; there is one, which is not rotated.';
COMMENT ON COLUMN turnstile.turnstile_keys.check_value IS
    'A digest by which the key is recognised, and from which it cannot be recovered.';
COMMENT ON COLUMN turnstile.turnstile_keys.mask IS
    'How values are masked with the key: seal, token or base64.';
COMMENT ON COLUMN turnstile.turnstile_keys.registered_at IS
    'When it was registered.';
COMMENT ON COLUMN turnstile.turnstile_keys.registered_by IS
    'The database role that registered it.';
