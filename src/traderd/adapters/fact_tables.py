"""Which fact goes into which table: the statements, and a fact as a row.

Each statement takes one array for each column, so that a thousand rows are one round trip. Keys are UUIDs derived from
the facts' own text keys: the same fact has the same key in every run and on every machine.
What may be missing (a signal that could not be stored, an order that isn't ours) is looked up, and NULL where it is.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from traderd.core.facts import StoredFact, WrittenCandles, encode_fact

_NAMESPACE = UUID("5ab2a2a0-6f0c-5a8e-9d27-4b1d7c1f6e55")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_A_TURN = 16
Row = tuple[Any, ...]


class Table(Struct, frozen=True):
    """How facts of one kind are written."""

    statement: str
    row: Callable[[Any], Row] | None
    """None: the statement takes one argument, the facts as a JSON array, and finds those with the same key itself."""
    key: Callable[[Any], object] | None
    """Two rows of one statement must not have the same key. None where the statement sees to it."""
    newest: Callable[[Any], int] = lambda fact: 0
    """Of facts with the same key the one with the highest number is written; of equals, the last."""


@lru_cache(4_096)
def key_of(kind: str, *names: str) -> UUID:
    """The primary key of what has this natural key. An order's is asked for with each of its facts."""
    return uuid5(_NAMESPACE, "\n".join((kind, *names)))


def time_of(nanoseconds: int) -> datetime | None:
    """To the microsecond, rounded down; None for 0."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds else None


def ns_of(time: datetime | None) -> int:
    """The inverse of `time_of`."""
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000 if time else 0


async def arguments_of(table: Table, facts: Iterable[Any]) -> list[Any]:
    """The arguments of the table's statement: an array for each column or all as JSON, one row for each key.

    Others have their turn in between: a row takes as long as several ticks.
    """
    if table.row is None or table.key is None:
        return [_json_array(facts)]
    chosen: dict[object, Any] = {}
    for fact in facts:
        key = table.key(fact)
        if key not in chosen or table.newest(fact) >= table.newest(chosen[key]):
            chosen[key] = fact
    rows = []
    for fact in chosen.values():
        rows.append(table.row(fact))
        if len(rows) % _ROWS_A_TURN == 0:
            await asyncio.sleep(0)
    return list(zip(*rows, strict=True))


def insert_into(table: str, columns: str, end: str, **lookups: str) -> str:
    """`INSERT … SELECT … FROM unnest(…)`; `columns` is "name type, …", a lookup replaces a column by an expression."""
    names = _names(columns)
    values = ", ".join(lookups.get(name, f"fact.{name}") for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {_rows(columns)} {end}"


def _rows(columns: str) -> str:
    """The statement's arguments as a relation named fact."""
    arrays = ", ".join(f"${number}::{column.split()[1]}[]" for number, column in enumerate(columns.split(", "), 1))
    return f"unnest({arrays}) AS fact({', '.join(_names(columns))})"


def _names(columns: str) -> list[str]:
    return [column.split()[0] for column in columns.split(", ")]


def _replacing(columns: str, keys: str) -> str:
    """The `SET` of an upsert: every column but the keys."""
    return ", ".join(f"{name} = EXCLUDED.{name}" for name in _names(columns) if name not in keys.split(", "))


def _strategy(name: str) -> UUID | None:
    return key_of("strategy", name) if name else None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _json_array(facts: Iterable[StoredFact]) -> str:
    written = [
        fact.lines.replace(b"\n", b",") if isinstance(fact, WrittenCandles) else encode_fact(fact) for fact in facts
    ]
    return f"[{b','.join(written).decode()}]"


