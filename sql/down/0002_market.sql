-- TimescaleDB drops one hypertable at a time.
DROP TABLE data_gaps;
DROP TABLE ohlcv;
DROP TABLE quarantine;
DROP TABLE public_trades;
DROP TABLE tick_data;
DROP TABLE instruments;
DELETE FROM time_partitioning WHERE table_name IN ('tick_data', 'public_trades', 'quarantine', 'ohlcv');
