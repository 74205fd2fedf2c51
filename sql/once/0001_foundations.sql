-- What every later file stands on: the extension where the server has it, time-partitioned tables on all three back ends,
-- the trigger behind updated_at, and the journals' cursors.
-- TimescaleDB is used only if its library is preloaded: without that, CREATE EXTENSION would end the connection.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL THEN
        SET LOCAL client_min_messages = 'error';
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'timescaledb is available, but % may not create the extension: native partitions are used', current_user;
END
$$;

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = clock_timestamp();
    RETURN NEW;
END
$$;

-- The time-partitioned tables and the span of one partition (TimescaleDB: chunk).
CREATE TABLE time_partitioning (
    table_name text PRIMARY KEY,
    step       interval NOT NULL CHECK (step >= interval '1 day' AND date_trunc('day', step) = step)
);

-- Makes a table that is partitioned by its column "time": a hypertable where there is TimescaleDB, else native ranges.
CREATE FUNCTION create_time_partitioned(table_name text, columns text, step interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    timescale text := (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                       WHERE extname = 'timescaledb');
BEGIN
    EXECUTE format('CREATE TABLE %I (%s)', table_name, columns)
         || CASE WHEN timescale IS NULL THEN ' PARTITION BY RANGE (time)' ELSE '' END;
    IF timescale IS NULL THEN
        NULL;
    ELSIF to_regproc(format('%I.by_range', timescale)) IS NOT NULL THEN  -- 2.13 and newer
        EXECUTE format('SELECT %1$I.create_hypertable(%2$L::regclass, %1$I.by_range(''time'', %3$L::interval), '
                       'create_default_indexes => false)', timescale, quote_ident(table_name), step);
    ELSE
        EXECUTE format('SELECT %1$I.create_hypertable(%2$L::regclass, ''time'', chunk_time_interval => %3$L::interval, '
                       'create_default_indexes => false)', timescale, quote_ident(table_name), step);
    END IF;
    INSERT INTO time_partitioning VALUES (table_name, step);
END
$$;

-- Up to where the database has each journal. A batch and its cursor are written in one transaction.
CREATE TABLE journal_cursors (
    journal_id text COLLATE "C" PRIMARY KEY,
    position   bigint NOT NULL CHECK (position >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER journal_cursors_updated_at BEFORE UPDATE ON journal_cursors
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
