from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import BTC, ETH, MS, START, quote
from traderd.core.market import Instrument, Quote, Side
from traderd.core.matching import SEEN_MAX, PaperBook, PaperSettings
from traderd.core.orders import DUPLICATE, Approved, Intent, Report
from traderd.core.ticker import TickerBoard

LATENCY = 20 * MS
LIVE = START + LATENCY


def book(fee: str = "10", slippage: str = "0") -> PaperBook:
    return PaperBook(PaperSettings(Decimal(fee), Decimal(slippage), latency_ms=20, quote_age_ms_max=2_000))


def approved(
    side: Side = "buy", quantity: str = "1", price: str | None = None, number: int = 1, instrument: Instrument = BTC
) -> Approved:
    limit = None if price is None else Decimal(price)
    kind = "market" if price is None else "limit"
    intent = Intent(f"r-o{number}", "r-s1", "ema", instrument, side, kind, Decimal(quantity), limit, START)  # type: ignore[arg-type]  # a literal
    return Approved(intent, Decimal(1000))


def board_with(newest: Quote) -> TickerBoard:
    board = TickerBoard(2)
    board.quotes[newest.instrument.index] = newest
    return board


def only(reports: Sequence[Report]) -> Report:
    (report,) = reports
    return report


def test_an_order_is_acknowledged_and_then_works() -> None:
    """Only on its own instrument."""
    venue = book()
    assert 0 not in venue.working
    assert only(venue.submit(approved(), START)) == Report("r-o1", "new", START, "P1-r-o1")
    assert 0 in venue.working and 1 not in venue.working
    assert venue.on_quote(quote("1", "2", LIVE, ETH)) == ()


def test_a_market_order_fills_at_the_first_quote_once_it_is_live() -> None:
    """At the far side; what was quoted on its way there is not for it."""
    venue = book()
    venue.submit(approved(), START)
    assert not venue.on_quote(quote("998", "999", LIVE - 1))
    fill = only(venue.on_quote(quote("999", "1000", LIVE)))
    assert (fill.kind, fill.price, fill.quantity, fill.time_ns) == ("trade", 1000, 1, LIVE)
    assert (fill.execution_id, fill.exchange_order_id) == ("r-o1-x1", "P1-r-o1")
    assert (fill.fee, fill.fee_currency) == (1, "USDT")
    assert 0 not in venue.working


def test_a_sell_takes_the_bid() -> None:
    """The far side is the other one."""
    venue = book()
    venue.submit(approved("sell"), START)
    assert only(venue.on_quote(quote("999", "1000", LIVE))).price == 999


def test_without_a_new_quote_a_beat_fills_at_the_newest_unless_it_is_stale() -> None:
    """A quiet market still has a price, for a while."""
    venue, newest = book(), quote("999", "1000", START)
    venue.submit(approved(), START)
    assert not venue.on_beat(LIVE - 1, board_with(newest))
    assert not venue.on_beat(START + 2_001 * MS, board_with(newest))
    assert not venue.on_beat(LIVE, TickerBoard(2))
    fill = only(venue.on_beat(LIVE, board_with(newest)))
    assert (fill.price, fill.time_ns) == (1000, LIVE)


def test_no_fill_is_larger_than_the_quote_and_the_rest_waits_for_the_next() -> None:
    """A quote that a fill has emptied gives nothing more, on a Beat either."""
    venue = book()
    venue.submit(approved(quantity="1"), START)
    first = quote("999", "1000", LIVE, ask_size="0.400009")
    assert only(venue.on_quote(first)).quantity == Decimal("0.40000")
    assert not venue.on_beat(LIVE + MS, board_with(first))
    second = only(venue.on_quote(quote("999", "1001", LIVE + 2 * MS, ask_size="5")))
    assert (second.quantity, second.price, second.execution_id) == (Decimal("0.6"), 1001, "r-o1-x2")


def test_two_orders_share_what_one_quote_shows() -> None:
    """First come, first served."""
    venue = book()
    venue.submit(approved(quantity="1", number=1), START)
    venue.submit(approved(quantity="1", number=2), START)
    fills = venue.on_quote(quote("999", "1000", LIVE, ask_size="1.5"))
    assert [(each.client_order_id, each.quantity) for each in fills] == [("r-o1", 1), ("r-o2", Decimal("0.5"))]


def test_an_order_that_comes_later_finds_what_earlier_ones_left_of_the_same_quote() -> None:
    """Even after the earlier one is done."""
    venue, shown = book(), quote("999", "1000", LIVE, ask_size="1")
    venue.submit(approved(number=1), START)
    assert venue.on_quote(shown)
    venue.submit(approved(number=2), LIVE)
    assert not venue.on_beat(LIVE + LATENCY, board_with(shown))


