"""The audit log: appended only, complete, in order; and what somebody did to it all the same is found."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Database
from traderd.adapters.audit import Head, Verdict, entries, note_broken, record, sign, verify
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, connect

ORDER = """
    INSERT INTO orders (id, client_order_id, portfolio_id, exchange, symbol, side, order_type, quantity, status,
                        environment, created_at, updated_at, updated_ns)
    SELECT gen_random_uuid(), $1, id, 'binance', 'BTC/USDT', 'buy', 'limit', 1, $2, 'paper', now(), now(), 1
    FROM portfolios RETURNING id"""
PORTFOLIO = "INSERT INTO portfolios (id, name) VALUES (gen_random_uuid(), 'paper')"


@pytest.fixture
async def app(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """As the daemon connects."""
    connection = await connect(database.dsn, role=APP_ROLE, acts_as=DAEMON_USER)
    yield connection
    await connection.close()


@pytest.fixture
async def plain(plain_database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's, on plain PostgreSQL, with ten rows in the log."""
    connection = await asyncpg.connect(plain_database.dsn)
    await write(connection, 10)
    yield connection
    await connection.close()


async def write(connection: asyncpg.Connection, rows: int) -> None:
    await connection.execute(
        "INSERT INTO audit_logs (action, resource_type, resource_id, new_values)"
        " SELECT 'tested', 'test', i::text, jsonb_build_object('i', i) FROM generate_series(1, $1::integer) i",
        rows,
    )


async def behind_the_triggers(connection: asyncpg.Connection, *statements: str) -> None:
    """As whoever rules the server may."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)


async def actions(connection: asyncpg.Connection, resource_type: str) -> list[str]:
    return [e.action async for e in entries(connection) if e.resource_type == resource_type]


async def test_nobody_changes_or_removes_a_row(app: asyncpg.Connection, database: Database) -> None:
    """The daemon's role lacks the right, the owner and a superuser meet the trigger."""
    await write(app, 2)
    statements = ("UPDATE audit_logs SET action = 'other'", "DELETE FROM audit_logs", "TRUNCATE audit_logs")
    for statement in (*statements, "UPDATE audit_chain SET sequence = 0", "DELETE FROM audit_chain"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)
    superuser = await asyncpg.connect(database.dsn)
    for role in ("postgres", "traderd_owner"):
        await superuser.execute(f"SET ROLE {role}")
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit logs can only be appended"):
                await superuser.execute(statement)
    await superuser.close()
    assert await verify(app) == Verdict(2, (await verify(app)).head)


async def test_a_row_cannot_choose_its_place_time_or_hash(app: asyncpg.Connection) -> None:
    """The trigger does, for everybody."""
    await write(app, 1)
    row = await app.fetchrow(
        "INSERT INTO audit_logs (sequence, format, time, action, resource_type, previous_hash, hash)"
        " VALUES (77, 9, '2000-01-01', 'tested', 'test', 'x', 'y') RETURNING *"
    )
    assert (row["sequence"], row["format"]) == (2, 1)
    assert abs((datetime.now(UTC) - row["time"]).total_seconds()) < 60
    first = await app.fetchrow("SELECT hash, audit_text(a) AS text FROM audit_logs a WHERE sequence = 1")
    assert first["hash"] == hashlib.sha256(bytes(32) + first["text"].encode()).digest()
    assert row["previous_hash"] == first["hash"]
    assert (await verify(app)).broken_at is None


