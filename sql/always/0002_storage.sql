-- How the settings in time_partitioning and row_retention are carried out. What TimescaleDB's community edition does by
-- itself is left to its policies; everything else is done by maintenance_step(), which the daemon calls. These functions act
-- with the owner's rights: the daemon has none to make or drop tables.

-- Up to when rows with this term may go: never past what a journal has not stored yet.
CREATE OR REPLACE FUNCTION retention_cutoff(keep_for interval, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(at - keep_for, (SELECT min(oldest) FROM retention_holds))
$$;

-- A journal tells the time of the oldest row that the database hasn't; '-infinity' holds everything.
CREATE OR REPLACE FUNCTION hold_retention(journal text, upto timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('storage'));
    INSERT INTO retention_holds (journal_id, oldest) VALUES (journal, upto)
    ON CONFLICT (journal_id) DO UPDATE SET oldest = EXCLUDED.oldest, renewed_at = now();
    PERFORM schedule_retention();
END
$$;

-- The journal has nothing left that the database hasn't. False if it held nothing.
CREATE OR REPLACE FUNCTION release_retention(journal text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    held boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('storage'));
    DELETE FROM retention_holds WHERE journal_id = journal;
    held := FOUND;
    PERFORM schedule_retention();
    RETURN held;
END
$$;

-- The community edition's own retention rests while a journal holds it; until then maintenance_step() drops up to the hold.
CREATE OR REPLACE FUNCTION schedule_retention() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    may_run boolean := NOT EXISTS (SELECT FROM retention_holds);
BEGIN
    IF backend_kind() = 'timescaledb-community' THEN
        PERFORM add_timescaledb_to_path();
        PERFORM alter_job(job_id, scheduled => may_run)
        FROM timescaledb_information.jobs JOIN time_partitioning ON table_name = hypertable_name
        WHERE proc_name = 'policy_retention' AND hypertable_schema = 'public' AND scheduled <> may_run;
    END IF;
END
$$;

-- TimescaleDB's functions may be found from here until the end of the function that calls this.
CREATE OR REPLACE FUNCTION add_timescaledb_to_path() RETURNS void LANGUAGE sql AS $$
    SELECT set_config('search_path', format('pg_catalog, public, %I, pg_temp', nspname), true)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'timescaledb'
$$;

-- Makes the back end do what time_partitioning says, and returns what was changed: nothing, the second time. Native
-- partitions and the Apache edition's policies need nothing here: steps and terms are read whenever they are needed.
CREATE OR REPLACE FUNCTION apply_storage_settings() RETURNS text[] LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp SET intervalstyle = 'postgres' SET client_min_messages = 'error' AS $$
DECLARE
    changes text[] := '{}';
    t       record;
BEGIN
    IF backend_kind() = 'postgresql' THEN
        RETURN changes;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('storage'));
    PERFORM add_timescaledb_to_path();
    FOR t IN
        SELECT p.*, c.oid::regclass AS relation, c.relrowsecurity, d.time_interval AS old_step, h.compression_enabled
        FROM time_partitioning p
        JOIN pg_class c ON c.oid = format('public.%I', p.table_name)::regclass
        JOIN timescaledb_information.dimensions d ON (d.hypertable_schema, d.hypertable_name) = ('public', p.table_name)
        JOIN timescaledb_information.hypertables h ON (h.hypertable_schema, h.hypertable_name) = ('public', p.table_name)
        ORDER BY p.table_name
    LOOP
        IF t.old_step <> t.step THEN
            PERFORM set_chunk_time_interval(t.relation, t.step);
            changes := changes || format('%s: chunks of %s', t.table_name, t.step);
        END IF;
        CONTINUE WHEN backend_kind() = 'timescaledb-apache';
        -- TimescaleDB can't compress a table with row-level security.
        IF t.compress_after IS NOT NULL AND NOT t.relrowsecurity THEN
            changes := changes || compress_by(t.relation, t.compression_enabled, array_to_string(t.segment_by, ','), t.order_by);
        ELSE
            t.compress_after := NULL;
        END IF;
        changes := changes || set_policy(t.table_name, 'policy_compression', 'compress_after', t.compress_after)
                           || set_policy(t.table_name, 'policy_retention', 'drop_after', t.keep_for);
    END LOOP;
    IF backend_kind() = 'timescaledb-community' THEN
        changes := changes || leave_out_bloom_filters('public_trades') || compress_in_batches_of(4000)
                           || set_rollup_policy('ohlcv_1h', '1 hour', '10 minutes')
                           || set_rollup_policy('ohlcv_1d', '1 day', '1 hour');
        PERFORM schedule_retention();
    END IF;
    RETURN changes;
