"""All instruments' candles; C, which has what comes in order, and the builders that it lends the rest to agree."""

import gc
import random
import sys
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from made_up import BTC, ETH, MS, SECOND, START, quote, trade
from traderd.core.candle_builders import CandleBuilders, CandleBuildersSlowly, Told
from traderd.core.facts import Candle
from traderd.core.market import Instrument, Quote, Trade

Kind = type[CandleBuildersSlowly]
KINDS = [CandleBuilders, CandleBuildersSlowly]
compiled = pytest.mark.skipif(CandleBuilders is CandleBuildersSlowly, reason="not compiled here")
GRACE = 500 * MS
ALIGNED = START - START % (3_600 * SECOND)
SHORT = "12.5", "0.001", "99999.99999999", "3"
LONG = "12345678901234567890.123456789012345678", "0.00000000000000000000000000000001", "9" * 32
"""What a venue may send, and 128 bits can't hold the products of."""


class Desk:
    """Builders of two instruments and the board's quotes."""

    def __init__(self, kind: Kind, timeframes: Sequence[str] = ("1s", "1m"), grace_ns: int = GRACE) -> None:
        self.quotes: list[Quote | None] = [None, None]
        self.builders = kind([BTC, ETH], timeframes, grace_ns, self.quotes)
        self.told: Told = []

    def trades(self, *made: Trade) -> None:
        self.told += self.builders.on_trades(list(made))

    @property
    def newest(self) -> list[tuple[str, str, str, int]]:
        """Symbol, timeframe, close and number of trades of what was told since; it is told once."""
        told, self.told = self.told, []
        return [(each.symbol, each.timeframe, each.close, each.trades_count) for _, each in told]


def at(offset_ms: int, price: str = "10", instrument: Instrument = BTC, quantity: str = "1", late_ms: int = 1) -> Trade:
    """A trade that is heard so much later than it was."""
    time_ns = ALIGNED + offset_ms * MS
    return replace(trade(price, quantity, time_ns, received_ns=time_ns + late_ms * MS), instrument=instrument)


