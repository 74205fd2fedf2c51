"""Candles from trades: exact open, high, low, close and sums, for one instrument and several timeframes.

Bars are aligned to the epoch (a day is a UTC day) and a trade belongs to the bar of its venue time, whenever it comes:
open and close are those of the earliest and the latest trade. A bar closes when a trade of a later bar arrives, or when
a Beat is past its end by the grace. A bucket without a trade produces no candle. Until the grace is over a trade that
comes late amends the closed bar: its candle comes once more, with more trades.
Refuses a trade for which that is too late for any timeframe (`late_trades`): all timeframes are made of the same ones.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from msgspec import structs

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.traded import Traded, merged, traded

_UNIT_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
NEVER_NS = 2**63 - 1
_NONE: tuple[Candle, ...] = ()
_TOGETHER = 32
"""Trades that wait for each other: a bar may be a day's."""


@lru_cache(maxsize=256)
def timeframe_ns(text: str) -> int:
    """`1s`, `5m`, `4h`, `1d` → nanoseconds. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a timeframe: a whole number and s, m, h or d, such as 1m")
    return int(match[1]) * _UNIT_NS[match[2]]


@lru_cache(maxsize=64)
def _span(number: int, length_ns: int) -> tuple[int, int]:
    """A bar's first nanosecond, and that after it. The same integers for all instruments: they stay in the cache."""
    return number * length_ns, (number + 1) * length_ns


def completed(candle: Candle, quote: Quote | None, has_gap: bool) -> Candle:
    """The candle, the quote at which it was closed, and whether trades may be missing in it."""
    if quote is None:
        return structs.replace(candle, has_gap=has_gap)
    bid, bid_size, ask, ask_size = quote.texts
    return structs.replace(candle, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size, has_gap=has_gap)


class CandleBuilder:
    """One instrument's bars in progress.

    Only the smallest timeframe (and one that no smaller one divides) is fed per trade; every other is fed by the closed
    bars of the largest timeframe that divides it, so that a minute is by construction the sum of its seconds.
    """

    __slots__ = (
        "_bars",
        "_floor_ns",
        "_given_grace_ns",
        "_grace_ns",
        "_now_ns",
        "_roots",
        "_waiting",
        "deadline_ns",
        "late",
        "late_trades",
    )

    def __init__(
        self, instrument: Instrument, timeframes: Sequence[str], grace_ns: int, late: dict[str, int] | None = None
    ) -> None:
        """Several builders may count into one `late`."""
        self.late_trades = 0
        self.late = dict.fromkeys(timeframes, 0) if late is None else late
        """Those trades by the timeframes for which they were too late."""
        self._grace_ns = self._given_grace_ns = grace_ns
        self._bars = tuple(sorted((_Bar(instrument, each) for each in set(timeframes)), key=lambda bar: bar.length_ns))
        self._roots = _wire(self._bars)
        self.deadline_ns = NEVER_NS
        """The earliest end of a bar in progress: before it and the grace a Beat changes nothing."""
        self._floor_ns = 0  # a trade before this is late
        self._now_ns = 0  # the newest time that anybody told
        self._waiting: list[Trade] = []  # all of the bars in progress

    @property
    def grace_ns(self) -> int:
        """How long after its end a bar is closed, by our clock."""
        return self._grace_ns

    def set_clock_offset(self, offset_ns: int) -> None:
        """How far the venue's clock is ahead of ours: by so much its bars end sooner for us."""
        self._grace_ns = self._given_grace_ns - offset_ns

    def on_trade(self, trade: Trade) -> Sequence[Candle]:
        """Take one trade in; the candles that its time closes or that it amends, smaller timeframes first."""
        time_ns = trade.time_venue_ns or trade.time_received_ns
        closed = self._close_until(time_ns) if time_ns >= self.deadline_ns else _NONE
        if time_ns < self._floor_ns:
            return self._amended(trade)
        if not self._waiting:
            self._begin(time_ns)
        self._waiting.append(trade)
        if len(self._waiting) >= _TOGETHER:
            self._fold()
        return closed

    def on_beat(self, now_ns: int) -> Sequence[Candle]:
        """The candles whose end is more than the grace ago, smaller timeframes first."""
        self._now_ns = max(self._now_ns, now_ns)
        horizon_ns = now_ns - self._grace_ns
        return self._close_until(horizon_ns) if horizon_ns >= self.deadline_ns else _NONE

    def clock_set_back(self, now_ns: int) -> Sequence[Candle]:
        """The candles in progress, as they are; those to come are of the time that it is now.

        What was closed by a clock that ran ahead would else make a late one of each trade until that time has come.
        """
        closed = self._close_until(NEVER_NS)
        self._floor_ns, self._now_ns = 0, now_ns
        for bar in self._bars:
            bar.forget()
        return closed

    def _amended(self, trade: Trade) -> Sequence[Candle]:
        """A late trade into every bar that it belongs to, unless it is too late for one of them."""
        self._fold()
        single = traded([trade])
        time_ns = single.first_ns
        self._now_ns = max(self._now_ns, trade.time_received_ns)
        newest_end_ns = self._now_ns - self._grace_ns
        too_late = [bar for bar in self._bars if bar.is_closed(time_ns) and bar.end_of(time_ns) < newest_end_ns]
        if too_late:
            self.late_trades += 1
            for bar in too_late:
                self.late[bar.timeframe] += 1
            return _NONE
        amended: list[Candle] = []
        coming: set[_Bar] = set()  # these hold the trade and will hand it on when they close
        for bar in self._bars:
            if bar.source in coming:
                coming.add(bar)
            elif bar.is_closed(time_ns):
                amended.append(bar.amend(single, newest_end_ns))
            else:
                bar.merge(single)
                self.deadline_ns = min(self.deadline_ns, bar.end_ns)
                coming.add(bar)
        # What it opened may have ended before the bar that is in progress began.
        return [*amended, *self._close_until(self._floor_ns)]

    def _begin(self, time_ns: int) -> None:
        """A trade of this time will be in each of the bars that trades are fed to."""
        for bar in self._roots:
            if bar.part is None:
                bar.begin(time_ns)
                self._floor_ns = max(self._floor_ns, bar.open_time_ns)
                self.deadline_ns = min(self.deadline_ns, bar.end_ns)

    def _fold(self) -> None:
        """What waited goes into its bars: once for all of a bar's trades, as nobody looks at it before it closes."""
        if waiting := self._waiting:
            self._waiting = []
            self._now_ns = max(self._now_ns, waiting[-1].time_received_ns)
            part = traded(waiting)
            for place, bar in enumerate(self._roots):
                bar.take(part.copy() if place else part)

    def _close_until(self, horizon_ns: int) -> Sequence[Candle]:
        self._fold()
        closed, deadline_ns = [], NEVER_NS
        for bar in self._bars:  # ascending: what feeds a bar comes before it
            if bar.part is None:
                continue
            if bar.end_ns <= horizon_ns:
                self._floor_ns = max(self._floor_ns, bar.end_ns)
                closed.append(bar.close_off(bar.part, self._now_ns - self._grace_ns))
            elif bar.end_ns < deadline_ns:
                deadline_ns = bar.end_ns
        self.deadline_ns = deadline_ns
        return closed


