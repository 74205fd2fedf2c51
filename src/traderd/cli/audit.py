"""`traderd audit`: whether the log of every act and order is whole, and what is in it."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.operator import operated
from traderd.cli.options import config_argument, json_option, print_json

if TYPE_CHECKING:
    from traderd.adapters.audit import Entry, Verdict


class AuditHead(click.ParamType[tuple[int, str]]):
    """`SEQUENCE:HASH` as `verify` prints it."""

    name = "sequence:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, str]:
        """Click's own error where it isn't one."""
        sequence, _, digest = str(value).partition(":")
        if not sequence.isdecimal() or len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
            self.fail(f"{value!r} is not a head such as verify prints: NUMBER:64 hexadecimal digits", param, ctx)
        return int(sequence), digest.lower()


@click.group()
def audit() -> None:
    """Look into the log of every act and every order."""


@audit.command()
@config_argument
@click.option(
    "--expect", type=AuditHead(), help="The head that an earlier run printed; the chain must pass through it."
)
@json_option
def verify(config_path: Path | None, expect: tuple[int, str] | None, as_json: bool) -> int:
    """Find the first row that was altered, removed or inserted.

    Prints the head of the chain. Keep it where nobody who rules the database can reach it, and give it with --expect
    the next time: then not even a chain that was rewritten as a whole passes.
    """
    verdict = asyncio.run(_verified(config_path, expect))
    whole = verdict.broken_at is None
    if as_json:
        print_json({"whole": whole, **structs.asdict(verdict), "head": str(verdict.head)})
    elif whole:
        click.echo(f"whole: {verdict.rows:,} rows, head {verdict.head}")
    else:
        click.echo(f"broken at row {verdict.broken_at}: {verdict.reason}")
        click.echo(f"the {verdict.rows:,} rows before are whole, head {verdict.head}")
    return ExitCode.OK if whole else ExitCode.PROBLEMS


@audit.command()
@config_argument
@click.option("--since", type=click.DateTime(), help="The first moment, in UTC.")
@click.option("--action", help="One kind of act alone, such as order_placed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def log(config_path: Path | None, since: datetime | None, action: str | None, as_json: bool) -> int:
    """Print the log, the oldest row first."""
    moment = since.replace(tzinfo=UTC) if since else None
    try:
        asyncio.run(_listed(config_path, moment, action, _json_line if as_json else _line))
    except BrokenPipeError:  # the reader has seen enough; nor may Python's last flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


async def _verified(config_path: Path | None, expect: tuple[int, str] | None) -> "Verdict":
    from traderd.adapters.audit import Head, chain_end, note_broken, verify  # noqa: PLC0415 - slow to load

    async with operated(config_path, "audit verify", timeout_s=0) as connection:
        end = await chain_end(connection)
        with _progress(end.sequence if end else 0) as progress:
            verdict = await verify(connection, Head(*expect) if expect else None, progress)
        if verdict.broken_at is not None:
            await note_broken(connection, verdict)
        return verdict


async def _listed(
    config_path: Path | None, since: datetime | None, action: str | None, line: "Callable[[Entry], str]"
) -> None:
    from traderd.adapters.audit import entries  # noqa: PLC0415

    async with operated(config_path, "audit log", timeout_s=0) as connection:
        async for entry in entries(connection, since, action):
            click.echo(line(entry))


@contextmanager
def _progress(rows: int) -> Iterator[Callable[[int], None]]:
    """Told of more rows; shown where a person looks on."""
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    with click.progressbar(length=rows, label="verifying", file=sys.stderr) as bar:
        yield bar.update


def _line(entry: "Entry") -> str:
    values = " ".join(
        f"{name}={orjson.dumps(value).decode()}"
        for name, value in (("old", entry.old_values), ("new", entry.new_values), ("metadata", entry.metadata))
        if value is not None
    )
    resource = f"{entry.resource_type} {entry.resource_id or ''}".rstrip()
    when = f"{entry.time:%Y-%m-%d %H:%M:%S.%f}"
    return f"{entry.sequence} {when} {entry.username or '-'} {entry.action} {resource} {values}".rstrip()


def _json_line(entry: "Entry") -> str:
    return orjson.dumps(structs.asdict(entry)).decode()
