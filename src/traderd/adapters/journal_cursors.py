"""How far a database has each journal; and the operator's word that what it lacks is gone for good.

Refuses to move a cursor back, or past what a journal still has.
"""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from traderd.adapters.audit import record
from traderd.adapters.fact_tables import key_of


async def cursors(connection: asyncpg.Connection, journal_ids: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """Position and when it moved, of the journals that the database knows."""
    rows = await connection.fetch(
        "SELECT journal_id, position, updated_at FROM journal_cursors WHERE journal_id = ANY($1::text[])",
        list(journal_ids),
    )
    return {row["journal_id"]: (row["position"], row["updated_at"]) for row in rows}


async def accept(
    connection: asyncpg.Connection, journal_id: str, begins_after: int, venues: Sequence[str], until: datetime | None
) -> bool:
    """Go on where the journal begins. What lies between becomes a gap of each venue, from the cursor's last move on.

    False where nothing is missing. One transaction; the audit log names it.
    """
    async with connection.transaction():
        known = await connection.fetchrow(
            "SELECT position, updated_at FROM journal_cursors WHERE journal_id = $1 FOR UPDATE",
            journal_id,
        )
        position = known["position"] if known else 0
        until = until or await connection.fetchval("SELECT now()")
        if position >= begins_after:
            return False
        await connection.execute(
            "INSERT INTO journal_cursors (journal_id, position) VALUES ($1, $2)"
            " ON CONFLICT (journal_id) DO UPDATE SET position = EXCLUDED.position",
            journal_id,
            begins_after,
        )
        for venue in venues:
            key = f"{journal_id}-{begins_after}-{venue}"
            await connection.execute(
                "INSERT INTO data_gaps (id, gap_key, exchange, reason, time_from, time_to, detail, status)"
                " VALUES ($1, $2, $3, 'lost', least($4, $5::timestamptz), $5, $6, 'closed') ON CONFLICT DO NOTHING",
                key_of("gap", key),
                key,
                venue,
                known["updated_at"] if known else until,
                until,
                f"records {position + 1} to {begins_after} of journal {journal_id} are in no place any more",
            )
        await record(
            connection,
            "journal_accepted",
            "journal_cursors",
            journal_id,
            old={"position": position},
            new={"position": begins_after},
        )
    return True
