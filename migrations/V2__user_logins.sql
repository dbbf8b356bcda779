-- A table that already stands here with these seven columns is adopted, its rows kept.
CREATE TABLE IF NOT EXISTS user_logins (
    user_id          varchar(128),
    device_type      varchar(32),
    masked_ip        varchar(256),
    masked_device_id varchar(256),
    locale           varchar(32),
    app_version      integer,
    create_date      date
);

DO $$
DECLARE
    difference text;
BEGIN
    SELECT string_agg(format('%s must be %s and is %s', wanted.name, wanted.type, coalesce(format_type(a.atttypid, a.atttypmod), 'missing')), '; ')
    INTO difference
    FROM (VALUES
        ('user_id',          'character varying(128)'),
        ('device_type',      'character varying(32)'),
        ('masked_ip',        'character varying(256)'),
        ('masked_device_id', 'character varying(256)'),
        ('locale',           'character varying(32)'),
        ('app_version',      'integer'),
        ('create_date',      'date')
    ) AS wanted (name, type)
    LEFT JOIN pg_attribute a
        ON a.attrelid = 'user_logins'::regclass AND a.attname = wanted.name AND NOT a.attisdropped
    WHERE format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM wanted.type;

    IF difference IS NOT NULL THEN
        RAISE EXCEPTION 'the table user_logins that stands here cannot be adopted: %', difference
            USING HINT = 'Alter its columns to these types, or rename the table; then migrate again.';
    END IF;
END
$$;

-- Null in the rows of an adopted table only: those no message brought.
ALTER TABLE user_logins ADD COLUMN message_hash bytea;
CREATE UNIQUE INDEX user_logins_message_hash_key ON user_logins (message_hash);

COMMENT ON TABLE user_logins IS
    'One row per login, personal fields masked.';
COMMENT ON COLUMN user_logins.user_id IS
    'Who logged in, as the app sent it.';
COMMENT ON COLUMN user_logins.device_type IS
    'The kind of device, as the app sent it.';
COMMENT ON COLUMN user_logins.masked_ip IS
    'The masked IP address: equal addresses mask alike under one key. KEYID.… is sealed (turnstile unmask recovers it), KEYID:… is a token.';
COMMENT ON COLUMN user_logins.masked_device_id IS
    'The masked device id: equal ids mask alike under one key.';
COMMENT ON COLUMN user_logins.locale IS
    'The locale; NULL where the app sent null.';
COMMENT ON COLUMN user_logins.app_version IS
    'major * 1000000 + minor * 1000 + patch, missing parts 0: keeps the order of versions.';
COMMENT ON COLUMN user_logins.create_date IS
    'UTC day on which the message was sent (the queue''s SentTimestamp).';
COMMENT ON COLUMN user_logins.message_hash IS
    'The message that brought the row: processed_messages.message_hash. NULL in rows that stood here before Turnstile.';
