"""`traderd db restore`: a dump of `traderd db backup` into an empty database, all of it or nothing.

pg_restore runs in a single transaction, and the row counts are compared with the manifest's. Where something fails,
what was made is dropped again, but for roles that had to be made: they are the whole server's.
Refuses a database that holds anything, a dump that isn't what its manifest says, a TimescaleDB of another version, and
roles that are missing and aren't ours to make.
"""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from traderd.adapters.backup import Manifest, manifest_of
from traderd.adapters.dump_stream import restore_from
from traderd.adapters.emptiness import check_empty, clear, schemas
from traderd.adapters.encryption import decrypting
from traderd.adapters.holdings import Holdings, row_counts, timescaledb_version
from traderd.adapters.migrations import sql_folder
from traderd.adapters.postgres import connect, redact, translate
from traderd.adapters.postgres_programs import find_programs, without_password
from traderd.adapters.whole_files import BackupError, sha256_of

_OWNER = "traderd_owner"
_OURS = "traderd_"


class RestoreReport(Struct, frozen=True, kw_only=True):
    """What is in the database now: what the manifest says."""

    file: str
    database: str
    taken_at: str
    schema: str
    """The newest file of sql/once that the dump knows."""
    tables: int
    rows: int
    roles_made: tuple[str, ...]


async def restore(file: Path, dsn: str, identity: Path | None = None) -> RestoreReport:
    """Restore it. `identity` is age's. Raises TraderdError; then the database is as empty as before."""
    manifest = await asyncio.to_thread(checked_manifest, file)
    decrypt = decrypting(file, identity)
    connection = await connect(dsn, name="traderd restore", timeout_s=0)
    try:
        return await _restore(connection, file, dsn, decrypt, manifest)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translate(error) or error from error
    finally:
        connection.terminate()


