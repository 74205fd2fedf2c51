"""Work in a loop of its own: ours goes on meanwhile, and what it comes to arrives."""

import asyncio
import time

import pytest

from traderd.adapters.loop_apart import in_a_loop_of_its_own


async def test_our_loop_goes_on_while_the_work_holds_up_its_own() -> None:
    """Its outcome and its faults are ours."""

    async def hard() -> str:
        time.sleep(0.2)  # it is the work
        return "done"

    async def failing() -> None:
        raise ConnectionError("no")

    working, turns = asyncio.create_task(in_a_loop_of_its_own(hard)), 0
    while not working.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert await working == "done" and turns > 3
    with pytest.raises(ConnectionError, match="no"):
        await in_a_loop_of_its_own(failing)


async def test_what_nobody_waits_for_any_more_is_ended() -> None:
    """A stop mustn't wait for a venue's answer."""
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("ended")

    working = asyncio.create_task(in_a_loop_of_its_own(endless))
    await asyncio.sleep(0.1)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    async with asyncio.timeout(5):
        while not ended:
            await asyncio.sleep(0.01)
    assert working.cancelled()
