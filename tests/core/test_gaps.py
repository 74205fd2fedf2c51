"""The ledger of holes: each is opened once, closed once, and never ends before it began."""

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.facts import Gap
from traderd.core.gaps import GapLedger

KEYS = st.tuples(
    st.just("binance"),
    st.sampled_from(["", "BTC/USDT"]),
    st.sampled_from(["", "quote"]),
    st.sampled_from(["disconnect", "lost"]),
)


@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers(1, 1_000)), max_size=60))
def test_every_gap_opens_once_and_closes_at_most_once(steps: list[tuple[bool, tuple[str, str, str, str], int]]) -> None:
    """A key has at most one open gap; a closed one is its opening under the same id, with an end and its rows."""
    ledger = GapLedger("r")
    begun: dict[tuple[str, str, str, str], Gap] = {}
    ids: set[str] = set()
    for opens, key, at_ns in steps:
        if opens:
            gap = ledger.opened(*key, at_ns, "why")
            assert (gap is None) == (key in begun)
            if gap is not None:
                assert gap.gap_id not in ids
                ids.add(gap.gap_id)
                assert gap == Gap(gap.gap_id, *key, at_ns, 0, 0, "why")
                begun[key] = gap
        else:
            gap = ledger.closed(*key, at_ns, rows_lost=7)
            start = begun.pop(key, None)
            assert (gap is None) == (start is None)
            if gap is not None and start is not None:
                assert gap == Gap(start.gap_id, *key, start.from_ns, max(at_ns, start.from_ns), 7, "why")
        assert ledger.open_gaps() == list(begun.values())
    assert ledger.count == len(ids)


def test_gaps_of_two_runs_never_share_an_id() -> None:
    """The run is part of it."""
    first, second = GapLedger("a").opened("v", "", "", "lost", 1), GapLedger("b").opened("v", "", "", "lost", 1)
    assert first is not None and second is not None
    assert first.gap_id != second.gap_id