def checked_manifest(file: Path) -> Manifest:
    """The manifest of a dump that is what it says. Raises BackupError."""
    beside = manifest_of(file)
    try:
        manifest = msgspec.json.decode(beside.read_bytes(), type=Manifest)
        size = file.stat().st_size
        if manifest.file != file.name:
            raise BackupError(f"{beside} is the manifest of {manifest.file}, not of {file.name}")
        if size != manifest.size:
            raise BackupError(f"{file} has {size:,} bytes; its manifest says {manifest.size:,}: it is not whole")
        if sha256_of(file) != manifest.sha256:
            raise BackupError(f"{file} is damaged: its SHA-256 is not the manifest's")
    except OSError as error:
        raise BackupError(f"{error.filename}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BackupError(f"{beside} is no manifest of a backup: {error}") from error
    return manifest


async def _restore(
    connection: asyncpg.Connection, file: Path, dsn: str, decrypt: list[str], manifest: Manifest
) -> RestoreReport:
    source = manifest.source
    await check_empty(connection)
    _check_server(connection, source)
    await _check_timescaledb(connection, source)
    missing = await _missing_roles(connection, source)
    pg_dump = int(manifest.pg_dump.partition(".")[0])
    programs = await asyncio.to_thread(find_programs, pg_dump, manifest.compression == "zstd")
    words, env = without_password(dsn)
    command = [programs.restore, "--single-transaction", "--exit-on-error", "--no-password", f"--dbname={words}"]
    if _OWNER not in source.owners:
        command.append("--no-owner")  # then all belonged to whoever migrated, and belongs to whoever restores
    before = await schemas(connection), bool(await timescaledb_version(connection))
    try:
        if source.timescaledb:
            await _open_timescaledb(connection, source)
        await _make_roles(connection, source)
        if not source.timescaledb:  # which bootstrap.sql makes where it can, and whose functions would be in the way
            await connection.execute("DROP EXTENSION IF EXISTS timescaledb")
        await restore_from(file, decrypt, command, env)
        # Compared first: TimescaleDB's jobs run at once after that, and drop what has expired meanwhile.
        rows = await _compared(dsn, manifest)
        if source.timescaledb:
            await connection.execute("SELECT timescaledb_post_restore()")
    except BaseException as fault:
        await _undo(dsn, *before, fault)
        raise
    return RestoreReport(
        file=str(file),
        database=redact(dsn),
        taken_at=manifest.taken_at.isoformat(),
        schema=max((name for name in source.schema if name.startswith("once/")), default=""),
        tables=len(rows),
        rows=sum(rows.values()),
        roles_made=missing,
    )


def _check_server(connection: asyncpg.Connection, source: Holdings) -> None:
    """PostgreSQL promises that a dump goes into the same or a newer major version."""
    here, there = connection.get_server_version().major, int(source.server_version.partition(".")[0])
    if here < there:
        raise BackupError(
            f"the dump is from PostgreSQL {there}, and this server is {here}: one of {there} or newer is needed"
        )


async def _check_timescaledb(connection: asyncpg.Connection, source: Holdings) -> None:
    """TimescaleDB's catalogue is part of the dump, and only the same version understands it."""
    wanted, here = source.timescaledb, await timescaledb_version(connection)
    if not wanted:
        if here:
            raise BackupError(
                f"the dump is of plain PostgreSQL, and the database holds TimescaleDB {here}: drop the extension first"
            )
        return
    query = "SELECT version FROM pg_available_extension_versions WHERE name = 'timescaledb' ORDER BY 1"
    offered = [row[0] for row in await connection.fetch(query)]
    if here not in ("", wanted) or wanted not in offered:
        have = here or ", ".join(offered) or "none"
        raise BackupError(
            f"the dump is of TimescaleDB {wanted}, and only that version can restore it; this server has {have}:"
            " restore it on a server that has it, and update there with ALTER EXTENSION timescaledb UPDATE"
        )
    if await connection.fetchval("SELECT current_setting('timescaledb.max_background_workers', true)") is None:
        raise BackupError("TimescaleDB is installed but not loaded: put timescaledb into shared_preload_libraries")


async def _open_timescaledb(connection: asyncpg.Connection, source: Holdings) -> None:
    if not await timescaledb_version(connection):
        await connection.execute(f"CREATE EXTENSION timescaledb VERSION '{source.timescaledb}'")
    edition = await connection.fetchval("SELECT current_setting('timescaledb.license', true)")
    if edition == "apache" and source.backend == "timescaledb-community":
        raise BackupError("the dump is of TimescaleDB's community edition, and this server has the Apache edition")
    await connection.execute("SELECT timescaledb_pre_restore()")


async def _missing_roles(connection: asyncpg.Connection, source: Holdings) -> tuple[str, ...]:
    """Those of ours that will be made. Raises BackupError where others are missing."""
    wanted = {*source.grantees, *(source.owners if _OWNER in source.owners else ())}
    there = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    missing = sorted(wanted - there)
    others = [name for name in missing if not name.startswith(_OURS)]
    if others:
        raise BackupError(f'the dump names the role "{others[0]}", which this server doesn\'t have: create it first')
    return tuple(missing)


async def _make_roles(connection: asyncpg.Connection, source: Holdings) -> None:
    """As `migrate` makes them, with the rights in this database that they need to own something."""
    if any(name.startswith(_OURS) for name in (*source.owners, *source.grantees)):
        await connection.execute((sql_folder() / "bootstrap.sql").read_text(encoding="utf-8"))
        if missing := await _missing_roles(connection, source):
            raise BackupError(f'the dump names the role "{missing[0]}", and this login role may not create roles')


async def _compared(dsn: str, manifest: Manifest) -> dict[str, int]:
    """The rows by table, on a connection that knows the restored catalogue. Raises BackupError where they differ.

    In restoring mode a hypertable would look as empty as its root table, so this session alone leaves it.
    """
    connection = await connect(dsn, name="traderd restore", timeout_s=0)
    try:
        if manifest.source.timescaledb:
            await connection.execute("SET timescaledb.restoring = off")
        rows = await row_counts(connection)
    finally:
        connection.terminate()
    differing = sorted(name for name in rows.keys() | manifest.rows.keys() if rows.get(name) != manifest.rows.get(name))
    if differing:
        name = differing[0]
        raise BackupError(
            f"{len(differing)} tables differ from the manifest, such as {name}: {rows.get(name)} rows instead of"
            f" {manifest.rows.get(name)}; everything was dropped again"
        )
    return rows


async def _undo(dsn: str, schemas_before: list[str], extension_before: bool, fault: BaseException) -> None:
    """Drop what was made. On a connection of its own: the other one may have been interrupted."""
    try:
        connection = await connect(dsn, name="traderd restore", timeout_s=0)
        try:
            if not extension_before:
                await connection.execute("DROP EXTENSION IF EXISTS timescaledb CASCADE")
            elif await timescaledb_version(connection):
                await connection.execute("SELECT timescaledb_post_restore()")
            database = await connection.fetchval("SELECT quote_ident(current_database())")
            await connection.execute(f"ALTER DATABASE {database} RESET timescaledb.restoring")
            await clear(connection, schemas_before)
        finally:
            connection.terminate()
    except Exception as failed:
        words = str(translate(failed) or failed)
        raise BackupError(f"{fault}; and what was made could not be dropped again: {words}") from fault
