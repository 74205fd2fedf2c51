"""What is wanted, acknowledged and seen."""

from itertools import pairwise

from traderd.core.subscriptions import Subscriptions

SECOND = 10**9
NAMES = [("BTCUSDT", "quote"), ("ETHUSDT", "quote"), ("BTCUSDT", "trade"), ("ETHUSDT", "trade")]


def due_over(subscriptions: Subscriptions, seconds: int, most: int = 100) -> list[tuple[int, int]]:
    """(second, stream) of everything that is asked for again."""
    return [(now, at) for now in range(seconds) for at in subscriptions.due(now * SECOND, most)]


def test_what_was_seen_is_not_asked_for_again() -> None:
    """Whether it was acknowledged or not."""
    subscriptions = Subscriptions(NAMES, 0)
    for at in range(4):
        subscriptions.see(at)
    assert due_over(subscriptions, 4_000) == []
    assert subscriptions.census.seen == 4 and subscriptions.census.acknowledged == 0


def test_an_acknowledgement_that_nothing_follows_is_not_believed() -> None:
    """The stream is asked for again, ever more rarely: no storm."""
    subscriptions = Subscriptions(NAMES[:1], 0)
    subscriptions.acknowledge("BTCUSDT", "quote", SECOND)
    times = [now for now, _ in due_over(subscriptions, 3_600)]
    assert times[0] <= 8
    assert all(later - now >= 5 for now, later in pairwise(times))
    assert len(times) <= 12


def test_a_quiet_stream_is_waited_for_longer_once_it_is_acknowledged() -> None:
    """Somebody has to trade first."""
    subscriptions = Subscriptions(NAMES, 0)
    for symbol, channel in NAMES:
        subscriptions.acknowledge(symbol, channel, SECOND)
    assert {at for _, at in due_over(subscriptions, 30)} == {0, 1}


def test_refused_among_others_it_is_tried_alone_and_refused_alone_it_is_parked_and_told_once() -> None:
    """The frame was refused as a whole; only one of its symbols is unknown."""
    subscriptions = Subscriptions(NAMES[:2], 0)
    assert subscriptions.refuse("BTCUSDT", "quote", "invalid symbol", 0) == []
    assert subscriptions.refuse("ETHUSDT", "quote", "invalid symbol", 0) == []
    assert {at for _, at in due_over(subscriptions, 3)} == {0, 1}
    subscriptions.see(0)
    assert subscriptions.refuse("ETHUSDT", "quote", "invalid symbol", 3 * SECOND) == [1]
    assert subscriptions.refuse("ETHUSDT", "quote", "invalid symbol", 4 * SECOND) == []
    assert due_over(subscriptions, 10_000) == []
    assert subscriptions.parked == {1: "invalid symbol"}


def test_a_venue_that_is_busy_is_asked_again() -> None:
    """`Exceeded msg rate` says nothing about the symbol."""
    subscriptions = Subscriptions(NAMES[:1], 0)
    for second in range(0, 60, 10):
        assert subscriptions.refuse("BTCUSDT", "quote", "Exceeded msg rate", second * SECOND) == []
        assert not subscriptions.parked
    assert due_over(subscriptions, 3_600)


def test_what_fell_silent_comes_before_what_was_never_heard_and_is_soon_tried_again() -> None:
    """Of many that are due only some are taken at once."""
    subscriptions = Subscriptions(NAMES, 0)
    subscriptions.see(3)
    subscriptions.lose([3], 100 * SECOND)
    assert subscriptions.due(100 * SECOND, 1) == [3]
    assert 3 not in subscriptions.due(101 * SECOND, 1)
    assert 3 in {at for now in range(102, 106) for at in subscriptions.due(now * SECOND, 4)}


def test_an_answer_that_names_nothing_or_a_stranger_changes_nothing() -> None:
    """It is for the log."""
    subscriptions = Subscriptions(NAMES, 0)
    subscriptions.acknowledge("", "", 0)
    subscriptions.acknowledge("DOGEUSDT", "quote", 0)
    assert subscriptions.refuse("", "quote", "no", 0) == []
    assert subscriptions.acknowledged == set()
    assert due_over(subscriptions, 5) == []


def test_what_the_venue_has_no_more_is_not_asked_for_until_it_has_it_again() -> None:
    """Then at once."""
    subscriptions = Subscriptions(NAMES[:2], 0)
    subscriptions.see(0)
    subscriptions.see(1)
    subscriptions.retire([1], "delisted")
    assert (subscriptions.census.seen, subscriptions.census.parked) == (1, 1)
    assert due_over(subscriptions, 10_000) == []
    subscriptions.revive([1], 10_000 * SECOND)
    assert subscriptions.due(10_000 * SECOND, 4) == [1] and subscriptions.census.parked == 0


def test_a_refusal_among_others_costs_no_patience() -> None:
    """Alone it is asked for a second later, and once more after as long as it would have been without."""
    refused, unheard = Subscriptions(NAMES[:1], 0), Subscriptions(NAMES[:1], 0)
    refused.refuse("BTCUSDT", "quote", "invalid symbol", 0)
    (first, again), (late, later) = due_over(refused, 30)[:2], due_over(unheard, 30)[:2]
    assert again[0] - first[0] <= later[0] - late[0]
