"""Fetches again what is missing: the trades of closed gaps, from one venue's REST, in the background, newest gap first.

The database says what is to be healed and what lies on both sides of each hole, so that a restart goes on where the
run before it was. What is fetched goes through the tick journal like every trade. Bars that were made over a hole are
made anew from the stored trades, once they have ended; where the trades can't be had, CandleHealing goes on.
Refuses nothing that the venue still serves: while the venue, the database or the journal can't, it waits and tries
again. What the venue doesn't serve any more stays missing, and the gap's row says why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from traderd.core.backoff import Backoff
from traderd.core.budget import Budget
from traderd.core.errors import BadFrameError, JournalError, StoreUnavailableError, VenueRefusalError
from traderd.core.facts import Gap, Span
from traderd.core.gaps import healed
from traderd.runtime.candle_healing import CandleHealing
from traderd.runtime.hurt_bars import HurtBars
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock, GapRecords, Rest
from traderd.runtime.wards import (
    ATTEMPTS_MAX,
    FORSAKEN_NS,
    Admission,
    HealingObserver,
    Patience,
    Ward,
    in_brief,
    pause_ns,
)
from traderd.venues.dialect import Hole
from traderd.venues.hole_paging import HolePaging

_REST_TIMEOUT_S = 10.0
_S = 1_000_000_000
_TRANSIT_NS = _S
"""A trade may have been made so long before it, or the hole, was noticed here."""
_CANNOT = (ConnectionError, BadFrameError, JournalError, StoreUnavailableError)


class _Wound(Struct):
    """A gap that is being healed."""

    waiting: list[Ward]
    """Whose trades aren't there yet."""
    look_again_ns: int = 0
    attempts: int = 0
    """How often the venue gave no answer of use."""
    holes: dict[str, Hole] = {}
    """By symbol: what was fetched, as far as the venue served it."""
    failures: list[str] = []
    unfetched: list[Span] = []


