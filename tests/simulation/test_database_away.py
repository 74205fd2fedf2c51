"""The database frozen, stopped, or not there at all: nothing received is lost or doubled, and trading goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from accounts import Accounts, last_connection, received_live, sent_ticks, settle
from books import expect_sound_books, stored
from daemons import LONG, DaemonProcess, configuration, exchange, frozen, sent

from conftest import Database
from servers import ForeignServer
from traderd.sim.server import SimulatedExchange

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]


def own(database: Database) -> Any:
    """The server, if it is one that a test may hurt."""
    if isinstance(database.server, ForeignServer):
        pytest.skip("a server given by DSN can't be stopped by a test")
    return database.server


def caught_up(status: dict[str, Any]) -> bool:
    """Whether nothing waits but what came in this moment."""
    return not status["not_ready"] and status["ticks"]["journalled"] + status["ticks"]["pending"] < 500


async def test_a_database_that_freezes_and_stops_costs_no_tick(database: Database, tmp_path: Path) -> None:
    """Frozen, then stopped and started again, in full flight: sent = received = stored, each once.

    Meanwhile ticks are journalled, orders are filled, and /readyz says what is away. A statement's time limit is
    shorter than the outage, so that there are transactions whose outcome nobody knows.
    """
    server = own(database)
    outage_s = 60.0 if LONG else 3.0 if database.backend == "postgresql" else 6.0
    async with exchange() as sim:
        limits = {"statement_timeout_s": 30.0 if LONG else 1.0}
        with DaemonProcess(configuration(tmp_path, sim.url, database=database.dsn, store=limits)) as daemon:
            daemon.start()
            await daemon.until(lambda status: caught_up(status) and status["ticks"]["stored"] > 1_000)
            server.pause()
            try:
                fills = await _live_without(daemon, outage_s)
            finally:
                server.resume()
            await daemon.until(caught_up, 40.0)
            await server.stop()
            try:
                fills += await _live_without(daemon, outage_s)
            finally:
                await server.start()
            await daemon.until(caught_up, 40.0)
            assert fills or outage_s < 5, "no order was filled during the outages"
            await _expect_three_accounts_agree(daemon, sim, database.dsn)
            await daemon.terminate()
            assert {"database is away, journalling", "database is back"} <= set(daemon.events())
            await expect_sound_books(database.dsn)


async def test_sigterm_under_load_drains_everything(database: Database, tmp_path: Path) -> None:
    """Exit code 0 within 20 s, and the next life finds nothing left over but a gap for what it wasn't there to hear."""
    async with exchange(5_000.0, remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=database.dsn)) as daemon:
            daemon.start("--for", "1h")
            await daemon.until(lambda status: status["ticks"]["stored"] > 10_000)
            took_s = await daemon.terminate()
            print(f"SIGTERM at 5,000 ticks/s: {took_s:.2f} s")
            held = await stored(database.dsn)
            assert held.total() == len(held)
            assert f"{held.total():,} = stored {held.total():,} + journalled 0 +" in daemon.printed()
            assert "stopping" in daemon.events()
            assert (await _next_life(daemon, sim, database.dsn)).stored > held.total()


@pytest.mark.parametrize("kind", ["foreign", "embedded"])
async def test_sigterm_while_the_database_is_frozen_leaves_the_rest_to_the_next_life(
    plain_database: Database, tmp_path: Path, kind: str
) -> None:
    """Exit code 0 within 20 s all the same; the next life brings what the journal kept, each tick once."""
    async with exchange(remember=True) as sim:
        foreign = kind == "foreign"
        where = {"database": plain_database.dsn} if foreign else {"redis": "embedded"}
        with DaemonProcess(configuration(tmp_path, sim.url, **where)) as daemon:
            daemon.start("--for", "1h")
            status = await daemon.until(lambda status: caught_up(status) and status["ticks"]["stored"] > 1_000)
            async with _caught_in_the_middle(status["database"] if not foreign else plain_database.dsn):
                with frozen(_family(own(plain_database).pid) if foreign else daemon.servers()):
                    await daemon.until(lambda status: status["ticks"]["journalled"] > 1_000)
                    took_s = await daemon.terminate()
                    print(f"SIGTERM with a frozen database ({kind}): {took_s:.2f} s")
            assert "lost 0" in daemon.printed()
            found = await _next_life(daemon, sim, plain_database.dsn if foreign else "")
            print(found)
            assert "rows of earlier runs" in daemon.printed()


