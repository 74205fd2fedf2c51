"""From a journal to the database, for as long as the process lives: read behind the cursor, store, release.

The journal is the only source, after a crash as in every second of an ordinary day. When the database can't be
reached or an outcome isn't known, the cursor is read again and work goes on from there; nothing is ever stored
twice or skipped. A transaction takes what there is, up to `bytes_max`: little where little comes, much under load.
After one that didn't end well it is half as much, until it fits into the time-out of a slow database or line, and then
more again. Nobody who appends to the journal waits for any of it. Refuses a database that isn't this journal's: then
everything waits, and the operator is told why.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from traderd.core.backoff import Backoff
from traderd.core.errors import ForeignJournalError, StoreUnavailableError
from traderd.runtime.ports import Clock, JournalRecord, RecordStore

_BYTES_MIN = 16 * 1024
"""A transaction that takes no more than this isn't made smaller."""

_GATHER_S = 0.005
"""A good part of a flush's rows; and an order whose intent was just written has left by then."""


class DrainableJournal(Protocol):
    """What a drain needs of a journal."""

    @property
    def journal_id(self) -> str: ...

    @property
    def position(self) -> int: ...

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]: ...

    def release(self, upto: int) -> None: ...

    def expect_cursor(self, cursor: int) -> None: ...


class DrainObserver(Protocol):
    """Who is told: the metrics and the log."""

    def stored(self, records: Sequence[JournalRecord], seconds: float, refused: int) -> None:
        """Records are in the database."""
        ...

    def unavailable(self, reason: str) -> None:
        """The database could not take them now."""
        ...

    def available(self) -> None:
        """The database answers again."""
        ...

    def estranged(self, reason: str) -> None:
        """Journal and database don't belong together: everything waits for an operator."""
        ...


class Drain:
    """One journal's way into the database."""

    def __init__(
        self,
        journal: DrainableJournal,
        store: RecordStore,
        bytes_max: int,
        backoff: Backoff,
        uniform: Callable[[], float],
        clock: Clock,
        observer: DrainObserver,
        gather_s: float = _GATHER_S,
    ) -> None:
        """Once there is something, what comes within `gather_s` goes along."""
        self._journal = journal
        self._store = store
        self._bytes_max = self._bytes = bytes_max
        self._backoff = backoff
        self._uniform = uniform
        self._clock = clock
        self._observer = observer
        self._gather_s = gather_s
        self._cursor = -1
        self._in_doubt: list[JournalRecord] = []
        self._moved_ns = self._behind_since_ns = clock.monotonic_ns()
        self._oldest_ns = 0
        self.foreign = ""
        """Why journal and database don't belong together; "" where they do, as far as is known."""
        self._more = asyncio.Event()
        self._empty = asyncio.Event()

    def wake(self) -> None:
        """Something was journalled."""
        self._more.set()

    @property
    def cursor(self) -> int:
        """How far the database is, as far as is known now; -1 while it isn't."""
        return self._cursor

    @property
    def journal_id(self) -> str:
        """Names the journal in the database."""
        return self._journal.journal_id

    @property
    def behind_s(self) -> float:
        """For how long the journal has had something that the database hasn't; 0.0 when it was last seen empty."""
        return (self._clock.monotonic_ns() - self._behind_since_ns) / 1e9 if self._behind_since_ns else 0.0

    @property
    def oldest_ns(self) -> int:
        """Time of the oldest row of the records that are being stored; 0 where it isn't known."""
        return self._oldest_ns

    @property
    def caught_up(self) -> bool:
        """Whether the database has all that the journal has."""
        return self._cursor >= self._journal.position

    @property
    def stalled_s(self) -> float:
        """For how long the database has taken nothing although there was something to take."""
        return 0.0 if self.caught_up else (self._clock.monotonic_ns() - self._moved_ns) / 1e9

    async def wait_caught_up(self) -> None:
        """Wait until the database has all that the journal has now."""
        target = self._journal.position
        while self._cursor < target:
            self._empty.clear()
            self.wake()
            await self._empty.wait()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._open()
                await self._follow()
            except StoreUnavailableError as error:
                if self._in_doubt:
                    self._bytes = max(min(_BYTES_MIN, self._bytes_max), self._bytes // 2)
                self._observer.unavailable(str(error))
            except ForeignJournalError as error:
                self.foreign = str(error)
                self._observer.estranged(self.foreign)
            self._cursor = -1
            self._behind_since_ns = self._behind_since_ns or self._clock.monotonic_ns()
            await asyncio.sleep(self._backoff.delay(self._uniform()))

    async def _open(self) -> None:
        cursor = await self._store.cursor(self._journal.journal_id)
        self._journal.expect_cursor(cursor)
        self.foreign = ""
        self._journal.release(cursor)
        self._cursor = cursor
        if self._in_doubt and self._in_doubt[-1].position <= cursor:
            # The commit arrived, its confirmation didn't.
            self._observer.stored(self._in_doubt, 0.0, self._store.refused_in_doubt)
        self._in_doubt = []
        self._observer.available()

    async def _follow(self) -> None:
        since = self._clock.monotonic_ns()
        while True:
            self._more.clear()
            records = self._journal.read(self._cursor, self._bytes)
            if not records:
                self._cursor = max(self._cursor, self._journal.position)
                self._empty.set()
                self._behind_since_ns = self._oldest_ns = 0
                await self._more.wait()
                await asyncio.sleep(self._gather_s)
                self._moved_ns = self._clock.monotonic_ns()
                continue
            self._in_doubt = records
            started = self._clock.monotonic_ns()
            self._behind_since_ns = self._behind_since_ns or started
            self._oldest_ns = min(record.first_ns for record in records)
            refused = await self._store.store(self._journal.journal_id, records)
            ended = self._moved_ns = self._clock.monotonic_ns()
            self._in_doubt = []
            self._bytes = min(2 * self._bytes, self._bytes_max)
            self._cursor = records[-1].position
            self._journal.release(self._cursor)
            self._observer.stored(records, (ended - started) / 1e9, refused)
            self._backoff.healthy((ended - since) / 1e9)
