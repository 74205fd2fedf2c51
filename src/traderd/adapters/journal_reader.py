"""Reads a journal's records in order over its segments; what is no record is told and kept, never skipped in silence.

A place is sure before anything is said of it: a record that reading cut off is fetched whole, and only then judged.
What the disk can't give back (EIO) counts as zeros, and so as damage. Refuses to stop at damage: it goes on at the next
sound record, in the same segment or the next one.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from traderd.adapters.journal_records import HEAD, Claim, claimed, found_at, next_sound
from traderd.adapters.journal_segments import Segment, Tally
from traderd.runtime.ports import JournalRecord

_SCAN_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 4096
_MARKS = 8


class Hole(NamedTuple):
    """A stretch of a segment that is no record."""

    offset: int
    size: int
    """Bytes until the next sound record, or the end."""
    records: int
    """How many positions are missing because of it."""
    claim: Claim
    """What it says of itself."""
    body: bytes
    position: int = 0
    """The first of those that are missing."""


class SegmentReader:
    """One segment, from its first record on."""

    def __init__(self, segment: Segment) -> None:
        """Raises OSError."""
        self.segment = segment
        self.offset = 0
        self.expected = segment.first
        self._fd = os.open(segment.path, os.O_RDONLY)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def exhausted(self) -> bool:
        """Whether everything was read that is there now."""
        return self.offset >= self.segment.size and self.expected > self.segment.last

    def read(self, bytes_max: int) -> Iterator[JournalRecord | Hole]:
        """The next records of about so many bytes, at least one if there is one, and the holes between them."""
        end = self.segment.size
        start = self.offset
        body = _pread(self._fd, min(max(bytes_max, HEAD.size), end - start), start)
        at = 0
        while at < len(body):
            record, size = found_at(body, at)
            if record is None and size and at + size > len(body) and start + at + size <= end:
                if at:
                    return  # cut off by reading: the next read begins with it
                body = _pread(self._fd, size, start)
                continue
            if record is None:
                yield self._hole(end)
                return
            at += size
            self.offset = start + at
            if record.position < self.expected:  # written again elsewhere: see FileJournal
                continue
            if record.position > self.expected:
                yield self._missing(self.offset - size, record.position)
            self.expected = record.position + 1
            yield record
        if self.offset >= end and self.expected <= self.segment.last:
            yield self._missing(end, self.segment.last + 1)

    def _hole(self, end: int) -> Hole:
        """From here to the next sound record or the end; what is behind the last record of ours is nobody's loss."""
        start = self.offset
        body = _pread(self._fd, end - start, start)
        found = next_sound(body, 1, self.expected)
        expected = self.expected
        if found is None:
            self.offset, missing = end, self._skip_to(self.segment.last + 1)
        else:
            following = found_at(body, found).record
            assert following is not None
            body = body[:found]
            self.offset, missing = start + found, self._skip_to(following.position)
        return Hole(start, len(body), missing, claimed(body, expected), body, expected)

    def _missing(self, offset: int, upto: int) -> Hole:
        """Records that have left no trace."""
        expected = self.expected
        return Hole(offset, 0, self._skip_to(upto), Claim(), b"", expected)

    def _skip_to(self, position: int) -> int:
        missing = max(0, position - self.expected)
        self.expected = max(self.expected, position)
        return missing


def whole(segment: Segment) -> Iterator[JournalRecord | Hole]:
    """Everything of one segment, for whoever looks at it from outside. Raises OSError."""
    reader = SegmentReader(segment)
    try:
        before = -1
        while reader.offset > before and not reader.exhausted:
            before = reader.offset
            yield from reader.read(_SCAN_BYTES)
    finally:
        reader.close()


def tallies_of(segment: Segment) -> dict[str, Tally]:
    """Rows by label of a segment that an earlier process wrote. Raises OSError."""
    tallies: dict[str, Tally] = {}
    for found in whole(segment):
        if isinstance(found, JournalRecord):
            tallies.setdefault(found.label, Tally()).add(found.rows, found.first_ns, found.last_ns)
    return tallies


