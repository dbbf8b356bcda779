-- The roles of Turnstile: what each may do, and not a column more.
--
-- Run by the owner of the tables, who may create roles, in the database of the logins: after `turnstile migrate`, and
-- again after each later one. It may be run as often as one likes.
--
--     psql "$DATABASE_URL" --set ON_ERROR_STOP=1 --file deploy/grants.sql
--
-- The two roles cannot log in themselves. Give each program and person a role of its own, in one of them:
--
--     CREATE ROLE loader_1 LOGIN PASSWORD '…' IN ROLE turnstile_loader;
--     CREATE ROLE alice    LOGIN PASSWORD '…' IN ROLE turnstile_operator;
--
-- `turnstile check` says which of the loader's privileges a role lacks, and what it may read beyond them.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnstile_loader') THEN
        CREATE ROLE turnstile_loader NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnstile_operator') THEN
        CREATE ROLE turnstile_operator NOLOGIN;
    END IF;
END
$$;

-- The schema that the tables stand in: here the one in which they are made where nobody says otherwise.
GRANT USAGE ON SCHEMA public TO turnstile_loader, turnstile_operator;

-- Which version the tables are at: `run` refuses to start without knowing.
GRANT SELECT ON refinery_schema_history TO turnstile_loader, turnstile_operator;


-- The loader: `turnstile run`. It writes logins and dead letters and cannot read them back: whoever gets hold of its
-- password finds hashes. What it selects is what RETURNING and ON CONFLICT count as reading.

-- Claims a message, and compares a repeat with the claim.
GRANT INSERT, SELECT (message_hash, second_hash, claimed_before_v6, first_message_id, body_hash, sent_at)
    ON processed_messages TO turnstile_loader;

-- Inserts logins and counts those that stand there already.
GRANT INSERT, SELECT (message_hash, message_sent_at) ON user_logins TO turnstile_loader;

-- Inserts the messages that are no logins.
GRANT INSERT, SELECT (message_hash) ON dead_letters TO turnstile_loader;

-- Writes the event of each login. The position is an identity column, which needs no privilege on its sequence.
GRANT INSERT ON outbox TO turnstile_loader;


-- The operator: `turnstile dead-letters` and `turnstile audit`. Reads dead letters, whose bodies are sealed: without
-- the keyring they say nothing. It cannot read the logins, nor delete anything.

-- Lists and shows dead letters, locks them for a replay, and says how each was resolved.
GRANT SELECT, UPDATE (status, resolved_at, resolved_by) ON dead_letters TO turnstile_operator;

-- Replays: the claim of a dead letter becomes the claim of a login, …
GRANT SELECT, UPDATE (outcome) ON processed_messages TO turnstile_operator;

-- … which is inserted with its event. Audit compares the hashes.
GRANT INSERT, SELECT (message_hash, message_sent_at) ON user_logins TO turnstile_operator;
GRANT INSERT, SELECT (event_id) ON outbox TO turnstile_operator;
