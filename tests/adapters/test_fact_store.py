"""Facts through the real database and back: exact, exactly once, and none lost for another's sake."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from conftest import Database
from traderd.adapters import fact_store
from traderd.adapters.fact_store import PostgresFactStore
from traderd.adapters.fact_tables import key_of, time_of
from traderd.core.errors import StoreUnavailableError
from traderd.core.facts import (
    Alert,
    BreakerEvent,
    Candle,
    Equity,
    Execution,
    Fact,
    Gap,
    Indicator,
    Order,
    Position,
    Signal,
    WrittenCandles,
    decode_fact,
    decode_facts,
    encode_fact,
    encode_facts,
)
from traderd.core.market import Instrument

T0 = 1_741_089_600_000_000_000
SECOND = 10**9
JOURNAL = "facts@test"

SIGNAL = Signal("r-s1", T0, "cross", "binance", "BTC/USDT", "LONG", 0.75, 0.5, 90123.45, "9 above 21", T0 + 60 * SECOND)
ORDER = Order(
    client_order_id="r-o1",
    portfolio="paper",
    strategy="cross",
    signal_id="r-s1",
    exchange="binance",
    symbol="BTC/USDT",
    side="buy",
    order_type="limit",
    quantity=Decimal("0.01100000"),
    price=Decimal("90123.45"),
    status="open",
    environment="paper",
    created_ns=T0 + 1_000,
    updated_ns=T0 + 1_234_567,
    exchange_order_id="x77",
    filled_quantity=Decimal("0.001"),
    average_fill_price=Decimal("90123.4"),
    fee=Decimal("0.0901234"),
    fee_currency="USDT",
    submitted_ns=T0 + 2_000,
)
EXECUTION = Execution(
    execution_id="x77-1",
    client_order_id="r-o1",
    portfolio="paper",
    strategy="cross",
    exchange="binance",
    symbol="BTC/USDT",
    side="buy",
    quantity=Decimal("0.001"),
    price=Decimal("90123.4"),
    fee=Decimal("0.0901234"),
    fee_currency="USDT",
    realized_pnl=Decimal("-0.0901234"),
    environment="paper",
    time_ns=T0 + 3_000,
    exchange_trade_id="v-5",
)
POSITION = Position(
    portfolio="paper",
    exchange="binance",
    symbol="BTC/USDT",
    quantity=Decimal("0.001"),
    entry_price=Decimal("90123.4"),
    current_price=Decimal("90125.1"),
    unrealized_pnl=Decimal("0.0017"),
    realized_pnl=Decimal("-0.0901234"),
    strategy="cross",
    opened_ns=T0 + 3_000,
    updated_ns=T0 + 3_000,
)
EQUITY = Equity(
    portfolio="paper",
    time_ns=T0,
    equity=Decimal("100000.000000000000000001"),
    cash=Decimal("100000.000000000000000001"),
    positions_value=Decimal(0),
    unrealized_pnl=Decimal(0),
    realized_pnl=Decimal(0),
    fees=Decimal(0),
    peak_equity=Decimal("100000.000000000000000001"),
    drawdown=Decimal(0),
    initial_cash=Decimal(100000),
    base_currency="USDT",
    environment="paper",
)
CANDLE = Candle(
    exchange="binance",
    symbol="BTC/USDT",
    timeframe="1m",
    open_time_ns=T0,
    open="90000.10",
    high="90200.00",
    low="90000.00",
    close="90123.40",
    volume="1.5",
    quote_volume="135150.123456789012345678",
    trades_count=12,
    bid="90123.30",
    ask="90123.50",
    bid_size="0.50",
    ask_size="2",
)
INDICATOR = Indicator("binance", "BTC/USDT", "1m", T0, "EMA_9", Decimal(repr(0.1 + 0.2)))
TRIP = BreakerEvent("r-b1", "paper", "drawdown", Decimal(10), Decimal("10.250000"), T0 + 4_000, "equity 9 against 10")
ALERT = Alert(
    "a1", T0, "breaker_tripped", "critical", "Halted", "Drawdown 10 %", metadata={"drawdown": "10.0", "n": [1]}
)
GAP = Gap("g1", "binance", "", "quote", "disconnect", T0, 0)
ONE_OF_EACH: list[Fact] = [SIGNAL, ORDER, EXECUTION, POSITION, EQUITY, CANDLE, ALERT, GAP, INDICATOR, TRIP]


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresFactStore]:
    store = PostgresFactStore(database.dsn, timeout_s=10)
    yield store
    await store.close()


@pytest.fixture
async def sight(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own, to look at what was stored."""
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def plain_store(plain_database: Database) -> AsyncIterator[PostgresFactStore]:
    store = PostgresFactStore(plain_database.dsn, timeout_s=10)
    yield store
    await store.close()


