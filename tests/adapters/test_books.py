"""What the daemon's books come to, held against the same figures computed by hand and by numpy."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from msgspec import structs

from conftest import Database
from traderd.adapters.books import Books
from traderd.adapters.fact_tables import key_of
from traderd.adapters.postgres import connect
from traderd.adapters.users import add_user
from traderd.config import Breaker, Config, EmaCross, Venue
from traderd.config.register import Section, sections, strategy_entries
from traderd.core.errors import ConfigError

AT = datetime(2026, 3, 5, 12, 0, 30, tzinfo=UTC)
PORTFOLIO = key_of("portfolio", "paper")
MINUTE = timedelta(minutes=1)
YEAR_MINUTES = 525_600


@pytest.fixture
async def sight(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection that acts for the daemon's own account, as the daemon's do."""
    connection = await connect(database.dsn, acts_as="traderd")
    yield connection
    await connection.close()


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    books = Books(database.dsn, timeout_s=10, owner="traderd")
    yield books
    await books.close()


def configured(*strategies: EmaCross, **changes: Any) -> Config:
    venue = Venue(name="binance", endpoint="sim", symbols=("BTC/USDT", "ETH/USDT"))
    return Config(venues=(venue,), strategies=strategies, **changes)


CROSS = EmaCross(name="ema-btc", exchange="binance", symbol="BTC/USDT", fast=3, slow=8)
OTHER = EmaCross(name="ema-eth", exchange="binance", symbol="ETH/USDT", fast=3, slow=8, allow_short=True)


async def registered(books: Books, config: Config) -> None:
    await books.register("paper", "paper", strategy_entries(config))


async def test_strategies_are_kept_as_the_file_has_them(books: Books, sight: asyncpg.Connection) -> None:
    """Kind, rules as data, limits, and version 1; who is long only has no short rules."""
    await registered(books, configured(CROSS, OTHER))
    row = await sight.fetchrow("SELECT * FROM strategies WHERE name = 'ema-btc'")
    assert (row["strategy_class"], row["strategy_type"], row["status"]) == ("ema_cross", "momentum", "active")
    assert (row["exchange"], row["symbol"], row["symbols"], row["timeframe"], row["trading_mode"]) == (
        "binance", "BTC/USDT", ["BTC/USDT"], "1s", "paper",
    )  # fmt: skip
    assert await sight.fetchval(
        'SELECT parameters = \'{"fast": 3, "slow": 8}\' FROM strategies WHERE id = $1', row["id"]
    )
    above = {"left": "EMA_3", "operator": "crosses_above", "right": "EMA_8"}
    below = above | {"operator": "crosses_below"}
    rules = await sight.fetchrow(
        "SELECT entry_rules = $2::jsonb AND exit_rules = $3::jsonb FROM strategies WHERE name = $1",
        "ema-btc", _json(long=above), _json(long=below),
    )  # fmt: skip
    both = await sight.fetchrow(
        "SELECT entry_rules = $2::jsonb AND exit_rules = $3::jsonb FROM strategies WHERE name = $1",
        "ema-eth", _json(long=above, short=below), _json(long=below, short=above),
    )  # fmt: skip
    assert (rules[0], both[0]) == (True, True)
    assert await sight.fetchval("SELECT risk_parameters ->> 'drawdown_pct_max' FROM strategies LIMIT 1") == "10"
    assert await sight.fetch("SELECT version FROM strategy_versions") == [(1,), (1,)]


async def test_only_changed_rules_make_a_new_version_and_what_is_gone_is_stopped(
    books: Books, sight: asyncpg.Connection
) -> None:
    """The same file again changes nothing; a strategy that comes back is active again, in the version it had."""
    await registered(books, configured(CROSS, OTHER))
    before = await sight.fetch("SELECT * FROM strategies ORDER BY name")
    await registered(books, configured(CROSS, OTHER))
    assert await sight.fetch("SELECT * FROM strategies ORDER BY name") == before
    await registered(books, configured(structs.replace(CROSS, slow=9)))
    state = "SELECT status, version FROM strategies ORDER BY name"
    assert await sight.fetch(state) == [("active", 2), ("stopped", 1)]
    await registered(
        books, configured(structs.replace(CROSS, slow=9), OTHER, breaker=Breaker(drawdown_pct_max=Decimal(5)))
    )
    assert await sight.fetch(state) == [("active", 3), ("active", 2)]
    history = (
        "SELECT v.version, v.parameters ->> 'slow', change_description FROM strategy_versions v JOIN strategies s"
        " ON s.id = strategy_id WHERE name = 'ema-btc' ORDER BY v.version"
    )
    assert [tuple(row) for row in await sight.fetch(history)] == [
        (1, "8", None), (2, "9", "changed: parameters, entry rules, exit rules"), (3, "9", "changed: risk parameters"),
    ]  # fmt: skip


