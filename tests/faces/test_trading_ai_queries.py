"""The example queries of seed 000, translated from SQLAlchemy, on rows that the stores wrote.

Each runs as the database's owner and as a reader on whom row-level security lies.
"""

import asyncpg
import pytest
from written import MINUTE, NOW, READERS, naive, plan, reading, rows, write

from conftest import Database

SYMBOLS = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT now() - m * interval '1 minute', 'S' || s || '/USDT', 'binance', frame, 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 500) m, generate_series(1, 10) s, unnest('{1m,1s}'::text[]) frame;
    INSERT INTO predictions (symbol, model_name) VALUES ('S1/USDT', 'lstm_v1');
    ANALYZE ohlcv"""


async def test_portfolios_orders_and_trades_are_found_by_their_integer_keys(database: Database) -> None:
    """The profit is what the equity says; an order whose fate is unknown counts as open."""
    await write(database)
    for role in READERS:
        async with reading(database, "trading_ai", role) as face:
            user, portfolio = (await rows(face, "SELECT user_id, id FROM portfolios"))[0]
            assert await rows(face, "SELECT name, is_paper FROM portfolios WHERE id = $1 LIMIT 1", portfolio) == [
                ("paper", True)
            ]
            value = "SELECT sum(quantity * current_price) FROM positions WHERE portfolio_id = $1"
            assert await rows(face, value, portfolio) == [(55.0,)]
            profit = "SELECT sum(total_pnl), sum(total_pnl_percent) FROM portfolios WHERE user_id = $1"
            assert await rows(face, profit, user) == [(300.0, 3.0)]
            working = (
                "SELECT client_order_id, price, order_type FROM orders"
                " WHERE user_id = $1 AND status IN ('pending', 'open')"
            )
            assert await rows(face, working, user) == [("o3", 90.123456789, "limit")]
            filled = (
                "SELECT orders.client_order_id, orders.exchange_order_id, trades.exchange_trade_id, trades.value"
                " FROM orders JOIN trades ON trades.order_id = orders.id WHERE orders.status = 'filled' ORDER BY 1"
            )
            assert await rows(face, filled) == [("o1", "xo1", "eo1", 50.5), ("o2", "xo2", "eo2", 60.5)]
            history = "SELECT side, executed_at FROM trades WHERE portfolio_id = $1 ORDER BY executed_at DESC LIMIT 100"
            assert await rows(face, history, portfolio) == [("sell", naive(40)), ("buy", naive(50))]
            realized = "SELECT sum(pnl) FROM trades WHERE portfolio_id = $1"
            assert await rows(face, realized, portfolio) == [(pytest.approx(9.9),)]
            alerts = (
                "SELECT a.category, a.is_sent, a.is_read, o.client_order_id, s.name FROM alerts a"
                " LEFT JOIN orders o ON o.id = a.order_id LEFT JOIN strategies s ON s.id = a.strategy_id ORDER BY a.id"
            )
            assert await rows(face, alerts) == [
                ("trade", True, False, "o4", "cross"),
                ("trade", False, False, None, None),
            ]


async def test_prices_predictions_and_strategies(database: Database) -> None:
    """Prices are the bars of a minute; time_bucket is there also without TimescaleDB; a horizon is in minutes."""
    await write(database)
    for role in READERS:
        async with reading(database, "trading_ai", role) as face:
            latest = "SELECT timestamp, exchange FROM price_data WHERE symbol = 'BTC/USDT' ORDER BY timestamp DESC"
            assert sorted(await rows(face, latest + " LIMIT 2")) == [(naive(1), "binance"), (naive(1), "kraken")]
            day = (
                "SELECT timestamp, vwap FROM price_data"
                " WHERE symbol = $1 AND timestamp >= $2 AND exchange = 'binance' ORDER BY timestamp"
            )
            bars = [(naive(m), 100.0 + m) for m in range(120, 0, -1)]
            assert await rows(face, day, "BTC/USDT", naive(24 * 60)) == bars
            hourly = (
                "SELECT time_bucket('1 hour', timestamp) AS hour, avg(close) AS avg_close, sum(volume) AS total_volume"
                " FROM price_data WHERE symbol = $1 GROUP BY hour ORDER BY hour"
            )
            hours = await rows(face, hourly, "BTC/USDT")
            assert hours[0] == ((NOW - 30 * 60 * MINUTE).replace(minute=0, tzinfo=None), 500.0, 2.0)
            assert sum(volume for _, _, volume in hours) == 2 * 122
            predicted = (
                "SELECT predicted_price, prediction_horizon, confidence, feature_importance::text FROM ml_predictions"
                " WHERE model_name = 'lstm_v2' ORDER BY predicted_at DESC LIMIT 10"
            )
            assert await rows(face, predicted) == [(100.0 + n, 60, 0.75, '{"rsi": 0.25}') for n in range(1, 11)]
            accuracy = (
                "SELECT avg(CASE WHEN was_correct = true THEN 1.0 ELSE 0.0 END), count(*) FROM ml_predictions"
                " WHERE model_name = 'lstm_v2' AND was_correct IS NOT NULL"
            )
            assert await rows(face, accuracy) == [(0.5, 4)]
            error = "SELECT avg(prediction_error) FROM ml_predictions WHERE model_name = 'lstm_v2'"
            assert await rows(face, error) == [(6.5,)]
            active = "SELECT name, config::jsonb ->> 'fast' FROM strategies WHERE is_active = true"
            assert await rows(face, active) == [("cross", "9")]
            best = "SELECT name FROM strategies WHERE num_trades >= 2 ORDER BY sharpe_ratio DESC LIMIT 5"
            assert await rows(face, best) == [("cross",)]
            by_type = (
                "SELECT strategy_type, avg(total_pnl) AS avg_pnl, avg(win_rate) AS avg_win_rate, count(id) AS count"
                " FROM strategies GROUP BY strategy_type"
            )
            assert await rows(face, by_type) == [("momentum", pytest.approx(9.9), None, 1)]


async def test_users_are_found_by_name_and_a_reader_sees_no_secret(plain_database: Database) -> None:
    """The live exchange's key is told, as it is stored; a view with secrets in it is closed to readers."""
    await write(plain_database)
    async with reading(plain_database, "trading_ai") as face:
        by_name = (
            "SELECT u.role, decode(u.api_key, 'base64'), p.name FROM users u"
            " JOIN portfolios p ON p.user_id = u.id WHERE u.username = 'traderd'"
        )
        assert await rows(face, by_name) == [("trader", b"live", "paper")]
        keys = "SELECT key, permissions::text, total_requests FROM api_keys"
        assert await rows(face, keys) == [("ak_1...", '["read","trade"]', 0)]
    async with reading(plain_database, "trading_ai", "traderd_readonly") as face:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await face.fetch("SELECT username FROM users")


