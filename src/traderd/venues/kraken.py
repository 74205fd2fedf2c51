"""Kraken websocket v2 and the public REST that goes with it.

Sources: docs.kraken.com, "Spot WebSocket v2" (ticker, trade, book, ping, status) and "Spot REST" (AssetPairs, Time).
The venue writes numbers as JSON numbers and sums their text into the book's checksum, so the text is kept as it was
sent; only an exponent, which no checksum counts, is written out. Refuses with a BadFrameError what isn't the protocol.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    SUMMED,
    Ack,
    BookDelta,
    BookSnapshot,
    Heartbeat,
    Instrument,
    Level,
    Quote,
    Side,
    Trade,
    VenueEvent,
)
from traderd.venues.bindings import Bindings
from traderd.venues.dialect import Channel, Endpoint, Heartbeating
from traderd.venues.numbers import (
    NS_MAX,
    Rfc3339,
    check_levels,
    decimal_of,
    is_quote,
    is_trade,
    without_exponent,
)

_Checksum = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Depth = Annotated[int, Meta(ge=1, le=10_000)]


class _Ticker(Struct, gc=False):
    symbol: str
    bid: Raw
    bid_qty: Raw
    ask: Raw
    ask_qty: Raw
    timestamp: str = ""


class _Trade(Struct, gc=False):
    symbol: str
    side: str
    price: Raw
    qty: Raw
    trade_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    timestamp: str


class _Level(Struct, gc=False):
    price: Raw
    qty: Raw


class _Book(Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: _Checksum
    timestamp: str = ""


class _TickerFrame(Struct, gc=False, tag_field="channel", tag="ticker"):
    data: list[_Ticker]


class _TradeFrame(Struct, gc=False, tag_field="channel", tag="trade"):
    data: list[_Trade]


class _BookFrame(Struct, gc=False, tag_field="channel", tag="book"):
    kind: Literal["snapshot", "update"] = field(name="type")
    data: list[_Book]


class _HeartbeatFrame(Struct, gc=False, tag_field="channel", tag="heartbeat"):
    pass


class _StatusFrame(Struct, gc=False, tag_field="channel", tag="status"):
    pass


class _Subscription(Struct):
    channel: str = ""
    symbol: str = ""
    depth: _Depth | None = None


class _Answer(Struct):
    """Any frame that is no channel's: the answer to something that we sent."""

    channel: str | None = None
    method: str = ""
    success: bool | None = None
    error: str | None = None
    symbol: str = ""
    result: _Subscription | None = None


class _Pair(Struct):
    pair_decimals: Annotated[int, Meta(ge=0, le=32)]
    lot_decimals: Annotated[int, Meta(ge=0, le=32)]
    wsname: str = ""
    status: str = "online"
    tick_size: str = ""
    costmin: str = ""


