"""Who sits where: every configured venue and market with its dialect, its channels and its instruments, numbered.

The symbol tells the market: `BTC/USDT` is spot, `BTC/USDT:USDT` a contract settled in the quote currency (linear),
`BTC/USD:BTC` one settled in the base currency (inverse); a date behind it is its expiry. Each market has a seat of its
own. The indices are given before any venue is asked what it lists, because rows, engine and boards are built on them.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from traderd.core.market import Instrument, Market
from traderd.venues.dialect import AnyChannel, Dialect
from traderd.venues.registry import dialect


class Seat(Struct, frozen=True):
    """One market of one configured venue."""

    name: str
    """Unique: the venue's name, and behind a colon the market if it isn't spot."""
    exchange: str
    market: Market
    dialect: Dialect
    """To ask for listings and history; connections have one of their own each."""
    channels: Sequence[AnyChannel]
    """Of those configured the ones that this market offers."""
    instruments: list[Instrument]
    """As configured: steps and limits are the venue's to tell."""
    book_depth: int

    def speak(self) -> Dialect:
        """A fresh dialect, for one connection."""
        return dialect(self.exchange, self.book_depth, self.market)


def seats(venues: Iterable[tuple[str, Sequence[str], Sequence[AnyChannel], int]]) -> list[Seat]:
    """From (name, symbols, channels, book depth), in the order of configuration; indices from 0 over all of them.

    Raises KeyError for a venue or a market that isn't spoken here.
    """
    found: list[Seat] = []
    index = 0
    for name, symbols, channels, book_depth in venues:
        for market in dict.fromkeys(map(market_of, symbols)):
            spoken = dialect(name, book_depth, market)
            instruments = []
            for symbol in symbols:
                if market_of(symbol) == market:
                    instruments.append(_instrument(index, symbol, market, spoken))
                    index += 1
            offered = [channel for channel in channels if channel in spoken.channels]
            seat = name if market == "spot" else f"{name}:{market}"
            found.append(Seat(seat, name, market, spoken, offered, instruments, book_depth))
    return found


def market_of(symbol: str) -> Market:
    """`BTC/USDT` → spot, `BTC/USDT:USDT` → linear, `BTC/USD:BTC-261225` → inverse."""
    pair, _, contract = symbol.partition(":")
    if not contract:
        return "spot"
    return "inverse" if contract.partition("-")[0] == pair.partition("/")[0] else "linear"


def _instrument(index: int, symbol: str, market: Market, spoken: Dialect) -> Instrument:
    pair, _, contract = symbol.partition(":")
    base, _, quote = pair.partition("/")
    settle = contract.partition("-")[0]
    venue_symbol = spoken.symbol_to_venue(symbol)
    return Instrument(index, spoken.exchange, symbol, venue_symbol, base, quote, market=market, settle=settle)
