"""The commands that keep copies: back the database up, restore it, and move old backtests out of it and back."""

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.database import database_of
from traderd.cli.operator import note_act
from traderd.cli.options import config_argument, json_option, load, print_json
from traderd.config import Config, backup_path, resolved


class Days(click.ParamType[timedelta]):
    """`365d` → a time span."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """At least one day; click's own error otherwise."""
        if isinstance(value, timedelta):
            return value
        if not re.fullmatch(r"[1-9][0-9]{0,4}d", value):
            self.fail(f"{value!r} is not a number of days such as 365d", param, ctx)
        return timedelta(days=int(value.removesuffix("d")))


_file_argument = click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file."
)


@click.command()
@config_argument
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write here instead of backup.dir, and delete nothing.",
)
@json_option
def backup(config_path: Path | None, folder: Path | None, as_json: bool) -> int:
    """Dump the whole database into one checked file, and delete backups that have had their time."""
    config, path = load(config_path)
    report = asyncio.run(_backed_up(config, path, folder))
    if as_json:
        print_json(report)
        return ExitCode.OK
    for warning in report["warnings"]:
        click.echo(f"pg_dump warns: {warning}", err=True)
    for name in report["deleted"]:
        click.echo(f"deleted {name}")
    click.echo(f"{report['file']}: {report['size']:,} bytes, {report['rows']:,} rows in {report['tables']} tables")
    return ExitCode.OK


@click.command()
@_file_argument
@click.option("--into", help="The DSN of an empty database, or env:NAME that holds one. Default: the configured one.")
@click.option("--yes", is_flag=True, help="Really do it.")
@click.option(
    "--identity", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="age's identity file (FILE.age)."
)
@_config_option
@json_option
def restore(
    file: Path, into: str | None, yes: bool, identity: Path | None, config_path: Path | None, as_json: bool
) -> int:
    """Restore a backup into an empty database, all of it or nothing."""
    if not yes:
        raise click.UsageError("this fills a database: say --yes")
    config, path = load(config_path)
    report = asyncio.run(_restored(config, path, file, into, identity))
    if as_json:
        print_json(report)
        return ExitCode.OK
    for role in report["roles_made"]:
        click.echo(f"made the role {role}")
    click.echo(f"{report['rows']:,} rows in {report['tables']} tables, as the manifest says, in {report['database']}")
    return ExitCode.OK


@click.command()
@config_argument
@click.option("--older-than", type=Days(), default="365d", show_default=True, help="Since their completion.")
@json_option
def archive(config_path: Path | None, older_than: timedelta, as_json: bool) -> int:
    """Move completed backtests with their trades into a compressed file under backup.dir."""
    config, path = load(config_path)
    report = asyncio.run(_archived(config, path, older_than))
    if as_json:
        print_json(report)
    elif report["file"]:
        click.echo(f"{report['file']}: {_counted(report['rows'])}")
    else:
        click.echo("nothing is old enough")
    return ExitCode.OK


@click.command()
@_file_argument
@_config_option
@json_option
def unarchive(file: Path, config_path: Path | None, as_json: bool) -> int:
    """Bring the backtests of an archive back into the database."""
    config, path = load(config_path)
    report = asyncio.run(_unarchived(config, path, file))
    if as_json:
        print_json(report)
    else:
        click.echo(f"brought back: {_counted(report['rows'])}")
    return ExitCode.OK


async def _backed_up(config: Config, path: Path, folder: Path | None) -> dict[str, Any]:
    from traderd.adapters.backup import backup as back_up  # noqa: PLC0415 - slow to load
    from traderd.adapters.rotation import Keep  # noqa: PLC0415

    settings = config.backup
    keep = Keep(settings.keep_daily, settings.keep_weekly, settings.keep_monthly)
    async with database_of(config, path) as dsn:
        with _bar() as progress:
            report = await back_up(
                dsn,
                folder or backup_path(config, path),
                datetime.now(UTC),
                encrypt_to=settings.encrypt_to,
                keep=None if folder else keep,
                progress=progress,
            )
        await note_act(dsn, "db backup", "database_backed_up", "database", file=str(report.file))
    return structs.asdict(report)


async def _restored(config: Config, path: Path, file: Path, into: str | None, identity: Path | None) -> dict[str, Any]:
    if into is not None:
        return structs.asdict(await _brought_back(file, resolved(into), identity))
    async with database_of(config, path, alone=True) as dsn:
        return structs.asdict(await _brought_back(file, dsn, identity))


async def _brought_back(file: Path, dsn: str, identity: Path | None) -> Any:
    from traderd.adapters.restore import restore as bring_back  # noqa: PLC0415

    report = await bring_back(file, dsn, identity)
    await note_act(dsn, "db restore", "database_restored", "database", file=str(file))
    return report


async def _archived(config: Config, path: Path, older_than: timedelta) -> dict[str, Any]:
    from traderd.adapters.archive import archive as move_out  # noqa: PLC0415

    async with database_of(config, path) as dsn:
        report = await move_out(dsn, backup_path(config, path), datetime.now(UTC), older_than)
        if report.file:
            await note_act(dsn, "db archive", "backtests_archived", "backtest", file=str(report.file), rows=report.rows)
        return structs.asdict(report)


async def _unarchived(config: Config, path: Path, file: Path) -> dict[str, Any]:
    from traderd.adapters.archive import unarchive as move_in  # noqa: PLC0415

    async with database_of(config, path) as dsn:
        report = await move_in(dsn, file)
        await note_act(dsn, "db unarchive", "backtests_unarchived", "backtest", file=str(file), rows=report.rows)
        return structs.asdict(report)


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in rows.items())


@contextmanager
def _bar() -> Iterator[Any]:
    """A bar on a terminal, of the bytes of the tables that are done; nothing where stderr is a pipe or a file."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("dumping"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("dumping", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
