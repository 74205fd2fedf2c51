"""The way to the database slow, sliced, cut, frozen and closed: received = stored after each, by three accounts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from accounts import settle
from books import expect_sound_books
from daemons import LONG, DaemonProcess, configuration, exchange

from conftest import Database
from proxy import Proxy
from servers import TimescaleServer, make_server

pytestmark = [pytest.mark.process, pytest.mark.timeout(3_600 if LONG else 240)]
OUTAGE_S = 30.0 if LONG else 1.5
FROZEN_S = 600.0 if LONG else 2.5
TOUCHES = 30 if LONG else 2


def through(proxy: Proxy, dsn: str) -> str:
    """The same database of the embedded server, by TCP through this proxy."""
    return f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(dsn).path}"


def address(dsn: str) -> str:
    """The embedded server's socket."""
    return parse_qs(urlsplit(dsn).query)["host"][0] + "/.s.PGSQL.5432"


async def frozen_for_long(proxy: Proxy, dsn: str) -> None:
    """Connections stay, and nothing comes: longer than a statement may take."""
    proxy.stopped = True
    await asyncio.sleep(FROZEN_S)
    proxy.stopped = False


async def slow(proxy: Proxy, dsn: str) -> None:
    """200 ms and 256 KB/s, each way."""
    proxy.latency_s, proxy.bytes_per_s = 0.2, 256_000.0
    await asyncio.sleep(OUTAGE_S)
    proxy.latency_s = proxy.bytes_per_s = 0.0


async def in_pieces(proxy: Proxy, dsn: str) -> None:
    """No message comes in one."""
    proxy.piece_bytes_max = 1_000
    await asyncio.sleep(2.0)
    proxy.piece_bytes_max = 0


async def cut_again_and_again(proxy: Proxy, dsn: str) -> None:
    """In the middle of whatever it is: of a COPY, between a commit and its answer."""
    random = Random(5)
    proxy.latency_s, proxy.bytes_per_s = 0.02, 4_000_000.0  # so that there always is something under way
    for _ in range(TOUCHES * 3):
        await asyncio.sleep(random.uniform(0.05, 0.6))
        proxy.cut()
    proxy.latency_s = proxy.bytes_per_s = 0.0


async def refused(proxy: Proxy, dsn: str) -> None:
    """Nobody is let in."""
    proxy.refusing = True
    proxy.cut()
    await asyncio.sleep(OUTAGE_S / 2)
    proxy.refusing = False


async def no_connection_left(proxy: Proxy, dsn: str) -> None:
    """Others have all that max_connections allows, and the daemon's as well: it is cut off and comes too late."""
    async with AsyncExitStack() as taken:
        deadline = asyncio.get_running_loop().time() + OUTAGE_S / 2
        while asyncio.get_running_loop().time() < deadline:
            try:
                connection = await asyncpg.connect(dsn)
            except asyncpg.TooManyConnectionsError:
                proxy.cut()  # what the daemon had is anybody's now
                await asyncio.sleep(0.05)
            else:
                taken.push_async_callback(connection.close)


async def sessions_ended(proxy: Proxy, dsn: str) -> None:
    """By an administrator, or an idle_in_transaction_session_timeout."""
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(dsn)
        stack.push_async_callback(connection.close)
        for _ in range(TOUCHES):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.3)


FAULTS: list[Callable[[Proxy, str], Awaitable[None]]] = [
    frozen_for_long, slow, in_pieces, cut_again_and_again, refused, no_connection_left, sessions_ended,
]  # fmt: skip


async def test_whatever_happens_on_the_way_to_the_database_costs_no_tick(
    plain_database: Database, tmp_path: Path
) -> None:
    """After each fault: sent = received = stored, each once, and trading goes on."""
    dsn = plain_database.dsn
    async with exchange(remember=True) as sim:
        with Proxy(address(dsn), seed=1) as proxy:
            limits = {"statement_timeout_s": 2.0}  # shorter than the freeze, and longer than what is slow takes
            config = configuration(tmp_path, sim.url, database=through(proxy, dsn), store=limits)
            with DaemonProcess(config) as daemon:
                daemon.start()
                await daemon.until(lambda status: status["engine"]["trading"] and status["ticks"]["stored"] > 500, 60.0)
                for fault in FAULTS:
                    began = await daemon.status()
                    await fault(proxy, dsn)
                    accounts = await settle(daemon, sim, dsn)
                    print(f"{fault.__name__}: {accounts}")
                    assert accounts.sent == accounts.stored > began["ticks"]["received"]
                    await daemon.until(lambda status: status["engine"]["trading"])  # quotes are fresh again
                await daemon.terminate()
                assert {"database is away, journalling", "database is back"} <= set(daemon.events())
                await expect_sound_books(dsn)


@pytest.mark.timescale
async def test_bits_that_flip_on_the_way_to_the_database_cost_no_tick_where_tls_guards_it(tmp_path: Path) -> None:
    """TLS ends a connection in which a byte isn't what was sent; without it a wrong digit would be a digit."""
    server = make_server("timescaledb-apache")
    if not isinstance(server, TimescaleServer):
        pytest.skip("a server given by DSN may have no TLS")
    try:
        await server.start()
        await server.speak_tls()
        where = urlsplit(server.dsn)
        async with exchange(remember=True) as sim:
            with Proxy(("127.0.0.1", where.port or 0), seed=3) as proxy:
                dsn = where._replace(
                    netloc=f"postgres:{where.password}@127.0.0.1:{proxy.port}", query="sslmode=require"
                )
                with DaemonProcess(configuration(tmp_path, sim.url, database=dsn.geturl())) as daemon:
                    daemon.start()
                    await daemon.until(lambda status: status["ticks"]["stored"] > 500, 60.0)
                    before = proxy.connections
                    proxy.corruption = 2e-5
                    await daemon.until(lambda _: proxy.connections >= before + 3 * TOUCHES, 60.0)
                    proxy.corruption = 0.0
                    accounts = await settle(daemon, sim, server.dsn)
                    assert accounts.sent == accounts.stored > 500
                    await daemon.terminate()
    finally:
        await server.stop()
        server.remove()