async def test_another_users_names_are_refused_and_nothing_of_theirs_is_changed(
    database: Database, books: Books, sight: asyncpg.Connection
) -> None:
    """Whether or not the row would have changed; one line that says which name."""
    connection = await asyncpg.connect(database.dsn)
    await add_user(connection, "bob", "bob@example.com", "admin", "correct horse battery staple")
    await connection.close()
    await registered(books, configured(CROSS))
    before = await sight.fetch("SELECT * FROM strategies")
    bobs = Books(database.dsn, timeout_s=10, owner="bob")
    await bobs.expect_owner()
    entries = strategy_entries(configured(structs.replace(CROSS, slow=9)))
    for portfolio, strategies, what in (("paper", [], "portfolio 'paper'"), ("bobs", entries, "strategy 'ema-btc'")):
        with pytest.raises(ConfigError, match=f"the {what} isn't this owner's"):
            await bobs.register(portfolio, "paper", strategies)
    await bobs.close()
    assert await sight.fetch("SELECT * FROM strategies") == before


async def test_an_owner_whom_nobody_knows_is_refused(database: Database) -> None:
    """Before anything is written."""
    with pytest.raises(ConfigError, match="owner: there is no active user 'nobody'"):
        await Books(database.dsn, timeout_s=10, owner="nobody").expect_owner()


async def test_settings_are_kept_without_secrets_and_touched_only_when_they_change(
    books: Books, sight: asyncpg.Connection
) -> None:
    """The run that changed a section is named beside it."""
    config = configured(CROSS, database="postgresql://me:hunter2@db/traderd")
    await books.configure(sections(config), "run1")
    await books.configure(sections(structs.replace(config, breaker=Breaker(drawdown_pct_max=Decimal(7)))), "run2")
    rows = {row["key"]: row for row in await sight.fetch("SELECT * FROM configurations")}
    assert set(rows) == set(Config.__struct_fields__)
    assert "hunter2" not in str(rows) and rows["database"]["value"] == '"postgresql://me:***@db/traderd"'
    assert rows["breaker"]["value"] == '{"drawdown_pct_max": "7"}'
    assert {key for key, row in rows.items() if row["updated_by"] == "run2"} == {"breaker"}
    assert rows["risk"]["description"] == "What no order may exceed; notionals in the quote currency."
    await books.configure([Section("mode", "paper", "")], "run3")
    assert await sight.fetchval("SELECT updated_by FROM configurations WHERE key = 'mode'") == "run1"


async def test_balances_tell_cash_assets_and_what_open_orders_lock(books: Books, sight: asyncpg.Connection) -> None:
    """A buy locks what it will cost, a sell what it delivers; a dollar coin is a dollar; what was sold is told as 0."""
    await portfolio(sight, cash="5000")
    await equity(sight, [AT], ["6000"])
    await position(sight, "BTC/USDT", "0.02", "50000")
    await position(sight, "ETH/USDT", "-1.5", "2000")
    await position(sight, "SOL/USDT", "0", "150")
    await quote(sight, "BTC/USDT", "51000", "51010")
    await order(sight, "o1", "buy", "BTC/USDT", "0.01", "49000")
    await order(sight, "o2", "sell", "BTC/USDT", "0.005", None)
    await order(sight, "o3", "buy", "ADA/USDT", "10", "1", status="filled")
    assert await sight.fetchval("SELECT record_balances($1)", AT) == 4
    assert await sight.fetchval("SELECT record_balances($1)", AT) == 4
    rows = await sight.fetch(
        "SELECT asset, free_balance, locked_balance, total_balance, usd_value FROM portfolio_balances ORDER BY asset"
    )
    assert [tuple(row) for row in rows] == [
        ("BTC", Decimal("0.015"), Decimal("0.005"), Decimal("0.02"), Decimal("1020.00")),
        ("ETH", Decimal("-1.5"), 0, Decimal("-1.5"), Decimal("-3000.0")),
        ("SOL", 0, 0, 0, 0),
        ("USDT", Decimal("4510"), Decimal("490"), Decimal("5000"), Decimal("5000")),
    ]
    await equity(sight, [AT + 10 * MINUTE], ["6000"])
    await sight.fetchval("SELECT record_balances($1)", AT + 10 * MINUTE)
    later = await sight.fetch("SELECT asset FROM portfolio_balances WHERE time > $1 ORDER BY asset", AT)
    assert [row["asset"] for row in later] == ["BTC", "ETH", "USDT"]


