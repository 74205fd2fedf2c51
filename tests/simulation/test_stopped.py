"""The daemon itself stands still for a while (SIGSTOP: a suspended machine, a debugger) and goes on."""

import asyncio
from pathlib import Path

import psutil
import pytest
from accounts import settle
from books import expect_sound_books
from daemons import LONG, DaemonProcess, configuration, exchange, frozen
from msgspec import structs

from conftest import Database

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
STOPPED_S = 120.0 if LONG else 2.5


async def test_a_daemon_that_stood_still_reads_what_waited_and_tells_of_what_was_cut(
    plain_database: Database, tmp_path: Path
) -> None:
    """First so briefly that all of it waits in the sockets; then for long, and the exchange has hung up.

    What was sent to nobody lies in a gap; trades of it are fetched; no order is sent against quotes of before.
    """
    async with exchange(remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn)) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["engine"]["fills"] and status["ticks"]["stored"] > 500, 60.0)
            with frozen([psutil.Process(daemon.pid)]):
                await asyncio.sleep(1.5)
            found = await settle(daemon, sim, plain_database.dsn, cut=True)
            print(f"for 1.5 s: {found}")
            assert found.stored == found.sent
            with frozen([psutil.Process(daemon.pid)]):
                await asyncio.sleep(STOPPED_S)
                sim.inflict(structs.replace(sim.broadcast.faults, cut=True))
            await daemon.until(
                lambda s: s["venues"]["binance"]["live"] and not s["gaps_open"] and not s["not_ready"], 60.0
            )
            fills = (await daemon.status())["engine"]["fills"]
            await daemon.until(lambda status: status["engine"]["fills"] > fills, 30.0)
            found = await settle(daemon, sim, plain_database.dsn, cut=True)
            print(f"for {STOPPED_S:.0f} s, and cut: {found}")
            await daemon.terminate()
            await expect_sound_books(plain_database.dsn)
