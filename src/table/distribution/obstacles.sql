-- What a distributed table cannot have; $1 is the table, $2 the column that it is distributed by.
SELECT CASE WHEN i.indisexclusion THEN 'exclusion constraint' ELSE 'unique index without ' || $2 END, c.relname::text
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::pg_catalog.regclass AND (i.indisunique OR i.indisexclusion)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.attname = $2 AND a.attnum = ANY (i.indkey::smallint[]))
UNION ALL
SELECT 'trigger', t.tgname::text FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = $1::text::pg_catalog.regclass AND NOT t.tgisinternal
UNION ALL
SELECT 'foreign key', f.conname::text FROM pg_catalog.pg_constraint f
WHERE f.contype = 'f' AND $1::text::pg_catalog.regclass IN (f.conrelid, f.confrelid) AND f.conparentid = 0
UNION ALL
SELECT 'rule', r.rulename::text FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = $1::text::pg_catalog.regclass
UNION ALL
SELECT 'identity column', a.attname::text FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::text::pg_catalog.regclass AND a.attidentity <> '' AND NOT a.attisdropped
ORDER BY 1, 2
