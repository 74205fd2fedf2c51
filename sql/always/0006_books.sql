-- The books at a glance, written by the daemon once a minute: what each portfolio holds, what it risks, how it does.
-- All of it is done with the rights of the caller, and costs the same after a year as after a day: equity is looked up at
-- the ends of minutes and hours (1440 and 720 look-ups in the primary key), never read through.

-- Portfolios of the calling instance that lived in the day before: a replayed capture's, whose times are past, isn't among
-- them.
CREATE OR REPLACE FUNCTION live_portfolios(at timestamptz) RETURNS SETOF portfolios LANGUAGE sql STABLE AS $$
    SELECT p.* FROM portfolios p
    WHERE p.cash_balance IS NOT NULL AND p.environment IS NOT NULL AND p.instance = current_instance()
      AND EXISTS (SELECT FROM equity_history e
                  WHERE e.portfolio_id = p.id AND e.time > at - interval '1 day' AND e.time <= at)
$$;

-- What one unit is worth: the newest quote's bid (or, of what is owed, its ask) of the five minutes before.
CREATE OR REPLACE FUNCTION market_price(venue text, pair text, owed boolean, at timestamptz) RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN owed THEN t.ask ELSE t.bid END FROM tick_data t
    WHERE t.symbol = pair AND t.exchange = venue AND t.time > at - interval '5 minutes' AND t.time <= at
      AND t.bid IS NOT NULL AND t.ask IS NOT NULL
    ORDER BY t.time DESC LIMIT 1
$$;

