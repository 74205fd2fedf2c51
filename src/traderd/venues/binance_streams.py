"""One connection to Binance, spot or futures: what is sent to subscribe, and what the frames mean.

Subscriptions are sent as numbered frames after connecting (an address holds too few names), and an answer says which
frame it answers. Of a symbol's book at several speeds, and of its trades singly and aggregated, only what came first
is read: the same market is told twice there, by numbers of two kinds. Refuses with a BadFrameError what isn't the
protocol.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    BookDelta,
    BookRule,
    Funding,
    Heartbeat,
    Instrument,
    Liquidation,
    MarkPrice,
    Quote,
    Side,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.venues.binance_frames import (
    TAGGED,
    UNREADABLE,
    AggTrade,
    BookTicker,
    Depth,
    ForceOrder,
    Kline,
    MarkPriceUpdate,
    Shape,
    Tagged,
    TradeTold,
    decode_bare_book_ticker,
    decode_bare_tagged,
    decode_book_ticker,
    decode_shape,
    decode_tagged,
    why_unreadable,
)
from traderd.venues.bindings import Bound
from traderd.venues.dialect import AnyChannel, Limits
from traderd.venues.forms import reader
from traderd.venues.numbers import check_levels, quote_told
from traderd.venues.told import candle_of, has_empty_side, liquidation_of, price_of, rate_of, trade_of

TIMEFRAMES = {
    **{"1s": 1_000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000},
    **{"2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000},
}
"""Candles' lengths in milliseconds. The futures have none of a second."""
_DEPTH = b"depth"
_PARTIAL = (5, 10, 20)
"""How many levels a side a partial book may have."""
_TAKERS: tuple[Side, Side] = ("buy", "sell")
_UNANSWERED_MAX = 1_000
_HEARTBEAT_ID = 0
STREAMS_PER_FRAME = 80
"""A subscription longer than 4088 bytes gets no answer at all (github.com/binance/binance-connector-rust, issue 27)."""
HEARTBEAT_FRAME = '{"method":"GET_PROPERTY","params":["combined"],"id":0}'
"""The shortest question that is answered over the same link as the data."""


