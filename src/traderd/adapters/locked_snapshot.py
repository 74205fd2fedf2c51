"""One moment of the whole database: a snapshot of which no table can be emptied behind its back.

A transaction sees the rows of its moment, but not in a table that is truncated or rewritten by ALTER TABLE later: that
one looks empty to it. TimescaleDB's compression truncates chunks. So each table is locked first (ACCESS SHARE, which
holds up nobody but such changes), and only then the snapshot is taken. Refuses a snapshot with a table in it that isn't
locked. Like pg_dump, it needs max_locks_per_transaction to be enough for every table, partition and chunk.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from traderd.adapters.holdings import DUMPED
from traderd.adapters.whole_files import BackupError

_TRIES = 10
_LOCK_WAIT_S = 60
_LISTED = f"SELECT c.oid, format('%I.%I', n.nspname, c.relname) {DUMPED} AND c.relkind <> 'S' ORDER BY c.oid"


@asynccontextmanager
async def locked_snapshot(connection: asyncpg.Connection, role: str) -> AsyncIterator[str]:
    """A read-only transaction that sees every row, as `role` unless that is ""; gives its snapshot's exported name.

    Raises BackupError when a table stays locked for a minute, or tables come and go without a pause.
    """
    for _ in range(_TRIES):
        listed = dict(map(tuple, await connection.fetch(_LISTED)))
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if await _locked(connection, role, listed):
                yield await connection.fetchval("SELECT pg_export_snapshot()")
                return
    raise BackupError(f"tables were made or dropped each of the {_TRIES} times that they were to be locked: try again")


async def _locked(connection: asyncpg.Connection, role: str, listed: dict[int, str]) -> bool:
    """Whether every table of the snapshot is locked since before it.

    SET and LOCK take no snapshot: the first SELECT after them does. A table that was made since the listing is either
    in that snapshot, and then the listing is out of date, or it isn't, and then it is nothing that we dump.
    """
    settings = ["idle_in_transaction_session_timeout = 0", "row_security = off", f"lock_timeout = '{_LOCK_WAIT_S}s'"]
    settings += [f"ROLE {role}"] if role else []
    await connection.execute("; ".join(f"SET LOCAL {setting}" for setting in settings))
    try:
        if listed:
            tables = ", ".join(f"ONLY {name}" for name in listed.values())
            await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.DeadlockDetectedError):
        return False
    except asyncpg.LockNotAvailableError as error:
        raise BackupError(f"somebody keeps a table locked for more than {_LOCK_WAIT_S} s: {error}") from error
    await connection.execute("SET LOCAL lock_timeout = 0")
    return {row[0] for row in await connection.fetch(_LISTED)} <= listed.keys()
