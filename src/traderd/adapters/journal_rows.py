"""What a journal's records hold, as rows that a person or a program can read.

Tick records are rows of PostgreSQL's binary COPY (see `copy_columns`), facts are JSON lines. Refuses to interpret what
it doesn't know: that is shown as hexadecimal digits.
"""

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from traderd.adapters.tick_rows import BACKFILL, BACKFILLED, COLUMNS
from traderd.runtime.ports import JournalRecord

Row = dict[str, Any]

_EPOCH_US = 946_684_800_000_000
"""2000-01-01, PostgreSQL's own epoch."""
_FACT_TIMES = ("time_ns", "open_time_ns", "updated_ns", "from_ns", "triggered_ns")
_NUMERIC_HEAD = struct.Struct(">hhhh")


def rows_of(record: JournalRecord) -> Iterator[Row]:
    """Its rows, in the order in which they stand."""
    table, _, stream = record.label.partition(":")
    if record.label == "facts":
        yield from (orjson.loads(line) for line in record.payload.split(b"\n") if line)
    elif table in COLUMNS:
        yield from copied_rows(BACKFILLED if stream.endswith(f":{BACKFILL}") else COLUMNS[table], record.payload)
    else:
        yield {"payload": record.payload.hex()}


def time_of_row(row: Row) -> int | None:
    """When it was, in nanoseconds; None where the row doesn't say."""
    if "time" in row:
        return int(datetime.fromisoformat(row["time"]).timestamp() * 1_000_000) * 1_000
    return next((row[name] for name in _FACT_TIMES if row.get(name)), None)


def copied_rows(columns: tuple[str, ...], payload: bytes) -> Iterator[Row]:
    """COPY tuples as values by column: numbers as the text that PostgreSQL would print, times in UTC."""
    at = 0
    while at < len(payload):
        fields = int.from_bytes(payload[at : at + 2], "big")
        at += 2
        values = []
        for _ in range(fields):
            length = int.from_bytes(payload[at : at + 4], "big", signed=True)
            at += 4
            values.append(None if length < 0 else payload[at : at + length])
            at += max(length, 0)
        yield {
            column: None if value is None else _READERS[column](value)
            for column, value in zip(columns, values, strict=True)
        }


def numeric_text(value: bytes) -> str:
    """NUMERIC in binary → its decimal text, to the last digit."""
    count, weight, sign, scale = _NUMERIC_HEAD.unpack_from(value)
    digits = struct.unpack_from(f">{count}h", value, _NUMERIC_HEAD.size)
    places = {weight - number: digit for number, digit in enumerate(digits)}
    whole = "".join(f"{places.get(place, 0):04d}" for place in range(max(weight, 0), -1, -1)).lstrip("0") or "0"
    groups = -(-scale // 4)
    fraction = "".join(f"{places.get(-1 - place, 0):04d}" for place in range(groups))[:scale]
    return ("-" if sign else "") + whole + (f".{fraction}" if fraction else "")


def _time(value: bytes) -> str:
    us = int.from_bytes(value, "big", signed=True) + _EPOCH_US
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000).isoformat()


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


_READERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("time", "time_venue", "time_received"), _time),
    **dict.fromkeys(("symbol", "exchange", "trade_id", "side", "channel", "reason", "payload"), _text),
    **dict.fromkeys(
        ("bid", "ask", "bid_size", "ask_size", "last_price", "last_volume", "price", "quantity"), numeric_text
    ),
    **dict.fromkeys(("sequence", "flags"), _integer),
    "backfilled": any,
}
