"""What a venue sends is what a NUMERIC holds, to the last digit: each number of the captures, and any decimal."""

import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database
from traderd.adapters.capture import Capture
from traderd.adapters.copy_columns import HEADER, TRAILER, BigInts, Numerics, encode_rows

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
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


@given(st.lists(st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,30})?", fullmatch=True), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_what_does_not_fit_is_named_and_never_rounded(texts: list[str]) -> None:
    """28 digits before the dot and 20 behind it fit; the encoder decides by the text alone."""
    fits = [len(whole) <= 28 and len(fraction) <= 20 for whole, _, fraction in (text.partition(".") for text in texts)]
    assert Numerics(texts).bad == [n for n, fit in enumerate(fits) if not fit]
