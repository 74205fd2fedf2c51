-- The face of seed 004. A strategy is known by its name. market_data: the candles of a minute, one exchange for each symbol.
-- The document has one book, without portfolios, environments or currencies. It is made of the reader's portfolios in one
-- environment and one currency, so that paper is never added to live money:
DROP VIEW IF EXISTS
    quant.market_data, quant.options_chains, quant.signals, quant.heston_parameters, quant.sabr_parameters,
    quant.ou_parameters, quant.orders, quant.executions, quant.portfolio_snapshots, quant.positions, quant.strategies,
    quant.users, quant.permissions, quant.configurations, quant.audit_logs, quant.market_data_daily,
    one_book;

-- those of the eldest live portfolio, or where there is none of the eldest paper one.
CREATE VIEW one_book WITH (security_invoker = true) AS
SELECT p.id, p.base_currency
FROM portfolios p
JOIN (SELECT environment, base_currency FROM portfolios ORDER BY environment, number LIMIT 1) eldest
  ON (p.environment, p.base_currency) IS NOT DISTINCT FROM (eldest.environment, eldest.base_currency);

CREATE VIEW quant.market_data WITH (security_invoker = true) AS
SELECT o.time,
       o.symbol,
       fit_float(o.open) AS open,
       fit_float(o.high) AS high,
       fit_float(o.low) AS low,
       fit_float(o.close) AS close,
       fit_bigint(o.volume) AS volume,
       fit_float(o.vwap) AS vwap,
       fit_float(o.bid) AS bid,
       fit_float(o.ask) AS ask,
       fit_integer(o.bid_size) AS bid_size,
       fit_integer(o.ask_size) AS ask_size
FROM ohlcv o
WHERE o.timeframe = '1m'
  AND (o.symbol, o.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

CREATE VIEW quant.market_data_daily WITH (security_invoker = true) AS
SELECT d.day,
       d.symbol,
       fit_float(d.open) AS open,
       fit_float(d.high) AS high,
       fit_float(d.low) AS low,
       fit_float(d.close) AS close,
       d.volume,
       fit_float(d.avg_price) AS avg_price
FROM public.market_data_daily d
WHERE (d.symbol, d.exchange) NOT IN (SELECT symbol, exchange FROM second_voices);

-- Of an option that several exchanges list, the first by name.
CREATE VIEW quant.options_chains WITH (security_invoker = true) AS
SELECT o.time,
       o.underlying,
       o.expiration,
       fit_float(o.strike) AS strike,
       o.option_type,
       fit_float(o.bid) AS bid,
       fit_float(o.ask) AS ask,
       fit_float(o.last_price) AS last_price,
       fit_integer(o.volume) AS volume,
       fit_integer(o.open_interest) AS open_interest,
       o.implied_vol,
       o.delta,
       o.gamma,
       o.theta,
       o.vega,
       o.rho
FROM options_chains o
WHERE NOT EXISTS (
    SELECT FROM options_chains f
    WHERE f.underlying = o.underlying AND f.time = o.time AND f.expiration = o.expiration AND f.strike = o.strike
      AND f.option_type = o.option_type AND f.exchange < o.exchange);

CREATE VIEW quant.signals WITH (security_invoker = true) AS
SELECT g.id AS signal_id,
       g.time,
       s.name AS strategy_id,
       g.symbol,
       g.signal_type,
       g.strength,
       g.confidence,
       fit_float(g.target_price) AS target_price,
       fit_float(g.stop_loss) AS stop_loss,
       g.expires_at AS expiration,
       g.metadata,
       g.status
FROM signals g
LEFT JOIN strategies s ON s.id = g.strategy_id;

CREATE VIEW quant.heston_parameters WITH (security_invoker = true) AS
SELECT h.time, h.symbol, h.kappa, h.theta, h.sigma, h.rho, h.v0, h.feller_satisfied, h.rmse, h.r_squared, h.n_options,
       h.calibration_time_ms
FROM heston_parameters h;

CREATE VIEW quant.sabr_parameters WITH (security_invoker = true) AS
SELECT s.time, s.symbol, s.maturity, s.alpha, s.beta, s.rho, s.nu, s.rmse, s.n_options
FROM sabr_parameters s;

CREATE VIEW quant.ou_parameters WITH (security_invoker = true) AS
SELECT o.time, o.pair_id, o.asset1, o.asset2, o.hedge_ratio, o.theta, o.mu, o.sigma, o.half_life, o.adf_statistic,
       o.adf_pvalue, o.entry_lower, o.entry_upper, o.exit_target, o.stop_loss
FROM ou_parameters o;

-- An order of which we don't know whether the exchange has it may be open. The index orders_quant has this expression.
CREATE VIEW quant.orders WITH (security_invoker = true) AS
SELECT o.id AS order_id,
       o.created_at,
       o.updated_at,
       s.name AS strategy_id,
       o.signal_id,
       o.symbol,
       o.side,
       o.order_type,
       fit_float(o.quantity) AS quantity,
       fit_float(o.price) AS price,
       fit_float(o.stop_price) AS stop_price,
       o.time_in_force,
       CASE o.status WHEN 'unknown' THEN 'open' ELSE o.status END AS status,
       fit_float(o.filled_quantity) AS filled_quantity,
       fit_float(o.average_fill_price) AS avg_fill_price,
       o.exchange_order_id::text AS broker_order_id,
       nullif(o.reason, '') AS error_message
FROM orders o
LEFT JOIN strategies s ON s.id = o.strategy_id;

CREATE VIEW quant.executions WITH (security_invoker = true) AS
SELECT e.id AS execution_id,
       e.time,
       e.order_id,
       e.symbol,
       e.side,
       fit_float(e.quantity) AS quantity,
       fit_float(e.price) AS price,
       fit_float(e.commission) AS commission,
       e.exchange AS venue,
       e.exchange_trade_id AS broker_exec_id
FROM executions e;

-- A row for each time at which balances were recorded, once a minute: at that time the newest value of each portfolio of the
-- book, not older than a day, and what it held at its own newest recording, not older than five minutes. So there is one
-- row for a time, however many portfolios there are, and the newest is found without reading what is before it.
-- Where an asset's worth isn't known (a currency that is no dollar), the portfolio's net exposure stands for the total one.
CREATE VIEW quant.portfolio_snapshots WITH (security_invoker = true) AS
SELECT t.time,
       fit_float(v.total_value) AS total_value,
       fit_float(v.cash) AS cash,
       fit_float(v.positions_value) AS positions_value,
       fit_float(v.total_pnl) AS total_pnl,
       fit_float(v.unrealized_pnl) AS unrealized_pnl,
       fit_float(v.realized_pnl) AS realized_pnl,
       fit_float(v.total_exposure) AS total_exposure,
       fit_float(v.positions_value) AS net_exposure,
       v.n_positions
FROM portfolio_balances t
JOIN one_book first ON first.id = t.portfolio_id AND first.base_currency = t.asset
CROSS JOIN LATERAL (
    SELECT sum(e.equity_value) AS total_value,
           sum(e.cash_balance) AS cash,
           sum(e.positions_value) AS positions_value,
           sum(e.equity_value - e.initial_balance) AS total_pnl,
           sum(e.unrealized_pnl) AS unrealized_pnl,
           sum(e.realized_pnl) AS realized_pnl,
           sum(coalesce(held.exposure, abs(e.positions_value))) AS total_exposure,
           coalesce(sum(held.positions), 0)::integer AS n_positions
    FROM one_book k
    CROSS JOIN LATERAL (
        SELECT h.* FROM equity_history h
        WHERE h.portfolio_id = k.id AND h.time > t.time - interval '1 day' AND h.time <= t.time
        ORDER BY h.time DESC LIMIT 1
    ) e
    LEFT JOIN LATERAL (
        SELECT r.time FROM portfolio_balances r
        WHERE r.portfolio_id = k.id AND r.asset = k.base_currency
          AND r.time > t.time - interval '5 minutes' AND r.time <= t.time
        ORDER BY r.time DESC LIMIT 1
    ) recorded ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS positions, sum(abs(x.usd_value)) AS exposure
        FROM portfolio_balances x
        WHERE x.portfolio_id = k.id AND x.time = recorded.time AND x.asset <> k.base_currency AND x.total_balance <> 0
    ) held ON true
) v
WHERE v.total_value IS NOT NULL
  AND t.number <= (  -- it is one of them; "=" would make the planner expect a single row
    SELECT min(x.number)
    FROM portfolio_balances x
    JOIN one_book k ON k.id = x.portfolio_id AND k.base_currency = x.asset
    WHERE x.time = t.time);

