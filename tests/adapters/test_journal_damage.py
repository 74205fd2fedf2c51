"""A journal that was cut, or in which bits turned: the good prefix is always replayed, the bad record always found.

TRADERD_TEST_FLIPS is how many single bits are flipped; TRADERD_TEST_LONG=1 makes it 10,000.
"""

import errno
import os
import shutil
from pathlib import Path
from random import Random

import pytest

from traderd.adapters.journal import Damage, FileJournal
from traderd.runtime.ports import Loss

MIB = 1024 * 1024
FLIPS = int(os.environ.get("TRADERD_TEST_FLIPS") or (10_000 if os.environ.get("TRADERD_TEST_LONG") else 400))
SEGMENT_BYTES = 1_500
Row = tuple[int, bytes]


@pytest.fixture(scope="module")
def shm() -> Path:
    """A folder in memory where there is one: forcing a file to it costs nothing."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path("/tmp")


@pytest.fixture
def folder(shm: Path, request: pytest.FixtureRequest) -> Path:
    """For one journal."""
    path = shm / f"traderd-{os.getpid()}-{request.node.name[:40]}"
    request.addfinalizer(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


class Opened:
    """A journal that is read to its end, and what it told."""

    def __init__(self, folder: Path, bytes_max: int = 300) -> None:
        self.damage: list[Damage] = []
        self.losses: list[Loss] = []
        self.journal = FileJournal(folder, SEGMENT_BYTES, MIB, self.damage.append, on_loss=self.losses.append)
        self.rows = read_all(self.journal, bytes_max)


def read_all(journal: FileJournal, bytes_max: int) -> list[Row]:
    found: list[Row] = []
    after = 0
    while records := journal.read(after, bytes_max):
        found += [(record.position, record.payload) for record in records]
        after = records[-1].position
    return found


def written(folder: Path, payloads: list[bytes], segment_bytes: int = SEGMENT_BYTES) -> list[Row]:
    journal = FileJournal(folder, segment_bytes, MIB)
    for payload in payloads:
        journal.append("tick_data:binance:quote", 7, payload, 100, 200)
    journal.close()
    return list(enumerate(payloads, 1))


def mixed(seed: int, count: int) -> list[bytes]:
    """Payloads of random bytes, of zeros, and of what looks like records."""
    random = Random(seed)
    return [
        [random.randbytes(random.randrange(200)), bytes(random.randrange(200)), b"\0" * 8 + b"\1" + b"\0" * 60][n % 3]
        for n in range(count)
    ]


def test_a_journal_cut_at_every_byte_of_its_last_record_keeps_the_good_prefix(folder: Path) -> None:
    """A torn tail is cut off, said and kept, and what comes then is read behind the last whole record."""
    rows = written(folder, [b"first", b"second", b"the last one"])
    segment = folder / f"{1:020d}.seg"
    body = segment.read_bytes()
    start = body.rindex(b"tick_data") - 38
    for cut in range(start + 1, len(body)):
        shutil.rmtree(folder / "damaged", ignore_errors=True)
        for other in folder.glob("*.seg"):
            other.unlink()
        segment.write_bytes(body[:cut])
        opened = Opened(folder)
        assert opened.rows == rows[:2]
        assert opened.damage == [Damage(segment.name, start, cut - start, 0)]
        assert not opened.losses, "it was never acknowledged"
        assert (folder / "damaged" / f"{segment.stem}-{start}.bin").read_bytes() == body[start:cut]
        opened.journal.append("facts", 1, b"new", 0, 0)
        assert [payload for _, payload in read_all(opened.journal, MIB)] == [b"first", b"second", b"new"]
        opened.journal.close()


@pytest.mark.parametrize("bytes_max", [1, 400, MIB])
def test_a_flipped_bit_loses_one_record_and_never_goes_unnoticed(folder: Path, bytes_max: int) -> None:
    """Wherever the bit is, whatever is read at a time: all other records of all segments come, this one is told.

    With its venue, its channel, its rows and its times, also where the bit is in them.
    """
    rows = written(folder, mixed(5, 60))
    files = {file: file.read_bytes() for file in sorted(folder.glob("*.seg"))}
    assert len(files) > 3
    identity = (folder / "id").read_text()
    random = Random(bytes_max)
    for _ in range(-(-FLIPS // 3)):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "id").write_text(identity)
        for file, body in files.items():
            file.write_bytes(body)
        file, body = random.choice(list(files.items()))
        at, bit = random.randrange(len(body)), random.randrange(8)
        file.write_bytes(body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :])
        opened = Opened(folder, bytes_max)
        missing = sorted(set(rows) - set(opened.rows))
        assert opened.rows == [row for row in rows if row not in missing], (file.name, at, bit)
        assert len(missing) == 1 == len(opened.damage), (file.name, at, bit)
        assert opened.damage[0].offset <= at < opened.damage[0].offset + opened.damage[0].size
        assert opened.damage[0].records == 1, (file.name, at, bit)
        (lost,) = opened.losses
        assert (lost.label, lost.rows, lost.first_ns, lost.last_ns) == ("tick_data:binance:quote", 7, 100, 200), (
            at,
            bit,
        )
        assert len(list((folder / "damaged").iterdir())) == 1
        opened.journal.close()
        again = Opened(folder, bytes_max)
        assert again.rows == opened.rows
        assert not again.damage, "what was told and set aside isn't told again"
        again.journal.close()


def test_what_a_damaged_record_says_of_itself_is_told_where_it_can_be_believed(folder: Path) -> None:
    """A bit in the payload leaves the head whole: venue, channel and rows for the gap ledger."""
    written(folder, [b"a" * 50, b"b" * 50, b"c" * 50])
    file = next(folder.glob("*.seg"))
    body = file.read_bytes()
    file.write_bytes(body.replace(b"bb", b"bB", 1))
    opened = Opened(folder)
    assert [(loss.label, loss.rows, loss.first_ns, loss.last_ns, loss.own) for loss in opened.losses] == [
        ("tick_data:binance:quote", 7, 100, 200, False)
    ]
    assert "is damaged at byte" in opened.losses[0].reason


@pytest.mark.parametrize("which", ["first", "middle", "end"])
def test_a_stretch_of_zeros_loses_what_it_covers_and_no_more(folder: Path, which: str) -> None:
    """As when a disk lost a block: several records at once, at any place of a segment that others follow."""
    rows = written(folder, [b"%03d" % n * 30 for n in range(60)])
    file = sorted(folder.glob("*.seg"))[1]
    body = file.read_bytes()
    start = {"first": 0, "middle": 400, "end": len(body) - 500}[which]
    file.write_bytes(body[:start] + bytes(500) + body[start + 500 :])
    opened = Opened(folder)
    lost = len(rows) - len(opened.rows)
    assert 3 <= lost <= 6
    assert [found.records for found in opened.damage] == [lost]
    assert opened.rows == [row for row in rows if row in opened.rows]


def test_a_segment_that_is_cut_short_or_gone_is_told_by_the_one_behind_it(folder: Path) -> None:
    """The next file's name says how far the one before went."""
    rows = written(folder, [b"%03d" % n * 30 for n in range(60)])
    files = sorted(folder.glob("*.seg"))
    held = [[row for row in rows if row[0] >= int(file.stem)] for file in files]
    os.truncate(files[1], files[1].stat().st_size // 2)
    opened = Opened(folder)
    assert sum(found.records for found in opened.damage) == len(rows) - len(opened.rows) > 0
    opened.journal.close()
    told: list[Damage] = []
    journal = FileJournal(folder, SEGMENT_BYTES, MIB, told.append)
    files[3].unlink()
    found = read_all(journal, 300)
    gone = len(held[3]) - len(held[4])
    assert len(found) == len(opened.rows) - gone
    assert sum(damage.records for damage in told) >= gone
    journal.close()


def test_what_the_disk_cannot_give_back_is_damage_and_ends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO on one block: the records in it are told, all others come."""
    rows = written(folder, [b"%04d" % n * 100 for n in range(100)], segment_bytes=MIB)
    damage: list[Damage] = []
    journal = FileJournal(folder, MIB, MIB, damage.append)
    pread = os.pread

    def failing(fd: int, size: int, offset: int) -> bytes:
        if offset < 12_288 and offset + size > 8_192:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    found = read_all(journal, 1_000)
    assert found == [row for row in rows if row in found]
    assert 0 < len(rows) - len(found) < 30
    assert sum(hole.records for hole in damage) == len(rows) - len(found)


def test_rubbish_of_a_whole_segment_is_kept_within_bounds(folder: Path) -> None:
    """What is set aside for a person doesn't fill the disk."""
    written(folder, [b"%03d" % n * 30 for n in range(200)])
    for file in sorted(folder.glob("*.seg"))[:-1]:
        file.write_bytes(Random(1).randbytes(file.stat().st_size))
    opened = Opened(folder)
    assert opened.rows and len(opened.damage) > 4
    assert sum(file.stat().st_size for file in (folder / "damaged").iterdir()) < 2 * SEGMENT_BYTES


def test_whatever_stands_in_the_files_what_is_read_was_written_and_what_is_missing_was_told(folder: Path) -> None:
    """Bytes overwritten, cut out, put in and cut off anywhere: no error, no record from nowhere, none twice."""
    rows = written(folder, mixed(11, 50))
    files = {file: file.read_bytes() for file in sorted(folder.glob("*.seg"))}
    identity = (folder / "id").read_text()
    for seed in range(FLIPS // 4):
        random = Random(seed)
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "id").write_text(identity)
        for file, body in files.items():
            file.write_bytes(mangled(body, random) if random.random() < 0.6 else body)
        opened = Opened(folder, random.choice([1, 200, 5_000]))
        assert opened.rows == [row for row in rows if row in opened.rows], seed
        missing = [row for row in rows if row not in opened.rows]
        newest = int(max(files).stem)
        told = sum(found.records for found in opened.damage)
        assert sum(position < newest for position, _ in missing) <= told <= len(missing), seed
        position = opened.journal.append("facts", 1, b"new", 0, 0)
        assert [record.payload for record in opened.journal.read(position - 1, MIB)] == [b"new"]
        opened.journal.close()


def mangled(body: bytes, random: Random) -> bytes:
    """One of the things that happen to files."""
    at, size = random.randrange(len(body)), random.randrange(1, 300)
    rubbish = random.choice([bytes(size), random.randbytes(size), body[:size]])
    return random.choice([body[:at] + rubbish + body[at + size :], body[:at] + body[at + size :],
                          body[:at] + rubbish + body[at:], body[:at]])  # fmt: skip
