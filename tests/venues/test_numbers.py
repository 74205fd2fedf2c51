"""Which number texts pass, and what times mean."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traderd.core.errors import BadFrameError
from traderd.venues.numbers import (
    Rfc3339,
    are_levels,
    are_levels_slowly,
    check_levels,
    is_quote,
    is_trade,
    quote_told,
    quote_told_slowly,
    trade_told,
    trade_told_slowly,
    without_exponent,
)

NOT_PLAIN = [
    "",
    " 1",
    "1 ",
    "1_0",
    "1e5",
    "1E5",
    "0x1",
    "-1",
    "+1",
    "nan",
    "inf",
    ".5",
    "5.",
    ".",
    "1.2.3",
    "1,2",
    "٣",
    "1\n",
]


@pytest.mark.parametrize("text", [*NOT_PLAIN, "1" * 33, "0." + "1" * 33])
def test_a_text_that_is_no_plain_decimal_passes_nowhere(text: str) -> None:
    """Though float() takes many of these."""
    assert not is_quote(f"{text},1,1,1")
    assert not is_quote(f"1,1,1,{text}")
    assert not is_trade(f"1,{text}")
    for level in [(text, "1"), ("1", text)]:
        with pytest.raises(BadFrameError):
            check_levels([("1", "1"), level])


@pytest.mark.parametrize("zero", ["0", "0.0", "000.000"])
def test_a_price_of_zero_does_not_pass_but_a_quantity_does(zero: str) -> None:
    """A level of no quantity is one to remove."""
    assert not is_trade(f"{zero},1")
    assert is_trade(f"1,{zero}")
    check_levels([("0.1", zero)])
    with pytest.raises(BadFrameError):
        check_levels([(zero, "1")])


def test_texts_cannot_pass_by_lending_each_other_their_commas() -> None:
    """Levels are matched joined by commas; a comma inside one shifts its neighbours."""
    for levels in ([("1,2", "3,4")], [("1", "2,3,4")], [("1,2", "3"), ("4", "5,6,7")]):
        with pytest.raises(BadFrameError):
            check_levels(levels)


@given(st.decimals(min_value=0, max_value=10**20, places=8, allow_nan=False).map(lambda d: format(d, "f")))
def test_every_decimal_of_a_venue_passes(text: str) -> None:
    """As a quantity, whatever it is."""
    assert is_trade(f"1,{text}")


@given(st.from_regex(r"\A[0-9]{1,20}(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}\Z"))
def test_an_exponent_is_written_out_without_losing_anything(text: str) -> None:
    """The value is the same and there is no exponent left."""
    plain = without_exponent(text)
    assert Decimal(plain) == Decimal(text)
    assert set(plain) <= set("0123456789.")


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)),
    st.integers(0, 999_999_999),
    st.sampled_from([None, 0, 330, -480]),
)
def test_a_time_keeps_its_nanoseconds_in_every_zone(moment: datetime, nanosecond: int, offset: int | None) -> None:
    """Against Python's own calendar."""
    zone = "Z" if offset is None else f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    seconds = round(
        (moment.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    )
    expected = (seconds - (offset or 0) * 60) * 1_000_000_000 + nanosecond
    assert Rfc3339().ns(f"{moment:%Y-%m-%dT%H:%M:%S}.{nanosecond:09}{zone}") == expected


def test_the_remembered_minute_is_not_taken_for_another() -> None:
    """Two times a day and a zone apart."""
    clock = Rfc3339()
    first, second, third = (
        clock.ns(f"2026-08-0{day}T00:00:01{zone}") for day, zone in [(1, "Z"), (2, "Z"), (2, "+01:00")]
    )
    assert second - first == 86_400 * 10**9
    assert second - third == 3_600 * 10**9


TOLD = st.one_of(
    st.from_regex(r"[0-9]{1,33}(\.[0-9]{1,33})?", fullmatch=True),
    st.from_regex(r"0{1,4}(\.0{1,8})?[0-9]?", fullmatch=True),
    st.from_regex(r"[0-9]{1,6}\.[0-9]{1,9}", fullmatch=True),
    st.sampled_from(
        ["", ".", "1.", ".5", "1..2", "-1", "+1", "1e5", "1E5", "nan", "inf", " 1", "1 ", "1_0", "٣", "1,2"]
    ),
    st.text(max_size=4),
)


@given(st.lists(TOLD, min_size=4, max_size=4))
def test_c_and_python_believe_the_same_numbers_and_read_the_same_prices(told: list[str]) -> None:
    """To the last bit of a float. (Where nothing was compiled Python is held against itself.)"""
    assert quote_told(*told) == quote_told_slowly(*told)
    assert trade_told(*told[:2]) == trade_told_slowly(*told[:2])


@given(st.lists(st.tuples(TOLD, TOLD), max_size=4))
def test_c_and_python_believe_the_same_levels(levels: list[tuple[str, str]]) -> None:
    """All of them, or not the message."""
    assert are_levels(levels) is are_levels_slowly(levels)


@given(st.integers(1, 10**17), st.integers(1, 24))
def test_a_price_is_the_float_that_python_reads(units: int, places: int) -> None:
    """Where digits and places are few it is a quotient of two exact doubles, else what the interpreter makes of it."""
    digits = str(units).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}"
    assert trade_told(text, "1") == (f"{text},1", float(text))


@pytest.mark.parametrize("told", [(), ("1",), ("1", "2", "3"), ("1", "2", "3", "4", "5")])
def test_too_few_and_too_many_numbers_are_a_mistake_of_ours(told: tuple[str, ...]) -> None:
    """C believes nobody."""
    with pytest.raises(TypeError):
        quote_told(*told)
