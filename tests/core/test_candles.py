import itertools
import sys
from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import BTC, MS, SECOND, START, figures_of, trade
from traderd.core.candles import CandleBuilder, LateTrades, timeframe_ns
from traderd.core.facts import Candle
from traderd.core.market import Trade

MINUTE = 60 * SECOND
GRACE = 500 * MS
ALIGNED = START - START % (3_600 * SECOND)

texts = st.decimals("0.00000001", "99999999", places=8).map(lambda number: f"{number:f}")
moves_ns = st.one_of(st.integers(0, 2 * SECOND), st.integers(-3 * SECOND, 90 * SECOND))


@st.composite
def trade_sequences(draw: st.DrawFn) -> list[Trade]:
    """Trades whose times mostly rise, sometimes jump and sometimes fall back."""
    steps = draw(st.lists(st.tuples(moves_ns, texts, texts), max_size=60))
    times = itertools.accumulate((move for move, _, _ in steps), lambda at, move: at + move)
    return [trade(price, quantity, ALIGNED + at) for (_, price, quantity), at in zip(steps, times, strict=True)]


def build(trades: Sequence[Trade], timeframes: Sequence[str]) -> tuple[list[Candle], CandleBuilder]:
    """All candles of the trades as they were in the end, the last ones closed by a Beat long after."""
    builder = CandleBuilder(BTC, timeframes, GRACE)
    candles = [candle for each in trades for candle in builder.on_trade(each)]
    last_ns = max((each.time_venue_ns for each in trades), default=ALIGNED)
    candles += builder.on_beat(last_ns + 86_400 * SECOND)
    newest: dict[tuple[str, int], Candle] = {}
    for each in candles:
        before = newest.get((each.timeframe, each.open_time_ns))
        assert before is None or before.trades_count < each.trades_count, "a candle that comes again has grown"
        newest[each.timeframe, each.open_time_ns] = each
    return sorted(newest.values(), key=lambda each: (each.timeframe, each.open_time_ns)), builder


def in_time(trades: Sequence[Trade]) -> list[Trade]:
    """The trades that come before the grace of their second is over; a second that is newest is never over."""
    kept, newest = [], 0
    for each in trades:
        end = each.time_venue_ns - each.time_venue_ns % SECOND + SECOND
        newest = max(newest, each.time_venue_ns)
        if end > newest - newest % SECOND or end >= newest - GRACE:
            kept.append(each)
    return kept


