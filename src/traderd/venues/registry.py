"""The venues that are spoken here, by name."""

from traderd.venues.binance import Binance
from traderd.venues.dialect import Dialect
from traderd.venues.kraken import Kraken


def dialect(name: str, book_depth: int) -> Dialect:
    """A fresh dialect. `book_depth` is what is subscribed where the venue's book has a depth. Raises KeyError."""
    match name:
        case "binance":
            return Binance()
        case "kraken":
            return Kraken(book_depth)
        case _:
            raise KeyError(name)
