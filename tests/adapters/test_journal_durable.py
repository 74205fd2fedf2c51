"""An intent is forced to the disk from another thread, while the journal goes on."""

import errno
import os
from pathlib import Path

import pytest

from traderd.adapters.journal import FileJournal
from traderd.core.errors import JournalError

MIB = 1024 * 1024
DESCRIPTORS = Path("/proc/self/fd")


def test_what_is_forced_is_the_segment_that_was_written_also_if_it_is_left_meanwhile(tmp_path: Path) -> None:
    """Its descriptor outlives the change of segments, and is closed afterwards."""
    journal = FileJournal(tmp_path, 4_096, 64 * MIB)
    before = len(list(DESCRIPTORS.iterdir()))
    journal.append("facts", 1, b"x" * 3_000, 0, 0)
    force = journal.durable()
    journal.append("facts", 1, b"x" * 3_000, 0, 0)
    force()
    assert len(list(DESCRIPTORS.iterdir())) == before
    journal.close()


def test_after_a_sync_that_failed_the_segment_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells a lost page once: a second sync of the same file would wrongly say that all is well."""
    journal = FileJournal(tmp_path, MIB, 64 * MIB)
    journal.append("facts", 1, b"intent", 0, 0)
    (segment,) = tmp_path.glob("*.seg")
    inode, real = segment.stat().st_ino, os.fdatasync

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    force = journal.durable()
    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(JournalError, match="Input/output error"):
        force()
    monkeypatch.setattr(os, "fdatasync", real)
    journal.durable()()
    assert segment.stat().st_ino != inode
    assert [record.payload for record in journal.read(0, MIB)] == [b"intent"]
    journal.close()
