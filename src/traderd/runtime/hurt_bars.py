"""The stored bars that were made over a hole: made anew from the stored trades, once they have ended.

Refuses to forget one before the database has made it anew.
"""

from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from traderd.core.candles import timeframe_ns
from traderd.core.facts import Gap
from traderd.runtime.ports import Clock, GapRecords

_S = 1_000_000_000
_GRACE_NS = 3 * _S
"""So long after its end the engine has written a bar."""
_AT_ONCE_NS = 3_600 * _S
"""How much of a long hole's time one statement makes anew."""


class _Bars(Struct, frozen=True):
    """Of one timeframe, those that open in [from_ns, to_ns)."""

    gap: Gap
    symbol: str
    timeframe: str
    from_ns: int
    to_ns: int


class HurtBars:
    """One venue's."""

    def __init__(self, timeframes: Iterable[str], records: GapRecords, clock: Clock) -> None:
        self._timeframes = tuple(timeframes)
        self._records = records
        self._clock = clock
        self._waiting: set[_Bars] = set()

    def add(self, gap: Gap, symbol: str, first_ns: int, last_ns: int) -> None:
        """Trades of this time have been stored since; `gap` is what became of the hole."""
        for timeframe in self._timeframes:
            length = timeframe_ns(timeframe)
            step = -(-_AT_ONCE_NS // length) * length
            end = last_ns - last_ns % length + length
            for start in range(first_ns - first_ns % length, end, step):
                self._waiting.add(_Bars(gap, symbol, timeframe, start, min(start + step, end)))

    async def derive(self, stored: Callable[[], Awaitable[None]]) -> None:
        """Make those anew that have ended by now, the newest first. Raises StoreUnavailableError.

        `stored` waits until the database has all ticks and facts that are journalled now.
        """
        ended_ns = self._clock.time_ns() - _GRACE_NS
        due = sorted((bars for bars in self._waiting if bars.to_ns <= ended_ns), key=lambda bars: -bars.to_ns)
        if due:
            await stored()
        for bars in due:
            await self._records.derive(bars.gap, bars.symbol, bars.timeframe, bars.from_ns, bars.to_ns)
            self._waiting.discard(bars)