class BinanceStreams(Bound):
    """The websocket half of a dialect."""

    exchange = "binance"
    limits: Limits
    channels: frozenset[AnyChannel]
    quote_form = ""
    """The form that nearly all quotes have, and trades of the stream that is subscribed to; "" where none is known."""
    trade_form = ""
    trade_told: type = TradeTold
    """What the patient decoder makes of trades of that form."""

    def __init__(
        self, make: Callable[[str, int], Instrument], rule: BookRule, streams: Mapping[AnyChannel, str]
    ) -> None:
        """`make` builds an instrument from a symbol alone; `streams` has the stream's name of each channel."""
        super().__init__(make)
        self._rule = rule
        self._streams = streams
        self._numbers = count(_HEARTBEAT_ID + 1)
        self._asked: dict[int, list[tuple[AnyChannel, str]]] = {}
        self._forget()

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect. Which of several streams of one thing was read is forgotten."""
        super().bind(instruments)
        self._forget()

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """See Dialect. What is delivered at its date pays no funding."""
        return channel in self.channels and not (channel == "funding" and instrument.dated)

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """Numbered; each names at most `limits.streams_per_frame` streams. Funding and mark price share a stream."""
        streams: dict[str, list[tuple[AnyChannel, str]]] = {}
        for instrument in instruments:
            for channel in channels:
                if channel in self._streams and self.offers(instrument, channel):
                    stream = self._stream(instrument, channel)
                    streams.setdefault(stream, []).append((channel, instrument.venue_symbol))
        names, size = list(streams), self.limits.streams_per_frame
        return [
            self._request("SUBSCRIBE", part, [asked for name in part for asked in streams[name]])
            for part in (names[at : at + size] for at in range(0, len(names), size))
        ]

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """Leave one stream and join it again, for one that stays silent. A broken book is mended by REST instead."""
        if channel not in self._streams or not self.offers(instrument, channel):
            return []
        name = self._stream(instrument, channel)
        return [
            self._request("UNSUBSCRIBE", [name], []),
            self._request("SUBSCRIBE", [name], [(channel, instrument.venue_symbol)]),
        ]

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect. The byte after the first @ is the stream's kind, so that the hot streams are decoded once."""
        if (quote := self._read_quote(frame, received_ns)) is not None:
            return (quote,)
        if (trade := self._read_trade(frame, received_ns)) is not None:
            return (trade,)
        at = frame.find(b"@") + 1
        kind = frame[at : at + 1]
        try:
            if kind == b"b":
                return self._quote(decode_book_ticker(frame).payload, received_ns)
            if kind == b"d":
                return self._book(decode_tagged(frame).payload, frame[at : frame.find(b'"', at)], received_ns)
            if kind in TAGGED:
                return self._tagged(decode_tagged(frame).payload, received_ns)
        except UNREADABLE:
            pass  # the guess was wrong, or the frame is: below it is read with patience
        try:
            return self._uncommon(frame, received_ns)
        except UNREADABLE as error:
            raise BadFrameError(why_unreadable(frame)) from error

    def _forget(self) -> None:
        self._read_quote = reader(self.quote_form, self._bound, Quote)
        self._told_so: dict[str, Instrument] = {}  # whose trades are of that form
        self._read_trade = reader(self.trade_form, self._told_so, Trade)
        self.usual = (self._read_quote, self._read_trade)
        self._book_streams: dict[str, bytes] = {}
        self._trade_forms: dict[str, type] = {}
        self._changing: set[str] = set()

    def _stream(self, instrument: Instrument, channel: AnyChannel) -> str:
        return f"{instrument.venue_symbol.lower()}@{self._streams[channel]}"

    def _request(self, method: str, names: Sequence[str], asked: list[tuple[AnyChannel, str]]) -> str:
        """Remembers what was asked until it is answered; of what is never answered, the oldest go first."""
        number = next(self._numbers)
        self._asked[number] = asked
        if len(self._asked) > _UNANSWERED_MAX:
            del self._asked[next(iter(self._asked))]
        request = {"method": method, "params": names, "id": number}
        return json.dumps(request, separators=(",", ":"), ensure_ascii=False)

    def _quote(self, ticker: BookTicker, received_ns: int) -> Sequence[Quote]:
        """A market with an empty side has no quote. What told.quote_of does, in place: nothing comes more often."""
        instrument, bid, bid_size, ask, ask_size = (
            self._bound[ticker.symbol], ticker.bid, ticker.bid_size, ticker.ask, ticker.ask_size,
        )  # fmt: skip
        told = quote_told(bid, bid_size, ask, ask_size)
        if told is None:
            if has_empty_side(bid, bid_size, ask, ask_size):
                return ()
            raise BadFrameError("bad_number")
        text, bid_price, ask_price = told
        time_ns = ticker.time_ms * 1_000_000
        return (Quote(instrument, bid_price, ask_price, text, ticker.update_id, time_ns, received_ns),)

    def _book(self, payload: Tagged, stream: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """`depth20@100ms` tells twenty levels, which the futures number as if they were changes: not the book."""
        if stream[len(_DEPTH) :][:1].isdigit():
            raise BadFrameError("unknown_channel")
        if not isinstance(payload, Depth):
            return self._tagged(payload, received_ns)
        delta = self._delta(payload, received_ns)
        return (delta,) if self._book_streams.setdefault(payload.symbol, stream) == stream else ()

    def _tagged(self, payload: Tagged, received_ns: int) -> Sequence[VenueEvent]:
        match payload:
            case TradeTold() | AggTrade():
                trade, form = self._trade(payload, received_ns), type(payload)
                if trade is None:
                    return ()
                return (trade,) if self._is_first_form(payload.symbol, form) else ()
            case Depth():
                return (self._delta(payload, received_ns),)
            case Kline():
                return (self._candle(payload, received_ns),)
            case MarkPriceUpdate():
                return self._valuation(payload, received_ns)
            case ForceOrder():
                return (self._liquidation(payload, received_ns),)

    def _trade(self, trade: TradeTold | AggTrade, received_ns: int) -> Trade | None:
        """m says whether the buyer was the maker; then the taker sold. None of what is no trade.

        The futures' undocumented stream of single trades spends an id now and then on price 0, quantity 0 and X "NA".
        """
        instrument, side = self._bound[trade.symbol], _TAKERS[trade.buyer_is_maker]
        price, quantity, time_ns = trade.price, trade.quantity, trade.time_ms * 1_000_000
        try:
            return trade_of(instrument, str(trade.trade_id), side, price, quantity, time_ns, received_ns)
        except BadFrameError:
            if not (price + quantity).strip("0."):
                return None
            raise

    def _is_first_form(self, venue_symbol: str, form: type) -> bool:
        """Of trades told singly and aggregated only what came first is read."""
        if self._trade_forms.setdefault(venue_symbol, form) is not form:
            return False
        if form is self.trade_told:
            self._told_so.setdefault(venue_symbol, self._bound[venue_symbol])
        return True

    def _delta(self, depth: Depth, received_ns: int) -> BookDelta:
        """A message that should be linked to the one before and isn't can't be put in its place."""
        check_levels(depth.bids)
        check_levels(depth.asks)
        if depth.previous < 0 and self._rule.numbering == "links":
            raise BadFrameError("malformed")
        return BookDelta(
            self._bound[depth.symbol],
            depth.bids,
            depth.asks,
            depth.first,
            depth.last,
            None,
            (depth.matched_ms or depth.time_ms) * 1_000_000,
            received_ns,
            depth.previous,
            self._rule,
        )

    def _candle(self, kline: Kline, received_ns: int) -> VenueCandle:
        bar = kline.bar
        if bar.interval not in TIMEFRAMES:
            raise BadFrameError("unknown_channel")
        return candle_of(
            self._bound[kline.symbol],
            bar.interval,
            bar.open_time_ms * 1_000_000,
            (bar.open, bar.high, bar.low, bar.close),
            bar.volume,
            bar.closed,
            kline.time_ms * 1_000_000,
            received_ns,
        )

    def _valuation(self, update: MarkPriceUpdate, received_ns: int) -> Sequence[VenueEvent]:
        """Mark and index price always, the funding rate where the contract has one."""
        instrument, time_ns = self._bound[update.symbol], update.time_ms * 1_000_000
        index = price_of(update.index) if update.index.strip("0.") else ""
        mark = MarkPrice(instrument, price_of(update.mark), index, time_ns, received_ns)
        if not update.rate:
            return (mark,)
        return (mark, Funding(instrument, rate_of(update.rate), update.next_time_ms * 1_000_000, time_ns, received_ns))

    def _liquidation(self, forced: ForceOrder, received_ns: int) -> Liquidation:
        """At the average price of its fills, or at the order's own while it has none."""
        order = forced.order
        price = order.average_price if order.average_price.strip("0.") else order.price
        return liquidation_of(
            self._bound[order.symbol],
            "buy" if order.side == "BUY" else "sell",
            price,
            order.quantity,
            order.time_ms * 1_000_000,
            received_ns,
        )

    def _uncommon(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """Answers to subscriptions, frames without envelope, and envelopes whose stream isn't named first."""
        shape = decode_shape(frame)
        if payload := bytes(shape.data):
            frame, shape = payload, decode_shape(payload)
        if shape.event == "serverShutdown":
            return ()  # the cut that follows speaks for itself
        if shape.event not in (None, "bookTicker"):
            told = decode_bare_tagged(frame)
            if isinstance(told, Depth) and self._is_partial(told):
                raise BadFrameError("unknown_channel")
            return self._tagged(told, received_ns)
        if shape.update_id is not None:
            return self._quote(decode_bare_book_ticker(frame), received_ns)
        if shape.error is not None or shape.code is not None:
            return self._answered(shape, False, shape.error.msg if shape.error else shape.msg)
        if shape.request_id is not None:
            return self._answered(shape, True, "")
        raise BadFrameError("unknown_channel")

    def _is_partial(self, depth: Depth) -> bool:
        """Whether it is a whole small book (`depth20`), which the futures tell with the very fields of a change.

        Without its stream's name only its shape tells: as many levels on both sides, and none that is gone. A change
        may look so by chance; a stream that ever looked otherwise has changes.
        """
        symbol, bids, asks = depth.symbol, depth.bids, depth.asks
        if symbol in self._changing or self._rule.numbering != "links":
            return False
        if len(bids) == len(asks) in _PARTIAL and all(size.strip("0.") for _, size in (*bids, *asks)):
            return True
        self._changing.add(symbol)
        return False

    def _answered(self, shape: Shape, accepted: bool, reason: str) -> Sequence[VenueEvent]:
        """One acknowledgement for each stream that the frame asked for; one without a name for a frame of others'."""
        number = shape.request_id if type(shape.request_id) is int and 0 <= shape.request_id < 2**63 else None
        if number == _HEARTBEAT_ID:
            return (Heartbeat(),)
        asked = self._asked.pop(number, None) if number is not None else None
        if asked is None:
            return (Ack(accepted, "", "", reason, number or 0),)
        return [Ack(accepted, channel, symbol, reason, number or 0) for channel, symbol in asked]
