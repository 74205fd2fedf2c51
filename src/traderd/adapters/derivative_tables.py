"""What contracts tell besides quotes and trades → its four tables. Written again, a fact changes nothing."""

from traderd.adapters.fact_tables import Table, insert_into, time_of
from traderd.core.facts import Derivative

_KEY = "time timestamptz, symbol text, exchange text, time_received timestamptz"


def _newest_of_key(table: str, columns: str) -> str:
    """A venue that tells twice under one time is believed the second time."""
    names = ", ".join(f"{column.split()[0]} = EXCLUDED.{column.split()[0]}" for column in columns.split(", "))
    return insert_into(
        table,
        f"{_KEY}, {columns}",
        f"ON CONFLICT (symbol, time, exchange) DO UPDATE SET time_received = EXCLUDED.time_received, {names}"
        f" WHERE {table}.time_received < EXCLUDED.time_received",
    )


def _key(fact: Derivative) -> tuple[object, ...]:
    return fact.symbol, fact.time_ns // 1000, fact.exchange


def _keys(fact: Derivative) -> tuple[object, ...]:
    return time_of(fact.time_ns), fact.symbol, fact.exchange, time_of(fact.received_ns)


def _received(fact: Derivative) -> int:
    return fact.received_ns


FUNDING = Table(
    _newest_of_key("funding_rates", "rate numeric, next_time timestamptz"),
    lambda f: (*_keys(f), f.rate, time_of(f.next_time_ns)),
    _key,
    _received,
)
MARKS = Table(
    _newest_of_key("mark_prices", "mark_price numeric, index_price numeric"),
    lambda m: (*_keys(m), m.mark, m.index),
    _key,
    _received,
)
OPEN_INTEREST = Table(
    _newest_of_key("open_interest", "quantity numeric"), lambda o: (*_keys(o), o.quantity), _key, _received
)
LIQUIDATIONS = Table(
    insert_into("liquidations", f"{_KEY}, side text, price numeric, quantity numeric", "ON CONFLICT DO NOTHING"),
    lambda v: (*_keys(v), v.side, v.price, v.quantity),
    lambda v: (*_key(v), v.side, v.price, v.quantity, v.received_ns // 1000),
)
