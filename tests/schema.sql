-- The tables as the migrations make them. UPDATE_SCHEMA=1 make test writes this file.

public.user_logins.user_id character varying(128)
public.user_logins.device_type character varying(32)
public.user_logins.masked_ip character varying(256)
public.user_logins.masked_device_id character varying(256)
public.user_logins.locale character varying(32)
public.user_logins.app_version integer
public.user_logins.create_date date
public.user_logins.message_sent_at timestamp with time zone NOT NULL
public.user_logins.message_hash bytea NOT NULL
CREATE UNIQUE INDEX user_logins_message_key ON public.user_logins USING btree (message_sent_at, message_hash)
COMMENT public.user_logins One row per login, personal fields masked.
COMMENT public.user_logins.user_id Who logged in, as the app sent it.
COMMENT public.user_logins.device_type The kind of device, as the app sent it.
COMMENT public.user_logins.masked_ip The masked IP address: equal addresses mask alike under one key. KEYID.… is sealed (turnstile unmask recovers it), KEYID:… is a token.
COMMENT public.user_logins.masked_device_id The masked device id: equal ids mask alike under one key.
COMMENT public.user_logins.locale The locale; NULL where the app sent null.
COMMENT public.user_logins.app_version major * 1000000 + minor * 1000 + patch, missing parts 0: keeps the order of versions.
COMMENT public.user_logins.create_date UTC day on which the message was sent (the queue's SentTimestamp); where the queue gives none, on which it was received.
COMMENT public.user_logins.message_sent_at The message that brought the row: processed_messages.sent_at. NULL in rows that stood here before Turnstile.
COMMENT public.user_logins.message_hash The message that brought the row: processed_messages.message_hash. NULL in rows that stood here before Turnstile.

turnstile.add_revisions() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.describe_body() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.export_letters() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.extend_outbox() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.extend_partitions() SECURITY DEFINER search_path=pg_catalog, pg_temp TimeZone=UTC DateStyle=ISO
turnstile.forget_loaders() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.import_letters() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.keep_actions() search_path=pg_catalog, pg_temp
turnstile.keep_horizon() search_path=pg_catalog, pg_temp
turnstile.keep_plan() search_path=pg_catalog, pg_temp
turnstile.keep_plan_letters() search_path=pg_catalog, pg_temp
turnstile.note_action() search_path=pg_catalog, pg_temp
turnstile.note_cancelled() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.note_code() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.note_queue() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.note_receiving() search_path=pg_catalog, pg_temp
turnstile.note_unmasking() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.pause_receiving() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.receiving_paused() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.requeue_letters() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.resolve_requeued() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.resume_receiving() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.reveal_body() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.reveal_revision() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.set_status() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.take_bodies() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.take_letters() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.take_requeued() SECURITY DEFINER search_path=pg_catalog, pg_temp
turnstile.try_revisions() SECURITY DEFINER search_path=pg_catalog, pg_temp

turnstile.archives.parent text NOT NULL
turnstile.archives.label text NOT NULL
turnstile.archives.generation integer NOT NULL
turnstile.archives.partition text NOT NULL
turnstile.archives.archive text NOT NULL
turnstile.archives.place text NOT NULL
turnstile.archives.state text NOT NULL DEFAULT 'noted'::text
turnstile.archives.objects text[]
turnstile.archives.blake3 bytea[]
turnstile.archives.bytes bigint
turnstile.archives.row_count bigint
turnstile.archives.digest numeric
turnstile.archives.first_at timestamp with time zone
turnstile.archives.last_at timestamp with time zone
turnstile.archives.sequence bigint
turnstile.archives.manifest_blake3 bytea
turnstile.archives.previous_blake3 bytea
turnstile.archives.noted_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.archives.written_at timestamp with time zone
turnstile.archives.verified_at timestamp with time zone
turnstile.archives.recorded_at timestamp with time zone
turnstile.archives.replaced_at timestamp with time zone
turnstile.archives CONSTRAINT archives_generation_check CHECK ((generation > 0))
turnstile.archives CONSTRAINT archives_manifest_blake3_check CHECK ((octet_length(manifest_blake3) = 32))
turnstile.archives CONSTRAINT archives_parent_fkey FOREIGN KEY (parent) REFERENCES partitioning(parent)
turnstile.archives CONSTRAINT archives_partition_fkey FOREIGN KEY (partition) REFERENCES retired_partitions(partition)
turnstile.archives CONSTRAINT archives_pkey PRIMARY KEY (parent, label, generation)
turnstile.archives CONSTRAINT archives_previous_blake3_check CHECK ((octet_length(previous_blake3) = 32))
turnstile.archives CONSTRAINT archives_recorded_check CHECK ((((state = 'recorded'::text) = (recorded_at IS NOT NULL)) AND ((state = 'recorded'::text) = (sequence IS NOT NULL)) AND ((state = 'recorded'::text) = (manifest_blake3 IS NOT NULL))))
turnstile.archives CONSTRAINT archives_replaced_check CHECK (((replaced_at IS NULL) OR (state = 'recorded'::text)))
turnstile.archives CONSTRAINT archives_sequence_check CHECK ((sequence > 0))
turnstile.archives CONSTRAINT archives_sequence_key UNIQUE (archive, sequence)
turnstile.archives CONSTRAINT archives_state_check CHECK ((state = ANY (ARRAY['noted'::text, 'written'::text, 'verified'::text, 'recorded'::text])))
turnstile.archives CONSTRAINT archives_verified_check CHECK (((state = ANY (ARRAY['noted'::text, 'written'::text])) OR ((row_count IS NOT NULL) AND (digest IS NOT NULL) AND (verified_at IS NOT NULL))))
turnstile.archives CONSTRAINT archives_written_check CHECK (((state = 'noted'::text) OR ((objects IS NOT NULL) AND (blake3 IS NOT NULL) AND (bytes IS NOT NULL) AND (written_at IS NOT NULL))))
CREATE UNIQUE INDEX archives_pkey ON turnstile.archives USING btree (parent, label, generation)
CREATE UNIQUE INDEX archives_sequence_key ON turnstile.archives USING btree (archive, sequence)
COMMENT turnstile.archives One row for each partition that an archive holds, and one for each time that it was written anew. Written by turnstile archive, before and after each step.
COMMENT turnstile.archives.parent The table that the rows belonged to.
COMMENT turnstile.archives.label Which time they are of, as the folder of the archive is named: 2026-11, 2026-11-27, or before-2026-11-01 for what is older.
COMMENT turnstile.archives.generation The how many-th form of them: 1 as they were archived, one more each time that somebody was forgotten.
COMMENT turnstile.archives.partition The partition that held them.
COMMENT turnstile.archives.archive The id of the archive, which stands in each of its manifests.
COMMENT turnstile.archives.place Where the archive was when this was written, as --to named it.
COMMENT turnstile.archives.state How far it has come: noted, written (stored), verified (read back, and equal to the table), recorded (a manifest names it).
COMMENT turnstile.archives.objects The names of its files in the archive, in the order of the rows.
COMMENT turnstile.archives.blake3 BLAKE3 of each of these files.
COMMENT turnstile.archives.bytes How many bytes the files have in all.
COMMENT turnstile.archives.row_count How many rows they hold.
COMMENT turnstile.archives.digest The digest of the rows: the sum of 60 bits of MD5 of each row's text.
COMMENT turnstile.archives.first_at The earliest time of a message among the rows; NULL where none has one.
COMMENT turnstile.archives.last_at The latest time of a message among the rows.
COMMENT turnstile.archives.sequence The number of its manifest in the archive.
COMMENT turnstile.archives.manifest_blake3 BLAKE3 of the manifest, which the next manifest names as well.
COMMENT turnstile.archives.previous_blake3 BLAKE3 of the manifest before it; NULL for the first of an archive.
COMMENT turnstile.archives.noted_at When it was begun. The manifest names this time.
COMMENT turnstile.archives.written_at When all files were stored.
COMMENT turnstile.archives.verified_at When they had been read back, and were equal to the table.
COMMENT turnstile.archives.recorded_at When the manifest had been stored.
COMMENT turnstile.archives.replaced_at When its files were deleted, because a later generation took their place.

turnstile.dead_letter_revisions.sent_at timestamp with time zone NOT NULL
turnstile.dead_letter_revisions.message_hash bytea NOT NULL
turnstile.dead_letter_revisions.plan bigint NOT NULL
turnstile.dead_letter_revisions.made_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
turnstile.dead_letter_revisions.role text NOT NULL DEFAULT SESSION_USER
turnstile.dead_letter_revisions.person text
turnstile.dead_letter_revisions.reason text NOT NULL
turnstile.dead_letter_revisions.paths text[] NOT NULL
turnstile.dead_letter_revisions.sealed_body bytea NOT NULL
turnstile.dead_letter_revisions.tried_at timestamp with time zone
turnstile.dead_letter_revisions CONSTRAINT dead_letter_revisions_message_hash_check CHECK ((octet_length(message_hash) = 32))
turnstile.dead_letter_revisions CONSTRAINT dead_letter_revisions_pkey PRIMARY KEY (sent_at, message_hash, plan)
turnstile.dead_letter_revisions CONSTRAINT dead_letter_revisions_plan_fkey FOREIGN KEY (plan) REFERENCES replay_plans(plan)
CREATE UNIQUE INDEX dead_letter_revisions_pkey ON turnstile.dead_letter_revisions USING btree (sent_at, message_hash, plan)
COMMENT turnstile.dead_letter_revisions Edited bodies of dead letters: each plan that edits makes one of each letter. Rows are added by the database, and removed with their letters by turnstile retain only.
COMMENT turnstile.dead_letter_revisions.plan The plan that made it: its number among the letter's revisions.
COMMENT turnstile.dead_letter_revisions.paths The JSON pointers of what was changed; an empty one means the whole body.
COMMENT turnstile.dead_letter_revisions.sealed_body The edited body, sealed as in dead_letters, for this letter and this plan alone.
COMMENT turnstile.dead_letter_revisions.tried_at When its plan first tried it. Later edits start from what was tried last.

turnstile.dead_letters.sent_at timestamp with time zone NOT NULL
turnstile.dead_letters.message_hash bytea NOT NULL
turnstile.dead_letters.queue text NOT NULL
turnstile.dead_letters.code text NOT NULL
turnstile.dead_letters.detail text NOT NULL
turnstile.dead_letters.sealed_body bytea NOT NULL
turnstile.dead_letters.message_id text NOT NULL
turnstile.dead_letters.receive_count integer NOT NULL
turnstile.dead_letters.sent_timestamp timestamp with time zone
turnstile.dead_letters.received_at timestamp with time zone NOT NULL
turnstile.dead_letters.dead_lettered_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.dead_letters.status text NOT NULL DEFAULT 'open'::text
turnstile.dead_letters.resolved_at timestamp with time zone
turnstile.dead_letters.resolved_by text
turnstile.dead_letters.field text
turnstile.dead_letters.place text
turnstile.dead_letters.grounds text NOT NULL DEFAULT COALESCE(field,
CASE
    WHEN (code = 'refused_by_database'::text) THEN detail
    ELSE ''::text
END)
turnstile.dead_letters CONSTRAINT dead_letters_message_hash_check CHECK ((octet_length(message_hash) = 32))
turnstile.dead_letters CONSTRAINT dead_letters_pkey PRIMARY KEY (sent_at, message_hash)
turnstile.dead_letters CONSTRAINT dead_letters_receive_count_check CHECK ((receive_count > 0))
turnstile.dead_letters CONSTRAINT dead_letters_resolved_check CHECK ((((status = 'open'::text) = (resolved_at IS NULL)) AND ((status = 'open'::text) = (resolved_by IS NULL))))
turnstile.dead_letters CONSTRAINT dead_letters_status_check CHECK ((status = ANY (ARRAY['open'::text, 'replayed'::text, 'absorbed'::text, 'discarded'::text])))
CREATE INDEX dead_letters_groups_idx ON turnstile.dead_letters USING btree (queue, code, grounds, status, dead_lettered_at)
CREATE INDEX dead_letters_message_hash_idx ON turnstile.dead_letters USING btree (message_hash)
CREATE INDEX dead_letters_message_id_idx ON turnstile.dead_letters USING btree (message_id)
CREATE INDEX dead_letters_of_code_idx ON turnstile.dead_letters USING btree (status, code, sent_at, message_hash)
CREATE INDEX dead_letters_open_idx ON turnstile.dead_letters USING btree (code, dead_lettered_at) WHERE (status = 'open'::text)
CREATE UNIQUE INDEX dead_letters_pkey ON turnstile.dead_letters USING btree (sent_at, message_hash)
COMMENT turnstile.dead_letters One row per message that could not be loaded, after its bounded retries. turnstile dead-letters lists, shows and replays them.
COMMENT turnstile.dead_letters.sent_at The message: processed_messages.sent_at.
COMMENT turnstile.dead_letters.message_hash The message: processed_messages.message_hash.
COMMENT turnstile.dead_letters.queue ARN of the queue that delivered it.
COMMENT turnstile.dead_letters.code Why it was not loaded: the code of the rejection.
COMMENT turnstile.dead_letters.detail The rejection in words; names fields and limits, never values.
COMMENT turnstile.dead_letters.sealed_body The body as it was delivered, and the attributes that were asked for, sealed together (AES-256-GCM-SIV) for this message alone, under the key whose id stands before the first dot.
COMMENT turnstile.dead_letters.message_id SQS MessageId.
COMMENT turnstile.dead_letters.receive_count The queue's ApproximateReceiveCount at the last delivery.
COMMENT turnstile.dead_letters.sent_timestamp The queue's SentTimestamp, also where sent_at is the constant time; NULL where the queue gave none.
COMMENT turnstile.dead_letters.received_at When the loader received the last delivery, by the loader's clock.
COMMENT turnstile.dead_letters.dead_lettered_at Start of the transaction that wrote the row, by the database's clock.
COMMENT turnstile.dead_letters.status open; replayed (its login stands in user_logins under the same message); absorbed (another message brought the same login); discarded.
COMMENT turnstile.dead_letters.resolved_at When it was replayed, absorbed or discarded.
COMMENT turnstile.dead_letters.resolved_by Who resolved it: the database role, and the name given.
COMMENT turnstile.dead_letters.field The field of the login that is wrong; NULL where the fault is of no single field.
COMMENT turnstile.dead_letters.place Where in the body the fault is: offset and length in bytes, what stands there by its kind and never its value, and the JSON pointer. NULL where the body is not at fault, or the row is older than the column.
COMMENT turnstile.dead_letters.grounds What it is grouped by, beside its code: the field, the detail of refused_by_database, or nothing.

turnstile.horizon.one boolean NOT NULL DEFAULT true
turnstile.horizon.retained_since timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone
turnstile.horizon CONSTRAINT horizon_one_check CHECK (one)
turnstile.horizon CONSTRAINT horizon_pkey PRIMARY KEY (one)
CREATE UNIQUE INDEX horizon_pkey ON turnstile.horizon USING btree (one)
turnstile.horizon TRIGGER keep_horizon
COMMENT turnstile.horizon One row: since when every claim is kept.
COMMENT turnstile.horizon.retained_since Claims of messages sent before this time, and of keys that carry such a time, may be gone: such a message is not loaded, but dead-lettered as older_than_memory. It moves before claims are removed, and never back.

turnstile.identities.hash bytea NOT NULL
turnstile.identities.owner_sent_at timestamp with time zone NOT NULL
turnstile.identities.owner bytea NOT NULL
turnstile.identities.login_hash bytea NOT NULL
turnstile.identities.claimed_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.identities.key_time timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone
turnstile.identities CONSTRAINT identities_hash_check CHECK ((octet_length(hash) = 32))
turnstile.identities CONSTRAINT identities_login_hash_check CHECK ((octet_length(login_hash) = 32))
turnstile.identities CONSTRAINT identities_owner_check CHECK ((octet_length(owner) = 32))
turnstile.identities CONSTRAINT identities_pkey PRIMARY KEY (key_time, hash)
CREATE UNIQUE INDEX identities_pkey ON turnstile.identities USING btree (key_time, hash)
COMMENT turnstile.identities One row per key that a producer gave to a login which was loaded, under every --identity but message-id: what makes a login that is sent twice one login.
COMMENT turnstile.identities.hash Hash over queue, identity scheme and key, keyed by the keyring's hash key: nobody can try keys without it.
COMMENT turnstile.identities.owner_sent_at The sent_at of the message that owns the key.
COMMENT turnstile.identities.owner The message_hash of the loaded message that owns the key.
COMMENT turnstile.identities.login_hash Hash of that message's decoded login, keyed by the keyring's hash key: tells the same login again from another login under the same key.
COMMENT turnstile.identities.claimed_at Start of the transaction that claimed the key, by the database's clock.
COMMENT turnstile.identities.key_time The time that the key itself carries, under --identity-time; 1970-01-01 where the scheme reads none.

turnstile.loader_pauses.id bigint NOT NULL
turnstile.loader_pauses.queue text
turnstile.loader_pauses.loader text
turnstile.loader_pauses.since timestamp with time zone NOT NULL DEFAULT clock_timestamp()
turnstile.loader_pauses.role text NOT NULL DEFAULT SESSION_USER
turnstile.loader_pauses.person text
turnstile.loader_pauses.reason text NOT NULL
turnstile.loader_pauses CONSTRAINT loader_pauses_check CHECK (((queue IS NULL) OR (loader IS NULL)))
turnstile.loader_pauses CONSTRAINT loader_pauses_loader_fkey FOREIGN KEY (loader) REFERENCES loaders(id) ON DELETE CASCADE
turnstile.loader_pauses CONSTRAINT loader_pauses_pkey PRIMARY KEY (id)
CREATE INDEX loader_pauses_loader_idx ON turnstile.loader_pauses USING btree (loader) WHERE (loader IS NOT NULL)
CREATE UNIQUE INDEX loader_pauses_pkey ON turnstile.loader_pauses USING btree (id)
CREATE UNIQUE INDEX loader_pauses_target_idx ON turnstile.loader_pauses USING btree (COALESCE(queue, ''::text), COALESCE(loader, ''::text))
COMMENT turnstile.loader_pauses Pauses in receiving that are in force: turnstile loaders pause adds them, turnstile loaders resume removes them.
COMMENT turnstile.loader_pauses.queue Every loader of this queue; NULL where one loader, or all of them, are meant.
COMMENT turnstile.loader_pauses.loader This loader until it ends; NULL where a queue, or all loaders, are meant.
COMMENT turnstile.loader_pauses.since Since when, by the database's clock.
COMMENT turnstile.loader_pauses.role The database role that had logged in.
COMMENT turnstile.loader_pauses.person The name that was given with it (--by). Unlike the role, it is only said.
COMMENT turnstile.loader_pauses.reason Why, in the words of the person.

turnstile.loaders.id text NOT NULL
turnstile.loaders.host text NOT NULL
turnstile.loaders.pid integer NOT NULL
turnstile.loaders.version text NOT NULL
turnstile.loaders.queue text NOT NULL
turnstile.loaders.started_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.loaders.seen_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.loaders.state text NOT NULL
turnstile.loaders.lanes jsonb NOT NULL
turnstile.loaders.received bigint NOT NULL
turnstile.loaders.loaded bigint NOT NULL
turnstile.loaders.dead_lettered bigint NOT NULL
turnstile.loaders.absorbed bigint NOT NULL
turnstile.loaders.contradicting bigint NOT NULL
turnstile.loaders.returned bigint NOT NULL
turnstile.loaders.released bigint NOT NULL
turnstile.loaders.damaged bigint NOT NULL
turnstile.loaders.in_hand bigint NOT NULL
turnstile.loaders.received_per_second double precision NOT NULL
turnstile.loaders.loaded_per_second double precision NOT NULL
turnstile.loaders.lag_p50 double precision
turnstile.loaders.lag_p99 double precision
turnstile.loaders.sqs_calls jsonb NOT NULL
turnstile.loaders.sqs_billed jsonb NOT NULL
turnstile.loaders.sqs_empty_receives bigint NOT NULL
turnstile.loaders CONSTRAINT loaders_pkey PRIMARY KEY (id)
turnstile.loaders CONSTRAINT loaders_state_check CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'full'::text, 'storm'::text, 'queue_away'::text, 'ending'::text, 'stopped'::text])))
CREATE UNIQUE INDEX loaders_pkey ON turnstile.loaders USING btree (id)
COMMENT turnstile.loaders The processes of turnstile run: each writes its row at its start, twice a minute and at its end. Rows that were not renewed for a day are removed. turnstile loaders shows them.
COMMENT turnstile.loaders.id Random, another one at each start.
COMMENT turnstile.loaders.host The name of the machine, container or pod.
COMMENT turnstile.loaders.pid The process there.
COMMENT turnstile.loaders.version The version of the program.
COMMENT turnstile.loaders.queue The queue that it loads from, by its ARN.
COMMENT turnstile.loaders.started_at When it began to load, by the database's clock.
COMMENT turnstile.loaders.seen_at When it last wrote this row, by the database's clock. One that is not stopped and has been silent for minutes was killed, or does not reach the database.
COMMENT turnstile.loaders.state running, paused (an operator wants it so), full (--dead-letter-quota), storm (--max-rejection-rate), queue_away, ending or stopped.
COMMENT turnstile.loaders.lanes What each of its lanes was doing, and for how many seconds.
COMMENT turnstile.loaders.received Deliveries that came from the queue since its start. All counts are those of its metrics, and of the same moment.
COMMENT turnstile.loaders.loaded Deliveries whose logins are rows.
COMMENT turnstile.loaders.dead_lettered Deliveries whose messages are dead letters.
COMMENT turnstile.loaders.absorbed Deliveries that brought nothing new.
COMMENT turnstile.loaders.contradicting Deliveries that brought another login under a key that was taken.
COMMENT turnstile.loaders.returned Deliveries that went back to the queue for another attempt.
COMMENT turnstile.loaders.released Deliveries that were given back untried.
COMMENT turnstile.loaders.damaged Deliveries that arrived damaged.
COMMENT turnstile.loaders.in_hand Deliveries that had not ended.
COMMENT turnstile.loaders.received_per_second Deliveries a second, since the row was written before.
COMMENT turnstile.loaders.loaded_per_second Logins loaded a second, since the row was written before.
COMMENT turnstile.loaders.lag_p50 How late half of these logins were at most, in seconds, from the queue's SentTimestamp to the commit; first deliveries only. NULL where there were none.
COMMENT turnstile.loaders.lag_p99 How late 99 of 100 of them were at most.
COMMENT turnstile.loaders.sqs_calls Calls to the queue since its start, by kind.
COMMENT turnstile.loaders.sqs_billed Requests that these calls are billed as, by kind.
COMMENT turnstile.loaders.sqs_empty_receives Receives that brought nothing.

