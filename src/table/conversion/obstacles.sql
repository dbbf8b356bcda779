-- What does not go along when a partitioned table takes the place of this one: its kind, and its name. $1 is the table, $2 the
-- column by which it is to be partitioned.
WITH whole AS (SELECT c.oid, c.relrowsecurity FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1))
SELECT 'trigger', t.tgname::text FROM pg_catalog.pg_trigger t JOIN whole w ON w.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', r.rulename::text FROM pg_catalog.pg_rewrite r JOIN whole w ON w.oid = r.ev_class
UNION ALL
SELECT 'row security', p.polname::text FROM pg_catalog.pg_policy p JOIN whole w ON w.oid = p.polrelid
UNION ALL
SELECT 'row security', 'enabled' FROM whole w WHERE w.relrowsecurity
UNION ALL
SELECT 'foreign key', k.conname::text FROM pg_catalog.pg_constraint k JOIN whole w ON w.oid IN (k.conrelid, k.confrelid)
WHERE k.contype = 'f'
UNION ALL
SELECT 'exclusion constraint', k.conname::text FROM pg_catalog.pg_constraint k JOIN whole w ON w.oid = k.conrelid
WHERE k.contype = 'x'
UNION ALL
SELECT 'unique index', c.relname::text
FROM pg_catalog.pg_index i JOIN whole w ON w.oid = i.indrelid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indisunique AND c.relname NOT IN ('user_logins_message_key', 'user_logins_message_day_key')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = $2
                  AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
UNION ALL
SELECT 'index that is not valid', c.relname::text
FROM pg_catalog.pg_index i JOIN whole w ON w.oid = i.indrelid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relname <> 'user_logins_message_day_key'
UNION ALL
SELECT CASE WHEN k.connoinherit THEN 'constraint with NO INHERIT' ELSE 'constraint that is NOT VALID' END, k.conname::text
FROM pg_catalog.pg_constraint k JOIN whole w ON w.oid = k.conrelid
WHERE k.contype = 'c' AND (k.connoinherit OR NOT k.convalidated) AND k.conname NOT LIKE '%\_first\_partition'
UNION ALL
SELECT 'identity column', a.attname::text FROM pg_catalog.pg_attribute a JOIN whole w ON w.oid = a.attrelid
WHERE a.attidentity <> ''
UNION ALL
SELECT 'inheritance', i.inhrelid::pg_catalog.regclass::text FROM pg_catalog.pg_inherits i JOIN whole w
    ON w.oid IN (i.inhrelid, i.inhparent)
UNION ALL
SELECT 'publication', p.pubname::text FROM pg_catalog.pg_publication_rel r JOIN whole w ON w.oid = r.prrelid
    JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
UNION ALL
SELECT 'publication of all tables, without publish_via_partition_root,', p.pubname::text FROM pg_catalog.pg_publication p
WHERE p.puballtables AND NOT p.pubviaroot
UNION ALL
SELECT DISTINCT 'rule of ' || r.ev_class::pg_catalog.regclass::text, r.rulename::text
FROM pg_catalog.pg_depend d JOIN whole w ON w.oid = d.refobjid JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND r.rulename <> '_RETURN' AND r.ev_class <> w.oid
UNION ALL
SELECT DISTINCT 'row security of ' || p.polrelid::pg_catalog.regclass::text, p.polname::text
FROM pg_catalog.pg_depend d JOIN whole w ON w.oid = d.refobjid JOIN pg_catalog.pg_policy p ON p.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND p.polrelid <> w.oid
UNION ALL
SELECT DISTINCT 'use of its row type', pg_catalog.pg_describe_object(d.classid, d.objid, 0)
FROM whole w JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_type t ON t.oid = c.reltype
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid IN (t.oid, t.typarray)
WHERE d.deptype = 'n'
UNION ALL
SELECT DISTINCT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view of another role' END, c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_depend d JOIN whole w ON w.oid = d.refobjid
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND c.oid <> w.oid
  AND (c.relkind = 'm' OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))
UNION ALL
SELECT 'function', d.objid::pg_catalog.regprocedure::text
FROM pg_catalog.pg_depend d JOIN whole w ON w.oid = d.refobjid
WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
ORDER BY 1, 2
