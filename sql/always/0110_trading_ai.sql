-- The face of seed 000. Integer keys are the tables' numbers; a reference joins the table that it names, so that a look-up
-- by it uses that table's indexes. Times are UTC without a zone. Money, which is exact in our tables, is a FLOAT here.
DO $$
DECLARE
    name   text;
    labels text;
BEGIN
    FOR name, labels IN VALUES
        ('userrole', $l$'admin', 'trader', 'viewer'$l$),
        ('orderstatus', $l$'pending', 'open', 'filled', 'partially_filled', 'cancelled', 'rejected'$l$),
        ('ordertype', $l$'market', 'limit', 'stop_loss', 'stop_limit', 'twap', 'vwap'$l$),
        ('orderside', $l$'buy', 'sell'$l$),
        ('strategytype', $l$'grid_trading', 'dca', 'momentum', 'mean_reversion', 'statistical_arbitrage', 'market_making',
                            'whale_following', 'liquidation_hunting', 'yield_optimization'$l$),
        ('alertseverity', $l$'info', 'warning', 'error', 'critical'$l$)
    LOOP
        IF to_regtype('trading_ai.' || name) IS NULL THEN
            EXECUTE format('CREATE TYPE trading_ai.%I AS ENUM (%s)', name, labels);
        END IF;
    END LOOP;
END
$$;

DROP VIEW IF EXISTS trading_ai.users, trading_ai.portfolios, trading_ai.positions, trading_ai.orders, trading_ai.trades,
    trading_ai.price_data, trading_ai.ml_predictions, trading_ai.strategies, trading_ai.alerts, trading_ai.api_keys;

-- Of several exchange credentials the live one is told, and of those the oldest; encrypted as they are stored, in base64.
-- A key that the column can't hold whole is no key.
CREATE VIEW trading_ai.users WITH (security_invoker = true) AS
SELECT u.number AS id,
       u.username::varchar(50) AS username,
       u.email::varchar(100) AS email,
       u.password_hash::varchar(255) AS password_hash,
       u.role::trading_ai.userrole AS role,
       (CASE WHEN length(c.key) <= 255 THEN c.key END)::varchar(255) AS api_key,
       c.secret AS api_secret,
       u.mfa_enabled AS two_factor_enabled,
       u.is_verified AS email_verified,
       u.is_active,
       u.created_at AT TIME ZONE 'UTC' AS created_at,
       u.updated_at AT TIME ZONE 'UTC' AS updated_at,
       u.last_login_at AT TIME ZONE 'UTC' AS last_login
FROM users u
LEFT JOIN LATERAL (
    SELECT translate(encode(x.api_key_encrypted, 'base64'), E'\n', '') AS key,
           translate(encode(x.api_secret_encrypted, 'base64'), E'\n', '') AS secret
    FROM exchange_credentials x WHERE x.user_id = u.id
    ORDER BY x.is_testnet, x.created_at, x.id LIMIT 1
) c ON true;

CREATE VIEW trading_ai.portfolios WITH (security_invoker = true) AS
SELECT p.number AS id,
       u.number AS user_id,
       p.name::varchar(100) AS name,
       coalesce(fit_float(p.total_value), 0) AS total_value_usd,
       coalesce(fit_float(p.cash_balance), 0) AS cash_balance_usd,
       coalesce(fit_float(p.total_value - p.initial_balance), 0) AS total_pnl,
       coalesce(fit_float(100 * (p.total_value - p.initial_balance) / nullif(p.initial_balance, 0)), 0)
           AS total_pnl_percent,
       coalesce(fit_float(p.daily_pnl), 0) AS daily_pnl,
       fit_float(p.sharpe_ratio) AS sharpe_ratio,
       fit_float(p.max_drawdown) AS max_drawdown,
       fit_float(p.win_rate) AS win_rate,
       p.environment IS DISTINCT FROM 'live' AS is_paper,
       p.is_active,
       p.created_at AT TIME ZONE 'UTC' AS created_at,
       p.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM portfolios p
JOIN users u ON u.id = p.user_id;

-- What is held now; a flat position is none.
CREATE VIEW trading_ai.positions WITH (security_invoker = true) AS
SELECT p.number AS id,
       f.number AS portfolio_id,
       p.symbol::varchar(20) AS symbol,
       p.exchange::varchar(50) AS exchange,
       fit_float(p.quantity) AS quantity,
       fit_float(p.entry_price) AS entry_price,
       fit_float(p.current_price) AS current_price,
       fit_float(p.unrealized_pnl) AS unrealized_pnl,
       fit_float(100 * p.unrealized_pnl / nullif(abs(p.quantity) * p.entry_price, 0)) AS unrealized_pnl_percent,
       coalesce(p.opened_at, p.created_at) AT TIME ZONE 'UTC' AS opened_at,
       p.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM positions p
