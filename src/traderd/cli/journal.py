"""`traderd journal`: what waits in the local journals, whether it is sound, and what it says, row by row.

Reads beside a running daemon as on a stopped one, and changes nothing; only `accept` writes, into the database.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.journal_cursors import Cursors, accepted, asked
from traderd.cli.journal_dump import Place, Wanted, json_line, rows_within, text_line
from traderd.cli.options import config_argument, json_option, load, print_json, print_table
from traderd.config import state_path
from traderd.core.errors import TraderdError

if TYPE_CHECKING:
    from traderd.adapters.journal_survey import JournalSurvey, SegmentSurvey

_JOURNALS = ("ticks", "facts")


folder_option = click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="One journal's folder, wherever."
)


@click.group()
def journal() -> None:
    """Look into the local journals: what is in them, and whether it is sound."""


@journal.command()
@config_argument
@folder_option
@json_option
def ls(config_path: Path | None, folder: Path | None, as_json: bool) -> int:
    """List the segments: positions, rows by label, ages, bytes, and how far the database is."""
    surveys, cursors = _looked(config_path, folder)
    if as_json:
        print_json({"journals": [_described(name, found, cursors) for name, found in surveys.items()]})
        return ExitCode.OK
    for name, found in surveys.items():
        cursor = cursors.positions.get(found.journal_id)
        waiting = sum(_waiting(segment, cursor) for segment in found.segments)
        size = sum(segment.bytes for segment in found.segments)
        click.echo(f"{name}: {found.journal_id} in {found.folder}, {size:,} bytes")
        click.echo(f"  database: {_told(cursors, cursor, waiting)}")
        if found.set_aside_files:
            click.echo(f"  set aside: {found.set_aside_files} damaged stretches, {found.set_aside_bytes:,} bytes")
        print_table(
            ["segment", "first", "last", "records", "rows", "from", "to", "written", "bytes", "state"],
            [_line(segment, cursor) for segment in found.segments],
        )
    return ExitCode.OK


@journal.command()
@config_argument
@folder_option
@json_option
def verify(config_path: Path | None, folder: Path | None, as_json: bool) -> int:
    """Check every record's checksum and numbering. Exits 5 if a record is missing or damaged."""
    surveys = _surveyed(_folders(config_path, folder))
    damaged = [stretch for found in surveys.values() for segment in found.segments for stretch in segment.damaged]
    if as_json:
        print_json(
            {"sound": not damaged, "journals": [_described(name, found, None) for name, found in surveys.items()]}
        )
        return ExitCode.PROBLEMS if damaged else ExitCode.OK
    for name, found in surveys.items():
        records = sum(segment.records for segment in found.segments)
        click.echo(f"{name}: {records:,} sound records in {len(found.segments)} segments")
        for segment in found.segments:
            if segment.unfinished_bytes:
                click.echo(f"  {segment.file}: {segment.unfinished_bytes} bytes of an unfinished record at its end")
            for stretch in segment.damaged:
                what = f", {stretch.rows:,} rows of {stretch.label}" if stretch.label else ""
                click.echo(
                    f"  {stretch.segment}: damaged at byte {stretch.offset}, {stretch.bytes:,} bytes:"
                    f" {stretch.records:,} records missing{what}"
                )
    return ExitCode.PROBLEMS if damaged else ExitCode.OK


