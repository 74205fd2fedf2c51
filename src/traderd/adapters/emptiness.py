"""Whether a database is empty, and how it gets empty again: both ask the same question, so that nothing which was there
before can be dropped.

Refuses a database that holds any table, view, sequence, type of rows or function outside of extensions.
"""

import asyncpg

from traderd.adapters.whole_files import BackupError

_HELD = r"""
    WITH schemas AS (
        SELECT oid, nspname FROM pg_namespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
          AND oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND deptype = 'e')
    ), extensions AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                        WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind,
           format('%I.%I', nspname, relname) AS name
    FROM pg_class c JOIN schemas ON relnamespace = schemas.oid
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND NOT relispartition
      AND ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM extensions)
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p JOIN schemas ON pronamespace = schemas.oid
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT * FROM extensions)
    ORDER BY kind DESC, name"""


async def check_empty(connection: asyncpg.Connection) -> None:
    """Raises BackupError, naming what is there."""
    held = await connection.fetch(_HELD)
    if held:
        database = await connection.fetchval("SELECT current_database()")
        raise BackupError(
            f'the database "{database}" is not empty: it holds {held[0]["name"]} and {len(held) - 1} others; create an'
            " empty one and name it with --into"
        )


async def clear(connection: asyncpg.Connection, schemas_before: list[str]) -> None:
    """Drop everything, and the schemas that weren't there before. Only for what `check_empty` let pass."""
    for schema in set(await schemas(connection)) - set(schemas_before):
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    for row in await connection.fetch(_HELD):
        await connection.execute(f"DROP {row['kind']} IF EXISTS {row['name']} CASCADE")


async def schemas(connection: asyncpg.Connection) -> list[str]:
    """All that there are, but for temporary ones."""
    query = r"SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%'"
    return [row[0] for row in await connection.fetch(query)]