turnstile.operator_actions.id bigint NOT NULL
turnstile.operator_actions.done_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
turnstile.operator_actions.role text NOT NULL DEFAULT SESSION_USER
turnstile.operator_actions.person text
turnstile.operator_actions.action text NOT NULL
turnstile.operator_actions.letters integer NOT NULL DEFAULT 1
turnstile.operator_actions.sent_at timestamp with time zone
turnstile.operator_actions.message_hash bytea
turnstile.operator_actions.reason text
turnstile.operator_actions.plan bigint
turnstile.operator_actions.subject text
turnstile.operator_actions CONSTRAINT operator_actions_action_check CHECK ((action = ANY (ARRAY['taken'::text, 'revealed'::text, 'edited'::text, 'requeued'::text, 'replayed'::text, 'absorbed'::text, 'discarded'::text, 'reopened'::text, 'exported'::text, 'imported'::text, 'noted'::text, 'cancelled'::text, 'paused'::text, 'resumed'::text, 'unmasked'::text])))
turnstile.operator_actions CONSTRAINT operator_actions_check CHECK (((sent_at IS NULL) = (message_hash IS NULL)))
turnstile.operator_actions CONSTRAINT operator_actions_check1 CHECK (
CASE
    WHEN (action = ANY (ARRAY['noted'::text, 'cancelled'::text, 'paused'::text, 'resumed'::text, 'unmasked'::text])) THEN ((letters = 0) AND (message_hash IS NULL) AND (subject IS NOT NULL))
    ELSE ((action = ANY (ARRAY['taken'::text, 'exported'::text])) OR ((message_hash IS NOT NULL) AND (letters = 1)))
END)
turnstile.operator_actions CONSTRAINT operator_actions_letters_check CHECK (((letters > 0) OR (action = ANY (ARRAY['noted'::text, 'cancelled'::text, 'paused'::text, 'resumed'::text, 'unmasked'::text]))))
turnstile.operator_actions CONSTRAINT operator_actions_message_hash_check CHECK ((octet_length(message_hash) = 32))
turnstile.operator_actions CONSTRAINT operator_actions_pkey PRIMARY KEY (id)
CREATE INDEX operator_actions_done_at_idx ON turnstile.operator_actions USING btree (done_at)
CREATE INDEX operator_actions_message_hash_idx ON turnstile.operator_actions USING btree (message_hash) WHERE (message_hash IS NOT NULL)
CREATE INDEX operator_actions_noted_idx ON turnstile.operator_actions USING btree (subject, id) WHERE (action = 'noted'::text)
CREATE UNIQUE INDEX operator_actions_pkey ON turnstile.operator_actions USING btree (id)
turnstile.operator_actions TRIGGER operator_actions_keep
COMMENT turnstile.operator_actions What was done with dead letters and with loaders, by whom and why: rows are added by the database, and neither changed nor removed. turnstile dead-letters history shows it.
COMMENT turnstile.operator_actions.done_at When, by the database's clock.
COMMENT turnstile.operator_actions.role The database role that had logged in.
COMMENT turnstile.operator_actions.person The name that was given with it (--by). Unlike the role, it is only said.
COMMENT turnstile.operator_actions.action taken (sealed bodies were read to replay them), revealed (a sealed body was read to be shown), edited, requeued (its body was read to be sent back to its queue), replayed or absorbed (by an operator, or by the loader that received it again), discarded or reopened; exported (sealed bodies were read to be written to a file), imported (it came from a file, or from another queue); noted (something about all letters of a code: the reason); cancelled (a plan); paused or resumed (receiving from a queue); unmasked (values of logins were recovered).
COMMENT turnstile.operator_actions.letters How many dead letters: more than one only where bodies were taken or exported, and none where no letter was concerned.
COMMENT turnstile.operator_actions.sent_at The dead letter: dead_letters.sent_at. NULL where bodies were taken or exported.
COMMENT turnstile.operator_actions.message_hash The dead letter: dead_letters.message_hash. NULL where bodies were taken or exported.
COMMENT turnstile.operator_actions.reason Why, in the words of the person.
COMMENT turnstile.operator_actions.plan The plan of which it was a part: replay_plans.plan.
COMMENT turnstile.operator_actions.subject What was noted about, a code of rejection; what was cancelled, a plan by its number; what was paused or resumed: a queue, by its ARN, one loader, by its id, or all; or how many values were unmasked. NULL for what is done with letters.