JOIN portfolios f ON f.id = p.portfolio_id
WHERE p.quantity <> 0;

-- Words that the document doesn't have are told in the nearest that it has: an order whose fate is unknown may live, so it
-- is open; an expired one was cancelled by the exchange; a take-profit rests in the book like a limit order.
CREATE VIEW trading_ai.orders WITH (security_invoker = true) AS
SELECT o.number AS id,
       u.number AS user_id,
       f.number AS portfolio_id,
       o.exchange_order_id,
       o.client_order_id::varchar(100) AS client_order_id,
       o.symbol::varchar(20) AS symbol,
       o.exchange::varchar(50) AS exchange,
       o.side::trading_ai.orderside AS side,
       (CASE o.order_type WHEN 'stop' THEN 'stop_loss' WHEN 'take_profit' THEN 'limit'
                          ELSE o.order_type END)::trading_ai.ordertype AS order_type,
       (CASE o.status WHEN 'unknown' THEN 'open' WHEN 'expired' THEN 'cancelled'
                      ELSE o.status END)::trading_ai.orderstatus AS status,
       fit_float(o.quantity) AS quantity,
       fit_float(o.filled_quantity) AS filled_quantity,
       fit_float(o.price) AS price,
       fit_float(o.average_fill_price) AS average_fill_price,
       fit_float(o.commission) AS fee,
       o.commission_asset::varchar(10) AS fee_currency,
       s.number AS strategy_id,
       o.created_at AT TIME ZONE 'UTC' AS created_at,
       o.updated_at AT TIME ZONE 'UTC' AS updated_at,
       o.filled_at AT TIME ZONE 'UTC' AS filled_at,
       o.cancelled_at AT TIME ZONE 'UTC' AS cancelled_at
FROM orders o
JOIN users u ON u.id = o.user_id
JOIN portfolios f ON f.id = o.portfolio_id
LEFT JOIN strategies s ON s.id = o.strategy_id;

-- One row for each fill. pnl is after the fee, so that its sum is what the portfolio realised; its percentage is of the
-- fill's value.
CREATE VIEW trading_ai.trades WITH (security_invoker = true) AS
SELECT t.number AS id,
       f.number AS portfolio_id,
       o.number AS order_id,
       t.exchange_trade_id::varchar(100) AS exchange_trade_id,
       t.symbol::varchar(20) AS symbol,
       t.exchange::varchar(50) AS exchange,
       t.side::trading_ai.orderside AS side,
       fit_float(t.quantity) AS quantity,
       fit_float(t.price) AS price,
       fit_float(t.quantity * t.price) AS value,
       fit_float(t.commission) AS fee,
       t.commission_asset::varchar(10) AS fee_currency,
       fit_float(t.realized_pnl) AS pnl,
       fit_float(100 * t.realized_pnl / nullif(t.quantity * t.price, 0)) AS pnl_percent,
       t.executed_at AT TIME ZONE 'UTC' AS executed_at
FROM trades t
JOIN portfolios f ON f.id = t.portfolio_id
LEFT JOIN orders o ON o.id = t.order_id;

-- The document's candles have no interval: these are the one-minute bars. The WHERE is also the one by which the planner
-- knows that the index ohlcv_faces holds them.
CREATE VIEW trading_ai.price_data WITH (security_invoker = true) AS
SELECT c.number AS id,
       c.symbol::varchar(20) AS symbol,
       c.exchange::varchar(50) AS exchange,
       c.time_utc AS timestamp,
       fit_float(c.open) AS open,
       fit_float(c.high) AS high,
       fit_float(c.low) AS low,
       fit_float(c.close) AS close,
       fit_float(c.volume) AS volume,
       fit_float(c.vwap) AS vwap,
       fit_integer(c.trades_count) AS num_trades
FROM ohlcv c
WHERE c.timeframe::varchar(10) = '1m' AND right(c.timeframe, 1) <> 's';

