"""The write-ahead journal: what was acknowledged comes back, what was damaged is found."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traderd.adapters.journal import Damage, FileJournal
from traderd.core.errors import JournalError

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
    assert again.position == len(payloads)
    assert read_all(again, after, bytes_max) == expected
    again.close()


def test_a_reader_sees_what_is_appended_after_it_reached_the_end(tmp_path: Path) -> None:
    """The path that recovers is the path that is used every second."""
    journal = filled(tmp_path, [b"x" * 100] * 5, segment=300)
    assert len(read_all(journal)) == 5
    journal.append("facts", 1, b"later", 0, 0)
    assert [record.payload for record in journal.read(5, MIB)] == [b"later"]


def test_a_journal_cut_at_every_byte_of_its_last_record_keeps_the_good_prefix(tmp_path: Path) -> None:
    """A torn tail is cut off, said, and numbering goes on behind the last whole record."""
    filled(tmp_path / "whole", [b"first", b"second", b"the last one"]).close()
    body = (tmp_path / "whole" / f"{1:020d}.seg").read_bytes()
    start = body.rindex(b"tick_data") - 38
    for cut in range(start + 1, len(body)):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / f"{1:020d}.seg").write_bytes(body[:cut])
        damage: list[Damage] = []
        journal = opened(folder, damage=damage)
        assert read_all(journal) == [(1, b"first"), (2, b"second")]
        assert [d.records for d in damage] == [0]
        assert journal.append("facts", 1, b"new", 0, 0) == 3
        assert read_all(journal)[-1] == (3, b"new")
        journal.close()


def test_a_flipped_bit_loses_one_record_and_never_goes_unnoticed(tmp_path: Path) -> None:
    """Wherever the bit is: every other record is read, the damaged one is set aside and reported."""
    payloads = [Random(n).randbytes(Random(n).randrange(20, 200)) for n in range(30)]
    filled(tmp_path / "whole", payloads).close()
    body = (tmp_path / "whole" / f"{1:020d}.seg").read_bytes()
    random = Random(7)
    for trial in range(300):
        folder = tmp_path / f"flip{trial}"
        folder.mkdir()
        flipped = bytearray(body)
        flipped[random.randrange(len(body))] ^= 1 << random.randrange(8)
        (folder / f"{1:020d}.seg").write_bytes(flipped)
        damage: list[Damage] = []
        journal = opened(folder, damage=damage)
        found = read_all(journal)
        missing = set(enumerate(payloads, 1)) - set(found)
        assert set(found) <= set(enumerate(payloads, 1))
        assert len(missing) == 1
        assert len(damage) == 1
        assert len(list((folder / "damaged").iterdir())) == 1
        assert damage[0].records == (0 if missing == {(30, payloads[29])} else 1)
        journal.close()


def test_segments_leave_only_when_all_their_records_are_released(tmp_path: Path) -> None:
    """The newest segment always stays, and what wasn't released is still read."""
    journal = filled(tmp_path, [b"x" * 100] * 20, segment=500)
    before = len(list(tmp_path.glob("*.seg")))
    journal.release(10)
    assert 1 < len(list(tmp_path.glob("*.seg"))) < before
    assert [position for position, _ in read_all(journal, 10)] == list(range(11, 21))
    journal.release(20)
    assert len(list(tmp_path.glob("*.seg"))) == 1


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


def test_positions_that_the_database_has_seen_are_never_given_again(tmp_path: Path) -> None:
    """A power failure can take the journal's newest records after the database stored them."""
    journal = filled(tmp_path, [b"a", b"b"])
    journal.resume_at(10)
    assert journal.append("facts", 1, b"c", 0, 0) == 11
    assert [record.position for record in journal.read(10, MIB)] == [11]


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
