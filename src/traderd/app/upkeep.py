"""The daemon's care for its database: settings at the start, then once a minute holds and maintenance.

A journal that has been behind for a minute holds retention: the database drops nothing that the journal may still fill.
At a start both do, until they have shown how far the database is. Refuses to end the daemon: what can't be done now is
told and tried again a minute later.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from structlog.typing import FilteringBoundLogger

from traderd.adapters.maintenance import apply_settings, hold_retention, maintain_a_piece, release_retention
from traderd.adapters.postgres import APP_ROLE, Reconnecting
from traderd.config import Storage
from traderd.config.storage import hours
from traderd.core.errors import TraderdError
from traderd.runtime.drain import Drain

INTERVAL_S = 60.0
BEHIND_S_MAX = 60.0
"""A journal that lags for longer holds retention."""


class Upkeep:
    """One run's."""

    def __init__(
        self, dsn: str, timeout_s: float, storage: Storage, drains: Sequence[Drain], log: FilteringBoundLogger
    ) -> None:
        self._dsn = dsn
        self._storage = storage
        self._drains = drains
        self._log = log
        self._held_at: dict[Drain, float] = {}
        self._database = Reconnecting(dsn, "traderd upkeep", timeout_s, APP_ROLE)

    async def open(self) -> None:
        """Settings and first holds, before the drains begin. Raises TraderdError."""
        for change in await apply_settings(self._dsn, self._storage):
            self._log.info("storage setting applied", change=change)
        for drain in self._drains:
            await self._hold(drain)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.keep()
            except TraderdError as error:
                self._log.warning("database not maintained", reason=str(error))
            await asyncio.sleep(INTERVAL_S)

    async def keep(self) -> None:
        """Once, now. Each piece is a transaction, and has the whole of the time-out."""
        for drain in self._drains:
            if drain.behind_s > BEHIND_S_MAX:
                await self._hold(drain)
            elif drain in self._held_at and drain.behind_s < time.monotonic() - self._held_at[drain]:
                await self._release(drain)  # the database has had everything since
        while True:
            async with self._database.use() as connection:
                piece = await maintain_a_piece(connection)
            if piece is None or piece.what == "busy":
                return
            self._log.info("database maintained", work=piece.what, amount=piece.amount)

    async def close(self) -> None:
        """Close the connection."""
        await self._database.close()

    async def _hold(self, drain: Drain) -> None:
        """Rows may be older than the record that they came in, by as much as a row may be late."""
        oldest = None
        if drain.oldest_ns:
            late = timedelta(hours=hours(self._storage.late_rows))
            oldest = datetime.fromtimestamp(drain.oldest_ns / 1e9, UTC) - late
        async with self._database.use() as connection:
            await hold_retention(connection, drain.journal_id, oldest)
        self._held_at[drain] = time.monotonic()

    async def _release(self, drain: Drain) -> None:
        async with self._database.use() as connection:
            await release_retention(connection, drain.journal_id)
        del self._held_at[drain]
