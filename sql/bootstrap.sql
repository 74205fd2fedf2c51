-- What the numbered files build on. Runs as the login role before them, whenever one of them waits, and changes nothing
-- that is right already. What it may not do is left out and told in a notice.

-- The extension, where the server has it and preloads its library: without that, CREATE EXTENSION would end the connection.
-- Tables that are native partitions already stay so: the extension's functions would meet those that stand in for them.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL)
       AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL
       AND coalesce((SELECT relkind FROM pg_class WHERE oid = to_regclass('tick_data')), 'r') <> 'p' THEN
        SET LOCAL client_min_messages = 'error';
        CREATE EXTENSION IF NOT EXISTS timescaledb;
        SET LOCAL client_min_messages = 'notice';
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'timescaledb is available, but % may not create the extension: native partitions are used', current_user;
END
$$;

-- The roles. They are the whole server's: another database's migration may make them at the same moment.
-- traderd_owner has LOGIN, without a password, because TimescaleDB runs a table's jobs only for an owner that may log in.
DO $$
DECLARE
    me       record;
    name     text;
    settings text;
    may_set  text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    SELECT rolsuper, rolsuper OR rolcreaterole AS makes_roles INTO me FROM pg_roles WHERE rolname = current_user;
    FOR name, settings IN
        VALUES ('traderd_owner', 'LOGIN'), ('traderd_app', 'NOLOGIN'), ('traderd_readonly', 'NOLOGIN'),
               ('traderd_backup', CASE WHEN me.rolsuper THEN 'NOLOGIN BYPASSRLS' ELSE 'NOLOGIN' END)
    LOOP
        CONTINUE WHEN NOT me.makes_roles OR EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', name, settings);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'traderd_backup' AND NOT rolbypassrls) THEN
        IF me.rolsuper THEN
            ALTER ROLE traderd_backup BYPASSRLS;
        ELSE
            RAISE NOTICE 'a backup as traderd_backup is incomplete: a superuser must run ALTER ROLE traderd_backup BYPASSRLS';
        END IF;
    END IF;

    -- Who makes a role may hand out membership in it, but isn't a member.
    FOREACH name IN ARRAY ARRAY['traderd_owner', 'traderd_app', 'traderd_backup'] LOOP
        CONTINUE WHEN NOT me.makes_roles OR pg_has_role(current_user, name, may_set);
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', name);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '% is not a member of %: whoever made that role must grant it', current_user, name;
        END;
    END LOOP;

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'traderd_owner') THEN
        RAISE NOTICE 'the roles traderd_owner, traderd_app, traderd_readonly and traderd_backup are missing, and % may not'
            ' make them: everything belongs to it, and the daemon is not kept from anything', current_user;
    ELSIF NOT pg_has_role(current_user, 'traderd_owner', may_set) THEN
        RAISE NOTICE '% is not a member of traderd_owner: everything belongs to it, and the daemon is not kept from'
            ' anything', current_user;
    ELSE
        BEGIN
            IF NOT has_database_privilege('traderd_owner', current_database(), 'CREATE') THEN
                EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO traderd_owner', current_database());
            END IF;
            IF NOT has_schema_privilege('traderd_owner', 'public', 'CREATE') THEN
                GRANT USAGE, CREATE ON SCHEMA public TO traderd_owner;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'traderd_owner may make nothing in database %, and % may not grant it: everything belongs to %',
                current_database(), current_user, current_user;
        END;
    END IF;
END
$$;

-- What an earlier version made belongs to whoever migrated then; from now on to traderd_owner. Ours is what belongs to the
-- owner of schema_migrations. Indexes, owned sequences and chunks go with their tables.
DO $$
DECLARE
    former   oid := (SELECT relowner FROM pg_class WHERE oid = to_regclass('public.schema_migrations'));
    may_set  text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
    change   text;
BEGIN
    IF former IS NULL OR to_regrole('traderd_owner') IS NULL OR former = to_regrole('traderd_owner')
       OR NOT pg_has_role(current_user, 'traderd_owner', may_set)
       OR NOT has_schema_privilege('traderd_owner', 'public', 'CREATE') THEN
        RETURN;
    END IF;
    FOR change IN
        WITH ours AS (
            SELECT oid AS schema FROM pg_namespace
            WHERE nspname IN ('public', 'trading_ai', 'apextrade', 'mastertrade', 'octopus', 'quant')
        ), aggregates AS (  -- continuous ones, which look like views
            SELECT ev_class FROM pg_rewrite r JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = r.oid
            JOIN pg_class c ON refclassid = 'pg_class'::regclass AND refobjid = c.oid
            WHERE relnamespace = to_regnamespace('_timescaledb_internal')
        ), extensions AS (
            SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        )
        SELECT format('ALTER SCHEMA %I OWNER TO traderd_owner', nspname)
        FROM pg_namespace JOIN ours ON oid = schema WHERE nspowner = former AND nspname <> 'public'
        UNION ALL
        SELECT format('ALTER %s %s OWNER TO traderd_owner',
                      CASE WHEN relkind = 'm' OR oid IN (SELECT ev_class FROM aggregates) THEN 'MATERIALIZED VIEW'
                           WHEN relkind = 'v' THEN 'VIEW' WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                      oid::regclass)
        FROM pg_class JOIN ours ON relnamespace = schema
        WHERE relowner = former AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND ('pg_class'::regclass, oid) NOT IN (SELECT classid, objid FROM extensions)
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                          AND relkind = 'S' AND deptype IN ('a', 'i'))
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO traderd_owner', t.oid::regtype)
        FROM pg_type t JOIN ours ON typnamespace = schema LEFT JOIN pg_class c ON c.oid = typrelid
        WHERE typowner = former AND (typtype IN ('d', 'e') OR relkind = 'c')
          AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM extensions)
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO traderd_owner', oid::regprocedure)
        FROM pg_proc JOIN ours ON pronamespace = schema
        WHERE proowner = former AND ('pg_proc'::regclass, oid) NOT IN (SELECT classid, objid FROM extensions)
    LOOP
        EXECUTE change;
    END LOOP;
END
$$;
