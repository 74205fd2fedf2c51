"""What the conductors need of the world, as protocols; the adapters fulfil them.

Only words of `core` cross these lines; a foreign library's fault is translated before it does.
"""

from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from traderd.core.facts import BreakerEvent, Candle, Fact, Gap, Order, Position, StoredFact
from traderd.core.market import Quote, Trade
from traderd.core.orders import Approved, Report


class Clock(Protocol):
    """Wall time for records and monotonic time for measuring."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run back."""
        ...


class Link(Protocol):
    """One open websocket."""

    def send(self, text: str) -> None:
        """Queue one text frame."""
        ...

    def close(self) -> None:
        """Close it; `wait_closed` then returns."""
        ...

    async def wait_closed(self) -> str:
        """Wait for the end and say why, in a few words."""
        ...


class Connector(Protocol):
    """Opens websockets."""

    async def connect(
        self, url: str, on_frames: Callable[[list[bytes], int], None], timeout_s: float, frame_bytes_max: int
    ) -> Link:
        """Connect; from then on `on_frames(frames, received_ns)` is called with the text frames that one read brought.

        The first of them was received then and each other a nanosecond after the one before; all times rise strictly.
        Raises ConnectionError with one line that says what went wrong; VenueRefusalError where the venue won't have us.
        """
        ...


class Rest(Protocol):
    """Public REST of a venue."""

    async def get(self, url: str, timeout_s: float) -> bytes:
        """The body of a 200 answer. Raises ConnectionError for everything else."""
        ...


class JournalRecord(Struct, frozen=True, gc=False):
    """One record read back from a journal."""

    position: int
    """Sequence number: it only rises, and is never given twice."""
    label: str
    """What the payload is and where it came from: `tick_data:binance`, `public_trades:kraken`, `facts`."""
    rows: int
    first_ns: int
    """Oldest row's time: the database's partition for it must exist."""
    last_ns: int
    payload: bytes


class Loss(Struct, frozen=True):
    """Records that a journal had taken, and that are gone before the database had them."""

    label: str
    """"" where not even that is known."""
    rows: int
    """0 where it isn't known."""
    first_ns: int
    last_ns: int
    own: bool
    """Whether they were taken since the journal was opened."""
    reason: str


class Journal(Protocol):
    """A local write-ahead log. Everything that must survive goes here first."""

    @property
    def journal_id(self) -> str:
        """Names the journal in the database's cursor table."""
        ...

    @property
    def position(self) -> int:
        """Position of the newest record; 0 when there never was one."""
        ...

    def append(self, label: str, rows: int, payload: bytes, first_ns: int, last_ns: int) -> int:
        """Write one record and return its position. Raises JournalError; then nothing of it was kept."""
        ...

    def sync(self) -> None:
        """Force what was appended to the disk. Raises JournalError."""
        ...

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]:
        """Records after `after`, in order, at least one if there is one, up to about `bytes_max`."""
        ...

    def release(self, upto: int) -> None:
        """Segments whose every record is at or before `upto` are no longer needed."""
        ...


class Reject(Struct, frozen=True):
    """What can't be stored as a tick, and why: it goes to the quarantine table as it came."""

    time_ns: int
    exchange: str
    channel: str
    reason: str
    payload: bytes


class Batch(Struct, frozen=True):
    """Rows encoded for one table."""

    rows: int
    payload: bytes
    first_ns: int
    last_ns: int
    rejects: list[Reject]


class RowEncoder(Protocol):
    """Turns events into table rows, many at a time; those of the streams in steps, between which others have a turn."""

    def quote_steps(self, quotes: list[Quote], lasts: list[str]) -> Generator[None, None, Batch]:
        """Rows of tick_data."""
        ...

    def trade_steps(self, trades: list[Trade]) -> Generator[None, None, Batch]:
        """Rows of public_trades."""
        ...

    def backfilled(self, trades: list[Trade]) -> Batch:
        """Rows of public_trades that were fetched afterwards."""
        ...

    def rejects(self, rejects: list[Reject]) -> Batch:
        """Rows of quarantine."""
        ...


class Side(Struct, frozen=True):
    """The stored trade that a hole in the trades begins after, or ends before."""

    trade_id: str
    time_ns: int
    """The venue's, to the microsecond."""


