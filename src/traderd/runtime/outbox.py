"""Where approved orders wait until their intents are on the disk; then the gateway has them, in the order of approval.

The disk is asked at once, or beside the loop if it is slow: then it holds up orders, and nothing else. One answer is
good for all orders whose intents were written before the question. Refuses to let an order leave whose intent may
not be there.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from traderd.core.orders import Approved
from traderd.runtime.ports import Clock


class IntentJournal(Protocol):
    """What an outbox needs of the fact journal."""

    @property
    def position(self) -> int: ...

    def sync(self) -> None:
        """Force all that is appended by now to the disk. Raises JournalError."""
        ...

    def durable(self) -> Callable[[], None]:
        """What does the same in whatever thread. Both raise JournalError."""
        ...


Sync = Callable[[IntentJournal, Callable[[str], None]], None]
"""Forces a journal to the disk, and then tells the second what went wrong, or ""; perhaps at once."""


class Outbox:
    """Orders on their way out."""

    def __init__(
        self,
        journal: IntentJournal,
        sync: Sync,
        send: Callable[[Approved], None],
        failed: Callable[[str], None],
        left: Callable[[float], None],
        clock: Clock,
    ) -> None:
        """`failed` stops trading; `left` is told the seconds from an order's cause to its leaving."""
        self._journal = journal
        self._sync = sync
        self._gateway = send
        self._failed = failed
        self._left = left
        self._clock = clock
        self._asked: list[Approved] = []
        self._asked_position = 0
        self._durable_position = -1
        self._waiting: list[Approved] = []
        self._empty = asyncio.Event()
        self._empty.set()

    def send(self, approved: Approved) -> None:
        """Send it as soon as its intent, which is appended, is on the disk."""
        if self._journal.position == self._durable_position:
            self._leave(approved)
            return
        self._empty.clear()
        if self._asked and self._asked_position == self._journal.position:
            self._asked.append(approved)
            return
        self._waiting.append(approved)
        if not self._asked:
            self._ask()

    async def empty(self) -> None:
        """Wait until no order waits."""
        await self._empty.wait()

    def _ask(self) -> None:
        self._asked, self._waiting = self._waiting, []
        self._asked_position = self._journal.position
        self._sync(self._journal, self._answered)

    def _answered(self, fault: str) -> None:
        orders, self._asked = self._asked, []
        if fault:  # trading stops: those behind are judged by a state that never was on the disk
            self._waiting = []
            self._failed(fault)
        else:
            self._durable_position = self._asked_position
            for approved in orders:
                self._leave(approved)
        if self._waiting:
            self._ask()
        else:
            self._empty.set()

    def _leave(self, approved: Approved) -> None:
        now_ns = self._clock.time_ns()
        self._gateway(approved)
        self._left((now_ns - approved.intent.time_ns) / 1e9)
