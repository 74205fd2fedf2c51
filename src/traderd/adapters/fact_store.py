"""Facts → the business tables: upserts under natural keys and the journal's cursor, in one transaction.

Written twice, a fact changes nothing; behind a cursor that has passed it, it isn't written at all. A fact that the
database refuses doesn't take its neighbours with it: it goes to the quarantine table with the server's words.

Cash comes back exact also after a crash: an equity fact sets the portfolio's cash, and every fill journalled after it
moves it on, by the same sum as the books did (a fee counts when it is in the portfolio's own currency).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec

from traderd.adapters.fact_order import WRITE_ORDER
from traderd.adapters.fact_tables import INSTRUMENTS, Table, arguments_of, key_of, ns_of, time_of
from traderd.adapters.gap_store import gap_of
from traderd.adapters.postgres import APP_ROLE, DAEMON_USER, Reconnecting, translate
from traderd.core.errors import StoreRefusedError
from traderd.core.facts import (
    BreakerEvent,
    Candle,
    Equity,
    Execution,
    Fact,
    Gap,
    Order,
    Position,
    StoredFact,
    WrittenCandles,
    encode_fact,
)
from traderd.core.market import Instrument
from traderd.runtime.ports import PortfolioState

_BOOK_FILLS = """
    UPDATE portfolios p
    SET cash_balance = p.cash_balance + fills.cash,
        realized_pnl = p.realized_pnl + fills.realized,
        fees = p.fees + fills.fees
    FROM (
        SELECT portfolio_id, sum(realized_pnl) AS realized, sum(fee) AS fees,
               sum(CASE side WHEN 'buy' THEN -quantity * price ELSE quantity * price END - fee) AS cash
        FROM (SELECT t.*, CASE WHEN t.commission_asset = owner.base_currency THEN commission ELSE 0 END AS fee
              FROM trades t JOIN portfolios owner ON owner.id = t.portfolio_id WHERE t.id = ANY($1::uuid[])) t
        GROUP BY portfolio_id
    ) fills
    WHERE p.id = fills.portfolio_id"""
_PORTFOLIOS = """
    INSERT INTO portfolios (id, name, environment) SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
    ON CONFLICT (id) DO UPDATE SET environment = EXCLUDED.environment
    WHERE portfolios.environment IS NULL AND EXCLUDED.environment IS NOT NULL"""
_STRATEGIES = "INSERT INTO strategies (id, name) SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING"
_OPEN_ORDERS = """
    SELECT o.*, s.name AS strategy FROM orders o LEFT JOIN strategies s ON s.id = o.strategy_id
    WHERE o.portfolio_id = $1 AND o.status IN ('pending', 'open', 'partially_filled', 'unknown')
    ORDER BY o.created_at, o.client_order_id"""
_POSITIONS = """
    SELECT p.*, s.name AS strategy FROM positions p LEFT JOIN strategies s ON s.id = p.strategy_id
    WHERE p.portfolio_id = $1 ORDER BY p.exchange, p.symbol"""
_BREAKER = """
    SELECT alert_type, message FROM alerts
    WHERE entity_type = 'portfolio' AND entity_id = $1 AND alert_type IN ('breaker_tripped', 'breaker_reset')
    ORDER BY time DESC, created_at DESC LIMIT 1"""
_TRIP = """
    SELECT * FROM circuit_breaker_events WHERE portfolio_id = $1 AND resolved_at IS NULL
    ORDER BY triggered_at DESC LIMIT 1"""
_DELIST = """
    UPDATE instruments SET status = 'delisted'
    WHERE exchange = $1 AND symbol = ANY($2::text[]) AND status <> 'delisted' RETURNING symbol"""
_OPEN_GAPS = "SELECT * FROM data_gaps WHERE time_to IS NULL AND instance = current_instance()"
_BALANCE = """
    SELECT cash_balance::text, realized_pnl::text, fees::text, peak_equity::text
    FROM portfolios WHERE id = $1 AND cash_balance IS NOT NULL"""


class PostgresFactStore:
    """A FactStore over one connection; it reconnects by itself at the next call after a fault.

    `owner` is the user whom everything belongs to that is written, `instance` the daemon, of several on one database.
    """

    def __init__(self, dsn: str, timeout_s: float, owner: str = DAEMON_USER, instance: str = "") -> None:
        self._database = Reconnecting(dsn, "traderd facts", timeout_s, APP_ROLE, owner, instance)

    async def cursor(self, journal_id: str) -> int:
        """The position up to which the database has every fact; 0 for a journal that it doesn't know."""
        async with self._database.use() as connection:
            position = await connection.fetchval(
                "SELECT position FROM journal_cursors WHERE journal_id = $1", journal_id
            )
        return int(position or 0)

    async def store(self, journal_id: str, position: int, facts: Sequence[StoredFact]) -> int:
        """Write the facts and move the cursor to `position`, both or neither; nothing if it is there already.

        Returns how many facts were refused and went to quarantine. Raises StoreUnavailableError.
        """
        async with self._database.use() as connection:
            try:
                async with connection.transaction():
                    if await _advance(connection, journal_id, position):
                        await _write(connection, facts)
            except asyncpg.PostgresError as error:
                if not isinstance(translate(error), StoreRefusedError):
                    raise
            else:
                return 0
            async with connection.transaction():
                if await _advance(connection, journal_id, position):
                    return await self._write_around(connection, _apart(facts))
        return 0

    async def _write_around(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> int:
        """All but the facts that the database refuses, found by halving, each half with all the time again."""
        try:
            async with connection.transaction():
                await _write(connection, facts)
            self._database.go_on()
        except asyncpg.PostgresError as error:
            translated = translate(error)
            if not isinstance(translated, StoreRefusedError):
                raise
            self._database.go_on()
            if len(facts) == 1:
                await _quarantine(connection, facts[0], str(translated))
                return 1
            half = len(facts) // 2
            return await self._write_around(connection, facts[:half]) + await self._write_around(
                connection, facts[half:]
            )
        return 0

    async def load_portfolio(self, portfolio: str) -> PortfolioState:
        """The portfolio as the facts stored so far leave it; the flat positions are among its positions."""
        key = key_of("portfolio", portfolio)
        async with self._database.use("repeatable_read") as connection:
            balance = await connection.fetchrow(_BALANCE, key)
            positions = await connection.fetch(_POSITIONS, key)
            orders = await connection.fetch(_OPEN_ORDERS, key)
            breaker = await connection.fetchrow(_BREAKER, portfolio)
            trip = await connection.fetchrow(_TRIP, key)
        cash, realized_pnl, fees, peak_equity = balance or ("", "0", "0", "0")
        return PortfolioState(
            positions=[_position(portfolio, row) for row in positions],
            cash=cash,
            realized_pnl=realized_pnl,
            fees=fees,
            peak_equity=peak_equity,
            open_orders=[_order(portfolio, row) for row in orders],
            breaker_tripped=breaker["message"] if breaker and breaker["alert_type"] == "breaker_tripped" else "",
            trip=_trip(portfolio, trip) if trip else None,
        )

    async def load_open_gaps(self) -> list[Gap]:
        """Every hole in this instance's data whose end nobody recorded."""
        async with self._database.use() as connection:
            return [gap_of(row) for row in await connection.fetch(_OPEN_GAPS)]

    async def save_instruments(self, instruments: Iterable[Instrument]) -> None:
        """Remember what the venues trade; rows that say the same already aren't touched."""
        async with self._database.use() as connection:
            await _insert(connection, INSTRUMENTS, list(instruments))

    async def delist(self, exchange: str, symbols: Iterable[str]) -> list[str]:
        """The venue doesn't trade these; returns those that it did as far as was known."""
        async with self._database.use() as connection:
            return [row["symbol"] for row in await connection.fetch(_DELIST, exchange, list(symbols))]

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._database.close()


async def _advance(connection: asyncpg.Connection, journal_id: str, position: int) -> bool:
    """Move the cursor, holding its row until the end of the transaction; False if it is there or further."""
    moved = await connection.fetchval(
        "INSERT INTO journal_cursors AS stored (journal_id, position) VALUES ($1, $2)"
        " ON CONFLICT (journal_id) DO UPDATE SET position = EXCLUDED.position"
        " WHERE stored.position < EXCLUDED.position RETURNING position",
        journal_id,
        position,
    )
    return moved is not None


def _apart(facts: Sequence[StoredFact]) -> list[Fact]:
    return [each for fact in facts for each in (fact.apart() if isinstance(fact, WrittenCandles) else (fact,))]


async def _write(connection: asyncpg.Connection, facts: Sequence[StoredFact]) -> None:
    by_type: dict[type, list[Any]] = defaultdict(list)
    for fact in facts:
        by_type[Candle if isinstance(fact, WrittenCandles) else type(fact)].append(fact)
    owned = [fact for fact in facts if not isinstance(fact, Candle | WrittenCandles)]
    await _write_owners(connection, owned)
    for step in WRITE_ORDER:
        written = by_type[step.kind]
        if step.time and written:
            await _ensure_partitions(connection, step.tables[0], _times_of(written, step.time))
        rows = await _insert(connection, step.how, written)
        if step.kind is Execution:
            new = rows
    unbooked = _fills_after_equity(owned) & {row["id"] for row in new}
    if unbooked:
        await connection.execute(_BOOK_FILLS, list(unbooked))


async def _quarantine(connection: asyncpg.Connection, fact: Fact, reason: str) -> None:
    await connection.execute("SELECT ensure_partitions('quarantine', now(), now())")
    await connection.execute(
        "INSERT INTO quarantine (time, exchange, channel, reason, payload) VALUES (now(), $1, $2, $3, $4)",
        getattr(fact, "exchange", "").replace("\0", ""),
        str(fact.__struct_config__.tag),
        reason,
        encode_fact(fact).decode(),
    )


async def _write_owners(connection: asyncpg.Connection, facts: Sequence[Fact]) -> None:
    """The strategies and portfolios that the facts name, so that they can refer to them."""
    strategies = sorted({name for fact in facts if (name := getattr(fact, "strategy", ""))})
    if strategies:
        await connection.execute(_STRATEGIES, [key_of("strategy", name) for name in strategies], strategies)
    portfolios: dict[str, str | None] = {}
    for fact in facts:
        if isinstance(fact, (Order, Execution, Position, Equity, BreakerEvent)):
            environment = None if isinstance(fact, (Position, BreakerEvent)) else fact.environment
            portfolios[fact.portfolio] = environment or portfolios.get(fact.portfolio)
    if portfolios:
        keys = [key_of("portfolio", name) for name in portfolios]
        await connection.execute(_PORTFOLIOS, keys, list(portfolios), list(portfolios.values()))


def _times_of(facts: Sequence[StoredFact], field: str) -> list[int]:
    told = [fact.open_times_ns if isinstance(fact, WrittenCandles) else [getattr(fact, field)] for fact in facts]
    return [at for times in told for at in times]


async def _ensure_partitions(connection: asyncpg.Connection, table: str, times_ns: Sequence[int]) -> None:
    first, last = time_of(min(times_ns)), time_of(max(times_ns))
    await connection.execute("SELECT ensure_partitions($1::text::regclass, $2, $3)", table, first, last)


async def _insert(connection: asyncpg.Connection, table: Table, facts: Sequence[Any]) -> list[asyncpg.Record]:
    """Write them and return the rows that the statement returns."""
    if not facts:
        return []
    arguments = await arguments_of(table, facts)
    rows: list[asyncpg.Record] = await connection.fetch(table.statement, *arguments)
    return rows


def _fills_after_equity(facts: Sequence[Fact]) -> set[Any]:
    """Keys of the fills that no equity fact of these covers: their portfolio's cash must be moved on."""
    fills: dict[str, set[Any]] = defaultdict(set)
    for fact in facts:
        if isinstance(fact, Execution):
            fills[fact.portfolio].add(key_of("execution", fact.execution_id))
        elif isinstance(fact, Equity):
            fills[fact.portfolio].clear()
    return set().union(*fills.values())


def _position(portfolio: str, row: asyncpg.Record) -> Position:
    return Position(
        portfolio=portfolio,
        exchange=row["exchange"],
        symbol=row["symbol"],
        quantity=row["quantity"],
        entry_price=row["entry_price"],
        current_price=row["current_price"],
        unrealized_pnl=row["unrealized_pnl"],
        realized_pnl=row["realized_pnl"],
        strategy=row["strategy"] or "",
        opened_ns=ns_of(row["opened_at"]),
        updated_ns=row["updated_ns"],
    )


def _trip(portfolio: str, row: asyncpg.Record) -> BreakerEvent:
    return BreakerEvent(
        event_id=row["event_key"],
        portfolio=portfolio,
        trigger_type=row["trigger_type"],
        threshold=row["threshold_value"],
        actual=row["actual_value"],
        triggered_ns=ns_of(row["triggered_at"]),
        reason=msgspec.json.decode(row["metadata"]).get("reason", ""),
        actions_taken=tuple(msgspec.json.decode(row["actions_taken"])),
    )


def _order(portfolio: str, row: asyncpg.Record) -> Order:
    return Order(
        client_order_id=row["client_order_id"],
        portfolio=portfolio,
        strategy=row["strategy"] or "",
        signal_id=row["signal_key"] or "",
        exchange=row["exchange"],
        symbol=row["symbol"],
        side=row["side"],
        order_type=row["order_type"],
        quantity=row["quantity"],
        price=row["price"],
        status=row["status"],
        environment=row["environment"],
        created_ns=ns_of(row["created_at"]),
        updated_ns=row["updated_ns"],
        exchange_order_id=row["exchange_order_id"] or "",
        filled_quantity=row["filled_quantity"],
        average_fill_price=row["average_fill_price"],
        fee=row["commission"],
        fee_currency=row["commission_asset"] or "",
        submitted_ns=ns_of(row["submitted_at"]),
        filled_ns=ns_of(row["filled_at"]),
        cancelled_ns=ns_of(row["cancelled_at"]),
        reason=row["reason"],
    )
