"""The machine's clocks."""

import time

from traderd.adapters.clock import SystemClock


def test_wall_time_is_the_machines_in_nanoseconds() -> None:
    """Between two readings of the standard library's clock."""
    before = time.time_ns()
    now = SystemClock().time_ns()
    assert before <= now <= time.time_ns()


def test_monotonic_time_never_runs_back() -> None:
    """Each reading is at or after the one before."""
    clock = SystemClock()
    readings = [clock.monotonic_ns() for _ in range(1_000)]
    assert readings == sorted(readings)
