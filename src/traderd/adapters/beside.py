"""A thread beside the event loop, for what is waited for and must not hold it up: an order's intent on its way to disk.

It is always there: to hand over and back costs two wake-ups, and no executor's future. Work is done in the order in
which it comes. Refuses no work; and it can't hold up the end of the process, whatever the disk does.
"""

import asyncio
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from traderd.core.errors import JournalError

_SWITCH_S = 20e-6
"""How long the loop's thread may keep the interpreter to itself while the other wants it. Python's own 5 ms would be
many times what the disk takes; as the other's turns are short and rare, the loop loses next to nothing.
"""

_Work = tuple[Callable[[], None], Callable[[str], None]]


class BesideLoop:
    """Made, and asked, by the running loop's thread."""

    def __init__(self) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        Thread(target=self._run, name="disk", daemon=True).start()

    def do(self, work: Callable[[], None], done: Callable[[str], None]) -> None:
        """Do `work` there and then call `done` here, with what the journal said if it failed, else with ""."""
        self._work.put((work, done))

    def close(self) -> None:
        """The thread ends after what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            work, done = asked
            try:
                work()
            except JournalError as error:
                fault = str(error)
            else:
                fault = ""
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(done, fault)
