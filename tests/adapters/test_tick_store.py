"""Tick records into real databases, on every back end: exact, once, and no row takes its neighbours with it."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from conftest import Database
from traderd.adapters import tick_store
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore, split_rows
from traderd.core.errors import StoreUnavailableError
from traderd.core.market import Instrument, Quote, Trade
from traderd.runtime.ports import Batch, JournalRecord, Reject

T0 = 1_723_161_254_024_619_568
BTC = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT")
DOGE = Instrument(1, "binance", "DOGE/USDT", "DOGEUSDT", "DOGE", "USDT")
ROWS = TickRows([BTC, DOGE])


def quote(number: int, instrument: Instrument = BTC, bid: str = "100.10000000") -> Quote:
    return Quote(instrument, float(bid), 101.0, f"{bid},1.50000000,101.00000000,2", number, 0, T0 + number * 1_000)


def trade(number: int, price: str = "100.5", side: str = "buy") -> Trade:
    return Trade(BTC, str(number), side, float(price), f"{price},2.000", T0 + number * 10**6, T0 + number * 10**6 + 7)


def record(position: int, table: str, batch: Batch) -> JournalRecord:
    return JournalRecord(position, f"{table}:binance:x", batch.rows, batch.first_ns, batch.last_ns, batch.payload)


def quotes(*numbers: int) -> Batch:
    return ROWS.quotes([quote(number, DOGE if number % 2 else BTC) for number in numbers], [""] * len(numbers))


async def fetch(database: Database, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def test_rows_arrive_as_the_venue_sent_them(database: Database) -> None:
    """Every column, the numbers to the last digit and zero, times to the microsecond."""
    store = CopyTickStore(database.dsn, 10)
    last = trade(7, "0.00000012")
    await store.cursor("j")
    await store.store("j", [record(1, "tick_data", ROWS.quotes([quote(1), quote(2, DOGE)], [last.text, ""]))])
    rows = await fetch(
        database, "SELECT *, bid::text AS bid_text, last_price::text AS last_text FROM tick_data ORDER BY time"
    )
    assert [(r["symbol"], r["exchange"], r["bid_text"], r["last_text"], r["sequence"]) for r in rows] == [
        ("BTC/USDT", "binance", "100.10000000", "0.00000012", 1),
        ("DOGE/USDT", "binance", "100.10000000", None, 2),
    ]
    assert rows[0]["last_volume"] == Decimal("2.000")
    assert rows[0]["time"].timestamp() == pytest.approx((T0 + 1_000) / 1e9, abs=1e-6)
    assert rows[0]["time_venue"] is None
    await store.close()


async def test_rows_and_cursor_move_together_and_only_forward(database: Database) -> None:
    """A batch whose first record the cursor has passed is refused whole: it is stored already."""
    store = CopyTickStore(database.dsn, 10)
    assert await store.cursor("j") == 0
    await store.store("j", [record(1, "tick_data", quotes(1, 2)), record(2, "tick_data", quotes(3))])
    assert await store.cursor("j") == 2
    with pytest.raises(StoreUnavailableError, match="cursor has moved"):
        await store.store("j", [record(2, "tick_data", quotes(3))])
    assert (await fetch(database, "SELECT count(*) FROM tick_data"))[0][0] == 3
    assert await store.cursor("another") == 0
    await store.close()


async def test_two_writers_of_one_journal_never_store_a_batch_twice(database: Database) -> None:
    """Our own lost transaction may still run on the server while we begin anew."""
    stores = [CopyTickStore(database.dsn, 10) for _ in range(2)]
    for store in stores:
        await store.cursor("j")
    batch = [record(1, "tick_data", quotes(*range(50)))]
    outcomes = await asyncio.gather(*(store.store("j", batch) for store in stores), return_exceptions=True)
    assert sorted(isinstance(outcome, StoreUnavailableError) for outcome in outcomes) == [False, True]
    assert (await fetch(database, "SELECT count(*) FROM tick_data"))[0][0] == 50
    for store in stores:
        await store.close()


async def test_a_trade_that_is_there_already_does_not_disturb_its_batch(database: Database) -> None:
    """The same trade id of the same moment is one trade."""
    store = CopyTickStore(database.dsn, 10)
    await store.cursor("j")
    await store.store("j", [record(1, "public_trades", ROWS.trades([trade(1), trade(2)]))])
    refused = await store.store("j", [record(2, "public_trades", ROWS.trades([trade(2), trade(3)]))])
    assert refused == 0
    assert store.duplicates == 1
    rows = await fetch(database, "SELECT trade_id FROM public_trades ORDER BY time")
    assert [row[0] for row in rows] == ["1", "2", "3"]
    await store.close()


@pytest.mark.parametrize("commits", [True, False])
async def test_what_was_there_or_refused_is_counted_once_the_commit_is_known(
    database: Database, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """The connection goes with the commit under way: the cursor tells whether it arrived."""
    told: list[int] = []
    store = CopyTickStore(database.dsn, 10, on_duplicates=told.append)
    await store.cursor("j")
    await store.store("j", [record(1, "public_trades", ROWS.trades([trade(1), trade(2)]))])
    batch = ROWS.trades([trade(2), trade(3), trade(4)])
    spoiled = batch.payload.replace(b"\x00\x00\x00\x03buy", b"\x00\x00\x00\x03bye", 1)
    bad = JournalRecord(3, "public_trades:binance:trade", 3, batch.first_ns, batch.last_ns, spoiled)
    known = record(2, "public_trades", ROWS.trades([trade(1)]))
    end = Transaction.__aexit__

    async def cut(self: Transaction, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None or self._nested:
            await end(self, kind, error, traceback)
            return
        if commits:
            await end(self, kind, error, traceback)
        raise ConnectionResetError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "__aexit__", cut)
        with pytest.raises(StoreUnavailableError):
            await store.store("j", [known, bad])
    assert told == []
    assert await store.cursor("j") == (3 if commits else 1)
    assert store.refused_in_doubt == 1
    assert told == ([1] if commits else [])
    if not commits:
        assert await store.store("j", [known, bad]) == 1
        assert told == [1]
    assert store.duplicates == 1
    assert (await fetch(database, "SELECT count(*) FROM public_trades"))[0][0] == 4
    await store.close()


async def test_a_row_that_the_database_refuses_goes_to_quarantine_alone(database: Database) -> None:
    """Its neighbours are stored and the cursor moves on."""
    store = CopyTickStore(database.dsn, 10)
    await store.cursor("j")
    batch = ROWS.trades([trade(1), trade(2), trade(3)])
    spoiled = batch.payload.replace(b"\x00\x00\x00\x03buy", b"\x00\x00\x00\x03bye", 1)
    bad = JournalRecord(1, "public_trades:binance:trade", 3, batch.first_ns, batch.last_ns, spoiled)
    assert await store.store("j", [bad, record(2, "tick_data", quotes(1))]) == 1
    assert (await fetch(database, "SELECT count(*) FROM public_trades"))[0][0] == 2
    assert (await fetch(database, "SELECT count(*) FROM tick_data"))[0][0] == 1
    assert "side" in (await fetch(database, "SELECT reason FROM quarantine"))[0][0]
    assert await store.cursor("j") == 2
    await store.close()


@pytest.mark.parametrize(
    ("table", "poisoned", "copies_max"),
    [
        ("tick_data", [3_210], 8),
        ("tick_data", range(50, 5_000, 100), 6 * 50),
        ("tick_data", range(2_000, 2_300), 3 * 300),
        ("public_trades", [3_210], 8),
        ("public_trades", range(50, 5_000, 100), 6 * 50),
    ],
    ids=["one quote", "1 % of quotes", "a run of quotes", "one trade", "1 % of trades"],
)
async def test_refused_rows_cost_a_few_copies_each_and_the_rest_is_stored(
    database: Database, table: str, poisoned: Sequence[int], copies_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5,000 rows; the quarantine has each with the reason, and may be read back into the row that it was."""
    copies = 0
    copy = tick_store._copy

    async def counted(*words: Any) -> None:
        nonlocal copies
        copies += 1
        await copy(*words)

    monkeypatch.setattr(tick_store, "_copy", counted)
    ticks = table == "tick_data"
    batch = quotes(*range(5_000)) if ticks else ROWS.trades([trade(n) for n in range(5_000)])
    rows = sorted(split_rows(batch.payload), key=sequence_of if ticks else len)
    for place in poisoned:
        rows[place] = spoiled(rows[place], ticks)
    bad = JournalRecord(1, f"{table}:binance:x", 5_000, batch.first_ns, batch.last_ns, b"".join(rows))
    store = CopyTickStore(database.dsn, 10)
    await store.cursor("j")
    assert await store.store("j", [bad, record(2, "tick_data", quotes(6_000))]) == len(poisoned)
    assert copies <= copies_max
    kept = 5_000 - len(poisoned)
    assert (await fetch(database, f"SELECT count(*) FROM {table} WHERE sequence < 6000" if ticks else
                        f"SELECT count(*) FROM {table}"))[0][0] == kept  # fmt: skip
    told = await fetch(database, "SELECT channel, reason, payload FROM quarantine")
    assert {row["channel"] for row in told} == {table}
    assert all("invalid byte sequence" in row["reason"] if ticks else "side" in row["reason"] for row in told)
    assert sorted(bytes.fromhex(row["payload"]) for row in told) == sorted(rows[place] for place in poisoned)
    await store.close()


