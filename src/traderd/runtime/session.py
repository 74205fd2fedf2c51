"""One group of streams of one venue, kept flowing: connect, watch, repair, come back, and change links unnoticed.

Every interruption opens a gap for each stream that it concerns, from the last good message to the first good one. Links
are found dead by the age of their data, whatever TCP and pings say; a single silent stream is asked for again, and no
other notices. Before a venue would cut an old link a second one is up and brings everything, and only then the first
is closed. Ends only by being cancelled, or by a mistake of our own.
"""

import asyncio
from array import array
from collections.abc import Callable, Sequence

from traderd.core.backoff import Backoff
from traderd.core.book import Book
from traderd.core.illegible import Illegible
from traderd.core.market import Instrument, VenueEvent
from traderd.core.splice import Splice
from traderd.core.staleness import Habits
from traderd.core.subscriptions import Census
from traderd.runtime.connection import Connection
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.streams import Streams
from traderd.runtime.surroundings import Surroundings
from traderd.venues.dialect import Dialect, Endpoint

_WATCH_S = 0.5
_STALL_FLOOR_S = 2.5
_FIRST_DATA_S = 5.0
_PATIENCES = 24.0
"""A link that never said anything is left after so many patiences of its liveliest stream, known habits or not."""
_JUMP_S = 1.0
"""A look so late, or a wall clock so far off, says that we slept: then nothing is judged for a while."""
_OVERLAP_S = 0.5
_OVERLAP_S_MAX = 30.0
_ECHO_S = 3.0
"""For so long after a change of links the new one may still bring what the old one brought before."""
_AGAIN_S = 60.0
_TOGETHER_NS = 1_000_000_000
_NOT_OURS = frozenset({"unknown_symbol", "unknown_channel", "refused"})
"""Frames that could be read, and have nothing that was asked for."""


