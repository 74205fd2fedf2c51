"""The command line: what it takes, what it prints where, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest

from traderd import __version__
from traderd.adapters.embedded import StateLock
from traderd.adapters.http_api import Announcement, announce
from traderd.adapters.server_process import EmbeddedServerError, StateInUseError
from traderd.cli import Duration, ExitCode, execute, exit_code
from traderd.core.errors import (
    ConfigError,
    JournalError,
    MigrationError,
    StoreRefusedError,
    StoreUnavailableError,
    TraderdError,
)

MINIMAL = "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(here: Path, text: str = MINIMAL) -> str:
    (here / "config.yaml").write_text(text)
    return "config.yaml"


def test_every_exit_code_is_told_by_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The table in the code is the documentation."""
    assert execute(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [int(line.split()[0]) for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    assert told == [int(code) for code in ExitCode]


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"traderd {__version__}\n"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("10m", 600.0), ("1h30m", 5_400.0), ("2h0m0.5s", 7_200.5), ("1.25s", 1.25)]
)
def test_durations_are_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    """In that order."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "30", "5x", "0s", "-1s", "1m1h", "1 s", "nan", "1e3s"])
def test_what_is_no_duration_is_bad_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number without its unit would be a guess."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)
    assert execute(["run", "--for", text]) == ExitCode.USAGE
    assert "is not a duration such as 30s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["check", "--nope"],
        ["replay"],
        ["replay", "missing.jsonl"],
        ["sim", "--port", "70000"],
        ["run", "a", "b"],
        ["replay", __file__, "--no-store", "--speed", "1"],
    ],
)
def test_bad_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with a hint at --help."""
    assert execute(arguments) == ExitCode.USAGE
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "Error:" in seen.err


@pytest.mark.parametrize("command", ["run", "sim", "migrate", "check", "doctor", "status"])
def test_an_unusable_configuration_ends_with_2_before_anything_starts(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mistake is a line on stderr; no folder, no server, no port."""
    config = written(here, "venues: [{name: binance, symbls: [BTC/USDT]}]\nhttp: {port: -1}\n")
    assert execute([command, config]) == ExitCode.USAGE
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.splitlines() == [
        "config.yaml:1: venues[0].symbls: unknown key 'symbls': did you mean 'symbols'?",
        "config.yaml:2: http.port: must be at least 0, got -1",
    ]
    assert [path.name for path in here.iterdir()] == ["config.yaml"]


def test_without_an_argument_the_file_here_is_taken_and_without_that_the_default(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the default, the state folder is in the working folder."""
    assert execute(["check", "--json"]) == 0
    outline = json.loads(capsys.readouterr().out)
    assert outline["state_dir"] == str(here / "state")
    assert len(outline["venues"][0]["symbols"]) == 10
    written(here)
    assert execute(["check", "--json"]) == 0
    outline = json.loads(capsys.readouterr().out)
    assert outline["config"] == str(here / "config.yaml")
    assert outline["venues"][0]["streams"] == 4


def test_check_says_what_a_start_would_do(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Venues with their addresses, strategies, services, limits; no password; and it starts nothing."""
    text = """\
database: postgresql://me:hunter2@db/x
redis: off
venues:
  - {name: binance, endpoint: 'wss://me:hunter2@example.org:1', symbols: [BTC/USDT]}
strategies:
  - {type: ema_cross, name: one, exchange: binance, symbol: BTC/USDT}
"""
    assert execute(["check", written(here, text)]) == 0
    seen = capsys.readouterr().out
    for told in (
        "database: postgresql://me:***@db/x",
        "redis: off",
        "rest: https://me:***@example.org:1",
        "- type: ema_cross",
        "order_notional_max: 5000",
        "drawdown_pct_max: 10",
        f"state_dir: {here}/state",
        "http: http://127.0.0.1:9465",
    ):
        assert told in seen
    assert "hunter2" not in seen
    assert not (here / "state").exists()


def test_check_finds_symbols_that_the_simulated_exchange_does_not_trade(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Valid by itself, and yet nothing would ever come."""
    config = written(here, MINIMAL.replace("BTC/USDT", "BTC/USDT, DOGE/USDT") + "sim: {symbols: 2}\n")
    assert execute(["check", config, "--json"]) == ExitCode.PROBLEMS
    seen = capsys.readouterr()
    (problem,) = json.loads(seen.out)["problems"]
    assert problem.startswith("venues[0].symbols: the simulated exchange doesn't trade DOGE/USDT")
    assert seen.err.strip() == problem


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConfigError(["x"]), 2),
        (StoreUnavailableError("x"), 3),
        (EmbeddedServerError("x"), 3),
        (StateInUseError("x"), 4),
        (MigrationError("x"), 4),
        (JournalError("x"), 1),
        (StoreRefusedError("x"), 1),
        (TraderdError("x"), 1),
    ],
)
def test_every_named_fault_has_its_exit_code(fault: TraderdError, code: int) -> None:
    """Whoever waits for the command can tell them apart."""
    assert exit_code(fault) == code


