"""The real daemon, heard through ccxt: its trades against the simulated exchange's own ledger."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from daemons import LONG, DaemonProcess, configuration

from traderd.config import Sim
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange

SYMBOLS = ["BTC/USDT", "ETH/USDT"]
CHANNELS = {"channels": ["quote", "trade", "book", "candle"], "book_depth": 25}
_TRADES_BESIDE_BARS = """
    SELECT count(*) FROM (
        SELECT symbol, date_bin('1 s', time, '1970-01-01 00:00:00+00') AS time, count(*) FROM public_trades
        WHERE time BETWEEN $1 AND $2 GROUP BY 1, 2
    ) made
    LEFT JOIN ohlcv bar USING (symbol, time)
    WHERE bar.trades_count IS DISTINCT FROM made.count
      AND made.time >= date_trunc('second', $1::timestamptz) + interval '1 s'
      AND made.time <= $2::timestamptz - interval '1 s'"""
"""Seconds in whose bars other trades are than were stored."""
ENGINE = {"book_snapshot_interval_s": 1}


async def test_what_ccxt_drops_is_in_the_database_all_the_same_and_so_is_the_gap(tmp_path: Path) -> None:
    """One symbol's trades cease to be sent for a while; afterwards none is missing, and rows say the path.

    The books are there as those of a native venue are: in status, and stored.
    """
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=100), remember=True)
    await exchange.start()
    venue = {"name": "binance", "via": "ccxt", "endpoint": exchange.url, "symbols": SYMBOLS, "tape_check_s": 5}
    config = configuration(tmp_path, exchange.url, venues=[venue | CHANNELS], engine=ENGINE, strategies=[])
    try:
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.ready()
            status = await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/trade", 0) > 20)
            assert status["through_ccxt"] == {
                "binance": {"quote": "websocket", "trade": "websocket", "book": "websocket", "candle": "polled"}
            }
            status = await daemon.until(lambda now: all(each["book"] for each in now["symbols"].values()))
            book = status["symbols"]["binance BTC/USDT"]["book"]
            assert book["bid"] < book["microprice"] < book["ask"]
            assert "traderd_slower_path" in (await daemon.get("/metrics"))[1]
            before = {symbol: _made(exchange, symbol)[-5] for symbol in SYMBOLS}
            exchange.inflict(Faults(drop=("btcusdt@trade",)))
            status = await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/backfill", 0) > 3)
            await asyncio.sleep(1.0)
            connection = await asyncpg.connect(status["database"])
            try:
                await _whole(connection, exchange, before)
                assert await connection.fetchval("SELECT bool_and(feed = 'ccxt') FROM instruments")
                levels = await connection.fetch(
                    "SELECT DISTINCT symbol, jsonb_array_length(bids) FROM order_book_snapshots"
                )
                assert {tuple(row) for row in levels} == {(symbol, 20) for symbol in SYMBOLS}
                healed = (
                    "SELECT symbol FROM data_gaps WHERE reason = 'unseen' AND status = 'healed' AND rows_healed > 0"
                )
                async with asyncio.timeout(10):
                    while "BTC/USDT" not in {row["symbol"] for row in await connection.fetch(healed)}:
                        await asyncio.sleep(0.1)
            finally:
                await connection.close()
            await daemon.terminate()
    finally:
        await exchange.stop()


async def test_what_was_traded_while_the_daemon_was_away_is_fetched_and_its_bars_are_whole(tmp_path: Path) -> None:
    """After kill -9: the restart's hole ends as healed, no trade is missing or there twice, and no bar is marked."""
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=100), remember=True)
    await exchange.start()
    venue = {"name": "binance", "via": "ccxt", "endpoint": exchange.url, "symbols": SYMBOLS, "tape_check_s": 5}
    config = configuration(tmp_path, "", venues=[venue | CHANNELS], engine={"timeframes": ["1s"]}, strategies=[])
    try:
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/trade", 0) > 40)
            daemon.kill9()
            await asyncio.sleep(2.0)
            daemon.start()
            status = await daemon.until(lambda now: now["ticks"]["by_stream"].get("binance/backfill", 0) > 3)
            connection = await asyncpg.connect(status["database"])
            try:
                before = {symbol: _made(exchange, symbol)[-1] for symbol in SYMBOLS}
                gap = "SELECT * FROM data_gaps WHERE reason = 'restart'"
                async with asyncio.timeout(20):
                    while (hole := await connection.fetchrow(gap)) is None or hole["status"] == "closed":
                        await asyncio.sleep(0.1)
                assert (hole["status"], hole["why_not"]) == ("healed", "") and hole["rows_healed"] > 3
                marked = "SELECT count(*) FROM ohlcv WHERE has_gap AND time + interval '2 s' > $1 AND time <= $2"
                async with asyncio.timeout(15):
                    while await connection.fetchval(marked, hole["time_from"], hole["time_to"]):
                        await asyncio.sleep(0.1)
                await _whole(connection, exchange, before)
                bars = await connection.fetchval(_TRADES_BESIDE_BARS, hole["time_from"], hole["time_to"])
                assert bars == 0
            finally:
                await connection.close()
            await daemon.terminate()
    finally:
        await exchange.stop()


@pytest.mark.skipif(not LONG, reason="TRADERD_TEST_LONG isn't set: a whole minute is waited for, and another")
async def test_the_venues_candles_that_come_through_ccxt_are_compared_with_ours(tmp_path: Path) -> None:
    """Asked for by REST once they have ended; one may differ only where trades came too late for a bar of ours."""
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=50))
    await exchange.start()
    venue = {"name": "binance", "via": "ccxt", "endpoint": exchange.url, "symbols": SYMBOLS}
    config = configuration(tmp_path, "", venues=[venue | {"channels": ["trade", "candle"]}], strategies=[])
    try:
        with DaemonProcess(config) as daemon:
            daemon.start()
            status = await daemon.until(lambda now: _compared(now["venue_candles"]) >= 2, 200.0)
            assert status["venue_candles"]["differing"] == 0 or status["engine"]["late_trades"] > 0
            await daemon.terminate()
    finally:
        await exchange.stop()


def _compared(candles: dict[str, int]) -> int:
    return candles["agreed"] + candles["differing"]


def _made(exchange: SimulatedExchange, symbol: str) -> list[int]:
    return [int(trade_id) for trade_id in exchange.ledger["ids"][symbol.replace("/", "").lower() + "@trade"]]


async def _whole(connection: asyncpg.Connection, exchange: SimulatedExchange, before: dict[str, int]) -> None:
    """Up to the last one that was backfilled, or the fault, none is missing, and none is there twice."""
    for symbol in SYMBOLS:
        rows = await connection.fetch(
            "SELECT trade_id::bigint, backfilled FROM public_trades WHERE symbol = $1", symbol
        )
        stored = [row["trade_id"] for row in rows]
        last = max([before[symbol], *(row["trade_id"] for row in rows if row["backfilled"])])
        assert len(stored) == len(set(stored)) > 10
        assert {made for made in _made(exchange, symbol) if min(stored) <= made <= last} <= set(stored)
