"""The binary COPY encoder against an independent decoder of the format."""

import struct
from decimal import Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.adapters import copy_columns
from traderd.adapters.copy_columns import (
    ROW_TYPES_MAX,
    BigInts,
    Choices,
    Numerics,
    Texts,
    Timestamps,
    encode_rows,
    numeric_words,
)

Cell = bytes | None
WIDE = Context(prec=80)


def decoded(payload: bytes) -> list[list[Cell]]:
    """COPY tuples into cells, by the manual's description."""
    rows, at = [], 0
    while at < len(payload):
        (fields,) = struct.unpack_from(">h", payload, at)
        at += 2
        row: list[Cell] = []
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", payload, at)
            at += 4
            row.append(None if length < 0 else payload[at : at + length])
            at += max(length, 0)
        rows.append(row)
    return rows


def numeric(cell: Cell) -> str | None:
    """A NUMERIC as psql would print it."""
    if cell is None:
        return None
    count, weight, sign, scale = struct.unpack_from(">hhHH", cell)
    assert sign == 0
    digits = struct.unpack_from(f">{count}h", cell, 8)
    assert all(0 <= digit < 10_000 for digit in digits)
    whole = int("".join(f"{digit:04d}" for digit in digits))
    value = Decimal(whole).scaleb(4 * (weight + 1 - count), WIDE)
    return format(value.quantize(Decimal(1).scaleb(-scale), context=WIDE), "f")


plain_decimals = st.one_of(
    st.decimals(min_value=0, max_value=10**9, places=8, allow_nan=False).map(lambda d: format(d, "f")),
    st.from_regex(r"(0|[1-9][0-9]{0,25})(\.[0-9]{1,18})?", fullmatch=True),
    st.integers(0, 10**15).map(str),
)


def normal(text: str) -> str:
    """Without superfluous leading zeros, as a server prints it."""
    return format(Decimal(text), "f")


