"""The schema on real servers: applied once, frozen, all or nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from conftest import Database
from traderd.adapters import migrations
from traderd.adapters.migrations import migrate, pending, read_files, sql_folder
from traderd.core.errors import MigrationError

ALL_FILES = tuple(file.name for file in read_files(sql_folder()))
DAY = timedelta(days=1)
NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
async def empty(empty_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    """A copy of the schema's files that a test may spoil."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


async def test_an_empty_database_gets_the_whole_schema_and_a_second_run_changes_nothing(
    empty_database: Database,
) -> None:
    """The report names every file the first time, none the second, and the back end both times."""
    first = await migrate(empty_database.dsn)
    second = await migrate(empty_database.dsn)
    assert (first.applied, first.backend) == (ALL_FILES, empty_database.backend)
    assert (second.applied, second.backend) == ((), empty_database.backend)


async def test_a_table_partitioned_by_time_takes_rows_of_any_day_that_was_made_ready(
    connection: asyncpg.Connection, backend: str
) -> None:
    """On plain PostgreSQL the span's partitions appear, on TimescaleDB nothing is needed; the rows go in on both."""
    made = await connection.fetchval("SELECT ensure_partitions('tick_data', $1, $2)", NOON, NOON + 2 * DAY)
    again = await connection.fetchval("SELECT ensure_partitions('tick_data', $1, $2)", NOON, NOON + 2 * DAY)
    await connection.executemany(
        "INSERT INTO tick_data (time, symbol, exchange, bid, sequence) VALUES ($1, 'BTC/USDT', 'binance', 1, 7)",
        [(NOON.replace(hour=0),), (NOON,), (NOON + 2 * DAY + timedelta(hours=11, minutes=59),)],
    )
    assert (made, again) == ((3, 0) if backend == "postgresql" else (0, 0))
    assert await connection.fetchval("SELECT count(*) FROM tick_data WHERE time >= $1", NOON) == 2


async def test_partitions_ahead_exist_for_every_table_with_time(connection: asyncpg.Connection) -> None:
    """After one call each of them takes a row of now and of three days on."""
    await connection.execute("SELECT ensure_partitions_ahead()")
    for time in (datetime.now(UTC), datetime.now(UTC) + 3 * DAY):
        await connection.execute(
            "INSERT INTO quarantine (time, exchange, channel, reason, payload) VALUES ($1, 'x', 'quote', 'r', 'p')",
            time,
        )
        await connection.execute(
            "INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume,"
            " trades_count) VALUES ($1, 's', 'x', '1m', 2, 3, 1, 2, 4, 10, 1)",
            time,
        )
    assert await connection.fetchval("SELECT DISTINCT vwap FROM ohlcv") == 2.5
    assert await connection.fetchval("SELECT ensure_partitions_ahead()") == 0


async def test_two_sessions_that_want_the_same_partitions_both_get_them(database: Database) -> None:
    """Neither fails, and writing by a third goes on meanwhile."""
    sessions = [await asyncpg.connect(database.dsn) for _ in range(4)]
    span = "SELECT ensure_partitions('public_trades', $1, $2)"
    try:
        made = await asyncio.gather(*(session.fetchval(span, NOON, NOON + 20 * DAY) for session in sessions))
    finally:
        for session in sessions:
            await session.close()
    assert sum(made) == (21 if database.backend == "postgresql" else 0)


async def test_an_absurd_span_of_partitions_is_refused(plain_database: Database) -> None:
    """A wrong clock doesn't fill the catalogue with tables."""
    connection = await asyncpg.connect(plain_database.dsn)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="too long"):
        await connection.execute("SELECT ensure_partitions('tick_data', $1, $2)", NOON, NOON + 401 * DAY)
    await connection.close()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "0", "-1"])
async def test_no_candle_has_a_price_that_is_not_a_price(plain_database: Database, value: str) -> None:
    """Comparisons with NaN are true in PostgreSQL; the checks are written so that it doesn't pass."""
    connection = await asyncpg.connect(plain_database.dsn)
    await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", NOON)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume,"
            f" trades_count) VALUES ($1, 's', 'x', '1m', '{value}', '{value}', '{value}', '{value}', 1, 1, 1)",
            NOON,
        )
    await connection.close()


async def test_a_file_changed_after_it_was_applied_is_refused(empty: asyncpg.Connection, sql: Path) -> None:
    """A once-file is frozen: even a comment changes its hash."""
    await migrate(empty, sql)
    with (sql / "once/0002_market.sql").open("a") as file:
        file.write("-- a comment\n")
    with pytest.raises(MigrationError, match=r"once/0002_market.sql was changed after it was applied"):
        await migrate(empty, sql)


