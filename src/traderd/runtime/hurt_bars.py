"""The stored bars that were made over a hole: made anew from the stored trades, once they have ended.

The database says whose they are, so that a restart goes on where the run before it was; repeating it changes nothing.
Refuses to forget one before the database has made it anew.
"""

from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from traderd.core.candles import timeframe_ns
from traderd.core.facts import Gap, Span
from traderd.runtime.ports import Clock, GapRecords

_S = 1_000_000_000
_SETTLE_NS = 2_500_000_000
"""So long after a bar's grace the engine's last word on it is in the journal: beats, and how far a clock may be off."""
_AT_ONCE_NS = 3_600 * _S
"""How much of a long hole's time one statement makes anew."""


class _Bars(Struct, frozen=True):
    """Of one timeframe, those that open in [from_ns, to_ns)."""

    symbol: str
    timeframe: str
    from_ns: int
    to_ns: int


class HurtBars:
    """One venue's."""

    def __init__(
        self, exchange: str, timeframes: Iterable[str], grace_ms: int, records: GapRecords, clock: Clock
    ) -> None:
        """So long after its end the engine may still amend a bar: until then its word would be taken for the better."""
        self._exchange = exchange
        self._timeframes = tuple(timeframes)
        self._settled_ns = grace_ms * 1_000_000 + _SETTLE_NS
        self._records = records
        self._clock = clock
        self._gaps: dict[str, Gap] = {}
        self._waiting: dict[str, set[_Bars]] = {}
        """By gap."""
        self._inherited = False

    def add(self, gap: Gap) -> None:
        """Trades of its time have been stored since; `gap` is what became of the hole, and is recorded so."""
        touched = {bars for span in gap.hurt_bars for each in self._timeframes for bars in _touched(span, each)}
        if touched:
            self._gaps[gap.gap_id], self._waiting[gap.gap_id] = gap, touched

    async def derive(self, stored: Callable[[], Awaitable[None]]) -> None:
        """Make those anew that have ended by now, the newest first. Raises StoreUnavailableError.

        `stored` waits until the database has all ticks and facts that are journalled now.
        """
        if not self._inherited:
            for gap in await self._records.hurt(self._exchange):
                self.add(gap)
            self._inherited = True
        ended_ns = self._clock.time_ns() - self._settled_ns
        due = [(bars, name) for name, waiting in self._waiting.items() for bars in waiting if bars.to_ns <= ended_ns]
        if due:
            await stored()
        for bars, name in sorted(due, key=lambda each: -each[0].to_ns):
            await self._records.derive(self._gaps[name], bars.symbol, bars.timeframe, bars.from_ns, bars.to_ns)
            self._waiting[name].discard(bars)
        for name in [name for name, waiting in self._waiting.items() if not waiting]:
            await self._records.mended(self._gaps[name])
            del self._gaps[name], self._waiting[name]


def _touched(span: Span, timeframe: str) -> Iterable[_Bars]:
    """The bars that it touches, an hour's at a time."""
    length = timeframe_ns(timeframe)
    step = -(-_AT_ONCE_NS // length) * length
    end = span.to_ns - span.to_ns % length + length
    for start in range(span.from_ns - span.from_ns % length, end, step):
        yield _Bars(span.symbol, timeframe, start, min(start + step, end))
