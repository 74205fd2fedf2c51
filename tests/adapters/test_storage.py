"""Chunks, compression, retention, holds: what the settings say is what the database does, on every back end."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg
import pytest
from msgspec import structs

from conftest import Database
from traderd.adapters.gap_store import GapStore
from traderd.adapters.maintenance import (
    apply_settings,
    hold_retention,
    maintain,
    maintain_a_piece,
    refresh_rollups,
    release_retention,
)
from traderd.adapters.postgres import APP_ROLE, connect
from traderd.config import Storage
from traderd.config.storage import Chunked, Listed, Tables
from traderd.core.errors import MigrationError, StoreRefusedError
from traderd.core.facts import Gap

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
COMPRESSED = (
    "FROM _timescaledb_catalog.compression_settings s JOIN show_chunks('public_trades') each ON relid = each"
    " WHERE compress_relid IS NOT NULL"
)
TEN_DAYS_AGO = (NOW - 10 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
TICK = "INSERT INTO tick_data (time, symbol, exchange, sequence) VALUES ($1, 'BTC/USDT', 'binance', 0)"
CANDLE = """
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT $1::timestamptz + n * interval '1 minute', 'BTC/USDT', 'binance', '1m', 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(0, 59) n
    ON CONFLICT (symbol, timeframe, time, exchange) DO UPDATE SET high = 2"""
SIGNAL = """
    INSERT INTO signals (id, signal_key, time, exchange, symbol, signal_type, strength, confidence, price)
    SELECT gen_random_uuid(), $1 || n, $2, 'binance', 'BTC/USDT', 'LONG', 1, 1, 1 FROM generate_series(1, $3) n"""


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def plain(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_database.dsn)
    yield connection
    await connection.close()


def storage(**tables: Chunked | Listed) -> Storage:
    return Storage(tables=Tables(**tables))


# --- Settings


async def test_the_schema_comes_with_the_settings_that_the_configuration_has_by_default(
    connection: asyncpg.Connection,
) -> None:
    """So a first start changes nothing; each table that is partitioned, and each that has a term, is a setting.

    But for what is a setting of the owner's in its database, which a copy of a database, such as the tests', has not.
    """
    assert set(await apply_settings(connection, Storage())) <= {"compressed in batches of 4000 rows"}
    assert await apply_settings(connection, Storage()) == ()
    tables = structs.asdict(Tables())
    chunked = {name for name, table in tables.items() if isinstance(table, Chunked)}
    assert {row[0] for row in await connection.fetch("SELECT table_name FROM time_partitioning")} == chunked
    listed = await connection.fetch(
        "SELECT table_name FROM row_retention WHERE keep_min IS NULL OR keep_min = '10 years'"
    )
    assert {row[0] for row in listed} == tables.keys() - chunked | {"orders", "executions"}


async def test_a_changed_setting_is_applied_once(database: Database, connection: asyncpg.Connection) -> None:
    """The chunk, the terms, and on the community edition its policies; what is equal isn't touched."""
    changed = storage(
        tick_data=Chunked("2d", "3d", "forever"), quarantine=Chunked("7d", "9d", "30d"), alerts=Listed("2y")
    )
    assert await apply_settings(connection, changed) != ()
    assert await apply_settings(connection, changed) == ()
    row = await connection.fetchrow(
        "SELECT step, compress_after, keep_for FROM time_partitioning WHERE table_name = 'tick_data'"
    )
    assert tuple(row) == (2 * DAY, 3 * DAY, None)
    assert await connection.fetchval("SELECT keep_for = '2 years' FROM row_retention WHERE table_name = 'alerts'")
    if database.backend == "postgresql":
        return
    dimension = "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'tick_data'"
    assert await connection.fetchval(dimension) == 2 * DAY
    policies = (
        "SELECT proc_name, coalesce(config ->> 'compress_after', config ->> 'drop_after')"
        " FROM timescaledb_information.jobs WHERE hypertable_name = $1"
    )
    found = {name: dict(await connection.fetch(policies, name)) for name in ("tick_data", "quarantine")}
    wanted = {
        "tick_data": {"policy_compression": "3 days"},
        "quarantine": {"policy_compression": "9 days", "policy_retention": "30 days"},
    }
    assert found == (wanted if database.backend == "timescaledb-community" else {"tick_data": {}, "quarantine": {}})


