-- Who may do what to our tables, in one place. `migrate` calls after_migrate() in the last file's transaction.
CREATE OR REPLACE FUNCTION after_migrate() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regproc('apply_storage_settings') IS NOT NULL THEN
        PERFORM apply_storage_settings();
    END IF;
    PERFORM grant_rights();
END
$$;

-- Gives each role exactly its rights, whatever it had before. Where the roles don't exist nobody but the owner has any.
-- Partitions are left out: their rows are read and written through the table, where its row-level security watches.
CREATE OR REPLACE FUNCTION grant_rights() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    schemas   text;
    relations text;
    tables    text;
    sequences text;
    routines  text;
    definers  text;
    change    text;
BEGIN
    SELECT string_agg(quote_ident(nspname), ', ') INTO schemas FROM our_schemas();
    SELECT string_agg(oid::regclass::text, ', ') FILTER (WHERE relkind <> 'S'),
           string_agg(oid::regclass::text, ', ') FILTER (WHERE relkind = 'S')
    INTO relations, sequences FROM our_relations();
    SELECT string_agg(p.oid::regprocedure::text, ', '), string_agg(p.oid::regprocedure::text, ', ') FILTER (WHERE prosecdef)
    INTO routines, definers
    FROM pg_proc p JOIN our_schemas() s ON s.oid = pronamespace
    WHERE pg_get_userbyid(proowner) = current_user
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e');

    -- What acts with the owner's rights is not for everybody.
    IF definers IS NOT NULL THEN
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', definers);
    END IF;

    IF to_regrole('traderd_app') IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO traderd_app', schemas);
        EXECUTE format('REVOKE ALL ON %s FROM traderd_app', relations);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO traderd_app', relations);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO traderd_app', routines);
        IF sequences IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO traderd_app', sequences);
        END IF;
        IF to_regclass('audit_logs') IS NOT NULL THEN
            REVOKE UPDATE, DELETE ON audit_logs FROM traderd_app;
            REVOKE INSERT, UPDATE, DELETE ON audit_chain FROM traderd_app;
        END IF;
        REVOKE INSERT, UPDATE, DELETE ON schema_migrations, time_partitioning, row_retention, retention_holds, maintenance
            FROM traderd_app;
        REVOKE EXECUTE ON FUNCTION after_migrate(), grant_rights() FROM traderd_app;
    END IF;
    REVOKE EXECUTE ON FUNCTION after_migrate(), grant_rights() FROM PUBLIC;

    IF to_regrole('traderd_readonly') IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO traderd_readonly', schemas);
        EXECUTE format('REVOKE ALL ON %s FROM traderd_readonly', relations);
        FOR change IN
            SELECT format('GRANT SELECT %s ON %s TO traderd_readonly', columns, relation) FROM open_columns()
        LOOP
            EXECUTE change;
        END LOOP;
    END IF;

    IF to_regrole('traderd_backup') IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO traderd_backup', schemas);
        EXECUTE format('GRANT SELECT ON %s TO traderd_backup', relations);
        IF sequences IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON SEQUENCE %s TO traderd_backup', sequences);
        END IF;
        -- A dump reads partition by partition, also those that are made before the next migration.
        FOR change IN
            SELECT format('GRANT SELECT ON %s TO traderd_backup', c.oid::regclass)
            FROM pg_class c JOIN our_schemas() s ON s.oid = relnamespace
            WHERE relispartition AND relkind = 'r' AND pg_get_userbyid(relowner) = current_user
              AND NOT has_table_privilege('traderd_backup', c.oid, 'SELECT')
        LOOP
            EXECUTE change;
        END LOOP;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO traderd_backup;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO traderd_backup;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION our_schemas() RETURNS SETOF pg_namespace LANGUAGE sql STABLE AS $$
    SELECT * FROM pg_namespace
    WHERE nspname IN ('public', 'trading_ai', 'apextrade', 'mastertrade', 'octopus', 'quant')
$$;

-- The tables, views and sequences that belong to us, and not to an extension.
CREATE OR REPLACE FUNCTION our_relations() RETURNS SETOF pg_class LANGUAGE sql STABLE AS $$
    SELECT c.* FROM pg_class c JOIN our_schemas() s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT c.relispartition AND pg_get_userbyid(c.relowner) = current_user
      AND NOT EXISTS (SELECT FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
$$;

-- What traderd_readonly sees of each relation: everything; of a table that holds secrets the other columns; nothing of a
-- view that reads a secret, itself or through other views.
CREATE OR REPLACE FUNCTION open_columns() RETURNS TABLE (relation regclass, columns text) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE secrets AS (
        SELECT attrelid, attnum FROM pg_attribute
        WHERE (attrelid = to_regclass('users') AND attname IN ('password_hash', 'mfa_secret'))
           OR (attrelid = to_regclass('api_keys') AND attname = 'key_hash')
           OR (attrelid = to_regclass('exchange_credentials') AND attname LIKE '%\_encrypted')
    ), closed AS (
        SELECT ev_class FROM secrets JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = attrelid
            AND refobjsubid = attnum AND classid = 'pg_rewrite'::regclass JOIN pg_rewrite ON pg_rewrite.oid = objid
        UNION
        SELECT r.ev_class FROM closed c JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = c.ev_class
            AND classid = 'pg_rewrite'::regclass JOIN pg_rewrite r ON r.oid = objid
    )
    SELECT c.oid::regclass,
           CASE WHEN EXISTS (SELECT FROM secrets WHERE attrelid = c.oid) THEN
               (SELECT format('(%s)', string_agg(quote_ident(attname), ', ')) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT attisdropped
                  AND NOT EXISTS (SELECT FROM secrets s WHERE (s.attrelid, s.attnum) = (a.attrelid, a.attnum)))
           ELSE '' END
    FROM our_relations() c
    WHERE relkind <> 'S' AND c.oid NOT IN (SELECT ev_class FROM closed)
$$;
