"""What a venue lists, looked at again and again: new figures are told, and what is really gone, once."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument
from traderd.runtime.listing import asking, watch_listing
from traderd.venues.binance import Binance
from traderd.venues.dialect import Endpoint

BTC = Instrument(7, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT", Decimal("0.01"))
ETH = Instrument(8, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT", Decimal("0.01"))
FINER = replace(BTC, price_tick=Decimal("0.001"))


class Answers(Binance):
    """Lists what a test says, one list after the other; the last one for ever."""

    def __init__(self, *lists: list[Instrument] | None) -> None:
        super().__init__()
        self.lists = list(lists)

    async def get(self, url: str, timeout_s: float) -> bytes:
        return b""

    def decode_instruments(self, body: bytes, symbols: object) -> list[Instrument]:
        told = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if told is None:
            raise BadFrameError("malformed")
        return [replace(instrument, index=0) for instrument in told]


class Told:
    def __init__(self) -> None:
        self.news: list[list[Instrument]] = []
        self.gone: list[list[Instrument]] = []
        self.failures: list[str] = []

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None: ...

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        self.failures.append(reason)


async def watched(
    *lists: list[Instrument] | None, holds: Callable[[Told], object], known: Sequence[Instrument] = (BTC, ETH)
) -> Told:
    answers, told = Answers(*lists), Told()
    ask = asking(answers, Endpoint("", ""), [BTC, ETH], answers)
    watching = asyncio.create_task(
        watch_listing("binance", ask, [BTC, ETH], known, told.news.append, told.gone.append, told, 0.005, 0.005)
    )
    async with asyncio.timeout(5):
        while len(answers.lists) > 1 or not holds(told):
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return told


async def test_new_figures_are_told_once_under_our_own_index() -> None:
    """What says the same as before is not told."""
    told = await watched([BTC, ETH], [FINER, ETH], holds=lambda told: told.news)
    assert (told.news, told.gone) == ([[FINER]], [])


async def test_a_symbol_that_is_missing_twice_in_a_row_is_delisted_once() -> None:
    """Also if the figures of another change meanwhile."""
    told = await watched([BTC], [FINER], holds=lambda told: told.gone)
    assert (told.news, told.gone) == ([[FINER]], [[ETH]])


async def test_a_list_that_is_short_once_or_can_not_be_read_delists_nothing() -> None:
    """The failure is told."""
    told = await watched([], [BTC, ETH], None, [BTC, ETH], holds=lambda told: told.failures)
    assert (told.news, told.gone) == ([], [])
    assert told.failures == ["instruments: malformed"]


async def test_what_is_traded_again_is_told_as_news() -> None:
    """It may be delisted again after that."""
    told = await watched([BTC], [BTC], [BTC, ETH], [BTC], holds=lambda told: len(told.gone) == 2)
    assert (told.news, told.gone) == ([[ETH]], [[ETH], [ETH]])


async def test_what_was_not_traded_at_the_start_is_told_once_it_is() -> None:
    """With its figures; until then it isn't delisted, and it can be afterwards."""
    told = await watched([BTC], [BTC], [BTC, ETH], [BTC], holds=lambda told: told.gone, known=[BTC])
    assert (told.news, told.gone) == ([[ETH]], [[ETH]])