async def test_a_term_below_the_floor_is_refused_by_the_database_too(plain: asyncpg.Connection) -> None:
    """Nothing of such settings is applied, and the years have all their days."""
    for years in ("9y", "3652d"):
        with pytest.raises(StoreRefusedError, match="keep_min"):
            await apply_settings(plain, storage(trades=Listed(years), alerts=Listed("2y")))
    with pytest.raises(asyncpg.CheckViolationError):
        await plain.execute("UPDATE row_retention SET keep_for = '20 years' WHERE table_name = 'audit_logs'")
    assert await apply_settings(plain, Storage()) == ()
    assert await apply_settings(plain, storage(trades=Listed("3653d"))) != ()


async def test_who_may_not_change_settings_is_told_what_differs(connection: asyncpg.Connection) -> None:
    """And starts all the same when nothing does."""
    name = f"{await connection.fetchval('SELECT current_database()')}_app"
    await connection.execute(f"CREATE ROLE {name}; GRANT {APP_ROLE} TO {name}; SET SESSION AUTHORIZATION {name}")
    try:
        assert await apply_settings(connection, Storage()) == ()
        with pytest.raises(MigrationError, match=r"^storage\.tables: alerts differ .* run traderd migrate as"):
            await apply_settings(connection, storage(alerts=Listed("2y")))
    finally:
        await connection.execute(f"RESET SESSION AUTHORIZATION; DROP ROLE {name}")


# --- Partitions


async def test_there_is_room_ahead_for_every_table(database: Database, connection: asyncpg.Connection) -> None:
    """For three days and two steps; a second round makes nothing."""
    done = await maintain(connection, NOW)
    assert ("partitions made" in done) == (database.backend == "postgresql")
    assert await maintain(connection, NOW) == {}
    for name, step in await connection.fetch("SELECT table_name, step FROM time_partitioning"):
        assert (
            await connection.fetchval(
                "SELECT ensure_partitions($1::text::regclass, $2, $3)", name, NOW, NOW + max(3 * DAY, 2 * step)
            )
            == 0
        )


async def test_a_changed_step_leaves_neither_a_hole_nor_an_overlap(plain: asyncpg.Connection) -> None:
    """Whatever the steps were before, and whatever was made with them: every moment asked for has one partition."""
    random, start = Random(11), datetime(2025, 1, 1, tzinfo=UTC)
    asked = []
    for _ in range(12):
        step = f"{random.choice([1, 2, 3, 7, 10, 30])}d"
        await apply_settings(plain, storage(tick_data=Chunked(step, "2d", "forever")))
        first = start + random.randrange(100) * DAY
        last = first + random.randrange(40) * DAY
        asked.append((first, last))
        await plain.fetchval("SELECT ensure_partitions('tick_data', $1, $2)", first, last)
        assert await plain.fetchval("SELECT ensure_partitions('tick_data', $1, $2)", first, last) == 0
        uncovered, overlapping = await plain.fetchrow(
            "SELECT tstzmultirange(VARIADIC array(SELECT tstzrange(a, b, '[]') FROM unnest($1::timestamptz[],"
            " $2::timestamptz[]) AS asked(a, b))) - range_agg(span),"
            " (SELECT count(*) FROM partition_spans('tick_data') a, partition_spans('tick_data') b"
            "  WHERE a.partition < b.partition AND a.span && b.span) FROM partition_spans('tick_data')",
            *map(list, zip(*asked, strict=True)),
        )
        assert (list(uncovered), overlapping) == ([], 0)


# --- Retention