def sequence_of(row: bytes) -> bytes:
    """Where a row of tick_data has its sequence: behind it come the time at the venue, NULL, and the flags."""
    return row[-4 - 6 - 8 : -4 - 6]


def spoiled(row: bytes, tick: bool) -> bytes:
    """A text that is no UTF-8; a side that there isn't."""
    return row.replace(b"/USDT", b"/US\xff\xff") if tick else row.replace(b"buy", b"bye")


async def test_a_text_too_long_for_its_index_is_the_rows_own_fault(plain_database: Database) -> None:
    """SQLSTATE 54000: it would stop the journal for ever if it were waited for."""
    store = CopyTickStore(plain_database.dsn, 10)
    await store.cursor("j")
    long = trade(1)
    long.trade_id = Random(1).randbytes(4_000).hex()
    assert await store.store("j", [record(1, "public_trades", ROWS.trades([trade(2), long, trade(3)]))]) == 1
    assert "exceeds" in (await fetch(plain_database, "SELECT reason FROM quarantine"))[0][0]
    assert (await fetch(plain_database, "SELECT count(*) FROM public_trades"))[0][0] == 2
    await store.close()


async def test_a_careful_store_stores_the_same_ticks_once(database: Database) -> None:
    """What a replay needs: identity decides, not the journal."""
    for journal in ("first", "second"):
        store = CopyTickStore(database.dsn, 10, careful=True)
        await store.cursor(journal)
        await store.store(
            journal,
            [record(1, "tick_data", quotes(*range(20))), record(2, "public_trades", ROWS.trades([trade(1)]))],
        )
        await store.forget(journal)
        await store.close()
    assert store.duplicates == 21
    assert (await fetch(database, "SELECT count(*) FROM tick_data"))[0][0] == 20
    assert (await fetch(database, "SELECT count(*) FROM journal_cursors"))[0][0] == 0


