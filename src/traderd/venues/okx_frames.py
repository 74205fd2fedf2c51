"""The forms of OKX's websocket frames and their decoders.

Source: okx.com/docs-v5, "Order Book Trading", "Public Data" and "WebSocket" (as of 2026-06-27). Times, trade ids and
counts come as texts, sequence ids as numbers: the decoders read either as a number. Prices and quantities are texts
and stay so. Refuses nothing itself: what doesn't fit raises one of `UNREADABLE`.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from traderd.venues.numbers import MS_MAX

T = TypeVar("T")
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
MaybeId = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Ms = Annotated[int, Meta(ge=0, le=MS_MAX)]
Checksum = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]

UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for foreign bytes, deep nesting, broken UTF-8 and numbers beyond all bounds."""


class Arg(Struct, gc=False):
    """What a frame is about."""

    channel: str
    symbol: str = field(name="instId", default="")
    inst_type: str = field(name="instType", default="")


class LevelTold(Struct, gc=False, array_like=True):
    """Price and quantity; behind them stand a deprecated number and how many orders there are."""

    price: str
    quantity: str


class Book(Struct, gc=False):
    asks: list[LevelTold]
    bids: list[LevelTold]
    time_ms: Ms = field(name="ts")
    checksum: Checksum | None = None
    previous: MaybeId = field(name="prevSeqId", default=-1)
    sequence: MaybeId = field(name="seqId", default=-1)


class TradeTold(Struct, gc=False):
    """In `trades` one message may stand for several fills at one price; its id is then the last one's."""

    trade_id: Id = field(name="tradeId")
    price: str = field(name="px")
    quantity: str = field(name="sz")
    side: str
    time_ms: Ms = field(name="ts")
    symbol: str = field(name="instId", default="")


class Ticker(Struct, gc=False):
    """The best prices are "" where a side is empty."""

    bid: str = field(name="bidPx")
    bid_size: str = field(name="bidSz")
    ask: str = field(name="askPx")
    ask_size: str = field(name="askSz")
    time_ms: Ms = field(name="ts")


class Bar(Struct, gc=False, array_like=True):
    open_time_ms: Ms
    open: str
    high: str
    low: str
    close: str
    volume: str
    """Contracts; units of the base currency in spot."""
    volume_currency: str = ""
    volume_quote: str = ""
    confirm: str = ""


class FundingRate(Struct, gc=False):
    rate: str = field(name="fundingRate")
    next_time: str = field(name="fundingTime", default="")
    """When this rate is paid; what the venue calls the next time is the one after."""
    time_ms: Ms = field(name="ts", default=0)


class MarkTold(Struct, gc=False):
    price: str = field(name="markPx")
    time_ms: Ms = field(name="ts")


class IndexTold(Struct, gc=False):
    price: str = field(name="idxPx")
    time_ms: Ms = field(name="ts")


class Interest(Struct, gc=False):
    contracts: str = field(name="oi")
    time_ms: Ms = field(name="ts")


class Forced(Struct, gc=False):
    side: str
    price: str = field(name="bkPx")
    quantity: str = field(name="sz")
    time_ms: Ms = field(name="ts")


class Liquidated(Struct, gc=False):
    symbol: str = field(name="instId")
    details: list[Forced]


class Frame(Struct, Generic[T], gc=False):
    """What every channel sends."""

    arg: Arg
    data: list[T]


class BookFrame(Struct, gc=False):
    arg: Arg
    action: Literal["snapshot", "update"]
    data: list[Book]


class Shape(Struct):
    """Just enough of any frame to see what it is."""

    event: str = ""
    arg: Arg | None = None
    msg: str = ""
    request_id: Any = field(name="id", default=None)

    @property
    def request(self) -> int:
        """The number of the frame that asked; 0 if it doesn't say."""
        told = self.request_id
        return int(told) if isinstance(told, str) and told.isdecimal() and len(told) <= 18 else 0


def _decoder(form: Any) -> Any:
    return msgspec.json.Decoder(form, strict=False).decode


BEST = (
    '{"arg":{"channel":"bbo-tbt","instId":"<symbol>"},"data":[{"asks":[["<ask>","<ask_size>","<number>","<number>"]],'
    '"bids":[["<bid>","<bid_size>","<number>","<number>"]],"ts":"<time_ms>","seqId":<sequence>}]}'
)
"""The form that nearly all quotes have: see venues.forms."""
decode_book = _decoder(BookFrame)
decode_best = _decoder(Frame[Book])
decode_trade = _decoder(Frame[TradeTold])
decode_ticker = _decoder(Frame[Ticker])
decode_bar = _decoder(Frame[Bar])
decode_funding = _decoder(Frame[FundingRate])
decode_mark = _decoder(Frame[MarkTold])
decode_index = _decoder(Frame[IndexTold])
decode_interest = _decoder(Frame[Interest])
decode_liquidation = _decoder(Frame[Liquidated])
decode_shape = _decoder(Shape)
