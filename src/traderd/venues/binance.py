"""Binance spot: combined websocket streams and public REST.

Sources: "Web Socket Streams for Binance" and "Public Rest API for Binance" (github.com/binance/binance-spot-api-docs).
Refuses with a BadFrameError what isn't the protocol; the reasons are named in `binance_frames` and `binance_rest`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from traderd.core.market import RANGES_FROM_REST, Instrument, Market
from traderd.venues.binance_frames import SPOT_QUOTE, SPOT_TRADE
from traderd.venues.binance_rest import PAGE, BinanceRest, Filter, OldTrade, limits_of, read
from traderd.venues.binance_streams import STREAMS_PER_FRAME, BinanceStreams
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Hole, Limits

_STREAMS: dict[AnyChannel, str] = {
    "quote": "bookTicker",
    "trade": "trade",
    "book": "depth@100ms",
    "candle": "kline_1m",
}
_QUOTE_ASSETS = frozenset(
    (
        *("USDT", "FDUSD", "USDC", "TUSD", "BUSD", "USDP", "USDS", "USD1", "DAI", "UST", "PAX", "VAI", "USD"),
        *("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "EURI", "AEUR", "EUR", "GBP", "AUD", "BRL", "TRY"),
        *("RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY", "MXN", "CZK", "COP", "IDR", "IDRT", "BIDR", "BVND"),
    )
)
"""What is or was quoted in, for captures that come without a list of instruments."""


class _Symbol(Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[Filter] = []


class _ExchangeInfo(Struct):
    symbols: list[_Symbol]


_decode_exchange_info = msgspec.json.Decoder(_ExchangeInfo).decode


class Binance(BinanceStreams, BinanceRest):
    """The dialect of Binance spot."""

    market: Market = "spot"
    channels: frozenset[AnyChannel] = frozenset(_STREAMS)
    live = Endpoint(websocket="wss://stream.binance.com:9443", rest="https://api.binance.com")
    heartbeat = Heartbeating(frame="", interval_s=20.0, silence_max_s=60.0)
    """The venue pings every 20 s and drops whoever doesn't answer within a minute."""
    limits = Limits(
        streams_per_connection=1024,
        frames_per_s=4.0,
        streams_per_frame=STREAMS_PER_FRAME,
        connection_age_s=24 * 3600.0,
        connects_per_minute=60.0,
    )
    """"WebSocket Limits": 5 messages a second, of which one is left for pongs; 300 connections in five minutes."""
    book_resync: Literal["rest", "resubscribe"] = "rest"
    trades_numbered = True
    trades_paged: Literal["forward", "backward", "none"] = "forward"
    quote_form, trade_form = SPOT_QUOTE, SPOT_TRADE
    _api = "/api/v3"
    _decode_trades = staticmethod(msgspec.json.Decoder(list[OldTrade]).decode)

    def __init__(self) -> None:
        super().__init__(_instrument_of, RANGES_FROM_REST, _STREAMS)

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT` → `BTCUSDT`."""
        return symbol.replace("/", "").upper()

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """One connection carries everything."""
        return [list(channels)]

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """Of combined streams, which are then subscribed to."""
        return f"{endpoint.websocket}/stream"

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All symbols: asked for a list with one unknown symbol in it, the venue refuses the whole list."""
        return f"{endpoint.rest}{self._api}/exchangeInfo?showPermissionSets=false"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only symbols whose status is TRADING."""
        listed = {f"{s.base_asset}/{s.quote_asset}": s for s in read(_decode_exchange_info, body).symbols}
        trading = [symbol for symbol in symbols if symbol in listed and listed[symbol].status == "TRADING"]
        return [_instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(trading)]

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: by the stream's own ids, the only key to historicalTrades (weight 25 of 6000 a minute).

        When only the trade behind the hole is known, the page is the thousand before it.
        """
        if hole.after_id.isdecimal():
            first = int(hole.after_id) + 1
        elif hole.before_id.isdecimal():
            first = max(0, int(hole.before_id) - PAGE)
        else:
            return ""
        return self._url(endpoint, "historicalTrades", symbol=instrument.venue_symbol, fromId=first, limit=PAGE)


def split_symbol(venue_symbol: str, quotes: frozenset[str]) -> tuple[str, str]:
    """`ETHUSDT` → ETH, USDT by the longest quote asset that fits; an unknown one stays whole, with no quote."""
    fitting = [asset for asset in quotes if venue_symbol.endswith(asset) and venue_symbol != asset]
    quote = max(fitting, key=len, default="")
    return venue_symbol.removesuffix(quote), quote


def _instrument_of(venue_symbol: str, index: int) -> Instrument:
    base, quote = split_symbol(venue_symbol, _QUOTE_ASSETS)
    return Instrument(index, "binance", f"{base}/{quote}" if quote else base, venue_symbol, base, quote)


def _instrument_from(entry: _Symbol, symbol: str, index: int) -> Instrument:
    limits = limits_of(entry.filters)
    return Instrument(index, "binance", symbol, entry.symbol, entry.base_asset, entry.quote_asset, **limits)