_CANDLE_KEY = "symbol text, timeframe text, time timestamptz, exchange text"
_BAR = (
    "open numeric, high numeric, low numeric, close numeric, volume numeric, quote_volume numeric, "
    "trades_count bigint, bid numeric, ask numeric, bid_size numeric, ask_size numeric, has_gap boolean, "
    "differs boolean"
)
_BAR_NAMES, _CANDLE_NAMES = _names(_BAR), _names(f"{_CANDLE_KEY}, {_BAR}")
CANDLES = Table(
    # With many symbols there are hundreds a second, and the server reads JSON ten times as fast as a row can be made
    # of them here: the timestamp is made from `open_time_ns` there too, exact to the microsecond.
    # A bar that is there already isn't touched: its rollups would be computed again for nothing. Nor is a candle that
    # was taken from the venue: what comes of its bar afterwards is made of fewer trades.
    f"""
    INSERT INTO ohlcv ({", ".join(_CANDLE_NAMES)})
    SELECT DISTINCT ON ({", ".join(_names(_CANDLE_KEY))}) {", ".join(_CANDLE_NAMES)} FROM (
        SELECT *, timestamptz 'epoch' + open_time_ns / 1000 * interval '1 microsecond' AS time
        FROM ROWS FROM (
            json_to_recordset($1::json) AS (open_time_ns bigint, symbol text, timeframe text, exchange text, {_BAR})
        ) WITH ORDINALITY
            AS told(open_time_ns, symbol, timeframe, exchange, {", ".join(_BAR_NAMES)}, number)
    ) fact
    ORDER BY {", ".join(_names(_CANDLE_KEY))}, trades_count DESC, number DESC
    ON CONFLICT ({", ".join(_names(_CANDLE_KEY))}) DO UPDATE
    SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _BAR_NAMES)}
    WHERE EXCLUDED.trades_count >= ohlcv.trades_count AND NOT ohlcv.backfilled
      AND ({", ".join(f"EXCLUDED.{name}" for name in _BAR_NAMES)})
          IS DISTINCT FROM ({", ".join(f"ohlcv.{name}" for name in _BAR_NAMES)})""",
    None,
    None,
)

_INDICATOR = "time timestamptz, symbol text, exchange text, timeframe text, indicator_name text, value numeric"
INDICATORS = Table(
    insert_into(
        "technical_indicators",
        _INDICATOR,
        "ON CONFLICT (symbol, timeframe, indicator_name, time, exchange) DO UPDATE SET value = EXCLUDED.value"
        " WHERE technical_indicators.value IS DISTINCT FROM EXCLUDED.value",
    ),
    lambda i: (time_of(i.time_ns), i.symbol, i.exchange, i.timeframe, i.name, i.value),
    lambda i: (i.symbol, i.timeframe, i.name, i.time_ns, i.exchange),
)

SIGNALS = Table(
    insert_into(
        "signals",
        "id uuid, signal_key text, time timestamptz, strategy_id uuid, exchange text, symbol text, signal_type text, "
        "strength float8, confidence float8, price numeric, reason text, expires_at timestamptz",
        "ON CONFLICT DO NOTHING",
    ),
    lambda s: (
        key_of("signal", s.signal_id), s.signal_id, time_of(s.time_ns), _strategy(s.strategy), s.exchange, s.symbol,
        s.signal_type, s.strength, s.confidence, Decimal(repr(s.price)), s.reason,
        time_of(s.expires_ns),
    ),
    lambda s: s.signal_id,
)  # fmt: skip

