-- For the faces' look-ups: a view whose column has another type than the table's can use an index only on the same
-- expression, and where row-level security holds not even then. The faces know no candles of seconds, which are most of all.
CREATE INDEX ohlcv_faces ON ohlcv ((symbol::varchar(20)), (timeframe::varchar(10)), time_utc DESC)
    WHERE right(timeframe, 1) <> 's';
CREATE INDEX predictions_faces ON predictions ((model_name::varchar(100)), (time AT TIME ZONE 'UTC') DESC);

-- An exchange's order id has the type that all faces give it, so that a look-up by it uses the table's own index.
ALTER TABLE orders ALTER COLUMN exchange_order_id TYPE varchar(100);
