"""What a venue tells by REST alone: one answer for each contract and interval, within the venue's budget."""

import asyncio

from traderd.core.market import Instrument, OpenInterest
from traderd.runtime.polling import TellsOpenInterest, poll_open_interest
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.dialect import Endpoint

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
CONTRACTS = [
    Instrument(n, "binance", f"{name[:3]}/USDT:USDT", name, name[:3], "USDT") for n, name in enumerate(SYMBOLS)
]


class Venue:
    """REST, clock, budget and observer at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.leaves = 0
        self.failures: list[tuple[str, str]] = []
        self.heeded: list[BaseException] = []

    async def get(self, url: str, timeout_s: float) -> bytes:
        symbol = url.rpartition("=")[2]
        self.asked.append(symbol)
        if symbol == "ETHUSDT" and len(self.asked) < 4:
            raise ConnectionError("HTTP 500")
        return b'{"symbol":"%s","openInterest":"10.50","time":1700000000000}' % symbol.encode()

    def time_ns(self) -> int:
        return 1_700_000_001_000_000_000

    def monotonic_ns(self) -> int:
        return 0

    async def ask(self) -> None:
        self.leaves += 1

    def refused(self, *told: object) -> float:
        if isinstance(told[0], BaseException):
            self.heeded.append(told[0])
        else:
            self.failures.append((str(told[2]), str(told[3])))
        return 0.0


async def test_every_contract_is_asked_for_in_turn_and_one_failure_does_not_stop_the_others() -> None:
    """Each request waits for the budget, which hears of each failure."""
    venue, told = Venue(), list[OpenInterest]()
    dialect = BinanceFutures("linear")
    assert isinstance(dialect, TellsOpenInterest)
    endpoint = Endpoint("", "http://x")
    polling = asyncio.create_task(
        poll_open_interest(dialect, endpoint, lambda: CONTRACTS, venue, venue, venue, told.append, venue, 0.03)
    )
    async with asyncio.timeout(5):
        while len(venue.asked) < 6:
            await asyncio.sleep(0.005)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    assert venue.asked[:6] == SYMBOLS * 2 and venue.leaves >= 6
    assert [event.instrument.venue_symbol for event in told[:5]] == ["BTCUSDT", "SOLUSDT", *SYMBOLS]
    assert told[0].quantity == "10.50" and told[0].time_received_ns == venue.time_ns()
    assert venue.failures == [("ETH/USDT:USDT", "HTTP 500")] and len(venue.heeded) == 1


async def test_what_is_traded_no_more_is_not_asked_for() -> None:
    """While nothing is traded nobody is asked at all, until something is again."""
    venue, wanted = Venue(), list(CONTRACTS)
    polling = asyncio.create_task(
        poll_open_interest(
            BinanceFutures("linear"), Endpoint("", "http://x"), lambda: wanted, venue, venue, venue, print, venue, 0.03
        )
    )
    async with asyncio.timeout(5):
        while len(venue.asked) < 3:
            await asyncio.sleep(0.005)
        wanted.clear()
        await asyncio.sleep(0.06)
        asked = len(venue.asked)
        await asyncio.sleep(0.1)
        assert len(venue.asked) == asked
        wanted.append(CONTRACTS[2])
        while len(venue.asked) < asked + 2:
            await asyncio.sleep(0.005)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    assert venue.asked[asked:] == ["SOLUSDT"] * (len(venue.asked) - asked)
