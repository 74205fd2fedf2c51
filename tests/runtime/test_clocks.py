import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import MS, SECOND, START
from traderd.core.clock_offset import ClockOffset
from traderd.runtime.clocks import watch_clock
from traderd.venues.registry import dialect


class HandClock:
    """Moves when it is told."""

    now_ns = START

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


class Answering:
    """A venue's REST: its clock is ahead, and the way there takes longer than the way back."""

    def __init__(self, clock: HandClock, ahead_ns: int, trips_ms: list[tuple[int, int]]) -> None:
        self._clock, self._ahead_ns, self._trips_ms = clock, ahead_ns, iter(trips_ms)

    async def get(self, url: str, timeout_s: float) -> bytes:
        trip = next(self._trips_ms, None)
        if trip is None:
            raise ConnectionError("refused")
        self._clock.now_ns += trip[0] * MS
        told = (self._clock.now_ns + self._ahead_ns) // MS
        self._clock.now_ns += trip[1] * MS
        return f'{{"serverTime": {told}}}'.encode()


class Told:
    """Who is told."""

    def __init__(self) -> None:
        self.offsets: list[tuple[float, float]] = []
        self.silent: list[str] = []

    def clock_offset(self, exchange: str, seconds: float, uncertainty_s: float) -> None:
        self.offsets.append((seconds, uncertainty_s))

    def clock_silent(self, exchange: str, reason: str) -> None:
        self.silent.append(reason)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_the_quickest_answer_tells_the_offset_and_silence_keeps_it() -> None:
    """Half the round trip is for the way there; what is uncertain corrects nothing."""
    clock, told, corrections = HandClock(), Told(), list[int]()
    spoken = dialect("binance", 10)
    rest = Answering(clock, 3 * SECOND, [(400, 0), (20, 20), (500, 100)])
    task = asyncio.create_task(
        watch_clock(spoken, spoken.live, rest, clock, lambda _, ahead_ns: corrections.append(ahead_ns), told, 0.001)
    )
    await until(lambda: len(told.silent) >= 2)
    task.cancel()
    assert told.silent[0] == "refused"
    offsets = [pytest.approx(offset, abs=0.002) for offset, _ in told.offsets]
    assert offsets == [3.2, 3.0, 3.0]
    assert corrections[1] == corrections[2]
    assert 2.9 * SECOND < corrections[1] < 3 * SECOND


@given(st.integers(-(10**12), 10**12), st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1))
def test_the_true_offset_is_never_further_off_than_the_uncertainty(
    offset_ns: int, trips: list[tuple[int, int]]
) -> None:
    """Whatever the ways there and back take, and whatever the venue cuts off."""
    for unit_ns in (MS, SECOND):
        estimate = ClockOffset()
        for there_ns, back_ns in trips:
            venue_ns = (START + there_ns + offset_ns) // unit_ns * unit_ns
            best = estimate.observe(START, venue_ns, START + there_ns + back_ns)
            assert abs(best.offset_ns - offset_ns) <= best.uncertainty_ns + 1
            assert abs(best.correction_ns) <= abs(offset_ns) + 1


def test_what_is_within_the_uncertainty_corrects_nothing() -> None:
    """A venue that tells whole seconds isn't known better than by half of one."""
    best = ClockOffset().observe(START + 400 * MS, START, START + 410 * MS)
    assert (best.correction_ns, best.uncertainty_ns) == (0, 505 * MS)