class JournalReader:
    """A journal's segments, one after the other. The list is the journal's own, and changes under us."""

    def __init__(self, segments: list[Segment], on_hole: Callable[[Segment, Hole], None]) -> None:
        self._segments = segments
        self._on_hole = on_hole
        self._at: SegmentReader | None = None
        self._marks: deque[tuple[int, Segment, int, int]] = deque(maxlen=_MARKS)
        self.position = 0
        """What was read last."""
        self.handed = 0
        """The highest position that was ever handed out."""

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]:
        """Records after `after`, in order, at least one if there is one, up to about `bytes_max`. Raises OSError."""
        if after != self.position:
            self._seek(after)
        if self._at is not None:
            self._marks.append((self.position, self._at.segment, self._at.offset, self._at.expected))
        records: list[JournalRecord] = []
        size = 0
        while size < bytes_max and self._ready():
            for record in self._next(bytes_max - size):
                records.append(record)
                size += len(record.payload)
        self.handed = max(self.handed, self.position)
        return records

    def close(self) -> None:
        """Forget the place."""
        if self._at is not None:
            self._at.close()
            self._at = None

    def forget(self, segment: Segment) -> None:
        """Its file is another one now."""
        self._marks.clear()
        if self._at is not None and self._at.segment is segment:
            self._open(segment)

    def _next(self, bytes_max: int) -> Iterator[JournalRecord]:
        at = self._at
        assert at is not None
        for found in at.read(bytes_max):
            if isinstance(found, Hole):
                if at.expected > self.position + 1:  # and not all of it lies before where we were to begin
                    self._on_hole(at.segment, found)
            elif self.position < found.position <= at.segment.last:
                self.position = found.position
                yield found

    def _ready(self) -> bool:
        """Whether there is something to read; moves on to the next segment where one is read to its end."""
        while True:
            if self._at is not None and not self._at.exhausted and not self._gone(self._at.segment):
                return True
            following = self._following()
            if following is None:
                return False
            self._open(following)

    def _following(self) -> Segment | None:
        if self._at is None:
            return self._holding(self.position + 1)
        here = self._at.segment
        return next((segment for segment in self._segments if segment.first > here.first), None)

    def _gone(self, segment: Segment) -> bool:
        """Released while it was read: then all of it was wanted no more."""
        return segment not in self._segments

    def _holding(self, position: int) -> Segment | None:
        """The segment that has this position, or the first one behind it."""
        before = [segment for segment in self._segments if segment.first <= position]
        return before[-1] if before else next(iter(self._segments), None)

    def _open(self, segment: Segment) -> None:
        self.close()
        try:
            self._at = SegmentReader(segment)
        except (FileNotFoundError, PermissionError):
            # Somebody took the file away under us: all of it is missing, and the next one is read.
            before = max(self.position, segment.first - 1)
            missing = segment.last - before
            segment.size, segment.last = 0, segment.first - 1
            segment.path.touch()
            self._at = SegmentReader(segment)
            if missing > 0:
                self._on_hole(segment, Hole(0, 0, missing, Claim(), b"", before + 1))

    def _seek(self, after: int) -> None:
        """Place the reader behind `after`: where a read began lately, else where its segment begins."""
        self.close()
        self.position = after
        for position, segment, offset, expected in self._marks:
            if position == after and segment in self._segments:
                self._at = SegmentReader(segment)
                self._at.offset, self._at.expected = offset, expected
                return


def _pread(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes; zeros for what the disk can't give back. Raises OSError for what is no fault of the disk."""
    try:
        body = os.pread(fd, size, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        stop = offset + size
        body = b"".join(_block(fd, at, min(_BLOCK_BYTES, stop - at)) for at in range(offset, stop, _BLOCK_BYTES))
    return body.ljust(size, b"\0")


def _block(fd: int, offset: int, size: int) -> bytes:
    try:
        return os.pread(fd, size, offset).ljust(size, b"\0")
    except OSError:
        return bytes(size)
