-- A table that already stands here with these seven columns is adopted, its rows kept.
CREATE TABLE IF NOT EXISTS public.user_logins (
    user_id          varchar(128),
    device_type      varchar(32),
    masked_ip        varchar(256),
    masked_device_id varchar(256),
    locale           varchar(32),
    app_version      integer,
    create_date      date,
    -- So that nobody can pass a row off as one that stood here before.
    message_sent_at  timestamptz NOT NULL,
    message_hash     bytea       NOT NULL
);

DO $$
DECLARE
    difference text;
    kind "char";
BEGIN
    SELECT relkind INTO kind FROM pg_class WHERE oid = 'public.user_logins'::regclass;
    IF kind <> 'r' THEN
        RAISE EXCEPTION 'public.user_logins is not an ordinary table, and cannot be adopted'
            USING HINT = 'Rename it, and migrate again.';
    END IF;

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
        ON a.attrelid = 'public.user_logins'::regclass AND a.attname = wanted.name AND NOT a.attisdropped
    WHERE format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM wanted.type;
    IF difference IS NOT NULL THEN
        RAISE EXCEPTION 'the table public.user_logins that stands here cannot be adopted: %', difference
            USING HINT = 'Alter its columns to these types, or rename the table; then migrate again.';
    END IF;

    SELECT string_agg(a.attname, ', ') INTO difference
    FROM pg_attribute a
    WHERE a.attrelid = 'public.user_logins'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
      AND a.attname NOT IN ('user_id', 'device_type', 'masked_ip', 'masked_device_id', 'app_version', 'create_date',
                            'message_hash', 'message_sent_at');
    IF difference IS NOT NULL THEN
        RAISE EXCEPTION 'the table public.user_logins that stands here cannot be adopted: no login could be stored, because these columns must not be null and have no default: %', difference
            USING HINT = 'Give them a default, or drop NOT NULL; then migrate again.';
    END IF;
END
$$;

-- Null in the rows of an adopted table only: those that no message brought.
ALTER TABLE public.user_logins ADD COLUMN IF NOT EXISTS message_sent_at timestamptz;
ALTER TABLE public.user_logins ADD COLUMN IF NOT EXISTS message_hash bytea;

-- A second net under the claims, by the same key as theirs.
CREATE UNIQUE INDEX IF NOT EXISTS user_logins_message_key ON public.user_logins (message_sent_at, message_hash);

COMMENT ON TABLE public.user_logins IS
    'One row per login, personal fields masked.';
COMMENT ON COLUMN public.user_logins.user_id IS
    'Who logged in, as the app sent it.';
COMMENT ON COLUMN public.user_logins.device_type IS
    'The kind of device, as the app sent it.';
COMMENT ON COLUMN public.user_logins.masked_ip IS
    'The masked IP address: equal addresses mask alike under one key. KEYID.… is sealed (turnstile unmask recovers it), KEYID:… is a token.';
COMMENT ON COLUMN public.user_logins.masked_device_id IS
    'The masked device id: equal ids mask alike under one key.';
COMMENT ON COLUMN public.user_logins.locale IS
    'The locale; NULL where the app sent null.';
COMMENT ON COLUMN public.user_logins.app_version IS
    'major * 1000000 + minor * 1000 + patch, missing parts 0: keeps the order of versions.';
COMMENT ON COLUMN public.user_logins.create_date IS
    'UTC day on which the message was sent (the queue''s SentTimestamp); where the queue gives none, on which it was received.';
COMMENT ON COLUMN public.user_logins.message_sent_at IS
    'The message that brought the row: processed_messages.sent_at. NULL in rows that stood here before Turnstile.';
COMMENT ON COLUMN public.user_logins.message_hash IS
    'The message that brought the row: processed_messages.message_hash. NULL in rows that stood here before Turnstile.';
