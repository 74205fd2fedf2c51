"""A usual tick is noted and handed on in one go; C and its twin agree on which those are."""

import sys
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, ETH, START, quote, trade
from traderd.core.continuity import TradeNumbers
from traderd.core.hearing import Hearing, HearingSlowly
from traderd.core.market import Heartbeat, Instrument, Quote, Trade, VenueEvent

KINDS = [Hearing, HearingSlowly]
Kind = type[HearingSlowly]
compiled = pytest.mark.skipif(Hearing is HearingSlowly, reason="not compiled here")
SOL = replace(BTC, index=2, symbol="SOL/USDT")


class Ear:
    """Four streams: quotes and trades of BTC, which flow, and of ETH, of which nothing was heard yet. None of SOL."""

    def __init__(self, kind: Kind, numbered: bool = True) -> None:
        self.heard_ns = array("q", [1, 0, 2, 0, 0])
        self.numbers = TradeNumbers(4) if numbered else None
        slots = array("i", [0, 1, -1]), array("i", [2, 3, -1])
        self.hearing = kind(*slots, self.heard_ns, self.numbers, Quote, Trade)

    def hear(self, event: VenueEvent, now_ns: int = 10) -> bool:
        return self.hearing.hear(event, now_ns)

    @property
    def state(self) -> list[Any]:
        return [*self.heard_ns, *(self.numbers.last if self.numbers else ())]


def traded(number: object, instrument: Instrument = BTC) -> Trade:
    return replace(trade("10", "2", START), instrument=instrument, trade_id=str(number))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tick_of_a_stream_that_flows_is_noted(kind: Kind) -> None:
    ear = Ear(kind)
    assert ear.hear(quote("1", "2", START)) and ear.hear(traded(7), 11) and ear.hear(traded(8), 12)
    assert list(ear.heard_ns) == [10, 0, 12, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "odd",
    [
        quote("1", "2", START, ETH),
        traded(7, ETH),
        quote("1", "2", START, SOL),
        traded(7, SOL),
        Heartbeat(),
        traded(6),
        traded(9),
        traded("7x"),
        traded(""),
        traded(10**18),
        traded("٨"),
    ],
    ids=str,
)
def test_anything_else_is_left_and_nothing_is_noted(kind: Kind, odd: VenueEvent) -> None:
    """The first message of a stream, what nobody asked for, and numbers that tell of missing trades."""
    ear = Ear(kind)
    ear.hear(traded(7))
    before = ear.state
    assert not ear.hear(odd)
    assert ear.state == before


@pytest.mark.parametrize("kind", KINDS)
def test_where_trades_have_no_numbers_any_follows(kind: Kind) -> None:
    ear = Ear(kind, numbered=False)
    assert ear.hear(traded("b")) and ear.hear(traded("a"))


@pytest.mark.parametrize("kind", KINDS)
def test_of_one_read_all_are_taken_up_to_the_first_that_is_not_plain(kind: Kind) -> None:
    """Each is a nanosecond younger than the one before; what the first reader doesn't know the second may."""
    known = {b"q": quote("1", "2", START), b"t": traded(5), b"later": traded(7)}

    def quotes(frame: bytes, now_ns: int) -> Quote | None:
        return replace(found, time_received_ns=now_ns) if isinstance(found := known.get(frame), Quote) else None

    def trades(frame: bytes, now_ns: int) -> Trade | None:
        return found if isinstance(found := known.get(frame), Trade) else None

    ear, ready = Ear(kind), list[VenueEvent]()
    frames = [b"q", b"t", b"q", b"?", b"q", b"later"]
    readers = quotes, trades
    assert ear.hearing.take(frames, 100, 0, readers, ready) == 3
    assert [type(each) for each in ready] == [Quote, Trade, Quote]
    assert (ready[0].time_received_ns, ready[2].time_received_ns) == (100, 102)  # type: ignore[union-attr]
    assert ear.hearing.take(frames, 100, 4, readers, ready) == 5
    assert ear.hearing.take(frames, 100, 6, readers, ready) == 6
    assert ear.hearing.take(frames, 100, 0, (), ready) == 0
    assert (len(ready), list(ear.heard_ns)) == (4, [104, 0, 101, 0, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_readers_error_comes_through_and_what_was_ready_stays(kind: Kind) -> None:
    ear, ready = Ear(kind), list[VenueEvent]()

    def read(frame: bytes, now_ns: int) -> Quote:
        return quote(frame.decode(), "9", START)

    with pytest.raises(UnicodeDecodeError):
        ear.hearing.take([b"1", b"\xff"], 100, 0, (read,), ready)
    assert len(ready) == 1


events = st.one_of(
    st.builds(lambda at: quote("1", "2", START, at), st.sampled_from([BTC, ETH, SOL])),
    st.builds(traded, st.integers(0, 6), st.sampled_from([BTC, ETH, SOL])),
)


@given(st.lists(st.tuples(events, st.booleans()), max_size=60))
def test_both_twins_note_the_same(told: list[tuple[Any, bool]]) -> None:
    """Also where what they leave is noted by somebody else meanwhile."""
    ours, theirs = Ear(HearingSlowly), Ear(Hearing)
    for now_ns, (event, flows) in enumerate(told, 100):
        heard = theirs.hear(event, now_ns)
        assert heard == ours.hear(event, now_ns)
        for ear in (ours, theirs):
            if not heard and isinstance(event, Trade) and ear.numbers and event.instrument is BTC:
                ear.numbers.breaks(2, int(event.trade_id))
            if flows:
                ear.heard_ns[1] = now_ns
        assert theirs.state == ours.state


@compiled
def test_nothing_is_left_behind() -> None:
    """Frames, events and readers are referred to by nobody else afterwards."""
    ear, told, ready = Ear(Hearing, numbered=False), quote("1", "2", START), list[VenueEvent]()
    frames = [bytes([number]) * 20 for number in range(50)]

    def read(frame: bytes, now_ns: int) -> Quote | None:
        return told if frame[0] % 10 else None

    before = [sys.getrefcount(each) for each in (told, read, frames[1], frames[10])]
    for at in range(50):
        ear.hearing.take(frames, 100, at, (read,), ready)
    assert len(ready) > 200
    ready.clear()
    assert [sys.getrefcount(each) for each in (told, read, frames[1], frames[10])] == before


@compiled
@pytest.mark.parametrize(
    "wrong",
    [
        lambda ear: ear.hearing.hear(quote("1", "2", START)),
        lambda ear: ear.hearing.take((b"",), 1, 0, (), []),
        lambda ear: ear.hearing.take([b""], 1, 0, [], []),
        lambda ear: ear.hearing.take([b""], "1", 0, (), []),
        lambda ear: Hearing(array("q", [0]), array("i", [0]), ear.heard_ns, None, Quote, Trade),
        lambda ear: Hearing(array("i", [0]), array("i", [0]), array("i", [0]), None, Quote, Trade),
        lambda ear: Hearing([0], array("i", [0]), ear.heard_ns, None, Quote, Trade),
    ],
)
def test_a_mistake_of_ours_is_one_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong(Ear(Hearing))


@compiled
def test_an_instrument_without_a_place_is_a_mistake_of_ours() -> None:
    with pytest.raises(IndexError):
        Ear(Hearing).hear(quote("1", "2", START, replace(BTC, index=3)))
