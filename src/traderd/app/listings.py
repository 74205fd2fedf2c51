"""What the venues list, into the engine and the database: new figures, and an alert for what is delisted."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.telemetry import Telemetry
from traderd.app.tasks import until_there
from traderd.core.engine import Engine
from traderd.core.facts import Alert
from traderd.core.market import Instrument
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock


class Listings:
    """Told by every feed; `migrated` is set once the database has its tables."""

    def __init__(
        self,
        run: str,
        instruments: list[Instrument],
        engine: Engine,
        pipeline: Pipeline,
        facts: PostgresFactStore,
        clock: Clock,
        telemetry: Telemetry,
        migrated: asyncio.Event,
        spawn: Callable[[Coroutine[Any, Any, Any]], None],
    ) -> None:
        """`instruments` is brought up to date in place."""
        self._run = run
        self._instruments = instruments
        self._engine = engine
        self._pipeline = pipeline
        self._facts = facts
        self._clock = clock
        self._telemetry = telemetry
        self._migrated = migrated
        self._spawn = spawn
        self._alerts = 0

    def described(self, instruments: Sequence[Instrument]) -> None:
        """A venue told steps and limits."""
        for instrument in instruments:
            self._instruments[instrument.index] = instrument
            self._engine.describe(instrument)
        if instruments:
            self._spawn(self._save(list(instruments)))

    def delisted(self, instruments: Sequence[Instrument]) -> None:
        """A venue trades these no more."""
        for instrument in instruments:
            self._alert(instrument)
            self._spawn(self._delist(instrument))

    def unlisted(self, instruments: Sequence[Instrument]) -> None:
        """A venue doesn't trade these at the start: what it traded in an earlier run is told as delisted, once."""
        for instrument in instruments:
            self._spawn(self._delist_if_known(instrument))

    def _alert(self, instrument: Instrument) -> None:
        self._alerts += 1
        message = f"{instrument.exchange} trades {instrument.symbol} no more"
        key, now_ns = f"{self._run}-l{self._alerts}", self._clock.time_ns()
        where = (instrument.exchange, instrument.symbol)
        self._pipeline.record(Alert(key, now_ns, "delisted", "warning", "Delisted", message, *where, "system"))

    async def _save(self, instruments: list[Instrument]) -> None:
        await self._migrated.wait()
        await until_there(lambda: self._facts.save_instruments(instruments), self._telemetry.unavailable)

    async def _delist_if_known(self, instrument: Instrument) -> None:
        if await self._delist(instrument):
            self._alert(instrument)

    async def _delist(self, instrument: Instrument) -> list[str]:
        await self._migrated.wait()
        where = (instrument.exchange, [instrument.symbol])
        return await until_there(lambda: self._facts.delist(*where), self._telemetry.unavailable)
