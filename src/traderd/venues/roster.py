"""Who sits where: every configured venue with its dialect, its channels and its instruments, numbered through.

The indices are given before any venue is asked what it lists, because rows, engine and boards are built on them.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from traderd.core.market import Instrument
from traderd.venues.dialect import Channel, Dialect
from traderd.venues.registry import dialect


class Seat(Struct, frozen=True):
    """One configured venue."""

    name: str
    dialect: Dialect
    channels: Sequence[Channel]
    instruments: list[Instrument]
    """As configured: steps and limits are the venue's to tell."""


def seats(venues: Iterable[tuple[str, Sequence[str], Sequence[Channel], int]]) -> list[Seat]:
    """From (name, symbols, channels, book depth), in the order of configuration; indices from 0 over all of them."""
    found: list[Seat] = []
    index = 0
    for name, symbols, channels, book_depth in venues:
        spoken = dialect(name, book_depth)
        instruments = []
        for symbol in symbols:
            base, _, quote = symbol.partition("/")
            instruments.append(Instrument(index, name, symbol, spoken.symbol_to_venue(symbol), base, quote))
            index += 1
        found.append(Seat(name, spoken, channels, instruments))
    return found
