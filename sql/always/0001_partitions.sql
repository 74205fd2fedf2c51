-- Which of the three back ends the time-partitioned tables live on.
CREATE OR REPLACE FUNCTION backend_kind() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN (SELECT relkind FROM pg_class WHERE oid = to_regclass('tick_data')) = 'p' THEN 'postgresql'
        WHEN current_setting('timescaledb.license', true) = 'apache' THEN 'timescaledb-apache'
        ELSE 'timescaledb-community'
    END
$$;

-- The time that a native partition covers; NULL for a table that is none.
CREATE OR REPLACE FUNCTION partition_span(partition regclass) RETURNS tstzrange
LANGUAGE sql STABLE SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
    SELECT tstzrange(bounds[1]::timestamptz, bounds[2]::timestamptz)
    FROM pg_class c, regexp_match(pg_get_expr(relpartbound, oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
    WHERE c.oid = partition
$$;

-- The native partitions of a table and their times.
CREATE OR REPLACE FUNCTION partition_spans(relation regclass) RETURNS TABLE (partition regclass, span tstzrange)
LANGUAGE sql STABLE AS $$
    SELECT inhrelid::regclass, partition_span(inhrelid::regclass) FROM pg_inherits WHERE inhparent = relation
$$;

-- What of the time from first to last no partition covers yet, in pieces to make partitions of: a table's step may have been
-- another one before, and then an old partition covers a part of the new step. Steps are counted from 1970, UTC.
CREATE OR REPLACE FUNCTION missing_partitions(relation regclass, step interval, first timestamptz, last timestamptz)
RETURNS SETOF tstzrange LANGUAGE sql STABLE AS $$
    WITH here AS (SELECT coalesce(range_agg(span), '{}') AS covered FROM partition_spans(relation)),
    seconds AS (SELECT extract(epoch FROM step)::bigint AS s)
    SELECT unnest(tstzmultirange(tstzrange(to_timestamp(n * s), to_timestamp((n + 1) * s))) - covered)
    FROM here, seconds, generate_series(floor(extract(epoch FROM first) / s)::bigint,
                                        floor(extract(epoch FROM last) / s)::bigint) AS n
$$;

-- Makes the partitions of one table that cover a span; nothing to do on a hypertable. Safe in two sessions at once: whoever
-- makes partitions holds one lock until the end of the transaction. A partition is made aside and then attached, because
-- that lets readers and writers of the table go on. Acts with the owner's rights: the daemon has none to make tables.
CREATE OR REPLACE FUNCTION ensure_partitions(relation regclass, first timestamptz, last timestamptz)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    parent  text;
    step    interval;
    seconds bigint;
    gap     tstzrange;
    name    text;
    made    integer := 0;
BEGIN
    SELECT p.table_name, p.step INTO parent, step FROM time_partitioning p
    WHERE p.table_name = (SELECT relname FROM pg_class WHERE oid = relation AND relnamespace = 'public'::regnamespace);
    IF parent IS NULL THEN
        RAISE EXCEPTION '% is not partitioned by time', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (SELECT relkind FROM pg_class WHERE oid = relation) <> 'p' THEN
        RETURN 0;
    END IF;
    seconds := extract(epoch FROM step);
    IF NOT isfinite(first) OR NOT isfinite(last) OR extract(epoch FROM last - first) / seconds > 400 THEN
        RAISE EXCEPTION 'the span % to % is too long for partitions of %', first, last, relation
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Asked with every batch of rows: nearly always the partitions are there under their names.
    IF NOT EXISTS (
        SELECT FROM generate_series(floor(extract(epoch FROM first) / seconds)::bigint,
                                    floor(extract(epoch FROM last) / seconds)::bigint) AS n
        WHERE NOT coalesce(partition_span(to_regclass(format('public.%I', partition_name(parent, n * seconds))))
                           @> tstzrange(to_timestamp(n * seconds), to_timestamp((n + 1) * seconds)), false)
    ) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('ensure_partitions'));
    FOR gap IN SELECT missing_partitions(relation, step, first, last) LOOP
        name := format('public.%I', partition_name(parent, extract(epoch FROM lower(gap))::bigint));
        EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', name, relation);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', relation, name,
                       lower(gap), upper(gap));
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION partition_name(table_name text, starts_at bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT table_name || to_char(to_timestamp(starts_at) AT TIME ZONE 'UTC', '"_p"YYYYMMDD')
$$;

-- For every time-partitioned table, from yesterday (late data) to so many days ahead, and two steps at the least.
DROP FUNCTION IF EXISTS ensure_partitions_ahead(integer);
CREATE OR REPLACE FUNCTION ensure_partitions_ahead(days integer DEFAULT 3, at timestamptz DEFAULT now())
RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(sum(ensure_partitions(format('public.%I', table_name)::regclass, at - interval '1 day',
                                          at + greatest(make_interval(days => days), 2 * step))), 0)::integer
    FROM time_partitioning
$$;
