"""The drain against a database that fails in every way a database can: each record ends stored once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from traderd.adapters.clock import SystemClock
from traderd.adapters.journal import FileJournal
from traderd.core.backoff import Backoff
from traderd.core.errors import StoreUnavailableError
from traderd.runtime.drain import Drain
from traderd.runtime.ports import JournalRecord


class TreacherousStore:
    """Keeps rows and cursor as one, as a transaction does; says so only sometimes."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.position = 0
        self.stored: list[bytes] = []
        self.refused_in_doubt = 0

    async def cursor(self, journal_id: str) -> int:
        await asyncio.sleep(0)
        if self.random.random() < 0.2:
            raise StoreUnavailableError("refused")
        return self.position

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        await asyncio.sleep(0)
        fate = self.random.random()
        if fate < 0.2:
            raise StoreUnavailableError("before the commit")
        if self.position >= records[0].position:
            raise StoreUnavailableError("the cursor has moved")
        self.stored += [record.payload for record in records]
        self.position = records[-1].position
        if fate < 0.4:
            raise StoreUnavailableError("after the commit, nobody knows")
        return 0


class Heard:
    def __init__(self) -> None:
        self.rows = 0
        self.refused = 0
        self.faults = 0
        self.told = ""

    def stored(self, records: Sequence[JournalRecord], seconds: float, refused: int) -> None:
        self.rows += sum(record.rows for record in records)
        self.refused += refused

    def unavailable(self, reason: str) -> None:
        self.faults += 1

    def estranged(self, reason: str) -> None:
        self.told = reason

    def available(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(20))
async def test_every_record_is_stored_once_whatever_the_database_does(tmp_path: Path, seed: int) -> None:
    """Failures before a commit, failures after it, appends in between: the rows are those of the journal, in order."""
    random = Random(seed)
    journal = FileJournal(tmp_path, segment_bytes_max=2_000, disk_bytes_max=10**9)
    store, heard = TreacherousStore(seed), Heard()
    drain = Drain(journal, store, 500, Backoff(1e-4, 1e-3, 1.0), random.random, SystemClock(), heard)
    running = asyncio.create_task(drain.run())
    expected = []
    for number in range(300):
        expected.append(b"%d" % number)
        journal.append("tick_data:v:quote", 1, expected[-1], 0, 0)
        drain.wake()
        if random.random() < 0.1:
            await asyncio.sleep(0.001)
    async with asyncio.timeout(30):
        await drain.wait_caught_up()
    running.cancel()
    assert store.stored == expected
    assert heard.rows == len(expected), "a commit that nobody confirmed is a commit all the same"
    assert heard.faults > 0
    assert drain.caught_up


async def test_the_cursor_in_the_database_decides_where_a_new_process_goes_on(tmp_path: Path) -> None:
    """What another life has stored is not stored again."""
    journal = FileJournal(tmp_path, 10**6, 10**9)
    for number in range(10):
        journal.append("tick_data:v:quote", 1, b"%d" % number, 0, 0)
    store = TreacherousStore(1)
    store.position = 6
    drain = Drain(journal, store, 10**6, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), Heard())
    running = asyncio.create_task(drain.run())
    async with asyncio.timeout(10):
        await drain.wait_caught_up()
    running.cancel()
    assert store.stored == [b"6", b"7", b"8", b"9"]


async def test_what_was_refused_counts_also_where_the_commit_was_not_confirmed(tmp_path: Path) -> None:
    """The cursor tells that it is there, the store how many went to quarantine."""
    journal, heard = FileJournal(tmp_path, 10**6, 10**9), Heard()

    class Unconfirmed(TreacherousStore):
        async def cursor(self, journal_id: str) -> int:
            return self.position

        async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
            self.position, self.refused_in_doubt = records[-1].position, 2
            raise StoreUnavailableError("after the commit, nobody knows")

    journal.append("tick_data:v:quote", 7, b"1", 0, 0)
    drain = Drain(journal, Unconfirmed(1), 10**6, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), heard)
    running = asyncio.create_task(drain.run())
    async with asyncio.timeout(10):
        await drain.wait_caught_up()
    assert (heard.rows, heard.refused) == (7, 2)
    running.cancel()


async def test_a_database_that_takes_nothing_is_noticed_and_an_idle_journal_is_not(tmp_path: Path) -> None:
    """Stalled counts from the moment when there was something to take and nobody took it."""
    journal = FileJournal(tmp_path, 10**6, 10**9)
    frozen = asyncio.Event()

    class Frozen(TreacherousStore):
        async def cursor(self, journal_id: str) -> int:
            return self.position

        async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
            await frozen.wait()
            self.position = records[-1].position
            return 0

    drain = Drain(journal, Frozen(1), 10**6, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), Heard())
    running = asyncio.create_task(drain.run())
    await asyncio.sleep(0.2)
    assert drain.stalled_s == 0.0
    journal.append("tick_data:v:quote", 1, b"1", 0, 0)
    drain.wake()
    await asyncio.sleep(0.2)
    assert drain.stalled_s > 0.1
    frozen.set()
    async with asyncio.timeout(10):
        await drain.wait_caught_up()
    assert drain.stalled_s == 0.0
    running.cancel()