async def test_every_step_of_an_order_is_told_in_the_transaction_of_the_step(app: asyncpg.Connection) -> None:
    """Also of one that is done before it is first stored; and nothing of a step that was taken back."""
    await app.execute(PORTFOLIO)
    order = await app.fetchval(ORDER, "o1", "pending")
    for status in ("open", "open", "partially_filled", "filled"):
        await app.execute("UPDATE orders SET status = $2, updated_ns = updated_ns + 1 WHERE id = $1", order, status)
    await app.fetchval(ORDER, "o2", "rejected")
    amended = await app.fetchval(ORDER, "o3", "open")
    await app.execute("UPDATE orders SET price = 5 WHERE id = $1", amended)
    await app.execute("DELETE FROM orders WHERE id = $1", amended)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with app.transaction():
            await app.fetchval(ORDER, "o4", "open")
            await app.fetchval(ORDER, "o4", "open")
    told = [entry async for entry in entries(app)]
    assert [entry.action for entry in told if entry.resource_type == "order"] == [
        "order_placed", "order_opened", "order_partially_filled", "order_filled",
        "order_placed", "order_rejected",
        "order_placed", "order_changed", "order_deleted",
    ]  # fmt: skip
    assert {entry.username for entry in told} == {"traderd"}
    opened = next(entry for entry in told if entry.action == "order_opened")
    assert (opened.resource_id, opened.old_values["status"], opened.new_values["status"]) == (
        str(order),
        "pending",
        "open",
    )
    assert (await verify(app)).broken_at is None


async def test_what_people_decide_is_told_without_secrets_and_names(plain_database: Database) -> None:
    """Strategies, accounts, keys, credentials, settings, breakers; figures that change by themselves are not."""
    connection = await connect(plain_database.dsn, acts_as=DAEMON_USER)
    await connection.execute(
        """
        INSERT INTO strategies (id, name, status) VALUES (gen_random_uuid(), 'cross', 'draft');
        UPDATE strategies SET status = 'active'; UPDATE strategies SET parameters = '{"fast": 9}', total_pnl = 5;
        UPDATE strategies SET total_pnl = 6, last_signal_at = now(); UPDATE strategies SET status = 'stopped';
        DELETE FROM strategies;
        INSERT INTO users (username, email, password_hash, first_name)
        VALUES ('carol', 'c@hunter2.org', 'hunter2', 'hunter2');
        UPDATE users SET role = 'trader' WHERE username = 'carol';
        UPDATE users SET email = 'd@hunter2.org', first_name = NULL WHERE username = 'carol';
        UPDATE users SET last_login_at = now(), failed_login_attempts = 2 WHERE username = 'carol';
        UPDATE users SET is_active = false WHERE username = 'carol';
        INSERT INTO api_keys (name, key_prefix, key_hash) VALUES ('hunter2', 'tk_', repeat('a', 64));
        UPDATE api_keys SET total_requests = 1; DELETE FROM api_keys;
        INSERT INTO exchange_credentials (name, exchange, api_key_encrypted, api_secret_encrypted)
        VALUES ('hunter2', 'kraken', 'hunter2', 'hunter2');
        INSERT INTO configurations (key, value) VALUES ('risk', '{"x": 1}');
        UPDATE configurations SET value = '{"x": 2}';
        INSERT INTO circuit_breaker_events (id, event_key, trigger_type, threshold_value, actual_value, triggered_at)
        VALUES (gen_random_uuid(), 'b', 'drawdown', 10, 11, now());
        UPDATE circuit_breaker_events SET resolved_at = now()"""
    )
    told = [entry async for entry in entries(connection)]
    assert [entry.action for entry in told] == [
        "strategy_created", "strategy_activated", "strategy_updated", "strategy_deactivated", "strategy_deleted",
        "user_created", "user_role_changed", "user_updated", "user_deactivated",
        "api_key_created", "api_key_deleted", "exchange_credential_created",
        "settings_changed", "settings_changed", "circuit_breaker_tripped", "circuit_breaker_reset",
    ]  # fmt: skip
    written = repr(await connection.fetch("SELECT audit_text(a) FROM audit_logs a"))
    for secret in ("hunter2", "c@", "d@", "carol", "a" * 64, b"hunter2".hex()):
        assert secret not in written
    assert told[2].old_values == {"parameters": {}}
    assert told[2].new_values == {"parameters": {"fast": 9}}
    assert told[7].new_values == {"email": "(withheld)", "first_name": None}
    assert told[13].resource_id == "risk"
    await connection.close()


