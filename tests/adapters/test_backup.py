"""`traderd db backup` and `restore`: what comes back is what was there, and what isn't whole never counts."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from conftest import Database
from traderd.adapters import backup as backup_module
from traderd.adapters import restore as restore_module
from traderd.adapters.backup import backup, manifest_of
from traderd.adapters.holdings import Holdings, holdings, row_counts
from traderd.adapters.postgres_programs import Programs, find_programs
from traderd.adapters.restore import checked_manifest, restore
from traderd.adapters.rotation import Keep, stamp
from traderd.adapters.whole_files import BackupError, folder_to_ourselves, sha256_of
from traderd.core.errors import StoreUnavailableError

AT = datetime(2025, 6, 1, 2, tzinfo=UTC)
USER = "00000000-0000-4000-8000-000000000001"
ROWS = f"""
    SET app.current_user_id = '{USER}';
    SELECT ensure_partitions('ohlcv', '2025-01-01', '2025-02-01'),
           ensure_partitions('tick_data', '2025-01-01', '2025-01-03'),
           ensure_partitions('equity_history', '2025-01-01', '2025-01-03');
    INSERT INTO ohlcv (time, symbol, exchange, timeframe, open, high, low, close, volume, quote_volume, trades_count)
    SELECT timestamptz '2025-01-01' + i * interval '1 hour', 'S' || i % 3, 'binance', '1h', 1, 2.50, 0.1, 1, i, i, i
    FROM generate_series(1, 500) i;
    INSERT INTO tick_data (time, symbol, exchange, bid, ask, sequence)
    SELECT timestamptz '2025-01-01' + i * interval '1 minute', 'BTC/USDT', 'binance', i, i + 0.10, i
    FROM generate_series(1, 1000) i;
    INSERT INTO instruments (id, exchange, symbol, venue_symbol, base, quote, price_tick, quantity_step, notional_min)
    VALUES (gen_random_uuid(), 'binance', 'BTC/USDT', 'BTCUSDT', 'BTC', 'USDT', 0.01, 0.00001, 5);
    INSERT INTO portfolios (id, name, environment, cash_balance) VALUES (gen_random_uuid(), 'paper', 'paper', 99.990);
    INSERT INTO strategies (id, name, parameters) VALUES (gen_random_uuid(), E'a\\tb\\\\c\\n"ü"', '{{"x": [1, null]}}');
    INSERT INTO equity_history SELECT '2025-01-02', id, 1, 1, 0, 0, 0, 0, 1, 0, 1, 'USDT', 'paper' FROM portfolios;
    INSERT INTO alerts (id, alert_key, time, alert_type, severity, title, message)
    SELECT gen_random_uuid(), 'k' || i, now(), 'test', 'info', 't', repeat('m', i) FROM generate_series(1, 200) i"""
COMPRESSED = """
    CREATE TABLE squeezed (time timestamptz NOT NULL, n integer);
    SELECT create_hypertable('squeezed', by_range('time', interval '1 day'));
    ALTER TABLE squeezed SET (timescaledb.compress);
    INSERT INTO squeezed SELECT timestamptz '2025-01-01' + i * interval '1 minute', i FROM generate_series(1, 3000) i;
    GRANT SELECT ON squeezed TO traderd_backup;
    SELECT compress_chunk(c) FROM (SELECT c FROM show_chunks('squeezed') c ORDER BY c LIMIT 2) q"""


@pytest.fixture
async def filled(database: Database) -> Database:
    """Rows in tables of every kind, of which the policies' jobs won't drop or compress any."""
    if database.backend == "timescaledb-community":
        await _execute(database.dsn, "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        await _execute(database.dsn, COMPRESSED)
    await _execute(database.dsn, ROWS)
    return database


async def test_what_comes_back_is_what_was_there(filled: Database, empty_database: Database, tmp_path: Path) -> None:
    """Every table's rows, compared by a checksum over their text; partitions, chunks and compressed chunks included.

    Where it isn't what the manifest says, the database is as empty as before: the true manifest's restore goes in then.
    """
    expected = await _checksums(filled.dsn)
    report = await backup(filled.dsn, tmp_path, AT)
    assert [warning for warning in report.warnings if not warning.startswith("TimescaleDB")] == []
    manifest = Path(report.manifest)
    true = manifest.read_bytes()
    told = msgspec.json.decode(true)
    told["rows"]["public.alerts"] += 1
    manifest.write_bytes(msgspec.json.encode(told))
    with pytest.raises(BackupError, match=r"public.alerts: 200 rows instead of 201; everything was dropped again"):
        await restore(Path(report.file), empty_database.dsn)
    manifest.write_bytes(true)
    restored = await restore(Path(report.file), empty_database.dsn)
    assert await _checksums(empty_database.dsn) == expected
    assert restored.rows == report.rows == sum(rows for rows, _ in expected.values()) > 1_700
    assert restored.tables == report.tables == len(expected)
    assert await _catalogue(empty_database.dsn) == await _catalogue(filled.dsn)
    await _takes_new_rows(empty_database)


@pytest.mark.parametrize("backend", [pytest.param("timescaledb-community", marks=pytest.mark.community)], indirect=True)
async def test_a_column_of_nothing_but_null_comes_back_or_is_warned_of(
    filled: Database, empty_database: Database, tmp_path: Path
) -> None:
    """TimescaleDB 2.19 can't read what it writes for one in a compressed chunk."""
    await _execute(
        filled.dsn,
        "INSERT INTO squeezed SELECT '2025-02-01'::timestamptz + i * interval '1 s'"
        " FROM generate_series(1, 9) i; SELECT compress_chunk(c) FROM show_chunks('squeezed') c",
    )
    report = await backup(filled.dsn, tmp_path, AT)
    if not report.warnings:
        await restore(Path(report.file), empty_database.dsn)
        assert await _checksums(empty_database.dsn) == await _checksums(filled.dsn)
        return
    assert "can't restore compressed columns in which all values are NULL" in report.warnings[0]
    with pytest.raises(BackupError, match="returned NULL"):
        await restore(Path(report.file), empty_database.dsn)
    assert await _value(empty_database.dsn, "SELECT to_regclass('public.squeezed')") is None


