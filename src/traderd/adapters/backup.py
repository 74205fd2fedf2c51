"""`traderd db backup`: the whole database in one file, with a manifest that says what must be in it.

    DIR/traderd-20250131T020000Z.dump[.age|.gpg]    pg_dump's custom format, compressed
    DIR/traderd-20250131T020000Z.json               its SHA-256, and the exact row counts of the same snapshot

The file has its name only when every byte of it was read by pg_restore and is on the disk. Older backups are deleted
only after that. Refuses to dump what the role can't see in full.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from traderd.adapters.dump_stream import DumpTold, Progress, dump_into
from traderd.adapters.encryption import encrypting, suffix
from traderd.adapters.holdings import (
    Holdings,
    holdings,
    restore_faults,
    role_that_sees_everything,
    row_counts,
    table_sizes,
)
from traderd.adapters.locked_snapshot import locked_snapshot
from traderd.adapters.postgres import connect, translate
from traderd.adapters.postgres_programs import Programs, find_programs, without_password
from traderd.adapters.rotation import Keep, expired, stamp, taken_at
from traderd.adapters.whole_files import BackupError, Unfinished, folder_to_ourselves, sync_folder, write_whole

_LOCK_WAIT_MS = 10_000
"""How long pg_dump waits for a table. We have them all locked: it only waits behind whoever waits for us."""
_TRIES = 5


class Manifest(Struct, frozen=True, kw_only=True):
    """What stands beside a dump."""

    file: str
    sha256: str
    size: int
    taken_at: datetime
    compression: str
    pg_dump: str
    """The version of the program that wrote it: an older pg_restore may not read it."""
    source: Holdings
    rows: dict[str, int]
    """Exact, by table."""


class BackupReport(Struct, frozen=True, kw_only=True):
    """What was made, and what was deleted."""

    file: str
    manifest: str
    size: int
    tables: int
    rows: int
    warnings: tuple[str, ...]
    deleted: tuple[str, ...]


async def backup(
    dsn: str,
    folder: Path,
    at: datetime,
    *,
    encrypt_to: str = "",
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Back the database up into `folder`; without `keep` nothing is deleted there. Raises TraderdError."""
    encrypt = encrypting(encrypt_to)
    connection = await connect(dsn, name="traderd backup", timeout_s=0)
    try:
        with folder_to_ourselves(folder):
            path = folder / f"traderd-{stamp(at)}.dump{suffix(encrypt_to)}"
            for tries_left in reversed(range(_TRIES)):
                try:
                    size, manifest, warnings = await _written(connection, dsn, path, encrypt, at, progress)
                    break
                except BackupError as error:
                    # Somebody asked to change a table after we had locked it and before pg_dump had: he waits for us,
                    # pg_dump for him until its limit ends it, and we for pg_dump. (Where the server speaks English.)
                    if not tries_left or "statement timeout" not in str(error):
                        raise
            deleted = _rotate(folder, at, keep) if keep is not None else ()
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translate(error) or error from error
    finally:
        connection.terminate()
    return BackupReport(
        file=str(path),
        manifest=str(manifest_of(path)),
        size=size,
        tables=len(manifest.rows),
        rows=sum(manifest.rows.values()),
        warnings=tuple(warnings),
        deleted=deleted,
    )


def manifest_of(dump: Path) -> Path:
    """The manifest's path beside a dump's."""
    return dump.with_name(f"{dump.name.partition('.')[0]}.json")


async def _written(
    connection: asyncpg.Connection,
    dsn: str,
    path: Path,
    encrypt: list[str],
    at: datetime,
    progress: Progress | None,
) -> tuple[int, Manifest, list[str]]:
    """The file and its manifest, whole or not at all."""
    with Unfinished(path) as file:
        manifest, warnings = await _dump(connection, dsn, file, encrypt, at, progress)
        await asyncio.to_thread(file.sealed)
        # First the manifest: a dump that has its name can be restored.
        write_whole(manifest_of(path), msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.finish()
    return file.size, manifest, warnings


async def _dump(
    connection: asyncpg.Connection,
    dsn: str,
    file: Unfinished,
    encrypt: list[str],
    at: datetime,
    progress: Progress | None,
) -> tuple[Manifest, list[str]]:
    """Within a transaction whose snapshot pg_dump shares: what is counted is what is dumped."""
    role = await role_that_sees_everything(connection)
    faults = await restore_faults(connection)
    told = DumpTold(await table_sizes(connection), progress)
    programs = await asyncio.to_thread(find_programs, connection.get_server_version().major)
    compression = "zstd" if await asyncio.to_thread(programs.knows_zstd) else "gzip"
    words, env = without_password(dsn)
    dump = [programs.dump, *_options(compression, programs), f"--dbname={words}"]
    if role:
        dump.append(f"--role={role}")
    async with locked_snapshot(connection, role) as snapshot:
        source = await holdings(connection)
        dump.append(f"--snapshot={snapshot}")
        check = [programs.restore, "--file=/dev/null"]
        rows = await _counted_while(dump_into(file, dump, check, encrypt, told, env), connection)
    manifest = Manifest(
        file=file.path.name,
        sha256=file.sha256,
        size=file.size,
        taken_at=at,
        compression=compression,
        pg_dump=programs.version,
        source=source,
        rows=rows,
    )
    return manifest, [*faults, *told.warnings]


async def _counted_while(dumping: Coroutine[Any, Any, None], connection: asyncpg.Connection) -> dict[str, int]:
    """Both at once; a fault of one ends the other. The count's comes first: without it the snapshot is gone."""
    counting = asyncio.create_task(row_counts(connection))
    tasks = (counting, asyncio.create_task(dumping))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        return counting.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _options(compression: str, programs: Programs) -> list[str]:
    """Before version 16 there is gzip only, and its level is all that may be said."""
    compress = f"--compress={compression}" if programs.major >= 16 else "--compress=6"
    return ["--format=custom", compress, "--verbose", "--no-password", f"--lock-wait-timeout={_LOCK_WAIT_MS}"]


def _rotate(folder: Path, newest: datetime, keep: Keep) -> tuple[str, ...]:
    """Delete what has expired, dumps before their manifests; returns their names."""
    newest = newest.replace(microsecond=0)  # names hold no more
    backups = [(at, path) for path in folder.iterdir() if (at := taken_at(path.name)) is not None]
    gone = expired((at for at, _ in backups), newest, keep)
    dumps = sorted(path for at, path in backups if at in gone)
    try:
        for dump in dumps:
            dump.unlink()
            manifest_of(dump).unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(
            f"the new backup is complete, but {error.filename} can't be deleted: {error.strerror}"
        ) from error
    sync_folder(folder)
    return tuple(dump.name for dump in dumps)