async def test_what_has_expired_is_dropped_and_nothing_else(database: Database, connection: asyncpg.Connection) -> None:
    """A partition goes when its newest possible row is over its term; a table without a term keeps all."""
    await apply_settings(connection, storage(public_trades=Chunked("1d", "2d", "forever")))
    await ticks(connection, range(-12, 1))
    await connection.execute("SELECT ensure_partitions('public_trades', $1, $1)", NOW - 900 * DAY)
    await connection.execute(
        "INSERT INTO public_trades VALUES ($1, 'BTC/USDT', 'binance', '1', 'buy', 1, 1, now())", NOW - 900 * DAY
    )
    await retain(database, connection)
    days = [
        (NOW.date() - row[0].date()).days for row in await connection.fetch("SELECT time FROM tick_data ORDER BY time")
    ]
    assert days == [7, 6, 5, 4, 3, 2, 1, 0]
    assert await connection.fetchval("SELECT count(*) FROM public_trades") == 1


async def test_what_a_journal_has_not_stored_yet_is_held(database: Database, connection: asyncpg.Connection) -> None:
    """Nothing at or after its oldest row goes, before it is released; the community edition's own policies rest."""
    await apply_settings(connection, Storage())
    await hold_retention(connection, "ticks-1", None)
    await hold_retention(connection, "ticks-2", NOW)
    await ticks(connection, range(-12, 1))
    assert await retention_rests(database, connection)
    await maintain(connection)
    assert await connection.fetchval("SELECT count(*) FROM tick_data") == 13
    await hold_retention(connection, "ticks-1", NOW - 10 * DAY)
    await maintain(connection)
    assert await connection.fetchval("SELECT $1 - min(time) FROM tick_data", NOW) == 10 * DAY
    assert await release_retention(connection, "ticks-2")
    assert await retention_rests(database, connection)
    assert await release_retention(connection, "ticks-1")
    assert not await release_retention(connection, "ticks-1")
    assert not await retention_rests(database, connection)
    await retain(database, connection)
    assert await connection.fetchval("SELECT $1 - min(time) FROM tick_data", NOW) == 7 * DAY


async def test_a_rollup_lives_as_long_as_its_minutes(database: Database, connection: asyncpg.Connection) -> None:
    """What is dropped from ohlcv leaves the hours and days, and nothing else does."""
    await hold_retention(connection, "ticks-1", None)  # or the community edition's own job may be too early
    await apply_settings(connection, storage(ohlcv=Chunked("1d", "2d", "10d")))
    for day in (20, 9, 1):
        await connection.execute("SELECT ensure_partitions('ohlcv', $1, $1)", NOW - day * DAY)
        await connection.execute(CANDLE, (NOW - day * DAY).replace(minute=0, second=0, microsecond=0))
    await refresh_rollups(connection)
    assert await connection.fetchval("SELECT count(*) FROM ohlcv_1d") == 3
    await release_retention(connection, "ticks-1")
    await retain(database, connection)
    await refresh_rollups(connection)
    for rollup in ("ohlcv_1h", "ohlcv_1d"):
        assert await connection.fetchrow(f"SELECT count(*), sum(candle_count) FROM {rollup}") == (2, 120)


