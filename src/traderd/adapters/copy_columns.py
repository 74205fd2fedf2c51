"""Columns → rows of PostgreSQL's binary COPY format, many rows at a time, with numpy.

No row ever becomes a Python tuple: rows whose fields have the same widths are one structured array, and that array's
memory is the COPY payload. Formats: PostgreSQL manual, "COPY: Binary Format"; NUMERIC's from `numeric_send` in
numeric.c: number of base-10000 digits, weight of the first, sign, display scale, digits. The server strips zeros at
both ends.

Numbers are exact or absent: the text that the venue sent decides, and one that doesn't fit is reported, never rounded.
"""

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's own epoch, in microseconds since 1970
_EXACT_MAX = 2.0e15
"""Below this a float times a power of ten rounds to the decimal's own integer: both roundings err by < 0.45."""
_INTEGER_DIGITS_MAX = 28
_DECIMALS_MAX = 20
_FAST_DECIMALS_MAX = 16
"""Four base-10000 digits: then the fraction of any row, aligned to that of the longest, fits 64 bits."""

ROW_TYPES_MAX = 1_024
"""Combinations of widths that are remembered, at about 5 KiB each: numbers of many lengths would else fill memory."""

Width = int
"""Bytes of a field's value; NULL_WIDTH for NULL."""
NULL_WIDTH: Width = -1

Rows = NDArray[np.int64] | slice


class Column(Protocol):
    """One column of a batch."""

    def widths(self) -> NDArray[np.int64] | Width:
        """Each row's width, or the one that all rows have."""
        ...

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        """Write the chosen rows' values into a structured field."""
        ...

    def dtype(self, width: Width) -> Any:
        """The structured array's type of a value so wide."""
        ...


def encode_rows(columns: Sequence[Column], count: int) -> bytes:
    """`count` rows as COPY tuples, without header and trailer. Regrouped by widths: their order is not kept."""
    if not count:
        return b""
    widths = [column.widths() for column in columns]
    varying = [width for width in widths if not isinstance(width, int)]
    if not varying:
        return _encode_group(columns, tuple(w for w in widths if isinstance(w, int)), slice(None), count)
    signature = np.zeros(count, np.int64)
    for width in varying:
        signature = signature * 257 + (width + 1)
    _, first, inverse = np.unique(signature, return_index=True, return_inverse=True)
    parts = []
    for group, at in enumerate(first):
        rows = np.flatnonzero(inverse == group)
        here = tuple(width if isinstance(width, int) else int(width[at]) for width in widths)
        parts.append(_encode_group(columns, here, slice(None) if len(first) == 1 else rows, len(rows)))
    return b"".join(parts)


def _encode_group(columns: Sequence[Column], widths: tuple[Width, ...], rows: Rows, count: int) -> bytes:
    kinds = tuple(None if width < 0 else column.dtype(width) for column, width in zip(columns, widths, strict=True))
    row_type, template = _row_type(widths, tuple(None if kind is None else str(kind) for kind in kinds), kinds)
    out = np.empty(count, row_type)
    out[:] = template
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        if width >= 0:
            column.fill(out[f"v{index}"], rows)
    return out.tobytes()


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

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        field[:] = self._ns[rows] // 1000 - _EPOCH_US

    def dtype(self, width: Width) -> Any:
        return ">i8"


class BigInts:
    """BIGINT."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = np.array(values, np.int64)

    def widths(self) -> Width:
        return 8

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        field[:] = self._values[rows]

    def dtype(self, width: Width) -> Any:
        return ">i8"


class SmallInts:
    """SMALLINT, nearly always 0: a batch without any other is one constant."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = np.array(values, np.int16) if any(values) else None

    def widths(self) -> Width:
        return 2

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        field[:] = 0 if self._values is None else self._values[rows]

    def dtype(self, width: Width) -> Any:
        return ">i2"


