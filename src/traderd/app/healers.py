"""Who heals the gaps of each venue: put together here for the daemon."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from traderd.adapters.clock import SystemClock
from traderd.adapters.gap_store import GapStore
from traderd.adapters.rest import HttpRest
from traderd.adapters.telemetry import Telemetry
from traderd.core.market import Instrument
from traderd.core.tape import Tape
from traderd.runtime.admission import Admission
from traderd.runtime.drain import Drain
from traderd.runtime.healing import Healing
from traderd.runtime.hurt_bars import HurtBars
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.tape_healing import TapeHealing
from traderd.runtime.wards import Patience, Ward
from traderd.venues.dialect import Dialect, Endpoint, History


class Healers:
    """One for each venue, over one connection to the database."""

    def __init__(
        self,
        dsn: str,
        timeout_s: float,
        instance: str,
        timeframes: Sequence[str],
        grace_ms: int,
        pipeline: Pipeline,
        rest: HttpRest,
        clock: SystemClock,
        telemetry: Telemetry,
        drains: Sequence[Drain],
        migrated: asyncio.Event,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`migrated` is set once the database has its tables; `spawn` begins a task that lives as the sessions do.

        `grace_ms` is how long after its end the engine may amend a bar.
        """
        self._records = GapStore(dsn, timeout_s, instance)
        self._timeframes = timeframes
        self._grace_ms = grace_ms
        self._pipeline = pipeline
        self._rest = rest
        self._clock = clock
        self._telemetry = telemetry
        self._drains = drains
        self._migrated = migrated
        self._spawn = spawn
        self._healings: dict[str, Healing] = {}

    def admit(
        self,
        dialect: Dialect,
        endpoint: Endpoint,
        instruments: Sequence[Instrument],
        stream: Stream,
        admission: Admission,
    ) -> None:
        """Heal the holes of these too; all markets of a venue are one patient."""
        healing = self._healings.get(stream.exchange)
        if healing is None:
            healing = self._healings[stream.exchange] = self._healing(stream.exchange, admission)
            self._spawn(self._run(healing))
        history = cast(History, dialect)  # every dialect has both halves; the protocols are apart
        healing.admit(Ward(instrument, history, endpoint, stream) for instrument in instruments)

    def attend(self, exchange: str, tapes: Callable[[], Mapping[str, Tape]]) -> None:
        """Say what became of the holes of a venue whose tapes are held against REST."""
        healing = TapeHealing(
            exchange,
            tapes,
            self._bars(exchange),
            self._pipeline,
            self._records,
            self._clock,
            self._stored,
            self._telemetry,
        )
        self._spawn(self._run(healing))

    def dismiss(self, exchange: str, symbol: str) -> None:
        """The venue trades it no more: what is missing of it isn't asked for any longer."""
        if healing := self._healings.get(exchange):
            healing.dismiss(symbol)

    async def close(self) -> None:
        """The connection."""
        await self._records.close()

    def _healing(self, exchange: str, admission: Admission) -> Healing:
        return Healing(
            exchange,
            self._timeframes,
            self._bars(exchange),
            self._pipeline,
            self._records,
            self._rest,
            admission,
            self._clock,
            self._stored,
            self._telemetry,
            Patience(),
        )

    def _bars(self, exchange: str) -> HurtBars:
        return HurtBars(exchange, self._timeframes, self._grace_ms, self._records, self._clock)

    async def _run(self, healing: Healing | TapeHealing) -> None:
        """Sessions are up before the schema is: until then there is no ledger to ask."""
        await self._migrated.wait()
        await healing.run()

    async def _stored(self) -> None:
        """Facts too: a gap's rows come before those that end it."""
        self._pipeline.flush()
        waiting: list[Awaitable[None]] = [drain.wait_caught_up() for drain in self._drains]
        await asyncio.gather(*waiting)
