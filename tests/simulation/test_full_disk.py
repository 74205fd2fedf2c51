"""The disk under the journals is full while the database is away: ticks are lost with a receipt, orders go on."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from accounts import settle
from books import expect_sound_books, rows
from daemons import DaemonProcess, configuration, exchange

from conftest import Database
from servers import with_database
from traderd.adapters.migrations import migrate
from traderd.adapters.server_process import Account

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
MIB = 1024 * 1024


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder on a disk of 8 MiB."""
    folder = tmp_path / "state"
    folder.mkdir()
    with small_disk(folder, "size=8m"):
        yield folder


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A disk of its own at this folder."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is refused: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
async def cramped(plain_database: Database) -> AsyncIterator[tuple[str, Path]]:
    """A database whose tables are on a disk of 64 MiB, and that disk."""
    folder, account = Path(tempfile.mkdtemp(prefix="traderd-test-")), Account()
    folder.chmod(0o755)
    home = folder / "disk"
    home.mkdir()
    server, name = plain_database.dsn, "cramped"
    with small_disk(home, f"size=64m,mode=700,uid={account.uid},gid={account.gid}"):
        await rows(server, f"CREATE TABLESPACE {name} LOCATION '{home}'")
        await rows(server, f"CREATE DATABASE {name} TEMPLATE template_{os.getpid()} TABLESPACE {name}")
        yield with_database(server, name), home
        await rows(server, f"DROP DATABASE {name} WITH (FORCE)")
        await rows(server, f"DROP TABLESPACE {name}")
    shutil.rmtree(folder)


async def test_a_database_whose_disk_is_full_gets_everything_once_there_is_room(
    cramped: tuple[str, Path], tmp_path: Path
) -> None:
    """Until then ticks are journalled and orders are filled; afterwards sent = received = stored."""
    dsn, disk = cramped
    async with exchange(remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=dsn)) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["ticks"]["stored"] > 500 and status["engine"]["trading"])
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(64 * 1024))
            full = await daemon.until(lambda status: status["ticks"]["journalled"] > 2_000, 60.0)
            await daemon.until(lambda status: status["engine"]["fills"] > full["engine"]["fills"], 30.0)
            ballast.unlink()
            found = await settle(daemon, sim, dsn)
            print(found)
            assert found.stored == found.sent
            await daemon.terminate()
            reasons = [line["reason"] for line in daemon.log() if line["event"] == "database is away, journalling"]
            assert any("No space left on device" in reason for reason in reasons)
            await expect_sound_books(dsn)


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("policy", ["drop_oldest", "refuse"])
async def test_a_full_disk_costs_ticks_that_are_counted_and_no_order(
    plain_database: Database, tmp_path: Path, policy: str
) -> None:
    """sent = received = stored + lost; the gap ledger has every lost row; orders are filled all the while."""
    journal = {"segment_bytes_max": MIB // 4, "disk_reserve_bytes": 3 * MIB, "ticks_when_full": policy}
    await migrate(plain_database.dsn)  # which otherwise takes so long that the disk is full before
    async with exchange(5_000.0, remember=True) as sim:
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
            found = await settle(daemon, sim, plain_database.dsn)
            print(f"{policy}: {found}")
            assert found.sent == found.stored + found.lost
            assert found.lost > 2_000
            await daemon.terminate()
            assert not await rows(plain_database.dsn, "SELECT FROM data_gaps WHERE reason = 'lost' AND status = 'open'")
            alerts = await rows(plain_database.dsn, "SELECT DISTINCT severity FROM alerts WHERE severity = 'critical'")
            assert alerts
            await expect_sound_books(plain_database.dsn)
