"""Silence, held against each stream's own habit."""

from array import array
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.staleness import Habits, HabitsSlowly

SECOND = 10**9
LOOK_NS = SECOND // 2


def spoken(gaps_s: list[float], start_ns: int = SECOND) -> list[int]:
    """The times of messages with these gaps."""
    times, now = [], start_ns
    for gap_s in gaps_s:
        now += int(gap_s * SECOND)
        times.append(now)
    return times


def judged(times: list[int], until_ns: int, floor_s: float = 2.5) -> list[int]:
    """Look at it twice a second; returns when it was found silent."""
    habits, found, newest, at = Habits([floor_s]), [], 0, 0
    for now in range(SECOND, until_ns, LOOK_NS):
        while at < len(times) and times[at] <= now:
            newest = times[at]
            at += 1
        if habits.look(now, array("q", [newest])):
            found.append(now)
    return found


@pytest.mark.parametrize("gap_s", [0.001, 0.05, 0.2])
def test_a_fast_stream_that_stops_is_found_within_four_seconds(gap_s: float) -> None:
    """And not before the floor."""
    times = spoken([gap_s] * int(20 / gap_s))
    found = judged(times, times[-1] + 10 * SECOND)
    assert 2.5 <= (found[0] - times[-1]) / SECOND <= 4.0


@pytest.mark.parametrize("mean_s", [0.01, 0.3, 2.0, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_that_speaks_at_random_is_hardly_ever_suspected(mean_s: float, seed: int) -> None:
    """Two thousand exponential gaps, or an hour of them if that is shorter: at most one alarm."""
    random = Random(seed)
    gaps = [random.expovariate(1 / mean_s) for _ in range(min(2_000, int(max(3_600, 60 * mean_s) / mean_s)))]
    times = spoken(gaps)
    alarms = judged(times, times[-1])
    episodes = [now for before, now in zip([0, *alarms], alarms, strict=False) if now - before > LOOK_NS]
    assert len(episodes) <= 1


def test_nothing_is_said_of_a_stream_that_was_hardly_heard() -> None:
    """Three messages are no habit."""
    times = spoken([1.0] * 3)
    assert judged(times, times[-1] + 3600 * SECOND) == []


def test_a_stream_that_was_never_heard_is_nobodys_silence() -> None:
    """That is the subscription's matter."""
    assert judged([], 100 * SECOND) == []


def test_one_silent_stream_is_told_from_the_others() -> None:
    """By its place; after it is back it is forgotten."""
    habits, heard = Habits([2.5, 2.5, 2.5]), [0, 0, 0]
    now = SECOND
    for _ in range(40):
        now += LOOK_NS
        heard = [now - 1, now - 2, now - 3]
        assert habits.look(now, array("q", heard)) == []
    silent: list[int] = []
    for _ in range(8):
        now += LOOK_NS
        heard = [now - 1, heard[1], now - 3]
        silent = habits.look(now, array("q", heard))
    assert silent == [1]
    assert habits.look(now + LOOK_NS, array("q", [now, 0, now])) == [], "who was told asks for it anew"


def test_an_interruption_is_nobodys_habit() -> None:
    """The silence of a link that was down, or of a stream that was asked for anew, isn't learnt as usual."""
    habits, now = Habits([2.5, 2.5]), SECOND
    for _ in range(40):
        now += LOOK_NS
        habits.look(now, array("q", [now - 1, now - 2]))
    usual = habits.limit_ns(0)
    last = now
    for _ in range(10):
        now += LOOK_NS
        habits.look(now, array("q", [last, now - 1]))
    habits.interrupted([0])
    for _ in range(4):
        now += LOOK_NS
        assert habits.look(now, array("q", [now - 1, now - 2])) == []
    assert habits.limit_ns(0) <= usual


steps = st.lists(
    st.tuples(
        st.integers(1, 900 * SECOND),
        st.lists(st.sampled_from(["speaks", "silent", "lost"]), min_size=3, max_size=3),
        st.lists(st.integers(0, 2), max_size=2),
    ),
    max_size=60,
)


@given(steps)
def test_both_twins_find_the_same(steps: list[tuple[int, list[str], list[int]]]) -> None:
    """Whatever the streams do, to the nanosecond."""
    floors_s, now, heard = [0.0, 2.5, 60.0], SECOND, array("q", [0, 0, 0, -1])
    ours, theirs = HabitsSlowly(floors_s), Habits(floors_s)
    for step_ns, what, places in steps:
        now += step_ns
        for at, each in enumerate(what):
            heard[at] = {"speaks": now - step_ns // (at + 2), "silent": heard[at], "lost": 0}[each]
        assert theirs.look(now, heard) == ours.look(now, heard)
        for twin in (ours, theirs):
            twin.interrupted(places)
        assert [theirs.limit_ns(at) for at in range(3)] == [ours.limit_ns(at) for at in range(3)]


@pytest.mark.skipif(Habits is HabitsSlowly, reason="not compiled here")
def test_what_is_no_stream_is_a_mistake_of_ours() -> None:
    habits = Habits([2.5])
    with pytest.raises(IndexError):
        habits.limit_ns(1)
    with pytest.raises(IndexError):
        habits.interrupted([0, -1])
    with pytest.raises(ValueError, match="each stream needs"):
        habits.look(SECOND, array("q"))
    with pytest.raises(TypeError):
        habits.look(SECOND, [0])  # type: ignore[arg-type]
