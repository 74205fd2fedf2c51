"""The order books that ccxt keeps for one venue, as our own: whole or not there at all, and cut to the depth wanted.

ccxt says neither what it lost nor what it left out, so nothing vouches for these books but that they aren't crossed
and aren't old; no number and no checksum is claimed. Refuses to show a book whose stream is broken.
"""

from collections.abc import Sequence

from traderd.core.book import Book, Verdict
from traderd.core.market import BookSnapshot, Instrument
from traderd.runtime.pipeline import Pipeline


class CcxtBooks:
    """By instrument; each exists from the start, and is usable from its first snapshot."""

    def __init__(self, exchange: str, pipeline: Pipeline) -> None:
        self.books: dict[int, Book] = {}
        """By the instrument's index."""
        self._exchange = exchange
        self._pipeline = pipeline
        self._heard_ns: dict[int, int] = {}

    def begin(self, instruments: Sequence[Instrument]) -> None:
        """The venue trades these."""
        self.books = {instrument.index: Book() for instrument in instruments}

    def take(self, snapshot: BookSnapshot) -> None:
        """What ccxt has of it now."""
        at = snapshot.instrument
        book = self.books[at.index]
        was_usable = book.usable
        if book.snapshot(snapshot) is not Verdict.APPLIED:
            self._told_broken(at, "crossed", snapshot.time_received_ns, "", was_usable)
            return
        self._heard_ns[at.index] = snapshot.time_received_ns
        if not was_usable:
            self._pipeline.whole(self._exchange, at.symbol, "book", snapshot.time_received_ns)

    def lose(self, instrument: Instrument, reason: str, now_ns: int, detail: str) -> None:
        """Its stream is broken: it shows nothing until it comes again."""
        book = self.books[instrument.index]
        was_usable = book.usable
        book.reset()
        self._told_broken(instrument, reason, self._heard_ns.get(instrument.index, now_ns), detail, was_usable)

    def lose_all(self) -> None:
        """The link is gone, and that is a gap already."""
        for book in self.books.values():
            book.reset()

    def silent_s(self, instrument: Instrument, now_ns: int) -> float:
        """How long it has not been heard; 0 before it was heard at all."""
        return (now_ns - self._heard_ns.get(instrument.index, now_ns)) / 1e9

    def touch(self, instrument: Instrument) -> tuple[float, ...]:
        """Its best prices and their quantities; () where it has none."""
        best = (self.books[instrument.index].best_bid(), self.books[instrument.index].best_ask())
        return tuple(float(text) for level in best if level is not None for text in level)

    def _told_broken(self, at: Instrument, reason: str, from_ns: int, detail: str, was_usable: bool) -> None:
        if was_usable:
            self._pipeline.gap_opened(self._exchange, at.symbol, "book", reason, from_ns, detail)
