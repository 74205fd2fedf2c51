"""The newest quote and the newest trade of every instrument.

Newest is what arrived last and was believed. Refuses to remember anything older: history belongs to the journal.
"""

from traderd.core.book import Book
from traderd.core.market import Quote, Trade


class TickerBoard:
    """Plain lists, indexed by `Instrument.index`: setting a place costs no allocation."""

    __slots__ = ("books", "doubts", "quotes", "trade_texts", "trades")

    def __init__(self, instruments_count: int) -> None:
        self.quotes: list[Quote | None] = [None] * instruments_count
        self.trades: list[Trade | None] = [None] * instruments_count
        self.trade_texts = [""] * instruments_count
        """The texts of `trades`, which are stored with every quote."""
        self.doubts: list[int] = [0] * instruments_count
        """The flags of the newest quote: while it has any it isn't in `quotes`, and the symbol can't be ordered."""
        self.books: list[Book | None] = [None] * instruments_count
        """The local order books, whole or not; None where nobody keeps one."""
