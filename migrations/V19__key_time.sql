-- Keys that carry their own time are claimed by it, so that they are one key for ever and can leave by time. All others stand
-- under 'epoch', as claims without a time do.
ALTER TABLE turnstile.identities
    ADD COLUMN key_time timestamptz NOT NULL DEFAULT 'epoch',
    DROP CONSTRAINT identities_pkey,
    ADD PRIMARY KEY (key_time, hash);

COMMENT ON COLUMN turnstile.identities.key_time IS
    'The time that the key itself carries, under --identity-time; 1970-01-01 where the scheme reads none.';
COMMENT ON COLUMN turnstile.queues.scheme IS
    'The --identity of the loader that was started last, behind its --identity-time where that is set: uuidv7:field:/id.';
COMMENT ON COLUMN turnstile.horizon.retained_since IS
    'Claims of messages sent before this time, and of keys that carry such a time, may be gone: such a message is not loaded, but dead-lettered as older_than_memory. It moves before claims are removed, and never back.';
