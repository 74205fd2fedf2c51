"""What the venue lists, asked of the simulated exchange over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from traderd.adapters.rest import HttpRest
from traderd.config import Sim
from traderd.core.backoff import Backoff
from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument
from traderd.runtime.listing import asking, listed
from traderd.sim.server import SimulatedExchange
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint
from traderd.venues.okx import Okx


class Heard:
    def __init__(self) -> None:
        self.failures: list[tuple[str, float]] = []
        self.refusals: list[tuple[str, str]] = []

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None:
        assert exchange == "binance"
        self.failures.append((reason, delay_s))

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        self.refusals.append((symbol, reason))


@pytest.fixture
async def rest() -> AsyncIterator[HttpRest]:
    client = HttpRest()
    yield client
    await client.close()


def wanted(*symbols: str, first: int = 0) -> list[Instrument]:
    return [
        Instrument(first + at, "binance", symbol, symbol.replace("/", ""), *symbol.split("/"))
        for at, symbol in enumerate(symbols)
    ]


async def asked(rest: HttpRest, url: str, instruments: list[Instrument], heard: Heard) -> list[Instrument]:
    backoff = Backoff(0.02, 0.1, 60.0)
    ask = asking(Binance(), Endpoint("", url), instruments, rest)
    return await listed("binance", ask, instruments, backoff, lambda: 0.5, heard)


async def test_the_venue_adds_its_figures_and_our_indices_stay(rest: HttpRest) -> None:
    """A symbol that it doesn't trade is told once and left out; the others keep their places."""
    exchange, heard = SimulatedExchange(Sim(symbols=3)), Heard()
    await exchange.start()
    try:
        instruments = wanted("BTC/USDT", "NOPE/USDT", "SOL/USDT", "BTC/USDTX", first=4)
        found = await asked(rest, exchange.rest_url, instruments, heard)
    finally:
        await exchange.stop()
    assert [(each.index, each.symbol, each.venue_symbol) for each in found] == [
        (4, "BTC/USDT", "BTCUSDT"),
        (6, "SOL/USDT", "SOLUSDT"),
    ]
    assert all(each.price_tick > Decimal("0.00000001") and each.notional_min > 0 for each in found)
    assert heard.refusals == [("NOPE/USDT", "the venue doesn't trade it"), ("BTC/USDTX", "the venue doesn't trade it")]
    assert heard.failures == []


async def test_the_venue_is_asked_until_it_answers(rest: HttpRest) -> None:
    """Each failure is told with the wait that follows, and the waits grow."""
    first = SimulatedExchange(Sim(symbols=1))
    await first.start()
    url, port = first.rest_url, int(first.rest_url.rpartition(":")[2])
    await first.stop()
    heard = Heard()
    asking = asyncio.create_task(asked(rest, url, wanted("BTC/USDT"), heard))
    async with asyncio.timeout(10):
        while len(heard.failures) < 4:
            await asyncio.sleep(0.01)
        exchange = SimulatedExchange(Sim(symbols=1, port=port))
        await exchange.start()
        try:
            assert [each.symbol for each in await asking] == ["BTC/USDT"]
        finally:
            await exchange.stop()
    assert [delay for _, delay in heard.failures[:4]] == [0.01, 0.02, 0.04, 0.05]
    assert all(reason.startswith("instruments: ") for reason, _ in heard.failures)


async def test_an_answer_that_cannot_be_read_is_asked_for_again(rest: HttpRest) -> None:
    """As if there had been none."""

    class Stuttering(Binance):
        left = 2

        def decode_instruments(self, body: bytes, symbols: object) -> list[Instrument]:
            self.left -= 1
            if self.left >= 0:
                raise BadFrameError("malformed")
            return super().decode_instruments(body, ["BTC/USDT"])

    exchange, heard = SimulatedExchange(Sim(symbols=1)), Heard()
    await exchange.start()
    try:
        endpoint, backoff = Endpoint("", exchange.rest_url), Backoff(0.01, 0.1, 60.0)
        ask = asking(Stuttering(), endpoint, wanted("BTC/USDT"), rest)
        found = await listed("binance", ask, wanted("BTC/USDT"), backoff, lambda: 0.5, heard)
    finally:
        await exchange.stop()
    assert len(found) == 1
    assert [reason for reason, _ in heard.failures] == ["instruments: malformed"] * 2


async def test_a_venue_with_several_lists_is_asked_for_each_of_them() -> None:
    """OKX: spot, perpetual and dated contracts; an instrument is looked for in its own list."""

    class Lists:
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def get(self, url: str, timeout_s: float) -> bytes:
            self.asked.append(url)
            inst_type = url.partition("instType=")[2]
            name = {"SWAP": "BTC-USDT-SWAP", "FUTURES": "BTC-USDT-260327"}[inst_type]
            return (
                f'{{"code":"0","data":[{{"instType":"{inst_type}","instId":"{name}","uly":"BTC-USDT","settleCcy":"USDT",'
                '"tickSz":"0.1","lotSz":"1","ctVal":"0.01","ctType":"linear","expTime":"1774598400000","state":"live"}]}'
            ).encode()

    symbols = ["BTC/USDT:USDT-260327", "BTC/USDT:USDT", "ETH/USDT:USDT"]
    instruments = [Instrument(7 + at, "okx", symbol, "", "", "") for at, symbol in enumerate(symbols)]
    dialect, lists, heard = Okx("linear"), Lists(), Heard()
    backoff = Backoff(0.02, 0.1, 60.0)
    ask = asking(dialect, dialect.live, instruments, lists)
    found = await listed("okx", ask, instruments, backoff, lambda: 0.5, heard)
    assert [(each.index, each.venue_symbol) for each in found] == [(7, "BTC-USDT-260327"), (8, "BTC-USDT-SWAP")]
    assert [url.partition("instType=")[2] for url in lists.asked] == ["FUTURES", "SWAP"]
    assert heard.refusals == [("ETH/USDT:USDT", "the venue doesn't trade it")]
