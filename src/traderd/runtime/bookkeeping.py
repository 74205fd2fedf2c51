"""The order books of one connection: every message judged, a broken book made whole by the venue's rule.

A book that isn't whole shows nothing. The venue is asked for a snapshot ever more rarely and within its budget; the
link is ended where no book can be made whole.
"""

import asyncio
from collections.abc import Container, Sequence
from typing import Any, Final, Protocol

from traderd.core.book import Book, Verdict
from traderd.core.errors import BadFrameError
from traderd.core.market import BookDelta, BookSnapshot, Instrument
from traderd.runtime.streams import Streams
from traderd.runtime.surroundings import Surroundings
from traderd.venues.dialect import Dialect, Endpoint

_REST_TIMEOUT_S = 10.0
_SNAPSHOT_ATTEMPTS = 20
_SNAPSHOT_DUE_S = 10.0
"""Where the snapshot comes in the stream it is waited for so long."""
_REASONS: Final = {Verdict.GAP: "sequence", Verdict.BAD_CHECKSUM: "checksum"}


class BookReader(Protocol):
    """The connection that carries the books."""

    def broke(self, at: int, reason: str, received_ns: int) -> None:
        """A book that was whole isn't any more."""
        ...

    def flows(self, at: int, received_ns: int) -> None:
        """A book is whole, for the first time or again."""
        ...

    def send(self, frames: Sequence[str]) -> None:
        """Send them at the venue's pace."""
        ...

    def hang_up(self, verdict: str) -> None:
        """Close the link."""
        ...

    def fail(self, mistake: BaseException) -> None:
        """A mistake of ours."""
        ...


