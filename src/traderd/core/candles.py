"""Candles from trades: exact open, high, low, close and sums, for one instrument and several timeframes.

Bars are aligned to the epoch (a day is a UTC day) and a trade belongs to the bar of its venue time, whenever it comes:
open and close are those of the earliest and the latest trade. A bar closes when a trade of a later bar arrives, or when
a Beat is past its end by the grace. A bucket without a trade produces no candle. Until the grace is over a trade that
comes late amends the closed bar: its candle comes once more, with more trades.
Refuses a trade for which that is too late for any timeframe (`late_trades`): all timeframes are made of the same ones.
"""

import re
from collections.abc import Sequence
from decimal import Context, Decimal
from functools import lru_cache

from msgspec import structs

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade

_UNIT_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
NEVER_NS = 2**63 - 1
_NONE: tuple[Candle, ...] = ()
_ZERO = Decimal(0)
_KEPT_UNSEEN = 2
"""So many closed bars may wait without being looked at if they are still of use."""

# The default context's 28 digits could round a long sum of products of two 8-decimal numbers.
_EXACT = Context(prec=80)
_add = _EXACT.add
_multiply_add = _EXACT.fma


@lru_cache(maxsize=256)
def timeframe_ns(text: str) -> int:
    """`1s`, `5m`, `4h`, `1d` → nanoseconds. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a timeframe: a whole number and s, m, h or d, such as 1m")
    return int(match[1]) * _UNIT_NS[match[2]]


def with_quote(candle: Candle, quote: Quote | None) -> Candle:
    """The candle and the quote at which it was closed."""
    if quote is None:
        return candle
    bid, bid_size, ask, ask_size = map(Decimal, quote.texts)
    return structs.replace(candle, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size)


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
        "_instrument",
        "_now_ns",
        "_roots",
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
        self._instrument = instrument
        self._grace_ns = self._given_grace_ns = grace_ns
        self._bars = sorted((_Bar(text, timeframe_ns(text)) for text in set(timeframes)), key=lambda bar: bar.length_ns)
        self._roots = _wire(self._bars)
        self.deadline_ns = NEVER_NS
        """The earliest end of a bar in progress: before it and the grace a Beat changes nothing."""
        self._floor_ns = 0  # a trade before this is late
        self._now_ns = 0  # the newest time that anybody told

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
        price, quantity = map(Decimal, trade.texts)
        self._now_ns = max(self._now_ns, trade.time_received_ns)
        if time_ns < self._floor_ns:
            return self._amended(time_ns, price, quantity)
        for bar in self._roots:
            if not bar.trades_count:
                self._start(bar, time_ns, price)
            elif price > bar.high:
                bar.high = price
            elif price < bar.low:
                bar.low = price
            if time_ns >= bar.last_ns:
                bar.close = price
                bar.last_ns = time_ns
            elif time_ns < bar.first_ns:
                bar.open = price
                bar.first_ns = time_ns
            bar.volume = _add(bar.volume, quantity)
            bar.quote_volume = _multiply_add(price, quantity, bar.quote_volume)
            bar.trades_count += 1
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

    def _amended(self, time_ns: int, price: Decimal, quantity: Decimal) -> Sequence[Candle]:
        """A late trade into every bar that it belongs to, unless it is too late for one of them."""
        newest_end_ns = self._now_ns - self._grace_ns
        too_late = [bar for bar in self._bars if bar.is_closed(time_ns) and bar.end_of(time_ns) < newest_end_ns]
        if too_late:
            self.late_trades += 1
            for bar in too_late:
                self.late[bar.timeframe] += 1
            return _NONE
        single = _Bar("", 1)
        single.start(time_ns, price)
        single.volume, single.quote_volume = quantity, _multiply_add(price, quantity, Decimal(0))
        single.trades_count = 1
        amended: list[Candle] = []
        coming: set[_Bar] = set()  # these hold the trade and will hand it on when they close
        for bar in self._bars:
            if bar.source in coming:
                coming.add(bar)
            elif bar.is_closed(time_ns):
                amended.append(bar.amend(single, newest_end_ns, self._instrument))
            else:
                bar.merge(single)
                self.deadline_ns = min(self.deadline_ns, bar.end_ns)
                coming.add(bar)
        # What it opened may have ended before the bar that is in progress began.
        return [*amended, *self._close_until(self._floor_ns)]

    def _start(self, bar: "_Bar", time_ns: int, price: Decimal) -> None:
        bar.start(time_ns, price)
        self._floor_ns = max(self._floor_ns, bar.open_time_ns)
        self.deadline_ns = min(self.deadline_ns, bar.end_ns)

    def _close_until(self, horizon_ns: int) -> Sequence[Candle]:
        closed, deadline_ns = [], NEVER_NS
        for bar in self._bars:  # ascending: what feeds a bar comes before it
            if not bar.trades_count:
                continue
            if bar.end_ns <= horizon_ns:
                self._floor_ns = max(self._floor_ns, bar.end_ns)
                closed.append(bar.close_off(self._instrument, self._now_ns - self._grace_ns))
            elif bar.end_ns < deadline_ns:
                deadline_ns = bar.end_ns
        self.deadline_ns = deadline_ns
        return closed


class _Bar:
    """One bar in progress; empty when `trades_count` is 0. And those that may still be amended."""

    __slots__ = (
        "_closed",
        "_closed_to_ns",
        "close",
        "end_ns",
        "feeds",
        "first_ns",
        "high",
        "last_ns",
        "length_ns",
        "low",
        "open",
        "open_time_ns",
        "quote_volume",
        "source",
        "timeframe",
        "trades_count",
        "volume",
    )

    def __init__(self, timeframe: str, length_ns: int) -> None:
        self.timeframe = timeframe
        self.length_ns = length_ns
        self.feeds: list[_Bar] = []
        self.source: _Bar | None = None
        self._closed: dict[int, tuple[Candle, int, int]] = {}  # with the times of its first and its last trade
        self._closed_to_ns = 0
        self.start(0, Decimal(0))

    def start(self, time_ns: int, price: Decimal) -> None:
        self.open_time_ns = time_ns - time_ns % self.length_ns
        self.end_ns = self.open_time_ns + self.length_ns
        self.first_ns = self.last_ns = time_ns
        self.open = self.high = self.low = self.close = price
        self.volume = self.quote_volume = _ZERO
        self.trades_count = 0

    def merge(self, other: "_Bar") -> None:
        if not self.trades_count:
            self.start(other.first_ns, other.open)
        if other.first_ns < self.first_ns:
            self.first_ns, self.open = other.first_ns, other.open
        if other.last_ns >= self.last_ns:
            self.last_ns, self.close = other.last_ns, other.close
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.volume = _add(self.volume, other.volume)
        self.quote_volume = _add(self.quote_volume, other.quote_volume)
        self.trades_count += other.trades_count

    def end_of(self, time_ns: int) -> int:
        return time_ns - time_ns % self.length_ns + self.length_ns

    def is_closed(self, time_ns: int) -> bool:
        """Whether the bar of this time is over: closed itself, or passed by without a trade."""
        return time_ns < self._closed_to_ns or (self.trades_count > 0 and time_ns < self.open_time_ns)

    def close_off(self, instrument: Instrument, keep_from_ns: int) -> Candle:
        """The bar is over; it is kept as long as it may be amended."""
        candle = self.candle(instrument)
        for larger in self.feeds:
            larger.merge(self)
        self._closed_to_ns = self.end_ns
        self.trades_count = 0
        if len(self._closed) > _KEPT_UNSEEN:
            self._forget(keep_from_ns)
        if self.end_ns >= keep_from_ns:
            self._closed[self.open_time_ns] = candle, self.first_ns, self.last_ns
        return candle

    def amend(self, single: "_Bar", keep_from_ns: int, instrument: Instrument) -> Candle:
        """The closed bar of the trade's time, with the trade; a new one if there was none."""
        self._forget(keep_from_ns)
        open_time_ns = single.first_ns - single.first_ns % self.length_ns
        over = _Bar(self.timeframe, self.length_ns)
        if found := self._closed.get(open_time_ns):
            over.reopen(*found)
        over.merge(single)
        candle = over.candle(instrument)
        self._closed[open_time_ns] = candle, over.first_ns, over.last_ns
        return candle

    def reopen(self, candle: Candle, first_ns: int, last_ns: int) -> None:
        """As it was when the candle was made of it."""
        self.start(first_ns, candle.open)
        self.last_ns, self.close = last_ns, candle.close
        self.high, self.low = candle.high, candle.low
        self.volume, self.quote_volume = candle.volume, candle.quote_volume
        self.trades_count = candle.trades_count

    def candle(self, instrument: Instrument) -> Candle:
        return Candle(
            instrument.exchange,
            instrument.symbol,
            self.timeframe,
            self.open_time_ns,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades_count,
        )

    def forget(self) -> None:
        """No bar is over."""
        self._closed.clear()
        self._closed_to_ns = 0

    def _forget(self, keep_from_ns: int) -> None:
        for open_time_ns in [at for at in self._closed if at + self.length_ns < keep_from_ns]:
            del self._closed[open_time_ns]


def _wire(bars: list[_Bar]) -> list[_Bar]:
    """Let each bar be fed by the largest smaller one that divides it; those that none divides are fed by trades."""
    roots = []
    for place, bar in enumerate(bars):
        sources = [smaller for smaller in bars[:place] if bar.length_ns % smaller.length_ns == 0]
        if sources:
            bar.source = sources[-1]
            sources[-1].feeds.append(bar)
        else:
            roots.append(bar)
    return roots
