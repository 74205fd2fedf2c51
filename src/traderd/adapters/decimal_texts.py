"""Decimals as venues write them → integers and decimal places, many texts at a time, with numpy.

"67250.10" is 6725010 with two places. The digits themselves are read: nothing passes through a float and nothing is
rounded. What is no plain decimal, or longer than 64 bits hold, is handed back as text.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIGITS_MAX = 18
"""An integer of so many digits fits 64 bits."""
PLACES_MAX = 16
"""Four base-10000 digits: then the fraction of any row, aligned to that of the longest, fits 64 bits."""

_NEXT = bytes.maketrans(b"\n", b",")
_Shape = tuple[NDArray[np.int64], NDArray[np.bool_]]


class Decimals:
    """Plain decimals, all of many rows at once: each as the integer that its digits are, and its decimal places.

    No digit passes through a float. What is longer than 64 bits hold, or no plain decimal, is left to `slow`.
    """

    def __init__(self, texts: Sequence[str], columns: int) -> None:
        self.count = len(texts)
        self.null: NDArray[np.bool_] | None = None
        """None: no row is NULL."""
        self.slow: dict[int, list[str]] = {}
        """Rows that are to be read one by one, as their columns' texts."""
        nothing = ",".join("0" * columns)
        if not all(texts):
            self.null = np.array([not text for text in texts], np.bool_)
            texts = [text or nothing for text in texts]
        joined = _joined(texts)
        places = _regular(joined, self.count, columns)
        if places is None:
            places, easy = _shape(joined, self.count, columns) or self._shape_by_rows(texts, columns)
            texts = list(texts)
            for row in np.flatnonzero(~easy.all(axis=1)).tolist():
                fields = texts[row].split(",")
                self.slow[row] = fields if len(fields) == columns else [""] * columns
                texts[row], places[row] = nothing, 0
            joined = _joined(texts)
        digits = joined[:-1].translate(_NEXT, b".").decode()
        numbers = np.fromstring(digits, np.int64, sep=",") if digits else np.zeros(0, np.int64)
        self.scaled = numbers.reshape(self.count, columns).T.copy()
        """By column and row."""
        self.places = places.T.copy()

    def _shape_by_rows(self, texts: Sequence[str], columns: int) -> _Shape:
        """One text has more or fewer decimals than there are columns: none of its is easy."""
        found = [_shape(_joined([text]), 1, columns) for text in texts]
        nowhere = np.zeros((1, columns), np.int64), np.zeros((1, columns), np.bool_)
        places, easy = zip(*(shape or nowhere for shape in found), strict=True)
        return np.concatenate(places), np.concatenate(easy)


def _joined(texts: Sequence[str]) -> bytes:
    return ("\n".join(texts) + "\n").encode(errors="replace")


def _marks(joined: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where something else than a digit stands, and what."""
    body = np.frombuffer(joined, np.uint8)
    marks = np.flatnonzero(body - np.uint8(48) > 9)
    return marks, body[marks]


def _regular(joined: bytes, count: int, columns: int) -> NDArray[np.int64] | None:
    """The places of each decimal, by row and column, where all are short and have a dot, as they nearly always do."""
    if not count:
        return np.zeros((0, columns), np.int64)
    marks, kinds = _marks(joined)
    if kinds.tobytes() != (b".," * (columns - 1) + b".\n") * count:
        return None
    digits = np.empty_like(marks)
    digits[0] = marks[0] + 1
    np.subtract(marks[1:], marks[:-1], out=digits[1:])
    digits -= 1
    most = int(digits[1::2].max())
    if not digits.all() or most > PLACES_MAX or int(digits[::2].max()) + most > DIGITS_MAX:
        return None
    return digits[1::2].reshape(count, columns)


def _shape(joined: bytes, count: int, columns: int) -> _Shape | None:
    """Of each decimal, by row and column: its places, and whether it is plain and short enough to be read at once.

    None if not every row has as many decimals as there are columns.
    """
    marks, kinds = _marks(joined)
    dotted, parting = kinds == 46, (kinds == 44) | (kinds == 10)
    ends, separators = marks[parting], kinds[parting]
    if len(ends) != count * columns:
        return None
    separators = separators.reshape(count, columns)
    if not (separators[:, :-1] == 44).all() or not (separators[:, -1] == 10).all():
        return None
    field = np.cumsum(parting)
    dots = ends.copy()
    dots[field[dotted]] = marks[dotted]
    places = ends - dots
    whole = dots.copy()
    whole[1:] -= ends[:-1] + 1
    plain = np.bincount(field[~parting], minlength=len(ends)) <= 1
    plain[field[~parting & ~dotted]] = False
    plain &= (whole > 0) & (places != 1) & (whole + places <= DIGITS_MAX)
    places -= places > 0
    plain &= places <= PLACES_MAX
    return places.reshape(count, columns), plain.reshape(count, columns)
