"""Rows for measuring queries: many candles, and around them what a system has after some years. The same every time.

Loaded as superuser, all but the candles with triggers and foreign keys off: this is about reading. Times count back
from now.
"""

import asyncio
from collections.abc import Callable

import asyncpg

from traderd.sim.prices import listings

EXCHANGE = "binance"
_PIECE = 500
"""Minutes of all symbols in one statement."""

_CANDLES = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count,
                       bid, ask, bid_size, ask_size)
    SELECT minute, symbol, $2, '1m', price, price * 1.001, price * 0.999, price + 0.01, volume, volume * price, 40,
           price, price + 0.02, 1, 2
    FROM unnest($1::text[]) WITH ORDINALITY AS s(symbol, n),
         generate_series($3::timestamptz, $4::timestamptz - interval '1 minute', interval '1 minute') AS minute,
         LATERAL (SELECT round((100 * n + 10 * sin(extract(epoch FROM minute) / 5000 + n))::numeric, 2) AS price,
                         round((1 + n % 7 + abs(sin(extract(epoch FROM minute))))::numeric, 4) AS volume) AS made"""

_AROUND = """
    SET session_replication_role = replica;
    INSERT INTO instruments (id, exchange, symbol, venue_symbol, base, quote, price_tick, quantity_step, notional_min)
    SELECT gen_random_uuid(), '{exchange}', symbol, replace(symbol, '/', ''), split_part(symbol, '/', 1),
           split_part(symbol, '/', 2), 0.01, 0.001, 10
    FROM unnest({symbols}::text[]) AS symbol;
    INSERT INTO users (username, email, password_hash, role)
    SELECT format('trader_%s', to_char(n, 'FM000')), format('trader%s@example.com', n), '!', 'trader'
    FROM generate_series(1, 100) n;
    INSERT INTO portfolios (id, name, environment, base_currency, initial_balance, cash_balance, total_value,
                            realized_pnl, user_id)
    SELECT gen_random_uuid(), u.username || '-' || n, 'paper', 'USDT', 10000, 5000, 10000 + n, n, u.id
    FROM users u, generate_series(1, 3) n;
    INSERT INTO strategies (id, name, strategy_type, symbol, exchange, timeframe, status, num_trades, sharpe_ratio,
                            total_pnl, win_rate, user_id, generation)
    SELECT gen_random_uuid(), u.username || '-s' || n,
           (ARRAY['momentum', 'mean_reversion', 'dca', 'market_making'])[1 + n % 4], ({symbols}::text[])[1 + n],
           '{exchange}',
           '1m', (ARRAY['active', 'paused', 'archived'])[1 + n % 3], n * 3, n / 10.0, n * 10, 50, u.id, n
    FROM users u, generate_series(1, 30) n;
    CREATE TEMPORARY TABLE seat AS
    SELECT row_number() OVER () AS n, u.id AS user_id, p.id AS portfolio_id, s.id AS strategy_id, s.symbol
    FROM users u JOIN portfolios p ON p.user_id = u.id JOIN strategies s ON s.user_id = u.id;
    INSERT INTO signals (id, signal_key, time, strategy_id, exchange, symbol, signal_type, strength, confidence, price,
                         status)
    SELECT gen_random_uuid(), 'key' || n || '-' || i, now() - i * interval '3 hours', strategy_id, '{exchange}', symbol,
           'LONG', 0.5, 0.5, 100, CASE WHEN i = 1 THEN 'active' ELSE 'executed' END
    FROM seat, generate_series(1, 10) i WHERE n % 3 = 0;
    INSERT INTO orders (id, client_order_id, portfolio_id, strategy_id, exchange, symbol, side, order_type, quantity,
                        status, environment, exchange_order_id, filled_quantity, average_fill_price, commission,
                        commission_asset, created_at, updated_at, updated_ns, filled_at, user_id)
    SELECT gen_random_uuid(), 'o' || n || '-' || i, portfolio_id, strategy_id, '{exchange}', symbol,
           CASE i % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 'market', 1,
           CASE WHEN i = 1 AND n % 5 = 0 THEN 'open' ELSE 'filled' END, 'paper', 'x' || n || '-' || i, 1, 100, 0.1,
           'USDT',
           at, at, 0, at, user_id
    FROM seat, generate_series(1, 12) i,
    LATERAL (SELECT now() - i * interval '5 hours' - n * interval '1 second' AS at) AS moment;
    INSERT INTO executions (id, execution_key, order_id, client_order_id, portfolio_id, exchange, symbol, side,
    quantity,
                            price, commission, commission_asset, environment, time, exchange_trade_id, user_id)
    SELECT gen_random_uuid(), client_order_id, id, client_order_id, portfolio_id, exchange, symbol, side, quantity, 100,
           0.1, 'USDT', environment, created_at, 't' || client_order_id, user_id
    FROM orders WHERE status = 'filled';
    INSERT INTO trades (id, order_id, portfolio_id, strategy_id, exchange, symbol, side, quantity, price, commission,
                        commission_asset, realized_pnl, environment, executed_at, user_id, exchange_trade_id)
    SELECT e.id, o.id, o.portfolio_id, o.strategy_id, o.exchange, o.symbol, o.side, o.quantity, e.price, 0.1, 'USDT', 1,
           'paper', e.time, o.user_id, e.exchange_trade_id
    FROM executions e JOIN orders o ON o.id = e.order_id;
    INSERT INTO positions (id, portfolio_id, strategy_id, exchange, symbol, quantity, entry_price, current_price,
                           unrealized_pnl, realized_pnl, opened_at, updated_at, updated_ns, user_id)
    SELECT gen_random_uuid(), portfolio_id, strategy_id, '{exchange}', symbol, 1, 100, 101, 1, 0, now(), now(), 0,
           user_id
    FROM (SELECT DISTINCT ON (portfolio_id, symbol) * FROM seat) AS one;
    INSERT INTO alerts (id, alert_key, time, alert_type, severity, title, message, entity_type, entity_id, user_id,
                        created_at, status)
    SELECT gen_random_uuid(), 'a' || n || '-' || i, at, 'order_filled', 'info', 'filled', 'filled', 'order',
           'o' || n, user_id,
           at, CASE WHEN i = 1 AND n % 50 = 0 THEN 'active' ELSE 'resolved' END
    FROM seat, generate_series(1, 4) i,
    LATERAL (SELECT now() - i * interval '1 day' - n * interval '1 second' AS at) AS moment;
    INSERT INTO backtests (strategy_id, user_id, start_date, end_date, strategy_snapshot, status, sharpe_ratio,
                           total_return_pct, created_at)
    SELECT strategy_id, user_id, now() - interval '2 years', now(), '{{}}', 'completed', n % 40 / 10.0, n % 70,
           now() - n % 400 * interval '1 day'
    FROM seat WHERE n % 3 = 0;
    SELECT ensure_partitions('predictions', now() - interval '100 days', now());
    INSERT INTO predictions (time, symbol, model_name, predicted_value, predicted_direction, confidence, actual_value,
                             prediction_error, was_correct)
    SELECT now() - i * interval '14 minutes', ({symbols}::text[])[1 + i % 100], 'lstm_v' || i % 20, 100, 'up', 0.7,
           101, 1,
           i % 3 = 0
    FROM generate_series(1, 10000) i;
    SELECT ensure_partitions('equity_history', now() - interval '100 days', now());
    INSERT INTO equity_history (time, portfolio_id, equity_value, cash_balance, positions_value, unrealized_pnl,
                                realized_pnl, fees, peak_equity, drawdown, initial_balance, base_currency, environment)
    SELECT now() - i * interval '1 hour', id, 10000 + i, 5000, 5000, 0, 0, 0, 12000, 0, 10000, 'USDT', 'paper'
    FROM portfolios, generate_series(1, 500) i;
    SELECT ensure_partitions('technical_indicators', now() - interval '7 days', now());
    INSERT INTO technical_indicators (time, symbol, exchange, timeframe, indicator_name, value)
    SELECT now() - i * interval '1 minute', symbol, '{exchange}', '1m', 'EMA_20', 100
    FROM unnest({symbols}::text[]) AS symbol, generate_series(1, {many}) i;
    SELECT ensure_partitions('tick_data', now() - interval '1 day', now());
    INSERT INTO tick_data (time, symbol, exchange, bid, ask, bid_size, ask_size, last_price, last_volume, sequence)
    SELECT now() - i * interval '1 second', symbol, '{exchange}', 100, 101, 1, 1, 100, 1, i
    FROM unnest({symbols}::text[]) AS symbol, generate_series(1, {many}) i;
    SELECT ensure_partitions('onchain_metrics', now() - interval '60 days', now());
    INSERT INTO onchain_metrics (time, symbol, metric_name, value)
    SELECT now() - i * interval '5 minutes', symbol, 'active_addresses', i
    FROM unnest(({symbols}::text[])[1:20]) AS symbol, generate_series(1, 2000) i;
    SELECT ensure_partitions('options_chains', now() - interval '7 days', now());
    INSERT INTO options_chains (time, underlying, expiration, strike, option_type, bid, ask)
    SELECT now() - i * interval '10 minutes', 'BTC', current_date + e, 50000 + 1000 * k, 'call', 1, 2
    FROM generate_series(1, 200) i, generate_series(1, 10) e, generate_series(1, 20) k;
    INSERT INTO alert_rules (user_id, symbol, alert_type, condition, threshold)
    SELECT user_id, symbol, 'price', 'above', 100 FROM seat;
    INSERT INTO strategy_versions (strategy_id, version, parameters, entry_rules, exit_rules, risk_parameters)
    SELECT strategy_id, v, '{{}}', '{{}}', '{{}}', '{{}}'
    FROM (SELECT DISTINCT strategy_id FROM seat) s, generate_series(1, 5) v;
    INSERT INTO circuit_breaker_events (id, event_key, trigger_type, threshold_value, actual_value, triggered_at)
    SELECT gen_random_uuid(), 'e' || i, 'drawdown', 10, 11, now() - i * interval '1 hour'
    FROM generate_series(1, 5000) i;
    SELECT ensure_partitions(t::regclass, now() - interval '120 days', now())
    FROM unnest('{{security_events, risk_metrics, portfolio_balances, whale_transactions, social_sentiment,
                   stock_indices, heston_parameters, ou_parameters}}'::text[]) t;
    INSERT INTO security_events (time, event_type, severity)
    SELECT now() - i * interval '10 minutes', 'login_failed', 'info' FROM generate_series(1, 10000) i;
    INSERT INTO risk_metrics (time, portfolio_id, environment, total_portfolio_value, position_count)
    SELECT now() - i * interval '1 hour', id, 'paper', 1000, 1 FROM portfolios, generate_series(1, 200) i;
    INSERT INTO portfolio_balances (time, portfolio_id, environment, asset, free_balance, total_balance)
    SELECT now() - i * interval '1 hour', id, 'paper', 'USDT', 1000, 1 FROM portfolios, generate_series(1, 200) i;
    INSERT INTO whale_transactions (time, transaction_hash, blockchain, token_symbol, from_address, to_address,
                                    amount_token, amount_usd)
    SELECT now() - i * interval '8 minutes', 'h' || i, 'bitcoin', (ARRAY['BTC', 'ETH', 'SOL'])[1 + i % 3], 'a', 'b', 1,
           1
    FROM generate_series(1, 20000) i;
    INSERT INTO social_sentiment (time, symbol, platform, post_id, sentiment_score)
    SELECT now() - i * interval '3 minutes', ({symbols}::text[])[1 + i % 100], 'reddit', 'p' || i, 0.5
    FROM generate_series(1, 40000) i;
    INSERT INTO stock_indices (time, index_name, close)
    SELECT now() - i * interval '5 minutes', x, 100
    FROM unnest('{{VIX,SPX,NASDAQ}}'::text[]) x, generate_series(1, 10000) i;
    INSERT INTO heston_parameters (time, symbol, kappa, theta, sigma, rho, v0, feller_satisfied)
    SELECT now() - i * interval '10 minutes', x, 1, 1, 1, 0, 1, true
    FROM unnest('{{BTC,ETH}}'::text[]) x, generate_series(1, 5000) i;
    INSERT INTO ou_parameters (time, pair_id, asset1, asset2, hedge_ratio, theta, mu, sigma, half_life)
    SELECT now() - i * interval '10 minutes', 'BTC-' || x, 'BTC', x, 1, 1, 1, 1, 1
    FROM unnest('{{ETH,SOL}}'::text[]) x, generate_series(1, 5000) i;
    SET session_replication_role = DEFAULT;
    INSERT INTO audit_logs (user_id, action, resource_type, resource_id)
    SELECT user_id, 'read', 'portfolio', portfolio_id::text FROM seat LIMIT 3000;
