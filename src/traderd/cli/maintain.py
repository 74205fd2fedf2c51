"""`traderd db maintain`: what the daemon does for its database, done once: for a timer, or where the daemon is off."""

import asyncio
from pathlib import Path

import click

from traderd.cli.codes import ExitCode
from traderd.cli.database import database_of
from traderd.cli.options import config_argument, json_option, load, print_json
from traderd.config import Config
from traderd.core.errors import MigrationError


@click.command()
@config_argument
@click.option(
    "--release", "journals", metavar="JOURNAL", multiple=True, help="Drop the hold of a journal whose daemon is gone."
)
@json_option
def maintain(config_path: Path | None, journals: tuple[str, ...], as_json: bool) -> int:
    """Make partitions ahead, drop what has expired, refresh rollups.

    A running daemon does this by itself. On TimescaleDB's community edition its own policies do the most of it, and
    this refreshes the rollups at once.
    """
    config, path = load(config_path)
    done = asyncio.run(_maintained(config, path, journals))
    if as_json:
        print_json(done)
    elif "busy" in done:
        click.echo("another session is maintaining this database")
    else:
        for work, amount in done.items():
            click.echo(f"{amount} {work}")
        click.echo("nothing is left to do")
    return ExitCode.OK


async def _maintained(config: Config, path: Path, journals: tuple[str, ...]) -> dict[str, int]:
    import asyncpg  # noqa: PLC0415 - slow to load

    from traderd.adapters.maintenance import maintain as work  # noqa: PLC0415
    from traderd.adapters.maintenance import refresh_rollups, release_retention  # noqa: PLC0415
    from traderd.adapters.migrations import pending  # noqa: PLC0415
    from traderd.adapters.postgres import connect, translate  # noqa: PLC0415

    async with database_of(config, path) as dsn:
        connection = await connect(dsn, name="traderd maintain", timeout_s=0)
        try:
            if waiting := await pending(connection):
                raise MigrationError(f"{len(waiting)} migrations wait: run traderd migrate")
            for journal in journals:
                if not await release_retention(connection, journal):
                    raise click.BadParameter(f"{journal} holds nothing", param_hint="--release")
            done = await work(connection)
            await refresh_rollups(connection)
        except (asyncpg.PostgresError, OSError) as fault:
            raise translate(fault) or fault from fault
        finally:
            connection.terminate()
    return done
