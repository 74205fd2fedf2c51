"""What a burst has taken and freed goes back to the system."""

import asyncio
import ctypes
from pathlib import Path

import pytest

from traderd.adapters.memory import give_back, keep_giving_back

PIECE = 100_000
"""Small enough for malloc's heap, too large for Python's own."""
PIECES = 400


def anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def burst() -> bytes:
    """Forty megabytes come and go; what came last stays, and keeps malloc's heap as long as it is."""
    pieces = [b"x" * PIECE for _ in range(PIECES)]
    return pieces[-1]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
async def test_a_burst_is_not_carried_on() -> None:
    kept = burst()
    carried = anonymous_bytes()
    giving = asyncio.create_task(keep_giving_back(0.01))
    async with asyncio.timeout(10):
        while anonymous_bytes() > carried - PIECE * PIECES / 2:
            await asyncio.sleep(0.01)
    giving.cancel()
    assert len(kept) == PIECE


def test_giving_back_what_nobody_took_does_no_harm() -> None:
    for _ in range(3):
        give_back()
