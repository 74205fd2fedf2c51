"""The fact journal's records → facts → the fact store: what a drain needs, on top of what a fact store offers."""

import asyncio
from collections.abc import Sequence

from traderd.core.facts import StoredFact, decode_facts
from traderd.runtime.ports import FactStore, JournalRecord


class FactRecords:
    """A RecordStore whose records are facts, one JSON object a line."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self.refused_in_doubt = 0
        """Always: facts aren't ticks, whose account must add up; what was refused stands in quarantine."""

    async def cursor(self, journal_id: str) -> int:
        """The position up to which the database has every fact."""
        return await self._store.cursor(journal_id)

    async def store(self, journal_id: str, records: Sequence[JournalRecord]) -> int:
        """All the records' facts and the cursor, in one transaction."""
        facts: list[StoredFact] = []
        for record in records:
            facts += decode_facts(record.payload)
            await asyncio.sleep(0)  # a record may be a second's bars of a thousand symbols
        return await self._store.store(journal_id, records[-1].position, facts)
