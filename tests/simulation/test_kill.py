"""kill -9, again and again, on one state folder: what was journalled is stored once, and the way back is short."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from statistics import median

import pytest
from accounts import Tick, last_connection, sent_ticks, settle
from books import Identity, expect_sound_books, journalled, rows, stored
from daemons import LONG, DaemonProcess, configuration, exchange

from traderd.adapters.embedded import EmbeddedPostgres

pytestmark = pytest.mark.process
KILLS = 20 if LONG else 10
READY_S_MAX = 5.0
"""For most starts; a single one may meet a machine that does something else just then, and take twice as long."""


async def test_no_journalled_tick_is_missing_or_doubled_after_many_kills(tmp_path: Path) -> None:
    """Killed at any moment: while a fresh database is made, in recovery, in full flight. READY within 5 s.

    After each kill a copy of the journal tells what is owed. In the end the database has each of these ticks, has no
    tick twice, and has a closed gap for every hole that a kill made: the exchange's ledger, tick by tick, says so too.
    """
    random = Random(20)
    owed: Counter[Identity] = Counter()
    killed_at: list[float] = []
    ready_s: list[float] = []
    sent: dict[Tick, float] = {}

    def kill() -> None:
        daemon.kill9()
        killed_at.append(time.time())
        sent.update(sent_ticks(sim))
        owed.update(journalled(daemon.state / "ticks", tmp_path / "copy").keys() - owed.keys())

    async def live() -> float:
        daemon.start()
        return await daemon.ready()

    async with exchange(remember=True) as sim:
        # Small segments, so that the journal lets go of what is stored, and a kill may meet it at that.
        config = configuration(tmp_path, sim.url, journal={"segment_bytes_max": 262_144}, redis="embedded")
        with DaemonProcess(config) as daemon:
            for early_s in (0.6, 0.9, 1.4, 1.8):  # while the embedded database and its schema are made
                daemon.start()
                await asyncio.sleep(early_s)
                kill()
            await live()
            for number in range(KILLS):
                await asyncio.sleep(random.uniform(0.0, 0.8))
                kill()
                if number % 2:  # and once more on the way back
                    daemon.start()
                    await asyncio.sleep(random.uniform(0.3, 0.6))
                    kill()
                connections = last_connection(sim)
                ready_s.append(await live())
            # Trading may begin before the last stream flows, and until then its hole is open.
            status = await daemon.until(lambda status: status["engine"]["trading"] and not status["gaps_open"])
            dsn = status["database"]
            print(await settle(daemon, sim, dsn, earlier=sent, after_connection=connections))
            end_s = await daemon.terminate()
            owed.update(journalled(daemon.state / "ticks", tmp_path / "copy").keys() - owed.keys())
            async with _database(daemon.state) as dsn:
                held = await stored(dsn)
                print(f"READY after {max(ready_s):.2f} s at most, {sum(ready_s) / KILLS:.2f} s on average")
                print(f"{len(owed):,} ticks owed, {held.total():,} in the database; the end took {end_s:.2f} s")
                assert median(ready_s) < READY_S_MAX
                assert max(ready_s) < 2 * READY_S_MAX
                assert len(owed) > KILLS * 200
                assert not owed.keys() - held.keys()
                assert held.total() == len(held)
                await _expect_every_hole_told(dsn, killed_at)
                await expect_sound_books(dsn)


async def test_a_gap_that_was_open_when_the_daemon_died_is_closed_by_a_later_life(tmp_path: Path) -> None:
    """Killed while the exchange was away, and killed again before it came back: every gap ends when data flows."""
    async with exchange() as sim:
        config = configuration(tmp_path, sim.url)
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["ticks"]["stored"] > 500)
            await sim.stop()
            await daemon.until(lambda status: status["gaps_open"])
            await asyncio.sleep(0.2)  # a fact may be in memory for as long as a tick
            daemon.kill9()
            daemon.start()
            await daemon.until(lambda status: len(status["gaps_open"]) > 1)
            await asyncio.sleep(0.2)
            daemon.kill9()
            async with exchange(seed=2) as back:
                configuration(tmp_path, back.url)
                daemon.start()
                await daemon.until(lambda status: status["ticks"]["stored"] > 500 and not status["gaps_open"])
                await daemon.terminate()
                async with _database(daemon.state) as dsn:
                    gaps = await rows(dsn, "SELECT reason, time_to IS NOT NULL FROM data_gaps ORDER BY created_at")
                    assert set(gaps) == {("disconnect", True), ("restart", True)}


async def _expect_every_hole_told(dsn: str, killed_at: list[float]) -> None:
    """Every kill that interrupted a stream of ticks lies in a gap that was closed, and no gap is open."""
    assert not await rows(dsn, "SELECT * FROM data_gaps WHERE time_to IS NULL")
    ((first,),) = await rows(dsn, "SELECT extract(epoch FROM min(time))::float8 FROM tick_data")
    gaps = await rows(
        dsn,
        "SELECT extract(epoch FROM time_from)::float8, extract(epoch FROM time_to)::float8 FROM data_gaps"
        " WHERE reason = 'restart'",
    )
    for moment in killed_at:
        assert moment < first or any(start <= moment <= end for start, end in gaps), f"nothing tells of {moment}"


@asynccontextmanager
async def _database(state: Path) -> AsyncIterator[str]:
    """The embedded database, without its daemon."""
    postgres = EmbeddedPostgres(state)
    yield await postgres.start()
    await postgres.stop()
