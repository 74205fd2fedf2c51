"""Running indicators: one value in, O(1) work, the newest value out; None until warm.

Seeding and smoothing follow TA-Lib (https://github.com/TA-Lib/ta-lib: ta_EMA.c, ta_RSI.c, ta_ATR.c, ta_STDDEV.c).
Refuses to guess: no value before enough inputs. Inputs are finite; the dialects let nothing else through.
Sums over a window are recomputed once per window length, so that float errors never accumulate over months.
"""

import math
from collections import deque


class Ema:
    """Exponential moving average, k = 2 / (period + 1), seeded by the simple average of the first `period` values."""

    def __init__(self, period: int) -> None:
        self.value: float | None = None
        self._period = _positive(period)
        self._k = 2.0 / (period + 1)
        self._seed: list[float] = []

    def push(self, value: float) -> float | None:
        """Take one value in and return the average."""
        if self.value is not None:
            self.value += self._k * (value - self.value)
            return self.value
        self._seed.append(value)
        if len(self._seed) == self._period:
            self.value = math.fsum(self._seed) / self._period
            self._seed.clear()
        return self.value


class Sma:
    """Simple moving average of the last `period` values."""

    def __init__(self, period: int) -> None:
        self.value: float | None = None
        self._window: deque[float] = deque(maxlen=_positive(period))
        self._sum = 0.0
        self._age = 0

    def push(self, value: float) -> float | None:
        """Take one value in and return the average."""
        period = self._window.maxlen or 1
        self._sum += value - (self._window[0] if len(self._window) == period else 0.0)
        self._window.append(value)
        self._age += 1
        if self._age % period == 0:
            self._sum = math.fsum(self._window)
        if self._age >= period:
            self.value = self._sum / period
        return self.value


class StandardDeviation:
    """Population standard deviation of the last `period` values, by Welford's update of a sliding window.

    Replacing x_old by x_new: mean' = mean + d/n, m2' = m2 + d (x_new - mean' + x_old - mean), d = x_new - x_old.
    """

    def __init__(self, period: int) -> None:
        self.value: float | None = None
        self._window: deque[float] = deque(maxlen=_positive(period))
        self._mean = 0.0
        self._m2 = 0.0
        self._age = 0

    def push(self, value: float) -> float | None:
        """Take one value in and return the deviation."""
        period = self._window.maxlen or 1
        oldest = self._window[0] if len(self._window) == period else None
        self._window.append(value)
        self._age += 1
        if self._age % period == 0:
            self._mean = math.fsum(self._window) / period
            self._m2 = math.fsum((x - self._mean) ** 2 for x in self._window)
        elif oldest is not None:
            change, before = value - oldest, self._mean
            self._mean += change / period
            self._m2 += change * (value - self._mean + oldest - before)
        if self._age >= period:
            self.value = math.sqrt(max(self._m2, 0.0) / period)
        return self.value


class Rsi:
    """Wilder's relative strength index, 0 to 100, from `period` changes on (Wilder 1978, chapter VI).

    A market that did not move at all is 50; TA-Lib says 0 there, which would read as "oversold".
    """

    def __init__(self, period: int) -> None:
        self.value: float | None = None
        self._gain = _Wilder(period)
        self._loss = _Wilder(period)
        self._last: float | None = None

    def push(self, value: float) -> float | None:
        """Take one close in and return the index."""
        last, self._last = self._last, value
        if last is None:
            return None
        gain = self._gain.push(max(value - last, 0.0))
        loss = self._loss.push(max(last - value, 0.0))
        if gain is not None and loss is not None:
            self.value = 100.0 * (gain / (gain + loss)) if gain + loss > 0.0 else 50.0
        return self.value


class Atr:
    """Wilder's average true range, in price units, from `period` + 1 bars on (Wilder 1978, chapter III)."""

    def __init__(self, period: int) -> None:
        self.value: float | None = None
        self._average = _Wilder(period)
        self._last: float | None = None

    def push(self, high: float, low: float, close: float) -> float | None:
        """Take one bar in and return the range. The first bar only lends its close, as in TA-Lib."""
        last, self._last = self._last, close
        if last is not None:
            self.value = self._average.push(max(high, last) - min(low, last))
        return self.value


class _Wilder:
    """Wilder's smoothing: the average of the first `period` values, then (average * (period - 1) + x) / period."""

    def __init__(self, period: int) -> None:
        self._period = _positive(period)
        self._seed: list[float] = []
        self._value: float | None = None

    def push(self, value: float) -> float | None:
        if self._value is not None:
            self._value = (self._value * (self._period - 1) + value) / self._period
            return self._value
        self._seed.append(value)
        if len(self._seed) == self._period:
            self._value = math.fsum(self._seed) / self._period
            self._seed.clear()
        return self._value


def _positive(period: int) -> int:
    if period < 1:
        raise ValueError(f"a period is at least 1, not {period}")
    return period
