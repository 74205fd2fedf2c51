"""OKX's websocket v5: spot, perpetual and dated contracts, linear and inverse; the REST is in `okx_rest`.

Source: okx.com/docs-v5, "Order Book Trading", "Public Data", "WebSocket" and the help page "Order Book Channels
Checksum Field Deprecation". The market is in an instrument's name, so one dialect reads them all, over two addresses:
/public has quotes, books and what is told of contracts, /business trades and candles.

* Trades are those of `trades-all`, fill by fill, with the ids that REST has too. The channel `trades` is understood,
  but it puts the fills of one order at one price together, so that healing from REST would store some of them twice.
* Quotes are those of `bbo-tbt`; `tickers` is understood.
* Of several books of one instrument on a connection (`books`, `books-l2-tbt`, `books50-l2-tbt`) the deepest that began
  is the book, and of `trades` and `trades-all` what came first is the tape: each has links and ids of its own.
* Books are those of `books`: a snapshot, then messages each of which names the one before (seqId, prevSeqId). A message
  without levels that names itself is a sign of life; one whose id is lower than the one before's follows all the same:
  the venue counts anew. Since 2026-06-23 the checksum is 0 and says nothing; older recordings have a checksum and no
  ids. The venue has announced that the stream's snapshot will go: one from REST carries the same ids and does as well.
* The index belongs to no contract: its price is told to every contract that it values.

Refuses with a BadFrameError what isn't the protocol.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Literal

from traderd.core.errors import BadFrameError
from traderd.core.market import (
    Ack,
    Funding,
    Heartbeat,
    Instrument,
    Market,
    MarkPrice,
    OpenInterest,
    Quote,
    VenueEvent,
)
from traderd.venues.bindings import Bound
from traderd.venues.dialect import AnyChannel, Endpoint, Heartbeating, Limits
from traderd.venues.forms import reader
from traderd.venues.okx_events import (
    LINKED_SNAPSHOT,
    SUMMED,
    candle_from,
    delta_of,
    liquidation_from,
    ms_of,
    snapshot_of,
    trade_from,
)
from traderd.venues.okx_frames import (
    BEST,
    UNREADABLE,
    Arg,
    Book,
    BookFrame,
    Frame,
    Shape,
    Ticker,
    decode_bar,
    decode_best,
    decode_book,
    decode_funding,
    decode_index,
    decode_interest,
    decode_liquidation,
    decode_mark,
    decode_shape,
    decode_ticker,
    decode_trade,
)
from traderd.venues.okx_rest import BARS, DEPTH, OkxRest
from traderd.venues.okx_symbols import index_of, inst_type_of, instrument_of, venue_symbol_of
from traderd.venues.told import price_of, quantity_of, quote_of, rate_of

_CHANNELS: dict[AnyChannel, str] = {
    "quote": "bbo-tbt",
    "trade": "trades-all",
    "book": "books",
    "candle": "candle1m",
    "funding": "funding-rate",
    "mark": "mark-price",
    "open_interest": "open-interest",
    "liquidation": "liquidation-orders",
}
_SPOT: frozenset[AnyChannel] = frozenset({"quote", "trade", "book", "candle"})
_INDEX = "index-tickers"
_BOOK_DEPTHS = {"books": DEPTH, "books-l2-tbt": DEPTH, "books50-l2-tbt": 50}
_TAPES = ("trades", "trades-all")
_OURS: dict[str, AnyChannel] = {
    **{theirs: ours for ours, theirs in _CHANNELS.items()},
    **{"tickers": "quote", "trades": "trade", "books-l2-tbt": "book", "books50-l2-tbt": "book"},
    **{f"candle{bar}": "candle" for bar, _ in BARS.values()},
}
_BUSINESS: frozenset[AnyChannel] = frozenset({"trade", "candle"})
"""What only the address /business carries."""
_STREAMS_PER_FRAME = 100
"""About 7 KB of the 64 that one request may have."""
_ABOUT = b'{"arg":{"channel":"'
"""How a frame with data begins."""
_named = re.compile(r"channel:([a-zA-Z0-9-]+),(?:instId|instType):([A-Za-z0-9_-]+)").search
"""What a refusal is about is told in its text only."""


class Okx(Bound, OkxRest):
    """The dialect of OKX."""

    exchange = "okx"
    channels: frozenset[AnyChannel]
    """Not every liquidation is told, says the venue, and the price of one is the bankruptcy price."""
    live = Endpoint(websocket="wss://ws.okx.com:8443", rest="https://www.okx.com")
    heartbeat = Heartbeating(frame="ping", interval_s=15.0, silence_max_s=20.0)
    """The venue cuts a link on which it had nothing to say for 30 s; a ping is always answered."""
    limits = Limits(
        streams_per_connection=58,
        frames_per_s=2.0,
        streams_per_frame=_STREAMS_PER_FRAME,
        connection_age_s=0.0,
        connects_per_minute=120.0,
    )
    """Three connects a second; 480 subscriptions an hour and connection, in whatever time. "Less than 30" books a
    connection are recommended, which 58 streams are where each symbol has its quotes beside its book."""
    book_resync: Literal["rest", "resubscribe"] = "rest"
    trades_numbered = False

    def __init__(self, market: Market = "spot") -> None:
        """`market` is what the instruments are meant to be of; the frames of all markets are understood."""
        self.market = market
        self.channels = _SPOT if market == "spot" else frozenset(_CHANNELS)
        super().__init__(self._discovered)
        self._by_index: dict[str, list[Instrument]] = {}
        self._numbers = count(1)
        self._forget()
        self._readers: dict[bytes, Callable[[bytes, int], Sequence[VenueEvent]]] = {
            b"bbo-tbt": self._best,
            b"tickers": self._ticker,
            b"funding-rate": self._funding,
            b"mark-price": self._mark,
            _INDEX.encode(): self._index,
            b"open-interest": self._interest,
            b"liquidation-orders": self._liquidations,
            **{name.encode(): partial(self._trades, name) for name in _TAPES},
            **{name.encode(): partial(self._book, name) for name in _BOOK_DEPTHS},
            **{f"candle{bar}".encode(): partial(self._candles, ours) for ours, (bar, _) in BARS.items()},
        }

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT:USDT` → `BTC-USDT-SWAP`."""
        return venue_symbol_of(symbol)

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """See Dialect. By the instrument's own market; what is delivered at its date pays no funding."""
        offered = _SPOT if instrument.market == "spot" else _CHANNELS
        return channel in offered and not (channel == "funding" and instrument.dated)

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """Which channels can share a connection: those of /public and those of /business."""
        public = [channel for channel in channels if channel not in _BUSINESS]
        return [group for group in (public, [channel for channel in channels if channel in _BUSINESS]) if group]

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """Raises ValueError for channels that can't share a connection."""
        groups = self.by_connection(channels)
        if len(groups) > 1:
            raise ValueError(f"{', '.join(channels)} can't share a connection")
        return f"{endpoint.websocket}/ws/v5/{'business' if groups and groups[0][0] in _BUSINESS else 'public'}"

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """Numbered; each names at most a hundred streams. An index and the liquidations are many contracts' stream."""
        asked = ((each, channel) for each in instruments for channel in channels if self.offers(each, channel))
        names = list(dict.fromkeys(stream for each, channel in asked for stream in _streams(each, channel)))
        size = _STREAMS_PER_FRAME
        return [self._request("subscribe", names[at : at + size]) for at in range(0, len(names), size)]

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """Leave a stream and join it again: a book begins with a snapshot then."""
        if not self.offers(instrument, channel):
            return []
        names = _streams(instrument, channel)
        return [self._request(operation, names) for operation in ("unsubscribe", "subscribe")]

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """See Dialect."""
        super().bind(instruments)
        self._forget()
        self._by_index.clear()
        for instrument in instruments:
            self._note(instrument)

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """See Dialect. The channel is found before the frame is decoded, so that it is decoded once."""
        try:
            if frame.startswith(_ABOUT):
                begin = len(_ABOUT)
                read = self._readers.get(frame[begin : frame.find(b'"', begin)])
                if read is not None:
                    return read(frame, received_ns)
            return (Heartbeat(),) if frame == b"pong" else self._uncommon(frame, received_ns)
        except UNREADABLE as error:
            raise BadFrameError("malformed") from error

    def _forget(self) -> None:
        self._read_best = reader(BEST, self._bound, Quote)
        self.usual = (self._read_best,)
        self._book_channels: dict[str, str] = {}
        self._tapes: dict[str, str] = {}

    def _request(self, operation: str, names: Sequence[str]) -> str:
        return f'{{"id":"{next(self._numbers)}","op":"{operation}","args":[{",".join(names)}]}}'

    def _discovered(self, venue_symbol: str, index: int) -> Instrument:
        made = instrument_of(venue_symbol, index)
        self._note(made)
        return made

    def _note(self, instrument: Instrument) -> None:
        if instrument.market != "spot":
            self._by_index.setdefault(index_of(instrument), []).append(instrument)

    def _best(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """A side that is empty is no quote."""
        if (quote := self._read_best(frame, received_ns)) is not None:
            return (quote,)
        told: Frame[Book] = decode_best(frame)
        instrument, quotes = self._bound[told.arg.symbol], []
        for book in told.data:
            if book.bids and book.asks:
                bid, ask, sequence = book.bids[0], book.asks[0], book.sequence
                texts = (bid.price, bid.quantity, ask.price, ask.quantity)
                quotes.append(quote_of(instrument, *texts, sequence, book.time_ms * 1_000_000, received_ns))
        return quotes

    def _ticker(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """As `_best`; tickers aren't numbered."""
        told: Frame[Ticker] = decode_ticker(frame)
        instrument = self._bound[told.arg.symbol]
        return [
            quote_of(instrument, *_best_of(each), -1, each.time_ms * 1_000_000, received_ns)
            for each in told.data
            if each.bid and each.ask
        ]

    def _trades(self, channel: str, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        told = decode_trade(frame)
        instrument = self._bound[told.arg.symbol]
        if self._tapes.setdefault(told.arg.symbol, channel) != channel:
            return ()
        return [trade_from(each, instrument, received_ns) for each in told.data]

    def _book(self, channel: str, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        told: BookFrame = decode_book(frame)
        symbol, depth = told.arg.symbol, _BOOK_DEPTHS[channel]
        instrument, known = self._bound[symbol], self._book_channels.get(symbol, channel)
        if known != channel and (told.action == "update" or depth <= _BOOK_DEPTHS[known]):
            return ()
        self._book_channels[symbol] = channel
        if told.action == "update":
            return [delta_of(book, instrument, received_ns) for book in told.data]
        return [
            snapshot_of(book, instrument, depth, LINKED_SNAPSHOT if book.sequence >= 0 else SUMMED, received_ns)
            for book in told.data
        ]

    def _candles(self, timeframe: str, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        told = decode_bar(frame)
        instrument = self._bound[told.arg.symbol]
        return [candle_from(bar, instrument, timeframe, received_ns) for bar in told.data]

    def _funding(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """A contract that isn't traded yet has no rate."""
        told = decode_funding(frame)
        instrument, events = self._bound[told.arg.symbol], []
        for each in told.data:
            if each.rate:
                next_ns, time_ns = ms_of(each.next_time) * 1_000_000, each.time_ms * 1_000_000
                events.append(Funding(instrument, rate_of(each.rate), next_ns, time_ns, received_ns))
        return events

    def _mark(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        told = decode_mark(frame)
        instrument = self._bound[told.arg.symbol]
        return [
            MarkPrice(instrument, price_of(each.price), "", each.time_ms * 1_000_000, received_ns) for each in told.data
        ]

    def _index(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """To every contract that the index values; to none that nobody bound."""
        told = decode_index(frame)
        return [
            MarkPrice(instrument, "", price_of(each.price), each.time_ms * 1_000_000, received_ns)
            for each in told.data
            for instrument in self._by_index.get(told.arg.symbol, ())
        ]

    def _interest(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        told = decode_interest(frame)
        instrument, events = self._bound[told.arg.symbol], []
        for each in told.data:
            contracts, time_ns = quantity_of(each.contracts), each.time_ms * 1_000_000
            events.append(OpenInterest(instrument, contracts, time_ns, received_ns))
        return events

    def _liquidations(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """The stream is a whole market's: contracts that nobody bound are passed over."""
        return [
            liquidation_from(forced, self._bound[each.symbol], received_ns)
            for each in decode_liquidation(frame).data
            if self._bound.discovering or each.symbol in self._bound
            for forced in each.details
        ]

    def _uncommon(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """Answers to subscriptions, and frames whose fields stand in another order."""
        shape: Shape = decode_shape(frame)
        if shape.event:
            return self._answer(shape)
        read = self._readers.get(shape.arg.channel.encode()) if shape.arg else None
        if read is None:
            raise BadFrameError("unknown_channel")
        return read(frame, received_ns)

    def _answer(self, shape: Shape) -> Sequence[VenueEvent]:
        """A notice foretells a cut, which speaks for itself; a granted unsubscription is no news."""
        match shape.event:
            case "subscribe":
                return self._acks(True, shape.arg or Arg(""), "", shape.request)
            case "error":
                named = _named(shape.msg)
                about = shape.arg or (Arg(named[1], named[2]) if named else Arg(""))
                return self._acks(False, about, shape.msg or "refused", shape.request)
            case "unsubscribe":
                self._leave(shape.arg or Arg(""))
                return ()
            case "notice" | "channel-conn-count":
                return ()
            case _:
                raise BadFrameError("unknown_channel")

    def _leave(self, about: Arg) -> None:
        """Another channel may tell the same from now on."""
        for chosen in (self._book_channels, self._tapes):
            if chosen.get(about.symbol) == about.channel:
                del chosen[about.symbol]

    def _acks(self, accepted: bool, about: Arg, reason: str, request: int) -> Sequence[VenueEvent]:
        """Liquidations are acknowledged to every contract of their type; the index goes without saying if granted."""
        if about.channel == _INDEX:
            return () if accepted else (Ack(False, "", "", reason, request),)
        channel, symbols = _OURS.get(about.channel, ""), [about.symbol]
        if channel == "liquidation":
            inst_type = about.inst_type or about.symbol
            contracts = [each for each in self._bound.values() if inst_type_of(each.symbol) == inst_type]
            symbols = [each.venue_symbol for each in contracts] or [""]
        return [Ack(accepted, channel, symbol, reason, request) for symbol in symbols]


def _best_of(ticker: Ticker) -> tuple[str, str, str, str]:
    return ticker.bid, ticker.bid_size, ticker.ask, ticker.ask_size


def _streams(instrument: Instrument, channel: AnyChannel) -> list[str]:
    """The arguments by which one channel of one instrument is asked for, as JSON."""
    arg: dict[str, Any] = {"channel": _CHANNELS[channel], "instId": instrument.venue_symbol}
    args = [arg]
    if channel == "mark":
        args.append({"channel": _INDEX, "instId": index_of(instrument)})
    if channel == "liquidation":
        args = [{"channel": _CHANNELS[channel], "instType": inst_type_of(instrument.symbol)}]
    return [json.dumps(each, separators=(",", ":")) for each in args]
