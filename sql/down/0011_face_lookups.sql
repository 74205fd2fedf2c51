-- TimescaleDB drops one index of a hypertable at a time.
DROP INDEX orders_quant;
DROP INDEX strategies_mastertrade;
DROP INDEX risk_metrics_mastertrade;
DROP INDEX portfolio_balances_mastertrade;
DROP INDEX stock_indices_mastertrade;
DROP INDEX social_sentiment_mastertrade;
DROP INDEX onchain_metrics_mastertrade;
DROP INDEX whale_transactions_mastertrade;
DROP INDEX technical_indicators_mastertrade;
DROP INDEX ohlcv_octopus;
DROP INDEX ohlcv_mastertrade;