class Bookkeeping:
    """Call `take` with each message."""

    def __init__(
        self, dialect: Dialect, endpoint: Endpoint, streams: Streams, world: Surroundings, reader: BookReader
    ) -> None:
        self.books = {each.index: Book() for each in streams.wanted if "book" in streams.channels}
        self._dialect = dialect
        self._endpoint = endpoint
        self._streams = streams
        self._world = world
        self._reader = reader
        self._unwhole = set(self.books)
        self._since_ns = 0
        self._parked: Container[int] = ()
        self._resyncs: dict[int, asyncio.Task[None]] = {}

    def begin(self, now_ns: int) -> None:
        """Everything is subscribed to."""
        self._since_ns = now_ns
        if self.books and self._dialect.book_resync == "rest":
            for instrument in self._streams.wanted:
                self._start_resync(instrument)

    def leave(self) -> None:
        """The link is gone: nothing is shown any more."""
        for task in self._resyncs.values():
            task.cancel()
        self._resyncs.clear()
        for book in self.books.values():
            book.reset()

    @property
    def unwhole(self) -> frozenset[int]:
        """Whose book isn't usable, by instrument."""
        return frozenset(self._unwhole)

    def take(self, at: int, event: BookDelta | BookSnapshot) -> None:
        """One message of the stream `at`."""
        book = self.books[event.instrument.index]
        verdict = book.delta(event) if isinstance(event, BookDelta) else book.snapshot(event)
        self._judge(at, event.instrument, verdict, event.time_received_ns)

    def lose(self, instrument: Instrument, now_ns: int) -> None:
        """This book's stream is gone and is subscribed to anew: once it is back, it brings or needs a snapshot."""
        self.books[instrument.index].reset()
        self._unwhole.add(instrument.index)
        self._since_ns = now_ns

    def renew(self, instrument: Instrument, now_ns: int) -> None:
        """Something is missing in this book: begin it anew."""
        self.lose(instrument, now_ns)
        self._start_resync(instrument)

    def retire(self, instrument: Instrument) -> None:
        """There is no such book any more."""
        if resync := self._resyncs.pop(instrument.index, None):
            resync.cancel()
        self._unwhole.discard(instrument.index)
        if book := self.books.get(instrument.index):
            book.reset()

    def revive(self, instrument: Instrument, now_ns: int) -> None:
        """There is such a book again, and it isn't whole."""
        self.books.setdefault(instrument.index, Book())
        self.lose(instrument, now_ns)

    def look(self, now_ns: int, seen: Container[int], parked: Container[int]) -> None:
        """Now and then: a snapshot that should have come by itself, and didn't, is asked for.

        Not for a stream that says nothing: a book that nobody keeps up to date isn't whole for long.
        """
        self._parked = parked
        if not self._unwhole or now_ns - self._since_ns < _SNAPSHOT_DUE_S * 1e9:
            return
        self._since_ns = now_ns
        for instrument in self._streams.wanted:
            if instrument.index in self._unwhole and self._place(instrument) in seen:
                self._start_resync(instrument)

    def _judge(self, at: int, instrument: Instrument, verdict: Verdict, received_ns: int) -> None:
        """Heed what became of a message: a broken book is resynchronised, a whole one is told once."""
        if verdict.needs_snapshot:
            self._world.observer.resync(self._dialect.exchange, instrument.symbol, verdict.value)
            if instrument.index not in self._unwhole:
                self._unwhole.add(instrument.index)
                self._since_ns = received_ns
                self._reader.broke(at, _REASONS.get(verdict, verdict.value), received_ns)
            self._start_resync(instrument)
        elif verdict is Verdict.BUFFERED:
            self._start_resync(instrument)
        elif verdict is Verdict.APPLIED and instrument.index in self._unwhole:
            self._unwhole.discard(instrument.index)
            self._reader.flows(at, received_ns)

    def _start_resync(self, instrument: Instrument) -> None:
        """One resync at a time for each instrument."""
        running = self._resyncs.get(instrument.index)
        if running is None or running.done():
            task = asyncio.create_task(self._resync(instrument))
            task.add_done_callback(self._heed)
            self._resyncs[instrument.index] = task

    async def _resync(self, instrument: Instrument) -> None:
        book, uniform = self.books[instrument.index], self._world.uniform
        for attempt in range(_SNAPSHOT_ATTEMPTS):
            await asyncio.sleep(uniform() * 0.2 if attempt == 0 else min(30.0, 1.0 * 1.5**attempt))
            if book.usable or self._place(instrument) in self._parked:
                return
            if self._dialect.book_resync == "resubscribe":
                self._reader.send(self._dialect.resubscribe_frames(instrument, "book"))
            else:
                await self._fetch_snapshot(instrument)
            if book.usable:
                return
        verdict = f"the book of {instrument.symbol} can't be made whole"
        if len(self._unwhole) == len(self.books):
            self._reader.hang_up(verdict)
        else:  # it isn't the link's fault, and the others must not pay for it
            self._world.observer.refused(self._dialect.exchange, "book", instrument.symbol, verdict)

    async def _fetch_snapshot(self, instrument: Instrument) -> None:
        url, admission = self._dialect.snapshot_url(self._endpoint, instrument), self._world.admission
        await admission.ask()
        try:
            body = await self._world.rest.get(url, _REST_TIMEOUT_S)
            received_ns = self._world.clock.time_ns()
            if self._world.tape is not None:
                self._world.tape.answered(received_ns, url, body)
            snapshot = self._dialect.decode_snapshot(body, instrument, received_ns)
        except (ConnectionError, BadFrameError) as error:
            admission.refused(error)
            self._world.observer.refused(self._dialect.exchange, "book", instrument.symbol, str(error))
            return
        verdict = self.books[instrument.index].snapshot(snapshot)
        if verdict is Verdict.APPLIED:
            self._judge(self._place(instrument), instrument, verdict, received_ns)

    def _place(self, instrument: Instrument) -> int:
        return self._streams.slots[BookSnapshot][instrument.index]

    def _heed(self, task: asyncio.Task[Any]) -> None:
        """A mistake in it is nothing to go on with half alive."""
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._reader.fail(mistake)
