"""sql/README.md tells the truth about every table."""

import re
from pathlib import Path

import asyncpg

from conftest import Database

PAGE = Path(__file__).parents[2] / "sql" / "README.md"
TERMS = """
    SELECT c.relname AS name, p.step, p.compress_after, coalesce(p.keep_for, r.keep_for) AS keep, r.keep_min,
           p.step IS NOT NULL AS hypertable
    FROM pg_class c
    LEFT JOIN time_partitioning p ON p.table_name = c.relname
    LEFT JOIN row_retention r ON r.table_name = c.relname
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
ROLLUPS = {"ohlcv_1h_kept", "ohlcv_1d_kept", "rollup_marks"}
"""Told below the tables, as the community edition has none of them."""


def span(value: object) -> str:
    """`7d`, `10y`; an interval as asyncpg gives it."""
    days = value.days  # type: ignore[attr-defined]
    return f"{days // 365}y" if days > 366 and days % 365 == 0 else f"{days}d"


async def test_the_page_has_a_row_for_every_table_with_its_terms(database: Database) -> None:
    """Hypertable, chunk, compression and term are those that a fresh migration sets."""
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (\S+) \| (\S+) \| ([^|]+?) \|", PAGE.read_text(), re.MULTILINE)
    told = {name: tuple(terms) for name, *terms in rows}
    connection = await asyncpg.connect(database.dsn)
    try:
        tables = await connection.fetch(TERMS)
    finally:
        await connection.close()
    true = {row["name"]: row for row in tables if row["name"] not in ROLLUPS}
    assert told.keys() == true.keys()
    for name, row in true.items():
        keep = (span(row["keep"]) if row["keep"] else "forever").replace("365d", "1y")
        floor = f" (at least {span(row['keep_min'])})" if row["keep_min"] and not row["keep"] else ""
        expected = (
            ("yes", span(row["step"]), span(row["compress_after"]) if row["compress_after"] else "never", keep)
            if row["hypertable"]
            else ("no", "–", "–", keep + floor)
        )
        assert (*told[name][:3], told[name][3].replace("365d", "1y")) == expected, name
