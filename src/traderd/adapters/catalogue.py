"""What the database's own catalogue tells an operator: where the bytes are, which indexes earn theirs, what is slow.

A table stands for its partitions or chunks, a continuous aggregate for what it has materialised. Changes nothing.
"""

from typing import TypeVar

import asyncpg
import msgspec
from msgspec import Struct

from traderd.adapters.postgres import translate
from traderd.core.errors import StoreUnavailableError

_AGGREGATES = """
        UNION ALL
        SELECT view_name::text, oid, oid
        FROM timescaledb_information.continuous_aggregates, to_regclass(format(
            '%I.%I', materialization_hypertable_schema, materialization_hypertable_name)) AS oid"""
_FAMILY = """
    WITH RECURSIVE family AS (
        SELECT relname::text AS name, oid AS root, oid AS member
        FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm') AND NOT relispartition
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
        {aggregates}
        UNION ALL
        SELECT name, root, inhrelid FROM family JOIN pg_inherits ON inhparent = member
    )"""
_SIZES = """
    SELECT name, count(*) FILTER (WHERE member <> root) AS parts,
           sum(CASE relkind WHEN 'p' THEN 0 ELSE greatest(reltuples, pg_stat_get_live_tuples(member), 0) END)::bigint
               AS rows,
           sum(pg_table_size(member))::bigint AS table_bytes, sum(pg_indexes_size(member))::bigint AS index_bytes
    FROM family JOIN pg_class c ON c.oid = member GROUP BY name, root"""
# A compressed chunk's rows are in a table that inherits from nothing.
_COMPRESSED = """
    SELECT name, count(*) FILTER (WHERE member <> root) AS parts,
           greatest(sum(pg_stat_get_live_tuples(member))::bigint, {schema}.approximate_row_count(root)) AS rows,
           h.table_bytes + h.toast_bytes AS table_bytes, h.index_bytes,
           before_compression_total_bytes AS before_compression_bytes,
           after_compression_total_bytes AS after_compression_bytes
    FROM family, {schema}.hypertable_compression_stats(root) c, {schema}.hypertable_detailed_size(root) h
    WHERE number_compressed_chunks > 0 GROUP BY name, root, h.*, c.*, 4, 5, 6, 7"""
_INDEXES = """
    SELECT name AS table, max(i.indexrelid::regclass::text) FILTER (WHERE member = root) AS index,
           sum(pg_stat_get_numscans(i.indexrelid))::bigint AS scans,
           sum(pg_stat_get_tuples_returned(i.indexrelid))::bigint AS rows_read,
           sum(pg_relation_size(i.indexrelid))::bigint AS bytes, indisunique AS is_unique
    FROM family JOIN pg_index i ON indrelid = member
    GROUP BY name, root, indisunique, split_part(pg_get_indexdef(i.indexrelid), ' USING ', 2)
    HAVING bool_or(member = root)
    ORDER BY scans, bytes DESC, 1, 2"""
_SLOW = """
    SELECT query, calls, total_exec_time AS total_ms, mean_exec_time AS mean_ms, max_exec_time AS max_ms, rows
    FROM {schema}.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT $1"""
_Row = TypeVar("_Row", bound=Struct)


class TableSize(Struct, frozen=True):
    """What a table takes on the disk, with all its parts."""

    name: str
    parts: int
    """Partitions or chunks."""
    rows: int
    """An estimate."""
    table_bytes: int
    """With what is stored aside (TOAST)."""
    index_bytes: int
    before_compression_bytes: int | None = None
    """Of the chunks that are compressed now; None where none is."""
    after_compression_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        """Rows and indexes."""
        return self.table_bytes + self.index_bytes


class IndexUse(Struct, frozen=True):
    """How often an index was used since the server's statistics began, over all parts of its table."""

    table: str
    index: str
    scans: int
    rows_read: int
    bytes: int
    is_unique: bool
    """Then it is there to refuse duplicates, whether anything reads it or not."""


class SlowQuery(Struct, frozen=True):
    """A kind of statement, its constants left out, since the statistics began."""

    query: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    rows: int


async def database_bytes(connection: asyncpg.Connection) -> int:
    """Everything that the database takes, also what isn't ours."""
    return int(await connection.fetchval("SELECT pg_database_size(current_database())"))


async def table_sizes(connection: asyncpg.Connection) -> list[TableSize]:
    """Every table of ours, the largest first. Raises StoreUnavailableError."""
    timescale = await _schema_of(connection, "timescaledb")
    tables = {table.name: table for table in await _rows(connection, _family(timescale) + _SIZES, TableSize)}
    if await connection.fetchval("SELECT current_setting('timescaledb.license', true) = 'timescale'"):
        compressed = _family(timescale) + _COMPRESSED.format(schema=timescale)
        tables |= {table.name: table for table in await _rows(connection, compressed, TableSize)}
    return sorted(tables.values(), key=lambda table: (-table.total_bytes, table.name))


async def index_uses(connection: asyncpg.Connection) -> list[IndexUse]:
    """Every index of ours, the least used first. Raises StoreUnavailableError."""
    timescale = await _schema_of(connection, "timescaledb")
    return await _rows(connection, _family(timescale) + _INDEXES, IndexUse)


async def slow_queries(connection: asyncpg.Connection, at_most: int) -> list[SlowQuery]:
    """What took the longest in all. Raises StoreUnavailableError, also where the server keeps no such record."""
    schema = await _schema_of(connection, "pg_stat_statements")
    if schema is None:
        raise StoreUnavailableError(
            "the database keeps no record of its statements: put pg_stat_statements into the server's"
            " shared_preload_libraries, restart it, and run CREATE EXTENSION pg_stat_statements in the database"
        )
    return await _rows(connection, _SLOW.format(schema=schema), SlowQuery, at_most)


def _family(timescale: str | None) -> str:
    return _FAMILY.format(aggregates=_AGGREGATES if timescale else "")


async def _schema_of(connection: asyncpg.Connection, extension: str) -> str | None:
    """Where an extension's functions are, quoted; None where it isn't installed."""
    schema = await connection.fetchval(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = $1",
        extension,
    )
    return None if schema is None else str(schema)


async def _rows(connection: asyncpg.Connection, query: str, kind: type[_Row], *values: object) -> list[_Row]:
    try:
        return [msgspec.convert(dict(row), kind) for row in await connection.fetch(query, *values)]
    except asyncpg.PostgresError as error:
        raise translate(error) or error from error
