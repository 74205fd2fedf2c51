"""Rows for the faces' tests, written by the stores that write them in the daemon; tables that nobody writes yet by SQL.

One strategy bought on Binance and sold half of it, an order's fate is unknown and one was refused; Kraken trades the
same symbol and was seen later. Times count back from the start of the minute in which the tests began.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from msgspec.structs import replace

from conftest import Database
from traderd.adapters.books import Books
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.postgres import DAEMON_USER
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.config.register import StrategyEntry
from traderd.core.facts import Alert, Candle, Equity, Execution, Fact, Order, Position, Signal
from traderd.core.market import Instrument, Quote
from traderd.runtime.ports import JournalRecord

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
SYMBOL = "BTC/USDT"
READERS = ["", "traderd_readonly"]
"""Whose rights hold: the owner's of the server, and a reader's who acts as the daemon's user."""
BTC = Instrument(
    0, "binance", SYMBOL, "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), notional_min=Decimal(5)
)
SIGNAL = Signal("r-s1", 0, "cross", "binance", SYMBOL, "LONG", 0.75, 0.5, 100.0, "9 above 21")
LIMITS = {"stop_loss_pct": "2.5", "take_profit_pct": 1e9, "drawdown_pct_max": "10"}
STRATEGY = StrategyEntry(
    "cross", "ema_cross", "momentum", "binance", SYMBOL, "1m", {"fast": 9}, {"long": "9 above 21"}, {}, LIMITS, "paper"
)
_BY_SQL = """
    INSERT INTO exchange_credentials (user_id, name, exchange, is_testnet, api_key_encrypted, api_secret_encrypted)
    SELECT id, 'k', 'binance', testnet, key::bytea, 'secret'
    FROM users, (VALUES (true, 'test'), (false, 'live')) k (testnet, key);
    INSERT INTO api_keys (user_id, key_prefix, key_hash, permissions)
    SELECT id, 'ak_1', repeat('0', 64), '{read,trade}' FROM users;
    SELECT ensure_partitions('predictions', now() - interval '1 day', now());
    INSERT INTO predictions (time, symbol, model_name, model_version, predicted_value, predicted_direction, confidence,
                             horizon, feature_importance, actual_value, prediction_error, was_correct)
    SELECT now() - n * interval '1 minute', 'BTC/USDT', 'lstm_v2', '2.1', 100 + n, 'up', 0.75, interval '1 hour',
           '{"rsi": 0.25}', 101, n, CASE WHEN n < 5 THEN n % 2 = 1 END
    FROM generate_series(1, 12) n;
    INSERT INTO backtests (strategy_id, user_id, start_date, end_date, strategy_snapshot, status, sharpe_ratio,
                           total_return_pct, created_at)
    SELECT s.id, s.user_id, '2024-01-31 23:59:59+00', '2024-03-01', '{"fast": 9}', b.status, sharpe, 12.34567,
           now() - make_interval(days => age)
    FROM strategies s,
         (VALUES ('completed', 1.5, 400), ('completed', 123456, 10), ('failed', NULL, 400)) b (status, sharpe, age);
    INSERT INTO backtest_trades (backtest_id, trade_number, entry_date, symbol, side, quantity, entry_price)
    SELECT id, 1, '2024-02-01', 'BTC/USDT', 'buy', 0.123456789, 100 FROM backtests WHERE sharpe_ratio = 1.5;
    INSERT INTO alert_rules (user_id, symbol, alert_type, condition, threshold)
    SELECT id, 'BTC/USDT', 'price', 'above', 1e12 FROM users;
    INSERT INTO alert_history (alert_id, channel, status)
    SELECT id, 'email', 'sent' FROM alerts WHERE alert_key = 'a1'"""


def ns(minutes: float) -> int:
    """So many minutes before NOW."""
    return int((NOW - minutes * MINUTE).timestamp()) * 10**9


def naive(minutes: float) -> datetime:
    """The same as a TIMESTAMP in UTC."""
    return (NOW - minutes * MINUTE).replace(tzinfo=None)


def candle(minutes: int, close: int, exchange: str = "binance", timeframe: str = "1m") -> Candle:
    """A bar that opened so many minutes ago, from one below its close to one above."""
    figures = map(str, (close, close + 1, close - 1, close, 2, 2 * close))
    return Candle(exchange, SYMBOL, timeframe, ns(minutes), *figures, trades_count=7)


def order(name: str, minutes: int, **other: Any) -> Order:
    """A market order to buy 0.5 at the time, unless told otherwise."""
    shape = Order(
        name, "paper", "cross", "r-s1", "binance", SYMBOL, "buy", "market", Decimal("0.5"), None, "open", "paper",
        ns(minutes), ns(minutes), "x" + name, submitted_ns=ns(minutes),
    )  # fmt: skip
    return replace(shape, **other)


