"""The local write-ahead journal: a folder of segments, appended and read back by one process.

    append    into the kernel's memory: survives our own end, also by kill -9
    sync      onto the disk: survives a power failure; the daemon does it at intervals, and before an order leaves
    release   the database has it: a segment goes when all of it is passed, but for the newest ones, which wait a while
              for a database that fails over to a copy a little behind

Numbers are never given twice. What a power failure takes from the end may be in the database already: each opening
begins a segment of its own, far behind the last number and at a random distance.
A failed sync is final for its file: the kernel may have dropped the pages, and says so once. The segment is written
anew as another file, and until that has worked nothing is taken.

Refuses to grow past its bound or into the disk's reserve, and to keep a record in part. Formats: `journal_records`,
`journal_segments`.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from traderd.adapters.journal_reader import Hole, JournalReader, tallies_of, whole
from traderd.adapters.journal_records import encode
from traderd.adapters.journal_segments import (
    Segment,
    begin_segment,
    free_bytes,
    identity,
    make_folder,
    rewrite_segment,
    segments_in,
    sync_file,
)
from traderd.core.errors import ForeignJournalError, JournalError
from traderd.runtime.ports import JournalRecord, Loss

_STRIDE = 2**20
"""More records than a power failure can take."""
_SPREAD = 2**40
"""Openings of two copies of one journal meet in their numbers once in so many times."""
_PASSED_SEGMENTS_MAX = 4
RECORDS_MAX = 4_096
"""Of one segment: what is noted of each in memory would else grow for hours where they are small and few."""
_MEND_AGAIN_S = 1.0


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
        *,
        drop_oldest: bool = False,
        disk_reserve_bytes: int = 0,
        on_loss: Callable[[Loss], None] = lambda loss: None,
    ) -> None:
        """Open or create. Raises JournalError if the folder can't be used.

        With `drop_oldest` a full journal gives up its oldest segments, else it refuses what comes.
        `disk_reserve_bytes` is free space of the disk that this journal leaves to others.
        """
        self._folder = folder
        self._segment_bytes_max = segment_bytes_max
        self._disk_bytes_max = disk_bytes_max
        self._drop_oldest = drop_oldest
        self._disk_reserve_bytes = disk_reserve_bytes
        self._on_damage = on_damage
        self._on_loss = on_loss
        self._passed = -1
        self._released: list[Path] = []
        self._mend_at = 0.0
        self._fd = -1
        self.newest: dict[str, int] = {}
        """When the journal was opened: each label's newest row, of the last segment that has any."""
        with self._translated():
            make_folder(folder)
            self.journal_id, is_new = identity(folder)
            for left in folder.glob("*.seg.new"):  # of a rewriting that didn't come to its end
                left.unlink()
            self._segments = segments_in(folder)
            self._open_last(is_new)
        self._size = sum(segment.size for segment in self._segments)
        self._reader = JournalReader(self._segments, self._tell_hole)

    @property
    def position(self) -> int:
        """Position of the newest record; one before the first where there was none since the opening."""
        return self._segments[-1].last

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def records_after(self, position: int) -> int:
        """How many records there are behind this position."""
        return sum(max(0, segment.last - max(position, segment.first - 1)) for segment in self._segments)

    def append(self, label: str, rows: int, payload: bytes, first_ns: int, last_ns: int) -> int:
        """Write one record and return its position. Raises JournalError; then nothing of it was kept."""
        self._mend()
        parts = encode(self.position + 1, label, rows, payload, first_ns, last_ns)
        size = len(parts[0]) + len(payload)
        self._make_room(size)
        is_full = len(self._active.notes.rows) >= RECORDS_MAX or self._active.size + size > self._segment_bytes_max
        if self._active.size and is_full:
            self._rotate()
        active = self._active
        self._write(parts, size)
        active.last += 1
        active.notes.add(label, rows, first_ns, last_ns)
        return active.last

    def sync(self) -> None:
        """Force what was appended to the disk. Raises JournalError: then it isn't known to be there."""
        self._mend()
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._active.sync_failed = True
            with suppress(JournalError):
                self._mend()
            raise self._fault(error) from error

    def durable(self) -> Callable[[], None]:
        """A sync of what is appended by now and of nothing else, for another thread. Both raise JournalError."""
        self._mend()
        with self._translated():
            segment, fd = self._active, os.dup(self._fd)  # one that is left meanwhile was synced at that

        def force() -> None:
            try:
                os.fdatasync(fd)
            except OSError as error:
                segment.sync_failed = True
                raise self._fault(error) from error
            finally:
                os.close(fd)

        return force

    def detached_sync(self) -> Callable[[], None]:
        """A sync of what is appended by now, and `tidy`, for another thread. May raise JournalError."""
        segment = self._active

        def sync() -> None:
            self.tidy()
            try:
                sync_file(segment.path)
            except FileNotFoundError:  # released meanwhile: the database has it
                return
            except OSError as error:
                segment.sync_failed = True
                raise self._fault(error) from error

        return sync

    def read(self, after: int, bytes_max: int) -> list[JournalRecord]:
        """Records after `after`, in order, at least one if there is one, up to about `bytes_max`."""
        with self._translated():
            return self._reader.read(after, bytes_max)

    def expect_cursor(self, cursor: int) -> None:
        """Whether a database that is so far is this journal's. Raises ForeignJournalError; nothing is dropped then."""
        begins_after = self._segments[0].follows
        if cursor < begins_after:
            known = f"has it only up to record {cursor}" if cursor else "doesn't know it"
            raise ForeignJournalError(
                f"journal {self._folder} begins after record {begins_after}, and the database {known}: it is another"
                " database, or one restored from an older backup. Connect the right one; or, if what lies between is"
                " gone for good, run traderd journal accept"
            )
        if cursor > self.position:
            raise ForeignJournalError(
                f"journal {self._folder} ends at record {self.position}, and the database has it up to {cursor}: the"
                " folder is an older copy, or two daemons use copies of it. Stop the daemon and bring the newer one"
                " back; or move the folder away: the daemon begins a new one, and traderd journal dump reads the old"
            )

    def release(self, upto: int) -> None:
        """The database has everything up to here. The newest segment stays, and as much as one segment behind it.

        The files go with `tidy`; where nobody calls that, here when several have gathered.
        """
        self._passed = upto
        passed = self._passed_segments()
        kept = 0
        while len(passed) > _PASSED_SEGMENTS_MAX:
            self._release(passed.pop(0))
        for segment in reversed(passed):
            kept += segment.size
            if kept > self._segment_bytes_max:
                self._release(segment)
        if len(self._released) > _PASSED_SEGMENTS_MAX:
            self.tidy()

    def tidy(self) -> None:
        """Remove the files of released segments: that takes a tenth of a second each, and another thread may do it.

        What the disk won't remove now goes another time, or after the next opening.
        """
        with suppress(IndexError):
            while path := self._released.pop():
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    self._released.append(path)
                    return

    def close(self) -> None:
        """Sync and close. Raises JournalError."""
        try:
            self.tidy()
            self.sync()
        finally:
            os.close(self._fd)
            self._reader.close()

    @property
    def _active(self) -> Segment:
        return self._segments[-1]

    def _write(self, parts: list[bytes], size: int) -> None:
        active = self._active
        try:
            if (written := os.writev(self._fd, parts)) == size:
                active.size += size
                self._size += size
                return
            fault = JournalError(f"journal {self._folder}: the disk took {written} of {size} bytes: it is full")
        except OSError as error:
            fault = self._fault(error)
        try:
            os.ftruncate(self._fd, active.size)
        except OSError:  # what can't be cut off is left behind in this file
            active.sync_failed = True
        raise fault

    def _rotate(self) -> None:
        """The full segment is on the disk before the next one is begun."""
        self.sync()
        with self._translated():
            segment, fd = begin_segment(self._folder, self.position + 1, self.position)
        os.close(self._fd)
        self._fd = fd
        self._segments.append(segment)

    def _make_room(self, size: int) -> None:
        """For so many bytes, or JournalError. What the database has goes first, then what the setting says."""
        if self._released and self._lacks(size):
            self.tidy()
        while why := self._lacks(size):
            if passed := self._passed_segments():
                self._release(passed[0])
                self.tidy()
            elif not (self._drop_oldest and self._drop_one(why)):
                raise JournalError(f"journal {self._folder} is full: {why}")

    def _lacks(self, size: int) -> str:
        if self._size + size > self._disk_bytes_max:
            return f"journal.disk_bytes_max is {self._disk_bytes_max}"
        if self._disk_reserve_bytes:
            with self._translated():
                free = free_bytes(self._fd)
            if free < self._disk_reserve_bytes + size:
                return f"the disk has {free} bytes left, and journal.disk_reserve_bytes is {self._disk_reserve_bytes}"
        return ""

    def _passed_segments(self) -> list[Segment]:
        return [segment for segment in self._segments[:-1] if max(segment.last, segment.first - 1) <= self._passed]

    def _drop_one(self, why: str) -> bool:
        """Give up the oldest segment of which nothing was handed out; False if there is none. Told before it goes.

        An earlier process's may be in the database: they wait until it has said how far it is.
        """
        untouched = max(self._reader.handed, self._passed)
        for segment in self._segments[:-1]:
            if segment.size and segment.first > untouched and (segment.own or self._passed >= 0):
                self._tell_lost(segment, segment.first, segment.last, f"the oldest were dropped: {why}")
                size, segment.size, segment.last = segment.size, 0, segment.first - 1  # told as lost: not read any more
                with self._translated():
                    os.truncate(segment.path, 0)
                self._size -= size
                return True
        return False

    def _release(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self._size -= segment.size
        self._released.append(segment.path)

    def _mend(self) -> None:
        """After a failed sync: the active segment anew, as another file. Raises JournalError until that works."""
        active = self._active
        if not active.sync_failed:
            return
        if time.monotonic() < self._mend_at:
            raise JournalError(f"journal {self._folder}: the disk lost something of it, and takes no copy")
        self._mend_at = time.monotonic() + _MEND_AGAIN_S
        with self._translated():
            records = [found for found in whole(active) if isinstance(found, JournalRecord)]
            parts = [encode(r.position, r.label, r.rows, r.payload, r.first_ns, r.last_ns) for r in records]
            body = b"".join(part for two in parts for part in two)
            fd = rewrite_segment(active, body)
        os.close(self._fd)
        self._fd, self._mend_at = fd, 0.0
        self._size += len(body) - active.size
        active.size, active.sync_failed = len(body), False
        self._reader.forget(active)

    def _open_last(self, is_new: bool) -> None:
        """The newest segment's torn tail is cut off; a fresh one is begun behind it."""
        if not self._segments:
            first, follows = 1 if is_new else _STRIDE + secrets.randbelow(_SPREAD), 0
        else:
            last = self._segments[-1]
            self._cut_tail(last)
            sync_file(last.path)
            self.newest = self._newest_rows()
            first = last.last + _STRIDE + secrets.randbelow(_SPREAD)
            follows = last.last if last.size else last.follows
        segment, self._fd = begin_segment(self._folder, first, follows)
        if self._segments and not self._segments[-1].size:
            self._segments.pop().path.unlink()
        self._segments.append(segment)

    def _cut_tail(self, last: Segment) -> None:
        end = 0
        for found in whole(last):
            if isinstance(found, JournalRecord):
                last.last = found.position
            elif found.offset + found.size == last.size:
                end = found.size
                # A record that is all there, and wrong, is no torn tail.
                self._tell_hole(last, found._replace(records=1 if found.claim.label else 0))
        if end:
            last.size -= end
            os.truncate(last.path, last.size)

    def _newest_rows(self) -> dict[str, int]:
        """Of the last segment that has a record: an opening may have come to none."""
        for segment in reversed(self._segments):
            newest = {found.label: found.last_ns for found in whole(segment) if isinstance(found, JournalRecord)}
            if newest:
                return newest
        return {}

    def _tell_hole(self, segment: Segment, hole: Hole) -> None:
        """Once: what was set aside before was told before."""
        damaged = self._folder / "damaged"
        aside = damaged / f"{segment.path.stem}-{hole.offset}.bin"
        if hole.size and aside.exists():
            return
        self._on_damage(Damage(segment.path.name, hole.offset, hole.size, hole.records))
        if hole.records:
            reason = f"{segment.path.name} is damaged at byte {hole.offset}: {hole.records} records"
            if segment.own:  # whatever the bytes say: we know what we wrote
                after = self._reader.position
                self._tell_lost(segment, max(hole.position, after + 1), hole.position + hole.records - 1, reason)
            else:
                self._on_loss(Loss(*hole.claim, False, reason))
        with suppress(OSError):  # a full disk: then it is only told
            damaged.mkdir(exist_ok=True)
            if hole.size and sum(file.stat().st_size for file in damaged.iterdir()) < self._segment_bytes_max:
                aside.write_bytes(hole.body)

    def _tell_lost(self, segment: Segment, first: int, last: int, reason: str) -> None:
        """These records of a segment, by label; what an earlier process wrote is known as a whole, by reading it."""
        start, stop = first - segment.first, last + 1 - segment.first
        for label, lost in (segment.notes.lost(start, stop) if segment.own else tallies_of(segment)).items():
            self._on_loss(Loss(label, lost.rows, lost.first_ns, lost.last_ns, segment.own, reason))

    def _fault(self, error: OSError) -> JournalError:
        return JournalError(f"journal {self._folder}: {error.strerror or error}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._fault(error) from error
