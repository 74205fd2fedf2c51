"""Where each channel comes from at a venue that is heard through ccxt: the best of its methods that the venue has.

Refuses liquidations, which ccxt tells of too few venues, and what an instrument can't have.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from traderd.core.market import Instrument
from traderd.venues.dialect import AnyChannel

_CONTRACTS_ONLY: Final[frozenset[AnyChannel]] = frozenset({"funding", "mark", "open_interest", "liquidation"})


class Source(Struct, frozen=True):
    """One of ccxt's methods."""

    has: str
    """Its name in ccxt's `has`: `watchTrades`."""
    method: str
    """`watch_trades`."""

    @property
    def polled(self) -> bool:
        """Whether it is asked for at intervals, and not told by websocket."""
        return self.has.startswith("fetch")


SOURCES: Final[dict[AnyChannel, tuple[Source, ...]]] = {
    "quote": (
        Source("watchBidsAsks", "watch_bids_asks"),
        Source("watchOrderBook", "watch_order_book"),
        Source("watchTicker", "watch_ticker"),
        Source("fetchOrderBook", "fetch_order_book"),
        Source("fetchTicker", "fetch_ticker"),
    ),
    "trade": (Source("watchTrades", "watch_trades"), Source("fetchTrades", "fetch_trades")),
    "book": (Source("watchOrderBook", "watch_order_book"), Source("fetchOrderBook", "fetch_order_book")),
    "candle": (Source("fetchOHLCV", "fetch_ohlcv"), Source("watchOHLCV", "watch_ohlcv")),
    "funding": (Source("fetchFundingRate", "fetch_funding_rate"),),
    "mark": (Source("fetchMarkPrice", "fetch_mark_price"), Source("fetchFundingRate", "fetch_funding_rate")),
    "open_interest": (Source("fetchOpenInterest", "fetch_open_interest"),),
}
"""The best first. A candle is asked for once it has ended: what a websocket said last of it need not be its last state,
and ccxt doesn't say which is."""


def source_of(channel: AnyChannel, can: Callable[[str], bool]) -> Source | None:
    """What a channel is heard by; None where the venue has nothing of it. `can` knows ccxt's `has`."""
    return next((source for source in SOURCES.get(channel, ()) if can(source.has)), None)


def ways(channels: Sequence[AnyChannel], can: Callable[[str], bool]) -> dict[AnyChannel, str]:
    """Each channel with `websocket`, `polled`, or "unavailable"."""
    found = {channel: source_of(channel, can) for channel in channels}
    return {
        channel: "unavailable" if source is None else "polled" if source.polled else "websocket"
        for channel, source in found.items()
    }


def offers(instrument: Instrument, channel: AnyChannel) -> bool:
    """Whether the instrument can have it: spot has no mark price, what is dated pays no funding."""
    if instrument.market == "spot":
        return channel not in _CONTRACTS_ONLY
    return not (channel == "funding" and instrument.dated)
