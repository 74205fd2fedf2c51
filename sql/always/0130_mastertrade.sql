-- The face of seed 002: timestamps without time zone are UTC, symbols have no slash (BTCUSDT), words are its own.
--   * A rate whose column can't hold a percentage (win_rate, cagr) is a fraction.
--   * risk_metrics has a row for each portfolio and time: a value at risk can't be added, and the document names no key.
--   * Where the document has one row for an environment or a strategy and we have one for each portfolio (portfolio_balances,
--     positions), the reader's portfolios are added up. Balances of portfolios that were not recorded together stay apart.
--   * Of several users' goals of one type the acting user's is told, or else the eldest.
-- market_data, technical_indicators: one exchange speaks for a symbol; candles of seconds are left out.
-- Look-ups use the indexes of sql/once/0011_face_lookups.sql: keep the expressions of filtered columns as they are there.
-- A filter on a timestamp without time zone leaves no chunk out; on the community edition each compressed chunk's candles of
-- the symbol are unpacked for it (some 4 ms for a week). The faces with timestamptz leave chunks out on all three back ends.
DROP VIEW IF EXISTS
    mastertrade.market_data, mastertrade.technical_indicators, mastertrade.whale_transactions,
    mastertrade.onchain_metrics, mastertrade.social_sentiment, mastertrade.stock_indices, mastertrade.strategies,
    mastertrade.backtest_results, mastertrade.strategy_versions, mastertrade.goal_progress,
    mastertrade.goal_adjustments, mastertrade.financial_goals, mastertrade.orders, mastertrade.trades,
    mastertrade.positions, mastertrade.portfolio_balances, mastertrade.risk_metrics,
    mastertrade.circuit_breaker_events, mastertrade.alerts, mastertrade.alert_history, mastertrade.alert_suppressions,
    mastertrade.users, mastertrade.audit_logs;

CREATE VIEW mastertrade.market_data WITH (security_invoker = true) AS
SELECT o.number AS id,
       replace(o.symbol, '/', '')::varchar(20) AS symbol,
       o.time_utc AS timestamp,
       o.timeframe::varchar(10) AS interval,
       fit(o.open, 20, 8)::numeric(20, 8) AS open,
       fit(o.high, 20, 8)::numeric(20, 8) AS high,
       fit(o.low, 20, 8)::numeric(20, 8) AS low,
       fit(o.close, 20, 8)::numeric(20, 8) AS close,
       fit(o.volume, 20, 8)::numeric(20, 8) AS volume,
       fit(o.quote_volume, 20, 8)::numeric(20, 8) AS quote_volume,
       fit_integer(o.trades_count) AS trades_count,
       o.created_at AT TIME ZONE 'UTC' AS created_at
