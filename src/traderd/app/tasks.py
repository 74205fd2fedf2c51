"""How the tasks of a run wait for the database, and how they end: all together on purpose, or by the first mistake."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from traderd.core.backoff import Backoff
from traderd.core.errors import StoreUnavailableError

T = TypeVar("T")


async def until_there(attempt: Callable[[], Awaitable[T]], unavailable: Callable[[str], None]) -> T:
    """The outcome, as soon as the database gives one; `unavailable` is told each time that it doesn't."""
    backoff = Backoff(0.2, 2.0, 60.0)
    while True:
        try:
            return await attempt()
        except StoreUnavailableError as error:
            unavailable(str(error))
            await asyncio.sleep(backoff.delay(random.random()))


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them until they are over.

    Once isn't enough: a transaction answers by a ROLLBACK, which a frozen database never hears.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)


def first_mistake(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of many."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