async def test_every_kind_of_fact_finds_its_table_and_every_field_its_column(
    store: PostgresFactStore, sight: asyncpg.Connection
) -> None:
    """What comes back is what went in, to the last digit."""
    assert await store.store(JOURNAL, 8, ONE_OF_EACH) == 0
    state = await store.load_portfolio("paper")
    assert state.open_orders == [ORDER]
    assert state.positions == [POSITION]
    assert await _row(sight, "SELECT s.*, x.name FROM signals s JOIN strategies x ON x.id = s.strategy_id") >= {
        "signal_key": "r-s1", "name": "cross", "signal_type": "LONG", "strength": 0.75, "confidence": 0.5,
        "price": Decimal("90123.45"), "reason": "9 above 21", "exchange": "binance", "symbol": "BTC/USDT",
        "expires_at": time_of(T0 + 60 * SECOND), "status": "executed",
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT * FROM ohlcv") >= {
        "open": Decimal("90000.10"), "high": Decimal("90200.00"), "low": Decimal("90000.00"),
        "close": Decimal("90123.40"), "volume": Decimal("1.5"), "trades_count": 12, "timeframe": "1m",
        "quote_volume": Decimal("135150.123456789012345678"), "bid": Decimal("90123.30"),
        "ask": Decimal("90123.50"), "bid_size": Decimal("0.50"), "ask_size": Decimal("2"),
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT * FROM technical_indicators") >= {
        "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "indicator_name": "EMA_9",
        "time": time_of(T0), "value": Decimal("0.30000000000000004"),
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT * FROM circuit_breaker_events") >= {
        "event_key": "r-b1", "trigger_type": "drawdown", "threshold_value": 10, "actual_value": Decimal("10.25"),
        "triggered_at": time_of(T0 + 4_000), "resolved_at": None, "actions_taken": '["halt_trading"]',
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT *, metadata->>'drawdown' AS drawdown FROM alerts") >= {
        "alert_key": "a1", "severity": "critical", "drawdown": "10.0", "symbol": None, "message": "Drawdown 10 %",
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT * FROM data_gaps") >= {
        "gap_key": "g1", "symbol": None, "channel": "quote", "reason": "disconnect", "time_to": None, "rows_lost": 0,
        "unfetched": "[]", "candles": "", "candles_due": None, "hurt_bars": "[]",
    }.items()  # fmt: skip
    fills = "SELECT t.*, e.execution_key, e.client_order_id FROM trades t JOIN executions e USING (id)"
    assert await _row(sight, fills) >= {
        "execution_key": "x77-1", "client_order_id": "r-o1", "commission": EXECUTION.fee, "price": EXECUTION.price,
        "realized_pnl": EXECUTION.realized_pnl, "quantity": EXECUTION.quantity, "side": "buy", "environment": "paper",
        "exchange_trade_id": "v-5", "position_id": key_of("position", "paper", "binance", "BTC/USDT"),
    }.items()  # fmt: skip
    assert await sight.fetchval("SELECT count(*) FROM trades t JOIN orders o ON o.id = t.order_id") == 1
    assert await sight.fetchval("SELECT exchange_trade_id FROM executions") == "v-5"
    assert await _row(sight, "SELECT * FROM strategies") >= {
        "total_pnl": EXECUTION.realized_pnl, "num_trades": 1,
    }.items()  # fmt: skip
    assert await _row(sight, "SELECT * FROM equity_history") >= {
        "equity_value": EQUITY.equity, "cash_balance": EQUITY.cash, "initial_balance": Decimal(100000),
        "base_currency": "USDT", "environment": "paper",
    }.items()  # fmt: skip


