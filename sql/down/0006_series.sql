DROP TABLE technical_indicators;
DROP TABLE options_chains;
DROP TABLE heston_parameters;
DROP TABLE sabr_parameters;
DROP TABLE ou_parameters;
DROP TABLE onchain_metrics;
DROP TABLE whale_transactions;
DROP TABLE social_sentiment;
DROP TABLE stock_indices;
DROP TABLE predictions;
DROP TABLE model_performance;
DELETE FROM time_partitioning
WHERE table_name IN ('technical_indicators', 'options_chains', 'heston_parameters', 'sabr_parameters', 'ou_parameters',
                     'onchain_metrics', 'whale_transactions', 'social_sentiment', 'stock_indices', 'predictions',
                     'model_performance');
ALTER TABLE ohlcv DROP COLUMN bid, DROP COLUMN ask, DROP COLUMN bid_size, DROP COLUMN ask_size, DROP COLUMN number,
    DROP COLUMN time_utc;
