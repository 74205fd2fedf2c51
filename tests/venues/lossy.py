"""A reader of recorded books that loses frames, side by side with one that hears everything.

The lossy reader does what a session does with verdicts: what breaks is written into the ledger, a whole book is asked
for and comes some messages later. Its clock counts frames, so that a gap's bounds name the very messages.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from traderd.adapters.capture import Capture
from traderd.core.book import Book, Verdict
from traderd.core.continuity import ConnectionSequence, Continuity
from traderd.core.facts import Gap
from traderd.core.gaps import GapLedger
from traderd.core.market import BookDelta, BookSnapshot, Level, Numbered, Trade
from traderd.venues.dialect import Dialect
from traderd.venues.playback import events_of
from traderd.venues.registry import dialect

ANSWER_AFTER = 3
"""Messages of a connection's books between a break and the whole book that was asked for."""
BookKey = tuple[str, str]
"""Connection and venue symbol."""
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
    number: int | None
    books: list[BookMessage]
    trades: list[Trade]

    @property
    def keys(self) -> list[BookKey]:
        """The books that it is about. A snapshot by REST is about the book of the venue's one connection."""
        return [(self.connection, event.instrument.venue_symbol) for event in self.books]


def frames_of(path: Path) -> list[Frame]:
    """All frames of a capture that say anything about books or trades, or are numbered. Raises KeyError."""
    frames: list[Frame] = []
    with Capture(path) as capture:
        venue, market = capture.header.venue, capture.header.market
        spoken: dict[str, Dialect] = {}
        for at, record in enumerate(capture):
            connection = "ws1" if record.kind == "http" else record.connection
            speaker = "" if record.kind == "http" else connection
            if record.kind == "connect" or speaker not in spoken:
                told = record.text.decode().rpartition("/")[2] if venue == "bybit" and record.kind == "connect" else ""
                spoken[speaker] = dialect(venue, 10, told or market)
                spoken[speaker].discover()
            events = events_of(spoken[speaker], record)
            number = events[0].number if events and isinstance(events[0], Numbered) else None
            books = [event for event in events if isinstance(event, BookMessage)]
            trades = [event for event in events if isinstance(event, Trade)]
            if books or trades or number is not None:
                frames.append(Frame(at, connection, record.kind == "frame", number, books, trades))
    return frames


def lost_from(frames: Sequence[Frame], seed: int, share: float = 0.001) -> set[int]:
    """The places of the lost frames: each with this chance, and one at least of those that can be missed at all.

    Nothing gets lost before every book is there: what has not begun can't be interrupted.
    """
    dice, begun = random.Random(seed), _all_begun(frames)
    able = [frame for frame in frames if frame.recorded and frame.at > begun]
    lost = {frame.at for frame in able if dice.random() < share}
    books = [frame.at for frame in able if frame.books]
    return lost if lost.intersection(books) else lost | {dice.choice(books)}


def _all_begun(frames: Sequence[Frame]) -> int:
    books: dict[BookKey, Book] = {}
    begun: dict[BookKey, int] = {}
    for frame in frames:
        for key, event in zip(frame.keys, frame.books, strict=True):
            _hear(books.setdefault(key, Book()), event)
            if books[key].usable:
                begun.setdefault(key, frame.at)
    return max(begun.values())


def _hear(book: Book, event: BookMessage) -> Verdict:
    return book.snapshot(event) if isinstance(event, BookSnapshot) else book.delta(event)


