"""Two users on one database: each sees and changes what is theirs, whatever role the connection has."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import asyncpg
import pytest

from conftest import Database
from owned_rows import dsn_as, fill_rows
from traderd.adapters.fact_store import PostgresFactStore
from traderd.core.errors import StoreUnavailableError

DEMANDED = {"portfolios", "positions", "orders", "trades", "alerts", "strategies", "api_keys", "exchange_credentials"}
LOGIN = f"login_{os.getpid()}"
FROM_LEAVES_TO_ROOTS = (
    "goal_progress", "goal_adjustments", "financial_goals", "backtest_trades", "backtests", "alert_suppressions",
    "alert_history", "alert_rules", "alerts", "circuit_breaker_events", "trades", "executions", "positions", "orders",
    "signals", "strategy_versions", "strategies", "portfolios", "exchange_credentials", "api_keys",
)  # fmt: skip
OWNING = """
    SELECT relname FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attname = 'user_id'
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"""


class Two:
    """Alice and Bob, with a row each in every table."""

    def __init__(self, admin: asyncpg.Connection, dsn: str, alice: UUID, bob: UUID) -> None:
        self.admin, self.dsn, self.alice, self.bob = admin, dsn, alice, bob

    async def member(self, group: str, acts_as: str | None) -> asyncpg.Connection:
        """A new login role's connection, with the rights of one of our roles and no others."""
        with suppress(asyncpg.UndefinedObjectError):
            await self.admin.execute(f"DROP ROLE {LOGIN}")
        await self.admin.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD 'secret' IN ROLE {group}")
        connection = await asyncpg.connect(dsn_as(self.dsn, LOGIN, "secret"))
        if acts_as:
            await connection.execute("SELECT act_as($1)", acts_as)
        return connection


@pytest.fixture
async def two(database: Database) -> AsyncIterator[Two]:
    admin = await asyncpg.connect(database.dsn)
    yield Two(admin, database.dsn, await fill_rows(admin, "alice"), await fill_rows(admin, "bob"))
    await admin.execute("RESET ROLE")
    await admin.execute(f"DROP ROLE IF EXISTS {LOGIN}")
    await admin.close()


async def test_every_table_that_names_an_owner_is_secured_and_the_owner_bound(two: Two) -> None:
    """But for the two logs, which tell of everybody. And it costs a statement little."""
    secured = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
    names = {row[0] for row in await two.admin.fetch(secured)}
    assert names == set(FROM_LEAVES_TO_ROOTS)
    assert names >= DEMANDED
    assert {row[0] for row in await two.admin.fetch(OWNING)} - names == {"audit_logs", "security_events"}

    await two.admin.execute("SET ROLE traderd_app")
    plan = [row[0].strip() for row in await two.admin.fetch("EXPLAIN SELECT * FROM orders WHERE symbol = 'BTC/USDT'")]
    assert "InitPlan" in "".join(plan), "whose rows they are is asked once for a statement, not once for a row"
    assert not [line for line in plan if line.startswith("Filter") and "current_setting" in line]


async def test_each_user_sees_their_own_rows_and_nobody_sees_none(two: Two) -> None:
    """In every secured table, and through the foreign keys of those that name no owner."""
    roles = ("traderd_app", "traderd_readonly")
    for group, acting, seen in [(role, *who) for role in roles for who in (("alice", 1), ("bob", 1), (None, 0))]:
        connection = await two.member(group, acting)
        for table in FROM_LEAVES_TO_ROOTS:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == seen, (table, group, acting)
        await connection.close()
    assert await two.admin.fetchval("SELECT count(*) FROM orders") == 2


async def test_each_user_changes_and_deletes_their_own_rows_alone(two: Two) -> None:
    """A statement without a condition does no harm to others."""
    connection = await two.member("traderd_app", "alice")
    for table in FROM_LEAVES_TO_ROOTS:
        column = await connection.fetchval(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1", table
        )
        assert await connection.execute(f"UPDATE {table} SET {column} = {column}") == "UPDATE 1", table
    for table in FROM_LEAVES_TO_ROOTS:
        before = await connection.fetchval(f"SELECT count(*) FROM {table}")
        assert await connection.execute(f"DELETE FROM {table}") == f"DELETE {before}", table
        assert await two.admin.fetchval(f"SELECT count(*) >= 1 FROM {table}"), table
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await connection.close()
    assert [row[0] for row in await two.admin.fetch("SELECT client_order_id FROM orders")] == ["bob-o"]


async def test_nobody_writes_in_the_name_of_another(two: Two) -> None:
    """Neither a new row, nor an old one given away."""
    connection = await two.member("traderd_app", "alice")
    owning = [row[0] for row in await connection.fetch(OWNING) if row[0] in FROM_LEAVES_TO_ROOTS]
    for table in owning:
        copy = (
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object("
            f"'id', gen_random_uuid(), 'user_id', '{two.bob}'))).* FROM {table} t"
        )
        for statement in (copy, f"UPDATE {table} SET user_id = '{two.bob}'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await connection.execute(statement)
    await connection.close()


async def test_an_order_cannot_be_put_into_anothers_portfolio(two: Two) -> None:
    """Though foreign keys look past row security."""
    theirs = await two.admin.fetchval("SELECT id FROM portfolios WHERE user_id = $1", two.bob)
    connection = await two.member("traderd_app", "alice")
    for table in ("orders", "executions", "trades", "positions"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(f"UPDATE {table} SET portfolio_id = $1, symbol = 'ETH/USDT'", theirs)
    await connection.close()


async def test_the_owner_is_bound_and_superusers_and_backups_are_not(two: Two) -> None:
    """A dump must be whole; whoever owns the tables isn't whoever owns the rows."""
    for role, acting, seen in (("traderd_owner", None, 0), ("traderd_owner", "bob", 1), ("traderd_backup", None, 2)):
        async with two.admin.transaction():
            if acting:
                await two.admin.execute("SELECT act_as($1)", acting)
            await two.admin.execute(f"SET LOCAL ROLE {role}")
            assert await two.admin.fetchval("SELECT count(*) FROM portfolios") == seen, role
            assert await two.admin.fetchval("SELECT count(*) FROM strategy_versions") == seen, role
            await two.admin.execute("RESET ROLE; SELECT set_config('app.current_user_id', '', false)")


async def test_the_fact_store_reads_what_its_owner_has_and_is_refused_anothers(two: Two) -> None:
    """It runs as traderd_app; what isn't the owner's is as good as not there."""
    store = PostgresFactStore(two.dsn, 5, "alice")
    positions = (await store.load_portfolio("of-bob")).positions
    assert positions == []
    await store.close()
    stranger = PostgresFactStore(two.dsn, 5, "nobody")
    with pytest.raises(StoreUnavailableError, match='there is no active user "nobody"'):
        await stranger.load_portfolio("of-bob")
    await stranger.close()
