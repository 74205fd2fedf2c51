"""A tape of trades that may have holes nobody tells of, held against another reading of the same trades.

It remembers which trades came. What another source (the venue's REST) has of the same time and the tape hasn't is
missing. Refuses to judge the newest trades, which may still be on their way, and what the other source doesn't reach.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from traderd.core.market import Trade

_REMEMBERED_MAX = 50_000


class Finding(Struct, frozen=True):
    """What a comparison showed."""

    missing: list[Trade]
    """Oldest first."""
    verdict: Literal["whole", "out_of_reach", "incomparable"]
    """out_of_reach: the other source begins later than this comparison should; incomparable: it has other ids."""
    from_ns: int
    to_ns: int
    """What was to be compared. The two are equal if there was nothing."""


class Tape:
    """One instrument's."""

    def __init__(self, from_ns: int = 0) -> None:
        """`from_ns`: since when there may be trades; 0: since the first that comes."""
        self._known: OrderedDict[str, int] = OrderedDict()
        self.checked_ns = from_ns
        """Up to where the tape has been compared."""
        self.since_ns = from_ns
        """From where on it has been, or will be, without a break."""
        self.heard = 0
        """How many trades came."""
        self.given_up = ""
        """Why nobody can hold it against anything."""

    def add(self, trade: Trade) -> bool:
        """Whether the trade is new."""
        if trade.trade_id in self._known:
            return False
        self._known[trade.trade_id] = trade.time_venue_ns
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)
        self.checked_ns = self.checked_ns or trade.time_venue_ns
        self.since_ns = self.since_ns or trade.time_venue_ns
        self.heard += 1
        return True

    def compare(self, page: Sequence[Trade], upto_ns: int) -> Finding:
        """Hold the newest page of the other source against the tape, up to a time at which all has arrived."""
        from_ns, upto_ns = self.checked_ns, max(self.checked_ns, upto_ns)
        ordered = sorted(page, key=lambda trade: trade.time_venue_ns)
        within = [trade for trade in ordered if from_ns < trade.time_venue_ns <= upto_ns]
        if not from_ns or from_ns == upto_ns:
            return Finding([], "whole", from_ns, from_ns)
        if self._numbered_otherwise(ordered):
            return Finding([], "incomparable", from_ns, upto_ns)
        self.checked_ns = upto_ns
        missing = [trade for trade in within if trade.trade_id not in self._known]
        if not ordered or ordered[0].time_venue_ns <= from_ns:
            return Finding(missing, "whole", from_ns, upto_ns)
        self.since_ns = ordered[0].time_venue_ns
        return Finding(missing, "out_of_reach", from_ns, upto_ns)

    def why_not(self, from_ns: int, to_ns: int) -> str | None:
        """Why nobody knows what is missing of this time; "" where it has been compared, None where it will be."""
        if self.given_up:
            return self.given_up
        if self.since_ns and from_ns < self.since_ns:
            return "REST doesn't reach back so far"
        return "" if self.since_ns and to_ns <= self.checked_ns else None

    def _numbered_otherwise(self, ordered: Sequence[Trade]) -> bool:
        """Whether the tape has trades of the page's time, and yet none of them is on the page."""
        if not ordered or any(trade.trade_id in self._known for trade in ordered):
            return False
        first_ns, last_ns = ordered[0].time_venue_ns, ordered[-1].time_venue_ns
        return any(first_ns < time_ns < last_ns for time_ns in self._known.values())
