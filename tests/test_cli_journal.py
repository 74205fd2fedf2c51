"""`traderd journal`: what waits, whether it is sound, what it says; while it is written, and when nobody does."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from conftest import Database
from made_up import BTC, SECOND, START, quote
from traderd.adapters.journal import FileJournal
from traderd.adapters.migrations import migrate
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.cli import ExitCode, execute
from traderd.core.errors import ForeignJournalError
from traderd.core.facts import Alert, encode_fact

MINIMAL = "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]\n"
ROWS = TickRows([BTC])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and journals in its state folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(MINIMAL)
    return tmp_path


def written(here: Path, records: int = 30, segment_bytes: int = 4_096) -> list[FileJournal]:
    """Ten quotes a record, a second apart, and two facts."""
    ticks = FileJournal(here / "state" / "ticks", segment_bytes, 2**30)
    for number in range(records):
        batch = ROWS.quotes([quote("100", "101", START + number * SECOND + n) for n in range(10)], [""] * 10)
        ticks.append("tick_data:binance:quote", batch.rows, batch.payload, batch.first_ns, batch.last_ns)
    facts = FileJournal(here / "state" / "facts", segment_bytes, 2**30)
    for number in range(2):
        facts.append("facts", 1, encode_fact(Alert(f"a{number}", START + number, "test", "info", "t", "m")), 0, 0)
    return [ticks, facts]


def closed(journals: list[FileJournal]) -> None:
    for journal in journals:
        journal.close()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = ExitCode.OK) -> str:
    capsys.readouterr()
    assert execute(["journal", *arguments]) == code
    return capsys.readouterr().out


def test_ls_names_segments_positions_rows_and_ages(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs; without a database that can be asked it says so."""
    closed(written(here))
    text = printed(capsys, "ls")
    assert "tick_data:binance:quote" in text and "not asked: it is embedded, and its daemon doesn't run" in text
    ticks, facts = json.loads(printed(capsys, "ls", "--json"))["journals"]
    assert sum(segment["records"] for segment in ticks["segments"]) == 30 == ticks["records_waiting"]
    assert sum(segment["rows"]["tick_data:binance:quote"] for segment in ticks["segments"]) == 300
    assert ticks["segments"][0]["first"] == 1
    assert ticks["segments"][0]["from_ns"] == START
    assert facts["segments"][0]["rows"] == {"facts": 2}
    sizes = [segment["bytes"] for segment in ticks["segments"]]
    assert sizes == [path.stat().st_size for path in sorted((here / "state" / "ticks").glob("*.seg"))]


def test_looking_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a byte, not a file, not a time."""
    closed(written(here))
    (here / "state" / "ticks" / "x.seg.new").write_bytes(b"of a daemon that is at work")

    def seen() -> dict[Path, tuple[int, bytes]]:
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in here.rglob("*") if path.is_file()}

    before = seen()
    for command in ("ls", "verify", "dump"):
        printed(capsys, command)
    assert seen() == before


def test_verify_finds_damage_and_says_where(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, the byte, the records and what they were; sound journals are 0."""
    closed(written(here))
    assert "ticks: 30 sound records" in printed(capsys, "verify")
    segment = sorted((here / "state" / "ticks").glob("*.seg"))[0]
    body = bytearray(segment.read_bytes())
    body[len(body) // 2] ^= 4
    segment.write_bytes(body)
    assert "records missing, 10 rows of tick_data:binance:quote" in printed(capsys, "verify", code=ExitCode.PROBLEMS)
    found = json.loads(printed(capsys, "verify", "--json", code=ExitCode.PROBLEMS))
    assert not found["sound"]
    [damage] = [stretch for s in found["journals"][0]["segments"] for stretch in s["damaged"]]
    assert damage["offset"] <= len(body) // 2 < damage["offset"] + damage["bytes"]
    assert "damaged" in printed(capsys, "ls")
    rows = printed(capsys, "dump", "--label", "tick_data").splitlines()
    assert len(rows) == 290


def test_an_unfinished_record_at_the_end_is_told_and_is_no_damage(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next start cuts it off; nobody was told that it was kept."""
    closed(written(here))
    segment = sorted((here / "state" / "ticks").glob("*.seg"))[-1]
    os.truncate(segment, segment.stat().st_size - 7)
    assert "bytes of an unfinished record at its end" in printed(capsys, "verify")


def test_dump_filters_by_position_moment_label_and_number(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows as lines, or as JSON objects."""
    closed(written(here))
    assert len(printed(capsys, "dump").splitlines()) == 302
    assert len(printed(capsys, "dump", "--limit", "7").splitlines()) == 7
    rows = [json.loads(line) for line in printed(capsys, "dump", "--from", "3", "--to", "5", "--json").splitlines()]
    assert [row["position"] for row in rows] == [3] * 10 + [4] * 10
    assert rows[0]["row"]["bid"] == "100" and rows[0]["label"] == "tick_data:binance:quote"
    moment = f"{datetime.fromtimestamp(START // SECOND + 28, UTC):%Y-%m-%dT%H:%M:%S}"
    late = printed(capsys, "dump", "--from", moment, "--label", "tick_data").splitlines()
    assert len(late) == 20
    assert len(printed(capsys, "dump", "--to", moment, "--label", "tick_data").splitlines()) == 280
    facts = printed(capsys, "dump", "--label", "facts", "--json").splitlines()
    assert [json.loads(line)["row"]["alert_id"] for line in facts] == ["a0", "a1"]
    folder = str(here / "state" / "facts")
    assert len(printed(capsys, "dump", "--folder", folder).splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["dump", "--from", "yesterday"], "is neither a position nor a moment"),
        (["dump", "--limit", "0"], "0 is not in the range"),
        (["ls", "--folder", "nowhere"], "does not exist"),
    ],
)
def test_wrong_arguments_are_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert execute(["journal", *arguments]) == ExitCode.USAGE
    assert told in capsys.readouterr().err