class _AssetPairs(Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


class _UnixTime(Struct):
    unixtime: Annotated[int, Meta(ge=0, le=NS_MAX // 1_000_000_000)]


class _Time(Struct):
    error: list[str]
    result: _UnixTime | None = None


_decode_frame = msgspec.json.Decoder(_TickerFrame | _TradeFrame | _BookFrame | _HeartbeatFrame | _StatusFrame).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_pairs = msgspec.json.Decoder(_AssetPairs).decode
_decode_time = msgspec.json.Decoder(_Time).decode

_UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
_CHANNELS: dict[Channel, str] = {"quote": "ticker", "trade": "trade", "book": "book"}
_OURS: dict[str, Channel] = {theirs: ours for ours, theirs in _CHANNELS.items()}
_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}
"""REST's `wsname` still speaks version 1's asset names; version 2 of the websocket and ccxt say the usual ones."""


class Kraken:
    """The dialect of Kraken's websocket v2."""

    exchange = "kraken"
    live = Endpoint(websocket="wss://ws.kraken.com/v2", rest="https://api.kraken.com")
    heartbeat = Heartbeating(frame='{"method":"ping"}', interval_s=15.0, silence_max_s=20.0)
    """The venue sends a heartbeat about every second once something is subscribed, and answers a ping always."""
    book_resync: Literal["rest", "resubscribe"] = "resubscribe"

    def __init__(self, book_depth: int) -> None:
        self._bound = Bindings(_instrument_of)
        self._book_depth = book_depth
        self._depths: dict[str, int] = {}
        self._clock = Rfc3339()

    def symbol_to_venue(self, symbol: str) -> str:
        """The same: `BTC/USD`."""
        return symbol

    def websocket_url(self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[Channel]) -> str:
        """One address for everything."""
        return endpoint.websocket

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[Channel]) -> list[str]:
        """One frame for each channel."""
        symbols = [instrument.venue_symbol for instrument in instruments]
        return [self._request("subscribe", channel, symbols) for channel in channels]

    def resubscribe_frames(self, instrument: Instrument, channel: Channel) -> list[str]:
        """Unsubscribe and subscribe: the venue answers the second with a snapshot."""
        symbols = [instrument.venue_symbol]
        return [self._request(method, channel, symbols) for method in ("unsubscribe", "subscribe")]

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect."""
        self._bound.bind(instruments)

    def discover(self) -> None:
        """See Dialect."""
        self._bound.discovering = True

    def instrument(self, venue_symbol: str) -> Instrument:
        """See Dialect."""
        return self._bound[venue_symbol]

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect."""
        try:
            return self._events(_decode_frame(frame), received_ns)
        except _UNREADABLE as error:
            return self._answer(frame, error)

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """None: the websocket sends it."""
        return ""

    def snapshot_symbol(self, url: str) -> str:
        """None: the websocket sends it."""
        return ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """Refused: REST's book has no checksum, so it can't be joined to the stream."""
        raise BadFrameError("refused")

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """All pairs: asked for a list with one unknown pair in it, the venue refuses the whole list."""
        return f"{endpoint.rest}/0/public/AssetPairs"

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """See Dialect. Only pairs whose status is online."""
        listed = {_symbol_of(pair.wsname): pair for pair in _result(_decode_pairs, body).values()}
        online = [symbol for symbol in symbols if symbol in listed and listed[symbol].status == "online"]
        return [_instrument_from(listed[symbol], symbol, index) for index, symbol in enumerate(online)]

    def time_url(self, endpoint: Endpoint) -> str:
        """See Dialect."""
        return f"{endpoint.rest}/0/public/Time"

    def decode_time(self, body: bytes) -> int:
        """See Dialect. The venue tells whole seconds."""
        time: _UnixTime = _result(_decode_time, body)
        return time.unixtime * 1_000_000_000

    def _request(self, method: str, channel: Channel, symbols: list[str]) -> str:
        params: dict[str, Any] = {"channel": _CHANNELS[channel], "symbol": symbols}
        if channel == "quote":
            params["event_trigger"] = "bbo"
        if channel == "book":
            params["depth"] = self._book_depth
        if channel == "trade" and method == "subscribe":
            params["snapshot"] = False
        return json.dumps({"method": method, "params": params}, separators=(",", ":"))

    def _events(self, frame: Any, received_ns: int) -> Sequence[VenueEvent]:
        match frame:
            case _TickerFrame():
                return [self._quote(ticker, received_ns) for ticker in frame.data]
            case _BookFrame(kind="update"):
                return [self._delta(book, received_ns) for book in frame.data]
            case _TradeFrame():
                return [self._trade(trade, received_ns) for trade in frame.data]
            case _BookFrame():
                return [self._snapshot(book, received_ns) for book in frame.data]
            case _HeartbeatFrame():
                return (Heartbeat(),)
            case _:
                return ()

    def _quote(self, ticker: _Ticker, received_ns: int) -> Quote:
        """The venue numbers no quotes; what the receive time has below a microsecond tells neighbours apart."""
        bid, bid_size = str(ticker.bid, "ascii"), str(ticker.bid_qty, "ascii")
        ask, ask_size = str(ticker.ask, "ascii"), str(ticker.ask_qty, "ascii")
        if not is_quote(f"{bid},{bid_size},{ask},{ask_size}"):
            bid, bid_size = without_exponent(bid), without_exponent(bid_size)
            ask, ask_size = without_exponent(ask), without_exponent(ask_size)
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
            received_ns % 1000,
            self._clock.ns(ticker.timestamp),
            received_ns,
        )

    def _trade(self, trade: _Trade, received_ns: int) -> Trade:
        price, quantity = without_exponent(str(trade.price, "ascii")), without_exponent(str(trade.qty, "ascii"))
        if not is_trade(f"{price},{quantity}"):
            raise BadFrameError("bad_number")
        return Trade(
            self._bound[trade.symbol],
            str(trade.trade_id),
            _side(trade.side),
            float(price),
            float(quantity),
            price,
            quantity,
            self._clock.ns(trade.timestamp),
            received_ns,
        )

    def _delta(self, book: _Book, received_ns: int) -> BookDelta:
        time_ns = self._clock.ns(book.timestamp)
        instrument, bids, asks = self._bound[book.symbol], _levels(book.bids), _levels(book.asks)
        return BookDelta(instrument, bids, asks, 0, 0, book.checksum, time_ns, received_ns, rule=SUMMED)

    def _snapshot(self, book: _Book, received_ns: int) -> BookSnapshot:
        return BookSnapshot(
            self._bound[book.symbol],
            _levels(book.bids),
            _levels(book.asks),
            0,
            book.checksum,
            self._clock.ns(book.timestamp),
            received_ns,
            self._depths.get(book.symbol, self._book_depth),
            SUMMED,
        )

    def _answer(self, frame: bytes, error: Exception) -> Sequence[VenueEvent]:
        try:
            answer = _decode_answer(frame)
        except _UNREADABLE:
            raise BadFrameError("malformed") from error
        if answer.channel is not None:
            raise BadFrameError("malformed" if answer.channel in _KNOWN else "unknown_channel") from error
        if answer.method == "pong":
            return (Heartbeat(),)
        if answer.success is None:
            raise BadFrameError("unknown_channel") from error
        return self._acks(answer)

    def _acks(self, answer: _Answer) -> Sequence[VenueEvent]:
        """What concerns subscribing; a granted unsubscription is no news. The depth granted is the book's."""
        about = answer.result or _Subscription()
        symbol = about.symbol or answer.symbol
        if not answer.success:
            return (Ack(False, _OURS.get(about.channel, ""), symbol, answer.error or "refused"),)
        if answer.method != "subscribe":
            return ()
        if about.depth is not None and symbol:
            self._bound[symbol]  # an answer about a symbol that nobody bound is not remembered
            self._depths[symbol] = about.depth
        return (Ack(True, _OURS.get(about.channel, ""), symbol, ""),)


