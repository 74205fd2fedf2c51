"""A journal's folder and its segments: names, sizes, and the operations on the disk, in the order that survives a fall.

    folder/id                           the journal's name, made once, and its checksum
    folder/<first>.seg                  records from this position on; 20 digits
    folder/<first>-<follows>.seg        the same, where the record before has another position than first - 1
    folder/damaged/<segment>-<offset>.bin   bytes whose checksum failed, kept for a person to look at

A name is on the disk before anything stands in the file, and a file is on the disk before the next one is begun.
A segment that had to be dropped stays as an empty file: it keeps its place in the numbering until it is released.
"""

import os
import re
import uuid
from array import array
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import google_crc32c
from msgspec import Struct, field

from traderd.core.errors import JournalError

_FILE_MODE = 0o640
_WRITE_ID = "write its journal_id from the database's table journal_cursors into it, or move the folder away"
_NAME = re.compile(r".+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Tally(Struct):
    """Rows of one label in a segment."""

    records: int = 0
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def add(self, rows: int, first_ns: int, last_ns: int) -> None:
        """One more record."""
        self.first_ns = min(self.first_ns, first_ns) if self.records else first_ns
        self.last_ns = max(self.last_ns, last_ns)
        self.records += 1
        self.rows += rows


class Notes(Struct):
    """What was appended to a segment by this process: 22 bytes a record, so that whatever the file loses is known."""

    labels: dict[str, int] = field(default_factory=dict)
    codes: "array[int]" = field(default_factory=lambda: array("H"))
    rows: "array[int]" = field(default_factory=lambda: array("I"))
    first_ns: "array[int]" = field(default_factory=lambda: array("q"))
    last_ns: "array[int]" = field(default_factory=lambda: array("q"))
    gone: set[int] = field(default_factory=set)
    """Of which it is known already that they are lost."""

    def add(self, label: str, rows: int, first_ns: int, last_ns: int) -> None:
        """One more record."""
        self.codes.append(self.labels.setdefault(label, len(self.labels)))
        self.rows.append(rows)
        self.first_ns.append(first_ns)
        self.last_ns.append(last_ns)

    def lost(self, start: int, stop: int) -> dict[str, Tally]:
        """By label the rows of the records with these numbers, from 0 on; those that weren't known to be lost."""
        tallies: dict[str, Tally] = {}
        labels = list(self.labels)
        for n in range(start, min(stop, len(self.rows))):
            if n not in self.gone:
                self.gone.add(n)
                tally = tallies.setdefault(labels[self.codes[n]], Tally())
                tally.add(self.rows[n], self.first_ns[n], self.last_ns[n])
        return tallies


class Segment(Struct, eq=False):
    """One file of records."""

    path: Path
    first: int
    """Its first record's position."""
    follows: int
    """Position of the record before; less than first - 1 where numbers were left out."""
    last: int
    """Its last record's position; first - 1 while it has none."""
    size: int
    """Bytes of whole records: what lies behind is no record of ours."""
    own: bool = False
    """Whether it was begun by this process."""
    sync_failed: bool = False
    """The disk said that it lost something of it. It says so once: from then on the file isn't believed any more."""
    notes: Notes = field(default_factory=Notes)
    """Only of an own segment."""


def segment_path(folder: Path, first: int, follows: int) -> Path:
    """A segment's file."""
    return folder / (f"{first:020d}.seg" if follows == first - 1 else f"{first:020d}-{follows:020d}.seg")


def segments_in(folder: Path) -> list[Segment]:
    """What is there, in order. `last` is what the next one follows; of the newest it isn't known: its first - 1."""
    found = []
    for path in sorted(folder.glob("*.seg")):  # first all names: beside one that writes, sizes only grow behind them
        first, _, follows = path.stem.partition("-")
        if not first.isdecimal() or (follows and not follows.isdecimal()):
            raise JournalError(f"journal {folder}: {path.name} is no segment's name: move it away")
        at = int(first)
        found.append(Segment(path, at, int(follows) if follows else at - 1, at - 1, path.stat().st_size))
    found.sort(key=lambda segment: (segment.first, segment.follows))
    for segment, following in pairwise(found):
        segment.last = max(following.follows, segment.first - 1) if segment.size else segment.first - 1
    return found


def begin_segment(folder: Path, first: int, follows: int) -> tuple[Segment, int]:
    """An empty segment and its descriptor for appending; its name is on the disk. OSError: nothing has changed."""
    path = segment_path(folder, first, follows)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, _FILE_MODE)
    try:
        sync_folder(folder)
    except OSError:
        os.close(fd)
        path.unlink()
        raise
    return Segment(path, first, follows, first - 1, 0, own=True), fd


def rewrite_segment(segment: Segment, body: bytes) -> int:
    """`body` takes the file's place, whole and on the disk, or nothing has changed: OSError. Returns the descriptor."""
    aside = segment.path.with_suffix(".seg.new")
    fd = os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, _FILE_MODE)
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fdatasync(fd)
        aside.rename(segment.path)
        sync_folder(segment.path.parent)
    except OSError:
        os.close(fd)
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return fd


def sync_folder(folder: Path) -> None:
    """Force names to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Force a file to the disk by a descriptor of its own: a fault is told once to each descriptor, so to this one."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """The folder is there, and its name on the disk."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def identity(folder: Path) -> tuple[str, bool]:
    """The journal's name, and whether it was made just now. Raises JournalError where a journal has lost its name."""
    file = folder / "id"
    if file.exists():
        name, is_sealed = _named(file)
        if not is_sealed:  # an operator's, or an older version's
            _write_name(file, name)
        return name, False
    if any(folder.glob("*.seg")):
        raise JournalError(f"journal {folder} has lost its file id: {_WRITE_ID}")
    name = f"{folder.name}-{uuid.uuid4()}"
    _write_name(file, name)
    return name, True


def name_of(folder: Path) -> str:
    """The name of a journal that somebody else writes; "" where it has none. Raises JournalError."""
    file = folder / "id"
    return _named(file)[0] if file.exists() else ""


def _named(file: Path) -> tuple[str, bool]:
    """The name, and whether its checksum is there. A name that is wrong by one bit would be another journal's."""
    text = file.read_bytes().strip().decode(errors="replace")
    if not text:
        raise JournalError(f"journal {file.parent}: its file id is empty: {_WRITE_ID}")
    name, newline, seal = text.partition("\n")
    if seal != _seal(name) if newline else not _NAME.fullmatch(name):
        raise JournalError(f"journal {file.parent}: its file id is damaged: {_WRITE_ID}")
    return name, bool(newline)


def _write_name(file: Path, name: str) -> None:
    fresh = file.with_name("id.new")
    with fresh.open("w") as out:
        out.write(f"{name}\n{_seal(name)}\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)
    sync_folder(file.parent)


def _seal(name: str) -> str:
    return f"{google_crc32c.value(name.encode()):08x}"


def free_bytes(fd: int) -> int:
    """What the disk still has for us."""
    disk = os.fstatvfs(fd)
    return disk.f_bavail * disk.f_frsize
