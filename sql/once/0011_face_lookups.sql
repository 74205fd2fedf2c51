-- Indexes for the look-ups of the faces mastertrade, octopus and quant where a column differs in type or spelling from ours.
-- A cast to varchar(n) is a function to the planner (text has no length that would make it needless), and so is a timestamp
-- without time zone: only an index on the very same expression serves them. Candles of seconds, which are most of all,
-- are in none of these.
CREATE INDEX ohlcv_mastertrade ON ohlcv ((replace(symbol, '/', '')::varchar(20)), time_utc DESC)
    WHERE right(timeframe, 1) <> 's';
CREATE INDEX ohlcv_octopus ON ohlcv ((symbol::varchar(20)), time DESC) WHERE timeframe = '1m';
CREATE INDEX technical_indicators_mastertrade ON technical_indicators
    ((replace(symbol, '/', '')::varchar(20)), (timeframe::varchar(10)), (indicator_name::varchar(50)),
     (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX whale_transactions_mastertrade ON whale_transactions
    ((replace(token_symbol, '/', '')::varchar(20)), (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX onchain_metrics_mastertrade ON onchain_metrics
    ((replace(symbol, '/', '')::varchar(20)), (metric_name::varchar(50)), (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX social_sentiment_mastertrade ON social_sentiment
    ((replace(symbol, '/', '')::varchar(20)), (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX stock_indices_mastertrade ON stock_indices ((index_name::varchar(20)), (time AT TIME ZONE 'UTC') DESC);
CREATE INDEX portfolio_balances_mastertrade ON portfolio_balances ((time AT TIME ZONE 'UTC') DESC);
CREATE INDEX risk_metrics_mastertrade ON risk_metrics ((time AT TIME ZONE 'UTC') DESC);
CREATE INDEX strategies_mastertrade ON strategies
    ((CASE status WHEN 'stopped' THEN 'paused' ELSE status END::varchar(20)),
     (replace(coalesce(symbol, symbols[1], ''), '/', '')::varchar(20)));
-- Pending orders are few among many.
CREATE INDEX orders_quant ON orders (created_at DESC)
    WHERE CASE status WHEN 'unknown' THEN 'open' ELSE status END IN ('pending', 'open');
