"""What the daemon asks of its database, through PgBouncer in transaction mode, which deals sessions out in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg
import pytest
from structlog import get_logger
from test_fact_store import ONE_OF_EACH
from test_tick_store import ROWS as TICK_ROWS
from test_tick_store import quotes, record, trade

from conftest import Database
from poolers import PgBouncer, run, unix_socket
from proxy import Proxy
from servers import NotPossibleHereError
from traderd.adapters.books import Books
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.gap_store import GapStore
from traderd.adapters.migrations import migrate
from traderd.adapters.postgres import APP_ROLE, Reconnecting, connect
from traderd.adapters.tick_store import CopyTickStore
from traderd.app.upkeep import Upkeep
from traderd.config import Storage
from traderd.core.errors import MigrationError, StoreUnavailableError
from traderd.runtime.ports import JournalRecord

pytestmark = pytest.mark.timescale  # its packages come into the same private root
WHO = "SELECT current_user::text, coalesce(current_setting('app.current_user_id', true), '')"
COUNTS = """
    SELECT (SELECT count(*) FROM tick_data), (SELECT count(*) FROM public_trades), (SELECT count(*) FROM quarantine)"""
LOOKING = """
    SELECT DISTINCT pg_backend_pid() AS session, current_setting('role') AS role,
           coalesce(current_setting('app.current_user_id', true), '') AS acts_as,
           current_setting('statement_timeout') AS timeout, current_setting('jit') AS jit,
           (SELECT count(*) FROM pg_prepared_statements WHERE name LIKE '%asyncpg%') AS prepared,
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
           (SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relname LIKE 'staging%') AS staging
"""


@pytest.fixture
async def pooled(plain_database: Database) -> AsyncIterator[str]:
    """The database's DSN through the pooler."""
    async with AsyncExitStack() as stack:
        bouncer = await start(stack, plain_database)
        yield bouncer.dsn(plain_database.dsn)


async def start(stack: AsyncExitStack, database: Database, mode: str = "transaction", more: str = "") -> PgBouncer:
    proxy = stack.enter_context(Proxy(unix_socket(database.dsn)))
    try:
        bouncer = PgBouncer("127.0.0.1", proxy.port, mode, more)
    except NotPossibleHereError as reason:
        pytest.skip(str(reason))
    stack.push_async_callback(bouncer.stop)
    await bouncer.start()
    return bouncer


async def test_ticks_and_facts_are_stored_as_over_a_session(pooled: str, plain_database: Database) -> None:
    """Batches, repeats, backfilled and refused rows, owners; several clients in turn on the same sessions."""
    ticks, facts = CopyTickStore(pooled, 10), PostgresFactStore(pooled, 10)
    others = [Reconnecting(pooled, f"traderd {n}", 10, APP_ROLE) for n in range(3)]
    spoiled = TICK_ROWS.trades([trade(1), trade(2), trade(3)])
    payload = spoiled.payload.replace(b"\x00\x00\x00\x03buy", b"\x00\x00\x00\x03bye", 1)

    async def tick() -> None:
        await ticks.cursor("j")
        for n in range(1, 11):
            await ticks.store("j", [record(n, "tick_data", quotes(*range(20 * n, 20 * n + 20)))])
        bad = JournalRecord(11, "public_trades:binance:trade", 3, spoiled.first_ns, spoiled.last_ns, payload)
        assert await ticks.store("j", [bad]) == 1
        late = TICK_ROWS.backfilled([trade(2), trade(4)])
        backfill = JournalRecord(12, "public_trades:binance:backfill", 2, late.first_ns, late.last_ns, late.payload)
        assert await ticks.store("j", [backfill]) == 0

    async def told() -> None:
        await facts.cursor("facts")
        for n, fact in enumerate(ONE_OF_EACH, 1):
            assert await facts.store("facts", n, [fact]) == 0

    async def disturb(other: Reconnecting) -> None:
        for _ in range(20):
            async with other.use() as connection:
                assert await connection.fetchval("SELECT current_user") == APP_ROLE
                assert (
                    await connection.fetchval("SELECT coalesce(current_setting('app.current_user_id', true), '')") == ""
                )

    await asyncio.gather(tick(), told(), *map(disturb, others))
    assert await ticks.cursor("j") == 12 and await facts.cursor("facts") == len(ONE_OF_EACH)
    state = await facts.load_portfolio("paper")
    assert (len(state.positions), len(state.open_orders)) == (1, 1)
    assert len(await facts.load_open_gaps()) == 1
    assert tuple((await run(plain_database.dsn, COUNTS))[0]) == (200, 3, 1)
    owners = "SELECT DISTINCT u.username FROM orders o JOIN users u ON u.id = o.user_id"
    assert [row[0] for row in await run(plain_database.dsn, owners)] == ["traderd"]
    for store in (ticks, facts, *others):
        await store.close()


