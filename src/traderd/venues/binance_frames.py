"""The forms of Binance's websocket frames, spot and futures alike, and their decoders.

Sources: "Web Socket Streams for Binance" (github.com/binance/binance-spot-api-docs) and "Websocket Market Streams" of
USD-M and COIN-M futures (developers.binance.com/docs/derivatives). A futures frame has some fields more than its spot
sister (T, the matching engine's time; pu, the last update id of the message before), so one form serves both.
Refuses nothing itself: what doesn't fit raises one of `UNREADABLE`.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from traderd.core.market import Level, Market
from traderd.venues.numbers import MS_MAX

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Ms = Annotated[int, Meta(ge=0, le=MS_MAX)]


class BookTicker(Struct, gc=False):
    update_id: Id = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")
    time_ms: Ms = field(name="T", default=0)
    """Futures only."""


class TradeTold(Struct, gc=False, tag_field="e", tag="trade"):
    symbol: str = field(name="s")
    trade_id: Id = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    time_ms: Ms = field(name="T")
    buyer_is_maker: bool = field(name="m")


class AggTrade(Struct, gc=False, tag_field="e", tag="aggTrade"):
    symbol: str = field(name="s")
    trade_id: Id = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    time_ms: Ms = field(name="T")
    buyer_is_maker: bool = field(name="m")


class Depth(Struct, gc=False, tag_field="e", tag="depthUpdate"):
    time_ms: Ms = field(name="E")
    symbol: str = field(name="s")
    first: Id = field(name="U")
    last: Id = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    matched_ms: Ms = field(name="T", default=0)
    previous: Id = field(name="pu", default=-1)


class KlineBar(Struct, gc=False):
    open_time_ms: Ms = field(name="t")
    interval: str = field(name="i")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: str = field(name="v")
    closed: bool = field(name="x")


class Kline(Struct, gc=False, tag_field="e", tag="kline"):
    time_ms: Ms = field(name="E")
    symbol: str = field(name="s")
    bar: KlineBar = field(name="k")


class MarkPriceUpdate(Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    time_ms: Ms = field(name="E")
    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: str = field(name="i", default="")
    rate: str = field(name="r", default="")
    """"" for contracts that expire."""
    next_time_ms: Ms = field(name="T", default=0)


class LiquidationOrder(Struct, gc=False):
    symbol: str = field(name="s")
    side: Literal["BUY", "SELL"] = field(name="S")
    quantity: str = field(name="q")
    price: str = field(name="p")
    time_ms: Ms = field(name="T")
    average_price: str = field(name="ap", default="")


class ForceOrder(Struct, gc=False, tag_field="e", tag="forceOrder"):
    order: LiquidationOrder = field(name="o")


Tagged = TradeTold | AggTrade | Depth | Kline | MarkPriceUpdate | ForceOrder
KNOWN_EVENTS = frozenset(
    {"bookTicker", "trade", "aggTrade", "depthUpdate", "kline", "markPriceUpdate", "forceOrder", "serverShutdown", None}
)


SPOT_QUOTE = (
    '{"stream":"<name>@bookTicker","data":{"u":<sequence>,"s":"<symbol>",'
    '"b":"<bid>","B":"<bid_size>","a":"<ask>","A":"<ask_size>"}}'
)
SPOT_TRADE = (
    '{"stream":"<name>@trade","data":{"e":"trade","E":<number>,"s":"<symbol>","t":<trade_id>,'
    '"p":"<price>","q":"<quantity>","T":<time_ms>,"m":<buyer_is_maker>,"M":true}}'
)
FUTURES_QUOTE = (
    '{"stream":"<name>@bookTicker","data":{"e":"bookTicker","u":<sequence>,"s":"<symbol>","ps":"<name>",'
    '"b":"<bid>","B":"<bid_size>","a":"<ask>","A":"<ask_size>","T":<time_ms>,"E":<number>,"st":<number>}}'
)
LINEAR_TRADE = (
    '{"stream":"<name>@aggTrade","data":{"e":"aggTrade","E":<number>,"a":<trade_id>,"s":"<symbol>","p":"<price>",'
    '"q":"<quantity>","nq":"<name>","f":<number>,"l":<number>,"T":<time_ms>,"m":<buyer_is_maker>,"st":<number>}}'
)
"""As the venue has sent them in September 2026 (see venues.forms); of COIN-M's trades no recording is at hand."""


class _BookTickerEnvelope(Struct, gc=False):
    payload: BookTicker = field(name="data")


class _TaggedEnvelope(Struct, gc=False):
    payload: Tagged = field(name="data")


class Fault(Struct):
    msg: str = ""


class Shape(Struct):
    """Just enough of any frame to see what it is."""

    data: Raw = Raw()
    event: str | None = field(name="e", default=None)
    update_id: Any = field(name="u", default=None)
    request_id: Any = field(name="id", default=None)
    error: Fault | None = None
    code: int | None = None
    msg: str = ""


decode_book_ticker = msgspec.json.Decoder(_BookTickerEnvelope).decode
decode_tagged = msgspec.json.Decoder(_TaggedEnvelope).decode
decode_bare_book_ticker = msgspec.json.Decoder(BookTicker).decode
decode_bare_tagged = msgspec.json.Decoder(Tagged).decode
decode_shape = msgspec.json.Decoder(Shape).decode
_decode_list = msgspec.json.Decoder(list[Shape]).decode

_is_coin_margined = re.compile(rb'"s": ?"[A-Z0-9]+USD_(?:PERP|[0-9]{6})"').search
_is_futures = re.compile(rb'"(?:pu|X|ps|st|nq)": ?["0-9]|"e": ?"(?:bookTicker|markPriceUpdate|forceOrder)"').search
_is_spot = re.compile(rb'"e": ?"(?:trade|aggTrade)".*"M":').search

UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
TAGGED = frozenset({b"t", b"a", b"d", b"k", b"m", b"f"})
"""First letters of the streams trade, aggTrade, depth, kline, markPrice and forceOrder."""


def why_unreadable(frame: bytes) -> str:
    """A well-formed event of a kind that we don't know, or a list (`!ticker@arr`), is a stream nobody asked for."""
    payload = frame
    try:
        shape = decode_shape(frame)
        if payload := bytes(shape.data):
            shape = decode_shape(payload)
    except UNREADABLE:
        return "unknown_channel" if _is_list(payload) else "malformed"
    return "malformed" if shape.event in KNOWN_EVENTS else "unknown_channel"


def market_told(frame: bytes) -> Market | None:
    """Of which market a frame must be; None where it could be of another just as well. Reads no frame wholly.

    Only the futures link a depth message to the one before (pu), say how a trade came about (X) and what of it wasn't
    retail's (nq), name the pair (ps) and the kind of contract (st), and have marks and liquidations; only COIN-M trades
    in `BTCUSD_PERP`; only spot's trades have an M. (Until 2026 only COIN-M named the pair.)
    """
    if _is_coin_margined(frame):
        return "inverse"
    if _is_futures(frame):
        return "linear"
    return "spot" if _is_spot(frame) else None


def _is_list(payload: bytes) -> bool:
    """Of events, one at least."""
    try:
        return any(each.event for each in _decode_list(payload))
    except UNREADABLE:
        return False
