"""How the tasks of a run end: all together on purpose, or by the first mistake."""

import asyncio
from collections.abc import Iterable


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