class Session:
    """The owner of one connection, and for a moment of two."""

    def __init__(
        self,
        name: str,
        speak: Callable[[], Dialect],
        endpoint: Endpoint,
        streams: Streams,
        stream: Stream,
        pipeline: Pipeline,
        backoff: Backoff,
        world: Surroundings,
        connection_age_max_s: float = 0.0,
    ) -> None:
        """`speak` gives a fresh dialect for each connection; `connection_age_max_s` is beside the venue's own limit."""
        self._name = name
        self._speak = speak
        self._endpoint = endpoint
        self._streams = streams
        self._stream = stream
        self._pipeline = pipeline
        self._backoff = backoff
        self._world = world
        self._clock = world.clock
        self._observer = world.observer
        self._exchange = stream.exchange
        self._age_max_s = connection_age_max_s
        self._habits = Habits(streams.floors_s)
        self._link_habit = Habits([_STALL_FLOOR_S])
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._current: Connection | None = None
        self._next: Connection | None = None
        self._splice: Splice | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._links = 0
        self._whole = False
        self._judging_from_ns = 0
        self._looked_ns = (0, 0)
        self._open_gaps: set[int] = set()
        self._illegible = Illegible()
        self.renewals = 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                await self._world.admission.connect()
                started = self._clock.monotonic_ns()
                try:
                    reason = await self._once()
                except ConnectionError as error:
                    reason = str(error)
                    self._world.admission.refused(error)
                await asyncio.sleep(self._lost(reason, (self._clock.monotonic_ns() - started) / 1e9))
        finally:
            self._leave()

    def retire(self, instrument: Instrument) -> None:
        """The venue trades it no more; a link that nothing is left to hear on is given up."""
        places = self._streams.retire(instrument)
        self._open_gaps.difference_update(places)
        self._illegible.streams.difference_update(places)
        for connection in (self._current, self._next):
            if places and connection is not None and connection.opened_ns:
                connection.retire(instrument, places)
        if not self._streams.wanted:
            self._wanted.clear()
            if self._current is not None:
                self._current.hang_up("all that it carried is delisted")

    def revive(self, instrument: Instrument) -> None:
        """The venue trades it again."""
        places = self._streams.revive(instrument)
        for connection in (self._current, self._next):
            if places and connection is not None and connection.opened_ns:
                connection.revive(instrument, places, self._clock.time_ns())
        if places:
            self._wanted.set()

    @property
    def live(self) -> bool:
        """Whether a link is up, if there is anything to hear."""
        return not self._wanted.is_set() or (self._current is not None and self._current.opened_ns > 0)

    @property
    def books(self) -> dict[int, Book]:
        """The books of the link in use, by instrument."""
        return self._current.books if self._current else {}

    @property
    def census(self) -> Census:
        """How far the streams are."""
        if self._current is None or not self._current.opened_ns:
            return Census(len(self._streams), 0, 0, 0)
        return self._current.subscriptions.census

    def flows(self, connection: Connection, at: int, received_ns: int) -> None:
        """See Desk. What a second link brings while the first is whole is no news."""
        if connection is not self._current:
            return
        if not self._whole:
            self._whole = True
            self._pipeline.healed(self._exchange, received_ns)
        self._close(at, received_ns)

    def broke(self, connection: Connection, at: int, reason: str, from_ns: int) -> None:
        """See Desk."""
        if connection is self._current:
            self._open(at, reason, from_ns)

    def missed(self, connection: Connection, at: int, from_ns: int, to_ns: int) -> None:
        """See Desk. A gap that is open already goes on until what opened it is over."""
        if connection is self._current and at not in self._open_gaps:
            self._open(at, "sequence", from_ns)
            self._close(at, to_ns)

    def bad_frame(self, reason: str, frame: bytes, received_ns: int) -> None:
        """See Desk."""
        self._observer.bad_frame(self._exchange, reason, frame)
        self._stream.on_bad_frame("", reason, frame, received_ns)
        if reason not in _NOT_OURS and self._current is not None:
            self._miss_trades(self._current, reason, received_ns)

    async def _once(self) -> str:
        """From one opening to the end of what it led to; returns why it ended."""
        self._whole = False
        current = self._connection()
        current.deliver = self._stream.on_events
        self._current = current
        self._link_habit.interrupted([0])
        self._habits.interrupted(range(len(self._streams)))
        try:
            await current.open()
        except ConnectionError:
            self._current = None
            raise
        self._observer.connected(self._exchange)
        watch = asyncio.create_task(self._watch())
        try:
            while True:
                connection = self._current
                reason = await connection.wait_closed()
                if watch.done():
                    watch.result()
                if connection is self._current and not self._taken_over():
                    return reason
        finally:
            watch.cancel()

    def _connection(self) -> Connection:
        self._links += 1
        name = f"{self._name}-{self._links}" if self._links > 1 else self._name
        dialect = self._speak()
        dialect.bind(self._streams.instruments)
        return Connection(name, dialect, self._endpoint, self._streams, self, self._world)

    async def _watch(self) -> None:
        """Look now and then. A mistake here ends the link, and with it the session."""
        due_ns = self._renewal_due_ns()
        try:
            while self._current is not None:
                await asyncio.sleep(_WATCH_S)
                now_ns, monotonic_ns = self._clock.time_ns(), self._clock.monotonic_ns()
                for connection in (self._current, self._next):
                    if connection is not None and connection.opened_ns:
                        connection.look(now_ns)
                self._end_illegible(self._current, now_ns)
                if self._awake(now_ns, monotonic_ns):
                    self._look(self._current, now_ns)
                if due_ns and monotonic_ns > due_ns:
                    self._renewal = asyncio.create_task(self._renew())
                    due_ns = 0
                elif self._renewal is not None and self._renewal.done():
                    self._renewal.result()
                    self._renewal = None
                    due_ns = self._renewal_due_ns()
        except Exception as mistake:
            if self._current is not None:
                self._current.mistake = mistake
                self._current.hang_up("a mistake of ours")

    def _awake(self, now_ns: int, monotonic_ns: int) -> bool:
        """Whether ages can be believed: neither we slept nor did the wall clock jump."""
        before_ns, before_monotonic_ns = self._looked_ns
        self._looked_ns = (now_ns, monotonic_ns)
        passed_ns = monotonic_ns - before_monotonic_ns
        jumped_ns = abs(now_ns - before_ns - passed_ns)
        if before_ns and (passed_ns > (_WATCH_S + _JUMP_S) * 1e9 or jumped_ns > _JUMP_S * 1e9):
            self._judging_from_ns = monotonic_ns + int(_JUMP_S * 1e9)
        return monotonic_ns >= self._judging_from_ns

    def _look(self, current: Connection, now_ns: int) -> None:
        """Hang up a link without data; repair single streams."""
        heard_ns = current.heard_ns
        newest_ns = max(heard_ns)
        stalled = self._link_habit.look(now_ns, array("q", [newest_ns]))
        if stalled or (not newest_ns and now_ns - current.opened_ns > self._first_data_ns(current)):
            age_s = (now_ns - (newest_ns or current.opened_ns)) / 1e9
            current.hang_up(f"no data for {age_s:.1f} s")
            return
        if silent := self._habits.look(now_ns, heard_ns):
            lost = sorted({each for at in silent for each in self._silent_with(at, heard_ns)})
            self._habits.interrupted(lost)
            for at in lost:
                self._open(at, "stale", heard_ns[at])
            current.lose(lost, now_ns)

    def _first_data_ns(self, current: Connection) -> float:
        """How long a new link may be without any."""
        usual_ns = max(self._link_habit.limit_ns(0), int(_FIRST_DATA_S * 1e9))
        return min(usual_ns, current.subscriptions.patience_s * _PATIENCES * 1e9)

    def _miss_trades(self, current: Connection, reason: str, received_ns: int) -> None:
        """Whose the frame was nobody can tell; books notice what they miss, quotes are replaced by the next."""
        if not self._illegible.begins(received_ns):
            return
        for at, (_, channel) in enumerate(self._streams.of):
            if channel == "trade" and current.heard_ns[at] and at not in self._open_gaps:
                self._illegible.streams.add(at)
                self._open(at, "sequence", current.heard_ns[at], f"a frame couldn't be read: {reason}")

    def _end_illegible(self, current: Connection, now_ns: int) -> None:
        """Where the stream flows; where it fell silent meanwhile its gap goes on until it flows."""
        for at in self._illegible.ended(now_ns):
            if at in self._open_gaps and current.heard_ns[at]:
                self._close(at, now_ns)

    def _silent_with(self, at: int, heard_ns: Sequence[int]) -> list[int]:
        """This stream, and those of the same symbol that say nothing for as long."""
        since_ns = heard_ns[at] + _TOGETHER_NS
        return [each for each in self._streams.siblings(at) if 0 < heard_ns[each] <= since_ns]

    def _renewal_due_ns(self) -> int:
        """When a younger link should be made ready: some way before the venue would cut; 0 for never."""
        ages = [age for age in (self._speak().limits.connection_age_s, self._age_max_s) if age > 0]
        if not ages:
            return 0
        share = 0.85 + 0.1 * self._world.uniform()
        return self._clock.monotonic_ns() + int(min(ages) * share * 1e9)

    async def _renew(self) -> None:
        """Make before break: a second link, until it brings all that the first does; then it takes over."""
        await self._world.admission.connect()
        first, second = self._current, self._connection()
        if first is None:
            return
        self._splice = Splice()
        first.deliver = second.deliver = self._merge
        self._next = second
        try:
            await second.open()
            await self._until_it_brings_all(first, second)
        except (ConnectionError, TimeoutError) as error:
            self._world.admission.refused(error)
            self._observer.disconnected(self._exchange, f"renewal: {error or 'no end of the overlap'}", _AGAIN_S)
            self._next = None
            second.leave()
        if self._current is first and self._next is second:
            self._take_over()
            first.hang_up("renewed")
            first.leave()
        await asyncio.sleep(_ECHO_S)
        self._next = self._splice = None
        if self._current is not None:
            self._current.deliver = self._stream.on_events

    async def _until_it_brings_all(self, first: Connection, second: Connection) -> None:
        ended = asyncio.create_task(second.wait_closed())
        try:
            async with asyncio.timeout(_OVERLAP_S_MAX):
                while self._current is first and not self._brings_all(first, second):
                    await asyncio.wait([ended], timeout=_WATCH_S / 5)
                    if ended.done():
                        raise ConnectionError(ended.result())
                await asyncio.sleep(_OVERLAP_S)
        finally:
            ended.cancel()

    def _brings_all(self, first: Connection, second: Connection) -> bool:
        """Every stream that was heard on the first since the second is up was heard on the second too."""
        if not second.bookkeeping.unwhole <= first.bookkeeping.unwhole:
            return False
        since_ns = second.opened_ns + int(_OVERLAP_S * 1e9)
        pairs = zip(first.heard_ns[:-1], second.heard_ns[:-1], strict=True)
        told = self._clock.time_ns() > since_ns
        return told and all(theirs > 0 or ours < second.opened_ns for ours, theirs in pairs)

    def _merge(self, events: Sequence[VenueEvent]) -> None:
        if self._splice is None:
            self._stream.on_events(events)
        elif new := self._splice.new(events):
            self._stream.on_events(new)

    def _take_over(self) -> None:
        """The second link becomes the one. What it hasn't brought yet was silent on the first one too."""
        first, second = self._current, self._next
        assert first is not None and second is not None
        for at, ours in enumerate(first.heard_ns[:-1]):
            if at in self._open_gaps and second.brings(at):
                self._close(at, second.heard_ns[at])
            elif ours and not second.heard_ns[at]:
                second.heard_ns[at] = ours
                second.subscriptions.see(at)
        self._current, self._next = second, None
        self.renewals += 1
        self._observer.connected(self._exchange)

    def _taken_over(self) -> bool:
        """The first link ended by itself while a second was coming up: whether that one can go on."""
        first, second = self._current, self._next
        if first is None or second is None or not second.opened_ns or second.bookkeeping.unwhole:
            return False
        for at, ours in enumerate(first.heard_ns[:-1]):
            if ours and not second.heard_ns[at]:
                self._open(at, "disconnect", ours)
        self._current, self._next = second, None
        first.leave()
        return True

    def _lost(self, reason: str, lived_s: float) -> float:
        """The link is gone: say so, open the gaps; returns when to come back, in seconds."""
        current = self._current
        if current is not None and current.opened_ns:
            acknowledged = current.subscriptions.acknowledged
            for at, heard_ns in enumerate(current.heard_ns[:-1]):
                if heard_ns or at in acknowledged:  # one that had nothing to say was whole as long as the link was
                    self._open(at, "disconnect", heard_ns or current.last_frame_ns, reason)
        self._backoff.healthy(lived_s if self._whole else 0.0)
        delay_s = max(self._backoff.delay(self._world.uniform()), self._world.admission.banned_s)
        self._observer.disconnected(self._exchange, reason, delay_s)
        self._leave()
        return delay_s

    def _open(self, at: int, reason: str, from_ns: int, detail: str = "") -> None:
        """A gap, unless this stream has one open: that one goes on."""
        if at in self._open_gaps:
            return
        self._open_gaps.add(at)
        instrument, channel = self._streams.of[at]
        self._pipeline.gap_opened(self._exchange, instrument.symbol, channel, reason, from_ns, detail)

    def _close(self, at: int, to_ns: int) -> None:
        """The stream is whole: that ends this run's gap and what an earlier run left open."""
        self._open_gaps.discard(at)
        instrument, channel = self._streams.of[at]
        self._pipeline.whole(self._exchange, instrument.symbol, channel, to_ns)

    def _leave(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        for connection in (self._current, self._next):
            if connection is not None:
                connection.leave()
        self._current = self._next = self._splice = None
