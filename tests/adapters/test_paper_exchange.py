from decimal import Decimal

import pytest

from made_up import BTC, MS, START, quote
from traderd.adapters.paper_exchange import PaperExchange
from traderd.core.matching import PaperSettings
from traderd.core.orders import Approved, Intent, Report
from traderd.core.ticker import TickerBoard
from traderd.runtime.ports import Exchange


class StandingClock:
    """It is always START."""

    def time_ns(self) -> int:
        return START

    def monotonic_ns(self) -> int:
        return 0


def order(number: int = 1) -> Approved:
    return Approved(Intent(f"r-o{number}", "s", "ema", BTC, "buy", "market", Decimal(1), None, START), Decimal(1000))


def paper() -> tuple[PaperExchange, list[Report], TickerBoard]:
    board, reports = TickerBoard(1), list[Report]()
    exchange = PaperExchange(PaperSettings(Decimal(10), Decimal(0), 20, 2_000), board, StandingClock())
    exchange.report = reports.append
    return exchange, reports, board


async def test_an_order_is_sent_at_clock_time_and_filled_by_the_live_quotes() -> None:
    """Every report reaches the sink, in order."""
    exchange, reports, _ = paper()
    port: Exchange = exchange
    assert port.send(order()) is None
    assert 0 in exchange.working
    exchange.on_quote(quote("999", "1000", START + 20 * MS))
    assert [(each.kind, each.time_ns) for each in reports] == [("new", START), ("trade", START + 20 * MS)]
    assert 0 not in exchange.working


async def test_a_beat_fills_at_the_boards_newest_quote() -> None:
    """When nothing new is quoted."""
    exchange, reports, board = paper()
    board.quotes[0] = quote("999", "1000", START)
    exchange.send(order())
    exchange.on_beat(START + 20 * MS)
    assert [each.kind for each in reports] == ["new", "trade"]


async def test_what_still_rests_expires_when_the_venue_closes() -> None:
    """An orderly stop leaves no order open that nobody will ever fill."""
    exchange, reports, _ = paper()
    exchange.send(order(1))
    exchange.close()
    assert [(each.kind, each.client_order_id) for each in reports] == [("new", "r-o1"), ("expired", "r-o1")]
    assert 0 not in exchange.working
    exchange.close()
    assert len(reports) == 2


async def test_reports_without_a_listener_are_our_own_mistake() -> None:
    """A report that nobody hears would be money that nobody counts."""
    exchange = PaperExchange(PaperSettings(Decimal(10), Decimal(0), 20, 2_000), TickerBoard(1), StandingClock())
    with pytest.raises(AssertionError, match="nobody listens"):
        exchange.send(order())
