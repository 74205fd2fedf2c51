"""`traderd db size`, `index-usage` and `slow-queries`: what the database's catalogue tells."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.database import database_of
from traderd.cli.options import config_argument, json_option, load, print_json, print_table


@click.command()
@config_argument
@json_option
def size(config_path: Path | None, as_json: bool) -> int:
    """Show what each table takes on the disk, its partitions or chunks together."""
    from traderd.adapters.catalogue import database_bytes, table_sizes  # noqa: PLC0415 - slow to load

    total, tables = _asked(config_path, database_bytes, table_sizes)
    if as_json:
        rows = [{**structs.asdict(table), "total_bytes": table.total_bytes} for table in tables]
        print_json({"database_bytes": total, "tables": rows})
        return ExitCode.OK
    print_table(
        ["table", "parts", "rows (about)", "table", "indexes", "total", "compressed"],
        [
            [
                table.name,
                f"{table.parts:,}",
                f"{table.rows:,}",
                _bytes(table.table_bytes),
                _bytes(table.index_bytes),
                _bytes(table.total_bytes),
                f"{_bytes(table.before_compression_bytes)} → {_bytes(table.after_compression_bytes)}"
                if table.before_compression_bytes
                else "",
            ]
            for table in tables
        ],
    )
    click.echo(f"the whole database: {_bytes(total)}")
    return ExitCode.OK


@click.command("index-usage")
@config_argument
@json_option
def index_usage(config_path: Path | None, as_json: bool) -> int:
    """Show how often each index was used, the least used first."""
    from traderd.adapters.catalogue import index_uses  # noqa: PLC0415

    (indexes,) = _asked(config_path, index_uses)
    if as_json:
        print_json({"indexes": [structs.asdict(use) for use in indexes]})
        return ExitCode.OK
    print_table(
        ["index", "table", "scans", "rows read", "size", "unique"],
        [
            [use.index, use.table, f"{use.scans:,}", f"{use.rows_read:,}", _bytes(use.bytes), "yes" * use.is_unique]
            for use in indexes
        ],
    )
    return ExitCode.OK


@click.command("slow-queries")
@config_argument
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@json_option
def slow_queries(config_path: Path | None, limit: int, as_json: bool) -> int:
    """Show which statements took the longest in all; needs the extension pg_stat_statements."""
    from traderd.adapters import catalogue  # noqa: PLC0415

    (queries,) = _asked(config_path, lambda connection: catalogue.slow_queries(connection, limit))
    if as_json:
        print_json({"queries": [structs.asdict(slow) for slow in queries]})
        return ExitCode.OK
    print_table(
        ["total ms", "calls", "mean ms", "max ms", "rows", "statement"],
        [
            [
                f"{slow.total_ms:,.0f}",
                f"{slow.calls:,}",
                f"{slow.mean_ms:,.2f}",
                f"{slow.max_ms:,.1f}",
                f"{slow.rows:,}",
                " ".join(slow.query.split()),
            ]
            for slow in queries
        ],
    )
    return ExitCode.OK


def _asked(config_path: Path | None, *questions: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """The answers of the configured database, on one connection."""
    return asyncio.run(_answers(config_path, questions))


async def _answers(config_path: Path | None, questions: tuple[Callable[[Any], Awaitable[Any]], ...]) -> list[Any]:
    from traderd.adapters.postgres import connect  # noqa: PLC0415

    async with database_of(*load(config_path)) as dsn:
        connection = await connect(dsn, name="traderd db")
        try:
            return [await question(connection) for question in questions]
        finally:
            await connection.close()


def _bytes(number: float) -> str:
    """Bytes for people: 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
