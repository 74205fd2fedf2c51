"""`traderd db archive`: an old backtest is in the database, in a complete file, or in both; never in neither."""

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from conftest import Database
from traderd.adapters import archive as archive_module
from traderd.adapters.archive import archive, checked_archive, manifest_of, unarchive
from traderd.adapters.whole_files import BackupError
from traderd.core.errors import StoreRefusedError, StoreUnavailableError

AT = datetime(2025, 6, 1, 2, tzinfo=UTC)
YEAR = timedelta(days=365)
USER = "00000000-0000-4000-8000-000000000001"
ROWS = f"""
    SET app.current_user_id = '{USER}';
    INSERT INTO strategies (id, name) VALUES ('11111111-0000-4000-8000-000000000000', 'ema');
    INSERT INTO backtests (strategy_id, start_date, end_date, strategy_snapshot, status, created_at, completed_at,
                           final_capital, equity_curve)
    SELECT '11111111-0000-4000-8000-000000000000', '2020-01-01', '2021-01-01', '{{"ü": "a\\nb", "n": 1.50}}', status,
           timestamptz '2025-06-01 02:00Z' - age, timestamptz '2025-06-01 02:00Z' - age, 10000.10, '[1, 2.50]'
    FROM (VALUES ('completed', interval '366 days'), ('completed', '400 days 00:00:00.000001'),
                 ('completed', '364 days'), ('failed', '500 days'), ('running', '600 days')) b (status, age);
    INSERT INTO backtest_trades (backtest_id, trade_number, entry_date, symbol, side, quantity, entry_price, is_open)
    SELECT id, n, '2020-01-01', 'BTC/USDT', 'buy', 0.100, 20000, false FROM backtests, generate_series(1, 700) n"""


@pytest.fixture
async def dsn(plain_database: Database) -> str:
    """A database with backtests: two that are completed and older than a year, and three that aren't both."""
    await _execute(plain_database.dsn, ROWS)
    return plain_database.dsn


async def test_old_completed_backtests_move_to_a_file_and_back(database: Database, tmp_path: Path) -> None:
    """Every row as it was, on every back end; younger ones and those that didn't complete stay."""
    await _execute(database.dsn, ROWS)
    before = await _rows(database.dsn)
    report = await archive(database.dsn, tmp_path, AT, YEAR)
    assert report.rows == {"backtests": 2, "backtest_trades": 1_400}
    assert await _counts(database.dsn) == (3, 2_100)
    file = Path(report.file)
    assert file == tmp_path / "archive" / "backtests-20250601T020000Z.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        assert [msgspec.json.decode(line)["table"] for line in lines] == ["backtests"] * 2 + ["backtest_trades"] * 1_400
    assert (await unarchive(database.dsn, file)).rows == report.rows
    assert await _rows(database.dsn) == before
    assert (await unarchive(database.dsn, file)).rows == {"backtests": 0, "backtest_trades": 0}
    assert await _rows(database.dsn) == before


async def test_a_role_that_is_bound_by_row_level_security_archives_everybodys(dsn: str, tmp_path: Path) -> None:
    """It acts for each user in turn, there and back."""
    name, other = f"archivist_{os.getpid()}", "22222222-0000-4000-8000-000000000000"
    await _execute(
        dsn,
        f"INSERT INTO users (id, username, email, password_hash) VALUES ('{other}', 'bea', 'bea@example.org', '!');"
        f"UPDATE backtests SET user_id = '{other}' WHERE id IN"
        " (SELECT id FROM backtests WHERE status = 'completed' ORDER BY created_at LIMIT 1);"
        f"CREATE ROLE {name} LOGIN IN ROLE traderd_app",
    )
    before = await _rows(dsn)
    bound = dsn.replace("//postgres@", f"//{name}@")
    try:
        report = await archive(bound, tmp_path, AT, YEAR)
        assert report.rows == {"backtests": 2, "backtest_trades": 1_400}
        assert await _counts(dsn) == (3, 2_100)
        assert (await unarchive(bound, Path(report.file))).rows == report.rows
    finally:
        await _execute(dsn, f"DROP ROLE {name}")
    assert await _rows(dsn) == before


async def test_where_nothing_is_old_no_file_is_made(dsn: str, tmp_path: Path) -> None:
    """And nothing is said to have been moved."""
    report = await archive(dsn, tmp_path, AT, timedelta(days=1_000))
    assert (report.file, report.rows) == ("", {"backtests": 0, "backtest_trades": 0})
    assert list(tmp_path.iterdir()) == []


