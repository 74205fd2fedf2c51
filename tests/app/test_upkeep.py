"""The daemon's care for its database: retention is held while a journal is behind, and the work is done."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.logs import logger
from traderd.app.upkeep import BEHIND_S_MAX, Upkeep
from traderd.config import Storage
from traderd.config.storage import Chunked, Tables

NOW = datetime.now(UTC)
HELD = "SELECT journal_id, oldest FROM retention_holds ORDER BY 1"
EVERYTHING = datetime.min  # as asyncpg tells -infinity


@pytest.fixture
async def connection(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def drains() -> tuple[Any, Any]:
    """As they are at a start: neither knows what the database has."""
    return tuple(Lag(journal_id=name, behind_s=5.0, oldest_ns=0) for name in ("facts-1", "ticks-1"))


class Lag(SimpleNamespace):
    """What upkeep asks of a drain; the drain itself is tested in runtime/."""

    __hash__ = object.__hash__


@pytest.fixture
async def upkeep(plain_database: Database, drains: tuple[Any, Any]) -> AsyncIterator[Upkeep]:
    storage = Storage(late_rows="6h", tables=Tables(tick_data=Chunked("1d", "2d", "9d")))
    upkeep = Upkeep(plain_database.dsn, 30.0, storage, drains, logger())
    yield upkeep
    await upkeep.close()


async def test_a_start_applies_the_settings_and_holds_everything(
    upkeep: Upkeep, connection: asyncpg.Connection
) -> None:
    """Until both journals have shown how far the database is; the work that needs no retention is done."""
    await upkeep.open()
    assert await connection.fetchval("SELECT keep_for FROM time_partitioning WHERE table_name = 'tick_data'") == (
        timedelta(days=9)
    )
    await connection.execute("SELECT ensure_partitions('tick_data', $1, $1)", NOW - timedelta(days=40))
    await upkeep.keep()
    assert [row["oldest"] for row in await connection.fetch(HELD)] == [EVERYTHING, EVERYTHING]
    spans = (
        "SELECT count(*) FILTER (WHERE span @> $1::timestamptz), count(*) FILTER (WHERE span @> $2::timestamptz)"
        " FROM partition_spans('tick_data')"
    )
    assert await connection.fetchrow(spans, NOW - timedelta(days=40), NOW + timedelta(days=3)) == (1, 1)


async def test_a_journal_that_the_database_has_wholly_holds_nothing(
    upkeep: Upkeep, connection: asyncpg.Connection, drains: tuple[Any, Any]
) -> None:
    """Then what has expired is dropped."""
    await upkeep.open()
    await connection.execute("SELECT ensure_partitions('tick_data', $1, $1)", NOW - timedelta(days=40))
    facts, ticks = drains
    facts.behind_s = 0.0
    await upkeep.keep()
    assert [row["journal_id"] for row in await connection.fetch(HELD)] == ["ticks-1"]
    ticks.behind_s = 0.0
    await upkeep.keep()
    assert await connection.fetch(HELD) == []
    oldest = await connection.fetchval("SELECT min(lower(span)) FROM partition_spans('tick_data')")
    assert oldest > NOW - timedelta(days=11)


async def test_a_journal_that_falls_behind_holds_its_oldest_row(
    upkeep: Upkeep, connection: asyncpg.Connection, drains: tuple[Any, Any]
) -> None:
    """Less what a row may be late; in a moment's lag nothing is held."""
    _, ticks = drains
    await upkeep.open()
    for drain in drains:
        drain.behind_s = 0.0
    await upkeep.keep()
    ticks.behind_s = BEHIND_S_MAX - 1
    await upkeep.keep()
    assert await connection.fetch(HELD) == []
    ticks.behind_s, ticks.oldest_ns = BEHIND_S_MAX + 1, int(NOW.timestamp()) * 10**9
    await upkeep.keep()
    assert await connection.fetch(HELD) == [("ticks-1", NOW.replace(microsecond=0) - timedelta(hours=6))]