@dataclass
class Reader:
    """Hears frames and keeps books, and a ledger of what it missed."""

    books: dict[BookKey, Book] = field(default_factory=dict)
    gaps: dict[BookKey, list[Gap]] = field(default_factory=dict)
    found: dict[BookKey, list[int]] = field(default_factory=dict)
    """Where it noticed that something is missing."""
    _ledger: GapLedger = field(default_factory=lambda: GapLedger("run"))
    _sequences: dict[str, ConnectionSequence] = field(default_factory=dict)
    _whole_at: dict[BookKey, int] = field(default_factory=dict)
    _due: dict[BookKey, int] = field(default_factory=dict)

    def hear(self, frame: Frame) -> list[BookKey]:
        """Take one frame; returns the books that it changed and that are usable."""
        if frame.number is not None:
            step = self._sequences.setdefault(frame.connection, ConnectionSequence()).follow(frame.number)
            if step.continuity is Continuity.REPEATED:
                return []
            if step.breaks:
                self._break_all(frame)
        changed = []
        for key, event in zip(frame.keys, frame.books, strict=True):
            book = self.books.setdefault(key, Book())
            verdict = _hear(book, event)
            if verdict.needs_snapshot:
                self._broken(key, frame.at)
            elif verdict is Verdict.APPLIED:
                self._whole(key, frame.at)
                changed.append(key)
        if frame.number is not None:
            for key in self.books:
                if key[0] == frame.connection and self.books[key].usable:
                    self._whole_at[key] = frame.at
        return changed

    def answers_due(self, frame: Frame) -> list[BookKey]:
        """Broken books whose whole one comes now, after this frame."""
        due = []
        for key in list(self._due):
            if key in frame.keys or (key[0] == frame.connection and frame.number is not None):
                self._due[key] -= 1
                if self._due[key] <= 0:
                    due.append(key)
        return due

    def answer(self, key: BookKey, snapshot: BookSnapshot, at: int) -> bool:
        """The whole book that was asked for."""
        del self._due[key]
        verdict = self.books[key].snapshot(snapshot)
        if verdict is Verdict.APPLIED:
            self._whole(key, at)
        elif verdict.needs_snapshot:
            self._broken(key, at)
        return verdict is Verdict.APPLIED

    def _break_all(self, frame: Frame) -> None:
        """A numbered connection lost a frame, nobody knows whose."""
        for key, book in self.books.items():
            if key[0] == frame.connection:
                book.reset()
                self._broken(key, frame.at)

    def _broken(self, key: BookKey, at: int) -> None:
        self.found.setdefault(key, []).append(at)
        self._ledger.opened(*key, "book", "sequence", self._whole_at[key])
        self._due[key] = ANSWER_AFTER

    def _whole(self, key: BookKey, at: int) -> None:
        self._whole_at[key] = at
        self._due.pop(key, None)
        if (gap := self._ledger.closed(*key, "book", "sequence", at)) is not None:
            self.gaps.setdefault(key, []).append(gap)

    @property
    def open_gaps(self) -> list[Gap]:
        """Those that the recording's end left open."""
        return self._ledger.open_gaps()


def side_by_side(frames: Sequence[Frame], losses: Sequence[set[int]]) -> Iterator[tuple[int, BookKey, Reader, Sides]]:
    """Whenever a lossy reader (with its place in `losses`) shows a book that just changed: it, and the true levels.

    At the end every reader is given once more, with an empty name, to be asked for its ledger.
    """
    truth, readers = Reader(), [Reader() for _ in losses]
    begun: dict[BookKey, BookSnapshot] = {}
    last: dict[BookKey, BookMessage] = {}
    for frame in frames:
        truth.hear(frame)
        for key, event in zip(frame.keys, frame.books, strict=True):
            last[key] = event
            if isinstance(event, BookSnapshot):
                begun[key] = event
        true: dict[BookKey, Sides] = {}
        for place, reader in enumerate(readers):
            if frame.at in losses[place]:
                continue
            changed = reader.hear(frame)
            for key in reader.answers_due(frame):
                whole = _whole_book(truth.books[key], begun[key], last[key])
                if truth.books[key].usable and reader.answer(key, whole, frame.at) and key not in changed:
                    changed.append(key)
            for key in changed:
                if key not in true:
                    true[key] = (truth.books[key].bids(), truth.books[key].asks())
                yield place, key, reader, true[key]
    for place, reader in enumerate(readers):
        yield place, ("", ""), reader, ([], [])


def _whole_book(book: Book, begun: BookSnapshot, newest: BookMessage) -> BookSnapshot:
    """What the venue would say if it were asked now."""
    sequence = newest.last if isinstance(newest, BookDelta) else newest.sequence
    return replace(begun, bids=book.bids(), asks=book.asks(), sequence=sequence, checksum=None)
