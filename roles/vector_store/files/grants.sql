-- Statements that would bring the rights of the store to what is declared; no row when they are so. A percent sign is doubled, as the
-- driver fills in the names.
WITH
  creator AS (SELECT current_user::text AS name UNION SELECT unnest(string_to_array(%(owning)s, ','))),
  place AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY (string_to_array(%(schemas)s, ','))),
  member AS (
    SELECT grp.rolname AS grp, usr.rolname AS usr
    FROM pg_auth_members link JOIN pg_roles grp ON grp.oid = link.roleid JOIN pg_roles usr ON usr.oid = link.member
  ),
  wanted_member (grp, usr) AS (
    SELECT %(readers)s::text, %(writers)s::text
    UNION ALL SELECT %(readers)s::text, unnest(string_to_array(%(reading)s, ','))
    UNION ALL SELECT %(writers)s::text, unnest(string_to_array(%(writing)s, ','))
  ),
  unwanted_member (grp, usr) AS (
    SELECT %(writers)s::text, unnest(string_to_array(%(reading)s, ',') || string_to_array(%(owning)s, ','))
    UNION ALL SELECT %(readers)s::text, unnest(string_to_array(%(writing)s, ',') || string_to_array(%(owning)s, ','))
  ),
  wanted_default (grp, objects, kind, rights) AS (
    VALUES (%(readers)s::text, 'TABLES', 'r', ARRAY['SELECT']),
           (%(writers)s::text, 'TABLES', 'r', ARRAY['INSERT', 'UPDATE', 'DELETE']),
           (%(writers)s::text, 'SEQUENCES', 'S', ARRAY['USAGE', 'SELECT'])
  ),
  -- What is there already, a table at a time; those of an extension are left alone.
  thing AS (
    SELECT class.oid, class.relkind, place.nspname, class.relname
    FROM pg_class class JOIN place ON place.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend dep WHERE dep.objid = class.oid AND dep.deptype = 'e')
  )
SELECT format('GRANT %%I TO %%I', grp, usr) AS statement
FROM wanted_member WHERE (grp, usr) NOT IN (SELECT grp, usr FROM member)
UNION ALL
SELECT format('REVOKE %%I FROM %%I', grp, usr)
FROM unwanted_member WHERE (grp, usr) IN (SELECT grp, usr FROM member)
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', nspname, %(readers)s::text)
FROM place WHERE NOT has_schema_privilege(%(readers)s::text, oid, 'USAGE')
UNION ALL
SELECT format('GRANT SELECT ON %%I.%%I TO %%I', nspname, relname, %(readers)s::text)
FROM thing WHERE relkind <> 'S' AND NOT has_table_privilege(%(readers)s::text, oid, 'SELECT')
UNION ALL
SELECT format('GRANT INSERT, UPDATE, DELETE ON %%I.%%I TO %%I', nspname, relname, %(writers)s::text)
FROM thing WHERE relkind IN ('r', 'p', 'f') AND NOT (has_table_privilege(%(writers)s::text, oid, 'INSERT')
  AND has_table_privilege(%(writers)s::text, oid, 'UPDATE') AND has_table_privilege(%(writers)s::text, oid, 'DELETE'))
UNION ALL
SELECT format('GRANT USAGE, SELECT ON SEQUENCE %%I.%%I TO %%I', nspname, relname, %(writers)s::text)
FROM thing WHERE relkind = 'S' AND NOT (has_sequence_privilege(%(writers)s::text, oid, 'USAGE')
  AND has_sequence_privilege(%(writers)s::text, oid, 'SELECT'))
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA %%I GRANT %%s ON %%s TO %%I',
  creator.name, place.nspname, array_to_string(wanted.rights, ', '), wanted.objects, wanted.grp)
FROM creator CROSS JOIN place CROSS JOIN wanted_default wanted
WHERE NOT wanted.rights <@ ARRAY(
  SELECT acl.privilege_type FROM pg_default_acl def, aclexplode(def.defaclacl) acl
  WHERE def.defaclnamespace = place.oid AND def.defaclobjtype::text = wanted.kind
    AND def.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = creator.name)
    AND acl.grantee = (SELECT oid FROM pg_roles WHERE rolname = wanted.grp))
