"""Work of a second or so, in a thread with an event loop of its own, so that ours goes on meanwhile.

Refuses to outlive who waits for it: where that is cancelled, so is the work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_a_loop_of_its_own(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to; it may use nothing that belongs to our loop. Raises what it raises."""
    at_work: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        at_work.append((asyncio.get_running_loop(), task))
        return await work()

    try:
        return await asyncio.to_thread(asyncio.run, watched())
    except asyncio.CancelledError:
        for loop, task in at_work:
            with suppress(RuntimeError):  # it is over already
                loop.call_soon_threadsafe(task.cancel)
        raise