turnstile.outbox.position bigint NOT NULL DEFAULT nextval('outbox_position_seq'::regclass)
turnstile.outbox.event_id bytea NOT NULL
turnstile.outbox.message_sent_at timestamp with time zone NOT NULL
turnstile.outbox.user_id character varying(128)
turnstile.outbox.device_type character varying(32)
turnstile.outbox.masked_ip character varying(256)
turnstile.outbox.masked_device_id character varying(256)
turnstile.outbox.locale character varying(32)
turnstile.outbox.app_version integer
turnstile.outbox.create_date date
turnstile.outbox.created_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.outbox.traceparent character varying(55)
turnstile.outbox CONSTRAINT outbox_event_id_check CHECK ((octet_length(event_id) = 32))
turnstile.outbox CONSTRAINT outbox_pkey PRIMARY KEY ("position")
CREATE UNIQUE INDEX outbox_pkey ON ONLY turnstile.outbox USING btree ("position")
turnstile.outbox PARTITION BY RANGE ("position"), 3 partitions
COMMENT turnstile.outbox One event per loaded login, written in the transaction that loaded it, never changed. Ten million positions to a partition.
COMMENT turnstile.outbox.position Order of writing; two transactions may commit out of this order.
COMMENT turnstile.outbox.event_id The message's message_hash: the same however often the event is published, so that a consumer can drop repeats. One event has it: turnstile audit proves it.
COMMENT turnstile.outbox.message_sent_at The message's sent_at.
COMMENT turnstile.outbox.user_id As in user_logins, and so are the columns that follow: masked values only.
COMMENT turnstile.outbox.created_at Start of the transaction that loaded the login.
COMMENT turnstile.outbox.traceparent The trace in which the message was sent, in the form of the W3C; NULL where the message names none or nobody asked for it.

