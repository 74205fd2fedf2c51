"""`traderd db archive`: old backtests out of the database into a compressed file, and `unarchive` back in.

    DIR/archive/backtests-20250131T020000Z.jsonl.gz    a line of JSON for each row: its table, and the row
    DIR/archive/backtests-20250131T020000Z.json        its SHA-256, and how many rows of which checksum

In one transaction: the rows are locked and read, the file is written, forced to the disk and read back, its rows are
compared with the database's own count and checksum, it gets its name, the rows are deleted. Whatever happens in
between, the rows are in the database, in a complete file, or in both. It acts for one user after the other, since
row-level security lets nobody but superusers see more. Refuses to delete any row that isn't in the file.
"""

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from traderd.adapters.postgres import connect, translate
from traderd.adapters.rotation import stamp
from traderd.adapters.whole_files import BackupError, Unfinished, folder_to_ourselves, sha256_of, write_whole

_TABLES: Final = {"backtests": "id", "backtest_trades": "backtest_id"}
"""In the order in which they may be inserted, each with the column that names the backtest."""
_OLD = """
    SELECT id FROM backtests
    WHERE user_id = $1 AND status = 'completed' AND coalesce(completed_at, created_at) < $2 ORDER BY id FOR UPDATE"""
_LINES = """
    SELECT json_build_object('table', '{table}', 'row', row_to_json(t))::text AS line
    FROM {table} t WHERE {key} = ANY($1::uuid[])"""
# A sum doesn't depend on the order, and needs no memory: 60 bits of each line's SHA-256.
_CHECKSUM = """
    SELECT count(*), coalesce(sum(('x' || left(encode(sha256(convert_to(line, 'UTF8')), 'hex'), 15))::bit(60)::bigint),
                              0)::text FROM ({lines}) lines"""
# Only the columns that the file knows: those that were added since have their defaults.
_INSERT = """
    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {columns} FROM unnest($1::text[]) line, json_populate_record(NULL::{table}, line::json -> 'row')
    ON CONFLICT DO NOTHING"""
_SAME = """
    SELECT count(*) FROM unnest($1::text[]) line
    CROSS JOIN json_populate_record(NULL::{table}, line::json -> 'row') r JOIN {table} t ON t.id = r.id
    WHERE to_jsonb(t) || (line::jsonb -> 'row') = to_jsonb(t)"""
_BATCH = 1_000
_Backtests = dict[UUID, list[UUID]]
"""By user."""


class Content(Struct, frozen=True):
    """How many rows, and the sum of 60 bits of each line's SHA-256."""

    rows: int
    checksum: str


class ArchiveManifest(Struct, frozen=True, kw_only=True):
    """What stands beside an archive."""

    file: str
    sha256: str
    size: int
    older_than: datetime
    tables: dict[str, Content]


class ArchiveReport(Struct, frozen=True, kw_only=True):
    """What was moved. `file` is "" when there was nothing to move."""

    file: str
    rows: dict[str, int]


async def archive(dsn: str, folder: Path, at: datetime, older_than: timedelta) -> ArchiveReport:
    """Move the backtests that were completed longer ago than that. Raises TraderdError."""
    async with _transaction(dsn, "traderd archive") as connection:
        old = await _old(connection, at - older_than)
        if not old:
            return ArchiveReport(file="", rows=dict.fromkeys(_TABLES, 0))
        path = folder / "archive" / f"backtests-{stamp(at)}.jsonl.gz"
        with folder_to_ourselves(path.parent):
            manifest = await _write(connection, path, old, at - older_than)
            try:
                await _delete(connection, old, manifest)
            except BaseException:
                for file in (path, manifest_of(path)):  # nothing is deleted: the rows are where they were
                    file.unlink(missing_ok=True)
                raise
    return ArchiveReport(file=str(path), rows={name: content.rows for name, content in manifest.tables.items()})


async def unarchive(dsn: str, file: Path) -> ArchiveReport:
    """Bring an archive's rows back; those that are there already stay. The file stays too. Raises TraderdError."""
    await asyncio.to_thread(checked_archive, file)
    added = dict.fromkeys(_TABLES, 0)
    async with _transaction(dsn, "traderd unarchive") as connection:
        for table, user, lines in _batches(file):
            await _act_for(connection, user)
            columns = ", ".join(f'"{column}"' for column in msgspec.json.decode(lines[0])["row"])
            done = await connection.execute(_INSERT.format(table=table, columns=columns), lines)
            added[table] += int(done.rpartition(" ")[2])
            if await connection.fetchval(_SAME.format(table=table), lines) != len(lines):
                raise BackupError(f"{file}: {table} holds other rows under the same keys: nothing was changed")
    return ArchiveReport(file=str(file), rows=added)


