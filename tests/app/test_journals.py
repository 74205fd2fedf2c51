"""What the daemon's journals lose is counted once, told as a gap and an alert; a disk that fails is told too."""

import asyncio
import errno
import os
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from made_up import BTC, MS, START, quote
from traderd.adapters.clock import SystemClock
from traderd.adapters.logs import logger
from traderd.adapters.metrics import Metrics
from traderd.adapters.paper_exchange import PaperExchange
from traderd.adapters.redis_feed import NoFeed
from traderd.adapters.telemetry import Telemetry
from traderd.adapters.tick_rows import TickRows
from traderd.app.account import account
from traderd.app.journals import Journals
from traderd.config import Journal
from traderd.core.engine import Engine
from traderd.core.engine_settings import EngineSettings
from traderd.core.errors import JournalError
from traderd.core.facts import Alert, Fact, Gap, decode_fact
from traderd.core.gaps import GapLedger
from traderd.core.matching import PaperSettings
from traderd.core.risk import RiskSettings
from traderd.runtime.pipeline import Pipeline
from traderd.runtime.ports import PortfolioState

RISK = RiskSettings(Decimal(5_000), Decimal(20_000), Decimal(100), 2_000, Decimal(10))


class Rig:
    """The two journals and the pipeline that fills them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        bounds = {"segment_bytes_max": 4_096, "disk_bytes_max": 12_288, "disk_reserve_bytes": 0, "sync_interval_ms": 1}
        self.journals = Journals(folder, Journal(**{**bounds, **settings}), "r", logger("test"))  # type: ignore[arg-type] # by name
        self.metrics = Metrics()
        self.telemetry = Telemetry(self.metrics, logger("test"), self.journals.ticks.position)
        engine_settings = EngineSettings("r", "paper", "USDT", Decimal(1_000), ("1s",), 500, 1.0, Decimal(10), RISK, ())
        self.engine = Engine(engine_settings, [BTC])
        clock = SystemClock()
        exchange = PaperExchange(PaperSettings(Decimal(10), Decimal(0), 20, 2_000), self.engine.board, clock)
        self.pipeline = Pipeline(
            self.engine, TickRows([BTC]), self.journals.ticks, self.journals.facts, NoFeed(), exchange,
            self.telemetry, clock, GapLedger("r"), 1_000, lambda: None,
        )  # fmt: skip
        self.pipeline.fault = self.telemetry.fault
        self.stream = self.pipeline.stream("binance", ["BTC/USDT"])
        self.running = asyncio.create_task(self.journals.run(self.pipeline, self.telemetry, clock))

    def tick(self, number: int) -> None:
        """Ten quotes, journalled as one record."""
        at_ns = START + number * MS
        self.stream.on_events([quote("100", "101", at_ns + n) for n in range(10)])
        self.pipeline.flush()

    def facts(self) -> list[Fact]:
        found: list[Fact] = []
        after = 0
        while records := self.journals.facts.read(after, 4_096):
            found += [decode_fact(line) for record in records for line in record.payload.splitlines()]
            after = records[-1].position
        return found

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])


async def test_ticks_that_had_to_be_dropped_are_lost_once_and_each_loss_is_a_gap(tmp_path: Path) -> None:
    """received = journalled + lost in the account and in the metrics, and the gap ledger has the same rows."""
    rig = Rig(tmp_path, ticks_when_full="drop_oldest", disk_bytes_max=16_384)
    await asyncio.sleep(0.01)
    for number in range(30):
        rig.tick(number)
    figures = account(rig.pipeline, rig.telemetry)
    gaps = [fact for fact in rig.facts() if isinstance(fact, Gap)]
    assert figures.received == 300 and figures.balanced
    assert 0 < figures.lost == sum(gap.rows_lost for gap in gaps)
    assert {(gap.exchange, gap.channel, gap.reason, gap.status) for gap in gaps} == {
        ("binance", "quote", "lost", "closed")
    }
    assert all(START <= gap.from_ns < gap.to_ns for gap in gaps)
    assert "journal.disk_bytes_max" in gaps[0].detail
    assert len({gap.gap_id for gap in gaps}) == len(gaps)
    text = rig.metrics.text().decode()
    assert f'traderd_ticks_lost_total{{channel="quote",venue="binance"}} {figures.lost}.0' in text
    assert f'traderd_journal_losses_total{{journal="ticks"}} {len(gaps)}.0' in text
    assert any(isinstance(fact, Alert) and fact.severity == "critical" for fact in rig.facts())
    left = [record for record in rig.journals.ticks.read(0, 10**6) if record.label.startswith("tick_data")]
    assert sum(record.rows for record in left) == figures.journalled
    await rig.stop()


async def test_what_two_markets_of_a_venue_lose_is_counted_once_and_told_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their streams share the venue's channels: a loss of one's rows is no loss of the other's, nor ends with those."""
    rig = Rig(tmp_path, ticks_when_full="drop_oldest", disk_bytes_max=16_384)
    other = rig.pipeline.stream("binance", ["BTC/USDT:USDT"])
    await asyncio.sleep(0.01)
    for number in range(30):
        rig.tick(number)
    with monkeypatch.context() as patch:
        patch.setattr(rig.journals.ticks, "append", refused)
        rig.tick(30)
    other.on_events([quote("100", "101", START + 31 * MS)])
    rig.pipeline.flush()
    rig.tick(32)
    figures = account(rig.pipeline, rig.telemetry)
    assert figures.received == 30 * 10 + 10 + 1 + 10
    assert figures.balanced and figures.lost > 10
    left = [record for record in rig.journals.ticks.read(0, 10**6) if record.label.startswith("tick_data")]
    assert sum(record.rows for record in left) == figures.journalled == figures.received - figures.lost
    gaps = {fact.gap_id: fact for fact in rig.facts() if isinstance(fact, Gap)}
    assert sum(gap.rows_lost for gap in gaps.values()) == figures.lost
    assert {gap.status for gap in gaps.values()} == {"closed"}
    await rig.stop()


