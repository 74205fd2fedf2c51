-- TimescaleDB drops one index of a hypertable at a time.
DROP INDEX orders_faces;
DROP INDEX predictions_faces;
DROP INDEX ohlcv_faces;
