"""Accounts: made, changed, logged in to; what may not happen to them is refused whoever asks."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from conftest import Database
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, connect
from traderd.adapters.users import AccountError, add_user, change_user, list_users, log_in

PASSWORD = "correct horse battery"


@pytest.fixture
async def app(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    """With the daemon's rights: the control API will have no others."""
    connection = await connect(plain_database.dsn, role=APP_ROLE)
    await add_user(connection, "ann", "ann@example.org", "admin", PASSWORD)
    yield connection
    await connection.close()


async def events(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("SELECT event_type, severity FROM security_events ORDER BY time, event_type")
    return [tuple(row) for row in rows]


async def test_the_first_account_must_be_an_admin_and_names_and_addresses_are_one_persons(
    plain_database: Database,
) -> None:
    """Each refusal is one sentence, and nothing is made."""
    connection = await asyncpg.connect(plain_database.dsn)
    with pytest.raises(AccountError, match="the first account must be an admin: add bob with --role admin"):
        await add_user(connection, "bob", "bob@example.org", "trader", PASSWORD)
    await add_user(connection, "ann", "ann@example.org", "admin", PASSWORD)
    for name, email, password, why in (
        ("ann", "other@example.org", PASSWORD, "there is a user with this name already"),
        ("eve", "Ann@Example.org", PASSWORD, "there is a user with this e-mail address already"),
        ("eve", "eve@example.org", "short", "the password is too short: 12 characters"),
        ("eve", "eve@example.org", "x" * 1025, "the password is too long"),
        ("eve", "nowhere", PASSWORD, "that isn't an e-mail address that can be used"),
        ("e v e", "eve@example.org", PASSWORD, "that isn't a user's name that can be used"),
    ):
        with pytest.raises(AccountError, match=why):
            await add_user(connection, name, email, "viewer", password)
    assert [(user.username, user.role) for user in await list_users(connection)] == [
        ("traderd", "trader"),
        ("ann", "admin"),
    ]
    stored = await connection.fetchval("SELECT password_hash FROM users WHERE username = 'ann'")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    await connection.close()


async def test_the_last_admin_and_the_daemons_account_stay(app: asyncpg.Connection) -> None:
    """By trigger: also where somebody writes the table directly."""
    for change in ({"role": "viewer"}, {"active": False}):
        with pytest.raises(AccountError, match="ann is the last active admin: make another one first"):
            await change_user(app, "ann", **change)  # type: ignore[arg-type]
        with pytest.raises(AccountError, match="there is no user nobody"):
            await change_user(app, "nobody", **change)  # type: ignore[arg-type]
    for statement in (
        "DELETE FROM users WHERE username = 'ann'",
        "UPDATE users SET is_active = false WHERE username = 'traderd'",
        "UPDATE users SET username = 'me' WHERE username = 'traderd'",
        "DELETE FROM users WHERE username = 'traderd'",
    ):
        with pytest.raises(asyncpg.RaiseError):
            await app.execute(statement)
    await add_user(app, "bob", "bob@example.org", "admin", PASSWORD)
    await change_user(app, "ann", role="viewer", active=False)
    with pytest.raises(AccountError, match="bob is the last active admin"):
        await change_user(app, "bob", role="trader")
    assert (await events(app))[-2:] == [("user_role_changed", "warning"), ("user_deactivated", "warning")]


async def test_two_admins_cannot_remove_each_other_at_once(app: asyncpg.Connection, plain_database: Database) -> None:
    """One of them waits for the other, and is then the last."""
    await add_user(app, "bob", "bob@example.org", "admin", PASSWORD)

    async def demote(name: str) -> str:
        connection = await asyncpg.connect(plain_database.dsn)
        try:
            await change_user(connection, name, role="viewer")
        except AccountError as refused:
            return str(refused)
        finally:
            await connection.close()
        return ""

    answers = await asyncio.gather(demote("ann"), demote("bob"))
    assert sum("is the last active admin" in answer for answer in answers) == 1
    assert await app.fetchval("SELECT count(*) FROM users WHERE role = 'admin'") == 1


async def test_five_wrong_passwords_lock_the_account_for_a_quarter_of_an_hour(app: asyncpg.Connection) -> None:
    """In which the right one doesn't help; a log-in in between starts the count again."""
    for _ in range(4):
        assert not await log_in(app, "ann", "wrong wrong wrong", "192.0.2.7")
    assert await log_in(app, "ann", PASSWORD)
    assert await app.fetchval("SELECT failed_login_attempts FROM users WHERE username = 'ann'") == 0
    for _ in range(5):
        assert not await log_in(app, "ann", "wrong wrong wrong", "192.0.2.7")
    left = await app.fetchval("SELECT locked_until - now() FROM users WHERE username = 'ann'")
    assert 14 * 60 < left.total_seconds() <= 15 * 60
    assert not await log_in(app, "ann", PASSWORD)
    assert (await events(app))[-3:] == [
        ("login_failed", "warning"),
        ("account_locked", "error"),
        ("login_refused", "warning"),
    ]

    await app.execute("UPDATE users SET locked_until = now() - interval '1 second'")
    assert not await log_in(app, "ann", "wrong wrong wrong")
    assert await app.fetchval("SELECT failed_login_attempts FROM users WHERE username = 'ann'") == 1
    assert await log_in(app, "ann", PASSWORD)
    for _ in range(5):
        await log_in(app, "ann", "wrong wrong wrong")
    await change_user(app, "ann", password="another long one")
    assert await log_in(app, "ann", "another long one")
    assert not await log_in(app, "ann", PASSWORD)


async def test_who_cannot_come_in_is_not_told_why(app: asyncpg.Connection) -> None:
    """An unknown name, an account without a password, one that is switched off: the same no, for the same time."""
    await add_user(app, "bob", "bob@example.org", "viewer", PASSWORD)
    await change_user(app, "bob", active=False)
    took = []
    for name in ("nobody at all", DAEMON_USER, "bob", "ann"):
        started = asyncio.get_running_loop().time()
        assert not await log_in(app, name, "wrong wrong wrong", "2001:db8::1")
        took.append(asyncio.get_running_loop().time() - started)
    assert min(took) > 0.01, "each costs a hash"
    assert not await log_in(app, "bob", PASSWORD)
    assert not await log_in(app, "ann", "x" * 100_000)
    rows = await app.fetch(
        "SELECT details->>'why' AS why, host(ip_address) AS ip FROM security_events"
        " WHERE event_type = 'login_refused' ORDER BY time"
    )
    assert [tuple(row) for row in rows] == [("unknown", "2001:db8::1"), ("inactive", "2001:db8::1"), ("inactive", None)]
    assert "nobody at all" not in str(await app.fetch("SELECT * FROM security_events"))


async def test_a_daemon_with_too_many_rights_is_noted(plain_database: Database) -> None:
    """As is each start."""
    for role, too_many in ((APP_ROLE, False), ("traderd_owner", True), (None, True)):
        connection = await connect(plain_database.dsn, role=role, acts_as=DAEMON_USER)
        assert await connection.fetchval("SELECT note_daemon_start('run-1')") is too_many
        await connection.close()
    connection = await connect(plain_database.dsn)
    assert [name for name, _ in await events(connection)] == ["daemon_started", *["daemon_overprivileged"] * 2]
    rows = await connection.fetch(
        "SELECT resource_id, new_values->>'role' FROM audit_logs WHERE action = 'daemon_started' ORDER BY sequence"
    )
    assert [tuple(row) for row in rows] == [("run-1", APP_ROLE), ("run-1", "traderd_owner"), ("run-1", "postgres")]
    await connection.close()
