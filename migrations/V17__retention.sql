-- Partitions by time are the choice of whoever runs `turnstile migrate --partition`. What stands in a table before that becomes
-- its first partition, and no row is written anew.
CREATE TABLE turnstile.partitioning (
    parent     text        NOT NULL PRIMARY KEY CHECK (parent IN ('processed_messages', 'user_logins')),
    period     text        NOT NULL CHECK (period IN ('monthly', 'daily')),
    made_until timestamptz NOT NULL,
    since      timestamptz
);

COMMENT ON TABLE turnstile.partitioning IS
    'The tables that are partitioned by time, processed_messages by sent_at and user_logins by create_date, and those that are being made so. Written by turnstile migrate --partition.';
COMMENT ON COLUMN turnstile.partitioning.parent IS
    'The table.';
COMMENT ON COLUMN turnstile.partitioning.period IS
    'How much time a new partition holds: a month or a day, in UTC.';
COMMENT ON COLUMN turnstile.partitioning.made_until IS
    'Until when there are partitions without a gap, as last seen. While since is NULL, the end of what is to be the first one.';
COMMENT ON COLUMN turnstile.partitioning.since IS
    'Since when it is partitioned; NULL while that is being prepared.';

-- What is noted here stays noted: a partition that was only detached is told from a table that happens to have such a name.
CREATE TABLE turnstile.retired_partitions (
    partition   text        NOT NULL PRIMARY KEY,
    parent      text        NOT NULL REFERENCES turnstile.partitioning,
    since       timestamptz,
    until       timestamptz NOT NULL,
    for_archive boolean     NOT NULL,
    row_count   bigint,
    noted_at    timestamptz NOT NULL DEFAULT now(),
    detached_at timestamptz,
    dropped_at  timestamptz,
    CONSTRAINT retired_partitions_order_check CHECK (dropped_at IS NULL OR detached_at IS NOT NULL)
);

COMMENT ON TABLE turnstile.retired_partitions IS
    'The partitions that have left their tables, or are leaving. Written by turnstile retain, before each step.';
COMMENT ON COLUMN turnstile.retired_partitions.partition IS
    'Its name, in the schema of its table.';
COMMENT ON COLUMN turnstile.retired_partitions.parent IS
    'The table that it belonged to.';
COMMENT ON COLUMN turnstile.retired_partitions.since IS
    'The time with which it begins; NULL for the first, which holds whatever is older.';
COMMENT ON COLUMN turnstile.retired_partitions.until IS
    'The time before which it ends.';
COMMENT ON COLUMN turnstile.retired_partitions.for_archive IS
    'Whether it waits, once it is detached, until turnstile archive has kept it.';
COMMENT ON COLUMN turnstile.retired_partitions.row_count IS
    'How many rows it held when it had been detached; where it was not for the archive, as the server reckoned.';
COMMENT ON COLUMN turnstile.retired_partitions.noted_at IS
    'When it began to leave.';
COMMENT ON COLUMN turnstile.retired_partitions.detached_at IS
    'When it was found to be a table of its own, into which nobody writes.';
COMMENT ON COLUMN turnstile.retired_partitions.dropped_at IS
    'When it was found to be gone.';

-- The same way as extend_outbox(): LIKE and ATTACH wait for nobody who reads or writes the table. What there is, the catalogue
-- says: a partition that somebody has dropped is made again, and one that somebody has made is left alone.
CREATE FUNCTION turnstile.extend_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
DECLARE
    it      record;
    whole   regclass;
    schema_ text;
    unit    text;
    at_     timestamptz;
    until_  timestamptz;
    wanted  timestamptz;
    name    text;
    other   record;
    made    integer := 0;
    failed  text;
