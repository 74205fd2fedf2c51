"""`traderd doctor`: looks at everything that a start needs, changes nothing, and says of each thing ok or what to do.

Every look has a time-out of its own and none hinders another. Embedded servers that don't run are not started for it.
"""

import asyncio
import importlib.util
import os
import resource
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import asyncpg
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from traderd.adapters.http_api import announced
from traderd.adapters.migrations import pending
from traderd.adapters.postgres import connect
from traderd.adapters.redis_link import parts
from traderd.adapters.rest import HttpRest
from traderd.config import Config, Venue, endpoint, redacted, seats_of, state_path
from traderd.config.ccxt_venues import ways_of
from traderd.core.clock_offset import ClockOffset
from traderd.core.errors import BadFrameError, MigrationError, TraderdError
from traderd.venues.dialect import AnyChannel
from traderd.venues.roster import Seat

TIMEOUT_S = 5.0
CLOCK_SKEW_S_MAX = 0.5
SYNC_S_MAX = 0.05
"""A disk that takes longer to force a page holds every order up."""
OPEN_FILES_MIN = 1_024

State = Literal["ok", "skipped", "problem"]
_EDITIONS = {"apache": "Apache", "timescale": "community"}
"""By timescaledb.license."""
_KEPT_BY = {
    "postgresql": "native partitions, dropped and rolled up by the daemon, uncompressed",
    "timescaledb-apache": "hypertables, dropped and rolled up by the daemon, uncompressed",
    "timescaledb-community": "hypertables, compressed, dropped and rolled up by their own policies",
}
_STYLES: dict[State, str] = {"ok": "green", "skipped": "dim", "problem": "bold red"}


class Finding(Struct, frozen=True):
    """One line."""

    check: str
    state: State
    text: str
    """What was seen."""
    advice: str = ""
    """What to do; "" unless it is a problem."""


def is_problem(finding: Finding) -> bool:
    """Whether somebody should do something."""
    return finding.state == "problem"


async def examine(config: Config, config_path: Path) -> list[Finding]:
    """Look at everything at once."""
    state_dir = state_path(config, config_path)
    looks: dict[str, Awaitable[Finding]] = {
        "config file": _config_file(config, config_path),
        "compiled": _compiled(),
        "state folder": _state_folder(state_dir),
        "disk": _disk(config, state_dir),
        "database": _database(config, state_dir),
        "storage": _storage(config, state_dir),
        "redis": _redis(config, state_dir),
        "http port": _port(config, state_dir),
        "open files": _open_files(),
        **{check: look for venue in config.venues for check, look in _clocks(venue).items()},
    }
    return list(await asyncio.gather(*(_in_time(check, look) for check, look in looks.items())))


def show(findings: list[Finding]) -> None:
    """A table on a terminal, plain lines elsewhere."""
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        for finding in findings:
            console.print(f"{finding.state:<7}  {finding.check}: {_words(finding)}", markup=False)
        return
    table = Table(box=None, show_header=False)
    for finding in findings:
        seen = Text(finding.text + f"\n→ {finding.advice}" * bool(finding.advice))
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.check, seen)
    console.print(table)


def _words(finding: Finding) -> str:
    return f"{finding.text}: {finding.advice}" if finding.advice else finding.text


async def _in_time(check: str, look: Awaitable[Finding]) -> Finding:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await look
    except TimeoutError:
        return Finding(check, "problem", f"no answer in {TIMEOUT_S:g} s", "see whether it is overloaded or unreachable")


async def _config_file(config: Config, path: Path) -> Finding:
    check = "config file"
    mode = (await asyncio.to_thread(path.stat)).st_mode
    has_password = any(redacted(address) != address for address in (config.database, config.redis))
    if has_password and mode & (stat.S_IRGRP | stat.S_IROTH):
        advice = f"chmod 600 {path}, or take the DSN from env:NAME or credential:NAME"
        return Finding(
            check, "problem", f"others may read {path} (mode {mode & 0o777:o}), and a password is in it", advice
        )
    return Finding(check, "ok", f"{path} is valid" + (", and only you may read its password" if has_password else ""))


async def _compiled() -> Finding:
    if importlib.util.find_spec("traderd.native"):
        return Finding("compiled", "ok", "what every tick takes is compiled")
    return Finding(
        "compiled", "skipped", "not: ticks cost three times as much. With a C compiler, install traderd anew"
    )


async def _state_folder(state_dir: Path) -> Finding:
    check = "state folder"
    there = _nearest(state_dir)
    if not there.is_dir():
        return Finding(check, "problem", f"{there} is not a folder", "choose another state_dir")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            check,
            "problem",
            f"{there} is not writable",
            f"chown it to this user ({os.geteuid()}), or choose another state_dir",
        )
    return Finding(check, "ok", f"{state_dir} is writable" if there == state_dir else f"{state_dir} can be made")