def _ends_with(fault: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """What `check` comes to when loading raises this."""

    def load(path: Path) -> Any:
        raise fault

    monkeypatch.setattr("traderd.cli.options.load_config", load)
    return execute(["check"])


def test_a_named_fault_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when tasks raised it in a group, and several times."""
    assert _ends_with(MigrationError("the schema\nis newer"), monkeypatch) == ExitCode.REFUSED
    assert capsys.readouterr().err == "traderd: the schema is newer\n"
    group = ExceptionGroup("g", [JournalError("full"), ExceptionGroup("h", [JournalError("full")])])
    assert _ends_with(group, monkeypatch) == ExitCode.FAILED
    assert capsys.readouterr().err == "traderd: full\n"
    assert _ends_with(KeyboardInterrupt(), monkeypatch) == ExitCode.INTERRUPTED


def test_our_own_mistake_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its traceback, alone or among named faults."""
    with pytest.raises(ZeroDivisionError):
        _ends_with(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ExceptionGroup):
        _ends_with(ExceptionGroup("g", [JournalError("full"), ZeroDivisionError()]), monkeypatch)


def test_a_state_folder_in_use_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A migration would otherwise stop the running daemon's own database."""
    with StateLock(here / "state"):
        assert execute(["migrate", written(here)]) == ExitCode.REFUSED
    err = capsys.readouterr().err
    assert f"in use by another traderd (process {os.getpid()})" in err
    assert len(err.splitlines()) == 1


def test_migrate_tells_what_it_applied_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a database of our own, which it starts and stops; the second time there is nothing to do."""
    config = written(here)
    assert execute(["migrate", config, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["applied"][0].startswith("once/0001")
    assert first["backend"] == "postgresql"
    assert execute(["migrate", config]) == 0
    assert capsys.readouterr().out == f"up to date: postgresql, PostgreSQL {first['server_version']}\n"


def test_a_database_that_is_not_there_ends_with_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, without the password."""
    config = written(here, MINIMAL + "database: postgresql://me:hunter2@127.0.0.1:1/x\n")
    assert execute(["migrate", config]) == ExitCode.UNAVAILABLE
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "127.0.0.1:1" in err
    assert "hunter2" not in err


@pytest.fixture
def daemon(here: Path) -> Iterator[HTTPServer]:
    """Something that answers /status as a daemon does."""

    class Status(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"ready": False, "reasons": ["database"], "venues": [{"name": "binance", "up": True}]})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            """Nothing to stderr."""

    server = HTTPServer(("127.0.0.1", 0), Status)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (here / "state").mkdir()
    url = f"http://127.0.0.1:{server.server_port}"
    announce(here / "state", Announcement(pid=os.getpid(), http=url, started_ns=1, database="", redis=""))
    yield server
    server.shutdown()
    server.server_close()


def test_status_shows_what_the_running_daemon_says(
    here: Path, daemon: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people, and as it came with --json."""
    config = written(here)
    assert execute(["status", config]) == 0
    seen = capsys.readouterr().out
    assert f"pid: {os.getpid()}\n" in seen
    assert "ready: false\nreasons: database\nvenues:\n  - name: binance\n    up: true\n" in seen
    assert execute(["status", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reasons"] == ["database"]


def test_status_without_a_daemon_ends_with_3(
    here: Path, daemon: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """None was started, or it doesn't answer."""
    config = written(here, MINIMAL + "state_dir: elsewhere\n")
    assert execute(["status", config]) == ExitCode.UNAVAILABLE
    assert f"no daemon runs on the state folder {here}/elsewhere" in capsys.readouterr().err
    daemon.shutdown()
    daemon.server_close()
    assert execute(["status", written(here)]) == ExitCode.UNAVAILABLE
    assert "doesn't answer on http://127.0.0.1:" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_simulated_exchange_runs_alone_until_it_is_told_to_stop(here: Path, signum: int, code: int) -> None:
    """It prints its address once clients may come; SIGTERM is an orderly end."""
    ours = (
        "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-m", "traderd", "sim", written(here), "--seed", "7", "--symbols", "2"]
    # Where the tests run in a shell's background an interrupt would be ignored, which is inherited.
    process = subprocess.Popen(
        [sys.executable, "-c", ours, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ws://127.0.0.1:")
    process.send_signal(signum)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (code, "")


@pytest.mark.process
def test_a_taken_port_of_the_simulated_exchange_is_one_line(daemon: HTTPServer, here: Path) -> None:
    """And names the key."""
    command = [sys.executable, "-m", "traderd", "sim", written(here), "--port", str(daemon.server_port)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.startswith(f"traderd: sim.port: {daemon.server_port} can't be had")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.process
def test_help_is_quick(here: Path) -> None:
    """The weight of the daemon (ccxt, aiohttp, the database's driver) is not loaded to print a page."""
    code = "import sys, traderd.cli; sys.exit(bool({'ccxt', 'aiohttp', 'asyncpg', 'redis'} & set(sys.modules)))"
    started = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert time.perf_counter() - started < 5
