"""Which streams a session has: those that its venue offers, each found by event and by instrument."""

import json
from pathlib import Path

import pytest

from lines import Line, Venue, until
from traderd.core.market import Funding, Instrument, MarkPrice, Quote
from traderd.runtime.streams import UNASKED, Streams
from traderd.venues.bybit import Bybit
from traderd.venues.dialect import AnyChannel
from traderd.venues.roster import seats

pytestmark = pytest.mark.driven
SYMBOLS = ["BTC/USDT:USDT", "BTC/USDT:USDT-261225", "ETH/USDT:USDT"]
CHANNELS: tuple[AnyChannel, ...] = ("quote", "funding", "mark")


def listed() -> list[Instrument]:
    (seat,) = seats([("bybit", SYMBOLS, CHANNELS, 50)])
    return seat.instruments


def test_a_stream_that_the_venue_does_not_offer_does_not_exist() -> None:
    """It has no place, no name and no floor; what may come of it all the same is nobody's."""
    btc, dated, eth = listed()
    streams = Streams([btc, dated, eth], CHANNELS, Bybit("linear", 50).offers)
    assert len(streams) == len(streams.names) == len(streams.floors_s) == 8
    assert (dated, "funding") not in streams.of
    assert list(streams.slots[Funding]) == [3, UNASKED, 4]
    assert list(streams.slots[MarkPrice]) == [5, 6, 7] and list(streams.slots[Quote]) == [0, 1, 2]


def test_the_streams_of_one_instrument_are_found_though_another_has_fewer() -> None:
    """By any one of them, and to be left and asked for again together."""
    btc, dated, eth = listed()
    streams = Streams([btc, dated, eth], CHANNELS, Bybit("linear", 50).offers)
    assert [list(streams.siblings(at)) for at in (4, 6, 0)] == [[2, 4, 7], [1, 6], [0, 3, 5]]
    assert streams.retire(dated) == [1, 6] and streams.retire(dated) == []
    assert list(streams.slots[MarkPrice]) == [5, UNASKED, 7]
    assert streams.revive(dated) == [1, 6]
    assert list(streams.slots[MarkPrice]) == [5, 6, 7] and streams.slots[Funding][dated.index] == UNASKED


async def test_a_session_with_a_dated_contract_is_whole_without_its_funding(tmp_path: Path) -> None:
    """Everything that is wanted is seen, nothing is left to be asked for, and no gap waits for an end."""
    venue = Venue()
    async with venue.open() as endpoint:
        dialect = lambda: Bybit("linear", 50)  # noqa: E731  # a fresh one for each connection
        line = Line(tmp_path, dialect, endpoint, SYMBOLS[:2], channels=("funding", "mark"))
        async with line.running():
            await until(lambda: venue.heard)
            for name, rate in (("BTCUSDT", "0.0001"), ("BTCUSDT-25DEC26", "")):
                told = {"symbol": name, "markPrice": "5", "indexPrice": "5", "fundingRate": rate, "openInterest": "7"}
                told |= {"nextFundingTime": "1786320000000" if rate else ""}
                frame = {"topic": f"tickers.{name}", "type": "snapshot", "data": told, "cs": 1, "ts": 1786319000000}
                await venue.tell(json.dumps(frame))
            await until(lambda: line.session.census.seen == 3)
            assert line.session.census.wanted == 3
            await venue.connections[-1].close()
            await until(lambda: line.seen.disconnects)
        opened = {(gap.symbol, gap.channel) for gap in line.recorded_gaps()}
    assert opened == {(SYMBOLS[0], "funding"), (SYMBOLS[0], "mark"), (SYMBOLS[1], "mark")}
