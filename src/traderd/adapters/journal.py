"""The local write-ahead journal: a folder of segments, appended and read back by one process.

    folder/id                         the journal's name, made once
    folder/00000000000000000001.seg   records, the file named after its first position
    folder/damaged/…                  bytes whose checksum failed, kept for a person to look at

A record is a fixed head (crc32c, payload length, position, rows, first and last time, label length), the label and the
payload. The CRC covers everything behind itself. A torn tail is cut off when the journal is opened; a record that fails
its CRC in the middle is set aside, counted and reported, and reading goes on at the next good one.
Refuses to grow past its bound, and to keep a record it could only write in part.
"""

import os
import struct
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from traderd.core.errors import JournalError
from traderd.runtime.ports import JournalRecord

_HEAD = struct.Struct("<IIQIqqH")
_CRC_SIZE = 4
_RECORD_BYTES_MAX = 64 * 1024 * 1024
_LABEL_BYTES_MAX = 100
_SCAN_BYTES = 4 * 1024 * 1024
_POSITION_HIGH = 10  # the position field's upper six bytes begin here


class Damage(NamedTuple):
    """A stretch of a segment that is not a record."""

    segment: str
    offset: int
    size: int
    """Bytes until the next good record, or the end of the file."""
    records: int
    """How many positions are missing because of it; 0 for a torn tail, which was never acknowledged."""


