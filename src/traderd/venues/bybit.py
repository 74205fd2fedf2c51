"""Bybit's version 5: the public websocket of spot, linear and inverse markets; the REST is in `bybit_rest`.

Sources: bybit-exchange.github.io/docs/v5, "Connect" and "Websocket Stream: Public"; "Rate Limit Rules".
The same topic means another market on another address, so a dialect speaks of one market only.
The best bid and ask are those of orderbook.1 (every 10 ms): the tickers (every 50 or 100 ms) don't tell them for spot.
A book's messages are numbered without a hole; a snapshot, or a message numbered 1, begins it anew.

Some messages tell only what changed since the one before, so what they leave out is remembered per symbol; a snapshot
brings everything anew and `bind` forgets everything. Refuses with a BadFrameError what isn't the protocol.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    BookDelta,
    BookRule,
    BookSnapshot,
    Funding,
    Instrument,
    Level,
    Liquidation,
    Market,
    MarkPrice,
    OpenInterest,
    Side,
    Trade,
    VenueCandle,
    VenueEvent,
)
from traderd.venues.bindings import Bound
from traderd.venues.bybit_frames import (
    DECODERS,
    GUESSES,
    UNREADABLE,
    Answer,
    Bar,
    BarsFrame,
    BookFrame,
    Forced,
    ForcedFrame,
    TickerFrame,
    Told,
    TradesFrame,
    TradeTold,
    decode_answer,
)
from traderd.venues.bybit_requests import Requests
from traderd.venues.bybit_rest import INTERVALS, SIDES, BybitRest, milliseconds
from traderd.venues.bybit_symbols import instrument_of, venue_symbol_of
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Limits
from traderd.venues.numbers import check_levels
from traderd.venues.told import candle_of, liquidation_of, price_of, quantity_of, quote_of, rate_of, side_of, trade_of

_RULE = BookRule("ranges")
_DEPTHS = (50, 200, 1000)
_TOPICS: dict[AnyChannel, str] = {
    "quote": "orderbook.1",
    "trade": "publicTrade",
    "book": "orderbook.{depth}",
    "candle": "kline.1",
    "funding": "tickers",
    "mark": "tickers",
    "open_interest": "tickers",
    "liquidation": "allLiquidation",
}
_SPOT: frozenset[AnyChannel] = frozenset({"quote", "trade", "book", "candle"})
_TIMEFRAMES = {theirs: ours for ours, theirs in INTERVALS.items()}
_CLOSING: dict[str, Side] = {"Buy": "sell", "Sell": "buy"}
"""Which order ends a position of this side."""
_STREAMS_PER_FRAME = {"spot": 10, "linear": 100, "inverse": 100}
_DEPTH = re.compile(r"orderbook\.([0-9]{1,5})\.").match


class _Top(Struct):
    """The best level of each side as the last message left it."""

    update_id: int
    bid: Level | None
    ask: Level | None


class _Contract(Struct):
    """What a contract's ticker has told since its last snapshot."""

    rate: str = ""
    next_ns: int = 0
    counts_singly: bool = False
    """Open interest is told in contracts too, not only in long and short positions together."""


