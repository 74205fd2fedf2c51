"""How many bytes a tick takes on disk: in the journal, in the table, in its indexes, compressed.

    python tests/bench/footprint.py [--dsn DSN] [--ticks 200000] [--recordings FOLDER]

Ticks of the recordings under FOLDER (default: `../shared/captures`, where it is there) and of the simulated market take
the daemon's own way: decoded, encoded, journalled in records of 50, stored by COPY in a database made for it. Then all
chunks are compressed as the schema says. --dsn is a server with TimescaleDB's community edition (default:
TRADERD_TEST_COMMUNITY_DSN); without one nothing is compressed, on the TimescaleDB of the tests.
Two ratios are printed: with indexes, which compression leaves behind (as `hypertable_size` tells before and after), and
of the rows alone (heap and TOAST).
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg
from ingest import fresh_database
from msgspec import structs

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import make_server
from traderd.adapters.capture import Capture
from traderd.adapters.journal import FileJournal
from traderd.adapters.migrations import migrate
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.config import Sim
from traderd.core.market import Quote, Trade
from traderd.runtime.ports import Batch
from traderd.sim.market import Market
from traderd.sim.wire import combined, encode
from traderd.venues.playback import Playback
from traderd.venues.registry import dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
RECORDED = ("binance/spot_ethusdt", "binance/usdm_ethusdt")
"""Those with enough ticks for a figure."""
TABLES = ("tick_data", "public_trades")
ROWS_A_RECORD = 50
MIB = 1024 * 1024
_SIZES = """
    SELECT sum(pg_total_relation_size(c) - pg_indexes_size(c)) AS rows, sum(pg_indexes_size(c)) AS indexes,
           sum(pg_total_relation_size(c)) AS all
    FROM show_chunks($1::text::regclass) c"""
_COMPRESSED = """
    SELECT sum(after_compression_table_bytes + after_compression_toast_bytes) AS rows,
           sum(after_compression_index_bytes) AS indexes, sum(after_compression_total_bytes) AS all
    FROM chunk_compression_stats($1::text::regclass)"""
_AS_THE_JOB = """
    SELECT set_config(split_part(each, '=', 1), split_part(each, '=', 2), false)
    FROM pg_db_role_setting, unnest(setconfig) each
    WHERE setrole = (SELECT relowner FROM pg_class WHERE oid = $1::text::regclass)
      AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"""
"""The server's own job compresses in a session of the table's owner."""


class Size(NamedTuple):
    """Bytes of one table."""

    rows: int
    indexes: int
    all: int


class Footprint(NamedTuple):
    """One table's, of so many ticks."""

    table: str
    ticks: int
    journal: int
    plain: Size
    compressed: Size | None

    def ratio(self) -> float:
        """Compressed to uncompressed, indexes included."""
        assert self.compressed is not None
        return self.compressed.all / self.plain.all

    def ratio_of_rows(self) -> float:
        """Of the rows alone."""
        assert self.compressed is not None
        return self.compressed.rows / self.plain.rows

    def told(self) -> str:
        """For people."""
        plain, packed = self.plain, self.compressed
        parts = [
            f"{self.table:>13}: {self.ticks:>9,} ticks; bytes each: journal {self.journal / self.ticks:.0f}",
            f"rows {plain.rows / self.ticks:.0f}, indexes {plain.indexes / self.ticks:.0f}",
        ]
        if packed is not None:
            parts.append(
                f"compressed {packed.all / self.ticks:.1f}"
                f" = {self.ratio():.3f} of both, {self.ratio_of_rows():.3f} of the rows"
            )
        return ", ".join(parts)


async def main() -> None:
    """Print the figures of each source."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--dsn", default=os.environ.get("TRADERD_TEST_COMMUNITY_DSN", ""))
    options.add_argument("--ticks", type=int, default=200_000, help="of each source, at least")
    options.add_argument("--recordings", type=Path, default=CAPTURES)
    chosen = options.parse_args()
    server = None if chosen.dsn else make_server("timescaledb-apache")
    if server is not None:
        await server.start()
    sources: dict[str, Iterator[Quote | Trade]] = {}
    for name in there(chosen.recordings):
        ticks = list(recorded(chosen.recordings / f"{name}.frames.gz"))
        sources[name] = repeated(ticks, -(-chosen.ticks // len(ticks)))
    sources["simulated, 10 symbols"] = simulated(chosen.ticks, 10)
    try:
        for number, (name, ticks) in enumerate(sources.items()):
            dsn = await fresh_database(chosen.dsn or server.dsn, f"footprint_{number}")
            await migrate(dsn)
            print(name)
            for footprint in await measure(dsn, list(ticks)):
                print(footprint.told())
            if chosen.dsn:
                await dropped(chosen.dsn, dsn)
    finally:
        if server is not None:
            await server.stop()
            server.remove()


def there(folder: Path) -> list[str]:
    """The recordings that this machine has."""
    return [name for name in RECORDED if (folder / f"{name}.frames.gz").exists()]


def recorded(file: Path) -> Iterator[Quote | Trade]:
    """A recording's ticks."""
    with Capture(file) as capture:
        playback = Playback(capture.header.venue, capture.header.market)
        for record in capture:
            yield from (each for each in playback.events(record) if isinstance(each, Quote | Trade))


