"""A tick is admitted if its prices, its time and its key are as they should be; and both twins agree on it."""

from math import exp, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.bounds import Bounds, BoundsSlowly, Terms

KINDS = [Bounds, BoundsSlowly]
TERMS = Terms(0.001, 0.005, exp(0.005), 12.0, 100_000_000, 30)
NOW = 1_700_000_000_000_000_000
prices = st.one_of(st.floats(), st.sampled_from([0.0, 99.0, 100.0, 101.0, inf, -inf, nan]))
told = st.one_of(st.floats(1e-30, 1e30), st.sampled_from([99.0, 100.0, 101.0, nan]))
"""Zero, negative and infinite ones get past no dialect."""
times = st.integers(-(2**62), 2**62)
moments = st.integers(NOW, NOW + 2**52)
"""Within fifty days: by doubles their distances are exact."""


def bounds_of(kind: type[BoundsSlowly]) -> BoundsSlowly:
    bounds = kind()
    bounds.low, bounds.high = 99.0, 101.0
    bounds.behind_ns, bounds.ahead_ns, bounds.due_ns = -5_000, 2_000, NOW + 10_000
    bounds.set_terms(*TERMS)
    return bounds


@pytest.mark.parametrize("kind", KINDS)
def test_a_usual_tick_is_admitted_and_its_key_kept(kind: type[BoundsSlowly]) -> None:
    bounds = bounds_of(kind)
    assert bounds.admits("a", 99.0, 101.0, 0, NOW)
    assert (bounds.key, bounds.samples, bounds.reference) == ("a", 0, 0.0)
    assert bounds.admits("b", 100.0, 100.0, NOW - 5_000, NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_due_is_learned_from_as_the_price_between_the_two(kind: type[BoundsSlowly]) -> None:
    bounds = bounds_of(kind)
    assert bounds.admits("a", 99.5, 100.5, 0, NOW + 10_000)
    assert (bounds.reference, bounds.sampled_ns, bounds.due_ns) == (100.0, NOW + 10_000, NOW + 10_000 + 100_000_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("least", "most", "venue_ns"),
    [
        (98.9, 100.0, 0),
        (100.0, 101.1, 0),
        (nan, 100.0, 0),
        (100.0, nan, 0),
        (100.0, 100.0, NOW + 2_001),
        (100.0, 100.0, NOW - 5_001),
    ],
)
def test_any_other_is_not_and_leaves_no_trace(
    kind: type[BoundsSlowly], least: float, most: float, venue_ns: int
) -> None:
    bounds = bounds_of(kind)
    assert not bounds.admits("a", least, most, venue_ns, NOW)
    assert bounds.key == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_again_is_not_admitted(kind: type[BoundsSlowly]) -> None:
    bounds = bounds_of(kind)
    assert [bounds.admits(key, 100.0, 100.0, 0, NOW) for key in ("a", "a", "b", "a")] == [True, False, True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_with_no_bounds_set_nothing_is_within_them(kind: type[BoundsSlowly]) -> None:
    assert not kind().admits("a", 100.0, 100.0, 0, NOW)


@given(
    st.tuples(prices, prices, times, times, times),
    st.lists(st.tuples(st.sampled_from("ab€"), told, told, st.one_of(st.just(0), times), moments), max_size=8),
)
def test_both_twins_agree(
    given_bounds: tuple[float, float, int, int, int], ticks: list[tuple[str, float, float, int, int]]
) -> None:
    twins = [kind() for kind in KINDS]
    for each in twins:
        each.set_terms(*TERMS._replace(warmup=2))
        each.low, each.high, each.behind_ns, each.ahead_ns, each.due_ns = given_bounds
    for tick in ticks:
        assert twins[0].admits(*tick) == twins[1].admits(*tick)
        assert twins[0].key == twins[1].key
        assert repr(state_of(twins[0])) == repr(state_of(twins[1]))  # NaN isn't equal to itself


@pytest.mark.skipif(Bounds is BoundsSlowly, reason="not compiled here")
@pytest.mark.parametrize(
    "call",
    [
        ("a", 1.0, 1.0, 0),
        (b"a", 1.0, 1.0, 0, 0),
        ("a", "1.0", 1.0, 0, 0),
        ("a", 1.0, 1.0, None, 0),
    ],
)
def test_what_is_no_tick_is_a_mistake_of_ours(call: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        bounds_of(Bounds).admits(*call)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_may_be_made_of_it(kind: type[BoundsSlowly]) -> None:
    class Gate(kind):  # type: ignore[valid-type,misc]
        __slots__ = ("more",)

    gate = Gate()
    gate.set_terms(*TERMS)
    gate.more = "is remembered"
    gate.high = 5.0
    assert gate.admits("k", 1.0, 2.0, 0, NOW)
    assert (gate.more, gate.key) == ("is remembered", "k")


steps = st.lists(st.tuples(st.floats(-0.05, 0.05), st.integers(1, 5_000_000_000), st.booleans()), max_size=120)


@given(steps, st.floats(1e-8, 1e8), st.integers(0, 40))
def test_both_twins_learn_the_same_of_a_price(course: list[tuple[float, int, bool]], price: float, warmup: int) -> None:
    """To the last bit: bounds, variance, and when the next sample is due."""
    ours, theirs = bounds_of(BoundsSlowly), bounds_of(Bounds)
    for each in (ours, theirs):
        each.set_terms(*TERMS._replace(warmup=warmup))
    now_ns = NOW
    for move, step_ns, forget in course:
        price *= exp(move)
        now_ns += step_ns
        for each in (ours, theirs):
            each.sampled_ns = 0 if forget else each.sampled_ns
            each.learn(price, now_ns)
        assert state_of(theirs) == state_of(ours)


def state_of(bounds: BoundsSlowly) -> tuple[float, ...]:
    at = bounds.low, bounds.high, bounds.reference, bounds.variance
    return *at, bounds.samples, bounds.sampled_ns, bounds.due_ns
