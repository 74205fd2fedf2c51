"""What it costs to turn the text of four exact decimals a row into COPY rows: by columns, and by asyncpg's records.

    python tests/bench/encode.py [--rows 5000] [--rounds 40]

CPU of this process, the least of all rounds. asyncpg's way (Decimals in tuples, copy_records_to_table into a table of
a private PostgreSQL) is measured in the same run, sending included; so is sending for the columns.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from random import Random

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1]))
from servers import PlainServer
from traderd.adapters.copy_columns import HEADER, TRAILER, Numerics, encode_rows

COLUMNS = ("a", "b", "c", "d")
DECIMALS = (2, 8, 5, 1)
"""Of a venue's prices and quantities: each column has the precision of its instrument."""


async def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=5_000)
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    server = PlainServer()
    await server.start()
    try:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TEMP TABLE numbers (a numeric, b numeric, c numeric, d numeric)")
        figures = await measured(connection, chosen.rows, chosen.rounds)
        await connection.close()
    finally:
        await server.stop()
        server.remove()
    print(json.dumps(figures) if chosen.json else told(figures))


def told(figures: dict[str, float]) -> str:
    """The figures for people."""
    return (
        f"four NUMERICs by columns, encoded:         {figures['columns_us']:>7.3f} µs a row\n"
        f"                          of mixed width:  {figures['mixed_us']:>7.3f} µs a row\n"
        f"                          and sent:        {figures['columns_sent_us']:>7.3f} µs a row\n"
        f"by asyncpg's records, encoded and sent:    {figures['records_sent_us']:>7.3f} µs a row\n"
        f"ratio:                                     {figures['ratio']:>7.1f}"
    )


async def measured(connection: asyncpg.Connection, count: int, rounds: int) -> dict[str, float]:
    """µs of CPU a row."""
    texts = decimal_texts(count, DECIMALS)
    told = [",".join(row) for row in zip(*texts, strict=True)]
    mixed = [",".join((*row[n % 4 :], *row[: n % 4])) for n, row in enumerate(zip(*texts, strict=True))]
    rows = list(zip(*([Decimal(text) for text in column] for column in texts), strict=True))

    async def columns() -> None:
        encoded(told)

    async def of_mixed_width() -> None:
        encoded(mixed)

    async def columns_sent() -> None:
        payload = encoded(told)
        await connection.copy_to_table("numbers", source=source(payload), columns=COLUMNS, format="binary")

    async def records_sent() -> None:
        await connection.copy_records_to_table("numbers", records=rows, columns=COLUMNS)

    ways = {"columns": columns, "mixed": of_mixed_width, "columns_sent": columns_sent, "records_sent": records_sent}
    figures = {f"{name}_us": await least(way, rounds) / count * 1e6 for name, way in ways.items()}
    stored = await connection.fetchval("SELECT count(*) FROM numbers")
    same = await connection.fetchval("SELECT count(DISTINCT (a::text, b::text, c::text, d::text)) FROM numbers")
    assert (stored, same) == (2 * rounds * count, len(set(rows))), "both ways store the same numbers"
    return figures | {"ratio": figures["records_sent_us"] / figures["columns_sent_us"]}


async def least(work: Callable[[], Awaitable[None]], rounds: int) -> float:
    """Seconds of CPU of the cheapest round."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        await work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def encoded(texts: list[str]) -> bytes:
    """COPY rows, of four decimals a text."""
    return encode_rows(Numerics.parted(texts, 4), len(texts))


async def source(payload: bytes) -> AsyncIterator[bytes]:
    """The rows as COPY takes them."""
    yield HEADER
    yield payload
    yield TRAILER


def decimal_texts(count: int, decimals: tuple[int, ...]) -> list[list[str]]:
    """Columns of plausible prices and quantities, the same ones each time."""
    random = Random(1)
    return [[f"{random.uniform(1, 70_000):.{places}f}" for _ in range(count)] for places in decimals]


if __name__ == "__main__":
    asyncio.run(main())