async def test_a_process_killed_before_the_delete_leaves_the_rows_and_a_complete_file(dsn: str, tmp_path: Path) -> None:
    """SIGKILL at the worst moment: the file has its name, the transaction is open. The next run takes the same rows."""
    program = f"""
import asyncio, datetime, os, pathlib, signal
from traderd.adapters import archive
async def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
archive._delete = killed
at = datetime.datetime(2025, 6, 1, 2, tzinfo=datetime.UTC)
asyncio.run(archive.archive({dsn!r}, pathlib.Path({str(tmp_path)!r}), at, datetime.timedelta(days=365)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -9
    (file,) = (tmp_path / "archive").glob("*.gz")
    assert checked_archive(file).tables["backtest_trades"].rows == 1_400
    assert await _counts(dsn) == (5, 3_500)
    again = await archive(dsn, tmp_path, AT + timedelta(seconds=1), YEAR)
    assert again.rows == {"backtests": 2, "backtest_trades": 1_400}
    assert (await unarchive(dsn, file)).rows == again.rows


async def test_a_delete_that_misses_a_row_is_rolled_back(dsn: str, tmp_path: Path) -> None:
    """Here a trigger holds one trade back: the rows stay, and the file that isn't needed goes."""
    await _execute(
        dsn,
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF OLD.trade_number = 7 THEN RETURN NULL; END IF; RETURN OLD; END';"
        "CREATE TRIGGER keep BEFORE DELETE ON backtest_trades FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    with pytest.raises(BackupError, match="1398 backtest_trades of 1400 that were archived went: nothing was deleted"):
        await archive(dsn, tmp_path, AT, YEAR)
    assert await _counts(dsn) == (5, 3_500)
    assert [path.name for path in (tmp_path / "archive").iterdir()] == [".lock"]


async def test_a_commit_of_which_nobody_knows_leaves_the_file(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends between the delete and the commit: the rows may be gone, so the file must stay."""
    delete = archive_module._delete

    async def cut_off(connection: asyncpg.Connection, *arguments: object) -> None:
        await delete(connection, *arguments)  # type: ignore[arg-type]
        connection.terminate()

    monkeypatch.setattr(archive_module, "_delete", cut_off)
    with pytest.raises(StoreUnavailableError):
        await archive(dsn, tmp_path, AT, YEAR)
    (file,) = (tmp_path / "archive").glob("*.gz")
    assert checked_archive(file).tables["backtests"].rows == 2


async def test_a_file_that_does_not_hold_the_rows_stops_the_delete(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is read back from the disk and held against the database's own checksum."""
    monkeypatch.setattr(archive_module, "_LINES", archive_module._LINES + " AND random() < 0.9")
    with pytest.raises(BackupError, match="does not hold the rows that were read: nothing was deleted"):
        await archive(dsn, tmp_path, AT, YEAR)
    assert await _counts(dsn) == (5, 3_500)
    assert [path.name for path in (tmp_path / "archive").iterdir()] == [".lock"]


async def test_a_damaged_archive_brings_nothing_back(dsn: str, tmp_path: Path) -> None:
    """A flipped bit, a lost manifest."""
    file = Path((await archive(dsn, tmp_path, AT, YEAR)).file)
    whole = file.read_bytes()
    file.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    with pytest.raises(BackupError, match="is not what"):
        await unarchive(dsn, file)
    file.write_bytes(whole)
    manifest_of(file).unlink()
    with pytest.raises(BackupError, match="No such file"):
        await unarchive(dsn, file)
    assert await _counts(dsn) == (3, 2_100)


async def test_rows_that_were_taken_by_others_meanwhile_are_not_overwritten(dsn: str, tmp_path: Path) -> None:
    """Under the same key stands something else: nothing is brought back."""
    file = Path((await archive(dsn, tmp_path, AT, YEAR)).file)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        trade = next(row for line in lines if (row := msgspec.json.decode(line))["table"] == "backtest_trades")["row"]
    await _execute(
        dsn,
        "INSERT INTO backtest_trades (id, backtest_id, trade_number, entry_date, symbol, side, quantity, entry_price)"
        f" SELECT {trade['id']}, id, 9999, now(), 'X/Y', 'sell', 1, 1 FROM backtests LIMIT 1",
    )
    with pytest.raises(BackupError, match="backtest_trades holds other rows under the same keys: nothing was changed"):
        await unarchive(dsn, file)
    assert await _counts(dsn) == (3, 2_101)


async def test_an_archive_outlives_changes_of_the_schema(dsn: str, tmp_path: Path) -> None:
    """A column that was added since has its default; a strategy that is gone is told."""
    file = Path((await archive(dsn, tmp_path, AT, YEAR)).file)
    await _execute(dsn, "ALTER TABLE backtests ADD COLUMN engine text NOT NULL DEFAULT 'first'")
    assert (await unarchive(dsn, file)).rows == {"backtests": 2, "backtest_trades": 1_400}
    await archive(dsn, tmp_path, AT + timedelta(seconds=1), YEAR)
    await _execute(dsn, "DELETE FROM strategies")
    with pytest.raises(StoreRefusedError, match="strateg"):
        await unarchive(dsn, file)


async def _execute(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def _counts(dsn: str) -> tuple[int, ...]:
    connection = await asyncpg.connect(dsn)
    try:
        return tuple(
            await connection.fetchrow("SELECT (SELECT count(*) FROM backtests), (SELECT count(*) FROM backtest_trades)")
        )
    finally:
        await connection.close()


async def _rows(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        query = "SELECT b::text FROM backtests b UNION ALL SELECT t::text FROM backtest_trades t ORDER BY 1"
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()
