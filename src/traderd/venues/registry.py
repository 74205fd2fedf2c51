"""The venues that are spoken here, by name and market."""

from collections.abc import Callable
from typing import Final

from traderd.core.market import Market
from traderd.venues import binance_frames, bybit_frames
from traderd.venues.binance import Binance
from traderd.venues.binance_futures import BinanceFutures
from traderd.venues.bybit import Bybit
from traderd.venues.coinbase import Coinbase
from traderd.venues.dialect import Dialect
from traderd.venues.kraken import Kraken
from traderd.venues.okx import Okx

MARKETS: Final[dict[str, Market]] = {
    **{"": "spot", "spot": "spot"},
    **{"linear": "linear", "usdm": "linear", "usd-m": "linear", "um": "linear"},
    **{"inverse": "inverse", "coinm": "inverse", "coin-m": "inverse", "cm": "inverse", "delivery": "inverse"},
}
"""What captures and configurations call the markets."""
_VAGUE: Final = frozenset({"futures", "perpetual", "perp", "swap", "derivatives", "contract", "contracts"})
"""What a capture may call several markets: which one it is, addresses and frames must tell."""
_ADDRESSES: Final[dict[str, dict[str, str]]] = {
    "binance": {
        **{"//fstream": "linear", "/fapi/": "linear", "//dstream": "inverse", "/dapi/": "inverse"},
        **{"//stream.binancefuture.": "linear", "//stream.": "spot", "//data-stream.": "spot", "/api/v3/": "spot"},
        **{"/eapi/": "option", "/eoptions": "option"},
    },
    "bybit": {
        f"{before}{market}": market
        for before in ("/v5/public/", "category=")
        for market in ("spot", "linear", "inverse", "option", "spread")
    }
    | {"/realtime": "version 2"},
    "coinbase": {"//ws-feed": "exchange"},
    "kraken": {"kraken.com/v2": "spot", "//ws.kraken.com": "version 1"},
    "okx": {"": "spot"},
}
"""Which part of an address tells the market, for venues that have one dialect for each market; the first one counts.

What MARKETS doesn't have isn't spoken: options, and the venues' older protocols. OKX's dialect reads all markets over
one connection: whatever a header calls them, it is the one that is meant."""

_TELLING: Final[dict[str, Callable[[bytes], Market | None]]] = {
    "binance": binance_frames.market_told,
    "bybit": bybit_frames.market_told,
}


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
        case "bybit", spoken:
            return Bybit(spoken, book_depth)
        case "coinbase", "spot":
            return Coinbase()
        case "kraken", "spot":
            return Kraken(book_depth)
        case "okx", spoken:
            return Okx(spoken)
        case _:
            raise KeyError(name)


def market_named(name: str, told: str) -> str:
    """What a capture's header calls the venue's market, as MARKETS spells it; "" if that may be several."""
    named = told.lower()
    return "" if named in _VAGUE and _speaks(name, "linear") else named


def market_told(name: str, frame: bytes) -> Market | None:
    """Of which of the venue's markets a recorded frame must be; None where it could be of several."""
    tell = _TELLING.get(name)
    return tell(frame) if tell else None


def recorded_dialect(name: str, book_depth: int, market: str, address: str) -> Dialect:
    """A fresh dialect for a recorded connection or answer: the address tells the market, or else the header does.

    Raises KeyError, also for an address of a market that isn't spoken here.
    """
    told = (market for part, market in _ADDRESSES.get(name, {}).items() if part in address)
    return dialect(name, book_depth, next(told, market))


def _speaks(name: str, market: Market) -> bool:
    try:
        dialect(name, 10, market)
    except KeyError:
        return False
    return True
