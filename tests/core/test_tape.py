"""A tape held against another reading of the same trades: what is missing is found, what can't be told is said."""

from msgspec.structs import replace

from made_up import BTC, SECOND, START, trade
from traderd.core.market import Trade
from traderd.core.tape import Tape

ALL = [trade("100", "1", START + second * SECOND) for second in range(20)]


def taped(trades: list[Trade]) -> Tape:
    tape = Tape()
    assert all(tape.add(each) for each in trades)
    return tape


def test_what_the_tape_has_not_and_the_other_source_has_is_missing() -> None:
    """Up to the time at which all should have come; the rest is compared next time, and nothing twice."""
    tape = taped([each for second, each in enumerate(ALL) if second not in (5, 6, 15)])
    found = tape.compare(ALL[::-1], START + 10 * SECOND)
    assert (found.missing, found.verdict) == (ALL[5:7], "whole")
    assert (found.from_ns, found.to_ns) == (START, START + 10 * SECOND)
    for each in found.missing:
        assert tape.add(each)
    assert tape.compare(ALL, START + 19 * SECOND).missing == [ALL[15]]


def test_what_came_twice_is_one_trade() -> None:
    """By whichever way."""
    tape = taped(ALL)
    assert not any(tape.add(each) for each in ALL) and tape.heard == 20


def test_a_page_that_begins_too_late_says_so() -> None:
    """What lies before it may be missing, and nobody can tell."""
    found = taped(ALL).compare(ALL[8:], START + 19 * SECOND)
    assert (found.missing, found.verdict) == ([], "out_of_reach")


def test_other_ids_for_the_same_time_can_not_be_compared() -> None:
    """As where REST aggregates; nothing is called missing then, and the next comparison begins at the same place."""
    tape = taped(ALL)
    others = [replace_id(each, f"a{each.trade_id}") for each in ALL]
    found = tape.compare(others, START + 19 * SECOND)
    assert (found.missing, found.verdict, tape.checked_ns) == ([], "incomparable", START)


def test_a_tape_that_stands_still_is_compared_as_well() -> None:
    """All ids are unknown then, but none of the tape's lies in their time: they are missing."""
    tape = taped(ALL[:5])
    assert tape.compare(ALL[4:], START + 19 * SECOND).missing == ALL[5:]


def test_nothing_is_compared_before_the_first_trade_came() -> None:
    """Nor without an answer."""
    assert Tape().compare(ALL, START + 19 * SECOND).missing == []
    assert taped(ALL).compare([], START + 19 * SECOND).verdict == "whole"


def test_what_has_been_compared_without_a_break_is_known() -> None:
    """What lies before it isn't, and what comes after it will be; nothing is where the tape can't be compared."""
    tape = taped(ALL)
    times = [each.time_venue_ns for each in ALL]
    assert tape.why_not(times[2], times[4]) is None and Tape().why_not(times[2], times[4]) is None
    tape.compare(ALL, times[10])
    assert (tape.why_not(times[0], times[10]), tape.why_not(times[2], times[11])) == ("", None)
    assert tape.why_not(times[0] - 1, times[10]) == "REST doesn't reach back so far"
    tape.compare(ALL[13:], times[19])
    assert tape.why_not(times[2], times[4]) == tape.why_not(times[12], times[19]) == "REST doesn't reach back so far"
    assert tape.why_not(times[13], times[19]) == ""
    tape.given_up = "no"
    assert tape.why_not(times[13], times[19]) == "no"


def test_a_tape_that_goes_on_from_an_earlier_run_is_compared_from_there() -> None:
    """Before its own first trade came, too."""
    tape = Tape(START + 3 * SECOND)
    assert tape.compare(ALL, START + 10 * SECOND).missing == ALL[4:11]
    assert tape.why_not(START + 3 * SECOND, START + 10 * SECOND) == ""
    assert Tape(START - SECOND).compare(ALL, START + 10 * SECOND).verdict == "out_of_reach"


def replace_id(each: Trade, trade_id: str) -> Trade:
    return replace(each, trade_id=trade_id, instrument=BTC)