def filled(name: str, minutes: int, side: str, price: int, pnl: str) -> list[Fact]:
    """An order that was filled at once, with a fee of 0.05, and its fill."""
    whole = order(
        name, minutes, side=side, status="filled", filled_quantity=Decimal("0.5"), average_fill_price=Decimal(price),
        fee=Decimal("0.05"), fee_currency="USDT", filled_ns=ns(minutes),
    )  # fmt: skip
    fill = Execution(
        "t" + name, name, "paper", "cross", "binance", SYMBOL, whole.side, Decimal("0.5"), Decimal(price),
        Decimal("0.05"), "USDT", Decimal(pnl), "paper", ns(minutes), "e" + name,
    )  # fmt: skip
    return [whole, fill]


def equity(minutes: int, value: str) -> Equity:
    """The portfolio began with 10000; its peak was 10400."""
    worth, peak = Decimal(value), Decimal(10400)
    return Equity(
        "paper", ns(minutes), worth, Decimal(9000), worth - 9000, Decimal(5), Decimal("9.9"), Decimal("0.1"), peak,
        peak - worth, Decimal(10000), "USDT", "paper",
    )  # fmt: skip


FACTS: list[Fact] = [
    *(candle(minutes, 100 + minutes) for minutes in range(120, 0, -1)),
    candle(60 * 30, 500),
    candle(1, 101, timeframe="1s"),
    candle(1, 999, exchange="kraken"),
    replace(SIGNAL, time_ns=ns(50)),
    *filled("o1", 50, "buy", 101, "-0.05"),
    *filled("o2", 40, "sell", 121, "9.95"),
    order("o3", 30, order_type="limit", price=Decimal("90.123456789"), status="unknown"),
    order("o4", 20, status="rejected", reason="too large", exchange_order_id=""),
    Position(
        "paper", "binance", SYMBOL, Decimal("0.5"), Decimal(100), Decimal(110), Decimal(5), Decimal("9.9"), "cross",
        ns(50), ns(20),
    ),
    Position("paper", "binance", "ETH/USDT", Decimal(0), Decimal(0), Decimal(9), Decimal(0), Decimal(3), "", 0, ns(20)),
    Alert("a1", ns(20), "order_rejected", "error", "Refused", "too large", "binance", SYMBOL, "order", "o4"),
    Alert("a2", ns(10), "breaker_tripped", "critical", "Halted", "10 %", "", "", "portfolio", "paper"),
    equity(60 * 48, "10100"),
    equity(0, "10300"),
]  # fmt: skip


async def write(database: Database) -> None:
    """Everything above, and two ticks: the first from before the first trade."""
    store, books, ticks = PostgresFactStore(database.dsn, 10), Books(database.dsn, 10), CopyTickStore(database.dsn, 10)
    try:
        await books.register("paper", "paper", [STRATEGY])
        await store.save_instruments([BTC])
        await store.save_instruments(
            [replace(BTC, exchange="kraken"), replace(BTC, exchange="kraken", symbol="XMR/USD")]
        )
        assert await store.store("j", 1, FACTS) == 0
        await ticks.cursor("ticks")
        await ticks.store("ticks", _tick_records())
    finally:
        for each in (store, books, ticks):
            await each.close()
    connection = await asyncpg.connect(database.dsn)
    await connection.execute(_BY_SQL)
    await connection.close()


@asynccontextmanager
async def reading(database: Database, schema: str, role: str = "") -> AsyncIterator[asyncpg.Connection]:
    """A connection that finds the face first; in a role, as the daemon's own user."""
    settings = {"search_path": f"{schema}, public", "timezone": "UTC", "jit": "off"}
    connection = await asyncpg.connect(database.dsn, server_settings=settings)
    try:
        if role:
            await connection.execute(f"SELECT act_as('{DAEMON_USER}'); SET ROLE {role}")
        yield connection
    finally:
        await connection.close()


async def rows(connection: asyncpg.Connection, query: str, *given: Any) -> list[tuple[Any, ...]]:
    """What the query returns."""
    return [tuple(row) for row in await connection.fetch(query, *given)]


async def plan(connection: asyncpg.Connection, query: str, *given: Any) -> str:
    """How the server carries the query out."""
    return "\n".join(row[0] for row in await connection.fetch("EXPLAIN (COSTS OFF) " + query, *given))


def _tick_records() -> Sequence[JournalRecord]:
    made = TickRows([BTC])
    at = ns(1)
    quotes = [Quote(BTC, 100.25, 101.0, "100.25,1.5,101,2", n, 0, at + n * 1_000_000) for n in range(2)]
    batch = made.quotes(quotes, ["", "100.5,2"])
    return [JournalRecord(1, "tick_data:binance:x", batch.rows, batch.first_ns, batch.last_ns, batch.payload)]