"""


async def load(dsn: str, candles: int, symbols: int, progress: Callable[[int], None], many: int = 5_000) -> list[str]:
    """Fill a fresh, migrated database and analyse it; tells how many candles there are so far. Returns the symbols.

    `many` ticks and indicators of each symbol.
    """
    names = [listing.symbol for listing in listings(symbols)]
    connections = [await asyncpg.connect(dsn, server_settings={"timezone": "UTC"}) for _ in range(2)]
    try:
        now = await connections[0].fetchval("SELECT date_trunc('minute', now())")
        minutes = -(-candles // symbols)
        first = f"'{now.isoformat()}'::timestamptz - interval '1 minute' * "
        await connections[0].execute(f"SELECT ensure_partitions('ohlcv', {first}{minutes}, {first}0)")
        pieces = iter(range(minutes, 0, -_PIECE))

        async def fill(connection: asyncpg.Connection) -> None:
            await connection.execute("SET synchronous_commit = off")  # the rollups' triggers hear of every candle
            for piece in pieces:
                left = max(piece - _PIECE, 0)
                begin, end = await connection.fetchrow(f"SELECT {first}{piece}, {first}{left}")
                await connection.execute(_CANDLES, names, EXCHANGE, begin, end)
                progress((minutes - left) * symbols)

        await asyncio.gather(*map(fill, connections))
        around = _AROUND.format(exchange=EXCHANGE, many=many, symbols="'{" + ",".join(names) + "}'")
        await connections[0].execute(around)
        await connections[0].execute("VACUUM (ANALYZE)")
    finally:
        for connection in connections:
            await connection.close()
    return names