async def _disk(config: Config, state_dir: Path) -> Finding:
    check = "disk"
    there = _nearest(state_dir)
    free = shutil.disk_usage(there).free
    needed = 2 * config.journal.disk_bytes_max + config.journal.disk_reserve_bytes  # two journals
    try:
        sync_s = await asyncio.to_thread(_sync_seconds, there)
    except OSError as fault:
        return Finding(check, "problem", f"{there} takes no file: {fault.strerror}", "see the state folder above")
    seen = f"{_gib(free)} free on {there}, forced to the disk in {sync_s * 1000:.1f} ms"
    if free < needed:
        advice = f"make room, or lower journal.disk_bytes_max: two journals and the reserve may take {_gib(needed)}"
        return Finding(check, "problem", seen, advice)
    if sync_s > SYNC_S_MAX:
        return Finding(check, "problem", seen, "put state_dir on a faster disk: every order waits for that")
    return Finding(check, "ok", seen)


async def _database(config: Config, state_dir: Path) -> Finding:
    check = "database"
    dsn = _database_dsn(config, state_dir)
    if not dsn:
        return Finding(check, "skipped", "embedded, and it isn't running: the daemon starts it")
    started = time.perf_counter()
    try:
        connection = await connect(dsn, name="traderd doctor", timeout_s=TIMEOUT_S)
    except TraderdError as fault:
        return Finding(check, "problem", redacted(str(fault)), "start it, or correct `database` in the config file")
    try:
        return await _database_behind(connection, (time.perf_counter() - started) * 1000)
    except asyncpg.PostgresError as fault:
        return Finding(check, "problem", " ".join(str(fault).split()), "see the server's log")
    finally:
        connection.terminate()