def refused(*record: object) -> int:
    raise JournalError("the disk is full")


@pytest.mark.parametrize("journal", ["ticks", "facts"])
async def test_a_disk_that_fails_a_journal_is_told_and_stops_trading_only_for_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    """EIO from a sync beside the loop: the daemon lives, nothing is lost, and what can't be recorded isn't done."""
    rig = Rig(tmp_path)
    rig.pipeline.carry_out(rig.engine.resume(START, PortfolioState([], "", "", "", "", [])))
    rig.pipeline.flush()
    assert rig.engine.refusal == ""
    await asyncio.sleep(0.05)
    real = os.fdatasync
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def failing(fd: int) -> None:
        if f"/{journal}/" in os.readlink(f"/proc/self/fd/{fd}") and not failed.is_set():  # noqa: PTH115 - of a descriptor
            loop.call_soon_threadsafe(failed.set)
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    rig.tick(1)
    rig.pipeline.record(Alert("a", START, "test", "info", "", ""))
    rig.pipeline.flush()
    async with asyncio.timeout(5):
        await failed.wait()
    await asyncio.sleep(0.05)
    assert not rig.running.done()
    assert bool(rig.engine.refusal) == (journal == "facts")
    for number in range(2, 6):
        rig.tick(number)
    assert account(rig.pipeline, rig.telemetry).journalled == 50
    assert any(isinstance(fact, Alert) and "Input/output error" in fact.message for fact in rig.facts())
    await rig.stop()


async def test_damage_in_what_an_earlier_run_left_is_a_gap_of_its_venue(tmp_path: Path) -> None:
    """Found by reading on the way to the database: rows and times are those that the record tells."""
    rig = Rig(tmp_path)
    for number in range(3):
        rig.tick(number)
    await rig.stop()
    rig.journals.close()
    segment = next((tmp_path / "ticks").glob("*.seg"))
    body = bytearray(segment.read_bytes())
    body[len(body) // 2] ^= 1
    segment.write_bytes(body)
    again = Rig(tmp_path)
    await asyncio.sleep(0.01)
    assert sum(record.rows for record in again.journals.ticks.read(0, 10**6)) == 20
    gaps = [fact for fact in again.facts() if isinstance(fact, Gap)]
    assert [(gap.exchange, gap.channel, gap.rows_lost) for gap in gaps] == [("binance", "quote", 10)]
    figures = account(again.pipeline, again.telemetry)
    assert figures.received == figures.lost == 0, "they are not of this run's account"
    await again.stop()


async def test_whatever_turns_in_a_record_of_this_run_its_rows_are_lost_and_no_others(tmp_path: Path) -> None:
    """Also in its head, and where several records are gone at once: received = journalled + lost, and so the ledger."""
    rig = Rig(tmp_path, segment_bytes_max=65_536, disk_bytes_max=262_144)
    await asyncio.sleep(0.01)
    marks = []
    for number in range(5):
        marks.append(rig.journals.ticks.size)
        rig.tick(number)
    segment = next(file for file in (tmp_path / "ticks").glob("*.seg") if file.stat().st_size)
    body = segment.read_bytes()
    for lost, spoilt in (
        *((10, body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]) for at in range(marks[2], marks[2] + 90)),
        (20, body[: marks[1]] + bytes(marks[3] - marks[1]) + body[marks[3] :]),
        (30, body[: marks[2] + 9]),
    ):
        segment.write_bytes(spoilt)
        again = Rig(tmp_path / f"{lost}", segment_bytes_max=65_536, disk_bytes_max=262_144)
        await asyncio.sleep(0)
        for number in range(5):
            again.tick(number)
        ours = next(file for file in (tmp_path / f"{lost}" / "ticks").glob("*.seg") if file.stat().st_size)
        ours.write_bytes(spoilt)
        left = sum(record.rows for record in again.journals.ticks.read(0, 10**6))
        figures = account(again.pipeline, again.telemetry)
        assert (left, figures.journalled, figures.lost, figures.received) == (50 - lost, 50 - lost, lost, 50)
        assert sum(fact.rows_lost for fact in again.facts() if isinstance(fact, Gap)) == lost
        await again.stop()
        again.journals.close()
        shutil.rmtree(tmp_path / f"{lost}")
    await rig.stop()
