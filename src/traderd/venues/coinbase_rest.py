"""Coinbase Advanced Trade's public REST: products, clock, and the trades and candles of the past.

Source: docs.cdp.coinbase.com, "Advanced Trade API", REST, "Public" (List Public Products, Get Server Time, Get Public
Market Trades, Get Public Product Candles). A trade's `side` is the maker's, here as on the websocket.
Refuses with a BadFrameError what isn't the answer.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from traderd.core.errors import BadFrameError
from traderd.core.market import Instrument, Side, Trade, VenueCandle
from traderd.venues.dialect import Endpoint, Hole
from traderd.venues.numbers import MS_MAX, NS_MAX, Rfc3339, decimal_of
from traderd.venues.told import candle_of, side_of, trade_of

_T = TypeVar("_T")
UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
_GRANULARITIES = {
    **{"1m": ("ONE_MINUTE", 60), "5m": ("FIVE_MINUTE", 300), "15m": ("FIFTEEN_MINUTE", 900)},
    **{"30m": ("THIRTY_MINUTE", 1_800), "1h": ("ONE_HOUR", 3_600), "2h": ("TWO_HOUR", 7_200)},
    **{"4h": ("FOUR_HOUR", 14_400), "6h": ("SIX_HOUR", 21_600), "1d": ("ONE_DAY", 86_400)},
}
_CANDLES_MAX = 350
_TRADES_MAX = 1000
_NS = 1_000_000_000
_CLOCK_DOUBT_NS = 10 * _NS
"""Our clock may be ahead of the venue's: so long after its end a candle is closed for certain."""
_TAKERS: dict[str, Side] = {"BUY": "sell", "SELL": "buy"}
_is_trade_id = re.compile(r"[0-9]{1,19}").fullmatch
_is_digits = re.compile(r"[0-9]{1,15}").fullmatch


class TradeTold(Struct, gc=False):
    """As the websocket and REST tell it."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class BarTold(Struct, gc=False):
    """A candle; REST, asked for one product, doesn't name it."""

    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    product_id: str = ""


class _Product(Struct):
    product_id: str
    base_increment: str = ""
    price_increment: str = ""
    quote_increment: str = ""
    quote_min_size: str = ""
    product_type: str = ""
    status: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    view_only: bool = False
    alias: str = ""
    """The product whose market this one is another name of."""


class _Products(Struct):
    products: list[_Product]


class _Time(Struct):
    millis: str = msgspec.field(name="epochMillis")


class _Trades(Struct):
    trades: list[TradeTold]


class _Bars(Struct):
    candles: list[BarTold]


_decode_products = msgspec.json.Decoder(_Products)
_decode_time = msgspec.json.Decoder(_Time)
_decode_trades = msgspec.json.Decoder(_Trades)
_decode_bars = msgspec.json.Decoder(_Bars)


