"""What a venue tells: instruments, quotes, trades and order book messages.

Prices and quantities come twice: as the text that the venue sent, which is what is stored, and as a float, which is
what signals are computed from. Times are integer nanoseconds since the epoch, UTC; 0 stands for "the venue sent none".
Refuses nothing by itself: the dialects let no NaN, infinity, zero or negative price through.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Side = Literal["buy", "sell"]
Level = tuple[str, str]
"""One book level as the venue sent it: (price, quantity)."""


class Instrument(Struct, frozen=True, gc=False):
    """One tradable symbol of one venue."""

    index: int
    """Dense number of the instrument in this process, from 0: the place in every per-instrument list."""
    exchange: str
    """The venue's name as ccxt spells it: `binance`, `kraken`."""
    symbol: str
    """Normalised as in ccxt: `BTC/USDT`."""
    venue_symbol: str
    """As the venue spells it: `BTCUSDT`."""
    base: str
    quote: str
    price_tick: Decimal = Decimal("0.00000001")
    """Smallest price step."""
    quantity_step: Decimal = Decimal("0.00000001")
    """Smallest quantity step (lot size)."""
    notional_min: Decimal = Decimal(0)
    """Smallest order value, in the quote currency."""


class Quote(Struct, gc=False):
    """Best bid and ask of one instrument: one tick."""

    instrument: Instrument
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    bid_text: str
    ask_text: str
    bid_size_text: str
    ask_size_text: str
    sequence: int
    """The venue's update id where it has one, else what the receive time has below a microsecond."""
    time_venue_ns: int
    time_received_ns: int


class Trade(Struct, gc=False):
    """One public trade. `side` is the taker's."""

    instrument: Instrument
    trade_id: str
    side: Side
    price: float
    quantity: float
    price_text: str
    quantity_text: str
    time_venue_ns: int
    time_received_ns: int


class BookSnapshot(Struct, gc=False):
    """A whole order book as the venue sent it; levels in the venue's order."""

    instrument: Instrument
    bids: list[Level]
    asks: list[Level]
    sequence: int
    """Binance: lastUpdateId. 0 where the venue numbers nothing."""
    checksum: int | None
    time_venue_ns: int
    time_received_ns: int
    depth: int = 0
    """The venue keeps this many levels a side and the book must be cut to them; 0: it keeps all."""


class BookDelta(Struct, gc=False):
    """Changed levels; a quantity of zero removes the level."""

    instrument: Instrument
    bids: list[Level]
    asks: list[Level]
    first: int
    """Binance: U, the first update id in the message."""
    last: int
    """Binance: u, the last update id in the message."""
    checksum: int | None
    time_venue_ns: int
    time_received_ns: int


class Ack(Struct, gc=False):
    """The venue answered a subscription. `symbol` and `channel` are "" where it doesn't say which."""

    accepted: bool
    channel: str
    symbol: str
    reason: str


class Heartbeat(Struct, gc=False):
    """The venue says that the link is alive, and nothing else."""


class Beat(Struct, gc=False):
    """Time passes: without it silence would be invisible to code that has no clock."""

    time_ns: int


MarketEvent = Quote | Trade | BookSnapshot | BookDelta
VenueEvent = MarketEvent | Ack | Heartbeat
