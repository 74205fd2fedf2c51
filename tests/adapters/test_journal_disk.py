"""The journal on a disk that is full, bounded or failing: every loss is told, and nothing is half kept."""

import errno
import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from traderd.adapters.journal import Damage, FileJournal
from traderd.core.errors import JournalError
from traderd.runtime.ports import Loss

KIB = 1024
MIB = 1024 * KIB


def payloads(journal: FileJournal, after: int = 0) -> list[bytes]:
    found: list[bytes] = []
    while records := journal.read(after, 4 * KIB):
        found += [record.payload for record in records]
        after = records[-1].position
    return found


def filled(journal: FileJournal, records: int, size: int = 100) -> list[bytes]:
    given = [b"%06d" % number * (size // 6) for number in range(records)]
    for payload in given:
        journal.append("tick_data:v:quote", 2, payload, 10, 20)
    return given


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is refused: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_ticks_leave_the_reserve_of_a_full_disk_to_the_facts(memory: Path) -> None:
    """Ticks fill all but the reserve; facts go on; with room again ticks go on, and all that was taken is there."""
    ticks = FileJournal(memory / "ticks", 256 * KIB, 64 * MIB, disk_reserve_bytes=512 * KIB)
    facts = FileJournal(memory / "facts", 256 * KIB, 64 * MIB)
    kept = []
    with pytest.raises(JournalError, match=r"is full: the disk has \d+ bytes left, and journal.disk_reserve_bytes is"):
        for number in range(1_000):
            ticks.append("tick_data:v:quote", 1, b"%d" % number * 1_000, 0, 0)
            kept.append(b"%d" % number * 1_000)
    assert kept
    intents = [b"intent %d" % number * 20 for number in range(200)]
    for intent in intents:
        facts.append("facts", 1, intent, 0, 0)
        facts.sync()
    ticks.release(len(kept))
    ticks.append("tick_data:v:quote", 1, b"again", 0, 0)
    assert payloads(facts) == intents
    assert payloads(ticks, len(kept)) == [b"again"]
    ticks.close()
    facts.close()


@pytest.mark.parametrize("size", [50, 5_000, 70_000])
def test_a_disk_without_a_byte_left_refuses_and_keeps_what_it_took(memory: Path, size: int) -> None:
    """ENOSPC, also in the middle of a record and at the next segment: all or nothing of each; on with room again."""
    ballast = memory / "ballast"
    ballast.write_bytes(bytes(1_500 * KIB))
    damage: list[Damage] = []
    journal = FileJournal(memory / "facts", 128 * KIB, 64 * MIB, damage.append)
    kept = []
    with pytest.raises(JournalError, match=r"No space left|it is full"):
        for number in range(20_000):
            payload = b"%06d" % number * (size // 6)
            journal.append("facts", 1, payload, 0, 0)
            kept.append(payload)
    assert kept and payloads(journal) == kept
    ballast.unlink()
    journal.append("facts", 1, b"again", 0, 0)
    assert payloads(journal) == [*kept, b"again"]
    journal.close()
    assert payloads(FileJournal(memory / "facts", 128 * KIB, 64 * MIB, damage.append)) == [*kept, b"again"]
    assert not damage


def test_a_write_that_the_system_cuts_short_is_cut_back(tmp_path: Path) -> None:
    """A limit on the size of files, as a quota: where no small disk may be mounted."""
    journal = FileJournal(tmp_path / "facts", 64 * KIB, MIB)
    with limited(20 * KIB):
        kept = []
        with pytest.raises(JournalError, match=r"disk took|File too large"):
            for number in range(1_000):
                journal.append("facts", 1, b"%03d" % number * 500, 0, 0)
                kept.append(b"%03d" % number * 500)
        assert next((tmp_path / "facts").glob("*.seg")).stat().st_size == journal.size < 20 * KIB
    journal.append("facts", 1, b"again", 0, 0)
    assert payloads(journal) == [*kept, b"again"]
    journal.close()


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may grow past it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_oldest_ticks_go_where_that_is_the_setting_and_each_loss_is_told(tmp_path: Path) -> None:
    """Whole segments, in order, with their rows by label; what comes is kept."""
    losses: list[Loss] = []
    journal = FileJournal(tmp_path, 1_000, 5_000, drop_oldest=True, on_loss=losses.append)
    given = filled(journal, 100)
    left = payloads(journal)
    assert left == given[-len(left) :] and journal.size <= 5_000
    assert sum(loss.rows for loss in losses) == 2 * (100 - len(left))
    assert {(loss.label, loss.first_ns, loss.last_ns, loss.own) for loss in losses} == {
        ("tick_data:v:quote", 10, 20, True)
    }
    assert "journal.disk_bytes_max is 5000" in losses[0].reason
    journal.close()
    damage: list[Damage] = []
    assert payloads(FileJournal(tmp_path, 1_000, 5_000, damage.append)) == left
    assert not damage, "what was dropped isn't damage"


def test_what_is_on_its_way_to_the_database_is_never_dropped(tmp_path: Path) -> None:
    """Whether a batch was stored may not be known yet: counted as lost it would be counted twice."""
    losses: list[Loss] = []
    journal = FileJournal(tmp_path, 1_000, 5_000, drop_oldest=True, on_loss=losses.append)
    given = filled(journal, 10)
    handed = journal.read(0, 300)
    given += filled(journal, 100)
    assert [record.payload for record in journal.read(0, 300)] == [record.payload for record in handed]
    found = payloads(journal)
    assert found[: len(handed)] == given[: len(handed)]
    assert len(found) + sum(loss.rows for loss in losses) // 2 == 110


def test_rows_of_an_earlier_life_are_counted_before_they_are_dropped(tmp_path: Path) -> None:
    """Nobody remembers them: the segment is read once more."""
    journal = FileJournal(tmp_path, 1_000, 5_000)
    filled(journal, 20)
    journal.close()
    losses: list[Loss] = []
    again = FileJournal(tmp_path, 1_000, 5_000, drop_oldest=True, on_loss=losses.append)
    filled(again, 10)
    assert all(loss.own for loss in losses), "which of them a database has nobody knows yet"
    again.release(0)
    filled(again, 30)
    earlier = [loss for loss in losses if not loss.own]
    assert sum(loss.rows for loss in earlier) == 40, "two in each"
    assert sum(loss.rows for loss in losses) // 2 + len(payloads(again)) == 60


@pytest.mark.parametrize("seed", range(4))
def test_taken_is_read_or_lost_whatever_happens(tmp_path: Path, seed: int) -> None:
    """Appends, reads, releases, restarts and a bound that is too small: each record is in exactly one place."""
    random = Random(seed)
    losses: list[Loss] = []

    def opened() -> FileJournal:
        return FileJournal(tmp_path, 600, 3_000, drop_oldest=bool(seed % 2), on_loss=losses.append)

    journal, cursor, number = opened(), 0, 0
    fate: Counter[str] = Counter()
    stored: list[bytes] = []
    for _ in range(400):
        step = random.random()
        if step < 0.8:
            number += 1
            try:
                journal.append("tick_data:v:quote", 1, b"%06d" % number * random.randrange(1, 30), 1, 1)
                fate["taken"] += 1
            except JournalError:
                fate["refused"] += 1
        elif step < 0.97:
            records = journal.read(cursor, 400)
            if records and random.random() < 0.7:
                stored += [record.payload[:6] for record in records]
                cursor = records[-1].position
                journal.release(cursor)
        else:
            journal.close()
            journal = opened()
    stored += [payload[:6] for payload in payloads(journal, cursor)]
    assert stored == sorted(set(stored))
    assert len(stored) + sum(loss.rows for loss in losses) == fate["taken"]
    assert bool(losses) == bool(seed % 2) and bool(fate["refused"]) >= (not seed % 2)
    journal.close()


class FailingDisk:
    """fdatasync says what it is told to; remembers on which files it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *faults: int) -> None:
        self.faults = list(faults)
        self.asked: list[int] = []
        self.real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, fd: int) -> None:
        self.asked.append(os.fstat(fd).st_ino)
        if self.faults and (fault := self.faults.pop(0)):
            raise OSError(fault, os.strerror(fault))
        self.real(fd)


@pytest.mark.parametrize("detached", [False, True])
def test_a_file_whose_sync_failed_is_never_believed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    """The next good sync is of another file, in which everything was written anew."""
    journal = FileJournal(tmp_path, MIB, 16 * MIB)
    given = filled(journal, 20)
    first = journal.read(0, 500)
    disk = FailingDisk(monkeypatch, errno.EIO)
    with pytest.raises(JournalError, match="Input/output error"):
        (journal.detached_sync() if detached else journal.sync)()
    journal.append("facts", 1, b"after", 0, 0)
    journal.sync()
    assert disk.asked[0] not in disk.asked[1:] and len(disk.asked) >= 2
    assert payloads(journal) == [*given, b"after"]
    assert [record.payload for record in journal.read(first[-1].position, MIB)] == [*given[len(first) :], b"after"]
    assert journal.size == sum(file.stat().st_size for file in tmp_path.glob("*.seg"))
    journal.close()
    assert payloads(FileJournal(tmp_path, MIB, 16 * MIB)) == [*given, b"after"]


def test_until_what_was_not_synced_is_written_anew_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails the copy too: each append says so, none is lost that was taken, and later all goes on."""
    monkeypatch.setattr("traderd.adapters.journal._MEND_AGAIN_S", 0.0)
    journal = FileJournal(tmp_path, MIB, 16 * MIB)
    given = filled(journal, 20)
    FailingDisk(monkeypatch, errno.EIO, errno.ENOSPC, errno.EIO, errno.EIO)
    with pytest.raises(JournalError):
        journal.sync()
    for _ in range(2):
        with pytest.raises(JournalError, match=r"Input/output error|No space"):
            journal.append("facts", 1, b"refused", 0, 0)
    assert payloads(journal) == given, "what was taken can still be stored"
    journal.append("facts", 1, b"taken", 0, 0)
    journal.sync()
    assert payloads(journal) == [*given, b"taken"]
    assert not list(tmp_path.glob("*.new"))
    journal.close()


def test_a_record_that_can_neither_be_written_nor_cut_back_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it stands in the file: the journal goes on in another one."""
    journal = FileJournal(tmp_path, MIB, 16 * MIB)
    given = filled(journal, 5)
    writev, truncate = os.writev, os.ftruncate

    def half(fd: int, parts: list[bytes]) -> int:
        return writev(fd, [b"".join(parts)[:50]])

    def refused(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "writev", half)
    monkeypatch.setattr(os, "ftruncate", refused)
    with pytest.raises(JournalError, match="the disk took 50 of"):
        journal.append("facts", 1, b"half" * 20, 0, 0)
    monkeypatch.setattr(os, "writev", writev)
    monkeypatch.setattr(os, "ftruncate", truncate)
    journal.append("facts", 1, b"whole", 0, 0)
    journal.close()
    damage: list[Damage] = []
    assert payloads(FileJournal(tmp_path, MIB, 16 * MIB, damage.append)) == [*given, b"whole"]
    assert not damage


def test_a_segment_that_cannot_be_begun_refuses_and_then_goes_on(tmp_path: Path) -> None:
    """The folder is away for a while; the reader isn't disturbed."""
    journal = FileJournal(tmp_path / "ticks", 1_000, MIB)
    given = filled(journal, 6)
    (tmp_path / "ticks").rename(tmp_path / "away")
    refused = 0
    for _ in range(5):
        try:
            journal.append("facts", 1, b"x" * 300, 0, 0)
            given.append(b"x" * 300)
        except JournalError:
            refused += 1
    assert refused
    shutil.move(tmp_path / "away", tmp_path / "ticks")
    journal.append("facts", 1, b"again", 0, 0)
    assert payloads(journal) == [*given, b"again"]
    journal.close()


def test_what_the_disk_will_not_remove_goes_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that became read-only ends no drain."""
    journal = FileJournal(tmp_path, 1_000, MIB)
    given = filled(journal, 60)
    before = len(list(tmp_path.glob("*.seg")))

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        journal.release(50)
        journal.tidy()
        assert len(list(tmp_path.glob("*.seg"))) == before
        assert payloads(journal, 50) == given[50:]
    journal.tidy()
    assert len(list(tmp_path.glob("*.seg"))) < before - 5
    journal.close()