class Choices:
    """Texts that many rows choose from, encoded once."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [text.encode() for text in texts]
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

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        field[:] = self._values[self._codes[rows]]

    def dtype(self, width: Width) -> Any:
        return f"S{width}" if width else "V0"


class Numerics:
    """NUMERIC, equal to the texts to the last digit, from the texts and the floats that they were parsed to.

    `bad` are the rows that can't be stored. A row with text "" is NULL. The floats spare parsing the digits again:
    up to 15 significant digits a double times a power of ten rounds to the decimal's own integer.
    """

    def __init__(self, texts: Sequence[str], floats: Sequence[float]) -> None:
        self._count = len(texts)
        decimals, sound, self.null = _decimals(texts)
        longest = int(decimals.max(initial=0))
        # Most columns are of one precision: then what would be looked up for each row is looked up once.
        shared = decimals[:1] if int(decimals.min(initial=longest)) == longest else decimals
        scaled = np.rint(np.array(floats, np.float64) * _POWERS[np.minimum(shared, _FAST_DECIMALS_MAX)])
        exact = sound & (decimals <= _FAST_DECIMALS_MAX) & (scaled < _EXACT_MAX) & (scaled >= 0)
        self._slow: dict[int, tuple[int, ...]] = {}
        self.bad: list[int] = []
        if not exact.all():
            self._read_slowly(texts, np.flatnonzero(~exact & ~self.null))
            scaled = np.where(exact, scaled, 0)
            shared = decimals = np.where(exact, decimals, 0)
            longest = int(decimals.max(initial=0))
        self._decimals = decimals
        self._fraction = (longest + 3) // 4
        self._group_digits(scaled.astype(np.int64), shared)

    def widths(self) -> NDArray[np.int64] | Width:
        regular = 8 + 2 * len(self._digits)
        if not self._slow and not self.null.any():
            return regular
        widths = np.full(self._count, regular, np.int64)
        for row, value in self._slow.items():
            widths[row] = 2 * len(value)
        widths[self.null] = NULL_WIDTH
        return widths

    def fill(self, field: NDArray[Any], rows: Rows) -> None:
        words = field.shape[1]
        if words == 4 + len(self._digits):
            field[:, 0] = len(self._digits)
            field[:, 1] = len(self._digits) - self._fraction - 1
            field[:, 3] = self._decimals[rows]
            for place, digits in enumerate(self._digits):
                field[:, 4 + place] = digits[rows]
        if self._slow:
            for place, row in enumerate(np.arange(self._count)[rows].tolist()):
                if row in self._slow:
                    field[place] = self._slow[row]

    def dtype(self, width: Width) -> Any:
        return (">i2", (width // 2,))

    def _group_digits(self, whole: NDArray[np.int64], decimals: NDArray[np.int64]) -> None:
        """The base-10000 digits, most significant first; every row has as many as the widest needs."""
        self._digits = []
        if self._fraction:
            # The fraction is aligned to whole digits by itself, so that nothing overflows 64 bits.
            scaled, power = whole, _INT_POWERS[decimals]
            whole = scaled // power
            fraction = (scaled - whole * power) * _INT_POWERS[4 * self._fraction - decimals]
            self._digits = _split(fraction, self._fraction)
        groups = 1
        while groups < 5 and bool((whole >= 10 ** (4 * groups)).any()):
            groups += 1
        self._digits = _split(whole, groups) + self._digits

    def _read_slowly(self, texts: Sequence[str], rows: NDArray[np.int64]) -> None:
        for row in rows.tolist():
            words = numeric_words(texts[row])
            if words is None:
                self.bad.append(row)
                self.null[row] = True
            else:
                self._slow[row] = words


_POWERS = np.array([10.0**n for n in range(_FAST_DECIMALS_MAX + 1)])
_INT_POWERS = np.array([10**n for n in range(_FAST_DECIMALS_MAX + 1)], np.int64)


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


def _split(values: NDArray[np.int64], groups: int) -> list[NDArray[np.int64]]:
    digits = []
    for _ in range(groups):
        higher = values // 10_000
        digits.append(values - higher * 10_000)
        values = higher
    return digits[::-1]


def _decimals(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Digits behind each text's dot, which texts are plain decimals ("-1", "1e5", "." are not), and which are empty."""
    count = len(texts)
    body = np.frombuffer(("\n".join(texts) + "\n").encode(errors="replace"), np.uint8)
    marks = np.flatnonzero(body - np.uint8(48) > 9)
    if len(marks) == 2 * count:  # nearly always: digits, a dot, digits
        dots, ends = marks[::2], marks[1::2]
        plain = bool((body[dots] == 46).all() and (body[ends] == 10).all() and (ends - dots > 1).all())
        if plain and dots[0] > 0 and bool((dots[1:] - ends[:-1] > 1).all()):
            return ends - dots - 1, np.ones(count, np.bool_), np.zeros(count, np.bool_)
    ends = np.flatnonzero(body == 10)
    if len(ends) != count:
        nothing = np.zeros(count, np.bool_)
        return np.zeros(count, np.int64), nothing, np.array([not text for text in texts], np.bool_)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    dots = np.flatnonzero(body == 46)
    odd = np.flatnonzero((body - np.uint8(48) > 9) & (body != 46) & (body != 10))
    at = np.searchsorted(dots, starts)
    dotted = np.searchsorted(dots, ends) - at
    dot = np.where(dotted == 1, np.append(dots, 0)[at], ends)
    sound = (dotted <= 1) & (dot > starts) & (dot != ends - 1)
    sound &= np.searchsorted(odd, ends) == np.searchsorted(odd, starts)
    decimals = np.where(sound & (dotted == 1), ends - dot - 1, 0)
    return decimals, sound & (decimals <= _DECIMALS_MAX), starts == ends