async def test_rejects_reach_the_quarantine_table(database: Database) -> None:
    """As they came; what PostgreSQL can't hold in a text is replaced."""
    store = CopyTickStore(database.dsn, 10)
    await store.cursor("j")
    reject = Reject(T0, "binance", "", "malformed", b"\x00\xff{")
    await store.store("j", [record(1, "quarantine", ROWS.rejects([reject]))])
    assert (await fetch(database, "SELECT reason, payload FROM quarantine"))[0]["payload"] == "\ufffd\ufffd{"
    await store.close()


async def test_a_frozen_database_is_a_named_fault_and_the_next_call_goes_on(database: Database) -> None:
    """SIGSTOP: nobody answers, no connection closes. Afterwards the batch is there exactly once."""
    store = CopyTickStore(database.dsn, 1.0)
    await store.cursor("j")
    database.server.pause()
    try:
        with pytest.raises(StoreUnavailableError):
            await store.store("j", [record(1, "tick_data", quotes(1, 2))])
    finally:
        database.server.resume()
    if await store.cursor("j") == 0:
        await store.store("j", [record(1, "tick_data", quotes(1, 2))])
    assert (await fetch(database, "SELECT count(*) FROM tick_data"))[0][0] == 2
    await store.close()


def test_a_number_that_no_column_holds_is_handed_back_with_its_row() -> None:
    """The batch goes on without it."""
    batch = ROWS.quotes([quote(1), quote(2, bid="1" * 40), quote(3)], [""] * 3)
    assert batch.rows == 2
    assert [(reject.reason, reject.channel) for reject in batch.rejects] == [("number_does_not_fit", "quote")]


def test_a_trade_dated_far_from_its_arrival_is_stored_at_its_arrival() -> None:
    """A venue's broken clock makes no partition in 2099."""
    odd = trade(1)
    odd.time_venue_ns = T0 * 3
    batch = ROWS.trades([odd])
    assert batch.first_ns == batch.last_ns == odd.time_received_ns
