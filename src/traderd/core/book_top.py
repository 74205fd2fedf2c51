"""What an order book says at a glance: spread, microprice and imbalance, and its best levels.

Made when somebody asks, not with every message. Says nothing of a book that isn't whole or has an empty side.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Protocol, runtime_checkable

from msgspec import Struct

from traderd.core.book import Book
from traderd.core.facts import BookLevels
from traderd.core.market import Instrument

DEPTH = 20


class BookTop(Struct, frozen=True):
    """The figures of one book at one moment."""

    bid: float
    ask: float
    spread: float
    microprice: float
    """The two best prices, each weighted with the quantity on the other side."""
    imbalance: float
    """(bids - asks) / (bids + asks) of the best 20 levels' quantities, from -1 to 1."""


@runtime_checkable
class BookReader(Protocol):
    """A strategy that looks at books too."""

    def on_book(self, top: BookTop | None) -> None:
        """The book as each of its candles closes, told before the candle; None while there is no whole one."""
        ...


class Snapshots:
    """The best levels of every whole book, once in each interval."""

    def __init__(self, interval_s: float, books: Sequence[Book | None], instruments: Sequence[Instrument]) -> None:
        """An interval of 0: never. Books and instruments are read anew each time, by index."""
        self._interval_ns = int(interval_s * 1e9)
        self._books = books
        self._instruments = instruments
        self._due_ns = 0

    def on_beat(self, now_ns: int) -> list[BookLevels]:
        """Those that are due; intervals are counted from the epoch."""
        if not self._interval_ns or self._due_ns - self._interval_ns <= now_ns < self._due_ns:
            return []
        self._due_ns = now_ns - now_ns % self._interval_ns + self._interval_ns
        found = map(levels_of, self._books, self._instruments, repeat(now_ns))
        return [levels for levels in found if levels]


def show_top(book: Book | None, strategies: Sequence[object]) -> None:
    """To those strategies that look at books."""
    readers = [strategy for strategy in strategies if isinstance(strategy, BookReader)]
    if readers:
        top = top_of(book)
        for reader in readers:
            reader.on_book(top)


def top_of(book: Book | None) -> BookTop | None:
    """The figures now."""
    if book is None or not book.usable:
        return None
    bid, ask = book.best_bid(), book.best_ask()
    spread, microprice, imbalance = book.spread(), book.microprice(), book.imbalance(DEPTH)
    if bid is None or ask is None or spread is None or microprice is None or imbalance is None:
        return None
    return BookTop(float(bid[0]), float(ask[0]), float(spread), microprice, imbalance)


def levels_of(book: Book | None, instrument: Instrument, now_ns: int) -> BookLevels | None:
    """The best 20 levels a side, to be stored."""
    top, spread = top_of(book), book.spread() if book else None
    if book is None or top is None or spread is None:
        return None
    return BookLevels(
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        time_ns=now_ns,
        sequence=book.sequence,
        bids=book.bids(DEPTH),
        asks=book.asks(DEPTH),
        imbalance=top.imbalance,
        microprice=top.microprice,
        spread=spread,
    )
