"""Sessions that hear recorded traffic with frames missing, side by side with books that hear everything.

Session, connection, bookkeeping, pipeline and gap ledger are the daemon's own; the test is the link and the venue's
REST. A broken book's session asks for a whole one, as it would ask the venue, and is answered some messages later.
Every frame is read by its dialect once, for all readers. Clocks count frames, so that a gap's bounds name the very
messages.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from traderd.adapters.capture import Capture
from traderd.adapters.journal import FileJournal
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import NoFeed
from traderd.adapters.tick_rows import TickRows
from traderd.core.backoff import Backoff
from traderd.core.book import Book, Verdict
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.facts import Fact, Gap
from traderd.core.gaps import GapLedger
from traderd.core.market import BookDelta, BookSnapshot, Instrument, Level, Numbered, Trade, VenueEvent
from traderd.core.matching import PaperSettings
from traderd.core.risk import RiskSettings
from traderd.runtime.admission import Admission
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.session import Session
from traderd.runtime.streams import Streams
from traderd.runtime.surroundings import SessionObserver, Surroundings
from traderd.venues.dialect import AnyChannel, Dialect, Endpoint, Heartbeating, Limits
from traderd.venues.playback import Recorded, events_of
from traderd.venues.registry import dialect

ANSWER_AFTER = 3
"""Messages between a break and the whole book that was asked for."""
FRAME_NS = 1_000
"""From one frame to the next, by the clock that dates them."""
SLEPT_S = 2.0
"""Longer than a session waits before it asks for the same book again."""
CHANNELS: tuple[AnyChannel, ...] = ("trade", "book")
StreamKey = tuple[str, str]
"""Symbol and channel."""
BookMessage = BookSnapshot | BookDelta
Sides = tuple[list[Level], list[Level]]
"""Bids and asks."""


@dataclass(frozen=True)
class Frame:
    """What one frame of a capture says about books and trades."""

    at: int
    connection: str
    recorded: bool
    """A frame of the websocket, which can get lost; an answer of REST can't."""
    events: Sequence[VenueEvent]

    @cached_property
    def numbered(self) -> bool:
        """Whether the venue numbers the connection's frames."""
        return bool(self.events) and isinstance(self.events[0], Numbered)

    @cached_property
    def books(self) -> list[BookMessage]:
        """Its messages about books."""
        return [event for event in self.events if isinstance(event, BookMessage)]

    @cached_property
    def keys(self) -> frozenset[StreamKey]:
        """The streams that it is of."""
        trades = {(event.instrument.symbol, "trade") for event in self.events if isinstance(event, Trade)}
        return frozenset(trades | {(event.instrument.symbol, "book") for event in self.books})

    @property
    def token(self) -> bytes:
        """What stands for its bytes."""
        return b"%d" % self.at


@dataclass(frozen=True)
class Traffic:
    """A capture's frames, and the dialect of each of its connections."""

    frames: list[Frame]
    spoken: dict[str, Dialect]

    def instruments(self, connection: str) -> list[Instrument]:
        """Those that its frames are about, by their index."""
        found: dict[int, Instrument] = {}
        for frame in self.frames:
            if frame.recorded and frame.connection == connection:
                of = (each.instrument for each in frame.events if isinstance(each, BookMessage | Trade))
                found.update((instrument.index, instrument) for instrument in of)
        return [found[index] for index in sorted(found)]

    def concerns(self, key: StreamKey, at: int) -> bool:
        """Whether the loss of this frame is one of this stream: on a numbered connection that of any frame is.

        A message about a book that the snapshot was ahead of is no loss: whoever heard it passed it over.
        """
        frame = self._by_place[at]
        if frame.numbered:
            return frame.connection in self._connections_of[key]
        return key in frame.keys and not (key[1] == "book" and at in self.passed_over)

    @property
    def begun(self) -> int:
        """Where every book is there."""
        return self._truth[0]

    @cached_property
    def able(self) -> list[Frame]:
        """Those that can get lost."""
        return [frame for frame in self.frames if frame.recorded and frame.at > self.begun]

    @property
    def passed_over(self) -> set[int]:
        """The places of book messages that are older than the snapshot they come after."""
        return self._truth[1]

    @cached_property
    def _truth(self) -> tuple[int, set[int]]:
        truth, begun, passed_over = Truth(), dict[str, int](), set[int]()
        for frame in self.frames:
            if Verdict.STALE in truth.hear(frame):
                passed_over.add(frame.at)
            for event in frame.books:
                if truth.books[event.instrument.symbol].usable:
                    begun.setdefault(event.instrument.symbol, frame.at)
        return max(begun.values()), passed_over

    @cached_property
    def _by_place(self) -> dict[int, Frame]:
        return {frame.at: frame for frame in self.frames}

    @cached_property
    def _connections_of(self) -> dict[StreamKey, set[str]]:
        found: dict[StreamKey, set[str]] = {}
        for frame in self.frames:
            for key in frame.keys:
                found.setdefault(key, set()).add(frame.connection)
        return found

    def judged(self, channel: str) -> bool:
        """Whether the venue's numbering tells what is missing in this channel."""
        numbered = any(frame.numbered for frame in self.frames)
        return numbered or channel == "book" or any(each.trades_numbered for each in self.spoken.values())


