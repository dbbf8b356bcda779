-- What operators tell each other about the dead letters of a code: who is on it, and where it is discussed.

ALTER TABLE turnstile.operator_actions
    DROP CONSTRAINT operator_actions_action_check,
    ADD CONSTRAINT operator_actions_action_check CHECK (action IN
        ('taken', 'revealed', 'edited', 'requeued', 'replayed', 'absorbed', 'discarded', 'reopened', 'exported', 'imported',
         'noted', 'cancelled', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_letters_check,
    ADD CONSTRAINT operator_actions_letters_check
        CHECK (letters > 0 OR action IN ('noted', 'cancelled', 'paused', 'resumed', 'unmasked')),
    DROP CONSTRAINT operator_actions_check1,
    ADD CONSTRAINT operator_actions_check1 CHECK (CASE
        WHEN action IN ('noted', 'cancelled', 'paused', 'resumed', 'unmasked')
            THEN letters = 0 AND message_hash IS NULL AND subject IS NOT NULL
        ELSE action IN ('taken', 'exported') OR message_hash IS NOT NULL AND letters = 1 END);

COMMENT ON COLUMN turnstile.operator_actions.action IS
    'taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, requeued (its body was read to be sent back to its queue), replayed or absorbed (by an operator, or by the loader that received it again), discarded or reopened; exported (sealed bodies were read to be written to a file), imported (it came from a file, or from another queue); noted (something about all letters of a code: the reason); cancelled (a plan); paused or resumed (receiving from a queue); unmasked (values of logins were recovered).';
COMMENT ON COLUMN turnstile.operator_actions.subject IS
    'What was noted about, a code of rejection; what was cancelled, a plan by its number; what was paused or resumed: a queue, by its ARN, one loader, by its id, or all; or how many values were unmasked. NULL for what is done with letters.';

-- The last note of a code is what lists show.
CREATE INDEX operator_actions_noted_idx ON turnstile.operator_actions (subject, id) WHERE action = 'noted';

CREATE FUNCTION turnstile.note_code(its_code text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('letters.reason', true), '') = '' THEN
        RAISE EXCEPTION 'a note says something';
    END IF;
    INSERT INTO turnstile.operator_actions (action, letters, subject, person, reason)
    VALUES ('noted', 0, its_code, nullif(current_setting('letters.person', true), ''), current_setting('letters.reason', true));
END
$$;

REVOKE ALL ON FUNCTION turnstile.note_code(text) FROM PUBLIC;

COMMENT ON FUNCTION turnstile.note_code(text) IS
    'Notes something (letters.reason) about the dead letters of this code. The last note of a code is what lists show.';