class _Bar:
    """One timeframe's bar in progress, empty while it has no `part`. And those that may still be amended."""

    __slots__ = (
        "_closed_to_ns",
        "_instrument",
        "_newest",
        "_older",
        "end_ns",
        "feeds",
        "length_ns",
        "open_time_ns",
        "part",
        "source",
        "timeframe",
    )

    def __init__(self, instrument: Instrument, timeframe: str) -> None:
        self.timeframe = timeframe
        self.length_ns = timeframe_ns(timeframe)
        self.feeds: tuple[_Bar, ...] = ()
        self.source: _Bar | None = None
        self.part: Traded | None = None
        self.open_time_ns = self.end_ns = 0
        self._instrument = instrument
        self._newest: tuple[int, Traded] | None = None  # the bar that was closed last, and when it began
        self._older: dict[int, Traded] = {}
        self._closed_to_ns = 0

    def begin(self, time_ns: int) -> None:
        """What comes next is of this time's bar."""
        self.open_time_ns, self.end_ns = _span(time_ns // self.length_ns, self.length_ns)

    def take(self, part: Traded) -> None:
        """These are in it, which has begun, and nobody else's."""
        self.part = part if self.part is None else merged(self.part, part)

    def merge(self, part: Traded) -> None:
        """The same; with them it may begin, and they stay whose they are."""
        if self.part is None:
            self.begin(part.first_ns)
            self.part = part.copy()
        else:
            self.part = merged(self.part, part)

    def end_of(self, time_ns: int) -> int:
        return time_ns - time_ns % self.length_ns + self.length_ns

    def is_closed(self, time_ns: int) -> bool:
        """Whether the bar of this time is over: closed itself, or passed by without a trade."""
        return time_ns < self._closed_to_ns or (self.part is not None and time_ns < self.open_time_ns)

    def close_off(self, part: Traded, keep_from_ns: int) -> Candle:
        """The bar, which is this, is over; it is kept as long as it may be amended."""
        for larger in self.feeds:
            larger.merge(part)
        self.part = None
        self._closed_to_ns = self.end_ns
        self._keep_older(keep_from_ns)
        self._newest = self.open_time_ns, part
        return self._candle(self.open_time_ns, part)

    def amend(self, single: Traded, keep_from_ns: int) -> Candle:
        """The closed bar of the trade's time, with the trade; a new one if there was none."""
        self._keep_older(keep_from_ns)
        open_time_ns = single.first_ns - single.first_ns % self.length_ns
        before = self._older.get(open_time_ns)
        self._older[open_time_ns] = part = single.copy() if before is None else merged(before, single)
        return self._candle(open_time_ns, part)

    def forget(self) -> None:
        """No bar is over."""
        self._newest = None
        self._older.clear()
        self._closed_to_ns = 0

    def _keep_older(self, keep_from_ns: int) -> None:
        """The bar that was closed last goes to the older ones, and those that can't be amended any more go."""
        if self._newest is not None:
            open_time_ns, part = self._newest
            if open_time_ns + self.length_ns >= keep_from_ns:
                self._older[open_time_ns] = part
            self._newest = None
        if self._older:
            for open_time_ns in [at for at in self._older if at + self.length_ns < keep_from_ns]:
                del self._older[open_time_ns]

    def _candle(self, open_time_ns: int, part: Traded) -> Candle:
        at = self._instrument
        return Candle(
            at.exchange,
            at.symbol,
            self.timeframe,
            open_time_ns,
            *part.texts(),
            part.trades_count,
        )


def _wire(bars: Sequence[_Bar]) -> tuple[_Bar, ...]:
    """Let each bar be fed by the largest smaller one that divides it; those that none divides are fed by trades."""
    for place, bar in enumerate(bars):
        for smaller in bars[:place]:
            if bar.length_ns % smaller.length_ns == 0:
                bar.source = smaller
        if bar.source is not None:
            bar.source.feeds += (bar,)
    return tuple(bar for bar in bars if bar.source is None)
