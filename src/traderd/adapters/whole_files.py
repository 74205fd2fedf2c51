"""Files that are there whole or not at all, in a folder that is closed to others.

What isn't finished is called `.NAME.part`; it is forced to the disk, read back and then renamed. Refuses to write over
a file that exists, and to let two commands write into one folder at once.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from traderd.core.errors import TraderdError


class BackupError(TraderdError):
    """A backup, a restore or an archive can't be had; nothing was half done unless the words say so."""


@contextmanager
def folder_to_ourselves(folder: Path) -> Iterator[None]:
    """Make the folder, keep others out while we write, and sweep up what a killed command left unfinished."""
    with _told_in_words(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another traderd is writing into {folder}") from None
        for left in (*folder.glob(".traderd-*.part"), *folder.glob(".backtests-*.part")):
            left.unlink()
        with _told_in_words(folder):
            yield
    finally:
        os.close(descriptor)


class Unfinished:
    """A file on its way: `write`, then `finish`. Without `finish` the block's end removes it."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise BackupError(f"{path} exists already")
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> "Unfinished":
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self

    def write(self, chunk: bytes) -> int:
        """Append."""
        self._hash.update(chunk)
        self.size += len(chunk)
        return self._file.write(chunk)

    def sealed(self) -> Path:
        """Force it to the disk and read it back; still under its temporary name. Raises BackupError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if sha256_of(self._part) != self.sha256:
            raise BackupError(f"{self._part} does not hold what was written to it: look at the disk")
        return self._part

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Give the sealed file its name, for good."""
        self._part.rename(self.path)
        sync_folder(self.path.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """A small file, at once."""
    with Unfinished(path) as file:
        file.write(content)
        file.sealed()
        file.finish()


def sha256_of(path: Path) -> str:
    """Of the file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Force the folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told_in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        raise BackupError(f"{error.filename or folder}: {error.strerror}") from error
