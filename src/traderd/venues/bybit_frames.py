"""The forms of Bybit's version 5 websocket frames, spot and contracts alike, and their decoders.

Source: bybit-exchange.github.io/docs/v5, "Websocket Stream: Public" (orderbook, trade, ticker, kline, all liquidation)
and "Connect" (answers and pongs). Every number of the market comes as a text, every time as milliseconds.
Refuses nothing itself: what doesn't fit raises one of `UNREADABLE`.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field

from traderd.core.market import Level, Market
from traderd.venues.numbers import MS_MAX

UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""
Ms = Annotated[int, Meta(ge=0, le=MS_MAX)]
TradeId = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z-]{1,64}\Z")]
"""A UUID for contracts, digits for spot."""
Kind = Literal["snapshot", "delta"]


class Book(Struct, gc=False):
    symbol: str = field(name="s")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    update_id: Annotated[int, Meta(ge=0, le=2**63 - 1)] = field(name="u")


class TradeTold(Struct, gc=False):
    time_ms: Ms = field(name="T")
    symbol: str = field(name="s")
    side: str = field(name="S")
    quantity: str = field(name="v")
    price: str = field(name="p")
    trade_id: TradeId = field(name="i")


class Ticker(Struct, gc=False, rename="camel"):
    """Of a contract's delta only what changed; what isn't there, or is "", is told nothing about."""

    symbol: str
    mark_price: str = ""
    index_price: str = ""
    open_interest: str = ""
    """Long and short counted: twice the contracts that are open."""
    single_open_interest: str = ""
    funding_rate: str = ""
    next_funding_time: str = ""


class Bar(Struct, gc=False):
    start_ms: Ms = field(name="start")
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    confirm: bool


class Forced(Struct, gc=False):
    time_ms: Ms = field(name="T")
    symbol: str = field(name="s")
    side: str = field(name="S")
    quantity: str = field(name="v")
    price: str = field(name="p")


class BookFrame(Struct, gc=False):
    word: ClassVar[str] = "orderbook."
    topic: str
    kind: Kind = field(name="type")
    data: Book
    sent_ms: Ms = field(name="ts")
    matched_ms: Ms = field(name="cts", default=0)


class TradesFrame(Struct, gc=False):
    word: ClassVar[str] = "publicTrade."
    topic: str
    data: list[TradeTold]


class TickerFrame(Struct, gc=False):
    word: ClassVar[str] = "tickers."
    topic: str
    kind: Kind = field(name="type")
    data: Ticker
    sent_ms: Ms = field(name="ts")


class BarsFrame(Struct, gc=False):
    word: ClassVar[str] = "kline."
    topic: str
    data: list[Bar]
    sent_ms: Ms = field(name="ts")


class ForcedFrame(Struct, gc=False):
    word: ClassVar[str] = "allLiquidation."
    topic: str
    data: list[Forced]


class Answer(Struct):
    """Any frame: which topic's it is, or else what it answers."""

    topic: str | None = None
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


def market_told(frame: bytes) -> Market | None:
    """Of which market a frame must be; None where it could be of another just as well. Reads no frame wholly.

    Inverse are the contracts in plain dollars; only contracts have a funding rate, liquidations and trades named by a
    UUID, and only spot's trades are numbered.
    """
    if _is_inverse(frame):
        return "inverse"
    if _is_contract(frame):
        return "linear"
    return "spot" if _is_spot(frame) else None


_is_inverse = re.compile(rb'"topic": ?"[A-Za-z]+\.(?:[0-9]+\.)?[A-Z0-9]+USD(?:[FGHJKMNQUVXZ][0-9]{2})?"').search
_is_contract = re.compile(rb'"topic": ?"allLiquidation\.|"fundingRate":|"i": ?"[0-9a-f]{8}-').search
_is_spot = re.compile(rb'"i": ?"[0-9]+"').search

Told = BookFrame | TradesFrame | TickerFrame | BarsFrame | ForcedFrame

decode_answer = msgspec.json.Decoder(Answer).decode
_FRAMES: tuple[type[Told], ...] = (BookFrame, TradesFrame, TickerFrame, BarsFrame, ForcedFrame)
DECODERS: dict[str, Any] = {each.word: msgspec.json.Decoder(each).decode for each in _FRAMES}
"""By the topic's first word with its dot."""
GUESSES: dict[bytes, Any] = {word[0].encode(): decode for word, decode in DECODERS.items()}
"""By its first letter."""