async def test_a_changed_function_is_replaced_and_nothing_else(empty: asyncpg.Connection, sql: Path) -> None:
    """Only the always-file whose text changed is applied."""
    await migrate(empty, sql)
    (sql / "always/9999_answer.sql").write_text("CREATE OR REPLACE FUNCTION answer() RETURNS int RETURN 42;")
    assert await pending(empty, sql) == ("always/9999_answer.sql",)
    await migrate(empty, sql)
    (sql / "always/9999_answer.sql").write_text("CREATE OR REPLACE FUNCTION answer() RETURNS int RETURN 43;")
    assert (await migrate(empty, sql)).applied == ("always/9999_answer.sql",)
    assert await empty.fetchval("SELECT answer()") == 43


async def test_a_schema_newer_than_the_program_is_refused(empty: asyncpg.Connection, sql: Path) -> None:
    """An old program doesn't touch what a newer one has made."""
    await migrate(empty, sql)
    (sql / "once/0003_trading.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer than this program: once/0003_trading.sql"):
        await migrate(empty, sql)


async def test_a_file_that_fails_leaves_nothing_behind_and_is_tried_again(empty: asyncpg.Connection, sql: Path) -> None:
    """Not the first half of it, nor its row; the files before it stay; mended, it is applied."""
    newest = max(f"once/{path.name}" for path in (sql / "once").iterdir())
    broken = sql / "once/9999_broken.sql"
    broken.write_text("SELECT create_time_partitioned('half', 'time timestamptz NOT NULL', '1 day'); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"^once/9999_broken.sql failed and was rolled back: [^\n]+$"):
        await migrate(empty, sql)
    assert await empty.fetchval("SELECT to_regclass('half')") is None
    assert await empty.fetchval("SELECT max(name) FROM schema_migrations") == newest
    broken.write_text("CREATE TABLE half (id int)")
    rest = tuple(name for name in ALL_FILES if name.startswith("always/"))
    assert (await migrate(empty, sql)).applied == ("once/9999_broken.sql", *rest)


async def test_two_migrations_at_once_take_turns(empty_database: Database) -> None:
    """One applies everything, the other finds nothing to do."""
    reports = await asyncio.gather(migrate(empty_database.dsn), migrate(empty_database.dsn))
    assert sorted(report.applied for report in reports) == [(), ALL_FILES]


async def test_a_role_without_rights_is_told_what_to_grant(plain_database: Database, sql: Path) -> None:
    """One line; a schema that is up to date needs no rights."""
    admin = await asyncpg.connect(plain_database.dsn)
    await admin.execute("CREATE ROLE clerk LOGIN; GRANT SELECT ON schema_migrations TO clerk")
    clerk = await asyncpg.connect(plain_database.dsn.replace("postgres@", "clerk@"))
    try:
        assert (await migrate(clerk, sql)).applied == ()
        (sql / "once/9999_more.sql").write_text("SELECT 1")
        with pytest.raises(
            MigrationError, match=r'role "clerk" may not create tables in schema public .* GRANT traderd_owner TO'
        ):
            await migrate(clerk, sql)
    finally:
        await clerk.close()
        await admin.execute("DROP OWNED BY clerk; DROP ROLE clerk")
        await admin.close()


async def test_a_server_that_is_too_old_is_refused(plain_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the limit is raised above the real server's version."""
    monkeypatch.setattr(migrations, "SERVER_MIN", 99)
    with pytest.raises(MigrationError, match=r"the server is PostgreSQL 1\d\.\d+; 99 or newer is needed"):
        await migrate(plain_database.dsn)


async def test_every_table_takes_the_same_columns_on_every_back_end(
    database: Database, plain_database: Database
) -> None:
    """Names, order and types are those of plain PostgreSQL; how the rollups are kept is each back end's own."""
    here, there = await _columns(database.dsn), await _columns(plain_database.dsn)
    assert {"tick_data", "public_trades", "quarantine", "ohlcv", "equity_history", "orders"} <= {row[0] for row in here}
    assert here == there


async def _columns(dsn: str) -> list[tuple[str, ...]]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name !~ '(_p\\d{8}|_kept|^rollup_marks)$'"
        " ORDER BY table_name, ordinal_position"
    )
    await connection.close()
    return [tuple(row) for row in rows]


async def test_a_file_that_waits_for_a_job_that_waits_for_it_is_begun_anew(plain_database: Database, sql: Path) -> None:
    """The server ends who notices the deadlock first: here the migration, whose second try has the tables to itself."""
    (sql / "once" / "9999_locks.sql").write_text(
        "LOCK TABLE equity_history; SELECT pg_sleep(0.3); LOCK TABLE tick_data; CREATE TABLE proof (id int);"
    )
    job = await asyncpg.connect(plain_database.dsn)
    job_began = job.transaction()
    await job_began.start()
    await job.execute("SET LOCAL deadlock_timeout = '60s'; LOCK TABLE tick_data")
    migrating = asyncio.create_task(migrate(plain_database.dsn, sql))
    while not await job.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'equity_history'::regclass AND granted)"
    ):
        await asyncio.sleep(0.01)
    await job.execute("LOCK TABLE equity_history")  # granted once the migration has been ended
    await job_began.commit()
    report = await migrating
    assert "once/9999_locks.sql" in report.applied
    assert await job.fetchval("SELECT count(*) FROM proof") == 0
    await job.close()