_ORDER = (
    "id uuid, client_order_id text, portfolio_id uuid, strategy_id uuid, signal_id uuid, signal_key text, "
    "exchange text, symbol text, side text, order_type text, quantity numeric, price numeric, status text, "
    "environment text, exchange_order_id text, filled_quantity numeric, average_fill_price numeric, "
    "commission numeric, commission_asset text, reason text, created_at timestamptz, updated_at timestamptz, "
    "updated_ns bigint, submitted_at timestamptz, filled_at timestamptz, cancelled_at timestamptz"
)
_INSERT_ORDERS = insert_into(
    "orders",
    _ORDER,
    "ON CONFLICT (id) DO UPDATE SET "
    + _replacing(_ORDER, "id, client_order_id")
    + " WHERE orders.updated_ns <= EXCLUDED.updated_ns RETURNING signal_id, status, filled_quantity",
    signal_id="(SELECT signals.id FROM signals WHERE signals.id = fact.signal_id)",
)
ORDERS = Table(
    # A signal is executed by its order's first fill, and cancelled when the order ends without one.
    f"""
    WITH written AS ({_INSERT_ORDERS})
    UPDATE signals SET status = CASE WHEN written.filled_quantity > 0 THEN 'executed' ELSE 'cancelled' END
    FROM written
    WHERE signals.id = written.signal_id AND signals.status <> 'executed'
      AND (written.filled_quantity > 0 OR written.status IN ('rejected', 'cancelled', 'expired'))""",
    lambda o: (
        key_of("order", o.client_order_id), o.client_order_id, key_of("portfolio", o.portfolio), _strategy(o.strategy),
        key_of("signal", o.signal_id) if o.signal_id else None, o.signal_id or None, o.exchange, o.symbol, o.side,
        o.order_type, o.quantity, o.price, o.status, o.environment, o.exchange_order_id or None, o.filled_quantity,
        o.average_fill_price, o.fee, o.fee_currency or None, o.reason, time_of(o.created_ns), time_of(o.updated_ns),
        o.updated_ns, time_of(o.submitted_ns), time_of(o.filled_ns), time_of(o.cancelled_ns),
    ),
    lambda o: o.client_order_id,
    lambda o: int(o.updated_ns),
)  # fmt: skip

_FILL = (
    "id uuid, execution_key text, client_order_id text, order_id uuid, portfolio_id uuid, strategy_id uuid, "
    "exchange text, symbol text, side text, quantity numeric, price numeric, commission numeric, "
    "commission_asset text, realized_pnl numeric, environment text, time timestamptz, position_id uuid, "
    "exchange_trade_id text"
)
FILLS = Table(
    # A second fill with the same id of the exchange is no repeat: it is refused, and so goes where it is seen.
    # One fill, two rows: as the exchange reported it, and as the books see it. Returns the fills that were new; what
    # they earned is added to their strategies.
    f"""
    WITH fact AS (
        SELECT fact.*, (SELECT orders.id FROM orders WHERE orders.id = fact.order_id) AS known_order
        FROM {_rows(_FILL)}
    ), inserted AS (
        INSERT INTO executions (id, execution_key, order_id, client_order_id, portfolio_id, exchange, symbol, side,
                                quantity, price, commission, commission_asset, environment, time, exchange_trade_id)
        SELECT id, execution_key, known_order, client_order_id, portfolio_id, exchange, symbol, side,
               quantity, price, commission, commission_asset, environment, time, exchange_trade_id
        FROM fact ON CONFLICT (id) DO NOTHING RETURNING id
    ), earned AS (
        UPDATE strategies SET total_pnl = total_pnl + new.pnl, num_trades = num_trades + new.fills
        FROM (SELECT strategy_id, sum(realized_pnl) AS pnl, count(*) AS fills
              FROM fact JOIN inserted USING (id) GROUP BY strategy_id) new
        WHERE strategies.id = new.strategy_id
    )
    INSERT INTO trades (id, order_id, portfolio_id, strategy_id, exchange, symbol, side, quantity, price, commission,
                        commission_asset, realized_pnl, environment, executed_at, position_id, exchange_trade_id)
    SELECT id, known_order, portfolio_id, strategy_id, exchange, symbol, side, quantity, price, commission,
           commission_asset, realized_pnl, environment, time,
           (SELECT positions.id FROM positions WHERE positions.id = fact.position_id), exchange_trade_id
    FROM fact JOIN inserted USING (id) RETURNING id""",
    lambda e: (
        key_of("execution", e.execution_id), e.execution_id, e.client_order_id, key_of("order", e.client_order_id),
        key_of("portfolio", e.portfolio), _strategy(e.strategy), e.exchange, e.symbol, e.side, e.quantity, e.price,
        e.fee, e.fee_currency or None, e.realized_pnl, e.environment, time_of(e.time_ns),
        key_of("position", e.portfolio, e.exchange, e.symbol), e.exchange_trade_id or None,
    ),
    lambda e: e.execution_id,
)  # fmt: skip

