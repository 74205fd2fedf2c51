"""The disk under the journals is full while the database is away: ticks are lost with a receipt, orders go on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from books import expect_sound_books, rows, stored
from daemons import LONG, DaemonProcess, configuration, exchange, sent

from conftest import Database
from traderd.adapters.migrations import migrate

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
MIB = 1024 * 1024


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder on a disk of 8 MiB."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is refused: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    "policy",
    ["drop_oldest", pytest.param("refuse", marks=pytest.mark.skipif(not LONG, reason="TRADERD_TEST_LONG isn't set"))],
)
async def test_a_full_disk_costs_ticks_that_are_counted_and_no_order(
    plain_database: Database, tmp_path: Path, policy: str
) -> None:
    """sent = received = stored + lost; the gap ledger has every lost row; orders are filled all the while."""
    journal = {"segment_bytes_max": MIB // 4, "disk_reserve_bytes": 3 * MIB, "ticks_when_full": policy}
    await migrate(plain_database.dsn)  # which otherwise takes so long that the disk is full before
    async with exchange(5_000.0) as sim:
        config = configuration(tmp_path, sim.url, database=plain_database.dsn, journal=journal)
        with DaemonProcess(config) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["ticks"]["stored"] > 1_000 and status["engine"]["trading"], 40.0)
            plain_database.server.pause()
            try:
                full = await daemon.until(lambda status: status["ticks"]["lost"] > 2_000, 40.0)
                later = await daemon.until(lambda s: s["engine"]["fills"] > full["engine"]["fills"], 40.0)
                assert later["engine"]["trading"]
            finally:
                plain_database.server.resume()
            await daemon.until(lambda status: not status["not_ready"] and status["ticks"]["journalled"] < 2_000, 60.0)
            await sim.stop()
            total = sent(sim)
            status = await daemon.until(
                lambda s: s["ticks"]["received"] == total and not s["ticks"]["journalled"] + s["ticks"]["pending"], 40.0
            )
            ticks = status["ticks"]
            held = await stored(plain_database.dsn)
            assert held.total() == len(held) == ticks["stored"]
            assert ticks["received"] == ticks["stored"] + ticks["lost"]
            await daemon.terminate()
            ledger = await rows(
                plain_database.dsn, "SELECT sum(rows_lost)::bigint FROM data_gaps WHERE reason = 'lost'"
            )
            assert ledger[0][0] == ticks["lost"]
            assert not await rows(plain_database.dsn, "SELECT FROM data_gaps WHERE reason = 'lost' AND status = 'open'")
            alerts = await rows(plain_database.dsn, "SELECT DISTINCT severity FROM alerts WHERE severity = 'critical'")
            assert alerts
            await expect_sound_books(plain_database.dsn)
