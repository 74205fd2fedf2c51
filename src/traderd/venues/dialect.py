"""What every venue's dialect can do: it turns addresses, subscriptions and bytes into words of ours and back.

A dialect is pure: it keeps no connection and no clock, and the only thing that leaves `decode` besides events is
`BadFrameError`.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from traderd.core.hearing import Reader
from traderd.core.market import BookSnapshot, Instrument, Market, Trade, VenueCandle, VenueEvent

Channel = Literal["quote", "trade", "book"]
FurtherChannel = Literal["candle", "funding", "mark", "open_interest", "liquidation"]
"""Of these funding, mark, open_interest and liquidation are the contracts' only."""
AnyChannel = Literal[Channel, FurtherChannel]


class Heartbeating(Struct, frozen=True):
    """How the link is shown to be alive: `frame` is sent every `interval_s` ("": the websocket's own ping suffices)."""

    frame: str
    interval_s: float
    silence_max_s: float
    """Without any frame for so long the link is taken for dead."""


class Endpoint(Struct, frozen=True):
    """Where a venue lives. No trailing slash."""

    websocket: str
    rest: str


class Limits(Struct, frozen=True):
    """What a venue bears, by its own documentation."""

    streams_per_connection: int
    """A stream is one channel of one symbol."""
    frames_per_s: float
    """Frames that we may send over one connection."""
    streams_per_frame: int
    """How many streams one subscription may name."""
    connection_age_s: float
    """After so long the venue cuts; 0: it doesn't say."""
    connects_per_minute: float
    frame_bytes_max: int = 2 * 1024 * 1024
    """The largest frame that the venue has reason to send."""


class Hole(Struct, frozen=True):
    """What is missing of an instrument's public trades. Ids are "" where they aren't known."""

    from_ns: int
    to_ns: int
    after_id: str = ""
    """The newest trade before the hole."""
    before_id: str = ""
    """The oldest trade after it."""


class History(Protocol):
    """What a venue can be asked for again, by REST."""

    trades_paged: Literal["forward", "backward", "none"]
    """forward: a page begins after `after_id` or `from_ns`; backward: it ends before `before_id` or `to_ns`.

    none: there is one page, of the newest trades whatever was asked, or no page at all.
    """
    trades_numbered: bool
    """See Dialect."""

    def trades_url(self, endpoint: Endpoint, instrument: Instrument, hole: Hole) -> str:
        """The address of one page of the trades in a hole; "" where the venue doesn't serve them."""
        ...

    def decode_trades(self, body: bytes, instrument: Instrument, received_ns: int) -> list[Trade]:
        """That address's answer, oldest first, with the ids that the stream has too. Raises BadFrameError."""
        ...

    def candles_url(self, endpoint: Endpoint, instrument: Instrument, timeframe: str, from_ns: int, to_ns: int) -> str:
        """The address of the candles that open in [from_ns, to_ns); "" where the venue has none of this timeframe."""
        ...

    def decode_candles(
        self, body: bytes, instrument: Instrument, timeframe: str, received_ns: int
    ) -> list[VenueCandle]:
        """That address's answer, oldest first. Raises BadFrameError."""
        ...


@runtime_checkable
class ListedInParts(Protocol):
    """A venue that has no single list of its instruments."""

    def by_listing(self, symbols: Sequence[str]) -> list[list[str]]:
        """The (normalised) symbols, those together that one `instruments_url` can be about."""
        ...


class Dialect(Protocol):
    """One venue's protocol."""

    exchange: str
    """The venue's name as ccxt spells it."""
    channels: frozenset[AnyChannel]
    """What this market offers."""
    limits: Limits
    live: Endpoint
    """The venue's real public addresses."""
    heartbeat: Heartbeating
    book_resync: Literal["rest", "resubscribe"]
    """How a broken book is made whole: a REST snapshot, or a new subscription."""
    trades_numbered: bool
    """Whether an instrument's trade ids are consecutive, so that a number left out is a trade that got lost."""
    usual: tuple[Reader, ...]
    """Of the forms that nearly all frames have, which `decode` reads as well; others after each `bind`."""

    @property
    def market(self) -> Market:
        """A dialect speaks of one market."""
        ...

    def symbol_to_venue(self, symbol: str) -> str:
        """`BTC/USDT` → the venue's spelling on its websocket."""
        ...

    def offers(self, instrument: Instrument, channel: AnyChannel) -> bool:
        """Whether the venue has this of this instrument: a dated contract has no funding, spot has no mark price."""
        ...

    def by_connection(self, channels: Sequence[AnyChannel]) -> list[list[AnyChannel]]:
        """Which of these channels can share a connection; those that aren't streamed are left out."""
        ...

    def websocket_url(
        self, endpoint: Endpoint, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]
    ) -> str:
        """The address to connect to for these streams."""
        ...

    def subscribe_frames(self, instruments: Sequence[Instrument], channels: Sequence[AnyChannel]) -> list[str]:
        """What to send after connecting; empty where the address says it all."""
        ...

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        """What to send to leave one stream, and then to join it again: a book in the stream then begins anew."""
        ...

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """Tell the dialect which instruments its frames may name; a frame naming another is a BadFrameError."""
        ...

    def discover(self) -> None:
        """From now on a well-formed symbol that wasn't bound becomes an instrument of its own, as replay needs it."""
        ...

    def instrument(self, venue_symbol: str) -> Instrument:
        """The instrument that this symbol is bound to; made on the spot when discovering. Raises BadFrameError."""
        ...

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        """One websocket frame into events, in the venue's order. Raises BadFrameError and nothing else."""
        ...

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        """The REST address of one instrument's book snapshot; "" where the venue sends it by websocket."""
        ...

    def snapshot_symbol(self, url: str) -> str:
        """The inverse, for recorded answers: the venue symbol whose snapshot this address gives, or ""."""
        ...

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        """That address's answer. Raises BadFrameError."""
        ...

    def instruments_url(self, endpoint: Endpoint, symbols: Sequence[str]) -> str:
        """The REST address that describes these (normalised) symbols."""
        ...

    def decode_instruments(self, body: bytes, symbols: Sequence[str]) -> list[Instrument]:
        """That address's answer: the instruments among `symbols` that the venue trades, indices from 0.

        Raises BadFrameError.
        """
        ...

    def time_url(self, endpoint: Endpoint) -> str:
        """The REST address of the venue's clock."""
        ...

    def decode_time(self, body: bytes) -> int:
        """That address's answer in nanoseconds. Raises BadFrameError."""
        ...