-- A dollar, or a coin that promises to be one; it is counted as one.
CREATE OR REPLACE FUNCTION is_usd(asset text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT asset IN ('USD', 'USDT', 'USDC', 'FDUSD', 'TUSD', 'DAI', 'PYUSD', 'USDP', 'BUSD')
$$;

-- The open positions of one portfolio at the market.
CREATE OR REPLACE FUNCTION positions_at_market(portfolio uuid, at timestamptz)
RETURNS TABLE (exchange text, symbol text, quantity numeric, price numeric) LANGUAGE sql STABLE AS $$
    SELECT p.exchange, p.symbol, p.quantity,
           coalesce(market_price(p.exchange, p.symbol, p.quantity < 0, at), p.current_price)
    FROM positions p WHERE p.portfolio_id = portfolio AND p.quantity <> 0
$$;

-- Cash and each asset that is held: open buy orders lock what they will cost, open sell orders what they will deliver. An
-- asset that was sold is told as 0 for five minutes more, so that its last row isn't what it was before.
CREATE OR REPLACE FUNCTION record_balances(at timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    PERFORM ensure_partitions('portfolio_balances', at, at);
    WITH live AS (
        SELECT id, environment, base_currency, cash_balance FROM live_portfolios(at)
    ), working AS (
        SELECT o.portfolio_id, o.side, o.symbol, o.quantity - o.filled_quantity AS quantity,
               (o.quantity - o.filled_quantity)
               * coalesce(o.price, market_price(o.exchange, o.symbol, true, at), 0) AS notional
        FROM orders o JOIN live ON live.id = o.portfolio_id
        WHERE o.status IN ('pending', 'open', 'partially_filled', 'unknown')
    ), entries AS (
        SELECT id AS portfolio_id, base_currency AS asset, cash_balance AS total, 0::numeric AS locked,
               cash_balance AS worth
        FROM live
        UNION ALL
        SELECT live.id, split_part(held.symbol, '/', 1), held.quantity, 0, held.quantity * held.price
        FROM live, positions_at_market(live.id, at) held
        UNION ALL
        SELECT p.portfolio_id, split_part(p.symbol, '/', 1), 0, 0, 0
        FROM positions p JOIN live ON live.id = p.portfolio_id
        WHERE p.quantity = 0 AND p.updated_at > at - interval '5 minutes'
        UNION ALL
        SELECT portfolio_id, CASE side WHEN 'buy' THEN split_part(symbol, '/', 2) ELSE split_part(symbol, '/', 1) END,
               0, CASE side WHEN 'buy' THEN notional ELSE quantity END, 0
        FROM working
    ), assets AS (
        SELECT portfolio_id, asset, sum(total) AS total, sum(locked) AS locked, sum(worth) AS worth
        FROM entries GROUP BY portfolio_id, asset
    )
    INSERT INTO portfolio_balances (time, portfolio_id, environment, asset, free_balance, locked_balance,
                                    total_balance, usd_value)
    SELECT at, live.id, live.environment, a.asset, a.total - a.locked, a.locked, a.total,
           CASE WHEN is_usd(live.base_currency) THEN a.worth END
    FROM assets a JOIN live ON live.id = a.portfolio_id
    ON CONFLICT (portfolio_id, asset, time) DO UPDATE SET
        free_balance = EXCLUDED.free_balance, locked_balance = EXCLUDED.locked_balance,
        total_balance = EXCLUDED.total_balance, usd_value = EXCLUDED.usd_value;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Simple returns of a portfolio's equity from one sampling time to the next: E(t) / E(t - step) - 1, at whole multiples of
-- the step. A time without a row in the step before it has no sample, and a return needs two samples in succession.
CREATE OR REPLACE FUNCTION equity_returns(portfolio uuid, at timestamptz, span interval, step interval)
RETURNS TABLE ("time" timestamptz, value double precision) LANGUAGE sql STABLE AS $$
    WITH samples AS (
        SELECT moment.at AS sampled, e.equity_value,
               lag(e.equity_value) OVER (ORDER BY moment.at) AS before
        FROM generate_series(date_bin(step, at, 'epoch') - span, date_bin(step, at, 'epoch'), step) AS moment(at)
        LEFT JOIN LATERAL (
            SELECT h.equity_value FROM equity_history h
            WHERE h.portfolio_id = portfolio AND h.time > moment.at - step AND h.time <= moment.at
            ORDER BY h.time DESC LIMIT 1
        ) e ON true
    )
    SELECT sampled, (equity_value / before - 1)::double precision FROM samples
    WHERE equity_value IS NOT NULL AND before > 0
$$;

-- The last day, sampled by the minute; figures need at least 20 returns (5 % of them is then one) and are NULL before.
--   var_95    historical simulation: the loss in a minute that 95 % of the minutes stay below, in money at today's
--             equity (Jorion, Value at Risk, 3rd ed., 2007, chapter 10); the quantile is interpolated
--   cvar_95   the mean loss of the minutes at or beyond it (Rockafellar and Uryasev, Journal of Risk 2(3), 2000)
--   portfolio_volatility  standard deviation of a minute's return x sqrt(525600): a year of a market that never closes
--   sharpe_ratio  mean / standard deviation x sqrt(525600), over cash at 0 % (Sharpe, Journal of Portfolio Management
--             21(1), 1994; the square root holds for independent returns: Lo, Financial Analysts Journal 58(4), 2002)
--   max_drawdown  the furthest below the peak until then, as a fraction of the peak, of every equity row of the minute
--             before and of the day's minutes
--   correlation_btc  with the returns of BTC's 1m closes in the portfolio's currency, of the same minutes
--   diversification_score  1 - the Herfindahl index of the positions' shares (Hirschman, American Economic Review 54(5),
--             1964): 0 for a single position; NULL when nothing is held
--   largest_position_pct  the largest position at the market, as a fraction of the portfolio's value
CREATE OR REPLACE FUNCTION record_risk_metrics(at timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    PERFORM ensure_partitions('risk_metrics', at, at);
    INSERT INTO risk_metrics (time, portfolio_id, environment, total_portfolio_value, var_95, cvar_95,
                              portfolio_volatility, sharpe_ratio, max_drawdown, correlation_btc, diversification_score,
                              position_count, largest_position_pct)
    SELECT at, p.id, p.environment, now_.equity, r.var_95 * now_.equity, r.cvar_95 * now_.equity, r.volatility, r.sharpe,
           drawdown_of_day(p.id, at), r.correlation_btc, held.diversification, held.positions,
           held.largest / nullif(now_.equity, 0)
    FROM live_portfolios(at) p
    CROSS JOIN LATERAL (SELECT e.equity_value AS equity FROM equity_history e
                        WHERE e.portfolio_id = p.id AND e.time > at - interval '1 day' AND e.time <= at
                        ORDER BY e.time DESC LIMIT 1) now_
    CROSS JOIN LATERAL return_statistics(p.id, 'BTC/' || p.base_currency, at) r
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS positions, max(worth) AS largest,
               CASE WHEN sum(worth) > 0 THEN 1 - sum(worth * worth) / (sum(worth) * sum(worth)) END AS diversification
        FROM (SELECT abs(quantity * price) AS worth FROM positions_at_market(p.id, at)) each
    ) held
    ON CONFLICT (portfolio_id, time) DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- The figures of `record_risk_metrics` that come from returns. btc is the symbol to compare with.
CREATE OR REPLACE FUNCTION return_statistics(portfolio uuid, btc text, at timestamptz)
RETURNS TABLE (var_95 numeric, cvar_95 numeric, volatility numeric, sharpe numeric, correlation_btc numeric)
LANGUAGE sql STABLE AS $$
    WITH r AS MATERIALIZED (
        SELECT * FROM equity_returns(portfolio, at, interval '1 day', interval '1 minute')
    ), tail AS (
        SELECT percentile_cont(0.05) WITHIN GROUP (ORDER BY value) AS cut FROM r HAVING count(*) >= 20
    ), bars AS (
        SELECT DISTINCT ON (o.time) o.time, o.close FROM ohlcv o
        WHERE o.symbol = btc AND o.timeframe = '1m' AND o.time > at - interval '1 day 3 minutes' AND o.time <= at
        ORDER BY o.time, o.exchange
    ), b AS (
        SELECT o.time + interval '1 minute' AS ends, lag(o.time) OVER w AS time_before,
               (o.close / lag(o.close) OVER w - 1)::double precision AS value, o.time
        FROM bars o WINDOW w AS (ORDER BY o.time)
    )
    SELECT -(SELECT cut FROM tail)::numeric,
           -(SELECT avg(r.value) FROM r, tail WHERE r.value <= tail.cut)::numeric,
           s.deviation * sqrt(525600::numeric),
           s.mean / nullif(s.deviation, 0) * sqrt(525600::numeric),
           (SELECT greatest(-1, least(1, corr(r.value, b.value)))::numeric FROM r JOIN b ON b.ends = r.time
            WHERE b.time_before = b.time - interval '1 minute' HAVING count(*) >= 20)
    FROM (SELECT avg(value)::numeric AS mean, stddev_samp(value)::numeric AS deviation
          FROM r HAVING count(*) >= 20) s
    RIGHT JOIN (VALUES (1)) always(one) ON true
$$;

-- Never more than the newest minute and one look-up for each earlier one.
CREATE OR REPLACE FUNCTION drawdown_of_day(portfolio uuid, at timestamptz) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT max(h.drawdown / h.peak_equity) FROM equity_history h
         WHERE h.portfolio_id = portfolio AND h.time > at - interval '1 minute' AND h.time <= at AND h.peak_equity > 0),
        (SELECT max(e.fraction)
         FROM generate_series(date_trunc('minute', at) - interval '1 day', date_trunc('minute', at),
                              interval '1 minute') AS minute(ends)
         CROSS JOIN LATERAL (
             SELECT h.drawdown / nullif(h.peak_equity, 0) AS fraction FROM equity_history h
             WHERE h.portfolio_id = portfolio AND h.time > ends - interval '1 minute' AND h.time <= ends
             ORDER BY h.time DESC LIMIT 1
         ) e))
