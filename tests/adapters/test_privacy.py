"""What is known about a user is told in full, and erased but for what the law says to keep."""

import json
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from conftest import Database
from owned_rows import fill_rows
from traderd.adapters.audit import verify
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, connect
from traderd.adapters.users import AccountError, erase_user, export_user

NAMES_NOBODY = {
    "strategies.created_by": "exported with the owner's strategies; another's strategy is not its author's",
    "strategy_versions.created_by": "as its strategy",
    "alert_suppressions.created_by": "as its owner's wishes",
    "time_partitioning.segment_by": "how chunks are compressed",
    "time_partitioning.order_by": "how chunks are compressed",
    "data_gaps.healed_by": "by which path what was missing was fetched",
}
"""Columns that look like a user's name, and why the export doesn't search them."""
LOOKS_LIKE_A_USER = """
    SELECT c.relname || '.' || attname AS column, c.relname AS table
    FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND (attname ~ '(^|_)(user|owner|account|person|email|recipient|username|portfolio)(_|$)|_by$|^ip_|first_name'
           OR EXISTS (SELECT FROM pg_constraint f
                      WHERE f.contype = 'f' AND f.conrelid = c.oid AND attnum = ANY(f.conkey) AND f.confrelid IN
                          ('users'::regclass, 'portfolios'::regclass, 'strategies'::regclass,
                                          'alerts'::regclass, 'backtests'::regclass, 'financial_goals'::regclass)))"""
PERSONAL = (
    "alice@example.org", "First-alice", "Last-alice", "hash-of-alice", "mfa-of-alice", "Savings of alice", "DE-alice",
    "Idea of alice", "Key of alice", "Account of alice", "For alice", b"sealed-alice".hex(), ",alice,", '"alice"',
)  # fmt: skip


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def alice(admin: asyncpg.Connection) -> UUID:
    """With a row in every table, beside Bob, who has the same."""
    await fill_rows(admin, "bob", "admin")
    return await fill_rows(admin, "alice")


async def exported(connection: asyncpg.Connection, name: str) -> dict[str, dict[str, list[dict[str, object]]]]:
    document = json.loads(b"".join([piece async for piece in export_user(connection, name)]))
    tables: dict[str, dict[str, list[dict[str, object]]]] = document["tables"]
    return tables


async def everything(connection: asyncpg.Connection) -> str:
    """All rows of all tables, as text."""
    names = [row[0] for row in await connection.fetch("SELECT relname FROM our_tables()")]
    return "".join([str(await connection.fetch(f"SELECT t::text FROM {name} t")) for name in names])


async def test_the_export_names_every_table_that_could_name_a_user(admin: asyncpg.Connection, alice: UUID) -> None:
    """By the catalogue: a table that comes later and is forgotten fails here."""
    tables = await exported(admin, "alice")
    rows = await admin.fetch(LOOKS_LIKE_A_USER)
    assert len(rows) > 40
    assert {row["column"] for row in rows if row["table"] not in tables} <= NAMES_NOBODY.keys()
    conditions = dict(await admin.fetch("SELECT table_name, condition FROM user_data_scope($1)", alice))
    by = [row for row in rows if row["column"].endswith("_by") and row["column"] not in NAMES_NOBODY]
    assert {row["column"] for row in by} == {"configurations.updated_by", "security_events.resolved_by"}
    assert all(row["column"].split(".")[1] in conditions[row["table"]] for row in by)


async def test_the_export_holds_every_row_of_the_user_none_of_another_and_no_secret(
    admin: asyncpg.Connection, alice: UUID, database: Database
) -> None:
    """And the same for the superuser, the tables' owner and the daemon's role, and as one value."""
    tables = await exported(admin, "alice")
    assert {
        name: len(table["rows"]) for name, table in tables.items() if name not in ("audit_logs", "security_events")
    } == {name: 1 for name in tables if name not in ("audit_logs", "security_events")}
    assert len(tables["audit_logs"]["rows"]) >= 8
    text = json.dumps(tables)
    assert all(word in text for word in ("alice@example.org", "192.0.2.7", "Savings of alice", "mfa_secret"))
    assert not any(word in text for word in ("bob", "hash-of-alice", "mfa-of-alice", "sealed-alice", b"sealed".hex()))
    assert tables["users"]["withheld"] == ["password_hash", "mfa_secret"]
    assert tables["exchange_credentials"]["withheld"] == [
        "api_key_encrypted", "api_secret_encrypted", "passphrase_encrypted"
    ]  # fmt: skip
    assert json.loads(await admin.fetchval("SELECT export_user_data($1)", alice))["tables"] == tables
    for role in ("traderd_owner", APP_ROLE):
        connection = await connect(database.dsn, role=role, acts_as=DAEMON_USER)
        assert await exported(connection, "alice") == tables
        assert json.loads(await connection.fetchval("SELECT export_user_data($1)", alice))["tables"] == tables
        assert await connection.fetchval("SELECT current_user_id() = id FROM users WHERE username = 'traderd'")
        await connection.close()
    with pytest.raises(AccountError, match="there is no user nobody"):
        await exported(admin, "nobody")


