"""Coinbase Advanced Trade's websocket, spot; the REST that goes with it is in `coinbase_rest`.

Source: docs.cdp.coinbase.com, "Advanced Trade WebSocket" (overview, channels, rate limits).
Every frame of a connection is numbered over all channels and a book's messages are not: a missing number breaks every
book of the connection (`Numbered`, `core.continuity`). A frame that is refused here is missing for its reader too; so
nothing is refused that the venue may rightly send, such as a channel that is new or a market without bids.

What a subscription begins with is told as far as it is about now: the whole book, the best prices and the candle that
is being made. The hundred last trades and the hundred last candles that come with it are left out: they were traded
before, most of them are stored already, and what is missing of them is asked for by REST, where a hole has its place.
Refuses with a BadFrameError what isn't the protocol.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookRule,
    BookSnapshot,
    Heartbeat,
    Instrument,
    Level,
    Market,
    Numbered,
    Quote,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.venues.bindings import Bound
from traderd.venues.coinbase_rest import (
    UNREADABLE,
    BarTold,
    CoinbaseRest,
    TradeTold,
    candle_from,
    oldest_first,
    product_id_of,
    trade_from,
)
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Limits
from traderd.venues.numbers import Rfc3339, check_levels
from traderd.venues.told import quote_of

UNNUMBERED = BookRule("none")
"""The venue numbers the connection's frames instead."""

_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Kind = Literal["snapshot", "update"]