async def test_an_operators_act_names_the_operator(plain: asyncpg.Connection) -> None:
    """By `record`; and once the connection is signed, also in what the triggers write."""
    await record(plain, "database_restored", "database", "traderd", new={"rows": 5}, metadata={"file": "x.dump"})
    await sign(plain, "users add")
    await plain.execute("INSERT INTO configurations (key, value) VALUES ('x', '1')")
    by_record, by_trigger = [entry async for entry in entries(plain)][-2:]
    assert by_record.new_values == {"rows": 5}
    assert by_record.metadata["file"] == "x.dump"
    assert set(by_record.metadata["operator"]) == {"account", "host"}
    assert by_trigger.metadata["operator"] == {**by_record.metadata["operator"], "command": "users add"}
    assert (await verify(plain)).broken_at is None


SWAP = """
    UPDATE audit_logs SET sequence = -1 WHERE sequence = 4; UPDATE audit_logs SET sequence = 4 WHERE sequence = 5;
    UPDATE audit_logs SET sequence = 5 WHERE sequence = -1"""
FORGED = """
    INSERT INTO audit_logs (sequence, format, action, resource_type, previous_hash, hash)
    SELECT {0}, 1, 'forged', 'test', hash, '' FROM audit_logs WHERE sequence = {0} - 1;
    UPDATE audit_logs a SET hash = sha256(previous_hash || convert_to(audit_text(a), 'UTF8')) WHERE sequence = {0}"""
MAKE_ROOM = """
    UPDATE audit_logs SET sequence = -sequence WHERE sequence >= 5;
    UPDATE audit_logs SET sequence = 1 - sequence WHERE sequence < 0; UPDATE audit_chain SET sequence = sequence + 1"""


TAMPERED = [
    (["UPDATE audit_logs SET new_values = '{\"i\": 99}' WHERE sequence = 4"], 4, "was altered"),
    (["UPDATE audit_logs SET time = time + interval '1 microsecond' WHERE sequence = 10"], 10, "was altered"),
    (["UPDATE audit_logs SET user_id = gen_random_uuid() WHERE sequence = 1"], 1, "was altered"),
    (["UPDATE audit_logs SET format = 2 WHERE sequence = 3"], 3, "was altered"),
    (["DELETE FROM audit_logs WHERE sequence = 4"], 4, "row 4 is missing"),
    (["DELETE FROM audit_logs WHERE sequence < 4"], 1, "rows 1 to 3 are missing"),
    (["DELETE FROM audit_logs WHERE sequence > 8"], 9, "rows from 9 to 10 are missing"),
    (["DELETE FROM audit_logs"], 1, "rows from 1 to 10 are missing"),
    (["TRUNCATE audit_chain"], 11, "gone from audit_chain"),
    ([SWAP], 4, "altered or moved"),
    ([FORGED.format(11)], 11, "row 11 was inserted"),
    ([MAKE_ROOM, FORGED.format(5)], 6, "altered or moved"),
    (["DELETE FROM audit_logs WHERE sequence = 5", FORGED.format(5)], 6, "doesn't follow row 5"),
    (["DELETE FROM audit_logs WHERE sequence = 10", FORGED.format(10)], 10, "isn't the one with which"),
    (["UPDATE audit_logs SET sequence = 0 WHERE sequence = 1"], 0, "row 0 was inserted"),
]


async def test_the_first_row_that_is_not_as_it_was_is_found(plain: asyncpg.Connection) -> None:
    """Altered, removed from the middle and from either end, swapped, forged with a hash of its own."""
    await plain.execute(
        "CREATE TABLE logs AS SELECT * FROM audit_logs; CREATE TABLE chain AS SELECT * FROM audit_chain"
    )
    for statements, broken_at, reason in TAMPERED:
        assert (await verify(plain)).broken_at is None
        await behind_the_triggers(plain, *statements)
        verdict = await verify(plain)
        assert (verdict.broken_at, reason in verdict.reason) == (broken_at, True), (statements, verdict)
        await behind_the_triggers(
            plain,
            "TRUNCATE audit_logs, audit_chain",
            "INSERT INTO audit_logs SELECT * FROM logs",
            "INSERT INTO audit_chain SELECT * FROM chain",
        )
    await note_broken(plain, verdict)
    event = await plain.fetchrow("SELECT * FROM security_events WHERE event_type = 'audit_chain_broken'")
    assert event["severity"] == "critical"
    assert json.loads(event["details"]) == {"broken_at": verdict.broken_at, "reason": verdict.reason}


