"""Ten times the usual rate: nothing is lost, memory stays bounded, orders go on, and the backlog is soon gone.

TRADERD_TEST_LONG=1 lasts thirty seconds as promised; TRADERD_TEST_RATE is the usual rate, ticks per second.
"""

import asyncio
import os
import re
import time
from pathlib import Path

import psutil
import pytest
from accounts import settle
from books import expect_sound_books
from daemons import LONG, DaemonProcess, configuration, exchange
from msgspec import structs

from conftest import Database

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
RATE = float(os.environ.get("TRADERD_TEST_RATE") or 800)
BURST_S = 30.0 if LONG else 4.0
BURST_S_MAX = 60.0
"""Until an order has left, too: strategies order about once a second, in a calm market less."""
CALM_S = 10.0 if LONG else 1.0
RSS_BYTES_MAX = 512 * 1024 * 1024
DRAINED_S_MAX = 60.0
ORDER_BUCKET_S = "0.1"


async def test_ten_times_the_usual_rate_loses_nothing_and_holds_up_no_order(
    plain_database: Database, tmp_path: Path
) -> None:
    """sent = received = stored; of the orders sent meanwhile 99 in 100 left within 100 ms of their tick (when long)."""
    async with exchange(RATE, remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn)) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["engine"]["trading"] and status["ticks"]["stored"] > RATE, 60.0)
            calm = await _orders(daemon)
            await asyncio.sleep(CALM_S)
            calm_left, calm_quick = _since(calm, await _orders(daemon))
            orders, before = await _orders(daemon), (await daemon.status())["ticks"]["received"]
            sim.inflict(structs.replace(sim.broadcast.faults, burst=10.0))
            began, rss = time.monotonic(), 0
            left = 0
            while (lasted_s := time.monotonic() - began) < BURST_S or (not left and lasted_s < BURST_S_MAX):
                await asyncio.sleep(0.1)
                rss = max(rss, psutil.Process(daemon.pid).memory_info().rss)
                left, _ = _since(orders, await _orders(daemon))
            came = (await daemon.status())["ticks"]["received"] - before
            sim.inflict(structs.replace(sim.broadcast.faults, burst=1.0))
            left, quick = _since(orders, await _orders(daemon))
            ended = time.monotonic()
            await daemon.until(lambda s: s["ticks"]["journalled"] + s["ticks"]["pending"] < RATE, DRAINED_S_MAX)
            drained_s = time.monotonic() - ended
            found = await settle(daemon, sim, plain_database.dsn)
            print(f"{came / lasted_s:,.0f} ticks/s for {lasted_s:.0f} s: {found}, RSS {rss / 2**20:.0f} MiB,")
            print(f"drained after {drained_s:.1f} s, {quick} of {left} orders within {ORDER_BUCKET_S} s,")
            print(f"before at the usual rate {calm_quick} of {calm_left}")
            assert came / lasted_s > 5 * RATE, "there was no burst"
            assert found.stored == found.sent
            assert rss < RSS_BYTES_MAX
            assert left > 0
            # A machine that others keep busy as well delays orders at any rate.
            assert not LONG or quick >= 0.99 * left
            await daemon.terminate()
            await expect_sound_books(plain_database.dsn)


def _since(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    return after[0] - before[0], after[1] - before[1]


async def _orders(daemon: DaemonProcess) -> tuple[int, int]:
    """Orders that left so far, and how many of them in time."""
    _, text = await daemon.get("/metrics")

    def figure(pattern: str) -> int:
        found = re.search(rf"^traderd_tick_to_order_seconds_{pattern} (\S+)$", text, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    return figure("count"), figure(rf'bucket{{le="{re.escape(ORDER_BUCKET_S)}"}}')
