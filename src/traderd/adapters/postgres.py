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

APP_ROLE: Final = "traderd_app"
"""What the daemon runs as: it reads and writes rows, and changes neither tables nor the audit log."""
DAEMON_USER: Final = "traderd"
"""The built-in account, which owns what is traded where nobody else is named."""

_BECOME: Final = """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('traderd.role')
                   AND pg_has_role(current_user, oid, CASE WHEN current_setting('server_version_num')::integer >= 160000
                                                      THEN 'SET' ELSE 'MEMBER' END)) THEN
            PERFORM set_config('role', current_setting('traderd.role'), false);
        END IF;
        IF current_setting('traderd.acts_as') <> '' AND to_regproc('act_as') IS NOT NULL THEN
            PERFORM act_as(current_setting('traderd.acts_as'));
        END IF;
    END $$"""
"""The names come as settings of the connection, so that one round trip does both, and nothing is quoted."""


async def connect(
    dsn: str, name: str = "traderd", timeout_s: float = 30.0, role: str | None = None, acts_as: str | None = None
) -> asyncpg.Connection:
    """Open one connection in UTC on which no statement lasts longer than `timeout_s` (0: without a limit).

    The server ends a late statement; when the server itself is silent, we do, two seconds later. With `role` it has
    that role's rights, where the role exists and the login role may take it; with `acts_as` (a username) the rows
    that it writes belong to that user, once the schema knows users. Raises TraderdError.
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
    becomes = role is not None or acts_as is not None
    if becomes:
        settings |= {"traderd.role": role or "", "traderd.acts_as": acts_as or ""}
    limit = timeout_s + 2 if timeout_s else None
    try:
        connection = await asyncpg.connect(
            dsn, timeout=min(limit or 10.0, 10.0), command_timeout=limit, server_settings=settings
        )
        if becomes:
            await _become(connection)
    except Exception as error:
        translated = translate(error)
        if translated is None:
            raise
        raise type(translated)(f"{redact(dsn)}: {translated}") from error
    return connection


class Reconnecting:
    """One connection for one caller at a time: opened when needed, bounded in time, dropped after any fault."""

    def __init__(
        self, dsn: str, name: str, timeout_s: float, role: str | None = None, acts_as: str | None = None
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._timeout_s = timeout_s
        self._role = role
        self._acts_as = acts_as
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
                        self._connection = await connect(
                            self._dsn, self._name, self._timeout_s, self._role, self._acts_as
                        )
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


async def _become(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute(_BECOME)
    except BaseException:
        connection.terminate()
        raise


def _rows_at_fault(error: asyncpg.PostgresError) -> bool:
    """A row for which there is no partition isn't at fault: that is a check violation which names no constraint."""
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return False
    return (error.sqlstate or "")[:2] in _ROWS_AT_FAULT


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
