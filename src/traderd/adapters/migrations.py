"""The schema, brought up to date from the numbered files in sql/.

`bootstrap.sql` makes what the rest stands on (roles, extension) as far as the login role may. Then, as traderd_owner
where that is possible: `once/` is applied once, in order, and frozen by its SHA-256; `always/` (functions, views) is
applied after that, whenever its text has changed; after_migrate() gives every role its rights. `down/` undoes. Each
file is one transaction together with its row in schema_migrations, all under one advisory lock.
Refuses a server that is too old, a once-file that was changed, a file that was applied and is gone (the schema is newer
than the program), and missing rights: one line each, and nothing is half applied.
To retire an always-file, a once-file drops what it made and deletes its row.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import asyncpg
from msgspec import Struct

from traderd.adapters.postgres import connect, translate
from traderd.adapters.postgres_session import is_pooled
from traderd.core.errors import MigrationError

SERVER_MIN = 15
_LOCK_WAIT_MS = 60_000
_TRIES_MORE = 5
_PAUSE_S = 1.0
"""A job takes about as long."""
_LOCK = "hashtext('traderd'), hashtext('migrate')"
_REGISTER = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name       text COLLATE "C" PRIMARY KEY,
        sha256     text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )"""
_NO_REGISTER = "SELECT to_regclass('schema_migrations') IS NULL"
_REMEMBER = """
    INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET sha256 = EXCLUDED.sha256, applied_at = EXCLUDED.applied_at"""
_AFTER = """
    DO $$ BEGIN
        IF to_regproc('after_migrate') IS NOT NULL THEN PERFORM after_migrate(); END IF;
    END $$"""
_MAY_BE_OWNER = """
    SELECT EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = 'traderd_owner' AND has_schema_privilege(rolname, current_schema(), 'CREATE')
          AND pg_has_role(current_user, oid, CASE WHEN current_setting('server_version_num')::integer >= 160000
                                             THEN 'SET' ELSE 'MEMBER' END))"""
_DAEMON_IS_THERE = """
    SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name IN ('traderd ticks', 'traderd facts'))"""
_MADE = re.compile(r"^CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|VIEW) (\w+)", re.MULTILINE)
_Done = TypeVar("_Done")


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
    notices: tuple[str, ...] = ()
    """What the login role may not do, and what that means."""


class SchemaFile(Struct, frozen=True):
    """Where a file of the schema stands in a database."""

    name: str
    state: str
    """`applied`, `waiting`, `changed` (it is to be applied again), or `unknown` (not among this program's files)."""
    applied_at: datetime | None


async def migrate(target: str | asyncpg.Connection, sql: Path | None = None) -> MigrationReport:
    """Bring the database up to date. Raises MigrationError, and StoreUnavailableError when there is no database.

    Through a pooler, which gives no session for the lock and the owner's role, nothing must be left to do.
    """
    folder = sql or sql_folder()
    if not isinstance(target, str):
        return await _locked(target, lambda connection: _migrate(connection, folder))
    connection = await connect(target, name="traderd migrate", timeout_s=0, pooled=True)
    try:
        if is_pooled(connection):
            return await _up_to_date(connection, folder)
        return await migrate(connection, folder)
    finally:
        connection.terminate()


async def downgrade(
    target: str | asyncpg.Connection, steps: int | None = None, sql: Path | None = None
) -> tuple[str, ...]:
    """Undo the newest `steps` files of once/, None: all of them, with whatever they hold; returns their names.

    Everything of always/ goes first, since it may stand on any of them: the schema then is no program's until it is
    migrated again, by this one or by the older one that knows the files which are left. Raises as `migrate` does.
    """
    return await _locked(target, lambda connection: _downgrade(connection, sql or sql_folder(), steps))


async def pending(connection: asyncpg.Connection, sql: Path | None = None) -> tuple[str, ...]:
    """The files that `migrate` would apply; changes nothing. Raises MigrationError as `migrate` does."""
    return tuple(file.name for file in await _pending(connection, read_files(sql or sql_folder())))


async def history(connection: asyncpg.Connection, sql: Path | None = None) -> list[SchemaFile]:
    """Every file, in the order in which they are applied; those that this program doesn't know come last."""
    if await connection.fetchval(_NO_REGISTER):
        rows = []
    else:
        rows = await connection.fetch("SELECT name, sha256, applied_at FROM schema_migrations ORDER BY name")
    applied = {row["name"]: row for row in rows}
    files = read_files(sql or sql_folder())
    told = []
    for file in files:
        row = applied.pop(file.name, None)
        state = "waiting" if row is None else "applied" if row["sha256"] == file.sha256 else "changed"
        told.append(SchemaFile(file.name, state, row and row["applied_at"]))
    return told + [SchemaFile(name, "unknown", row["applied_at"]) for name, row in applied.items()]


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


async def _locked(target: str | asyncpg.Connection, work: Callable[[asyncpg.Connection], Awaitable[_Done]]) -> _Done:
    """Work on the schema that nobody else does at the same time; its faults in our words."""
    if isinstance(target, str):
        connection = await connect(target, name="traderd migrate", timeout_s=0)
        try:
            return await _locked(connection, work)
        finally:
            connection.terminate()
    try:
        await _lock(target)
        try:
            return await work(target)
        finally:
            if not target.is_closed():
                await target.execute(f"SELECT pg_advisory_unlock({_LOCK})")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise translate(error) or error from error


async def _up_to_date(connection: asyncpg.Connection, sql: Path) -> MigrationReport:
    try:
        async with connection.transaction():
            if todo := await pending(connection, sql):
                raise MigrationError(
                    f"{todo[0]} waits, and a pooler (PgBouncer?) gives no session for it:"
                    " run traderd migrate with the server's own address"
                )
            return MigrationReport((), await _backend(connection), _version(connection))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise translate(error) or error from error


