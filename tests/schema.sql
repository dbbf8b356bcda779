-- The tables as the migrations make them. UPDATE_SCHEMA=1 make test writes this file.

dead_letters.message_hash bytea NOT NULL
dead_letters.code text NOT NULL
dead_letters.detail text NOT NULL
dead_letters.sealed_body bytea NOT NULL
dead_letters.message_id text NOT NULL
dead_letters.receive_count integer NOT NULL
dead_letters.sent_at timestamp with time zone NOT NULL
dead_letters.received_at timestamp with time zone NOT NULL
dead_letters.dead_lettered_at timestamp with time zone NOT NULL DEFAULT now()
dead_letters.status text NOT NULL DEFAULT 'open'::text
dead_letters.resolved_at timestamp with time zone
dead_letters.resolved_by text
dead_letters CONSTRAINT dead_letters_check CHECK ((((status = 'open'::text) = (resolved_at IS NULL)) AND ((status = 'open'::text) = (resolved_by IS NULL))))
dead_letters CONSTRAINT dead_letters_message_hash_check CHECK ((octet_length(message_hash) = 32))
dead_letters CONSTRAINT dead_letters_pkey PRIMARY KEY (message_hash)
dead_letters CONSTRAINT dead_letters_receive_count_check CHECK ((receive_count > 0))
dead_letters CONSTRAINT dead_letters_status_check CHECK ((status = ANY (ARRAY['open'::text, 'replayed'::text, 'discarded'::text])))
CREATE INDEX dead_letters_open_idx ON public.dead_letters USING btree (code, dead_lettered_at) WHERE (status = 'open'::text)
CREATE UNIQUE INDEX dead_letters_pkey ON public.dead_letters USING btree (message_hash)
COMMENT dead_letters One row per message that is no login, after its bounded retries. turnstile dead-letters lists, shows and replays them.
COMMENT dead_letters.message_hash The message: processed_messages.message_hash.
COMMENT dead_letters.code Why the body is no login: the code of the rejection.
COMMENT dead_letters.detail The rejection in words; names fields and limits, never values.
COMMENT dead_letters.sealed_body The body as it was delivered, sealed (AES-256-GCM-SIV) under the key whose id stands before the first dot.
COMMENT dead_letters.message_id SQS MessageId.
COMMENT dead_letters.receive_count The queue's ApproximateReceiveCount at the last delivery.
COMMENT dead_letters.sent_at The queue's SentTimestamp.
COMMENT dead_letters.received_at When the loader received the last delivery, by the loader's clock.
COMMENT dead_letters.dead_lettered_at Start of the transaction that wrote the row, by the database's clock.
COMMENT dead_letters.status open; replayed (its login stands in user_logins under the same hash); discarded.
COMMENT dead_letters.resolved_at When it was replayed or discarded.
COMMENT dead_letters.resolved_by Who replayed or discarded it: the database role, and the name given.

outbox.event_id bytea NOT NULL
outbox.position bigint NOT NULL IDENTITY
outbox.created_at timestamp with time zone NOT NULL DEFAULT now()
outbox.published_at timestamp with time zone
outbox.user_id character varying(128)
outbox.device_type character varying(32)
outbox.masked_ip character varying(256)
outbox.masked_device_id character varying(256)
outbox.locale character varying(32)
outbox.app_version integer
outbox.create_date date
outbox CONSTRAINT outbox_event_id_check CHECK ((octet_length(event_id) = 32))
outbox CONSTRAINT outbox_pkey PRIMARY KEY ("position")
CREATE UNIQUE INDEX outbox_pkey ON public.outbox USING btree ("position")
COMMENT outbox One event per loaded login, written in the transaction that loaded it. Published at least once, under the same event_id.
COMMENT outbox.event_id The message hash: the same however often the event is published, so that a consumer can drop repeats. One event has it: turnstile audit proves it.
COMMENT outbox.position Order of writing; two lanes may commit out of this order. A publisher reads what is unpublished above a position of its own, below which all is published, and moves that only over events that are an hour old.
COMMENT outbox.created_at Start of the transaction that loaded the login.
COMMENT outbox.published_at When the event was published; NULL until then.
COMMENT outbox.user_id As in user_logins, and so are the columns that follow: masked values only.

