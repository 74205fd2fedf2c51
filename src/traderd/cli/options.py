"""What commands share: their arguments, how they read the configuration, and how they print.

Where stdout is JSON, everything else goes to stderr.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from traderd.config import Config, load_config, packaged_config


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


config_argument = click.argument(
    "config_path", metavar="[CONFIG]", required=False, type=click.Path(dir_okay=False, path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def load(config_path: Path | None) -> tuple[Config, Path]:
    """The configuration: the file given, ./config.yaml, or the installed default. Raises ConfigError."""
    here = Path("config.yaml")
    path = config_path or (here if here.exists() else packaged_config())
    return load_config(path), path


def print_json(value: Any) -> None:
    """One JSON value on stdout; what JSON doesn't know becomes text."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people: fitted to the terminal, and as wide as it is elsewhere. Numbers stand to the right."""
    from rich.console import Console  # noqa: PLC0415 - slow to load
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        is_numeric = all(row[i][:1].isdigit() for row in rows if row[i])
        table.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(max_width=100_000)).maximum
    console.print(table)


def indented(value: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Nested values as lines for people."""
    pad = "  " * depth
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{pad}{key}:"
            yield from indented(item, depth + 1)
        elif isinstance(item, list) and any(isinstance(inner, dict) for inner in item):
            yield f"{pad}{key}:"
            for inner in item:
                first, *others = indented(inner, depth + 2)
                yield f"{pad}  - {first.lstrip()}"
                yield from others
        else:
            shown = ", ".join(map(str, item)) if isinstance(item, list) else item
            yield f"{pad}{key}: {str(shown).lower() if isinstance(shown, bool) else shown}"