END
$$;

-- Whose a table or view of ours is.
CREATE OR REPLACE FUNCTION owner_of(relation text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass(format('public.%I', relation))
$$;

-- One policy of a hypertable; NULL removes it. A job stays its maker's when the table is handed over (TimescaleDB 2.19), and
-- would fail: then it is made anew.
CREATE OR REPLACE FUNCTION set_policy(relation text, policy text, key text, wanted interval) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    target  regclass := format('public.%I', relation);
    present text;
    is_ours boolean;
    job     integer;
BEGIN
    SELECT config ->> key, owner::text = owner_of(relation) INTO present, is_ours FROM timescaledb_information.jobs
    WHERE proc_name = policy AND (hypertable_schema, hypertable_name) = ('public', relation);
    IF present IS NOT DISTINCT FROM wanted::text AND is_ours IS NOT FALSE THEN
        RETURN '{}';
    END IF;
    IF policy = 'policy_compression' THEN
        PERFORM remove_compression_policy(target, if_exists => true);
        IF wanted IS NOT NULL THEN
            job := add_compression_policy(target, compress_after => wanted);
        END IF;
    ELSE
        PERFORM remove_retention_policy(target, if_exists => true);
        IF wanted IS NOT NULL THEN
            job := add_retention_policy(target, drop_after => wanted);
        END IF;
    END IF;
    IF present IS NULL AND job IS NOT NULL THEN
        -- Its first run can wait: what a replay now brings of long ago is there for a day.
        PERFORM alter_job(job, next_start => now() + interval '1 day');
    END IF;
    RETURN ARRAY[format('%s: %s %s', relation, replace(key, '_', ' '), coalesce(wanted::text, 'never'))];
END
$$;

-- A rollup's own refresh. It has no start_offset: a late row, however old, is found in the next round, and what was dropped
-- from ohlcv leaves the rollup too.
CREATE OR REPLACE FUNCTION set_rollup_policy(rollup text, settled_after interval, every interval) RETURNS text[]
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM rollup_jobs() JOIN timescaledb_information.jobs j USING (job_id)
               WHERE view_name = rollup AND j.owner::text = owner_of(rollup) AND j.schedule_interval = every
               AND j.config ->> 'end_offset' = settled_after::text AND j.config ->> 'start_offset' IS NULL)
       OR NOT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_name = rollup) THEN
        RETURN '{}';
    END IF;
    PERFORM remove_continuous_aggregate_policy(format('public.%I', rollup)::regclass, if_exists => true);
    PERFORM alter_job(
        add_continuous_aggregate_policy(format('public.%I', rollup)::regclass, start_offset => NULL,
                                        end_offset => settled_after, schedule_interval => every),
        next_start => now() + every);
    RETURN ARRAY[format('%s: refreshed every %s', rollup, every)];
END
$$;

