"""A quick disk is asked at once, a slow one beside the loop."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from traderd.adapters.intent_sync import IntentSync
from traderd.core.errors import JournalError

SLOW_S = 0.01
QUESTIONS = 3_000


def fails() -> None:
    raise JournalError("no space left on device")


class Told:
    """A journal that does what the test says when it is forced to the disk."""

    position = 0

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def sync(self) -> None:
        self._work()

    def durable(self) -> Callable[[], None]:
        return self.sync


SLOW = Told(lambda: time.sleep(SLOW_S))


class Disk:
    """Remembers whether it was asked by the loop's thread, and is quick or slow."""

    def __init__(self, took_s: float) -> None:
        self.at_once: list[bool] = []
        self.now_s = 0.0
        self._took_s = took_s
        self._loop = threading.get_ident()

    def work(self) -> None:
        self.at_once.append(threading.get_ident() == self._loop)
        self.now_s += self._took_s


@pytest.mark.parametrize(
    ("took_s", "runs"), [(0.0002, [QUESTIONS]), (0.005, [1, 1, 1, 3, 1, 7, 1, 15, 1, 31, 1, 63, 1, 127, 1, 255, 1])]
)
async def test_a_slow_disk_is_asked_at_once_ever_more_rarely_and_a_quick_one_always(
    took_s: float, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, once beside, at once, three times beside, and so on: every other stretch is the thread's."""
    disk, beside, told = Disk(took_s), IntentSync(), asyncio.Queue[str]()
    monkeypatch.setattr(time, "perf_counter", lambda: disk.now_s)
    for _ in range(QUESTIONS):
        beside.do(Told(disk.work), told.put_nowait)
        assert await told.get() == ""
    beside.close()
    stretches = [1]
    for before, after in zip(disk.at_once, disk.at_once[1:], strict=False):
        if before == after:
            stretches[-1] += 1
        else:
            stretches.append(1)
    assert disk.at_once[0] and stretches[: len(runs)] == runs
    assert sum(disk.at_once) in (QUESTIONS, 11)


async def test_a_disk_that_is_quick_again_is_asked_at_once_again() -> None:
    """One slow answer costs one question beside the loop."""
    beside, told, threads = IntentSync(), asyncio.Queue[str](), list[int]()
    for journal in (SLOW, *3 * (Told(lambda: threads.append(threading.get_ident())),)):
        beside.do(journal, told.put_nowait)
        assert await told.get() == ""
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [False, True, True]
    beside.close()


async def test_what_the_journal_says_is_told_on_the_loop_and_in_order() -> None:
    """A fault travels as text, from the thread as at once; nothing overtakes what the thread still has."""
    beside, told = IntentSync(), list[str]()
    beside.do(Told(fails), told.append)
    assert told == ["no space left on device"]
    beside.do(SLOW, told.append)
    beside.do(Told(fails), told.append)
    beside.do(Told(lambda: None), lambda fault: told.append(fault or "the last"))
    assert told == ["no space left on device", ""]
    async with asyncio.timeout(5):
        while len(told) < 4:
            await asyncio.sleep(0.001)
    assert told[2:] == ["no space left on device", "the last"]
    beside.close()


async def test_a_journal_that_has_no_file_for_the_thread_says_so_at_once() -> None:
    class Lost(Told):
        def durable(self) -> Callable[[], None]:
            raise JournalError("the disk lost something of it")

    beside, told = IntentSync(), list[str]()
    beside.do(SLOW, told.append)
    beside.do(Lost(lambda: None), told.append)
    beside.do(Told(lambda: None), told.append)
    assert told == ["", "the disk lost something of it", ""]
    beside.close()
