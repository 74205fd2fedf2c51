"""Facts on their way from the journal to the database: what was written is what is stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.facts import Candle, Fact, Gap, WrittenCandles, decode_facts, encode_facts

figures = st.decimals(min_value=0, max_value=10**12, places=10, allow_nan=False).map(str)


@given(st.lists(st.tuples(figures, figures, st.integers(0, 10**9), st.booleans()), min_size=1, max_size=5))
def test_a_candle_is_stored_to_the_digit_that_was_journalled(drawn: list[tuple[str, str, int, bool]]) -> None:
    """Zeros at the end, marks and missing quotes included."""
    candles = [
        Candle(
            "binance", "BTC/USDT", "1s", at, price, price, price, price, volume, volume, at, has_gap=marked, bid=price
        )
        for price, volume, at, marked in drawn
    ]
    (stored,) = decode_facts(encode_facts(candles))
    assert isinstance(stored, WrittenCandles)
    assert (stored.apart(), stored.open_times_ns) == (candles, [each.open_time_ns for each in candles])


def test_among_other_facts_candles_are_told_one_by_one() -> None:
    """In their order."""
    facts: list[Fact] = [bar("BTC/USDT", 1), Gap("g", "binance", "BTC/USDT", "trade", "disconnect", 1, 2), bar("x", 2)]
    for told in (facts, facts[1:], facts[:2]):
        assert decode_facts(encode_facts(told)) == told


@pytest.mark.parametrize("symbol", ['{"type":"candle",', '","open_time_ns":7,"', "\n", "\\"])
def test_a_symbol_that_looks_like_a_part_of_the_line_is_a_symbol(symbol: str) -> None:
    """Quotes and line feeds in a text are escaped."""
    (stored,) = decode_facts(encode_facts([bar(symbol, 5), bar(symbol, 6)]))
    assert isinstance(stored, WrittenCandles)
    assert (stored.open_times_ns, len(stored.apart())) == ([5, 6], 2)


def bar(symbol: str, at_ns: int) -> Candle:
    return Candle("binance", symbol, "1s", at_ns, *("1.10",) * 6, 3)
