"""The schema, brought up to date from the numbered files in sql/.

`once/` is applied once, in order, and frozen by its SHA-256; `always/` (functions, views) is applied after that,
whenever its text has changed. Each file is one transaction together with its row in schema_migrations, all under one
advisory lock. Refuses a server that is too old, a once-file that was changed, a file that was applied and is gone (the
schema is newer than the program), and missing rights: one line each, and nothing is half applied.
To retire an always-file, a once-file drops what it made and deletes its row.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from traderd.adapters.postgres import connect, translate
from traderd.core.errors import MigrationError

SERVER_MIN = 14
_LOCK_WAIT_MS = 60_000
_LOCK = "hashtext('traderd'), hashtext('migrate')"
_REGISTER = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name       text COLLATE "C" PRIMARY KEY,
        sha256     text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )"""


class SqlFile(Struct, frozen=True):
    """One file of sql/. `name` is `once/…` or `always/…`."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class MigrationReport(Struct, frozen=True):
    """What was done, and to what."""

    applied: tuple[str, ...]
    """Names of the files, in order; empty when the schema was up to date."""
    backend: str
    """`timescaledb-community`, `timescaledb-apache` or `postgresql`."""
    server_version: str


async def migrate(target: str | asyncpg.Connection, sql: Path | None = None) -> MigrationReport:
    """Bring the database up to date. Raises MigrationError, and StoreUnavailableError when there is no database."""
    if isinstance(target, str):
        connection = await connect(target, name="traderd migrate", timeout_s=0)
        try:
            return await migrate(connection, sql)
        finally:
            connection.terminate()
    files = read_files(sql or sql_folder())
    try:
        await _lock(target)
        try:
            applied = await _apply(target, files)
            return MigrationReport(applied, await _backend(target), _version(target))
        finally:
            if not target.is_closed():
                await target.execute(f"SELECT pg_advisory_unlock({_LOCK})")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise translate(error) or error from error


async def pending(connection: asyncpg.Connection, sql: Path | None = None) -> tuple[str, ...]:
    """The files that `migrate` would apply; changes nothing. Raises MigrationError as `migrate` does."""
    return tuple(file.name for file in await _pending(connection, read_files(sql or sql_folder())))


def sql_folder() -> Path:
    """Where sql/ is: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / "sql", package.parents[1] / "sql")
    for folder in folders:
        if (folder / "once").is_dir():
            return folder
    raise MigrationError(f"the schema's files are missing: neither {folders[0]} nor {folders[1]} exists")


def read_files(sql: Path) -> list[SqlFile]:
    """The files in the order in which they are applied: all of once/, then all of always/."""
    paths = [*sorted((sql / "once").glob("*.sql")), *sorted((sql / "always").glob("*.sql"))]
    return [SqlFile(f"{path.parent.name}/{path.name}", path.read_text(encoding="utf-8")) for path in paths]


async def _lock(connection: asyncpg.Connection) -> None:
    await connection.execute(f"SET lock_timeout = {_LOCK_WAIT_MS}")
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError("another migration of this database is still running") from error
    finally:
        await connection.execute("RESET lock_timeout")


async def _apply(connection: asyncpg.Connection, files: Sequence[SqlFile]) -> tuple[str, ...]:
    todo = await _pending(connection, files)
    if todo:
        await _check_rights(connection)
        await connection.execute(_REGISTER)
    for file in todo:
        try:
            async with connection.transaction():
                await connection.execute(file.text)
                await connection.execute(
                    "INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)"
                    " ON CONFLICT (name) DO UPDATE SET sha256 = EXCLUDED.sha256, applied_at = EXCLUDED.applied_at",
                    file.name,
                    file.sha256,
                )
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            raise MigrationError(f"{file.name} failed and was rolled back: {' '.join(str(error).split())}") from error
    return tuple(file.name for file in todo)


async def _pending(connection: asyncpg.Connection, files: Sequence[SqlFile]) -> list[SqlFile]:
    if connection.get_server_version().major < SERVER_MIN:
        raise MigrationError(f"the server is PostgreSQL {_version(connection)}; {SERVER_MIN} or newer is needed")
    applied = await _applied(connection)
    gone = sorted(applied.keys() - {file.name for file in files})
    if gone:
        raise MigrationError(
            f"the schema is newer than this program: {gone[0]} was applied, but is not among its files"
        )
    todo = [file for file in files if applied.get(file.name) != file.sha256]
    for file in todo:
        if file.name.startswith("once/") and file.name in applied:
            raise MigrationError(
                f"{file.name} was changed after it was applied: restore it, and add a new file instead"
            )
    return todo


async def _applied(connection: asyncpg.Connection) -> dict[str, str]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    rows = await connection.fetch("SELECT name, sha256 FROM schema_migrations")
    return {row["name"]: row["sha256"] for row in rows}


async def _check_rights(connection: asyncpg.Connection) -> None:
    row = await connection.fetchrow(
        "SELECT current_schema() AS schema, current_user AS role, current_database() AS database,"
        " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS allowed"
    )
    if not row["allowed"]:
        schema = row["schema"] or "(none of the search path exists)"
        raise MigrationError(
            f'role "{row["role"]}" may not create tables in schema {schema} of database "{row["database"]}":'
            f' grant it with GRANT CREATE ON SCHEMA {schema} TO "{row["role"]}"'
        )


async def _backend(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("SELECT backend_kind()"))


def _version(connection: asyncpg.Connection) -> str:
    return str(connection.get_settings().server_version).split(" ", maxsplit=1)[0]
