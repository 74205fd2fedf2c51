"""Klines from trades, and longer klines from shorter ones, as Binance counts them.

A bar without a trade repeats the last close with no volume. Keeps a bounded number of bars.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

INTERVAL_MS = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
"""The intervals that are offered. Longer ones would never close here."""
KLINES_MAX = 1_000


class Kline(Struct, gc=False):
    """One bar. Prices in ticks, volumes in lots, notionals in units of 1e-8 of the quote currency."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    notional: int = 0
    trades: int = 0
    taker_buy_lots: int = 0
    taker_buy_notional: int = 0


class Klines:
    """The bars of one symbol and interval, oldest first."""

    def __init__(self, interval: str) -> None:
        self.interval_ms = INTERVAL_MS[interval]
        self.bars: deque[Kline] = deque(maxlen=KLINES_MAX)

    def trade(self, time_ms: int, price: int, lots: int, notional: int, taker_buys: bool) -> None:
        """Count one trade; times never run back."""
        if not self.bars:
            self.bars.append(Kline(time_ms - time_ms % self.interval_ms, price, price, price, price))
        self.roll(time_ms)
        bar = self.bars[-1]
        if bar.trades == 0:
            bar.open = bar.high = bar.low = price
        bar.high = max(bar.high, price)
        bar.low = min(bar.low, price)
        bar.close = price
        bar.lots += lots
        bar.notional += notional
        bar.trades += 1
        if taker_buys:
            bar.taker_buy_lots += lots
            bar.taker_buy_notional += notional

    def roll(self, time_ms: int) -> None:
        """Open the bars that have begun by now; before the first trade there are none."""
        if not self.bars:
            return
        last = self.bars[-1]
        newest = time_ms - time_ms % self.interval_ms
        first = max(last.open_ms + self.interval_ms, newest - (KLINES_MAX - 1) * self.interval_ms)
        for open_ms in range(first, newest + 1, self.interval_ms):
            self.bars.append(Kline(open_ms, last.close, last.close, last.close, last.close))


def merged(bars: Iterable[Kline], interval_ms: int) -> list[Kline]:
    """Longer bars out of consecutive shorter ones, oldest first."""
    result: list[Kline] = []
    for bar in bars:
        open_ms = bar.open_ms - bar.open_ms % interval_ms
        if not result or result[-1].open_ms != open_ms:
            result.append(Kline(open_ms, bar.open, bar.high, bar.low, bar.close))
        into = result[-1]
        if bar.trades == 0:
            continue
        if into.trades == 0:
            into.open, into.high, into.low = bar.open, bar.high, bar.low
        into.high = max(into.high, bar.high)
        into.low = min(into.low, bar.low)
        into.close = bar.close
        into.lots += bar.lots
        into.notional += bar.notional
        into.trades += bar.trades
        into.taker_buy_lots += bar.taker_buy_lots
        into.taker_buy_notional += bar.taker_buy_notional
    return result
