"""What the catalogue tells about sizes, indexes and slow statements, on real servers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.catalogue import IndexUse, database_bytes, index_uses, slow_queries, table_sizes
from traderd.core.errors import StoreUnavailableError

NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)
DAYS = 3
PER_DAY = 1_000


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """To a database with three days of ticks, each day a part of its own."""
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("SELECT ensure_partitions('tick_data', $1, $2)", NOON, NOON + timedelta(days=DAYS - 1))
    await connection.execute(
        "INSERT INTO tick_data (time, symbol, exchange, bid, sequence)"
        " SELECT $1::timestamptz + make_interval(days => day, secs => second), 'BTC/USDT', 'binance', 1, second"
        " FROM generate_series(0, $2::int - 1) day, generate_series(1, $3::int) second",
        NOON,
        DAYS,
        PER_DAY,
    )
    await connection.execute("ANALYZE tick_data")
    yield connection
    await connection.close()


async def test_a_table_stands_for_all_its_partitions_or_chunks(connection: asyncpg.Connection) -> None:
    """Rows and bytes are theirs together; none is told on its own; the largest comes first."""
    tables = await table_sizes(connection)
    ticks = next(table for table in tables if table.name == "tick_data")
    assert (ticks.parts, ticks.rows) == (DAYS, DAYS * PER_DAY)
    assert ticks.table_bytes >= DAYS * PER_DAY * 60
    assert ticks.index_bytes > DAYS * 8192
    assert ticks.total_bytes < await database_bytes(connection)
    assert tables == sorted(tables, key=lambda table: -table.total_bytes)
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)
    assert {"orders", "ohlcv", "schema_migrations"} <= set(names)
    assert not any("chunk" in name or name.startswith("tick_data_p") for name in names)


async def test_a_compressed_table_tells_what_it_would_take_and_what_it_takes(
    connection: asyncpg.Connection, backend: str
) -> None:
    """Where there is compression; elsewhere both are unknown."""
    if backend == "timescaledb-community":
        settings = (
            "timescaledb.compress, timescaledb.compress_segmentby = 'symbol', timescaledb.compress_orderby = 'time'"
        )
        await connection.execute(f"ALTER TABLE tick_data SET ({settings})")
        await connection.execute("SELECT compress_chunk(c, true) FROM show_chunks('tick_data') c")
    ticks = next(table for table in await table_sizes(connection) if table.name == "tick_data")
    if backend == "timescaledb-community":
        assert ticks.before_compression_bytes is not None
        assert ticks.after_compression_bytes is not None
        assert 0 < ticks.after_compression_bytes < ticks.before_compression_bytes
        assert ticks.rows == DAYS * PER_DAY
    else:
        assert (ticks.before_compression_bytes, ticks.after_compression_bytes) == (None, None)


async def test_an_index_is_told_once_with_the_scans_of_all_parts(connection: asyncpg.Connection) -> None:
    """A query over all days uses the index of each part."""
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    before = await _use(connection, "tick_data_symbol_time")
    for _ in range(5):
        await connection.fetch("SELECT bid FROM tick_data WHERE symbol = 'BTC/USDT' ORDER BY time DESC")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    after = await _use(connection, "tick_data_symbol_time")
    assert (before.table, before.is_unique) == ("tick_data", False)
    assert after.scans - before.scans == 5 * DAYS
    assert after.rows_read - before.rows_read == 5 * DAYS * PER_DAY
    assert after.bytes > DAYS * 8192
    uses = await index_uses(connection)
    assert len({use.index for use in uses}) == len(uses)
    assert not any("chunk" in use.index or "_p2025" in use.index for use in uses)


async def _use(connection: asyncpg.Connection, index: str) -> IndexUse:
    (found,) = [use for use in await index_uses(connection) if use.index == index]
    return found


async def test_slow_statements_are_told_or_how_to_have_them_told(connection: asyncpg.Connection, backend: str) -> None:
    """By kind of statement, the longest in all first. Debian's server is run with the record."""
    with pytest.raises(StoreUnavailableError, match="run CREATE EXTENSION pg_stat_statements"):
        await slow_queries(connection, 5)
    if backend != "timescaledb-apache":
        return
    await connection.execute("CREATE EXTENSION pg_stat_statements")
    for seconds in (0.05, 0.06):
        await connection.execute(f"SELECT pg_sleep({seconds})")
    told = await slow_queries(connection, 5)
    assert len(told) <= 5
    assert [slow.total_ms for slow in told] == sorted((slow.total_ms for slow in told), reverse=True)
    (slept,) = [slow for slow in told if "pg_sleep" in slow.query]
    assert (slept.calls, slept.rows) == (2, 2)
    assert 110 <= slept.total_ms < 1_000
