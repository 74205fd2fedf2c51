"""The way out of an order: once, and silence is not rejection."""

import asyncio
from decimal import Decimal

import pytest

from made_up import BTC, START
from traderd.adapters.clock import SystemClock
from traderd.core.orders import Approved, Intent, Report
from traderd.runtime.gateway import Gateway


class Venue:
    """An exchange whose every order meets the same fate."""

    def __init__(self, fate: BaseException | float = 0.0) -> None:
        self.fate = fate
        self.got: list[str] = []

    async def send(self, approved: Approved) -> None:
        self.got.append(approved.intent.client_order_id)
        if isinstance(self.fate, BaseException):
            raise self.fate
        await asyncio.sleep(self.fate)


def approved(order: str = "r-o1") -> Approved:
    intent = Intent(order, "r-s1", "told", BTC, "buy", "market", Decimal(1), None, START)
    return Approved(intent, Decimal(100))


async def sent(venue: Venue, *orders: str, timeout_s: float = 5.0) -> list[Report]:
    """Send each and wait for the ends; a task's own mistake comes out of the group."""
    reports: list[Report] = []
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(venue, reports.append, SystemClock(), timeout_s, group.create_task)
        for order in orders:
            gateway.send(approved(order))
    return reports


async def test_an_order_that_goes_through_makes_no_report_of_its_own() -> None:
    """Its fate is the exchange's to tell."""
    venue = Venue()
    assert await sent(venue, "r-o1", "r-o2") == []
    assert venue.got == ["r-o1", "r-o2"]


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (ConnectionError("connection reset by peer"), "no answer to the order: connection reset by peer"),
        (ConnectionResetError(), "no answer to the order: ConnectionResetError"),
        (TimeoutError(), "no answer to the order: TimeoutError"),
        (60.0, "no answer to the order: TimeoutError"),
    ],
)
async def test_silence_and_a_cut_line_leave_the_orders_fate_unknown(fate: BaseException | float, reason: str) -> None:
    """Neither rejected nor sent again."""
    venue = Venue(fate)
    (report,) = await sent(venue, "r-o1", timeout_s=0.05)
    assert (report.client_order_id, report.kind) == ("r-o1", "unknown")
    assert report.time_ns > START
    assert report.reason == reason
    assert venue.got == ["r-o1"]


async def test_one_slow_order_does_not_hold_up_another() -> None:
    """Each waits for its own answer."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reports = await sent(Venue(60.0), *[f"r-o{number}" for number in range(20)], timeout_s=0.1)
    assert len(reports) == 20
    assert loop.time() - begun < 1.5


async def test_an_order_is_never_sent_twice_not_even_after_its_answer() -> None:
    """Whoever tries has made a mistake, and a mistake crashes."""
    venue = Venue()
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(venue, lambda report: None, SystemClock(), 5.0, group.create_task)
        gateway.send(approved())
        with pytest.raises(AssertionError, match="r-o1 would be sent twice"):
            gateway.send(approved())
        await asyncio.sleep(0.02)
        assert venue.got == ["r-o1"], "it was answered"
        with pytest.raises(AssertionError, match="r-o1 would be sent twice"):
            gateway.send(approved())
    assert venue.got == ["r-o1"]


async def test_our_own_mistake_is_not_taken_for_the_venues_silence() -> None:
    """It ends the task group that the daemon lives in."""
    with pytest.raises(ExceptionGroup) as group:
        await sent(Venue(TypeError("not a number")), "r-o1")
    assert [type(error) for error in group.value.exceptions] == [TypeError]
