"""How long the example queries of the five systems' documents take, on many candles.

    python tests/bench/queries.py [--candles 10000000] [--symbols 100] [--repeat 200] [--dsn DSN] [--json]

Measured at the client, decoding included, over one connection, each time with another symbol, user or portfolio; beside
it the same for `SELECT 1`, and which larger tables the server read from end to end. Without --dsn a private TimescaleDB
is used, as in the tests. Exit code 1 when a look-up by symbol and time takes longer than 5 ms at p95.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from example_plans import whole_tables_read
from example_queries import EXAMPLES, Example, World
from example_rows import load

from servers import make_server, with_database
from traderd.adapters.migrations import migrate

TARGET_MS = 5.0


async def main() -> int:
    """Print the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--candles", type=int, default=10_000_000)
    options.add_argument("--symbols", type=int, default=100)
    options.add_argument("--repeat", type=int, default=200)
    options.add_argument("--dsn", default="")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    server = None if chosen.dsn else make_server("timescaledb-apache")
    if server is not None:
        await server.start()
    try:
        base = await asyncpg.connect(chosen.dsn or server.dsn)
        name = f"queries_{os.getpid()}"
        await base.execute(f"CREATE DATABASE {name}")
        try:
            dsn = with_database(chosen.dsn or server.dsn, name)
            backend = (await migrate(dsn)).backend
            world = await fill(dsn, chosen.candles, chosen.symbols)
            figures = [await measure(dsn, world, example, chosen.repeat) for example in EXAMPLES]
        finally:
            await base.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await base.close()
    finally:
        if server is not None:
            await server.stop()
            server.remove()
    late = [row for row in figures if row["lookup"] and row["p95_ms"] > TARGET_MS]
    if chosen.json:
        print(json.dumps({"backend": backend, "candles": chosen.candles, "queries": figures}))
    else:
        show(figures, f"{backend}, {chosen.candles:,} candles of {chosen.symbols} symbols")
    return 1 if late else 0


async def fill(dsn: str, candles: int, symbols: int) -> World:
    """Load the rows, bring the rollups up to date, and look what there is to ask for."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("candles", total=candles)
        names = await load(dsn, candles, symbols, lambda done: progress.update(task, completed=done))
    return await look(dsn, names)


async def look(dsn: str, symbols: list[str]) -> World:
    """What the queries may ask for."""
    connection = await asyncpg.connect(dsn)
    try:

        async def column(sql: str) -> list[Any]:
            return [row[0] for row in await connection.fetch(sql)]

        return World(
            symbols,
            users=await column("SELECT number FROM users"),
            portfolios=await column("SELECT number FROM portfolios"),
            user_ids=await column("SELECT id FROM users"),
            portfolio_ids=await column("SELECT id FROM portfolios"),
            strategy_ids=await column("SELECT id FROM strategies"),
            order_ids=await column("SELECT id FROM orders LIMIT 1000"),
            usernames=await column("SELECT username FROM users"),
        )
    finally:
        await connection.close()


async def reader(dsn: str, schema: str) -> asyncpg.Connection:
    """A connection that finds a system's views before our own tables."""
    path = f"{schema}, public"
    return await asyncpg.connect(dsn, server_settings={"search_path": path, "timezone": "UTC", "jit": "off"})


async def measure(dsn: str, world: World, example: Example, repeat: int) -> dict[str, Any]:
    """One query's times in milliseconds, rows at the median, and its plan."""
    connection = await reader(dsn, example.schema)
    chance = random.Random(example.name)
    try:
        whole = await whole_tables_read(connection, example.sql, example.given(world, chance))
        statement = await connection.prepare(example.sql)
        nothing = await connection.prepare("SELECT 1")
        times, trips, rows = [], [], []
        for n in range(min(repeat, 5) if example.whole else repeat + 5):
            given = example.given(world, chance)
            start = time.perf_counter()
            rows.append(len(await statement.fetch(*given)))
            end = time.perf_counter()
            await nothing.fetch()
            if n >= 5 or example.whole:  # the first ones plan and warm up
                times.append((end - start) * 1e3)
                trips.append((time.perf_counter() - end) * 1e3)
    finally:
        await connection.close()
    return {
        "schema": example.schema,
        "query": example.name,
        "p50_ms": statistics.median(times),
        "p95_ms": sorted(times)[int(len(times) * 0.95)],
        "select_1_ms": statistics.median(trips),
        "rows": int(statistics.median(rows)),
        "lookup": example.lookup,
        "whole_tables_read": [] if example.whole else whole,
    }


def show(figures: list[dict[str, Any]], title: str) -> None:
    """The figures for people."""
    table = Table(title=title)
    for column in ("system", "query", "rows", "p50 ms", "p95 ms", "SELECT 1 ms", "reads all of"):
        table.add_column(column, justify="left" if column in ("system", "query", "reads all of") else "right")
    for row in figures:
        late = row["lookup"] and row["p95_ms"] > TARGET_MS
        table.add_row(
            row["schema"],
            ("* " if row["lookup"] else "  ") + row["query"],
            f"{row['rows']:,}",
            f"{row['p50_ms']:.2f}",
            f"{row['p95_ms']:.2f}" + (" !" if late else ""),
            f"{row['select_1_ms']:.2f}",
            ", ".join(row["whole_tables_read"]),
        )
    Console(width=130).print(table)
    print(f"* look-up by symbol and time: at most {TARGET_MS:g} ms at p95")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