async def test_a_portfolio_that_has_not_lived_today_gets_no_rows(books: Books, sight: asyncpg.Connection) -> None:
    """A replayed capture's portfolio, for example: it would go on for ever."""
    await portfolio(sight, cash="5000")
    await equity(sight, [AT - timedelta(days=2)], ["5000"])
    assert await sight.fetchval("SELECT record_balances($1)", AT) == 0
    assert await sight.fetchval("SELECT record_risk_metrics($1)", AT) == 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_risk_is_what_numpy_makes_of_the_same_samples(sight: asyncpg.Connection, seed: int) -> None:
    """Random walks with holes in them: each figure from its definition."""
    walk = np.random.default_rng(seed)
    minutes = [AT.replace(second=0) - MINUTE * n for n in range(700)][::-1]
    btc = 50_000 * np.exp(np.cumsum(walk.normal(0, 5e-4, 700)))
    value = 10_000 * np.exp(0.4 * np.log(btc / btc[0]) + np.cumsum(walk.normal(1e-6, 3e-4, 700)))
    there = walk.random(700) > 0.05
    there[0] = there[-1] = True
    texts = [f"{each:.6f}" for each in value]
    times = [minute - timedelta(seconds=5) for minute in minutes]
    await portfolio(sight, cash="5000")
    await equity(
        sight,
        [t for t, on in zip(times, there, strict=True) if on],
        [t for t, on in zip(texts, there, strict=True) if on],
    )
    closes = [f"{each:.2f}" for each in btc]
    await candles(sight, "BTC/USDT", [minute - MINUTE for minute in minutes], closes)
    await position(sight, "BTC/USDT", "0.02", "50000")
    await position(sight, "ETH/USDT", "-1", "3000")
    assert await sight.fetchval("SELECT record_risk_metrics($1)", AT) == 1
    row = await sight.fetchrow("SELECT * FROM risk_metrics")

    equities, bars = np.array(texts, float), np.array(closes, float)
    follows = there[1:] & there[:-1]
    returns = (equities[1:] / equities[:-1] - 1)[follows]
    moves = (bars[1:] / bars[:-1] - 1)[follows]
    cut, today = np.percentile(returns, 5), equities[-1]
    peaks = np.maximum.accumulate(equities[there])
    expected = {
        "total_portfolio_value": today,
        "var_95": -cut * today,
        "cvar_95": -returns[returns <= cut].mean() * today,
        "portfolio_volatility": returns.std(ddof=1) * YEAR_MINUTES**0.5,
        "sharpe_ratio": returns.mean() / returns.std(ddof=1) * YEAR_MINUTES**0.5,
        "max_drawdown": (1 - equities[there] / peaks).max(),
        "correlation_btc": np.corrcoef(returns, moves)[0, 1],
        "diversification_score": 1 - (0.25**2 + 0.75**2),
        "largest_position_pct": 3000 / today,
    }
    assert row["position_count"] == 2
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-9)


async def test_too_few_returns_are_no_figures(sight: asyncpg.Connection) -> None:
    """And a portfolio without a position has nothing to diversify: NULL, never a made-up 0."""
    await portfolio(sight, cash="5000")
    await equity(sight, [AT - MINUTE * n for n in range(10)], ["5000"] * 10)
    await sight.execute("SELECT record_risk_metrics($1)", AT)
    row = dict(await sight.fetchrow("SELECT * FROM risk_metrics"))
    nothing = {name for name, value in row.items() if value is None}
    assert nothing == {
        "var_95", "cvar_95", "portfolio_volatility", "sharpe_ratio", "correlation_btc", "diversification_score",
        "largest_position_pct",
    }  # fmt: skip
    assert (row["max_drawdown"], row["position_count"]) == (0, 0)


