"""The audit log: an operator's acts are signed and recorded, and its chain of hashes is verified from outside.

The database appends and chains the rows (sql/always/0007_audit.sql). The hashes are computed here again from the
stored columns alone, so that a function which somebody changed in the database can't vouch for itself. Whoever rules
the server could still rewrite the whole chain: against that, keep the head that `verify` reports elsewhere, and give it
the next time. Refuses nothing, repairs nothing: it tells.
"""

import hashlib
import json
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

_GENESIS: Final = bytes(32)
_FETCH: Final = 2_000
_ROWS: Final = """
    SELECT sequence, format, id::text, (extract(epoch FROM time) * 1000000)::bigint AS time_us, user_id::text, action,
           resource_type, resource_id, old_values::text, new_values::text, ip_address::text, user_agent, session_id,
           metadata::text, previous_hash, hash
    FROM audit_logs ORDER BY sequence"""
_LIST: Final = """
    SELECT a.sequence, a.time, coalesce(u.username, a.user_id::text) AS username, a.action, a.resource_type,
           a.resource_id, a.old_values, a.new_values, a.metadata
    FROM audit_logs a LEFT JOIN users u ON u.id = a.user_id
    WHERE ($1::timestamptz IS NULL OR a.time >= $1) AND ($2::text IS NULL OR a.action = $2)
    ORDER BY a.sequence"""


class Head(Struct, frozen=True):
    """The end of the chain: the number of its last row, and that row's hash in hexadecimal."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


class Verdict(Struct, frozen=True):
    """What was found. `broken_at` is the number of the first row that isn't as it was written, None where all are."""

    rows: int
    head: Head
    broken_at: int | None = None
    reason: str = ""


class Entry(Struct, frozen=True):
    """One row for people. `username` is the user's number where the account is gone, None where nobody acted."""

    sequence: int
    time: datetime
    username: str | None
    action: str
    resource_type: str
    resource_id: str | None
    old_values: Any
    new_values: Any
    metadata: Any


async def sign(connection: asyncpg.Connection, command: str) -> None:
    """From now on, every audit row of this connection names the operator: account and host, and the command."""
    operator = json.dumps({"account": _account(), "host": socket.gethostname(), "command": command})
    await connection.execute("SELECT set_config('app.operator', $1, false)", operator)