-- The jobs that refresh our rollups on the community edition. Which of its two names a job tells is the version's choice.
CREATE OR REPLACE FUNCTION rollup_jobs() RETURNS TABLE (view_name name, job_id integer, schedule_interval interval, config jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT a.view_name, j.job_id, j.schedule_interval, j.config
    FROM timescaledb_information.continuous_aggregates a JOIN timescaledb_information.jobs j
        ON j.hypertable_name IN (a.view_name, a.materialization_hypertable_name)
    WHERE a.view_schema = 'public' AND j.proc_name = 'policy_refresh_continuous_aggregate';
END
$$;

-- Drops the oldest partition (chunk) of which every row's term is over, and tells its table; NULL: there is none.
-- One at a time, because a native partition can't go without an exclusive lock on its table: DROP takes it for an instant,
-- and so does DETACH; only DETACH CONCURRENTLY doesn't, and that can't run in a function. While it waits for that lock
-- everybody else waits behind it, so it gives up after half a second and is tried again in the next round.
CREATE OR REPLACE FUNCTION drop_expired(at timestamptz DEFAULT now()) RETURNS text LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    kind   text := backend_kind();
    t      record;
    oldest record;
BEGIN
    IF kind = 'timescaledb-community' AND NOT EXISTS (SELECT FROM retention_holds) THEN
        RETURN NULL;  -- its policies do it
    END IF;
    FOR t IN SELECT table_name, format('public.%I', table_name)::regclass AS relation, retention_cutoff(keep_for, at) AS cutoff
             FROM time_partitioning WHERE keep_for IS NOT NULL LOOP
        IF kind = 'postgresql' THEN
            SELECT partition, upper(span) AS ends INTO oldest FROM partition_spans(t.relation)
            WHERE upper(span) <= t.cutoff ORDER BY span LIMIT 1;
        ELSE
            PERFORM add_timescaledb_to_path();
            SELECT NULL AS partition, range_end AS ends INTO oldest FROM timescaledb_information.chunks
            WHERE (hypertable_schema, hypertable_name) = ('public', t.table_name) AND range_end <= t.cutoff
            ORDER BY range_end LIMIT 1;
        END IF;
        CONTINUE WHEN NOT FOUND;
        BEGIN
            IF kind = 'postgresql' THEN
                EXECUTE format('DROP TABLE %s', oldest.partition);
            ELSE
                PERFORM drop_chunks(t.relation, older_than => oldest.ends);
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
        IF t.table_name = 'ohlcv' THEN
            PERFORM forget_rollups(oldest.ends);
        END IF;
        RETURN t.table_name;
    END LOOP;
    RETURN NULL;
END
$$;

-- Deletes some rows whose term is over from one table that isn't partitioned by time, and tells which and how many. Each
-- table is looked through once a day. What others refer to stays: a signal while its order is there, an order while a fill is.
-- Row-level security binds the owner too, so each user's rows are deleted as that user. What another user's row refers to,
-- which this one doesn't see, is found by trying.
CREATE OR REPLACE FUNCTION delete_expired(at timestamptz DEFAULT now(), OUT relation text, OUT deleted bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    before  text := coalesce(current_setting('app.current_user_id', true), '');
    t       record;
    acts    text;
    expired text;
    each    tid;
BEGIN
    FOR t IN SELECT *, retention_cutoff(keep_for, at) AS cutoff,
                    CASE table_name
                        WHEN 'signals' THEN 'NOT EXISTS (SELECT FROM orders WHERE signal_id = old.id)'
                        WHEN 'executions' THEN 'NOT EXISTS (SELECT FROM trades WHERE id = old.id)'
                        WHEN 'orders' THEN 'status IN (''filled'', ''cancelled'', ''rejected'', ''expired'')'
                            ' AND NOT EXISTS (SELECT FROM executions WHERE order_id = old.id)'
                            ' AND NOT EXISTS (SELECT FROM trades WHERE order_id = old.id)'
                        ELSE 'true'
                    END AS unneeded
             FROM row_retention WHERE keep_for IS NOT NULL AND (swept_at IS NULL OR swept_at <= at - interval '1 day')
             ORDER BY array_position(ARRAY['trades', 'executions', 'orders', 'signals'], table_name), table_name LOOP
        expired := format('SELECT ctid FROM %I old WHERE %I < $1 AND %s', t.table_name, t.time_column, t.unneeded);
        FOR acts IN SELECT id::text FROM users LOOP
            PERFORM set_config('app.current_user_id', acts, true);
            BEGIN
                EXECUTE format('DELETE FROM %I WHERE ctid = ANY (ARRAY(%s LIMIT 5000 FOR UPDATE SKIP LOCKED))',
                               t.table_name, expired) USING t.cutoff;
                GET DIAGNOSTICS deleted = ROW_COUNT;
            EXCEPTION WHEN foreign_key_violation THEN
                deleted := 0;
                FOR each IN EXECUTE expired || ' FOR UPDATE SKIP LOCKED' USING t.cutoff LOOP
                    EXIT WHEN deleted = 5000;
                    BEGIN
                        EXECUTE format('DELETE FROM %I WHERE ctid = $1', t.table_name) USING each;
                        deleted := deleted + 1;
                    EXCEPTION WHEN foreign_key_violation THEN
                        NULL;
                    END;
                END LOOP;
            END;
            PERFORM set_config('app.current_user_id', before, true);
            IF deleted > 0 THEN
                relation := t.table_name;
                RETURN;
            END IF;
        END LOOP;
        UPDATE row_retention SET swept_at = at WHERE table_name = t.table_name;
    END LOOP;
END
$$;

-- One short piece of the work that keeps the database in order, to be called until it returns no row. Each piece is a
-- transaction of its own: a kill loses at most that piece, and no lock is held for long. One session at a time does it; to
-- another it answers 'busy'.
CREATE OR REPLACE FUNCTION maintenance_step(at timestamptz DEFAULT now()) RETURNS TABLE (work text, amount bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    expired record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('traderd'), hashtext('maintenance')) THEN
        RETURN QUERY SELECT 'busy', 0::bigint;
        RETURN;
    END IF;
    amount := ensure_partitions_ahead(at => at);
    IF amount > 0 THEN
        RETURN QUERY SELECT 'partitions made', amount;
        RETURN;
    END IF;
    amount := CASE WHEN to_regclass('ohlcv_1h_kept') IS NULL THEN 0 ELSE refresh_rollups() END;  -- else policies do it
    IF amount > 0 THEN
        RETURN QUERY SELECT 'rollups refreshed', amount;
        RETURN;
    END IF;
    work := drop_expired(at);
    IF work IS NOT NULL THEN
        RETURN QUERY SELECT format('partitions of %s dropped', work), 1::bigint;
        RETURN;
    END IF;
    expired := delete_expired(at);
    IF expired.deleted > 0 THEN
        RETURN QUERY SELECT format('rows of %s deleted', expired.relation), expired.deleted;
        RETURN;
    END IF;
    INSERT INTO maintenance (done_at) VALUES (at) ON CONFLICT (one) DO UPDATE SET done_at = EXCLUDED.done_at;
END
$$;

-- All of it in one transaction, for a session at psql. Its locks are held until the end: the daemon goes step by step.
CREATE OR REPLACE FUNCTION run_maintenance(at timestamptz DEFAULT now()) RETURNS TABLE (work text, amount bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    step record;
BEGIN
    LOOP
        SELECT * INTO step FROM maintenance_step(at);
        EXIT WHEN NOT FOUND;
        RETURN QUERY SELECT step.work, step.amount;
        EXIT WHEN step.work = 'busy';
    END LOOP;
END
$$;

-- What a person should know of, one row for each: what is wrong, and what to do about it.
CREATE OR REPLACE FUNCTION storage_problems(at timestamptz DEFAULT now()) RETURNS TABLE (problem text, advice text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    made       timestamptz := (SELECT applied_at FROM schema_migrations WHERE name = 'once/0007_storage.sql');
    maintained timestamptz := (SELECT done_at FROM maintenance);
    unused     boolean := maintained IS NULL AND made > at - interval '1 day';  -- its daemon hasn't run yet
BEGIN
    RETURN QUERY
    SELECT format('journal %s has held retention since %s, and not renewed that since %s', journal_id,
                  to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                  to_char(renewed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')),
           format('start its daemon; if that is gone for good: traderd db maintain --release %s', journal_id)
    FROM retention_holds WHERE renewed_at < at - interval '10 minutes';

    RETURN QUERY
    SELECT coalesce('maintenance was last done ' || to_char(maintained AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                    'maintenance has never been done'), 'start the daemon, or run traderd db maintain from a timer'
    WHERE coalesce(maintained, '-infinity') < at - interval '1 day' AND NOT unused;

    IF backend_kind() = 'postgresql' AND NOT unused THEN
        RETURN QUERY
        SELECT 'no partition for tomorrow: ' || string_agg(table_name, ', ' ORDER BY table_name), 'run traderd db maintain'
        FROM time_partitioning WHERE EXISTS (
            SELECT FROM missing_partitions(format('public.%I', table_name)::regclass, step, at, at + interval '1 day'))
        HAVING count(*) > 0;
    ELSIF backend_kind() = 'timescaledb-community' THEN
        RETURN QUERY
        SELECT format('%s has failed for longer than two of its intervals on %s', proc_name,
                      string_agg(j.hypertable_name, ', ' ORDER BY j.hypertable_name)),
               'see timescaledb_information.job_errors; a job that fails to start wants a larger max_worker_processes'
        FROM timescaledb_information.jobs j JOIN timescaledb_information.job_stats s USING (job_id)
        WHERE owner = current_user::regrole AND last_run_status = 'Failed'  -- which it is called while it runs, too
          AND (job_status <> 'Running' OR last_run_started_at < at - 2 * schedule_interval)
          AND greatest(made, last_successful_finish) < at - 2 * schedule_interval
        GROUP BY proc_name;
        RETURN QUERY
        SELECT format('no %s policy: %s', wanted, string_agg(table_name, ', ' ORDER BY table_name)), 'run traderd migrate'
        FROM time_partitioning JOIN pg_class c ON c.oid = format('public.%I', table_name)::regclass,
             (VALUES ('compression'), ('retention')) policies (wanted)
        WHERE CASE wanted WHEN 'compression' THEN compress_after IS NOT NULL AND NOT relrowsecurity
                          ELSE keep_for IS NOT NULL END
          AND NOT EXISTS (SELECT FROM timescaledb_information.jobs
                          WHERE (hypertable_schema, hypertable_name) = ('public', table_name)
                            AND proc_name = 'policy_' || wanted)
        GROUP BY wanted;
    END IF;
END
$$;