turnstile.outbox_pruned.below bigint NOT NULL
turnstile.outbox_pruned.partition text NOT NULL
turnstile.outbox_pruned.written_until timestamp with time zone
turnstile.outbox_pruned.pruned_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.outbox_pruned CONSTRAINT outbox_pruned_pkey PRIMARY KEY (below)
CREATE UNIQUE INDEX outbox_pruned_pkey ON turnstile.outbox_pruned USING btree (below)
COMMENT turnstile.outbox_pruned Which events were removed once every sink had them: a row per partition. Written by turnstile outbox prune.
COMMENT turnstile.outbox_pruned.below Events at lower positions are gone, or go next. A sink that is made from now on begins here.
COMMENT turnstile.outbox_pruned.partition The name of the partition. What stands under this name without being one is a remainder, which goes next.
COMMENT turnstile.outbox_pruned.written_until The latest created_at of its events; NULL where it held none. A login that was loaded later than all of these has its event.
COMMENT turnstile.outbox_pruned.pruned_at When this was noted.

turnstile.partitioning.parent text NOT NULL
turnstile.partitioning.period text NOT NULL
turnstile.partitioning.made_until timestamp with time zone NOT NULL
turnstile.partitioning.since timestamp with time zone
turnstile.partitioning CONSTRAINT partitioning_parent_check CHECK ((parent = ANY (ARRAY['processed_messages'::text, 'user_logins'::text, 'identities'::text])))
turnstile.partitioning CONSTRAINT partitioning_period_check CHECK ((period = ANY (ARRAY['monthly'::text, 'daily'::text])))
turnstile.partitioning CONSTRAINT partitioning_pkey PRIMARY KEY (parent)
CREATE UNIQUE INDEX partitioning_pkey ON turnstile.partitioning USING btree (parent)
COMMENT turnstile.partitioning The tables that are partitioned by time, processed_messages by sent_at, user_logins by create_date and identities by key_time, and those that are being made so. Written by turnstile migrate --partition.
COMMENT turnstile.partitioning.parent The table.
COMMENT turnstile.partitioning.period How much time a new partition holds: a month or a day, in UTC.
COMMENT turnstile.partitioning.made_until Until when there are partitions without a gap, as last seen. While since is NULL, the end of what is to be the first one.
COMMENT turnstile.partitioning.since Since when it is partitioned; NULL while that is being prepared.

