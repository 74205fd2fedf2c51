"""The order in which a transaction writes the tables of facts, so that what refers to a row comes after it.

Before all of these stand the strategies and portfolios that the facts name (OWNERS). A test holds the order against the
foreign keys in the database's own catalogue. The tables of ticks have none.
"""

from typing import Final, NamedTuple

from traderd.adapters.derivative_tables import FUNDING, LIQUIDATIONS, MARKS, OPEN_INTEREST
from traderd.adapters.fact_tables import (
    ALERTS,
    BALANCES,
    BOOK_LEVELS,
    BREAKER_EVENTS,
    CANDLES,
    EQUITY,
    FILLS,
    GAPS,
    INDICATORS,
    ORDERS,
    POSITIONS,
    SIGNALS,
    Table,
)
from traderd.core.facts import (
    Alert,
    BookLevels,
    BreakerEvent,
    Candle,
    Equity,
    Execution,
    Fact,
    FundingRate,
    Gap,
    Indicator,
    Liquidated,
    Mark,
    OpenContracts,
    Order,
    Position,
    Signal,
)


class Step(NamedTuple):
    """One statement."""

    kind: type[Fact]
    tables: tuple[str, ...]
    """Which it writes, in this order."""
    how: Table
    time: str = ""
    """The fact's field whose partition of the first table must exist; "" where it isn't partitioned."""


OWNERS: Final = ("strategies", "portfolios")
WRITE_ORDER: Final[tuple[Step, ...]] = (
    Step(Candle, ("ohlcv",), CANDLES, "open_time_ns"),
    Step(Indicator, ("technical_indicators",), INDICATORS, "time_ns"),
    Step(Signal, ("signals",), SIGNALS),
    Step(Order, ("orders", "signals"), ORDERS),
    Step(Position, ("positions",), POSITIONS),
    Step(Equity, ("equity_history",), EQUITY, "time_ns"),
    Step(Alert, ("alerts",), ALERTS),
    Step(BreakerEvent, ("circuit_breaker_events",), BREAKER_EVENTS),
    Step(Gap, ("data_gaps",), GAPS),
    Step(FundingRate, ("funding_rates",), FUNDING, "time_ns"),
    Step(Mark, ("mark_prices",), MARKS, "time_ns"),
    Step(OpenContracts, ("open_interest",), OPEN_INTEREST, "time_ns"),
    Step(Liquidated, ("liquidations",), LIQUIDATIONS, "time_ns"),
    Step(BookLevels, ("order_book_snapshots",), BOOK_LEVELS, "time_ns"),
    Step(Execution, ("executions", "strategies", "trades"), FILLS),
    Step(Equity, ("portfolios",), BALANCES),
)
