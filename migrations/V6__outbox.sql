-- A sequence of its own instead of an identity column: it can be set after a restore by whoever owns it, and tables that
-- are spread over several servers take it.
CREATE SEQUENCE turnstile.outbox_position_seq AS bigint CACHE 1;

-- That a login has one event is what its claim says, which is made in the same transaction. No default partition: it would
-- keep others from being detached while loaders write.
CREATE TABLE turnstile.outbox (
    position         bigint      NOT NULL DEFAULT nextval('turnstile.outbox_position_seq'),
    event_id         bytea       NOT NULL CHECK (octet_length(event_id) = 32),
    message_sent_at  timestamptz NOT NULL,
    user_id          varchar(128),
    device_type      varchar(32),
    masked_ip        varchar(256),
    masked_device_id varchar(256),
    locale           varchar(32),
    app_version      integer,
    create_date      date,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);

ALTER SEQUENCE turnstile.outbox_position_seq OWNED BY turnstile.outbox.position;

COMMENT ON TABLE turnstile.outbox IS
    'One event per loaded login, written in the transaction that loaded it, never changed. Ten million positions to a partition.';
COMMENT ON COLUMN turnstile.outbox.position IS
    'Order of writing; two transactions may commit out of this order.';
COMMENT ON COLUMN turnstile.outbox.event_id IS
    'The message''s message_hash: the same however often the event is published, so that a consumer can drop repeats. One event has it: turnstile audit proves it.';
COMMENT ON COLUMN turnstile.outbox.message_sent_at IS
    'The message''s sent_at.';
COMMENT ON COLUMN turnstile.outbox.user_id IS
    'As in user_logins, and so are the columns that follow: masked values only.';
COMMENT ON COLUMN turnstile.outbox.created_at IS
    'Start of the transaction that loaded the login.';

-- LIKE and ATTACH wait for nobody who reads or writes the table. Whoever comes second leaves the work to the first.
CREATE FUNCTION turnstile.extend_outbox() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    size  CONSTANT bigint := 10000000;
    ahead CONSTANT bigint := 2;
    here  bigint;
    first bigint;
    made  integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock('turnstile.outbox'::regclass::bigint) THEN
        RETURN 0;
    END IF;
    SELECT last_value / size INTO here FROM turnstile.outbox_position_seq;
    FOR number IN here .. here + ahead LOOP
        first := number * size;
        CONTINUE WHEN to_regclass('turnstile.outbox_' || number) IS NOT NULL;
        EXECUTE format('CREATE TABLE turnstile.outbox_%s (LIKE turnstile.outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
                            CHECK (position >= %s AND position < %s))', number, first, first + size);
        EXECUTE format('ALTER TABLE turnstile.outbox ATTACH PARTITION turnstile.outbox_%s FOR VALUES FROM (%s) TO (%s)',
                       number, first, first + size);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

REVOKE ALL ON FUNCTION turnstile.extend_outbox() FROM PUBLIC;

COMMENT ON FUNCTION turnstile.extend_outbox() IS
    'Makes the partitions of outbox that are missing: that of the next position, and two ahead of it. Gives their number. turnstile migrate and turnstile run call it.';

SELECT turnstile.extend_outbox();
