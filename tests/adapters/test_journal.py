"""The write-ahead journal: what was acknowledged comes back, what was damaged is found."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.adapters.journal import RECORDS_MAX, Damage, FileJournal
from traderd.adapters.journal_survey import survey
from traderd.core.errors import ForeignJournalError, JournalError

MIB = 1024 * 1024


def opened(
    folder: Path, segment: int = 64 * MIB, disk: int = 256 * MIB, damage: list[Damage] | None = None
) -> FileJournal:
    return FileJournal(folder, segment, disk, (damage if damage is not None else []).append)


def filled(folder: Path, payloads: list[bytes], segment: int = 64 * MIB) -> FileJournal:
    journal = opened(folder, segment)
    for number, payload in enumerate(payloads, 1):
        assert journal.append(f"tick_data:v{number % 3}", number, payload, number, number + 5) == number
    return journal


def read_all(journal: FileJournal, after: int = 0, bytes_max: int = 1000) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while records := journal.read(after, bytes_max):
        found += [(record.position, record.payload) for record in records]
        after = records[-1].position
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


def size_of(path: Path) -> int:
    return path.stat().st_size


def test_what_was_appended_comes_back_in_order_with_its_labels(tmp_path: Path) -> None:
    """Position, label, rows, times and payload survive the round trip."""
    journal = filled(tmp_path, [b"a", b"bb", b""])
    records = journal.read(0, MIB)
    assert [(r.position, r.label, r.rows, r.first_ns, r.last_ns, r.payload) for r in records] == [
        (1, "tick_data:v1", 1, 1, 6, b"a"),
        (2, "tick_data:v2", 2, 2, 7, b"bb"),
        (3, "tick_data:v0", 3, 3, 8, b""),
    ]


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=60),
    segment=st.sampled_from([200, 1000, 64 * MIB]),
    bytes_max=st.integers(1, 2000),
    after=st.integers(0, 70),
)
@settings(max_examples=60, deadline=None)
def test_any_records_come_back_from_any_position_over_any_segments(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], segment: int, bytes_max: int, after: int
) -> None:
    """Whatever the sizes of segment and read, after N come N+1, N+2, …; a reopened journal says the same."""
    folder = tmp_path_factory.mktemp("journal")
    journal = filled(folder, payloads, segment)
    expected = list(enumerate(payloads, 1))[after:]
    assert read_all(journal, after, bytes_max) == expected
    journal.close()
    again = opened(folder, segment)
    assert read_all(again, after, bytes_max) == expected
    again.close()


def test_a_reader_sees_what_is_appended_after_it_reached_the_end(tmp_path: Path) -> None:
    """The path that recovers is the path that is used every second."""
    journal = filled(tmp_path, [b"x" * 100] * 5, segment=300)
    assert len(read_all(journal)) == 5
    journal.append("facts", 1, b"later", 0, 0)
    assert [record.payload for record in journal.read(5, MIB)] == [b"later"]


def test_segments_leave_only_when_all_their_records_are_passed(tmp_path: Path) -> None:
    """The newest stays, and behind it as many bytes as a segment has; what wasn't passed is still read."""
    journal = filled(tmp_path, [b"x" * 100] * 40, segment=500)
    before = segments(tmp_path)
    journal.release(10)
    journal.tidy()
    assert segments(tmp_path) == before[2:], "of the three that are passed one stays"
    assert journal.size == sum(map(size_of, segments(tmp_path)))
    assert [position for position, _ in read_all(journal, 10)] == list(range(11, 41))
    journal.release(40)
    journal.detached_sync()()
    assert len(segments(tmp_path)) == 2


def test_a_segment_ends_after_so_many_records_however_small_they_are(tmp_path: Path) -> None:
    """Facts are few: a segment of theirs would take a day to fill, and what is noted of each record 20 MiB by then."""
    journal = filled(tmp_path, [b""] * (3 * RECORDS_MAX + 1))
    assert [int(path.stem) for path in segments(tmp_path)] == [n * RECORDS_MAX + 1 for n in range(4)]
    assert [position for position, _ in read_all(journal, 0, MIB)] == list(range(1, 3 * RECORDS_MAX + 2))


