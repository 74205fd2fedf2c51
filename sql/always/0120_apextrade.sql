-- The face of seed 001. Its words for sides are upper case, and money has two digits, prices eight: what has more is
-- rounded here, and only here.
DROP VIEW IF EXISTS apextrade.users, apextrade.strategies, apextrade.backtests, apextrade.backtest_trades,
    apextrade.portfolios, apextrade.positions, apextrade.trades, apextrade.api_keys, apextrade.alerts,
    apextrade.audit_logs, apextrade.ohlcv, apextrade.ohlcv_1h, apextrade.ohlcv_1d, apextrade.equity_history,
    apextrade.tick_data;

-- The document wants time zones with a region; UTC is Etc/UTC there.
CREATE VIEW apextrade.users WITH (security_invoker = true) AS
SELECT u.id,
       u.email::varchar(255) AS email,
       u.password_hash::varchar(255) AS password_hash,
       u.first_name::varchar(100) AS first_name,
       u.last_name::varchar(100) AS last_name,
       (CASE WHEN u.timezone LIKE '%/%' THEN u.timezone ELSE 'Etc/' || u.timezone END)::varchar(50) AS timezone,
       u.preferred_currency::varchar(3) AS preferred_currency,
       u.is_active,
       u.is_verified,
       u.mfa_enabled,
       u.mfa_secret::varchar(255) AS mfa_secret,
       u.notification_preferences,
       u.created_at,
       u.updated_at,
       u.last_login_at,
       u.verified_at
FROM users u;

-- A strategy that a backtest approved is still a draft; one that trades on paper is active, and trading_mode says so.
CREATE VIEW apextrade.strategies WITH (security_invoker = true) AS
SELECT s.id,
       s.user_id,
       s.name::varchar(100) AS name,
       s.description,
       s.version,
       coalesce(s.symbol, s.symbols[1])::varchar(20) AS asset_symbol,
       s.timeframe::varchar(5) AS timeframe,
       s.entry_rules,
       s.exit_rules,
       fit(json_number(s.risk_parameters -> 'stop_loss_pct'), 5, 2)::numeric(5, 2) AS stop_loss_pct,
       fit(json_number(s.risk_parameters -> 'take_profit_pct'), 5, 2)::numeric(5, 2) AS take_profit_pct,
       fit(json_number(s.risk_parameters -> 'max_position_size_pct'), 5, 2)::numeric(5, 2) AS max_position_size_pct,
       fit(json_number(coalesce(s.risk_parameters -> 'max_drawdown_pct', s.risk_parameters -> 'drawdown_pct_max')), 5, 2)
           ::numeric(5, 2) AS max_drawdown_pct,
       fit(json_number(s.risk_parameters -> 'trailing_stop_pct'), 5, 2)::numeric(5, 2) AS trailing_stop_pct,
       (CASE s.status WHEN 'backtested' THEN 'draft' WHEN 'paper' THEN 'active' WHEN 'stopped' THEN 'paused'
                      ELSE s.status END)::varchar(20) AS status,
       coalesce(s.trading_mode, CASE s.status WHEN 'paper' THEN 'paper' END)::varchar(20) AS trading_mode,
       s.created_at,
       s.updated_at,
       s.activated_at,
       s.last_signal_at
FROM strategies s;

