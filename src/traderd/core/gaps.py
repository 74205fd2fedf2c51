"""The gap ledger: every hole in the data has a row that says from when to when, and why.

A gap is opened where data stopped being whole and closed where it is whole again; both are facts under one key. What a
run that ended leaves open is closed by a later one.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from traderd.core.facts import Gap

_INTERRUPTIONS = ("disconnect", "restart")


class GapLedger:
    """The open gaps of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.count = 0
        """Gaps opened so far."""
        self._open: dict[tuple[str, str, str, str], Gap] = {}
        self._earlier: list[Gap] = []
        self._healed_ns: dict[str, int] = {}

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
        return _ended(gap, to_ns, rows_lost) if gap else None

    def healed(self, exchange: str, to_ns: int) -> list[Gap]:
        """Data of this venue flows: that ends interruptions of this run and all that earlier runs left open."""
        self._healed_ns.setdefault(exchange, to_ns)
        ended = [gap for reason in _INTERRUPTIONS if (gap := self.closed(exchange, "", "", reason, to_ns))]
        return ended + self._end_earlier()

    def inherit(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Gaps that the database holds as open: those of earlier runs are over as soon as data flows, maybe already."""
        own = f"{self._run}-g"
        self._earlier += [gap for gap in gaps if not gap.gap_id.startswith(own)]
        return self._end_earlier()

    def _end_earlier(self) -> list[Gap]:
        """A venue that isn't listened to any more keeps its gap open: that is the truth."""
        over = [gap for gap in self._earlier if gap.exchange in self._healed_ns]
        self._earlier = [gap for gap in self._earlier if gap.exchange not in self._healed_ns]
        return [_ended(gap, self._healed_ns[gap.exchange], gap.rows_lost) for gap in over]

    def open_gaps(self) -> list[Gap]:
        """Those that are open now."""
        return [*self._earlier, *self._open.values()]


def _ended(gap: Gap, to_ns: int, rows_lost: int) -> Gap:
    return replace(gap, to_ns=max(to_ns, gap.from_ns), rows_lost=rows_lost)
