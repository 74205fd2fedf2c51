"""Where an order's intent is forced to the disk: at once while the disk is quick, else by a thread beside the loop.

To hand over and back costs two wake-ups on a busy machine, 200 to 300 µs: as much as a quick disk takes. After an
answer that took longer than the loop may stand still the thread is asked, once, and after each further one twice as
often: a slow disk holds the loop up once in a thousand times. A disk that was quick and stands still from one order to
the next holds up everything until it answers, once; ticks wait in their sockets meanwhile. (The kernel's own workers,
by io_submit, aren't quicker than the thread: they run where they were asked, behind the loop itself.)
What is asked is done in the order in which it comes. The thread can't hold up the end of the process.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from traderd.core.errors import JournalError
from traderd.runtime.outbox import IntentJournal

_SWITCH_S = 20e-6
"""How long the loop's thread may keep the interpreter to itself while the other wants it. Python's own 5 ms would be
many times what the disk takes; as the other's turns are short and rare, the loop loses next to nothing.
"""
_AT_ONCE_S = 0.001
"""What took no longer didn't hold up the loop more than its own longest turns do."""
_BESIDE_MAX = 1_023

_Work = tuple[Callable[[], None], Callable[[str], None]]


class IntentSync:
    """Made, and asked, by the running loop's thread."""

    def __init__(self) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._waiting = 0
        self._beside = 0
        self._slow = 0
        Thread(target=self._run, name="disk", daemon=True).start()

    def do(self, journal: IntentJournal, done: Callable[[str], None]) -> None:
        """Force the journal to the disk, now or soon, and then call `done`, with what it said if it failed, else "".

        What is done now needs no file of its own, which the thread does: a journal may go on to the next one.
        """
        if not self._beside and not self._waiting:
            begun = time.perf_counter()
            fault = _fault_of(journal.sync)
            slow = time.perf_counter() - begun > _AT_ONCE_S
            self._beside = self._slow = min(2 * self._slow + 1, _BESIDE_MAX) if slow else 0
            done(fault)
            return
        self._beside = max(0, self._beside - 1)
        try:
            force = journal.durable()
        except JournalError as error:
            done(str(error))
            return
        self._waiting += 1
        self._work.put((force, done))

    def close(self) -> None:
        """The thread ends after what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            work, done = asked
            fault = _fault_of(work)
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._told, done, fault)

    def _told(self, done: Callable[[str], None], fault: str) -> None:
        self._waiting -= 1
        done(fault)


def _fault_of(work: Callable[[], None]) -> str:
    try:
        work()
    except JournalError as error:
        return str(error)
    return ""
