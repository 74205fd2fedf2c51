"""Database servers for tests: real ones, thrown away afterwards, which a test may pause, stop and start.

Plain PostgreSQL is the embedded one. TimescaleDB's Apache edition is what Debian's stable release packages:
`debootstrap` makes a private root with it, once, in a cache folder. A DSN in TRADERD_TEST_TIMESCALE_DSN takes its place
where that isn't possible; the community edition comes by DSN alone, in TRADERD_TEST_COMMUNITY_DSN.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from certificates import make_certificate
from traderd.adapters.embedded import EmbeddedPostgres
from traderd.adapters.server_process import clean_environment, is_alive, spawn, stop

_PACKAGE = "postgresql-17-timescaledb"
_PROGRAMS = "/usr/lib/postgresql/17/bin"
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3
_UNSAFE = ("fsync", "full_page_writes")
"""They guard against a power cut. No test has one, and a hundred databases a minute wait for the disk by them."""

# A server in a `hurry` has none of these and lies in memory, where that can be. Benches measure one that isn't.


class NotPossibleHereError(Exception):
    """Why this machine can't run a server of this kind, in one line."""


class Server(Protocol):
    """One database server. `dsn` names a database in which others may be created."""

    dsn: str

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def pause(self) -> None:
        """Freeze every process of the server (SIGSTOP): its clients hear nothing, and no connection is closed."""

    def resume(self) -> None: ...


class _OwnServer:
    """What servers that we started have in common."""

    @property
    def pid(self) -> int:
        raise NotImplementedError

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(self.pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


class PlainServer(_OwnServer):
    """PostgreSQL without extensions."""

    def __init__(self, hurry: bool = False) -> None:
        self._hurry = hurry
        memory = hurry and _has_room() and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
        self._folder = Path(tempfile.mkdtemp(prefix="traderd-test-", dir=_MEMORY if memory else None))
        self._postgres = EmbeddedPostgres(self._folder)
        self.dsn = ""

    @property
    def pid(self) -> int:
        return self._postgres.pid

    async def start(self) -> None:
        self.dsn = await self._postgres.start()
        if not self._hurry:
            return
        connection = await asyncpg.connect(self.dsn)
        for name in _UNSAFE:
            await connection.execute(f"ALTER SYSTEM SET {name} = off")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    async def stop(self) -> None:
        await self._postgres.stop()

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class TimescaleServer(_OwnServer):
    """TimescaleDB from Debian's package, in a private root, on a free port of the loopback with a password."""

    def __init__(self, hurry: bool = False) -> None:
        self._hurry = hurry
        self._root = timescale_root()
        self._password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="traderd-test-", dir=self._root / "var/tmp"))
        self._mounted = (
            hurry and _has_room() and _done("mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", self._folder)
        )
        self._inside = "/" + str(self._folder.relative_to(self._root))
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.dsn = f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"
        self._init()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "shared_preload_libraries": "timescaledb,pg_stat_statements",
            "timescaledb.telemetry_level": "off",
            "timescaledb.max_background_workers": "2",
            "dynamic_shared_memory_type": "mmap",  # the root has no /dev/shm of its own
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            **dict.fromkeys(_UNSAFE if self._hurry else (), "off"),
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = self._folder / "postgres.log"
        self._process = spawn(
            [*self._as_postgres(), f"{_PROGRAMS}/postgres", "-D", f"{self._inside}/data", *words], log
        )
        while not await _answers(self.dsn):
            assert is_alive(self._process), log.read_text()
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None:
            await stop(self._process, [(signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)])
            self._process = None

    async def speak_tls(self) -> None:
        """From now on it also takes connections by TLS, with a certificate that it signed itself."""
        files = make_certificate(self._folder / "tls", "127.0.0.1")
        owner = (self._folder / "password").stat()
        for path in (files[0].parent, *files):
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)
        connection = await asyncpg.connect(self.dsn)
        for name, path in zip(("ssl_cert_file", "ssl_key_file"), files, strict=True):
            await connection.execute(f"ALTER SYSTEM SET {name} = '{self._inside}/tls/{path.name}'")
        await connection.execute("ALTER SYSTEM SET ssl = on")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    def remove(self) -> None:
        if self._mounted:
            _done("umount", "--lazy", self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _as_postgres(self) -> list[str]:
        return ["chroot", "--userspec=postgres", str(self._root)]

    def _init(self) -> None:
        (self._folder / "password").write_text(self._password)
        accounts = (line.split(":") for line in (self._root / "etc/passwd").read_text().splitlines())
        owner = next((int(uid), int(gid)) for name, _, uid, gid, *_ in accounts if name == "postgres")
        for path in (self._folder, self._folder / "password"):
            os.chown(path, *owner)
        subprocess.run(
            [
                *self._as_postgres(),
                f"{_PROGRAMS}/initdb",
                *("-D", f"{self._inside}/data", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"),
                *("--auth=scram-sha-256", f"--pwfile={self._inside}/password"),
            ],
            check=True,
            capture_output=True,
            env=clean_environment(),
        )


def _has_room() -> bool:
    """Whether there is memory enough for the databases of some test processes."""
    return bool(psutil.virtual_memory().available > 2 * _ROOM)


def _done(*command: str | Path) -> bool:
    """Whether it could be done: in some containers even root may not mount."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class ForeignServer:
    """A server that somebody else runs, given by DSN."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def start(self) -> None:
        """It runs already."""

    async def stop(self) -> None:
        """It runs on."""

    def pause(self) -> None:
        pytest.skip("a server given by DSN can't be paused by a test")

    def resume(self) -> None:
        pytest.skip("a server given by DSN can't be resumed by a test")

    def remove(self) -> None:
        """It isn't ours."""


AnyServer = PlainServer | TimescaleServer | ForeignServer


def make_server(kind: str, hurry: bool = False) -> AnyServer:
    """A server of this kind, not started yet. Raises NotPossibleHereError."""
    if kind == "postgresql":
        return PlainServer(hurry)
    if kind == "timescaledb-apache":
        dsn = os.environ.get("TRADERD_TEST_TIMESCALE_DSN")
        return ForeignServer(dsn) if dsn else TimescaleServer(hurry)
    dsn = os.environ.get("TRADERD_TEST_COMMUNITY_DSN")
    if not dsn:
        raise NotPossibleHereError("TimescaleDB's community edition: set TRADERD_TEST_COMMUNITY_DSN")
    return ForeignServer(dsn)


def with_database(dsn: str, name: str) -> str:
    """The same server's DSN for another of its databases."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def timescale_root() -> Path:
    """The private Debian root with TimescaleDB in it, made when it isn't there. Raises NotPossibleHereError."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise NotPossibleHereError(
            "TimescaleDB: making its private root needs root on Debian; or set TRADERD_TEST_TIMESCALE_DSN"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "traderd-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "debian-stable-timescaledb-17"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _build_root(root)
    return root


def _build_root(root: Path) -> None:
    """Made under another name and renamed when complete, so that half a root is never taken for a whole one."""
    if shutil.which("debootstrap") is None:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "debootstrap"]):
            _run(command)
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _run(["debootstrap", "--variant=minbase", f"--include={_PACKAGE}", "stable", str(unfinished)])
    shutil.rmtree(unfinished / "var/cache/apt", ignore_errors=True)
    unfinished.rename(root)


def _run(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise NotPossibleHereError(f"TimescaleDB: {' '.join(command)} failed: {' '.join(last)}")


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    await connection.close()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
