"""`traderd gaps` at the command line: which rows it shows, and how."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from conftest import Database
from traderd.adapters.fact_store import PostgresFactStore
from traderd.cli import ExitCode, execute
from traderd.core.facts import Gap, Span
from traderd.core.gaps import healed

S = 1_000_000_000
T0 = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * S
CLOSED = Gap("r-g1", "binance", "BTC/USDT", "trade", "sequence", T0, T0 + 2 * S, status="closed")
LACKING = (Span("BTC/USDT", T0 + 60 * S, T0 + 70 * S), Span("ETH/USDT", T0 + 60 * S, T0 + 90 * S + 7))
OVER = Gap("r-g2", "bybit", "", "", "restart", T0 + 60 * S, T0 + 90 * S)
HURT = replace(
    healed(OVER, 0, T0, why_not="only the last 1000", unfetched=LACKING),
    candles="2 of 1m",
    candles_due_ns=T0 + 3_600 * S,
    hurt_bars=LACKING[1:],
)
GAPS = [
    healed(CLOSED, 1234, T0 + 9 * S, "17", "1252"),
    HURT,
    Gap("r-g3", "kraken", "ETH/USD", "book", "checksum", T0 + 120 * S, 0),
]


@pytest.fixture
def config(tmp_path: Path, plain_database: Database) -> str:
    """Names a database with these gaps in it."""

    async def write() -> None:
        store = PostgresFactStore(plain_database.dsn, 10)
        await store.store("facts", 1, GAPS)
        await store.close()

    asyncio.run(write())
    path = tmp_path / "config.yaml"
    path.write_text(
        f"venues: [{{name: binance, endpoint: sim, symbols: [BTC/USDT]}}]\ndatabase: '{plain_database.dsn}'\n"
    )
    return str(path)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert execute(["gaps", *arguments]) == ExitCode.OK
    seen = capsys.readouterr()
    assert seen.err == ""
    return seen.out


def listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return list(json.loads(told([*arguments, "--json"], capsys))["gaps"])


def test_gaps_are_listed_newest_first_with_all_that_is_known(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON exactly as they were recorded, for people in a table, and chosen by what is asked."""
    every = listed([config], capsys)
    assert [gap["gap_id"] for gap in every] == ["r-g3", "r-g2", "r-g1"]
    assert [msgspec.convert(gap, Gap) for gap in reversed(every)] == GAPS
    assert [gap["gap_id"] for gap in listed([config, "--open"], capsys)] == ["r-g3"]
    assert [gap["gap_id"] for gap in listed([config, "--symbol", "BTC/USDT"], capsys)] == ["r-g2", "r-g1"]
    assert [gap["gap_id"] for gap in listed([config, "--since", "2026-03-01 12:01:30"], capsys)] == ["r-g3", "r-g2"]
    lines = told([config], capsys).splitlines()
    assert lines[0].split()[:4] == ["from", "to", "seconds", "venue"]
    shown = " ".join(lines[3].split())
    assert shown.startswith(
        "2026-03-01 12:00:00 2026-03-01 12:00:02 2.000 binance BTC/USDT trade sequence healed 1,234"
    )
    assert "unhealable 0 only the last 1000; the venue's candles: 2 of 1m; more are awaited" in " ".join(
        lines[2].split()
    )
    assert "open 0" in " ".join(lines[1].split())
