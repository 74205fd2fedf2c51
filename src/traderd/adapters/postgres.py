"""Connections to PostgreSQL, and what its faults mean to us.

A fault is either the rows' own (StoreRefusedError: repeating them will not help) or everything else
(StoreUnavailableError: the rows are good, the database isn't ready for them). When in doubt it is the second: rows that
wait in the journal are not lost. Refuses to wait without end, and never shows a password. Retries are the caller's.
"""

import re
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