CREATE VIEW apextrade.backtests WITH (security_invoker = true) AS
SELECT b.id,
       b.strategy_id,
       b.user_id,
       (b.start_date AT TIME ZONE 'UTC')::date AS start_date,
       (b.end_date AT TIME ZONE 'UTC')::date AS end_date,
       fit(b.initial_capital, 15, 2)::numeric(15, 2) AS initial_capital,
       fit(b.commission_pct, 5, 4)::numeric(5, 4) AS commission_pct,
       fit(b.slippage_pct, 5, 4)::numeric(5, 4) AS slippage_pct,
       b.strategy_snapshot,
       b.status::varchar(20) AS status,
       b.progress_pct,
       b.error_message,
       fit(b.final_capital, 15, 2)::numeric(15, 2) AS final_capital,
       fit(b.total_return_pct, 10, 4)::numeric(10, 4) AS total_return_pct,
       fit(b.annualized_return_pct, 10, 4)::numeric(10, 4) AS annualized_return_pct,
       fit(b.sharpe_ratio, 6, 4)::numeric(6, 4) AS sharpe_ratio,
       fit(b.sortino_ratio, 6, 4)::numeric(6, 4) AS sortino_ratio,
       fit(b.calmar_ratio, 6, 4)::numeric(6, 4) AS calmar_ratio,
       fit(b.max_drawdown_pct, 6, 4)::numeric(6, 4) AS max_drawdown_pct,
       b.max_drawdown_duration_days,
       fit(b.win_rate_pct, 5, 2)::numeric(5, 2) AS win_rate_pct,
       fit(b.profit_factor, 6, 4)::numeric(6, 4) AS profit_factor,
       fit(b.avg_trade_pct, 8, 4)::numeric(8, 4) AS avg_trade_pct,
       fit(b.avg_win_pct, 8, 4)::numeric(8, 4) AS avg_win_pct,
       fit(b.avg_loss_pct, 8, 4)::numeric(8, 4) AS avg_loss_pct,
       b.total_trades,
       b.winning_trades,
       b.losing_trades,
       b.avg_trade_duration_minutes,
       b.equity_curve,
       b.monthly_returns,
       b.drawdown_periods,
       b.created_at,
       b.started_at,
       b.completed_at
FROM backtests b;

CREATE VIEW apextrade.backtest_trades WITH (security_invoker = true) AS
SELECT t.id,
       t.backtest_id,
       t.trade_number,
       t.entry_date,
       t.exit_date,
       t.symbol::varchar(20) AS symbol,
       upper(t.side)::varchar(4) AS side,
       fit(t.quantity, 18, 8)::numeric(18, 8) AS quantity,
       fit(t.entry_price, 18, 8)::numeric(18, 8) AS entry_price,
       fit(t.exit_price, 18, 8)::numeric(18, 8) AS exit_price,
       fit(t.commission, 15, 8)::numeric(15, 8) AS commission,
       fit(t.slippage, 15, 8)::numeric(15, 8) AS slippage,
       fit(t.gross_pnl, 15, 8)::numeric(15, 8) AS gross_pnl,
       fit(t.net_pnl, 15, 8)::numeric(15, 8) AS net_pnl,
       fit(t.pnl_pct, 8, 4)::numeric(8, 4) AS pnl_pct,
       t.entry_signal,
       t.exit_signal,
       t.market_conditions,
       t.is_open
FROM backtest_trades t;

-- A currency of more than three letters loses the rest. Balances are 0 until the portfolio's first equity row.
CREATE VIEW apextrade.portfolios WITH (security_invoker = true) AS
SELECT p.id,
       p.user_id,
       p.name::varchar(100) AS name,
       p.description,
       p.base_currency::varchar(3) AS base_currency,
       p.environment IS DISTINCT FROM 'live' AS is_paper,
       (CASE p.environment WHEN 'live' THEN p.broker END)::varchar(50) AS broker,
       p.broker_account_id::varchar(100) AS broker_account_id,
       fit(coalesce(p.initial_balance, 0), 15, 2)::numeric(15, 2) AS initial_balance,
       fit(coalesce(p.cash_balance, 0), 15, 2)::numeric(15, 2) AS cash_balance,
       fit(p.positions_value, 15, 2)::numeric(15, 2) AS positions_value,
       fit(p.total_value, 15, 2)::numeric(15, 2) AS total_value,
       fit(p.unrealized_pnl, 15, 2)::numeric(15, 2) AS unrealized_pnl,
       fit(p.realized_pnl, 15, 2)::numeric(15, 2) AS realized_pnl,
       p.is_active,
       p.created_at,
       p.updated_at
FROM portfolios p;

