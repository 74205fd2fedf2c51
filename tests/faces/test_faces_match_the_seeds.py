"""Each face shows exactly the tables of its seed document, column by column."""

import asyncpg
import pytest
import seeds

from conftest import Database

pytestmark = pytest.mark.skipif(not seeds.documents_are_here(), reason=f"the seed documents are not at {seeds.FOLDER}")

EXCEPTIONS: dict[tuple[str, str, str], str] = {}
"""(schema, table, column) where a face may differ from its document, each with the reason. At most five."""

_COLUMNS = """
    SELECT c.relname AS name, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = $1::text::regnamespace AND c.relkind <> 'c'
    ORDER BY c.relname, a.attnum"""
_UNSAFE = """
    SELECT relname FROM pg_class
    WHERE relnamespace = $1::text::regnamespace
      AND (relkind <> 'v' OR NOT 'security_invoker=true' = ANY (coalesce(reloptions, '{}')))"""
_LABELS = """
    SELECT t.typname AS name, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
    FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = $1::text::regnamespace GROUP BY t.typname"""


@pytest.mark.parametrize("schema", seeds.SCHEMAS)
async def test_every_table_and_column_of_the_document_is_there_and_no_other(database: Database, schema: str) -> None:
    """Names, order and types are the document's; every relation is a view on which the reader's own rights hold."""
    connection = await asyncpg.connect(database.dsn)
    try:
        found: dict[str, seeds.Columns] = {}
        for row in await connection.fetch(_COLUMNS, schema):
            found.setdefault(row["name"], []).append((row["column"], row["type"]))
        unsafe = await connection.fetch(_UNSAFE, schema)
        labels = {row["name"]: row["labels"] for row in await connection.fetch(_LABELS, schema)}
    finally:
        await connection.close()
    promised = seeds.tables_of(schema)
    assert sorted(found) == sorted(promised)
    for name, columns in promised.items():
        assert _without_exceptions(schema, name, found[name]) == _without_exceptions(schema, name, columns), name
    assert unsafe == []
    assert labels == seeds.enumerations_of(schema)


def test_the_documents_are_read_whole() -> None:
    """As many tables as the documents have, so that a table which the reader overlooks is no table that matches."""
    assert {schema: len(seeds.tables_of(schema)) for schema in seeds.SCHEMAS} == {
        "trading_ai": 10,
        "apextrade": 15,
        "mastertrade": 23,
        "octopus": 12,
        "quant": 16,
    }
    assert len(seeds.enumerations_of("trading_ai")) == 6
    assert len(EXCEPTIONS) <= 5


def _without_exceptions(schema: str, table: str, columns: seeds.Columns) -> seeds.Columns:
    return [column for column in columns if (schema, table, column[0]) not in EXCEPTIONS]