@given(st.lists(plain_decimals, min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_stored_numeric_equals_its_text_to_the_last_digit(texts: list[str]) -> None:
    """Any mixture of magnitudes and decimals in one batch; the display scale is the text's own."""
    column = Numerics(texts)
    assert column.bad == []
    found = [numeric(row[0]) for row in decoded(encode_rows([column], len(texts)))]
    assert sorted(found, key=str) == sorted((normal(text) for text in texts), key=str)


@pytest.mark.parametrize("long", ["0." + "0" * n + "1" for n in range(15, 20)] + ["0." + "0" * n for n in (17, 20)])
def test_a_long_fraction_takes_nothing_from_a_short_one_in_its_batch(long: str) -> None:
    """67250.1 beside a coin with 17 and more decimals, in either order."""
    for texts in (["67250.1", long], [long, "67250.1"], [long]):
        column = Numerics(texts)
        assert column.bad == []
        found = [numeric(row[0]) for row in decoded(encode_rows([column], len(texts)))]
        assert sorted(found, key=str) == sorted(texts)


def test_a_fraction_of_more_zeros_than_fit_is_bad() -> None:
    """Though the number is only zero: the text can't be given back."""
    assert Numerics(["0." + "0" * 21]).bad == [0]


@given(st.lists(st.one_of(plain_decimals, st.just("")), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_an_empty_text_is_null_and_moves_nobody_else(texts: list[str]) -> None:
    """NULLs and numbers mix; a second column shows that rows stay together."""
    column = Numerics(texts)
    rows = decoded(encode_rows([BigInts(list(range(len(texts)))), column], len(texts)))
    by_row = {struct.unpack(">q", row[0] or b"")[0]: numeric(row[1]) for row in rows}
    assert by_row == {place: normal(text) if text else None for place, text in enumerate(texts)}


@pytest.mark.parametrize(
    "text", ["1e5", "-1", ".", "1.", ".5", "1.2.3", " 1", "1_0", "NaN", "inf", "٣", "9" * 40, "0." + "1" * 21]
)
def test_what_is_no_plain_decimal_or_does_not_fit_is_bad_and_never_rounded(text: str) -> None:
    """The row is named; its neighbours are stored."""
    column = Numerics(["1.5", text, "2"])
    assert column.bad == [1]
    assert numeric_words(text) is None
    cells = [numeric(row[0]) for row in decoded(encode_rows([column], 3))]
    assert sorted(cells, key=str) == ["1.5", "2", None]


def test_rows_with_texts_of_different_length_keep_their_fields_together() -> None:
    """They come as they were given."""
    names = ["BTC/USDT", "DOGE/USDT", "X"]
    codes = [0, 1, 2, 1, 0, 2]
    times = [1_723_161_254_024_619_568 + n for n in range(6)]
    rows = decoded(encode_rows([Texts(Choices(names), codes), BigInts(codes), Timestamps(times)], 6))
    assert [(row[0], struct.unpack(">q", row[1] or b"")[0]) for row in rows] == [
        (names[code].encode(), code) for code in codes
    ]


def test_more_rows_than_are_encoded_at_once_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow and wide ones, slow and absent numbers, wherever the chunks end."""
    texts = ["1.5", "", "123456789012345678901.25", "7.25", "0.1"] * 7
    names = [f"{'x' * (n % 4)}{n}" for n in range(len(texts))]
    monkeypatch.setattr(copy_columns, "_CHUNK_BYTES", 300)
    rows = decoded(encode_rows([Texts.each(names), Numerics(texts)], len(texts)))
    assert [(row[0], numeric(row[1])) for row in rows] == [
        (name.encode(), text or None) for name, text in zip(names, texts, strict=True)
    ]


@given(st.lists(st.tuples(plain_decimals, plain_decimals), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_decimals_parted_by_commas_are_columns(pairs: list[tuple[str, str]]) -> None:
    """A text of each row is taken apart; an empty one is NULL in every column."""
    columns = Numerics.parted(["", *map(",".join, pairs)], 2)
    assert [column.bad for column in columns] == [[], []]
    rows = decoded(encode_rows(columns, len(pairs) + 1))
    assert [(numeric(one), numeric(two)) for one, two in rows] == [
        (None, None),
        *((normal(one), normal(two)) for one, two in pairs),
    ]


@pytest.mark.parametrize("text", ["1.5", "1.5,2.5,3.5", "1.5,", ",", "1.5,2.5\n3.5", "1.5;2.5"])
def test_a_text_with_too_few_or_too_many_decimals_is_bad_and_moves_nobody_else(text: str) -> None:
    """No decimal of its neighbours ends up in another row or column."""
    one, two = Numerics.parted(["10.25,20", text, "11.25,21.125"], 2)
    assert 1 in {*one.bad, *two.bad} and not {0, 2} & {*one.bad, *two.bad}
    rows = decoded(encode_rows([one, two], 3))
    assert [(numeric(row[0]), numeric(row[1])) for row in (rows[0], rows[2])] == [("10.25", "20"), ("11.25", "21.125")]


def test_times_are_microseconds_since_2000_and_zero_may_be_null() -> None:
    """2000-01-01T00:00:01 is a million."""
    rows = decoded(encode_rows([Timestamps([946_684_801_000_000_999, 0], nullable=True), BigInts([1, 2])], 2))
    assert sorted((row[0] is None, row[0]) for row in rows if row[0]) == [(False, struct.pack(">q", 1_000_000))]
    assert sum(row[0] is None for row in rows) == 1


def test_no_rows_are_no_bytes() -> None:
    """An empty batch is nothing."""
    assert encode_rows([BigInts([])], 0) == b""


def test_what_is_remembered_of_the_rows_shapes_is_bounded() -> None:
    """Each combination of widths is a shape: their number is left to what venues send."""
    for first in range(40):
        for second in range(ROW_TYPES_MAX // 40 + 2):
            encode_rows([Texts.each(["x" * first]), Texts.each(["y" * second])], 1)
    assert len(copy_columns._row_types) == ROW_TYPES_MAX
    assert decoded(encode_rows([Texts.each(["x"]), Texts.each(["y"])], 1)) == [[b"x", b"y"]]
