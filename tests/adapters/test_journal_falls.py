"""The process or the power ends at any step of the journal's work: what was acknowledged is there afterwards.

Every operation on the disk is counted; the test ends the work before each of them in turn, and in the middle of each
write. After an end of the process the kernel's memory is still there. After an end of the power only that is sure which
was forced to the disk: files by their own sync, names by the folder's; of the rest there may be any part.
"""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from traderd.adapters.journal import FileJournal
from traderd.core.errors import JournalError

MIB = 1024 * 1024
SEGMENT_BYTES = 2_500
KILLS = 25


class FellError(BaseException):
    """The end, at a named step. Nobody catches it."""


class Disk:
    """Counts what is done to the disk, ends it at a step, and knows what a power failure would leave."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, fall_at: int, partly: bool) -> None:
        self.folder = folder
        self.steps = 0
        self.fall_at = fall_at
        self.partly = partly
        self.fail_sync_at = -1
        self.kept: dict[int, bytes] = {}
        self.gone: dict[int, slice] = {}
        self.names: dict[str, int] = {}
        self.open_fds: set[int] = set()
        for name in ("writev", "write", "fdatasync", "fsync", "ftruncate", "truncate"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        for name in ("unlink", "rename"):
            monkeypatch.setattr(Path, name, self._watched(name, getattr(Path, name)))
        monkeypatch.setattr(os, "open", self._opened(os.open))
        monkeypatch.setattr(os, "close", self._closed(os.close))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if self.steps == self.fall_at:
                if self.partly and name == "writev":
                    whole = b"".join(args[1])
                    real(args[0], [whole[: len(whole) // 2]])
                raise FellError(f"{name} {self.steps}")
            if name == "fdatasync" and self.fail_sync_at >= 0:
                self.fail_sync_at -= 1
                if self.fail_sync_at < 0:
                    self._gone(args[0])
                    raise OSError(errno.EIO, "Input/output error")
            result = real(*args, **kwargs)
            if name in ("fdatasync", "fsync"):
                self._forced(args[0])
            return result

        return call

    def _opened(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
            if flags & os.O_CREAT:
                self.steps += 1
                if self.steps == self.fall_at:
                    raise FellError(f"create {self.steps}")
            fd = real(path, flags, mode, **kwargs)
            self.open_fds.add(fd)
            return fd

        return call

    def _closed(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            self.open_fds.discard(fd)
            real(fd)

        return call

    def _gone(self, fd: int) -> None:
        """What a failed sync leaves: pages that count as clean, and are not on the disk."""
        inode = os.fstat(fd).st_ino
        self.gone[inode] = slice(len(self.kept.get(inode, b"")), os.fstat(fd).st_size)

    def _forced(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path == self.folder:
            self.names = {file.name: file.stat().st_ino for file in self.folder.iterdir() if file.is_file()}
        elif path.is_file():
            body = bytearray(path.read_bytes())
            gone = self.gone.get(os.fstat(fd).st_ino, slice(0, 0))
            body[gone] = bytes(gone.stop - gone.start)
            self.kept[os.fstat(fd).st_ino] = bytes(body)

    def after_power_failure(self, into: Path, random: Random | None) -> None:
        """The folder as the disk has it: what is sure, and any part of the rest or, without `random`, nothing of it."""
        now = {file.name: file for file in self.folder.iterdir() if file.is_file()}
        into.mkdir()
        names = dict(self.names)
        if random and random.random() < 0.5:
            names |= {name: file.stat().st_ino for name, file in now.items()}
        for name, inode in names.items():
            kept = self.kept.get(inode, b"")
            file = now.get(name)
            if random and file is not None and file.stat().st_ino == inode:
                body = file.read_bytes()
                upto = random.randint(min(len(kept), len(body)), len(body))
                rest = body[len(kept) : upto]
                kept += random.choice([rest, bytes(len(rest)), rest[: len(rest) // 2] + bytes(len(rest) // 2)])
            (into / name).write_bytes(kept)


class Work:
    """Several lives of a journal, with everything that a journal does; what was promised at each moment."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.given: list[tuple[int, bytes]] = []
        self.durable = 0
        """So many of them were on the disk when sync returned."""
        self.cursor = 0

    def live(self, disk: Disk) -> None:
        """Four openings: closed, with a sync that fails, killed, closed. Ends by a FellError or in peace."""
        for life in range(4):
            journal = FileJournal(self.folder, SEGMENT_BYTES, MIB)
            journal.expect_cursor(self.cursor)
            for number in range(12):
                payload = b"%d-%d " % (life, number) * self.random.randrange(1, 40)
                self.given.append((journal.append("tick_data:v:quote", 1, payload, 1, 1), payload))
                if number % 5 == 3:
                    self._sync(journal, disk, fails=life == 1 and number == 8)
                if number == 7 and (records := journal.read(self.cursor, 600)):
                    self.cursor = records[-1].position
                    journal.release(self.cursor)
                    journal.tidy()
            if life != 2:
                journal.close()
                self.durable = len(self.given)

    def _sync(self, journal: FileJournal, disk: Disk, fails: bool) -> None:
        if fails:
            disk.fail_sync_at = 0
            with pytest.raises(JournalError, match="Input/output error"):
                journal.sync()
        else:
            journal.sync()
            self.durable = len(self.given)


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one."""
    memory = Path("/dev/shm")
    path = memory / f"traderd-falls-{os.getpid()}" if os.access(memory, os.W_OK) else tmp_path / "falls"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def fallen(here: Path, fall_at: int, partly: bool) -> tuple[Work, Disk, bool]:
    """The work up to a step, and whether it came to its end before."""
    work = Work(here / "journal", seed=fall_at)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(here / "journal", patch, fall_at, partly)
        try:
            work.live(disk)
            ended = True
        except FellError:
            ended = False
    for fd in disk.open_fds:  # as the end of a process does
        os.close(fd)
    return work, disk, ended


def expect(folder: Path, work: Work, promised: int) -> None:
    """The first `promised` records behind the cursor are read, and of the others none that wasn't given."""
    journal = FileJournal(folder, SEGMENT_BYTES, MIB)
    journal.expect_cursor(work.cursor)
    found = [(record.position, record.payload) for record in journal.read(work.cursor, MIB)]
    owed = [given for given in work.given[:promised] if given[0] > work.cursor]
    assert found[: len(owed)] == owed
    rest = [given for given in work.given[promised:] if given[0] > work.cursor]
    more = [one for one in found[len(owed) :] if one not in rest]
    assert len(more) <= 1, "one more may have been on its way: written, and never acknowledged"
    fresh = journal.append("facts", 1, b"fresh", 0, 0)
    assert fresh > max((position for position, _ in [*work.given, *found]), default=0), "no number is given twice"
    assert [record.payload for record in journal.read(fresh - 1, MIB)] == [b"fresh"]
    journal.close()


