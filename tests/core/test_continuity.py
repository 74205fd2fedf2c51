"""A connection's numbers: what is missing is told at once and exactly, and what is old isn't taken for new."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.continuity import ConnectionSequence, Continuity, Step, TradeNumbers

OK, REPEATED, RESTARTED = Step(Continuity.OK), Step(Continuity.REPEATED), Step(Continuity.RESTARTED, breaks=True)


def gap(missing: int) -> Step:
    return Step(Continuity.GAP, missing, breaks=True)


def steps_of(*numbers: int) -> list[Step]:
    sequence = ConnectionSequence()
    return [sequence.follow(number) for number in numbers]


def test_counting_begins_wherever_the_reader_comes_in() -> None:
    """A recording may begin in the middle."""
    assert steps_of(41, 42, 43) == [OK, OK, OK]


def test_a_missing_frame_is_told_by_the_next_one_and_only_by_that() -> None:
    """With how many are missing."""
    assert steps_of(0, 1, 3, 4, 8, 9) == [OK, OK, gap(1), OK, gap(3), OK]


def test_only_gaps_and_restarts_break_what_was_built_up() -> None:
    """A repeated frame changes nothing, if it isn't applied."""
    assert [step.breaks for step in (OK, gap(1), REPEATED, RESTARTED)] == [False, True, False, True]


def test_a_frame_that_comes_again_is_told_and_disturbs_nothing() -> None:
    """Be it the newest or an older one."""
    assert steps_of(5, 6, 7, 7, 8, 6, 9) == [OK, OK, OK, REPEATED, OK, REPEATED, OK]


def test_a_frame_that_comes_too_late_does_not_fill_its_gap() -> None:
    """What was built up without it is broken already."""
    assert steps_of(5, 7, 6, 8) == [OK, gap(1), REPEATED, OK]


def test_zero_after_anything_is_a_new_count() -> None:
    """Also right after zero: nobody can tell, and taking it for new only costs a snapshot."""
    assert steps_of(0, 0, 1, 2, 0, 1) == [OK, RESTARTED, OK, OK, RESTARTED, OK]


def test_a_new_count_whose_beginning_is_lost_is_found_at_its_second_frame() -> None:
    """Or all of it would be taken for old, up to where the old count ended, and nothing be applied."""
    assert steps_of(100, 101, 3, 4, 5, 102) == [OK, OK, REPEATED, RESTARTED, OK, gap(96)]


@given(st.integers(0, 2**62), st.lists(st.booleans(), min_size=1, max_size=200))
def test_what_is_missing_is_what_was_left_out(first: int, kept: list[bool]) -> None:
    """Whichever frames are dropped: the sum of the gaps, and where they are told."""
    numbers = [first + at for at, keep in enumerate(kept) if keep]
    sequence = ConnectionSequence()
    steps = [sequence.follow(number) for number in numbers]
    holes = [after - before - 1 for before, after in pairwise(numbers)]
    assert steps == [OK, *(gap(hole) if hole else OK for hole in holes)][: len(numbers)]
    counts = (sequence.frames, sequence.gaps, sequence.missing, sequence.repeated, sequence.restarts)
    assert counts == (len(numbers), sum(map(bool, holes)), sum(holes), 0, 0)


@given(st.lists(st.integers(0, 12), max_size=60))
def test_ok_always_means_the_frame_after_the_last_one_that_counted(numbers: list[int]) -> None:
    """Whatever nonsense comes: no frame passes as in order that isn't, and every frame is one of the four."""
    sequence = ConnectionSequence()
    last: int | None = None
    for number in numbers:
        step = sequence.follow(number)
        if last is not None:
            assert (step == OK) == (number == last + 1)
            assert step.missing == (number - last - 1 if step.continuity is Continuity.GAP else 0)
        if step != REPEATED:
            last = number
    told = sequence.gaps + sequence.repeated + sequence.restarts
    assert 0 <= told <= sequence.frames == len(numbers)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=60))
def test_repeats_change_nothing_for_those_that_follow(runs: list[tuple[int, bool]]) -> None:
    """Each frame sent once or twice: the second ones are repeated, the first ones judged as without them."""
    numbers: list[int] = []
    at = 0
    for step, _ in runs:
        at += step
        numbers.append(at)
    plain, doubled = ConnectionSequence(), ConnectionSequence()
    for number, (_, twice) in zip(numbers, runs, strict=True):
        assert doubled.follow(number) == plain.follow(number)
        if twice:
            assert doubled.follow(number) == REPEATED


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=60))
def test_the_trades_of_several_streams_are_followed_each_by_itself(told: list[tuple[int, int, bool]]) -> None:
    """As by a sequence of its own, also where one of them begins anew."""
    numbers, apart = TradeNumbers(3), [ConnectionSequence() for _ in range(3)]
    for at, number, anew in told:
        if anew:
            numbers.begin_anew(at)
            apart[at].begin_anew()
        assert numbers.breaks(at, number) == apart[at].follow(number).breaks