async def record(
    connection: asyncpg.Connection,
    action: str,
    resource_type: str,
    resource_id: str | None = None,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Append one row about an operator's act, in the caller's transaction; the operator is named in its metadata.

    For acts that no trigger sees. Nothing personal and no secret may be in it: it can't be erased.
    """
    operator = {"account": _account(), "host": socket.gethostname()}
    await connection.execute(
        "INSERT INTO audit_logs (action, resource_type, resource_id, old_values, new_values, metadata)"
        " VALUES ($1, $2, $3, $4::jsonb, $5::jsonb, $6::jsonb)",
        action,
        resource_type,
        resource_id,
        *(None if value is None else msgspec.json.encode(value).decode() for value in (old, new)),
        msgspec.json.encode({"operator": operator, **(metadata or {})}).decode(),
    )


async def verify(
    connection: asyncpg.Connection, expect: Head | None = None, progress: Callable[[int], None] = lambda rows: None
) -> Verdict:
    """Read the chain from its first row, in one snapshot, up to the first that is altered, missing or inserted.

    `expect` is a head from before: the chain must still pass through it. `progress` hears of each lot of rows.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        end = await chain_end(connection)
        last = Head(0, _GENESIS.hex())
        lot = 0
        async for row in connection.cursor(_ROWS, prefetch=_FETCH):
            reason = _fault(row, last, expect, end)
            if reason:
                return Verdict(last.sequence, last, min(row["sequence"], last.sequence + 1), reason)
            last = Head(row["sequence"], row["hash"].hex())
            lot += 1
            if lot == _FETCH:
                progress(lot)
                lot = 0
        progress(lot)
    return _at_end(last, end, expect)


async def chain_end(connection: asyncpg.Connection) -> Head | None:
    """Where the database says that the chain ends; None where that is gone."""
    row = await connection.fetchrow("SELECT sequence, hash FROM audit_chain")
    return None if row is None else Head(row["sequence"], row["hash"].hex())


async def note_broken(connection: asyncpg.Connection, verdict: Verdict) -> None:
    """Leave a security event about a chain that isn't whole."""
    details = msgspec.json.encode({"broken_at": verdict.broken_at, "reason": verdict.reason}).decode()
    await connection.execute(
        "SELECT note_security_event('audit_chain_broken', 'critical', details => $1::text::jsonb)", details
    )


async def entries(
    connection: asyncpg.Connection, since: datetime | None = None, action: str | None = None
) -> AsyncIterator[Entry]:
    """The log in its order, however long it is."""
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(_LIST, since, action, prefetch=_FETCH):
            values = dict(row)
            for name in ("old_values", "new_values", "metadata"):
                values[name] = None if values[name] is None else json.loads(values[name])
            yield Entry(**values)


def _fault(row: asyncpg.Record, last: Head, expect: Head | None, end: Head | None) -> str:
    """Why this row can't be the next one of the chain; empty where it can."""
    return _misplaced(row["sequence"], last.sequence + 1, end) or _untrue(row, last, expect)


def _misplaced(sequence: int, due: int, end: Head | None) -> str:
    if sequence < due:
        return f"row {sequence} was inserted before the first"
    if sequence > due:
        return f"row {due} is missing" if sequence == due + 1 else f"rows {due} to {sequence - 1} are missing"
    if end is not None and sequence > end.sequence:
        return f"row {sequence} was inserted: the chain ends at {end.sequence}"
    return ""


def _untrue(row: asyncpg.Record, last: Head, expect: Head | None) -> str:
    sequence = row["sequence"]
    if row["hash"] != _hash(row):
        return f"row {sequence} was altered or moved: its hash isn't that of what it says"
    if row["previous_hash"].hex() != last.hash:
        return f"row {sequence} doesn't follow row {last.sequence}: one of them was replaced"
    if expect is not None and sequence == expect.sequence and row["hash"].hex() != expect.hash:
        return f"row {sequence} isn't the one that was expected: the chain was rewritten"
    return ""


def _at_end(last: Head, end: Head | None, expect: Head | None) -> Verdict:
    """After the last row, which fits all before it."""
    if end is None:
        return Verdict(last.sequence, last, last.sequence + 1, "the end of the chain is gone from audit_chain")
    if last.sequence < end.sequence:
        return Verdict(
            last.sequence, last, last.sequence + 1, f"rows from {last.sequence + 1} to {end.sequence} are missing"
        )
    if last != end:
        return Verdict(
            last.sequence, last, last.sequence, f"row {last.sequence} isn't the one with which the chain ends"
        )
    if expect is not None and expect.sequence > last.sequence:
        return Verdict(
            last.sequence, last, last.sequence + 1, f"rows from {last.sequence + 1} to {expect.sequence} are missing"
        )
    return Verdict(last.sequence, last)


def _hash(row: asyncpg.Record) -> bytes:
    """By the row's format; of one that this program doesn't know, nothing that a row could have."""
    if row["format"] != 1:
        return b""
    return hashlib.sha256(row["previous_hash"] + _text(row).encode()).digest()


def _text(row: asyncpg.Record) -> str:
    """As PostgreSQL writes an array in jsonb: audit_text() in sql/always/0007_audit.sql."""
    stored = (row["old_values"], row["new_values"], row["metadata"])
    old_values, new_values, metadata = ("null" if value is None else value for value in stored)
    return "[" + ", ".join((
        str(row["format"]), str(row["sequence"]), _quoted(row["id"]), str(row["time_us"]), _quoted(row["user_id"]),
        _quoted(row["action"]), _quoted(row["resource_type"]), _quoted(row["resource_id"]), old_values, new_values,
        _quoted(row["ip_address"]), _quoted(row["user_agent"]), _quoted(row["session_id"]), metadata,
    )) + "]"  # fmt: skip


def _quoted(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def _account() -> str:
    """The operating system's account; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
