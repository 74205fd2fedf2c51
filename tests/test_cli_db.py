"""`traderd db` at the command line: what it takes, what it prints where, and how it ends."""

import asyncio
import json
import os
import re
from pathlib import Path

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.embedded import EmbeddedPostgres, StateLock
from traderd.adapters.http_api import Announcement, announce
from traderd.adapters.migrations import read_files, sql_folder
from traderd.cli import ExitCode, execute

ONCE = [file.name for file in read_files(sql_folder()) if file.name.startswith("once/")]
MINIMAL = "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(here: Path, plain_database: Database) -> str:
    """Names a database with the schema in it."""
    (here / "config.yaml").write_text(f"{MINIMAL}database: '{plain_database.dsn}'\n")
    return "config.yaml"


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert execute(arguments) == ExitCode.OK
    seen = capsys.readouterr()
    assert seen.err == ""
    return seen.out


def test_upgrade_is_migrate(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the name that goes with downgrade."""
    assert told(["db", "upgrade", config], capsys).startswith("up to date: postgresql, PostgreSQL 1")


@pytest.mark.parametrize(("steps", "undone"), [("-1", ONCE[-1:]), ("-2", ONCE[:-3:-1]), ("base", ONCE[::-1])])
def test_downgrade_undoes_so_many_files_and_upgrade_applies_them_again(
    config: str, capsys: pytest.CaptureFixture[str], steps: str, undone: list[str]
) -> None:
    """And current and history tell where the schema stands."""
    assert told(["db", "downgrade", steps, config, "--yes"], capsys) == "".join(f"undone {name}\n" for name in undone)
    left = ONCE[: len(ONCE) - len(undone)]
    assert json.loads(told(["db", "current", config, "--json"], capsys))["current"] == (left[-1] if left else None)
    files = json.loads(told(["db", "history", config, "--json"], capsys))["files"]
    assert [file["name"] for file in files if file["state"] == "applied"] == left
    assert re.search(r"^\d+ files wait: run traderd migrate$", told(["db", "current", config], capsys), re.MULTILINE)
    assert f"applied {undone[0]}\n" in told(["db", "upgrade", config], capsys)
    assert re.fullmatch(rf"{ONCE[-1]}, applied 2.* UTC\nup to date\n", told(["db", "current", config], capsys))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-1"], "this destroys what the undone tables hold: make a backup, then say --yes"),
        (["--yes"], "Missing argument '-N|base'"),
        (["1", "--yes"], "'1' is neither -1 (or -2, -3 …) nor base"),
        (["-0", "--yes"], "'-0' is neither"),
        (["--yse"], "'--yse' is neither"),
    ],
)
def test_nothing_is_undone_unless_it_is_said_clearly(
    config: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Data is at stake: no default, no guess."""
    assert execute(["db", "downgrade", *arguments]) == ExitCode.USAGE
    assert words in capsys.readouterr().err
    assert told(["db", "current", config], capsys).endswith("up to date\n")


def test_more_steps_than_files_are_refused(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert execute(["db", "downgrade", "-99", config, "--yes"]) == ExitCode.REFUSED
    assert capsys.readouterr().err == f"traderd: 99 files can't be undone: {len(ONCE)} are applied\n"


def test_sizes_and_indexes_are_tables_for_people_and_numbers_for_programs(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not cut off where no terminal is."""
    sizes = json.loads(told(["db", "size", config, "--json"], capsys))
    users = next(table for table in sizes["tables"] if table["name"] == "users")
    assert users["total_bytes"] == users["table_bytes"] + users["index_bytes"]
    assert sizes["database_bytes"] > sum(table["total_bytes"] for table in sizes["tables"])
    seen = told(["db", "size", config], capsys).splitlines()
    assert seen[0].split() == ["table", "parts", "rows", "(about)", "table", "indexes", "total", "compressed"]
    assert len(seen) == len(sizes["tables"]) + 2
    assert re.fullmatch(r"the whole database: [\d.]+ MiB", seen[-1])
    indexes = json.loads(told(["db", "index-usage", config, "--json"], capsys))["indexes"]
    assert next(use for use in indexes if use["index"] == "users_pkey")["is_unique"]
    names = {line.split()[0] for line in told(["db", "index-usage", config], capsys).splitlines()[1:]}
    assert names == {use["index"] for use in indexes}


def test_slow_queries_need_the_servers_record(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what to do."""
    assert execute(["db", "slow-queries", config]) == ExitCode.UNAVAILABLE
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "CREATE EXTENSION pg_stat_statements" in err


def test_beside_a_running_daemon_its_own_database_is_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither started a second time nor stopped; what would pull it away from under the daemon is refused."""
    (here / "config.yaml").write_text(MINIMAL)
    postgres = EmbeddedPostgres(here / "state")
    with StateLock(here / "state"):
        dsn = asyncio.run(postgres.start())
        announce(here / "state", Announcement(pid=os.getpid(), http="", started_ns=1, database=dsn, redis=""))
        try:
            assert told(["db", "upgrade"], capsys).startswith(f"applied {ONCE[0]}\n")
            assert told(["db", "current"], capsys).endswith("up to date\n")
            assert execute(["db", "downgrade", "-1", "--yes"]) == ExitCode.REFUSED
            assert f"in use by another traderd (process {os.getpid()})" in capsys.readouterr().err
            assert told(["db", "current"], capsys).endswith("up to date\n")
        finally:
            asyncio.run(postgres.stop())
    assert told(["db", "current"], capsys).endswith("up to date\n")


def test_maintain_does_what_is_to_do_once(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told for people and as JSON."""
    assert re.fullmatch(r"\d+ partitions made\nnothing is left to do\n", told(["db", "maintain", config], capsys))
    assert json.loads(told(["db", "maintain", config, "--json"], capsys)) == {}


def test_maintain_drops_the_hold_of_a_daemon_that_is_gone(
    config: str, plain_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only one that there is."""
    asyncio.run(_execute(plain_database.dsn, "SELECT hold_retention('ticks-1', now())"))
    assert told(["db", "maintain", config, "--release", "ticks-1"], capsys).endswith("nothing is left to do\n")
    assert execute(["db", "maintain", config, "--release", "ticks-1"]) == ExitCode.USAGE
    assert "ticks-1 holds nothing" in capsys.readouterr().err


def test_maintain_wants_a_schema_that_is_up_to_date(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It changes nothing of another one."""
    told(["db", "downgrade", "-1", config, "--yes"], capsys)
    assert execute(["db", "maintain", config]) == ExitCode.REFUSED
    assert re.fullmatch(r"traderd: \d+ migrations wait: run traderd migrate\n", capsys.readouterr().err)


def test_migrate_applies_changed_settings_also_when_no_file_waits(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And tells which; the second time there is nothing to tell."""
    with Path(config).open("a") as file:
        file.write("storage: {tables: {tick_data: {keep: 14d}}}\n")
    assert "storage: tick_data: new terms\n" in told(["migrate", config], capsys)
    assert "storage:" not in told(["migrate", config], capsys)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_what_an_operator_does_to_the_schema_is_in_the_audit_log(
    config: str, plain_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the account and the command: what was undone, as long as the log itself stays, and what was applied."""
    told(["db", "downgrade", "-1", config, "--yes"], capsys)
    told(["db", "upgrade", config], capsys)

    async def acts() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(plain_database.dsn)
        try:
            rows = await connection.fetch(
                "SELECT action, new_values, metadata->'operator'->>'account' AS account FROM audit_logs"
                " WHERE resource_type = 'schema' ORDER BY sequence"
            )
        finally:
            await connection.close()
        return rows

    downgraded, upgraded = asyncio.run(acts())
    assert (downgraded["action"], json.loads(downgraded["new_values"])) == ("schema_downgraded", {"steps": 1})
    assert upgraded["action"] == "schema_upgraded"
    assert ONCE[-1] in json.loads(upgraded["new_values"])["files"]
    assert downgraded["account"] == upgraded["account"] != ""
