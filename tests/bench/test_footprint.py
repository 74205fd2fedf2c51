"""What a tick takes on disk."""

import asyncpg
import footprint
import pytest

from conftest import Database

pytestmark = pytest.mark.parametrize("backend", ["timescaledb-community"])
"""Only TimescaleDB's community edition compresses."""
TIMES = 3


@pytest.mark.skipif(not footprint.there(footprint.CAPTURES), reason="no recordings of real traffic")
@pytest.mark.parametrize("name", footprint.RECORDED)
async def test_compressed_ticks_take_a_tenth_of_the_uncompressed_table(database: Database, name: str) -> None:
    """Recorded quotes and trades; the tables with their indexes, as hypertable_size counts them before and after."""
    ticks = list(footprint.recorded(footprint.CAPTURES / f"{name}.frames.gz"))
    found = await footprint.measure(database.dsn, list(footprint.repeated(ticks, TIMES)))
    assert sum(each.ticks for each in found) == len(ticks) * TIMES
    before, after = (sum(each.plain.all for each in found), sum(each.compressed.all for each in found))
    assert after <= before / 10
    connection = await asyncpg.connect(database.dsn)
    told = int(
        await connection.fetchval(
            "SELECT sum(hypertable_size(t)) FROM unnest('{tick_data,public_trades}'::regclass[]) t"
        )
    )
    await connection.close()
    assert told <= before * 1.01 / 10, "the empty hypertables themselves take a page or two"


async def test_a_venues_numbers_are_compressed_apart(database: Database) -> None:
    """As the schema sets it for both tables of ticks."""
    connection = await asyncpg.connect(database.dsn)
    rows = await connection.fetch(
        "SELECT segmentby FROM timescaledb_information.hypertable_compression_settings"
        " WHERE hypertable = ANY('{tick_data,public_trades}'::regclass[])"
    )
    await connection.close()
    assert [row["segmentby"] for row in rows] == ["symbol,exchange"] * 2