BEGIN
    IF NOT pg_try_advisory_xact_lock('turnstile.partitioning'::regclass::bigint) THEN
        RETURN 0;
    END IF;
    FOR it IN SELECT * FROM turnstile.partitioning ORDER BY parent LOOP
        whole := CASE it.parent WHEN 'user_logins' THEN 'public.user_logins' ELSE 'turnstile.processed_messages' END::regclass;
        SELECT n.nspname INTO schema_ FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = whole;
        IF it.since IS NULL THEN
            -- What was being prepared and came to no end would refuse rows once that time has come.
            IF it.made_until < now() + interval '1 day' THEN
                PERFORM set_config('lock_timeout', '50ms', true);
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', whole, it.parent || '_first_partition');
                DELETE FROM turnstile.partitioning WHERE parent = it.parent;
            END IF;
            CONTINUE;
        END IF;
        unit := CASE it.period WHEN 'monthly' THEN 'month' ELSE 'day' END;
        wanted := date_trunc(unit, now()) + CASE unit WHEN 'month' THEN interval '4 months' ELSE interval '15 days' END;
        at_ := least(it.made_until, date_trunc(unit, now()));
        -- What fails for one table is no matter of the other.
        BEGIN
            WHILE at_ < wanted LOOP
                SELECT min(b.until) FILTER (WHERE b.since <= at_ AND b.until > at_) AS covers, min(b.since) FILTER (WHERE b.since > at_) AS next
                INTO other
                FROM (SELECT coalesce(substring(e.bound, 'FROM \(''([^'']*)''\)')::timestamptz, '-infinity') AS since,
                             coalesce(substring(e.bound, 'TO \(''([^'']*)''\)')::timestamptz, 'infinity') AS until
                      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                      CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS e
                      WHERE i.inhparent = whole AND e.bound <> 'DEFAULT') AS b;
                IF other.covers IS NOT NULL THEN
                    at_ := least(other.covers, wanted);
                    CONTINUE;
                END IF;
                until_ := least(date_trunc(unit, at_) + ('1 ' || unit)::interval, other.next);
                name := it.parent || '_' || to_char(at_, CASE WHEN unit = 'month' AND at_ = date_trunc('month', at_) THEN 'YYYYMM' ELSE 'YYYYMMDD' END);
                WHILE to_regclass(format('%I.%I', schema_, name)) IS NOT NULL LOOP
                    name := name || '_';
                END LOOP;
                name := format('%I.%I', schema_, name);
                EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)', name, whole);
                -- What default privileges gave to others: partitions are read through their table.
                FOR other IN SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
                             WHERE c.oid = name::regclass AND a.grantee <> c.relowner LOOP
                    EXECUTE format('REVOKE ALL ON %s FROM %s', name,
                                   CASE other.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(other.grantee)) END);
                END LOOP;
                EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', whole, name,
                               CASE it.parent WHEN 'user_logins' THEN at_::date::text ELSE at_::text END,
                               CASE it.parent WHEN 'user_logins' THEN until_::date::text ELSE until_::text END);
                at_ := until_;
                made := made + 1;
            END LOOP;
            UPDATE turnstile.partitioning SET made_until = at_ WHERE parent = it.parent AND made_until <> at_;
        EXCEPTION WHEN OTHERS THEN
            failed := SQLERRM;
            RAISE WARNING 'partitions of % could not be made: %', it.parent, failed;
        END;
    END LOOP;
    IF failed IS NOT NULL AND made = 0 THEN
        RAISE EXCEPTION 'partitions could not be made: %', failed;
    END IF;
    RETURN made;
END
$$;

REVOKE ALL ON FUNCTION turnstile.extend_partitions() FROM PUBLIC;

COMMENT ON FUNCTION turnstile.extend_partitions() IS
    'Makes the partitions by time that are missing: those of this month and of three months ahead, or of today and of fourteen days ahead. Gives their number. turnstile migrate, turnstile run and turnstile retain call it.';

COMMENT ON TABLE turnstile.dead_letter_revisions IS
    'Edited bodies of dead letters: each plan that edits makes one of each letter. Rows are added by the database, and removed with their letters by turnstile retain only.';