async def test_rows_go_one_by_one_where_nothing_refers_to_them(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Of every user, though each sees only his own; a signal stays as long as its order, an open gap for ever."""
    await connection.execute("SELECT act_as('traderd')")
    await connection.execute(SIGNAL, "old", NOW - 6 * 366 * DAY, 7)
    await connection.execute(SIGNAL, "new", NOW, 2)
    await connection.execute(
        "INSERT INTO portfolios (id, name) VALUES (gen_random_uuid(), 'p');"
        "INSERT INTO orders (id, client_order_id, portfolio_id, signal_id, exchange, symbol, side, order_type,"
        " quantity, status, environment, created_at, updated_at, updated_ns)"
        " SELECT gen_random_uuid(), 'o', p.id, s.id, 'binance', 'BTC/USDT', 'buy',"
        " 'market', 1, 'filled', 'paper', '2001-01-01', now(), 0 FROM portfolios p, signals s"
        " WHERE signal_key = 'old3'"
    )
    await connection.execute(
        "INSERT INTO data_gaps (id, gap_key, exchange, reason, time_from, time_to, status)"
        " SELECT gen_random_uuid(), status, 'binance', 'x', '2001-01-01', t::timestamptz, status"
        " FROM (VALUES ('open', NULL), ('closed', '2001-01-02')) v(status, t)"
    )
    for user in ("ann", "bob"):
        await connection.execute(
            f"INSERT INTO users (username, email, password_hash) VALUES ('{user}', '{user}@example.org', '!');"
            f"SELECT act_as('{user}');"
            f"INSERT INTO alerts (id, alert_key, time, alert_type, severity, title, message, created_at)"
            f" SELECT gen_random_uuid(), '{user}' || n, now(), 'x', 'info', 'x', 'x', now() - n * interval '300 days'"
            f" FROM generate_series(0, 2) n"
        )
    daemon = await connect(database.dsn, role=APP_ROLE, acts_as="ann")
    try:
        done = await maintain(daemon, NOW)
    finally:
        await daemon.close()
    assert {work: amount for work, amount in done.items() if work.startswith("rows")} == {
        "rows of signals deleted": 6,
        "rows of alerts deleted": 2,
        "rows of data_gaps deleted": 1,
    }
    kept = await connection.fetch("SELECT signal_key FROM signals ORDER BY 1")
    assert [row[0] for row in kept] == ["new1", "new2", "old3"]


async def test_trades_go_after_their_term_with_the_orders_that_they_filled(plain: asyncpg.Connection) -> None:
    """If the configuration says so: by default they stay for ever."""
    await plain.execute("SELECT act_as('traderd')")
    await plain.execute(
        "INSERT INTO portfolios (id, name) VALUES (gen_random_uuid(), 'p');"
        "INSERT INTO orders (id, client_order_id, portfolio_id, exchange, symbol, side, order_type, quantity, status,"
        " environment, created_at, updated_at, updated_ns) SELECT gen_random_uuid(), 'o' || n, p.id, 'binance',"
        " 'BTC/USDT', 'buy', 'market', 1, 'filled', 'paper', now() - n * interval '4 years', now(), 0"
        " FROM portfolios p, generate_series(1, 4) n;"
        "INSERT INTO executions (id, execution_key, order_id, client_order_id, portfolio_id, exchange, symbol, side,"
        " quantity, price, commission, environment, time)"
        " SELECT gen_random_uuid(), client_order_id, id, client_order_id, portfolio_id, exchange, symbol, side,"
        " 1, 1, 0, 'paper', created_at FROM orders;"
        "INSERT INTO trades (id, order_id, portfolio_id, exchange, symbol, side, quantity, price, commission,"
        " realized_pnl, environment, executed_at)"
        " SELECT id, order_id, portfolio_id, exchange, symbol, side, 1, 1, 0, 0, 'paper', time FROM executions"
    )
    await maintain(plain)
    count = "SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM executions), (SELECT count(*) FROM orders)"
    assert await plain.fetchrow(count) == (4, 4, 4)
    await apply_settings(plain, storage(trades=Listed("10y")))
    await maintain(plain)
    assert await plain.fetchrow(count) == (2, 2, 2)


# --- Maintenance


async def test_the_daemon_maintains_without_rights_to_make_or_drop_a_table(
    database: Database, connection: asyncpg.Connection
) -> None:
    """It may neither write the settings nor the holds, except through the functions."""
    daemon = await connect(database.dsn, role=APP_ROLE)
    try:
        await hold_retention(daemon, "ticks-1", NOW)  # first: the community edition drops by itself
        await ticks(connection, [-12, 0])
        for forbidden in (
            "CREATE TABLE mine ()",
            "DELETE FROM retention_holds",
            "UPDATE row_retention SET keep_for = '1 day'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await daemon.execute(forbidden)
        done = await maintain(daemon)
        assert done["partitions of tick_data dropped"] == 1
        assert await release_retention(daemon, "ticks-1")
        await connection.execute("SELECT refresh_rollups()")
    finally:
        await daemon.close()


async def test_one_session_at_a_time_maintains(database: Database, connection: asyncpg.Connection) -> None:
    """The other is told so at once, and a session that is killed in the middle leaves nothing half done."""
    await hold_retention(connection, "ticks-1", NOW)  # so that the community edition has something to do as well
    await ticks(connection, [-12, -11, 0])
    other = await asyncpg.connect(database.dsn)
    await other.execute("BEGIN")
    while (piece := await maintain_a_piece(other)) and "dropped" not in piece.what:
        pass
    assert await maintain(connection) == {"busy": 0}
    await connection.execute("SELECT pg_terminate_backend($1, 5000)", other.get_server_pid())
    other.terminate()
    assert await connection.fetchval("SELECT count(*) FROM tick_data") == 3
    assert (await maintain(connection))["partitions of tick_data dropped"] == 2
    assert await connection.fetchval("SELECT count(*) FROM tick_data") == 1


async def test_a_reader_is_not_waited_for(connection: asyncpg.Connection, database: Database) -> None:
    """Whoever reads a table keeps it from being dropped from; the rest is done, and the next round drops."""
    if database.backend == "timescaledb-community":
        pytest.skip("there its own policies drop")
    await apply_settings(connection, storage(social_sentiment=Chunked("7d", "7d", "90d")))
    await ticks(connection, [-12, 0])
    other = await asyncpg.connect(database.dsn)
    try:
        async with other.transaction():
            await other.fetch("SELECT * FROM tick_data")
            started = time.monotonic()
            async with asyncio.timeout(20):
                assert "partitions of tick_data dropped" not in await maintain(connection)
            assert time.monotonic() - started < 15
        assert (await maintain(connection))["partitions of tick_data dropped"] == 1
    finally:
        await other.close()


async def test_all_of_it_in_one_statement_for_a_person(plain: asyncpg.Connection) -> None:
    """run_maintenance() does what the daemon does piece by piece."""
    await ticks(plain, [-12, 0])
    done = dict(await plain.fetch("SELECT * FROM run_maintenance()"))
    assert done["partitions of tick_data dropped"] == 1
    assert await plain.fetch("SELECT * FROM run_maintenance()") == []


async def test_what_a_person_should_know_is_told(database: Database, connection: asyncpg.Connection) -> None:
    """A hold that nobody renews, maintenance that doesn't happen, partitions and policies that are missing."""
    problems = "SELECT problem FROM storage_problems($1)"
    assert await connection.fetch(problems, NOW) == []
    assert [row[0] for row in await connection.fetch(problems, NOW + 2 * DAY)][:1] == [
        "maintenance has never been done"
    ]
    await maintain(connection, NOW)
    await hold_retention(connection, "ticks-1", NOW)
    assert await connection.fetch(problems, NOW) == []
    (held,) = await connection.fetch(problems, NOW + timedelta(hours=1))
    assert held[0].startswith("journal ticks-1 has held retention since")
    told = " ".join(row[0] for row in await connection.fetch(problems, NOW + 90 * DAY))
    assert "maintenance was last done" in told
    assert ("no partition for tomorrow: " in told) == (database.backend == "postgresql")
    if database.backend == "timescaledb-community":
        await connection.execute("SELECT remove_retention_policy('tick_data')")
        assert "no retention policy: tick_data" in [row[0] for row in await connection.fetch(problems, NOW)]


@pytest.mark.parametrize("backend", [pytest.param("timescaledb-community", marks=pytest.mark.community)], indirect=True)
async def test_a_new_databases_policies_wait_for_a_day_and_changed_terms_do_not(connection: asyncpg.Connection) -> None:
    """So that what a replay brings of years ago can be looked at, and a disk that is full is relieved."""
    waits = (
        "SELECT proc_name, coalesce(next_start > now() + interval '23 hours', false) FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'tick_data' ORDER BY 1"
    )
    policies = ("policy_compression", "policy_retention")
    assert [tuple(row) for row in await connection.fetch(waits)] == [(name, True) for name in policies]
    await apply_settings(connection, storage(tick_data=Chunked("1d", "3d", "5d")))
    assert [tuple(row) for row in await connection.fetch(waits)] == [(name, False) for name in policies]


@pytest.mark.parametrize("backend", [pytest.param("timescaledb-community", marks=pytest.mark.community)], indirect=True)
async def test_what_is_compressed_is_read_and_written_as_before(connection: asyncpg.Connection) -> None:
    """The policy compresses what is older than its term; a late candle and an amended one still get in."""
    for day in (40, 39, 1):
        await connection.execute(CANDLE, (NOW - day * DAY).replace(minute=0, second=0, microsecond=0))
    await run_jobs(connection, "policy_compression", "ohlcv")
    chunks = (
        "SELECT is_compressed, count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'ohlcv' GROUP BY 1"
    )
    assert dict(await connection.fetch(chunks))[True] >= 1
    assert await connection.fetchval("SELECT count(*) FROM ohlcv WHERE symbol = 'BTC/USDT'") == 180
    old = (NOW - 40 * DAY).replace(minute=0, second=0, microsecond=0)
    await connection.execute(CANDLE, old)
    await connection.execute(CANDLE, old - timedelta(hours=1))
    assert await connection.fetchrow("SELECT count(*), sum(high) FROM ohlcv") == (240, 300)
    await refresh_rollups(connection)
    assert await connection.fetchrow("SELECT count(*), sum(candle_count) FROM ohlcv_1h") == (4, 240)


@pytest.mark.parametrize("backend", [pytest.param("timescaledb-community", marks=pytest.mark.community)], indirect=True)
async def test_trades_are_compressed_four_thousand_at_a_time_and_without_bloom_filters(
    connection: asyncpg.Connection,
) -> None:
    """What the server's job makes of them, in a session with its owner's settings; a second start changes nothing.

    A version that takes no more than a thousand at a time is left at that.
    """
    most = await connection.fetchval(
        "SELECT max_val::integer FROM pg_settings WHERE name = 'timescaledb.compression_batch_size_limit'"
    )
    await apply_settings(connection, Storage())
    assert await apply_settings(connection, Storage()) == ()
    settings = await connection.fetch(
        "SELECT split_part(each, '=', 1), split_part(each, '=', 2) FROM pg_db_role_setting s JOIN pg_database d"
        " ON d.oid = setdatabase AND datname = current_database(), unnest(setconfig) each"
        " WHERE setrole = (SELECT relowner FROM pg_class WHERE oid = 'public_trades'::regclass)"
    )
    expected = [("timescaledb.compression_batch_size_limit", "4000")] if most >= 4_000 else []
    assert [tuple(row) for row in settings] == expected
    await trade(connection, 5_000)
    for setting in settings:
        await connection.execute("SELECT set_config($1, $2, false)", *setting)
    await run_jobs(connection, "policy_compression", "public_trades")
    compressed = await connection.fetchval(f"SELECT compress_relid::text {COMPRESSED}")
    batches = await connection.fetch(f"SELECT _ts_meta_count AS rows FROM {compressed} ORDER BY 1")
    assert [row["rows"] for row in batches] == ([1_000, 4_000] if most >= 4_000 else [1_000] * 5)
    columns = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname LIKE '%bloom%'", compressed
    )
    assert columns == []
    assert await connection.fetchval("SELECT count(*) FROM public_trades WHERE trade_id = '17'") == 1


