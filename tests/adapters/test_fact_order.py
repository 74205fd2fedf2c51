"""The order in which facts are written, against the foreign keys that the database itself knows."""

import re

import asyncpg

from conftest import Database
from traderd.adapters.fact_order import OWNERS, WRITE_ORDER
from traderd.adapters.tick_rows import COLUMNS

WRITES = re.compile(r"(?:INSERT INTO|(?<!DO )UPDATE) (\w+)")
KEYS = """
    SELECT conrelid::regclass::text AS referring, confrelid::regclass::text AS referred
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND connamespace = current_schema()::regnamespace"""
ALWAYS_THERE = {"users"}
"""Made before there is a daemon."""


async def test_what_is_referred_to_is_written_before_what_refers_to_it(plain_database: Database) -> None:
    """Each foreign key between tables of facts points back in the order; one to elsewhere, to what is always there."""
    order = [*OWNERS, *(table for step in WRITE_ORDER for table in step.tables)]
    connection = await asyncpg.connect(plain_database.dsn)
    keys = [tuple(row) for row in await connection.fetch(KEYS)]
    await connection.close()
    concerned = [(referring, referred) for referring, referred in keys if referring in order]
    assert {("orders", "signals"), ("executions", "orders"), ("trades", "positions")} <= set(concerned)
    for referring, referred in concerned:
        if referred not in order:
            assert referred in ALWAYS_THERE, (referring, referred)
        elif referred != referring:
            assert order.index(referred) < order.index(referring), (referring, referred)
    assert not [key for key in keys if key[0] in COLUMNS or key[1] in COLUMNS], "ticks wait for nobody"


def test_each_statement_writes_the_tables_that_the_order_names() -> None:
    """In the order in which it names them, too."""
    for step in WRITE_ORDER:
        written = list(dict.fromkeys(WRITES.findall(step.how.statement)))
        assert sorted(written) == sorted(step.tables), step.kind
        if len(written) == len(step.tables) and step.tables[0] != "orders":
            assert written == list(step.tables), step.kind