async def test_row_level_security_does_not_cut_a_dump(
    filled: Database, empty_database: Database, tmp_path: Path
) -> None:
    """Not for a login that may be traderd_backup; one that may not, and isn't told everything, is refused."""
    table = "CREATE TABLE secret (n integer); INSERT INTO secret SELECT generate_series(1, 7)"
    forced = (
        "ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        " CREATE POLICY nobody ON secret USING (false); GRANT SELECT ON secret TO traderd_backup"
    )
    await _execute(filled.dsn, f"{table}; {forced}")
    name = f"dumper_{os.getpid()}"
    login = urlsplit(filled.dsn)
    host = login.netloc.rpartition("@")[2]
    dsn = login._replace(netloc=f"{name}:p%40ss@{host}").geturl()
    await _executed_in_the_end(filled.dsn, f"CREATE ROLE {name} LOGIN PASSWORD 'p@ss'")
    try:
        with pytest.raises(BackupError, match=rf'role "{name}" may not read .*: a backup of a part is no backup'):
            await backup(dsn, tmp_path, AT)
        await _executed_in_the_end(filled.dsn, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        await _executed_in_the_end(filled.dsn, f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}")
        schemas = "SELECT string_agg(quote_ident(nspname), ', ') FROM our_schemas()"
        await _executed_in_the_end(filled.dsn, f"GRANT USAGE ON SCHEMA {await _value(filled.dsn, schemas)} TO {name}")
        with pytest.raises((BackupError, StoreUnavailableError), match="row-level security"):
            await backup(dsn, tmp_path, AT)
        assert list(tmp_path.glob("traderd-*")) == []
        await _executed_in_the_end(filled.dsn, f"DROP OWNED BY {name}; GRANT traderd_backup TO {name}")
        report = await backup(dsn, tmp_path, AT)
    finally:
        await _executed_in_the_end(filled.dsn, f"DROP OWNED BY {name}; DROP ROLE {name}")
    await restore(Path(report.file), empty_database.dsn)
    assert await _value(empty_database.dsn, "SELECT count(*) FROM secret") == 7
    assert await _value(empty_database.dsn, "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'secret'")


async def test_a_dump_is_of_one_moment(plain_database: Database, tmp_path: Path) -> None:
    """Rows that come while it runs are neither in it nor in its counts; its progress never runs back."""
    await _execute(plain_database.dsn, ROWS)
    late: list[asyncio.Task[None]] = []
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if not late:
            late.append(asyncio.create_task(_execute(plain_database.dsn, "DELETE FROM alerts; DELETE FROM tick_data")))

    report = await backup(plain_database.dsn, tmp_path, AT, progress=progress)
    await late[0]
    manifest = checked_manifest(Path(report.file))
    assert (manifest.rows["public.alerts"], manifest.rows["public.tick_data"]) == (200, 1_000)
    assert seen == sorted(seen)
    assert 0 < seen[-1][0] <= seen[-1][1]


async def test_no_table_is_emptied_behind_the_dumps_back(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRUNCATE, as compression does, would be seen by the older snapshot too; it has to wait, in a chunk as well."""
    chunk = "SELECT tableoid::regclass::text FROM ohlcv LIMIT 1"
    refused: list[str] = []

    async def truncated_before_pg_dump_starts(connection: asyncpg.Connection) -> Holdings:
        for table in ("alerts", await _value(filled.dsn, chunk)):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await _execute(filled.dsn, f"SET lock_timeout = 200; TRUNCATE {table} CASCADE")
            refused.append(table)
        return await holdings(connection)

    monkeypatch.setattr(backup_module, "holdings", truncated_before_pg_dump_starts)
    report = await backup(filled.dsn, tmp_path, AT)
    assert len(refused) == 2
    rows = checked_manifest(Path(report.file)).rows
    assert (rows["public.alerts"], rows["public.ohlcv"]) == (200, 500)


async def test_a_dump_is_of_the_moment_when_its_last_lock_was_had(filled: Database, tmp_path: Path) -> None:
    """What was committed while it waited for a lock is in it: its snapshot is younger than all its locks."""
    other = await asyncpg.connect(filled.dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE alerts")
        await other.execute("DELETE FROM tick_data WHERE sequence > 900")
        backing_up = asyncio.create_task(backup(filled.dsn, tmp_path, AT))
        await _waiting(filled.dsn, "traderd backup")
    await other.close()
    rows = checked_manifest(Path((await backing_up).file)).rows
    assert (rows["public.alerts"], rows["public.tick_data"]) == (200, 900)


async def test_tables_that_come_and_go_while_the_locks_are_taken_do_not_hinder_a_dump(
    plain_database: Database, tmp_path: Path
) -> None:
    """It looks again: what is gone is left out, what is new is locked and dumped."""
    other = await asyncpg.connect(plain_database.dsn)
    await other.execute("CREATE TABLE goes (); GRANT SELECT ON goes TO traderd_backup")
    async with other.transaction():
        await other.execute("LOCK TABLE alerts")
        backing_up = asyncio.create_task(backup(plain_database.dsn, tmp_path, AT))
        await _waiting(plain_database.dsn, "traderd backup")
        await other.execute("DROP TABLE goes; CREATE TABLE came AS SELECT 1; GRANT SELECT ON came TO traderd_backup")
    await other.close()
    rows = checked_manifest(Path((await backing_up).file)).rows
    assert rows["public.came"] == 1
    assert "public.goes" not in rows


async def test_whoever_changes_a_table_between_the_two_locks_goes_first(
    plain_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would wait for the backup, pg_dump for him, and the backup for pg_dump: it lets go, and starts again."""
    await _execute(plain_database.dsn, ROWS)
    monkeypatch.setattr(backup_module, "_LOCK_WAIT_MS", 200)
    changes: list[asyncio.Task[None]] = []

    async def overtaken(connection: asyncpg.Connection) -> Holdings:
        if not changes:
            changing = "SET application_name = 'changing'; TRUNCATE alerts CASCADE"
            changes.append(asyncio.create_task(_execute(plain_database.dsn, changing)))
            await _waiting(plain_database.dsn, "changing")
        return await holdings(connection)

    monkeypatch.setattr(backup_module, "holdings", overtaken)
    report = await backup(plain_database.dsn, tmp_path, AT)
    await changes[0]
    rows = checked_manifest(Path(report.file)).rows
    assert (rows["public.alerts"], rows["public.tick_data"]) == (0, 1_000)


async def test_no_job_runs_before_the_rows_were_counted(
    filled: Database, empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention would drop at once what has expired since the dump, and the restore would be taken for a bad one."""
    if filled.backend == "postgresql":
        pytest.skip("it has no jobs of its own")
    stopped: list[object] = []
    setting = (
        "SELECT 'timescaledb.restoring=on' = ANY (setconfig) FROM pg_db_role_setting"
        " JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()"
    )

    async def counted(connection: asyncpg.Connection) -> dict[str, int]:
        stopped.append(await connection.fetchval(setting))
        return await row_counts(connection)

    report = await backup(filled.dsn, tmp_path, AT)
    monkeypatch.setattr(restore_module, "row_counts", counted)
    assert (await restore(Path(report.file), empty_database.dsn)).rows == report.rows
    assert stopped == [True]
    assert not await _value(empty_database.dsn, setting)


@pytest.fixture
async def dumped(plain_database: Database, tmp_path: Path) -> Path:
    """A good dump of plain PostgreSQL."""
    await _execute(plain_database.dsn, ROWS)
    return Path((await backup(plain_database.dsn, tmp_path, AT)).file)


@pytest.fixture
async def vacant(plain_database: Database) -> AsyncIterator[str]:
    """The DSN of an empty database beside it."""
    name = f"vacant_{os.getpid()}"
    await _execute(plain_database.server.dsn, f"CREATE DATABASE {name} TEMPLATE template0")
    yield urlsplit(plain_database.server.dsn)._replace(path=f"/{name}").geturl()
    await _execute(plain_database.server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_dump_that_is_not_what_its_manifest_says_is_refused(dumped: Path, vacant: str) -> None:
    """Cut short, one bit flipped, another one's manifest, or none: nothing touches the database."""
    whole = dumped.read_bytes()
    dumped.write_bytes(whole[:-1])
    with pytest.raises(BackupError, match="it is not whole"):
        await restore(dumped, vacant)
    dumped.write_bytes(whole[:5_000] + bytes([whole[5_000] ^ 1]) + whole[5_001:])
    with pytest.raises(BackupError, match="is damaged"):
        await restore(dumped, vacant)
    dumped.write_bytes(whole)
    manifest = manifest_of(dumped)
    text = manifest.read_text()
    manifest.write_text(text.replace("20250601T020000Z", "20250602T020000Z"))
    with pytest.raises(BackupError, match="is the manifest of traderd-20250602T020000Z"):
        await restore(dumped, vacant)
    manifest.write_text(text[:100])
    with pytest.raises(BackupError, match="is no manifest"):
        await restore(dumped, vacant)
    manifest.unlink()
    with pytest.raises(BackupError, match=r"20250601T020000Z\.json: No such file"):
        await restore(dumped, vacant)


async def test_a_dump_that_breaks_off_leaves_nothing_behind(dumped: Path, vacant: str) -> None:
    """A manifest that vouches for half a dump doesn't help: pg_restore's transaction is rolled back."""
    half = dumped.read_bytes()[: dumped.stat().st_size - 3_000]
    dumped.write_bytes(half)
    told = msgspec.json.decode(manifest_of(dumped).read_bytes())
    told |= {"size": len(half), "sha256": sha256_of(dumped)}
    manifest_of(dumped).write_bytes(msgspec.json.encode(told))
    with pytest.raises(BackupError, match="pg_restore failed"):
        await restore(dumped, vacant)
    assert await _value(vacant, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0


async def test_a_dump_of_plain_postgresql_goes_into_a_server_with_timescaledb(
    dumped: Path, empty_database: Database
) -> None:
    """It stays what it was: native partitions, and no extension. (The test's servers are of different ages.)"""
    if await _value(empty_database.dsn, "SELECT current_setting('server_version_num')::integer < 170000"):
        pytest.skip("a server older than 17 knows not all settings that the dump of a newer one begins with")
    told = msgspec.json.decode(manifest_of(dumped).read_bytes())
    manifest_of(dumped).write_bytes(msgspec.json.encode(told | {"source": told["source"] | {"server_version": "15.0"}}))
    await restore(dumped, empty_database.dsn)
    assert await _value(empty_database.dsn, "SELECT backend_kind()") == "postgresql"
    assert await _value(empty_database.dsn, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 0


async def test_what_this_server_cannot_take_is_told_in_words(dumped: Path, vacant: str) -> None:
    """PostgreSQL promises the way up only, TimescaleDB's catalogue is in the dump, and nobody's grants are left out."""
    told = msgspec.json.decode(manifest_of(dumped).read_bytes())
    for changed, words in (
        ({"server_version": "99.1"}, r"from PostgreSQL 99, and this server is \d+: one of 99 or newer is needed"),
        ({"timescaledb": "2.19.3"}, r"of TimescaleDB 2.19.3, and only that version can restore it"),
        ({"grantees": ["reporting"]}, 'names the role "reporting"'),
    ):
        manifest_of(dumped).write_bytes(msgspec.json.encode(told | {"source": told["source"] | changed}))
        with pytest.raises(BackupError, match=words):
            await restore(dumped, vacant)
    await _execute(vacant, "CREATE TABLE mine (n integer)")
    with pytest.raises(BackupError, match=r'the database "vacant_\d+" is not empty: it holds public.mine'):
        await restore(dumped, vacant)
    assert await _value(vacant, "SELECT count(*) FROM mine") == 0


async def test_a_dump_that_pg_restore_cannot_read_never_gets_a_name(
    plain_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here pg_dump says that all is well, but its last bytes are lost."""
    real = find_programs(16)
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "pg_dump").write_text(f'#!/bin/sh\n{real.dump} "$@" | head -c 20000\n')
    (broken / "pg_dump").chmod(0o755)
    (broken / "pg_restore").symlink_to(real.restore)
    monkeypatch.setattr(backup_module, "find_programs", lambda major: Programs(broken, real.version))
    with pytest.raises(BackupError, match="pg_restore failed: "):
        await backup(plain_database.dsn, tmp_path / "backups", AT)
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [".lock"]


async def test_a_rotation_follows_the_new_backup(plain_database: Database, tmp_path: Path) -> None:
    """Only then, with the manifests; foreign files stay, and so does what a wrong clock dated ahead."""
    nights = [AT - timedelta(days=days) for days in (0, 1, 2, 3, -9)][1:]
    for night in nights:
        for ending in ("dump", "json"):
            (tmp_path / f"traderd-{stamp(night)}.{ending}").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / f".traderd-{stamp(nights[0])}.dump.part").write_text("what a killed one left")
    report = await backup(plain_database.dsn, tmp_path, AT, keep=Keep(daily=3, weekly=0, monthly=0))
    assert report.deleted == (f"traderd-{stamp(nights[2])}.dump",)
    left = {AT, nights[0], nights[1], nights[3]}
    names = {f"traderd-{stamp(at)}.{ending}" for at in left for ending in ("dump", "json")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"notes.txt", ".lock"}


async def test_two_backups_into_one_folder_do_not_meet(plain_database: Database, tmp_path: Path) -> None:
    """The second is refused, and so is one that would write over another."""
    with folder_to_ourselves(tmp_path), pytest.raises(BackupError, match="another traderd is writing into"):
        await backup(plain_database.dsn, tmp_path, AT)
    report = await backup(plain_database.dsn, tmp_path, AT)
    with pytest.raises(BackupError, match="exists already"):
        await backup(plain_database.dsn, tmp_path, AT)
    assert checked_manifest(Path(report.file)).source.backend == "postgresql"
    assert Path(report.file).stat().st_mode & 0o077 == 0


@pytest.fixture
def gpg_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The fingerprint of a key that lives as long as the test. Its folder's path is short: it holds sockets."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    home = tempfile.mkdtemp(prefix="gpg-", dir="/tmp")
    monkeypatch.setenv("GNUPGHOME", home)
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "backup@example.org"]
    subprocess.run([*make, "future-default", "default", "never"], check=True, capture_output=True)
    listed = subprocess.run(["gpg", "--with-colons", "--list-keys"], check=True, capture_output=True, text=True).stdout
    yield next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


async def test_a_backup_for_gpg_comes_back_with_the_key_only(
    plain_database: Database, vacant: str, gpg_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is on the disk in clear; without the key the database stays empty."""
    await _execute(plain_database.dsn, ROWS)
    report = await backup(plain_database.dsn, tmp_path, AT, encrypt_to=f"gpg:{gpg_key}")
    dump = Path(report.file)
    assert dump.name == "traderd-20250601T020000Z.dump.gpg"
    assert b"PGDMP" not in dump.read_bytes()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("GNUPGHOME", str(tmp_path / "no-keys"))
        (tmp_path / "no-keys").mkdir(mode=0o700)
        with pytest.raises(BackupError, match="gpg failed"):
            await restore(dump, vacant)
    await restore(dump, vacant)
    assert await _checksums(vacant) == await _checksums(plain_database.dsn)


async def test_a_recipient_whom_gpg_does_not_know_is_told(
    plain_database: Database, gpg_key: str, tmp_path: Path
) -> None:
    """In gpg's words, and no file is left."""
    with pytest.raises(BackupError, match=r"gpg failed: .*nobody@example.org"):
        await backup(plain_database.dsn, tmp_path, AT, encrypt_to="gpg:nobody@example.org")
    assert list(tmp_path.glob("*traderd-*")) == []


async def test_a_backup_for_age_comes_back_with_its_identity(
    plain_database: Database, vacant: str, tmp_path: Path
) -> None:
    """Which must be given."""
    if shutil.which("age") is None:
        pytest.skip("age is not installed")
    identity = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", str(identity)], check=True, capture_output=True)
    recipient = next(line.split()[-1] for line in identity.read_text().splitlines() if "public key" in line)
    await _execute(plain_database.dsn, ROWS)
    report = await backup(plain_database.dsn, tmp_path, AT, encrypt_to=f"age:{recipient}")
    dump = Path(report.file)
    assert dump.suffix == ".age"
    assert b"PGDMP" not in dump.read_bytes()
    with pytest.raises(BackupError, match="--identity"):
        await restore(dump, vacant)
    await restore(dump, vacant, identity)
    assert await _checksums(vacant) == await _checksums(plain_database.dsn)


@pytest.mark.parametrize("program", ["age", "gpg"])
async def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked of a database."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match=f"{program} is not installed"):
        await backup("postgresql://nowhere.invalid/x", tmp_path / "backups", AT, encrypt_to=f"{program}:somebody")
    assert not (tmp_path / "backups").exists()


async def _takes_new_rows(database: Database) -> None:
    """TimescaleDB is out of its restoring mode, and partitions and chunks are made."""
    await _execute(
        database.dsn,
        "SELECT ensure_partitions('tick_data', '2025-03-01', '2025-03-01');"
        "INSERT INTO tick_data (time, symbol, exchange, sequence) VALUES ('2025-03-01', 'BTC/USDT', 'binance', 1)",
    )
    assert await _value(database.dsn, "SELECT count(*) FROM tick_data") == 1_001
    assert await _value(database.dsn, "SELECT backend_kind()") == database.backend
    assert await _value(database.dsn, "SELECT current_setting('timescaledb.restoring', true)") in (None, "off")


async def _execute(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"client_min_messages": "error"})
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def _executed_in_the_end(dsn: str, statements: str) -> None:
    """Roles are the whole server's, and GRANT locks nothing: another worker's tests, or a job, may be in the way."""
    for tries_left in reversed(range(10)):
        try:
            return await _execute(dsn, statements)
        except asyncpg.InternalServerError as error:
            if not tries_left or "concurrently" not in str(error):
                raise
            await asyncio.sleep(0.05)


async def _waiting(dsn: str, name: str) -> None:
    """Until a session of this application waits for a lock."""
    query = f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = '{name}'"
    async with asyncio.timeout(20):
        while not await _value(dsn, f"{query} AND datname = current_database()"):
            await asyncio.sleep(0.02)


async def _value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _checksums(dsn: str) -> dict[str, tuple[int, str]]:
    """Rows, and the MD5 of their text in order, by table."""
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    query = "SELECT count(*), md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM {} t"
    try:
        return {name: tuple(await connection.fetchrow(query.format(name))) for name in await row_counts(connection)}
    finally:
        await connection.close()


async def _catalogue(dsn: str) -> list[tuple[str, ...]]:
    """Owners and rights of everything of ours, and its triggers, policies and constraints."""
    connection = await asyncpg.connect(dsn)
    query = r"""
        SELECT 'relation', c.oid::regclass::text, relkind::text || pg_get_userbyid(relowner),
               (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a)
        FROM pg_class c JOIN our_schemas() s ON s.oid = relnamespace
        UNION ALL SELECT 'routine', p.oid::regprocedure::text, pg_get_userbyid(proowner),
               (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(proacl) a)
        FROM pg_proc p JOIN our_schemas() s ON s.oid = pronamespace WHERE NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid::regclass::text NOT LIKE '\_timescale%'
        UNION ALL SELECT 'policy', polrelid::regclass::text, polname, pg_get_expr(polqual, polrelid) FROM pg_policy
        ORDER BY 1, 2, 3"""
    try:
        return [tuple(map(str, row)) for row in await connection.fetch(query)]
    finally:
        await connection.close()