async def test_a_database_that_comes_late_gets_everything(database: Database, tmp_path: Path) -> None:
    """Not there at the start: one clear line, ticks are journalled, and trading begins when it has come."""
    server = own(database)
    await server.stop()
    try:
        async with exchange() as sim:
            with DaemonProcess(configuration(tmp_path, sim.url, database=database.dsn)) as daemon:
                daemon.start()
                status = await daemon.until(lambda status: status["ticks"]["journalled"] > 2_000)
                assert status["ticks"]["stored"] == 0
                assert not status["engine"]["trading"]
                code, why = await daemon.get("/readyz")
                assert (code, why) == (503, "database: not reached yet\n")
                (line,) = [line for line in daemon.log() if line["event"] == "database is away, journalling"][:1]
                assert line["reason"]
                await server.start()
                await daemon.until(lambda status: caught_up(status) and status["engine"]["trading"])
                await daemon.ready()
                await _expect_three_accounts_agree(daemon, sim, database.dsn)
                await daemon.terminate()
    finally:
        await server.start()


async def _next_life(daemon: DaemonProcess, sim: SimulatedExchange, dsn: str) -> Accounts:
    """Start it again: of all that was sent, to both lives, the three accounts agree, and what is missing has a gap."""
    received, earlier, connections = _received(daemon), sent_ticks(sim), last_connection(sim)
    daemon.start("--for", "1h")
    status = await daemon.until(lambda status: not status["not_ready"] and not status["gaps_open"], 60.0)
    found = await settle(daemon, sim, dsn or status["database"], earlier=earlier, after_connection=connections)
    received += received_live((await daemon.status())["ticks"])
    assert found.stored == received - found.lost
    await daemon.terminate()
    return found


@asynccontextmanager
async def _caught_in_the_middle(dsn: str) -> AsyncIterator[None]:
    """Both drains wait for a lock in the middle of their transactions."""
    connection = await asyncpg.connect(dsn)
    # In the order in which the daemon takes them: it and we would else wait for each other.
    await connection.execute("BEGIN; LOCK TABLE tick_data, public_trades, ohlcv, equity_history")
    await asyncio.sleep(1.5)  # an equity row a second
    try:
        yield
    finally:
        connection.terminate()


async def _live_without(daemon: DaemonProcess, outage_s: float) -> int:
    """While the database is away ticks are journalled and trading goes on; returns how many orders were filled."""
    before = await daemon.status()
    await asyncio.sleep(outage_s)
    status = await daemon.status()
    assert status["ticks"]["journalled"] > before["ticks"]["journalled"] + 300 * outage_s
    assert status["ticks"]["lost"] == 0
    assert status["engine"]["trading"]
    code, why = await daemon.get("/readyz")
    assert (code, why[:8]) == (503, "database")
    return int(status["engine"]["fills"] - before["engine"]["fills"])


async def _expect_three_accounts_agree(daemon: DaemonProcess, sim: SimulatedExchange, dsn: str) -> None:
    """What the exchange says it sent, what the daemon says it received and stored, what the database has: one number.

    The exchange closes first, so that nothing is on its way.
    """
    await sim.stop()
    total = sent(sim)
    status = await daemon.until(lambda status: status["ticks"]["received"] >= total)
    assert len(sim.ledger["connections"]) == 1
    status = await daemon.until(lambda status: not status["ticks"]["journalled"] + status["ticks"]["pending"])
    held = await stored(dsn)
    ticks = status["ticks"]
    assert (ticks["received"], ticks["stored"], held.total(), len(held)) == (total, total, total, total)
    assert (ticks["lost"], ticks["quarantined"]) == (0, 0)


def _received(daemon: DaemonProcess) -> int:
    """The figure in the summary."""
    (line,) = [line for line in daemon.printed().splitlines() if "ticks received" in line]
    return int(line.split()[2].replace(",", ""))


def _family(pid: int) -> list[psutil.Process]:
    postmaster = psutil.Process(pid)
    return [postmaster, *postmaster.children(recursive=True)]
