"""Ends the gaps of one venue whose tapes are held against its REST, instead of asking for each hole (`healing`).

What a tape lacked is stored by then (`core.tape`), so that a gap in its time is healed, and the bars that were made
over it are made anew from the stored trades. The database says which gaps there are: a restart goes on where the run
before it was. What no comparison reaches stays missing, and the gap's row says why. Refuses to call healed what came
and was lost by us: the tape knows such trades.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from traderd.core.backoff import Backoff
from traderd.core.errors import StoreUnavailableError
from traderd.core.facts import Gap, Span
from traderd.core.gaps import healed
from traderd.core.tape import Tape
from traderd.runtime.hurt_bars import HurtBars
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock, GapRecords
from traderd.runtime.wards import FORSAKEN_NS, HealingObserver, in_brief

_S = 1_000_000_000
_TRANSIT_NS = _S
"""A trade may have been made so long before it, or the hole, was noticed here."""
_LOOK_S = 2.0
_BACKOFF_S_MAX = 60.0


class TapeHealing:
    """One venue's."""

    def __init__(
        self,
        exchange: str,
        tapes: Callable[[], Mapping[str, Tape]],
        bars: HurtBars,
        pipeline: Pipeline,
        records: GapRecords,
        clock: Clock,
        stored: Callable[[], Awaitable[None]],
        observer: HealingObserver,
    ) -> None:
        """`tapes` are those of the symbols that are listened to now; for `stored` see Healing."""
        self._exchange = exchange
        self._tapes = tapes
        self._pipeline = pipeline
        self._records = records
        self._clock = clock
        self._stored = stored
        self._observer = observer
        self._bars = bars
        self._began_ns = clock.time_ns()
        self._over: set[str] = set()  # done, though the database may show them as closed a moment longer

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(1.0, _BACKOFF_S_MAX, healthy_after_s=0.0)
        while True:
            delay_s = _LOOK_S
            try:
                await self.look()
                backoff.healthy(0.0)
            except StoreUnavailableError as fault:
                delay_s = max(delay_s, backoff.delay(1.0))
                self._observer.healing_delayed(self._exchange, str(fault), delay_s)
            await asyncio.sleep(delay_s)

    async def look(self) -> None:
        """End what can be ended now. Raises StoreUnavailableError."""
        gaps = await self._records.unhealed(self._exchange)
        self._over &= {gap.gap_id for gap in gaps}
        for gap in gaps:
            if gap.gap_id not in self._over:
                await self._end(gap)
        await self._bars.derive(self._stored)

    async def _end(self, gap: Gap) -> None:
        """Say what became of it, once every tape has something to say, and once what it lacked is stored."""
        judged = {symbol: _judged(tape, gap) for symbol, tape in self._tapes().items() if gap.symbol in ("", symbol)}
        if None in judged.values() or not (judged or self._forsaken):
            return
        await self._stored()
        rows = 0
        for symbol in judged:
            rows += await self._records.backfilled(self._exchange, symbol, gap.from_ns - _TRANSIT_NS, gap.to_ns)
        failed = {symbol: why for symbol, why in judged.items() if why}
        unfetched = tuple(Span(symbol, gap.from_ns - _TRANSIT_NS, gap.to_ns) for symbol in failed)
        told = [why if gap.symbol else f"{symbol}: {why}" for symbol, why in failed.items()]
        why_not = in_brief(told) if judged else "none of its symbols is listened to any more"
        ended = healed(gap, rows, self._clock.time_ns(), why_not=why_not, unfetched=unfetched)
        ended = replace(ended, hurt_bars=tuple(Span(symbol, gap.from_ns - _TRANSIT_NS, gap.to_ns) for symbol in judged))
        self._pipeline.record(ended)
        self._over.add(gap.gap_id)
        self._bars.add(ended)

    @property
    def _forsaken(self) -> bool:
        return self._clock.time_ns() - self._began_ns > FORSAKEN_NS


def _judged(tape: Tape, gap: Gap) -> str | None:
    """As Tape.why_not; what the tape has may be what was lost behind it."""
    if gap.reason == "lost":
        return "what came and couldn't be kept isn't asked for again through ccxt"
    return tape.why_not(gap.from_ns, gap.to_ns)
