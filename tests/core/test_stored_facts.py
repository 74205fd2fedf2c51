"""Facts on their way from the journal to the database: what was written is what is stored."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs

from traderd.core.facts import Candle, CandleTexts, decode_facts, encode_facts

figures = st.decimals(min_value=0, max_value=10**12, places=10, allow_nan=False)


def test_a_candle_in_texts_has_every_field_of_a_candle_in_the_same_order() -> None:
    """One that were missing there would never be stored, and nobody would notice."""
    numbers, texts = structs.fields(Candle), structs.fields(CandleTexts)
    assert [(each.name, each.default) for each in texts] == [(each.name, each.default) for each in numbers]
    read_as = {Decimal: str, Decimal | None: str | None}
    assert [each.type for each in texts] == [read_as.get(each.type, each.type) for each in numbers]


@given(st.lists(st.tuples(figures, figures, st.integers(0, 10**9), st.booleans()), min_size=1, max_size=5))
def test_a_candle_is_stored_to_the_digit_that_was_journalled(drawn: list[tuple[Decimal, Decimal, int, bool]]) -> None:
    """Zeros at the end, marks and missing quotes included."""
    candles = [
        Candle(
            "binance", "BTC/USDT", "1s", at, price, price, price, price, volume, volume, at, has_gap=marked, bid=price
        )
        for price, volume, at, marked in drawn
    ]
    stored = decode_facts(encode_facts(candles))
    assert [type(each) for each in stored] == [CandleTexts] * len(candles)
    assert [json.decode(json.encode(each)) for each in stored] == [json.decode(json.encode(each)) for each in candles]
