"""Follows the trend: long when the fast average crosses above the slow one, out (or short) when it crosses below.

Refuses to call the first relation it sees a crossing: a trend that began before it was warm is not its own.
"""

from collections.abc import Mapping

from traderd.core.facts import Candle, SignalType
from traderd.core.indicators import Ema
from traderd.core.strategy import Opinion, Rules

STRENGTH_FULL = 0.001
"""A gap between the averages of 10 bps of the slow one counts as full strength."""


class EmaCross:
    """EMA cross on closes; `fast` and `slow` are periods in candles."""

    def __init__(self, fast: int, slow: int, allow_short: bool = False) -> None:
        if not 1 <= fast < slow:
            raise ValueError(f"an EMA cross needs 1 <= fast < slow, not {fast} and {slow}")
        self._fast = Ema(fast)
        self._slow = Ema(slow)
        self._averages = {f"EMA_{fast}": self._fast, f"EMA_{slow}": self._slow}
        self._down: SignalType = "SHORT" if allow_short else "EXIT_LONG"
        self._above: bool | None = None

    @property
    def warm(self) -> bool:
        """Whether both averages have a value."""
        return self._slow.value is not None

    @property
    def indicators(self) -> Mapping[str, float]:
        """Both averages, each from when it has a value."""
        return {name: each.value for name, each in self._averages.items() if each.value is not None}

    @property
    def rules(self) -> Rules:
        """Entering and leaving, as data."""
        fast, slow = self._averages
        above = {"left": fast, "operator": "crosses_above", "right": slow}
        below = above | {"operator": "crosses_below"}
        if self._down == "SHORT":
            return Rules("momentum", {"long": above, "short": below}, {"long": below, "short": above})
        return Rules("momentum", {"long": above}, {"long": below})

    def on_candle(self, candle: Candle) -> Opinion | None:
        """An opinion on the candle that makes the averages cross, else None. Touching is not crossing."""
        close = float(candle.close)
        fast, slow = self._fast.push(close), self._slow.push(close)
        if fast is None or slow is None or fast == slow:
            return None
        before, self._above = self._above, fast > slow
        if before is None or before == self._above:
            return None
        return self._opinion(fast, slow)

    def _opinion(self, fast: float, slow: float) -> Opinion:
        word = "above" if fast > slow else "below"
        return Opinion(
            signal_type="LONG" if fast > slow else self._down,
            strength=min(1.0, abs(fast - slow) / slow / STRENGTH_FULL),
            confidence=1.0,  # a crossing is there or it isn't
            reason=f"fast EMA {fast:.10g} crossed {word} slow EMA {slow:.10g}",
        )
