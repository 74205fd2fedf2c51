DO $$
BEGIN
    IF to_regclass('ohlcv_1h_kept') IS NULL THEN
        EXECUTE 'DROP MATERIALIZED VIEW ohlcv_1d';
        EXECUTE 'DROP MATERIALIZED VIEW ohlcv_1h';
    ELSE
        DROP TABLE rollup_marks, ohlcv_1d_kept, ohlcv_1h_kept;
        DROP TYPE IF EXISTS bookend;
    END IF;
END
$$;
