"""How often something may be done."""

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.budget import Budget


@given(
    st.floats(0.05, 50.0),
    st.integers(1, 20),
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
    st.floats(0.5, 60.0),
)
def test_no_span_of_time_has_more_turns_than_burst_and_rate_allow(
    per_s: float, burst: int, pauses: list[float], span_s: float
) -> None:
    """Whoever waits as told; turns come in the order of asking."""
    budget, now_s, turns = Budget(per_s, burst), 1_000.0, []
    for pause_s in pauses:
        now_s += pause_s
        turns.append(now_s + budget.take(now_s))
    assert turns == sorted(turns)
    for first in turns:
        within = [turn for turn in turns if first <= turn < first + span_s]
        assert len(within) <= burst + per_s * span_s + 1


def test_a_rested_budget_gives_its_burst_at_once_and_then_its_rate() -> None:
    """Three at once, then one every half second."""
    budget = Budget(2.0, 3.0)
    assert [budget.take(10.0) for _ in range(6)] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]
    assert budget.take(60.0) == 0.0
