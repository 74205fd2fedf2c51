"""The `traderd` command: its arguments, its exit codes, and nothing of what the commands do.

A fault that has a name is one line on stderr and an exit code; a mistake of our own is a traceback.
Refuses to guess. Where stdout is JSON, everything else goes to stderr.
"""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import click
import orjson
from msgspec import structs

from traderd import __version__
from traderd.config import Config, Sim, load_config, packaged_config, plan, state_path
from traderd.core.errors import ConfigError, MigrationError, StoreUnavailableError, TraderdError


class ExitCode(IntEnum):
    """What the command's end means; `traderd --help` tells it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    PROBLEMS = 5
    INTERRUPTED = 130


_MEANING = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed, or something unexpected: see the line on stderr",
    ExitCode.USAGE: "wrong arguments, or a configuration that can't be used; nothing was started",
    ExitCode.UNAVAILABLE: "a service that is needed isn't there: the database, or for status the daemon",
    ExitCode.REFUSED: "refused: the schema is newer or was changed, or the state folder is in use",
    ExitCode.PROBLEMS: "doctor or check found problems",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}
_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in _MEANING.items())


def main() -> None:
    """Entry point of the console script."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return int(commands.main(args=arguments, prog_name="traderd", standalone_mode=False) or 0)
    except click.ClickException as fault:
        fault.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except (TraderdError, ExceptionGroup) as fault:
        faults = list(_leaves(fault))
        named = [leaf for leaf in faults if isinstance(leaf, TraderdError)]
        if len(named) < len(faults):
            raise
        for line in dict.fromkeys(line for leaf in named for line in _lines(leaf)):
            click.echo(line, err=True)
        return exit_code(named[0])


def exit_code(fault: TraderdError) -> ExitCode:
    """What a fault means to whoever waits for the command."""
    from traderd.adapters.server_process import EmbeddedServerError, StateInUseError  # noqa: PLC0415 - slow to load

    meanings: list[tuple[type[TraderdError], ExitCode]] = [
        (ConfigError, ExitCode.USAGE),
        (StateInUseError, ExitCode.REFUSED),
        (MigrationError, ExitCode.REFUSED),
        (StoreUnavailableError, ExitCode.UNAVAILABLE),
        (EmbeddedServerError, ExitCode.UNAVAILABLE),
    ]
    return next((code for kind, code in meanings if isinstance(fault, kind)), ExitCode.FAILED)


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from _leaves(inner)
    else:
        yield fault


def _lines(fault: TraderdError) -> list[str]:
    return fault.lines if isinstance(fault, ConfigError) else ["traderd: " + " ".join(str(fault).split())]