def test_released_files_do_not_gather_where_nobody_tidies(tmp_path: Path) -> None:
    """A replay's throw-away journal has no thread beside it."""
    journal = opened(tmp_path, segment=500)
    for _ in range(100):
        journal.release(journal.append("facts", 1, b"x" * 300, 0, 0))
    assert len(segments(tmp_path)) < 12


def test_a_database_that_fails_over_to_an_older_copy_is_given_again_what_it_lacks(tmp_path: Path) -> None:
    """A segment's worth behind the cursor is still there."""
    journal = filled(tmp_path, [b"x" * 100] * 40, segment=500)
    journal.release(40)
    journal.expect_cursor(37)
    assert [position for position, _ in read_all(journal, 37)] == [38, 39, 40]


def test_the_bound_is_a_refusal_and_nothing_is_half_kept(tmp_path: Path) -> None:
    """Past disk_bytes_max append raises, and the journal reads as before."""
    journal = opened(tmp_path, disk=1000)
    kept = 0
    with pytest.raises(JournalError, match="full"):
        for _ in range(100):
            journal.append("tick_data:v", 1, b"x" * 90, 0, 0)
            kept += 1
    assert 0 < kept < 100
    assert len(read_all(journal)) == kept


def test_numbers_that_a_power_failure_took_are_never_given_again(tmp_path: Path) -> None:
    """The database may have stored what the disk lost: what comes after the next opening isn't taken for that."""
    journal = filled(tmp_path, [b"a", b"b", b"taken"])
    journal.close()
    newest = segments(tmp_path)[-1]
    os.truncate(newest, size_of(newest) - 44)
    again = opened(tmp_path)
    position = again.append("facts", 1, b"c", 0, 0)
    assert position > 1_000_000
    again.expect_cursor(3)
    assert [record.payload for record in again.read(3, MIB)] == [b"c"]


def test_an_opening_without_a_record_leaves_nothing_behind(tmp_path: Path) -> None:
    """Restarts don't fill the folder, and don't change what is read."""
    filled(tmp_path, [b"a", b"b"]).close()
    for _ in range(5):
        opened(tmp_path).close()
    assert len(segments(tmp_path)) == 2
    assert [payload for _, payload in read_all(opened(tmp_path))] == [b"a", b"b"]


def test_the_newest_row_is_known_also_after_openings_that_took_none(tmp_path: Path) -> None:
    """The hole of a restart begins there."""
    filled(tmp_path, [b"a", b"b"]).close()
    for _ in range(3):
        journal = opened(tmp_path)
        assert journal.newest == {"tick_data:v1": 6, "tick_data:v2": 7}
        journal.close()


def test_restarts_do_not_pile_up_segments_that_the_database_has(tmp_path: Path) -> None:
    """However small they are, a few stay."""
    for number in range(20):
        journal = opened(tmp_path)
        journal.append("facts", 1, b"%d" % number, 0, 0)
        journal.release(journal.position)
        journal.close()
    assert len(segments(tmp_path)) < 8


@pytest.mark.parametrize("cursor", [0, 5])
def test_a_database_that_lacks_what_the_journal_let_go_is_refused(tmp_path: Path, cursor: int) -> None:
    """Another database, or one from an older backup: one line says what to do, and every record stays."""
    journal = filled(tmp_path, [b"x" * 100] * 40, segment=500)
    journal.release(40)
    left = read_all(journal)
    with pytest.raises(ForeignJournalError, match=r"begins after record \d+, and .* traderd journal accept"):
        journal.expect_cursor(cursor)
    assert read_all(journal) == left
    journal.expect_cursor(40)