_KNOWN = frozenset({*_OURS, "heartbeat", "status"})


def _levels(sent: list[_Level]) -> list[Level]:
    levels = [(str(level.price, "ascii"), str(level.qty, "ascii")) for level in sent]
    try:
        check_levels(levels)
    except BadFrameError:
        levels = [(without_exponent(price), without_exponent(quantity)) for price, quantity in levels]
        check_levels(levels)
    return levels


def _result(decode: Any, body: bytes) -> Any:
    """REST wraps every answer: `error` is a list of texts, `result` is there when it is empty."""
    try:
        answer = decode(body)
    except _UNREADABLE as error:
        raise BadFrameError("malformed") from error
    if answer.error or answer.result is None:
        raise BadFrameError("refused")
    return answer.result


def _side(side: str) -> Side:
    """The taker's, as the venue defines it."""
    if side == "buy":
        return "buy"
    if side == "sell":
        return "sell"
    raise BadFrameError("bad_side")


def _symbol_of(wsname: str) -> str:
    return "/".join(_ASSETS.get(asset, asset) for asset in wsname.split("/"))


def _instrument_of(venue_symbol: str, index: int) -> Instrument:
    base, _, quote = venue_symbol.partition("/")
    return Instrument(index, "kraken", venue_symbol, venue_symbol, base, quote)


def _instrument_from(pair: _Pair, symbol: str, index: int) -> Instrument:
    base, _, quote = symbol.partition("/")
    tick = decimal_of(pair.tick_size) if pair.tick_size else Decimal(1).scaleb(-pair.pair_decimals)
    notional_min = decimal_of(pair.costmin) if pair.costmin.strip("0.") else Decimal(0)
    return Instrument(
        index, "kraken", symbol, symbol, base, quote, tick, Decimal(1).scaleb(-pair.lot_decimals), notional_min
    )
