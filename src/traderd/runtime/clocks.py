"""How far a venue's clock is ahead of ours: it is asked by REST every half minute, and what comes out is published.

A venue that doesn't answer keeps the offset that it had; that is told and asked again. Ends only by being cancelled.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from traderd.core.clock_offset import ClockOffset
from traderd.core.errors import BadFrameError
from traderd.runtime.ports import Clock, Rest
from traderd.venues.dialect import Dialect, Endpoint

INTERVAL_S = 30.0
_TIMEOUT_S = 10.0


class ClockObserver(Protocol):
    """Who is told: metrics and log."""

    def clock_offset(self, exchange: str, seconds: float, uncertainty_s: float) -> None: ...

    def clock_silent(self, exchange: str, reason: str) -> None: ...


async def watch_clock(
    dialect: Dialect,
    endpoint: Endpoint,
    rest: Rest,
    clock: Clock,
    correct: Callable[[str, int], None],
    observer: ClockObserver,
    interval_s: float = INTERVAL_S,
) -> None:
    """Ask for ever; `correct(exchange, ahead_ns)` is told by how much the venue's times are to be corrected."""
    offset = ClockOffset()
    while True:
        try:
            asked_ns, since_ns = clock.time_ns(), clock.monotonic_ns()
            body = await rest.get(dialect.time_url(endpoint), _TIMEOUT_S)
            answered_ns = asked_ns + clock.monotonic_ns() - since_ns  # our own clock may be set in between
            best = offset.observe(asked_ns, dialect.decode_time(body), answered_ns)
            correct(dialect.exchange, best.correction_ns)
            observer.clock_offset(dialect.exchange, best.offset_ns / 1e9, best.uncertainty_ns / 1e9)
        except (ConnectionError, BadFrameError) as error:
            observer.clock_silent(dialect.exchange, str(error))
        await asyncio.sleep(interval_s)