async def test_there_is_a_rule_for_every_table_that_can_name_a_user(admin: asyncpg.Connection, alice: UUID) -> None:
    """And erasing is refused, not incomplete, where one is missing."""
    missing = (
        "SELECT array_agg(table_name) FROM user_data_scope($1) FULL JOIN erasure_rules() USING (table_name)"
        " WHERE condition IS NULL OR rule IS NULL"
    )
    assert await admin.fetchval(missing, alice) is None
    await admin.execute("CREATE TABLE diaries (user_id uuid REFERENCES users)")
    with pytest.raises(AccountError, match="nothing is said about what becomes of diaries"):
        await erase_user(admin, "alice")
    assert await admin.fetchval("SELECT erased_at IS NULL FROM users WHERE username = 'alice'")


@pytest.mark.parametrize("role", [None, "traderd_owner"])
async def test_an_erased_user_is_nowhere_and_the_records_of_trading_stay(
    admin: asyncpg.Connection, alice: UUID, database: Database, role: str | None
) -> None:
    """Under a number; the chain of the audit log stays whole; Bob has lost nothing. Also where row security binds."""
    bobs, before = await exported(admin, "bob"), await everything(admin)
    assert [word for word in PERSONAL if word not in before] == ['"alice"']
    await admin.execute(
        "INSERT INTO strategies (id, name, user_id, created_by)"
        " SELECT gen_random_uuid(), 'shared', id, 'alice' FROM users WHERE username = 'bob'"
    )
    connection = await connect(database.dsn, role=role)
    report = (await erase_user(connection, "alice"))["tables"]
    await connection.close()
    assert {table["rule"] for table in report.values()} == {"erased", "anonymised", "kept"}
    assert all(table["rows"] >= 1 and table["why"] for table in report.values())
    left = await exported(admin, f"erased-{alice}")
    for name, table in report.items():
        assert bool(left[name]["rows"]) is (table["rule"] != "erased"), name
    text = await everything(admin)
    assert [word for word in PERSONAL if word in text] == []
    assert {event["ip_address"] for event in left["security_events"]["rows"]} == {None}
    account = left["users"]["rows"][0]
    assert (account["is_active"], account["email"]) == (False, f"erased-{alice}@invalid.localdomain")
    assert await admin.fetchval("SELECT created_by FROM strategies WHERE name = 'shared'") == f"erased-{alice}"
    after = await exported(admin, "bob")
    for name, table in bobs.items():
        if name not in ("audit_logs", "strategies", "strategy_versions"):
            assert after[name] == table
    assert (await verify(admin)).broken_at is None
    assert await admin.fetchval(
        "SELECT action FROM audit_logs WHERE resource_id = $1 ORDER BY sequence DESC", str(alice)
    ) == ("user_erased")
    with pytest.raises(AccountError, match="is erased already"):
        await erase_user(admin, f"erased-{alice}")


async def test_some_are_not_erased(admin: asyncpg.Connection, alice: UUID) -> None:
    """The daemon's account, the last admin, who has open orders or positions; and nothing is half done."""
    await admin.execute("UPDATE orders SET status = 'open' WHERE client_order_id = 'alice-o'")
    for name, why in (
        ("traderd", "the daemon's own"),
        ("bob", "bob is the last active admin"),
        ("alice", "alice has open orders or positions: close them first"),
        ("nobody", "there is no user nobody"),
    ):
        with pytest.raises(AccountError, match=why):
            await erase_user(admin, name)
    assert await admin.fetchval("SELECT count(*) FROM api_keys") == 2
    assert await admin.fetchval("SELECT count(*) FROM users WHERE erased_at IS NOT NULL") == 0
    await admin.execute("UPDATE orders SET status = 'filled'; UPDATE positions SET quantity = 1")
    with pytest.raises(AccountError, match="open orders or positions"):
        await erase_user(admin, "alice")
