-- Undoes sql/always, by the catalogue: the five faces, and in schema public every policy, view and function of ours but
-- those that a file of sql/once made; their names are in the setting traderd.made_once. A trigger goes with its function.
-- A continuous aggregate isn't a view that can be dropped as one: it belongs to the file of sql/once that made it.
DROP SCHEMA IF EXISTS trading_ai, apextrade, mastertrade, octopus, quant CASCADE;

DO $$
DECLARE
    change    text;
    made_once text[] := string_to_array(current_setting('traderd.made_once'), ',');
BEGIN
    IF to_regrole('traderd_backup') IS NOT NULL THEN
        ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM traderd_backup;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON SEQUENCES FROM traderd_backup;
    END IF;
    FOREACH change IN ARRAY ARRAY(
        SELECT format('DROP POLICY %I ON %s', polname, polrelid::regclass)
        FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', c.oid::regclass)
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND (relrowsecurity OR relforcerowsecurity)
        UNION ALL
        SELECT format('DROP VIEW IF EXISTS %s CASCADE', c.oid::regclass)
        FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND pg_get_userbyid(relowner) = current_user
          AND relname <> ALL (made_once)
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
          AND NOT EXISTS (SELECT FROM pg_depend JOIN pg_rewrite r ON classid = 'pg_rewrite'::regclass AND objid = r.oid
                          JOIN pg_class t ON refclassid = 'pg_class'::regclass AND refobjid = t.oid
                          WHERE ev_class = c.oid AND t.relnamespace = to_regnamespace('_timescaledb_internal'))
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
        FROM pg_proc p
        WHERE pronamespace = 'public'::regnamespace AND pg_get_userbyid(proowner) = current_user
          AND proname <> ALL (made_once)
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
    ) LOOP
        EXECUTE change;
    END LOOP;
END
$$;

-- What compress_in_batches_of() has set.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) configured
               WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND setrole = current_user::regrole
                 AND starts_with(configured, 'timescaledb.compression_batch_size_limit=')) THEN
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I RESET timescaledb.compression_batch_size_limit',
                       current_database());
    END IF;
END
$$;
