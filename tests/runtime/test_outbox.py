"""Orders wait for their intents to be on the disk, and for nothing else."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from made_up import BTC, START
from traderd.adapters.clock import SystemClock
from traderd.adapters.intent_sync import IntentSync
from traderd.adapters.journal import FileJournal
from traderd.core.errors import JournalError
from traderd.core.orders import Approved, Intent
from traderd.runtime.outbox import IntentJournal, Outbox

MIB = 1024 * 1024
SLOW_S = 0.01


class Rig:
    """An outbox over a real journal; the disk answers when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.journal = FileJournal(folder, MIB, 64 * MIB)
        self.asked: list[tuple[Callable[[], None], Callable[[str], None]]] = []
        self.sent: list[str] = []
        self.faults: list[str] = []
        self.seconds: list[float] = []
        self.outbox = Outbox(
            self.journal, self._ask, self._send, self.faults.append, self.seconds.append, SystemClock()
        )

    def approve(self, *orders: str) -> None:
        """Orders of one decision: their intents are appended together."""
        self.journal.append("facts", len(orders), " ".join(orders).encode(), 0, 0)
        for order in orders:
            self.outbox.send(approved(order))

    def answer(self, fault: str = "") -> None:
        """The disk has done what it was asked first."""
        force, done = self.asked.pop(0)
        force()
        done(fault)

    def _ask(self, journal: IntentJournal, done: Callable[[str], None]) -> None:
        self.asked.append((journal.durable(), done))

    def _send(self, order: Approved) -> None:
        self.sent.append(order.intent.client_order_id)


class Slow:
    """A journal on a disk that takes its time."""

    position = 0

    def sync(self) -> None:
        time.sleep(SLOW_S)

    def durable(self) -> Callable[[], None]:
        return self.sync


def approved(order: str) -> Approved:
    return Approved(Intent(order, "r-s1", "told", BTC, "buy", "market", Decimal(1), None, START), Decimal(100))


async def test_one_answer_of_the_disk_is_good_for_all_that_was_written_before_the_question(tmp_path: Path) -> None:
    """Two orders of one decision go with one sync; two later decisions share the next, and not this one."""
    rig = Rig(tmp_path)
    rig.approve("o1", "o2")
    rig.approve("o3")
    rig.approve("o4")
    assert len(rig.asked) == 1 and not rig.sent
    rig.answer()
    assert rig.sent == ["o1", "o2"]
    assert len(rig.asked) == 1
    rig.answer()
    assert rig.sent == ["o1", "o2", "o3", "o4"]
    assert not rig.asked and len(rig.seconds) == 4


async def test_an_intent_that_may_not_be_on_the_disk_never_leaves_nor_does_what_came_behind_it(tmp_path: Path) -> None:
    """Trading stops; an order that is approved later, when an operator lets it go on, leaves as ever."""
    rig = Rig(tmp_path)
    rig.approve("o1")
    rig.approve("o2")
    rig.answer("input/output error")
    assert (rig.sent, rig.asked, rig.faults) == ([], [], ["input/output error"])
    rig.approve("o3")
    rig.answer()
    assert rig.sent == ["o3"]


@pytest.mark.parametrize("way", ["sync", "durable"])
async def test_a_journal_that_takes_no_question_stops_trading(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known at once, and nobody waits for it; asked on the spot or by the thread."""
    rig, intents = Rig(tmp_path), IntentSync()
    rig.outbox = Outbox(rig.journal, intents.do, rig._send, rig.faults.append, rig.seconds.append, SystemClock())
    if way == "durable":
        intents.do(Slow(), print)

    def refuse() -> Callable[[], None]:
        raise JournalError("the disk lost something of it")

    monkeypatch.setattr(rig.journal, way, refuse)
    rig.approve("o1")
    assert (rig.sent, rig.faults) == ([], ["the disk lost something of it"])
    await asyncio.wait_for(rig.outbox.empty(), 1)
    intents.close()


async def test_orders_of_one_decision_share_an_answer_that_comes_at_once(tmp_path: Path) -> None:
    """Their intents are one record: what forced it for the first is good for the second, and not for what follows."""
    journal, sent, asked = FileJournal(tmp_path, MIB, 64 * MIB), list[str](), list[int]()

    def at_once(journal: IntentJournal, done: Callable[[str], None]) -> None:
        asked.append(journal.position)
        journal.sync()
        done("")

    outbox = Outbox(
        journal, at_once, lambda order: sent.append(order.intent.client_order_id), sent.append, print, SystemClock()
    )
    for orders in (("o1", "o2"), ("o3",)):
        position = journal.append("facts", len(orders), b"two intents", 0, 0)
        for order in orders:
            outbox.send(approved(order))
    assert sent == ["o1", "o2", "o3"]
    assert asked == [position - 1, position]
    await asyncio.wait_for(outbox.empty(), 1)


async def test_a_disk_that_was_slow_holds_up_the_order_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the sync takes its time the loop turns; the end waits for the order."""
    journal, sent, turns = FileJournal(tmp_path, MIB, 64 * MIB), list[str](), 0
    loop = asyncio.get_running_loop()
    released = asyncio.Event()

    def durable() -> Callable[[], None]:
        return lambda: asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10) and None

    beside = IntentSync()
    beside.do(Slow(), print)
    monkeypatch.setattr(journal, "durable", durable)
    outbox = Outbox(
        journal, beside.do, lambda order: sent.append(order.intent.client_order_id), sent.append, print, SystemClock()
    )
    outbox.send(approved("o1"))
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert (turns, sent) == (100, [])
    released.set()
    await asyncio.wait_for(outbox.empty(), 10)
    assert sent == ["o1"]
    beside.close()