def plainly(trades: Sequence[Trade], timeframe: str) -> list[tuple[object, ...]]:
    """The same candles with nothing clever: the trades sorted by their time, bucket by bucket."""
    length, buckets = timeframe_ns(timeframe), dict[int, list[Trade]]()
    for each in sorted(trades, key=lambda each: each.time_venue_ns):
        buckets.setdefault(each.time_venue_ns // length * length, []).append(each)
    found = []
    for open_time_ns, inside in sorted(buckets.items()):
        prices = [Decimal(each.price_text) for each in inside]
        with localcontext(Context(prec=80)):
            volume = sum(Decimal(each.quantity_text) for each in inside)
        edges = {
            price for price, each in zip(prices, inside, strict=True) if each.time_venue_ns == inside[0].time_venue_ns
        }
        ends = {
            price for price, each in zip(prices, inside, strict=True) if each.time_venue_ns == inside[-1].time_venue_ns
        }
        found.append((open_time_ns, edges, max(prices), min(prices), ends, volume, len(inside)))
    return found


@pytest.mark.parametrize(
    ("text", "length"), [("1s", SECOND), ("5m", 5 * MINUTE), ("4h", 240 * MINUTE), ("1d", 1440 * MINUTE)]
)
def test_a_timeframe_is_a_whole_number_and_a_unit(text: str, length: int) -> None:
    """Seconds, minutes, hours, days."""
    assert timeframe_ns(text) == length


@pytest.mark.parametrize("text", ["", "0s", "1", "m", "1M", "-1m", "1.5h", " 1m", "01m", "1m\n"])
def test_anything_else_is_no_timeframe(text: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(ValueError, match="is not a timeframe"):
        timeframe_ns(text)


def test_a_candle_holds_first_highest_lowest_last_and_exact_sums() -> None:
    """One second with four trades, closed by the first trade of the next."""
    rows = [("10.10", "0.1"), ("10.30", "0.2"), ("9.90", "0.30000001"), ("10.00", "0.4")]
    builder = CandleBuilder(BTC, ["1s"], GRACE)
    for number, (price, quantity) in enumerate(rows):
        assert not builder.on_trade(trade(price, quantity, ALIGNED + number * 100 * MS))
    (closed,) = builder.on_trade(trade("11", "1", ALIGNED + SECOND))
    assert (closed.open, closed.high, closed.low, closed.close) == ("10.10", "10.30", "9.90", "10.00")
    assert (closed.volume, closed.quote_volume) == ("1.00000001", "10.0400000990")
    assert (closed.trades_count, closed.open_time_ns, closed.timeframe) == (4, ALIGNED, "1s")


def test_a_beat_closes_a_bar_only_after_its_grace() -> None:
    """Silence ends a bar too, but late-coming trades get the grace."""
    builder = CandleBuilder(BTC, ["1s"], GRACE)
    builder.on_trade(trade("10", "1", ALIGNED + 999 * MS))
    assert not builder.on_beat(ALIGNED + SECOND + GRACE - 1)
    assert len(builder.on_beat(ALIGNED + SECOND + GRACE)) == 1
    assert not builder.on_beat(ALIGNED + 9 * SECOND)


def test_a_trade_of_a_closed_bar_is_counted_and_not_applied() -> None:
    """Nor does it open its bar a second time."""
    builder = CandleBuilder(BTC, ["1s", "1m"], GRACE)
    builder.on_trade(trade("10", "1", ALIGNED))
    builder.on_beat(ALIGNED + 2 * SECOND)
    assert not builder.on_trade(trade("99", "1", ALIGNED + 1))
    assert builder.late.trades == 1
    (minute,) = builder.on_trade(trade("11", "1", ALIGNED + MINUTE))
    assert (minute.timeframe, minute.high, minute.trades_count) == ("1m", "10", 1)


def test_empty_buckets_make_no_candle() -> None:
    """A minute of silence leaves a hole, not a made-up price."""
    candles, _ = build([trade("10", "1", ALIGNED), trade("11", "1", ALIGNED + 30 * SECOND)], ["1s"])
    assert [each.open_time_ns for each in candles] == [ALIGNED, ALIGNED + 30 * SECOND]


def test_a_trade_without_venue_time_counts_when_it_was_received() -> None:
    """Some streams carry no time."""
    builder = CandleBuilder(BTC, ["1s"], GRACE)
    builder.on_trade(trade("10", "1", 0, received_ns=ALIGNED + 5 * SECOND))
    (closed,) = builder.on_beat(ALIGNED + 9 * SECOND)
    assert closed.open_time_ns == ALIGNED + 5 * SECOND


def test_a_trade_that_comes_late_but_within_the_grace_amends_its_bar() -> None:
    """Second and minute come once more; what was the last trade of the second still is."""
    builder = CandleBuilder(BTC, ["1s", "1m"], GRACE)
    builder.on_trade(trade("10", "1", ALIGNED + MINUTE - 500 * MS))
    second, minute = builder.on_trade(trade("11", "1", ALIGNED + MINUTE + 1))
    late = trade("12", "2", ALIGNED + MINUTE - 600 * MS, received_ns=ALIGNED + MINUTE + GRACE)
    amended = builder.on_trade(late)
    assert [(each.timeframe, each.open_time_ns) for each in amended] == [
        (each.timeframe, each.open_time_ns) for each in (second, minute)
    ]
    for each in amended:
        assert (each.open, each.high, each.close) == ("12", "12", "10")
        assert (each.volume, each.trades_count) == ("3", 2)
    again = trade("12", "2", ALIGNED + MINUTE - 600 * MS, received_ns=ALIGNED + MINUTE + GRACE + 1)
    assert not builder.on_trade(again)
    assert builder.late == LateTrades(1, {"1s": 1, "1m": 1})


def test_a_late_trade_of_a_second_without_any_makes_its_candle() -> None:
    """And the minute in progress has it too."""
    builder = CandleBuilder(BTC, ["1s", "1m"], GRACE)
    builder.on_trade(trade("10", "1", ALIGNED + 5 * SECOND))
    (late,) = builder.on_trade(trade("9", "1", ALIGNED + 5 * SECOND - 1, received_ns=ALIGNED + 5 * SECOND + GRACE))
    assert (late.timeframe, late.open_time_ns, late.open) == ("1s", ALIGNED + 4 * SECOND, "9")
    *_, minute = builder.on_beat(ALIGNED + 2 * MINUTE)
    assert (minute.timeframe, minute.trades_count, minute.open) == ("1m", 2, "9")


@given(trade_sequences(), st.sampled_from([("1s",), ("1s", "1m"), ("1s", "7s", "1m", "1h"), ("1s", "1d")]))
def test_every_candle_is_what_its_trades_are_in_the_order_of_their_times(
    trades: list[Trade], timeframes: tuple[str, ...]
) -> None:
    """Whatever order they come in; of trades of the same time either may be first or last."""
    candles, _ = build(trades, timeframes)
    kept = in_time(trades)
    for timeframe in timeframes:
        own = [each for each in candles if each.timeframe == timeframe]
        expected = plainly(kept, timeframe)
        assert len(own) == len(expected)
        for each, (open_time_ns, opens, high, low, closes, volume, count) in zip(own, expected, strict=True):
            made = figures_of(each)
            assert (each.open_time_ns, made.high, made.low) == (open_time_ns, high, low)
            assert made.open in opens and made.close in closes  # type: ignore[operator]  # sets
            assert (made.volume, each.trades_count) == (volume, count)


@given(trade_sequences())
def test_low_and_high_enclose_open_and_close(trades: list[Trade]) -> None:
    """In every candle of any sequence."""
    for each in build(trades, ["1s", "1m"])[0]:
        made = figures_of(each)
        assert made.low <= min(made.open, made.close) <= max(made.open, made.close) <= made.high
        assert each.open_time_ns % timeframe_ns(each.timeframe) == 0


@given(trade_sequences(), st.sampled_from([("1s",), ("1s", "1m"), ("1s", "7s", "1m", "1h")]))
def test_every_timeframe_sums_to_the_trades_in_time_and_no_bucket_comes_twice(
    trades: list[Trade], timeframes: tuple[str, ...]
) -> None:
    """Nothing is lost and nothing counted twice; what is late is counted as late."""
    candles, builder = build(trades, timeframes)
    kept = in_time(trades)
    assert builder.late.trades == len(trades) - len(kept)
    for timeframe in timeframes:
        own = [each for each in candles if each.timeframe == timeframe]
        assert sum(figures_of(each).volume for each in own) == sum(Decimal(each.quantity_text) for each in kept)
        assert sum(each.trades_count for each in own) == len(kept)
        opens = [each.open_time_ns for each in own]
        assert opens == sorted(set(opens))


@given(trade_sequences())
def test_two_timeframes_that_do_not_divide_see_the_same_trades(trades: list[Trade]) -> None:
    """90 s isn't made of minutes: both are fed by trades, and what is late for one is late for both."""
    candles, builder = build(trades, ["1m", "90s"])
    for timeframe in ("1m", "90s"):
        counted = sum(each.trades_count for each in candles if each.timeframe == timeframe)
        assert counted == len(trades) - builder.late.trades


@given(trade_sequences())
def test_a_minute_is_the_sum_of_its_seconds(trades: list[Trade]) -> None:
    """Open of the first, close of the last, extremes and sums of all."""
    candles, _ = build(trades, ["1s", "1m"])
    seconds = [each for each in candles if each.timeframe == "1s"]
    for minute in (each for each in candles if each.timeframe == "1m"):
        inside = [each for each in seconds if 0 <= each.open_time_ns - minute.open_time_ns < MINUTE]
        whole, parts = figures_of(minute), [figures_of(each) for each in inside]
        assert (whole.open, whole.close) == (parts[0].open, parts[-1].close)
        assert (whole.high, whole.low) == (max(each.high for each in parts), min(each.low for each in parts))
        with localcontext(Context(prec=80)):  # the sum expected must not be rounded either
            assert whole.volume == sum(each.volume for each in parts)
            assert whole.quote_volume == sum(each.quote_volume for each in parts)


@pytest.mark.parametrize("ahead_ns", [-1_500_000_000, 0, 1_500_000_000])
def test_a_bar_ends_by_the_venues_clock(ahead_ns: int) -> None:
    """Known to be ahead or behind: no trade is late for that, and none is waited for longer than the grace."""
    builder = CandleBuilder(BTC, ["1s"], 500 * MS)
    builder.grace_ns -= ahead_ns
    opened = START - START % SECOND
    builder.on_trade(trade("10", "1", opened + 1, received_ns=opened + 1 - ahead_ns))
    ours = opened + SECOND - ahead_ns
    assert builder.on_beat(ours + 499 * MS) == ()
    (closed,) = builder.on_beat(ours + 500 * MS)
    (amended,) = builder.on_trade(trade("11", "1", opened + 2, received_ns=ours + 500 * MS))
    assert (closed.trades_count, amended.trades_count, builder.late.trades) == (1, 2, 0)
    assert not builder.on_trade(trade("12", "1", opened + 3, received_ns=ours + 501 * MS))
    assert builder.late.trades == 1


def test_after_the_clock_was_set_back_bars_go_on_from_what_it_says_then() -> None:
    """Two hours of a clock that ran ahead make no late trades for two hours, and the bar under way is told as it is."""
    builder = CandleBuilder(BTC, ["1s", "1m"], GRACE)
    ahead = ALIGNED + 7_200 * SECOND
    assert not builder.on_trade(trade("100", "1", ahead))
    assert [each.open_time_ns for each in builder.clock_set_back(ALIGNED)] == [ahead, ahead]
    assert not builder.on_trade(trade("101", "2", ALIGNED + 10 * MS))
    (candle,) = builder.on_trade(trade("102", "3", ALIGNED + SECOND))
    assert (candle.open_time_ns, candle.open, candle.volume) == (ALIGNED, "101", "2")
    assert builder.late.trades == 0


def test_a_day_of_trades_does_not_stay_in_memory() -> None:
    """Where the shortest bar is a day's, no more of them wait for it than a few."""
    builder = CandleBuilder(BTC, ["1d"], GRACE)
    made = [trade("10", "2", ALIGNED + number) for number in range(1_000)]
    held_before = sys.getrefcount(made[0])
    for number in range(1_000):
        assert not builder.on_trade(made[number])
    assert sum(sys.getrefcount(made[number]) > held_before for number in range(1_000)) < 64
    (day,) = builder.on_beat(ALIGNED + 2 * 86_400 * SECOND)
    assert (day.volume, day.quote_volume, day.trades_count) == ("2000", "20000", 1_000)


def test_trades_of_an_instrument_without_timeframes_make_no_candle_and_no_harm() -> None:
    """Bars of trades alone may be configured."""
    assert build([trade("1", "1", ALIGNED + number * SECOND) for number in range(100)], [])[0] == []
