DROP INDEX orders_quant, strategies_mastertrade, risk_metrics_mastertrade, portfolio_balances_mastertrade,
    stock_indices_mastertrade, social_sentiment_mastertrade, onchain_metrics_mastertrade, whale_transactions_mastertrade,
    technical_indicators_mastertrade, ohlcv_octopus, ohlcv_mastertrade;
