"""Whatever a venue sends goes its whole way through session, books, gate, engine and encoder, and ends no stream.

`TRADERD_FUZZ_CASES` says how many spoilt frames over all dialects, as in `test_fuzz`.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace
from noise import spoil
from spoken import ALL, Spoken
from test_fuzz import CASES, REASONS

from lines import Line, until
from traderd.runtime.ports import Connector, Rest
from traderd.venues.dialect import AnyChannel, Dialect, Endpoint
from traderd.venues.registry import dialect

pytestmark = pytest.mark.driven
SPOILT = 0.7
"""Of the frames; the rest is as it should be, so that there are books and quotes to spoil."""


class Wire:
    """A link whose other end is the test; what is sent over it goes nowhere, and nobody answers by REST."""

    def __init__(self) -> None:
        self.hear: Callable[[list[bytes], int], None] = lambda frames, received_ns: None
        self._closed = asyncio.Event()

    async def connect(self, url: str, on_frames: Callable[[list[bytes], int], None], *limits: object) -> "Wire":
        self.hear = on_frames
        return self

    def send(self, frame: str) -> None: ...

    def close(self) -> None:
        self._closed.set()

    async def wait_closed(self) -> str:
        await self._closed.wait()
        return "closed"

    async def get(self, url: str, timeout_s: float) -> bytes:
        raise ConnectionError("nobody is there")


def groups(spoken: Spoken) -> list[list[AnyChannel]]:
    made = spoken.make()
    return made.by_connection([each for each in sorted(made.channels) if made.offers(spoken.instrument, each)])


@pytest.mark.parametrize(
    ("spoken", "channels"),
    [pytest.param(each, channels, id=f"{each.name} {' '.join(channels)}") for each in ALL for channels in groups(each)],
)
async def test_no_frame_ends_a_session(spoken: Spoken, channels: list[AnyChannel], tmp_path: Path) -> None:
    """What can't be read is counted by its reason and kept aside, what can is journalled; nobody hangs up."""
    wire, dice = Wire(), random.Random(f"{spoken.name} {channels}")

    def speak() -> Dialect:
        return dialect(spoken.venue, 10, spoken.market)

    line = Line(
        *(tmp_path, speak, Endpoint("ws://venue", "http://venue"), [spoken.instrument.symbol]),
        channels=channels,
        instruments=[replace(spoken.instrument, index=0)],
        connector=cast(Connector, wire),
        rest=cast(Rest, wire),
    )
    async with line.running() as session:
        await until(lambda: line.seen.connects)
        left = -(-CASES // 10)
        while left > 0:
            frames = dice.choices(spoken.frames, k=dice.choice((1, 1, 2, 50)))
            sent = [spoil(each, spoken.frames, dice) if dice.random() < SPOILT else each for each in frames]
            wire.hear(sent, line.clock.time_ns())
            left -= len(frames)
            line.pipeline.on_beat()
            await asyncio.sleep(0.05)
            assert not session.done()
        line.pipeline.flush()
        assert line.seen.disconnects == []
        assert set(line.seen.bad) <= REASONS and len(line.seen.bad) > CASES / 40
        for counts in line.stream.counts.values():
            assert counts.received == counts.journalled + counts.quarantined
