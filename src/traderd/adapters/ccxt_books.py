"""The order books that ccxt keeps for one venue, as our own: whole or not there at all, and cut to the depth wanted.

ccxt says neither what it lost nor what it left out, so nothing vouches for these books but that they aren't crossed
and aren't old; no number and no checksum is claimed. Refuses to show a book whose stream is broken.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from traderd.adapters.ccxt_client import CcxtClient
from traderd.core.book import Book, Verdict
from traderd.core.market import BookSnapshot, Instrument
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock
from traderd.venues.ccxt_words import book_from

_QUIET_S = 30.0
"""A book may say nothing for so long before it is asked for by REST."""


class CcxtBooks:
    """By instrument; each exists from when it is listened to, and is usable from its first snapshot."""

    def __init__(
        self,
        client: CcxtClient,
        exchange: str,
        depth: int,
        pipeline: Pipeline,
        clock: Clock,
        ask: Callable[..., Awaitable[Any]],
    ) -> None:
        """`depth` is how many levels a side are kept; `ask` calls one of ccxt's methods."""
        self.books: dict[int, Book] = {}
        """By the instrument's index."""
        self._client = client
        self._clock = clock
        self._ask = ask
        self._exchange = exchange
        self._depth = depth
        self._pipeline = pipeline
        self._heard_ns: dict[int, int] = {}
        self._kept_by_ccxt: dict[int, tuple[Instrument, Any]] = {}

    def begin(self, instrument: Instrument) -> None:
        """The venue trades it, perhaps again."""
        self.books[instrument.index] = Book()

    def leave(self, instrument: Instrument) -> None:
        """The venue trades it no more."""
        self.books[instrument.index].reset()
        self._kept_by_ccxt.pop(instrument.index, None)
        self._heard_ns.pop(instrument.index, None)

    def keeper(self, instrument: Instrument) -> Callable[[], Awaitable[bool]]:
        """A step, never the last: a book that falls silent is asked for by REST; if that tells another one, ccxt's
        subscription is dead.
        """

        async def step() -> bool:
            await asyncio.sleep(_QUIET_S / 3)
            silent = self.silent_s(instrument, self._clock.time_ns()) >= _QUIET_S
            if silent and not self._client.can("fetchOrderBook"):
                self.lose(instrument, "stale", self._clock.time_ns(), "silent, and the venue has no REST books")
            elif silent:
                before = self.touch(instrument)
                answer = await self._ask("fetch_order_book", instrument.symbol)
                self.take(instrument, answer, self._clock.time_ns())
                if before and before != self.touch(instrument):
                    await self._client.close()
            return False

        return step

    def take(self, instrument: Instrument, told: Any, now_ns: int) -> None:
        """What ccxt has of it now; it may go on changing what it told. Raises BadFrameError."""
        self._begin_anew(book_from(told, instrument, now_ns, self._depth))
        self._kept_by_ccxt[instrument.index] = instrument, told

    def follow(self, now_ns: int) -> None:
        """A change that comes between two of ccxt's `watch` calls isn't told, but is in what ccxt keeps.

        Raises BadFrameError.
        """
        for index, (instrument, kept) in list(self._kept_by_ccxt.items()):
            snapshot, book = book_from(kept, instrument, now_ns, self._depth), self.books[index]
            if book.usable and (snapshot.bids, snapshot.asks) != (book.bids(), book.asks()):
                self._begin_anew(snapshot)

    def _begin_anew(self, snapshot: BookSnapshot) -> None:
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
        self._kept_by_ccxt.pop(instrument.index, None)
        self._told_broken(instrument, reason, self._heard_ns.get(instrument.index, now_ns), detail, was_usable)

    def lose_all(self) -> None:
        """The link is gone, and that is a gap already."""
        self._kept_by_ccxt.clear()
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
