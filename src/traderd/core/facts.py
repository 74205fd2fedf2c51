"""What must be remembered: the records of the fact journal, and so of the database's business tables.

Each is one row's worth of truth under a natural key made of text, so that writing it again changes nothing. What we own
or owe is `Decimal`. Times are integer nanoseconds since the epoch, UTC; 0 stands for "not yet".
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from traderd.core.market import Side

OrderStatus = Literal["pending", "open", "partially_filled", "filled", "cancelled", "rejected", "expired", "unknown"]
OrderType = Literal["market", "limit"]
SignalType = Literal["LONG", "SHORT", "EXIT_LONG", "EXIT_SHORT"]
Severity = Literal["info", "warning", "error", "critical"]
Environment = Literal["paper", "live"]
GapStatus = Literal["open", "closed", "healed", "unhealable"]


class Candle(Struct, frozen=True, gc=False, tag="candle"):
    """One closed bar. Key: exchange, symbol, timeframe, open_time_ns.

    Its figures are exact decimal texts, as a tick's are: most are only stored, and who computes takes floats of them.
    """

    exchange: str
    symbol: str
    timeframe: str
    """`1s`, `1m`, …"""
    open_time_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades_count: int
    bid: str | None = None
    """The newest quote when the bar was closed, and its sizes; None where there was none."""
    ask: str | None = None
    bid_size: str | None = None
    ask_size: str | None = None
    has_gap: bool = False
    """Trades of its time may be missing in it."""
    differs: bool = False
    """The venue's own candle of its time has other figures, though none of its trades is known to be missing."""


class Indicator(Struct, frozen=True, tag="indicator"):
    """What a strategy measured on one closed candle. Key: exchange, symbol, timeframe, name, time_ns."""

    exchange: str
    symbol: str
    timeframe: str
    time_ns: int
    """The candle's open time."""
    name: str
    """`EMA_9`, …"""
    value: Decimal
    """The shortest decimal that is the float: an indicator is a measurement and no money."""


class Signal(Struct, frozen=True, tag="signal"):
    """A strategy's opinion. Key: signal_id."""

    signal_id: str
    """`{run}-s{n}`"""
    time_ns: int
    strategy: str
    exchange: str
    symbol: str
    signal_type: SignalType
    strength: float
    """0 to 1."""
    confidence: float
    """0 to 1."""
    price: float
    """Reference price at the moment of the signal."""
    reason: str
    """One sentence with the figures that made it."""
    expires_ns: int = 0
    """When the next candle may say something else; 0 where nobody knows, as with bars of trades."""


class Order(Struct, frozen=True, tag="order"):
    """An order's whole state at `updated_ns`; the newest wins. Key: client_order_id."""

    client_order_id: str
    """`{run}-o{n}`"""
    portfolio: str
    strategy: str
    signal_id: str
    exchange: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None
    """Limit price; None for a market order."""
    status: OrderStatus
    environment: Environment
    created_ns: int
    updated_ns: int
    exchange_order_id: str = ""
    filled_quantity: Decimal = Decimal(0)
    average_fill_price: Decimal | None = None
    fee: Decimal = Decimal(0)
    fee_currency: str = ""
    submitted_ns: int = 0
    filled_ns: int = 0
    cancelled_ns: int = 0
    reason: str = ""
    """Why it was refused, rejected or cancelled."""


class Execution(Struct, frozen=True, tag="execution"):
    """One fill as the exchange reported it. Key: execution_id."""

    execution_id: str
    client_order_id: str
    portfolio: str
    strategy: str
    exchange: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    realized_pnl: Decimal
    """What this fill realised, after its fee, in the quote currency; 0 for an opening fill but for its fee."""
    environment: Environment
    time_ns: int
    exchange_trade_id: str = ""
    """The exchange's own id of the trade; "" where it tells none."""


class Position(Struct, frozen=True, tag="position"):
    """A position's whole state. Key: portfolio, exchange, symbol. Quantity is signed; 0 is flat."""

    portfolio: str
    exchange: str
    symbol: str
    quantity: Decimal
    entry_price: Decimal
    """Average, in the quote currency; 0 when flat."""
    current_price: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    strategy: str
    opened_ns: int
    updated_ns: int


class Equity(Struct, frozen=True, tag="equity"):
    """A portfolio's value at a moment. Key: portfolio, time_ns."""

    portfolio: str
    time_ns: int
    equity: Decimal
    """Cash plus positions at market: unrealised profit and loss is in it."""
    cash: Decimal
    positions_value: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    fees: Decimal
    peak_equity: Decimal
    drawdown: Decimal
    """peak_equity - equity, never negative."""
    initial_cash: Decimal
    base_currency: str
    environment: Environment


class Alert(Struct, frozen=True, tag="alert"):
    """A notice that the system raises. Key: alert_id."""

    alert_id: str
    time_ns: int
    alert_type: str
    """`breaker_tripped`, `order_rejected`, `gap_opened`, …"""
    severity: Severity
    title: str
    message: str
    exchange: str = ""
    symbol: str = ""
    entity_type: str = ""
    """`strategy`, `order`, `position`, `system`"""
    entity_id: str = ""
    metadata: dict[str, Any] = {}


class BreakerEvent(Struct, frozen=True, tag="breaker_event"):
    """A breaker's trip. Key: event_id; written once when it trips and again when an operator resets it."""

    event_id: str
    """`{run}-b{n}`"""
    portfolio: str
    trigger_type: Literal["drawdown"]
    threshold: Decimal
    """Percent of the peak that was too far."""
    actual: Decimal
    """Percent that equity was below its peak, rounded to six digits."""
    triggered_ns: int
    reason: str
    actions_taken: tuple[str, ...] = ("halt_trading",)
    resolved_ns: int = 0
    """0 while it stands."""