async def test_performance_is_kept_beside_portfolios_and_strategies(books: Books, sight: asyncpg.Connection) -> None:
    """The day's profit, the month's Sharpe ratio and drawdown, and the share of closing fills that earned something."""
    await registered(books, configured(CROSS))
    await portfolio(sight, cash="5000")
    walk = np.random.default_rng(5)
    hours = [AT.replace(minute=0, second=0) - timedelta(hours=n) for n in range(100)][::-1]
    texts = [f"{each:.6f}" for each in 10_000 * np.exp(np.cumsum(walk.normal(1e-4, 1e-3, 100)))]
    await equity(sight, [hour - MINUTE for hour in hours], texts)
    earned = ["-1", "5", "-1", "-3", "-1", "2", "-1", "1"]
    for n, pnl in enumerate(earned):
        await fill(sight, n, pnl)
    await sight.execute("SELECT record_risk_metrics($1)", AT)
    await sight.execute("SELECT refresh_performance($1)", AT)
    row = await sight.fetchrow("SELECT * FROM portfolios")
    values = np.array(texts, float)
    returns = values[1:] / values[:-1] - 1
    assert float(row["sharpe_ratio"]) == pytest.approx(returns.mean() / returns.std(ddof=1) * 8760**0.5, rel=1e-9)
    assert row["daily_pnl"] == Decimal(texts[-1]) - Decimal(texts[-13])
    assert (row["win_rate"], row["max_drawdown"] <= 0) == (75, True)
    assert await sight.fetchval("SELECT win_rate FROM strategies") == 75
    stamp = "SELECT updated_at FROM portfolios UNION ALL SELECT updated_at FROM strategies"
    before = await sight.fetch(stamp)
    await sight.execute("SELECT refresh_performance($1)", AT)
    assert await sight.fetch(stamp) == before


async def test_signals_that_nobody_followed_expire(sight: asyncpg.Connection) -> None:
    """At their own end, or after a day where they have none."""
    await sight.executemany(
        "INSERT INTO signals (id, signal_key, time, exchange, symbol, signal_type, strength, confidence, price,"
        " expires_at) VALUES (gen_random_uuid(), $1, $2, 'binance', 'BTC/USDT', 'LONG', 1, 1, 1, $3)",
        [
            ("ended", AT - MINUTE, AT),
            ("young", AT - MINUTE, AT + MINUTE),
            ("old", AT - timedelta(days=2), None),
            ("open", AT - MINUTE, None),
        ],
    )
    assert await sight.fetchval("SELECT expire_signals($1)", AT) == 2
    rows = await sight.fetch("SELECT signal_key FROM signals WHERE status = 'expired' ORDER BY signal_key")
    assert [row["signal_key"] for row in rows] == ["ended", "old"]


async def test_a_busy_day_of_equity_costs_no_more_than_reading_it_a_few_times(
    books: Books, sight: asyncpg.Connection
) -> None:
    """100,000 rows in the day and as many before: what is looked up doesn't grow with what is there."""
    await portfolio(sight, cash="5000")
    await sight.execute("SELECT ensure_partitions('equity_history', $1, $1)", AT - timedelta(days=1))
    await sight.execute("SELECT ensure_partitions('equity_history', $1, $1)", AT)
    await sight.execute(
        "INSERT INTO equity_history SELECT $1::timestamptz - n * interval '0.86 seconds', $2, 5000 + n % 7, 5000, 0, 0,"
        " 0, 0, 5010, 10 - n % 7, 5000, 'USDT', 'paper' FROM generate_series(0, 199999) n",
        AT,
        PORTFOLIO,
    )
    await sight.execute("ANALYZE equity_history")
    started = time.perf_counter()
    await sight.fetchrow("SELECT sum(equity_value), max(drawdown), stddev(equity_value) FROM equity_history")
    reading = time.perf_counter() - started
    took = []
    for number in range(3):
        started = time.perf_counter()
        assert await books.keep(AT + timedelta(seconds=number)) == {}
        took.append(time.perf_counter() - started)
    assert await sight.fetchval("SELECT count(*) FROM risk_metrics WHERE var_95 IS NOT NULL") == 3
    assert min(took) < 8 * reading, (took, reading)


