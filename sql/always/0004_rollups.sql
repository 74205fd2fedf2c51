-- The rollups where TimescaleDB doesn't keep them: ohlcv_1h = the kept bars without a mark, and those with one computed from
-- ohlcv as it is read. So a reader sees every minute that is committed, also a late one, an amended one, a deleted one, and the
-- hour that is still open; refresh_rollups() only makes that fast. On the community edition the aggregates show new minutes
-- at once too, but a change before the newest refreshed bucket after the next refresh: every 10 minutes, or refresh_rollups().
DO $do$
BEGIN
    IF to_regclass('ohlcv_1h_kept') IS NULL THEN
        CREATE OR REPLACE FUNCTION forget_rollups(upto timestamptz) RETURNS void LANGUAGE sql AS '';

        -- Has the policies refresh at once, in the background: a refresh can't run inside a transaction. Returns how many.
        CREATE OR REPLACE FUNCTION refresh_rollups() RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            PERFORM add_timescaledb_to_path();
            RETURN (SELECT count(*) FROM rollup_jobs() r, alter_job(r.job_id, next_start => now()));
        END
        $$;
        RETURN;
    END IF;

    -- One bar, computed from its parts now; no row when there are none. Functions, so that a plan is made once in a session.
    CREATE OR REPLACE FUNCTION live_ohlcv_1h(of_symbol text, of_exchange text, starts timestamptz)
    RETURNS SETOF ohlcv_1h_kept LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        RETURN QUERY
        SELECT symbol, exchange, starts, (array_agg(open ORDER BY time))[1], max(high), min(low),
               (array_agg(close ORDER BY time DESC))[1], sum(volume), sum(quote_volume), sum(trades_count)::bigint,
               count(*), sum(close)
        FROM ohlcv
        WHERE symbol = of_symbol AND timeframe = '1m' AND exchange = of_exchange
          AND time >= starts AND time < starts + interval '1 hour'
        GROUP BY symbol, exchange;
    END
    $$;

    CREATE OR REPLACE VIEW ohlcv_1h AS
    SELECT k.bucket, k.symbol, k.exchange, '1h'::text COLLATE "C" AS timeframe, k.open, k.high, k.low, k.close, k.volume,
           k.quote_volume, CASE WHEN k.volume > 0 THEN k.quote_volume / k.volume END AS vwap, k.trades_count, k.candle_count,
           k.close_sum
    FROM ohlcv_1h_kept k
    WHERE NOT EXISTS (SELECT FROM rollup_marks m
                      WHERE (m.symbol, m.exchange, m.hour) = (k.symbol, k.exchange, k.bucket))
    UNION ALL
    SELECT m.hour, m.symbol, m.exchange, '1h', l.open, l.high, l.low, l.close, l.volume,
           l.quote_volume, CASE WHEN l.volume > 0 THEN l.quote_volume / l.volume END, l.trades_count, l.candle_count,
           l.close_sum
    FROM (SELECT DISTINCT symbol, exchange, hour FROM rollup_marks) m,
         live_ohlcv_1h(m.symbol, m.exchange, m.hour) l;

    CREATE OR REPLACE FUNCTION live_ohlcv_1d(of_symbol text, of_exchange text, starts timestamptz)
    RETURNS SETOF ohlcv_1d_kept LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        RETURN QUERY
        SELECT symbol, exchange, starts, (array_agg(open ORDER BY bucket))[1], max(high), min(low),
               (array_agg(close ORDER BY bucket DESC))[1], sum(volume), sum(quote_volume), sum(trades_count)::bigint,
               sum(candle_count)::bigint, sum(close_sum)
        FROM ohlcv_1h
        WHERE symbol = of_symbol AND exchange = of_exchange AND bucket >= starts AND bucket < starts + interval '1 day'
        GROUP BY symbol, exchange;
    END
    $$;

    CREATE OR REPLACE VIEW ohlcv_1d AS
    SELECT k.bucket, k.symbol, k.exchange, '1d'::text COLLATE "C" AS timeframe, k.open, k.high, k.low, k.close, k.volume,
           k.quote_volume, CASE WHEN k.volume > 0 THEN k.quote_volume / k.volume END AS vwap, k.trades_count, k.candle_count,
           k.close_sum
    FROM ohlcv_1d_kept k
    WHERE NOT EXISTS (SELECT FROM rollup_marks m
                      WHERE (m.symbol, m.exchange, m.day) = (k.symbol, k.exchange, k.bucket))
    UNION ALL
    SELECT m.day, m.symbol, m.exchange, '1d', l.open, l.high, l.low, l.close, l.volume,
           l.quote_volume, CASE WHEN l.volume > 0 THEN l.quote_volume / l.volume END, l.trades_count, l.candle_count,
           l.close_sum
    FROM (SELECT DISTINCT symbol, exchange, day FROM rollup_marks) m,
         live_ohlcv_1d(m.symbol, m.exchange, m.day) l;

    -- Whoever may write ohlcv leaves its marks.
    CREATE OR REPLACE FUNCTION mark_rollups() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO rollup_marks
            SELECT DISTINCT symbol, exchange, date_bin('1 hour', time, timestamptz '2000-01-01 00:00+00'),
                            date_bin('1 day', time, timestamptz '2000-01-01 00:00+00')
            FROM fresh WHERE timeframe = '1m';
        END IF;
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO rollup_marks
            SELECT DISTINCT symbol, exchange, date_bin('1 hour', time, timestamptz '2000-01-01 00:00+00'),
                            date_bin('1 day', time, timestamptz '2000-01-01 00:00+00')
            FROM stale WHERE timeframe = '1m';
        END IF;
        RETURN NULL;
    END
    $$;
    DROP TRIGGER IF EXISTS ohlcv_inserted ON ohlcv;
    CREATE TRIGGER ohlcv_inserted AFTER INSERT ON ohlcv REFERENCING NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();
    DROP TRIGGER IF EXISTS ohlcv_updated ON ohlcv;
    CREATE TRIGGER ohlcv_updated AFTER UPDATE ON ohlcv REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();
    DROP TRIGGER IF EXISTS ohlcv_deleted ON ohlcv;
    CREATE TRIGGER ohlcv_deleted AFTER DELETE ON ohlcv REFERENCING OLD TABLE AS stale
        FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();

    CREATE OR REPLACE FUNCTION empty_rollups() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        TRUNCATE ohlcv_1h_kept, ohlcv_1d_kept, rollup_marks;
        RETURN NULL;
    END
    $$;
    DROP TRIGGER IF EXISTS ohlcv_truncated ON ohlcv;
    CREATE TRIGGER ohlcv_truncated AFTER TRUNCATE ON ohlcv FOR EACH STATEMENT EXECUTE FUNCTION empty_rollups();

    -- The bars before this time lose the minutes that they are made of.
    CREATE OR REPLACE FUNCTION forget_rollups(upto timestamptz) RETURNS void LANGUAGE sql AS $$
        DELETE FROM rollup_marks WHERE hour < upto;
        DELETE FROM ohlcv_1h_kept WHERE bucket < upto;
        DELETE FROM ohlcv_1d_kept WHERE bucket < upto;
    $$;

    -- Keeps the bars of so many marks and takes the marks away; returns how many those were. The marks are taken first, and
    -- what they mark is read by later statements: a minute that arrives in between has a mark of its own that stays.
    CREATE OR REPLACE FUNCTION refresh_rollups(marks_max integer DEFAULT 20000) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        taken rollup_marks[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('refresh_rollups'));
        WITH gone AS (
            DELETE FROM rollup_marks
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM rollup_marks ORDER BY symbol, hour LIMIT marks_max))
            RETURNING rollup_marks
        )
        SELECT array_agg(rollup_marks) INTO taken FROM gone;

        DELETE FROM ohlcv_1h_kept k USING unnest(taken) m
        WHERE (k.symbol, k.bucket, k.exchange) = (m.symbol, m.hour, m.exchange);
        INSERT INTO ohlcv_1h_kept
        SELECT l.* FROM (SELECT DISTINCT symbol, exchange, hour FROM unnest(taken)) m,
                        live_ohlcv_1h(m.symbol, m.exchange, m.hour) l;

        DELETE FROM ohlcv_1d_kept k USING unnest(taken) m
        WHERE (k.symbol, k.bucket, k.exchange) = (m.symbol, m.day, m.exchange);
        -- Of a day with another mark, an hour may be out of date here: that mark keeps the day from being read.
        INSERT INTO ohlcv_1d_kept
        SELECT k.symbol, k.exchange, m.day, (array_agg(open ORDER BY bucket))[1], max(high), min(low),
               (array_agg(close ORDER BY bucket DESC))[1], sum(volume), sum(quote_volume), sum(trades_count)::bigint,
               sum(candle_count)::bigint, sum(close_sum)
        FROM (SELECT DISTINCT symbol, exchange, day FROM unnest(taken)) m
        JOIN ohlcv_1h_kept k ON (k.symbol, k.exchange) = (m.symbol, m.exchange)
            AND k.bucket >= m.day AND k.bucket < m.day + interval '1 day'
        GROUP BY k.symbol, k.exchange, m.day;
        RETURN coalesce(cardinality(taken), 0);
    END
    $$;
END
$do$;

CREATE OR REPLACE VIEW market_data_daily AS
SELECT bucket AS day, symbol, exchange, open, high, low, close, volume, close_sum / candle_count AS avg_price
FROM ohlcv_1d;