class Healing:
    """One venue's."""

    def __init__(
        self,
        exchange: str,
        timeframes: Iterable[str],
        bars: HurtBars,
        pipeline: Pipeline,
        records: GapRecords,
        rest: Rest,
        admission: Admission,
        clock: Clock,
        stored: Callable[[], Awaitable[None]],
        observer: HealingObserver,
        patience: Patience,
    ) -> None:
        """`stored` waits until the database has all ticks and facts that are journalled now."""
        self._exchange = exchange
        self._wards: dict[str, Ward] = {}
        self._began_ns = clock.time_ns()
        self._pipeline = pipeline
        self._records = records
        self._rest = rest
        self._admission = admission
        self._clock = clock
        self._stored = stored
        self._observer = observer
        self._patience = patience
        self._budget = Budget(patience.asks_per_s, patience.asks_burst)
        self._wounds: dict[str, _Wound] = {}
        self._over: set[str] = set()  # done, though the database may show them as closed a moment longer
        self._bars = bars
        self._candles = CandleHealing(
            exchange, timeframes, pipeline, records, self._wards, self._ask, clock, stored, observer, patience
        )

    def admit(self, wards: Iterable[Ward]) -> None:
        """From now on their holes are healed too."""
        self._wards.update((ward.instrument.symbol, ward) for ward in wards)

    def dismiss(self, symbol: str) -> None:
        """The venue trades it no more: its holes stay as they are."""
        self._wards.pop(symbol, None)

    async def run(self) -> None:
        """Until cancelled."""
        most_s = self._patience.backoff_max_s
        backoff = Backoff(min(1.0, most_s), most_s, healthy_after_s=0.0)
        while True:
            delay_s = self._patience.look_s
            try:
                await self.look()
                backoff.healthy(0.0)
            except _CANNOT as fault:
                delay_s = max(delay_s, backoff.delay(1.0), self._admission.refused(fault))
                self._observer.healing_delayed(self._exchange, str(fault), delay_s)
            await asyncio.sleep(delay_s)

    async def look(self) -> None:
        """Heal what can be healed now. Raises what the venue, the database or the journal can't."""
        await self._look_for_trades()
        while await self._candles.step():  # that took its time: trades go first
            await self._look_for_trades()

    async def _look_for_trades(self) -> None:
        gaps = await self._unhealed()
        while gaps:
            if await self._heal(gaps.pop(0)):
                gaps = await self._unhealed()  # that took its time: a newer one goes first
        await self._bars.derive(self._stored)

    async def _unhealed(self) -> list[Gap]:
        """Those whose turn it is, the newest first."""
        gaps = await self._records.unhealed(self._exchange)
        self._over &= {gap.gap_id for gap in gaps}
        return [gap for gap in gaps if gap.gap_id not in self._over and self._is_due(gap)]

    def _is_due(self, gap: Gap) -> bool:
        now = self._clock.time_ns()
        if gap.symbol and gap.symbol not in self._wards:
            return now - self._began_ns > FORSAKEN_NS
        wound = self._wounds.get(gap.gap_id)
        return gap.to_ns + self._patience.settle_s * _S <= now and (wound is None or wound.look_again_ns <= now)

    async def _heal(self, gap: Gap) -> bool:
        """As far as it can be healed now; whether the venue was asked."""
        wards = [ward for symbol, ward in self._wards.items() if gap.symbol in ("", symbol)]
        wound, asked = self._wounds.setdefault(gap.gap_id, _Wound(wards)), False
        await self._stored()
        for ward in list(wound.waiting):
            symbol = ward.instrument.symbol
            hole = await self._hole(gap, symbol)
            if hole is None:
                continue
            paging = HolePaging(hole, ward.history.trades_paged, ward.history.trades_numbered)
            asked |= paging.next is not None
            if not await self._fetched(paging, ward, wound):
                continue
            wound.holes[symbol] = hole
            if paging.why_not:
                wound.unfetched.append(Span(symbol, paging.left.from_ns, paging.left.to_ns))
                wound.failures.append(paging.why_not if gap.symbol else f"{symbol}: {paging.why_not}")
            wound.waiting.remove(ward)
        if wound.waiting:
            wound.look_again_ns = self._clock.time_ns() + self._pause_ns(gap, wound)
        else:
            await self._finish(gap, wound)
        return asked

    def _pause_ns(self, gap: Gap, wound: _Wound) -> int:
        """Until this gap is looked at again: the longer it lasts the longer, and so for one that can't be fetched."""
        if wound.attempts:
            return pause_ns(wound.attempts, self._patience)
        return max(int(self._patience.look_s * _S), (self._clock.time_ns() - gap.to_ns) // 4)

    async def _hole(self, gap: Gap, symbol: str) -> Hole | None:
        """What may be missing of this symbol; None while it isn't known what comes after it."""
        before, after = await self._records.sides(gap, symbol)
        now = self._clock.time_ns()
        if after is None and now - gap.to_ns < self._patience.quiet_s * _S:
            return None
        return Hole(
            before.time_ns if before else gap.from_ns - _TRANSIT_NS,
            after.time_ns if after else now,
            before.trade_id if before else "",
            after.trade_id if after else "",
        )

    async def _fetched(self, paging: HolePaging, ward: Ward, wound: _Wound) -> bool:
        """Whether it came to an end; what one symbol's answers are like must not keep others from theirs."""
        try:
            await self._fetch(paging, ward)
        except VenueRefusalError:
            raise
        except (ConnectionError, BadFrameError) as fault:
            wound.attempts += 1
            if isinstance(fault, BadFrameError) and wound.attempts >= ATTEMPTS_MAX:
                paging.refuse(f"the venue's answer can't be read: {fault}")
                return True
            self._observer.healing_delayed(self._exchange, f"{ward.instrument.symbol}: {fault}", 0.0)
            return False
        return True

    async def _fetch(self, paging: HolePaging, ward: Ward) -> None:
        """Page by page into the journal, but for what is stored already."""
        at = ward.instrument
        while paging.next is not None:
            url = ward.history.trades_url(ward.endpoint, at, paging.next)
            if not url:
                paging.refuse("the venue can't be asked for the trades of this time")
                return
            body = await self._ask(url)
            trades = paging.take(ward.history.decode_trades(body, at, self._clock.time_ns()))
            names = [(each.trade_id, each.time_venue_ns) for each in trades]
            known = await self._records.stored(self._exchange, at.symbol, names) if names else set()
            missing = [trade for trade in trades if trade.trade_id not in known]
            if missing:
                self._pipeline.backfill(ward.stream, missing)

    async def _ask(self, url: str) -> bytes:
        await asyncio.sleep(self._budget.take(self._clock.monotonic_ns() / _S))
        await self._admission.ask()
        return await self._rest.get(url, _REST_TIMEOUT_S)

    async def _finish(self, gap: Gap, wound: _Wound) -> None:
        """Say what became of it, once what was fetched is stored."""
        await self._stored()
        rows = 0
        for symbol, hole in wound.holes.items():
            rows += await self._records.backfilled(self._exchange, symbol, hole.from_ns, hole.to_ns)
        sides = next(iter(wound.holes.values())) if gap.symbol and wound.holes else Hole(0, 0)
        why_not = in_brief(wound.failures) if wound.holes else "none of its symbols is listened to any more"
        unfetched = tuple(wound.unfetched)
        ended = healed(gap, rows, self._clock.time_ns(), sides.after_id, sides.before_id, why_not, unfetched)
        hurt = [
            Span(symbol, min(hole.from_ns, gap.from_ns - _TRANSIT_NS), max(hole.to_ns, gap.to_ns))
            for symbol, hole in wound.holes.items()
        ]
        ended = replace(ended, candles_due_ns=self._candles.due_ns(unfetched), hurt_bars=tuple(hurt))
        self._pipeline.record(ended)
        self._over.add(gap.gap_id)
        del self._wounds[gap.gap_id]
        self._bars.add(ended)
        if unfetched:
            await self._stored()  # where its candles are looked for