turnstile.processed_messages.sent_at timestamp with time zone NOT NULL
turnstile.processed_messages.message_hash bytea NOT NULL
turnstile.processed_messages.outcome text NOT NULL
turnstile.processed_messages.absorbed_by bytea
turnstile.processed_messages.absorbed_by_sent_at timestamp with time zone
turnstile.processed_messages.message_id text NOT NULL
turnstile.processed_messages.body_hash bytea NOT NULL
turnstile.processed_messages.received_at timestamp with time zone NOT NULL
turnstile.processed_messages.processed_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.processed_messages CONSTRAINT processed_messages_absorbed_by_check CHECK ((octet_length(absorbed_by) = 32))
turnstile.processed_messages CONSTRAINT processed_messages_absorbed_check CHECK ((((outcome = 'absorbed'::text) = (absorbed_by IS NOT NULL)) AND ((outcome = 'absorbed'::text) = (absorbed_by_sent_at IS NOT NULL))))
turnstile.processed_messages CONSTRAINT processed_messages_body_hash_check CHECK ((octet_length(body_hash) = 32))
turnstile.processed_messages CONSTRAINT processed_messages_message_hash_check CHECK ((octet_length(message_hash) = 32))
turnstile.processed_messages CONSTRAINT processed_messages_outcome_check CHECK ((outcome = ANY (ARRAY['loaded'::text, 'dead_lettered'::text, 'absorbed'::text])))
turnstile.processed_messages CONSTRAINT processed_messages_pkey PRIMARY KEY (sent_at, message_hash)
CREATE UNIQUE INDEX processed_messages_pkey ON turnstile.processed_messages USING btree (sent_at, message_hash)
COMMENT turnstile.processed_messages One row per message: the claim that makes loading exactly-once. A delivery whose message stands here changes nothing.
COMMENT turnstile.processed_messages.sent_at The queue's SentTimestamp, the same on every delivery of a message. 1970-01-01 where the queue gives none, and for messages older than horizon.retained_since.
COMMENT turnstile.processed_messages.message_hash BLAKE3 (derive_key mode) over the queue's ARN and the MessageId.
COMMENT turnstile.processed_messages.outcome Where the message went: loaded (one row in user_logins), dead_lettered (one row in dead_letters), or absorbed (another message brought the same login under the same key). Replay turns dead_lettered into loaded or absorbed.
COMMENT turnstile.processed_messages.absorbed_by The message_hash of the loaded message that brought the same login; set exactly where the outcome is absorbed.
COMMENT turnstile.processed_messages.absorbed_by_sent_at The sent_at of that message.
COMMENT turnstile.processed_messages.message_id SQS MessageId.
COMMENT turnstile.processed_messages.body_hash Hash of the body, keyed by the keyring's hash key; of no use without it.
COMMENT turnstile.processed_messages.received_at When the loader received the delivery that made the claim, by the loader's clock.
COMMENT turnstile.processed_messages.processed_at Start of the transaction that made the claim, by the database's clock.