async def test_a_drain_tells_how_long_and_from_when_on_the_database_lags(tmp_path: Path) -> None:
    """From its start until the journal was seen empty, and again while the database takes nothing."""
    journal = FileJournal(tmp_path / "journal", 4096, 1024 * 1024)
    journal.append("ticks", 1, b"x", 700, 900)
    journal.append("ticks", 1, b"y", 500, 900)
    store = Stuck()
    drain = Drain(journal, store, 200, Backoff(0.001, 0.01, 10.0), lambda: 0.5, SystemClock(), Heard())
    before = drain.behind_s
    running = asyncio.create_task(drain.run())
    await asyncio.wait_for(store.asked.wait(), 5)
    assert (drain.oldest_ns, drain.journal_id) == (500, journal.journal_id)
    assert drain.behind_s > before > 0
    store.may_go_on.set()
    await asyncio.wait_for(drain.wait_caught_up(), 5)
    assert (drain.oldest_ns, drain.behind_s) == (0, 0.0)
    running.cancel()
    await asyncio.wait([running])
    journal.close()


async def test_a_database_that_is_not_the_journals_gets_nothing_until_it_is_exchanged(tmp_path: Path) -> None:
    """Everything waits, the reason is told, and as soon as the right one answers the drain goes on."""
    journal = FileJournal(tmp_path, 200, 10**6)
    for number in range(40):
        journal.append("tick_data:v:quote", 1, b"%d" % number * 20, 0, 0)
    journal.release(30)
    store, heard = TreacherousStore(1), Heard()
    store.position = 5
    drain = Drain(journal, store, 10**6, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), heard)
    running = asyncio.create_task(drain.run())
    async with asyncio.timeout(10):
        while not drain.foreign:
            await asyncio.sleep(0.001)
    assert "restored from an older backup" in drain.foreign
    assert not store.stored and heard.told == drain.foreign
    assert journal.append("tick_data:v:quote", 1, b"meanwhile", 0, 0) == 41
    store.position = 30
    async with asyncio.timeout(10):
        await drain.wait_caught_up()
    assert drain.foreign == ""
    assert store.stored == [b"%d" % number * 20 for number in range(30, 40)] + [b"meanwhile"]
    running.cancel()
    journal.close()


class Stuck:
    """Takes nothing before it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def cursor(self, journal_id: str) -> int:
        return 0

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        self.asked.set()
        await self.may_go_on.wait()
        return 0


class Line:
    """A database behind a line that carries so many bytes within the time-out, and takes its time for them."""

    def __init__(self, bytes_within_timeout: int) -> None:
        self.bytes_within_timeout = bytes_within_timeout
        self.position = 0
        self.sizes: list[int] = []
        self.tried: list[int] = []
        self.free = asyncio.Event()
        self.free.set()

    async def cursor(self, journal_id: str) -> int:
        return self.position

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        size = sum(len(record.payload) for record in records)
        self.tried.append(size)
        await self.free.wait()
        await asyncio.sleep(0)
        if size > self.bytes_within_timeout:
            raise StoreUnavailableError("no answer from the database in time")
        self.sizes.append(size)
        self.position = records[-1].position
        return 0


async def test_batches_are_small_when_little_comes_and_large_under_load(tmp_path: Path) -> None:
    """What gathers while one transaction runs is the next one; whoever appends waits for neither."""
    journal = FileJournal(tmp_path, 10**6, 10**9)
    line = Line(10**9)
    drain = Drain(journal, line, 100_000, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), Heard())
    running = asyncio.create_task(drain.run())
    for _ in range(5):
        journal.append("tick_data:v:quote", 1, b"x" * 1_000, 0, 0)
        drain.wake()
        async with asyncio.timeout(10):
            await drain.wait_caught_up()
    assert line.sizes == [1_000] * 5, "each at once"
    line.free.clear()
    for _ in range(300):
        journal.append("tick_data:v:quote", 1, b"x" * 1_000, 0, 0)
        drain.wake()
        await asyncio.sleep(0)
    assert journal.position == 305, "the database takes nothing, and nobody waited for it"
    line.free.set()
    async with asyncio.timeout(10):
        await drain.wait_caught_up()
    running.cancel()
    assert sum(line.sizes[5:]) == 300_000
    assert len(line.sizes[5:]) <= 6
    assert max(line.sizes) <= 110_000
    journal.close()


async def test_a_line_too_slow_for_a_whole_transaction_gets_smaller_ones(tmp_path: Path) -> None:
    """Each that doesn't end in time is followed by half of it, down to what gets through; later they grow again."""
    journal = FileJournal(tmp_path, 10**7, 10**9)
    for _ in range(600):
        journal.append("tick_data:v:quote", 1, b"x" * 2_000, 0, 0)
    line = Line(60_000)
    drain = Drain(journal, line, 1_000_000, Backoff(1e-4, 1e-3, 1.0), Random(1).random, SystemClock(), Heard())
    running = asyncio.create_task(drain.run())
    async with asyncio.timeout(20):
        while line.position < 300:
            await asyncio.sleep(0.001)
        assert all(16_000 <= size <= 60_000 for size in line.sizes)
        line.bytes_within_timeout = 10**9
        await drain.wait_caught_up()
    running.cancel()
    assert sum(line.sizes) == 600 * 2_000
    assert max(line.sizes) > 120_000
    journal.close()
