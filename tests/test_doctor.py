"""The doctor: finds what is wrong, says what to do, changes nothing and never hangs."""

import asyncio
import io
import os
import resource
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web
from rich.console import Console

from conftest import Database
from traderd import doctor
from traderd.config import Sim, load_config
from traderd.doctor import OPEN_FILES_MIN, Finding, examine, is_problem, show
from traderd.sim.server import SimulatedExchange

SIM = "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]\n"
QUIET = "database: embedded\nredis: off\nhttp: {port: 0}\njournal: {disk_bytes_max: 67108864}\n"


async def findings(folder: Path, text: str, mode: int = 0o600) -> dict[str, Finding]:
    file = folder / "config.yaml"
    file.write_text(text)
    file.chmod(mode)
    return {finding.check: finding for finding in await examine(load_config(file), file)}


async def test_a_machine_on_which_all_is_well_has_no_problems(tmp_path: Path) -> None:
    """What doesn't run is skipped and not started, and nothing is left behind."""
    found = await findings(tmp_path, SIM + QUIET)
    assert [finding for finding in found.values() if is_problem(finding)] == []
    assert found["database"].state == "skipped"
    assert found["redis"].text == "switched off"
    assert found["clock of binance"].state == "skipped"
    assert os.listdir(tmp_path) == ["config.yaml"]  # noqa: PTH208 - a pathlib call would be taken for a blocking one


async def test_the_database_is_named_with_its_kind_and_its_schema(tmp_path: Path, database: Database) -> None:
    """On every back end."""
    found = await findings(tmp_path, SIM + QUIET.replace("embedded", f"'{database.dsn}'"))
    assert found["database"].state == "ok", found["database"]
    assert found["database"].text.startswith("PostgreSQL ")
    assert ("with TimescaleDB 2" in found["database"].text) == database.backend.startswith("timescaledb")
    assert "the schema is up to date" in found["database"].text


async def test_how_the_database_is_kept_is_told_and_what_is_wrong_with_that(tmp_path: Path, database: Database) -> None:
    """On every back end; a journal's hold that nobody renews is a problem, with the command that drops it."""
    text = SIM + QUIET.replace("embedded", f"'{database.dsn}'")
    found = await findings(tmp_path, text)
    assert found["storage"].state == "ok", found["storage"]
    assert ("by their own policies" in found["storage"].text) == (database.backend == "timescaledb-community")
    edition = {"timescaledb-apache": "Apache edition", "timescaledb-community": "community edition"}
    assert edition.get(database.backend, "without TimescaleDB") in found["database"].text
    connection = await asyncpg.connect(database.dsn)
    await connection.execute(
        "INSERT INTO retention_holds (journal_id, oldest, renewed_at)"
        " VALUES ('ticks-1', now(), now() - interval '1 hour')"
    )
    await connection.close()
    found = await findings(tmp_path, text)
    assert found["storage"].state == "problem"
    assert "journal ticks-1 has held retention" in found["storage"].text
    assert "traderd db maintain --release ticks-1" in found["storage"].advice


async def test_a_database_without_the_schema_tells_how_many_migrations_wait(
    tmp_path: Path, empty_database: Database
) -> None:
    """A start applies them: that is no problem."""
    found = await findings(tmp_path, SIM + QUIET.replace("embedded", f"'{empty_database.dsn}'"))
    assert found["database"].state == "ok", found["database"]
    assert "migrations wait: a start applies them" in found["database"].text


async def test_services_that_are_not_there_are_problems_without_passwords(tmp_path: Path) -> None:
    """Each says what to do."""
    text = QUIET.replace("embedded", "postgresql://me:hunter2@127.0.0.1:1/x").replace(
        "off", "redis://:hunter2@127.0.0.1:1"
    )
    found = await findings(tmp_path, SIM + text)
    assert is_problem(found["database"])
    assert found["database"].advice == "start it, or correct `database` in the config file"
    assert is_problem(found["redis"])
    assert "hunter2" not in str(list(found.values()))


async def test_a_redis_tells_its_version_and_round_trip(tmp_path: Path, redis_url: str) -> None:
    """A real one."""
    found = await findings(tmp_path, SIM + QUIET.replace("off", redis_url))
    assert found["redis"].state == "ok", found["redis"]
    assert "round trip" in found["redis"].text