turnstile.queues.arn text NOT NULL
turnstile.queues.scheme text NOT NULL
turnstile.queues.scheme_since timestamp with time zone NOT NULL DEFAULT now()
turnstile.queues.time_basis text
turnstile.queues.since timestamp with time zone NOT NULL DEFAULT now()
turnstile.queues CONSTRAINT queues_pkey PRIMARY KEY (arn)
turnstile.queues CONSTRAINT queues_time_basis_check CHECK ((time_basis = ANY (ARRAY['sent_timestamp'::text, 'none'::text])))
CREATE UNIQUE INDEX queues_pkey ON turnstile.queues USING btree (arn)
COMMENT turnstile.queues One row per queue that was ever loaded from: what a claim of its messages is made of. Written by turnstile run, read by replay and check.
COMMENT turnstile.queues.arn The queue's ARN.
COMMENT turnstile.queues.scheme The --identity of the loader that was started last, behind its --identity-time where that is set: uuidv7:field:/id.
COMMENT turnstile.queues.scheme_since Since when that is the scheme: keys are remembered under it since then.
COMMENT turnstile.queues.time_basis What messages are claimed under: their SentTimestamp (sent_timestamp), or one constant time, because the queue gives no SentTimestamp (none). Set once, by the first message.
COMMENT turnstile.queues.since When the first loader was started.

turnstile.relay_chunks.id bigint NOT NULL
turnstile.relay_chunks.sink text NOT NULL
turnstile.relay_chunks.slot smallint NOT NULL
turnstile.relay_chunks.first_position bigint NOT NULL
turnstile.relay_chunks.last_position bigint NOT NULL
turnstile.relay_chunks.lease uuid NOT NULL
turnstile.relay_chunks.leased_until timestamp with time zone NOT NULL
turnstile.relay_chunks.attempts integer NOT NULL DEFAULT 1
turnstile.relay_chunks.owner text
turnstile.relay_chunks CONSTRAINT relay_chunks_check CHECK ((last_position >= first_position))
turnstile.relay_chunks CONSTRAINT relay_chunks_pkey PRIMARY KEY (id)
CREATE INDEX relay_chunks_by_lease ON turnstile.relay_chunks USING btree (sink, leased_until)
CREATE UNIQUE INDEX relay_chunks_pkey ON turnstile.relay_chunks USING btree (id)
COMMENT turnstile.relay_chunks Events that a relay is carrying. A row is removed once its events are carried or have become failures.
COMMENT turnstile.relay_chunks.lease What the lease on it is known by: each has another, so that a number that a crash has given again is not taken for the old one.
COMMENT turnstile.relay_chunks.leased_until Until when nobody else takes it over.
COMMENT turnstile.relay_chunks.attempts How many relays have had it.
COMMENT turnstile.relay_chunks.owner The host and process that carry it, for people to read; NULL where nobody has taken it up yet.

turnstile.relay_failures.sink text NOT NULL
turnstile.relay_failures.position bigint NOT NULL
turnstile.relay_failures.event_id bytea NOT NULL
turnstile.relay_failures.status text NOT NULL DEFAULT 'waiting'::text
turnstile.relay_failures.attempts integer NOT NULL DEFAULT 1
turnstile.relay_failures.next_at timestamp with time zone NOT NULL
turnstile.relay_failures.code text NOT NULL
turnstile.relay_failures.since timestamp with time zone NOT NULL DEFAULT now()
turnstile.relay_failures.subject bytea
turnstile.relay_failures CONSTRAINT relay_failures_event_id_check CHECK ((octet_length(event_id) = 32))
turnstile.relay_failures CONSTRAINT relay_failures_pkey PRIMARY KEY (sink, "position")
turnstile.relay_failures CONSTRAINT relay_failures_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'set_aside'::text, 'discarded'::text])))
turnstile.relay_failures CONSTRAINT relay_failures_subject_check CHECK ((octet_length(subject) = 32))
CREATE INDEX relay_failures_by_subject ON turnstile.relay_failures USING btree (sink, subject, "position") WHERE ((subject IS NOT NULL) AND (status <> 'discarded'::text))
CREATE INDEX relay_failures_that_wait ON turnstile.relay_failures USING btree (sink, next_at) WHERE (status = 'waiting'::text)
CREATE UNIQUE INDEX relay_failures_pkey ON turnstile.relay_failures USING btree (sink, "position")
COMMENT turnstile.relay_failures Events that a sink has refused for a reason of their own. They keep no other event waiting.
COMMENT turnstile.relay_failures.status waiting: it is tried again at next_at. set_aside: it was refused too often, and waits for an operator. discarded: an operator has given it up.
COMMENT turnstile.relay_failures.code What the sink says of it: a code, never a value of the event.
COMMENT turnstile.relay_failures.subject The hash of the event's subject, or the id of an event that has none, where the sink keeps order: the events of one subject are tried again one after the other.

turnstile.relay_gaps.id bigint NOT NULL
turnstile.relay_gaps.sink text NOT NULL
turnstile.relay_gaps.slot smallint NOT NULL
turnstile.relay_gaps.first_position bigint NOT NULL
turnstile.relay_gaps.last_position bigint NOT NULL
turnstile.relay_gaps.writers text[]
turnstile.relay_gaps.since timestamp with time zone NOT NULL DEFAULT now()
turnstile.relay_gaps CONSTRAINT relay_gaps_check CHECK ((last_position >= first_position))
turnstile.relay_gaps CONSTRAINT relay_gaps_pkey PRIMARY KEY (id)
CREATE INDEX relay_gaps_by_sink ON turnstile.relay_gaps USING btree (sink, first_position)
CREATE UNIQUE INDEX relay_gaps_pkey ON turnstile.relay_gaps USING btree (id)
COMMENT turnstile.relay_gaps Positions below the frontier at which no event was to be seen. A gap is removed once its events are seen, or once every transaction that may hold them has ended.
COMMENT turnstile.relay_gaps.writers The transactions that may still commit an event of it, by their virtual ids; NULL until somebody has looked.

