-- Bars of an hour and a day, made of the minutes in ohlcv. On TimescaleDB's community edition two continuous aggregates, the
-- second on top of the first. Elsewhere two tables of kept bars and the marks that say which of them aren't right any more;
-- sql/always/0004_rollups.sql makes views of the same names and columns on them.
-- A bar lives as long as the minutes that it is made of.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
       AND current_setting('timescaledb.license', true) IS DISTINCT FROM 'apache' THEN
        EXECUTE $sql$
            CREATE MATERIALIZED VIEW ohlcv_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
            SELECT time_bucket('1 hour', time) AS bucket, symbol, exchange, '1h'::text COLLATE "C" AS timeframe,
                   first(open, time) AS open, max(high) AS high, min(low) AS low, last(close, time) AS close,
                   sum(volume) AS volume, sum(quote_volume) AS quote_volume,
                   CASE WHEN sum(volume) > 0 THEN sum(quote_volume) / sum(volume) END AS vwap,
                   sum(trades_count)::bigint AS trades_count, count(*) AS candle_count, sum(close) AS close_sum
            FROM ohlcv WHERE timeframe = '1m' GROUP BY 1, symbol, exchange
            WITH NO DATA
        $sql$;
        EXECUTE $sql$
            CREATE MATERIALIZED VIEW ohlcv_1d WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
            SELECT time_bucket('1 day', bucket) AS bucket, symbol, exchange, '1d'::text COLLATE "C" AS timeframe,
                   first(open, bucket) AS open, max(high) AS high, min(low) AS low, last(close, bucket) AS close,
                   sum(volume) AS volume, sum(quote_volume) AS quote_volume,
                   CASE WHEN sum(volume) > 0 THEN sum(quote_volume) / sum(volume) END AS vwap,
                   sum(trades_count)::bigint AS trades_count, sum(candle_count)::bigint AS candle_count,
                   sum(close_sum) AS close_sum
            FROM ohlcv_1h GROUP BY 1, symbol, exchange
            WITH NO DATA
        $sql$;
        RETURN;
    END IF;

    CREATE TABLE ohlcv_1h_kept (
        symbol       text COLLATE "C" NOT NULL,
        exchange     text COLLATE "C" NOT NULL,
        bucket       timestamptz NOT NULL,
        open         numeric NOT NULL,
        high         numeric NOT NULL,
        low          numeric NOT NULL,
        close        numeric NOT NULL,
        volume       numeric NOT NULL,
        quote_volume numeric NOT NULL,
        trades_count bigint NOT NULL,
        candle_count bigint NOT NULL,
        close_sum    numeric NOT NULL,
        PRIMARY KEY (symbol, bucket, exchange)
    );
    CREATE TABLE ohlcv_1d_kept (LIKE ohlcv_1h_kept INCLUDING ALL);

    -- Hours in which a minute was written, changed or deleted since their bar was kept. A mark is written in the same
    -- transaction as the minute, and never changed: nobody waits for anybody, and none is lost. There may be several.
    CREATE TABLE rollup_marks (
        symbol   text COLLATE "C" NOT NULL,
        exchange text COLLATE "C" NOT NULL,
        hour     timestamptz NOT NULL,
        day      timestamptz NOT NULL
    );
    CREATE INDEX rollup_marks_symbol_hour ON rollup_marks (symbol, hour);
    INSERT INTO rollup_marks
    SELECT DISTINCT symbol, exchange, date_bin('1 hour', time, timestamptz '2000-01-01 00:00+00'),
                    date_bin('1 day', time, timestamptz '2000-01-01 00:00+00')
    FROM ohlcv WHERE timeframe = '1m';

    -- The state of first() and last(), which TimescaleDB has of its own.
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        CREATE TYPE bookend AS (time timestamptz, value text);
    END IF;
END
$$;