def test_a_database_that_is_ahead_of_the_journal_is_refused(tmp_path: Path) -> None:
    """The folder came from an older copy: what was journalled since may not be taken for stored."""
    shutil.copytree(grown(tmp_path / "original", 10), tmp_path / "copy")
    original, copy = opened(tmp_path / "original"), opened(tmp_path / "copy")
    for journal in (original, copy):
        journal.append("facts", 1, b"since", 0, 0)
    ahead, behind = sorted((original, copy), key=lambda journal: journal.position, reverse=True)
    with pytest.raises(ForeignJournalError, match="is an older copy, or two daemons"):
        behind.expect_cursor(ahead.position)
    ahead.expect_cursor(behind.position)
    assert [payload for _, payload in read_all(ahead, behind.position)] == [b"since"], "and nothing is skipped"
    assert [payload for _, payload in read_all(behind, 10)] == [b"since"]


def grown(folder: Path, records: int) -> Path:
    journal = opened(folder)
    for _ in range(records):
        journal.append("facts", 1, b"x", 0, 0)
    journal.close()
    return folder


def test_a_database_that_never_knew_a_fresh_journal_takes_it_from_its_beginning(tmp_path: Path) -> None:
    """And so does any database of a journal whose segments somebody removed."""
    journal = filled(tmp_path, [b"a"])
    journal.expect_cursor(0)
    journal.close()
    for segment in segments(tmp_path):
        segment.unlink()
    again = opened(tmp_path)
    again.append("facts", 1, b"b", 0, 0)
    again.expect_cursor(1)
    assert [payload for _, payload in read_all(again, 1)] == [b"b"]


def test_how_many_records_wait_is_told_without_the_numbers_left_out(tmp_path: Path) -> None:
    """Openings leave numbers out; a backlog counts records."""
    filled(tmp_path, [b"x" * 100] * 10, segment=500).close()
    journal = opened(tmp_path)
    journal.append("facts", 1, b"y", 0, 0)
    assert [journal.records_after(position) for position in (-1, 0, 4, 10, journal.position)] == [11, 11, 7, 1, 0]


@pytest.mark.parametrize("trouble", ["missing", "empty"])
def test_a_journal_that_lost_its_name_is_not_given_another(tmp_path: Path, trouble: str) -> None:
    """Under a new name the database would store everything again."""
    filled(tmp_path, [b"a"]).close()
    (tmp_path / "id").unlink()
    if trouble == "empty":
        (tmp_path / "id").touch()
    with pytest.raises(JournalError, match=r"write its journal_id from the database"):
        opened(tmp_path)


def test_a_bit_that_turned_in_a_journals_name_makes_no_other_name_of_it(tmp_path: Path) -> None:
    """Whichever it is: refused in one line, by the survey too. What an operator or an older version wrote is taken."""
    journal = filled(tmp_path, [b"a"])
    journal.close()
    file = tmp_path / "id"
    whole = file.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            for look in (opened, survey):
                try:
                    found = look(tmp_path)
                except JournalError as error:
                    assert "its file id is damaged: write its journal_id from the database's table" in str(error)
                else:
                    assert found.journal_id == journal.journal_id, (at, bit)
    file.write_text(f"{journal.journal_id}\n")
    assert opened(tmp_path).journal_id == survey(tmp_path).journal_id == journal.journal_id
    assert file.read_bytes() == whole, "it has a checksum again"


def test_a_reader_goes_back_to_where_it_read_without_reading_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is away asks for the same records every two seconds."""
    journal = filled(tmp_path, [b"x" * 1000] * 200)
    found = [record.position for record in journal.read(0, 100_000)]
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    again = [journal.read(after, 5_000) for after in (found[-1], found[-1], found[-1])]
    assert again[0] == again[1] == again[2] and again[0][0].position == found[-1] + 1
    assert sum(read) < 30_000


def test_the_identity_survives_reopening_and_differs_between_journals(tmp_path: Path) -> None:
    """The cursor in the database belongs to one folder."""
    first = opened(tmp_path / "a")
    assert opened(tmp_path / "a").journal_id == first.journal_id
    assert opened(tmp_path / "b").journal_id != first.journal_id


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """The error names the folder and says what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="journal"):
        opened(tmp_path / "file" / "journal")
