"""One venue's connection, owned from connect to close and then again: subscribe, watch, resync, come back.

Every interruption opens a gap and the first event after it closes it. A link that is silent for too long is taken for
dead, whatever TCP says. A book that breaks is resynchronised by the venue's rule; meanwhile nobody sees it.
Ends only by being cancelled, or by a mistake of our own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from traderd.core.backoff import Backoff
from traderd.core.book import Book, Verdict
from traderd.core.errors import BadFrameError
from traderd.core.market import Ack, BookDelta, BookSnapshot, Instrument, Quote, Trade, VenueEvent
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.ports import Clock, Connector, Link, Rest
from traderd.venues.dialect import Channel, Dialect, Endpoint

_CONNECT_TIMEOUT_S = 10.0
_REST_TIMEOUT_S = 10.0
_WATCH_S = 0.5
_SNAPSHOT_ATTEMPTS = 20
_CONNECTION = "ws1"
_TICKS = frozenset({Quote, Trade})
_MARKET = frozenset({Quote, Trade, BookSnapshot, BookDelta})


class SessionObserver(Protocol):
    """Who is told about the link: metrics and log."""

    def connected(self, exchange: str) -> None: ...

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None: ...

    def bad_frame(self, exchange: str, reason: str, frame: bytes) -> None: ...

    def refused(self, exchange: str, channel: str, symbol: str, reason: str) -> None: ...

    def resync(self, exchange: str, symbol: str, verdict: str) -> None: ...


class Tape(Protocol):
    """A recording of all traffic."""

    def frame(self, received_ns: int, connection: str, frame: bytes) -> None: ...

    def connected(self, received_ns: int, connection: str, url: str) -> None: ...

    def sent(self, received_ns: int, connection: str, frame: str) -> None: ...

    def answered(self, received_ns: int, url: str, body: bytes) -> None: ...


class Session:
    """One venue's streams over one websocket."""

    def __init__(
        self,
        dialect: Dialect,
        endpoint: Endpoint,
        channels: Sequence[Channel],
        instruments: Sequence[Instrument],
        stream: Stream,
        pipeline: Pipeline,
        connector: Connector,
        rest: Rest,
        clock: Clock,
        backoff: Backoff,
        uniform: Callable[[], float],
        observer: SessionObserver,
        tape: Tape | None = None,
    ) -> None:
        """`tape` is given all traffic as it came (`run --record`)."""
        self._dialect = dialect
        self._endpoint = endpoint
        self._channels = channels
        self._instruments = instruments
        self._stream = stream
        self._pipeline = pipeline
        self._connector = connector
        self._rest = rest
        self._clock = clock
        self._backoff = backoff
        self._uniform = uniform
        self._observer = observer
        self._tape = tape
        self._exchange = stream.exchange
        self._link: Link | None = None
        self._resyncs: dict[int, asyncio.Task[None]] = {}
        self._last_frame_ns = 0
        self._whole = False
        self._verdict = ""  # why we closed the link, if it was us
        self._mistake: BaseException | None = None
        self._next_delay_s = 0.0
        self._broken: dict[int, str] = {}
        self.books: dict[int, Book] = {}
        self.live = False

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                started = self._clock.monotonic_ns()
                try:
                    reason = await self._once()
                except ConnectionError as error:
                    reason = str(error)
                self._lost(reason, (self._clock.monotonic_ns() - started) / 1e9)
                await asyncio.sleep(self._next_delay_s)
        finally:
            self._leave()

    async def _once(self) -> str:
        """One connection, from its opening to its end; returns why it ended."""
        url = self._dialect.websocket_url(self._endpoint, self._instruments, self._channels)
        if self._tape is not None:
            self._tape.connected(self._clock.time_ns(), _CONNECTION, url)
        self._whole = False
        self._verdict = ""
        self._link = link = await self._connector.connect(url, self._on_frame, _CONNECT_TIMEOUT_S)
        self._last_frame_ns = self._clock.time_ns()
        for frame in self._dialect.subscribe_frames(self._instruments, self._channels):
            self._send(link, frame)
        if "book" in self._channels:
            for instrument in self._instruments:
                self.books[instrument.index] = Book()
                if self._dialect.book_resync == "rest":
                    self._start_resync(instrument)
        self.live = True
        self._observer.connected(self._exchange)
        watch = self._spawn(self._watch(link))
        try:
            reason = await link.wait_closed()
        finally:
            watch.cancel()
        if self._mistake is not None:
            raise self._mistake
        return self._verdict or reason

    async def _watch(self, link: Link) -> None:
        """Send heartbeats; close a link from which nothing comes."""
        beat = self._dialect.heartbeat
        sent = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(_WATCH_S)
            if beat.frame and self._clock.monotonic_ns() - sent > beat.interval_s * 1e9:
                sent = self._clock.monotonic_ns()
                self._send(link, beat.frame)
            silence_s = (self._clock.time_ns() - self._last_frame_ns) / 1e9
            if silence_s > beat.silence_max_s:
                self._hang_up(link, f"silent for {silence_s:.1f} s")
                return

    def _on_frame(self, frame: bytes, received_ns: int) -> None:
        """The hot path: one frame into events, events into the pipeline."""
        self._last_frame_ns = received_ns
        if self._tape is not None:
            self._tape.frame(received_ns, _CONNECTION, frame)
        try:
            events = self._dialect.decode(frame, received_ns)
        except BadFrameError as error:
            self._observer.bad_frame(self._exchange, error.reason, frame)
            self._stream.on_bad_frame("", error.reason, frame, received_ns)
            return
        if not self._whole and any(type(event) in _MARKET for event in events):
            self._heal(received_ns)
        if events and type(events[0]) in _TICKS:
            self._stream.on_events(events)
        else:
            for event in events:
                self._on_link_event(event)

    def _on_link_event(self, event: VenueEvent) -> None:
        """Books and acknowledgements: the session's own business."""
        if isinstance(event, BookDelta):
            self._judge(event.instrument, self._book(event.instrument).delta(event), event.time_received_ns)
        elif isinstance(event, BookSnapshot):
            self._judge(event.instrument, self._book(event.instrument).snapshot(event), event.time_received_ns)
        elif isinstance(event, Ack) and not event.accepted:
            self._observer.refused(self._exchange, event.channel, event.symbol, event.reason)

    def _book(self, instrument: Instrument) -> Book:
        return self.books.setdefault(instrument.index, Book())

    def _judge(self, instrument: Instrument, verdict: Verdict, received_ns: int) -> None:
        """Heed what became of a book message: a broken book is resynchronised, a whole one closes its gap."""
        if verdict.needs_snapshot:
            self._observer.resync(self._exchange, instrument.symbol, verdict.value)
            if verdict is not Verdict.OLD_SNAPSHOT and instrument.index not in self._broken:
                self._pipeline.gap_opened(self._exchange, instrument.symbol, "book", verdict.value, received_ns)
                self._broken[instrument.index] = verdict.value
            self._start_resync(instrument)
        elif verdict is Verdict.APPLIED and instrument.index in self._broken:
            reason = self._broken.pop(instrument.index)
            self._pipeline.gap_closed(self._exchange, instrument.symbol, "book", reason, received_ns)

    def _start_resync(self, instrument: Instrument) -> None:
        """One resync at a time for each instrument."""
        running = self._resyncs.get(instrument.index)
        if running is None or running.done():
            self._resyncs[instrument.index] = self._spawn(self._resync(instrument))

    async def _resync(self, instrument: Instrument) -> None:
        """Ask for a snapshot until the book is usable; the venue is never asked more than once a second."""
        book = self._book(instrument)
        for attempt in range(_SNAPSHOT_ATTEMPTS):
            await asyncio.sleep(self._uniform() * 0.2 if attempt == 0 else min(30.0, 1.0 * 1.5**attempt))
            if book.usable or self._link is None:
                return
            if self._dialect.book_resync == "resubscribe":
                for frame in self._dialect.resubscribe_frames(instrument, "book"):
                    self._send(self._link, frame)
            else:
                await self._fetch_snapshot(instrument)
            if book.usable:
                return
        if self._link is not None:
            self._hang_up(self._link, f"the book of {instrument.symbol} can't be made whole")

    async def _fetch_snapshot(self, instrument: Instrument) -> None:
        url = self._dialect.snapshot_url(self._endpoint, instrument)
        try:
            body = await self._rest.get(url, _REST_TIMEOUT_S)
            received_ns = self._clock.time_ns()
            if self._tape is not None:
                self._tape.answered(received_ns, url, body)
            snapshot = self._dialect.decode_snapshot(body, instrument, received_ns)
        except (ConnectionError, BadFrameError) as error:
            self._observer.refused(self._exchange, "book", instrument.symbol, str(error))
            return
        verdict = self._book(instrument).snapshot(snapshot)
        if verdict is Verdict.APPLIED:
            self._judge(instrument, verdict, received_ns)

    def _heal(self, received_ns: int) -> None:
        """Data flows again: close what the interruption opened."""
        self._whole = True
        self._pipeline.healed(self._exchange, received_ns)

    def _lost(self, reason: str, lived_s: float) -> None:
        """The link is gone: say so, open the gap, and know when to come back."""
        if self.live:
            self._pipeline.gap_opened(self._exchange, "", "", "disconnect", self._last_frame_ns, reason)
        self._backoff.healthy(lived_s if self._whole else 0.0)
        self._next_delay_s = self._backoff.delay(self._uniform())
        self._observer.disconnected(self._exchange, reason, self._next_delay_s)
        self._leave()

    def _leave(self) -> None:
        for task in self._resyncs.values():
            task.cancel()
        self._resyncs.clear()
        for book in self.books.values():
            book.reset()
        self.live = False
        if self._link is not None:
            self._link.close()
            self._link = None

    def _hang_up(self, link: Link, verdict: str) -> None:
        self._verdict = verdict
        link.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task beside the link. A mistake in it ends the session: nothing goes on half alive."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._heed)
        return task

    def _heed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._mistake = mistake
            if self._link is not None:
                self._link.close()

    def _send(self, link: Link, frame: str) -> None:
        if self._tape is not None:
            self._tape.sent(self._clock.time_ns(), _CONNECTION, frame)
        link.send(frame)