class Duration(click.ParamType[float]):
    """`30s`, `10m`, `1h30m` → seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds above zero; click's own error otherwise."""
        if isinstance(value, int | float):
            return float(value)
        parts = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6}(?:\.\d{1,3})?)s)?", value)
        seconds = (
            sum(float(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
            if parts
            else 0
        )
        if seconds <= 0:
            self.fail(f"{value!r} is not a duration such as 30s, 10m or 1h30m", param, ctx)
        return seconds


_config_argument = click.argument(
    "config_path", metavar="[CONFIG]", required=False, type=click.Path(dir_okay=False, path_type=Path)
)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """A real-time streaming trading daemon.

    CONFIG is the configuration file; without it ./config.yaml is taken, and without that the installed default.
    """


@commands.command()
@_config_argument
@click.option("--for", "run_for_s", type=Duration(), help="Stop after this long (30s, 10m, 1h30m) and print a summary.")
@click.option(
    "--record", "record_dir", type=click.Path(file_okay=False, path_type=Path), help="Record all traffic here."
)
@click.option("--reset-breaker", is_flag=True, help="Accept the drawdown that tripped the breaker, and trade again.")
def run(config_path: Path | None, run_for_s: float | None, record_dir: Path | None, reset_breaker: bool) -> int:
    """Run the daemon until SIGTERM or Ctrl-C."""
    config, path = _load(config_path)
    from traderd import app  # noqa: PLC0415 - the other commands do without its weight

    return app.run(config, path, run_for_s, record_dir, reset_breaker)


@commands.command()
@_config_argument
@click.option("--seed", type=click.IntRange(0), help="Same seed, same market.")
@click.option("--symbols", type=click.IntRange(1, 1_000), help="How many symbols.")
@click.option("--ticks-per-second", type=click.FloatRange(0, 1_000_000, min_open=True), help="All symbols together.")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 takes any free port.")
def sim(config_path: Path | None, **changes: Any) -> int:
    """Run the simulated exchange alone; it prints its address. Options go before CONFIG's section `sim`."""
    config, _ = _load(config_path)
    settings = structs.replace(config.sim, **{key: value for key, value in changes.items() if value is not None})
    try:
        asyncio.run(_simulated(settings))
    except OSError as fault:
        raise TraderdError(f"sim.port: {settings.port} can't be had: {fault.strerror or fault}") from fault
    return ExitCode.OK


@commands.command()
@_config_argument
@_json_option
def migrate(config_path: Path | None, as_json: bool) -> int:
    """Bring the database's schema up to date."""
    config, path = _load(config_path)
    report = structs.asdict(asyncio.run(_migrated(config, path)))
    if as_json:
        _print_json(report)
    else:
        for name in report["applied"]:
            click.echo(f"applied {name}")
        click.echo(f"up to date: {report['backend']}, PostgreSQL {report['server_version']}")
    return ExitCode.OK


@commands.command()
@_config_argument
@_json_option
def check(config_path: Path | None, as_json: bool) -> int:
    """Validate the configuration and say what a start would do."""
    config, path = _load(config_path)
    from traderd.sim.prices import listings  # noqa: PLC0415

    simulated = {listing.symbol for listing in listings(config.sim.symbols)}
    problems = [
        f"venues[{i}].symbols: the simulated exchange doesn't trade {symbol}: raise sim.symbols, or take another symbol"
        for i, venue in enumerate(config.venues)
        if venue.endpoint == "sim"
        for symbol in venue.symbols
        if symbol not in simulated
    ]
    outline = plan(config, path)
    if as_json:
        _print_json({**outline, "problems": problems})
    else:
        click.echo("\n".join(_indented(outline)))
    for problem in problems:
        click.echo(problem, err=True)
    return ExitCode.PROBLEMS if problems else ExitCode.OK


@commands.command()
@_config_argument
@_json_option
def doctor(config_path: Path | None, as_json: bool) -> int:
    """Look at the database, Redis, disk, clocks and permissions: each line is ok or says what to do."""
    config, path = _load(config_path)
    from traderd import doctor as practice  # noqa: PLC0415

    findings = asyncio.run(practice.examine(config, path))
    if as_json:
        _print_json(
            {"ok": not any(map(practice.is_problem, findings)), "findings": [structs.asdict(f) for f in findings]}
        )
    else:
        practice.show(findings)
    return ExitCode.PROBLEMS if any(map(practice.is_problem, findings)) else ExitCode.OK


@commands.command()
@_config_argument
@_json_option
def status(config_path: Path | None, as_json: bool) -> int:
    """Ask the running daemon how it is."""
    config, path = _load(config_path)
    from traderd.adapters.http_api import announced, ask  # noqa: PLC0415

    state_dir = state_path(config, path)
    daemon = announced(state_dir)
    if daemon is None:
        click.echo(f"traderd: no daemon runs on the state folder {state_dir}", err=True)
        return ExitCode.UNAVAILABLE
    try:
        answer = orjson.loads(ask(daemon, "/status", timeout_s=5.0))
    except (OSError, ValueError) as fault:
        click.echo(f"traderd: the daemon (process {daemon.pid}) doesn't answer on {daemon.http}: {fault}", err=True)
        return ExitCode.UNAVAILABLE
    if as_json:
        _print_json(answer)
    else:
        click.echo("\n".join(_indented({"pid": daemon.pid, "http": daemon.http, **answer})))
    return ExitCode.OK


@commands.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@_json_option
@click.option("--no-store", is_flag=True, help="Only report; nothing goes to the database.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="1 is real time. Default: as fast as it can.")
@click.option(
    "--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file."
)
def replay(
    files: tuple[Path, ...], as_json: bool, no_store: bool, speed: float | None, config_path: Path | None
) -> int:
    """Feed recorded frames through dialects, engine and store, and report what was in them."""
    if no_store and speed is not None:
        raise click.UsageError("--speed paces the engine and the store, which --no-store leaves out: give one of them")
    config, path = _load(config_path)
    from traderd.replay import replay as play  # noqa: PLC0415

    return play(list(files), config, path, not no_store, speed, as_json)


def _load(config_path: Path | None) -> tuple[Config, Path]:
    here = Path("config.yaml")
    path = config_path or (here if here.exists() else packaged_config())
    return load_config(path), path


async def _simulated(settings: Sim) -> None:
    """Until SIGTERM, which is an orderly end, or Ctrl-C."""
    from traderd.sim.server import serve_forever  # noqa: PLC0415

    exchange = asyncio.create_task(serve_forever(settings, click.echo))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, exchange.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await exchange
    if (this := asyncio.current_task()) is not None and this.cancelling():
        raise asyncio.CancelledError


async def _migrated(config: Config, path: Path) -> Any:
    from traderd.adapters.embedded import EmbeddedPostgres, StateLock  # noqa: PLC0415
    from traderd.adapters.migrations import migrate as bring_up_to_date  # noqa: PLC0415

    if config.database != "embedded":
        return await bring_up_to_date(config.database_dsn)
    state_dir = state_path(config, path)
    with StateLock(state_dir):
        postgres = EmbeddedPostgres(state_dir)
        try:
            return await bring_up_to_date(await postgres.start())
        finally:
            await postgres.stop()


def _print_json(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def _indented(value: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Nested values as lines for people."""
    pad = "  " * depth
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{pad}{key}:"
            yield from _indented(item, depth + 1)
        elif isinstance(item, list) and any(isinstance(inner, dict) for inner in item):
            yield f"{pad}{key}:"
            for inner in item:
                first, *others = _indented(inner, depth + 2)
                yield f"{pad}  - {first.lstrip()}"
                yield from others
        else:
            shown = ", ".join(map(str, item)) if isinstance(item, list) else item
            yield f"{pad}{key}: {str(shown).lower() if isinstance(shown, bool) else shown}"