async def test_the_same_batch_again_is_not_written_again(store: PostgresFactStore, sight: asyncpg.Connection) -> None:
    """Behind its cursor a batch does nothing; before it, the natural keys keep everything single."""
    await store.store(JOURNAL, 8, ONE_OF_EACH)
    before = await _everything(sight)
    await store.store(JOURNAL, 8, ONE_OF_EACH)
    assert await _everything(sight) == before
    await store.store("another journal", 8, ONE_OF_EACH)
    assert await _everything(sight) == before
    assert await store.cursor(JOURNAL) == 8


async def test_a_crash_between_two_batches_loses_and_doubles_nothing(
    store: PostgresFactStore, sight: asyncpg.Connection, database: Database
) -> None:
    """The connection is cut while a batch waits for a lock: neither its rows nor its cursor are there, then both."""
    await store.store(JOURNAL, 1, [ORDER])
    lock = sight.transaction()
    await lock.start()
    await sight.execute("LOCK TABLE executions IN ACCESS EXCLUSIVE MODE")
    writing = asyncio.create_task(store.store(JOURNAL, 3, [POSITION, EXECUTION]))
    await _until_waiting(sight)
    await sight.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'traderd facts'"
    )
    with pytest.raises(StoreUnavailableError):
        await writing
    await lock.rollback()
    assert await store.cursor(JOURNAL) == 1
    assert await sight.fetchval("SELECT count(*) FROM positions") == 0
    await store.store(JOURNAL, 3, [POSITION, EXECUTION])
    assert await store.cursor(JOURNAL) == 3
    assert await sight.fetchval("SELECT count(*) FROM trades") == 1


async def test_the_newest_state_of_an_order_and_of_a_position_wins(plain_store: PostgresFactStore) -> None:
    """In one batch and across batches, whatever the order in which they come; equals: the later one."""
    late = msgspec.structs.replace(ORDER, updated_ns=ORDER.updated_ns + 1, filled_quantity=Decimal("0.002"))
    moved = msgspec.structs.replace(POSITION, current_price=Decimal(91000))
    await plain_store.store(JOURNAL, 2, [late, ORDER, POSITION, moved])
    await plain_store.store(JOURNAL, 3, [ORDER])
    state = await plain_store.load_portfolio("paper")
    assert (state.open_orders, state.positions) == ([late], [moved])
    await plain_store.store(
        JOURNAL, 4, [msgspec.structs.replace(late, status="filled", updated_ns=late.updated_ns + 1)]
    )
    assert (await plain_store.load_portfolio("paper")).open_orders == []


async def test_a_candle_gives_way_only_to_one_that_saw_no_fewer_trades(
    plain_store: PostgresFactStore, plain_database: Database
) -> None:
    """A partial bar, made after a restart, doesn't replace the whole one."""
    whole = msgspec.structs.replace(CANDLE, trades_count=20, close=Decimal(90100))
    partial = msgspec.structs.replace(CANDLE, trades_count=3, close=Decimal(90050))
    await plain_store.store(JOURNAL, 1, [CANDLE, whole, partial])
    await plain_store.store(JOURNAL, 2, [partial])
    connection = await asyncpg.connect(plain_database.dsn)
    assert await connection.fetchval("SELECT close FROM ohlcv") == 90100
    await connection.close()


async def test_cash_is_exact_also_for_fills_after_the_last_equity(plain_store: PostgresFactStore) -> None:
    """Equity sets it, later fills move it on, a repeated fill doesn't, and a fee in a foreign currency isn't in it."""
    early = msgspec.structs.replace(EXECUTION, execution_id="x0", exchange_trade_id="v-0")
    sold = msgspec.structs.replace(
        EXECUTION, execution_id="x2", side="sell", price=Decimal("90200.000000000000000003"), fee=Decimal("0.5"),
        realized_pnl=Decimal("0.0765"), exchange_trade_id="v-2",
    )  # fmt: skip
    foreign = msgspec.structs.replace(
        EXECUTION, execution_id="x3", fee_currency="BNB", realized_pnl=Decimal(0), exchange_trade_id="v-3"
    )
    await plain_store.store(JOURNAL, 3, [early, EQUITY, EXECUTION])
    await plain_store.store(JOURNAL, 6, [EXECUTION, sold, foreign])
    state = await plain_store.load_portfolio("paper")
    bought = EXECUTION.quantity * EXECUTION.price
    assert Decimal(state.cash) == (
        EQUITY.cash - bought - EXECUTION.fee + sold.quantity * sold.price - Decimal("0.5") - bought
    )
    assert Decimal(state.realized_pnl) == EXECUTION.realized_pnl + Decimal("0.0765")
    assert Decimal(state.fees) == EXECUTION.fee + Decimal("0.5")
    assert Decimal(state.peak_equity) == EQUITY.peak_equity


