"""The newest quote and the newest trade of every instrument.

Newest is what arrived last. Refuses to remember anything older: history belongs to the journal.
"""

from traderd.core.market import Quote, Trade


class TickerBoard:
    """Plain lists, indexed by `Instrument.index`: setting a place costs no allocation."""

    __slots__ = ("quotes", "trades")

    def __init__(self, instruments_count: int) -> None:
        self.quotes: list[Quote | None] = [None] * instruments_count
        self.trades: list[Trade | None] = [None] * instruments_count
