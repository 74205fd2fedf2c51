"""Recorded traffic into events: what a capture's line means in its venue's dialect."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from traderd.core.market import VenueEvent
from traderd.venues.dialect import Dialect


class Recorded(Struct, frozen=True, gc=False):
    """One line of a capture."""

    received_ns: int
    kind: Literal["frame", "connect", "sent", "http"]
    connection: str
    """`ws1`, …; for `http` the address that was asked."""
    text: bytes
    """The frame, the address connected to, or the answer's body."""


def events_of(dialect: Dialect, record: Recorded) -> Sequence[VenueEvent]:
    """The record's events; none for what the recorder itself did and for REST answers other than book snapshots.

    Call `dialect.discover()` before, unless the instruments are known. Raises BadFrameError.
    """
    if record.kind == "frame":
        return dialect.decode(record.text, record.received_ns)
    symbol = dialect.snapshot_symbol(record.connection) if record.kind == "http" else ""
    if not symbol:
        return ()
    return (dialect.decode_snapshot(record.text, dialect.instrument(symbol), record.received_ns),)