@journal.command()
@config_argument
@folder_option
@click.option("--from", "start", type=Place(), help="The first position, or moment in UTC.")
@click.option("--to", "end", type=Place(), help="The position, or moment in UTC, before which it ends.")
@click.option("--label", help="Only labels that begin so: facts, tick_data, public_trades:binance, …")
@click.option("--limit", type=click.IntRange(1), help="At most so many rows.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def dump(
    config_path: Path | None,
    folder: Path | None,
    start: int | None,
    end: int | None,
    label: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Print what the records say, row by row. Damaged stretches are told on stderr."""
    wanted = Wanted(start, end, label or "", limit or sys.maxsize)
    try:
        for row in rows_within(_folders(config_path, folder), wanted):
            click.echo(json_line(row) if as_json else text_line(row))
    except BrokenPipeError:  # the reader has seen enough; nor may Python's last flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


@journal.command()
@config_argument
@json_option
def accept(config_path: Path | None, as_json: bool) -> int:
    """Go on with a database that lacks what the journals let go: restored from an older backup, or a new one.

    Connect the right database first, if there is one. What lies between is gone: it becomes a gap of each venue, and
    the journals' own records follow.
    """
    config, _ = load(config_path)
    surveys = _surveyed(_folders(config_path, None))
    done = asyncio.run(accepted(config_path, surveys, [venue.name for venue in config.venues]))
    if as_json:
        print_json({"accepted": done})
        return ExitCode.OK
    for name, (had, begins_after) in done.items():
        click.echo(f"{name}: the database, which had it up to {had}, goes on after {begins_after}")
    if not done:
        click.echo("nothing is missing between the journals and the database")
    return ExitCode.OK


def _folders(config_path: Path | None, folder: Path | None) -> dict[str, Path]:
    """The journals by name. Raises TraderdError where there are none."""
    if folder is not None:
        return {folder.name: folder}
    state_dir = state_path(*load(config_path))
    found = {name: state_dir / name for name in _JOURNALS if (state_dir / name).is_dir()}
    if not found:
        raise TraderdError(f"there is no journal in {state_dir}: no daemon has run on this state folder")
    return found


def _looked(config_path: Path | None, folder: Path | None) -> "tuple[dict[str, JournalSurvey], Cursors]":
    surveys = _surveyed(_folders(config_path, folder))
    if folder is not None:
        return surveys, Cursors({}, "not asked")
    return surveys, asyncio.run(asked(*load(config_path), [found.journal_id for found in surveys.values()]))


def _surveyed(folders: dict[str, Path]) -> "dict[str, JournalSurvey]":
    from traderd.adapters.journal_survey import size_of, survey  # noqa: PLC0415 - slow to load

    with _progress(sum(map(size_of, folders.values()))) as progress:
        return {name: survey(folder, progress) for name, folder in folders.items()}


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    """Told of more bytes; shown where a person looks on."""
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        yield bar.update


def _waiting(segment: "SegmentSurvey", cursor: int | None) -> int:
    """Records that the database hasn't got; of a segment that it has in part, by the numbers."""
    if cursor is None or segment.last <= cursor:
        return 0 if cursor is not None else segment.records
    return min(segment.records, segment.last - cursor)


def _state(segment: "SegmentSurvey", cursor: int | None) -> str:
    if segment.damaged:
        return "damaged"
    if not segment.records:
        return "empty"
    if cursor is None:
        return ""
    return "stored" if segment.last <= cursor else "waiting" if cursor < segment.first else "partly stored"


def _told(cursors: Cursors, cursor: int | None, waiting: int) -> str:
    if cursors.why_not:
        return cursors.why_not
    return "doesn't know it" if cursor is None else f"has it up to {cursor}; {waiting:,} records wait"


def _line(segment: "SegmentSurvey", cursor: int | None) -> list[str]:
    rows = ", ".join(f"{label} {count:,}" for label, count in segment.rows.items())
    first, last = (str(segment.first), str(segment.last)) if segment.records else ("", "")
    ages = [_moment(at) for at in (segment.from_ns, segment.to_ns, segment.written_ns)]
    return [
        segment.file,
        first,
        last,
        f"{segment.records:,}",
        rows,
        *ages,
        f"{segment.bytes:,}",
        _state(segment, cursor),
    ]


def _described(name: str, found: "JournalSurvey", cursors: Cursors | None) -> dict[str, Any]:
    described = {"journal": name, **structs.asdict(found)}
    cursor = cursors.positions.get(found.journal_id) if cursors else None
    described["segments"] = [
        structs.asdict(segment)
        | {"damaged": [structs.asdict(stretch) for stretch in segment.damaged]}
        | ({"state": _state(segment, cursor)} if cursors else {})
        for segment in found.segments
    ]
    if cursors:
        waiting = sum(_waiting(segment, cursor) for segment in found.segments)
        described |= {"cursor": cursor, "records_waiting": waiting, "database": cursors.why_not or "asked"}
    return described


def _moment(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}" if at_ns else ""