def repeated(ticks: list[Quote | Trade], times: int) -> Iterator[Quote | Trade]:
    """As if it were now, and again and again: what a table takes by itself is shared by as many ticks as a day has.

    Rows are compressed by the thousand, fewer at a time than a recording has: repeating them saves nothing. What is old
    would be dropped as expired.
    """
    first, last = ticks[0].time_received_ns, ticks[-1].time_received_ns
    ids = [int(tick.trade_id) for tick in ticks if isinstance(tick, Trade)]
    for n in range(times):
        later = time.time_ns() - first + n * (last - first + 10**9)
        for tick in ticks:
            moved = {
                "time_received_ns": tick.time_received_ns + later,
                "time_venue_ns": tick.time_venue_ns and tick.time_venue_ns + later,
            }
            if isinstance(tick, Trade):
                moved["trade_id"] = str(int(tick.trade_id) + n * (ids[-1] - ids[0] + 1))
            yield structs.replace(tick, **moved)


def simulated(count: int, symbols: int, ticks_per_second: float = 1_000.0) -> Iterator[Quote | Trade]:
    """Ticks of the simulated market, each received a millisecond after it happened."""
    began_us = time.time_ns() // 1000 - 3600 * 1_000_000
    market = Market(Sim(symbols=symbols, ticks_per_second=ticks_per_second), began_us)
    spoken = dialect("binance", 10)
    spoken.discover()
    found, elapsed_us = 0, 0
    while found < count:
        elapsed_us += 10_000
        for event in market.advance(elapsed_us):
            received_ns = (began_us + elapsed_us + 1_000) * 1000 + found
            for told in spoken.decode(combined(event.stream, encode(event)), received_ns):
                if isinstance(told, Quote | Trade):
                    found += 1
                    yield told


async def measure(dsn: str, ticks: list[Quote | Trade]) -> list[Footprint]:
    """Store them, and look; compress them where that can be done, and look again."""
    with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
        journalled = await store(dsn, Path(folder), ticks)
    connection = await asyncpg.connect(dsn)
    try:
        found = []
        for table in TABLES:
            count = await connection.fetchval(f"SELECT count(*) FROM {table}")
            if not count:
                continue
            await connection.execute(f"VACUUM {table}")
            plain = Size(*map(int, await connection.fetchrow(_SIZES, table)))
            packed = await compressed(connection, table)
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == count
            found.append(Footprint(table, count, journalled[table], plain, packed))
        return found
    finally:
        await connection.close()


async def compressed(connection: asyncpg.Connection, table: str) -> Size | None:
    """What the table takes when all of it is compressed; None where it can't be."""
    if await connection.fetchval("SELECT backend_kind()") != "timescaledb-community":
        return None
    await connection.fetch(_AS_THE_JOB, table)
    await connection.fetch("SELECT compress_chunk(c) FROM show_chunks($1::text::regclass) c", table)
    return Size(*map(int, await connection.fetchrow(_COMPRESSED, table)))


async def store(dsn: str, folder: Path, ticks: Iterable[Quote | Trade]) -> dict[str, int]:
    """Through a journal into the database; returns the journal's bytes, by table."""
    journalled = {}
    for table, batches in encoded(ticks).items():
        journal = FileJournal(folder / table, 64 * MIB, 4096 * MIB)
        empty = journal.size
        for batch in batches:
            journal.append(f"{table}:venue:channel", batch.rows, batch.payload, batch.first_ns, batch.last_ns)
        journalled[table] = journal.size - empty
        store = CopyTickStore(dsn, 60.0)
        position = await store.cursor(journal.journal_id)
        while records := journal.read(position, 4 * MIB):
            await store.store(journal.journal_id, records)
            position = records[-1].position
        await store.close()
        journal.close()
    return journalled


def encoded(ticks: Iterable[Quote | Trade]) -> dict[str, list[Batch]]:
    """The rows of each table, each quote with the trade that was the last when it came."""
    quotes: list[Quote] = []
    lasts: list[Trade | None] = []
    trades: list[Trade] = []
    last: dict[str, Trade] = {}
    for tick in ticks:
        if isinstance(tick, Trade):
            trades.append(tick)
            last[tick.instrument.symbol] = tick
        else:
            quotes.append(tick)
            lasts.append(last.get(tick.instrument.symbol))
    told = {tick.instrument.index: tick.instrument for tick in (*quotes, *trades)}
    rows = TickRows([told[index] for index in range(len(told))])
    return {
        "tick_data": [
            rows.quotes(quotes[n : n + ROWS_A_RECORD], lasts[n : n + ROWS_A_RECORD])
            for n in range(0, len(quotes), ROWS_A_RECORD)
        ],
        "public_trades": [rows.trades(trades[n : n + ROWS_A_RECORD]) for n in range(0, len(trades), ROWS_A_RECORD)],
    }


async def dropped(dsn: str, database: str) -> None:
    """The database that was made for it."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP DATABASE {database.rpartition('/')[2]} WITH (FORCE)")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
