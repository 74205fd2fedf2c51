"""Which page of a hole is asked for next: whatever a venue's pages look like, the union is exactly what was missing."""

from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.core.market import Instrument, Trade
from traderd.venues.dialect import Hole
from traderd.venues.hole_paging import HolePaging

BTC = Instrument(0, "v", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
S = 1_000_000_000
Venue = Callable[[Hole], list[Trade]]


def trade(number: int, at_ns: int, numbered: bool = True) -> Trade:
    """One of the venue's."""
    return Trade(BTC, str(number) if numbered else f"x{number:08}-t", "buy", 1.0, "1,1", at_ns, 0)


def forward_by_id(tape: list[Trade], page: int) -> Venue:
    """As Binance: behind the first side by its id or, without one, the page before the other side."""

    def ask(hole: Hole) -> list[Trade]:
        first = int(hole.after_id) + 1 if hole.after_id else max(0, int(hole.before_id) - page)
        return [each for each in tape if int(each.trade_id) >= first][:page]

    return ask


def forward_by_time(tape: list[Trade], page: int) -> Venue:
    """As Kraken: from a moment on, that moment included."""
    return lambda hole: [each for each in tape if each.time_venue_ns >= hole.from_ns][:page]


def backward_by_second(tape: list[Trade], page: int) -> Venue:
    """As Coinbase: the newest between two moments that are told in whole seconds."""

    def ask(hole: Hole) -> list[Trade]:
        start, end = hole.from_ns // S * S, -(-hole.to_ns // S) * S
        return [each for each in tape if start <= each.time_venue_ns <= end][-page:]

    return ask


def backward_by_id(tape: list[Trade], page: int) -> Venue:
    """As OKX: older than an id, back to the beginning."""
    return lambda hole: [each for each in tape if not hole.before_id or int(each.trade_id) < int(hole.before_id)][
        -page:
    ]


def drawn(
    hole: Hole, paged: Literal["forward", "backward", "none"], venue: Venue, asks_max: int, numbered: bool = False
) -> tuple[list[str], HolePaging]:
    """Ids in the order of fetching, and the paging at its end."""
    paging, ids, asked = HolePaging(hole, paged, numbered), [], 0
    while paging.next is not None:
        assert asked < asks_max, "too many questions"
        asked += 1
        ids += [each.trade_id for each in paging.take(venue(paging.next))]
    return ids, paging


VENUES = [
    ("forward", forward_by_id, True),
    ("forward", forward_by_time, True),
    ("forward", forward_by_time, False),
    ("backward", backward_by_second, True),
    ("backward", backward_by_second, False),
    ("backward", backward_by_id, True),
]


@pytest.mark.parametrize(("paged", "kind", "numbered"), VENUES)
@settings(deadline=None, max_examples=80)
@given(
    steps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 900)), min_size=3, max_size=80),
    page=st.integers(4, 20),
    ends=st.tuples(st.integers(0, 79), st.integers(0, 79)),
    dense=st.booleans(),
)
def test_the_union_of_the_pages_is_exactly_what_is_missing(
    paged: Literal["forward", "backward"],
    kind: Callable[[list[Trade], int], Venue],
    numbered: bool,
    steps: list[tuple[int, int]],
    page: int,
    ends: tuple[int, int],
    dense: bool,
) -> None:
    """Each once, whatever the size of the pages, and with hardly more questions than pages are needed."""
    tape, number, at_ms = [], 1, 1_000_000
    for place, (step, pause_ms) in enumerate(steps):
        number += 1 if dense else step
        # So that no moment, nor second, has more trades than a page: what else then happens has a test of its own.
        at_ms += 400 + pause_ms if place % 3 else 1_100 + pause_ms
        tape.append(trade(number, at_ms * 1_000_000, numbered))
    first, last = sorted(end % len(tape) for end in ends)
    before, after = tape[first], tape[last]
    if first == last:
        return
    hole = Hole(before.time_venue_ns, after.time_venue_ns, before.trade_id, after.trade_id)
    missing = [each.trade_id for each in tape[first + 1 : last]]
    ids, paging = drawn(hole, paged, kind(tape, page), len(missing) + 3)
    assert sorted(ids) == sorted(missing)
    assert len(set(ids)) == len(ids)
    assert paging.whole and not paging.why_not
    if dense and numbered and not missing:
        assert HolePaging(hole, paged, numbered).next is None


