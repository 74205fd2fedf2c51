"""time_bucket, first and last of plain PostgreSQL against TimescaleDB's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from conftest import Database, Servers

WIDTHS = [
    "1 second", "7 minutes", "1 hour", "90 minutes", "1 day", "36 hours", "7 days", "10 days", "1 week", "1 month",
    "5 months", "1 year", "17 years", "0.3 seconds",
]  # fmt: skip
REFUSED = ["0 seconds", "-1 hour", "1 month 3 days", "-1 month"]
EDGES = [
    datetime(2000, 1, 1), datetime(1999, 12, 31, 23, 59, 59, 999999), datetime(2000, 1, 3), datetime(2024, 2, 29, 12),
    datetime(1900, 3, 1), datetime(1, 1, 1), datetime(2025, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1),
]  # fmt: skip
ENDS = """
    SELECT n, first(value, at)::text, last(value, at)::text FROM rows GROUP BY n ORDER BY n"""


@pytest.fixture(params=[pytest.param("timescaledb-apache", marks=pytest.mark.timescale)])
async def theirs(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    server = await servers.get(request.param)
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb")
    yield connection
    await connection.close()


@pytest.fixture
async def ours(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_database.dsn)
    yield connection
    await connection.close()


async def test_buckets_begin_where_theirs_do(ours: asyncpg.Connection, theirs: asyncpg.Connection) -> None:
    """Every width at the edges and at random moments from year 1 on, with and without a time zone, in any session's."""
    random = Random(3)
    moments = EDGES + [datetime(1, 1, 1) + timedelta(microseconds=random.randrange(10**17)) for _ in range(300)]
    for connection in (ours, theirs):
        await connection.execute("SET timezone = 'Asia/Kathmandu'")
    for kind in ("timestamp", "timestamptz"):
        arguments = moments if kind == "timestamp" else [moment.replace(tzinfo=UTC) for moment in moments]
        query = (
            f"SELECT w, t, time_bucket(w::interval, t) FROM unnest($1::text[]) w, unnest($2::{kind}[]) t"
            f" UNION ALL SELECT w, t, time_bucket(w::interval, t) FROM unnest($1::text[]) w,"
            f" unnest('{{infinity,-infinity,null}}'::{kind}[]) t"
        )
        assert await ours.fetch(query, WIDTHS, arguments) == await theirs.fetch(query, WIDTHS, arguments)


@pytest.mark.parametrize("width", REFUSED)
async def test_a_width_that_they_refuse_is_refused(
    ours: asyncpg.Connection, theirs: asyncpg.Connection, width: str
) -> None:
    """It has no meaning, or more than one."""
    for connection in (ours, theirs):
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetchval(f"SELECT time_bucket('{width}', timestamptz '2024-01-01 00:00+00')")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("numeric", ["1.10", "1.1000000000000000000000001", "-5e30", None]),
        ("text", ["", "NULL", "a'b", "{}", None]),
        ("float8", ["0.1", "NaN", "1e-300", None]),
        ("timestamptz", ["2024-03-31 01:30:00.000001+00", "infinity", None]),
        ("int[]", ["{1,2}", "{}", None]),
        ("boolean", ["true", "false", None]),
    ],
)
@pytest.mark.parametrize("time", ["timestamp", "timestamptz"])
async def test_first_and_last_are_theirs(
    ours: asyncpg.Connection, theirs: asyncpg.Connection, kind: str, values: list[str | None], time: str
) -> None:
    """Of groups with equal times, without values, without times, and without either."""
    random = Random(5)
    times: list[Any] = [datetime(2024, 1, 1, hour) for hour in range(4)] + [datetime(1999, 1, 1), None]
    rows = [(n, random.choice(values), random.choice(times)) for n in range(150) for _ in range(random.randrange(1, 6))]
    rows += [(1000, None, None), (1001, values[0], None), (1002, None, times[0])]
    for connection in (ours, theirs):
        await connection.execute(f"CREATE TEMP TABLE rows (n int, value {kind}, at {time})")
        await connection.executemany(
            f"INSERT INTO rows VALUES ($1, $2::text::{kind}, $3::timestamp AT TIME ZONE 'UTC')"
            if time == "timestamptz"
            else f"INSERT INTO rows VALUES ($1, $2::text::{kind}, $3)",
            rows,
        )
    assert await ours.fetch(ENDS) == await theirs.fetch(ENDS)
    assert await ours.fetchrow("SELECT first(value, at), last(value, at) FROM rows WHERE false") == (None, None)


async def test_a_bucket_is_computed_where_it_stands(ours: asyncpg.Connection) -> None:
    """No function call for each row: it is inlined to PostgreSQL's own date_bin."""
    plan = await ours.fetch("EXPLAIN (VERBOSE) SELECT time_bucket('1 hour', updated_at) FROM orders")
    told = "\n".join(row[0] for row in plan)
    assert "date_bin" in told
    assert "time_bucket" not in told
