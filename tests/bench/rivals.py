"""ccxt's own handlers, fed with recorded frames and no network: what our decoding is measured beside.

A frame takes the way that it takes in ccxt: its websocket client parses the text and calls the exchange's handler,
which keeps what it has made of it. A new venue needs nothing here unless ccxt wants to know more of a market.
"""

from typing import Any

import ccxt.pro
from ccxt.async_support.base.ws.client import Client

from traderd.core.market import BookSnapshot, Instrument

ADDRESSES = {
    ("binance", "spot"): "wss://stream.binance.com:9443/stream",
    ("binance", "linear"): "wss://fstream.binance.com/public/ws",
    ("binance", "inverse"): "wss://dstream.binance.com/ws",
}
"""Where ccxt tells markets apart by the address."""


class Rival:
    """ccxt's exchange of one venue and market. Made within an event loop."""

    def __init__(self, venue: str, market: str, instruments: list[Instrument]) -> None:
        self._exchange: Any = getattr(ccxt.pro, venue)({"enableRateLimit": False})
        self._exchange.set_markets([_market(self._exchange, each) for each in instruments])
        address = ADDRESSES.get((venue, market), f"wss://{venue}/{market}")
        self._client = Client(address, self._exchange.handle_message, _ignore, _ignore, _ignore)

    def feed(self, text: str) -> None:
        """One frame."""
        self._client.handle_text_or_binary_message(text)

    def handles(self, text: str) -> bool:
        """Whether this frame leads to anything that a caller of `watch…` would be given."""
        given: list[Any] = []
        self._client.resolve = lambda result, name=None: given.append(name)
        try:
            self.feed(text)
        except Exception:  # whatever it stumbles over, it doesn't handle the frame
            return False
        finally:
            del self._client.resolve
        return bool(given)

    def begin_book(self, snapshot: BookSnapshot) -> None:
        """What its own REST call would have brought."""
        symbol = snapshot.instrument.symbol
        book = self._exchange.order_book({}, 1000)
        sides = {
            side: [[float(price), float(quantity)] for price, quantity in levels]
            for side, levels in (("bids", snapshot.bids), ("asks", snapshot.asks))
        }
        book.reset({**sides, "nonce": snapshot.sequence, "timestamp": None})
        self._exchange.orderbooks[symbol] = book

    def forget_books(self) -> None:
        """Before the next repeat."""
        self._exchange.orderbooks = {}

    def has_book(self, symbol: str) -> bool:
        """Whether the book is still there: a break in the numbers makes ccxt drop it."""
        return symbol in self._exchange.orderbooks


def _ignore(*_: object) -> None:
    pass


def _market(exchange: Any, each: Instrument) -> Any:
    contract = each.market != "spot"
    return exchange.safe_market_structure(
        {
            "id": each.venue_symbol,
            "symbol": each.symbol,
            "base": each.base,
            "quote": each.quote,
            "settle": each.settle or None,
            "type": ("future" if each.expiry_ns else "swap") if contract else "spot",
            "spot": not contract,
            "swap": contract and not each.expiry_ns,
            "future": contract and bool(each.expiry_ns),
            "contract": contract,
            "linear": each.market == "linear" if contract else None,
            "inverse": each.market == "inverse" if contract else None,
            "contractSize": float(each.contract_size) if contract else None,
            "active": True,
            "precision": {"price": 1e-8, "amount": 1e-8},
        }
    )