-- A closed position has no quantity left and stays, for what it realised.
CREATE VIEW apextrade.positions WITH (security_invoker = true) AS
SELECT p.id,
       p.portfolio_id,
       p.symbol::varchar(20) AS symbol,
       fit(p.quantity, 18, 8)::numeric(18, 8) AS quantity,
       fit(p.entry_price, 18, 8)::numeric(18, 8) AS average_entry_price,
       fit(p.current_price, 18, 8)::numeric(18, 8) AS current_price,
       fit(p.quantity * p.current_price, 15, 2)::numeric(15, 2) AS market_value,
       fit(p.quantity * p.entry_price, 15, 2)::numeric(15, 2) AS cost_basis,
       fit(p.unrealized_pnl, 15, 8)::numeric(15, 8) AS unrealized_pnl,
       fit(100 * p.unrealized_pnl / nullif(abs(p.quantity) * p.entry_price, 0), 8, 4)::numeric(8, 4)
           AS unrealized_pnl_pct,
       fit(p.realized_pnl, 15, 8)::numeric(15, 8) AS realized_pnl,
       p.quantity <> 0 AS is_open,
       coalesce(p.opened_at, p.created_at) AS opened_at,
       CASE WHEN p.quantity = 0 THEN p.updated_at END AS closed_at,
       p.updated_at
FROM positions p;

-- The document's trades are orders with what became of them. Slippage is what the fills cost more than the signal's price
-- would have; market_conditions is what the strategy noted with its signal. An order whose fate is unknown may live.
CREATE VIEW apextrade.trades WITH (security_invoker = true) AS
SELECT o.id,
       o.user_id,
       o.portfolio_id,
       o.strategy_id,
       p.id AS position_id,
       o.symbol::varchar(20) AS symbol,
       upper(o.side)::varchar(4) AS side,
       (CASE o.order_type WHEN 'stop' THEN 'STOP_LOSS' WHEN 'twap' THEN 'MARKET' WHEN 'vwap' THEN 'MARKET'
                          ELSE upper(o.order_type) END)::varchar(20) AS order_type,
       fit(o.quantity, 18, 8)::numeric(18, 8) AS quantity,
       fit(o.price, 18, 8)::numeric(18, 8) AS price,
       fit(o.filled_quantity, 18, 8)::numeric(18, 8) AS filled_quantity,
       fit(o.average_fill_price, 18, 8)::numeric(18, 8) AS filled_price,
       fit(o.filled_quantity * o.average_fill_price, 15, 2)::numeric(15, 2) AS filled_value,
       fit(o.commission, 15, 8)::numeric(15, 8) AS commission,
       fit(coalesce(CASE o.side WHEN 'buy' THEN 1 ELSE -1 END * o.filled_quantity * (o.average_fill_price - g.price), 0),
           15, 8)::numeric(15, 8) AS slippage,
       (SELECT fit(sum(t.realized_pnl), 15, 8) FROM trades t WHERE t.order_id = o.id)::numeric(15, 8) AS realized_pnl,
       (CASE o.status WHEN 'open' THEN 'submitted' WHEN 'unknown' THEN 'submitted' WHEN 'partially_filled' THEN 'partial'
                      WHEN 'rejected' THEN 'failed' ELSE o.status END)::varchar(20) AS status,
       o.exchange_order_id AS broker_order_id,
       CASE WHEN o.status IN ('rejected', 'expired', 'unknown') THEN nullif(o.reason, '') END AS error_message,
       o.environment <> 'live' AS is_paper,
       g.reason AS signal_reason,
       g.metadata AS market_conditions,
       o.created_at,
       o.submitted_at,
       o.filled_at,
       o.cancelled_at
FROM orders o
LEFT JOIN positions p ON p.portfolio_id = o.portfolio_id AND p.exchange = o.exchange AND p.symbol = o.symbol
LEFT JOIN signals g ON g.id = o.signal_id;

CREATE VIEW apextrade.api_keys WITH (security_invoker = true) AS
SELECT c.id,
       c.user_id,
       c.name::varchar(100) AS name,
       c.exchange::varchar(50) AS exchange,
       c.is_testnet,
       c.api_key_encrypted,
       c.api_secret_encrypted,
       c.passphrase_encrypted,
       c.permissions::varchar(50)[] AS permissions,
       c.is_valid,
       c.last_validated_at,
       c.validation_error,
       c.last_used_at,
       fit_integer(c.request_count) AS request_count,
       c.created_at,
       c.updated_at
FROM exchange_credentials c;