@pytest.mark.parametrize(("paged", "kind", "numbered"), VENUES)
@pytest.mark.parametrize("known", ["after", "before"])
def test_one_known_side_is_enough(
    paged: Literal["forward", "backward"], kind: Callable[[list[Trade], int], Venue], numbered: bool, known: str
) -> None:
    """Then time, or what the venue has, is the other one."""
    tape = [trade(n, (1_000 + n) * S, numbered) for n in range(1, 60)]
    hole = Hole(1_010 * S, 1_050 * S, tape[9].trade_id, tape[49].trade_id)
    if known == "after":
        hole = Hole(hole.from_ns, 1_500 * S, hole.after_id)
        want = tape[10:]
    else:
        hole = Hole(1_011 * S, hole.to_ns, "", hole.before_id)
        want = tape[10:49]
    if known == "after" and kind is backward_by_id:
        tape = tape[:60]
    ids, paging = drawn(hole, paged, kind(tape, 7), 30)
    assert set(ids) == {each.trade_id for each in want}
    assert len(ids) == len(want)
    assert paging.whole


def test_a_venue_that_serves_only_the_newest_trades_heals_a_short_hole_and_says_why_not_a_long_one() -> None:
    """What it serves is taken all the same."""
    tape = [trade(n, (1_000 + n) * S) for n in range(100)]
    newest: Venue = lambda hole: tape[-20:]  # noqa: E731
    ids, paging = drawn(Hole(1_080 * S, 1_099 * S, "80", "99"), "none", newest, 2)
    assert ids == [str(n) for n in range(81, 99)] and paging.whole
    ids, paging = drawn(Hole(1_050 * S, 1_090 * S, "50", "90"), "none", newest, 2)
    assert ids == [str(n) for n in range(80, 90)]
    assert not paging.whole and paging.why_not == "the venue serves only the last 20 trades"
    assert (paging.left.from_ns, paging.left.to_ns) == (1_050 * S, 1_080 * S)
    ids, paging = drawn(Hole(1_050 * S, 1_060 * S, "50", "60"), "none", newest, 2)
    assert ids == [] and (paging.left.from_ns, paging.left.to_ns) == (1_050 * S, 1_060 * S)


@pytest.mark.parametrize(("paged", "kind"), [(paged, kind) for paged, kind, numbered in VENUES if numbered])
@pytest.mark.parametrize("page", [4, 7, 100])
@pytest.mark.parametrize("known", ["both", "after"])
def test_numbers_that_a_venue_leaves_out_are_missing_where_it_leaves_out_none(
    paged: Literal["forward", "backward"], kind: Callable[[list[Trade], int], Venue], page: int, known: str
) -> None:
    """What it serves is taken, and what is left is where it stepped over some. Elsewhere numbers prove nothing."""
    tape = [trade(n, (1_000 + 2 * n) * S) for n in range(1, 60) if n not in (15, 16, 30)]
    hole = Hole(1_020 * S, 1_100 * S, "10", "50") if known == "both" else Hole(1_020 * S, 1_200 * S, "10")
    ids, paging = drawn(hole, paged, kind(tape, page), 30, numbered=True)
    assert set(map(int, ids)) == set(range(11, 50 if known == "both" else 60)) - {15, 16, 30}
    assert (paging.whole, paging.why_not) == (False, "the venue leaves out some of the trades")
    assert (paging.left.from_ns, paging.left.to_ns) == (1_028 * S, 1_062 * S)
    assert drawn(hole, paged, kind(tape, page), 30)[1].whole


def test_a_venue_that_has_forgotten_says_so() -> None:
    """Forward and backward: an empty page before the other side is reached isn't the end of the hole."""
    hole = Hole(5 * S, 9 * S, "5", "9")
    for paged in ("forward", "backward"):
        ids, paging = drawn(hole, paged, lambda hole: [], 2)  # type: ignore[arg-type]
        assert ids == [] and not paging.whole and "serves no" in paging.why_not


def test_more_trades_of_one_moment_than_a_page_holds_end_the_asking() -> None:
    """By time there is no way past them, and no question is asked twice."""
    tape = [trade(n, 7 * S) for n in range(50)] + [trade(60, 9 * S)]
    ids, paging = drawn(Hole(7 * S, 9 * S, "3", "60"), "forward", forward_by_time(tape, 10), 5)
    assert ids == ["4", "5", "6", "7", "8", "9"]
    assert not paging.whole and "one moment" in paging.why_not


def test_neighbours_leave_nothing_to_ask() -> None:
    """The numbers say that nothing is missing."""
    paging = HolePaging(Hole(1, 2, "7", "8"), "forward")
    assert paging.next is None and paging.whole


def test_a_refusal_ends_the_asking_with_its_reason() -> None:
    """For whoever can't even ask."""
    paging = HolePaging(Hole(1, 2), "forward")
    paging.refuse("why")
    assert paging.next is None and paging.why_not == "why" and not paging.whole
