"""Which rows of the journals `traderd journal dump` prints, and how a row looks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import orjson


class Place(click.ParamType[int]):
    """A record's position, or a moment in UTC, which becomes minus its nanoseconds."""

    name = "position or moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Click's own error where it is neither."""
        text = str(value)
        if text.isdecimal():
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a position nor a moment such as 2026-01-31T12:00:00", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return -int(moment.timestamp() * 1_000_000) * 1_000


class Wanted(NamedTuple):
    """Which rows: places are positions, or moments as minus nanoseconds."""

    start: int | None
    end: int | None
    label: str
    limit: int

    def position(self, position: int) -> bool:
        """Whether a record's number lies within."""
        return position >= (self.start or 0) and not (self.end is not None and self.end >= 0 and position >= self.end)

    def moment(self, at_ns: int | None) -> bool:
        """Whether a row's time lies within; what has none isn't left out."""
        if at_ns is None:
            return True
        return at_ns >= -(self.start or 0) and not (self.end is not None and self.end < 0 and at_ns >= -self.end)


class DumpedRow(NamedTuple):
    """One line."""

    journal: str
    position: int
    label: str
    row: dict[str, Any]


def rows_within(folders: dict[str, Path], wanted: Wanted) -> Iterator[DumpedRow]:
    """The rows of these journals, in order; damage is told on stderr where it stands."""
    from traderd.adapters.journal_rows import rows_of, time_of_row  # noqa: PLC0415 - slow to load
    from traderd.adapters.journal_survey import contents  # noqa: PLC0415

    left = wanted.limit
    for name, folder in folders.items():
        for found in contents(folder):
            if isinstance(found, tuple):
                segment, hole = found
                click.echo(f"{segment.path.name}: damaged at byte {hole.offset}: {hole.records} records", err=True)
                continue
            if not found.label.startswith(wanted.label) or not wanted.position(found.position):
                continue
            for row in rows_of(found):
                if wanted.moment(time_of_row(row)):
                    yield DumpedRow(name, found.position, found.label, row)
                    left -= 1
                    if not left:
                        return


def json_line(row: DumpedRow) -> str:
    """For programs."""
    return orjson.dumps(row._asdict()).decode()


def text_line(row: DumpedRow) -> str:
    """For people; what is empty isn't shown."""
    values = " ".join(f"{name}={value}" for name, value in row.row.items() if value not in (None, ""))
    return f"{row.position} {row.label} {values}"
