-- The face of seed 003. Positions are the open ones, one for each portfolio and symbol: of several exchanges they are netted,
-- and market_value is below zero for what is owed, so that cash and positions add up to the portfolio's value.
-- market_data: the candles of a minute, one exchange for each symbol. What belongs to a portfolio is seen with it.
-- Money has two decimals here, a price below half a cent is 0: that is the document's type.
DROP VIEW IF EXISTS
    octopus.users, octopus.api_keys, octopus.portfolios, octopus.positions, octopus.orders, octopus.market_data,
    octopus.portfolio_snapshots, octopus.trade_executions, octopus.audit_log, octopus.security_events,
    octopus.predictions, octopus.model_performance;

CREATE VIEW octopus.users WITH (security_invoker = true) AS
SELECT u.id,
       u.email::varchar(255) AS email,
       u.password_hash::varchar(255) AS password_hash,
       u.first_name::varchar(100) AS first_name,
       u.last_name::varchar(100) AS last_name,
       u.is_active,
       u.is_verified,
       ARRAY[u.role] AS roles,
       u.permissions,
       u.created_at,
       u.updated_at,
       u.last_login_at,
       u.failed_login_attempts,
       u.locked_until
FROM users u
WHERE u.erased_at IS NULL;

CREATE VIEW octopus.api_keys WITH (security_invoker = true) AS
SELECT k.id,
       k.user_id,
       k.key_hash::varchar(64) AS key_hash,
       k.name::varchar(100) AS name,
       k.is_active,
       k.permissions,
       k.last_used_at,
       k.expires_at,
       k.created_at
FROM api_keys k;

CREATE VIEW octopus.portfolios WITH (security_invoker = true) AS
SELECT p.id,
       p.user_id,
       p.name::varchar(255) AS name,
       p.description,
       fit(coalesce(p.total_value, 0), 20, 2)::numeric(20, 2) AS total_value,
       fit(coalesce(p.cash_balance, 0), 20, 2)::numeric(20, 2) AS cash_balance,
       p.is_active,
       p.created_at,
       p.updated_at
FROM portfolios p;

CREATE VIEW octopus.positions WITH (security_invoker = true) AS
SELECT n.id,
       n.portfolio_id,
       n.symbol::varchar(20) AS symbol,
       fit(abs(n.quantity), 20, 8)::numeric(20, 8) AS quantity,
       fit(n.entry_value / n.size, 20, 2)::numeric(20, 2) AS avg_cost,
       fit(n.current_value / n.size, 20, 2)::numeric(20, 2) AS current_price,
       fit(n.market_value, 20, 2)::numeric(20, 2) AS market_value,
       fit(n.unrealized_pnl, 20, 2)::numeric(20, 2) AS unrealized_pnl,
       CASE WHEN n.quantity > 0 THEN 'long' ELSE 'short' END::varchar(20) AS position_type,
       n.created_at,
       n.updated_at
FROM (
    SELECT p.portfolio_id,
           p.symbol,
           (array_agg(p.id ORDER BY p.exchange))[1] AS id,
           sum(p.quantity) AS quantity,
           sum(abs(p.quantity)) AS size,
           sum(abs(p.quantity) * p.entry_price) AS entry_value,
           sum(abs(p.quantity) * p.current_price) AS current_value,
           sum(p.quantity * p.current_price) AS market_value,
           sum(p.unrealized_pnl) AS unrealized_pnl,
           min(p.created_at) AS created_at,
           max(p.updated_at) AS updated_at
    FROM positions p
    WHERE p.quantity <> 0
    GROUP BY p.portfolio_id, p.symbol
    HAVING sum(p.quantity) <> 0
) n;

-- An order of which we don't know whether the exchange has it may be open.
CREATE VIEW octopus.orders WITH (security_invoker = true) AS
SELECT o.id,
       o.portfolio_id,
       o.symbol::varchar(20) AS symbol,
       o.side::varchar(10) AS side,
       o.order_type::varchar(20) AS order_type,
       fit(o.quantity, 20, 8)::numeric(20, 8) AS quantity,
       fit(o.price, 20, 2)::numeric(20, 2) AS price,
       fit(o.stop_price, 20, 2)::numeric(20, 2) AS stop_price,
       fit(o.filled_quantity, 20, 8)::numeric(20, 8) AS filled_quantity,
       fit(o.average_fill_price, 20, 2)::numeric(20, 2) AS avg_fill_price,
       CASE o.status WHEN 'unknown' THEN 'open' ELSE o.status END::varchar(20) AS status,
       o.exchange_order_id::varchar(100) AS external_order_id,
       o.exchange::varchar(50) AS broker,
       fit(o.commission, 10, 2)::numeric(10, 2) AS commission,
       o.created_at,
       o.updated_at,
       o.filled_at
FROM orders o;