class GapRecords(Protocol):
    """What healing asks of the database. Everything raises StoreUnavailableError."""

    async def unhealed(self, exchange: str) -> list[Gap]:
        """The closed gaps whose trades nobody has fetched yet, the newest first."""
        ...

    async def sides(self, gap: Gap, symbol: str) -> tuple[Side | None, Side | None]:
        """The newest stored trade before the gap and the oldest after it; None where there is none."""
        ...

    async def stored(self, exchange: str, symbol: str, trades: Sequence[tuple[str, int]]) -> set[str]:
        """Which of these trades, given as (id, time in ns), are stored already."""
        ...

    async def backfilled(self, exchange: str, symbol: str, from_ns: int, to_ns: int) -> int:
        """How many trades of this time were fetched afterwards."""
        ...

    async def derive(self, gap: Gap, symbol: str, timeframe: str, from_ns: int, to_ns: int) -> None:
        """Make the bars that open in [from_ns, to_ns) anew from the stored trades; a venue's candle stays."""
        ...

    async def hurt(self, exchange: str) -> list[Gap]:
        """The gaps of which some bars aren't made anew yet."""
        ...

    async def mended(self, gap: Gap) -> None:
        """All of its bars are made anew."""
        ...

    async def without_candles(self, exchange: str, now_ns: int) -> list[Gap]:
        """The gaps for whose bars the venue's candles are due by now, the newest first."""
        ...

    async def take_candles(self, candles: Sequence[Candle]) -> int:
        """The venue's candles take the place of bars in which trades are missing; each is of the same timeframe.

        Returns how many bars from the first to the last of them are the venue's now.
        """
        ...


class RecordStore(Protocol):
    """Where a journal's records end: rows and cursor in one transaction."""

    async def cursor(self, journal_id: str) -> int:
        """The position up to which the database has everything. Raises StoreUnavailableError."""
        ...

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        """Write the records and move the cursor to the last one's position, both or neither.

        Returns how many rows were refused one by one and went to quarantine instead.
        Raises StoreUnavailableError when it can't be done now or the outcome isn't known.
        """
        ...

    @property
    def refused_in_doubt(self) -> int:
        """The same of the newest call, also where it raised: for when the cursor tells that it did commit."""
        ...


class PortfolioState(Struct, frozen=True):
    """What the database remembers of a portfolio at start."""

    positions: list[Position]
    cash: str
    """Exact decimal text; "" when the portfolio is new."""
    realized_pnl: str
    fees: str
    peak_equity: str
    open_orders: list[Order]
    breaker_tripped: str = ""
    """Why the breaker tripped, if nobody has reset it since."""
    trip: BreakerEvent | None = None
    """The event that the trip left."""


class FactStore(Protocol):
    """Where facts end: upserts under natural keys, and cursor, in one transaction."""

    async def cursor(self, journal_id: str) -> int:
        """As in RecordStore."""
        ...

    async def store(self, journal_id: str, position: int, facts: Sequence[StoredFact]) -> int:
        """As in RecordStore: returns how many facts were refused and went to quarantine instead."""
        ...

    async def load_portfolio(self, portfolio: str) -> PortfolioState:
        """The portfolio as the facts stored so far leave it."""
        ...


class Feed(Protocol):
    """The outward feed (Redis). Best effort: nothing here waits or raises. Quotes it looks up on the ticker board."""

    def ticks(self, ticks: Sequence[Quote] | Sequence[Trade]) -> None:
        """A batch of one venue's, for those who want every one."""
        ...

    def fact(self, fact: Fact) -> None:
        """Publish one fact on its channel."""
        ...


class Exchange(Protocol):
    """Where approved orders go. Silence is not rejection."""

    def send(self, approved: Approved) -> Coroutine[Any, Any, None] | None:
        """Hand over one order; returns what is to be waited for, if anything is. What goes wrong comes out of that.

        Its fate arrives as reports through the callback given to the adapter.
        """
        ...


ReportSink = Callable[[Report], None]


class Observer(Protocol):
    """Who is told what happened to batches: the metrics. Called once a batch, never once a tick."""

    def gathered(self, exchange: str, channel: str, received: int, journalled: int, quarantined: int) -> None:
        """Rows were encoded and journalled; `received` counts rejects too."""
        ...

    def lost(self, exchange: str, channel: str, rows: int, reason: str) -> None:
        """Rows could not be journalled."""
        ...

    def latency(self, exchange: str, seconds: float) -> None:
        """Venue time to receive time of one trade in a batch."""
        ...

    def fact(self, fact: Fact) -> None:
        """A fact was recorded."""
        ...


class Matching(Protocol):
    """A simulated venue that fills against the live quotes (paper mode)."""

    working: Collection[int]
    """The instruments, by index, of which an order is waiting for a quote."""

    def on_quote(self, quote: Quote) -> None:
        """Fill what this quote fills; reports come back through the report sink."""
        ...

    def on_beat(self, now_ns: int) -> None:
        """Time has passed."""
        ...
