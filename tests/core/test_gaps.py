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
                assert gap == Gap(start.gap_id, *key, start.from_ns, max(at_ns, start.from_ns), 7, "why", "closed")
        assert ledger.open_gaps() == list(begun.values())
    assert ledger.count == len(ids)


def test_gaps_of_two_runs_never_share_an_id() -> None:
    """The run is part of it."""
    first, second = GapLedger("a").opened("v", "", "", "lost", 1), GapLedger("b").opened("v", "", "", "lost", 1)
    assert first is not None and second is not None
    assert first.gap_id != second.gap_id


def test_data_that_flows_ends_every_interruption_and_no_other_hole() -> None:
    """A broken book and lost rows have ends of their own; another venue's interruption goes on."""
    ledger = GapLedger("r")
    ledger.opened("binance", "", "", "disconnect", 10)
    ledger.opened("binance", "", "", "restart", 5)
    ledger.opened("binance", "BTC/USDT", "book", "gap", 11)
    ledger.opened("binance", "", "quote", "lost", 12)
    ledger.opened("kraken", "", "", "disconnect", 13)
    ended = ledger.healed("binance", 20)
    assert {(gap.reason, gap.from_ns, gap.to_ns) for gap in ended} == {("disconnect", 10, 20), ("restart", 5, 20)}
    assert {(gap.exchange, gap.reason) for gap in ledger.open_gaps()} == {
        ("binance", "gap"),
        ("binance", "lost"),
        ("kraken", "disconnect"),
    }
    assert ledger.healed("binance", 30) == []


@given(flows_first=st.booleans())
def test_what_an_earlier_run_left_open_ends_with_the_first_data_of_its_venue(flows_first: bool) -> None:
    """Whether data or the database's list comes first; a venue that is silent keeps its gap; our own are ours."""
    left = [
        Gap("q-g1", "binance", "BTC/USDT", "book", "gap", 10, 0, 0, "why"),
        Gap("q-g2", "binance", "", "quote", "lost", 11, 0, 3),
        Gap("q-g3", "kraken", "", "", "disconnect", 12, 0),
    ]
    ledger = GapLedger("r")
    own = ledger.opened("binance", "", "trade", "lost", 15)
    assert own is not None
    steps = [lambda: ledger.healed("binance", 50), lambda: ledger.inherit([*left, own])]
    ended = [gap for step in (steps if flows_first else steps[::-1]) for gap in step()]
    assert [(gap.gap_id, gap.to_ns, gap.rows_lost) for gap in ended] == [("q-g1", 50, 0), ("q-g2", 50, 3)]
    assert {gap.gap_id for gap in ledger.open_gaps()} == {"q-g3", own.gap_id}
    ledger.healed("binance", 60)
    assert [gap.gap_id for gap in ledger.healed("kraken", 70)] == ["q-g3"]


def test_a_hole_hinders_its_symbol_and_one_without_symbol_all_of_its_venue() -> None:
    """While it is open in quotes or book, also one that an earlier run left; the reason names it."""
    ledger = GapLedger("r")
    assert ledger.hindrance("binance", "BTC/USDT") == ""
    ledger.opened("binance", "BTC/USDT", "book", "sequence", 10)
    assert ledger.hindrance("binance", "BTC/USDT") == "a gap in the book of BTC/USDT is open (sequence)"
    assert ledger.hindrance("binance", "ETH/USDT") == ledger.hindrance("kraken", "BTC/USDT") == ""
    ledger.closed("binance", "BTC/USDT", "book", "sequence", 11)
    assert ledger.hindrance("binance", "BTC/USDT") == ""
    ledger.opened("binance", "BTC/USDT", "trade", "stale", 11)
    assert ledger.hindrance("binance", "BTC/USDT") == "", "it may only be traded seldom"
    ledger.opened("binance", "BTC/USDT", "quote", "lost", 12)
    assert ledger.hindrance("binance", "BTC/USDT") == "", "it was received, and only couldn't be recorded"
    ledger.opened("binance", "BTC/USDT", "quote", "stale", 13)
    assert ledger.hindrance("binance", "BTC/USDT") == "a gap in the quote of BTC/USDT is open (stale)"
    ledger.inherit([Gap("q-g1", "kraken", "", "", "disconnect", 5, 0)])
    assert ledger.hindrance("kraken", "BTC/USD") == "a gap in the data of kraken is open (disconnect)"
    ledger.healed("kraken", 12)
    assert ledger.hindrance("kraken", "BTC/USD") == ""