async def _database_behind(connection: asyncpg.Connection, milliseconds: float) -> Finding:
    check = "database"
    timescale = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    version = str(connection.get_settings().server_version).partition(" ")[0]
    edition = await connection.fetchval("SELECT current_setting('timescaledb.license', true)")
    kind = f"PostgreSQL {version} without TimescaleDB"
    if timescale:
        kind = f"PostgreSQL {version} with TimescaleDB {timescale}, {_EDITIONS.get(edition, edition)} edition"
    seen = f"{kind}, connected in {milliseconds:.0f} ms"
    try:
        waiting = await pending(connection)
    except MigrationError as fault:
        return Finding(
            check, "problem", f"{seen}; {fault}", "use the program that made the schema, or another database"
        )
    if not waiting:
        return Finding(check, "ok", f"{seen}; the schema is up to date")
    allowed = await connection.fetchval("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
    if not allowed:
        role = await connection.fetchval("SELECT current_user")
        advice = f'GRANT CREATE ON SCHEMA public TO "{role}"'
        return Finding(
            check, "problem", f"{seen}; {len(waiting)} migrations wait, and this role may not make tables", advice
        )
    return Finding(
        check, "ok", f"{seen}; {len(waiting)} migrations wait: a start applies them, as `traderd migrate` does"
    )


async def _storage(config: Config, state_dir: Path) -> Finding:
    """Partitions, policies, holds: whether the database is kept in order."""
    check = "storage"
    dsn = _database_dsn(config, state_dir)
    try:
        connection = await connect(dsn, name="traderd doctor", timeout_s=TIMEOUT_S) if dsn else None
    except TraderdError:
        connection = None
    if connection is None:
        return Finding(check, "skipped", "there is no database to look at, see above")
    try:
        if await connection.fetchval("SELECT to_regproc('storage_problems') IS NULL"):
            return Finding(check, "skipped", "the schema isn't there yet")
        seen = _KEPT_BY[await connection.fetchval("SELECT backend_kind()")]
        problems = await connection.fetch("SELECT problem, advice FROM storage_problems()")
    except asyncpg.PostgresError as fault:
        return Finding(check, "problem", " ".join(str(fault).split()), "see the server's log")
    finally:
        connection.terminate()
    if problems:
        told, advice = ("; ".join(dict.fromkeys(column)) for column in zip(*problems, strict=True))
        return Finding(check, "problem", f"{seen}; {told}", advice)
    return Finding(check, "ok", seen)


async def _redis(config: Config, state_dir: Path) -> Finding:
    check = "redis"
    if config.redis == "off":
        return Finding(check, "skipped", "switched off")
    path = _embedded_sockets(state_dir) / "redis.sock"
    if config.redis == "embedded" and not path.exists():
        return Finding(check, "skipped", "embedded, and it isn't running: the daemon starts it")
    url = config.redis_url or f"unix://{quote(str(path))}"
    redis = Redis.from_url(parts(url)[0], socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        version = (await redis.info("server"))["redis_version"]
        started = time.perf_counter()
        await redis.ping()
        milliseconds = (time.perf_counter() - started) * 1000
    except (RedisError, OSError) as fault:
        seen = f"{redacted(url)}: {redacted(' '.join(str(fault).split()))}"
        return Finding(check, "problem", seen, "start it, correct `redis` in the config file, or switch it `off`")
    finally:
        await redis.aclose()
    return Finding(check, "ok", f"Redis {version}, round trip {milliseconds:.1f} ms")


def _clocks(venue: Venue) -> dict[str, Awaitable[Finding]]:
    """Each market may have another address; of a venue through ccxt its channels are told instead."""
    if venue.through_ccxt:
        how = ways_of(venue.name, venue.channels)  # ccxt takes its time to be imported: before anything is timed
        return {f"clock of {venue.name}": _unasked_clock(venue), f"channels of {venue.name}": _channels(venue, how)}
    return {f"clock of {seat.name}": _clock(f"clock of {seat.name}", venue, seat) for seat in seats_of(venue)}


async def _unasked_clock(venue: Venue) -> Finding:
    return Finding(f"clock of {venue.name}", "skipped", "heard through ccxt: its clock isn't asked")


async def _channels(venue: Venue, how: Mapping[AnyChannel, str]) -> Finding:
    """What ccxt has of the venue; only a start shows whether the venue tells it."""
    check, missing = f"channels of {venue.name}", [channel for channel, way in how.items() if way == "unavailable"]
    told = "through ccxt: " + ", ".join(f"{channel} {way}" for channel, way in how.items())
    if missing:
        return Finding(check, "problem", told, f"take {', '.join(missing)} out of its `channels`: ccxt has none of it")
    return Finding(check, "ok", told)


async def _clock(check: str, venue: Venue, seat: Seat) -> Finding:
    address, speech = endpoint(venue, seat.market), seat.dialect
    if address is None:
        return Finding(check, "skipped", "simulated in the daemon: it is this machine's clock")
    rest = HttpRest()
    try:
        await rest.get(speech.time_url(address), TIMEOUT_S)  # the first answer pays for the handshakes
        sent_ns = time.time_ns()
        body = await rest.get(speech.time_url(address), TIMEOUT_S)
        received_ns = time.time_ns()
        theirs_ns = speech.decode_time(body)
    except (ConnectionError, BadFrameError) as fault:
        return Finding(
            check,
            "problem",
            redacted(str(fault)),
            "see whether this machine reaches the venue, or correct its endpoint",
        )
    finally:
        await rest.close()
    offset = ClockOffset().observe(sent_ns, theirs_ns, received_ns)
    ahead_s = -offset.offset_ns / 1e9
    side = "ahead of" if ahead_s > 0 else "behind"
    round_trip_ms = (received_ns - sent_ns) / 1e6
    seen = f"ours is {abs(ahead_s) * 1000:.0f} ms {side} theirs, round trip {round_trip_ms:.0f} ms"
    if abs(offset.correction_ns) > CLOCK_SKEW_S_MAX * 1e9:  # some venues tell whole seconds: what is certain counts
        return Finding(check, "problem", seen, "set this machine's clock: let chrony or systemd-timesyncd run")
    return Finding(check, "ok", seen)


async def _port(config: Config, state_dir: Path) -> Finding:
    check = "http port"
    host, port = config.http.host, config.http.port
    daemon = announced(state_dir)
    if daemon is not None and urlsplit(daemon.http).port == port:
        return Finding(check, "ok", f"{port} is our running daemon's (process {daemon.pid})")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as fault:
        return Finding(
            check, "problem", f"{port} on {host}: {fault.strerror}", "stop what has it, or choose another http.port"
        )
    return Finding(check, "ok", f"{port or 'any port'} on {host} is free")


async def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"{soft} may be open at once"
    if soft < OPEN_FILES_MIN:
        return Finding(
            "open files", "problem", seen, f"ulimit -n {min(max(hard, soft), 65_536)}, or LimitNOFILE= in the unit"
        )
    return Finding("open files", "ok", seen)


def _nearest(path: Path) -> Path:
    """The path itself, or the first above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def _database_dsn(config: Config, state_dir: Path) -> str:
    """Empty when it is embedded and doesn't run."""
    if config.database_dsn:
        return config.database_dsn
    sockets = _embedded_sockets(state_dir)
    if not (sockets / ".s.PGSQL.5432").exists():
        return ""
    return f"postgresql://postgres@/traderd?host={quote(str(sockets))}&port=5432"


def _embedded_sockets(state_dir: Path) -> Path:
    """Where the embedded servers' sockets are: `run`, or where `run.path` says."""
    note = state_dir / "run.path"
    return Path(note.read_text()) if note.exists() else state_dir / "run"


def _sync_seconds(folder: Path) -> float:
    """How long one page takes to the disk: the median of five."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return sorted(_synced_once(file) for _ in range(5))[2]


def _synced_once(file: Any) -> float:
    started = time.perf_counter()
    file.write(b"\0" * 4096)
    file.flush()
    os.fsync(file.fileno())
    return time.perf_counter() - started


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