async def test_a_chain_rewritten_as_a_whole_is_told_by_a_head_that_was_kept(plain: asyncpg.Connection) -> None:
    """And so are an end that was cut off together with audit_chain, and a head of another chain."""
    kept = (await verify(plain)).head
    await write(plain, 3)
    assert (await verify(plain, kept)).broken_at is None
    newer = (await verify(plain)).head
    await behind_the_triggers(
        plain,
        "DELETE FROM audit_logs WHERE sequence > 10",
        "UPDATE audit_chain SET sequence = 10, hash = (SELECT hash FROM audit_logs WHERE sequence = 10)",
    )
    assert (await verify(plain)).broken_at is None, "nothing in the database tells"
    assert (await verify(plain, newer)).broken_at == 11
    await behind_the_triggers(
        plain, "DELETE FROM audit_logs", f"UPDATE audit_chain SET sequence = 0, hash = '\\x{bytes(32).hex()}'"
    )
    await write(plain, 10)
    assert (await verify(plain)).broken_at is None
    verdict = await verify(plain, kept)
    assert (verdict.broken_at, "isn't the one that was expected" in verdict.reason) == (10, True)
    assert (await verify(plain, Head(0, "ff" * 32))).broken_at is None


async def test_twenty_connections_at_once_make_one_chain(plain_database: Database) -> None:
    """Without gaps, forks or deadlocks; a transaction that is taken back leaves no hole."""

    async def work(number: int) -> None:
        connection = await asyncpg.connect(plain_database.dsn)
        for _ in range(5):
            async with connection.transaction():
                await write(connection, 2)
            taken_back = connection.transaction()
            await taken_back.start()
            await write(connection, 1)
            await taken_back.rollback()
        await connection.close()

    await asyncio.gather(*map(work, range(20)))
    connection = await asyncpg.connect(plain_database.dsn)
    verdict = await verify(connection)
    assert (verdict.rows, verdict.broken_at) == (200, None)
    await connection.close()


async def test_a_hundred_thousand_rows_are_verified_in_seconds(plain: asyncpg.Connection) -> None:
    """Over a cursor, with progress told on the way."""
    for _ in range(10):
        await write(plain, 2_000)
    heard: list[int] = []
    started = asyncio.get_running_loop().time()
    verdict = await verify(plain, progress=heard.append)
    took = asyncio.get_running_loop().time() - started
    assert (verdict.rows, verdict.broken_at, sum(heard)) == (20_010, None, 20_010)
    assert len(heard) > 5
    assert took < 4, f"{took * 5:.1f} s for 100 000 rows"


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False).map(str) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


async def test_any_text_and_any_json_hashes_the_same_here_and_there(plain: asyncpg.Connection) -> None:
    """Quotes, line ends, control characters, other alphabets, big numbers, floats, and nothing."""
    loop = asyncio.get_running_loop()

    async def stored(texts: list[str | None], values: list[Any], ip: str | None) -> None:
        await plain.execute(
            "INSERT INTO audit_logs (action, resource_type, resource_id, user_agent, session_id, old_values,"
            " new_values, metadata, ip_address, user_id)"
            " VALUES ('tested', $1, $2, $3, $4, $5, $6, $7, $8::text::inet, gen_random_uuid())",
            *texts,
            *map(json.dumps, values),
            ip,
        )
        assert (await verify(plain)).broken_at is None

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.tuples(TEXT, *[st.none() | TEXT] * 3), st.lists(JSON, min_size=3, max_size=3),
        st.none() | st.ip_addresses().map(str),
    )  # fmt: skip
    def every(texts: tuple[str | None, ...], values: list[Any], ip: str | None) -> None:
        asyncio.run_coroutine_threadsafe(stored(list(texts), values, ip), loop).result(20)

    await stored(['\x7f\x01\u2028\\"/\b', "\r\n\t\f", "", "𝄞"], [1.5e300, -0.0, {"a": 1e-7, "é": [2**70]}], "::1/64")
    await asyncio.to_thread(every)