async def test_a_portfolio_that_nobody_knows_is_new(plain_store: PostgresFactStore) -> None:
    """Its cash is "", its figures are zero."""
    state = await plain_store.load_portfolio("nobody")
    assert (state.cash, state.fees, state.positions, state.open_orders) == ("", "0", [], [])


async def test_a_tripped_breaker_is_remembered_until_somebody_resets_it(plain_store: PostgresFactStore) -> None:
    """Of its own portfolio only: a replay's trip stops nobody else."""

    def breaker(number: int, what: str, portfolio: str) -> Alert:
        name = f"breaker_{what}"
        return Alert(
            f"b{number}", T0 + number, name, "critical", "t", what, entity_type="portfolio", entity_id=portfolio
        )

    await plain_store.store("j", 1, [breaker(1_000, "tripped", "paper"), breaker(9_000, "tripped", "replay-1")])
    assert (await plain_store.load_portfolio("paper")).breaker_tripped == "tripped"
    await plain_store.store("j", 2, [breaker(2_000, "reset", "paper")])
    assert (await plain_store.load_portfolio("paper")).breaker_tripped == ""
    assert (await plain_store.load_portfolio("replay-1")).breaker_tripped == "tripped"


async def test_a_trip_is_resolved_by_a_later_run(plain_store: PostgresFactStore, plain_database: Database) -> None:
    """What is loaded is what was stored; its second fact ends it, and a repeat of the first doesn't open it again."""
    await plain_store.store("j", 1, [TRIP])
    trip = (await plain_store.load_portfolio("paper")).trip
    assert trip == TRIP
    await plain_store.store("j", 2, [msgspec.structs.replace(trip, resolved_ns=T0 + 9 * SECOND)])
    await plain_store.store("j", 3, [TRIP])
    assert (await plain_store.load_portfolio("paper")).trip is None
    connection = await asyncpg.connect(plain_database.dsn)
    assert await connection.fetch("SELECT resolved_at FROM circuit_breaker_events") == [(time_of(T0 + 9 * SECOND),)]
    await connection.close()


@pytest.mark.parametrize(
    ("status", "filled", "becomes"),
    [
        ("pending", 0, "active"),
        ("open", 0, "active"),
        ("partially_filled", 1, "executed"),
        ("rejected", 0, "cancelled"),
        ("expired", 0, "cancelled"),
        ("cancelled", 1, "executed"),
    ],
)
async def test_a_signal_becomes_what_its_order_makes_of_it(
    plain_store: PostgresFactStore, plain_database: Database, status: str, filled: int, becomes: str
) -> None:
    """Executed by the first fill, cancelled by an end without one; also when the signal had expired meanwhile."""
    connection = await asyncpg.connect(plain_database.dsn)
    pending = msgspec.structs.replace(ORDER, status="pending", filled_quantity=Decimal(0))
    await plain_store.store("j", 1, [SIGNAL, pending])
    if becomes == "executed":
        await connection.execute("UPDATE signals SET status = 'expired'")
    changes = {"status": status, "filled_quantity": Decimal(filled), "updated_ns": ORDER.updated_ns + 1}
    await plain_store.store("j", 2, [msgspec.structs.replace(ORDER, **changes)])
    assert await connection.fetchval("SELECT status FROM signals") == becomes
    await connection.close()


async def test_facts_of_an_older_journal_are_still_understood(plain_store: PostgresFactStore) -> None:
    """A candle, signal and fill of before they had a quote, an end and the exchange's id are stored without."""
    later = {"bid", "ask", "bid_size", "ask_size", "expires_ns", "exchange_trade_id"}
    old = []
    for fact in (CANDLE, SIGNAL, EXECUTION):
        fields = {name: value for name, value in msgspec.json.decode(encode_fact(fact)).items() if name not in later}
        old.append(decode_fact(msgspec.json.encode(fields)))
    assert await plain_store.store("j", 1, old) == 0


