"""A whole day in a few seconds: the books add up over lives and deaths, and a recorded day replayed is the same day."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from books import counted, expect_intents_first, expect_sound_books, rows
from daemons import DaemonProcess, configuration, exchange

from conftest import Database

pytestmark = pytest.mark.process
TICKS = "SELECT * FROM tick_data ORDER BY time, symbol, sequence"
TRADES = "SELECT * FROM public_trades ORDER BY time, symbol, trade_id"


async def test_the_books_add_up_over_a_run_a_kill_and_another_run(plain_database: Database, tmp_path: Path) -> None:
    """Positions are the sums of their fills, cash is what was paid and got, and the second life goes on from the first.

    An order that was under way when the daemon was killed ends as expired; none is sent without its signal on record.
    """
    async with exchange() as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn)) as daemon:
            daemon.start()
            status = await daemon.until(
                lambda status: status["engine"]["fills"] >= 6 and status["portfolio"]["positions"], 60.0
            )
            first = status["run"]
            await asyncio.sleep(0.5)
            daemon.kill9()
            daemon.start()
            status = await daemon.until(lambda status: status["engine"]["trading"])
            assert await expect_sound_books(plain_database.dsn) >= 6
            assert status["portfolio"]["positions"], "positions did not survive"
            status = await daemon.until(lambda status: status["engine"]["fills"] >= 6, 60.0)
            await daemon.terminate()
            assert await expect_sound_books(plain_database.dsn) >= 12
            assert expect_intents_first(daemon.state / "facts", tmp_path / "copy") >= 12
            assert not await rows(
                plain_database.dsn,
                f"SELECT client_order_id FROM orders WHERE client_order_id LIKE '{first}-%'"
                " AND status NOT IN ('filled', 'cancelled', 'rejected', 'expired')",
            )


async def test_a_recorded_run_replayed_is_the_same_run(plain_database: Database, tmp_path: Path) -> None:
    """Into the same database nothing comes twice; into an empty one come the same rows, to the last digit."""
    async with exchange() as sim:
        config = configuration(tmp_path, sim.url, database=plain_database.dsn)
        with DaemonProcess(config) as daemon:
            daemon.start("--record", str(tmp_path / "tapes"))
            await daemon.until(lambda status: status["ticks"]["stored"] > 3_000)
            await daemon.terminate()
    before = await counted(plain_database.dsn)
    ticks, trades = await rows(plain_database.dsn, TICKS), await rows(plain_database.dsn, TRADES)
    assert (len(ticks), len(trades)) == (before["tick_data"], before["public_trades"])
    (tape,) = (tmp_path / "tapes").glob("*.frames.gz")
    out = await asyncio.to_thread(_replay, tape, config)
    assert f"stored 0 rows, {len(ticks) + len(trades):,} were there already" in out
    assert await counted(plain_database.dsn) == before
    for table in ("tick_data", "public_trades"):
        await rows(plain_database.dsn, f"TRUNCATE {table}")
    out = await asyncio.to_thread(_replay, tape, config)
    assert f"stored {len(ticks) + len(trades):,} rows, 0 were there already" in out
    assert await rows(plain_database.dsn, TICKS) == ticks
    assert await rows(plain_database.dsn, TRADES) == trades


def _replay(tape: Path, config: Path) -> str:
    command = [sys.executable, "-m", "traderd", "replay", str(tape), "--config", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())
