"""Flags, bars and order book snapshots in real databases, on every back end."""

import json
from decimal import Decimal

import asyncpg
from msgspec.structs import replace

from conftest import Database
from made_up import BTC, ETH, START, quote, trade
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.core.facts import BookLevels, Candle
from traderd.core.quality import CLOCK, CROSSED, JUMP
from traderd.runtime.ports import Batch, JournalRecord


def record(position: int, table: str, batch: Batch) -> JournalRecord:
    return JournalRecord(position, f"{table}:binance:x", batch.rows, batch.first_ns, batch.last_ns, batch.payload)


async def test_flags_arrive_with_their_rows_and_a_trade_from_2099_is_stored_today(database: Database) -> None:
    """Clean rows have 0; no partition lies in the future."""
    rows = TickRows([BTC, ETH])
    quotes = [quote("10", "11", START + number, BTC if number else ETH) for number in range(4)]
    quotes[1].flags, quotes[3].flags = JUMP, JUMP | CROSSED
    dated, far = trade("10", "1", START), trade("10", "1", 4_085_000_000 * 10**9, received_ns=START + 10**9)
    far.flags, far.time_venue_ns = CLOCK, 0
    store = CopyTickStore(database.dsn, 30)
    await store.cursor("j")
    await store.store(
        "j",
        [
            record(1, "tick_data", rows.quotes(quotes, [""] * 4)),
            record(2, "public_trades", rows.trades([dated, far])),
            record(3, "tick_data", rows.quotes([quote("10", "11", START + 10**9)], [""])),
        ],
    )
    await store.close()
    connection = await asyncpg.connect(database.dsn)
    try:
        assert sorted(r["flags"] for r in await connection.fetch("SELECT flags FROM tick_data")) == [0, 0, 0, 1, 3]
        stored = await connection.fetch("SELECT flags, time = time_received AS ours FROM public_trades ORDER BY flags")
        assert [(r["flags"], r["ours"]) for r in stored] == [(0, True), (CLOCK, True)]
        newest = await connection.fetchval("SELECT extract(year FROM max(time)) FROM public_trades")
        assert newest == 2023
    finally:
        await connection.close()


async def test_book_levels_and_bars_of_trades_are_stored_once(database: Database) -> None:
    """Levels as the venue sent them; a bar that comes again, marked or with more trades, replaces the other."""
    levels = BookLevels(
        "binance", "BTC/USDT", START, 7, [("10.10", "1")], [("10.20", "3.0")], -0.5, 10.125, Decimal("0.10")
    )
    bar = Candle("binance", "BTC/USDT", "500-ticks", START, *["10"] * 4, "2", "20", 2)
    amended = Candle("binance", "BTC/USDT", "500-ticks", START, *["10"] * 4, "3", "30", 3)
    store = PostgresFactStore(database.dsn, 30)
    assert await store.store("f", 1, [levels, bar]) == 0
    assert await store.store("f", 2, [levels, amended, bar]) == 0
    await store.close()
    connection = await asyncpg.connect(database.dsn)
    try:
        (row,) = await connection.fetch("SELECT * FROM order_book_snapshots")
        assert (json.loads(row["bids"]), json.loads(row["asks"])) == ([["10.10", "1"]], [["10.20", "3.0"]])
        assert (row["sequence"], row["imbalance"], row["microprice"], row["spread"]) == (
            7,
            -0.5,
            10.125,
            Decimal("0.10"),
        )
        (candle,) = await connection.fetch("SELECT timeframe, trades_count, differs FROM ohlcv")
        assert tuple(candle) == ("500-ticks", 3, False)
        await _store(database, 3, replace(amended, differs=True))
        assert await connection.fetchval("SELECT differs FROM ohlcv") is True
    finally:
        await connection.close()


async def _store(database: Database, position: int, fact: Candle) -> None:
    store = PostgresFactStore(database.dsn, 30)
    assert await store.store("f", position, [fact]) == 0
    await store.close()
