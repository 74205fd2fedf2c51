"""Columns → rows of PostgreSQL's binary COPY format, many rows at a time, with numpy.

No row ever becomes a Python tuple: the rows are one structured array, each field as wide as the widest in it, and that
array's memory without what the narrower ones leave over is the COPY payload. Formats: PostgreSQL manual, "COPY: Binary
Format"; NUMERIC's from `numeric_send` in numeric.c: number of base-10000 digits, weight of the first, sign, display
scale, digits. The server strips zeros at both ends.

Numbers are exact or absent: the text that the venue sent decides, and one that doesn't fit is reported, never rounded.
"""

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traderd.adapters.decimal_texts import DIGITS_MAX, Decimals

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's own epoch, in microseconds since 1970
_INTEGER_DIGITS_MAX = 28
_DECIMALS_MAX = 20
_INT64_MAX = 2**63 - 1

ROW_TYPES_MAX = 1_024
"""Combinations of widths that are remembered, at about 5 KiB each: numbers of many lengths would else fill memory."""

Width = int
"""Bytes of a field's value; NULL_WIDTH for NULL."""
NULL_WIDTH: Width = -1

_CHUNK_BYTES = 4 * 2**20
"""So much is encoded at once: one long text makes every row beside it as wide."""


class Column(Protocol):
    """One column of a batch."""

    def widths(self) -> NDArray[np.int64] | Width:
        """Each row's width, or the one that all rows have."""
        ...

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        """Write the chosen rows' values into a structured field, from its beginning."""
        ...

    def dtype(self, width: Width) -> Any:
        """The structured array's type of a value so wide."""
        ...