CREATE VIEW trading_ai.ml_predictions WITH (security_invoker = true) AS
SELECT p.number AS id,
       p.model_name::varchar(100) AS model_name,
       p.model_version::varchar(50) AS model_version,
       p.symbol::varchar(20) AS symbol,
       CASE WHEN p.prediction_type = 'price' THEN fit_float(p.predicted_value) END AS predicted_price,
       p.predicted_direction::varchar(10) AS predicted_direction,
       p.confidence,
       p.feature_importance::json AS feature_importance,
       p.time AT TIME ZONE 'UTC' AS predicted_at,
       fit_integer(extract(epoch FROM p.horizon) / 60) AS prediction_horizon,
       CASE WHEN p.prediction_type = 'price' THEN fit_float(p.actual_value) END AS actual_price,
       fit_float(abs(p.prediction_error)) AS prediction_error,
       p.was_correct
FROM predictions p;

-- What kind a strategy is if its type isn't in the document, or nobody told it: momentum, as the crossing averages are.
-- Rules and limits stand in its configuration when there are any.
CREATE VIEW trading_ai.strategies WITH (security_invoker = true) AS
SELECT s.number AS id,
       u.number AS user_id,
       s.name::varchar(100) AS name,
       (CASE WHEN s.strategy_type = 'arbitrage' THEN 'statistical_arbitrage'
             WHEN s.strategy_type = 'custom' OR s.strategy_type IS NULL THEN 'momentum'
             ELSE s.strategy_type END)::trading_ai.strategytype AS strategy_type,
       s.description,
       (jsonb_strip_nulls(jsonb_build_object(
           'exchange', s.exchange, 'symbol', coalesce(s.symbol, s.symbols[1]), 'timeframe', s.timeframe,
           'entry_rules', nullif(s.entry_rules, '{}'), 'exit_rules', nullif(s.exit_rules, '{}'),
           'risk_parameters', nullif(s.risk_parameters, '{}'))) || s.parameters)::json AS config,
       s.status IN ('active', 'paper') AS is_active,
       s.is_backtest,
       fit_float(s.total_pnl) AS total_pnl,
       fit_float(s.win_rate) AS win_rate,
       fit_float(s.sharpe_ratio) AS sharpe_ratio,
       s.num_trades,
       s.created_at AT TIME ZONE 'UTC' AS created_at,
       s.updated_at AT TIME ZONE 'UTC' AS updated_at,
       s.last_signal_at AT TIME ZONE 'UTC' AS last_signal_at
FROM strategies s
JOIN users u ON u.id = s.user_id;

CREATE VIEW trading_ai.alerts WITH (security_invoker = true) AS
SELECT a.number AS id,
       u.number AS user_id,
       a.title::varchar(200) AS title,
       a.message,
       a.severity::trading_ai.alertseverity AS severity,
       (CASE WHEN a.alert_type LIKE 'price%' THEN 'price'
             WHEN a.alert_type LIKE 'model%' OR a.alert_type LIKE 'prediction%' THEN 'ml'
             WHEN a.entity_type IN ('order', 'position', 'portfolio', 'strategy') THEN 'trade'
             ELSE 'system' END)::varchar(50) AS category,
       a.symbol::varchar(20) AS symbol,
       o.number AS order_id,
       coalesce(s.number, ordered.number) AS strategy_id,
       a.is_read,
       EXISTS (SELECT FROM alert_history h WHERE h.alert_id = a.id AND h.status = 'sent') AS is_sent,
       a.created_at AT TIME ZONE 'UTC' AS created_at
FROM alerts a
JOIN users u ON u.id = a.user_id
LEFT JOIN orders o ON a.entity_type = 'order' AND o.client_order_id = a.entity_id
LEFT JOIN strategies ordered ON ordered.id = o.strategy_id
LEFT JOIN strategies s ON a.entity_type = 'strategy' AND s.name = a.entity_id;

-- The key itself is stored nowhere: its beginning is told, by which its owner knows it.
CREATE VIEW trading_ai.api_keys WITH (security_invoker = true) AS
SELECT k.number AS id,
       u.number AS user_id,
       (k.key_prefix || '...')::varchar(100) AS key,
       k.key_hash::varchar(255) AS key_hash,
       k.name::varchar(100) AS name,
       k.description,
       to_json(k.permissions) AS permissions,
       k.rate_limit_per_minute,
       k.is_active,
       k.last_used_at AT TIME ZONE 'UTC' AS last_used_at,
       fit_integer(k.total_requests) AS total_requests,
       k.created_at AT TIME ZONE 'UTC' AS created_at,
       k.expires_at AT TIME ZONE 'UTC' AS expires_at
FROM api_keys k
JOIN users u ON u.id = k.user_id;
