"""Columns of plain lists → rows of PostgreSQL's binary COPY format, without those that can't be stored.

A column is its kind, a list with a value for each row, and what the kind needs besides. `copy_rows` is C where it could
be compiled, else `copy_columns`' numpy; both give rows of the same meaning, to the last digit.
"""

from collections.abc import Sequence
from typing import Any

from traderd.adapters.copy_columns import BigInts, Choices, Numerics, SmallInts, Texts, Timestamps, encode_rows
from traderd.adapters.copy_columns import Column as Encoder

MOMENT, MOMENT_OR_NONE = "m", "z"
"""TIMESTAMPTZ from nanoseconds since 1970, what lies below a microsecond cut off; the second: 0 is NULL."""
BIGINT, SMALLINT = "b", "s"
TEXT = "t"
"""A str, without a NUL: PostgreSQL has no such text."""
CHOICE = "c"
"""A place in lists of bytes, one for each field that it decides: `choices_of` them."""
NUMERICS = "n"
"""Several NUMERICs from one str, its decimals parted by commas; "" is NULL in all. Needs their places, in our order.

What isn't a plain decimal, or has more than 28 digits before the dot or 20 behind it, makes its row a bad one.
"""

Column = tuple[str, list[Any], Any]


Choice = tuple[list[bytes], tuple[list[bytes], ...]]


def choices_of(*lists: list[bytes]) -> Choice:
    """What may be chosen: of each place all its fields as they stand in a row, and the lists themselves."""
    places = zip(*lists, strict=True)
    return [b"".join(len(text).to_bytes(4, "big") + text for text in texts) for texts in places], lists


def copy_rows_slowly(columns: list[Column], count: int) -> tuple[bytes, list[int]]:
    """COPY tuples of `count` rows, in their order, without header and trailer; and the numbers of the bad ones."""
    encoders = [encoder for column in columns for encoder in _encoders(column)]
    bad = sorted({row for encoder in encoders if isinstance(encoder, Numerics) for row in encoder.bad})
    if not bad:
        return encode_rows(encoders, count), []
    left_out = set(bad)
    rows = [row for row in range(count) if row not in left_out]
    kept = [(kind, [values[row] for row in rows], more) for kind, values, more in columns]
    return copy_rows_slowly(kept, len(rows))[0], bad


def _encoders(column: Column) -> Sequence[Encoder]:
    kind, values, more = column
    match kind:
        case "m" | "z":
            return [Timestamps(values, nullable=kind == "z")]
        case "b":
            return [BigInts(values)]
        case "s":
            return [SmallInts(values)]
        case "t":
            return [Texts.each(values)]
        case "c":
            return [Texts(Choices.encoded(texts), values) for texts in more[1]]
        case "n":
            numerics = Numerics.parted(values, len(more))
            return [numerics[place] for place in more]
    raise ValueError(f"{kind!r} is no kind of column")


try:
    from traderd import native

    copy_rows = native.copy_rows
except ImportError:  # installed where no C compiler was at hand
    copy_rows = copy_rows_slowly
