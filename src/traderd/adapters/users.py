"""People's accounts: made, changed, logged in to, exported and erased.

Passwords are kept as Argon2id hashes and never written anywhere else. What must hold whoever changes an account (there
is always an admin, the daemon's own account stays, role changes leave a security event) is held by the database's
triggers (sql/always/0010_accounts.sql). Refuses in one line; among others, passwords shorter than 12 characters.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from msgspec import Struct

from traderd.core.errors import TraderdError

PASSWORD_LENGTH_MIN: Final = 12
_PASSWORD_LENGTH_MAX: Final = 1024
"""Whoever sends a megabyte must not make us hash it."""
_HASHER: Final = PasswordHasher()
"""The library's defaults are RFC 9106's second recommendation: 64 MiB, three passes, four lanes."""
_LIST: Final = """
    SELECT username, email, role, is_active, created_at, last_login_at,
           CASE WHEN locked_until > now() THEN locked_until END AS locked_until, erased_at
    FROM users ORDER BY number"""
_OF_NOTHING: Final = "$argon2id$v=19$m={},t={},p={}${}${}".format(
    _HASHER.memory_cost, _HASHER.time_cost, _HASHER.parallelism, "A" * 22, "A" * 43
)
"""What a password is compared with where there is no account: as dear, and nothing has this hash."""

Role = Literal["admin", "trader", "viewer"]


class AccountError(TraderdError):
    """What was asked of an account can't be done; nothing was."""


class User(Struct, frozen=True):
    """An account without its secrets."""

    username: str
    email: str
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None
    locked_until: datetime | None
    erased_at: datetime | None


async def add_user(connection: asyncpg.Connection, username: str, email: str, role: Role, password: str) -> None:
    """A new account. Raises AccountError; also where the first one wouldn't be an admin."""
    check_password(password)
    with _told():
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
            if role != "admin" and not await connection.fetchval("SELECT count(*) FROM users WHERE role = 'admin'"):
                raise AccountError(f"the first account must be an admin: add {username} with --role admin")
            await connection.execute(
                "INSERT INTO users (username, email, role, password_hash) VALUES ($1, $2, $3, $4)",
                username,
                email,
                role,
                await _hashed(password),
            )


async def change_user(
    connection: asyncpg.Connection,
    username: str,
    *,
    role: Role | None = None,
    active: bool | None = None,
    password: str | None = None,
) -> None:
    """What isn't None is changed, all of it or nothing. A new password, or activating, also ends a lock-out."""
    if password is not None:
        check_password(password)
    with _told():
        changed = await connection.execute(
            """
            UPDATE users
            SET role = coalesce($2, role), is_active = coalesce($3, is_active),
                password_hash = coalesce($4, password_hash),
                failed_login_attempts = CASE WHEN $5 THEN 0 ELSE failed_login_attempts END,
                locked_until = CASE WHEN $5 THEN NULL ELSE locked_until END
            WHERE username = $1 AND erased_at IS NULL""",
            username,
            role,
            active,
            None if password is None else await _hashed(password),
            active is True or password is not None,
        )
    if changed == "UPDATE 0":
        raise AccountError(f"there is no user {username}")


async def list_users(connection: asyncpg.Connection) -> list[User]:
    """Every account, in the order in which they were made."""
    return [User(**row) for row in await connection.fetch(_LIST)]


async def log_in(connection: asyncpg.Connection, username: str, password: str, ip: str | None = None) -> bool:
    """Whether this name and password open an account now; the attempt is recorded, and locks after five failures.

    It takes as long, and answers the same, for a name that nobody has.
    """
    stored = await connection.fetchval(
        "SELECT password_hash FROM users WHERE username = $1 AND erased_at IS NULL", username
    )
    matches = await asyncio.to_thread(_matches, stored, password)
    return bool(await connection.fetchval("SELECT record_login($1, $2, $3::text::inet)", username, matches, ip))


async def export_user(connection: asyncpg.Connection, username: str) -> AsyncIterator[bytes]:
    """Everything that is known about a user, as the pieces of one JSON document, in one snapshot.

    Row by row, so that years of equity fit: the same as export_user_data() gives in one value. Secrets are withheld,
    and named. Raises AccountError.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        subject = await _id_of(connection, username)
        await connection.execute("SELECT set_config('app.current_user_id', $1, true)", str(subject))
        named = str(subject), (await connection.fetchval("SELECT now()")).isoformat()
        yield b'{"user": "%s", "exported_at": "%s", "tables": {' % tuple(text.encode() for text in named)
        scope = await connection.fetch("SELECT table_name, query, withheld FROM user_data_scope($1)", subject)
        for number, part in enumerate(scope):
            async for piece in _table(connection, part, b",\n" if number else b"\n"):
                yield piece
        yield b"}}\n"


async def erase_user(connection: asyncpg.Connection, username: str) -> dict[str, Any]:
    """Erase a user; returns what became of the rows of each table, and why. Raises AccountError."""
    with _told():
        async with connection.transaction():
            subject = await _id_of(connection, username)
            report = await connection.fetchval("SELECT delete_user_data($1)", subject)
    return dict(msgspec.json.decode(report))


def check_password(password: str) -> None:
    """Raises AccountError."""
    if len(password) < PASSWORD_LENGTH_MIN:
        raise AccountError(f"the password is too short: {PASSWORD_LENGTH_MIN} characters or more are needed")
    if len(password) > _PASSWORD_LENGTH_MAX:
        raise AccountError(f"the password is too long: {_PASSWORD_LENGTH_MAX} characters are the most")


async def _table(connection: asyncpg.Connection, part: asyncpg.Record, comma: bytes) -> AsyncIterator[bytes]:
    heading = msgspec.json.encode(part["table_name"]), msgspec.json.encode(part["withheld"])
    yield comma + b'%s: {"withheld": %s, "rows": [' % heading
    comma = b"\n"
    async for row in connection.cursor(part["query"], prefetch=1_000):
        yield comma + row[0].encode()
        comma = b",\n"
    yield b"]}"


async def _id_of(connection: asyncpg.Connection, username: str) -> UUID:
    found = await connection.fetchval("SELECT id FROM users WHERE username = $1", username)
    if found is None:
        raise AccountError(f"there is no user {username}")
    return UUID(str(found))


async def _hashed(password: str) -> str:
    """In a thread: it takes a tenth of a second on purpose."""
    return await asyncio.to_thread(_HASHER.hash, password)


def _matches(stored: str | None, password: str) -> bool:
    """Against a hash that nothing matches where there is none ("!" opens no account): it takes as long."""
    if len(password) > _PASSWORD_LENGTH_MAX:
        return False
    known = stored if stored is not None and stored.startswith("$argon2") else None
    try:
        return _HASHER.verify(known or _OF_NOTHING, password) and known is not None
    except VerifyMismatchError:
        return False


@contextmanager
def _told() -> Iterator[None]:
    """The database's refusals in our words."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        what = "this e-mail address" if error.constraint_name == "users_email" else "this name"
        raise AccountError(f"there is a user with {what} already") from error
    except asyncpg.CheckViolationError as error:
        what = "an e-mail address" if error.constraint_name == "users_email_check" else "a user's name"
        raise AccountError(f"that isn't {what} that can be used") from error
    except asyncpg.RaiseError as error:
        raise AccountError(" ".join(str(error).split())) from error
