"""A symbol that a venue won't hear of, or has no book of, costs the others nothing: no wait, no link, no noise."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from lines import Line, Venue, until
from traderd.config import Sim
from traderd.runtime import bookkeeping
from traderd.sim.server import SimulatedExchange
from traderd.venues.binance import Binance
from traderd.venues.bybit import Bybit
from traderd.venues.dialect import Endpoint

pytestmark = pytest.mark.driven


@asynccontextmanager
async def refusing_whole_frames(venue: Venue) -> AsyncIterator[None]:
    """A Bybit that grants no stream of a frame in which one is of OLDUSDT."""

    async def answer() -> None:
        answered = 0
        while True:
            await asyncio.sleep(0.005)
            for text in venue.heard[answered:]:
                answered += 1
                asked = json.loads(text)
                old = [topic for topic in asked.get("args", []) if "OLDUSDT" in topic]
                reason = f"error:handler not found,topic:{old[0]}" if old else ""
                said = {"success": not old, "ret_msg": reason, "req_id": asked.get("req_id", ""), "op": asked["op"]}
                with suppress(ConnectionClosed):
                    await venue.tell(json.dumps(said))

    task = asyncio.create_task(answer())
    try:
        yield
    finally:
        task.cancel()


async def test_a_refused_symbol_is_told_once_and_asked_for_apart_from_then_on(tmp_path: Path) -> None:
    """The first link finds it out; on the next one the others are granted at once."""
    venue = Venue()
    async with venue.open() as endpoint, refusing_whole_frames(venue):
        symbols, channels = ["ETH/USDT", "OLD/USDT"], ("quote", "trade")
        line = Line(tmp_path, lambda: Bybit("spot", 10), endpoint, symbols, channels=channels)
        async with line.running():
            await until(lambda: line.session.census.acknowledged == 2 and line.session.census.parked == 2, 60.0)
            asked = len(venue.heard)
            await venue.connections[-1].close()
            await until(lambda: len(venue.heard) > asked + 1)
            await until(lambda: line.session.census.acknowledged == 2, 1.0)
            await until(lambda: line.session.census.parked == 2, 60.0)
    first, second = (json.loads(text)["args"] for text in venue.heard[asked : asked + 2])
    assert first == ["orderbook.1.ETHUSDT", "publicTrade.ETHUSDT"]
    assert second == ["orderbook.1.OLDUSDT", "publicTrade.OLDUSDT"]
    assert [symbol for _, symbol, _ in line.seen.refusals] == ["OLD/USDT"]
    assert line.seen.refusals[0][2].endswith("it isn't asked for any more")


async def test_a_book_that_nobody_has_takes_no_link_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told; the link stays, and is changed for a younger one before the venue cuts it."""
    monkeypatch.setattr(bookkeeping, "_SNAPSHOT_ATTEMPTS", 2)
    exchange = SimulatedExchange(Sim(symbols=2, ticks_per_second=200.0))
    await exchange.start()
    try:
        endpoint, symbols = Endpoint(exchange.url, exchange.rest_url), [*exchange.symbols, "NEVER/USDT"]
        line = Line(tmp_path, Binance, endpoint, symbols, age_max_s=4.0)
        async with line.running():
            await until(lambda: any("can't be made whole" in reason for _, _, reason in line.seen.refusals), 60.0)
            await until(lambda: line.session.renewals == 2, 60.0)
            assert [line.session.books[at].usable for at in range(3)] == [True, True, False]
    finally:
        await exchange.stop()
    assert line.seen.disconnects == [] and line.recorded_gaps() == []
