"""PgBouncer for tests: Debian's own, in the private root that TimescaleDB's packages are in."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from servers import NotPossibleHereError, timescale_root, with_database
from traderd.adapters.server_process import is_alive, spawn, stop

_CONFIG = """
[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 5
max_prepared_statements = 0
server_round_robin = 1
{more}
"""


class PgBouncer:
    """In front of a server on the loopback's TCP. Sessions are dealt out in turn, so that nothing stays by chance."""

    def __init__(self, host: str, port: int, mode: str = "transaction", more: str = "") -> None:
        self._root = pgbouncer_root()
        self._folder = Path(tempfile.mkdtemp(prefix="traderd-test-", dir=self._root / "var/tmp"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = self._folder / "pgbouncer.ini"
        self._config.write_text(_CONFIG.format(host=host, port=port, listen=self.port, mode=mode, more=more))
        accounts = (line.split(":") for line in (self._root / "etc/passwd").read_text().splitlines())
        owner = next((int(uid), int(gid)) for name, _, uid, gid, *_ in accounts if name == "postgres")
        for path in (self._folder, self._config):
            os.chown(path, *owner)
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, of: str) -> str:
        """The DSN of the same database through the pooler."""
        return with_database(f"postgresql://postgres@127.0.0.1:{self.port}/", urlsplit(of).path.lstrip("/"))

    async def start(self) -> None:
        inside = "/" + str(self._config.relative_to(self._root))
        command = ["chroot", "--userspec=postgres", str(self._root), "/usr/sbin/pgbouncer", inside]
        log = self._folder / "pgbouncer.log"
        self._process = spawn(command, log)
        while not await self._listens():
            assert is_alive(self._process), log.read_text()
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None:
            await stop(self._process, [(signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)])
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def pgbouncer_root() -> Path:
    """The private root with PgBouncer in it, fetched once. Raises NotPossibleHereError."""
    root = timescale_root()
    if not (root / "usr/sbin/pgbouncer").exists():
        deny = root / "usr/sbin/policy-rc.d"
        deny.write_text("#!/bin/sh\nexit 101\n")  # the package's own service stays off
        deny.chmod(0o755)
        for command in (["update"], ["install", "-y", "--no-install-recommends", "pgbouncer"]):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(
                ["chroot", str(root), "apt-get", *command], check=False, capture_output=True, text=True, env=environment
            )
            if done.returncode:
                raise NotPossibleHereError(f"PgBouncer: apt-get failed: {done.stderr.strip()[-200:]}")
    return root


def unix_socket(dsn: str) -> str:
    """The path of the socket that an embedded server's DSN names."""
    query = parse_qs(urlsplit(dsn).query)
    return f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"


async def run(dsn: str, statement: str) -> list[asyncpg.Record]:
    """One statement over a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()