def encode_rows(columns: Sequence[Column], count: int) -> bytes:
    """`count` rows as COPY tuples, in their order, without header and trailer."""
    if not count:
        return b""
    widths = [column.widths() for column in columns]
    widest = tuple(width if isinstance(width, int) else int(width.max()) for width in widths)
    kinds = tuple(column.dtype(width) if width > 0 else None for column, width in zip(columns, widest, strict=True))
    row_type, template = _row_type(widest, tuple(None if kind is None else str(kind) for kind in kinds), kinds)
    step = max(1, _CHUNK_BYTES // row_type.itemsize)
    chunks = [slice(first, min(first + step, count)) for first in range(0, count, step)]
    return b"".join(_encoded(columns, widths, row_type, template, rows) for rows in chunks)


def _encoded(
    columns: Sequence[Column], widths: Sequence[NDArray[np.int64] | Width], row_type: Any, template: Any, rows: slice
) -> bytes:
    out = np.empty(rows.stop - rows.start, row_type)
    out[:] = template
    kept: NDArray[np.bool_] | None = None
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        value = row_type.fields.get(f"v{index}")
        if value is not None:
            column.fill(out[f"v{index}"], rows)
        if isinstance(width, int):
            continue
        out[f"w{index}"] = width[rows]
        if value is not None:
            if kept is None:
                kept = np.ones((len(out), row_type.itemsize), np.bool_)
            widest, at = value[0].itemsize, value[1]
            kept[:, at : at + widest] = np.arange(widest) < width[rows, None]
    return out.tobytes() if kept is None else out.view(np.uint8).reshape(kept.shape)[kept].tobytes()


def _row_type(widths: tuple[Width, ...], names: tuple[str | None, ...], kinds: tuple[Any, ...]) -> tuple[Any, Any]:
    key = (widths, names)
    if key not in _row_types:
        fields: list[tuple[str, Any]] = [("fields", ">i2")]
        for index, kind in enumerate(kinds):
            fields.append((f"w{index}", ">i4"))
            if kind is not None:
                fields.append((f"v{index}", kind))
        row_type = np.dtype(fields)
        template = np.zeros((), row_type)
        template["fields"] = len(widths)
        for index, width in enumerate(widths):
            template[f"w{index}"] = width
        if len(_row_types) >= ROW_TYPES_MAX:
            del _row_types[next(iter(_row_types))]
        _row_types[key] = (row_type, template)
    return _row_types[key]


_row_types: dict[tuple[tuple[Width, ...], tuple[str | None, ...]], tuple[Any, Any]] = {}


class Timestamps:
    """TIMESTAMPTZ from nanoseconds since 1970; 0 is NULL where `nullable`. What lies below a microsecond is cut off."""

    def __init__(self, times_ns: Sequence[int], nullable: bool = False) -> None:
        self._ns = np.array(times_ns, np.int64)
        self._nullable = nullable

    def widths(self) -> NDArray[np.int64] | Width:
        if not self._nullable or self._ns.all():
            return 8
        return np.where(self._ns == 0, NULL_WIDTH, 8) if self._ns.any() else NULL_WIDTH

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        field[:] = self._ns[rows] // 1000 - _EPOCH_US

    def dtype(self, width: Width) -> Any:
        return ">i8"


class BigInts:
    """BIGINT."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = np.array(values, np.int64)

    def widths(self) -> Width:
        return 8

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        field[:] = self._values[rows]

    def dtype(self, width: Width) -> Any:
        return ">i8"


class SmallInts:
    """SMALLINT, nearly always 0: a batch without any other is one constant."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = np.array(values, np.int16) if any(values) else None

    def widths(self) -> Width:
        return 2

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        field[:] = 0 if self._values is None else self._values[rows]

    def dtype(self, width: Width) -> Any:
        return ">i2"


class Choices:
    """Texts that many rows choose from, encoded once."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._take([text.encode() for text in texts])

    @classmethod
    def encoded(cls, texts: Sequence[bytes]) -> "Choices":
        """Of texts that are UTF-8 already."""
        choices = cls.__new__(cls)
        choices._take(texts)
        return choices

    def _take(self, encoded: Sequence[bytes]) -> None:
        self.lengths = np.array([len(text) for text in encoded], np.int64)
        self.values = np.array(encoded, dtype=f"S{max(1, int(self.lengths.max(initial=1)))}")


class Texts:
    """TEXT: `choices[codes[row]]`. UTF-8; a NUL byte inside is the caller's to avoid: PostgreSQL has no such text."""

    def __init__(self, choices: Choices, codes: Sequence[int] | NDArray[np.int64]) -> None:
        self._codes = np.array(codes, np.int64)
        self._values = choices.values
        self._lengths = choices.lengths[self._codes]

    @classmethod
    def each(cls, texts: Sequence[str]) -> "Texts":
        """One text a row."""
        return cls(Choices(texts), np.arange(len(texts)))

    def widths(self) -> NDArray[np.int64] | Width:
        first = int(self._lengths[0])
        return first if (self._lengths == first).all() else self._lengths

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        field[:] = self._values[self._codes[rows]]

    def dtype(self, width: Width) -> Any:
        return f"S{width}"


class Numerics:
    """NUMERIC, equal to the texts to the last digit. `bad` are the rows that can't be stored."""

    def __init__(self, texts: Sequence[str]) -> None:
        """One decimal a row; "" is NULL."""
        self._take(Decimals(texts, 1), 0)

    @classmethod
    def parted(cls, texts: Sequence[str], columns: int) -> "list[Numerics]":
        """Several columns from one text a row, its decimals parted by commas; a row of "" is NULL in all of them."""
        decimals = Decimals(texts, columns)
        numerics = [cls.__new__(cls) for _ in range(columns)]
        for place, each in enumerate(numerics):
            each._take(decimals, place)
        return numerics

    def _take(self, told: Decimals, place: int) -> None:
        self._count = told.count
        self._slow: dict[int, tuple[int, ...]] = {}
        self.bad: list[int] = []
        self._null = told.null
        if told.slow:
            self._read_slowly({row: fields[place] for row, fields in told.slow.items()})
        decimals = told.places[place]
        longest = int(decimals.max(initial=0))
        # Most columns are of one precision: then what would be looked up for each row is looked up once.
        self._places = decimals[:1] if int(decimals.min(initial=longest)) == longest else decimals
        self._fraction = (longest + 3) // 4
        self._digits = _base_10000(told.scaled[place], self._places, self._fraction)

    def widths(self) -> NDArray[np.int64] | Width:
        regular = 8 + 2 * len(self._digits)
        if not self._slow and self._null is None:
            return regular
        widths = np.full(self._count, regular, np.int64)
        for row, value in self._slow.items():
            widths[row] = 2 * len(value)
        if self._null is not None:
            widths[self._null] = NULL_WIDTH
        return widths

    def fill(self, field: NDArray[Any], rows: slice) -> None:
        regular = 4 + len(self._digits)
        if field.shape[1] >= regular:
            field[:, 0] = len(self._digits)
            field[:, 1] = len(self._digits) - self._fraction - 1
            field[:, 3] = self._places[rows] if len(self._places) == self._count else self._places
            for place, digits in enumerate(self._digits):
                field[:, 4 + place] = digits[rows]
        for row, words in self._slow.items():
            if rows.start <= row < rows.stop:
                field[row - rows.start, : len(words)] = words

    def dtype(self, width: Width) -> Any:
        return (">i2", (width // 2,))

    def _read_slowly(self, texts: dict[int, str]) -> None:
        for row, text in texts.items():
            words = numeric_words(text)
            if words is not None:
                self._slow[row] = words
                continue
            self.bad.append(row)
            if self._null is None:
                self._null = np.zeros(self._count, np.bool_)
            elif len(self.bad) == 1:
                self._null = self._null.copy()  # its neighbours have the same
            self._null[row] = True


_INT_POWERS = np.array([10**n for n in range(DIGITS_MAX + 1)], np.int64)


def numeric_words(text: str) -> tuple[int, ...] | None:
    """One plain decimal ("12.50") as numeric_send's 16-bit words, exact; None if it is none or doesn't fit."""
    whole, dot, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or not whole or (dot and not fraction):
        return None
    if len(whole) > _INTEGER_DIGITS_MAX or len(fraction) > _DECIMALS_MAX:
        return None
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    padded = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int((whole + padded)[at : at + 4]) for at in range(0, len(whole) + len(padded), 4)]
    return (len(groups), len(whole) // 4 - 1, 0, len(fraction), *groups)


def _base_10000(scaled: NDArray[np.int64], places: NDArray[np.int64], fraction: int) -> list[NDArray[np.int64]]:
    """The digits, most significant first, `fraction` of them behind the dot; all have as many as the widest needs."""
    padding = _INT_POWERS[4 * fraction - places]
    if int(scaled.max(initial=0)) <= _INT64_MAX // int(padding.max(initial=1)):
        return _split(scaled * padding if fraction else scaled, max(1, fraction))
    # The fraction is aligned to whole digits by itself, so that nothing overflows 64 bits.
    power = _INT_POWERS[places]
    whole = scaled // power
    behind = (scaled - whole * power) * padding
    return _split(whole, 1) + _split(behind, fraction)


def _split(values: NDArray[np.int64], groups: int) -> list[NDArray[np.int64]]:
    """Base-10000 digits: at least so many, and as many as the largest value needs."""
    most = int(values.max(initial=0))
    while most >= 10 ** (4 * groups):
        groups += 1
    digits = []
    for _ in range(groups - 1):
        higher = values // 10_000
        digits.append(values - higher * 10_000)
        values = higher
    return [values, *digits[::-1]]
