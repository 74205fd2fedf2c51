DROP TABLE alerts;
DROP TABLE equity_history;
DROP TABLE positions, trades, executions, orders, signals, portfolios, strategies;
DELETE FROM time_partitioning WHERE table_name = 'equity_history';
