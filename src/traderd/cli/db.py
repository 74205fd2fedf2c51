"""The commands about the database's schema: bring it up to date, undo it, tell where it stands."""

import asyncio
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.database import database_of
from traderd.cli.operator import note_act
from traderd.cli.options import config_argument, json_option, load, print_json, print_table
from traderd.config import Config


class Steps(click.ParamType[int | None]):
    """`-3` → 3, `base` → None: all of them."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """How many; click's own error otherwise."""
        if value == "base":
            return None
        if not (value.startswith("-") and value[1:].isdecimal() and int(value[1:])):
            self.fail(f"{value!r} is neither -1 (or -2, -3 …) nor base", param, ctx)
        return int(value[1:])


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
    for notice in report["notices"]:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        print_json(report)
    else:
        for name in report["applied"]:
            click.echo(f"applied {name}")
        for change in report["settings"]:
            click.echo(f"storage: {change}")
        click.echo(f"up to date: {report['backend']}, PostgreSQL {report['server_version']}")
    return ExitCode.OK


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("steps", metavar="-N|base", type=Steps())
@config_argument
@click.option("--yes", is_flag=True, help="Needed: what the undone tables hold is destroyed.")
@json_option
def downgrade(steps: int | None, config_path: Path | None, yes: bool, as_json: bool) -> int:
    """Undo the newest N files of the schema, or with base all of them, and the data that is in their tables.

    Views and functions go as well: `traderd migrate`, of this version or an older one, makes its own again.
    """
    config, path = load(config_path)
    if not yes:
        raise click.UsageError("this destroys what the undone tables hold: make a backup, then say --yes")
    undone = asyncio.run(_downgraded(config, path, steps))
    if as_json:
        print_json({"undone": undone})
    else:
        click.echo("".join(f"undone {name}\n" for name in undone) or "there was nothing to undo\n", nl=False)
    return ExitCode.OK


@click.command()
@config_argument
@json_option
def current(config_path: Path | None, as_json: bool) -> int:
    """Show the newest file of the schema that is applied, and how many wait."""
    files = _history(config_path)
    applied = [file for file in files if file["applied_at"] and file["name"].startswith("once/")]
    newest = applied[-1] if applied else None
    waiting = [file["name"] for file in files if file["state"] in ("waiting", "changed")]
    if as_json:
        print_json({"current": newest and newest["name"], "waiting": waiting})
    else:
        click.echo(f"{newest['name']}, applied {_moment(newest)}" if newest else "no file of the schema is applied")
        click.echo(f"{len(waiting)} files wait: run traderd migrate" if waiting else "up to date")
    return ExitCode.OK


@click.command()
@config_argument
@json_option
def history(config_path: Path | None, as_json: bool) -> int:
    """Show every file of the schema, and when it was applied."""
    files = _history(config_path)
    if as_json:
        print_json({"files": files})
    else:
        print_table(["file", "state", "applied"], [[file["name"], file["state"], _moment(file)] for file in files])
    return ExitCode.OK


async def _migrated(config: Config, path: Path) -> dict[str, Any]:
    from traderd.adapters.maintenance import apply_settings  # noqa: PLC0415 - slow to load
    from traderd.adapters.migrations import migrate as bring_up_to_date  # noqa: PLC0415

    async with database_of(config, path) as dsn:
        report = structs.asdict(await bring_up_to_date(dsn))
        if report["applied"]:
            await note_act(dsn, "migrate", "schema_upgraded", "schema", files=report["applied"])
        return report | {"settings": await apply_settings(dsn, config.storage)}


async def _downgraded(config: Config, path: Path, steps: int | None) -> tuple[str, ...]:
    from traderd.adapters.migrations import downgrade as undo  # noqa: PLC0415

    async with database_of(config, path, alone=True) as dsn:
        await note_act(dsn, "db downgrade", "schema_downgraded", "schema", steps=steps or "base")  # the log may go, too
        return await undo(dsn, steps)


def _history(config_path: Path | None) -> list[dict[str, Any]]:
    return asyncio.run(_told(*load(config_path)))


async def _told(config: Config, path: Path) -> list[dict[str, Any]]:
    from traderd.adapters.migrations import history as told  # noqa: PLC0415
    from traderd.adapters.postgres import connect  # noqa: PLC0415

    async with database_of(config, path) as dsn:
        connection = await connect(dsn, name="traderd db")
        try:
            return [structs.asdict(file) for file in await told(connection)]
        finally:
            await connection.close()


def _moment(file: dict[str, Any]) -> str:
    return f"{file['applied_at']:%Y-%m-%d %H:%M:%S} UTC" if file["applied_at"] else ""