class FileJournal:
    """One journal folder. Not safe for two processes: the state folder's lock sees to that."""

    def __init__(
        self,
        folder: Path,
        segment_bytes_max: int,
        disk_bytes_max: int,
        on_damage: Callable[[Damage], None] = lambda damage: None,
    ) -> None:
        """Open or create. Raises JournalError if the folder can't be used."""
        self._folder = folder
        self._segment_bytes_max = segment_bytes_max
        self._disk_bytes_max = disk_bytes_max
        self._on_damage = on_damage
        self._position = 0
        self._newest_ns = 0
        self._read_segment: tuple[int, int] | None = None  # first position, descriptor
        self._read_offset = 0
        self._read_position = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._journal_id = _identity(folder)
            self._sizes = {int(file.stem): file.stat().st_size for file in sorted(folder.glob("*.seg"))}
            self._fd = self._open_last()
        except OSError as error:
            raise JournalError(f"journal {folder}: {error.strerror}: free space or mend its permissions") from error

    @property
    def journal_id(self) -> str:
        """Names this journal in the database's cursor table."""
        return self._journal_id

    @property
    def position(self) -> int:
        """Position of the newest record; 0 when there never was one."""
        return self._position

    @property
    def newest_ns(self) -> int:
        """When the newest row was received that the journal held when it was opened; 0 if it held none."""
        return self._newest_ns

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self._sizes.values())

    def append(self, label: str, rows: int, payload: bytes, first_ns: int, last_ns: int) -> int:
        """Write one record and return its position. Raises JournalError; then nothing of it was kept."""
        name = label.encode()
        head = _HEAD.pack(0, len(payload), self._position + 1, rows, first_ns, last_ns, len(name))[_CRC_SIZE:] + name
        crc = google_crc32c.extend(google_crc32c.value(head), payload)
        size = _CRC_SIZE + len(head) + len(payload)
        if self.size + size > self._disk_bytes_max:
            raise JournalError(f"journal {self._folder} is full: journal.disk_bytes_max is {self._disk_bytes_max}")
        if self._sizes[self._active] and self._sizes[self._active] + size > self._segment_bytes_max:
            self._rotate()
        self._write([crc.to_bytes(_CRC_SIZE, "little") + head, payload], size)
        self._position += 1
        return self._position

    def sync(self) -> None:
        """Force what was appended to the disk. Raises JournalError."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise JournalError(f"journal {self._folder}: {error.strerror}") from error

    def detached_sync(self) -> Callable[[], None]:
        """A sync of what is appended by now, to be called from another thread."""
        fd = os.dup(self._fd)

        def sync() -> None:
            try:
                os.fdatasync(fd)
            except OSError as error:
                raise JournalError(f"journal {self._folder}: {error.strerror}") from error
            finally:
                os.close(fd)

        return sync

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]:
        """Records after `after`, in order, at least one if there is one, up to about `bytes_max`."""
        records: list[JournalRecord] = []
        size = 0
        if after != self._read_position:
            self._seek(after)
        while size < bytes_max and (before := self._read_position) < self._position:
            chunk = self._read_chunk(bytes_max - size)
            if self._read_position == before:
                break
            records += chunk
            size += sum(len(record.payload) for record in chunk)
        return records

    def resume_at(self, position: int) -> None:
        """Go on numbering behind `position`.

        The database may be ahead of a journal whose newest records a power failure took: those numbers are spent.
        """
        self._position = max(self._position, position)

    def release(self, upto: int) -> None:
        """Remove the segments whose every record is at or before `upto`; the newest segment stays."""
        firsts = sorted(self._sizes)
        for first, following in pairwise(firsts):
            if following - 1 > upto:
                break
            self._path(first).unlink(missing_ok=True)
            del self._sizes[first]

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._fd)
        self._forget_reader()

    def _write(self, parts: list[bytes], size: int) -> None:
        before = self._sizes[self._active]
        try:
            written = os.writev(self._fd, parts)
        except OSError as error:
            raise JournalError(f"journal {self._folder}: {error.strerror}") from error
        if written != size:
            os.ftruncate(self._fd, before)
            raise JournalError(f"journal {self._folder}: the disk took {written} of {size} bytes: it is full")
        self._sizes[self._active] = before + size

    def _rotate(self) -> None:
        try:
            os.fdatasync(self._fd)
            full, self._fd = self._fd, self._create(self._position + 1)
            os.close(full)
        except OSError as error:
            raise JournalError(f"journal {self._folder}: {error.strerror}") from error

    def _create(self, first: int) -> int:
        """A fresh segment's descriptor. Nothing has changed here when it can't be had."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fd = os.open(self._path(first), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o640)
            os.fsync(folder)
        finally:
            os.close(folder)
        self._active = first
        self._sizes[first] = 0
        return fd

    def _open_last(self) -> int:
        """The newest segment, its torn tail cut off, ready to append."""
        if not self._sizes:
            return self._create(1)
        first = max(self._sizes)
        path = self._path(first)
        position, end = first - 1, 0
        body = path.read_bytes()
        for record, stop in _records(body, first):
            if isinstance(record, JournalRecord):
                position, end = record.position, stop
                self._newest_ns = max(self._newest_ns, record.last_ns)
        if end < len(body):
            self._set_aside(path, end, body[end:])
            self._on_damage(Damage(path.name, end, len(body) - end, 0))
            os.truncate(path, end)
        self._position = position
        self._active = first
        self._sizes[first] = end
        return os.open(path, os.O_WRONLY | os.O_APPEND)

    def _set_aside(self, path: Path, offset: int, body: bytes) -> None:
        damaged = self._folder / "damaged"
        damaged.mkdir(exist_ok=True)
        (damaged / f"{path.stem}-{offset}.bin").write_bytes(body)

    def _seek(self, after: int) -> None:
        """Place the reader behind position `after`."""
        self._forget_reader()
        firsts = sorted(self._sizes)
        start = max((first for first in firsts if first <= after + 1), default=firsts[0])
        self._read_position = start - 1
        while (before := self._read_position) < after:
            self._read_chunk(_SCAN_BYTES, upto=after)
            if self._read_position == before:
                break
        self._read_position = max(self._read_position, after)

    def _read_chunk(self, size: int, upto: int | None = None) -> list[JournalRecord]:
        """Whole records from the reader's place in the segment; moves to the next segment at its end."""
        segment = self._reader()
        if segment is None:
            return []
        first, fd = segment
        wanted = max(size, _HEAD.size)
        body = os.pread(fd, wanted, self._read_offset)
        need = _record_size(body)
        if need is not None and need > len(body):
            body = os.pread(fd, need, self._read_offset)
        records: list[JournalRecord] = []
        last = len(body) + self._read_offset >= self._sizes[first]
        start = self._read_offset
        for record, stop in _records(body, self._read_position + 1, complete=last):
            if isinstance(record, JournalRecord):
                if upto is not None and record.position > upto:
                    return records
                records.append(record)
                self._read_position = record.position
            else:
                self._report(first, start, record, body)
            self._read_offset = start + stop
        if last and self._read_offset < self._sizes[first] and not records:
            self._skip_unreadable(first, body)
        return records

    def _report(self, first: int, start: int, hole: "_Hole", body: bytes) -> None:
        path = self._path(first)
        self._set_aside(path, start + hole.start, body[hole.start : hole.stop])
        self._on_damage(Damage(path.name, start + hole.start, hole.stop - hole.start, hole.records))

    def _skip_unreadable(self, first: int, body: bytes) -> None:
        """The segment ends in bytes that are no record: the rest of it is lost, the next segment says how much."""
        following = min((other for other in self._sizes if other > first), default=self._position + 1)
        missing = following - 1 - self._read_position
        self._report(first, self._read_offset, _Hole(0, len(body), missing), body)
        self._read_offset = self._sizes[first]
        self._read_position = following - 1

    def _reader(self) -> tuple[int, int] | None:
        """The open segment that holds the next position; opens it when the last one is read to its end."""
        if self._read_segment is not None:
            first, fd = self._read_segment
            if self._read_offset < self._sizes.get(first, 0):
                return first, fd
            following = [other for other in self._sizes if other > first]
            if not following:
                return None
            os.close(fd)
            self._open_reader(min(following))
        else:
            wanted = self._read_position + 1
            candidates = [first for first in self._sizes if first <= wanted]
            if not candidates:
                return None
            self._open_reader(max(candidates))
        return self._read_segment

    def _open_reader(self, first: int) -> None:
        self._read_segment = (first, os.open(self._path(first), os.O_RDONLY))
        self._read_offset = 0

    def _forget_reader(self) -> None:
        if self._read_segment is not None:
            os.close(self._read_segment[1])
        self._read_segment = None
        self._read_offset = 0
        self._read_position = 0

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:020d}.seg"