def checked_archive(file: Path) -> ArchiveManifest:
    """The manifest of an archive that is what it says. Raises BackupError."""
    try:
        manifest = msgspec.json.decode(manifest_of(file).read_bytes(), type=ArchiveManifest)
        if manifest.file != file.name or sha256_of(file) != manifest.sha256:
            raise BackupError(f"{file} is not what {manifest_of(file)} says: it is damaged, or another file's manifest")
        if _in_file(file) != manifest.tables:
            raise BackupError(f"{file} does not hold the rows that {manifest_of(file)} says")
    except OSError as error:
        raise BackupError(f"{error.filename or file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, EOFError) as error:
        raise BackupError(f"{file} or its manifest can't be read: {error}") from error
    return manifest


def manifest_of(archive: Path) -> Path:
    """The manifest's path beside an archive's."""
    return archive.with_name(f"{archive.name.partition('.')[0]}.json")


@asynccontextmanager
async def _transaction(dsn: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """One snapshot, for as long as it takes."""
    connection = await connect(dsn, name=name, timeout_s=0)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise translate(error) or error from error
    finally:
        connection.terminate()


async def _old(connection: asyncpg.Connection, before: datetime) -> _Backtests:
    """What is to be moved, locked."""
    old: _Backtests = {}
    for (user,) in await connection.fetch("SELECT id FROM users ORDER BY id"):
        await _act_for(connection, user)
        if backtests := [row["id"] for row in await connection.fetch(_OLD, user, before)]:
            old[user] = backtests
    return old


async def _act_for(connection: asyncpg.Connection, user: UUID | str) -> None:
    await connection.execute("SELECT set_config('app.current_user_id', $1, true)", str(user))


async def _write(connection: asyncpg.Connection, path: Path, old: _Backtests, older_than: datetime) -> ArchiveManifest:
    """The file and its manifest, complete and on the disk."""
    with Unfinished(path) as file:
        packed = zlib.compressobj(wbits=31)  # 31: with gzip's head and tail
        for user, backtests in old.items():
            await _act_for(connection, user)
            for table, key in _TABLES.items():
                async for row in connection.cursor(_LINES.format(table=table, key=key), backtests):
                    file.write(packed.compress(row["line"].encode() + b"\n"))
        file.write(packed.flush())
        written = await asyncio.to_thread(file.sealed)
        expected = await _in_database(connection, old)
        if await asyncio.to_thread(_in_file, written) != expected:
            raise BackupError(f"{written} does not hold the rows that were read: nothing was deleted")
        manifest = ArchiveManifest(
            file=path.name, sha256=file.sha256, size=file.size, older_than=older_than, tables=expected
        )
        write_whole(manifest_of(path), msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.finish()
    return manifest


async def _delete(connection: asyncpg.Connection, old: _Backtests, manifest: ArchiveManifest) -> None:
    gone = dict.fromkeys(_TABLES, 0)
    for user, backtests in old.items():
        await _act_for(connection, user)
        for table, key in reversed(_TABLES.items()):
            done = await connection.execute(f"DELETE FROM {table} WHERE {key} = ANY($1::uuid[])", backtests)
            gone[table] += int(done.rpartition(" ")[2])
    for table, content in manifest.tables.items():
        if gone[table] != content.rows:
            raise BackupError(f"{gone[table]} {table} of {content.rows} that were archived went: nothing was deleted")


async def _in_database(connection: asyncpg.Connection, old: _Backtests) -> dict[str, Content]:
    rows, sums = dict.fromkeys(_TABLES, 0), dict.fromkeys(_TABLES, 0)
    for user, backtests in old.items():
        await _act_for(connection, user)
        for table, key in _TABLES.items():
            query = _CHECKSUM.format(lines=_LINES.format(table=table, key=key))
            count, checksum = await connection.fetchrow(query, backtests)
            rows[table] += count
            sums[table] += int(checksum)
    return {table: Content(rows[table], str(sums[table])) for table in _TABLES}


def _in_file(file: Path) -> dict[str, Content]:
    rows, sums = dict.fromkeys(_TABLES, 0), dict.fromkeys(_TABLES, 0)
    for table, _, lines in _batches(file):
        rows[table] += len(lines)
        sums[table] += sum(int(hashlib.sha256(line.encode()).hexdigest()[:15], 16) for line in lines)
    return {table: Content(rows[table], str(sums[table])) for table in _TABLES}


def _batches(file: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Lines in their order, at most so many of one table and one user at a time, the user named.

    A user's backtests stand before their trades. Raises BackupError for what isn't an archive.
    """
    batch: list[str] = []
    of, user = "", ""
    for line in _lines(file):
        content = msgspec.json.decode(line)
        table = content["table"]
        if table not in _TABLES:
            raise BackupError(f"{file} holds rows of {table!r}: it is no archive of ours")
        owner = content["row"].get("user_id", user)
        if batch and ((table, owner) != (of, user) or len(batch) == _BATCH):
            yield of, user, batch
            batch = []
        of, user = table, owner
        batch.append(line)
    if batch:
        yield of, user, batch


def _lines(file: Path) -> Iterable[str]:
    with gzip.open(file, "rt", encoding="utf-8", newline="\n") as packed:
        for line in packed:
            yield line.removesuffix("\n")
