"""`traderd users` and `traderd audit`, on a real database."""

import asyncio
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.embedded import StateLock
from traderd.adapters.http_api import Announcement, announce
from traderd.cli import ExitCode, execute

CONFIG = "database: {}\nvenues: [{{name: binance, endpoint: sim, symbols: [BTC/USDT]}}]\n"
PASSWORD = "correct horse battery"
Run = Callable[..., Any]


@pytest.fixture
def run(
    plain_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs one command in a thread, since it has an event loop of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(plain_database.dsn))

    async def command(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = await asyncio.to_thread(execute, list(arguments))
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return command


async def test_an_account_is_added_listed_and_changed(run: Run, plain_database: Database) -> None:
    """The password is read from stdin, and every act is in the audit log with who did it."""
    first = ("users", "add", "ann", "--email", "ann@example.org", "--password-stdin")
    assert await run(*first, stdin=f"{PASSWORD}\n") == (
        ExitCode.FAILED, "", "traderd: the first account must be an admin: add ann with --role admin\n",
    )  # fmt: skip
    assert await run(*first, "--role", "admin", stdin=f"{PASSWORD}\n") == (0, "added ann, admin\n", "")
    assert await run(*first, "--role", "admin", stdin=f"{PASSWORD}\n") == (
        ExitCode.FAILED, "", "traderd: there is a user with this name already\n",
    )  # fmt: skip
    assert (await run(*first, stdin="short\n"))[2].startswith("traderd: the password is too short")
    assert (await run("users", "add", "bob", "--email", "bob@example.org", "--password-stdin", stdin=PASSWORD))[0] == 0
    assert (await run("users", "set", "bob", "--role", "trader", "--inactive"))[:2] == (0, "changed bob\n")
    assert (await run("users", "set", "ann", "--inactive"))[2] == (
        "traderd: ann is the last active admin: make another one first\n"
    )
    assert (await run("users", "set", "bob"))[0] == ExitCode.USAGE
    told = json.loads((await run("users", "list", "--json"))[1])["users"]
    assert [(user["username"], user["role"], user["is_active"]) for user in told] == [
        ("traderd", "trader", True), ("ann", "admin", True), ("bob", "trader", False),
    ]  # fmt: skip
    assert "password" not in json.dumps(told)
    assert "inactive" in (await run("users", "list"))[1]

    log = [json.loads(line) for line in (await run("audit", "log", "--json"))[1].splitlines()]
    assert [entry["action"] for entry in log] == ["user_created", "user_created", "user_role_changed"]
    assert log[2]["metadata"]["operator"]["command"] == "users set"
    assert set(log[2]["metadata"]["operator"]) == {"account", "host", "command"}


async def test_a_person_types_the_password_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unseen; two that differ are asked for again."""
    typed = iter([PASSWORD, "something else!", PASSWORD, PASSWORD])
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: next(typed))
    code, out, err = await run("users", "add", "ann", "--email", "ann@example.org", "--role", "admin")
    assert (code, out) == (0, "added ann, admin\n")
    assert "do not match" in err
    assert PASSWORD not in out + err
    assert list(typed) == []


async def test_the_chain_is_verified_and_its_head_kept(run: Run, plain_database: Database) -> None:
    """0 where it is whole, 5 and a security event where it isn't."""
    connection = await asyncpg.connect(plain_database.dsn)
    await connection.execute(
        "INSERT INTO audit_logs (action, resource_type) SELECT 'tested', 'x' FROM generate_series(1, 9)"
    )
    code, out, _ = await run("audit", "verify")
    assert (code, out.startswith("whole: 9 rows, head 9:")) == (0, True)
    head = out.split()[-1]
    assert json.loads((await run("audit", "verify", "--json", "--expect", head))[1]) == {
        "whole": True, "rows": 9, "head": head, "broken_at": None, "reason": "",
    }  # fmt: skip
    assert (await run("audit", "verify", "--expect", "9:ff"))[0] == ExitCode.USAGE
    forged = f"9:{'0' * 64}"
    code, out, _ = await run("audit", "verify", "--expect", forged)
    assert (code, "broken at row 9" in out) == (ExitCode.PROBLEMS, True)

    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM audit_logs WHERE sequence = 4")
    code, out, _ = await run("audit", "verify")
    assert (code, out.splitlines()[0]) == (ExitCode.PROBLEMS, "broken at row 4: row 4 is missing")
    assert (
        await connection.fetchval("SELECT count(*) FROM security_events WHERE event_type = 'audit_chain_broken'") == 2
    )
    await connection.close()
    assert len((await run("audit", "log", "--action", "tested"))[1].splitlines()) == 8
    assert (await run("audit", "log", "--since", "2999-01-01"))[1] == ""


async def test_a_user_is_exported_to_a_closed_file_and_erased(run: Run, tmp_path: Path) -> None:
    """The file isn't written over; erasing wants --yes and says what became of what."""
    add = ("--password-stdin", "--email")
    await run("users", "add", "ann", "--role", "admin", *add, "ann@example.org", stdin=PASSWORD)
    await run("users", "add", "bob", *add, "bob@example.org", stdin=PASSWORD)
    assert (await run("users", "export", "bob", "--to", "bob.json"))[0] == 0
    assert (tmp_path / "bob.json").stat().st_mode & 0o777 == 0o600
    document = json.loads((tmp_path / "bob.json").read_text())
    assert document["tables"]["users"]["rows"][0]["email"] == "bob@example.org"
    code, _, err = await run("users", "export", "bob", "--to", "bob.json")
    assert (code, "bob.json exists already" in err) == (ExitCode.FAILED, True)
    code, _, err = await run("users", "export", "bob", "--to", "nowhere/bob.json")
    assert (code, len(err.splitlines())) == (ExitCode.FAILED, 1)
    assert json.loads((await run("users", "export", "bob"))[1])["tables"] == document["tables"]
    assert (await run("users", "erase", "bob"))[0] == ExitCode.USAGE
    code, out, _ = await run("users", "erase", "bob", "--yes")
    assert (code, "anonymised" in out) == (0, True)
    assert (await run("users", "erase", "traderd", "--yes"))[2] == (
        "traderd: the account traderd is the daemon's own: it stays as it is\n"
    )
    accounts = json.loads((await run("users", "list", "--json"))[1])["users"]
    assert [user["username"].partition("-")[0] for user in accounts] == ["traderd", "ann", "erased"]


async def test_a_schema_that_is_not_up_to_date_is_one_line(run: Run, plain_database: Database) -> None:
    """And so is a database that isn't there."""
    connection = await asyncpg.connect(plain_database.dsn)
    await connection.execute("DELETE FROM schema_migrations WHERE name = 'always/0007_audit.sql'")
    await connection.close()
    code, out, err = await run("users", "list")
    assert (code, out) == (ExitCode.REFUSED, "")
    assert err == "traderd: the schema isn't up to date, always/0007_audit.sql waits: run traderd migrate\n"
    Path("config.yaml").write_text(CONFIG.format("postgresql://nobody@127.0.0.1:1/none"))
    code, _, err = await run("audit", "verify")
    assert (code, len(err.splitlines())) == (ExitCode.UNAVAILABLE, 1)


async def test_beside_a_running_daemon_its_embedded_database_is_used(run: Run, plain_database: Database) -> None:
    """The state folder is the daemon's; the command comes in by the address that it announced."""
    Path("config.yaml").write_text(CONFIG.format("embedded"))
    with StateLock(Path("state")):
        announce(
            Path("state"), Announcement(pid=os.getpid(), http="", started_ns=1, database=plain_database.dsn, redis="")
        )
        code, out, err = await run("users", "list", "--json")
    assert (code, [user["username"] for user in json.loads(out)["users"]]) == (0, ["traderd"]), err
