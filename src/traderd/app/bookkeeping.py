"""What the daemon writes beside the facts: at the start what it was told, then once a minute what all has come to.

Refuses to end the daemon: what can't be computed now is told and tried again a minute later.
"""

import asyncio
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from traderd.adapters.books import Books
from traderd.config import Config
from traderd.config.register import sections, strategy_entries
from traderd.runtime.ports import Clock

INTERVAL_S = 60.0
_FIRST_S = 5.0
"""When the portfolio's first equity is in the database."""


class Bookkeeping:
    """One run's."""

    def __init__(self, config: Config, run: str, books: Books, clock: Clock, log: FilteringBoundLogger) -> None:
        self._config = config
        self._run = run
        self._books = books
        self._clock = clock
        self._log = log

    async def open(self) -> None:
        """Portfolio, strategies and settings, before the first fact names them. Raises TraderdError."""
        config = self._config
        await self._books.expect_owner()
        if await self._books.note_start(self._run):
            self._log.warning("the database user may do more than the daemon needs: grant it traderd_app alone")
        await self._books.register(config.paper.portfolio, config.mode, strategy_entries(config))
        await self._books.configure(sections(config), self._run)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(_FIRST_S)
        while True:
            await self.keep()
            await asyncio.sleep(INTERVAL_S)

    async def keep(self) -> None:
        """Once, now."""
        now = datetime.fromtimestamp(self._clock.time_ns() // 1000 / 1e6, UTC)
        for step, why in (await self._books.keep(now)).items():
            self._log.warning("books not kept", step=step, reason=why)
