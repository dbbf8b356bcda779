CREATE TABLE turnstile.queues (
    arn          text        NOT NULL PRIMARY KEY,
    scheme       text        NOT NULL,
    scheme_since timestamptz NOT NULL DEFAULT now(),
    time_basis   text        CHECK (time_basis IN ('sent_timestamp', 'none')),
    since        timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE turnstile.queues IS
    'One row per queue that was ever loaded from: what a claim of its messages is made of. Written by turnstile run, read by replay and check.';
COMMENT ON COLUMN turnstile.queues.arn IS
    'The queue''s ARN.';
COMMENT ON COLUMN turnstile.queues.scheme IS
    'The --identity of the loader that was started last.';
COMMENT ON COLUMN turnstile.queues.scheme_since IS
    'Since when that is the scheme: keys are remembered under it since then.';
COMMENT ON COLUMN turnstile.queues.time_basis IS
    'What messages are claimed under: their SentTimestamp (sent_timestamp), or one constant time, because the queue gives no SentTimestamp (none). Set once, by the first message.';
COMMENT ON COLUMN turnstile.queues.since IS
    'When the first loader was started.';
