import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.backoff import Backoff


@given(st.floats(0.01, 10), st.floats(1, 100), st.lists(st.floats(0, 1, exclude_max=True), max_size=80))
def test_delays_lie_under_a_doubling_and_then_capped_ceiling(base: float, factor: float, randoms: list[float]) -> None:
    """Full jitter: anything from nothing up to the ceiling."""
    backoff, ceiling = Backoff(base, base * factor, 60), base
    for uniform in randoms:
        assert backoff.delay(uniform) == pytest.approx(uniform * ceiling)
        ceiling = min(base * factor, ceiling * 2)


def test_only_a_healthy_spell_forgives() -> None:
    """A link that opens and falls at once, again and again, keeps backing off."""
    backoff = Backoff(1, 60, healthy_after_s=30)
    assert [backoff.delay(0.5) for _ in range(3)] == [0.5, 1.0, 2.0]
    backoff.healthy(29.9)
    assert backoff.delay(0.5) == 4.0
    backoff.healthy(30)
    assert backoff.delay(0.5) == 0.5


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (2, 1), (-1, 1)])
def test_a_ceiling_below_the_base_is_our_own_mistake(base: float, cap: float) -> None:
    """As is a base of nothing, which would spin."""
    with pytest.raises(ValueError, match="base_s"):
        Backoff(base, cap, 1)
