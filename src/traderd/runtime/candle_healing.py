"""Takes the venue's candles for the bars over a hole whose trades can't be had: from its REST, newest gap first.

What is awaited stands in the database with the gap, so that a restart goes on where the run before it was; repeating it
changes nothing. A timeframe is asked for when the last of its bars over the hole has ended; one that the venue doesn't
serve stays as it was made of the trades that are stored.
Refuses candles of another time than was asked for, those that the venue may still change, and those in which nothing
was traded: here they are no bars. A bar that misses nothing stays ours, which is for the records to see to.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Context, Decimal

from msgspec import Struct
from msgspec.structs import replace

from traderd.core.candles import timeframe_ns
from traderd.core.errors import BadFrameError, VenueRefusalError
from traderd.core.facts import Candle, Gap, Span
from traderd.core.market import VenueCandle
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import Clock, GapRecords
from traderd.runtime.wards import ATTEMPTS_MAX, FORSAKEN_NS, HealingObserver, Patience, Ward, in_brief, pause_ns

_S = 1_000_000_000
_SETTLE_NS = 15 * _S
"""After a bar's end: dialects of venues that don't say so believe that a candle is closed ten seconds later."""
_PAGE = 200
"""Candles of one question. No venue gives fewer: Binance's inverse contracts 200 days, OKX 300, Coinbase 350."""
_ROUNDED = Context(prec=28)
_Part = tuple[str, Span]
"""What is asked for at a time: the candles of one timeframe over one symbol's hole."""


class _Course(Struct):
    """What has come of a gap since it became due."""

    taken: dict[_Part, int] = {}
    why_not: dict[_Part, str] = {}
    """"" where the venue told what it has."""
    attempts: dict[_Part, int] = {}
    again_ns: dict[_Part, int] = {}


