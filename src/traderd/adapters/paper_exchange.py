"""The paper exchange: `runtime.ports.Exchange` over `core.matching`, filled by the live quotes.

Reports go to `report`, at once and in order. Refuses nothing itself; the simulated venue does.
"""

from collections.abc import Sequence

from traderd.core.market import Quote
from traderd.core.matching import PaperBook, PaperSettings
from traderd.core.orders import Approved, Report
from traderd.core.ticker import TickerBoard
from traderd.runtime.ports import Clock, ReportSink


class PaperExchange:
    """One simulated account. Set `report` before the first order is sent."""

    def __init__(self, settings: PaperSettings, board: TickerBoard, clock: Clock) -> None:
        self.report: ReportSink = _nobody
        self._clock = clock
        self._board = board
        self._book = PaperBook(settings)
        self.working = self._book.working

    def send(self, approved: Approved) -> None:
        """Submit one order, now: there is no line to wait for."""
        self._tell(self._book.submit(approved, self._clock.time_ns()))

    def on_quote(self, quote: Quote) -> None:
        """Fill what this quote fills."""
        self._tell(self._book.on_quote(quote))

    def on_beat(self, now_ns: int) -> None:
        """Fill what turned live without a quote since."""
        self._tell(self._book.on_beat(now_ns, self._board))

    def close(self) -> None:
        """The venue lives in memory: with the daemon it ends, and so do the orders that rest in it."""
        self._tell(self._book.expire(self._clock.time_ns()))

    def _tell(self, reports: Sequence[Report]) -> None:
        for report in reports:
            self.report(report)


def _nobody(report: Report) -> None:
    raise AssertionError(f"nobody listens to the report on {report.client_order_id}")
