"""A connection against servers that freeze, die, move, shut the door, only read, or change their password."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from conftest import Database
from poolers import run, unix_socket
from proxy import Proxy
from servers import NotPossibleHereError, PlainServer, TimescaleServer
from traderd.adapters.postgres import APP_ROLE, Reconnecting, connect
from traderd.config.addresses import hosts_of
from traderd.core.errors import StoreUnavailableError

TIMEOUT_S = 1.0
SPARE_S = 1.5
"""What a busy machine may add."""


@pytest.fixture(scope="module")
def other() -> Iterator[PlainServer]:
    """A second server, for the module's tests alone."""
    server = PlainServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
    server.remove()


@pytest.fixture
def proxy(plain_database: Database) -> Iterator[Proxy]:
    """In front of the database's server, on TCP."""
    with Proxy(unix_socket(plain_database.dsn)) as proxy:
        yield proxy


def through(*proxies: Proxy | int, database: str = "postgres", query: str = "") -> str:
    """One DSN of all of them."""
    ports = [each if isinstance(each, int) else each.port for each in proxies]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://postgres@{hosts}/{database}{query}"


def name_of(dsn: str) -> str:
    return urlsplit(dsn).path.lstrip("/")


def daemon_like(dsn: str, timeout_s: float = TIMEOUT_S) -> Reconnecting:
    return Reconnecting(dsn, "traderd test", timeout_s, APP_ROLE)


async def fails_in_time(database: Reconnecting, work: Any = None) -> str:
    """The fault, which comes at the time-out and not much later."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError) as fault:
        async with database.use() as connection:
            await (work(connection) if work else connection.execute("SELECT 1"))
    assert time.monotonic() - started < TIMEOUT_S + SPARE_S
    return str(fault.value)


async def works(database: Reconnecting) -> Any:
    async with database.use() as connection:
        return await connection.fetchval("SELECT current_setting('application_name')")


@pytest.mark.parametrize("query", ["?sslmode=disable", "?sslmode=require"], ids=["connect", "tls"])
async def test_a_server_that_takes_the_connection_and_says_nothing_is_away(
    plain_database: Database, proxy: Proxy, query: str
) -> None:
    """While it greets, and while TLS is negotiated."""
    database = daemon_like(through(proxy, database=name_of(plain_database.dsn), query=query))
    proxy.stopped = True
    await fails_in_time(database)


@pytest.mark.parametrize("moment", ["copy", "commit", "statement"])
async def test_a_server_that_freezes_at_work_is_left_at_the_time_out(
    plain_database: Database, proxy: Proxy, moment: str
) -> None:
    """In the middle of a COPY that fills every buffer, of a commit, of a statement: nobody waits for a ROLLBACK."""
    database = daemon_like(through(proxy, database=name_of(plain_database.dsn)))
    assert await works(database) == "traderd test"

    async def endless() -> AsyncIterator[bytes]:
        while True:
            proxy.stopped = True
            yield b"x" * 65_536

    async def work(connection: asyncpg.Connection) -> None:
        if moment == "copy":
            async with connection.transaction():
                await connection.copy_to_table("quarantine", source=endless(), format="binary", timeout=TIMEOUT_S)
        elif moment == "commit":
            async with connection.transaction():
                proxy.stopped = True
        else:
            proxy.stopped = True
            await connection.fetchval("SELECT 1")

    tasks = asyncio.all_tasks()
    assert await fails_in_time(database, work) == "no answer from the database in time"
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == tasks, "nobody waits any more"
    proxy.stopped = False
    proxy.cut()
    assert await works(database)
    await database.close()


async def test_a_connection_that_is_cut_between_two_steps_of_the_driver_is_away(
    plain_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the time-out does it: the statement is prepared, and before it is executed nobody is there any more."""
    prepared = asyncpg.Connection._get_statement

    async def prepare_and_lose(connection: asyncpg.Connection, *told: Any, **options: Any) -> Any:
        statement = await prepared(connection, *told, **options)
        connection.terminate()
        return statement

    database = Reconnecting(plain_database.dsn, "test", TIMEOUT_S)
    async with database.use() as connection:
        assert await connection.fetchval("SELECT $1::int", 1) == 1
    with monkeypatch.context() as losing:
        losing.setattr(asyncpg.Connection, "_get_statement", prepare_and_lose)
        with pytest.raises(StoreUnavailableError, match="cut"):
            async with database.use() as connection:
                await connection.execute("SELECT $1::int", 2)
    async with database.use() as connection:
        assert await connection.fetchval("SELECT $1::int", 3) == 3
    await database.close()


