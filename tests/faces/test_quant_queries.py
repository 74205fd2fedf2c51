"""Seed 004: the look-ups of its index table and its daily aggregate, on rows that the stores wrote.

Each runs as the database's owner and as a reader on whom row-level security lies.
"""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from extremes import collisions, condition, extremes, store
from msgspec.structs import replace
from written import FACTS, MINUTE, NOW, READERS, SYMBOL, candle, equity, plan, reading, rows, write

from conftest import Database

BY_SQL = """
    SELECT ensure_partitions(t, now() - interval '1 day', now())
    FROM unnest('{options_chains,heston_parameters,sabr_parameters,ou_parameters}'::regclass[]) t;
    INSERT INTO options_chains (time, underlying, expiration, strike, option_type, exchange, bid, volume)
    SELECT now() - interval '1 hour', 'BTC', '2026-12-25', 100000, 'call', exchange, bid, 1e10
    FROM (VALUES ('deribit', 1.5), ('okx', 9)) o (exchange, bid);
    INSERT INTO heston_parameters (time, symbol, kappa, theta, sigma, rho, v0, feller_satisfied)
    VALUES (now() - interval '1 hour', 'BTC', 2, 0.5, 0.4, -0.7, 0.6, true);
    INSERT INTO sabr_parameters (time, symbol, maturity, alpha, beta, rho, nu)
    VALUES (now() - interval '1 hour', 'BTC', 0.25, 1, 0.5, -0.3, 0.8);
    INSERT INTO ou_parameters (time, pair_id, asset1, asset2, hedge_ratio, theta, mu, sigma, half_life)
    VALUES (now() - interval '1 hour', 'BTC-ETH', 'BTC', 'ETH', 15, 3, 0, 0.1, 0.23);
    INSERT INTO configurations (key, value) VALUES ('risk', '{"order_notional_max": "100"}');
    INSERT INTO audit_logs (user_id, action, resource_type, resource_id, new_values)
    SELECT id, 'reset_breaker', 'portfolio', 'paper', '{"n": 1}' FROM users"""
