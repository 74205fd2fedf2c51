"""The watch over equity: what all is worth, its peak, and the breaker that a drawdown trips.

Equity is recorded whenever it can be told. Peak and breaker refuse to believe it unless every quote that it rests on is
fresh.
"""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import structs

from traderd.core.alerts import AlertLog
from traderd.core.breaker import DrawdownBreaker
from traderd.core.facts import BreakerEvent, Environment, Fact
from traderd.core.portfolio import Portfolio
from traderd.core.ticker import TickerBoard

_PERCENT_QUANTUM = Decimal("1e-6")


class EquityWatch:
    """One portfolio's. `quote_age_ns_max` is how old a fresh quote may be."""

    def __init__(
        self,
        run: str,
        portfolio: Portfolio,
        board: TickerBoard,
        alerts: AlertLog,
        drawdown_pct_max: Decimal,
        quote_age_ns_max: int,
        interval_ns: int,
        environment: Environment,
    ) -> None:
        self.breaker = DrawdownBreaker(drawdown_pct_max)
        self._run = run
        self._portfolio = portfolio
        self._board = board
        self._alerts = alerts
        self._drawdown_pct_max = drawdown_pct_max
        self._quote_age_ns_max = quote_age_ns_max
        self._interval_ns = interval_ns
        self._environment = environment
        self._due_ns = 0
        self._trips = 0
        self._trip: BreakerEvent | None = None

    def on_beat(self, now_ns: int) -> list[Fact]:
        """Look, and record what was seen once in each interval."""
        due = not self._due_ns - self._interval_ns <= now_ns < self._due_ns  # the clock may have been set back
        if due:
            self._due_ns = now_ns - now_ns % self._interval_ns + self._interval_ns
        return self.look(now_ns, record=due)

    def look(self, now_ns: int, record: bool) -> list[Fact]:
        """Equity at the newest quotes; only when all of them are fresh do peak and breaker believe it."""
        valuation = self._portfolio.value(self._board)
        fresh = valuation if valuation and now_ns - valuation.oldest_quote_ns <= self._quote_age_ns_max else None
        if fresh:
            self._portfolio.observe(fresh)
        equity = fresh.equity if fresh else None
        change = self.breaker.observe(equity, self._portfolio.peak_equity)
        effects: list[Fact] = []
        if record and valuation:
            effects.append(self._portfolio.equity(valuation, now_ns, self._environment))
        if change and change.after == "tripped" and equity is not None:
            effects += self._tripped(now_ns, equity, change.reason)
        return effects

    def restore(self, reason: str, trip: BreakerEvent | None) -> None:
        """The breaker tripped in an earlier run and nobody reset it; `trip` is that run's event, if it left one."""
        self.breaker.restore(reason)
        self._trip = trip

    def reset(self, now_ns: int) -> Sequence[Fact]:
        """An operator accepts the drawdown: the peak starts anew from the next fresh equity."""
        change = self.breaker.reset()
        if change is None:
            return ()
        self._portfolio.forget_peak()
        resolved = [structs.replace(self._trip, resolved_ns=now_ns)] if self._trip else []
        self._trip = None
        title, name = "The drawdown breaker was reset", self._portfolio.name
        return [
            *resolved,
            *self._alerts.note(now_ns, "breaker_reset", "critical", title, change.reason, portfolio=name),
        ]

    def _tripped(self, now_ns: int, equity: Decimal, reason: str) -> list[Fact]:
        peak, name = self._portfolio.peak_equity, self._portfolio.name
        drawdown_pct = (peak - equity) * 100 / peak if peak > 0 else Decimal(100)
        self._trips += 1
        self._trip = BreakerEvent(
            event_id=f"{self._run}-b{self._trips}",
            portfolio=name,
            trigger_type="drawdown",
            threshold=self._drawdown_pct_max,
            actual=drawdown_pct.quantize(_PERCENT_QUANTUM),
            triggered_ns=now_ns,
            reason=reason,
        )
        title = "Drawdown breaker tripped"
        return [self._trip, *self._alerts.note(now_ns, "breaker_tripped", "critical", title, reason, portfolio=name)]
