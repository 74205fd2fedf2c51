"""What the real daemon makes of trades and books: bars of every kind, marks on them, and the best levels."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from books import rows
from daemons import LONG, DaemonProcess, configuration
from faulty import inflict, listening, remembering

from conftest import Database
from traderd.sim.faults import Faults

pytestmark = pytest.mark.process
SYMBOLS = ["BTC/USDT", "ETH/USDT"]
ENGINE = {
    "bars": [{"kind": "tick", "size": 20}, {"kind": "volume", "size": 5, "symbols": ["ETH/USDT"]}],
    "book_snapshot_interval_s": 1,
}
STRATEGY = {"type": "ema_cross", "exchange": "binance", "fast": 1, "slow": 2, "symbol": "BTC/USDT", "allow_short": True}


async def test_bars_books_and_marks_reach_strategies_status_and_database(
    plain_database: Database, tmp_path: Path
) -> None:
    """A strategy lives on bars of trades; each is the sum of its trades; one over a hole says so until it heals."""
    dsn = plain_database.dsn
    async with remembering() as exchange:
        venue = {"name": "binance", "endpoint": exchange.url, "symbols": SYMBOLS}
        strategies = [STRATEGY | {"name": "on-bars", "timeframe": "20-ticks"}]
        config = configuration(tmp_path, "", database=dsn, venues=[venue], engine=ENGINE, strategies=strategies)
        with DaemonProcess(config) as daemon:
            daemon.start()
            # A bar takes three seconds, and prices that go one way for some bars cross nothing.
            status = await daemon.until(lambda now: now["engine"]["signals"] and now["engine"]["fills"], within_s=90.0)
            for symbol in SYMBOLS:
                book = status["symbols"][f"binance {symbol}"]["book"]
                assert book["bid"] < book["microprice"] < book["ask"] and -1 <= book["imbalance"] <= 1
                assert book["spread"] == pytest.approx(book["ask"] - book["bid"])
            await _until(dsn, "SELECT count(*) FROM signals", 1)  # what the engine counts is on its way
            signals = await rows(dsn, "SELECT DISTINCT expires_at FROM signals")
            assert signals == [(None,)]
            await _expect_bars(dsn)
            await _expect_books(dsn)

            inflict(exchange, Faults(cut=True, refuse_s=1.0))
            await _until(dsn, "SELECT count(*) FROM ohlcv WHERE has_gap AND timeframe = '1s'", 1)
            await _until(dsn, "SELECT count(*) = 0 FROM ohlcv WHERE has_gap AND timeframe = '1s'", 1)

            assert (await daemon.status())["engine"]["late_by_timeframe"]["1s"] == 0
            inflict(exchange, Faults(clock_ahead_ms=-2_000))  # what it tells now is of bars that are closed here
            await daemon.until(lambda status: status["engine"]["late_by_timeframe"]["1s"] > 3)
            async with asyncio.timeout(10):  # metrics gather what the engine counts now and then
                while 'traderd_late_trades_total{timeframe="1s"}' not in (await daemon.get("/metrics"))[1]:
                    await asyncio.sleep(0.1)


@pytest.mark.skipif(not LONG, reason="TRADERD_TEST_LONG isn't set: a whole minute is waited for, and another")
async def test_the_exchanges_own_candles_are_ours(plain_database: Database, tmp_path: Path) -> None:
    """Of twenty symbols, each a whole minute's: none differs; those that began before us are nobody's fault."""
    async with remembering() as exchange:
        with listening(tmp_path, exchange, plain_database.dsn, channels=["trade", "candle"]) as daemon:
            status = await daemon.until(lambda status: status["venue_candles"]["agreed"] >= 20, 140.0)
            assert status["venue_candles"]["differing"] == 0
            told = [each["venue_candles"] for each in status["symbols"].values()]
            assert [each["agreed"] for each in told] == [1] * 20
            assert not await rows(plain_database.dsn, "SELECT FROM ohlcv WHERE differs")


async def _expect_bars(dsn: str) -> None:
    """Of both kinds, of the symbols that they are made of, each the sum of its twenty trades."""
    await _until(dsn, "SELECT count(DISTINCT (timeframe, symbol)) FROM ohlcv WHERE timeframe LIKE '%-%'", 3)
    assert await rows(dsn, "SELECT min(volume) >= 5 FROM ohlcv WHERE timeframe = '5-units'") == [(True,)]
    of_btc = "WHERE symbol = 'BTC/USDT'"
    bars = await rows(dsn, f"SELECT volume FROM ohlcv {of_btc} AND timeframe = '20-ticks' ORDER BY time")
    await _until(dsn, f"SELECT count(*) FROM public_trades {of_btc}", 20 * len(bars))
    traded = await rows(dsn, f"SELECT quantity FROM public_trades {of_btc} ORDER BY length(trade_id), trade_id")
    summed = [sum(quantity for (quantity,) in traded[at : at + 20]) for at in range(0, 20 * len(bars), 20)]
    assert [volume for (volume,) in bars] == summed


async def _expect_books(dsn: str) -> None:
    """Twenty levels a side, best first, with the figures that strategies are shown."""
    await _until(dsn, "SELECT count(DISTINCT symbol) FROM order_book_snapshots", 2)
    for told in await rows(dsn, "SELECT bids, asks, spread, microprice FROM order_book_snapshots"):
        bids, asks = ([Decimal(price) for price, _ in json.loads(side)] for side in told[:2])
        assert len(bids) == len(asks) == 20
        assert bids == sorted(set(bids), reverse=True) and asks == sorted(set(asks))
        assert told[2] == asks[0] - bids[0] and bids[0] < told[3] < asks[0]


async def _until(dsn: str, query: str, least: int, within_s: float = 15.0) -> None:
    for _ in range(int(within_s / 0.1)):
        if int((await rows(dsn, query))[0][0]) >= least:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {query}")
