"""A tick that is as they all are is put on the board; C and its twin agree on which those are."""

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, ETH, MS, START, quote, trade
from traderd.core.market import Instrument, Quote, Trade
from traderd.core.posting import Posting, PostingSlowly
from traderd.core.quality import QualitySettings, QuoteGate, TradeGate

KINDS = [Posting, PostingSlowly]
compiled = pytest.mark.skipif(Posting is PostingSlowly, reason="not compiled here")


class Board:
    """Two instruments whose ticks were clean so far; the first one's trades may wait."""

    def __init__(self, kind: type[PostingSlowly]) -> None:
        self.gates = [QuoteGate(QualitySettings(warmup=2)) for _ in range(2)]
        self.trade_gates = [TradeGate(QualitySettings(warmup=2)) for _ in range(2)]
        self.quotes: list[Quote | None] = [None, None]
        self.trades: list[Trade | None] = [None, None]
        self.texts = ["", "7.5,1"]
        self.waiting: list[Trade] = []
        ticks = self.gates, self.quotes, self.trade_gates, self.trades, self.texts
        self.posting = kind(*ticks, self.waiting, b"\1\0")
        self.post: Callable[[Quote], str | None] = self.posting.post
        for instrument in (BTC, ETH):
            self.gates[instrument.index].judge(quote("100", "101", START, instrument), None)
            self.trade_gates[instrument.index].judge(traded("100", START, instrument))

    @property
    def state(self) -> list[Any]:
        gates = [
            (each.key, each.low, each.high, each.reference, each.samples, each.due_ns)
            for each in (*self.gates, *self.trade_gates)
        ]
        return [*gates, *self.quotes, *self.trades, *self.texts, *self.waiting]


def traded(price: str, time_ns: int, instrument: Instrument = BTC) -> Trade:
    return replace(trade(price, "2", time_ns), instrument=instrument)


@pytest.mark.parametrize("kind", KINDS)
def test_a_usual_quote_is_the_newest_from_then_on_and_the_last_trade_of_its_instrument_is_told(
    kind: type[PostingSlowly],
) -> None:
    board = Board(kind)
    first, second, other = (
        quote("100", "102", START + MS),
        quote("100", "103", START + 2 * MS),
        quote("100", "102", START + MS, ETH),
    )
    assert [board.post(each) for each in (first, second, other)] == ["", "", "7.5,1"]
    assert board.quotes[0] is second and board.quotes[1] is other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "odd",
    [
        quote("101", "101", START + MS),
        quote("102", "101", START + MS),
        quote("100", "101", START + MS),
        replace(quote("100", "102", START + MS), time_venue_ns=START + 10_000 * MS),
    ],
)
def test_any_other_is_left_to_the_judge_and_nothing_is_changed(kind: type[PostingSlowly], odd: Quote) -> None:
    board = Board(kind)
    before = board.state
    assert board.post(odd) is None
    assert board.state == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_usual_trade_is_the_newest_and_waits_if_it_may(kind: type[PostingSlowly]) -> None:
    board = Board(kind)
    first, second, other = traded("100", START + MS), traded("101", START + 2 * MS), traded("100", START + MS, ETH)
    assert [board.posting.post_trade(each) for each in (first, second, other)] == [True, True, False]
    assert board.waiting == [first, second]
    assert board.trades == [second, other] and board.texts == ["101,2", "100,2"]
    assert board.post(quote("100", "102", START + MS)) == "101,2"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "odd",
    [
        traded("100", START),
        replace(traded("100", START + MS), time_venue_ns=START + 10_000 * MS),
    ],
)
def test_any_other_trade_is_left_to_the_judge_and_nothing_is_changed(kind: type[PostingSlowly], odd: Trade) -> None:
    board = Board(kind)
    before = board.state
    assert board.posting.post_trade(odd) is None
    assert board.state == before


cents = st.integers(9_000, 11_500).map(lambda price: f"{price / 100:.2f}")


@given(
    st.lists(st.tuples(st.sampled_from([BTC, ETH]), cents, cents, st.integers(0, 300), st.integers(-6, 3)), max_size=50)
)
def test_both_twins_post_the_same_and_learn_the_same(ticks: list[tuple[Any, ...]]) -> None:
    ours, theirs = Board(PostingSlowly), Board(Posting)
    now_ns = START
    for instrument, bid, ask, step_ms, ahead_s in ticks:
        now_ns += step_ms * MS
        venue_ns = now_ns + ahead_s * 1_000 * MS
        told = replace(quote(bid, ask, now_ns, instrument), time_venue_ns=venue_ns)
        paid = replace(traded(bid, now_ns, instrument), time_venue_ns=venue_ns)
        assert theirs.post(told) == ours.post(told)
        assert theirs.posting.post_trade(paid) == ours.posting.post_trade(paid)
        assert theirs.state == ours.state


@compiled
def test_nothing_of_a_quote_is_kept_but_the_newest() -> None:
    board, texts = Board(Posting), [f"10{n % 2}.{n}" for n in range(1, 50)]
    told = [quote("100", text, START + MS) for text in texts]
    before = [sys.getrefcount(each) for each in told]
    for _ in range(3):
        for each in told:
            board.post(each)
    del each
    board.quotes[0] = None
    gc.collect()
    assert [sys.getrefcount(each) for each in told] == before
    assert sys.getrefcount(board.post) < 5


@compiled
def test_nothing_of_a_trade_is_kept_but_the_newest_and_those_that_wait() -> None:
    board, told = Board(Posting), [traded(f"10{n % 2}", START + n * MS) for n in range(1, 50)]
    before = [(sys.getrefcount(each), sys.getrefcount(each.text)) for each in told]
    for each in told:
        assert board.posting.post_trade(each)
    del each
    board.waiting.clear()
    board.trades[0], board.texts[0] = None, ""
    board.trade_gates[0].key = ""
    gc.collect()
    assert [(sys.getrefcount(each), sys.getrefcount(each.text)) for each in told] == before


@compiled
@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (None, TypeError),
        (replace(quote("1", "2", START), instrument=replace(BTC, index=2)), IndexError),
        (replace(quote("1", "2", START), instrument=replace(BTC, index=-1)), IndexError),
        (replace(quote("1", "2", START), bid="1"), TypeError),
        (replace(quote("1", "2", START), text=b"1,1,2,1"), TypeError),
        (replace(quote("1", "2", START), time_received_ns=2**70), OverflowError),
    ],
)
def test_what_is_no_quote_of_a_known_instrument_is_a_mistake_of_ours(odd: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Board(Posting).post(odd)


@compiled
@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (None, TypeError),
        (quote("1", "2", START), TypeError),
        (replace(traded("1", START), instrument=replace(BTC, index=2)), IndexError),
        (replace(traded("1", START), price="1"), TypeError),
        (replace(traded("1", START), trade_id=1), TypeError),
        (replace(traded("1", START), time_received_ns=2**70), OverflowError),
    ],
)
def test_what_is_no_trade_of_a_known_instrument_is_a_mistake_of_ours(odd: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Board(Posting).posting.post_trade(odd)


@compiled
def test_a_place_without_a_gate_is_a_mistake_of_ours() -> None:
    board = Board(Posting)
    board.gates[0] = None  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a gate that is none"):
        board.post(quote("100", "102", START + MS))
    with pytest.raises(TypeError):
        Posting(tuple(board.gates), board.quotes, [], [], board.texts, [], b"")
