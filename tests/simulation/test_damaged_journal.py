"""The journal that a killed daemon left is damaged before the next one reads it: that much is lost, and told."""

import os
from pathlib import Path
from random import Random

import pytest
from accounts import last_connection, sent_ticks, settle
from books import expect_sound_books
from daemons import DaemonProcess, configuration, exchange

from conftest import Database
from servers import ForeignServer
from traderd.adapters.journal_reader import whole
from traderd.adapters.journal_segments import segments_in
from traderd.runtime.ports import JournalRecord

pytestmark = pytest.mark.process


@pytest.mark.parametrize("damage", ["a bit", "the end"])
async def test_what_a_damaged_journal_has_lost_is_told_and_all_else_is_stored(
    plain_database: Database, tmp_path: Path, damage: str
) -> None:
    """While the database was away. The exchange's ledger, the database and the gap ledger agree on every tick."""
    server = plain_database.server
    assert not isinstance(server, ForeignServer)
    async with exchange(remember=True) as sim:
        with DaemonProcess(configuration(tmp_path, sim.url, database=plain_database.dsn)) as daemon:
            daemon.start()
            await daemon.until(lambda status: status["ticks"]["stored"] > 500)
            server.pause()
            try:
                await daemon.until(lambda status: status["ticks"]["journalled"] > 1_500)
                daemon.kill9()
            finally:
                server.resume()
            earlier, connections = sent_ticks(sim), last_connection(sim)
            lost_rows = spoil(daemon.state / "ticks", damage)
            daemon.start()
            await daemon.until(lambda status: status["engine"]["trading"] and not status["gaps_open"], 60.0)
            found = await settle(daemon, sim, plain_database.dsn, earlier=earlier, after_connection=connections)
            print(f"{damage}: {found}")
            assert found.lost == lost_rows
            await daemon.terminate()
            assert "journal damaged" in daemon.events()
            assert list((daemon.state / "ticks" / "damaged").iterdir())
            await expect_sound_books(plain_database.dsn)


def spoil(folder: Path, damage: str) -> int:
    """Do it to the segment that is read next; returns how many ticks are gone that had been taken."""
    segment = max(segments_in(folder), key=lambda each: each.size)
    records = [found for found in whole(segment) if isinstance(found, JournalRecord)]
    if damage == "the end":  # as a power failure leaves it: that record was never forced to the disk
        os.truncate(segment.path, segment.size - 7)
        return 0
    chosen = Random(7).choice([record for record in records[-10:] if record.label.startswith("tick_data")])
    body = bytearray(segment.path.read_bytes())
    body[body.index(chosen.payload) + len(chosen.payload) // 2] ^= 16
    segment.path.write_bytes(body)
    return chosen.rows
