"""`traderd db backup`, `restore`, `archive` and `unarchive` as an operator meets them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from conftest import Database
from servers import with_database
from traderd.cli import ExitCode, execute

CONFIG = """\
venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]
redis: off
database: env:TRADERD_TEST_DATABASE
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own, with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRADERD_TEST_DATABASE", "postgresql://nowhere.invalid/x")
    (tmp_path / "config.yaml").write_text(CONFIG)


@pytest.fixture
def database_dsn(plain_database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The configured database, with the schema."""
    monkeypatch.setenv("TRADERD_TEST_DATABASE", plain_database.dsn)
    return plain_database.dsn


@pytest.fixture
async def vacant(plain_database: Database) -> AsyncIterator[str]:
    """The DSN of an empty database on the same server."""
    name = f"vacant_cli_{os.getpid()}"
    await _execute(plain_database.server.dsn, f"CREATE DATABASE {name} TEMPLATE template0")
    yield with_database(plain_database.server.dsn, name)
    await _execute(plain_database.server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.usefixtures("database_dsn")
async def test_a_backup_goes_beside_the_configuration_and_into_an_empty_database(
    tmp_path: Path, vacant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe there is no bar; the DSN may come by a name, so that no password is on the command line."""
    assert await _run("db", "backup", "--json") == ExitCode.OK
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert Path(report["file"]).parent == tmp_path / "backups"
    monkeypatch.setenv("TRADERD_TEST_INTO", vacant)
    assert await _run("db", "restore", report["file"], "--into", "env:TRADERD_TEST_INTO", "--yes", "--json") == 0
    restored = json.loads(capsys.readouterr().out)
    assert (restored["rows"], restored["tables"]) == (report["rows"], report["tables"])
    assert await _run("db", "restore", report["file"], "--yes") == ExitCode.FAILED
    assert "is not empty: it holds " in capsys.readouterr().err


@pytest.mark.usefixtures("database_dsn")
async def test_another_folder_is_not_rotated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names one looks after it; the configured one keeps what its settings say."""
    (tmp_path / "config.yaml").write_text(CONFIG + "backup: {keep_daily: 1, keep_weekly: 0, keep_monthly: 0}\n")
    for folder in ("elsewhere", "backups"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "traderd-20200101T000000Z.dump").write_text("")
    assert await _run("db", "backup", "--to", "elsewhere") == ExitCode.OK
    assert "deleted" not in capsys.readouterr().out
    assert await _run("db", "backup") == ExitCode.OK
    out = capsys.readouterr().out
    assert "deleted traderd-20200101T000000Z.dump" in out
    assert "rows in" in out
    assert (tmp_path / "elsewhere" / "traderd-20200101T000000Z.dump").exists()


async def test_a_restore_needs_a_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is looked at without it."""
    (tmp_path / "x.dump").write_text("")
    assert await _run("db", "restore", "x.dump") == ExitCode.USAGE
    assert "say --yes" in capsys.readouterr().err


@pytest.mark.parametrize("age", ["365", "0d", "-1d", "1y", "1.5d"])
def test_what_is_no_number_of_days_is_bad_usage(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number without its unit would be a guess."""
    assert execute(["db", "archive", f"--older-than={age}"]) == ExitCode.USAGE
    assert "is not a number of days such as 365d" in capsys.readouterr().err


async def test_old_backtests_leave_and_come_back(
    database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is below the backups' folder."""
    assert await _run("db", "archive") == ExitCode.OK
    assert capsys.readouterr().out == "nothing is old enough\n"
    await _execute(
        database_dsn,
        "SET app.current_user_id = '00000000-0000-4000-8000-000000000001';"
        "INSERT INTO strategies (id, name) VALUES ('11111111-0000-4000-8000-000000000000', 'ema');"
        "INSERT INTO backtests (strategy_id, start_date, end_date, strategy_snapshot, status, completed_at) VALUES"
        " ('11111111-0000-4000-8000-000000000000', '2020-01-01', '2021-01-01', '{}', 'completed',"
        " now() - interval '50 d')",
    )
    assert await _run("db", "archive", "--older-than", "49d", "--json") == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"backtests": 1, "backtest_trades": 0}
    assert Path(report["file"]).parent == tmp_path / "backups" / "archive"
    assert await _run("db", "unarchive", report["file"]) == ExitCode.OK
    assert capsys.readouterr().out == "brought back: 1 backtests, 0 backtest_trades\n"


async def _run(*arguments: str) -> int:
    """The command runs a loop of its own."""
    return await asyncio.to_thread(execute, list(arguments))


async def _execute(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