def test_a_bar_is_concerned_by_the_holes_in_its_time_that_trades_may_be_missing_in() -> None:
    """Also by one that is closed by now; by a hole in the book or of another symbol never."""
    second = 10**9
    ledger = GapLedger("r")
    ledger.opened("binance", "BTC/USDT", "trade", "stale", 100 * second)
    ledger.opened("binance", "ETH/USDT", "book", "sequence", 100 * second)
    ask = lambda symbol, from_s, to_s: ledger.concerns("binance", symbol, from_s * second, to_s * second)  # noqa: E731
    assert ask("BTC/USDT", 101, 102) and ask("BTC/USDT", 500, 501) and not ask("BTC/USDT", 90, 99)
    assert ask("BTC/USDT", 98, 100), "a trade on its way is missing too"
    assert not ask("ETH/USDT", 101, 102)
    ledger.closed("binance", "BTC/USDT", "trade", "stale", 110 * second)
    assert ask("BTC/USDT", 109, 111) and not ask("BTC/USDT", 111, 112)
    ledger.opened("binance", "", "", "disconnect", 200 * second)
    assert ask("ETH/USDT", 200, 201)
    assert not ledger.concerns("kraken", "ETH/USDT", 200 * second, 201 * second)


def test_what_a_venue_trades_no_more_has_no_open_gap_and_no_price() -> None:
    """This run's and those of earlier ones end as unhealable, other symbols' go on; listed again it is as any other."""
    ledger = GapLedger("r")
    ledger.inherit([Gap("q-g1", "binance", "BTC/USDT", "trade", "disconnect", 5, 0)])
    ledger.opened("binance", "BTC/USDT", "quote", "stale", 10)
    ledger.opened("binance", "ETH/USDT", "quote", "stale", 10)
    ended = ledger.delisted("binance", "BTC/USDT", 20)
    assert {(gap.gap_id, gap.from_ns, gap.to_ns, gap.status) for gap in ended} == {
        ("r-g1", 10, 20, "unhealable"),
        ("q-g1", 5, 20, "unhealable"),
    }
    assert {gap.why_not for gap in ended} == {"the venue trades it no more"}
    assert [gap.symbol for gap in ledger.open_gaps()] == ["ETH/USDT"]
    assert ledger.hindrance("binance", "BTC/USDT") == "BTC/USDT is delisted: binance trades it no more"
    assert ledger.hindrance("kraken", "BTC/USDT") == ""
    ledger.listed("binance", "BTC/USDT")
    assert ledger.hindrance("binance", "BTC/USDT") == ""


def test_what_is_inherited_of_an_expired_contract_ends_though_nothing_of_its_venue_flows() -> None:
    """The list of open gaps comes after the listing; what another contract left open waits for data, and then ends.

    So does what this run doesn't listen to: the funding of a dated contract.
    """
    dated, perpetual = "BTC/USDT:USDT-261225", "BTC/USDT:USDT"
    left = [
        Gap("q-g1", "okx", dated, "mark", "restart", 5, 0),
        Gap("q-g2", "okx", dated, "funding", "restart", 5, 0),
        Gap("q-g3", "okx", "BTC/USDT:USDT-270326", "funding", "restart", 5, 0),
        Gap("q-g4", "okx", perpetual, "funding", "restart", 5, 0),
    ]
    ledger = GapLedger("r")
    ledger.delisted("okx", dated, 20)
    ended = ledger.inherit(left)
    assert {(gap.gap_id, gap.to_ns, gap.status) for gap in ended} == {
        ("q-g1", 20, "unhealable"),
        ("q-g2", 20, "unhealable"),
    }
    assert [gap.gap_id for gap in ledger.open_gaps()] == ["q-g3", "q-g4"]
    assert "delisted" in ledger.hindrance("okx", dated)
    assert {gap.gap_id for gap in ledger.healed("okx", 50)} == {"q-g3", "q-g4"} and ledger.open_gaps() == []


def test_a_hole_that_is_found_after_we_stood_still_begins_where_we_fell_asleep() -> None:
    """What was read last lay in the socket, and was sent in that time; a second of delay isn't one."""
    ledger, second = GapLedger("r"), 1_000_000_000
    ledger.beat(0, 100 * second)
    ledger.beat(100 * second, 101 * second)
    assert (gap := ledger.opened("binance", "", "quote", "disconnect", 101 * second)) and gap.from_ns == 101 * second
    ledger.beat(101 * second, 221 * second)
    assert (gap := ledger.opened("binance", "", "trade", "disconnect", 222 * second)) and gap.from_ns == 101 * second
    assert (gap := ledger.opened("binance", "", "book", "disconnect", 230 * second)) and gap.from_ns == 230 * second
