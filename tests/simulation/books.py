"""What the database must say of itself after any run, and what a journal says that it must hold."""

import shutil
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import asyncpg

from traderd.adapters.journal import FileJournal
from traderd.adapters.tick_rows import COLUMNS
from traderd.adapters.tick_store import split_rows
from traderd.core.facts import Execution, Order, decode_fact
from traderd.runtime.ports import JournalRecord

Identity = tuple[str, str, str, int, str]
"""Table, exchange, symbol, microseconds since 2000 as PostgreSQL counts, and the sequence or trade id."""
_LAST_FIELD = {"tick_data": "sequence", "public_trades": "trade_id"}
_EPOCH_S = 946_684_800


def journalled(folder: Path, aside: Path) -> Counter[Identity]:
    """Every tick that a journal folder holds, read from a copy: whoever died on it may go on with the original."""
    found: Counter[Identity] = Counter()
    if not any(folder.glob("*.seg")):  # killed before there was a journal, or before it had begun a segment
        return found
    for record in _records(folder, aside):
        found.update(_identities(record))
    return found


def expect_intents_first(folder: Path, aside: Path) -> int:
    """In the fact journal every fill stands behind its order's pending record; returns how many fills.

    What is sent is on the disk before it is sent.
    """
    pending: dict[str, int] = {}
    fills = 0
    for record in _records(folder, aside):
        for line in record.payload.splitlines():
            fact = decode_fact(line)
            if isinstance(fact, Order) and fact.status == "pending":
                assert fact.client_order_id not in pending, "an order was sent twice"
                pending[fact.client_order_id] = record.position
            elif isinstance(fact, Execution):
                assert pending[fact.client_order_id] < record.position
                fills += 1
    return fills


async def stored(dsn: str) -> Counter[Identity]:
    """Every tick that the database holds."""
    connection = await asyncpg.connect(dsn)
    found: Counter[Identity] = Counter()
    for table, last in _LAST_FIELD.items():
        rows = await connection.fetch(
            f"SELECT exchange, symbol, ((extract(epoch FROM time) - {_EPOCH_S}) * 1000000)::bigint, {last}::text"
            f" FROM {table}"
        )
        found.update((table, *row) for row in rows)
    await connection.close()
    return found


async def counted(dsn: str) -> dict[str, int]:
    """Rows of the tick journal's tables."""
    connection = await asyncpg.connect(dsn)
    tables = ("tick_data", "public_trades", "quarantine")
    counts = {table: int(await connection.fetchval(f"SELECT count(*) FROM {table}")) for table in tables}
    await connection.close()
    return counts


async def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """The answer to one question."""
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def expect_sound_books(dsn: str, portfolio: str = "paper") -> int:
    """Positions, cash, orders and equity agree with the executions, to the last digit; returns how many those are."""
    connection = await asyncpg.connect(dsn)
    with localcontext() as exact:
        exact.prec = 60
        fills = await connection.fetch("SELECT * FROM executions ORDER BY time")
        await _expect_positions(connection, fills)
        await _expect_cash(connection, fills, portfolio)
        await _expect_orders(connection)
    await connection.close()
    return len(fills)


async def _expect_positions(connection: asyncpg.Connection, fills: Iterable[asyncpg.Record]) -> None:
    held: dict[str, Decimal] = {}
    realized: dict[str, Decimal] = {}
    for fill in fills:
        held[fill["symbol"]] = held.get(fill["symbol"], Decimal(0)) + _signed(fill)
    for trade in await connection.fetch("SELECT symbol, realized_pnl FROM trades"):
        realized[trade["symbol"]] = realized.get(trade["symbol"], Decimal(0)) + trade["realized_pnl"]
    positions = await connection.fetch("SELECT * FROM positions")
    assert {row["symbol"]: row["quantity"] for row in positions} == held
    assert {row["symbol"]: row["realized_pnl"] for row in positions} == realized


async def _expect_cash(connection: asyncpg.Connection, fills: list[asyncpg.Record], portfolio: str) -> None:
    """Cash = what there was - what was paid + what was got - fees, in the portfolio and in its newest equity row."""
    owner = await connection.fetchrow("SELECT * FROM portfolios WHERE name = $1", portfolio)
    fees = sum((fill["commission"] for fill in fills), Decimal(0))
    cash = owner["initial_balance"] - sum((_signed(fill) * fill["price"] for fill in fills), Decimal(0)) - fees
    assert owner["cash_balance"] == cash
    assert owner["fees"] == fees
    newest = await connection.fetchrow(
        "SELECT * FROM equity_history WHERE portfolio_id = $1 ORDER BY time DESC LIMIT 1", owner["id"]
    )
    assert newest["cash_balance"] == cash
    assert newest["equity_value"] == newest["cash_balance"] + newest["positions_value"]
    assert newest["drawdown"] == max(Decimal(0), newest["peak_equity"] - newest["equity_value"])
    gained = newest["realized_pnl"] + newest["unrealized_pnl"]
    # A restored position's cost comes back from its average price: exact to far below a cent, not to the last digit.
    assert abs(newest["equity_value"] - owner["initial_balance"] - gained) < Decimal("1e-9")


async def _expect_orders(connection: asyncpg.Connection) -> None:
    """Every fill has its order, every order its signal, and no order more than was asked for."""
    assert not await connection.fetch("SELECT execution_key FROM executions WHERE order_id IS NULL")
    assert not await connection.fetch("SELECT client_order_id FROM orders WHERE signal_id IS NULL")
    assert not await connection.fetch(
        "SELECT o.client_order_id FROM orders o LEFT JOIN executions e ON e.order_id = o.id GROUP BY o.id"
        " HAVING o.filled_quantity <> coalesce(sum(e.quantity), 0) OR o.filled_quantity > o.quantity"
        " OR o.commission <> coalesce(sum(e.commission), 0)"
    )
    assert not await connection.fetch(
        "SELECT FROM executions e JOIN orders o ON o.id = e.order_id WHERE e.time < o.created_at"
    )


def _signed(fill: asyncpg.Record) -> Decimal:
    return Decimal(fill["quantity"] if fill["side"] == "buy" else -fill["quantity"])


def _records(folder: Path, aside: Path) -> Iterator[JournalRecord]:
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(folder, aside)
    journal = FileJournal(aside, 2**30, 2**40)
    after = 0
    while records := journal.read(after, 2**22):
        after = records[-1].position
        yield from records
    journal.close()


def _identities(record: JournalRecord) -> Iterable[Identity]:
    table, exchange, _ = record.label.split(":")
    if table not in _LAST_FIELD:
        return
    columns = COLUMNS[table]
    for row in split_rows(record.payload):
        fields = dict(zip(columns, _fields(row), strict=True))
        (time_us,) = struct.unpack(">q", fields["time"])
        last = fields[_LAST_FIELD[table]]
        text = last.decode() if table == "public_trades" else str(int.from_bytes(last, "big", signed=True))
        assert fields["exchange"].decode() == exchange
        yield table, exchange, fields["symbol"].decode(), time_us, text


def _fields(row: bytes) -> list[bytes]:
    """The values of one COPY tuple; NULL as b""."""
    fields, at = [], 2
    while at < len(row):
        length = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        fields.append(row[at : at + max(0, length)])
        at += max(0, length)
    return fields
