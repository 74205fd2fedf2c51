-- On plain PostgreSQL: the functions of TimescaleDB that readers use, with its meaning. Where the extension is, its own are.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        RETURN;
    END IF;

    -- Buckets below a month are counted from Monday 2000-01-03, those of months from 2000-01-01; in UTC. A width that has both
    -- months and days is refused, by date_bin.
    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts timestamp) RETURNS timestamp
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE WHEN bucket_width > interval '0' AND date_trunc('month', bucket_width) = bucket_width
                         AND extract(day FROM bucket_width) = 0 THEN
            CASE WHEN isfinite(ts) THEN
                timestamp '2000-01-01' + make_interval(months =>
                    (floor(((extract(year FROM ts) - 2000) * 12 + extract(month FROM ts) - 1)
                           / (extract(year FROM bucket_width) * 12 + extract(month FROM bucket_width)))
                     * (extract(year FROM bucket_width) * 12 + extract(month FROM bucket_width)))::integer)
            ELSE ts END
        ELSE date_bin(bucket_width, ts, timestamp '2000-01-03') END
    $$;
    CREATE OR REPLACE FUNCTION time_bucket(bucket_width interval, ts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT time_bucket(bucket_width, ts AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
    $$;

    -- first(value, time) and last(value, time): the value at the earliest and the latest time, also where it is NULL; of equal
    -- times the row that came first. Rows without a time don't count.
    -- A state keeps its value as text, which every type goes into and comes back from: no other state fits any type.
    CREATE OR REPLACE FUNCTION first_step(state bookend, value anyelement, at timestamptz) RETURNS bookend
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        IF at IS NULL OR (state.time <= at) THEN
            RETURN state;
        END IF;
        RETURN (at, value::text)::bookend;
    END
    $$;
    CREATE OR REPLACE FUNCTION last_step(state bookend, value anyelement, at timestamptz) RETURNS bookend
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        IF at IS NULL OR (state.time >= at) THEN
            RETURN state;
        END IF;
        RETURN (at, value::text)::bookend;
    END
    $$;
    CREATE OR REPLACE FUNCTION first_step(state bookend, value anyelement, at timestamp) RETURNS bookend
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT first_step(state, value, at AT TIME ZONE 'UTC') $$;
    CREATE OR REPLACE FUNCTION last_step(state bookend, value anyelement, at timestamp) RETURNS bookend
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT last_step(state, value, at AT TIME ZONE 'UTC') $$;
    CREATE OR REPLACE FUNCTION bookend_value(state bookend, value anyelement, at timestamptz) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        RETURN state.value;
    END
    $$;
    CREATE OR REPLACE FUNCTION bookend_value(state bookend, value anyelement, at timestamp) RETURNS anyelement
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        RETURN state.value;
    END
    $$;
    CREATE OR REPLACE AGGREGATE first(anyelement, timestamptz) (
        sfunc = first_step, stype = bookend, finalfunc = bookend_value, finalfunc_extra, parallel = safe);
    CREATE OR REPLACE AGGREGATE first(anyelement, timestamp) (
        sfunc = first_step, stype = bookend, finalfunc = bookend_value, finalfunc_extra, parallel = safe);
    CREATE OR REPLACE AGGREGATE last(anyelement, timestamptz) (
        sfunc = last_step, stype = bookend, finalfunc = bookend_value, finalfunc_extra, parallel = safe);
    CREATE OR REPLACE AGGREGATE last(anyelement, timestamp) (
        sfunc = last_step, stype = bookend, finalfunc = bookend_value, finalfunc_extra, parallel = safe);
END
$do$;
