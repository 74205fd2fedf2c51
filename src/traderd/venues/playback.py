"""Recorded traffic into events: what a capture's line means in its venue's dialect."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from traderd.core.errors import TraderdError
from traderd.core.market import Instrument, VenueEvent
from traderd.venues.dialect import Dialect
from traderd.venues.registry import recorded_dialect

_BOOK_DEPTH = 10
"""Nothing is subscribed to here: it only matters for a book whose own depth the recording doesn't tell."""


class UnspokenError(TraderdError):
    """The recording is of a venue or a market that has no dialect; the text names it."""


class Recorded(Struct, frozen=True, gc=False):
    """One line of a capture."""

    received_ns: int
    kind: Literal["frame", "connect", "sent", "http"]
    connection: str
    """`ws1`, …; for `http` the address that was asked."""
    text: bytes
    """The frame, the address connected to, or the answer's body."""


class Playback:
    """A recording's events: each connection has a dialect of its own, which is made when it connects.

    The same topic may mean another market on another connection, and what one connection told isn't known on the next.
    """

    def __init__(self, venue: str, market: str, instruments: Sequence[Instrument] | None = None) -> None:
        """Of these instruments or of whatever comes; venue and market are the header's. Raises UnspokenError."""
        self._venue = venue
        self._market = market
        self._instruments = instruments
        self._made("")
        self._spoken: dict[str, Dialect] = {}

    def events(self, record: Recorded) -> Sequence[VenueEvent]:
        """The record's events, as `events_of` has them. Raises BadFrameError and UnspokenError."""
        if record.kind == "http":
            return events_of(self._made(record.connection), record)
        if record.kind == "connect":
            self._spoken[record.connection] = self._made(record.text.decode(errors="replace"))
        elif record.connection not in self._spoken:
            self._spoken[record.connection] = self._made("")
        return events_of(self._spoken[record.connection], record)

    def _made(self, address: str) -> Dialect:
        try:
            spoken = recorded_dialect(self._venue, _BOOK_DEPTH, self._market, address)
        except KeyError:
            what = address or f"{self._venue} {self._market}".strip()
            raise UnspokenError(f"{what} isn't spoken here") from None
        if self._instruments is None:
            spoken.discover()
        else:
            market = getattr(spoken, "market", "")
            # Where two markets spell a symbol alike, the last that is bound is the one that is meant: our own.
            spoken.bind(sorted(self._instruments, key=lambda each: each.market == market))
        return spoken


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
