"""What a database holds, as far as a backup must know: exact row counts, sizes, roles, versions, who may read it all.

A table that is partitioned (native or by TimescaleDB) is one table here. Refuses to count what row-level security would
hide: it is switched off, so that a count is either whole or a fault.
"""

from typing import Any

import asyncpg
from msgspec import Struct

from traderd.adapters.whole_files import BackupError

ROLE = "traderd_backup"
"""Sees every row (BYPASSRLS) and may change none."""

# What the dump holds as data of its own; of TimescaleDB's tables, those that store continuous aggregates.
_TABLES = r"""
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (c.relkind IN ('r', 'p') OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
      AND (n.nspname NOT LIKE '\_timescaledb\_%' OR c.relname LIKE '\_materialized\_hypertable\_%')
      AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY 1"""
DUMPED = r"""
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
      AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))"""
"""What pg_dump reads: everything that is no extension's, and of an extension what it wants to have dumped."""
_UNREADABLE = f"""
    SELECT format('%I.%I', n.nspname, c.relname) {DUMPED}
      AND NOT (has_schema_privilege($1, n.oid, 'USAGE') AND has_table_privilege($1, c.oid, 'SELECT'))
    ORDER BY 1 LIMIT 1"""
_SIZES = r"""
    SELECT n.nspname || '.' || c.relname, pg_table_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'"""
# Default privileges name their owner even in a restore without owners.
_ROLES = """
    SELECT DISTINCT r.rolname FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
    WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND d.refclassid = 'pg_authid'::regclass AND (d.deptype = 'o' AND d.classid <> 'pg_default_acl'::regclass) = $1
    ORDER BY 1"""


_COMPRESSED = "SELECT EXISTS (SELECT FROM timescaledb_information.chunks WHERE is_compressed)"
# How a batch of a compressed column without any value is written in a dump.
_NOTHING_BUT_NULL = "SELECT 'Bg=='::_timescaledb_internal.compressed_data"


class Holdings(Struct, frozen=True, kw_only=True):
    """What a backup's manifest tells about the database."""

    database: str
    backend: str
    """What `backend_kind()` answers."""
    server_version: str
    timescaledb: str
    """The extension's version; "" without it."""
    schema: tuple[str, ...]
    """The files of sql/ that were applied."""
    owners: tuple[str, ...]
    """Whoever owns something, except the server's first superuser."""
    grantees: tuple[str, ...]
    """Whoever was granted something or stands in a policy."""


async def holdings(connection: asyncpg.Connection) -> Holdings:
    """Raises BackupError when the schema isn't ours."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        database = await connection.fetchval("SELECT current_database()")
        raise BackupError(f'the database "{database}" holds no schema of ours: there is nothing to back up')
    return Holdings(
        database=await connection.fetchval("SELECT current_database()"),
        backend=await connection.fetchval("SELECT backend_kind()"),
        server_version=str(connection.get_settings().server_version).split(" ", maxsplit=1)[0],
        timescaledb=await timescaledb_version(connection),
        schema=await _names(connection, "SELECT name FROM schema_migrations ORDER BY name"),
        owners=await _names(connection, _ROLES, True),
        grantees=await _names(connection, _ROLES, False),
    )


async def role_that_sees_everything(connection: asyncpg.Connection) -> str:
    """The role to dump as ("" is the login role itself). Raises BackupError where there is none.

    That is traderd_backup where we may be it: a dump needs no more rights than that, of TimescaleDB neither. In both
    editions everybody may read its catalogue, and a grant on a hypertable reaches its chunks, compressed ones too. A
    superuser dumps as himself where traderd_backup can't read a table (one that somebody else put there).
    """
    row = await connection.fetchrow(
        "SELECT rolname, rolsuper, (SELECT rolbypassrls FROM pg_roles WHERE rolname = $1) AS sees_all"
        " FROM pg_roles WHERE rolname = current_user",
        ROLE,
    )
    there = row["sees_all"] is not None and (row["sees_all"] or not row["rolsuper"])
    role = ROLE if there and await _may_become(connection) else row["rolname"]
    unreadable = await connection.fetchval(_UNREADABLE, role)
    if unreadable is not None and row["rolsuper"]:
        role, unreadable = row["rolname"], None
    if unreadable is not None:
        raise BackupError(f'role "{role}" may not read {unreadable}: a backup of a part is no backup')
    return "" if role == row["rolname"] else role


async def row_counts(connection: asyncpg.Connection) -> dict[str, int]:
    """Exact, by table; in one transaction they are all of one moment."""
    counts: dict[str, int] = {}
    for name in await _names(connection, _TABLES):
        try:
            counts[name] = await connection.fetchval(f"SELECT count(*) FROM {name}")
        except asyncpg.InsufficientPrivilegeError as error:
            raise BackupError(
                f"{name}: {error}: back up as a role that sees every row (GRANT {ROLE} TO the login role)"
            ) from error
    return counts


async def table_sizes(connection: asyncpg.Connection) -> dict[str, int]:
    """Bytes of each table and partition, its indexes not counted, by `schema.name` as pg_dump writes it."""
    return {name: size or 0 for name, size in await connection.fetch(_SIZES)}


async def restore_faults(connection: asyncpg.Connection) -> list[str]:
    """Why what this server dumps may not come back. Not within a transaction.

    TimescaleDB 2.19 writes what it can't read back, and only the version that dumped may restore
    (https://github.com/timescale/timescaledb/pull/8153 mended it). Found by trying, so that no list of versions ages.
    """
    version = await timescaledb_version(connection)
    if version and await connection.fetchval(_COMPRESSED):
        try:
            await connection.execute(_NOTHING_BUT_NULL)
        except asyncpg.PostgresError as error:
            if "returned NULL" in str(error):  # an older version doesn't know it, and never writes it
                return [
                    f"TimescaleDB {version} can't restore compressed columns in which all values are NULL: this backup"
                    " may not come back; install a newer version, and ALTER EXTENSION timescaledb UPDATE"
                ]
    return []


async def timescaledb_version(connection: asyncpg.Connection) -> str:
    """Of the extension in this database; "" without it."""
    return await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'") or ""


async def _may_become(connection: asyncpg.Connection) -> bool:
    privilege = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    return bool(await connection.fetchval("SELECT pg_has_role($1, $2)", ROLE, privilege))


async def _names(connection: asyncpg.Connection, query: str, *arguments: Any) -> tuple[str, ...]:
    return tuple(row[0] for row in await connection.fetch(query, *arguments))