processed_messages.message_hash bytea NOT NULL
processed_messages.outcome text NOT NULL
processed_messages.first_message_id text NOT NULL
processed_messages.body_hash bytea NOT NULL
processed_messages.sent_at timestamp with time zone NOT NULL
processed_messages.received_at timestamp with time zone NOT NULL
processed_messages.processed_at timestamp with time zone NOT NULL DEFAULT now()
processed_messages.second_hash bytea
processed_messages.claimed_before_v6 boolean
processed_messages CONSTRAINT processed_messages_body_hash_check CHECK ((octet_length(body_hash) = 32))
processed_messages CONSTRAINT processed_messages_message_hash_check CHECK ((octet_length(message_hash) = 32))
processed_messages CONSTRAINT processed_messages_outcome_check CHECK ((outcome = ANY (ARRAY['loaded'::text, 'dead_lettered'::text])))
processed_messages CONSTRAINT processed_messages_second_hash_check CHECK ((octet_length(second_hash) = 32))
CREATE UNIQUE INDEX processed_messages_message_hash_key ON public.processed_messages USING btree (message_hash) WHERE ((second_hash IS NOT NULL) OR claimed_before_v6)
CREATE UNIQUE INDEX processed_messages_second_hash_key ON public.processed_messages USING btree (second_hash) WHERE (second_hash IS NOT NULL)
CREATE UNIQUE INDEX processed_messages_sent_at_message_hash_key ON public.processed_messages USING btree (sent_at, message_hash) WHERE ((second_hash IS NULL) OR claimed_before_v6)
COMMENT processed_messages One row per message identity: the claim that makes loading exactly-once. A delivery whose hash stands here is a duplicate.
COMMENT processed_messages.message_hash BLAKE3 (derive_key mode, context naming scheme and version) over queue ARN, identity scheme and identity key. Claimed once: together with sent_at where second_hash is NULL, else alone.
COMMENT processed_messages.outcome Where the message went: loaded (one row in user_logins) or dead_lettered (one row in dead_letters). Replay turns dead_lettered into loaded.
COMMENT processed_messages.first_message_id SQS MessageId of the delivery that made the claim: tells a redelivery from another message with the same identity.
COMMENT processed_messages.body_hash Keyed hash of the body that made the claim; of no use without the keyring.
COMMENT processed_messages.sent_at The queue's SentTimestamp; where it gave none, when the message was received.
COMMENT processed_messages.received_at When the loader received the delivery that made the claim, by the loader's clock.
COMMENT processed_messages.processed_at Start of the transaction that made the claim, by the database's clock.
COMMENT processed_messages.second_hash The hash of the MessageId, claimed beside message_hash under every identity scheme but message-id: there one message has different hashes as a login and as a rejection. Equal to message_hash under message-id where the queue gave no SentTimestamp. NULL under message-id otherwise, and in logins loaded before this column was there.
COMMENT processed_messages.claimed_before_v6 True in claims from before version 6 of the tables, which count both together with sent_at and alone; else NULL.

user_logins.user_id character varying(128)
user_logins.device_type character varying(32)
user_logins.masked_ip character varying(256)
user_logins.masked_device_id character varying(256)
user_logins.locale character varying(32)
user_logins.app_version integer
user_logins.create_date date
user_logins.message_hash bytea
user_logins.message_sent_at timestamp with time zone
CREATE UNIQUE INDEX user_logins_message_key ON public.user_logins USING btree (message_sent_at, message_hash)
COMMENT user_logins One row per login, personal fields masked.
COMMENT user_logins.user_id Who logged in, as the app sent it.
COMMENT user_logins.device_type The kind of device, as the app sent it.
COMMENT user_logins.masked_ip The masked IP address: equal addresses mask alike under one key. KEYID.… is sealed (turnstile unmask recovers it), KEYID:… is a token.
COMMENT user_logins.masked_device_id The masked device id: equal ids mask alike under one key.
COMMENT user_logins.locale The locale; NULL where the app sent null.
COMMENT user_logins.app_version major * 1000000 + minor * 1000 + patch, missing parts 0: keeps the order of versions.
COMMENT user_logins.create_date UTC day on which the message was sent (the queue's SentTimestamp).
COMMENT user_logins.message_hash The message that brought the row: processed_messages.message_hash. NULL in rows that stood here before Turnstile.
COMMENT user_logins.message_sent_at When that message was sent: processed_messages.sent_at. NULL in rows that stood here before Turnstile.