FIGURES = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT now() - m * interval '5 minutes', 'S' || s || '/USDT', 'binance', '1m', 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 5000) m, generate_series(1, 5) s;
    ANALYZE ohlcv"""


async def test_market_data_and_its_days(database: Database) -> None:
    """The bars of a minute with the last quote, and days made of them, of the one exchange that speaks."""
    await write(database)
    quoted = replace(candle(5, 105), bid=Decimal("104.5"), ask=Decimal("105.5"), bid_size=Decimal("1.6"))
    await store(database, quoted)
    for role in READERS:
        async with reading(database, "quant", role) as face:
            bars = (
                "SELECT time, close, volume, vwap FROM market_data WHERE symbol = $1 AND time >= $2 ORDER BY time DESC"
            )
            found = await rows(face, bars, SYMBOL, NOW - 3 * MINUTE)
            assert found == [(NOW - m * MINUTE, 100.0 + m, 2, 100.0 + m) for m in (1, 2, 3)]
            quotes = "SELECT bid, ask, bid_size, ask_size FROM market_data WHERE time = $1 AND symbol = $2"
            assert await rows(face, quotes, NOW - 5 * MINUTE, SYMBOL) == [(104.5, 105.5, 2, None)]
            days = (
                "SELECT day, open, high, low, close, volume, avg_price FROM market_data_daily"
                " WHERE symbol = $1 ORDER BY day DESC"
            )
            ours = (
                "SELECT date_trunc('day', time, 'UTC') AS day, (array_agg(open ORDER BY time))[1], max(high), min(low),"
                " (array_agg(close ORDER BY time DESC))[1], sum(volume), avg(close) FROM market_data"
                " WHERE symbol = $1 GROUP BY 1 ORDER BY 1 DESC"
            )
            daily = await rows(face, days, SYMBOL)
            assert daily == await rows(face, ours, SYMBOL) and len(daily) >= 2
            assert sum(volume for *_, volume, _ in daily) == 2 * 121


async def test_signals_orders_and_executions(plain_database: Database) -> None:
    """A strategy is known by its name; an order of which nobody knows the fate is pending."""
    await write(plain_database)
    for role in READERS:
        async with reading(plain_database, "quant", role) as face:
            signals = "SELECT signal_id, symbol, strength FROM signals WHERE strategy_id = 'cross' ORDER BY time DESC"
            ((signal, symbol, strength),) = await rows(face, signals)
            assert (symbol, strength) == (SYMBOL, 0.75)
            states = "SELECT signal_type, status FROM signals WHERE symbol = $1 ORDER BY time DESC"
            ((kind, state),) = await rows(face, states, SYMBOL)
            active = await rows(face, "SELECT signal_id FROM signals WHERE status = 'active'")
            assert kind == "LONG" and active == ([(signal,)] if state == "active" else [])
            pending = "SELECT order_type, price, signal_id FROM orders WHERE status IN ('pending', 'open')"
            assert await rows(face, pending) == [("limit", 90.123456789, signal)]
            refused = "SELECT error_message FROM orders WHERE strategy_id = $1 AND status = 'rejected'"
            assert await rows(face, refused, "cross") == [("too large",)]
            ((order,),) = await rows(
                face, "SELECT order_id FROM orders WHERE broker_order_id = 'xo1' AND time_in_force = 'gtc'"
            )
            fills = "SELECT price, commission, venue, broker_exec_id FROM executions WHERE order_id = $1"
            assert await rows(face, fills, order) == [(101.0, 0.05, "binance", "eo1")]
            newest = "SELECT side FROM executions WHERE symbol = $1 ORDER BY time DESC"
            assert await rows(face, newest, SYMBOL) == [("sell",), ("buy",)]


async def test_the_book_has_one_position_in_a_symbol(plain_database: Database) -> None:
    """Of all portfolios and exchanges it is added up, what it realised too; a flat one stays for that."""
    await store(plain_database, *collisions())
    async with reading(plain_database, "quant") as face:
        found = "SELECT symbol, quantity, average_cost, realized_pnl, strategy_id FROM positions ORDER BY symbol"
        assert await rows(face, found) == [
            ("BTC/USDT", 4.0, 115.0, 6.0, "cross"),
            ("ETH/USDT", -3.0, 10.0, 2.0, "cross"),
            ("SOL/USDT", 0.0, 10.0, 4.0, "cross"),
            ("XRP/USDT", 0.0, 0.0, 2.0, "cross"),
        ]


async def test_the_book_has_one_snapshot_at_a_time_and_paper_is_no_live_money(plain_database: Database) -> None:
    """Portfolios are added up at the times when their balances were recorded, each with its newest value until then."""
    await store(
        plain_database,
        *FACTS,
        replace(equity(3, "10000"), portfolio="second", cash=Decimal(10000), positions_value=Decimal(0)),
        replace(equity(1, "9500"), portfolio="second", cash=Decimal(9500), positions_value=Decimal(0)),
    )
    async with reading(plain_database, "public") as daemon:
        for minutes in (2, 0):
            await daemon.fetch("SELECT record_balances($1)", NOW - minutes * MINUTE)
    newest = (
        "SELECT time, total_value, cash, total_pnl, total_exposure, net_exposure, n_positions FROM portfolio_snapshots"
        " ORDER BY time DESC"
    )
    for role in READERS:
        async with reading(plain_database, "quant", role) as face:
            assert await rows(face, newest + " LIMIT 1") == [(NOW, 19800.0, 18500.0, -200.0, 55.0, 1300.0, 1)]
            since = "SELECT count(*), count(DISTINCT time) FROM portfolio_snapshots WHERE time >= $1"
            assert await rows(face, since, NOW - 5 * MINUTE) == [(2, 2)]
    await store(plain_database, replace(equity(1, "9000"), portfolio="real", environment="live"))
    async with reading(plain_database, "public") as daemon:
        await daemon.fetch("SELECT record_balances($1)", NOW)
    async with reading(plain_database, "quant") as face:
        assert (await rows(face, newest))[0][:2] == (NOW, 9000.0)
        assert await rows(face, "SELECT * FROM positions") == []


async def test_parameters_options_and_reference_rows(plain_database: Database) -> None:
    """Of an option on two exchanges one is told; a count beyond an INTEGER is NULL."""
    await write(plain_database)
    async with reading(plain_database, "public") as tables:
        await tables.execute(BY_SQL)
    for role in READERS:
        async with reading(plain_database, "quant", role) as face:
            chain = "SELECT strike, bid, volume FROM options_chains WHERE underlying = 'BTC' ORDER BY time DESC"
            assert await rows(face, chain) == [(100000.0, 1.5, None)]
            expiring = "SELECT count(*) FROM options_chains WHERE expiration = '2026-12-25'"
            assert await rows(face, expiring) == [(1,)]
            heston = "SELECT kappa, rho FROM heston_parameters WHERE symbol = 'BTC' ORDER BY time DESC LIMIT 1"
            assert await rows(face, heston) == [(2.0, -0.7)]
            sabr = "SELECT alpha, nu FROM sabr_parameters WHERE symbol = 'BTC' ORDER BY time DESC LIMIT 1"
            assert await rows(face, sabr) == [(1.0, 0.8)]
            pair = "SELECT half_life FROM ou_parameters WHERE pair_id = 'BTC-ETH' ORDER BY time DESC LIMIT 1"
            assert await rows(face, pair) == [(0.23,)]
            strategies = "SELECT strategy_id, type, symbols, created_by FROM strategies WHERE status = 'active'"
            ((name, kind, symbols, _),) = await rows(face, strategies)
            assert (name, kind, symbols) == ("cross", "momentum", [SYMBOL])
            allowed = "SELECT resource, action FROM permissions WHERE role = 'viewer' ORDER BY permission_id"
            assert await rows(face, allowed) == [("strategies", "read"), ("signals", "read"), ("portfolio", "read")]
            setting = "SELECT value ->> 'order_notional_max' FROM configurations WHERE key = 'risk'"
            assert await rows(face, setting) == [("100",)]
            recent = "SELECT action, new_value::text FROM audit_logs ORDER BY timestamp DESC LIMIT 1"
            assert await rows(face, recent) == [("reset_breaker", '{"n": 1}')]
    async with reading(plain_database, "quant") as face:
        user = "SELECT role FROM users WHERE email = 'traderd@localhost.localdomain'"
        assert await rows(face, user) == [("trader",)]
    async with reading(plain_database, "quant", "traderd_readonly") as face:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await face.fetch("SELECT username FROM users")


async def test_numbers_beyond_the_documents_types_fail_no_query(plain_database: Database) -> None:
    """Doubles hold them all; a size beyond an INTEGER is NULL."""
    await store(plain_database, *extremes())
    async with reading(plain_database, "quant") as face:
        bars = "SELECT close, volume, bid, bid_size FROM market_data"
        assert await rows(face, bars) == [(1e-12, 10**15, 1e-12, None)]
        days = "SELECT close, volume FROM market_data_daily"
        assert await rows(face, days) == [(1e-12, Decimal(10**15))]
        assert await rows(face, "SELECT quantity, avg_fill_price FROM orders") == [(1e15, 1e-12)]
        assert await rows(face, "SELECT quantity, price FROM executions") == [(1e15, 1e-12)]
        assert await rows(face, "SELECT quantity, average_cost FROM positions") == [(1e15, 1e20)]


async def test_look_ups_use_an_index_and_leave_chunks_out(database: Database) -> None:
    """Candles in the key's order, of those chunks that the time asks for; pending orders without reading the others."""
    async with reading(database, "public") as tables:
        await tables.execute("SELECT ensure_partitions('ohlcv', now() - interval '18 days', now())")
        await tables.execute(FIGURES)
    async with reading(database, "quant") as face:
        bars = "SELECT * FROM market_data WHERE symbol = 'S3/USDT' AND time >= $1 ORDER BY time DESC"
        for query in (bars, bars + " LIMIT 1"):
            found = await plan(face, query, NOW - timedelta(hours=1))
            assert "symbol = 'S3/USDT'" in condition(found) and '"time" >= ' in condition(found)
            assert found.count("Index Cond") == 1 and "Seq Scan on ohlcv" not in found
        newest = await plan(face, "SELECT * FROM market_data WHERE symbol = 'S3/USDT' ORDER BY time DESC LIMIT 1")
        assert "Sort  " not in newest and "symbol = 'S3/USDT'" in condition(newest)
        await face.execute("SET enable_seqscan = off")  # so few rows are read faster whole
        pending = "SELECT * FROM orders WHERE status IN ('pending', 'open')"
        assert "orders_quant" in await plan(face, pending)
        await face.execute(
            "SET app.current_user_id = '00000000-0000-4000-8000-000000000001'; SET ROLE traderd_readonly"
        )
        assert "Seq Scan on orders" not in await plan(face, pending)
