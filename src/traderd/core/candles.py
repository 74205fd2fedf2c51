"""Candles from trades: exact open, high, low, close and sums, for one instrument and several timeframes.

Bars are aligned to the epoch (a day is a UTC day) and a trade belongs to the bar of its venue time, whenever it comes:
open and close are those of the earliest and the latest trade. A bar closes when a trade of a later bar arrives, or when
a Beat is past its end by the grace. A bucket without a trade produces no candle. Until the grace is over a trade that
comes late amends the closed bar: its candle comes once more, with more trades.
Refuses a trade for which that is too late for any timeframe (`late`): all timeframes are made of the same ones.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct, field

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.traded import Traded, merged, traded

_UNIT_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
NEVER_NS = 2**63 - 1
_NONE: tuple[Candle, ...] = ()


@lru_cache(maxsize=256)
def timeframe_ns(text: str) -> int:
    """`1s`, `5m`, `4h`, `1d` → nanoseconds. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a timeframe: a whole number and s, m, h or d, such as 1m")
    return int(match[1]) * _UNIT_NS[match[2]]


class Interval(NamedTuple):
    """A timeframe among others."""

    name: str
    length_ns: int
    source: int
    """The place of that which feeds it: the largest smaller one that divides it. -1: trades do."""


def intervals_of(timeframes: Iterable[str]) -> tuple[Interval, ...]:
    """Each once, the smallest first."""
    names = sorted(set(timeframes), key=timeframe_ns)
    lengths = [timeframe_ns(name) for name in names]
    return tuple(
        Interval(name, length, max((at for at in range(place) if length % lengths[at] == 0), default=-1))
        for place, (name, length) in enumerate(zip(names, lengths, strict=True))
    )


class LateTrades(Struct):
    """Trades that came after their bar's grace."""

    trades: int = 0
    by_timeframe: dict[str, int] = field(default_factory=dict)
    """By the timeframes for which they were too late."""


class CandleBuilder:
    """One instrument's bars in progress.

    Only the smallest timeframe (and one that no smaller one divides) is fed per trade; every other is fed by the closed
    bars of the largest timeframe that divides it, so that a minute is by construction the sum of its seconds.
    """

    def __init__(
        self,
        instrument: Instrument,
        timeframes: Sequence[str],
        grace_ns: int,
        quotes: Sequence[Quote | None] = (),
        late: LateTrades | None = None,
    ) -> None:
        """`quotes` by the instruments' index: a candle says what the newest was. Several may count into one `late`."""
        self.late = LateTrades() if late is None else late
        intervals = intervals_of(timeframes)
        self.bars = tuple(Bar(instrument, each.name, quotes) for each in intervals)
        for bar, interval in zip(self.bars, intervals, strict=True):
            if interval.source >= 0:
                bar.feed_from(self.bars[interval.source])
        self.deadline_ns = NEVER_NS
        """The earliest end of a bar in progress: before it and the grace a Beat changes nothing."""
        self.floor_ns = 0
        """A trade before this is late."""
        self.now_ns = 0
        """The newest time that anybody told."""
        self.late_ones = 0
        """Trades that weren't in order, whether they were too late or not; for who counts them to set back."""
        self.kept_from_ns = 0
        """A bar that was over before can't be amended: it may be forgotten, even if the grace grew since."""
        self.grace_ns = grace_ns
        """How long after its end a bar is closed, by our clock: a venue's that is ahead ends it sooner."""

    def on_trade(self, trade: Trade) -> Sequence[Candle]:
        """Take one trade in; the candles that its time closes or that it amends, smaller timeframes first."""
        time_ns = trade.time_venue_ns or trade.time_received_ns
        if time_ns < self.floor_ns:
            return self._amended(trade)
        closed = self._close_until(time_ns) if time_ns >= self.deadline_ns else _NONE
        part = traded([trade])
        for bar in self.bars:
            if bar.source is None:
                if bar.part is None:
                    self._begin(bar, time_ns)
                bar.merge(part)
        self.now_ns = max(self.now_ns, trade.time_received_ns)
        return closed

    def on_beat(self, now_ns: int) -> Sequence[Candle]:
        """The candles whose end is more than the grace ago, smaller timeframes first."""
        self.now_ns = max(self.now_ns, now_ns)
        horizon_ns = now_ns - self.grace_ns
        return self._close_until(horizon_ns) if horizon_ns >= self.deadline_ns else _NONE

    def clock_set_back(self, now_ns: int) -> Sequence[Candle]:
        """The candles in progress, as they are; those to come are of the time that it is now.

        What was closed by a clock that ran ahead would else make a late one of each trade until that time has come.
        """
        closed = self._close_until(2 * NEVER_NS)  # also what ends where 64 bits do
        self.floor_ns, self.now_ns, self.kept_from_ns = 0, now_ns, 0
        for bar in self.bars:
            bar.forget()
        return closed

    def _amended(self, trade: Trade) -> Sequence[Candle]:
        """A late trade into every bar that it belongs to, unless it is too late for one of them."""
        time_ns = trade.time_venue_ns or trade.time_received_ns
        self.late_ones += 1
        self.now_ns = max(self.now_ns, trade.time_received_ns)
        kept_from_ns = self._forget()
        too_late = [bar for bar in self.bars if bar.is_closed(time_ns) and bar.end_of(time_ns) < kept_from_ns]
        if too_late:
            self.late.trades += 1
            for bar in too_late:
                counts = self.late.by_timeframe
                counts[bar.timeframe] = counts.get(bar.timeframe, 0) + 1
            return _NONE
        single, amended = traded([trade]), list[Candle]()
        coming: set[Bar] = set()  # these hold the trade and will hand it on when they close
        for bar in self.bars:
            if bar.source in coming:
                coming.add(bar)
            elif bar.is_closed(time_ns):
                amended.append(bar.amend(single, kept_from_ns))
            else:
                bar.merge(single)
                self.deadline_ns = min(self.deadline_ns, bar.end_ns)
                coming.add(bar)
        # What it opened may have ended before the bar that is in progress began.
        return [*amended, *self._close_until(self.floor_ns)]

    def _begin(self, bar: "Bar", time_ns: int) -> None:
        """A trade of this time will be in it."""
        bar.begin(time_ns)
        self.floor_ns = max(self.floor_ns, bar.open_time_ns)
        self.deadline_ns = min(self.deadline_ns, bar.end_ns)

    def _forget(self) -> int:
        self.kept_from_ns = max(self.kept_from_ns, self.now_ns - self.grace_ns)
        return self.kept_from_ns

    def _close_until(self, horizon_ns: int) -> Sequence[Candle]:
        closed, deadline_ns, kept_from_ns = [], NEVER_NS, self._forget()
        for bar in self.bars:  # ascending: what feeds a bar comes before it
            if bar.part is None:
                continue
            if bar.end_ns <= horizon_ns:
                self.floor_ns = max(self.floor_ns, bar.end_ns)
                closed.append(bar.close_off(bar.part, kept_from_ns))
            elif bar.end_ns < deadline_ns:
                deadline_ns = bar.end_ns
        self.deadline_ns = deadline_ns
        return closed


