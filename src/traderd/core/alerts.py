"""Numbers the alerts and keeps a repeated one from flooding whoever reads them.

Refuses the same alert (type and title) within a minute of its last, and says in the next one how many there were.
Critical ones are never refused: what stopped trading must be on record.
"""

from traderd.core.facts import Alert, Severity

MUTED_NS = 60 * 10**9


class AlertLog:
    """One run's alerts. Titles come from a small set; figures belong in the message."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._count = 0
        self._heard: dict[tuple[str, str], tuple[int, int]] = {}

    def note(
        self,
        time_ns: int,
        alert_type: str,
        severity: Severity,
        title: str,
        message: str,
        exchange: str = "",
        symbol: str = "",
        order: str = "",
        portfolio: str = "",
    ) -> list[Alert]:
        """The alert, or nothing while it is muted. It is about that order, or that portfolio, or the system."""
        last_ns, muted = self._heard.get((alert_type, title), (-MUTED_NS, 0))
        if time_ns - last_ns < MUTED_NS and severity != "critical":
            self._heard[alert_type, title] = (last_ns, muted + 1)
            return []
        self._heard[alert_type, title] = (time_ns, 0)
        self._count += 1
        return [
            Alert(
                alert_id=f"{self._run}-a{self._count}",
                time_ns=time_ns,
                alert_type=alert_type,
                severity=severity,
                title=title,
                message=message,
                exchange=exchange,
                symbol=symbol,
                entity_type="order" if order else "portfolio" if portfolio else "system",
                entity_id=order or portfolio,
                metadata={"muted_before": muted} if muted else {},
            )
        ]
