"""What some trades come to: C against its twin in Python, and both against sums of `Decimal`."""

from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import BTC
from traderd.core.market import Trade
from traderd.core.traded import Traded, TradedSlowly, merged, traded, traded_slowly

native: Any
try:
    from traderd import native
except ImportError:
    native = None

compiled = pytest.mark.skipif(native is None, reason="not compiled here")

digits = st.text("0123456789", min_size=1, max_size=9)
amounts = st.builds(lambda whole, fraction: f"{whole}.{fraction}" if fraction else whole, digits, digits | st.just(""))
long_amounts = st.text("0123456789", min_size=20, max_size=32).map(lambda text: f"1{text[1:]}.{text}")
trades = st.lists(
    st.builds(
        lambda price, quantity, venue_ns, received_ns: Trade(
            BTC, "1", "buy", 1.0, f"{price},{quantity}", venue_ns, received_ns
        ),
        amounts,
        amounts,
        st.sampled_from([0, 1, 2, 3, 10**18]),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=12,
)


def one(price: str, quantity: str, time_ns: int = 1) -> Trade:
    return Trade(BTC, "1", "buy", 1.0, f"{price},{quantity}", time_ns, time_ns)


def plainly(made: list[Trade]) -> list[Decimal]:
    """Open, high, low, close, volume, quote volume."""
    times = [each.time_venue_ns or each.time_received_ns for each in made]
    prices, quantities = ([Decimal(each.texts[n]) for each in made] for n in (0, 1))
    newest = max(n for n, at in enumerate(times) if at == max(times))
    with localcontext(Context(prec=200)):
        money = sum(price * quantity for price, quantity in zip(prices, quantities, strict=True))
        sums = [sum(quantities, Decimal(0)), Decimal(money)]
    return [prices[times.index(min(times))], max(prices), min(prices), prices[newest], *sums]


@given(trades)
def test_some_trades_come_to_what_their_decimals_do(made: list[Trade]) -> None:
    """To the last digit; open and close by the times, of equal times by which came first and last."""
    for total in (traded(made), traded_slowly(made)):
        assert [*map(Decimal, total.texts())] == plainly(made)
        assert total.trades_count == len(made)


@compiled
@given(trades, st.data())
def test_in_parts_they_come_to_the_same(made: list[Trade], data: st.DataObject) -> None:
    """Wherever they are cut, and whether C or Python has the parts."""
    cut = data.draw(st.integers(0, len(made)))
    parts = [part for part in (made[:cut], made[cut:]) if part]
    makers = [data.draw(st.sampled_from([native.Traded, traded_slowly])) for _ in parts]
    total: Traded = makers[0](parts[0])
    for make, part in zip(makers[1:], parts[1:], strict=True):
        total = merged(total, make(part))
    assert total.figures() == traded_slowly(made).figures() == native.Traded(made).figures()
    assert total.texts() == traded_slowly(made).texts()


@compiled
@given(st.lists(st.tuples(long_amounts, long_amounts), min_size=1, max_size=4))
def test_more_digits_than_fit_into_128_bits_are_summed_all_the_same(rows: list[tuple[str, str]]) -> None:
    """By the twin, exactly: as many as a venue may send."""
    made = [one(*row) for row in rows]
    with pytest.raises(OverflowError):
        native.Traded(made)
    assert [*map(Decimal, traded(made).texts())] == plainly(made)


@compiled
def test_a_sum_that_outgrows_128_bits_goes_on_in_python() -> None:
    """What there was until then isn't touched by the attempt."""
    made = [one("1", "9" * 30), one("1", "1." + "0" * 31 + "1")]
    total: Traded = native.Traded(made[:1])
    before = total.figures()
    with pytest.raises(OverflowError):
        total.merge(native.Traded(made[1:]))
    assert total.figures() == before
    total = merged(total, native.Traded(made[1:]))
    assert isinstance(total, TradedSlowly)
    assert total.figures() == traded_slowly(made).figures()


@given(trades)
def test_a_copy_goes_its_own_way(made: list[Trade]) -> None:
    """And its times can be set."""
    for total in (traded(made), traded_slowly(made)):
        before, other = total.figures(), total.copy()
        other.merge(total)
        other.first_ns = other.last_ns = 7
        assert (total.figures(), other.trades_count, other.figures()[:2]) == (before, 2 * len(made), (7, 7))


@compiled
@pytest.mark.parametrize(
    ("wrong", "error"),
    [((), TypeError), ([], ValueError), ([object()], TypeError), ([one("x", "1")], OverflowError)],
)
def test_what_is_no_list_of_trades_is_refused(wrong: Any, error: type[Exception]) -> None:
    """By an exception, whatever it is."""
    with pytest.raises(error):
        native.Traded(wrong)
    with pytest.raises(OverflowError):
        native.Traded([one("1", "1")]).merge(wrong)