class _Hole(NamedTuple):
    """Bytes that are no record, between two records or before one."""

    start: int
    stop: int
    records: int


def _identity(folder: Path) -> str:
    file = folder / "id"
    if not file.exists():
        fresh = folder / "id.new"
        fresh.write_text(f"{folder.name}-{uuid.uuid4()}")
        fresh.rename(file)
    return file.read_text().strip()


def _record_size(body: bytes) -> int | None:
    if len(body) < _HEAD.size:
        return None
    _, length, _, _, _, _, name = _HEAD.unpack_from(body)
    size: int = _HEAD.size + name + length
    return size if size <= _RECORD_BYTES_MAX else None


def _records(body: bytes, expected: int, complete: bool = True) -> Iterator[tuple[JournalRecord | _Hole, int]]:
    """Every good record of `body` with the offset behind it, holes in between.

    With `complete` false the body is cut somewhere by reading, and its last, unfinished record is nobody's damage.
    """
    offset = 0
    while offset < len(body):
        record, stop = _parse(body, offset)
        if record is not None and record.position >= expected:
            yield record, stop
            offset, expected = stop, record.position + 1
            continue
        found = _next_record(body, offset + 1, expected)
        if found is None:
            return
        if not complete and stop > len(body):
            return
        following = _parse(body, found)[0]
        assert following is not None
        yield _Hole(offset, found, following.position - expected), found
        offset, expected = found, following.position


def _parse(body: bytes, offset: int) -> tuple[JournalRecord | None, int]:
    """The record at `offset` and the offset behind it; None if there's no whole, sound record."""
    if offset + _HEAD.size > len(body):
        return None, len(body) + 1
    crc, length, position, rows, first_ns, last_ns, name = _HEAD.unpack_from(body, offset)
    start = offset + _HEAD.size + name
    stop = start + length
    if stop > len(body) or length > _RECORD_BYTES_MAX:
        return None, stop
    if google_crc32c.value(body[offset + _CRC_SIZE : stop]) != crc:
        return None, stop
    label = body[offset + _HEAD.size : start].decode()
    return JournalRecord(position, label, rows, first_ns, last_ns, body[start:stop]), stop


def _next_record(body: bytes, offset: int, expected: int) -> int | None:
    """Where the next sound record begins: its position is one of the next 65,536, its CRC is right.

    Positions are near each other, so the six upper bytes of the position field are looked for as they are.
    """
    found = []
    for high in {expected >> 16, (expected >> 16) + 1}:
        pattern = high.to_bytes(6, "little")
        at = body.find(pattern, offset + _POSITION_HIGH)
        while at != -1:
            start = at - _POSITION_HIGH
            if _plausible(body, start, expected) and _parse(body, start)[0] is not None:
                found.append(start)
                break
            at = body.find(pattern, at + 1)
    return min(found, default=None)


def _plausible(body: bytes, offset: int, expected: int) -> bool:
    """Whether a head could begin here: spares computing CRCs over rubbish."""
    if offset + _HEAD.size > len(body):
        return False
    _, length, position, _, _, _, name = _HEAD.unpack_from(body, offset)
    return bool(0 <= position - expected <= 0xFFFF and name <= _LABEL_BYTES_MAX and length <= len(body) - offset)
