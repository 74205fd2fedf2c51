"""One row of one user in every table whose rows somebody owns, and in the series of that user's portfolio."""

from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

ROWS = """
    INSERT INTO users (username, email, password_hash, role, first_name, last_name, mfa_enabled, mfa_secret)
    VALUES ('{0}', '{0}@example.org', 'hash-of-{0}', '{1}', 'First-{0}', 'Last-{0}', true, 'mfa-of-{0}');
    SELECT act_as('{0}');
    INSERT INTO api_keys (key_prefix, key_hash, description)
    VALUES ('tk_', encode(sha256('{0}'), 'hex'), 'Key of {0}');
    INSERT INTO exchange_credentials (name, exchange, api_key_encrypted, api_secret_encrypted)
    VALUES ('Account of {0}', 'binance', 'sealed-{0}', 'sealed-{0}');
    INSERT INTO portfolios (id, name, environment, description, broker_account_id)
    VALUES (gen_random_uuid(), 'of-{0}', 'paper', 'Savings of {0}', 'DE-{0}');
    INSERT INTO strategies (id, name, description, created_by)
    VALUES (gen_random_uuid(), 'by-{0}', 'Idea of {0}', '{0}');
    INSERT INTO signals (id, signal_key, time, strategy_id, exchange, symbol, signal_type, strength, confidence, price)
    SELECT gen_random_uuid(), '{0}-s', now(), id, 'binance', 'BTC/USDT', 'LONG', 1, 1, 100 FROM strategies
    WHERE user_id = current_user_id();
    INSERT INTO orders (id, client_order_id, portfolio_id, strategy_id, exchange, symbol, side, order_type, quantity,
                        status, environment, created_at, updated_at, updated_ns)
    SELECT gen_random_uuid(), '{0}-o', p.id, s.id, 'binance', 'BTC/USDT', 'buy', 'market', 1, 'filled', 'paper',
           now(), now(), 1
    FROM portfolios p JOIN strategies s USING (user_id) WHERE user_id = current_user_id();
    INSERT INTO executions (id, execution_key, order_id, client_order_id, portfolio_id, exchange, symbol, side,
                            quantity, price, commission, environment, time)
    SELECT gen_random_uuid(), '{0}-e', id, client_order_id, portfolio_id, exchange, symbol, side, quantity, 100, 0,
           environment, now()
    FROM orders WHERE user_id = current_user_id();
    INSERT INTO trades (id, order_id, portfolio_id, exchange, symbol, side, quantity, price, commission, realized_pnl,
                        environment, executed_at)
    SELECT id, order_id, portfolio_id, exchange, symbol, side, quantity, price, 0, 0, environment, time
    FROM executions WHERE user_id = current_user_id();
    INSERT INTO positions (id, portfolio_id, exchange, symbol, quantity, entry_price, current_price, unrealized_pnl,
                           realized_pnl, updated_at, updated_ns)
    SELECT gen_random_uuid(), id, 'binance', 'BTC/USDT', 0, 0, 0, 0, 0, now(), 1 FROM portfolios
    WHERE user_id = current_user_id();
    INSERT INTO circuit_breaker_events (id, event_key, portfolio_id, trigger_type, threshold_value, actual_value,
                                        triggered_at)
    SELECT gen_random_uuid(), '{0}-b', id, 'drawdown', 10, 11, now() FROM portfolios WHERE user_id = current_user_id();
    SELECT ensure_partitions(t::regclass, now(), now())
    FROM unnest('{{equity_history, portfolio_balances, risk_metrics, security_events}}'::text[]) t;
    INSERT INTO equity_history SELECT now(), id, 1, 1, 0, 0, 0, 0, 1, 0, 1, 'USDT', 'paper' FROM portfolios
    WHERE user_id = current_user_id();
    INSERT INTO portfolio_balances (time, portfolio_id, environment, asset, free_balance, total_balance)
    SELECT now(), id, 'paper', 'USDT', 1, 1 FROM portfolios WHERE user_id = current_user_id();
    INSERT INTO risk_metrics (time, portfolio_id, environment, total_portfolio_value, position_count)
    SELECT now(), id, 'paper', 1, 0 FROM portfolios WHERE user_id = current_user_id();
    INSERT INTO alerts (id, alert_key, time, alert_type, severity, title, message)
    VALUES (gen_random_uuid(), '{0}-a', now(), 'price', 'info', 'For {0}', '{0} wanted to know');
    INSERT INTO alert_rules (symbol, alert_type, condition, threshold) VALUES ('BTC/USDT', 'price', 'above', 1);
    INSERT INTO alert_history (alert_id, channel, recipient, status)
    SELECT id, 'email', '{0}@example.org', 'sent' FROM alerts WHERE user_id = current_user_id();
    INSERT INTO alert_suppressions (alert_type, created_by) VALUES ('price', '{0}');
    INSERT INTO backtests (strategy_id, start_date, end_date, strategy_snapshot)
    SELECT id, now() - interval '1 day', now(), '{{}}' FROM strategies WHERE user_id = current_user_id();
    INSERT INTO backtest_trades (backtest_id, trade_number, entry_date, symbol, side, quantity, entry_price)
    SELECT id, 1, now(), 'BTC/USDT', 'buy', 1, 100 FROM backtests WHERE user_id = current_user_id();
    INSERT INTO financial_goals (goal_type, target_value) VALUES ('house', 1000000);
    INSERT INTO goal_progress (goal_id, time, current_value, target_value)
    SELECT id, now(), 1, 2 FROM financial_goals WHERE user_id = current_user_id();
    INSERT INTO goal_adjustments (goal_id, adjustment_type) SELECT id, 'raise' FROM financial_goals
    WHERE user_id = current_user_id();
    INSERT INTO configurations (key, value, updated_by) VALUES ('section-{0}', '1', '{0}');
    SELECT record_login('{0}', true, '192.0.2.7');
    SELECT set_config('app.current_user_id', '', false);
"""


async def fill_rows(connection: asyncpg.Connection, username: str, role: str = "trader") -> UUID:
    """Make the user and the rows; the connection acts for nobody afterwards. Returns the user's id."""
    await connection.execute(ROWS.format(username, role))
    return UUID(str(await connection.fetchval("SELECT id FROM users WHERE username = $1", username)))


def dsn_as(dsn: str, role: str, password: str) -> str:
    """The same database for another role."""
    parts = urlsplit(dsn)
    return parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
