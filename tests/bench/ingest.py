"""How fast the daemon stores ticks, against the ceiling that the same database sets in the same run.

    python tests/bench/ingest.py [--frames 1000000] [--symbols 10] [--rounds 3] [--dsn DSN] [--no-steps]

(b) first: a generator process sends frames encoded beforehand over a websocket to a real daemon (engine, one strategy a
symbol, Redis on); measured from the first frame sent to the last row committed, with the daemon's own CPU time.
(a) then: the very rows that it stored are read out as binary COPY, the tables emptied, and the bytes written back by
binary COPY over one connection, in transactions of the daemon's size. The ratio is (b) / (a).
Then (b) in another database without strategies, Redis and candles: what storing alone takes. The schema is there before
anything is measured, and each figure is the median of some rounds: a shared machine is quick now and slow then.
(c) last: (b) once more in another database, with the daemon sampled (`sampled.py`): the share of its CPU time that each
step takes. What bounds (b) is told by how much of a core each of the three took meanwhile: it can't be more than one.
Without --dsn a private TimescaleDB is used, as in the tests.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import make_server, with_database
from traderd.adapters.copy_columns import HEADER, TRAILER
from traderd.adapters.tick_store import split_rows
from traderd.sim.prices import listings

TABLES = ("tick_data", "public_trades")
CHUNK_BYTES = 4 * 1024 * 1024
CONFIG = """
state_dir: {state}
database: {dsn}
redis: {redis}
http: {{port: 0}}
log: {{level: warning, format: json}}
venues:
  - name: binance
    endpoint: {websocket}
    symbols: [{symbols}]
    channels: [quote, trade]
strategies: {strategies}
"""
STRATEGY = "  - {{type: ema_cross, name: ema{n}, exchange: binance, symbol: {symbol}, timeframe: 1s}}\n"


async def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--frames", type=int, default=1_000_000)
    options.add_argument("--symbols", type=int, default=10)
    options.add_argument("--rounds", type=int, default=3, help="of (b), (a) and storing alone; the medians are told")
    options.add_argument("--dsn", default="")
    options.add_argument("--no-steps", action="store_true", help="leave out (c)")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    server = None
    dsn = chosen.dsn
    if not dsn:
        server = make_server("timescaledb-apache")
        await server.start()
        dsn = server.dsn
    try:
        rounds = [await measure(dsn, number, chosen.frames, chosen.symbols) for number in range(chosen.rounds)]
        figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        shares = {} if chosen.no_steps else await steps(await fresh_database(dsn, "ingest_steps"), chosen)
    finally:
        if server is not None:
            await server.stop()
            server.remove()
    print(json.dumps(figures | {"steps": shares}) if chosen.json else told(figures) + shared_out(shares))


def told(figures: dict[str, float]) -> str:
    """The figures for people."""
    return (
        f"(a) ceiling, pre-encoded binary COPY: {figures['ceiling_rows_s']:>12,.0f} rows/s\n"
        f"(b) daemon, frame to committed row:   {figures['daemon_rows_s']:>12,.0f} rows/s\n"
        f"ratio (b)/(a):                        {figures['ratio']:>12.2f}\n"
        f"daemon CPU per tick:                  {figures['daemon_us']:>12.2f} µs\n"
        f"storing alone, no strategies or Redis:{figures['storage_rows_s']:>12,.0f} rows/s, ratio"
        f" {figures['storage_ratio']:.2f}, {figures['storage_us']:.2f} µs\n"
        f"generator CPU per frame:              {figures['generator_us']:>12.2f} µs\n"
        f"rows {figures['rows']:,.0f}, daemon RSS {figures['rss_mib']:.0f} MiB\n"
        f"of a core each: daemon {figures['daemon_cores']:.2f}, its COPY in the database"
        f" {figures['database_cores']:.2f}, generator {figures['generator_cores']:.2f}"
    )


def shared_out(shares: dict[str, float]) -> str:
    """The steps for people, the largest first."""
    return "".join(f"\n{share:>6.1%}  {step}" for step, share in shares.items())


async def fresh_database(dsn: str, prefix: str = "ingest") -> str:
    """An empty database on the server."""
    connection = await asyncpg.connect(dsn)
    name = f"{prefix}_{os.getpid()}"
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return with_database(dsn, name)


async def measure(dsn: str, number: int, frames: int, symbols: int) -> dict[str, float]:
    """One round, each in a database of its own."""
    engine, bare = await fresh_database(dsn, f"ingest_{number}"), await fresh_database(dsn, f"bare_{number}")
    with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
        figures = await daemon(Path(folder), engine, frames, symbols)
    figures |= await ceiling(engine)
    alone = await storage_alone(bare, frames, symbols)
    figures |= {"storage_us": alone["daemon_us"], "storage_rows_s": alone["daemon_rows_s"]}
    figures["ratio"] = figures["daemon_rows_s"] / figures["ceiling_rows_s"]
    figures["storage_ratio"] = figures["storage_rows_s"] / figures["ceiling_rows_s"]
    return figures


async def storage_alone(dsn: str, frames: int, symbols: int) -> dict[str, float]:
    """(b) where nothing is done but storing: no strategies, no Redis, a bar a day."""
    with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
        return await daemon(Path(folder), dsn, frames, symbols, bare=True)


async def steps(dsn: str, chosen: argparse.Namespace) -> dict[str, float]:
    """(c): each step's share of the daemon's CPU time, its start and its end included."""
    with tempfile.TemporaryDirectory(prefix="traderd-bench-") as folder:
        found = Path(folder) / "steps.json"
        sampled = [str(Path(__file__).with_name("sampled.py")), str(found)]
        await daemon(Path(folder), dsn, chosen.frames, chosen.symbols, sampled)
        samples: list[tuple[str, int]] = json.loads(found.read_text())
    total = sum(count for _, count in samples)
    return {step: count / total for step, count in samples}


async def daemon(
    folder: Path,
    dsn: str,
    frames: int,
    symbols: int,
    program: Sequence[str] = ("-m", "traderd"),
    bare: bool = False,
) -> dict[str, float]:
    """(b): generator and daemon as processes of their own; `program` is what Python runs as the daemon."""
    generator = subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name("generator.py")),
            *("--port", "0", "--frames", str(frames), "--symbols", str(symbols), "--linger", "600"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert generator.stdout is not None
    hello = json.loads(generator.stdout.readline())
    config = folder / "config.yaml"
    names = [listing.symbol for listing in listings(symbols)]
    config.write_text(configuration(folder, dsn, hello["url"], names, bare))
    # What the schema costs is not the ticks'.
    subprocess.run([sys.executable, "-m", "traderd", "migrate", str(config)], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([sys.executable, *program, "run", str(config)])
    try:
        await until_counting(folder, process)
        began, before = time.time(), cpu_s(process.pid)
        already = status(folder)["ticks"]["received"]
        while (ticks := status(folder)["ticks"])["stored"] < frames:
            await asyncio.sleep(0.1)
            assert process.poll() is None, "the daemon died"
            assert not ticks["lost"], ticks
        ended = time.time()
        after = cpu_s(process.pid)
        copying_s = await copying(dsn)
        sent = json.loads(generator.stdout.readline())
        rss = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    finally:
        process.terminate()
        process.wait(30)
        generator.kill()
    connection = await asyncpg.connect(dsn)
    rows = await stored(connection)
    await connection.close()
    assert rows == frames, f"{rows} rows of {frames} frames"
    return {
        "rows": rows,
        "daemon_rows_s": rows / (ended - sent["started"]),
        "daemon_us": (after - before) / (rows - already) * 1e6,
        "daemon_cores": (after - before) / (ended - began),
        "database_cores": copying_s / (ended - sent["started"]),
        "generator_us": sent["cpu_us_per_frame"],
        "generator_cores": sent["cpu_s"] / sent["seconds"],
        "rss_mib": rss,
    }


def configuration(folder: Path, dsn: str, websocket: str, symbols: list[str], bare: bool = False) -> str:
    """A daemon with engine, one strategy a symbol and Redis; `bare`: without the last two, and hardly a candle."""
    strategies = "".join(STRATEGY.format(n=n, symbol=symbol) for n, symbol in enumerate(symbols))
    config = CONFIG.format(
        state=folder / "state",
        dsn=dsn,
        websocket=websocket,
        symbols=", ".join(symbols),
        redis="off" if bare else "embedded",
        strategies="[]" if bare else f"\n{strategies}",
    )
    return config + "engine: {timeframes: [1d]}\n" if bare else config


async def until_counting(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the daemon takes frames: what its start costs is not the ticks'."""
    while True:
        assert process.poll() is None, "the daemon died"
        with contextlib.suppress(OSError, KeyError):
            if status(folder)["ticks"]["received"]:
                return
        await asyncio.sleep(0.01)


