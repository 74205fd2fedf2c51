-- For the faces' look-ups: a view whose column has another type than the table's can use an index only on the same
-- expression. The faces know no candles of seconds, which are most of all.
CREATE INDEX ohlcv_faces ON ohlcv ((symbol::varchar(20)), (timeframe::varchar(10)), (time AT TIME ZONE 'UTC') DESC)
    WHERE right(timeframe, 1) <> 's';
CREATE INDEX predictions_faces ON predictions ((model_name::varchar(100)), (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX orders_faces ON orders ((exchange_order_id::varchar(100))) WHERE exchange_order_id IS NOT NULL;
