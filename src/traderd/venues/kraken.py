"""Kraken's websocket v2; the REST that goes with it is in `kraken_rest`.

Source: docs.kraken.com, "Spot WebSocket v2" (ticker, trade, book, ohlc, ping, status).
The venue writes numbers as JSON numbers and sums their text into the book's checksum, so the text is kept as it was
sent; only an exponent, which no checksum counts, is written out. Nothing else tells a loss, and the checksum is of ten
levels a side: of a deeper book only these are vouched for (`core.book`). Refuses with a BadFrameError what isn't the
protocol.
"""

import json
from collections.abc import Sequence
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
    Market,
    Quote,
    Side,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.venues.bindings import Bound
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Limits
from traderd.venues.kraken_rest import MINUTES, UNREADABLE, KrakenRest
from traderd.venues.numbers import Rfc3339, check_levels, is_quote, without_exponent
from traderd.venues.told import candle_of, has_empty_side, quote_of, side_of, trade_of

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


class _Bar(Struct, gc=False):
    symbol: str
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    interval_begin: str
    interval: int
    timestamp: str = ""


class _TickerFrame(Struct, gc=False, tag_field="channel", tag="ticker"):
    data: list[_Ticker]


class _TradeFrame(Struct, gc=False, tag_field="channel", tag="trade"):
    data: list[_Trade]


class _BookFrame(Struct, gc=False, tag_field="channel", tag="book"):
    kind: Literal["snapshot", "update"] = field(name="type")
    data: list[_Book]


class _BarFrame(Struct, gc=False, tag_field="channel", tag="ohlc"):
    data: list[_Bar]


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


_decode_frame = msgspec.json.Decoder(
    _TickerFrame | _TradeFrame | _BookFrame | _BarFrame | _HeartbeatFrame | _StatusFrame
).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode

_CHANNELS: dict[AnyChannel, str] = {"quote": "ticker", "trade": "trade", "book": "book", "candle": "ohlc"}
_OURS: dict[str, AnyChannel] = {theirs: ours for ours, theirs in _CHANNELS.items()}
_TIMEFRAMES = {minutes: name for name, minutes in MINUTES.items()}
_STREAMS_PER_FRAME = 100
_DEPTHS = (10, 25, 100, 500, 1000)
"""Levels a side that a book can be had with."""
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
"""The taker's, as the venue defines it."""


