DROP TABLE technical_indicators, options_chains, heston_parameters, sabr_parameters, ou_parameters, onchain_metrics,
    whale_transactions, social_sentiment, stock_indices, predictions, model_performance;
DELETE FROM time_partitioning
WHERE table_name IN ('technical_indicators', 'options_chains', 'heston_parameters', 'sabr_parameters', 'ou_parameters',
                     'onchain_metrics', 'whale_transactions', 'social_sentiment', 'stock_indices', 'predictions',
                     'model_performance');
ALTER TABLE ohlcv DROP COLUMN bid, DROP COLUMN ask, DROP COLUMN bid_size, DROP COLUMN ask_size, DROP COLUMN number;