turnstile.relay_marks.sink text NOT NULL
turnstile.relay_marks.slot smallint NOT NULL
turnstile.relay_marks.position bigint NOT NULL
turnstile.relay_marks.set_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.relay_marks CONSTRAINT relay_marks_pkey PRIMARY KEY (sink, slot, "position")
CREATE UNIQUE INDEX relay_marks_pkey ON turnstile.relay_marks USING btree (sink, slot, "position")
COMMENT turnstile.relay_marks How far each sink has come: the highest position is its frontier. What lies at or below it is carried, in a chunk, in a gap, or a failure.
COMMENT turnstile.relay_marks.set_at When it was set.

turnstile.relay_sinks.sink text NOT NULL
turnstile.relay_sinks.target text NOT NULL
turnstile.relay_sinks.slots smallint NOT NULL DEFAULT 1
turnstile.relay_sinks.ordered boolean NOT NULL DEFAULT false
turnstile.relay_sinks.cluster_id bigint NOT NULL
turnstile.relay_sinks.since timestamp with time zone NOT NULL DEFAULT now()
turnstile.relay_sinks CONSTRAINT relay_sinks_pkey PRIMARY KEY (sink)
turnstile.relay_sinks CONSTRAINT relay_sinks_sink_check CHECK ((sink ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text))
turnstile.relay_sinks CONSTRAINT relay_sinks_slots_check CHECK (((slots >= 1) AND (slots <= 64)))
CREATE UNIQUE INDEX relay_sinks_pkey ON turnstile.relay_sinks USING btree (sink)
COMMENT turnstile.relay_sinks One row per sink that events are carried to. Written by turnstile relay.
COMMENT turnstile.relay_sinks.sink Its name, which its relays share.
COMMENT turnstile.relay_sinks.target Where the events go, without secrets.
COMMENT turnstile.relay_sinks.slots Into how many parts the events are divided by their subject, each of which is carried in order. Without order, one.
COMMENT turnstile.relay_sinks.ordered Whether the events of a subject are carried in the order of their positions.
COMMENT turnstile.relay_sinks.cluster_id The system identifier of the cluster in which the sink was made: a copy of the database elsewhere must not carry the events a second time unasked.
COMMENT turnstile.relay_sinks.since When it was made.

turnstile.replay_plan_letters.plan bigint NOT NULL
turnstile.replay_plan_letters.sent_at timestamp with time zone NOT NULL
turnstile.replay_plan_letters.message_hash bytea NOT NULL
turnstile.replay_plan_letters.code text NOT NULL
turnstile.replay_plan_letters.revision bigint
turnstile.replay_plan_letters.foreseen text NOT NULL
turnstile.replay_plan_letters.foreseen_detail text
turnstile.replay_plan_letters.foreseen_place text
turnstile.replay_plan_letters.became text
turnstile.replay_plan_letters.became_detail text
turnstile.replay_plan_letters.became_at timestamp with time zone
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_became_check CHECK ((became = ANY (ARRAY['replayed'::text, 'absorbed'::text, 'no_longer_open'::text, 'rejected'::text, 'sealed'::text, 'unedited'::text, 'refused'::text, 'unclaimed'::text, 'identity_taken'::text, 'unknown_queue'::text, 'older_than_memory'::text])))
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_check CHECK (((became IS NULL) = (became_at IS NULL)))
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_foreseen_check CHECK ((foreseen = ANY (ARRAY['replayed'::text, 'absorbed'::text, 'no_longer_open'::text, 'rejected'::text, 'sealed'::text, 'unedited'::text, 'refused'::text, 'unclaimed'::text, 'identity_taken'::text, 'unknown_queue'::text, 'older_than_memory'::text])))
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_message_hash_check CHECK ((octet_length(message_hash) = 32))
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_pkey PRIMARY KEY (plan, sent_at, message_hash)
turnstile.replay_plan_letters CONSTRAINT replay_plan_letters_plan_fkey FOREIGN KEY (plan) REFERENCES replay_plans(plan)
CREATE INDEX replay_plan_letters_lately_idx ON turnstile.replay_plan_letters USING btree (code, became_at) WHERE (became IS NOT NULL)
CREATE INDEX replay_plan_letters_left_idx ON turnstile.replay_plan_letters USING btree (plan, sent_at, message_hash) WHERE (became IS NULL)
CREATE UNIQUE INDEX replay_plan_letters_pkey ON turnstile.replay_plan_letters USING btree (plan, sent_at, message_hash)
turnstile.replay_plan_letters TRIGGER replay_plan_letters_keep
COMMENT turnstile.replay_plan_letters The letters of each plan.
COMMENT turnstile.replay_plan_letters.code The code of its rejection.
COMMENT turnstile.replay_plan_letters.revision Which body is replayed: the one that this plan made of it. NULL means the body as it was delivered.
COMMENT turnstile.replay_plan_letters.foreseen What was foreseen: replayed, absorbed, or what stands in its way.
COMMENT turnstile.replay_plan_letters.foreseen_detail The code of the rejection, an SQLSTATE, or why the body does not open.
COMMENT turnstile.replay_plan_letters.foreseen_place Where the body is wrong, as in dead_letters.place.
COMMENT turnstile.replay_plan_letters.became What became of it, in the words of foreseen, or no_longer_open. Written in the transaction in which it became so. NULL until then.
COMMENT turnstile.replay_plan_letters.became_detail As foreseen_detail.

