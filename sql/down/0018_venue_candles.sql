DROP INDEX data_gaps_without_candles;
ALTER TABLE data_gaps
    DROP COLUMN unfetched,
    DROP COLUMN candles,
    DROP COLUMN candles_due;
ALTER TABLE ohlcv DROP COLUMN backfilled;
