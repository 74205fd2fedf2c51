ALTER TABLE orders ALTER COLUMN exchange_order_id TYPE text;
-- TimescaleDB drops one index of a hypertable at a time.
DROP INDEX predictions_faces;
DROP INDEX ohlcv_faces;
