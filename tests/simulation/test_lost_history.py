"""An exchange that has forgotten the trades of a hole: the bars over it become its candles, digit by digit."""

import asyncio
import json
import time
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from books import rows
from daemons import DaemonProcess, configuration
from faulty import inflict
from websockets.http11 import Response

from conftest import Database
from traderd.config import Sim
from traderd.sim import rest
from traderd.sim.faults import Faults
from traderd.sim.server import SimulatedExchange, http_response

pytestmark = pytest.mark.process
SYMBOLS = ["BTC/USDT", "ETH/USDT"]
SETTLED_S = 15.0
"""A bar so old is asked for."""


class Forgetful(SimulatedExchange):
    """Serves five trades of each symbol, and answers the first questions for candles with an error of its own."""

    refusals = 3

    def forget(self) -> None:
        for pit in self.market.pits.values():
            pit.trades = deque(pit.trades, maxlen=5)

    def _answer(self, target: str) -> Response:
        if "/klines" in target and self.refusals:
            self.refusals -= 1
            return http_response(500, b"{}")
        return super()._answer(target)

    def candles(self, symbol: str, first_s: int, last_s: int) -> dict[int, list[Decimal]]:
        """Open, high, low, close, volume, money and trades of each second in which there was a trade."""
        span = f"startTime={first_s * 1000}&endTime={last_s * 1000}&limit=1000"
        name = symbol.replace("/", "")
        _, body = rest.answer(self.market, f"/api/v3/klines?symbol={name}&interval=1s&{span}")
        told = {bar[0] // 1000: [*map(Decimal, bar[1:6]), Decimal(bar[7]), Decimal(bar[8])] for bar in json.loads(body)}
        return {at_s: bar for at_s, bar in told.items() if bar[-1]}


async def test_bars_over_trades_that_the_exchange_has_forgotten_are_its_candles(
    plain_database: Database, tmp_path: Path
) -> None:
    """Whoever is killed while they are awaited takes them in his next life; what never went missing stays ours."""
    dsn = plain_database.dsn
    exchange = Forgetful(Sim(symbols=2, ticks_per_second=150), remember=True)
    await exchange.start()
    venue = {"name": "binance", "endpoint": exchange.url, "symbols": SYMBOLS, "channels": ["quote", "trade"]}
    engine = {"timeframes": ["1s"]}
    config = configuration(tmp_path, "", database=dsn, venues=[venue], strategies=[], engine=engine)
    try:
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["ticks"]["stored"] > 300)
            # The first second was heard from its middle on. Just after a second's end the bar that has ended is marked
            # too, for a trade that may still be on its way: nothing turns out to be missing, and the mark goes.
            await asyncio.sleep(3.02 - time.time() % 1)
            exchange.forget()
            inflict(exchange, Faults(cut=True, refuse_s=2.0))
            await _until(dsn, "SELECT count(*) > 0 FROM data_gaps WHERE candles_due IS NOT NULL", 15.0)
            daemon.kill9()
            daemon.start()
            await _until(dsn, "SELECT count(*) > 1 FROM data_gaps WHERE status = 'unhealable'", 20.0)
            awaited = "channel IS DISTINCT FROM 'quote' AND (status IN ('open', 'closed') OR candles_due IS NOT NULL)"
            await _until(dsn, f"SELECT count(*) = 0 FROM data_gaps WHERE {awaited}", SETTLED_S + 30.0)
            await _expect_the_exchanges_bars(dsn, exchange)
    finally:
        await exchange.stop()


async def _until(dsn: str, query: str, within_s: float) -> None:
    """Until the query is true."""
    deadline = time.monotonic() + within_s
    while (await rows(dsn, query)) != [(True,)]:
        assert time.monotonic() < deadline, (query, await rows(dsn, "SELECT * FROM data_gaps"))
        await asyncio.sleep(0.1)


async def _expect_the_exchanges_bars(dsn: str, exchange: Forgetful) -> None:
    """From the first whole one to the last that lies in a hole, none left out and none marked."""
    assert exchange.refusals == 0, "it was never asked"
    told = await rows(dsn, "SELECT candles, why_not FROM data_gaps WHERE status = 'unhealable'")
    assert all(" of 1s" in candles and why_not for candles, why_not in told), told
    ((first, last),) = await rows(dsn, "SELECT min(time_from), max(time_to) FROM data_gaps")
    first_s, last_s = int(first.timestamp()) - 1, int(last.timestamp())
    taken = 0
    for symbol in SYMBOLS:
        query = (
            "SELECT time, open, high, low, close, volume, quote_volume, trades_count, has_gap, backfilled FROM ohlcv"
            f" WHERE symbol = '{symbol}' AND time BETWEEN '{_at(first_s)}' AND '{_at(last_s)}'"
        )
        stored = {int(at.timestamp()): figures for at, *figures in await rows(dsn, query)}
        theirs = exchange.candles(symbol, first_s, last_s)
        assert {at_s: figures[:7] for at_s, figures in stored.items()} == theirs
        assert not any(figures[7] for figures in stored.values())
        taken += sum(figures[8] for figures in stored.values())
        assert not all(figures[8] for figures in stored.values()), "even whole ones were taken"
    print(f"{taken} bars are the exchange's candles")
    assert taken >= 4


def _at(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
