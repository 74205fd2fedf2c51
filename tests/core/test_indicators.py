import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.indicators import Atr, Ema, Rsi, Sma, StandardDeviation

values = st.lists(st.floats(0.01, 1e6), max_size=60)
periods = st.integers(1, 12)


def naive_wilder(inputs: list[float], period: int) -> float | None:
    """Wilder's smoothing from the start."""
    if len(inputs) < period:
        return None
    average = sum(inputs[:period]) / period
    for value in inputs[period:]:
        average = (average * (period - 1) + value) / period
    return average


def close_to(value: float | None, expected: float | None, scale: float = 1e-9) -> bool:
    if value is None or expected is None:
        return value is expected
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=scale)


@given(values, periods)
def test_ema_is_the_naive_recursion_seeded_by_the_first_average(inputs: list[float], period: int) -> None:
    """None until `period` values have come."""
    ema, expected = Ema(period), None
    for count, value in enumerate(inputs, 1):
        if count == period:
            expected = sum(inputs[:period]) / period
        elif expected is not None:
            expected = value * 2 / (period + 1) + expected * (1 - 2 / (period + 1))
        assert close_to(ema.push(value), expected, scale=1e-6)


@given(values, periods)
def test_sma_and_deviation_are_those_of_the_window(inputs: list[float], period: int) -> None:
    """However long the sequence; the deviation is the population's."""
    sma, deviation = Sma(period), StandardDeviation(period)
    for count, value in enumerate(inputs, 1):
        window = inputs[max(0, count - period) : count]
        warm = count >= period
        assert close_to(sma.push(value), statistics.fmean(window) if warm else None, scale=1e-6)
        assert close_to(deviation.push(value), statistics.pstdev(window) if warm else None, scale=1e-2)


def test_the_deviation_forgets_a_huge_value_that_has_left_its_window() -> None:
    """Float residue of an outlier is gone one window length later, not carried for months."""
    deviation = StandardDeviation(4)
    for value in (1e12, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0):
        deviation.push(value)
    assert deviation.push(4.0) == pytest.approx(statistics.pstdev([1.0, 2.0, 3.0, 4.0]), rel=1e-12)


@given(values, periods)
def test_rsi_is_wilders(inputs: list[float], period: int) -> None:
    """From `period` changes on, and always within 0 and 100."""
    rsi = Rsi(period)
    for count, value in enumerate(inputs, 1):
        changes = [after - before for before, after in itertools.pairwise(inputs[:count])]
        gain = naive_wilder([max(each, 0.0) for each in changes], period)
        loss = naive_wilder([max(-each, 0.0) for each in changes], period)
        expected = None
        if gain is not None and loss is not None:
            expected = 100 * gain / (gain + loss) if gain + loss else 50.0
        result = rsi.push(value)
        assert close_to(result, expected, scale=1e-6)
        assert result is None or 0.0 <= result <= 100.0


def test_rsi_of_a_market_that_stands_still_is_in_the_middle() -> None:
    """Neither overbought nor oversold."""
    rsi = Rsi(3)
    assert [rsi.push(7.0) for _ in range(5)] == [None, None, None, 50.0, 50.0]


@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 10), st.floats(0, 1)), max_size=40), periods)
def test_atr_is_wilders_average_of_true_ranges(bars: list[tuple[float, float, float]], period: int) -> None:
    """A gap between bars belongs to the range."""
    atr, ranges, last = Atr(period), [], None
    for low, height, at in bars:
        high, close = low + height, low + height * at
        if last is not None:
            ranges.append(max(high - low, abs(high - last), abs(low - last)))
        last = close
        assert close_to(atr.push(high, low, close), naive_wilder(ranges, period), scale=1e-6)


@pytest.mark.parametrize("kind", [Ema, Sma, StandardDeviation, Rsi, Atr])
def test_a_period_of_nothing_is_our_own_mistake(kind: type) -> None:
    """It is told where it is made."""
    with pytest.raises(ValueError, match="at least 1"):
        kind(0)