async def _lock(connection: asyncpg.Connection) -> None:
    await connection.execute(f"SET lock_timeout = {_LOCK_WAIT_MS}")
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError("another migration of this database is still running") from error
    finally:
        await connection.execute("RESET lock_timeout")


async def _migrate(connection: asyncpg.Connection, sql: Path) -> MigrationReport:
    todo = await _pending(connection, read_files(sql))
    notices: tuple[str, ...] = ()
    if todo:
        notices = await _bootstrap(connection, sql)
        async with _as_owner(connection):
            await _check_rights(connection)
            await connection.execute(_REGISTER)
            for file in todo:
                last = [(_AFTER,)] if file is todo[-1] else []
                await _step(connection, file.name, (file.text,), (_REMEMBER, file.name, file.sha256), *last)
    return MigrationReport(tuple(file.name for file in todo), await _backend(connection), _version(connection), notices)


async def _bootstrap(connection: asyncpg.Connection, sql: Path) -> tuple[str, ...]:
    """Roles, extension, ownership. Returns what could not be had, in the script's own words."""
    notices: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        notices.append(" ".join(str(message.message).split()))

    connection.add_log_listener(hear)
    try:
        await _step(connection, "bootstrap.sql", ((sql / "bootstrap.sql").read_text(encoding="utf-8"),))
        await asyncio.sleep(0)  # listeners are called by the loop
    finally:
        connection.remove_log_listener(hear)
    return tuple(notices)


@asynccontextmanager
async def _as_owner(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """As traderd_owner, where that role may make tables and we may be it; else as whoever we are."""
    if await connection.fetchval(_MAY_BE_OWNER):
        await connection.execute("SET ROLE traderd_owner")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("RESET ROLE")


async def _step(connection: asyncpg.Connection, name: str, *statements: tuple[str, *tuple[str, ...]]) -> None:
    """One file in one transaction; statements with their arguments. Raises MigrationError.

    Where a job of TimescaleDB's is in the way it begins anew.
    """
    for attempt in range(_TRIES_MORE + 1):
        try:
            async with connection.transaction():
                for statement, *arguments in statements:
                    await connection.execute(statement, *arguments)
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            if _is_in_the_way(error) and attempt < _TRIES_MORE:
                await asyncio.sleep(_PAUSE_S)
                continue
            raise MigrationError(f"{name} failed and was rolled back: {' '.join(str(error).split())}") from error
        else:
            return


def _is_in_the_way(error: asyncpg.PostgresError) -> bool:
    """A job locks the same tables in an order of its own, and the server ended us; or it runs while we change it.

    That would end it, and another role's may not be ended, such as those of an earlier owner.
    """
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return "cancel query" in str(error)
    return isinstance(error, asyncpg.DeadlockDetectedError)


async def _downgrade(connection: asyncpg.Connection, sql: Path, steps: int | None) -> tuple[str, ...]:
    files = read_files(sql)
    await _pending(connection, files)
    applied = await _applied(connection)
    once = [file for file in files if file.name.startswith("once/") and file.name in applied]
    if steps is not None and not 0 < steps <= len(once):
        raise MigrationError(f"{steps} files can't be undone: {len(once)} are applied")
    undone = once[::-1][:steps]
    downs = [(file.name, _counterpart(sql, file.name)) for file in undone]
    if not applied:
        return ()
    if await connection.fetchval(_DAEMON_IS_THERE):
        raise MigrationError("a daemon is connected to this database: stop it first")
    async with _as_owner(connection):
        await _step(
            connection,
            "down/always.sql",
            ("SELECT set_config('traderd.made_once', $1, true)", ",".join(_made_by(once))),
            ((sql / "down/always.sql").read_text(encoding="utf-8"),),
            ("DELETE FROM schema_migrations WHERE name LIKE 'always/%'",),
        )
        for name, text in downs:
            forget = ("DELETE FROM schema_migrations WHERE name = $1", name)
            await _step(connection, name.replace("once/", "down/"), (text,), forget)
        if len(undone) == len(once):
            await connection.execute("DROP TABLE schema_migrations")
    return tuple(name for name, _ in downs)


def _counterpart(sql: Path, name: str) -> str:
    path = sql / name.replace("once/", "down/")
    if not path.exists():
        raise MigrationError(f"{name} can't be undone: {path} is missing")
    return path.read_text(encoding="utf-8")


def _made_by(files: Sequence[SqlFile]) -> list[str]:
    """Names of the functions and views that these files make: their own counterparts drop them."""
    return [name for file in files for name in _MADE.findall(file.text)]


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
    if await connection.fetchval(_NO_REGISTER):
        return {}
    rows = await connection.fetch("SELECT name, sha256 FROM schema_migrations")
    return {row["name"]: row["sha256"] for row in rows}


async def _check_rights(connection: asyncpg.Connection) -> None:
    row = await connection.fetchrow(
        "SELECT current_schema() AS schema, current_user AS role, current_database() AS database,"
        " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS allowed,"
        " to_regrole('traderd_owner') IS NOT NULL AS has_owner"
    )
    if not row["allowed"]:
        schema = row["schema"] or "(none of the search path exists)"
        right = "traderd_owner" if row["has_owner"] else f"CREATE ON SCHEMA {schema}"
        raise MigrationError(
            f'role "{row["role"]}" may not create tables in schema {schema} of database "{row["database"]}":'
            f' grant it with GRANT {right} TO "{row["role"]}"'
        )


async def _backend(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("SELECT backend_kind()"))


def _version(connection: asyncpg.Connection) -> str:
    return str(connection.get_settings().server_version).split(" ", maxsplit=1)[0]