_POSITION = (
    "id uuid, portfolio_id uuid, strategy_id uuid, exchange text, symbol text, quantity numeric, entry_price numeric, "
    "current_price numeric, unrealized_pnl numeric, realized_pnl numeric, opened_at timestamptz, "
    "updated_at timestamptz, updated_ns bigint"
)
POSITIONS = Table(
    insert_into(
        "positions",
        _POSITION,
        "ON CONFLICT (id) DO UPDATE SET "
        + _replacing(_POSITION, "id, portfolio_id, exchange, symbol")
        + " WHERE positions.updated_ns <= EXCLUDED.updated_ns",
    ),
    lambda p: (
        key_of("position", p.portfolio, p.exchange, p.symbol), key_of("portfolio", p.portfolio), _strategy(p.strategy),
        p.exchange, p.symbol, p.quantity, p.entry_price, p.current_price, p.unrealized_pnl, p.realized_pnl,
        time_of(p.opened_ns), time_of(p.updated_ns) or _EPOCH, p.updated_ns,
    ),
    lambda p: (p.portfolio, p.exchange, p.symbol),
    lambda p: int(p.updated_ns),
)  # fmt: skip

_EQUITY = (
    "time timestamptz, portfolio_id uuid, equity_value numeric, cash_balance numeric, positions_value numeric, "
    "unrealized_pnl numeric, realized_pnl numeric, fees numeric, peak_equity numeric, drawdown numeric, "
    "initial_balance numeric, base_currency text, environment text"
)
EQUITY = Table(
    insert_into(
        "equity_history",
        _EQUITY,
        "ON CONFLICT (portfolio_id, time) DO UPDATE SET " + _replacing(_EQUITY, "portfolio_id, time"),
    ),
    lambda e: (
        time_of(e.time_ns), key_of("portfolio", e.portfolio), e.equity, e.cash, e.positions_value, e.unrealized_pnl,
        e.realized_pnl, e.fees, e.peak_equity, e.drawdown, e.initial_cash, e.base_currency, e.environment,
    ),
    lambda e: (e.portfolio, e.time_ns // 1000),
)  # fmt: skip

_BALANCE = (
    "id uuid, name text, environment text, base_currency text, initial_balance numeric, cash_balance numeric, "
    "positions_value numeric, total_value numeric, unrealized_pnl numeric, realized_pnl numeric, fees numeric, "
    "peak_equity numeric"
)
BALANCES = Table(
    insert_into("portfolios", _BALANCE, "ON CONFLICT (id) DO UPDATE SET " + _replacing(_BALANCE, "id, name")),
    lambda e: (
        key_of("portfolio", e.portfolio), e.portfolio, e.environment, e.base_currency, e.initial_cash, e.cash,
        e.positions_value, e.equity, e.unrealized_pnl, e.realized_pnl, e.fees, e.peak_equity,
    ),
    lambda e: e.portfolio,
)  # fmt: skip

ALERTS = Table(
    insert_into(
        "alerts",
        "id uuid, alert_key text, time timestamptz, alert_type text, severity text, title text, message text, "
        "exchange text, symbol text, entity_type text, entity_id text, metadata jsonb",
        "ON CONFLICT DO NOTHING",
    ),
    lambda a: (
        key_of("alert", a.alert_id), a.alert_id, time_of(a.time_ns), a.alert_type, a.severity, a.title, a.message,
        a.exchange or None, a.symbol or None, a.entity_type or None, a.entity_id or None,
        _json(a.metadata),
    ),
    lambda a: a.alert_id,
)  # fmt: skip

BREAKER_EVENTS = Table(
    insert_into(
        "circuit_breaker_events",
        "id uuid, event_key text, portfolio_id uuid, trigger_type text, threshold_value numeric, actual_value numeric, "
        "triggered_at timestamptz, resolved_at timestamptz, actions_taken jsonb, metadata jsonb",
        "ON CONFLICT (id) DO UPDATE SET resolved_at = EXCLUDED.resolved_at"
        " WHERE circuit_breaker_events.resolved_at IS NULL",
    ),
    lambda b: (
        key_of("breaker", b.event_id), b.event_id, key_of("portfolio", b.portfolio), b.trigger_type, b.threshold,
        b.actual, time_of(b.triggered_ns), time_of(b.resolved_ns), _json(b.actions_taken), _json({"reason": b.reason}),
    ),
    lambda b: b.event_id,
    lambda b: int(b.resolved_ns),
)  # fmt: skip

BOOK_LEVELS = Table(
    insert_into(
        "order_book_snapshots",
        "time timestamptz, exchange text, symbol text, sequence bigint, bids jsonb, asks jsonb, imbalance float8, "
        "microprice float8, spread numeric",
        "ON CONFLICT DO NOTHING",
    ),
    lambda b: (
        time_of(b.time_ns), b.exchange, b.symbol, b.sequence, _json(b.bids), _json(b.asks), b.imbalance, b.microprice,
        b.spread,
    ),
    lambda b: (b.exchange, b.symbol, b.time_ns // 1000),
)  # fmt: skip

_GAP = (
    "id uuid, gap_key text, exchange text, symbol text, channel text, reason text, time_from timestamptz, "
    "time_to timestamptz, rows_lost bigint, detail text, status text, healed_at timestamptz, healed_by text, "
    "rows_healed bigint, why_not text, after_id text, before_id text, unfetched jsonb, candles text, "
    "candles_due timestamptz, hurt_bars jsonb"
)
GAPS = Table(
    insert_into("data_gaps", _GAP, "ON CONFLICT (id) DO UPDATE SET " + _replacing(_GAP, "id, gap_key")),
    lambda g: (
        key_of("gap", g.gap_id), g.gap_id, g.exchange, g.symbol or None, g.channel or None, g.reason,
        time_of(g.from_ns) or _EPOCH, time_of(g.to_ns), g.rows_lost, g.detail,
        "closed" if g.to_ns and g.status == "open" else g.status,  # as an older release journalled it
        time_of(g.healed_ns), g.healed_by or None, g.rows_healed, g.why_not, g.after_id or None, g.before_id or None,
        _json(g.unfetched), g.candles, time_of(g.candles_due_ns), _json(g.hurt_bars),
    ),
    lambda g: g.gap_id,
)  # fmt: skip

_INSTRUMENT = (
    "id uuid, exchange text, symbol text, venue_symbol text, base text, quote text, price_tick numeric, "
    "quantity_step numeric, notional_min numeric, market text, settle text, contract_size numeric, "
    "expiry timestamptz, feed text, status text"
)
_TOLD = [name for name in _names(_INSTRUMENT) if name not in ("id", "exchange", "symbol")]
INSTRUMENTS = Table(
    # An instrument that says what its row says already isn't touched.
    insert_into(
        "instruments",
        _INSTRUMENT,
        "ON CONFLICT (id) DO UPDATE SET "
        + _replacing(_INSTRUMENT, "id, exchange, symbol")
        + f" WHERE ({', '.join(f'instruments.{name}' for name in _TOLD)}) IS DISTINCT FROM"
        + f" ({', '.join(f'EXCLUDED.{name}' for name in _TOLD)})",
    ),
    lambda i: (
        key_of("instrument", i.exchange, i.symbol), i.exchange, i.symbol, i.venue_symbol, i.base, i.quote,
        i.price_tick, i.quantity_step, i.notional_min, i.market, i.settle or None, i.contract_size,
        time_of(i.expiry_ns), i.feed, "trading",
    ),
    lambda i: (i.exchange, i.symbol),
)  # fmt: skip
