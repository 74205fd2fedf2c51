"""The daemon's two journals: opened, forced to the disk at intervals, and what they lose told to whom it concerns.

Ticks that can't be kept are counted and told; facts that can't be kept stop trading. Refuses to end the daemon for
either.
"""

import asyncio
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from traderd.adapters.journal import Damage, FileJournal
from traderd.adapters.telemetry import Telemetry
from traderd.config import Journal
from traderd.core.errors import JournalError
from traderd.core.facts import Alert
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock, Loss


class Journals:
    """`ticks` and `facts` of one state folder."""

    def __init__(self, state_dir: Path, settings: Journal, run: str, log: FilteringBoundLogger) -> None:
        """Raises JournalError if a folder can't be used."""
        self._interval_s = settings.sync_interval_ms / 1000
        self._run = run
        self._log = log
        self._alerts = 0
        self._waiting: list[tuple[str, Loss]] = []
        self._told: tuple[Pipeline, Telemetry, Clock] | None = None
        bounds = (settings.segment_bytes_max, settings.disk_bytes_max)
        self.ticks = FileJournal(
            state_dir / "ticks",
            *bounds,
            partial(self._damaged, "ticks"),
            drop_oldest=settings.ticks_when_full == "drop_oldest",
            disk_reserve_bytes=settings.disk_reserve_bytes,
            on_loss=partial(self._lost, "ticks"),
        )
        self.facts = FileJournal(
            state_dir / "facts", *bounds, partial(self._damaged, "facts"), on_loss=partial(self._lost, "facts")
        )

    async def run(self, pipeline: Pipeline, telemetry: Telemetry, clock: Clock) -> None:
        """Until cancelled: what was appended is forced to the disk every `sync_interval_ms`, beside the loop."""
        self._told = (pipeline, telemetry, clock)
        waiting, self._waiting = self._waiting, []
        for name, loss in waiting:
            self._lost(name, loss)
        synced = {self.ticks: self.ticks.position, self.facts: self.facts.position}
        while True:
            await asyncio.sleep(self._interval_s)
            for journal, upto in synced.items():
                if journal.position > upto:
                    synced[journal] = journal.position
                    await self._sync(journal)

    def close(self) -> None:
        """Force the rest to the disk. Raises JournalError, after both were tried."""
        try:
            self.ticks.close()
        finally:
            self.facts.close()

    async def _sync(self, journal: FileJournal) -> None:
        try:
            await asyncio.to_thread(journal.detached_sync())
        except JournalError as error:
            assert self._told is not None
            pipeline, _, _ = self._told
            if journal is self.facts:
                pipeline.stop_trading(str(error))
            else:
                pipeline.fault(str(error))
                self._alert("The disk fails the tick journal", str(error))

    def _damaged(self, journal: str, damage: Damage) -> None:
        self._log.error("journal damaged", journal=journal, **damage._asdict())

    def _lost(self, journal: str, loss: Loss) -> None:
        if self._told is None:  # found while it was opened
            self._waiting.append((journal, loss))
            return
        pipeline, telemetry, _ = self._told
        telemetry.lost_from_journal(journal, loss)
        told = f"{loss.rows or 'an unknown number of'} rows of {loss.label or 'unknown streams'}: {loss.reason}"
        self._alert(f"The journal of {journal} has lost records", told)
        if journal == "ticks":
            pipeline.lost_from_journal(loss)

    def _alert(self, title: str, message: str) -> None:
        assert self._told is not None
        pipeline, _, clock = self._told
        self._alerts += 1
        name = f"{self._run}-j{self._alerts}"
        pipeline.record(Alert(name, clock.time_ns(), "journal", "critical", title, message))