def traffic_of(path: Path) -> Traffic:
    """All frames of a capture that say anything about books or trades, or are numbered. Raises KeyError."""
    frames: list[Frame] = []
    spoken: dict[str, Dialect] = {}
    with Capture(path) as capture:
        venue, market = capture.header.venue, capture.header.market
        for at, record in enumerate(capture, 1):
            connection = "" if record.kind == "http" else record.connection
            if record.kind == "connect" or connection not in spoken:
                told = record.text.decode().rpartition("/")[2] if venue == "bybit" and record.kind == "connect" else ""
                spoken[connection] = dialect(venue, 10, told or market)
                spoken[connection].discover()
            dated = Recorded(at * FRAME_NS, record.kind, record.connection, record.text)
            frame = Frame(at, connection, record.kind == "frame", events_of(spoken[connection], dated))
            if frame.keys or frame.numbered:
                frames.append(frame)
    return Traffic(frames, spoken)


def lost_from(traffic: Traffic, seed: int, share: float = 0.001) -> set[int]:
    """The places of the lost frames: each with this chance, and one at least of those that can be missed at all.

    Nothing gets lost before every book is there: what has not begun can't be interrupted.
    """
    dice = random.Random(seed)
    lost = {frame.at for frame in traffic.able if dice.random() < share}
    books = [frame.at for frame in traffic.able if frame.books and frame.at not in traffic.passed_over]
    return lost if lost.intersection(books) else lost | {dice.choice(books)}


class Truth:
    """The books of who hears everything."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self._begun: dict[str, BookSnapshot] = {}
        self._newest: dict[str, BookMessage] = {}

    def hear(self, frame: Frame) -> list[Verdict]:
        """Take one frame; what became of its messages."""
        verdicts = []
        for event in frame.books:
            symbol = event.instrument.symbol
            book = self.books.setdefault(symbol, Book())
            self._newest[symbol] = event
            if isinstance(event, BookSnapshot):
                self._begun[symbol] = event
                verdicts.append(book.snapshot(event))
            else:
                verdicts.append(book.delta(event))
        return verdicts

    def whole(self, symbol: str) -> BookSnapshot | None:
        """What the venue would say if it were asked now; None while it isn't known."""
        book = self.books.get(symbol)
        if book is None or not book.usable:
            return None
        newest = self._newest[symbol]
        sequence = newest.last if isinstance(newest, BookDelta) else newest.sequence
        return replace(self._begun[symbol], bids=book.bids(), asks=book.asks(), sequence=sequence, checksum=None)

    def sides(self, symbol: str) -> Sides:
        """All levels of a book."""
        return self.books[symbol].bids(), self.books[symbol].asks()


class _FrameClock:
    """Dates by frames; what only waits goes by the loop's time. Between the two no session judges any silence."""

    now_ns = 0

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)


class _AsRead:
    """A connection's dialect, whose frames have been read already."""

    limits = Limits(1_000, 1e9, 100, 0.0, 1_000.0)
    heartbeat = Heartbeating("", 1e9, 1e9)

    def __init__(self, spoken: Dialect, connection: str, told: dict[bytes, Sequence[VenueEvent]]) -> None:
        self._spoken = spoken
        self._connection = connection
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spoken, name)

    def bind(self, instruments: Sequence[Instrument]) -> None:
        """It knows them."""

    def websocket_url(self, *asked: object) -> str:
        return self._connection

    def subscribe_frames(self, *asked: object) -> list[str]:
        return []

    def resubscribe_frames(self, instrument: Instrument, channel: AnyChannel) -> list[str]:
        return [instrument.symbol]

    def snapshot_url(self, endpoint: Endpoint, instrument: Instrument) -> str:
        return instrument.symbol

    def decode(self, frame: bytes, received_ns: int) -> Sequence[VenueEvent]:
        return self._told[frame]

    def decode_snapshot(self, body: bytes, instrument: Instrument, received_ns: int) -> BookSnapshot:
        (snapshot,) = self._told[body]
        return replace(cast(BookSnapshot, snapshot), instrument=instrument, time_received_ns=received_ns)