def test_where_there_is_no_journal_one_line_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No state folder, and a folder that is something else."""
    assert execute(["journal", "ls"]) == ExitCode.FAILED
    assert "no daemon has run on this state folder" in capsys.readouterr().err
    assert execute(["journal", "verify", "--folder", str(here)]) == ExitCode.FAILED
    assert "is no journal's folder" in capsys.readouterr().err


@pytest.fixture
def writer(here: Path) -> Iterator[int]:
    """A process that appends, rotates and releases as fast as it can."""
    closed(written(here))
    reader, ready = os.pipe()
    child = os.fork()
    if not child:
        try:
            journal = FileJournal(here / "state" / "ticks", 50_000, 2**30)
            payload = ROWS.quotes([quote("100", "101", START + n) for n in range(100)], [""] * 100).payload
            for number in range(1_000_000):
                position = journal.append("tick_data:binance:quote", 100, payload, START, START)
                journal.release(position - 20)
                journal.tidy()
                if number == 50:
                    os.write(ready, b".")
        finally:
            os._exit(1)
    assert os.read(reader, 1) == b"."
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(ready)


@pytest.mark.usefixtures("writer")
def test_beside_a_process_that_writes_nothing_is_taken_for_damage(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records half written, segments that go and come: sound, every time."""
    for _ in range(5):
        found = json.loads(printed(capsys, "verify", "--json"))
        assert found["sound"] and found["journals"][0]["segments"]
        assert len(printed(capsys, "dump", "--limit", "50").splitlines()) == 50
        printed(capsys, "ls")


async def test_a_restored_database_is_accepted_by_a_word_and_the_hole_is_a_gap(
    empty_database: Database, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before, then gone on with: what the journal has is stored, what lies between is in the ledger."""
    await migrate(empty_database.dsn)
    (here / "config.yaml").write_text(f"database: {empty_database.dsn}\n{MINIMAL}")
    ticks, facts = written(here, records=60)
    store = CopyTickStore(empty_database.dsn, 10.0)
    journal_id = ticks.journal_id
    await store.cursor(journal_id)
    ticks.release(50)
    begins_after = ticks.read(0, 1)[0].position - 1
    assert begins_after > 5
    with pytest.raises(ForeignJournalError, match="the database doesn't know it"):
        ticks.expect_cursor(await store.cursor(journal_id))
    closed([ticks, facts])

    def commands() -> tuple[str, str, str]:
        """They have an event loop of their own."""
        before = printed(capsys, "ls")
        done = printed(capsys, "accept")
        return before, done, printed(capsys, "accept")

    before, done, again = await asyncio.to_thread(commands)
    assert "has it up to 0" in before
    assert f"ticks: the database, which had it up to 0, goes on after {begins_after}" in done
    assert "nothing is missing" in again
    reopened = FileJournal(here / "state" / "ticks", 4_096, 2**30)
    cursor = await store.cursor(journal_id)
    reopened.expect_cursor(cursor)
    records = reopened.read(cursor, 2**20)
    await store.store(journal_id, records)
    connection = await asyncpg.connect(empty_database.dsn)
    assert await connection.fetchval("SELECT count(*) FROM tick_data") == 10 * (60 - begins_after)
    gaps = await connection.fetch("SELECT exchange, reason, status, detail FROM data_gaps")
    assert [(gap["exchange"], gap["reason"], gap["status"]) for gap in gaps] == [("binance", "lost", "closed")]
    assert f"records 1 to {begins_after} of journal {journal_id}" in gaps[0]["detail"]
    await connection.close()
    await store.close()
    reopened.close()