class _Ticker(Struct, gc=False):
    product_id: str
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class _Change(Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str
    event_time: str = ""


class _Tickers(Struct, gc=False):
    tickers: list[_Ticker]


class _Changes(Struct, gc=False):
    type: _Kind
    product_id: str
    updates: list[_Change]


class _Trades(Struct, gc=False):
    type: _Kind
    trades: list[TradeTold]


class _Bars(Struct, gc=False):
    type: _Kind
    candles: list[BarTold]


class _Subscribed(Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _TickerFrame(Struct, gc=False, tag_field="channel", tag="ticker"):
    sequence_num: _Number
    events: list[_Tickers]
    timestamp: str = ""


class _BookFrame(Struct, gc=False, tag_field="channel", tag="l2_data"):
    sequence_num: _Number
    events: list[_Changes]
    timestamp: str = ""


class _TradeFrame(Struct, gc=False, tag_field="channel", tag="market_trades"):
    sequence_num: _Number
    events: list[_Trades]


class _BarFrame(Struct, gc=False, tag_field="channel", tag="candles"):
    sequence_num: _Number
    events: list[_Bars]
    timestamp: str = ""


class _HeartbeatFrame(Struct, gc=False, tag_field="channel", tag="heartbeats"):
    sequence_num: _Number


class _SubscriptionsFrame(Struct, gc=False, tag_field="channel", tag="subscriptions"):
    sequence_num: _Number
    events: list[_Subscribed]


_Frame = _TickerFrame | _BookFrame | _TradeFrame | _BarFrame | _HeartbeatFrame | _SubscriptionsFrame


class _Shape(Struct):
    """Any frame that is none of these."""

    channel: str | None = None
    sequence_num: _Number | None = None
    type: str | None = None
    message: str = ""


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_shape = msgspec.json.Decoder(_Shape).decode

_CHANNELS: dict[AnyChannel, str] = {
    **{"quote": "ticker", "trade": "market_trades"},
    **{"book": "level2", "candle": "candles"},
}
_OURS: dict[str, AnyChannel] = {theirs: ours for ours, theirs in _CHANNELS.items()}
_KNOWN = frozenset({"ticker", "l2_data", "market_trades", "candles", "heartbeats", "subscriptions"})
_HEARTBEATS = '{"type":"subscribe","channel":"heartbeats"}'
_TIMEFRAME = "5m"
"""The channel knows no other."""
_STREAMS_PER_CONNECTION = 16
"""Of level2; 32 are refused with `too many L2 streams requested in a single session` (JKorf/Coinbase.Net, issue 19)."""


class Coinbase(Bound, CoinbaseRest):
    """The dialect of Coinbase Advanced Trade."""

    exchange = "coinbase"
    market: Market = "spot"
    channels: frozenset[AnyChannel] = frozenset(_CHANNELS)
    live = Endpoint(websocket="wss://advanced-trade-ws.coinbase.com", rest="https://api.coinbase.com")
    heartbeat = Heartbeating(frame="", interval_s=1.0, silence_max_s=10.0)
    """The heartbeats channel tells one every second, except while megabytes of snapshots are under way."""
    limits = Limits(
        streams_per_connection=_STREAMS_PER_CONNECTION,
        frames_per_s=8.0,
        streams_per_frame=_STREAMS_PER_CONNECTION,
        connection_age_s=0.0,
        connects_per_minute=480.0,
        frame_bytes_max=8 * 1024 * 1024,
    )
    """"Advanced Trade WebSocket Rate Limits": 8 connections and 8 unauthenticated messages a second for each address.
    How many streams a connection bears the venue doesn't say; see `_STREAMS_PER_CONNECTION`."""
    book_resync: Literal["rest", "resubscribe"] = "resubscribe"
    trades_numbered = False

    def __init__(self) -> None:
        super().__init__(_instrument_of)
        self._clock = Rfc3339()

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USD` → `BTC-USD`."""
        return product_id_of(symbol)

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """See Dialect."""
        return channel in self.channels

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """Books go apart: megabytes of snapshot hold up no quote, and a lost quote breaks no book."""
        others: list[AnyChannel] = [channel for channel in channels if channel in _CHANNELS and channel != "book"]
        groups = [others] if others else []
        return [*groups, ["book"]] if "book" in channels else groups

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """One address for everything."""
        return endpoint.websocket

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """Heartbeats, without which the venue closes a quiet stream after a minute or so; then channel by channel."""
        symbols, size = [instrument.venue_symbol for instrument in instruments], self.limits.streams_per_frame
        parts = [symbols[at : at + size] for at in range(0, len(symbols), size)]
        wanted = [channel for channel in channels if channel in _CHANNELS]
        return [_HEARTBEATS, *(_request("subscribe", channel, part) for channel in wanted for part in parts)]

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """Unsubscribe and subscribe: the venue answers the second with a snapshot."""
        if channel not in _CHANNELS:
            return []
        return [_request(method, channel, [instrument.venue_symbol]) for method in ("unsubscribe", "subscribe")]

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect. Frames of a market that is quoted in USDC are named by the one in USD that it is an alias of."""
        super().bind(instruments)
        for instrument in instruments:
            if instrument.venue_symbol.endswith("-USDC"):
                self._bound.setdefault(instrument.venue_symbol[:-1], instrument)

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect. The frame's number comes first."""
        try:
            told = _decode_frame(frame)
        except UNREADABLE as error:
            return _uncommon(frame, error)
        return [Numbered(told.sequence_num), *self._events(told, received_ns)]

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """None: the websocket sends it."""
        return ""

    def snapshot_symbol(self, url: str) -> str:
        """None: the websocket sends it."""
        return ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """Refused: REST's book has no number, so it can't be joined to the stream."""
        raise BadFrameError("refused")

    def _events(self, frame: _Frame, received_ns: int) -> Iterator[VenueEvent]:
        match frame:
            case _BookFrame():
                for event in frame.events:
                    yield self._book(event, frame.timestamp, received_ns)
            case _TickerFrame():
                yield from self._quotes(frame, received_ns)
            case _TradeFrame():
                yield from self._trades(frame, received_ns)
            case _BarFrame():
                yield from self._candles(frame, received_ns)
            case _SubscriptionsFrame():
                for said in frame.events:
                    yield from _acks(said.subscriptions)
            case _HeartbeatFrame():
                yield Heartbeat()

    def _quotes(self, frame: _TickerFrame, received_ns: int) -> Iterator[Quote]:
        """A market with an empty side has no quote."""
        for event in frame.events:
            for ticker in event.tickers:
                if ticker.best_bid.strip("0.") and ticker.best_ask.strip("0."):
                    yield self._quote(ticker, frame, received_ns)

    def _quote(self, ticker: _Ticker, frame: _TickerFrame, received_ns: int) -> Quote:
        return quote_of(
            self._bound[ticker.product_id],
            ticker.best_bid,
            ticker.best_bid_quantity,
            ticker.best_ask,
            ticker.best_ask_quantity,
            frame.sequence_num,
            self._clock.ns(frame.timestamp),
            received_ns,
        )

    def _trades(self, frame: _TradeFrame, received_ns: int) -> Iterator[Trade]:
        """Those that were traded before the subscription are left out: see above."""
        for event in frame.events:
            if event.type == "update":
                yield from oldest_first(
                    [trade_from(told, self._bound[told.product_id], self._clock, received_ns) for told in event.trades]
                )

    def _book(self, event: _Changes, timestamp: str, received_ns: int) -> BookSnapshot | BookDelta:
        """A level's quantity is the new one, 0 removes it. The time is the newest level's, else the frame's."""
        bids: list[Level] = []
        asks: list[Level] = []
        changes = event.updates
        for change in changes:
            (bids if change.side == "bid" else asks).append((change.price_level, change.new_quantity))
        check_levels(bids)
        check_levels(asks)
        time_ns = (self._clock.ns(changes[-1].event_time) if changes else 0) or self._clock.ns(timestamp)
        instrument = self._bound[event.product_id]
        if event.type == "snapshot":
            return BookSnapshot(instrument, bids, asks, 0, None, time_ns, received_ns, 0, UNNUMBERED)
        return BookDelta(instrument, bids, asks, 0, 0, None, time_ns, received_ns, rule=UNNUMBERED)

    def _candles(self, frame: _BarFrame, received_ns: int) -> Iterator[VenueCandle]:
        """Of a snapshot only each market's newest; the venue doesn't say when a candle is closed."""
        time_ns = self._clock.ns(frame.timestamp)
        for event in frame.events:
            candles = [
                candle_from(bar, self._bound[bar.product_id], _TIMEFRAME, time_ns, received_ns) for bar in event.candles
            ]
            candles.sort(key=lambda candle: candle.open_time_ns)
            if event.type == "update":
                yield from candles
            else:
                yield from {candle.instrument.index: candle for candle in candles}.values()


def _request(method: str, channel: AnyChannel, symbols: Sequence[str]) -> str:
    request = {"type": method, "product_ids": symbols, "channel": _CHANNELS[channel]}
    return json.dumps(request, separators=(",", ":"))


def _acks(subscriptions: dict[str, list[str]]) -> Iterator[Ack]:
    """Every answer names all that the connection is subscribed to, whatever was asked last."""
    for theirs, symbols in subscriptions.items():
        if theirs in _OURS:
            for symbol in symbols:
                yield Ack(True, _OURS[theirs], symbol, "")


def _uncommon(frame: bytes, error: Exception) -> Sequence[VenueEvent]:
    """A refusal, or a channel that we didn't ask for: such are to be ignored ("new message types can be added")."""
    try:
        shape = _decode_shape(frame)
    except UNREADABLE:
        raise BadFrameError("malformed") from error
    if shape.channel in _KNOWN:
        raise BadFrameError("malformed") from error
    if shape.channel is not None and shape.sequence_num is not None:
        return (Numbered(shape.sequence_num),)
    if shape.type == "error":
        return (Ack(False, "", "", shape.message or "refused"),)
    raise BadFrameError("unknown_channel") from error


def _instrument_of(venue_symbol: str, index: int) -> Instrument:
    base, _, quoted = venue_symbol.partition("-")
    return Instrument(index, "coinbase", f"{base}/{quoted}", venue_symbol, base, quoted)