async def test_a_gap_is_closed_by_its_second_fact(plain_store: PostgresFactStore, plain_database: Database) -> None:
    """One row, with its end and what it cost."""
    await plain_store.store(JOURNAL, 1, [GAP])
    await plain_store.store(JOURNAL, 2, [msgspec.structs.replace(GAP, to_ns=T0 + 5 * SECOND, rows_lost=9)])
    connection = await asyncpg.connect(plain_database.dsn)
    row = await connection.fetchrow("SELECT count(*) OVER (), time_to - time_from AS length, rows_lost FROM data_gaps")
    assert (row["count"], row["length"].total_seconds(), row["rows_lost"]) == (1, 5.0, 9)
    await connection.close()


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(CANDLE, open_time_ns=T0 + SECOND, high=Decimal("NaN")),
        msgspec.structs.replace(EXECUTION, execution_id="bad", quantity=Decimal(0)),
        msgspec.structs.replace(EXECUTION, execution_id="second of one id"),
        msgspec.structs.replace(INDICATOR, time_ns=T0 + SECOND, value=Decimal("NaN")),
        msgspec.structs.replace(SIGNAL, signal_id="bad", strength=float("nan")),
        msgspec.structs.replace(ALERT, alert_id="bad", message="with a \0 in it"),
        msgspec.structs.replace(GAP, gap_id="bad", rows_lost=2**70),
    ],
    ids=lambda fact: type(fact).__name__,
)
async def test_a_fact_that_is_refused_goes_to_quarantine_alone(
    plain_store: PostgresFactStore, plain_database: Database, bad: Fact
) -> None:
    """Its neighbours are stored, the cursor moves, and the row in quarantine says what it was and why."""
    assert await plain_store.store(JOURNAL, 9, [*ONE_OF_EACH[:4], bad, *ONE_OF_EACH[4:]]) == 1
    connection = await asyncpg.connect(plain_database.dsn)
    row = await connection.fetchrow("SELECT * FROM quarantine")
    assert row["channel"] == type(bad).__name__.lower()
    assert row["reason"]
    assert await plain_store.cursor(JOURNAL) == 9
    counts = [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]
    assert counts == [1] * len(TABLES)
    await connection.close()


