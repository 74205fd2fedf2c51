DROP TABLE goal_adjustments, goal_progress, financial_goals, backtest_trades, backtests, alert_suppressions,
    alert_history, alert_rules, circuit_breaker_events;
DROP TABLE risk_metrics;
DROP TABLE portfolio_balances;
DROP TABLE strategy_versions;
DELETE FROM time_partitioning WHERE table_name IN ('risk_metrics', 'portfolio_balances');
DROP INDEX alerts_user, alerts_status, alerts_portfolio, trades_order, trades_portfolio, trades_strategy,
    trades_user, executions_exchange_trade, executions_order, executions_portfolio,
    orders_number, orders_user, orders_portfolio, orders_strategy,
    orders_signal, orders_exchange_order, signals_strategy, signals_symbol, signals_active, portfolios_user,
    portfolios_number, strategies_user, strategies_number;
ALTER TABLE alerts
    DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN status, DROP COLUMN is_read, DROP COLUMN acknowledged_at,
    DROP COLUMN resolved_at;
ALTER TABLE trades DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN position_id, DROP COLUMN exchange_trade_id;
ALTER TABLE positions DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN stop_loss, DROP COLUMN take_profit;
ALTER TABLE executions DROP COLUMN exchange_trade_id;
-- Orders of the newer types can't be told in the older table's words.
ALTER TABLE orders
    DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN stop_price, DROP COLUMN stop_loss, DROP COLUMN take_profit,
    DROP COLUMN time_in_force,
    DROP CONSTRAINT orders_order_type_check,
    ADD CONSTRAINT orders_order_type_check CHECK (order_type IN ('market', 'limit'));
ALTER TABLE signals
    DROP COLUMN target_price, DROP COLUMN stop_loss, DROP COLUMN expires_at, DROP COLUMN metadata, DROP COLUMN status;
ALTER TABLE portfolios
    DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN description, DROP COLUMN broker, DROP COLUMN broker_account_id,
    DROP COLUMN is_active, DROP COLUMN daily_pnl, DROP COLUMN sharpe_ratio, DROP COLUMN max_drawdown, DROP COLUMN win_rate;
ALTER TABLE strategies
    DROP CONSTRAINT strategies_strategy_type_check, DROP COLUMN user_id, DROP COLUMN number, DROP COLUMN description,
    DROP COLUMN strategy_class, DROP COLUMN exchange, DROP COLUMN symbol, DROP COLUMN timeframe, DROP COLUMN symbols,
    DROP COLUMN entry_rules, DROP COLUMN exit_rules, DROP COLUMN risk_parameters, DROP COLUMN status,
    DROP COLUMN trading_mode, DROP COLUMN version, DROP COLUMN parent_id, DROP COLUMN generation, DROP COLUMN is_backtest,
    DROP COLUMN created_by, DROP COLUMN total_pnl, DROP COLUMN num_trades, DROP COLUMN win_rate, DROP COLUMN sharpe_ratio,
    DROP COLUMN activated_at, DROP COLUMN archived_at, DROP COLUMN last_signal_at;
