"""`traderd gaps`: every hole in the data, from when to when, why, and what became of it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from traderd.cli.codes import ExitCode
from traderd.cli.operator import operated
from traderd.cli.options import config_argument, json_option, print_json, print_table

if TYPE_CHECKING:
    from traderd.core.facts import Gap


@click.command()
@config_argument
@click.option("--open", "open_only", is_flag=True, help="Only those that are open now.")
@click.option("--since", type=click.DateTime(), help="Only those that were not over by this moment, in UTC.")
@click.option("--symbol", help="Only those that concern this symbol, such as BTC/USDT.")
@json_option
def gaps(config_path: Path | None, open_only: bool, since: datetime | None, symbol: str | None, as_json: bool) -> int:
    """List the holes in the data, the newest first."""
    moment = since.replace(tzinfo=UTC) if since else None
    found = asyncio.run(_listed(config_path, open_only, moment, symbol))
    if as_json:
        print_json({"gaps": [_told(gap) for gap in found]})
        return ExitCode.OK
    print_table(
        ["from", "to", "seconds", "venue", "symbol", "channel", "reason", "status", "rows healed", "what is known"],
        [
            [
                _moment(gap.from_ns),
                _moment(gap.to_ns),
                f"{(gap.to_ns - gap.from_ns) / 1e9:.3f}" if gap.to_ns else "",
                gap.exchange,
                gap.symbol or "all",
                gap.channel or "all",
                gap.reason,
                gap.status,
                f"{gap.rows_healed:,}",
                "; ".join(filter(None, (_lost(gap), gap.why_not, _candles(gap), gap.detail))),
            ]
            for gap in found
        ],
    )
    return ExitCode.OK


async def _listed(config_path: Path | None, open_only: bool, since: datetime | None, symbol: str | None) -> "list[Gap]":
    from traderd.adapters.gap_store import listed  # noqa: PLC0415 - slow to load

    async with operated(config_path, "gaps") as connection:
        return await listed(connection, open_only, since, symbol)


def _told(gap: "Gap") -> dict[str, Any]:
    spans = {name: [structs.asdict(each) for each in getattr(gap, name)] for name in ("unfetched", "hurt_bars")}
    return structs.asdict(gap) | spans


def _moment(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}" if at_ns else ""


def _candles(gap: "Gap") -> str:
    awaited = "more are awaited" if gap.candles else "the venue's candles are awaited"
    taken = f"the venue's candles: {gap.candles}" if gap.candles else ""
    return "; ".join(filter(None, (taken, awaited if gap.candles_due_ns else "")))


def _lost(gap: "Gap") -> str:
    return f"{gap.rows_lost:,} rows of ours lost" if gap.rows_lost else ""
