-- What the archive holds, as the database knows it. A partition is dropped only where its row here is recorded.
CREATE TABLE turnstile.archives (
    parent           text        NOT NULL REFERENCES turnstile.partitioning,
    label            text        NOT NULL,
    generation       integer     NOT NULL CHECK (generation > 0),
    partition        text        NOT NULL REFERENCES turnstile.retired_partitions,
    archive          text        NOT NULL,
    place            text        NOT NULL,
    state            text        NOT NULL DEFAULT 'noted' CHECK (state IN ('noted', 'written', 'verified', 'recorded')),
    objects          text[],
    blake3           bytea[],
    bytes            bigint,
    row_count        bigint,
    digest           numeric,
    first_at         timestamptz,
    last_at          timestamptz,
    sequence         bigint      CHECK (sequence > 0),
    manifest_blake3  bytea       CHECK (octet_length(manifest_blake3) = 32),
    previous_blake3  bytea       CHECK (octet_length(previous_blake3) = 32),
    noted_at         timestamptz NOT NULL DEFAULT now(),
    written_at       timestamptz,
    verified_at      timestamptz,
    recorded_at      timestamptz,
    replaced_at      timestamptz,
    PRIMARY KEY (parent, label, generation),
    CONSTRAINT archives_sequence_key UNIQUE (archive, sequence),
    CONSTRAINT archives_written_check CHECK (
        state = 'noted' OR (objects IS NOT NULL AND blake3 IS NOT NULL AND bytes IS NOT NULL AND written_at IS NOT NULL)
    ),
    CONSTRAINT archives_verified_check CHECK (
        state IN ('noted', 'written') OR (row_count IS NOT NULL AND digest IS NOT NULL AND verified_at IS NOT NULL)
    ),
    CONSTRAINT archives_recorded_check CHECK (
        (state = 'recorded') = (recorded_at IS NOT NULL) AND (state = 'recorded') = (sequence IS NOT NULL)
        AND (state = 'recorded') = (manifest_blake3 IS NOT NULL)
    ),
    CONSTRAINT archives_replaced_check CHECK (replaced_at IS NULL OR state = 'recorded')
);

COMMENT ON TABLE turnstile.archives IS
    'One row for each partition that an archive holds, and one for each time that it was written anew. Written by turnstile archive, before and after each step.';
COMMENT ON COLUMN turnstile.archives.parent IS
    'The table that the rows belonged to.';
COMMENT ON COLUMN turnstile.archives.label IS
    'Which time they are of, as the folder of the archive is named: 2026-11, 2026-11-27, or before-2026-11-01 for what is older.';
COMMENT ON COLUMN turnstile.archives.generation IS
    'The how many-th form of them: 1 as they were archived, one more each time that somebody was forgotten.';
COMMENT ON COLUMN turnstile.archives.partition IS
    'The partition that held them.';
COMMENT ON COLUMN turnstile.archives.archive IS
    'The id of the archive, which stands in each of its manifests.';
COMMENT ON COLUMN turnstile.archives.place IS
    'Where the archive was when this was written, as --to named it.';
COMMENT ON COLUMN turnstile.archives.state IS
    'How far it has come: noted, written (stored), verified (read back, and equal to the table), recorded (a manifest names it).';
COMMENT ON COLUMN turnstile.archives.objects IS
    'The names of its files in the archive, in the order of the rows.';
COMMENT ON COLUMN turnstile.archives.blake3 IS
    'BLAKE3 of each of these files.';
COMMENT ON COLUMN turnstile.archives.bytes IS
    'How many bytes the files have in all.';
COMMENT ON COLUMN turnstile.archives.row_count IS
    'How many rows they hold.';
COMMENT ON COLUMN turnstile.archives.digest IS
    'The digest of the rows: the sum of 60 bits of MD5 of each row''s text.';
COMMENT ON COLUMN turnstile.archives.first_at IS
    'The earliest time of a message among the rows; NULL where none has one.';
COMMENT ON COLUMN turnstile.archives.last_at IS
    'The latest time of a message among the rows.';
COMMENT ON COLUMN turnstile.archives.sequence IS
    'The number of its manifest in the archive.';
COMMENT ON COLUMN turnstile.archives.manifest_blake3 IS
    'BLAKE3 of the manifest, which the next manifest names as well.';
COMMENT ON COLUMN turnstile.archives.previous_blake3 IS
    'BLAKE3 of the manifest before it; NULL for the first of an archive.';
COMMENT ON COLUMN turnstile.archives.noted_at IS
    'When it was begun. The manifest names this time.';
COMMENT ON COLUMN turnstile.archives.written_at IS
    'When all files were stored.';
COMMENT ON COLUMN turnstile.archives.verified_at IS
    'When they had been read back, and were equal to the table.';
COMMENT ON COLUMN turnstile.archives.recorded_at IS
    'When the manifest had been stored.';
COMMENT ON COLUMN turnstile.archives.replaced_at IS
    'When its files were deleted, because a later generation took their place.';
