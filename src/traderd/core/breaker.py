"""The drawdown breaker: nothing is ordered while equity is too far below its peak, or while it can't be told.

    waiting ──fresh equity──► closed ──drawdown──► tripped ──an operator's reset──► waiting
       ▲                        │
       └──── equity unknown ────┘          (waiting trips too, when the first equity it sees is too low)

Refuses to close by itself once tripped, over restarts as well: `restore` it.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

BreakerState = Literal["waiting", "closed", "tripped"]


class BreakerChange(Struct, frozen=True):
    """The breaker moved."""

    before: BreakerState
    after: BreakerState
    reason: str


class DrawdownBreaker:
    """`drawdown_pct_max` is in percent of the peak; reaching it trips."""

    def __init__(self, drawdown_pct_max: Decimal) -> None:
        self.state: BreakerState = "waiting"
        self.reason = "equity was not computed yet"
        self._drawdown_pct_max = drawdown_pct_max

    @property
    def refusal(self) -> str:
        """Why nothing may pass; "" when it may."""
        return "" if self.state == "closed" else f"breaker {self.state}: {self.reason}"

    def observe(self, equity: Decimal | None, peak: Decimal) -> BreakerChange | None:
        """Equity at fresh quotes, or None when it can't be told, and its peak so far."""
        if self.state == "tripped":
            return None
        if equity is None:
            return self._move("waiting", "a position has no fresh quote")
        if peak <= 0 or (peak - equity) * 100 >= self._drawdown_pct_max * peak:
            return self._move("tripped", f"equity {equity:.2f} against a peak of {peak:.2f}")
        return self._move("closed", "equity is known and in bounds")

    def reset(self) -> BreakerChange | None:
        """An operator says go on. It closes at the next equity in bounds; the caller lets the peak start anew."""
        return self._move("waiting", "reset by an operator") if self.state == "tripped" else None

    def restore(self, reason: str) -> None:
        """It had tripped in an earlier run and nobody reset it."""
        self._move("tripped", reason)

    def _move(self, state: BreakerState, reason: str) -> BreakerChange | None:
        if state == self.state:
            return None
        before, self.state, self.reason = self.state, state, reason
        return BreakerChange(before, state, reason)
