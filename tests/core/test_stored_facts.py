"""Facts on their way from the journal to the database: what was written is what is stored."""

from hypothesis import given
from hypothesis import strategies as st

from traderd.core.facts import Candle, decode_facts, encode_facts

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
    assert decode_facts(encode_facts(candles)) == candles
