"""What a venue tells: instruments, quotes, trades and order book messages.

Prices and quantities are kept as the text that the venue sent, which is what is stored, all of one tick in one text: a
tick of a thousand symbols is seldom in the processor's cache when it is looked at again, and each object of its own
would be fetched, and freed, by itself. Prices come as floats too, which is what signals are computed from. Times are
integer nanoseconds since the epoch, UTC; 0 stands for "the venue sent none".
Refuses nothing by itself: the dialects let no NaN, infinity, zero or negative price through.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Side = Literal["buy", "sell"]
Level = tuple[str, str]
"""One book level as the venue sent it: (price, quantity)."""
Market = Literal["spot", "linear", "inverse"]
"""Spot, or a contract settled in the quote currency (linear) or in the base currency (inverse)."""


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
    market: Market = "spot"
    settle: str = ""
    """The currency that a contract is settled in: what stands behind the colon of `BTC/USDT:USDT`; "" for spot."""
    contract_size: Decimal = Decimal(1)
    """What one contract stands for: units of the base currency if linear, of the quote currency if inverse."""
    expiry_ns: int = 0
    """0 for what never expires: spot and perpetual contracts."""
    feed: Literal["native", "ccxt"] = "native"
    """By which path it is heard: a dialect of ours, or the slower one through ccxt."""

    @property
    def dated(self) -> bool:
        """Whether it expires, by its symbol: that is known before the venue has told when."""
        return "-" in self.symbol.partition(":")[2]


class Quote(Struct, gc=False):
    """Best bid and ask of one instrument: one tick."""

    instrument: Instrument
    bid: float
    ask: float
    text: str
    """Bid, bid size, ask and ask size as the venue sent them, parted by commas."""
    sequence: int
    """The venue's update id where it has one, else what the receive time has below a microsecond."""
    time_venue_ns: int
    time_received_ns: int
    flags: int = 0
    """Why it is doubtful, as the quality gate (core.quality) found; 0 for a clean one."""

    @property
    def texts(self) -> list[str]:
        """Bid, bid size, ask, ask size."""
        return self.text.split(",")

    @property
    def bid_text(self) -> str:
        return self.texts[0]

    @property
    def ask_text(self) -> str:
        return self.texts[2]

    @property
    def bid_size_text(self) -> str:
        return self.texts[1]

    @property
    def ask_size_text(self) -> str:
        return self.texts[3]

    @property
    def bid_size(self) -> float:
        return float(self.bid_size_text)

    @property
    def ask_size(self) -> float:
        return float(self.ask_size_text)


class Trade(Struct, gc=False):
    """One public trade. `side` is the taker's."""

    instrument: Instrument
    trade_id: str
    side: Side
    price: float
    text: str
    """Price and quantity as the venue sent them, parted by a comma."""
    time_venue_ns: int
    time_received_ns: int
    flags: int = 0
    """As in Quote. Where the venue's time can't be right, it is 0 from then on."""

    @property
    def texts(self) -> list[str]:
        """Price, quantity."""
        return self.text.split(",")

    @property
    def price_text(self) -> str:
        return self.texts[0]

    @property
    def quantity_text(self) -> str:
        return self.texts[1]

    @property
    def quantity(self) -> float:
        return float(self.quantity_text)


class BookRule(Struct, frozen=True):
    """How a venue lets a reader see that its book is whole."""

    numbering: Literal["none", "ranges", "links"]
    """ranges: each message's first id is the last one's last + 1; links: each names the id of the one before."""
    from_rest: bool = False
    """The snapshot comes by REST, so that messages are kept until it is there; else it comes in the stream."""
    checksum: Literal["none", "kraken", "okx"] = "none"


RANGES_FROM_REST = BookRule("ranges", from_rest=True)
"""Binance spot."""
LINKS_FROM_REST = BookRule("links", from_rest=True)
"""Binance's futures."""
SUMMED = BookRule("none", checksum="kraken")
"""Kraken."""


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
    rule: BookRule = RANGES_FROM_REST


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
    previous: int = -1
    """Binance's futures: pu, OKX: prevSeqId: the last id of the message before. -1 where the venue names none."""
    rule: BookRule = RANGES_FROM_REST


class VenueCandle(Struct, gc=False):
    """A candle as the venue made it; sent again while it changes."""

    instrument: Instrument
    timeframe: str
    """`1m`, …"""
    open_time_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    """In the base currency, or in contracts where the venue counts those."""
    closed: bool
    """Whether it will change no more; False where the venue doesn't say."""
    time_venue_ns: int
    time_received_ns: int
    quote_volume: str = ""
    """The sum of price times quantity; "" where the venue doesn't say, or counts otherwise."""
    trades_count: int = 0
    """0 where the venue doesn't say."""


class Funding(Struct, gc=False):
    """What longs pay to shorts at the next funding time, as a fraction of the position's value. May be negative."""

    instrument: Instrument
    rate: str
    next_time_ns: int
    """0 where the venue doesn't say."""
    time_venue_ns: int
    time_received_ns: int


class MarkPrice(Struct, gc=False):
    """The prices by which a contract is valued. "" where the message tells only one of them."""

    instrument: Instrument
    mark: str
    index: str
    time_venue_ns: int
    time_received_ns: int


class OpenInterest(Struct, gc=False):
    """How many contracts are open (Bybit's and Binance's linear ones: units of the base currency)."""

    instrument: Instrument
    quantity: str
    time_venue_ns: int
    time_received_ns: int


class Liquidation(Struct, gc=False):
    """A position that was closed by force. `side` is that of the closing order: "sell" closes a long."""

    instrument: Instrument
    side: Side
    price: str
    quantity: str
    time_venue_ns: int
    time_received_ns: int


class Numbered(Struct, gc=False):
    """The number that the venue gives every frame of a connection: each is the one before + 1."""

    number: int


class Ack(Struct, gc=False):
    """The venue answered a subscription. `symbol` (as the venue spells it) and `channel` are "" if it doesn't say."""

    accepted: bool
    channel: str
    symbol: str
    reason: str
    request: int = 0
    """The number of the frame that asked; 0 where frames aren't numbered."""


class Heartbeat(Struct, gc=False):
    """The venue says that the link is alive, and nothing else."""


class Beat(Struct, gc=False):
    """Time passes: without it silence would be invisible to code that has no clock."""

    time_ns: int


MarketEvent = Quote | Trade | BookSnapshot | BookDelta
DerivativeEvent = Funding | MarkPrice | OpenInterest | Liquidation
VenueEvent = MarketEvent | VenueCandle | DerivativeEvent | Ack | Heartbeat | Numbered