async def test_refused_facts_are_found_by_halving(
    plain_store: PostgresFactStore, plain_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few writes for each of five among a thousand, and the others are stored."""
    writes = 0
    write = fact_store._write

    async def counted(*words: Any) -> None:
        nonlocal writes
        writes += 1
        await write(*words)

    monkeypatch.setattr(fact_store, "_write", counted)
    facts: list[Fact] = [msgspec.structs.replace(INDICATOR, time_ns=T0 + n * SECOND) for n in range(1000)]
    for place in (3, 250, 500, 501, 999):
        facts[place] = msgspec.structs.replace(facts[place], value=Decimal("NaN"))
    assert await plain_store.store(JOURNAL, 1000, facts) == 5
    assert writes < 5 * 2 * 11
    connection = await asyncpg.connect(plain_database.dsn)
    assert await connection.fetchval("SELECT count(*) FROM technical_indicators") == 995
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 5
    await connection.close()


async def test_a_thousand_candles_are_cheap(plain_store: PostgresFactStore) -> None:
    """One statement, not a thousand: they take some twenty times as long as one of them."""
    candles = [msgspec.structs.replace(CANDLE, open_time_ns=T0 + n * 60 * SECOND) for n in range(1010)]

    async def taken(position: int, *facts: Fact) -> float:
        started = time.perf_counter()
        await plain_store.store(JOURNAL, position, facts)
        return time.perf_counter() - started

    one = min([await taken(1 + n, candles[n]) for n in range(10)])
    assert await taken(1010, *candles[10:]) < 150 * one


async def test_a_silent_server_is_unavailable_in_time_and_the_next_call_reconnects(database: Database) -> None:
    """The server is frozen, not closed: only our own clock can tell."""
    store = PostgresFactStore(database.dsn, timeout_s=0.5)
    await store.store(JOURNAL, 1, [ORDER])
    database.server.pause()
    try:
        with pytest.raises(StoreUnavailableError, match="no answer"):
            await store.store(JOURNAL, 2, [ORDER])
    finally:
        database.server.resume()
    await asyncio.sleep(0.2)
    assert await store.cursor(JOURNAL) == 1
    await store.close()


async def test_instruments_are_written_once_and_changed_when_the_venue_changes_them(
    plain_store: PostgresFactStore, plain_database: Database
) -> None:
    """The same again touches no row; another tick size does."""
    bitcoin = Instrument(0, "binance", "BTC/USDT", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
    ether = Instrument(1, "binance", "ETH/USDT", "ETHUSDT", "ETH", "USDT")
    connection = await asyncpg.connect(plain_database.dsn)
    await plain_store.save_instruments([bitcoin, ether])
    first = await connection.fetch("SELECT xmin, * FROM instruments ORDER BY symbol")
    await plain_store.save_instruments([bitcoin, ether])
    assert await connection.fetch("SELECT xmin, * FROM instruments ORDER BY symbol") == first
    await plain_store.save_instruments([msgspec.structs.replace(bitcoin, price_tick=Decimal("0.1"))])
    second = await connection.fetch("SELECT xmin, * FROM instruments ORDER BY symbol")
    assert (second[0]["price_tick"], second[1]) == (Decimal("0.1"), first[1])
    await connection.close()


TABLES = (
    "signals", "orders", "executions", "trades", "positions", "portfolios", "strategies", "equity_history", "ohlcv",
    "alerts", "data_gaps", "technical_indicators", "circuit_breaker_events",
)  # fmt: skip


async def _row(connection: asyncpg.Connection, query: str) -> Any:
    rows = await connection.fetch(query)
    assert len(rows) == 1
    return dict(rows[0]).items()


async def _everything(connection: asyncpg.Connection) -> dict[str, list[Any]]:
    """All rows, without when they were touched."""
    rows = {table: [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")] for table in TABLES}
    for row in rows["portfolios"] + rows["data_gaps"]:
        del row["updated_at"]
    return {table: sorted(found, key=repr) for table, found in rows.items()}


async def _until_waiting(connection: asyncpg.Connection) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(5):
        while not await connection.fetchval(waiting):
            await asyncio.sleep(0.01)


async def test_a_journals_candles_are_stored_as_they_stand_there(
    store: PostgresFactStore, sight: asyncpg.Connection
) -> None:
    """Of two of one bar that with more trades, of equals the later one; the figures to the last digit."""
    grown = msgspec.structs.replace(CANDLE, close="90124.50", trades_count=13)
    marked, other = msgspec.structs.replace(grown, has_gap=True), msgspec.structs.replace(CANDLE, symbol="ETH/USDT")
    written = decode_facts(encode_facts([grown, marked, CANDLE, other]))
    assert [type(each) for each in written] == [WrittenCandles]
    for position in (1, 2):  # written again, it changes nothing
        assert await store.store(JOURNAL, position, written) == 0
        rows = await sight.fetch("SELECT symbol, close, trades_count, has_gap FROM ohlcv ORDER BY symbol")
        assert [tuple(row) for row in rows] == [
            ("BTC/USDT", Decimal("90124.50"), 13, True),
            ("ETH/USDT", Decimal("90123.40"), 12, False),
        ]


async def test_a_candle_that_is_refused_does_not_take_those_beside_it(
    store: PostgresFactStore, sight: asyncpg.Connection
) -> None:
    """Though they came as one piece: it alone stands in quarantine, as it was."""
    bad = msgspec.structs.replace(CANDLE, symbol="no text\0")
    written = decode_facts(encode_facts([CANDLE, bad, msgspec.structs.replace(CANDLE, symbol="ETH/USDT")]))
    assert await store.store(JOURNAL, 1, written) == 1
    assert await sight.fetchval("SELECT array_agg(symbol ORDER BY symbol) FROM ohlcv") == ["BTC/USDT", "ETH/USDT"]
    assert await sight.fetchval("SELECT payload FROM quarantine WHERE channel = 'candle'") == encode_fact(bad).decode()
