"""Seed 003: look-ups by its indexes, row-level security and the monitoring queries, on rows that the stores wrote.

Each look-up runs as the database's owner and as a reader on whom row-level security lies.
"""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from extremes import collisions, condition, extremes, store
from msgspec.structs import replace
from written import MINUTE, NOW, READERS, SYMBOL, equity, ns, plan, reading, rows, write

from conftest import Database
from traderd.core.facts import Fact

BY_SQL = """
    SELECT ensure_partitions('model_performance', now() - interval '1 day', now());
    INSERT INTO model_performance (time, model_name, symbol, metric_name, metric_value, data_period)
    VALUES (now(), 'lstm_v2', 'BTC/USDT', 'rmse', 0.1234567, '30d'), (now(), 'lstm_v2', NULL, 'mape', 1e9, NULL);
    SELECT ensure_partitions('security_events', now(), now());
    INSERT INTO security_events (event_type, severity, ip_address) VALUES ('login_failed', 'warning', '10.0.0.1');
    INSERT INTO audit_logs (user_id, action, resource_type, resource_id, session_id)
    SELECT id, 'sign_in', 'user', username, 's1' FROM users"""
FIGURES = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT now() - m * interval '5 minutes', 'S' || s || '/USDT', 'binance', '1m', 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 5000) m, generate_series(1, 5) s;
    ANALYZE ohlcv"""


async def test_market_data_by_symbol_and_time(database: Database) -> None:
    """The bars of a minute, of the one exchange that speaks, newest first."""
    await write(database)
    for role in READERS:
        async with reading(database, "octopus", role) as face:
            bars = (
                "SELECT timestamp, close_price, volume, vwap FROM market_data"
                " WHERE symbol = $1 AND timestamp >= $2 ORDER BY timestamp DESC"
            )
            found = await rows(face, bars, SYMBOL, NOW - 3 * MINUTE)
            assert found == [(NOW - m * MINUTE, 100 + m, 2, 100 + m) for m in (1, 2, 3)]
            newest = "SELECT symbol, close_price FROM market_data WHERE timestamp >= $1 ORDER BY timestamp DESC"
            assert await rows(face, newest, NOW - MINUTE) == [(SYMBOL, 101)]


async def test_what_belongs_to_a_portfolio_is_found_by_it(plain_database: Database) -> None:
    """Portfolios of a user, their positions, orders in a state and executions, newest first."""
    await write(plain_database)
    for role in READERS:
        async with reading(plain_database, "octopus", role) as face:
            own = "SELECT id, total_value, cash_balance FROM portfolios WHERE user_id = $1 AND is_active = true"
            user = (await rows(face, "SELECT user_id FROM portfolios WHERE name = 'paper'"))[0][0]
            ((portfolio, value, cash),) = await rows(face, own, user)
            assert (value, cash) == (10300, 9000)
            held = (
                "SELECT symbol, quantity, avg_cost, market_value, position_type FROM positions WHERE portfolio_id = $1"
            )
            assert await rows(face, held, portfolio) == [(SYMBOL, Decimal("0.5"), 100, 55, "long")]
            orders = (
                "SELECT price, filled_quantity, avg_fill_price, external_order_id, broker FROM orders"
                " WHERE portfolio_id = $1 AND symbol = $2 AND status = $3 ORDER BY created_at DESC"
            )
            assert await rows(face, orders, portfolio, SYMBOL, "open") == [
                (Decimal("90.12"), 0, None, "xo3", "binance")
            ]
            sold, bought = await rows(face, orders, portfolio, SYMBOL, "filled")
            assert (sold[2], bought[2]) == (121, 101)
            fills = (
                "SELECT side, price, commission, execution_id FROM trade_executions"
                " WHERE portfolio_id = $1 ORDER BY timestamp DESC"
            )
            assert await rows(face, fills, portfolio) == [
                ("sell", 121, Decimal("0.05"), "eo2"),
                ("buy", 101, Decimal("0.05"), "eo1"),
            ]
            by_symbol = fills.replace("portfolio_id = $1", "symbol = $1")
            assert await rows(face, by_symbol, SYMBOL) == await rows(face, fills, portfolio)


async def test_a_portfolio_has_one_position_in_a_symbol(plain_database: Database) -> None:
    """Of two exchanges it is netted; cash and market values add up because what is owed is below zero."""
    await store(plain_database, *collisions())
    async with reading(plain_database, "octopus") as face:
        found = await rows(
            face,
            "SELECT f.name, p.symbol, p.position_type, p.quantity, p.avg_cost, p.current_price, p.market_value"
            " FROM positions p JOIN portfolios f ON f.id = p.portfolio_id ORDER BY 1, 2",
        )
        assert found == [
            ("one", "BTC/USDT", "long", 3, 120, 121, 363),
            ("one", "ETH/USDT", "short", 3, 10, 11, -33),
            ("two", "BTC/USDT", "long", 1, 100, 101, 101),
        ]


async def test_snapshots_tell_the_days_change_and_how_many_positions_there_were(plain_database: Database) -> None:
    """The change is from the last equity of the day before; positions are counted where risk was measured just then."""
    today = (NOW - NOW.replace(hour=0, minute=0)) // MINUTE
    yesterday: list[Fact] = [equity(today + 1440 + 2, "10000"), equity(today + 1440 - 60, "10250")]
    await store(plain_database, *yesterday, equity(today, "10250"), equity(0, "10300"), *collisions())
    async with reading(plain_database, "public") as daemon:
        await daemon.fetch("SELECT record_risk_metrics($1)", NOW)
    for role in READERS:
        async with reading(plain_database, "octopus", role) as face:
            await face.execute("SET search_path = octopus")  # nothing of ours needs to be on it
            portfolio = (await rows(face, "SELECT id FROM portfolios WHERE name = 'paper'"))[0][0]
            snapshots = (
                "SELECT timestamp, total_value, day_change, day_change_percent, positions_count"
                " FROM portfolio_snapshots WHERE portfolio_id = $1 ORDER BY timestamp DESC"
            )
            found = await rows(face, snapshots, portfolio)
            assert found[0] == (NOW, 10300, 50, Decimal("0.4878"), 0)
            assert found[-2][1:] == (10250, 250, Decimal("2.5"), None)
            assert found[-1][1:] == (10000, 0, 0, None)


async def test_a_user_sees_what_is_the_users_own(plain_database: Database) -> None:
    """The document's policies, on portfolios, positions and orders, and on what hangs on a portfolio."""
    await write(plain_database)
    async with reading(plain_database, "public") as tables:
        ann = await tables.fetchval(
            "INSERT INTO users (username, email, password_hash) VALUES ('ann', 'ann@example.com', '!') RETURNING id"
        )
    async with reading(plain_database, "octopus", "traderd_readonly") as face:
        names = "portfolios", "positions", "orders", "trade_executions", "portfolio_snapshots"
        for name in names:
            assert await face.fetchval(f"SELECT count(*) FROM {name}") > 0, name
        await face.execute(f"SET app.current_user_id = '{ann}'")
        for name in names:
            assert await face.fetchval(f"SELECT count(*) FROM {name}") == 0, name


