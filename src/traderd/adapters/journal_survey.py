"""A journal's folder looked at from outside: what is in each segment, and what of it is sound.

Changes nothing, beside a running daemon as on a stopped one: a segment that goes meanwhile is left out, and a record
that is being written is nobody's damage. Refuses a folder that is no journal.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from traderd.adapters.journal_reader import Hole, whole
from traderd.adapters.journal_segments import Segment, name_of, segments_in
from traderd.core.errors import JournalError
from traderd.runtime.ports import JournalRecord

_LISTINGS = 30
_LOOKS = 3
_LOOK_AGAIN_S = 0.05


class Stretch(Struct, frozen=True):
    """Bytes of a segment that are no record."""

    segment: str
    offset: int
    bytes: int
    records: int
    """How many are missing because of it; 0 where none was ever acknowledged."""
    label: str
    """What the damaged record says of itself; "" where that can't be believed."""
    rows: int


class SegmentSurvey(Struct):
    """One segment."""

    file: str
    bytes: int
    written_ns: int
    """When it was written to last."""
    first: int = 0
    """Positions of its first and last record; 0 where it has none."""
    last: int = 0
    records: int = 0
    rows: dict[str, int] = {}
    """By label."""
    from_ns: int = 0
    """Times of its oldest and newest row; 0 where its records don't say."""
    to_ns: int = 0
    unfinished_bytes: int = 0
    """Behind the newest record: it was being written, and is cut off at the next start."""
    damaged: list[Stretch] = []


class JournalSurvey(Struct):
    """One journal."""

    folder: str
    journal_id: str
    segments: list[SegmentSurvey]
    begins_after: int
    """The position before its first segment: so much a database must have."""
    set_aside_files: int
    set_aside_bytes: int


def size_of(folder: Path) -> int:
    """Bytes that a survey will read."""
    return sum(segment.size for segment in _segments(folder))


def survey(folder: Path, on_bytes: Callable[[int], None] = lambda more: None) -> JournalSurvey:
    """Everything about a journal's folder. Raises JournalError."""
    segments = _segments(folder)
    found = []
    for segment in segments:
        try:
            found.append(_look(segment, is_newest=segment is segments[-1]))
        except FileNotFoundError:  # released meanwhile
            pass
        except OSError as error:
            raise JournalError(f"journal {folder}: {segment.path.name}: {error.strerror}") from error
        on_bytes(segment.size)
    damaged = folder / "damaged"
    aside = [file.stat().st_size for file in damaged.iterdir()] if damaged.is_dir() else []
    return JournalSurvey(
        str(folder),
        name_of(folder),
        found,
        segments[0].follows if segments else 0,
        len(aside),
        sum(aside),
    )


def contents(folder: Path) -> Iterator[JournalRecord | tuple[Segment, Hole]]:
    """Every record in order, and what is damaged where it stands. Raises JournalError."""
    segments = _segments(folder)
    last = -1
    for segment in segments:
        try:
            for found in whole(segment):
                if isinstance(found, Hole):
                    if found.records or segment is not segments[-1]:
                        yield segment, found
                elif found.position > last:
                    last = found.position
                    yield found
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalError(f"journal {folder}: {segment.path.name}: {error.strerror}") from error


def _segments(folder: Path) -> list[Segment]:
    for look in range(_LISTINGS):
        try:
            segments = segments_in(folder)
            break
        except FileNotFoundError as error:  # one was released between its name and its size
            if look == _LISTINGS - 1 or not folder.is_dir():
                raise JournalError(f"journal {folder}: {error.strerror}") from error
        except OSError as error:
            raise JournalError(f"journal {folder}: {error.strerror}") from error
    if not segments and not (folder / "id").exists():
        raise JournalError(f"{folder} is no journal's folder: there is neither a segment nor an id in it")
    return segments


def _look(segment: Segment, is_newest: bool) -> SegmentSurvey:
    for look in range(_LOOKS):
        found = _read(segment)
        if not (is_newest and found.unfinished_bytes):
            break
        if look < _LOOKS - 1:  # perhaps a daemon is just writing it
            time.sleep(_LOOK_AGAIN_S)
            segment.size = segment.path.stat().st_size
    if not is_newest and found.unfinished_bytes:
        found.unfinished_bytes = 0  # behind the last record of a segment that is complete: nobody's
    return found


def _read(segment: Segment) -> SegmentSurvey:
    stat = segment.path.stat()
    found = SegmentSurvey(segment.path.name, segment.size, stat.st_mtime_ns, rows={}, damaged=[])
    for item in whole(segment):
        if isinstance(item, JournalRecord):
            _count(found, item)
            continue
        claim = item.claim
        is_record = bool(item.records or claim.label)
        if not is_record and item.offset + item.size == segment.size:
            found.unfinished_bytes = item.size
        else:
            missing = item.records or 1
            found.damaged.append(Stretch(segment.path.name, item.offset, item.size, missing, claim.label, claim.rows))
    return found


def _count(found: SegmentSurvey, record: JournalRecord) -> None:
    found.first = found.first or record.position
    found.last = record.position
    found.records += 1
    found.rows[record.label] = found.rows.get(record.label, 0) + record.rows
    if record.first_ns:
        found.from_ns = min(found.from_ns or record.first_ns, record.first_ns)
        found.to_ns = max(found.to_ns, record.last_ns)