async def test_a_mistake_of_ours_is_not_taken_for_a_fault_of_the_database(plain_database: Database) -> None:
    database = Reconnecting(plain_database.dsn, "test", TIMEOUT_S)
    with pytest.raises(AttributeError):
        async with database.use():
            None.mistake  # type: ignore[attr-defined]  # noqa: B018
    await database.close()


async def test_what_ends_a_session_is_a_passing_fault(plain_database: Database) -> None:
    """pg_terminate_backend, each of the server's time-outs, a lock that isn't given: the next piece of work goes on."""
    database = daemon_like(plain_database.dsn, 5.0)
    faults = {
        "terminating connection": "SELECT pg_terminate_backend(pg_backend_pid())",
        "statement timeout": "SET statement_timeout = 50; SELECT pg_sleep(5)",
        "lock timeout": "SET lock_timeout = 1; LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE",
        "idle-in-transaction|connection is closed": "SET idle_in_transaction_session_timeout = 50; BEGIN",
        "No space left": "DO $$ BEGIN RAISE disk_full USING MESSAGE = 'No space left on device'; END $$",
        "deadlock": "DO $$ BEGIN RAISE deadlock_detected USING MESSAGE = 'deadlock detected'; END $$",
    }
    holder = await asyncpg.connect(plain_database.dsn)
    await holder.execute("BEGIN; LOCK TABLE alerts IN ACCESS SHARE MODE")
    for words, statement in faults.items():
        with pytest.raises(StoreUnavailableError, match=words):
            async with database.use() as connection:
                await connection.execute("RESET ROLE")
                await connection.execute(statement)
                await asyncio.sleep(0.2)
                await connection.execute("SELECT 1")
        assert await works(database)
    assert database.connected == len(faults) + 1
    await holder.close()
    await database.close()