class CoinbaseRest:
    """The REST half of the dialect."""

    trades_paged: Literal["forward", "backward", "none"] = "backward"

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All spot products: one megabyte, but no symbol in the question that could be refused."""
        return f"{endpoint.rest}/api/v3/brokerage/market/products?product_type=SPOT"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only spot products that can be traded now.

        `BTC/USDC` is the market of `BTC/USD` by another name, and its frames are named by the latter: asked for both,
        the venue could serve only one of them, so the alias is left out.
        """
        listed = {each.product_id: each for each in _read(_decode_products, body).products if _is_traded(each)}
        asked = [(symbol, listed.get(product_id_of(symbol))) for symbol in symbols]
        names = {product.product_id for _, product in asked if product is not None}
        kept = [(symbol, product) for symbol, product in asked if product is not None and product.alias not in names]
        return [_instrument_from(product, symbol, index) for index, (symbol, product) in enumerate(kept)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/api/v3/brokerage/time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. To the millisecond."""
        millis = _read(_decode_time, body).millis
        if not _is_digits(millis) or int(millis) > MS_MAX:
            raise BadFrameError("bad_time")
        return int(millis) * 1_000_000

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """See History: the newest thousand that are older than the hole's end, which is told in whole seconds."""
        span = {"limit": _TRADES_MAX, "start": hole.from_ns // _NS, "end": -(-hole.to_ns // _NS)}
        return f"{_market(endpoint, instrument)}/ticker?{urlencode(span)}"

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """See History."""
        clock = Rfc3339()
        return oldest_first(
            [trade_from(told, instrument, clock, received_ns) for told in _read(_decode_trades, body).trades]
        )

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """See History. Of more than 350 candles the first 350 are asked for: beyond that the venue refuses."""
        granularity, seconds = _GRANULARITIES.get(timeframe, ("", 0))
        if not granularity or to_ns <= from_ns:
            return ""
        start = -(-from_ns // _NS)
        end = min((to_ns - 1) // _NS, start + (_CANDLES_MAX - 1) * seconds)
        query = {"start": start, "end": end, "granularity": granularity, "limit": _CANDLES_MAX}
        return f"{_market(endpoint, instrument)}/candles?{urlencode(query)}"

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """See History. The venue doesn't say which are closed: those that ended long enough ago are."""
        length_ns = _GRANULARITIES[timeframe][1] * _NS
        bars = [candle_from(bar, instrument, timeframe, 0, received_ns) for bar in _read(_decode_bars, body).candles]
        for bar in bars:
            bar.closed = bar.open_time_ns + length_ns + _CLOCK_DOUBT_NS <= received_ns
        return sorted(bars, key=lambda bar: bar.open_time_ns)


def product_id_of(symbol: str) -> str:
    """`BTC/USD` → `BTC-USD`."""
    return symbol.replace("/", "-")


def trade_from(told: TradeTold, instrument: Instrument, clock: Rfc3339, received_ns: int) -> Trade:
    """With the taker's side, which is the other one than the maker's, and so the other one than told."""
    if not _is_trade_id(told.trade_id):
        raise BadFrameError("bad_number")
    return trade_of(
        instrument,
        told.trade_id,
        side_of(told.side, _TAKERS),
        told.price,
        told.size,
        clock.ns(told.time),
        received_ns,
    )


def oldest_first(trades: list[Trade]) -> list[Trade]:
    """By id, as numbers: the venue tells the newest first."""
    return sorted(trades, key=lambda trade: int(trade.trade_id)) if len(trades) > 1 else trades


def candle_from(bar: BarTold, instrument: Instrument, timeframe: str, time_ns: int, received_ns: int) -> VenueCandle:
    """Not yet said to be closed."""
    if not _is_digits(bar.start) or int(bar.start) > NS_MAX // _NS:
        raise BadFrameError("bad_time")
    return candle_of(
        instrument,
        timeframe,
        int(bar.start) * _NS,
        (bar.open, bar.high, bar.low, bar.close),
        bar.volume,
        False,
        time_ns,
        received_ns,
    )


def _read(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise BadFrameError("malformed") from error


def _market(endpoint: Endpoint, instrument: Instrument) -> str:
    return f"{endpoint.rest}/api/v3/brokerage/market/products/{quote(instrument.venue_symbol, safe='')}"


def _is_traded(product: _Product) -> bool:
    barred = product.is_disabled or product.trading_disabled or product.cancel_only or product.view_only
    return product.product_type == "SPOT" and product.status == "online" and not barred


def _instrument_from(product: _Product, symbol: str, index: int) -> Instrument:
    base, _, quoted = symbol.partition("/")
    minimum = product.quote_min_size
    return Instrument(
        index,
        "coinbase",
        symbol,
        product.product_id,
        base,
        quoted,
        decimal_of(product.price_increment or product.quote_increment),
        decimal_of(product.base_increment),
        decimal_of(minimum) if minimum.strip("0.") else Decimal(0),
    )
