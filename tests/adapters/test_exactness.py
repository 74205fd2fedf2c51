"""What a venue sends is what a NUMERIC holds, to the last digit: each number of the captures, and any decimal."""

import re
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database
from traderd.adapters.capture import Capture
from traderd.adapters.copy_columns import HEADER, TRAILER, BigInts, Numerics, encode_rows
from traderd.adapters.tick_rows import TickRows
from traderd.adapters.tick_store import CopyTickStore
from traderd.core.market import Quote, Trade
from traderd.runtime.ports import JournalRecord
from traderd.venues.registry import dialect

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
NOW_MS = time.time_ns() // 1_000_000
FILES = sorted(CAPTURES.glob("*/*.frames.gz"))
NUMBER = re.compile(rb'(?<=[\[:,"])[0-9]+\.[0-9]+(?=[\],}"])')
"""A decimal in JSON, as text or as a number, whatever it means there."""


@pytest.fixture
async def table(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection that has a table `stored`."""
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("CREATE TEMP TABLE stored (place bigint, number numeric)")
    yield connection
    await connection.close()


async def stored(connection: asyncpg.Connection, texts: list[str]) -> tuple[list[str | None], list[int]]:
    """Through the encoder into the server and back, as the server prints them; the places that didn't fit."""
    column = Numerics(texts)
    payload = encode_rows([BigInts(list(range(len(texts)))), column], len(texts))
    await connection.execute("TRUNCATE stored")

    async def source() -> AsyncIterator[bytes]:
        yield HEADER + payload + TRAILER

    await connection.copy_to_table("stored", source=source(), format="binary")
    rows = await connection.fetch("SELECT number::text FROM stored ORDER BY place")
    return [row["number"] for row in rows], column.bad


@pytest.mark.skipif(not FILES, reason=f"no captures at {CAPTURES.name}")
async def test_each_number_of_each_capture_comes_back_as_it_was_sent(table: asyncpg.Connection) -> None:
    """Prices and quantities of quotes, trades and books of five venues; zeros at the end and all."""
    for file in FILES:
        sent = numbers_of(file)
        assert len(sent) > 100, file
        assert await stored(table, sent) == (sent, []), file


@cache
def numbers_of(file: Path) -> list[str]:
    texts: set[bytes] = set()
    with Capture(file) as capture:
        for record in capture:
            texts.update(NUMBER.findall(record.text))
    return sorted(text.decode() for text in texts)


def decimals_of(precision: int) -> st.SearchStrategy[list[str]]:
    """What an instrument of so many digits behind the dot may be quoted at, from 1 unit to the most that fits."""
    units = st.one_of(st.integers(0, 10**4), st.integers(0, 10**17), st.integers(0, 10 ** (28 + precision) - 1))
    return st.lists(units.map(lambda n: placed(n, precision)), min_size=1, max_size=20)


def placed(units: int, precision: int) -> str:
    digits = str(units).rjust(precision + 1, "0")
    return f"{digits[:-precision]}.{digits[-precision:]}" if precision else digits


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_decimal_of_any_instrument_comes_back_as_it_was_sent(
    table: asyncpg.Connection, data: st.DataObject
) -> None:
    """Of every precision up to the column's, alone and mixed in one batch."""
    precisions = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=4))
    texts = [text for precision in precisions for text in data.draw(decimals_of(precision))]
    assert await stored(table, texts) == (texts, [])


class Told(NamedTuple):
    """What a venue tells of one symbol: a quote and a trade."""

    bid: str
    bid_size: str
    ask: str
    ask_size: str
    price: str
    quantity: str


@st.composite
def told_by_venues(draw: st.DrawFn) -> list[Told]:
    """Each with digits of its own, as instruments have them; no price is zero, and no bid above its ask."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        digits, size_digits = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        most, size_most = 10 ** draw(st.integers(1, 17)), 10 ** draw(st.integers(1, 17))
        bid, ask = sorted(draw(st.tuples(st.integers(1, most), st.integers(1, most))))
        sizes = draw(st.tuples(*[st.integers(1, size_most)] * 3))
        bid_size, ask_size, quantity = (placed(size, size_digits) for size in sizes)
        found.append(Told(placed(bid, digits), bid_size, placed(ask, digits), ask_size, placed(ask, digits), quantity))
    return found


@given(told_by_venues())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_number_in_a_frame_is_stored_as_it_stood_there(database: Database, sent: list[Told]) -> None:
    """The tick's whole way: frame, dialect, rows, COPY; each quote with the last trade that was known."""
    spoken = dialect("binance", 10)
    spoken.discover()
    events: list[Any] = []
    for number, told in enumerate(sent, 1):
        quote = (
            f'"u":{number},"s":"BTCUSDT","b":"{told.bid}","B":"{told.bid_size}","a":"{told.ask}","A":"{told.ask_size}"'
        )
        trade = f'"e":"trade","s":"BTCUSDT","t":{number},"p":"{told.price}","q":"{told.quantity}","T":{NOW_MS},"m":true'
        for name, data in (("trade", trade), ("bookTicker", quote)):
            frame = f'{{"stream":"btcusdt@{name}","data":{{{data}}}}}'.encode()
            events += spoken.decode(frame, NOW_MS * 1_000_000 + number)
    quotes = [event for event in events if isinstance(event, Quote)]
    trades = [event for event in events if isinstance(event, Trade)]
    assert len(quotes) == len(trades) == len(sent)
    rows = TickRows([quotes[0].instrument])
    batches = {"tick_data": rows.quotes(quotes, [trade.text for trade in trades]), "public_trades": rows.trades(trades)}
    assert not any(batch.rejects for batch in batches.values())
    records = [
        JournalRecord(n, f"{table}:binance:x", batch.rows, batch.first_ns, batch.last_ns, batch.payload)
        for n, (table, batch) in enumerate(batches.items(), 1)
    ]
    store, journal = CopyTickStore(database.dsn, 30.0), str(uuid4())
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("TRUNCATE tick_data, public_trades")
    await store.cursor(journal)
    assert await store.store(journal, records) == 0
    columns = "bid::text, bid_size::text, ask::text, ask_size::text, last_price::text, last_volume::text"
    found = await connection.fetch(f"SELECT {columns} FROM tick_data ORDER BY sequence")
    assert [Told(*row) for row in found] == sent
    found = await connection.fetch("SELECT price::text, quantity::text FROM public_trades ORDER BY trade_id::int")
    assert [tuple(row) for row in found] == [(told.price, told.quantity) for told in sent]
    await store.close()
    await connection.close()


@given(st.lists(st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,30})?", fullmatch=True), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_what_does_not_fit_is_named_and_never_rounded(texts: list[str]) -> None:
    """28 digits before the dot and 20 behind it fit; the encoder decides by the text alone."""
    fits = [len(whole) <= 28 and len(fraction) <= 20 for whole, _, fraction in (text.partition(".") for text in texts)]
    assert Numerics(texts).bad == [n for n, fit in enumerate(fits) if not fit]
