"""Candles from trades: exact open, high, low, close and sums, for one instrument and several timeframes.

Bars are aligned to the epoch (a day is a UTC day) and a trade belongs to the bar of its venue time. A bar closes when a
trade of a later bar arrives, or when a Beat is past its end by the grace. A bucket without a trade produces no candle.
Refuses a trade of a time that is already closed (`late_trades`), and one that the venue dates more than a minute
ahead of its arrival (`early_trades`): a broken venue clock would otherwise close every bar up to that time.
"""

import re
from collections.abc import Sequence
from decimal import Context, Decimal

from msgspec import structs

from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade

EARLY_NS_MAX = 60 * 10**9

_UNIT_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
_NEVER_NS = 2**63 - 1
_NONE: tuple[Candle, ...] = ()

# The default context's 28 digits could round a long sum of products of two 8-decimal numbers.
_EXACT = Context(prec=80)
_add = _EXACT.add
_multiply_add = _EXACT.fma


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
    return structs.replace(
        candle,
        bid=Decimal(quote.bid_text),
        ask=Decimal(quote.ask_text),
        bid_size=Decimal(quote.bid_size_text),
        ask_size=Decimal(quote.ask_size_text),
    )


class CandleBuilder:
    """One instrument's bars in progress.

    Only the smallest timeframe (and one that no smaller one divides) is fed per trade; every other is fed by the closed
    bars of the largest timeframe that divides it, so that a minute is by construction the sum of its seconds.
    """

    __slots__ = (
        "_bars",
        "_deadline_ns",
        "_floor_ns",
        "_grace_ns",
        "_instrument",
        "_roots",
        "early_trades",
        "late_trades",
    )

    def __init__(self, instrument: Instrument, timeframes: Sequence[str], grace_ns: int) -> None:
        self.late_trades = 0
        self.early_trades = 0
        self._instrument = instrument
        self._grace_ns = grace_ns
        self._bars = sorted((_Bar(text) for text in set(timeframes)), key=lambda bar: bar.length_ns)
        self._roots = _wire(self._bars)
        self._deadline_ns = _NEVER_NS  # the earliest end of a bar in progress
        self._floor_ns = 0  # a trade before this is late

    def on_trade(self, trade: Trade) -> Sequence[Candle]:
        """Take one trade in; the candles that its time closes, smaller timeframes first."""
        time_ns = trade.time_venue_ns or trade.time_received_ns
        if time_ns > trade.time_received_ns + EARLY_NS_MAX:
            self.early_trades += 1
            return _NONE
        closed = self._close_until(time_ns) if time_ns >= self._deadline_ns else _NONE
        if time_ns < self._floor_ns:
            self.late_trades += 1
            return closed
        price = Decimal(trade.price_text)
        quantity = Decimal(trade.quantity_text)
        for bar in self._roots:
            if not bar.trades_count:
                self._start(bar, time_ns, price)
            elif price > bar.high:
                bar.high = price
            elif price < bar.low:
                bar.low = price
            bar.close = price
            bar.volume = _add(bar.volume, quantity)
            bar.quote_volume = _multiply_add(price, quantity, bar.quote_volume)
            bar.trades_count += 1
        return closed

    def on_beat(self, now_ns: int) -> Sequence[Candle]:
        """The candles whose end is more than the grace ago, smaller timeframes first."""
        horizon_ns = now_ns - self._grace_ns
        return self._close_until(horizon_ns) if horizon_ns >= self._deadline_ns else _NONE

    def _start(self, bar: "_Bar", time_ns: int, price: Decimal) -> None:
        bar.start(time_ns, price)
        self._floor_ns = max(self._floor_ns, bar.open_time_ns)
        self._deadline_ns = min(self._deadline_ns, bar.end_ns)

    def _close_until(self, horizon_ns: int) -> Sequence[Candle]:
        closed = []
        for bar in self._bars:  # ascending: what feeds a bar comes before it
            if bar.trades_count and bar.end_ns <= horizon_ns:
                closed.append(bar.candle(self._instrument))
                self._floor_ns = max(self._floor_ns, bar.end_ns)
                for larger in bar.feeds:
                    larger.merge(bar)
                bar.trades_count = 0
        self._deadline_ns = min((bar.end_ns for bar in self._bars if bar.trades_count), default=_NEVER_NS)
        return closed


class _Bar:
    """One bar in progress; empty when `trades_count` is 0."""

    __slots__ = (
        "close",
        "end_ns",
        "feeds",
        "high",
        "length_ns",
        "low",
        "open",
        "open_time_ns",
        "quote_volume",
        "timeframe",
        "trades_count",
        "volume",
    )

    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.length_ns = timeframe_ns(timeframe)
        self.feeds: list[_Bar] = []
        self.start(0, Decimal(0))

    def start(self, time_ns: int, price: Decimal) -> None:
        self.open_time_ns = time_ns - time_ns % self.length_ns
        self.end_ns = self.open_time_ns + self.length_ns
        self.open = self.high = self.low = self.close = price
        self.volume = self.quote_volume = Decimal(0)
        self.trades_count = 0

    def merge(self, smaller: "_Bar") -> None:
        if not self.trades_count:
            self.start(smaller.open_time_ns, smaller.open)
        self.high = max(self.high, smaller.high)
        self.low = min(self.low, smaller.low)
        self.close = smaller.close
        self.volume = _add(self.volume, smaller.volume)
        self.quote_volume = _add(self.quote_volume, smaller.quote_volume)
        self.trades_count += smaller.trades_count

    def candle(self, instrument: Instrument) -> Candle:
        return Candle(
            exchange=instrument.exchange,
            symbol=instrument.symbol,
            timeframe=self.timeframe,
            open_time_ns=self.open_time_ns,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            quote_volume=self.quote_volume,
            trades_count=self.trades_count,
        )


def _wire(bars: list[_Bar]) -> list[_Bar]:
    """Let each bar be fed by the largest smaller one that divides it; those that none divides are fed by trades."""
    roots = []
    for place, bar in enumerate(bars):
        sources = [smaller for smaller in bars[:place] if bar.length_ns % smaller.length_ns == 0]
        if sources:
            sources[-1].feeds.append(bar)
        else:
            roots.append(bar)
    return roots
