"""Two connections that carry the same streams, made into one: nothing missing, nothing twice.

While they overlap every message comes once by each, in any order, and is taken the first time. Quotes are known by the
venue's time and what they say, or by the venue's update id where it sends no time; trades by their id; the rest by
what they say. Refuses to remember more than the last so many: an overlap is short.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any

from traderd.core.market import Funding, Liquidation, MarkPrice, OpenInterest, Quote, Trade, VenueCandle, VenueEvent

_KEPT = 200_000


class Splice:
    """What both connections of an overlap have brought."""

    def __init__(self) -> None:
        self._known: set[Hashable] = set()
        self._order: deque[Hashable] = deque()

    def new(self, events: Sequence[VenueEvent]) -> list[VenueEvent]:
        """Those that haven't come before."""
        return [event for event in events if self._is_new(event)]

    def _is_new(self, event: VenueEvent) -> bool:
        key = _key(event)
        if key in self._known:
            return False
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > _KEPT:
            self._known.discard(self._order.popleft())
        return True


def _key(event: VenueEvent) -> Hashable:
    if isinstance(event, Quote):
        return (event.time_venue_ns or event.sequence, *_SAID[Quote](event))
    said = _SAID.get(type(event))
    return (type(event), *said(event)) if said else id(event)


_SAID: dict[type, Callable[[Any], tuple[Hashable, ...]]] = {
    Quote: attrgetter("instrument.index", "text"),
    Trade: attrgetter("instrument.index", "trade_id"),
    VenueCandle: attrgetter(
        "instrument.index", "timeframe", "open_time_ns", "open", "high", "low", "close", "volume", "closed"
    ),
    Funding: attrgetter("instrument.index", "rate", "next_time_ns", "time_venue_ns"),
    MarkPrice: attrgetter("instrument.index", "mark", "index", "time_venue_ns"),
    OpenInterest: attrgetter("instrument.index", "quantity", "time_venue_ns"),
    Liquidation: attrgetter("instrument.index", "side", "price", "quantity", "time_venue_ns"),
}
