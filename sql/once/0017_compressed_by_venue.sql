-- A symbol's ticks are compressed apart for each venue: their sequence numbers and trade ids run on, which costs less than a
-- byte a tick; of two venues mixed it is four. What is compressed already stays as it is.
UPDATE time_partitioning SET segment_by = '{symbol,exchange}' WHERE table_name IN ('tick_data', 'public_trades');