async def test_accounts_events_and_models(plain_database: Database) -> None:
    """Secrets are the owner's to read; a horizon is told in its largest whole unit."""
    await write(plain_database)
    async with reading(plain_database, "public") as tables:
        await tables.execute(BY_SQL)
    async with reading(plain_database, "octopus") as face:
        user = (
            "SELECT u.roles, u.permissions, k.name, k.permissions FROM users u JOIN api_keys k ON k.user_id = u.id"
            " WHERE u.email = 'traderd@localhost.localdomain' AND u.is_active = true AND k.key_hash = $1"
        )
        assert await rows(face, user, "0" * 64) == [(["trader"], [], "API Key", ["read", "trade"])]
    async with reading(plain_database, "octopus", "traderd_readonly") as face:
        for name in ("users", "api_keys"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await face.fetch(f"SELECT * FROM {name}")
    for role in READERS:
        async with reading(plain_database, "octopus", role) as face:
            predicted = (
                "SELECT predicted_value, confidence_score, prediction_horizon FROM predictions"
                " WHERE symbol = $1 ORDER BY created_at DESC LIMIT 1"
            )
            assert await rows(face, predicted, SYMBOL) == [(101, Decimal("0.75"), "1h")]
            scores = "SELECT metric_value FROM model_performance WHERE model_name = 'lstm_v2' ORDER BY metric_name DESC"
            assert await rows(face, scores) == [(Decimal("0.123457"),), (None,)]
            acts = "SELECT resource_id, session_id FROM audit_log WHERE action = 'sign_in' ORDER BY timestamp DESC"
            assert await rows(face, acts) == [("traderd", "s1")]
            events = "SELECT severity, host(ip_address) FROM security_events WHERE event_type = 'login_failed'"
            assert await rows(face, events) == [("warning", "10.0.0.1")]


async def test_numbers_beyond_the_documents_types_fail_no_query(plain_database: Database) -> None:
    """What is too large is NULL, what is below half a cent is 0."""
    await store(plain_database, *extremes(), replace(equity(1, "10100"), equity=Decimal(10**30), time_ns=ns(2)))
    async with reading(plain_database, "octopus") as face:
        assert await rows(face, "SELECT open_price, volume FROM market_data") == [(0, 10**15)]
        assert await rows(face, "SELECT price, commission FROM trade_executions") == [(0, None)]
        assert await rows(face, "SELECT quantity, avg_fill_price FROM orders") == [(None, 0)]
        assert await rows(face, "SELECT avg_cost, market_value FROM positions") == [(None, None)]
        assert await rows(face, "SELECT total_value, day_change FROM portfolio_snapshots") == [(None, 0)]


async def test_monitoring_queries_run(plain_database: Database) -> None:
    """Table sizes as written; index usage with the columns' real names, which the document mistakes."""
    sizes = (
        "SELECT schemaname, tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) as size"
        " FROM pg_tables ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC"
    )
    usage = (
        "SELECT schemaname, relname AS tablename, indexrelname AS indexname, idx_scan, idx_tup_read"
        " FROM pg_stat_user_indexes ORDER BY idx_scan ASC"
    )
    for role in READERS:
        async with reading(plain_database, "octopus", role) as face:
            assert "orders" in {row["tablename"] for row in await face.fetch(sizes)}
            assert "orders_user" in {row["indexname"] for row in await face.fetch(usage)}


async def test_look_ups_use_an_index_and_leave_chunks_out(database: Database) -> None:
    """By symbol and time in the index's order, and of seventeen days only the chunks that the time asks for."""
    async with reading(database, "public") as tables:
        await tables.execute("SELECT ensure_partitions('ohlcv', now() - interval '18 days', now())")
        await tables.execute(FIGURES)
    async with reading(database, "octopus") as face:
        bars = "SELECT * FROM market_data WHERE symbol = 'S3/USDT' AND timestamp >= $1 ORDER BY timestamp DESC"
        for query in (bars, bars + " LIMIT 1"):
            found = await plan(face, query, NOW - timedelta(hours=1))
            assert "symbol)::character varying(20))::text = 'S3/USDT'" in condition(found)
            assert '"time" >= ' in condition(found)
            assert found.count("Index Cond") == 1 and "Seq Scan on ohlcv" not in found
