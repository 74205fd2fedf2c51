"""The gap ledger: every hole in the data has a row that says from when to when, and why.

A gap is opened where data stopped being whole and closed where it is whole again; both are facts under one key.
"""

from traderd.core.facts import Gap


class GapLedger:
    """The open gaps of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.count = 0
        """Gaps opened so far."""
        self._open: dict[tuple[str, str, str, str], Gap] = {}

    def opened(
        self, exchange: str, symbol: str, channel: str, reason: str, from_ns: int, detail: str = ""
    ) -> Gap | None:
        """The gap that begins; None if this one is open already."""
        key = (exchange, symbol, channel, reason)
        if key in self._open:
            return None
        self.count += 1
        gap = Gap(f"{self._run}-g{self.count}", exchange, symbol, channel, reason, from_ns, 0, 0, detail)
        self._open[key] = gap
        return gap

    def closed(
        self, exchange: str, symbol: str, channel: str, reason: str, to_ns: int, rows_lost: int = 0
    ) -> Gap | None:
        """The gap that ends; None if no such one is open."""
        gap = self._open.pop((exchange, symbol, channel, reason), None)
        if gap is None:
            return None
        return Gap(
            gap.gap_id, exchange, symbol, channel, reason, gap.from_ns, max(to_ns, gap.from_ns), rows_lost, gap.detail
        )

    def open_gaps(self) -> list[Gap]:
        """Those that are open now."""
        return list(self._open.values())