FROM ohlcv o
WHERE right(o.timeframe, 1) <> 's'
  AND (o.symbol, o.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

CREATE VIEW mastertrade.technical_indicators WITH (security_invoker = true) AS
SELECT i.number AS id,
       replace(i.symbol, '/', '')::varchar(20) AS symbol,
       i.time AT TIME ZONE 'UTC' AS timestamp,
       i.timeframe::varchar(10) AS interval,
       i.indicator_name::varchar(50) AS indicator_name,
       fit(i.value, 20, 8)::numeric(20, 8) AS value,
       i.metadata,
       i.created_at AT TIME ZONE 'UTC' AS created_at
FROM technical_indicators i
WHERE (i.symbol, i.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

CREATE VIEW mastertrade.whale_transactions WITH (security_invoker = true) AS
SELECT w.number AS id,
       w.transaction_hash::varchar(100) AS transaction_hash,
       w.blockchain::varchar(20) AS blockchain,
       replace(w.token_symbol, '/', '')::varchar(20) AS token_symbol,
       w.from_address::varchar(100) AS from_address,
       w.to_address::varchar(100) AS to_address,
       w.from_label::varchar(100) AS from_label,
       w.to_label::varchar(100) AS to_label,
       fit(w.amount_token, 30, 8)::numeric(30, 8) AS amount_token,
       fit(w.amount_usd, 20, 2)::numeric(20, 2) AS amount_usd,
       w.time AT TIME ZONE 'UTC' AS timestamp,
       w.alert_level::varchar(10) AS alert_level,
       w.created_at AT TIME ZONE 'UTC' AS created_at
FROM whale_transactions w;

CREATE VIEW mastertrade.onchain_metrics WITH (security_invoker = true) AS
SELECT m.number AS id,
       replace(m.symbol, '/', '')::varchar(20) AS symbol,
       m.metric_name::varchar(50) AS metric_name,
       fit(m.value, 30, 8)::numeric(30, 8) AS value,
       m.time AT TIME ZONE 'UTC' AS timestamp,
       m.source::varchar(50) AS source,
       m.created_at AT TIME ZONE 'UTC' AS created_at
FROM onchain_metrics m;

CREATE VIEW mastertrade.social_sentiment WITH (security_invoker = true) AS
SELECT s.number AS id,
       replace(s.symbol, '/', '')::varchar(20) AS symbol,
       s.platform::varchar(20) AS platform,
       s.post_id::varchar(100) AS post_id,
       s.post_text,
       s.sentiment_score::numeric(5, 4) AS sentiment_score,
       s.sentiment_label::varchar(20) AS sentiment_label,
       s.author::varchar(100) AS author,
       s.time AT TIME ZONE 'UTC' AS timestamp,
       s.engagement_score,
       s.created_at AT TIME ZONE 'UTC' AS created_at
FROM social_sentiment s;

CREATE VIEW mastertrade.stock_indices WITH (security_invoker = true) AS
SELECT s.number AS id,
       s.index_name::varchar(20) AS index_name,
       s.time AT TIME ZONE 'UTC' AS timestamp,
       fit(s.open, 12, 2)::numeric(12, 2) AS open,
       fit(s.high, 12, 2)::numeric(12, 2) AS high,
       fit(s.low, 12, 2)::numeric(12, 2) AS low,
       fit(s.close, 12, 2)::numeric(12, 2) AS close,
       s.volume,
       s.created_at AT TIME ZONE 'UTC' AS created_at
FROM stock_indices s;

CREATE VIEW mastertrade.strategies WITH (security_invoker = true) AS
SELECT s.id,
       s.name::varchar(255) AS name,
       s.description,
       s.strategy_type::varchar(50) AS strategy_type,
       replace(coalesce(s.symbol, s.symbols[1], ''), '/', '')::varchar(20) AS symbol,
       coalesce(s.timeframe, '')::varchar(10) AS interval,
       s.parameters,
       s.entry_rules AS entry_conditions,
       s.exit_rules AS exit_conditions,
       s.risk_parameters AS risk_params,
       CASE s.status WHEN 'stopped' THEN 'paused' ELSE s.status END::varchar(20) AS status,
       s.version,
       s.parent_id AS parent_strategy_id,
       s.generation,
       s.created_at AT TIME ZONE 'UTC' AS created_at,
       s.updated_at AT TIME ZONE 'UTC' AS updated_at,
       s.activated_at AT TIME ZONE 'UTC' AS activated_at,
       s.archived_at AT TIME ZONE 'UTC' AS archived_at
FROM strategies s;

-- Only what has come to an end is a result. Without _pct in its name, a rate is a fraction.
CREATE VIEW mastertrade.backtest_results WITH (security_invoker = true) AS
SELECT b.number AS id,
       b.strategy_id,
       b.start_date AT TIME ZONE 'UTC' AS start_date,
       b.end_date AT TIME ZONE 'UTC' AS end_date,
       fit(b.initial_capital, 20, 2)::numeric(20, 2) AS initial_capital,
       fit(b.final_capital, 20, 2)::numeric(20, 2) AS final_capital,
       fit(b.total_return_pct, 10, 4)::numeric(10, 4) AS total_return_pct,
       fit(b.annualized_return_pct / 100, 10, 4)::numeric(10, 4) AS cagr,
       fit(b.sharpe_ratio, 10, 4)::numeric(10, 4) AS sharpe_ratio,
       fit(b.sortino_ratio, 10, 4)::numeric(10, 4) AS sortino_ratio,
       fit(b.max_drawdown_pct, 10, 4)::numeric(10, 4) AS max_drawdown_pct,
       fit(b.win_rate_pct / 100, 5, 4)::numeric(5, 4) AS win_rate,
       fit(b.profit_factor, 10, 4)::numeric(10, 4) AS profit_factor,
       b.total_trades,
       b.winning_trades,
       b.losing_trades,
       fit(b.avg_win, 20, 2)::numeric(20, 2) AS avg_win,
       fit(b.avg_loss, 20, 2)::numeric(20, 2) AS avg_loss,
       fit(b.largest_win, 20, 2)::numeric(20, 2) AS largest_win,
       fit(b.largest_loss, 20, 2)::numeric(20, 2) AS largest_loss,
       b.monthly_returns,
       (SELECT jsonb_agg(to_jsonb(t) - '{id,backtest_id}'::text[] ORDER BY t.trade_number)
        FROM backtest_trades t WHERE t.backtest_id = b.id) AS trade_log,
       b.created_at AT TIME ZONE 'UTC' AS created_at
FROM backtests b
WHERE b.status = 'completed';

CREATE VIEW mastertrade.strategy_versions WITH (security_invoker = true) AS
SELECT v.number AS id,
       v.strategy_id,
       v.version,
       v.parameters,
       v.change_description,
       v.created_by::varchar(100) AS created_by,
       v.created_at AT TIME ZONE 'UTC' AS created_at
FROM strategy_versions v;

CREATE VIEW mastertrade.financial_goals WITH (security_invoker = true) AS
SELECT DISTINCT ON (g.goal_type)
       g.number AS id,
       g.goal_type::varchar(50) AS goal_type,
       fit(g.target_value, 20, 2)::numeric(20, 2) AS target_value,
       g.priority,
       g.risk_tolerance::numeric(5, 4) AS risk_tolerance,
       g.max_drawdown_pct::numeric(5, 4) AS max_drawdown_pct,
       g.status::varchar(20) AS status,
       g.start_date AT TIME ZONE 'UTC' AS start_date,
       g.achieved_at AT TIME ZONE 'UTC' AS achieved_at,
       g.metadata,
       g.created_at AT TIME ZONE 'UTC' AS created_at,
       g.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM financial_goals g
ORDER BY g.goal_type, (g.user_id = current_user_id()) DESC NULLS LAST, g.created_at, g.number;

CREATE VIEW mastertrade.goal_progress WITH (security_invoker = true) AS
SELECT p.number AS id,
       g.id AS goal_id,
       p.time AT TIME ZONE 'UTC' AS timestamp,
       fit(p.current_value, 20, 2)::numeric(20, 2) AS current_value,
       fit(p.target_value, 20, 2)::numeric(20, 2) AS target_value,
       fit(p.progress_pct, 5, 2)::numeric(5, 2) AS progress_pct,
       fit(p.gap, 20, 2)::numeric(20, 2) AS gap,
       p.status::varchar(20) AS status,
       p.created_at AT TIME ZONE 'UTC' AS created_at
FROM goal_progress p
JOIN financial_goals f ON f.id = p.goal_id
JOIN mastertrade.financial_goals g ON g.id = f.number;

CREATE VIEW mastertrade.goal_adjustments WITH (security_invoker = true) AS
SELECT a.number AS id,
       g.id AS goal_id,
       a.adjustment_type::varchar(50) AS adjustment_type,
       fit(a.old_value, 10, 4)::numeric(10, 4) AS old_value,
       fit(a.new_value, 10, 4)::numeric(10, 4) AS new_value,
       a.reason,
       a.applied_at AT TIME ZONE 'UTC' AS applied_at
FROM goal_adjustments a
JOIN financial_goals f ON f.id = a.goal_id
JOIN mastertrade.financial_goals g ON g.id = f.number;

-- An order of which we don't know whether the exchange has it may be open.
CREATE VIEW mastertrade.orders WITH (security_invoker = true) AS
SELECT o.id,
       o.strategy_id,
       replace(o.symbol, '/', '')::varchar(20) AS symbol,
       upper(o.side)::varchar(10) AS side,
       upper(o.order_type)::varchar(20) AS order_type,
       fit(o.quantity, 20, 8)::numeric(20, 8) AS quantity,
       fit(o.price, 20, 8)::numeric(20, 8) AS price,
       fit(o.stop_loss, 20, 8)::numeric(20, 8) AS stop_loss,
       fit(o.take_profit, 20, 8)::numeric(20, 8) AS take_profit,
       o.environment::varchar(10) AS environment,
       CASE o.status WHEN 'unknown' THEN 'open' WHEN 'expired' THEN 'cancelled' ELSE o.status END::varchar(20) AS status,
       o.exchange_order_id::varchar(100) AS exchange_order_id,
       fit(o.filled_quantity, 20, 8)::numeric(20, 8) AS filled_quantity,
       fit(o.average_fill_price, 20, 8)::numeric(20, 8) AS average_fill_price,
       fit(o.commission, 20, 8)::numeric(20, 8) AS commission,
       o.commission_asset::varchar(10) AS commission_asset,
       o.created_at AT TIME ZONE 'UTC' AS created_at,
       o.updated_at AT TIME ZONE 'UTC' AS updated_at,
       o.filled_at AT TIME ZONE 'UTC' AS filled_at
FROM orders o;

CREATE VIEW mastertrade.trades WITH (security_invoker = true) AS
SELECT t.number AS id,
       t.order_id,
       t.strategy_id,
       replace(t.symbol, '/', '')::varchar(20) AS symbol,
       upper(t.side)::varchar(10) AS side,
       fit(t.quantity, 20, 8)::numeric(20, 8) AS quantity,
       fit(t.price, 20, 8)::numeric(20, 8) AS price,
       fit(t.commission, 20, 8)::numeric(20, 8) AS commission,
       t.commission_asset::varchar(10) AS commission_asset,
       fit(t.realized_pnl, 20, 2)::numeric(20, 2) AS realized_pnl,
       t.environment::varchar(10) AS environment,
       t.exchange_trade_id::varchar(100) AS exchange_trade_id,
       t.executed_at AT TIME ZONE 'UTC' AS executed_at,
       t.created_at AT TIME ZONE 'UTC' AS created_at
FROM trades t;

-- One row for each strategy, symbol and environment. Long and short of it are netted, prices are averages by quantity, stops
-- are the largest part's.
CREATE VIEW mastertrade.positions WITH (security_invoker = true) AS
SELECT n.id,
       n.strategy_id,
       n.symbol::varchar(20) AS symbol,
       CASE WHEN n.quantity > 0 THEN 'LONG' ELSE 'SHORT' END::varchar(10) AS side,
       fit(abs(n.quantity), 20, 8)::numeric(20, 8) AS quantity,
       fit(n.entry_value / n.size, 20, 8)::numeric(20, 8) AS entry_price,
       fit(n.current_value / n.size, 20, 8)::numeric(20, 8) AS current_price,
       fit(n.stop_loss, 20, 8)::numeric(20, 8) AS stop_loss,
       fit(n.take_profit, 20, 8)::numeric(20, 8) AS take_profit,
       fit(n.unrealized_pnl, 20, 2)::numeric(20, 2) AS unrealized_pnl,
       fit(100 * n.unrealized_pnl / nullif(n.entry_value, 0), 10, 4)::numeric(10, 4) AS unrealized_pnl_pct,
       n.environment::varchar(10) AS environment,
       n.opened_at AT TIME ZONE 'UTC' AS opened_at,
       n.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM (
    SELECT p.strategy_id,
           replace(p.symbol, '/', '') AS symbol,
           f.environment,
           min(p.number) AS id,
           sum(p.quantity) AS quantity,
           sum(abs(p.quantity)) AS size,
           sum(abs(p.quantity) * p.entry_price) AS entry_value,
           sum(abs(p.quantity) * p.current_price) AS current_value,
           sum(p.unrealized_pnl) AS unrealized_pnl,
           (array_agg(p.stop_loss ORDER BY abs(p.quantity) DESC, p.number))[1] AS stop_loss,
           (array_agg(p.take_profit ORDER BY abs(p.quantity) DESC, p.number))[1] AS take_profit,
           min(p.opened_at) AS opened_at,
           max(p.updated_at) AS updated_at
    FROM positions p
    JOIN portfolios f ON f.id = p.portfolio_id
    WHERE p.quantity <> 0
    GROUP BY p.strategy_id, replace(p.symbol, '/', ''), f.environment
    HAVING sum(p.quantity) <> 0
) n;

-- Added up at the row with the lowest number, by look-ups: grouping or a join would read the whole table for a few rows.
CREATE VIEW mastertrade.portfolio_balances WITH (security_invoker = true) AS
SELECT b.number AS id,
       b.environment::varchar(10) AS environment,
       b.asset::varchar(10) AS asset,
       fit(s.free_balance, 20, 8)::numeric(20, 8) AS free_balance,
       fit(s.locked_balance, 20, 8)::numeric(20, 8) AS locked_balance,
       fit(s.total_balance, 20, 8)::numeric(20, 8) AS total_balance,
       fit(s.usd_value, 20, 2)::numeric(20, 2) AS usd_value,
       b.time AT TIME ZONE 'UTC' AS timestamp
FROM portfolio_balances b
JOIN portfolios p ON p.id = b.portfolio_id
CROSS JOIN LATERAL (
    SELECT sum(x.free_balance) AS free_balance,
           sum(x.locked_balance) AS locked_balance,
           sum(x.total_balance) AS total_balance,
           sum(x.usd_value) AS usd_value
    FROM portfolio_balances x
    JOIN portfolios o ON o.id = x.portfolio_id
    WHERE x.time = b.time AND x.environment = b.environment AND x.asset = b.asset
) s
WHERE b.number <= (  -- it is one of them; "=" would make the planner expect a single row
    SELECT min(x.number)
    FROM portfolio_balances x
    JOIN portfolios o ON o.id = x.portfolio_id
    WHERE x.time = b.time AND x.environment = b.environment AND x.asset = b.asset);

CREATE VIEW mastertrade.risk_metrics WITH (security_invoker = true) AS
SELECT r.number AS id,
       r.time AT TIME ZONE 'UTC' AS timestamp,
       r.environment::varchar(10) AS environment,
       fit(r.total_portfolio_value, 20, 2)::numeric(20, 2) AS total_portfolio_value,
       fit(r.var_95, 20, 2)::numeric(20, 2) AS var_95,
       fit(r.cvar_95, 20, 2)::numeric(20, 2) AS cvar_95,
       fit(r.portfolio_volatility, 10, 4)::numeric(10, 4) AS portfolio_volatility,
       fit(r.sharpe_ratio, 10, 4)::numeric(10, 4) AS sharpe_ratio,
       fit(r.max_drawdown, 10, 4)::numeric(10, 4) AS max_drawdown,
       r.correlation_btc::numeric(5, 4) AS correlation_btc,
       r.diversification_score::numeric(5, 4) AS diversification_score,
       r.position_count,
       fit(r.largest_position_pct, 5, 4)::numeric(5, 4) AS largest_position_pct
FROM risk_metrics r
JOIN portfolios p ON p.id = r.portfolio_id;

CREATE VIEW mastertrade.circuit_breaker_events WITH (security_invoker = true) AS
SELECT e.number AS id,
       e.trigger_type::varchar(50) AS trigger_type,
       fit(e.threshold_value, 10, 4)::numeric(10, 4) AS threshold_value,
       fit(e.actual_value, 10, 4)::numeric(10, 4) AS actual_value,
       e.triggered_at AT TIME ZONE 'UTC' AS triggered_at,
       e.resolved_at AT TIME ZONE 'UTC' AS resolved_at,
       e.actions_taken,
       e.metadata
FROM circuit_breaker_events e;

CREATE VIEW mastertrade.alerts WITH (security_invoker = true) AS
SELECT a.id,
       a.alert_type::varchar(50) AS alert_type,
       a.severity::varchar(10) AS severity,
       a.title::varchar(255) AS title,
       a.message,
       a.entity_type::varchar(50) AS entity_type,
       a.entity_id::varchar(100) AS entity_id,
       a.metadata,
       a.status::varchar(20) AS status,
       a.time AT TIME ZONE 'UTC' AS created_at,
       a.acknowledged_at AT TIME ZONE 'UTC' AS acknowledged_at,
       a.resolved_at AT TIME ZONE 'UTC' AS resolved_at
FROM alerts a;

CREATE VIEW mastertrade.alert_history WITH (security_invoker = true) AS
SELECT h.number AS id,
       h.alert_id,
       h.channel::varchar(20) AS channel,
       h.recipient::varchar(255) AS recipient,
       h.status::varchar(20) AS status,
       h.error_message,
       h.sent_at AT TIME ZONE 'UTC' AS sent_at
FROM alert_history h;

CREATE VIEW mastertrade.alert_suppressions WITH (security_invoker = true) AS
SELECT s.number AS id,
       s.alert_type::varchar(50) AS alert_type,
       s.entity_type::varchar(50) AS entity_type,
       s.entity_id::varchar(100) AS entity_id,
       s.reason,
       s.suppressed_until AT TIME ZONE 'UTC' AS suppressed_until,
       s.created_at AT TIME ZONE 'UTC' AS created_at,
       s.created_by::varchar(100) AS created_by
FROM alert_suppressions s;

-- The document knows one key of a user: the newest that is valid.
CREATE VIEW mastertrade.users WITH (security_invoker = true) AS
SELECT u.id,
       u.username::varchar(100) AS username,
       u.email::varchar(255) AS email,
       u.password_hash::varchar(255) AS password_hash,
       u.role::varchar(20) AS role,
       (SELECT k.key_hash FROM api_keys k
        WHERE k.user_id = u.id AND k.is_active AND coalesce(k.expires_at, 'infinity') > now()
        ORDER BY k.created_at DESC, k.number DESC LIMIT 1)::varchar(255) AS api_key_hash,
       u.is_active,
       u.created_at AT TIME ZONE 'UTC' AS created_at,
       u.last_login_at AT TIME ZONE 'UTC' AS last_login
FROM users u
WHERE u.erased_at IS NULL;

CREATE VIEW mastertrade.audit_logs WITH (security_invoker = true) AS
SELECT fit_integer(a.sequence) AS id,
       a.user_id,
       a.action::varchar(100) AS action,
       a.resource_type::varchar(50) AS entity_type,
       a.resource_id::varchar(100) AS entity_id,
       a.old_values AS old_value,
       a.new_values AS new_value,
       a.ip_address,
       a.user_agent,
       a.time AT TIME ZONE 'UTC' AS created_at
FROM audit_logs a;