$$;

-- The figures that are kept beside portfolios and strategies. Of portfolios:
--   daily_pnl     equity now less equity at the beginning of the day, in UTC (or the day's first)
--   sharpe_ratio  of the hourly returns of 30 days, x sqrt(8760), from 20 of them on
--   max_drawdown  the deepest that risk_metrics saw in 30 days, in percent and never above 0
--   win_rate      percent of the newest 1000 closing fills that earned something after their fee
-- Of strategies: win_rate likewise; sharpe_ratio mean / standard deviation of what the newest 1000 closing fills earned, of
-- one fill, not of a year; last_signal_at. total_pnl and num_trades grow with each fill as it is stored.
-- An opening fill realises its fee alone, which is how a closing one is told from it.
CREATE OR REPLACE FUNCTION refresh_performance(at timestamptz DEFAULT now()) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE portfolios p
    SET daily_pnl = f.daily_pnl, sharpe_ratio = f.sharpe_ratio, max_drawdown = f.max_drawdown, win_rate = f.win_rate
    FROM (
        SELECT live.id,
               (SELECT e.equity_value FROM equity_history e
                WHERE e.portfolio_id = live.id AND e.time > at - interval '1 day' AND e.time <= at
                ORDER BY e.time DESC LIMIT 1) - opening.equity AS daily_pnl,
               (SELECT CASE WHEN count(*) >= 20 THEN avg(r.value)::numeric / nullif(stddev_samp(r.value), 0)::numeric END
                       * sqrt(8760::numeric)
                FROM equity_returns(live.id, at, interval '30 days', interval '1 hour') r) AS sharpe_ratio,
               (SELECT -100 * max(m.max_drawdown) FROM risk_metrics m
                WHERE m.portfolio_id = live.id AND m.time > at - interval '30 days' AND m.time <= at) AS max_drawdown,
               (SELECT avg(CASE WHEN c.pnl > 0 THEN 100.0 ELSE 0 END) FROM (
                    SELECT t.realized_pnl AS pnl FROM trades t
                    WHERE t.portfolio_id = live.id AND closes(t.*, live.base_currency)
                    ORDER BY t.executed_at DESC LIMIT 1000) c) AS win_rate
        FROM live_portfolios(at) live
        LEFT JOIN LATERAL (
            SELECT coalesce(
                (SELECT e.equity_value FROM equity_history e
                 WHERE e.portfolio_id = live.id AND e.time <= day AND e.time > day - interval '1 day'
                 ORDER BY e.time DESC LIMIT 1),
                (SELECT e.equity_value FROM equity_history e
                 WHERE e.portfolio_id = live.id AND e.time > day AND e.time <= at
                 ORDER BY e.time LIMIT 1)) AS equity
            FROM date_trunc('day', at, 'UTC') AS day
        ) opening ON true
    ) f
    WHERE p.id = f.id AND (p.daily_pnl, p.sharpe_ratio, p.max_drawdown, p.win_rate)
        IS DISTINCT FROM (f.daily_pnl, f.sharpe_ratio, f.max_drawdown, f.win_rate);

    UPDATE strategies s
    SET win_rate = f.win_rate, sharpe_ratio = f.sharpe_ratio, last_signal_at = coalesce(f.last_signal_at, s.last_signal_at)
    FROM (
        SELECT each.id, closing.win_rate, closing.sharpe_ratio,
               (SELECT g.time FROM signals g WHERE g.strategy_id = each.id AND g.time <= at
                ORDER BY g.time DESC LIMIT 1) AS last_signal_at
        FROM strategies each
        CROSS JOIN LATERAL (
            SELECT avg(CASE WHEN c.pnl > 0 THEN 100.0 ELSE 0 END) AS win_rate,
                   CASE WHEN count(*) >= 20 THEN avg(c.pnl) / nullif(stddev_samp(c.pnl), 0) END AS sharpe_ratio
            FROM (SELECT t.realized_pnl AS pnl
                  FROM trades t JOIN portfolios owner ON owner.id = t.portfolio_id
                  WHERE t.strategy_id = each.id AND closes(t.*, owner.base_currency)
                  ORDER BY t.executed_at DESC LIMIT 1000) c
        ) closing
        WHERE each.status = 'active'
    ) f
    WHERE s.id = f.id AND (s.win_rate, s.sharpe_ratio, s.last_signal_at)
        IS DISTINCT FROM (f.win_rate, f.sharpe_ratio, coalesce(f.last_signal_at, s.last_signal_at));
END
$$;

CREATE OR REPLACE FUNCTION closes(fill trades, base_currency text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT fill.realized_pnl + CASE WHEN fill.commission_asset = base_currency THEN fill.commission ELSE 0 END <> 0
$$;

-- Opinions that no order followed in time. Those from before signals had an end are taken to last a day.
CREATE OR REPLACE FUNCTION expire_signals(at timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    ended integer;
BEGIN
    UPDATE signals SET status = 'expired'
    WHERE status = 'active' AND coalesce(expires_at, time + interval '1 day') <= at;
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN ended;
END
$$;
