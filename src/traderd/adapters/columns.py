"""Objects → lists of their attributes: what is written row by row is gathered column by column."""

from operator import attrgetter
from typing import Any


def columns_of_slowly(objects: list[Any], paths: tuple[str, ...]) -> list[list[Any]]:
    """A list for each path (`text`, `instrument.index`), with each object's value. Raises AttributeError."""
    return [list(map(attrgetter(path), objects)) for path in paths]


try:
    from traderd import native

    columns_of = native.columns_of
except ImportError:  # installed where no C compiler was at hand
    columns_of = columns_of_slowly
