from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.breaker import DrawdownBreaker

PEAK = Decimal(1000)
equities = st.one_of(st.none(), st.decimals("-100", "1000", places=2))


def test_it_starts_open_and_closes_when_equity_is_known() -> None:
    """A guard that cannot tell says no."""
    breaker = DrawdownBreaker(Decimal(10))
    assert breaker.refusal
    assert breaker.observe(None, PEAK) is None
    change = breaker.observe(Decimal(950), PEAK)
    assert change is not None and (change.before, change.after) == ("waiting", "closed")
    assert breaker.refusal == ""


def test_it_opens_again_while_equity_cannot_be_told() -> None:
    """A position whose quote went stale stops trading, and a fresh one lets it go on."""
    breaker = DrawdownBreaker(Decimal(10))
    breaker.observe(PEAK, PEAK)
    breaker.observe(None, PEAK)
    assert breaker.state == "waiting" and "fresh quote" in breaker.refusal
    breaker.observe(PEAK, PEAK)
    assert breaker.state == "closed"


def test_it_trips_at_the_limit_itself_and_stays_so_until_reset() -> None:
    """Recovering by itself is not enough: an operator looks first."""
    breaker = DrawdownBreaker(Decimal(10))
    breaker.observe(Decimal("900.01"), PEAK)
    assert breaker.state == "closed"
    change = breaker.observe(Decimal(900), PEAK)
    assert change is not None and change.after == "tripped" and "900.00" in change.reason
    assert breaker.observe(PEAK, PEAK) is None and breaker.state == "tripped"
    assert breaker.reset() is not None and breaker.refusal
    breaker.observe(PEAK, PEAK)
    assert breaker.refusal == ""


def test_a_trip_outlives_a_restart() -> None:
    """Restored, it refuses whatever equity says."""
    breaker = DrawdownBreaker(Decimal(10))
    breaker.restore("equity 880.00 against a peak of 1000.00")
    breaker.observe(PEAK, PEAK)
    assert breaker.state == "tripped" and "880.00" in breaker.refusal


def test_a_reset_of_what_has_not_tripped_changes_nothing() -> None:
    """And tells so by None."""
    assert DrawdownBreaker(Decimal(10)).reset() is None


@given(st.lists(equities))
def test_it_lets_pass_only_on_a_known_equity_within_bounds_and_never_after_a_trip(
    sequence: list[Decimal | None],
) -> None:
    """For any course of equity."""
    breaker, tripped = DrawdownBreaker(Decimal(10)), False
    for equity in sequence:
        before = breaker.state
        change = breaker.observe(equity, PEAK)
        tripped = tripped or (equity is not None and equity <= 900)
        assert (breaker.refusal == "") == (not tripped and equity is not None)
        assert (change is not None) == (before != breaker.state)
