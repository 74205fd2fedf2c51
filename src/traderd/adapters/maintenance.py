"""Keeps the database in order: settings applied, partitions made ahead, expired rows dropped, rollups refreshed.

The work itself is in sql/always/0002_storage.sql and 0004_rollups.sql; this calls it in short transactions, one piece
after the other, so that a kill leaves nothing half done. What TimescaleDB's community edition does by its own policies
is left to them. Refuses to drop what a journal holds, and to compete with another session that does the same.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from msgspec import Struct, structs

from traderd.adapters.postgres import connect, translate
from traderd.config import Storage
from traderd.config.storage import Chunked
from traderd.core.errors import MigrationError

_DIFFERENT = """
    SELECT p.table_name FROM time_partitioning p
    JOIN unnest($1::text[], $2::text[]::interval[], $3::text[]::interval[], $4::text[]::interval[])
        AS s(table_name, step, compress_after, keep_for) USING (table_name)
    WHERE (p.step, p.compress_after, p.keep_for) IS DISTINCT FROM (s.step, s.compress_after, s.keep_for)
    UNION ALL
    SELECT r.table_name FROM row_retention r
    JOIN unnest($5::text[], $6::text[]::interval[]) AS s(table_name, keep_for) USING (table_name)
    WHERE r.keep_for IS DISTINCT FROM s.keep_for"""
_SET_CHUNKED = """
    UPDATE time_partitioning p SET step = s.step, compress_after = s.compress_after, keep_for = s.keep_for
    FROM unnest($1::text[], $2::text[]::interval[], $3::text[]::interval[], $4::text[]::interval[])
        AS s(table_name, step, compress_after, keep_for)
    WHERE p.table_name = s.table_name"""
_SET_LISTED = """
    UPDATE row_retention r SET keep_for = s.keep_for, swept_at = NULL
    FROM unnest($1::text[], $2::text[]::interval[]) AS s(table_name, keep_for)
    WHERE r.table_name = s.table_name"""
_OWNER = """
    SELECT quote_ident(rolname), rolname = current_user OR pg_has_role(current_user, relowner,
           CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
    FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE pg_class.oid = 'public.time_partitioning'::regclass"""
_UNITS = {"h": "hours", "d": "days", "y": "years"}


class Work(Struct, frozen=True):
    """One piece that was done."""

    what: str
    """`partitions made`, `rollups refreshed`, `partitions of … dropped`, `rows of … deleted`; or `busy`: another
    session is at it, and nothing was done."""
    amount: int


async def apply_settings(target: str | asyncpg.Connection, storage: Storage) -> tuple[str, ...]:
    """Make the tables follow the configuration; returns what changed, one line each: nothing, the second time.

    Acts as the tables' owner, all or nothing. Raises MigrationError where something differs that this role may not
    change, and StoreUnavailableError.
    """
    if isinstance(target, str):
        connection = await connect(target, name="traderd migrate", timeout_s=0, pooled=True)
        try:
            return await apply_settings(connection, storage)
        finally:
            connection.terminate()
    try:
        async with target.transaction():
            return await _apply(target, storage)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise translate(error) or error from error


async def maintain(connection: asyncpg.Connection, at: datetime | None = None) -> dict[str, int]:
    """Do all that there is to do at `at` (default: now), piece by piece; returns how much of which work was done."""
    done: Counter[str] = Counter()
    while (piece := await maintain_a_piece(connection, at)) is not None:
        done[piece.what] += piece.amount
        if piece.what == "busy":
            break
    return dict(done)


async def maintain_a_piece(connection: asyncpg.Connection, at: datetime | None = None) -> Work | None:
    """One short transaction; None when there is nothing left to do."""
    row = await connection.fetchrow("SELECT * FROM maintenance_step(coalesce($1::timestamptz, now()))", at)
    return Work(*row) if row else None


async def refresh_rollups(connection: asyncpg.Connection) -> None:
    """Bring ohlcv_1h and ohlcv_1d up to date now. On the community edition that needs the owner's rights."""
    if await connection.fetchval("SELECT to_regclass('ohlcv_1h_kept') IS NOT NULL"):
        while await connection.fetchval("SELECT refresh_rollups()"):
            pass
        return
    async with _as_owner(connection):  # a refresh can't run inside a transaction, nor in a function
        for rollup in ("ohlcv_1h", "ohlcv_1d"):
            await connection.execute(f"CALL refresh_continuous_aggregate('{rollup}', NULL, NULL)")


async def hold_retention(connection: asyncpg.Connection, journal_id: str, oldest: datetime | None) -> None:
    """Nothing at or after `oldest` is dropped until the journal releases it; None holds everything."""
    await connection.execute("SELECT hold_retention($1, coalesce($2::timestamptz, '-infinity'))", journal_id, oldest)


async def release_retention(connection: asyncpg.Connection, journal_id: str) -> bool:
    """The database has all that this journal had; False if it held nothing."""
    return bool(await connection.fetchval("SELECT release_retention($1)", journal_id))


async def _apply(connection: asyncpg.Connection, storage: Storage) -> tuple[str, ...]:
    tables = structs.asdict(storage.tables)
    chunked = {name: table for name, table in tables.items() if isinstance(table, Chunked)}
    chunks = (
        list(chunked),
        [_interval(table.chunk) for table in chunked.values()],
        [_interval(table.compress_after) for table in chunked.values()],
        [_interval(table.keep) for table in chunked.values()],
    )
    kept = {name: _interval(table.keep) for name, table in tables.items() if name not in chunked}
    kept |= dict.fromkeys(("orders", "executions"), kept["trades"])
    rows = (list(kept), list(kept.values()))
    different = tuple(row["table_name"] for row in await connection.fetch(_DIFFERENT, *chunks, *rows))
    owner, allowed = await connection.fetchrow(_OWNER)
    if not allowed:
        if different:
            raise MigrationError(
                f"storage.tables: {', '.join(different)} differ from the database's settings, which belong to {owner}:"
                " run traderd migrate as a role that may become it"
            )
        return ()
    await connection.execute(f"SET LOCAL ROLE {owner}")
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('traderd'), hashtext('storage'))")
    if different:
        await connection.execute(_SET_CHUNKED, *chunks)
        await connection.execute(_SET_LISTED, *rows)
    carried_out = await connection.fetchval("SELECT apply_storage_settings()")
    return (*(f"{name}: new terms" for name in different), *carried_out)


def _interval(term: str) -> str | None:
    """`7d` → `7 days`; never and forever are NULL."""
    return None if term in ("never", "forever") else f"{term[:-1]} {_UNITS[term[-1]]}"


@asynccontextmanager
async def _as_owner(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """With the rights of the tables' owner, who may be ourselves."""
    role = await connection.fetchval("SELECT current_user")
    await connection.execute(f"SET ROLE {(await connection.fetchrow(_OWNER))[0]}")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT set_config('role', $1, false)", role)
