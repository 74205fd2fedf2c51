"""The commands about the daemon itself: run it, look at it, try it out. What they do is elsewhere."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import click
import orjson
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.options import Duration, config_argument, indented, json_option, load, print_json
from traderd.config import Sim, plan, state_path
from traderd.core.errors import TraderdError


@click.command()
@config_argument
@click.option("--for", "run_for_s", type=Duration(), help="Stop after this long (30s, 10m, 1h30m) and print a summary.")
@click.option(
    "--record", "record_dir", type=click.Path(file_okay=False, path_type=Path), help="Record all traffic here."
)
@click.option("--reset-breaker", is_flag=True, help="Accept the drawdown that tripped the breaker, and trade again.")
def run(config_path: Path | None, run_for_s: float | None, record_dir: Path | None, reset_breaker: bool) -> int:
    """Run the daemon until SIGTERM or Ctrl-C."""
    config, path = load(config_path)
    from traderd import app  # noqa: PLC0415 - the other commands do without its weight

    return app.run(config, path, run_for_s, record_dir, reset_breaker)


@click.command()
@config_argument
@click.option("--seed", type=click.IntRange(0), help="Same seed, same market.")
@click.option("--symbols", type=click.IntRange(1, 1_000), help="How many symbols.")
@click.option("--ticks-per-second", type=click.FloatRange(0, 1_000_000, min_open=True), help="All symbols together.")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 takes any free port.")
def sim(config_path: Path | None, **changes: Any) -> int:
    """Run the simulated exchange alone; it prints its address. Options go before CONFIG's section `sim`."""
    config, _ = load(config_path)
    settings = structs.replace(config.sim, **{key: value for key, value in changes.items() if value is not None})
    try:
        asyncio.run(_simulated(settings))
    except OSError as fault:
        raise TraderdError(f"sim.port: {settings.port} can't be had: {fault.strerror or fault}") from fault
    return ExitCode.OK


@click.command()
@config_argument
@json_option
def check(config_path: Path | None, as_json: bool) -> int:
    """Validate the configuration and say what a start would do."""
    config, path = load(config_path)
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
        print_json({**outline, "problems": problems})
    else:
        click.echo("\n".join(indented(outline)))
    for problem in problems:
        click.echo(problem, err=True)
    return ExitCode.PROBLEMS if problems else ExitCode.OK


@click.command()
@config_argument
@json_option
def doctor(config_path: Path | None, as_json: bool) -> int:
    """Look at the database, Redis, disk, clocks and permissions: each line is ok or says what to do."""
    config, path = load(config_path)
    from traderd import doctor as practice  # noqa: PLC0415

    findings = asyncio.run(practice.examine(config, path))
    if as_json:
        print_json(
            {"ok": not any(map(practice.is_problem, findings)), "findings": [structs.asdict(f) for f in findings]}
        )
    else:
        practice.show(findings)
    return ExitCode.PROBLEMS if any(map(practice.is_problem, findings)) else ExitCode.OK


@click.command()
@config_argument
@json_option
def status(config_path: Path | None, as_json: bool) -> int:
    """Ask the running daemon how it is; with --json also every symbol's book and candles."""
    config, path = load(config_path)
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
        print_json(answer)
    else:
        answer.pop("symbols", None)  # a section for each would bury the rest
        click.echo("\n".join(indented({"pid": daemon.pid, "http": daemon.http, **answer})))
    return ExitCode.OK


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@json_option
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
    config, path = load(config_path)
    from traderd.replay import replay as play  # noqa: PLC0415

    return play(list(files), config, path, not no_store, speed, as_json)


async def _simulated(settings: Sim) -> None:
    """Until SIGTERM, which is an orderly end, or Ctrl-C."""
    from traderd.sim.server import serve_forever  # noqa: PLC0415

    exchange = asyncio.create_task(serve_forever(settings, click.echo))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, exchange.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await exchange
    if (this := asyncio.current_task()) is not None and this.cancelling():
        raise asyncio.CancelledError
