"""The books that no fact writes: strategies and settings as config.yaml has them, balances, risk and performance.

What is computed is computed by the database (sql/always/0006_books.sql). Everything here may be repeated, and changes
nothing where nothing is new. Refuses names that belong to another user, or to another instance of the daemon that may
be running: one line, before anything is traded.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from traderd.adapters.fact_tables import key_of
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, Reconnecting
from traderd.config.register import Section, StrategyEntry
from traderd.core.errors import ConfigError, TraderdError

_OWNER = "SELECT EXISTS (SELECT FROM users WHERE username = $1 AND is_active AND erased_at IS NULL)"
_SOURCE = "config.yaml"
_NAMES = (
    "strategy_class", "strategy_type", "exchange", "symbol", "symbols", "timeframe", "parameters", "entry_rules",
    "exit_rules", "risk_parameters", "trading_mode", "status", "created_by", "instance",
)  # fmt: skip
_COLUMNS, _STORED, _NEW = (", ".join(prefix + name for name in _NAMES) for prefix in ("", "stored.", "EXCLUDED."))
_STRATEGY = f"""
    INSERT INTO strategies AS stored (id, name, {_COLUMNS}, activated_at)
    VALUES ($1, $2, $3, $4, $5, $6, ARRAY[$6], $7, $8, $9, $10, $11, $12, 'active', '{_SOURCE}',
            current_instance(), now())
    ON CONFLICT (id) DO UPDATE SET ({_COLUMNS}) = ROW ({_NEW}),
        activated_at = CASE WHEN stored.status = 'active' THEN coalesce(stored.activated_at, now()) ELSE now() END
    WHERE ({_STORED}) IS DISTINCT FROM ({_NEW})
      AND (stored.instance = EXCLUDED.instance OR (stored.created_by, stored.status) <> ('{_SOURCE}', 'active'))"""
_HOLDER = {
    "portfolio": "SELECT user_id = current_user_id() AS ours, instance FROM portfolios WHERE id = $1",
    "strategy": "SELECT user_id = current_user_id() AS ours, instance FROM strategies WHERE id = $1",
}
_GIVEN_UP = {
    "portfolio": "set is_active in its row of portfolios to false",
    "strategy": "set status in its row of strategies to stopped",
}
_STOP_OTHERS = f"""
    UPDATE strategies SET status = 'stopped'
    WHERE created_by = '{_SOURCE}' AND status = 'active' AND user_id = current_user_id()
      AND instance = current_instance() AND NOT id = ANY($1::uuid[])"""
_PORTFOLIO = """
    INSERT INTO portfolios AS stored (id, name, environment, broker) VALUES ($1, $2, $3, $3)
    ON CONFLICT (id) DO UPDATE SET environment = EXCLUDED.environment, broker = EXCLUDED.broker, is_active = true,
        instance = EXCLUDED.instance
    WHERE (stored.environment, stored.broker, stored.is_active, stored.instance)
          IS DISTINCT FROM (EXCLUDED.environment, EXCLUDED.broker, true, EXCLUDED.instance)
      AND (stored.instance = EXCLUDED.instance OR NOT stored.is_active)"""
_SECTION = """
    INSERT INTO configurations AS stored (key, value, description, updated_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (instance, key) DO UPDATE SET value = EXCLUDED.value, description = EXCLUDED.description,
        updated_by = EXCLUDED.updated_by
    WHERE (stored.value, stored.description) IS DISTINCT FROM (EXCLUDED.value, EXCLUDED.description)"""
_KEPT = ("record_balances", "record_risk_metrics", "refresh_performance", "expire_signals")


class Books:
    """Over one connection; it reconnects by itself at the next call after a fault.

    `owner` owns what is written, by the daemon named `instance`.
    """

    def __init__(self, dsn: str, timeout_s: float, owner: str = DAEMON_USER, instance: str = "") -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._owner = owner
        self._instance = instance
        self._database = Reconnecting(dsn, "traderd books", timeout_s, APP_ROLE, owner, instance)

    async def expect_owner(self) -> None:
        """Raises ConfigError when there is no such user, or it is switched off."""
        anybody = Reconnecting(self._dsn, "traderd books", self._timeout_s, APP_ROLE)
        async with anybody.use() as connection:
            found = await connection.fetchval(_OWNER, self._owner)
        await anybody.close()
        if not found:
            raise ConfigError([f"owner: there is no active user {self._owner!r}: `traderd users add` makes one"])

    async def note_start(self, run: str) -> bool:
        """Leave word of the start; whether the connection may do more than it needs, such as changing the schema."""
        async with self._database.use() as connection:
            return bool(await connection.fetchval("SELECT note_daemon_start($1)", run))

    async def register(self, portfolio: str, environment: str, strategies: Sequence[StrategyEntry]) -> None:
        """The portfolio and the strategies that run from now on; what the file doesn't name any more is stopped.

        A strategy whose rules are as they were gets no new version. Raises ConfigError where a name is somebody else's.
        """
        async with self._database.use() as connection, connection.transaction():
            await self._take(connection, "portfolio", portfolio, _PORTFOLIO, environment)
            for entry in strategies:
                await self._take(connection, "strategy", entry.name, _STRATEGY, *_row(entry))
            await connection.execute(_STOP_OTHERS, [key_of("strategy", entry.name) for entry in strategies])

    async def configure(self, sections: Sequence[Section], run: str) -> None:
        """What the daemon was told; a section that says the same isn't touched."""
        rows = [(each.key, _json(each.value), each.description, run) for each in sections]
        async with self._database.use() as connection:
            await connection.executemany(_SECTION, rows)

    async def keep(self, now: datetime) -> dict[str, str]:
        """Balances, risk, performance, and the end of signals that nobody followed, each on its own.

        Returns what could not be done, and why.
        """
        faults: dict[str, str] = {}
        for call in _KEPT:
            try:
                async with self._database.use() as connection:
                    await connection.execute(f"SELECT {call}($1)", now)
            except TraderdError as error:
                faults[call] = str(error)
        return faults

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._database.close()

    async def _take(self, connection: asyncpg.Connection, kind: str, name: str, statement: str, *row: Any) -> None:
        """Write it, and see that it is ours: an upsert that changes nothing is silent about another's row."""
        key = key_of(kind, name)
        try:
            await connection.execute(statement, key, name, *row)
            holder = await connection.fetchrow(_HOLDER[kind], key)
        except asyncpg.InsufficientPrivilegeError as error:
            holder, why = None, f": {error}"
        else:
            why = ""
        if holder is None or not holder["ours"]:
            raise ConfigError([f"the {kind} {name!r} isn't this owner's: give it another name, or name its owner{why}"])
        if (other := holder["instance"]) != self._instance:
            whose = f"the instance {other!r}" if other else "the daemon without an instance's name"
            raise ConfigError(
                [f"the {kind} {name!r} belongs to {whose}: name another, or, if that one has ended, {_GIVEN_UP[kind]}"]
            )


def _row(entry: StrategyEntry) -> tuple[Any, ...]:
    return (
        entry.strategy_class,
        entry.strategy_type,
        entry.exchange,
        entry.symbol,
        entry.timeframe,
        _json(entry.parameters),
        _json(entry.entry_rules),
        _json(entry.exit_rules),
        _json(entry.risk_parameters),
        entry.trading_mode,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