async def test_the_daemons_other_work_goes_through_as_well(pooled: str) -> None:
    """The start of a run: schema, settings, books, gaps, maintenance; and settings that change are applied."""
    assert (await migrate(pooled)).applied == ()
    books = Books(pooled, 10)
    await books.expect_owner()
    await books.note_start("r1")
    await books.register("paper", "paper", [])
    assert await books.keep(datetime.now(UTC)) == {}
    gaps = GapStore(pooled, 10)
    assert await gaps.unhealed("binance") == []
    upkeep = Upkeep(pooled, 10, Storage(), [], get_logger())
    await upkeep.open()
    await upkeep.keep()
    for opened in (books, gaps, upkeep):
        await opened.close()


async def test_nothing_of_ours_stays_in_a_session(pooled: str) -> None:
    """No role, user, setting, prepared statement, lock or temporary table, in any session that the pooler holds."""
    ticks, facts = CopyTickStore(pooled, 10, careful=True), PostgresFactStore(pooled, 10)
    await ticks.cursor("j")
    for n in range(1, 12):
        await asyncio.gather(
            ticks.store("j", [record(n, "tick_data", quotes(n))]), facts.store("facts", n, ONE_OF_EACH)
        )
    await ticks.close()
    await facts.close()
    await migrate(pooled)
    lookers = [await asyncpg.connect(pooled, statement_cache_size=0) for _ in range(5)]
    inside = [looker.transaction() for looker in lookers]
    seen = {}
    for looker, transaction in zip(lookers, inside, strict=True):
        await transaction.start()
        row = await looker.fetchrow(LOOKING)
        seen[row["session"]] = tuple(row)[1:]
    assert len(seen) > 1
    assert set(seen.values()) == {("none", "", "0", "on", 0, 0, 0)}
    for looker in lookers:
        looker.terminate()


async def test_a_statement_is_bounded_by_the_server_there_too(pooled: str) -> None:
    """The settings hold, for the transaction."""
    database = Reconnecting(pooled, "traderd test", 0.5, APP_ROLE)
    with pytest.raises(StoreUnavailableError, match=r"statement timeout|in time"):
        async with database.use() as connection:
            assert await connection.fetchval("SELECT current_setting('TimeZone')") == "UTC"
            await connection.execute("SELECT pg_sleep(5)")
    async with database.use() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await database.close()


async def test_what_needs_a_session_says_so_in_one_line(pooled: str, plain_database: Database) -> None:
    """A migration that has something to do, and a plain connection."""
    with pytest.raises(StoreUnavailableError, match=r"pooler .* name the server itself"):
        await connect(pooled)
    await run(plain_database.dsn, "DELETE FROM schema_migrations WHERE name LIKE 'always/0001%'")
    with pytest.raises(MigrationError, match=r"always/0001.* waits, and a pooler .*own address"):
        await migrate(pooled)


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_a_pooler_that_swallows_our_settings_is_recognised(plain_database: Database, mode: str) -> None:
    """Its operator told it to ignore them: then who answers isn't who greeted."""
    swallowed = "jit,statement_timeout,idle_in_transaction_session_timeout,tcp_keepalives_idle,tcp_keepalives_interval"
    more = f"ignore_startup_parameters = {swallowed},tcp_keepalives_count,traderd.role,traderd.acts_as,traderd.writes"
    async with AsyncExitStack() as stack:
        bouncer = await start(stack, plain_database, mode, more)
        store = CopyTickStore(bouncer.dsn(plain_database.dsn), 10)
        await store.cursor("j")
        await store.store("j", [record(1, "tick_data", quotes(1, 2))])
        await store.close()
    assert (await run(plain_database.dsn, "SELECT count(*) FROM tick_data"))[0][0] == 2