class Bar:
    """One timeframe's bar in progress, empty while it has no `part`. And those that may still be amended."""

    def __init__(self, instrument: Instrument, timeframe: str, quotes: Sequence[Quote | None]) -> None:
        self.timeframe = timeframe
        self.length_ns = timeframe_ns(timeframe)
        self.feeds: tuple[Bar, ...] = ()
        self.source: Bar | None = None
        self.part: Traded | None = None
        self.open_time_ns = self.end_ns = 0
        self.closed: dict[int, Traded] = {}
        """By when they began: those that may be amended, and perhaps some that can't be any more."""
        self.closed_to_ns = 0
        self._instrument = instrument
        self._quotes = quotes

    def feed_from(self, smaller: "Bar") -> None:
        """Its closed bars are this one's parts."""
        self.source = smaller
        smaller.feeds += (self,)

    def begin(self, time_ns: int) -> None:
        """What comes next is of this time's bar."""
        self.open_time_ns = time_ns - time_ns % self.length_ns
        self.end_ns = self.open_time_ns + self.length_ns

    def merge(self, part: Traded) -> None:
        """These are in it, which may begin with them; they stay whose they are."""
        if self.part is None:
            self.begin(part.first_ns)
            self.part = part.copy()
        else:
            self.part = merged(self.part, part)

    def end_of(self, time_ns: int) -> int:
        return time_ns - time_ns % self.length_ns + self.length_ns

    def is_closed(self, time_ns: int) -> bool:
        """Whether the bar of this time is over: closed itself, or passed by without a trade."""
        return time_ns < self.closed_to_ns or (self.part is not None and time_ns < self.open_time_ns)

    def close_off(self, part: Traded, keep_from_ns: int) -> Candle:
        """The bar, which is this, is over; it is kept as long as it may be amended."""
        for larger in self.feeds:
            larger.merge(part)
        self.part = None
        self.closed_to_ns = self.end_ns
        self.keep_from(keep_from_ns)
        self.closed[self.open_time_ns] = part
        return self._candle(self.open_time_ns, part)

    def amend(self, single: Traded, keep_from_ns: int) -> Candle:
        """The closed bar of the trade's time, with the trade; a new one if there was none."""
        self.keep_from(keep_from_ns)
        open_time_ns = single.first_ns - single.first_ns % self.length_ns
        before = self.closed.get(open_time_ns)
        self.closed[open_time_ns] = part = single.copy() if before is None else merged(before, single)
        return self._candle(open_time_ns, part)

    def forget(self) -> None:
        """No bar is over."""
        self.closed.clear()
        self.closed_to_ns = 0

    def keep_from(self, time_ns: int) -> None:
        """Those that were over before can't be amended any more."""
        for open_time_ns in [at for at in self.closed if at + self.length_ns < time_ns]:
            del self.closed[open_time_ns]

    def _candle(self, open_time_ns: int, part: Traded) -> Candle:
        at = self._instrument
        quote = self._quotes[at.index] if self._quotes else None
        bid, bid_size, ask, ask_size = quote.texts if quote else (None,) * 4
        return Candle(
            at.exchange,
            at.symbol,
            self.timeframe,
            open_time_ns,
            *part.texts(),
            part.trades_count,
            bid,
            ask,
            bid_size,
            ask_size,
        )
