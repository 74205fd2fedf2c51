"""How the server carries out an example query: does an index, or leaving out chunks, spare it reading whole tables?"""

import json
from typing import Any

import asyncpg

_SMALL_PAGES = 256
"""Two mebibytes: reading all of a smaller table takes less than a millisecond."""
_PAGES = """
    SELECT c.oid::regclass::text AS name, c.relpages AS pages, i.inhparent::regclass::text AS parent,
           (SELECT count(*) FROM pg_inherits s JOIN pg_class k ON k.oid = s.inhrelid AND k.relpages > 0
            WHERE s.inhparent = i.inhparent) AS siblings
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid WHERE c.relkind = 'r'"""


async def server_ms(connection: asyncpg.Connection, sql: str, given: tuple[Any, ...]) -> float:
    """How long the server itself takes, without what becomes of the rows afterwards."""
    plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", *given))
    return float(plan[0]["Execution Time"])


async def whole_tables_read(connection: asyncpg.Connection, sql: str, given: tuple[Any, ...]) -> list[str]:
    """The larger tables that the query read from end to end. Of a table in parts: only if no part was left out."""
    plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT JSON) {sql}", *given))
    tables = {row["name"].split(".")[-1].strip('"'): row for row in await connection.fetch(_PAGES)}
    read: dict[str, set[str]] = {}
    for node in _nodes(plan[0]["Plan"]):
        row = tables.get(node.get("Relation Name", ""))
        if row is None or "Seq Scan" not in node["Node Type"] or not node["Actual Loops"]:
            continue
        if row["parent"] is not None:
            read.setdefault(f"{row['parent']} ({row['siblings']} parts)", set()).add(row["name"])
        elif row["pages"] > _SMALL_PAGES:
            read.setdefault(row["name"], set()).add(row["name"])
    parts = {row["parent"]: row["siblings"] for row in tables.values() if row["parent"]}
    pages = {row["name"]: row["pages"] for row in tables.values()}
    return sorted(
        name
        for name, scanned in read.items()
        if len(scanned) >= parts.get(name.split(" (")[0], 1) and sum(map(pages.__getitem__, scanned)) > _SMALL_PAGES
    )


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
