"""Every example query of the five documents is spared reading whole tables, and every index serves one of them."""

import os
import random
import sys
from pathlib import Path

import asyncpg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from example_plans import whole_tables_read
from example_queries import EXAMPLES
from example_rows import load
from queries import look, reader

from conftest import Database
from traderd.adapters.catalogue import index_uses

CANDLES, TICKS = (10_000_000, 5_000) if os.environ.get("TRADERD_TEST_LONG") else (100_000, 1_000)
SERVES_OTHERS = {
    "orders_open": "what must be asked about at start",
    "orders_signal": "which signals an order refers to, before they are deleted",
    "signals_active": "signals that expire",
    "backtests_completed": "what the archive takes",
    "alerts_portfolio": "the breaker's state at start",
    "data_gaps_unhealed": "what is to be healed, asked for every few seconds",
    "data_gaps_without_candles": "whose bars the venue is to be asked for, every few seconds",
    "quarantine_time": "the newest bad rows, for who looks after the daemon",
    "portfolios_user": "row-level security",
    "alert_suppressions_user": "row-level security",
    "alert_history_alert": "a notice's deliveries, and what goes with it when it is deleted",
    "alert_suppressions_type": "whether a notice is suppressed",
    "goal_adjustments_goal": "what goes with a goal when it is deleted",
    "alerts_status": "the delivery of every user's notices",
    "alert_rules_waiting": "the watch over every user's rules",
    "audit_logs_action": "a rare act among millions: here there are too few for it",
    "options_chains_expiration": "one expiry among years of chains: here there is one week",
    "rollup_marks_symbol_hour": "the hours of a symbol that must be computed anew",
    "whale_transactions_mastertrade": "one token's transfers among many tokens': here it is a third of all",
    "strategies_mastertrade": "a reader who is bound to no user",
    "portfolio_balances_mastertrade": "a reader who is bound to no user",
}
"""Indexes of statements that are no example, and which."""


@pytest.mark.timeout(1800)
async def test_the_example_queries_use_indexes_and_the_indexes_serve_them(database: Database) -> None:
    """EXPLAIN (ANALYZE, BUFFERS): no large table is read from end to end. TRADERD_TEST_LONG=1: 10 million candles."""
    symbols = await load(database.dsn, CANDLES, 100, lambda done: None, TICKS)
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("SELECT pg_stat_reset()")
    await connection.close()
    world = await look(database.dsn, symbols)
    for example in EXAMPLES:
        connection = await reader(database.dsn, example.schema)
        try:
            read = await whole_tables_read(connection, example.sql, example.given(world, random.Random(1)))
        finally:
            await connection.close()
        assert example.whole or not read, f"{example.schema}: {example.name} reads all of {read}"
    assert await idle_indexes(database.dsn) <= SERVES_OTHERS.keys()


async def idle_indexes(dsn: str) -> set[str]:
    """The indexes of our own, but for those that keep rows unique, which no query has used."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        uses = await index_uses(connection)
    finally:
        await connection.close()
    idle = {use.index.split(".")[-1] for use in uses if not use.scans and not use.is_unique}
    return {index for index in idle if not index.startswith("_")}  # those are TimescaleDB's own
