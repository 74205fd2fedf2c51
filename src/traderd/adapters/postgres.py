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

from traderd.adapters.postgres_session import POOLED_SQLSTATE, PooledConnection, Session, is_pooled
from traderd.config.addresses import AddressError, hosts_of, resolved
from traderd.core.errors import StoreRefusedError, StoreUnavailableError, TraderdError

_ROWS_AT_FAULT: Final = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""
_TOO_LARGE: Final = "54000"
"""program_limit_exceeded: a text too long for its index."""

APP_ROLE: Final = "traderd_app"
"""What the daemon runs as: it reads and writes rows, and changes neither tables nor the audit log."""
DAEMON_USER: Final = "traderd"
"""The built-in account, which owns what is traded where nobody else is named."""

_SILENT: Final = "no answer from the database in time"
_CONNECT_S_MAX: Final = 10.0
"""How long all of a DSN's hosts together may take to answer."""


async def connect(
    dsn: str,
    name: str = "traderd",
    timeout_s: float = 30.0,
    role: str | None = None,
    acts_as: str | None = None,
    pooled: bool = False,
    instance: str = "",
) -> asyncpg.Connection:
    """Open one connection in UTC on which no statement lasts longer than `timeout_s` (0: without a limit).

    The server ends a late statement; when the server itself is silent, we do, two seconds later. With `role` it has
    that role's rights, where the role exists and the login role may take it; with `acts_as` (a username) the rows
    that it writes belong to that user, once the schema knows users, and with `instance` to that daemon of several.

    `dsn` may also be a reference (`credential:NAME` and the like): it is read anew each time, so that a password may
    be changed. Of several hosts the first is taken that answers and, for the daemon or of several, takes writes. A
    pooler gives only a PooledConnection, and only to who can do with that (`pooled`). Raises TraderdError.
    """
    try:
        hosts = hosts_of(resolved(dsn))
    except (AddressError, ValueError) as error:
        raise StoreUnavailableError(str(error)) from error
    session = Session(name, timeout_s, role, acts_as, role is not None or len(hosts) > 1, instance)
    # A host that has frozen leaves enough of the time for the others, and for the work.
    allowed_s = min(timeout_s + 2 if timeout_s else _CONNECT_S_MAX, _CONNECT_S_MAX)
    allowed_s = min(allowed_s, timeout_s or allowed_s) / (len(hosts) + 1) if len(hosts) > 1 else allowed_s
    faults: list[str] = []
    for host in hosts:
        try:
            return await _connect_to(host, session, allowed_s, pooled)
        except Exception as error:
            translated = translate(error)
            if translated is None:
                raise
            faults.append(f"{redact(host)}: {translated}")
    raise StoreUnavailableError("; ".join(faults))