CREATE VIEW octopus.market_data WITH (security_invoker = true) AS
SELECT o.symbol::varchar(20) AS symbol,
       o.time AS timestamp,
       fit(o.open, 20, 2)::numeric(20, 2) AS open_price,
       fit(o.high, 20, 2)::numeric(20, 2) AS high_price,
       fit(o.low, 20, 2)::numeric(20, 2) AS low_price,
       fit(o.close, 20, 2)::numeric(20, 2) AS close_price,
       fit_bigint(o.volume) AS volume,
       fit(o.vwap, 20, 2)::numeric(20, 2) AS vwap,
       o.created_at
FROM ohlcv o
WHERE o.timeframe = '1m'
  AND (o.symbol, o.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

-- The day's change is from the day's beginning, in UTC. How many positions there were is known where risk was measured in
-- the five minutes before.
CREATE VIEW octopus.portfolio_snapshots WITH (security_invoker = true) AS
SELECT e.portfolio_id,
       e.time AS timestamp,
       fit(e.equity_value, 20, 2)::numeric(20, 2) AS total_value,
       fit(e.cash_balance, 20, 2)::numeric(20, 2) AS cash_balance,
       fit(e.equity_value - day.equity, 20, 2)::numeric(20, 2) AS day_change,
       fit(100 * (e.equity_value - day.equity) / nullif(day.equity, 0), 8, 4)::numeric(8, 4) AS day_change_percent,
       (SELECT r.position_count FROM risk_metrics r
        WHERE r.portfolio_id = e.portfolio_id AND r.time > e.time - interval '5 minutes' AND r.time <= e.time
        ORDER BY r.time DESC LIMIT 1) AS positions_count,
       e.time AS created_at
FROM equity_history e
JOIN portfolios p ON p.id = e.portfolio_id
CROSS JOIN LATERAL opening_equity(e.portfolio_id, e.time) day;

CREATE VIEW octopus.trade_executions WITH (security_invoker = true) AS
SELECT e.id,
       e.order_id,
       e.portfolio_id,
       e.symbol::varchar(20) AS symbol,
       e.side::varchar(10) AS side,
       fit(e.quantity, 20, 8)::numeric(20, 8) AS quantity,
       fit(e.price, 20, 2)::numeric(20, 2) AS price,
       fit(e.commission, 10, 2)::numeric(10, 2) AS commission,
       e.time AS timestamp,
       e.exchange::varchar(50) AS broker,
       coalesce(e.exchange_trade_id, e.execution_key)::varchar(100) AS execution_id,
       e.created_at
FROM executions e;

CREATE VIEW octopus.audit_log WITH (security_invoker = true) AS
SELECT a.id,
       a.user_id,
       a.action::varchar(100) AS action,
       a.resource_type::varchar(50) AS resource_type,
       a.resource_id::varchar(100) AS resource_id,
       a.old_values,
       a.new_values,
       a.ip_address,
       a.user_agent,
       a.time AS timestamp,
       a.session_id::varchar(100) AS session_id
FROM audit_logs a;

CREATE VIEW octopus.security_events WITH (security_invoker = true) AS
SELECT s.id,
       s.event_type::varchar(50) AS event_type,
       s.severity::varchar(20) AS severity,
       s.user_id,
       s.ip_address,
       s.details,
       s.time AS timestamp,
       s.resolved_at,
       s.resolved_by
FROM security_events s;

-- A horizon is told in its largest whole unit: 1d, 4h, 15m, 30s.
CREATE VIEW octopus.predictions WITH (security_invoker = true) AS
SELECT p.id,
       p.symbol::varchar(20) AS symbol,
       p.model_name::varchar(100) AS model_name,
       p.prediction_type::varchar(50) AS prediction_type,
       fit(p.predicted_value, 20, 6)::numeric(20, 6) AS predicted_value,
       p.confidence::numeric(5, 4) AS confidence_score,
       (SELECT CASE WHEN s % 86400 = 0 THEN trim_scale(s / 86400) || 'd' WHEN s % 3600 = 0 THEN trim_scale(s / 3600) || 'h'
                    WHEN s % 60 = 0 THEN trim_scale(s / 60) || 'm' ELSE trim_scale(s) || 's' END
        FROM (SELECT extract(epoch FROM p.horizon) AS s) seconds)::varchar(20) AS prediction_horizon,
       p.features,
       p.time AS created_at,
       p.target_time AS target_date
FROM predictions p;

CREATE VIEW octopus.model_performance WITH (security_invoker = true) AS
SELECT m.id,
       m.model_name::varchar(100) AS model_name,
       m.symbol::varchar(20) AS symbol,
       m.metric_name::varchar(50) AS metric_name,
       fit(m.metric_value, 10, 6)::numeric(10, 6) AS metric_value,
       (m.time AT TIME ZONE 'UTC')::date AS evaluation_date,
       m.data_period::varchar(50) AS data_period,
       m.created_at
FROM model_performance m;
