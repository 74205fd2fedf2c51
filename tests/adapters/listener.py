"""Who listens to a feed through ccxt in tests."""

import asyncio
from collections.abc import Callable, Sequence

from traderd.core.errors import JournalError
from traderd.core.market import Instrument, Quote, Trade, VenueEvent


class Path:
    """Stream, pipeline and observer at once: remembers what it is given."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.quotes: list[Quote] = []
        self.others: list[VenueEvent] = []
        self.backfilled: list[Trade] = []
        self.exchange = "venue"
        self.listings = Listings()
        self.bad: list[tuple[str, str]] = []
        self.gaps: list[tuple[str, ...]] = []
        self.told: list[tuple[str, ...]] = []
        self.journal_is_full = False

    def on_events(self, events: Sequence[VenueEvent]) -> None:
        self.trades += [event for event in events if isinstance(event, Trade)]
        self.quotes += [event for event in events if isinstance(event, Quote)]
        self.others += [event for event in events if not isinstance(event, Trade | Quote)]

    def on_bad_frame(self, channel: str, reason: str, frame: bytes, received_ns: int) -> None:
        self.bad.append((channel, reason))

    def backfill(self, stream: object, trades: list[Trade]) -> None:
        if self.journal_is_full:
            raise JournalError("no space left on device")
        self.backfilled += trades

    def gap_opened(self, exchange: str, symbol: str, channel: str, reason: str, from_ns: int, detail: str = "") -> None:
        self.gaps.append(("opened", symbol, channel, reason))

    def gap_closed(self, exchange: str, symbol: str, channel: str, reason: str, to_ns: int, rows_lost: int = 0) -> None:
        self.gaps.append(("closed", symbol, channel, reason))

    def whole(self, exchange: str, symbol: str, channel: str, received_ns: int) -> None:
        self.gaps.append(("whole", symbol, channel))

    def healed(self, exchange: str, received_ns: int) -> None:
        self.gaps.append(("healed", exchange))

    def connected(self, exchange: str) -> None:
        self.told.append(("connected", exchange))

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None:
        self.told.append(("disconnected", reason))

    def bad_frame(self, exchange: str, reason: str, frame: bytes) -> None:
        self.told.append(("bad", reason))

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None:
        self.told.append(("refused", symbol, reason))

    def listed(self, exchange: str, symbol: str) -> None:
        self.told.append(("listed", symbol))

    def delisted(self, exchange: str, symbol: str) -> None:
        self.told.append(("delisted", symbol))

    def refusals(self) -> set[tuple[str, ...]]:
        return {line[1:] for line in self.told if line[0] == "refused"}

    def ids(self, symbol: str) -> list[int]:
        """Of all trades that arrived, by whatever way."""
        return [int(trade.trade_id) for trade in [*self.trades, *self.backfilled] if trade.instrument.symbol == symbol]


class Listings:
    """What a feed tells of its venue's listing."""

    def __init__(self) -> None:
        self.traded: list[Instrument] = []
        self.gone: list[str] = []
        self.missing: list[str] = []

    def unlisted(self, instruments: Sequence[Instrument]) -> None:
        self.missing += [instrument.symbol for instrument in instruments]

    def described(self, instruments: Sequence[Instrument]) -> None:
        self.traded += instruments

    def delisted(self, instruments: Sequence[Instrument]) -> None:
        self.gone += [instrument.symbol for instrument in instruments]


async def until(holds: Callable[[], object], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.05)