def status(folder: Path) -> dict[str, Any]:
    """The daemon's own figures."""
    address = json.loads((folder / "state" / "daemon.json").read_text())["http"]
    with urllib.request.urlopen(f"{address}/status") as answer:
        return json.load(answer)


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def copying(dsn: str) -> float:
    """CPU seconds of the server's processes that store the daemon's ticks; 0 where the server is on another machine."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'traderd ticks'"
    )
    await connection.close()
    seconds = 0.0
    for row in rows:
        with contextlib.suppress(OSError):
            seconds += cpu_s(row["pid"])
    return seconds


async def stored(connection: asyncpg.Connection) -> int:
    """Rows in both tables."""
    return sum([int(await connection.fetchval(f"SELECT count(*) FROM {table}")) for table in TABLES])


async def ceiling(dsn: str) -> dict[str, float]:
    """(a): the same rows, encoded, over one connection."""
    connection = await asyncpg.connect(dsn)
    encoded = {}
    for table in TABLES:
        chunks: list[bytes] = []
        await connection.copy_from_query(f"SELECT * FROM {table}", output=collect(chunks), format="binary")
        encoded[table] = b"".join(chunks)
        assert len(encoded[table]) > len(HEADER) + len(TRAILER), table
    rows = await stored(connection)
    seconds = 0.0
    for table, body in encoded.items():
        await connection.execute(f"TRUNCATE {table}")
        transactions = split(body)
        started = time.perf_counter()
        for transaction in transactions:
            async with connection.transaction():
                await connection.copy_to_table(table, source=source(transaction), format="binary")
        seconds += time.perf_counter() - started
    await connection.close()
    return {"ceiling_rows_s": rows / seconds}


def collect(chunks: list[bytes]):
    """A COPY OUT target."""

    async def write(chunk: bytes) -> None:
        chunks.append(bytes(chunk))

    return write


def split(body: bytes) -> list[bytes]:
    """COPY OUT's bytes (header, rows, trailer) cut into whole transactions at row bounds."""
    rows = split_rows(body[len(HEADER) : -len(TRAILER)])
    parts: list[list[bytes]] = [[]]
    size = 0
    for row in rows:
        if size > CHUNK_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += len(row)
    return [HEADER + b"".join(part) + TRAILER for part in parts if part]


async def source(body: bytes):
    """The bytes as COPY takes them."""
    yield body


if __name__ == "__main__":
    asyncio.run(main())
