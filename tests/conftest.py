"""Fixtures of the whole suite: real servers, and a fresh, migrated database on every back end that runs here.

database      the test runs once on each back end; the database is its own
plain_database  the same, on plain PostgreSQL only
redis_url     a real Redis
exchange      the simulated exchange

In tests marked `driven` nobody waits for a clock.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from driven import DrivenLoop
from servers import AnyServer, NotPossibleHereError, make_server, with_database
from traderd.adapters.embedded import EmbeddedRedis
from traderd.adapters.migrations import migrate
from traderd.config import Sim
from traderd.sim.server import SimulatedExchange

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

_numbers = itertools.count(1)
_TEMPLATE = f"template_{os.getpid()}"
_COPIED = " STRATEGY FILE_COPY"
"""Its files one by one: a tenth of the time of writing each page to the log."""

EVERY_BACKEND = [
    "postgresql",
    pytest.param("timescaledb-apache", marks=pytest.mark.timescale),
    pytest.param("timescaledb-community", marks=pytest.mark.community),
]


@dataclass
class Database:
    """A fresh database with the schema in it. `backend` is what `backend_kind()` answers."""

    dsn: str
    backend: str
    server: AnyServer


@dataclass
class Servers:
    """The session's servers, each started when a test first asks for it."""

    started: dict[str, AnyServer] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)

    async def get(self, backend: str) -> AnyServer:
        """The running server. Skips the test where there can't be one; fails it where CI demands one."""
        if backend not in self.started and backend not in self.impossible:
            try:
                server = make_server(backend, hurry=True)
            except NotPossibleHereError as reason:
                self.impossible[backend] = str(reason)
            else:
                await server.start()
                self.started[backend] = server
        if backend in self.impossible:
            if os.environ.get("CI") == "true" and backend != "timescaledb-community":
                pytest.fail(self.impossible[backend])
            pytest.skip(self.impossible[backend])
        return self.started[backend]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests that miss the same server are told in one line, not in one each."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and "TimescaleDB" in report.longrepr[2]:
        report.longrepr = (__file__, 0, report.longrepr[2])
    return report


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of each test."""
    return {"driven": DrivenLoop} if item.get_closest_marker("driven") else {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Three symbols, 400 ticks a second."""
    running = SimulatedExchange(Sim(symbols=3, ticks_per_second=400.0))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    running = Servers()
    yield running
    for server in running.started.values():
        asyncio.run(_execute(server.dsn, f"DROP DATABASE IF EXISTS {_TEMPLATE}"))
        asyncio.run(server.stop())
        server.remove()


@pytest.fixture(params=EVERY_BACKEND)
def backend(request: pytest.FixtureRequest) -> str:
    """Runs a test once on each back end."""
    return str(request.param)


@pytest.fixture
async def empty_database(servers: Servers, backend: str) -> AsyncIterator[Database]:
    """A fresh database without a schema, on each back end."""
    async for database in _database(await servers.get(backend), backend, "template0"):
        yield database


@pytest.fixture
async def database(servers: Servers, backend: str) -> AsyncIterator[Database]:
    """A fresh database with the schema, on each back end."""
    server = await servers.get(backend)
    async for database in _database(server, backend, await _template(server)):
        yield database


@pytest.fixture
async def plain_database(servers: Servers) -> AsyncIterator[Database]:
    """A fresh database with the schema, on plain PostgreSQL."""
    server = await servers.get("postgresql")
    async for database in _database(server, "postgresql", await _template(server)):
        yield database


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis, shared by the session: use keys and channels of your own."""
    folder = tempfile.mkdtemp(prefix="traderd-test-")
    redis = EmbeddedRedis(Path(folder))
    yield asyncio.run(redis.start())
    asyncio.run(redis.stop())
    shutil.rmtree(folder)


async def _database(server: AnyServer, backend: str, template: str) -> AsyncIterator[Database]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await _execute(server.dsn, f"CREATE DATABASE {name} TEMPLATE {template}{_COPIED}")
    yield Database(with_database(server.dsn, name), backend, server)
    await _execute(server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def _template(server: AnyServer) -> str:
    """A migrated database to copy from: a copy takes a tenth of a migration.

    Nobody may connect to it, or TimescaleDB's scheduler would do so, and what is in use can't be copied.
    """
    connection = await asyncpg.connect(server.dsn)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", _TEMPLATE):
            await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
            await migrate(with_database(server.dsn, _TEMPLATE))
            await connection.execute(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", _TEMPLATE
            )
    finally:
        await connection.close()
    return _TEMPLATE


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