class Reconnecting:
    """One connection for one caller at a time: opened when needed, bounded in time, dropped after any fault.

    Through a pooler each piece of work is one transaction, and a transaction within it a savepoint: settings, role and
    user hold for that transaction alone, prepared statements aren't kept, and nothing of ours stays in a session.
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        timeout_s: float,
        role: str | None = None,
        acts_as: str | None = None,
        instance: str = "",
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._timeout_s = timeout_s
        self._role = role
        self._acts_as = acts_as
        self._instance = instance
        self._session = Session(name, timeout_s, role, acts_as, True, instance)
        self._connection: asyncpg.Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._deadline: asyncio.Timeout | None = None
        self._hang_up: asyncio.TimerHandle | None = None
        self._late = False
        self.connected = 0
        """How many times it was opened: what a session knew is gone with it."""

    @asynccontextmanager
    async def use(self, isolation: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        """The connection, for one piece of work. Raises TraderdError in place of the database's own faults.

        With `isolation` (such as `repeatable_read`) the piece is one transaction at that level.

        After `timeout_s` the piece is over, whatever the driver still waits for: a server that has frozen in the
        middle of a COPY or of a commit hears no ROLLBACK, so the connection is cut before anything is said on it.
        """
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(None) as self._deadline:
                    self.go_on()
                    connection = await self._opened()
                    if isolation is None and not is_pooled(connection):
                        yield connection
                        return
                    async with connection.transaction(isolation=isolation):
                        if is_pooled(connection):
                            await connection.execute(self._session.preamble())
                        yield connection
            except BaseException as error:
                translated = translate(error)
                if translated is None and _is_cut_off(error, self._connection):
                    translated = StoreUnavailableError("the connection was cut")
                await self.close()
                if translated is None:
                    raise
                raise (StoreUnavailableError(_SILENT) if self._late else translated) from error
            finally:
                self._end()

    def go_on(self) -> None:
        """The piece of work has come a step further, and has all its time again."""
        assert self._deadline is not None
        if self._late:
            return
        loop = asyncio.get_running_loop()
        if self._hang_up is not None:
            self._hang_up.cancel()
        # In this order: what the time-out cancels finds the connection gone, and waits for nothing.
        self._hang_up = loop.call_later(self._timeout_s, self._cut)
        self._deadline.reschedule(loop.time() + self._timeout_s + 0.001)

    def _end(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
        self._late = False

    async def _opened(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._dsn, self._name, self._timeout_s, self._role, self._acts_as, True, self._instance
            )
            self.connected += 1
        return self._connection

    def _cut(self) -> None:
        self._late = True
        if self._connection is not None:
            self._connection.terminate()

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
        return StoreUnavailableError(_SILENT)
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        return StoreUnavailableError(_one_line(error))
    return None


def _is_cut_off(error: BaseException, connection: asyncpg.Connection | None) -> bool:
    """Whether the driver tripped over a connection that we cut between two of its steps: it then finds nobody there."""
    gone = connection is not None and connection.is_closed()
    return gone and isinstance(error, AttributeError) and error.obj is None


def redact(dsn: str) -> str:
    """The DSN without its passwords, fit for a log line."""
    without = re.sub(r"^(\w+://[^:@/?]*):.*@", r"\1:***@", dsn, flags=re.DOTALL)
    return re.sub(r"(password=)('[^']*'|[^&\s]*)", r"\1***", without)


async def _connect_to(host: str, session: Session, within_s: float, pooled: bool) -> asyncpg.Connection:
    """One host's connection, as a session of ours or, where a pooler is in between, without one."""
    limit_s = session.timeout_s + 2 if session.timeout_s else None
    try:
        connection = await asyncpg.connect(
            host, timeout=within_s, command_timeout=limit_s, server_settings=session.settings()
        )
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
        return await _connect_pooled(host, session, within_s, pooled)
    try:
        await connection.execute(session.opening(connection.get_server_pid()), timeout=within_s)
    except asyncpg.PostgresError as error:
        connection.terminate()
        if error.sqlstate != POOLED_SQLSTATE:
            raise
        return await _connect_pooled(host, session, within_s, pooled)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connect_pooled(host: str, session: Session, within_s: float, allowed: bool) -> asyncpg.Connection:
    if not allowed:
        raise StoreUnavailableError("this is a pooler (PgBouncer?), and a session is needed: name the server itself")
    connection = await asyncpg.connect(
        host,
        timeout=within_s,
        command_timeout=session.timeout_s + 2 if session.timeout_s else None,
        server_settings={"application_name": session.name},
        statement_cache_size=0,
        connection_class=PooledConnection,
    )
    try:
        async with connection.transaction():
            await connection.execute(session.preamble(), timeout=within_s)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _rows_at_fault(error: asyncpg.PostgresError) -> bool:
    """A row for which there is no partition isn't at fault: that is a check violation which names no constraint."""
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return False
    return (error.sqlstate or "")[:2] in _ROWS_AT_FAULT or error.sqlstate == _TOO_LARGE


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
