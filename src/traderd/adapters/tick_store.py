"""Tick records → TimescaleDB: one binary COPY a table and the journal's cursor, in one transaction.

The cursor is moved first, and only from behind the first record: the row lock makes a second writer, or our own
lost transaction that is still running on the server, wait or fail. So a batch whose outcome nobody knows is never
written twice. Rows that the database refuses are found under savepoints, by the line that the server names or else by
halving, and quarantined with its words: about three COPYs each, and the other rows are stored.

One connection: a second or third COPY beside it costs the server the same 2.5 to 2.9 µs of CPU a row, which is less
than a tick costs the daemon: on two cores it is the daemon that bounds. Not used either is TimescaleDB's COPY straight
into the columnstore (enable_direct_compress_copy; measured on 2.30-dev, CPU a row of the COPY and of the compression
that both ways need later, since what it leaves is unordered): in transactions of 4 MiB 2.45 + 1.25 µs against 2.10 +
2.05 µs for rows, in those of 500 rows, which are the ordinary ones, 5.3 + 1.5 µs against 3.3 + 2.1 µs; 34 bytes a row
in the end either way.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from traderd.adapters.copy_columns import HEADER, TRAILER
from traderd.adapters.postgres import APP_ROLE, Reconnecting, translate
from traderd.adapters.tick_rows import BACKFILL, BACKFILLED, COLUMNS
from traderd.core.errors import StoreRefusedError, StoreUnavailableError
from traderd.runtime.ports import JournalRecord

_IDENTITY = {
    "tick_data": ("symbol", "time", "exchange", "sequence"),
    "public_trades": ("symbol", "time", "exchange", "trade_id"),
}
_DAY_NS = 86_400 * 10**9


class CopyTickStore:
    """A RecordStore over one connection; it reconnects by itself at the next call after a fault.

    With `careful` rows that are stored already are recognised by their identity and left out: slower, for replays.
    """

    def __init__(
        self,
        dsn: str,
        timeout_s: float,
        careful: bool = False,
        on_duplicates: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._database = Reconnecting(dsn, "traderd ticks", timeout_s, APP_ROLE)
        self._timeout_s = timeout_s
        self._careful = careful
        self._partitions: set[tuple[int, str, int]] = set()
        self._on_duplicates = on_duplicates
        self.duplicates = 0
        """Rows left out because they were stored already."""
        self.refused_in_doubt = 0
        self._position_in_doubt = self._duplicates_in_doubt = 0

    async def cursor(self, journal_id: str) -> int:
        """The position up to which the database has everything. Raises StoreUnavailableError."""
        async with self._database.use() as connection:
            position = await connection.fetchval(
                "INSERT INTO journal_cursors (journal_id, position) VALUES ($1, 0)"
                " ON CONFLICT (journal_id) DO UPDATE SET position = journal_cursors.position RETURNING position",
                journal_id,
            )
        if 0 < self._position_in_doubt <= position:  # it did commit
            self._count()
        return int(position)

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        """Write the records and move the cursor, both or neither; returns the rows refused one by one."""
        self._position_in_doubt, self.refused_in_doubt, self._duplicates_in_doubt = records[-1].position, 0, 0
        async with self._database.use() as connection:
            parts = _parts(records)
            await self._ensure_partitions(connection, records)
            try:
                await self._write(connection, journal_id, records, parts)
            except asyncpg.PostgresError as error:
                if not isinstance(translate(error), StoreRefusedError):
                    raise
                await self._write_around(connection, journal_id, records, parts)
        self._count()
        return self.refused_in_doubt

    async def forget(self, journal_id: str) -> None:
        """Drop the cursor of a journal that will never be read again."""
        async with self._database.use() as connection:
            await connection.execute("DELETE FROM journal_cursors WHERE journal_id = $1", journal_id)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._database.close()

    def _count(self) -> None:
        """The batch is in the database."""
        if self._duplicates_in_doubt:
            self.duplicates += self._duplicates_in_doubt
            self._on_duplicates(self._duplicates_in_doubt)
        self._position_in_doubt = self._duplicates_in_doubt = 0

    async def _write(
        self,
        connection: asyncpg.Connection,
        journal_id: str,
        records: Sequence[JournalRecord],
        parts: "dict[_Part, list[bytes]]",
    ) -> None:
        self._duplicates_in_doubt = 0
        async with connection.transaction():
            await _advance(connection, journal_id, records)
            for part, payloads in parts.items():
                if part.table in _IDENTITY and (self._careful or part.backfilled):
                    self._duplicates_in_doubt += await _copy_missing(connection, part, payloads, self._timeout_s)
                else:
                    await _copy(connection, part, part.table, payloads, self._timeout_s)

    async def _write_around(
        self,
        connection: asyncpg.Connection,
        journal_id: str,
        records: Sequence[JournalRecord],
        parts: "dict[_Part, list[bytes]]",
    ) -> None:
        self._duplicates_in_doubt = 0
        async with connection.transaction():
            await _advance(connection, journal_id, records)
            for part, payloads in parts.items():
                rows = [row for payload in payloads for row in split_rows(payload)]
                self.refused_in_doubt += await self._copy_around(connection, part, rows)

    async def _copy_around(self, connection: asyncpg.Connection, part: "_Part", rows: list[bytes]) -> int:
        """All but the rows that the database refuses; returns how many those are.

        Ends: each COPY that fails is followed by a shorter one. None of them takes the others' time, so that a batch
        that is bad throughout gets through as well.
        """
        refused = at = since = 0
        size, suspected = len(rows), False
        while at < len(rows):
            tried = rows[at : at + size]
            error = await self._try(connection, part, tried)
            self._database.go_on()
            if error is None:
                at, since = at + len(tried), since + len(tried)
                size, suspected = (1 if suspected else 2 * size), False
            elif len(tried) == 1:
                await _quarantine(connection, part.table, tried[0], str(error))
                refused, at = refused + 1, at + 1
                size, since, suspected = max(1, 2 * since), 0, False
            else:
                before = _rows_before_fault(error)
                named = 0 <= before < len(tried)
                size, suspected = (before or 1) if named else len(tried) // 2, named and before > 0
        return refused

    async def _try(self, connection: asyncpg.Connection, part: "_Part", rows: list[bytes]) -> BaseException | None:
        """COPY them; the fault, where it is the rows'."""
        refused: BaseException | None = None
        try:
            async with connection.transaction():
                if part.table in _IDENTITY:
                    there = await _copy_missing(connection, part, [b"".join(rows)], self._timeout_s)
                    self._duplicates_in_doubt += there
                else:
                    await _copy(connection, part, part.table, [b"".join(rows)], self._timeout_s)
        except asyncpg.PostgresError as error:
            if not isinstance(translate(error), StoreRefusedError):
                raise
            refused = error
        return refused

    async def _ensure_partitions(self, connection: asyncpg.Connection, records: Sequence[JournalRecord]) -> None:
        """The partitions that the rows need are there; asked once a day, table and connection."""
        opened = self._database.connected
        for record in records:
            table = record.label.partition(":")[0]
            days = {
                (opened, table, day) for day in range(record.first_ns // _DAY_NS, record.last_ns // _DAY_NS + 1)
            } - self._partitions
            if days:
                first, last = _time(record.first_ns // _DAY_NS), _time(record.last_ns // _DAY_NS + 1)
                await connection.execute("SELECT ensure_partitions($1::text::regclass, $2, $3)", table, first, last)
                self._partitions |= days


async def _advance(connection: asyncpg.Connection, journal_id: str, records: Sequence[JournalRecord]) -> None:
    """Move the cursor behind the last record, if it stands before the first one."""
    moved = await connection.execute(
        "UPDATE journal_cursors SET position = $3, updated_at = now() WHERE journal_id = $1 AND position < $2",
        journal_id,
        records[0].position,
        records[-1].position,
    )
    if moved != "UPDATE 1":
        raise StoreUnavailableError("the journal's cursor has moved: an earlier transaction did commit")


async def _copy(
    connection: asyncpg.Connection, part: "_Part", into: str, payloads: Sequence[bytes], timeout_s: float
) -> None:
    # In one piece: each one's way would be a turn of the loop or two. Bytes would be taken for a path.
    rows = memoryview(b"".join((HEADER, *payloads, TRAILER)))
    await connection.copy_to_table(into, source=rows, columns=part.columns, format="binary", timeout=timeout_s)


async def _copy_missing(
    connection: asyncpg.Connection, part: "_Part", payloads: Sequence[bytes], timeout_s: float
) -> int:
    """COPY into a staging table and insert what isn't there yet; returns how many rows were there."""
    table = part.table
    await connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS staging_{table} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        f" ON COMMIT DROP;"
        f"TRUNCATE staging_{table}"
    )
    await _copy(connection, part, f"staging_{table}", payloads, timeout_s)
    identity = ", ".join(_IDENTITY[table])
    same = " AND ".join(f"stored.{column} = fresh.{column}" for column in _IDENTITY[table])
    columns = ", ".join(part.columns)
    total = await connection.fetchval(f"SELECT count(*) FROM staging_{table}")
    inserted = await connection.execute(
        f"INSERT INTO {table} ({columns}) SELECT DISTINCT ON ({identity}) {columns} FROM staging_{table} fresh"
        f" WHERE NOT EXISTS (SELECT FROM {table} stored WHERE {same})"
    )
    return int(total) - int(inserted.rpartition(" ")[2])


def _rows_before_fault(error: BaseException) -> int:
    """As the server tells it, in its English: `COPY tick_data, line 17, column bid`. -1 where it doesn't."""
    told = re.match(r"COPY \S+, line (\d+)", getattr(error, "context", None) or "")
    return int(told[1]) - 1 if told else -1


async def _quarantine(connection: asyncpg.Connection, table: str, row: bytes, reason: str) -> None:
    await connection.execute("SELECT ensure_partitions('quarantine', now(), now())")
    await connection.execute(
        "INSERT INTO quarantine (time, exchange, channel, reason, payload) VALUES (now(), '', $1, $2, $3)",
        table,
        reason,
        row.hex(),
    )


def split_rows(payload: bytes) -> list[bytes]:
    """COPY tuples, one by one."""
    rows, at = [], 0
    while at < len(payload):
        start = at
        fields = int.from_bytes(payload[at : at + 2], "big")
        at += 2
        for _ in range(fields):
            length = int.from_bytes(payload[at : at + 4], "big", signed=True)
            at += 4 + max(length, 0)
        rows.append(payload[start:at])
    return rows


class _Part(NamedTuple):
    """What is written by one COPY."""

    table: str
    backfilled: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return BACKFILLED if self.backfilled else COLUMNS[self.table]


def _parts(records: Sequence[JournalRecord]) -> dict[_Part, list[bytes]]:
    """The records' payloads by what they are; the label says it: `tick_data:binance:quote`."""
    parts: dict[_Part, list[bytes]] = defaultdict(list)
    for record in records:
        if record.rows:
            table, _, stream = record.label.partition(":")
            parts[_Part(table, table == "public_trades" and stream.endswith(f":{BACKFILL}"))].append(record.payload)
    return parts


def _time(day: int) -> datetime:
    return datetime.fromtimestamp(day * 86_400, UTC)
