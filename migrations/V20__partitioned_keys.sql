-- Keys that carry their own time can be partitioned by it, as the claims of messages are.
ALTER TABLE turnstile.partitioning
    DROP CONSTRAINT partitioning_parent_check,
    ADD CONSTRAINT partitioning_parent_check CHECK (parent IN ('processed_messages', 'user_logins', 'identities'));

COMMENT ON TABLE turnstile.partitioning IS
    'The tables that are partitioned by time, processed_messages by sent_at, user_logins by create_date and identities by key_time, and those that are being made so. Written by turnstile migrate --partition.';

-- The same way as extend_outbox(): LIKE and ATTACH wait for nobody who reads or writes the table. What there is, the catalogue
-- says: a partition that somebody has dropped is made again, and one that somebody has made is left alone.
CREATE OR REPLACE FUNCTION turnstile.extend_partitions() RETURNS integer
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
        whole := CASE it.parent WHEN 'user_logins' THEN 'public.user_logins' WHEN 'identities' THEN 'turnstile.identities'
                                ELSE 'turnstile.processed_messages' END::regclass;
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
        -- What fails for one table is no matter of the others.
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
