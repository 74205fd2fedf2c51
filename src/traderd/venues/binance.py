"""Binance spot: combined websocket streams and public REST.

Sources: Binance's "Web Socket Streams for Binance" and "Rest API" (github.com/binance/binance-spot-api-docs).
Refuses, with a BadFrameError: bytes that aren't the protocol's JSON (`malformed`), symbols that weren't bound
(`unknown_symbol`), numbers that aren't plain decimals (`bad_number`), streams nobody asked for (`unknown_channel`).
Klines carry nothing new beside trades: they are understood and give no events.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta, Raw, Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import Ack, BookDelta, BookSnapshot, Instrument, Level, Quote, Trade, VenueEvent
from traderd.venues.bindings import Bindings
from traderd.venues.dialect import Channel, Endpoint, Heartbeating
from traderd.venues.numbers import MS_MAX, check_levels, decimal_of, is_quote, is_trade

_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Ms = Annotated[int, Meta(ge=0, le=MS_MAX)]


class _BookTicker(Struct, gc=False):
    update_id: _Id = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")


class _Trade(Struct, gc=False, tag_field="e", tag="trade"):
    symbol: str = field(name="s")
    trade_id: _Id = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    time_ms: _Ms = field(name="T")
    buyer_is_maker: bool = field(name="m")


class _AggTrade(Struct, gc=False, tag_field="e", tag="aggTrade"):
    symbol: str = field(name="s")
    trade_id: _Id = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    time_ms: _Ms = field(name="T")
    buyer_is_maker: bool = field(name="m")


class _Depth(Struct, gc=False, tag_field="e", tag="depthUpdate"):
    time_ms: _Ms = field(name="E")
    symbol: str = field(name="s")
    first: _Id = field(name="U")
    last: _Id = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")


class _Kline(Struct, gc=False, tag_field="e", tag="kline"):
    symbol: str = field(name="s")


_Tagged = _Trade | _AggTrade | _Depth | _Kline


class _BookTickerEnvelope(Struct, gc=False):
    payload: _BookTicker = field(name="data")


class _TaggedEnvelope(Struct, gc=False):
    payload: _Tagged = field(name="data")


class _Fault(Struct):
    msg: str = ""


class _Shape(Struct):
    """Just enough of any frame to see what it is."""

    data: Raw = Raw()
    event: str | None = field(name="e", default=None)
    update_id: Any = field(name="u", default=None)
    request_id: Any = field(name="id", default=None)
    error: _Fault | None = None
    code: int | None = None
    msg: str = ""


class _Snapshot(Struct):
    update_id: _Id = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]


class _Filter(Struct, rename="camel"):
    filter_type: str
    tick_size: str = ""
    step_size: str = ""
    min_notional: str = ""


class _Symbol(Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter] = []


class _ExchangeInfo(Struct):
    symbols: list[_Symbol]


class _Time(Struct):
    time_ms: _Ms = field(name="serverTime")


_decode_book_ticker = msgspec.json.Decoder(_BookTickerEnvelope).decode
_decode_tagged = msgspec.json.Decoder(_TaggedEnvelope).decode
_decode_bare_book_ticker = msgspec.json.Decoder(_BookTicker).decode
_decode_bare_tagged = msgspec.json.Decoder(_Tagged).decode
_decode_shape = msgspec.json.Decoder(_Shape).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_exchange_info = msgspec.json.Decoder(_ExchangeInfo).decode
_decode_time = msgspec.json.Decoder(_Time).decode

_UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
_TAGGED = frozenset({b"t", b"a", b"d", b"k"})
"""First letters of the streams trade, aggTrade, depth and kline."""
_STREAMS: dict[Channel, str] = {"quote": "bookTicker", "trade": "trade", "book": "depth@100ms"}
_QUOTE_ASSETS = frozenset(
    (
        *("USDT", "FDUSD", "USDC", "TUSD", "BUSD", "USDP", "USDS", "USD1", "DAI", "UST", "PAX", "VAI", "USD"),
        *("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "EURI", "AEUR", "EUR", "GBP", "AUD", "BRL", "TRY"),
        *("RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY", "MXN", "CZK", "COP", "IDR", "IDRT", "BIDR", "BVND"),
    )
)
"""What is or was quoted in, for captures that come without a list of instruments."""


class Binance:
    """The dialect of Binance spot."""

    exchange = "binance"
    live = Endpoint(websocket="wss://stream.binance.com:9443", rest="https://api.binance.com")
    heartbeat = Heartbeating(frame="", interval_s=20.0, silence_max_s=60.0)
    """The venue pings every 20 s and drops whoever doesn't answer within a minute."""
    book_resync: Literal["rest", "resubscribe"] = "rest"

    def __init__(self) -> None:
        self._bound = Bindings(_instrument_of)

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT` → `BTCUSDT`."""
        return symbol.replace("/", "").upper()

    def websocket_url(self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[Channel]) -> str:
        """Combined streams, all named in the address. The venue allows 1024 streams for one connection."""
        names = (f"{i.venue_symbol.lower()}@{_STREAMS[channel]}" for i in instruments for channel in channels)
        return f"{endpoint.websocket}/stream?streams={'/'.join(names)}"

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[Channel]) -> list[str]:
        """None: the address says it all."""
        return []

    def resubscribe_frames(self, instrument: Instrument, channel: Channel) -> list[str]:
        """None: a broken book is mended by a REST snapshot."""
        return []

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect."""
        self._bound.bind(instruments)

    def discover(self) -> None:
        """See Dialect."""
        self._bound.discovering = True

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect. The byte after the first @ is the stream's kind, so that the hot streams are decoded once."""
        at = frame.find(b"@") + 1
        kind = frame[at : at + 1]
        try:
            if kind == b"b":
                return (self._quote(_decode_book_ticker(frame).payload, received_ns),)
            if kind in _TAGGED:
                return self._tagged(_decode_tagged(frame).payload, received_ns)
        except _UNREADABLE:
            pass  # the guess was wrong, or the frame is: below it is read with patience
        try:
            return self._uncommon(frame, received_ns)
        except _UNREADABLE as error:
            raise BadFrameError(_why_unreadable(frame)) from error

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """A thousand levels a side: weight 50 of the 6000 a minute."""
        return f"{endpoint.rest}/api/v3/depth?symbol={instrument.venue_symbol}&limit=1000"

    def snapshot_symbol(self, url: str) -> str:
        """See Dialect."""
        parts = urlsplit(url)
        return parse_qs(parts.query).get("symbol", [""])[0] if parts.path.endswith("/depth") else ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """See Dialect."""
        snapshot = _read(_decode_snapshot, body)
        check_levels(snapshot.bids)
        check_levels(snapshot.asks)
        return BookSnapshot(instrument, snapshot.bids, snapshot.asks, snapshot.update_id, None, 0, received_ns)

    def instrument(self, venue_symbol: str) -> Instrument:
        """See Dialect."""
        return self._bound[venue_symbol]

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All symbols: asked for a list with one unknown symbol in it, the venue refuses the whole list."""
        return f"{endpoint.rest}/api/v3/exchangeInfo?showPermissionSets=false"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only symbols whose status is TRADING."""
        listed = {f"{s.base_asset}/{s.quote_asset}": s for s in _read(_decode_exchange_info, body).symbols}
        trading = [(symbol, listed[symbol]) for symbol in symbols if symbol in listed]
        trading = [(symbol, entry) for symbol, entry in trading if entry.status == "TRADING"]
        return [_instrument_from(entry, symbol, index) for index, (symbol, entry) in enumerate(trading)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/api/v3/time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells milliseconds."""
        time: _Time = _read(_decode_time, body)
        return time.time_ms * 1_000_000

    def _quote(self, ticker: _BookTicker, received_ns: int) -> Quote:
        bid, bid_size, ask, ask_size = ticker.bid, ticker.bid_size, ticker.ask, ticker.ask_size
        if not is_quote(f"{bid},{bid_size},{ask},{ask_size}"):
            raise BadFrameError("bad_number")
        return Quote(
            self._bound[ticker.symbol],
            float(bid),
            float(ask),
            float(bid_size),
            float(ask_size),
            bid,
            ask,
            bid_size,
            ask_size,
            ticker.update_id,
            0,
            received_ns,
        )

    def _tagged(self, payload: _Tagged, received_ns: int) -> Sequence[VenueEvent]:
        if isinstance(payload, _Depth):
            return (self._delta(payload, received_ns),)
        if isinstance(payload, _Kline):
            return ()
        return (self._trade(payload, received_ns),)

    def _trade(self, trade: _Trade | _AggTrade, received_ns: int) -> Trade:
        """m says whether the buyer was the maker; then the taker sold."""
        if not is_trade(f"{trade.price},{trade.quantity}"):
            raise BadFrameError("bad_number")
        return Trade(
            self._bound[trade.symbol],
            str(trade.trade_id),
            "sell" if trade.buyer_is_maker else "buy",
            float(trade.price),
            float(trade.quantity),
            trade.price,
            trade.quantity,
            trade.time_ms * 1_000_000,
            received_ns,
        )

    def _delta(self, depth: _Depth, received_ns: int) -> BookDelta:
        check_levels(depth.bids)
        check_levels(depth.asks)
        time_ns = depth.time_ms * 1_000_000
        instrument = self._bound[depth.symbol]
        return BookDelta(instrument, depth.bids, depth.asks, depth.first, depth.last, None, time_ns, received_ns)

    def _uncommon(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """Answers to subscriptions, frames without envelope, and envelopes whose stream isn't named first."""
        shape = _decode_shape(frame)
        if payload := bytes(shape.data):
            frame, shape = payload, _decode_shape(payload)
        if shape.event is not None:
            return self._tagged(_decode_bare_tagged(frame), received_ns)
        if shape.update_id is not None:
            return (self._quote(_decode_bare_book_ticker(frame), received_ns),)
        if shape.error is not None or shape.code is not None:
            return (Ack(False, "", "", shape.error.msg if shape.error else shape.msg),)
        if shape.request_id is not None:
            return (Ack(True, "", "", ""),)
        raise BadFrameError("unknown_channel")


def _why_unreadable(frame: bytes) -> str:
    """A well-formed event of a kind that we don't know is a stream nobody asked for, not damage."""
    try:
        shape = _decode_shape(frame)
        if payload := bytes(shape.data):
            shape = _decode_shape(payload)
    except _UNREADABLE:
        return "malformed"
    known = {"trade", "aggTrade", "depthUpdate", "kline", None}
    return "malformed" if shape.event in known else "unknown_channel"


def _read(decode: Any, body: bytes) -> Any:
    try:
        return decode(body)
    except _UNREADABLE as error:
        raise BadFrameError("malformed") from error


def _instrument_of(venue_symbol: str, index: int) -> Instrument:
    """`ETHUSDT` → ETH/USDT by the longest quote asset that fits; an unknown one stays whole, with no quote."""
    fitting = [asset for asset in _QUOTE_ASSETS if venue_symbol.endswith(asset) and venue_symbol != asset]
    quote = max(fitting, key=len, default="")
    base = venue_symbol.removesuffix(quote)
    return Instrument(index, "binance", f"{base}/{quote}" if quote else base, venue_symbol, base, quote)


def _instrument_from(entry: _Symbol, symbol: str, index: int) -> Instrument:
    filters = {f.filter_type: f for f in entry.filters}
    tick, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    limits: dict[str, Any] = {}
    if tick and tick.tick_size.strip("0."):
        limits["price_tick"] = decimal_of(tick.tick_size)
    if lot and lot.step_size.strip("0."):
        limits["quantity_step"] = decimal_of(lot.step_size)
    if notional and notional.min_notional.strip("0."):
        limits["notional_min"] = decimal_of(notional.min_notional)
    return Instrument(index, "binance", symbol, entry.symbol, entry.base_asset, entry.quote_asset, **limits)