turnstile.replay_plans.plan bigint NOT NULL
turnstile.replay_plans.made_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
turnstile.replay_plans.role text NOT NULL DEFAULT SESSION_USER
turnstile.replay_plans.person text
turnstile.replay_plans.reason text
turnstile.replay_plans.meant text NOT NULL
turnstile.replay_plans.force boolean NOT NULL
turnstile.replay_plans.edits text[] NOT NULL
turnstile.replay_plans.state text NOT NULL DEFAULT 'unfinished'::text
turnstile.replay_plans.letters bigint NOT NULL DEFAULT 0
turnstile.replay_plans.done bigint NOT NULL DEFAULT 0
turnstile.replay_plans.begun_at timestamp with time zone
turnstile.replay_plans.worked_at timestamp with time zone
turnstile.replay_plans.ended_at timestamp with time zone
turnstile.replay_plans CONSTRAINT replay_plans_check CHECK (((done >= 0) AND (done <= letters)))
turnstile.replay_plans CONSTRAINT replay_plans_check1 CHECK (((state = ANY (ARRAY['cancelled'::text, 'done'::text])) = (ended_at IS NOT NULL)))
turnstile.replay_plans CONSTRAINT replay_plans_letters_check CHECK ((letters >= 0))
turnstile.replay_plans CONSTRAINT replay_plans_pkey PRIMARY KEY (plan)
turnstile.replay_plans CONSTRAINT replay_plans_state_check CHECK ((state = ANY (ARRAY['unfinished'::text, 'ready'::text, 'running'::text, 'cancelled'::text, 'done'::text])))
CREATE UNIQUE INDEX replay_plans_pkey ON turnstile.replay_plans USING btree (plan)
turnstile.replay_plans TRIGGER replay_plans_cancelled
turnstile.replay_plans TRIGGER replay_plans_keep
COMMENT turnstile.replay_plans One row per replay of dead letters: whose it is, what it is of, and how far it has come. Written by turnstile dead-letters replay.
COMMENT turnstile.replay_plans.plan Its number.
COMMENT turnstile.replay_plans.made_at When it was drawn up, by the database's clock. Letters that came later are not in it.
COMMENT turnstile.replay_plans.role The database role that drew it up.
COMMENT turnstile.replay_plans.person The name that was given with it (--by). Unlike the role, it is only said.
COMMENT turnstile.replay_plans.reason Why, in the words of the person.
COMMENT turnstile.replay_plans.meant Which letters were asked for, in words.
COMMENT turnstile.replay_plans.force Whether letters are loaded whose messages are older than what the tables remember.
COMMENT turnstile.replay_plans.edits What is changed in the bodies: operations and JSON pointers, never values. Empty where nothing is.
COMMENT turnstile.replay_plans.state unfinished (the list is being made), ready, running, cancelled or done.
COMMENT turnstile.replay_plans.letters How many letters it has.
COMMENT turnstile.replay_plans.done Of how many of them something became.
COMMENT turnstile.replay_plans.begun_at When it was first run.
COMMENT turnstile.replay_plans.worked_at When something last became of one of its letters.
COMMENT turnstile.replay_plans.ended_at When it was cancelled or came to its end.

turnstile.retired_partitions.partition text NOT NULL
turnstile.retired_partitions.parent text NOT NULL
turnstile.retired_partitions.since timestamp with time zone
turnstile.retired_partitions.until timestamp with time zone NOT NULL
turnstile.retired_partitions.for_archive boolean NOT NULL
turnstile.retired_partitions.row_count bigint
turnstile.retired_partitions.noted_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.retired_partitions.detached_at timestamp with time zone
turnstile.retired_partitions.dropped_at timestamp with time zone
turnstile.retired_partitions CONSTRAINT retired_partitions_order_check CHECK (((dropped_at IS NULL) OR (detached_at IS NOT NULL)))
turnstile.retired_partitions CONSTRAINT retired_partitions_parent_fkey FOREIGN KEY (parent) REFERENCES partitioning(parent)
turnstile.retired_partitions CONSTRAINT retired_partitions_pkey PRIMARY KEY (partition)
CREATE UNIQUE INDEX retired_partitions_pkey ON turnstile.retired_partitions USING btree (partition)
COMMENT turnstile.retired_partitions The partitions that have left their tables, or are leaving. Written by turnstile retain, before each step.
COMMENT turnstile.retired_partitions.partition Its name, in the schema of its table.
COMMENT turnstile.retired_partitions.parent The table that it belonged to.
COMMENT turnstile.retired_partitions.since The time with which it begins; NULL for the first, which holds whatever is older.
COMMENT turnstile.retired_partitions.until The time before which it ends.
COMMENT turnstile.retired_partitions.for_archive Whether it waits, once it is detached, until turnstile archive has kept it.
COMMENT turnstile.retired_partitions.row_count How many rows it held when it had been detached; where it was not for the archive, as the server reckoned.
COMMENT turnstile.retired_partitions.noted_at When it began to leave.
COMMENT turnstile.retired_partitions.detached_at When it was found to be a table of its own, into which nobody writes.
COMMENT turnstile.retired_partitions.dropped_at When it was found to be gone.

turnstile.turnstile_keys.key_id text NOT NULL
turnstile.turnstile_keys.purpose text NOT NULL
turnstile.turnstile_keys.check_value bytea NOT NULL
turnstile.turnstile_keys.mask text
turnstile.turnstile_keys.registered_at timestamp with time zone NOT NULL DEFAULT now()
turnstile.turnstile_keys.registered_by text NOT NULL DEFAULT CURRENT_USER
turnstile.turnstile_keys CONSTRAINT turnstile_keys_check_value_check CHECK ((octet_length(check_value) = 32))
turnstile.turnstile_keys CONSTRAINT turnstile_keys_key_id_check CHECK ((key_id ~ '^[a-z0-9-]{1,16}$'::text))
turnstile.turnstile_keys CONSTRAINT turnstile_keys_kind_check CHECK (((purpose = 'mask'::text) = (mask IS NOT NULL)))
turnstile.turnstile_keys CONSTRAINT turnstile_keys_mask_check CHECK ((mask = ANY (ARRAY['seal'::text, 'token'::text, 'base64'::text])))
turnstile.turnstile_keys CONSTRAINT turnstile_keys_pkey PRIMARY KEY (key_id)
turnstile.turnstile_keys CONSTRAINT turnstile_keys_purpose_check CHECK ((purpose = ANY (ARRAY['mask'::text, 'hash'::text])))
CREATE UNIQUE INDEX turnstile_keys_hash_key ON turnstile.turnstile_keys USING btree (purpose) WHERE (purpose = 'hash'::text)
CREATE UNIQUE INDEX turnstile_keys_pkey ON turnstile.turnstile_keys USING btree (key_id)
COMMENT turnstile.turnstile_keys The keys with which these tables may be written: a loader with another key under one of these ids, or without one of them, does not start.
COMMENT turnstile.turnstile_keys.key_id The key's id, as in the keyring.
COMMENT turnstile.turnstile_keys.purpose mask: masks values and seals bodies. hash: hashes identities, logins and bodies; there is one, which is not rotated.
COMMENT turnstile.turnstile_keys.check_value A digest by which the key is recognised, and from which it cannot be recovered.
COMMENT turnstile.turnstile_keys.mask How values are masked with the key: seal, token or base64.
COMMENT turnstile.turnstile_keys.registered_at When it was registered.
COMMENT turnstile.turnstile_keys.registered_by The database role that registered it.
