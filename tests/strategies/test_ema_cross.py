from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import candle
from traderd.core.indicators import Ema
from traderd.core.strategy import Opinion
from traderd.strategies.ema_cross import EmaCross


def opinions(closes: Sequence[str], allow_short: bool = False) -> list[Opinion | None]:
    strategy = EmaCross(2, 4, allow_short)
    return [strategy.on_candle(candle(close)) for close in closes]


def kinds(closes: Sequence[str], allow_short: bool = False) -> list[str]:
    return [each.signal_type for each in opinions(closes, allow_short) if each]


def test_each_average_is_told_from_when_it_is_warm() -> None:
    """By its period; nothing is told before."""
    strategy = EmaCross(2, 4)
    seen = []
    for close in ["10", "9", "8", "7"]:
        strategy.on_candle(candle(close))
        seen.append(dict(strategy.indicators))
    assert [set(each) for each in seen] == [set(), {"EMA_2"}, {"EMA_2"}, {"EMA_2", "EMA_4"}]
    assert (seen[1]["EMA_2"], seen[3]["EMA_4"]) == (9.5, 8.5)


FALL_RISE_FALL = ["10", "9", "8", "7", "6", "7", "9", "11", "12", "10", "8", "6"]


def test_long_above_and_out_below() -> None:
    """One opinion a crossing, in turns."""
    assert kinds(FALL_RISE_FALL) == ["LONG", "EXIT_LONG"]
    assert kinds(FALL_RISE_FALL, allow_short=True) == ["LONG", "SHORT"]


def test_the_relation_at_its_first_sight_is_no_crossing() -> None:
    """A price that has been rising all along gives no signal."""
    assert kinds(["1", "2", "3", "4", "5", "6", "7"]) == []


def test_touching_is_not_crossing() -> None:
    """A flat market keeps both averages equal and silent."""
    assert kinds(["5"] * 20) == []


def test_an_opinion_names_the_figures_that_made_it() -> None:
    """Strength is the gap, at most 1."""
    (first,) = [each for each in opinions(FALL_RISE_FALL)[:8] if each]
    assert "crossed above" in first.reason and "EMA" in first.reason
    assert 0.0 < first.strength <= 1.0 and 0.0 <= first.confidence <= 1.0


def test_it_is_warm_when_the_slow_average_is() -> None:
    """After four candles here."""
    strategy = EmaCross(2, 4)
    for close in ("1", "2", "3"):
        strategy.on_candle(candle(close))
        assert not strategy.warm
    strategy.on_candle(candle("4"))
    assert strategy.warm


@pytest.mark.parametrize(("fast", "slow"), [(4, 4), (5, 4), (0, 4)])
def test_periods_that_cannot_cross_are_our_own_mistake(fast: int, slow: int) -> None:
    """Told when it is made."""
    with pytest.raises(ValueError, match="fast < slow"):
        EmaCross(fast, slow)


@given(st.lists(st.decimals("0.00000001", "1000000", places=8).map(str), max_size=60), st.booleans())
def test_opinions_alternate_agree_with_the_averages_and_never_come_cold(closes: list[str], allow_short: bool) -> None:
    """For any course of closes."""
    down = "SHORT" if allow_short else "EXIT_LONG"
    fast, slow, last = Ema(2), Ema(4), ""
    for count, (close, opinion) in enumerate(zip(closes, opinions(closes, allow_short), strict=True), 1):
        now_fast, now_slow = fast.push(float(close)), slow.push(float(close))
        if opinion is None:
            continue
        assert count > 4 and now_fast is not None and now_slow is not None
        assert opinion.signal_type == ("LONG" if now_fast > now_slow else down)
        assert opinion.signal_type != last
        assert 0.0 <= opinion.strength <= 1.0
        last = opinion.signal_type