-- Flat ones stay, for what they realised. The strategy is the largest part's.
CREATE VIEW quant.positions WITH (security_invoker = true) AS
SELECT p.symbol,
       fit_float(sum(p.quantity)) AS quantity,
       fit_float(coalesce(sum(abs(p.quantity) * p.entry_price) / nullif(sum(abs(p.quantity)), 0), 0)) AS average_cost,
       fit_float(sum(p.realized_pnl)) AS realized_pnl,
       (array_agg(s.name ORDER BY abs(p.quantity) DESC, p.number))[1] AS strategy_id,
       min(coalesce(p.opened_at, p.created_at)) AS opened_at,
       max(p.updated_at) AS updated_at
FROM positions p
JOIN one_book k ON k.id = p.portfolio_id
LEFT JOIN strategies s ON s.id = p.strategy_id
GROUP BY p.symbol;

CREATE VIEW quant.strategies WITH (security_invoker = true) AS
SELECT s.name AS strategy_id,
       s.name,
       coalesce(s.strategy_type, 'custom') AS type,
       s.status,
       s.parameters,
       s.risk_parameters AS risk_limits,
       CASE WHEN s.symbols = '{}' AND s.symbol IS NOT NULL THEN ARRAY[s.symbol] ELSE s.symbols END AS symbols,
       s.created_at,
       s.updated_at,
       s.created_by
FROM strategies s;

CREATE VIEW quant.users WITH (security_invoker = true) AS
SELECT u.id AS user_id,
       u.username,
       u.email,
       u.password_hash,
       u.role,
       u.is_active,
       u.created_at,
       u.last_login_at AS last_login
FROM users u
WHERE u.erased_at IS NULL;

CREATE VIEW quant.permissions WITH (security_invoker = true) AS
SELECT p.number AS permission_id, p.role, p.resource, p.action
FROM permissions p;

CREATE VIEW quant.configurations WITH (security_invoker = true) AS
SELECT concat_ws('/', nullif(c.instance, ''), c.key) AS key, c.value, c.description, c.updated_at, c.updated_by
FROM configurations c;

CREATE VIEW quant.audit_logs WITH (security_invoker = true) AS
SELECT a.sequence AS log_id,
       a.time AS timestamp,
       a.user_id,
       a.action,
       a.resource_type,
       a.resource_id,
       a.old_values AS old_value,
       a.new_values AS new_value,
       a.ip_address,
       a.user_agent
FROM audit_logs a;