@pytest.mark.parametrize("partly", [False, True])
def test_an_end_of_the_process_at_any_step_loses_nothing_that_was_acknowledged(here: Path, partly: bool) -> None:
    """Before each creation, write, sync, cut, rename and removal, and in the middle of each write."""
    for step in range(1, 1_000):
        work, _, ended = fallen(here, step, partly)
        expect(here / "journal", work, len(work.given))
        shutil.rmtree(here / "journal", ignore_errors=True)
        if ended:
            break
    assert ended and step > 70


def test_a_power_failure_at_any_step_loses_nothing_that_was_durable(here: Path) -> None:
    """And whatever else is on the disk, the journal opens, and gives no number twice that a database may know."""
    for step in range(1, 1_000):
        work, disk, ended = fallen(here, step, partly=False)
        if (here / "journal").is_dir():
            for seed in range(4):
                disk.after_power_failure(here / "after", Random(seed) if seed else None)
                expect(here / "after", work, work.durable)
                shutil.rmtree(here / "after")
        shutil.rmtree(here / "journal", ignore_errors=True)
        if ended:
            break
    assert ended and step > 70


def test_a_process_that_is_killed_at_random_leaves_all_that_it_said_it_kept(here: Path) -> None:
    """kill -9, again and again on one folder: what it told over a pipe is read back, in order and once."""
    said: list[tuple[int, bytes]] = []
    random = Random(9)
    for life in range(KILLS):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _append_until_killed(here / "journal", writer, life)
        os.close(writer)
        told = b""
        while told.count(b"\n") < random.randrange(2, 60):
            told += os.read(reader, 65_536)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reader, 65_536):
            told += more
        os.close(reader)
        for line in told.splitlines(keepends=True):
            if line.endswith(b"\n"):
                position, payload = line.strip().split(b" ")
                said.append((int(position), payload))
    journal = FileJournal(here / "journal", SEGMENT_BYTES, MIB)
    found = [(record.position, record.payload) for record in journal.read(0, 16 * MIB)]
    assert len(said) > KILLS * 5
    assert [one for one in found if one in set(said)] == said
    assert len(found) - len(said) <= KILLS
    journal.close()


def _append_until_killed(folder: Path, writer: int, life: int) -> None:
    """The child: never returns."""
    try:
        journal = FileJournal(folder, SEGMENT_BYTES, 64 * MIB)
        for number in range(100_000):
            payload = b"%d-%d" % (life, number)
            position = journal.append("facts", 1, payload, 0, 0)
            if number % 7 == 0:
                journal.sync()
            os.write(writer, b"%d %s\n" % (position, payload))
    finally:
        os._exit(1)
