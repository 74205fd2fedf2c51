from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.facts import SignalType
from traderd.core.sizing import Wish, side_of, size

STEP = Decimal("0.001")


def sized(signal_type: SignalType, held: str, price: str = "300") -> Wish | str:
    return size(signal_type, Decimal(held), Decimal(1000), Decimal(price), STEP)


@pytest.mark.parametrize(
    ("signal_type", "held", "wish"),
    [
        ("LONG", "0", Wish("buy", Decimal("3.333"))),
        ("SHORT", "0", Wish("sell", Decimal("3.333"))),
        ("LONG", "-2.5", Wish("buy", Decimal("5.833"))),
        ("SHORT", "2.5", Wish("sell", Decimal("5.833"))),
        ("EXIT_LONG", "2.5", Wish("sell", Decimal("2.5"))),
        ("EXIT_SHORT", "-2.5", Wish("buy", Decimal("2.5"))),
        ("LONG", "1", "already long"),
        ("SHORT", "-1", "already short"),
        ("EXIT_LONG", "0", "no long position to leave"),
        ("EXIT_LONG", "-1", "no long position to leave"),
        ("EXIT_SHORT", "1", "no short position to leave"),
    ],
)
def test_an_opinion_becomes_the_order_that_makes_it_true(signal_type: SignalType, held: str, wish: Wish | str) -> None:
    """Opened from the notional rounded down to the step, closed exactly, turned round in one order."""
    assert sized(signal_type, held) == wish
    assert isinstance(wish, str) or side_of(signal_type) == wish.side


def test_a_notional_below_one_step_buys_nothing() -> None:
    """And says so."""
    assert "less than one step" in str(sized("LONG", "0", "1000001"))


@given(st.decimals("1", "100000", places=2), st.decimals("0.01", "90000", places=2))
def test_an_opening_order_never_costs_more_than_its_notional(notional: Decimal, price: Decimal) -> None:
    """And one step more would."""
    wish = size("LONG", Decimal(0), notional, price, STEP)
    quantity = wish.quantity if isinstance(wish, Wish) else Decimal(0)
    assert quantity % STEP == 0
    assert quantity * price <= notional < (quantity + STEP) * price
