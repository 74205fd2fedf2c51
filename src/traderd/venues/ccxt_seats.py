"""The seats of the venues that are heard through ccxt: behind those that are spoken natively."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from traderd.core.market import Instrument
from traderd.venues.dialect import AnyChannel
from traderd.venues.roster import market_of


class CcxtSeat(Struct, frozen=True):
    """One configured venue that is heard through ccxt, in all its markets."""

    name: str
    channels: Sequence[AnyChannel]
    instruments: list[Instrument]
    """As configured: steps and limits are the venue's to tell."""
    book_depth: int


def ccxt_seats(venues: Iterable[tuple[str, Sequence[str], Sequence[AnyChannel], int]], first: int) -> list[CcxtSeat]:
    """From (name, symbols, channels, book depth), in the order of configuration; indices from `first` on."""
    found: list[CcxtSeat] = []
    index = first
    for name, symbols, channels, book_depth in venues:
        instruments = []
        for symbol in symbols:
            pair, _, contract = symbol.partition(":")
            base, _, quote = pair.partition("/")
            market, settle = market_of(symbol), contract.partition("-")[0]
            instruments.append(
                Instrument(index, name, symbol, symbol, base, quote, market=market, settle=settle, feed="ccxt")
            )
            index += 1
        found.append(CcxtSeat(name, channels, instruments, book_depth))
    return found