async def portfolio(sight: asyncpg.Connection, cash: str) -> None:
    await sight.execute(
        "INSERT INTO portfolios (id, name, environment, base_currency, cash_balance)"
        " VALUES ($1, 'paper', 'paper', 'USDT', $2) ON CONFLICT (id) DO UPDATE SET"
        " base_currency = EXCLUDED.base_currency, cash_balance = EXCLUDED.cash_balance",
        PORTFOLIO,
        Decimal(cash),
    )


async def equity(sight: asyncpg.Connection, times: list[datetime], values: list[str]) -> None:
    """With the peak and the drawdown as the daemon records them."""
    await sight.execute("SELECT ensure_partitions('equity_history', $1, $2)", min(times), max(times))
    peak, rows = Decimal(0), []
    for moment, value in sorted(zip(times, map(Decimal, values), strict=True)):
        peak = max(peak, value)
        rows.append((moment, PORTFOLIO, value, peak, peak - value))
    await sight.executemany(
        "INSERT INTO equity_history VALUES ($1, $2, $3, $3, 0, 0, 0, 0, $4, $5, 5000, 'USDT', 'paper')", rows
    )


async def position(sight: asyncpg.Connection, symbol: str, quantity: str, price: str) -> None:
    await sight.execute(
        "INSERT INTO positions (id, portfolio_id, exchange, symbol, quantity, entry_price, current_price,"
        " unrealized_pnl, realized_pnl, updated_at, updated_ns)"
        " VALUES (gen_random_uuid(), $1, 'binance', $2, $3, $4, $4, 0, 0, $5, 0)",
        PORTFOLIO, symbol, Decimal(quantity), Decimal(price), AT - MINUTE,
    )  # fmt: skip


async def quote(sight: asyncpg.Connection, symbol: str, bid: str, ask: str) -> None:
    await sight.execute("SELECT ensure_partitions('tick_data', $1, $1)", AT)
    await sight.execute(
        "INSERT INTO tick_data (time, symbol, exchange, bid, ask, sequence) VALUES ($1, $2, 'binance', $3, $4, 1)",
        AT - timedelta(seconds=1), symbol, Decimal(bid), Decimal(ask),
    )  # fmt: skip


async def candles(sight: asyncpg.Connection, symbol: str, times: list[datetime], closes: list[str]) -> None:
    await sight.execute("SELECT ensure_partitions('ohlcv', $1, $2)", min(times), max(times))
    await sight.executemany(
        "INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume,"
        " trades_count) VALUES ($1, $2, 'binance', '1m', $3, $3, $3, $3, 1, 1, 1)",
        [(moment, symbol, Decimal(close)) for moment, close in zip(times, closes, strict=True)],
    )


async def order(
    sight: asyncpg.Connection, name: str, side: str, symbol: str, quantity: str, price: str | None, status: str = "open"
) -> None:
    await sight.execute(
        "INSERT INTO orders (id, client_order_id, portfolio_id, exchange, symbol, side, order_type, quantity, price,"
        " status, environment, created_at, updated_at, updated_ns)"
        " VALUES (gen_random_uuid(), $1, $2, 'binance', $3, $4, 'limit', $5, $6, $7, 'paper', $8, $8, 0)",
        name, PORTFOLIO, symbol, side, Decimal(quantity), price and Decimal(price), status, AT,
    )  # fmt: skip


async def fill(sight: asyncpg.Connection, number: int, pnl: str) -> None:
    """Its fee is 1: an opening fill realises -1."""
    key = UUID(int=number)
    await sight.execute(
        "INSERT INTO executions (id, execution_key, client_order_id, portfolio_id, exchange, symbol, side, quantity,"
        " price, commission, commission_asset, environment, time)"
        " VALUES ($1, $1::uuid::text, 'o', $2, 'binance', 'BTC/USDT', 'buy', 1, 1, 1, 'USDT', 'paper', $3)",
        key, PORTFOLIO, AT - MINUTE,
    )  # fmt: skip
    await sight.execute(
        "INSERT INTO trades (id, portfolio_id, strategy_id, exchange, symbol, side, quantity, price, commission,"
        " commission_asset, realized_pnl, environment, executed_at)"
        " VALUES ($1, $2, $3, 'binance', 'BTC/USDT', 'buy', 1, 1, 1, 'USDT', $4, 'paper', $5)",
        key, PORTFOLIO, key_of("strategy", "ema-btc"), Decimal(pnl), AT - MINUTE,
    )  # fmt: skip


def _json(**value: Any) -> str:
    import json

    return json.dumps(value)
