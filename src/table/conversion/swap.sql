-- A partitioned table takes the place of `own.NAME`, which becomes its first partition. No row is written anew. Views are made
-- again, because they follow the table that they were made on; grants and comments go along.
DO $swap$
DECLARE
    whole     CONSTANT regclass := '{table}'::regclass;
    comment_  text := obj_description(whole, 'pg_class');
    owner_    text := (SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = whole);
    is_done   boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = whole);
    it        record;
    views     text[];
    grants    text[];
    indexes   text[];
    sequences text[];
    statement text;
    number    integer := 0;
BEGIN
    IF is_done THEN
        RETURN;
    END IF;
    LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;

    SELECT array_agg(format('CREATE OR REPLACE VIEW %s %s AS %s', v.oid::regclass,
                            CASE WHEN v.reloptions IS NULL THEN '' ELSE format('WITH (%s)', array_to_string(v.reloptions, ', ')) END,
                            pg_get_viewdef(v.oid)))
    INTO views
    FROM (SELECT DISTINCT c.oid, c.reloptions FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
          JOIN pg_class c ON c.oid = r.ev_class
          WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = whole
            AND c.relkind = 'v') AS v;

    SELECT array_agg(format('GRANT %s%s ON {table} TO %s%s', g.privilege_type, g.columns,
                            CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
    INTO grants
    FROM (SELECT a.grantee, a.privilege_type, a.is_grantable, '' AS columns
          FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = whole AND a.grantee <> c.relowner
          UNION ALL
          SELECT a.grantee, a.privilege_type, a.is_grantable, format(' (%I)', t.attname)
          FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
          WHERE c.oid = whole AND a.grantee <> c.relowner AND NOT t.attisdropped) AS g;

    SELECT array_agg(coalesce('ALTER TABLE {table} ADD CONSTRAINT ' || quote_ident(c.relname) || ' ' || pg_get_constraintdef(k.oid),
                              pg_get_indexdef(c.oid)))
    INTO indexes
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u')
    WHERE i.indrelid = whole AND c.relname NOT IN ('user_logins_message_key', 'user_logins_message_day_key');

    SELECT array_agg(format('ALTER SEQUENCE %s OWNED BY {table}.%I', d.objid::regclass, a.attname))
    INTO sequences
    FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = whole AND d.deptype = 'a';

    {drop_key}
    FOR it IN SELECT c.oid::regclass AS name, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
              WHERE i.indrelid = whole LOOP
        number := number + 1;
        EXECUTE format('ALTER INDEX %s RENAME TO %I', it.name,
                       CASE WHEN length(it.relname) + length('{suffix}') <= 63 THEN it.relname
                            ELSE left(it.relname, 59 - length('{suffix}')) || '_' || number END || '{suffix}');
    END LOOP;
    ALTER TABLE {table} RENAME TO {old_ident};

    CREATE TABLE {table} (LIKE {old_table} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY) PARTITION BY RANGE ({column});
    ALTER TABLE {table} DROP CONSTRAINT {constraint};
    EXECUTE format('ALTER TABLE {table} OWNER TO %I', owner_);
    -- What default privileges gave to others.
    FOR it IN SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
              WHERE c.oid = '{table}'::regclass AND a.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON {table} FROM %s',
                       CASE it.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(it.grantee)) END);
    END LOOP;
    FOREACH statement IN ARRAY coalesce(grants, '{}') || coalesce(indexes, '{}') || coalesce(sequences, '{}') LOOP
        EXECUTE statement;
    END LOOP;
    {unique_index}
    IF comment_ IS NOT NULL THEN
        EXECUTE format('COMMENT ON TABLE {table} IS %L', comment_);
    END IF;
    ALTER TABLE {table} ATTACH PARTITION {old_table} FOR VALUES FROM (MINVALUE) TO ('{cut}');
    ALTER TABLE {old_table} DROP CONSTRAINT {constraint};
    FOREACH statement IN ARRAY coalesce(views, '{}') LOOP
        EXECUTE statement;
    END LOOP;
    UPDATE {own}.partitioning SET since = now() WHERE parent = '{parent}';
END
$swap$
