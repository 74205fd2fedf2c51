"""Columns become rows of COPY: by C and by numpy the same values, and the same rows that can't be stored."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from traderd.adapters.copy_rows import (
    BIGINT,
    CHOICE,
    MOMENT,
    MOMENT_OR_NONE,
    NUMERICS,
    SMALLINT,
    TEXT,
    Column,
    choices_of,
    copy_rows_slowly,
)
from traderd.adapters.journal_rows import copied_rows

try:
    from traderd.native import copy_rows as copy_rows_natively
except ImportError:
    copy_rows_natively = copy_rows_slowly
WAYS = [copy_rows_natively, copy_rows_slowly]

NAMES = ("time", "time_venue", "symbol", "exchange", "side", "price", "quantity", "bid", "sequence", "flags")
PLAIN = st.from_regex(r"[0-9]{1,28}(\.[0-9]{1,20})?", fullmatch=True)
ODD = st.sampled_from(
    ["", ".", "1.", ".5", "1..2", "-1", "+1", "1e5", "NaN", "inf", " 1", "1 ", "1_0", "٣", "9" * 29, "0." + "1" * 21]
)
NS = st.integers(0, 2**62)


def columns_of(rows: list[tuple[Any, ...]]) -> list[Column]:
    """One of each kind."""
    times, venue_times, codes, texts, told, sequences, flags = ([row[at] for row in rows] for at in range(7))
    return [
        (MOMENT, times, None),
        (MOMENT_OR_NONE, venue_times, None),
        (CHOICE, codes, choices_of([b"BTC/USDT", b"ETH/USDT", "币/USDT".encode()], [b"binance", b"okx", b""])),
        (TEXT, texts, None),
        (NUMERICS, told, (0, 2, 1)),
        (BIGINT, sequences, None),
        (SMALLINT, flags, None),
    ]


ROWS = st.lists(
    st.tuples(
        NS,
        st.one_of(st.just(0), NS),
        st.integers(0, 2),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=10),
        st.one_of(
            st.just(""),
            st.lists(PLAIN, min_size=3, max_size=3).map(",".join),
            st.lists(st.one_of(PLAIN, ODD), min_size=2, max_size=4).map(",".join),
        ),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 31),
    ),
    max_size=12,
)


@given(ROWS)
@example([(1_999, 999, 1, "a", "0.00,000.10,12345.67890", 7, 0), (0, 0, 0, "", "", -1, 31)])
def test_both_ways_write_the_same_values_and_leave_out_the_same_rows(rows: list[tuple[Any, ...]]) -> None:
    """Numbers to the last zero, times cut to the microsecond, texts of any script, what is unknown as NULL."""
    natively, bad = copy_rows_natively(columns_of(rows), len(rows))
    slowly, slowly_bad = copy_rows_slowly(columns_of(rows), len(rows))
    assert bad == slowly_bad
    assert list(copied_rows(NAMES, natively)) == list(copied_rows(NAMES, slowly))


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_a_decimal_that_fits_is_never_left_out(texts: list[str]) -> None:
    """And comes back as its text, but for zeros before it."""
    for way in WAYS:
        payload, bad = way([(NUMERICS, texts, (0,))], len(texts))
        assert not bad
        found = [row["price"] for row in copied_rows(("price",), payload)]
        assert found == [whole_without_zeros(text) for text in texts]


def whole_without_zeros(text: str) -> str:
    whole, dot, places = text.partition(".")
    return (whole.lstrip("0") or "0") + dot + places


@pytest.mark.parametrize("way", WAYS)
def test_no_rows_are_no_bytes(way: Callable[..., tuple[bytes, list[int]]]) -> None:
    """Nor are they an error."""
    assert way([(MOMENT, [], None), (NUMERICS, [], (0,))], 0) == (b"", [])


@pytest.mark.skipif(copy_rows_natively is copy_rows_slowly, reason="not compiled here")
@pytest.mark.parametrize(
    ("columns", "count"),
    [
        ([("m", [1], None)], 2),
        ([("m", [2**63], None)], 1),
        ([("s", [2**15], None)], 1),
        ([("m", ["1"], None)], 1),
        ([("t", [1], None)], 1),
        ([("t", ["\ud800"], None)], 1),
        ([("c", [3], choices_of([b"a"]))], 1),
        ([("c", [-2], choices_of([b"a"]))], 1),
        ([("c", [0], (["a"], (["a"],)))], 1),
        ([("c", [0], [b"a"])], 1),
        ([("c", [0], ([b"a"], 1))], 1),
        ([("c", [0], ((b"a",), ()))], 1),
        ([("c", [0], None)], 1),
        ([("n", ["1"], (1,))], 1),
        ([("n", ["1"], ())], 1),
        ([("n", ["1"], tuple(range(9)))], 1),
        ([("n", ["1"], 1)], 1),
        ([("?", [1], None)], 1),
        ([("mm", [1], None)], 1),
        ([["m", [1], None]], 1),
        ([("m", (1,), None)], 1),
        ([("m", [1])], 1),
        ([("m", [1], None)] * 65, 1),
        ("m", 1),
    ],
)
def test_what_is_no_column_is_a_mistake_of_ours_and_no_crash(columns: Any, count: int) -> None:
    """C believes nobody."""
    with pytest.raises((TypeError, ValueError, OverflowError, IndexError, UnicodeEncodeError)):
        copy_rows_natively(columns, count)
