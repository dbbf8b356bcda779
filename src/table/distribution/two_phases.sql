-- A transaction that writes to one shard alone is committed there before it is committed on the coordinator: were the
-- coordinator to end in between, the claim would stand and its event be lost. Any statement that could insert several rows
-- into a distributed table makes Citus prepare the transaction on every server first, even where it inserts none. So each
-- table that stays on the coordinator, and that is written along with distributed ones, runs such a statement.
CREATE TABLE IF NOT EXISTS {own}.two_phases (
    message_hash bytea CONSTRAINT two_phases_holds_no_row CHECK (false)
);

COMMENT ON TABLE {own}.two_phases IS
    'Never holds a row. Who inserts none here makes the transaction end in two phases, on all servers or on none.';
COMMENT ON COLUMN {own}.two_phases.message_hash IS
    'What the table is distributed by.';

CREATE OR REPLACE FUNCTION {own}.end_in_two_phases() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {own}.two_phases SELECT NULL::bytea WHERE false;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION {own}.end_in_two_phases() FROM PUBLIC;

COMMENT ON FUNCTION {own}.end_in_two_phases() IS
    'Makes the transaction end in two phases, on all servers or on none.';
