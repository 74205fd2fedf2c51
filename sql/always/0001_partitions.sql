-- Which of the three back ends the time-partitioned tables live on.
CREATE OR REPLACE FUNCTION backend_kind() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN (SELECT relkind FROM pg_class WHERE oid = to_regclass('tick_data')) = 'p' THEN 'postgresql'
        WHEN current_setting('timescaledb.license', true) = 'apache' THEN 'timescaledb-apache'
        ELSE 'timescaledb-community'
    END
$$;

-- Makes the partitions of one table that cover a span; nothing to do on a hypertable. Ranges start at multiples of the
-- table's step since 1970, UTC. Safe in two sessions at once: whoever makes partitions holds one lock until the end of
-- the transaction. A partition is made aside and then attached, because that lets readers and writers of the table go on.
CREATE OR REPLACE FUNCTION ensure_partitions(relation regclass, first timestamptz, last timestamptz)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parent  record;
    seconds bigint;
    number  bigint;
    numbers bigint[] := '{}';
    name    text;
    made    integer := 0;
BEGIN
    SELECT c.relname, n.nspname INTO STRICT parent
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF (SELECT relkind FROM pg_class WHERE oid = relation) <> 'p' THEN
        RETURN 0;
    END IF;
    SELECT extract(epoch FROM step)::bigint INTO STRICT seconds FROM time_partitioning WHERE table_name = parent.relname;
    IF NOT isfinite(first) OR NOT isfinite(last) OR extract(epoch FROM last - first) / seconds > 400 THEN
        RAISE EXCEPTION 'the span % to % is too long for partitions of %', first, last, relation
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR number IN floor(extract(epoch FROM first) / seconds)::bigint .. floor(extract(epoch FROM last) / seconds)::bigint LOOP
        IF to_regclass(format('%I.%I', parent.nspname, partition_name(parent.relname, number * seconds))) IS NULL THEN
            numbers := numbers || number;
        END IF;
    END LOOP;
    IF numbers = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('ensure_partitions'));
    FOREACH number IN ARRAY numbers LOOP
        name := format('%I.%I', parent.nspname, partition_name(parent.relname, number * seconds));
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', name, relation);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', relation, name,
                       to_timestamp(number * seconds), to_timestamp((number + 1) * seconds));
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION partition_name(table_name text, starts_at bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT table_name || to_char(to_timestamp(starts_at) AT TIME ZONE 'UTC', '"_p"YYYYMMDD')
$$;

-- For every time-partitioned table, from yesterday (late data) to so many days ahead.
CREATE OR REPLACE FUNCTION ensure_partitions_ahead(days integer DEFAULT 3) RETURNS integer LANGUAGE sql AS $$
    SELECT coalesce(sum(ensure_partitions(quote_ident(table_name)::regclass, now() - interval '1 day',
                                          now() + make_interval(days => days))), 0)::integer
    FROM time_partitioning
$$;