class BookLevels(Struct, frozen=True, tag="book_levels"):
    """The best levels of our own order book at a moment. Key: exchange, symbol, time_ns."""

    exchange: str
    symbol: str
    time_ns: int
    sequence: int
    """The venue's number of the newest message in it; 0 where it numbers nothing."""
    bids: list[tuple[str, str]]
    """(price, quantity) as the venue sent them, best first."""
    asks: list[tuple[str, str]]
    imbalance: float
    """(bids - asks) / (bids + asks) of these levels' quantities."""
    microprice: float
    spread: Decimal


class Span(Struct, frozen=True):
    """A stretch of one symbol's time."""

    symbol: str
    from_ns: int
    to_ns: int


class Gap(Struct, frozen=True, tag="gap"):
    """A hole in the data. Key: gap_id; written when it opens, when it closes, and when its healing has ended.

    And once more whenever candles were fetched for bars over it.
    """

    gap_id: str
    exchange: str
    symbol: str
    """"" when every symbol of the venue's session is concerned."""
    channel: str
    """`quote`, `trade`, `book`, or "" for all."""
    reason: str
    """`sequence`, `checksum`, `disconnect`, `stale`, `restart`, or `lost`: a drop of our own."""
    from_ns: int
    to_ns: int
    """0 while it is open."""
    rows_lost: int = 0
    detail: str = ""
    status: GapStatus = "open"
    """closed: the stream is whole again; healed: the trades that were missing are there too."""
    healed_ns: int = 0
    healed_by: str = ""
    """`rest`; "" where nothing was fetched."""
    rows_healed: int = 0
    why_not: str = ""
    """Why what is missing can't be had, or not all of it."""
    after_id: str = ""
    """The newest trade before the hole, where one symbol is concerned and it is known."""
    before_id: str = ""
    """The oldest trade after it."""
    unfetched: tuple[Span, ...] = ()
    """Whose trades can't be had. Those on both sides are stored."""
    candles: str = ""
    """Which of the bars over them are the venue's candles now."""
    candles_due_ns: int = 0
    """When the next of those bars have ended, so that the venue can be asked for them; 0: none are awaited."""
    hurt_bars: tuple[Span, ...] = ()
    """Whose bars of when aren't made of all the trades that are stored now. The ledger forgets it when they are."""


class FundingRate(Struct, frozen=True, tag="funding"):
    """What longs pay to shorts, as a fraction of the position's value. Key: exchange, symbol, time_ns."""

    exchange: str
    symbol: str
    time_ns: int
    """The venue's time, or the receive time where the venue tells none; so it is in the three that follow."""
    received_ns: int
    rate: Decimal
    next_time_ns: int
    """When it is paid; 0 where the venue doesn't say."""


class Mark(Struct, frozen=True, tag="mark"):
    """The prices by which a contract is valued. Key: exchange, symbol, time_ns."""

    exchange: str
    symbol: str
    time_ns: int
    received_ns: int
    mark: Decimal | None
    index: Decimal | None
    """None where the venue has told none yet; never both."""


class OpenContracts(Struct, frozen=True, tag="open_interest"):
    """How much is open, in the venue's unit. Key: exchange, symbol, time_ns."""

    exchange: str
    symbol: str
    time_ns: int
    received_ns: int
    quantity: Decimal


class Liquidated(Struct, frozen=True, tag="liquidation"):
    """A position that was closed by force. The whole of it is the key."""

    exchange: str
    symbol: str
    time_ns: int
    received_ns: int
    side: Side
    """Of the closing order: "sell" closes a long."""
    price: Decimal
    quantity: Decimal


Derivative = FundingRate | Mark | OpenContracts | Liquidated
_Other = (
    Indicator | Signal | Order | Execution | Position | Equity | Alert | BreakerEvent | Gap | Derivative | BookLevels
)
Fact = Candle | _Other


class WrittenCandles(Struct, frozen=True, gc=False):
    """Candles as they stand in the journal, of which they are the most: who stores them needn't look into them."""

    lines: bytes
    """One JSON object a line."""

    @property
    def open_times_ns(self) -> list[int]:
        """Of each. No text can look like one: the quotes in it are escaped."""
        return [int(found) for found in _open_times(self.lines)]

    def apart(self) -> list[Fact]:
        """One by one."""
        return _decoder.decode_lines(self.lines)


StoredFact = WrittenCandles | Fact
"""Facts on their way from the journal to the database."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_open_times = re.compile(rb'"open_time_ns":([0-9]+)').findall
_CANDLE = b'{"type":"candle",'


def encode_fact(fact: Fact) -> bytes:
    """One JSON object; decimals as exact strings."""
    return _encoder.encode(fact)


def encode_facts(facts: Sequence[Fact]) -> bytes:
    """One JSON object a line."""
    return _encoder.encode_lines(facts)[:-1]


def decode_facts(payload: bytes) -> Sequence[StoredFact]:
    """The lines of `encode_facts`, for who stores them. Raises msgspec.DecodeError."""
    if payload.startswith(_CANDLE) and payload.count(b"\n" + _CANDLE) == payload.count(b"\n"):
        return [WrittenCandles(payload)]
    return _decoder.decode_lines(payload)


def decode_fact(payload: bytes) -> Fact:
    """The inverse of `encode_fact`. Raises msgspec.DecodeError."""
    return _decoder.decode(payload)
