CREATE TABLE turnstile.horizon (
    one            boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    retained_since timestamptz NOT NULL DEFAULT 'epoch'
);

INSERT INTO turnstile.horizon DEFAULT VALUES;

CREATE FUNCTION turnstile.keep_horizon() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR NEW.retained_since < OLD.retained_since THEN
        RAISE EXCEPTION 'the horizon moves forward only: claims from before it may be gone';
    END IF;
    IF NEW.retained_since > clock_timestamp() THEN
        RAISE EXCEPTION 'the horizon does not move into the future: what is sent until then would be dead-lettered';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER keep_horizon BEFORE UPDATE OR DELETE ON turnstile.horizon
    FOR EACH ROW EXECUTE FUNCTION turnstile.keep_horizon();

COMMENT ON TABLE turnstile.horizon IS
    'One row: since when every claim is kept.';
COMMENT ON COLUMN turnstile.horizon.retained_since IS
    'Claims of messages sent before this time may be gone: such a message is not loaded, but dead-lettered as older_than_memory. It moves before claims are removed, and never back.';
