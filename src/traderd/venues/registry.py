"""The venues that are spoken here, by name and market."""

from typing import Final

from traderd.core.market import Market
from traderd.venues.binance import Binance
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.coinbase import Coinbase
from traderd.venues.dialect import Dialect
from traderd.venues.kraken import Kraken

MARKETS: Final[dict[str, Market]] = {
    **{"": "spot", "spot": "spot"},
    **{"linear": "linear", "usdm": "linear"},
    **{"inverse": "inverse", "coinm": "inverse"},
}
"""What captures and configurations call the markets."""


def is_spoken(name: str) -> bool:
    """Whether a venue is spoken here in any of its markets."""
    return any(_speaks(name, market) for market in ("spot", "linear", "inverse"))


def dialect(name: str, book_depth: int, market: str = "spot") -> Dialect:
    """A fresh dialect. `book_depth` is what is subscribed where the venue's book has a depth. Raises KeyError."""
    match name, MARKETS[market]:
        case "binance", "spot":
            return Binance()
        case "binance", ("linear" | "inverse") as contracts:
            return BinanceFutures(contracts)
        case "coinbase", "spot":
            return Coinbase()
        case "kraken", "spot":
            return Kraken(book_depth)
        case _:
            raise KeyError(name)


def _speaks(name: str, market: Market) -> bool:
    try:
        dialect(name, 10, market)
    except KeyError:
        return False
    return True