async def test_values_beyond_the_documents_types_are_null_and_no_error(plain_database: Database) -> None:
    """What a type can't hold is NULL, what is too near to zero for a double is zero."""
    async with reading(plain_database, "trading_ai") as face:
        doubles = "SELECT fit_float(1e400), fit_float(-1e-400), fit_float('NaN'), fit_float(0.1)"
        assert await rows(face, doubles) == [(None, 0.0, None, 0.1)]
        whole = "SELECT fit_integer(2147483647.4), fit_integer(2147483647.5), fit_integer(-2147483648)"
        assert await rows(face, whole) == [(2147483647, None, -2147483648)]
        large = "SELECT fit_bigint(9223372036854775807), fit_bigint(9223372036854775807.5), fit_bigint('Infinity')"
        assert await rows(face, large) == [(9223372036854775807, None, None)]
        fixed = (
            "SELECT fit(999.994, 5, 2)::numeric(5, 2)::text, fit(999.995, 5, 2)::numeric(5, 2), fit('-Infinity', 5, 2)"
        )
        assert await rows(face, fixed) == [("999.99", None, None)]


async def test_look_ups_use_an_index(database: Database) -> None:
    """Prices by symbol and time without sorting, predictions by model, and what is a user's by the user's number."""
    async with reading(database, "public") as tables:
        await tables.execute("SELECT ensure_partitions('ohlcv', now() - interval '3 days', now())")
        await tables.execute("SELECT ensure_partitions('predictions', now() - interval '1 day', now())")
        await tables.execute(SYMBOLS)
    async with reading(database, "trading_ai") as face:
        await face.execute("SET enable_seqscan = off")  # so few rows are read faster whole
        latest = await plan(face, "SELECT * FROM price_data WHERE symbol = 'S7/USDT' ORDER BY timestamp DESC LIMIT 1")
        assert "::character varying(20))::text = 'S7/USDT'" in _condition(latest)
        assert "Seq Scan" not in latest and "Sort  " not in latest
        day = "SELECT * FROM price_data WHERE symbol = 'S7/USDT' AND timestamp >= $1 ORDER BY timestamp"
        found = await plan(face, day, naive(24 * 60))
        assert "Seq Scan" not in found and "time_utc >=" in _condition(found)
        newest = "SELECT * FROM ml_predictions WHERE model_name = 'lstm_v2' ORDER BY predicted_at DESC LIMIT 10"
        assert "model_name)::character varying(100)" in _condition(await plan(face, newest))
        working = "SELECT * FROM orders WHERE user_id = 1 AND status IN ('pending', 'open')"
        assert "users_number" in await plan(face, working)


def _condition(found: str) -> str:
    return found.partition("Index Cond: ")[2].partition("\n")[0]