class Kraken(Bound, KrakenRest):
    """The dialect of Kraken."""

    exchange = "kraken"
    market: Market = "spot"
    channels: frozenset[AnyChannel] = frozenset(_CHANNELS)
    live = Endpoint(websocket="wss://ws.kraken.com/v2", rest="https://api.kraken.com")
    heartbeat = Heartbeating(frame='{"method":"ping"}', interval_s=15.0, silence_max_s=20.0)
    """The venue sends a heartbeat about every second once something is subscribed, and answers a ping always."""
    limits = Limits(
        streams_per_connection=400,
        frames_per_s=5.0,
        streams_per_frame=_STREAMS_PER_FRAME,
        connection_age_s=0.0,
        connects_per_minute=15.0,
    )
    """The venue's limits are dynamic and without figures ("Spot rate limits": `Exceeded msg rate`): these are ours."""
    book_resync: Literal["rest", "resubscribe"] = "resubscribe"
    trades_numbered = True

    def __init__(self, book_depth: int) -> None:
        super().__init__(_instrument_of)
        self._book_depth = book_depth
        self._depths: dict[str, int] = {}
        self._clock = Rfc3339()

    def symbol_to_venue(self, symbol: str) -> str:
        """The same: `BTC/USD`."""
        return symbol

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """See Dialect."""
        return channel in self.channels

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """One connection carries everything."""
        return [list(channels)]

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """One address for everything."""
        return endpoint.websocket

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """One frame for each channel and hundred symbols. The venue answers for each symbol."""
        symbols, size = [instrument.venue_symbol for instrument in instruments], _STREAMS_PER_FRAME
        parts = [symbols[at : at + size] for at in range(0, len(symbols), size)]
        return [
            self._request("subscribe", channel, part) for channel in channels if channel in _CHANNELS for part in parts
        ]

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """Unsubscribe and subscribe: the venue answers the second with a snapshot."""
        symbols = [instrument.venue_symbol]
        return [self._request(method, channel, symbols) for method in ("unsubscribe", "subscribe")]

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect."""
        try:
            return self._events(_decode_frame(frame), received_ns)
        except UNREADABLE as error:
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

    def _request(self, method: str, channel: AnyChannel, symbols: list[str]) -> str:
        params: dict[str, Any] = {"channel": _CHANNELS[channel], "symbol": symbols}
        if channel == "quote":
            params["event_trigger"] = "bbo"
        if channel == "book":
            params["depth"] = self._book_depth
        if channel == "candle":
            params["interval"] = MINUTES["1m"]
        if channel in ("trade", "candle") and method == "subscribe":
            params["snapshot"] = False
        return json.dumps({"method": method, "params": params}, separators=(",", ":"))

    def _events(self, frame: Any, received_ns: int) -> Sequence[VenueEvent]:
        match frame:
            case _TickerFrame():
                return [quote for ticker in frame.data for quote in self._quote(ticker, received_ns)]
            case _BookFrame(kind="update"):
                return [self._delta(book, received_ns) for book in frame.data]
            case _TradeFrame():
                return [self._trade(trade, received_ns) for trade in frame.data]
            case _BookFrame():
                return [self._snapshot(book, received_ns) for book in frame.data]
            case _BarFrame():
                return [self._candle(bar, received_ns) for bar in frame.data]
            case _:
                return (Heartbeat(),) if isinstance(frame, _HeartbeatFrame) else ()

    def _quote(self, ticker: _Ticker, received_ns: int) -> Sequence[Quote]:
        """None while a side is empty. The venue numbers no quotes."""
        bid, bid_size = str(ticker.bid, "ascii"), str(ticker.bid_qty, "ascii")
        ask, ask_size = str(ticker.ask, "ascii"), str(ticker.ask_qty, "ascii")
        if not is_quote(f"{bid},{bid_size},{ask},{ask_size}"):
            bid, bid_size = without_exponent(bid), without_exponent(bid_size)
            ask, ask_size = without_exponent(ask), without_exponent(ask_size)
            if has_empty_side(bid, bid_size, ask, ask_size):
                return ()
        time_ns = self._clock.ns(ticker.timestamp)
        return (quote_of(self._bound[ticker.symbol], bid, bid_size, ask, ask_size, -1, time_ns, received_ns),)

    def _trade(self, trade: _Trade, received_ns: int) -> Trade:
        price, quantity = without_exponent(str(trade.price, "ascii")), without_exponent(str(trade.qty, "ascii"))
        return trade_of(
            self._bound[trade.symbol],
            str(trade.trade_id),
            side_of(trade.side, _SIDES),
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
            self._depths.get(book.symbol) or self._depth_of(book),
            SUMMED,
        )

    def _depth_of(self, book: _Book) -> int:
        """Of a snapshot whose subscription wasn't heard of: what was asked for, or more if more was sent."""
        levels = max(len(book.bids), len(book.asks), self._book_depth)
        return next((depth for depth in _DEPTHS if depth >= levels), levels)

    def _candle(self, bar: _Bar, received_ns: int) -> VenueCandle:
        """The venue doesn't say when a candle is closed: the next one says it."""
        if bar.interval not in _TIMEFRAMES:
            raise BadFrameError("unknown_channel")
        prices = [str(price, "ascii") for price in (bar.open, bar.high, bar.low, bar.close)]
        open_, high, low, close, volume = map(without_exponent, [*prices, str(bar.volume, "ascii")])
        return candle_of(
            self._bound[bar.symbol],
            _TIMEFRAMES[bar.interval],
            self._clock.ns(bar.interval_begin),
            (open_, high, low, close),
            volume,
            False,
            self._clock.ns(bar.timestamp),
            received_ns,
        )

    def _answer(self, frame: bytes, error: Exception) -> Sequence[VenueEvent]:
        try:
            answer = _decode_answer(frame)
        except UNREADABLE:
            raise BadFrameError("malformed") from error
        if answer.channel is not None:
            raise BadFrameError("malformed" if answer.channel in _KNOWN else "unknown_channel") from error
        if answer.method == "pong":
            return (Heartbeat(),)
        if answer.success is None:
            raise BadFrameError("unknown_channel") from error
        return self._acks(answer)

    def _acks(self, answer: _Answer) -> Sequence[VenueEvent]:
        """What concerns subscribing; a granted unsubscription is no news. The greatest depth granted is the book's."""
        about = answer.result or _Subscription()
        symbol = about.symbol or answer.symbol
        if answer.method == "unsubscribe" and about.channel == "book":
            self._depths.pop(symbol, None)
        if not answer.success:
            return (Ack(False, _OURS.get(about.channel, ""), symbol, answer.error or "refused"),)
        if answer.method != "subscribe":
            return ()
        if about.depth is not None and symbol:
            self._bound[symbol]  # an answer about a symbol that nobody bound is not remembered
            self._depths[symbol] = max(about.depth, self._depths.get(symbol, 0))
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


def _instrument_of(venue_symbol: str, index: int) -> Instrument:
    base, _, quote = venue_symbol.partition("/")
    return Instrument(index, "kraken", venue_symbol, venue_symbol, base, quote)