async def test_a_service_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and never answers; everything else is told all the same."""
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        text = QUIET.replace("embedded", f"postgresql://me@127.0.0.1:{port}/x").replace(
            "off", f"redis://127.0.0.1:{port}"
        )
        started = time.monotonic()
        found = await findings(tmp_path, SIM + text)
    assert time.monotonic() - started < 3
    assert is_problem(found["database"])
    assert is_problem(found["redis"])
    assert found["disk"].state == "ok"


async def test_a_password_in_a_file_that_others_may_read_is_a_problem(tmp_path: Path) -> None:
    """Without a password, or closed to others, it is none."""
    text = SIM + QUIET.replace("embedded", "postgresql://me:hunter2@127.0.0.1:1/x")
    found = (await findings(tmp_path, text, 0o644))["config file"]
    assert is_problem(found)
    assert "chmod 600" in found.advice
    assert not is_problem((await findings(tmp_path, text, 0o600))["config file"])
    assert not is_problem((await findings(tmp_path, SIM + QUIET, 0o644))["config file"])


async def test_a_state_folder_that_cannot_be_one_is_a_problem(tmp_path: Path) -> None:
    """Here a file stands in its way."""
    (tmp_path / "taken").write_text("")
    found = await findings(tmp_path, SIM + QUIET + "state_dir: taken/state\n")
    assert is_problem(found["state folder"])
    assert is_problem(found["disk"])


async def test_a_disk_that_is_too_small_for_the_journals_is_a_problem(tmp_path: Path) -> None:
    """Both journals may grow to their limit."""
    found = (await findings(tmp_path, SIM + QUIET.replace("67108864", str(2**50))))["disk"]
    assert is_problem(found)
    assert "two journals and the reserve may take 2097152.1 GiB" in found.advice


async def test_a_port_that_is_taken_is_a_problem(tmp_path: Path) -> None:
    """Unless a daemon of ours has it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = await findings(tmp_path, SIM + QUIET.replace("port: 0", f"port: {port}"))
        assert is_problem(found["http port"])
        (tmp_path / "state").mkdir()
        note = f'{{"pid":{os.getpid()},"http":"http://127.0.0.1:{port}","started_ns":1,"database":"","redis":""}}'
        (tmp_path / "state" / "daemon.json").write_text(note)
        found = await findings(tmp_path, SIM + QUIET.replace("port: 0", f"port: {port}"))
        assert found["http port"].state == "ok"


async def test_too_few_open_files_are_a_problem(tmp_path: Path) -> None:
    """The limit of the process that asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_MIN - 1, hard))
    try:
        assert is_problem((await findings(tmp_path, SIM + QUIET))["open files"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def late_venue() -> AsyncIterator[str]:
    """A venue whose clock is two seconds behind ours."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"serverTime": time.time_ns() // 1_000_000 - 2_000})

    app = web.Application()
    app.router.add_get("/api/v3/time", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _at(endpoint: str) -> str:
    return SIM.replace("endpoint: sim", f"endpoint: '{endpoint}'") + QUIET


async def test_a_clock_that_is_off_by_more_than_half_a_second_is_a_problem(tmp_path: Path, late_venue: str) -> None:
    """Orders and candles go by it."""
    found = (await findings(tmp_path, _at(late_venue)))["clock of binance"]
    assert is_problem(found)
    assert found.text.startswith("ours is 2")
    assert "ahead of theirs" in found.text


async def test_a_clock_that_agrees_with_the_venues_is_ok(tmp_path: Path) -> None:
    """Against the simulated exchange, running beside it."""
    exchange = SimulatedExchange(Sim(symbols=1))
    await exchange.start()
    try:
        found = (await findings(tmp_path, _at(exchange.url)))["clock of binance"]
    finally:
        await exchange.stop()
    assert found.state == "ok", found
    assert "round trip" in found.text


async def test_a_venue_that_tells_whole_seconds_is_not_late_by_what_it_cuts_off(tmp_path: Path) -> None:
    """Kraken does: asked late in a second it seems to be behind by nearly as much."""

    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(1.85 - time.time() % 1 if time.time() % 1 > 0.85 else 0.85 - time.time() % 1)
        return web.json_response({"error": [], "result": {"unixtime": int(time.time())}})

    app = web.Application()
    app.router.add_get("/0/public/Time", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kraken = "venues: [{name: kraken, endpoint: 'ws://127.0.0.1:%d', symbols: [BTC/USD]}]\n"
    try:
        found = (await findings(tmp_path, kraken % runner.addresses[0][1] + QUIET))["clock of kraken"]
    finally:
        await runner.cleanup()
    assert found.state == "ok", found


async def test_a_venue_that_cannot_be_reached_is_a_problem(tmp_path: Path) -> None:
    """Nobody listens there."""
    found = (await findings(tmp_path, _at("ws://127.0.0.1:1")))["clock of binance"]
    assert is_problem(found)
    assert "endpoint" in found.advice


async def test_what_ccxt_has_of_a_venue_is_told_and_what_it_has_not_is_a_problem(tmp_path: Path) -> None:
    """One line for the venue; nobody is asked."""
    gate = "venues: [{name: gate, symbols: ['BTC/USDT:USDT'], channels: [trade, book, candle, funding%s]}]\n"
    found = (await findings(tmp_path, gate % "" + QUIET))["channels of gate"]
    assert found.state == "ok"
    assert found.text == "through ccxt: trade websocket, book websocket, candle polled, funding polled"
    lacking = (await findings(tmp_path, gate % ", open_interest" + QUIET))["channels of gate"]
    assert is_problem(lacking) and lacking.text.endswith("open_interest unavailable")
    assert lacking.advice.startswith("take open_interest out")


@pytest.mark.parametrize("terminal", [True, False])
def test_each_finding_is_a_line_with_its_advice(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table on a terminal, plain lines elsewhere; words in brackets are no markup."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, soft_wrap=True, color_system=None)
    monkeypatch.setattr(doctor, "Console", lambda **_: console)
    show([Finding("disk", "ok", "plenty"), Finding("redis", "problem", "[away]", "start it")])
    first, second, *rest = stream.getvalue().splitlines()
    assert first.split() == ["ok", "disk", "plenty"] if terminal else first == "ok       disk: plenty"
    assert "[away]" in second
    assert "start it" in second + "".join(rest)