class CandleHealing:
    """One venue's."""

    def __init__(
        self,
        exchange: str,
        timeframes: Iterable[str],
        pipeline: Pipeline,
        records: GapRecords,
        wards: Mapping[str, Ward],
        ask: Callable[[str], Awaitable[bytes]],
        clock: Clock,
        stored: Callable[[], Awaitable[None]],
        observer: HealingObserver,
        patience: Patience,
    ) -> None:
        """`ask` gives the answer at an address, when the venue may be asked; the rest is as Healing has it."""
        self._exchange = exchange
        self._timeframes = sorted(timeframes, key=timeframe_ns)
        self._pipeline = pipeline
        self._records = records
        self._wards = wards
        self._ask = ask
        self._clock = clock
        self._stored = stored
        self._observer = observer
        self._patience = patience
        self._began_ns = clock.time_ns()
        self._courses: dict[str, _Course] = {}

    def due_ns(self, unfetched: Iterable[Span], after_ns: int = 0) -> int:
        """When, after that, the next timeframe's bars over these have ended for certain; 0 when there is none."""
        parts = list(unfetched)
        ends = (_due_ns(parts, timeframe) for timeframe in self._timeframes) if parts else ()
        return min((end for end in ends if end > after_ns), default=0)

    async def step(self) -> bool:
        """Ask for one part that is due; False when there is none. Raises what the database or the journal can't."""
        now = self._clock.time_ns()
        gaps = await self._records.without_candles(self._exchange, now)
        self._courses = {gap.gap_id: self._courses.get(gap.gap_id) or _Course() for gap in gaps}
        for gap in gaps:
            course = self._courses[gap.gap_id]
            waiting = [part for part in self._due(gap, now) if part not in course.why_not]
            ready = [part for part in waiting if course.again_ns.get(part, 0) <= now and self._knows(part)]
            if ready:
                await self._try(ready[0], gap, course)
                return True
            if not waiting:
                await self._finish(gap, course, now)
        return False

    def _due(self, gap: Gap, now: int) -> list[_Part]:
        due = [each for each in self._timeframes if gap.candles_due_ns <= _due_ns(gap.unfetched, each) <= now]
        return [(timeframe, hole) for timeframe in due for hole in gap.unfetched]

    def _knows(self, part: _Part) -> bool:
        """Just after the start a symbol may not be listened to yet."""
        return part[1].symbol in self._wards or self._clock.time_ns() - self._began_ns > FORSAKEN_NS

    async def _try(self, part: _Part, gap: Gap, course: _Course) -> None:
        """What one part's answers are like must not keep others from theirs."""
        try:
            course.taken[part], course.why_not[part] = await self._fetch(*part)
        except VenueRefusalError:
            raise
        except (ConnectionError, BadFrameError) as fault:
            now, attempts = self._clock.time_ns(), course.attempts.get(part, 0) + 1
            course.attempts[part], course.again_ns[part] = attempts, now + pause_ns(attempts, self._patience)
            if attempts >= ATTEMPTS_MAX and now - gap.candles_due_ns >= self._patience.candles_s * _S:
                course.why_not[part] = f"the venue gives none: {fault}"
            else:
                self._observer.healing_delayed(self._exchange, f"candles of {part[1].symbol}: {fault}", 0.0)

    async def _fetch(self, timeframe: str, hole: Span) -> tuple[int, str]:
        """How many bars are the venue's now, and why no more of them, page by page, the newest first."""
        ward = self._wards.get(hole.symbol)
        if ward is None:
            return 0, "it isn't listened to any more"
        length = timeframe_ns(timeframe)
        first, end = _span(hole, length)
        taken = told = 0
        while first < end:
            start = max(first, end - _PAGE * length)
            url = ward.history.candles_url(ward.endpoint, ward.instrument, timeframe, start, end)
            if not url:
                return taken, "the venue serves none of this length"
            body = await self._ask(url)
            candles = ward.history.decode_candles(body, ward.instrument, timeframe, self._clock.time_ns())
            asked = {at: each for each in candles if start <= (at := each.open_time_ns) < end and at % length == 0}
            bars = [bar for each in asked.values() if Decimal((bar := _bar(each)).volume)]
            taken += await self._records.take_candles(bars) if bars else 0
            told, end = told + len(asked), start
        return taken, "" if told else "the venue tells none of this time"

    async def _finish(self, gap: Gap, course: _Course, now: int) -> None:
        """Say what came of it, and when there is more."""
        told = [gap.candles] if gap.candles else []
        for timeframe in dict.fromkeys(part[0] for part in course.why_not):
            parts = [part for part in course.why_not if part[0] == timeframe]
            reasons = list(dict.fromkeys(course.why_not[part] for part in parts if course.why_not[part]))
            count = f"{sum(course.taken.get(part, 0) for part in parts)} of {timeframe}"
            told.append(f"{count} ({in_brief(reasons)})" if reasons else count)
        due_ns = self.due_ns(gap.unfetched, now)
        self._pipeline.record(replace(gap, candles=", ".join(told), candles_due_ns=due_ns))
        await self._stored()


def _span(hole: Span, length_ns: int) -> tuple[int, int]:
    """The bars that it touches."""
    return hole.from_ns - hole.from_ns % length_ns, hole.to_ns - hole.to_ns % length_ns + length_ns


def _due_ns(holes: Iterable[Span], timeframe: str) -> int:
    return max(_span(hole, timeframe_ns(timeframe))[1] for hole in holes) + _SETTLE_NS


def _bar(told: VenueCandle) -> Candle:
    """One of ours. Money that the venue doesn't tell is guessed at the bar's typical price.

    Raises BadFrameError where the figures contradict each other, and ConnectionError for one that may still change.
    """
    if not told.closed:
        raise ConnectionError("the venue hasn't closed its candle yet")
    open_, high, low, close = (Decimal(each) for each in (told.open, told.high, told.low, told.close))
    if not low <= min(open_, close) <= max(open_, close) <= high:
        raise BadFrameError("bad_number")
    volume, at = Decimal(told.volume), told.instrument
    money = Decimal(told.quote_volume or 0) or _ROUNDED.multiply(volume, _ROUNDED.divide(high + low + close, 3))
    figures = told.open, told.high, told.low, told.close, told.volume, f"{money:f}", told.trades_count
    return Candle(at.exchange, at.symbol, told.timeframe, told.open_time_ns, *figures)