CREATE VIEW apextrade.alerts WITH (security_invoker = true) AS
SELECT r.id,
       r.user_id,
       r.symbol::varchar(20) AS symbol,
       r.alert_type::varchar(20) AS alert_type,
       r.condition::varchar(20) AS condition,
       fit(r.threshold, 18, 8)::numeric(18, 8) AS threshold,
       r.indicator::varchar(20) AS indicator,
       r.indicator_params,
       r.notify_email,
       r.notify_push,
       r.message,
       r.is_active,
       r.is_triggered,
       r.is_recurring,
       r.created_at,
       r.triggered_at,
       r.expires_at
FROM alert_rules r;

CREATE VIEW apextrade.audit_logs WITH (security_invoker = true) AS
SELECT a.sequence AS id,
       a.user_id,
       a.action::varchar(50) AS action,
       a.resource_type::varchar(50) AS resource_type,
       CASE WHEN a.resource_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN a.resource_id::uuid END
           AS resource_id,
       a.ip_address,
       a.user_agent,
       a.old_values,
       a.new_values,
       a.metadata,
       a.time AS created_at
FROM audit_logs a;

CREATE VIEW apextrade.ohlcv WITH (security_invoker = true) AS
SELECT c.time,
       c.symbol,
       c.timeframe,
       fit(c.open, 18, 8)::numeric(18, 8) AS open,
       fit(c.high, 18, 8)::numeric(18, 8) AS high,
       fit(c.low, 18, 8)::numeric(18, 8) AS low,
       fit(c.close, 18, 8)::numeric(18, 8) AS close,
       fit(c.volume, 24, 8)::numeric(24, 8) AS volume,
       c.exchange AS source
FROM ohlcv c
WHERE (c.symbol, c.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

CREATE VIEW apextrade.ohlcv_1h WITH (security_invoker = true) AS
SELECT c.bucket, c.symbol, c.timeframe, c.open, c.high, c.low, c.close, c.volume, c.candle_count::bigint AS candle_count
FROM ohlcv_1h c
WHERE (c.symbol, c.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

CREATE VIEW apextrade.ohlcv_1d WITH (security_invoker = true) AS
SELECT c.bucket, c.symbol, c.timeframe, c.open, c.high, c.low, c.close, c.volume, c.candle_count::numeric AS candle_count
FROM ohlcv_1d c
WHERE (c.symbol, c.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

-- Percentages of a portfolio that began with nothing are NULL.
CREATE VIEW apextrade.equity_history WITH (security_invoker = true) AS
SELECT e.time,
       e.portfolio_id,
       fit(e.equity_value, 15, 2)::numeric(15, 2) AS equity_value,
       fit(e.cash_balance, 15, 2)::numeric(15, 2) AS cash_balance,
       fit(e.positions_value, 15, 2)::numeric(15, 2) AS positions_value,
       fit(e.equity_value - o.equity, 15, 2)::numeric(15, 2) AS daily_pnl,
       fit(100 * (e.equity_value - o.equity) / nullif(o.equity, 0), 8, 4)::numeric(8, 4) AS daily_pnl_pct,
       fit(e.equity_value - e.initial_balance, 15, 2)::numeric(15, 2) AS cumulative_pnl,
       fit(100 * (e.equity_value - e.initial_balance) / nullif(e.initial_balance, 0), 8, 4)::numeric(8, 4)
           AS cumulative_pnl_pct,
       fit(e.peak_equity, 15, 2)::numeric(15, 2) AS peak_equity,
       fit(e.drawdown, 15, 2)::numeric(15, 2) AS drawdown,
       fit(100 * e.drawdown / nullif(e.peak_equity, 0), 8, 4)::numeric(8, 4) AS drawdown_pct
FROM equity_history e
CROSS JOIN LATERAL opening_equity(e.portfolio_id, e.time) o;

-- The document promises a last price in each row: quotes from before a session's first trade are left out.
CREATE VIEW apextrade.tick_data WITH (security_invoker = true) AS
SELECT t.time,
       t.symbol,
       fit(t.bid, 18, 8)::numeric(18, 8) AS bid,
       fit(t.ask, 18, 8)::numeric(18, 8) AS ask,
       fit(t.last_price, 18, 8)::numeric(18, 8) AS last_price,
       fit(t.last_volume, 18, 8)::numeric(18, 8) AS last_volume,
       t.exchange AS source
FROM tick_data t
WHERE t.last_price IS NOT NULL;