async def test_a_server_that_has_no_room_for_us_is_waited_for(plain_database: Database) -> None:
    """SQLSTATE 53300; the words are the server's."""
    await run(plain_database.dsn, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        crowded = daemon_like(plain_database.dsn.replace("postgres@", "crowded@"))
        with pytest.raises(StoreUnavailableError, match="too many connections"):
            await works(crowded)
        await run(plain_database.dsn, "ALTER ROLE crowded CONNECTION LIMIT 1")
        assert await works(crowded)
        await crowded.close()
    finally:
        await asyncio.sleep(0.1)
        await run(plain_database.dsn, "DROP ROLE crowded")


async def test_a_server_that_restarts_is_waited_for(other: PlainServer) -> None:
    """Fast or at once with a recovery: while it is away or "starting up", each attempt is a passing fault."""
    database = daemon_like(other.dsn, 5.0)
    for within_s in (13.0, 0.0):
        assert await works(database)
        faults = set()
        stopping = asyncio.create_task(other._postgres.stop(within_s))
        for again in (None, other.start):
            while not stopping.done():
                try:
                    await works(database)
                except StoreUnavailableError as fault:
                    faults.add(str(fault))
                await asyncio.sleep(0.005)
            await stopping
            stopping = asyncio.create_task(again() if again else asyncio.sleep(0.05))
        await stopping
        assert faults
        assert await works(database)
    await database.close()


async def test_of_several_hosts_the_first_that_takes_writes_is_ours(
    plain_database: Database, proxy: Proxy, other: PlainServer
) -> None:
    """One that is gone, one that is frozen and a standby are passed over, within the time-out; nobody else is asked."""
    standby = PlainServer()
    await standby.start()
    await standby.stop()
    (standby._folder / "postgres" / "standby.signal").touch()
    await standby.start()
    try:
        with Proxy(unix_socket(standby.dsn)) as reading, Proxy(unix_socket(other.dsn)) as second:
            hosts = through(1, reading, second)
            database = daemon_like(hosts, 4.0)
            assert await works(database)
            assert second.connections == 1 and reading.connections >= 1
            await database.close()
            with pytest.raises(StoreUnavailableError, match=r"read-only: a standby"):
                await works(daemon_like(through(reading)))
            reading.stopped = True
            database = daemon_like(hosts, 4.0)
            started = time.monotonic()
            assert await works(database)
            assert time.monotonic() - started < 4.0
            reading.stopped = False
            second.refusing = True
            second.cut()
            with pytest.raises(StoreUnavailableError, match=r"in the middle of operation|closed"):
                await works(database)
            with pytest.raises(StoreUnavailableError, match="read-only"):
                await works(database)
            await run(standby.dsn, "SELECT pg_promote()")
            assert await works(database)
            await database.close()
    finally:
        await standby.stop()
        standby.remove()


async def test_a_primary_that_becomes_read_only_is_left(plain_database: Database, other: PlainServer) -> None:
    """SQLSTATE 25006 in the middle of a session: the next piece of work asks all hosts anew, in their order."""
    name = name_of(plain_database.dsn)
    await run(other.dsn, f"CREATE DATABASE {name}")
    with Proxy(unix_socket(plain_database.dsn)) as first, Proxy(unix_socket(other.dsn)) as second:
        database = daemon_like(through(first, second, database=name), 4.0)
        async with database.use() as connection:
            await connection.execute("SET default_transaction_read_only = on")
        await run(plain_database.dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(StoreUnavailableError, match="read-only transaction"):
            async with database.use() as connection:
                await connection.execute("DELETE FROM alerts")
        assert second.connections == 0
        assert await works(database)
        assert second.connections == 1
        with pytest.raises(StoreUnavailableError, match="this server is read-only"):
            await works(daemon_like(plain_database.dsn))
        await database.close()
    await run(other.dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.timescale
async def test_a_changed_password_is_read_anew(servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DSN's file is read at each connection: a rotation needs no restart."""
    try:
        server = await servers.get("timescaledb-apache")
    except NotPossibleHereError as reason:
        pytest.skip(str(reason))
    if not isinstance(server, TimescaleServer):
        pytest.skip("the server must ask for passwords")
    url = urlsplit(server.dsn)
    where = f"{url.hostname}:{url.port}/postgres"
    await run(server.dsn, "CREATE ROLE rotated LOGIN PASSWORD 'first'")
    try:
        (tmp_path / "dsn").write_text(f"postgresql://rotated:first@{where}\n")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        for reference in (f"file:{tmp_path / 'dsn'}", "credential:dsn"):
            (tmp_path / "dsn").write_text(f"postgresql://rotated:first@{where}\n")
            await run(server.dsn, "ALTER ROLE rotated PASSWORD 'first'")
            database = daemon_like(reference)
            assert await works(database)
            await run(server.dsn, "ALTER ROLE rotated PASSWORD 'second'")
            await run(server.dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'")
            with pytest.raises(StoreUnavailableError):
                await works(database)
            with pytest.raises(StoreUnavailableError, match="password authentication failed") as fault:
                await works(database)
            assert "first" not in str(fault.value)
            (tmp_path / "dsn").unlink()
            with pytest.raises(StoreUnavailableError, match="can't be read"):
                await works(database)
            (tmp_path / "dsn").write_text(f"postgresql://rotated:second@{where}\n")
            assert await works(database)
            await database.close()
    finally:
        await asyncio.sleep(0.1)
        await run(server.dsn, "DROP ROLE rotated")


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p%40,x@h1:1,h2/d?sslmode=require",
         ["postgresql://u:p%40,x@h1:1/d?sslmode=require", "postgresql://u:p%40,x@h2/d?sslmode=require"]),
        ("postgresql://u@/d?host=/a,/b&port=5,6",
         ["postgresql://u@/d?host=%2Fa&port=5", "postgresql://u@/d?host=%2Fb&port=6"]),
        ("postgresql://u@/d?host=/a,/b", ["postgresql://u@/d?host=%2Fa", "postgresql://u@/d?host=%2Fb"]),
        ("postgresql://u@[::1]:5,h/d", ["postgresql://u@[::1]:5/d", "postgresql://u@h/d"]),
        ("postgresql://u@h/d", ["postgresql://u@h/d"]),
    ],
)  # fmt: skip
def test_a_dsn_of_several_hosts_is_one_for_each(dsn: str, hosts: list[str]) -> None:
    """In their order, with all the rest."""
    assert hosts_of(dsn) == hosts


async def test_hosts_and_ports_that_do_not_match_are_told() -> None:
    """And no host is asked."""
    with pytest.raises(StoreUnavailableError, match="2 hosts and 3 ports"):
        await connect("postgresql://u@/d?host=/a,/b&port=1,2,3")