class _Unhurried(Admission):
    """A venue that may be asked as often as a book breaks."""

    async def ask(self) -> None:
        return


class _Deaf(Stream):
    """What becomes of trades isn't asked here."""

    def on_events(self, events: Sequence[VenueEvent]) -> None:
        return


class _Link:
    """A connection's open end: what is sent over it asks for a book."""

    def __init__(self, asked: Callable[[str], None]) -> None:
        self.send = asked
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.closed.set()

    async def wait_closed(self) -> str:
        await self.closed.wait()
        return "closed"


@dataclass
class Reader:
    """A seat's sessions on one capture, what they asked for, and what their ledger says."""

    traffic: Traffic
    told: dict[bytes, Sequence[VenueEvent]]
    """What each frame says, and each answer, which is added: at one moment it is the same for every reader."""
    journal: FileJournal
    gaps: dict[StreamKey, list[Gap]] = field(default_factory=dict)
    found: dict[StreamKey, list[int]] = field(default_factory=dict)
    """Where it noticed that something is missing."""
    heard: dict[StreamKey, list[int]] = field(default_factory=dict)
    wholes: dict[StreamKey, list[int]] = field(default_factory=dict)
    """Where it was given a whole book, by an answer or in the stream."""
    disconnects: list[str] = field(default_factory=list)
    _hear: dict[str, Callable[[bytes, int], None]] = field(default_factory=dict)
    _asked: dict[str, tuple[asyncio.Future[bytes] | None, int]] = field(default_factory=dict)
    """By symbol: who waits for the answer (nobody, if it comes in the stream), and after how many messages it comes."""

    def __post_init__(self) -> None:
        self.clock, self.ledger = _FrameClock(), GapLedger("run")
        connections = sorted(name for name in self.traffic.spoken if name)
        instruments = {name: self.traffic.instruments(name) for name in connections}
        everything = max(instruments.values(), key=len)
        risk = RiskSettings(Decimal(1), Decimal(1), Decimal(1), 1, Decimal(1))
        settings = EngineSettings("run", "paper", "USDT", Decimal(1), ("1m",), 500, 1.0, Decimal(10), risk)
        engine = Engine(settings, everything)
        paper = PaperExchange(PaperSettings(Decimal(0), Decimal(0), 0, 2_000), engine.board, self.clock)
        rows = TickRows(everything)
        pipeline = Pipeline(
            *(engine, rows, self.journal, self.journal, NoFeed(), paper),
            *(cast(Any, self), self.clock, self.ledger, 1_000, lambda: None),
        )
        admission = _Unhurried(_AsRead.limits, self.clock)
        observer = cast(SessionObserver, self)
        world = Surroundings(cast(Any, self), cast(Any, self), self.clock, lambda: 0.0, observer, admission)
        stream = _Deaf(pipeline, everything[0].exchange, [])
        self.sessions = [
            Session(
                name,
                lambda name=name: cast(Dialect, _AsRead(self.traffic.spoken[name], name, self.told)),  # type: ignore[misc]  # mypy can't infer a lambda's defaults
                Endpoint("", ""),
                Streams(instruments[name], CHANNELS, lambda instrument, channel: True),
                stream,
                pipeline,
                Backoff(1.0, 1.0, 1.0),
                world,
            )
            for name in connections
            if instruments[name]
        ]
        self._session_of = {
            each.symbol: (session, each)
            for name, session in zip((name for name in connections if instruments[name]), self.sessions, strict=True)
            for each in instruments[name]
        }

    def __getattr__(self, name: str) -> Callable[..., None]:
        """What else observers are told is nothing to us."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *told: None

    def disconnected(self, exchange: str, reason: str, delay_s: float) -> None:
        """Nobody hangs up here."""
        self.disconnects.append(reason)

    def fact(self, fact: Fact) -> None:
        """What the pipeline records."""
        if isinstance(fact, Gap):
            key = (fact.symbol, fact.channel)
            if fact.to_ns:
                self.gaps.setdefault(key, []).append(fact)
            else:
                self.found.setdefault(key, []).append(self.clock.now_ns // FRAME_NS)

    async def connect(self, url: str, on_frames: Callable[[list[bytes], int], None], *limits: object) -> _Link:
        """See Connector."""
        self._hear[url] = on_frames
        return _Link(lambda symbol: self._ask(symbol, None))

    async def get(self, url: str, timeout_s: float) -> bytes:
        """See Rest."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._ask(url, answer)
        return await answer

    def hear(self, frame: Frame) -> None:
        """One frame comes, or an answer of REST, if somebody waits for it."""
        self.clock.now_ns = frame.at * FRAME_NS
        keys = frame.keys
        if frame.recorded:
            self._hear[frame.connection]([frame.token], self.clock.now_ns)
        else:
            keys = frozenset((symbol, "book") for symbol, _ in keys if self._answer_with(frame.token, symbol))
        for key in keys:
            self.heard.setdefault(key, []).append(frame.at)
        for event in frame.books:
            if frame.recorded and isinstance(event, BookSnapshot):
                self._given_whole(event.instrument.symbol)
        if frame.numbered:
            for key in self.heard.keys() - keys:
                if self._session_of[key[0]][0] is self._session_of_connection(frame.connection):
                    self.heard[key].append(frame.at)

    def _session_of_connection(self, connection: str) -> Session:
        return next(session for session in self.sessions if session._name == connection)

    def due(self, frame: Frame) -> list[str]:
        """The broken books whose whole one comes now, after this frame."""
        due = []
        for symbol, (future, left) in list(self._asked.items()):
            if not self.book(symbol).usable and ((symbol, "book") in frame.keys or frame.numbered):
                self._asked[symbol] = (future, left - 1)
                if left <= 1:
                    due.append(symbol)
        return due

    def answer(self, symbol: str, whole: BookSnapshot) -> None:
        """The whole book that was asked for."""
        token = b"%s of %d" % (symbol.encode(), self.clock.now_ns)
        instrument = self._session_of[symbol][1]
        self.told[token] = [replace(whole, instrument=instrument, time_received_ns=self.clock.now_ns)]
        self._answer_with(token, symbol)

    def _answer_with(self, token: bytes, symbol: str) -> bool:
        if symbol not in self._asked:
            return False
        future, _ = self._asked.pop(symbol)
        self._given_whole(symbol)
        if future is not None and not future.done():
            future.set_result(token)
        elif future is None:
            self._hear[self._session_of[symbol][0]._name]([token], self.clock.now_ns)
        return True

    def _given_whole(self, symbol: str) -> None:
        self.wholes.setdefault((symbol, "book"), []).append(self.clock.now_ns // FRAME_NS)

    def book(self, symbol: str) -> Book:
        """As strategies see it."""
        session, instrument = self._session_of[symbol]
        return session.books[instrument.index]

    @property
    def broken(self) -> bool:
        """Whether somebody is about to ask, or has asked, or was just answered."""
        return any(not book.usable for session in self.sessions for book in session.books.values())

    def _ask(self, symbol: str, future: asyncio.Future[bytes] | None) -> None:
        left = self._asked[symbol][1] if symbol in self._asked else ANSWER_AFTER
        self._asked[symbol] = (future, left)


async def side_by_side(
    traffic: Traffic, losses: Sequence[set[int]], journal: FileJournal
) -> AsyncIterator[tuple[int, str, Reader, Sides]]:
    """Whenever a lossy reader (with its place in `losses`) may show a book anew: it, its symbol, and the true levels.

    At the end every reader is given once more, with an empty name, to be asked for its ledger.
    """
    told = {frame.token: frame.events for frame in traffic.frames}
    truth, readers = Truth(), [Reader(traffic, told, journal) for _ in losses]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(session.run()) for reader in readers for session in reader.sessions]
        await _settle()
        for frame in traffic.frames:
            truth.hear(frame)
            true = {event.instrument.symbol: truth.sides(event.instrument.symbol) for event in frame.books}
            for place, reader in enumerate(readers):
                if frame.at in losses[place]:
                    continue
                async for symbol in _heard(reader, frame, truth):
                    yield place, symbol, reader, true.get(symbol) or truth.sides(symbol)
        for place, reader in enumerate(readers):
            assert reader.disconnects == []
            yield place, "", reader, ([], [])
        for task in running:
            task.cancel()


async def _heard(reader: Reader, frame: Frame, truth: Truth) -> AsyncIterator[str]:
    """The symbols whose books are whole after this frame."""
    reader.hear(frame)
    if not frame.recorded or reader.broken:
        await _settle()
        for symbol in reader.due(frame):
            if (whole := truth.whole(symbol)) is not None:
                reader.answer(symbol, whole)
                await asyncio.sleep(SLEPT_S)
                if reader.book(symbol).usable:
                    yield symbol
    for event in frame.books:
        symbol = event.instrument.symbol
        if reader.book(symbol).usable and truth.books[symbol].usable:
            yield symbol


async def _settle() -> None:
    """Whoever can go on does."""
    for _ in range(6):
        await asyncio.sleep(0)