class Bybit(Bound, BybitRest):
    """The dialect of one market of Bybit."""

    exchange = "bybit"
    live = Endpoint(websocket="wss://stream.bybit.com", rest="https://api.bybit.com")
    heartbeat = Heartbeating(frame='{"op":"ping"}', interval_s=20.0, silence_max_s=30.0)
    """"Send the ping heartbeat packet every 20 seconds"; it is answered."""
    book_resync: Literal["rest", "resubscribe"] = "resubscribe"
    trades_numbered = False

    def __init__(self, market: Market, book_depth: int) -> None:
        """`book_depth` is made the next larger one that the venue offers."""
        self.market = market
        self.channels: frozenset[AnyChannel] = _SPOT if market == "spot" else frozenset(_TOPICS)
        self.limits = Limits(
            streams_per_connection=500,
            frames_per_s=10.0,
            streams_per_frame=_STREAMS_PER_FRAME[market],
            connection_age_s=0.0,
            connects_per_minute=100.0,
        )
        """"Args limits": 21,000 characters a connection, of which the longest topic takes 40; ten topics a frame of
        spot. 500 connections in five minutes. A rate of frames isn't told: it is ours."""
        super().__init__(partial(instrument_of, market))
        self._depth = next((each for each in _DEPTHS if each >= book_depth), _DEPTHS[-1])
        self._requests = Requests()
        self._forget()
        self._sayings: dict[type[Told], Callable[[Any, int], Sequence[VenueEvent]]] = {
            BookFrame: self._book,
            TradesFrame: self._trades,
            TickerFrame: self._ticker,
            BarsFrame: self._candles,
            ForcedFrame: self._liquidations,
        }

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT:USDT` → `BTCUSDT`; see `bybit_symbols`."""
        return venue_symbol_of(symbol, self.market)

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """See Dialect. What is delivered at its date pays no funding."""
        return channel in self.channels and not (channel == "funding" and instrument.dated)

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """One connection carries everything."""
        return [list(channels)]

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """One address for each market."""
        return f"{endpoint.websocket}/v5/public/{self.market}"

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """Numbered. Funding, mark price and open interest share a topic."""
        topics: dict[str, list[tuple[AnyChannel, str]]] = {}
        for instrument in instruments:
            for channel in channels:
                if self.offers(instrument, channel):
                    topic = self._topic(instrument, channel)
                    topics.setdefault(topic, []).append((channel, instrument.venue_symbol))
        names, size = list(topics), self.limits.streams_per_frame
        parts = [names[at : at + size] for at in range(0, len(names), size)]
        return [self._requests.frame("subscribe", {name: topics[name] for name in part}) for part in parts]

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """Unsubscribe and subscribe: the venue answers the second with a snapshot."""
        if not self.offers(instrument, channel):
            return []
        topic = {self._topic(instrument, channel): [(channel, instrument.venue_symbol)]}
        return [self._requests.frame(op, topic) for op in ("unsubscribe", "subscribe")]

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect. What was told about any instrument is forgotten."""
        super().bind(instruments)
        self._forget()

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect. A frame begins with its topic, whose first letter tells its form."""
        read = GUESSES.get(frame[10:11])
        if read is not None:
            try:
                told = read(frame)
            except UNREADABLE:
                return self._uncommon(frame, received_ns)
            if told.topic.startswith(told.word):
                return self._sayings[type(told)](told, received_ns)
        return self._uncommon(frame, received_ns)

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """None: the websocket sends it."""
        return ""

    def snapshot_symbol(self, url: str) -> str:
        """None: the websocket sends it."""
        return ""

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """Refused: REST's book has the numbers of another depth, so it can't be joined to the stream."""
        raise BadFrameError("refused")

    def _forget(self) -> None:
        self._tops: dict[str, _Top] = {}
        self._contracts: dict[str, _Contract] = {}
        self._book_depths: dict[str, int] = {}

    def _topic(self, instrument: Instrument, channel: AnyChannel) -> str:
        return f"{_TOPICS[channel].format(depth=self._depth)}.{instrument.venue_symbol}"

    def _book(self, told: BookFrame, received_ns: int) -> Sequence[VenueEvent]:
        match = _DEPTH(told.topic)
        if match is None:
            raise BadFrameError("unknown_channel")
        instrument, book = self._bound[told.data.symbol], told.data
        depth, time_ns = int(match[1]), (told.matched_ms or told.sent_ms) * 1_000_000
        begins = told.kind == "snapshot" or book.update_id == 1
        if depth == 1:
            return self._quote(told, begins, instrument, time_ns, received_ns)
        known = self._book_depths.get(book.symbol, 0)
        if depth < known or (known and depth > known and not begins):
            return ()  # another depth's numbers are its own: of several that began the deepest is the book
        check_levels(book.bids)
        check_levels(book.asks)
        if not begins:
            u = book.update_id
            return (BookDelta(instrument, book.bids, book.asks, u, u, None, time_ns, received_ns, rule=_RULE),)
        self._book_depths[book.symbol] = depth
        return (
            BookSnapshot(
                instrument, book.bids, book.asks, book.update_id, None, time_ns, received_ns, depth=depth, rule=_RULE
            ),
        )

    def _quote(
        self, told: BookFrame, begins: bool, instrument: Instrument, time_ns: int, received_ns: int
    ) -> Sequence[VenueEvent]:
        """None while a side is empty. After a hole in the numbers none until a snapshot tells both sides."""
        book = told.data
        top = self._tops.get(book.symbol)
        if begins:
            top = _Top(book.update_id, _best(book.bids, None), _best(book.asks, None))
        elif top is None or book.update_id != top.update_id + 1:
            self._tops.pop(book.symbol, None)
            return ()
        else:
            top = _Top(book.update_id, _best(book.bids, top.bid), _best(book.asks, top.ask))
        if top.bid is None or top.ask is None:
            check_levels([level for level in (top.bid, top.ask) if level is not None])
            self._tops[book.symbol] = top
            return ()
        (bid, bid_size), (ask, ask_size) = top.bid, top.ask
        quote = quote_of(instrument, bid, bid_size, ask, ask_size, book.update_id, time_ns, received_ns)
        self._tops[book.symbol] = top
        return (quote,)

    def _trades(self, told: TradesFrame, received_ns: int) -> Sequence[VenueEvent]:
        return [self._trade(trade, received_ns) for trade in told.data]

    def _trade(self, trade: TradeTold, received_ns: int) -> Trade:
        """The side is the taker's."""
        instrument, side = self._bound[trade.symbol], side_of(trade.side, SIDES)
        time_ns = trade.time_ms * 1_000_000
        return trade_of(instrument, trade.trade_id, side, trade.price, trade.quantity, time_ns, received_ns)

    def _ticker(self, told: TickerFrame, received_ns: int) -> Sequence[VenueEvent]:
        """Spot's tell nothing of this."""
        ticker, time_ns = told.data, told.sent_ms * 1_000_000
        instrument = self._bound[ticker.symbol]
        known = self._contracts.get(ticker.symbol) if told.kind == "delta" else None
        known = known or _Contract()
        mark, index = _not_zero(ticker.mark_price), _not_zero(ticker.index_price)
        rate, next_ns = ticker.funding_rate, milliseconds(ticker.next_funding_time) * 1_000_000
        singly = known.counts_singly or bool(ticker.single_open_interest)
        interest = ticker.single_open_interest if singly else ticker.open_interest
        _check(mark, index, rate, interest)
        now = self._contracts[ticker.symbol] = _Contract(rate or known.rate, next_ns or known.next_ns, singly)
        events: list[VenueEvent] = []
        if mark or index:
            events.append(MarkPrice(instrument, mark, index, time_ns, received_ns))
        if now.rate and (rate or next_ns):
            events.append(Funding(instrument, now.rate, now.next_ns, time_ns, received_ns))
        if interest:
            events.append(OpenInterest(instrument, interest, time_ns, received_ns))
        return events

    def _candles(self, told: BarsFrame, received_ns: int) -> Sequence[VenueEvent]:
        """The symbol stands in the topic only."""
        instrument = self._bound[told.topic.split(".", 2)[-1]]
        time_ns = told.sent_ms * 1_000_000
        return [_candle(bar, instrument, time_ns, received_ns) for bar in told.data]

    def _liquidations(self, told: ForcedFrame, received_ns: int) -> Sequence[VenueEvent]:
        return [self._liquidation(forced, received_ns) for forced in told.data]

    def _liquidation(self, forced: Forced, received_ns: int) -> Liquidation:
        """The venue tells the position's side ("Buy": a long one was closed) and its bankruptcy price."""
        instrument, side = self._bound[forced.symbol], side_of(forced.side, _CLOSING)
        time_ns = forced.time_ms * 1_000_000
        return liquidation_of(instrument, side, forced.price, forced.quantity, time_ns, received_ns)

    def _uncommon(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """Answers, and frames that don't begin with their topic."""
        try:
            answer: Answer = decode_answer(frame)
            if answer.topic is None:
                return self._requests.answered(answer)
            word = answer.topic.partition(".")[0] + "."
            if word not in DECODERS or (word == BookFrame.word and not _DEPTH(answer.topic)):
                raise BadFrameError("unknown_channel")
            told = DECODERS[word](frame)
        except UNREADABLE as error:
            raise BadFrameError("malformed") from error
        return self._sayings[type(told)](told, received_ns)


def _best(levels: list[Level], known: Level | None) -> Level | None:
    """One side after a message of one level: replaced by what has a quantity, gone if it was taken away."""
    for level in levels:
        if level[1].strip("0."):
            return level
        if known is not None and level[0] == known[0]:
            known = None
    return known


def _not_zero(price: str) -> str:
    return price if price.strip("0.") else ""


def _check(mark: str, index: str, rate: str, interest: str) -> None:
    """What isn't told is "". Raises BadFrameError."""
    for price in filter(None, (mark, index)):
        price_of(price)
    if rate:
        rate_of(rate)
    if interest:
        quantity_of(interest)


def _candle(bar: Bar, instrument: Instrument, time_ns: int, received_ns: int) -> VenueCandle:
    if bar.interval not in _TIMEFRAMES:
        raise BadFrameError("unknown_channel")
    prices = (bar.open, bar.high, bar.low, bar.close)
    open_ns, timeframe = bar.start_ms * 1_000_000, _TIMEFRAMES[bar.interval]
    return candle_of(instrument, timeframe, open_ns, prices, bar.volume, bar.confirm, time_ns, received_ns)
