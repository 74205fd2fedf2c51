"""How long the example queries of the five systems' documents take, on many candles.

    python tests/bench/queries.py [--candles 10000000] [--symbols 100] [--repeat 200] [--dsn DSN] [--json]

Asked by one user among a hundred, whom row-level security shows their own orders. Measured at the client until it has
every row, with decimals as the bytes that came (what it makes of them is its own affair), over one connection, each
time with another symbol, strategy or portfolio; beside it the server's own time, and which larger tables it read from
end to end. Without --dsn a private TimescaleDB is used, as in the tests.
Exit code 1 when a look-up by symbol and time takes longer than 5 ms at p95.
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
from example_plans import server_ms, whole_tables_read
from example_queries import EXAMPLES, Example, World
from example_rows import load

from servers import make_server, with_database
from traderd.adapters.maintenance import refresh_rollups
from traderd.adapters.migrations import migrate
from traderd.adapters.postgres import APP_ROLE, connect

TARGET_MS = 5.0
READER = "trader_001"


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
    connection = await asyncpg.connect(dsn)
    await refresh_rollups(connection)
    await connection.close()
    return await look(dsn, names)


async def look(dsn: str, symbols: list[str]) -> World:
    """What the queries may ask for: what one user sees."""
    connection = await reader(dsn, "public")
    try:

        async def column(sql: str) -> list[Any]:
            return [row[0] for row in await connection.fetch(sql)]

        return World(
            symbols,
            users=await column("SELECT number FROM users WHERE id = current_user_id()"),
            portfolios=await column("SELECT number FROM portfolios"),
            user_ids=await column("SELECT current_user_id()"),
            portfolio_ids=await column("SELECT id FROM portfolios"),
            strategy_ids=await column("SELECT id FROM strategies"),
            order_ids=await column("SELECT id FROM orders LIMIT 1000"),
            usernames=await column("SELECT username FROM users"),
        )
    finally:
        await connection.close()


async def reader(dsn: str, schema: str) -> asyncpg.Connection:
    """A connection that finds a system's views before our own tables, bound to one user's rows."""
    connection = await connect(dsn, "traderd reader", role=APP_ROLE, acts_as=READER)
    await connection.execute(f"SET search_path = {schema}, public")
    return connection


async def measure(dsn: str, world: World, example: Example, repeat: int) -> dict[str, Any]:
    """One query's times in milliseconds, rows at the median, and its plan."""
    connection = await reader(dsn, example.schema)
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    chance = random.Random(example.name)
    try:
        whole = await whole_tables_read(connection, example.sql, example.given(world, chance))
        statement = await connection.prepare(example.sql)
        times, rows = [], []
        for n in range(min(repeat, 5) if example.whole else repeat + 5):
            given = example.given(world, chance)
            start = time.perf_counter()
            rows.append(len(await statement.fetch(*given)))
            end = time.perf_counter()
            if n >= 5 or example.whole:  # the first ones plan and warm up
                times.append((end - start) * 1e3)
        server = [await server_ms(connection, example.sql, example.given(world, chance)) for _ in range(5)]
    finally:
        await connection.close()
    return {
        "schema": example.schema,
        "query": example.name,
        "p50_ms": statistics.median(times),
        "p95_ms": sorted(times)[int(len(times) * 0.95)],
        "server_ms": statistics.median(server),
        "rows": int(statistics.median(rows)),
        "lookup": example.lookup,
        "whole_tables_read": [] if example.whole else whole,
    }


def show(figures: list[dict[str, Any]], title: str) -> None:
    """The figures for people."""
    table = Table(title=title)
    for column in ("system", "query", "rows", "p50 ms", "p95 ms", "server ms", "reads all of"):
        table.add_column(column, justify="left" if column in ("system", "query", "reads all of") else "right")
    for row in figures:
        late = row["lookup"] and row["p95_ms"] > TARGET_MS
        table.add_row(
            row["schema"],
            ("* " if row["lookup"] else "  ") + row["query"],
            f"{row['rows']:,}",
            f"{row['p50_ms']:.2f}",
            f"{row['p95_ms']:.2f}" + (" !" if late else ""),
            f"{row['server_ms']:.2f}",
            ", ".join(row["whole_tables_read"]),
        )
    Console(width=130).print(table)
    print(f"* look-up by symbol and time: at most {TARGET_MS:g} ms at p95")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
