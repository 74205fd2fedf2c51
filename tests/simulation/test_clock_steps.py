"""The machine's clock is set, forth and back, under a running daemon."""

import asyncio
import time
from pathlib import Path

import pytest
from accounts import settle
from books import expect_sound_books, rows
from daemons import LONG, DaemonProcess, configuration, exchange

from conftest import Database

pytestmark = pytest.mark.process
HURT = str(Path(__file__).with_name("hurt.py"))
STEPS_S = [7_200.0, 0.0, -7_200.0, 0.0, 3.0, -3.0, 0.0] if LONG else [7_200.0, -7_200.0, 0.0]
"""How far it is off, one after the other."""


async def test_a_clock_that_is_set_forth_and_back_costs_no_tick_and_soon_is_believed(
    plain_database: Database, tmp_path: Path
) -> None:
    """Two hours each way, when long three seconds too: sent = received = stored after each step.

    Soon after, ticks carry the clock's time as it is then, and trading goes on.
    """
    clock = tmp_path / "clock"
    clock.write_text("0")
    async with exchange(remember=True) as sim:
        config = configuration(tmp_path, sim.url, database=plain_database.dsn)
        with DaemonProcess(config, [HURT, f"clock={clock}"]) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["engine"]["trading"] and status["ticks"]["stored"] > 500, 60.0)
            for off_s in STEPS_S:
                aside = clock.with_name("aside")
                aside.write_text(str(off_s))
                aside.rename(clock)
                await asyncio.sleep(1.0)
                found = await settle(daemon, sim, plain_database.dsn, cut=True)
                print(f"{off_s:+.0f} s: {found}")
                assert found.stored == found.sent
                newest = (
                    "SELECT sequence, extract(epoch FROM time)::float8 FROM tick_data ORDER BY sequence DESC LIMIT 1"
                )
                ((_, at_s),) = await rows(plain_database.dsn, newest)
                dated_s = at_s - time.time()
                assert abs(dated_s - off_s) < 60.0, (
                    f"the clock is {off_s:+} s off, and ticks are dated {dated_s:+.1f} s"
                )
                await daemon.until(lambda status: status["engine"]["trading"] and not status["not_ready"])
            fills = (await daemon.status())["engine"]["fills"]
            await daemon.until(lambda status: status["engine"]["fills"] > fills, 30.0)
            await daemon.terminate()
            # What was written while the clock was two hours ahead would pass for the newest row.
            await rows(plain_database.dsn, "DELETE FROM equity_history WHERE time > now() + interval '1 hour'")
            await expect_sound_books(plain_database.dsn)
