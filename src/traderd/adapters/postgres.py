"""Connections to PostgreSQL, and what its faults mean to us.

A fault is either the rows' own (StoreRefusedError: repeating them will not help) or everything else
(StoreUnavailableError: the rows are good, the database isn't ready for them). When in doubt it is the second: rows that
wait in the journal are not lost. Refuses to wait without end, and never shows a password. Retries are the caller's.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from traderd.core.errors import StoreRefusedError, StoreUnavailableError, TraderdError

_ROWS_AT_FAULT: Final = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


async def connect(dsn: str, name: str = "traderd", timeout_s: float = 30.0) -> asyncpg.Connection:
    """Open one connection in UTC on which no statement lasts longer than `timeout_s` (0: without a limit).

    The server ends a late statement; when the server itself is silent, we do, two seconds later. Raises TraderdError.
    """
    settings = {
        "application_name": name,
        "timezone": "UTC",
        "jit": "off",
        "statement_timeout": str(int(timeout_s * 1000)),
        "idle_in_transaction_session_timeout": "60000",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    limit = timeout_s + 2 if timeout_s else None
    try:
        return await asyncpg.connect(
            dsn, timeout=min(limit or 10.0, 10.0), command_timeout=limit, server_settings=settings
        )
    except Exception as error:
        translated = translate(error)
        if translated is None:
            raise
        raise type(translated)(f"{redact(dsn)}: {translated}") from error


class Reconnecting:
    """One connection for one caller at a time: opened when needed, bounded in time, dropped after any fault."""

    def __init__(self, dsn: str, name: str, timeout_s: float) -> None:
        self._dsn = dsn
        self._name = name
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self.connected = 0
        """How many times it was opened: what a session knew is gone with it."""

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection, for one piece of work. Raises TraderdError in place of the database's own faults."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self._timeout_s):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(self._dsn, self._name, self._timeout_s)
                        self.connected += 1
                    yield self._connection
            except BaseException as error:
                await self.close()
                translated = translate(error)
                if translated is None:
                    raise
                raise translated from error

    async def close(self) -> None:
        """Close it, if it is open."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def translate(error: BaseException) -> TraderdError | None:
    """The fault in our words, or None where it isn't the database's: then it is our mistake, or a cancellation."""
    if isinstance(error, TraderdError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        words = _one_line(error)
        return StoreRefusedError(words) if _rows_at_fault(error) else StoreUnavailableError(words)
    if isinstance(error, TimeoutError):
        return StoreUnavailableError("no answer from the database in time")
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        return StoreUnavailableError(_one_line(error))
    return None


def redact(dsn: str) -> str:
    """The DSN without its passwords, fit for a log line."""
    without = re.sub(r"^(\w+://[^:@/?]*):.*@", r"\1:***@", dsn, flags=re.DOTALL)
    return re.sub(r"(password=)('[^']*'|[^&\s]*)", r"\1***", without)


def _rows_at_fault(error: asyncpg.PostgresError) -> bool:
    """A row for which there is no partition isn't at fault: that is a check violation which names no constraint."""
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return False
    return (error.sqlstate or "")[:2] in _ROWS_AT_FAULT


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