@pytest.mark.parametrize(("side", "price"), [("buy", "1000.51"), ("sell", "998.50")])
def test_slippage_and_rounding_are_against_us(side: Side, price: str) -> None:
    """5 bps of 1000.005 up to the next cent, 5 bps of 999.005 down to the last."""
    venue = book(slippage="5")
    venue.submit(approved(side), START)
    assert only(venue.on_quote(quote("999.005", "1000.005", LIVE))).price == Decimal(price)


def test_a_fee_is_rounded_up() -> None:
    """To eight places."""
    venue = book(fee="7.5")
    venue.submit(approved(quantity="0.01001"), START)
    assert only(venue.on_quote(quote("999", "1000.01", LIVE))).fee == Decimal("0.00750758")


@pytest.mark.parametrize(
    ("side", "limit", "waiting", "reached", "price"),
    [
        ("buy", "990", ("990", "990.01"), ("989", "990"), "990"),
        ("buy", "990", ("995", "996"), ("979", "980"), "980"),
        ("sell", "1010", ("1009.99", "1011"), ("1010", "1011"), "1010"),
        ("sell", "1010", ("999", "1000"), ("1020", "1021"), "1020"),
    ],
)
def test_a_limit_order_rests_until_the_far_side_is_there_and_takes_the_better_price(
    side: Side, limit: str, waiting: tuple[str, str], reached: tuple[str, str], price: str
) -> None:
    """Never worse than its limit."""
    venue = book()
    venue.submit(approved(side, price=limit), START)
    assert not venue.on_quote(quote(*waiting, LIVE))
    assert 0 in venue.working
    assert only(venue.on_quote(quote(*reached, LIVE + 1))).price == Decimal(price)


def test_slippage_never_takes_a_limit_order_past_its_limit() -> None:
    """It is filled at the limit instead."""
    venue = book(slippage="50")
    venue.submit(approved("buy", price="1000"), START)
    assert only(venue.on_quote(quote("998", "999", LIVE))).price == 1000


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (approved(quantity="0"), "quantity"),
        (approved(quantity="-1"), "quantity"),
        (approved(quantity="0.000001"), "quantity"),
        (approved(quantity="0.00499"), "minimum"),
        (approved(price="990.001"), "price"),
        (approved(price="0"), "price"),
    ],
)
def test_what_a_venue_rejects_is_rejected(order: Approved, reason: str) -> None:
    """Steps, ticks, minima."""
    venue = book()
    report = only(venue.submit(order, START))
    assert report.kind == "rejected" and reason in report.reason
    assert 0 not in venue.working


def test_the_same_id_sent_twice_is_executed_once() -> None:
    """The repeat is rejected as a duplicate, before and after the first one's end, which it doesn't disturb."""
    venue = book()
    venue.submit(approved(), START)
    assert only(venue.submit(approved(), START)) == Report("r-o1", "rejected", START, reason=DUPLICATE)
    assert len(venue.on_quote(quote("999", "1000", LIVE))) == 1
    assert only(venue.submit(approved(), LIVE)).reason == DUPLICATE
    assert 0 not in venue.working


def test_the_memory_of_ids_is_bounded() -> None:
    """The oldest is forgotten first."""
    venue = book()
    for number in range(SEEN_MAX + 1):
        venue._remember(f"r-o{number}")
    assert len(venue._seen) == SEEN_MAX and "r-o0" not in venue._seen


ticks = st.integers(1, 200_000)


@given(
    st.sampled_from(["buy", "sell"]),
    st.integers(1_000, 500_000),
    st.one_of(st.none(), ticks),
    st.lists(st.tuples(ticks, st.integers(1, 50), st.integers(0, 300_000), st.integers(0, 60)), max_size=30),
    st.sampled_from(["0", "3.3"]),
)
def test_fills_are_on_the_grid_within_the_limit_never_better_than_quoted_and_never_too_many(
    side: Side, steps: int, limit: int | None, quotes: list[tuple[int, int, int, int]], slippage: str
) -> None:
    """For any order and any course of quotes."""
    venue, cent, step = book(slippage=slippage), Decimal("0.01"), BTC.quantity_step
    price = None if limit is None else limit * cent
    first = only(venue.submit(approved(side, str(steps * step), None if price is None else str(price)), START))
    left, now = steps * step if first.kind == "new" else Decimal(0), START
    for bid, spread, size, later_ms in quotes:
        now += later_ms * MS
        low, high = bid * cent, (bid + spread) * cent
        shown = quote(str(low), str(high), now, bid_size=str(size * step), ask_size=str(size * step))
        for fill in venue.on_quote(shown):
            assert now >= LIVE and fill.quantity % step == 0 and 0 < fill.quantity <= size * step
            assert fill.price % cent == 0 and fill.price > 0
            assert price is None or (fill.price <= price if side == "buy" else fill.price >= price)
            assert fill.price >= high if side == "buy" else fill.price <= low
            left -= fill.quantity
    assert left >= 0
    assert (0 in venue.working) == (left > 0)
