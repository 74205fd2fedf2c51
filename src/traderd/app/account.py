"""Every tick accounted for: the figures of a run, for /status and for the summary at its end.

received = pending + journalled + stored + quarantined + lost
"""

from collections import Counter

from msgspec import Struct

from traderd.adapters.telemetry import Telemetry
from traderd.runtime.pipeline import Counts, Pipeline


class Account(Struct, frozen=True):
    """Rows of this run, each counted in exactly one place."""

    received: int
    pending: int
    """Gathered in memory, younger than flush_age_ms_max."""
    journalled: int
    """In the journal, not in the database yet."""
    stored: int
    quarantined: int
    lost: int
    duplicates: int
    """Of `stored`: the database had them already, and nothing is stored twice."""
    by_stream: Counter[tuple[str, str]]
    """Received rows by venue and channel."""

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.received == self.pending + self.journalled + self.stored + self.quarantined + self.lost


def account(pipeline: Pipeline, telemetry: Telemetry) -> Account:
    """The figures now."""
    channels = [(stream.exchange, name, rows) for stream in pipeline.streams for name, rows in stream.counts.items()]
    journalled = sum(rows.journalled for _, _, rows in channels)
    quarantined = sum(rows.quarantined for _, _, rows in channels)
    in_quarantine = sum(rows for (table, _, _), rows in telemetry.stored_rows.items() if table == "quarantine")
    stored = telemetry.stored_rows.total() - in_quarantine
    pending = sum(stream.pending for stream in pipeline.streams)
    return Account(
        received=sum(rows.received for _, _, rows in channels) + pending,
        pending=pending,
        journalled=journalled - stored,
        stored=stored - telemetry.refused_rows,
        quarantined=quarantined + telemetry.refused_rows,
        lost=sum(rows.lost for _, _, rows in channels),
        duplicates=telemetry.duplicate_rows,
        by_stream=_by_stream(channels),
    )


def _by_stream(channels: list[tuple[str, str, Counts]]) -> Counter[tuple[str, str]]:
    """Each market of a venue has a stream of its own: the venue's figure is their sum."""
    rows: Counter[tuple[str, str]] = Counter()
    for exchange, name, counts in channels:
        if counts.received:
            rows[exchange, name] += counts.received
    return rows
