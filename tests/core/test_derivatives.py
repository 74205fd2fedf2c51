"""What contracts tell, at a rate that the journal bears: the newest a second, changes of funding, every liquidation."""

from decimal import Decimal

from traderd.core.derivatives import DerivativeBoard
from traderd.core.facts import FundingRate, Liquidated, Mark, OpenContracts
from traderd.core.market import Funding, Instrument, Liquidation, MarkPrice, OpenInterest

SECOND = 10**9
START = 1_700_000_000 * SECOND
PERPETUAL = Instrument(0, "bybit", "BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", market="linear", settle="USDT")
OTHER = Instrument(1, "bybit", "ETH/USDT:USDT", "ETHUSDT", "ETH", "USDT", market="linear", settle="USDT")


def mark(at_ns: int, mark: str = "", index: str = "", instrument: Instrument = PERPETUAL) -> MarkPrice:
    return MarkPrice(instrument, mark, index, at_ns, at_ns)


def funding(at_ns: int, rate: str, next_ns: int = 0) -> Funding:
    return Funding(PERPETUAL, rate, next_ns, at_ns, at_ns)


def test_of_many_mark_prices_the_newest_of_a_second_is_kept() -> None:
    """A hundred a second are one row a second, for each contract by itself."""
    board, kept = DerivativeBoard(), []
    for step in range(300):
        at_ns = START + step * SECOND // 100
        board.on_event(mark(at_ns, mark=str(step + 1)))
        board.on_event(mark(at_ns, mark="7", instrument=OTHER))
        kept += board.take(at_ns)
    kept += board.take(START + 3 * SECOND)
    marks = [fact.mark for fact in kept if isinstance(fact, Mark) and fact.symbol == PERPETUAL.symbol]
    assert marks == [Decimal(1), Decimal(101), Decimal(201), Decimal(300)]
    assert sum(fact.symbol == OTHER.symbol for fact in kept if isinstance(fact, Mark)) == 4


def test_mark_and_index_that_come_apart_are_put_together() -> None:
    """Before the first index price there is none, which is said."""
    board = DerivativeBoard()
    board.on_event(mark(START, mark="100.10"))
    (alone,) = board.take(START)
    board.on_event(mark(START + SECOND, index="100.2"))
    (both,) = board.take(START + SECOND)
    assert isinstance(alone, Mark) and (str(alone.mark), alone.index) == ("100.10", None)
    assert isinstance(both, Mark) and (str(both.mark), str(both.index)) == ("100.10", "100.2")


def test_a_funding_rate_is_kept_when_it_has_changed_also_if_only_its_time_did() -> None:
    """Told again each second, it is one row until it changes."""
    board, kept = DerivativeBoard(), []
    for step, (rate, next_ns) in enumerate([("-0.0001", 8), ("-0.0001", 8), ("0.0002", 8), ("0.0002", 16)]):
        board.on_event(funding(START + step * SECOND, rate, next_ns))
        kept += board.take(START + step * SECOND)
    assert [(fact.rate, fact.next_time_ns) for fact in kept if isinstance(fact, FundingRate)] == [
        (Decimal("-0.0001"), 8),
        (Decimal("0.0002"), 8),
        (Decimal("0.0002"), 16),
    ]


def test_every_liquidation_is_kept_at_once() -> None:
    """Two that look alike are two."""
    board = DerivativeBoard()
    for _ in range(3):
        board.on_event(Liquidation(PERPETUAL, "sell", "99.5", "2", START, START))
    assert [type(fact) for fact in board.take(START)] == [Liquidated] * 3
    assert board.take(START + SECOND) == []


def test_a_venue_s_time_that_can_not_be_is_replaced_by_ours() -> None:
    """Or there would be a partition in the year 2099."""
    board = DerivativeBoard()
    board.on_event(OpenInterest(PERPETUAL, "12", START + 10**18, START))
    (fact,) = board.take(START)
    assert isinstance(fact, OpenContracts)
    assert (fact.time_ns, fact.quantity) == (START, Decimal(12))