@pytest.mark.parametrize("kind", KINDS)
def test_each_instrument_has_bars_of_its_own(kind: Kind) -> None:
    desk = Desk(kind)
    desk.trades(at(0, "10"), at(100, "20", ETH), at(200, "11"), at(1_000, "12"))
    assert desk.newest == [("BTC/USDT", "1s", "11", 2)]
    desk.told += desk.builders.on_beat(ALIGNED + 1_500 * MS)
    assert desk.newest == [("ETH/USDT", "1s", "20", 1)]
    desk.told += desk.builders.on_beat(ALIGNED + 60_500 * MS)
    assert sorted(desk.newest) == [
        ("BTC/USDT", "1m", "12", 3),
        ("BTC/USDT", "1s", "12", 1),
        ("ETH/USDT", "1m", "20", 1),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_candle_says_what_the_newest_quote_was_when_it_was_closed(kind: Kind) -> None:
    desk = Desk(kind, ["1s"])
    desk.trades(at(0), at(1_000))
    desk.quotes[0] = quote("9.50", "10.50", START, BTC, "7", "8.25")
    desk.trades(at(2_000))
    told = [(each.bid, each.ask, each.bid_size, each.ask_size) for _, each in desk.told]
    assert told == [(None,) * 4, ("9.50", "10.50", "7", "8.25")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_trade_amends_and_one_that_is_too_late_is_counted(kind: Kind) -> None:
    """Also between trades in order, of which none is lost for it."""
    desk = Desk(kind)
    desk.trades(at(900, "10"), at(1_000, "11"), at(800, "12", late_ms=600), at(1_100, "13"), at(700, "14", late_ms=900))
    assert desk.newest == [("BTC/USDT", "1s", "10", 1), ("BTC/USDT", "1s", "10", 2)]
    assert (desk.builders.late.trades, desk.builders.late.by_timeframe) == (1, {"1s": 1, "1m": 0})
    desk.told += desk.builders.on_beat(ALIGNED + 2_500 * MS)
    assert desk.newest == [("BTC/USDT", "1s", "13", 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_forgotten_is_not_amended_though_the_grace_grew_since(kind: Kind) -> None:
    """A candle of the late trade alone would replace the one of them all."""
    desk = Desk(kind, ["1s"])
    desk.trades(at(900), at(1_900), at(2_900), at(3_900))
    desk.builders.set_clock_offset(0, -60 * SECOND)
    desk.newest.clear()
    desk.trades(at(950, late_ms=3_000), at(2_950, late_ms=1_000))
    assert desk.newest == [("BTC/USDT", "1s", "10", 2)]
    assert desk.builders.late.trades == 1


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_many_digits_are_exact_and_others_go_on_meanwhile(kind: Kind) -> None:
    """More than fit into 128 bits are a Python integer's, until their bars are over."""
    desk = Desk(kind, ["1s"])
    desk.trades(at(0, "1"), at(1, "9" * 32, quantity="9" * 32), at(2, "0." + "1" * 32, quantity="2"), at(3, "5", ETH))
    desk.trades(at(1_000, "2"), at(1_000, "6", ETH), at(3_000, "3"), at(3_000, "7", ETH))
    (_, first), (_, second), *rest = [(at_, each) for at_, each in desk.told if each.symbol == "BTC/USDT"]
    assert (first.high, first.quote_volume) == ("9" * 32 + "." + "0" * 32, f"{10**64 - 2 * 10**32 + 2}.{'2' * 32}")
    assert (second.close, second.volume, len(rest)) == ("2", "1", 0)
    assert [each.close for _, each in desk.told if each.symbol == "ETH/USDT"] == ["5", "6"]


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_clock_was_set_back_no_trade_is_late(kind: Kind) -> None:
    desk = Desk(kind)
    desk.trades(at(7_200_000, "100"))
    desk.told += desk.builders.clock_set_back(ALIGNED)
    assert [name for _, name, *_ in desk.newest] == ["1s", "1m"]
    desk.trades(at(10, "101"), at(1_000, "102"))
    assert desk.newest == [("BTC/USDT", "1s", "101", 1)]
    assert not desk.builders.late.trades


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_at_the_end_of_all_times_ends_nothing_else(kind: Kind) -> None:
    """Where 64 bits end: a bar of it has no end there."""
    desk = Desk(kind, ["1s"])
    end_ns = 2**63 - 1
    desk.trades(at(0), replace(at(0, "11"), time_venue_ns=end_ns), at(0, "20", ETH), at(1_000, "21", ETH))
    assert desk.newest == [("BTC/USDT", "1s", "10", 1), ("ETH/USDT", "1s", "20", 1)]
    desk.told += desk.builders.on_beat(ALIGNED + 2_500 * MS)
    assert desk.newest == [("ETH/USDT", "1s", "21", 1)]
    desk.trades(at(500, "12"))
    assert desk.builders.late.trades == 1
    desk.told += desk.builders.clock_set_back(ALIGNED)
    assert ("BTC/USDT", "1s", "11", 1) in desk.newest


@st.composite
def lives(draw: st.DrawFn) -> tuple[tuple[str, ...], int, list[object]]:
    """Timeframes, grace, and what happens: trades in batches, beats, quotes, offsets, and clocks that are set back."""
    timeframes = draw(st.sampled_from([("1s",), ("1m", "1s"), ("1s", "7s", "1m", "1h"), ("90s", "1m"), ()]))
    grace_ns = draw(st.sampled_from([0, 500, 2_500, 40_000])) * MS
    chance, now_ns, events = random.Random(draw(st.integers(0, 2**32))), ALIGNED, list[object]()
    texts = SHORT + LONG if draw(st.booleans()) else SHORT
    for _ in range(draw(st.integers(1, 60))):
        now_ns += chance.choice([1, 30, 200, 1_100, 61_000]) * MS
        match chance.randrange(12):
            case 0:
                bid = chance.choice(SHORT)
                events.append((chance.randrange(2), quote(bid, "100000", now_ns, BTC, "1", chance.choice(SHORT))))
            case 1:
                events.append(("offset", chance.randrange(2), chance.randrange(-1_500, 1_500) * MS))
            case 2 if chance.random() < 0.2:
                now_ns -= 100 * SECOND
                events.append(("back", now_ns))
            case 2 | 3 | 4:
                events.append(("beat", now_ns))
            case _:
                events.append([_drawn(chance, now_ns, texts) for _ in range(chance.randrange(1, 20))])
    return timeframes, grace_ns, events


def _drawn(chance: random.Random, now_ns: int, texts: Sequence[str]) -> Trade:
    instrument = chance.choice([BTC, ETH])
    time_ns = now_ns + chance.choice([0, 0, 0, 1, 2, 400, 1_000, -1, -700, -1_500, -70_000]) * MS
    made = trade(chance.choice(texts), chance.choice(texts), time_ns, received_ns=now_ns + chance.randrange(3) * MS)
    return replace(made, instrument=instrument, time_venue_ns=time_ns if chance.random() < 0.9 else 0)


def _lived(kind: Kind, timeframes: tuple[str, ...], grace_ns: int, events: list[object]) -> object:
    desk = Desk(kind, timeframes, grace_ns)
    steps: list[Told] = []
    for event in events:
        match event:
            case list():
                steps.append(desk.builders.on_trades(event))
            case ("beat", int(now_ns)):
                steps.append(sorted(desk.builders.on_beat(now_ns), key=_order))
            case ("back", int(now_ns)):
                steps.append(sorted(desk.builders.clock_set_back(now_ns), key=_order))
            case ("offset", int(index), int(offset_ns)):
                desk.builders.set_clock_offset(index, offset_ns)
            case (int(index), Quote() as newest):
                desk.quotes[index] = newest
    return steps, desk.builders.late


def _order(told: tuple[int, Candle]) -> tuple[int, int]:
    """Of one moment, instrument by instrument: a beat has no order of its own among them."""
    return told[0], 0


@compiled
@given(lives())
@settings(max_examples=400, deadline=None)
def test_whatever_happens_both_tell_the_same(life: tuple[tuple[str, ...], int, list[object]]) -> None:
    """Candle by candle and step by step, with what is late and too long, and what was counted."""
    assert _lived(CandleBuilders, *life) == _lived(CandleBuildersSlowly, *life)


@compiled
def test_what_is_late_is_lent_until_a_beat_after_which_nothing_was() -> None:
    """Else one late trade would make all that come after it slow, or each of many be lent for itself."""
    desk = Desk(CandleBuilders)
    lent = desk.builders._lent  # type: ignore[attr-defined]  # the compiled one's
    desk.trades(at(900), at(1_000), at(800, late_ms=300), at(1_100))
    desk.builders.on_beat(ALIGNED + 1_100 * MS)
    assert list(lent) == [0]
    desk.builders.on_beat(ALIGNED + 1_200 * MS)
    assert not lent
    desk.trades(at(1_200, "9" * 32, quantity="9" * 32))
    assert list(lent) == [0]
    desk.trades(at(70_000), at(70_100))
    desk.builders.on_beat(ALIGNED + 200_000 * MS)
    assert not lent


@compiled
def test_a_late_trade_costs_about_what_it_costs_the_builder() -> None:
    """Where each of a venue's trades amends a bar, to lend for each would cost ten times that."""
    made = [at(1_000 + number // 10, late_ms=2_000) for number in range(3_000)]
    spent = {kind: min(_spent(kind, made) for _ in range(5)) for kind in KINDS}
    assert spent[CandleBuilders] < 3 * spent[CandleBuildersSlowly]


def _spent(kind: Kind, late: list[Trade]) -> float:
    desk = Desk(kind, ["1s"], grace_ns=5 * SECOND)
    desk.trades(at(1_000), at(2_000))
    began = time.process_time()
    for from_ in range(0, len(late), 300):
        desk.trades(*late[from_ : from_ + 300])
        desk.builders.on_beat(ALIGNED + 3_000 * MS + from_)
    took = time.process_time() - began
    assert len(desk.told) == 1 + len(late)
    return took


@compiled
def test_nothing_is_left_behind() -> None:
    """Trades, quotes and candles are referred to by nobody else afterwards."""
    made, newest = [at(number * 100, late_ms=1 + number % 7 * 90) for number in range(200)], quote("1", "2", START)
    gc.collect()

    def references() -> list[int]:
        return [sys.getrefcount(each) for each in (made[3], newest, BTC, BTC.symbol)]

    before = references()
    desk = Desk(CandleBuilders)
    desk.quotes[0] = newest
    desk.trades(*made)
    assert len(desk.told) > 15
    of_told = sys.getrefcount(desk.told[0]), sys.getrefcount(desk.told[0][1])
    assert of_told == (2, 2)
    del desk
    gc.collect()
    assert references() == before


@compiled
@pytest.mark.parametrize(
    "wrong",
    [None, [None], [1], [BTC], (), "trades"],
    ids=str,
)
def test_what_is_no_list_of_trades_is_refused(wrong: object) -> None:
    """A mistake of ours, which must not pass."""
    desk = Desk(CandleBuilders)
    with pytest.raises(TypeError):
        desk.builders._native.take(wrong, 0, [])  # type: ignore[attr-defined]
