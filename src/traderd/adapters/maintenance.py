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
from msgspec import structs

from traderd.config import Storage
from traderd.config.storage import Chunked

_SETTINGS = """
    UPDATE time_partitioning p
    SET step = s.step::interval, compress_after = s.compress_after::interval, keep_for = s.keep_for::interval
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS s(table_name, step, compress_after, keep_for)
    WHERE p.table_name = s.table_name AND (p.step, p.compress_after, p.keep_for)
        IS DISTINCT FROM (s.step::interval, s.compress_after::interval, s.keep_for::interval)
    RETURNING format('%s: set', p.table_name)"""
_TERMS = """
    UPDATE row_retention r SET keep_for = s.keep_for::interval, swept_at = NULL
    FROM unnest($1::text[], $2::text[]) AS s(table_name, keep_for)
    WHERE r.table_name = s.table_name AND r.keep_for IS DISTINCT FROM s.keep_for::interval
    RETURNING format('%s: set', r.table_name)"""
_OWNER = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'public.time_partitioning'::regclass"
_UNITS = {"h": "hours", "d": "days", "y": "years"}


async def apply_settings(connection: asyncpg.Connection, storage: Storage) -> tuple[str, ...]:
    """Make the tables follow the configuration; returns what changed, one line each: nothing, the second time.

    Acts as the tables' owner. All or nothing. Raises asyncpg's own errors.
    """
    tables = structs.asdict(storage.tables)
    chunked = {name: table for name, table in tables.items() if isinstance(table, Chunked)}
    listed = {name: _interval(table.keep) for name, table in tables.items() if name not in chunked}
    listed |= dict.fromkeys(("orders", "executions"), listed["trades"])
    async with _as_owner(connection):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('traderd'), hashtext('storage'))")
        changed = await connection.fetch(
            _SETTINGS,
            list(chunked),
            [_interval(table.chunk) for table in chunked.values()],
            [_interval(table.compress_after) for table in chunked.values()],
            [_interval(table.keep) for table in chunked.values()],
        )
        changed += await connection.fetch(_TERMS, list(listed), list(listed.values()))
        applied: list[str] = await connection.fetchval("SELECT apply_storage_settings()")
    return (*(row[0] for row in changed), *applied)


async def maintain(connection: asyncpg.Connection, at: datetime | None = None) -> dict[str, int]:
    """Do all that there is to do at `at` (default: now), piece by piece; returns how much of which work was done.

    `{"busy": 0}`: another session is at it. Raises asyncpg's own errors; what was done until then stays done.
    """
    done: Counter[str] = Counter()
    while True:
        step = await connection.fetchrow("SELECT * FROM maintenance_step(coalesce($1::timestamptz, now()))", at)
        if step is None:
            return dict(done)
        done[step["work"]] += step["amount"]
        if step["work"] == "busy":
            return dict(done)


async def refresh_rollups(connection: asyncpg.Connection) -> None:
    """Bring ohlcv_1h and ohlcv_1d up to date now. On the community edition that needs the owner's rights."""
    if await connection.fetchval("SELECT to_regclass('ohlcv_1h_kept') IS NOT NULL"):
        while await connection.fetchval("SELECT refresh_rollups()"):
            pass
        return
    async with _owner(connection):  # a refresh can't run inside a transaction, nor in a function
        for rollup in ("ohlcv_1h", "ohlcv_1d"):
            await connection.execute(f"CALL refresh_continuous_aggregate('{rollup}', NULL, NULL)")


async def hold_retention(connection: asyncpg.Connection, journal_id: str, oldest: datetime | None) -> None:
    """Nothing at or after `oldest` is dropped until the journal releases it; None holds everything."""
    await connection.execute("SELECT hold_retention($1, coalesce($2::timestamptz, '-infinity'))", journal_id, oldest)


async def release_retention(connection: asyncpg.Connection, journal_id: str) -> bool:
    """The database has all that this journal had; False if it held nothing."""
    return bool(await connection.fetchval("SELECT release_retention($1)", journal_id))


def _interval(term: str) -> str | None:
    """`7d` → `7 days`; never and forever are NULL."""
    return None if term in ("never", "forever") else f"{term[:-1]} {_UNITS[term[-1]]}"


@asynccontextmanager
async def _as_owner(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """In one transaction, with the owner's rights."""
    async with _owner(connection), connection.transaction():
        yield


@asynccontextmanager
async def _owner(connection: asyncpg.Connection) -> AsyncIterator[None]:
    role = await connection.fetchval("SELECT current_user")
    owner = await connection.fetchval(_OWNER)
    if role == owner:
        yield
        return
    await connection.execute(f"SET ROLE {owner}")  # regrole quotes it where it must be
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT set_config('role', $1, false)", role)