async def trade(connection: asyncpg.Connection, count: int) -> None:
    """So many, one a second, ten days ago."""
    await connection.execute(
        "INSERT INTO public_trades (time, symbol, exchange, trade_id, side, price, quantity, time_received)"
        " SELECT at, 'BTC/USDT', 'binance', n::text, 'buy', n, 1, at FROM generate_series(1, $2::integer) n,"
        " LATERAL (SELECT $1::timestamptz + n * interval '1 second' AS at) moment",
        TEN_DAYS_AGO,
        count,
    )


@pytest.mark.parametrize("backend", [pytest.param("timescaledb-community", marks=pytest.mark.community)], indirect=True)
@pytest.mark.parametrize("unfortunate", [False, True])
async def test_compressed_trades_are_read_and_amended_as_others_are(
    unfortunate: bool, connection: asyncpg.Connection, database: Database
) -> None:
    """By whoever heals a hole in them, and by a late one that is stored: of one symbol and venue.

    Also those that were compressed with nothing noted of a batch, with which versions since 2.26 crash.
    """
    await trade(connection, 100)
    if unfortunate:
        await connection.execute("ALTER TABLE public_trades SET (timescaledb.sparse_index = '')")
    await run_jobs(connection, "policy_compression", "public_trades")
    assert await connection.fetchval(f"SELECT count(*) {COMPRESSED}") == 1
    changes = await apply_settings(connection, Storage())
    assert any("compressed anew" in change for change in changes) == unfortunate
    assert await apply_settings(connection, Storage()) == ()
    at = int(TEN_DAYS_AGO.timestamp()) * 10**9
    gap = Gap("r-g1", "binance", "BTC/USDT", "trade", "stale", at + 50 * 10**9, at + 60 * 10**9, status="healed")
    records = GapStore(database.dsn, 10)
    before, after = await records.sides(gap, "BTC/USDT")
    assert before and after and (before.trade_id, after.trade_id) == ("50", "60")
    names = [("17", at + 17 * 10**9), ("x", at + 18 * 10**9)]
    assert await records.stored("binance", "BTC/USDT", names) == {"17"}
    await connection.execute(
        "INSERT INTO public_trades (time, symbol, exchange, trade_id, side, price, quantity, time_received, backfilled)"
        " SELECT time, symbol, exchange, late, side, 7, 1, time_received, true FROM public_trades,"
        " unnest('{55, 55a}'::text[]) late WHERE trade_id = '55' ON CONFLICT DO NOTHING"
    )
    await records.derive(gap, "BTC/USDT", "1m", at, at + 120 * 10**9)
    await records.close()
    bars = await connection.fetch("SELECT open, high, low, close, trades_count FROM ohlcv ORDER BY time")
    assert [tuple(bar) for bar in bars] == [(1, 59, 1, 59, 60), (60, 100, 60, 100, 41)]


async def ticks(connection: asyncpg.Connection, days: object) -> None:
    for day in days:  # type: ignore[attr-defined]
        await connection.execute("SELECT ensure_partitions('tick_data', $1, $1)", NOW + day * DAY)
        await connection.execute(TICK, NOW + day * DAY)


async def retain(database: Database, connection: asyncpg.Connection) -> None:
    """What the daemon does, and what the community edition's scheduler would do."""
    await maintain(connection)
    if database.backend == "timescaledb-community":
        await run_jobs(connection, "policy_retention")


async def run_jobs(connection: asyncpg.Connection, name: str, table: str = "") -> None:
    jobs = await connection.fetch(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = $1 AND hypertable_name LIKE $2",
        name,
        table or "%",
    )
    for (job,) in jobs:
        await connection.execute(f"CALL run_job({job})")


async def retention_rests(database: Database, connection: asyncpg.Connection) -> bool:
    if database.backend != "timescaledb-community":
        return bool(await connection.fetchval("SELECT count(*) FROM retention_holds"))
    rests = await connection.fetch(
        "SELECT DISTINCT NOT scheduled FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_schema = 'public'"
    )
    assert len(rests) == 1
    return bool(rests[0][0])
