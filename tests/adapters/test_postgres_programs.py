"""pg_dump and pg_restore: the oldest that fits, and no password on a command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from traderd.adapters import postgres_programs
from traderd.adapters.postgres_programs import find_programs, without_password
from traderd.adapters.whole_files import BackupError

Installed = Callable[..., None]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Says which versions this machine has: programs that tell their version, and whether they know zstd."""

    def install(*versions: str, zstd: tuple[str, ...] = ()) -> None:
        folders = []
        for version in versions:
            folder = tmp_path / version
            folder.mkdir()
            answer = "connection to server failed" if version in zstd else "this build does not support ZSTD"
            for name in ("pg_dump", "pg_restore"):
                script = f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" || echo "{answer}"\n'
                (folder / name).write_text(script)
                (folder / name).chmod(0o755)
            folders.append(folder)
        monkeypatch.setattr(postgres_programs, "_folders", lambda: iter(folders))

    return install


def test_the_oldest_that_the_server_accepts_is_taken(installed: Installed) -> None:
    """A dump by a newer one can't be read by the server's own tools."""
    installed("18.1", "15.6", "16.14", "17.2")
    assert find_programs(16).version == "16.14"
    assert find_programs(17).major == 17


def test_where_none_is_new_enough_it_is_said_what_to_install(installed: Installed) -> None:
    """One line, with what was found."""
    installed("15.6", "16.14")
    with pytest.raises(BackupError, match=r"install postgresql-client-17 \(Debian\).*found were 15.6 in .*, 16.14 in"):
        find_programs(17)


def test_a_dump_in_zstd_needs_programs_that_know_it(installed: Installed) -> None:
    """Whether they do is asked of the programs themselves."""
    installed("16.14", "17.2", zstd=("17.2",))
    assert not find_programs(16).knows_zstd()
    assert find_programs(16, zstd=True).version == "17.2"
    with pytest.raises(BackupError, match="built with zstd"):
        find_programs(18, zstd=True)


def test_the_package_of_the_embedded_server_has_its_programs() -> None:
    """So a backup of the embedded database needs nothing else on the machine."""
    assert find_programs(15).major >= 15


@pytest.mark.parametrize(
    ("dsn", "words", "password"),
    [
        ("postgresql://me:p%40ss@db:5433/x", "postgresql://me@db:5433/x", "p@ss"),
        (
            "postgresql://db/x?user=me&password=a%20b&sslmode=require",
            "postgresql://db/x?user=me&sslmode=require",
            "a b",
        ),
        (
            "postgresql://postgres@/traderd?host=/run/x&port=5432",
            "postgresql://postgres@/traderd?host=/run/x&port=5432",
            None,
        ),
        ("postgresql://me@a:1,b:2/x", "postgresql://me@a:1,b:2/x", None),
    ],
)
def test_the_password_goes_into_the_environment(
    dsn: str, words: str, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may read a command line."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    told, environment = without_password(dsn)
    assert told == words
    assert environment.get("PGPASSWORD") == password
