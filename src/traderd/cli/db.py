"""The commands about the database's schema: bring it up to date, and `traderd db`."""

import asyncio
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.database import database_of
from traderd.cli.options import config_argument, json_option, load, print_json
from traderd.config import Config


@click.group()
def db() -> None:
    """Look after the database."""


@click.command()
@config_argument
@json_option
def migrate(config_path: Path | None, as_json: bool) -> int:
    """Bring the database's schema up to date."""
    config, path = load(config_path)
    report = asyncio.run(_migrated(config, path))
    if as_json:
        print_json(report)
    else:
        for name in report["applied"]:
            click.echo(f"applied {name}")
        click.echo(f"up to date: {report['backend']}, PostgreSQL {report['server_version']}")
    return ExitCode.OK


async def _migrated(config: Config, path: Path) -> dict[str, Any]:
    from traderd.adapters.migrations import migrate as bring_up_to_date  # noqa: PLC0415 - slow to load

    async with database_of(config, path) as dsn:
        return structs.asdict(await bring_up_to_date(dsn))
