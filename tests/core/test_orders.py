from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import START
from traderd.core.facts import Order, OrderStatus
from traderd.core.orders import (
    DUPLICATE,
    NEXT_STATUS,
    OrderContradictionError,
    Report,
    apply_report,
    is_fill,
    is_final,
)

STATUSES = get_args(OrderStatus)
FINAL = {"filled", "cancelled", "rejected", "expired"}


def order(status: OrderStatus = "pending", quantity: str = "10", filled: str = "0") -> Order:
    return Order(
        client_order_id="r-o1",
        portfolio="paper",
        strategy="ema",
        signal_id="r-s1",
        exchange="binance",
        symbol="BTC/USDT",
        side="buy",
        order_type="market",
        quantity=Decimal(quantity),
        price=None,
        status=status,
        environment="paper",
        created_ns=START,
        updated_ns=START,
        filled_quantity=Decimal(filled),
        average_fill_price=Decimal(100) if Decimal(filled) else None,
    )


def fill(quantity: str, price: str = "100", number: int = 1, fee: str = "0.1") -> Report:
    figures = Decimal(quantity), Decimal(price), Decimal(fee)
    return Report("r-o1", "trade", START + number, "P1-r-o1", f"r-o1-x{number}", *figures, "USDT")


def test_the_table_names_every_status_and_leads_to_no_other() -> None:
    """Complete, and closed."""
    assert set(NEXT_STATUS) == set(STATUSES)
    assert all(following <= set(STATUSES) for following in NEXT_STATUS.values())


def test_exactly_the_four_ends_are_final() -> None:
    """From every other status an end can be reached; an unknown order is not at its end."""
    assert {status for status in STATUSES if is_final(status)} == FINAL
    assert all(NEXT_STATUS[status] & FINAL for status in STATUSES if status not in FINAL)


def test_an_order_lives_from_pending_to_filled() -> None:
    """Acknowledged, half filled, filled: sums, average, fees and times are those of the reports."""
    accepted = apply_report(order(), Report("r-o1", "new", START + 1, "P1-r-o1"))
    assert (accepted.status, accepted.exchange_order_id, accepted.submitted_ns) == ("open", "P1-r-o1", START + 1)
    half = apply_report(accepted, fill("4", "100", 2))
    assert (half.status, half.filled_quantity, half.filled_ns) == ("partially_filled", Decimal(4), 0)
    full = apply_report(half, fill("6", "105", 3))
    assert (full.status, full.filled_quantity, full.average_fill_price) == ("filled", Decimal(10), Decimal(103))
    assert (full.fee, full.fee_currency, full.filled_ns) == (Decimal("0.2"), "USDT", START + 3)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", ["cancelled", "expired", "rejected", "unknown"])
def test_a_report_moves_an_order_only_along_the_table(status: OrderStatus, kind: str) -> None:
    """What the table doesn't have is a contradiction; the same end told twice and silence after the end are no news."""
    before, report = order(status), Report("r-o1", kind, START + 5, reason="so it is")  # type: ignore[arg-type]  # parametrised
    if kind == status or (kind == "unknown" and status in FINAL):
        assert apply_report(before, report) is before
    elif kind in NEXT_STATUS[status]:
        after = apply_report(before, report)
        assert (after.status, after.reason, after.updated_ns) == (kind, "so it is", START + 5)
        assert (after.cancelled_ns > 0) == (kind in {"cancelled", "expired"})
    else:
        with pytest.raises(OrderContradictionError, match="can't follow"):
            apply_report(before, report)


@pytest.mark.parametrize("status", ["filled", "cancelled", "rejected", "expired"])
def test_a_fill_of_an_ended_order_is_a_contradiction(status: OrderStatus) -> None:
    """It happened nonetheless: the engine books it and halts."""
    with pytest.raises(OrderContradictionError):
        apply_report(order(status), fill("1"))


def test_an_overfill_is_a_contradiction() -> None:
    """More than was ordered can't be filled."""
    with pytest.raises(OrderContradictionError, match="11 filled of an order for 10"):
        apply_report(order("partially_filled", filled="4"), fill("7"))


@pytest.mark.parametrize(
    "bad",
    [
        fill("0"),
        fill("-1"),
        fill("NaN"),
        fill("1", "0"),
        fill("1", "NaN"),
        fill("1", fee="Infinity"),
        Report("r-o1", "trade", 1),
    ],
)
def test_a_fill_without_sound_figures_is_none(bad: Report) -> None:
    """Nothing of it can be booked."""
    assert not is_fill(bad)
    with pytest.raises(OrderContradictionError, match="without"):
        apply_report(order("open"), bad)


def test_an_acknowledgement_behind_its_fill_takes_nothing_back() -> None:
    """Reports may overtake each other on the way."""
    filled = apply_report(order(), fill("10"))
    assert apply_report(filled, Report("r-o1", "new", START + 9, "P1-r-o1")).status == "filled"


def test_an_unknown_order_that_turns_up_keeps_what_was_filled() -> None:
    """Its remainder works on."""
    assert apply_report(order("unknown", filled="4"), Report("r-o1", "new", START)).status == "partially_filled"
    assert apply_report(order("unknown"), Report("r-o1", "new", START)).status == "open"


def test_the_rejection_of_a_repeat_does_not_judge_the_order() -> None:
    """The venue only says that it has this id already."""
    pending = order()
    assert apply_report(pending, Report("r-o1", "rejected", START, reason=DUPLICATE)) is pending


@given(st.lists(st.integers(1, 5), max_size=8))
def test_filled_never_exceeds_ordered_and_ends_the_order_exactly_when_equal(quantities: list[int]) -> None:
    """For any sequence of fills."""
    state, filled = order("open"), 0
    for number, quantity in enumerate(quantities):
        if filled + quantity > 10:
            with pytest.raises(OrderContradictionError):
                apply_report(state, fill(str(quantity), number=number))
        else:
            state, filled = apply_report(state, fill(str(quantity), number=number)), filled + quantity
        assert state.filled_quantity == filled
        assert (state.status == "filled") == (filled == 10)
