"""Recorded traffic into events: what a capture's line means in its venue's dialect."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from traderd.core.errors import BadFrameError, TraderdError
from traderd.core.market import Instrument, Market, VenueEvent
from traderd.venues.dialect import Dialect
from traderd.venues.registry import market_named, market_told, recorded_dialect

_BOOK_DEPTH = 10
"""Nothing is subscribed to here: it only matters for a book of which not even its snapshot tells how deep it is."""


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
    Which market it is, its address says; else the header; else what its first frames can only be of.
    """

    def __init__(
        self,
        venue: str,
        market: str,
        instruments: Sequence[Instrument] | None = None,
        beginning: Sequence[Recorded] = (),
    ) -> None:
        """Of these instruments or of whatever comes; venue and market are the header's. Raises UnspokenError.

        Of `beginning`, the recording's first records, only the markets are learnt here, if the header tells none.
        """
        self._venue = venue
        self._market = market_named(venue, market)
        self._instruments = instruments
        self._made("", self._market)
        self._spoken: dict[str, Dialect] = {}
        self._unspoken: set[str] = set()
        self._told = {} if self._market else _markets_told(venue, beginning)

    def events(self, record: Recorded) -> Sequence[VenueEvent]:
        """The record's events, as `events_of` has them.

        Raises BadFrameError, and UnspokenError when something connects that isn't spoken: its frames are "unspoken".
        """
        if record.kind == "http":
            return events_of(self._made(record.connection, self._market), record)
        if record.kind == "connect":
            self._connect(record)
        elif record.connection in self._unspoken:
            raise BadFrameError("unspoken")
        elif record.connection not in self._spoken:
            self._spoken[record.connection] = self._made("", self._market_of(record))
        return events_of(self._spoken[record.connection], record)

    def _connect(self, record: Recorded) -> None:
        self._unspoken.add(record.connection)
        self._spoken[record.connection] = self._made(record.text.decode(errors="replace"), self._market_of(record))
        self._unspoken.discard(record.connection)

    def _market_of(self, record: Recorded) -> str:
        return self._told.get(record.connection, self._market)

    def _made(self, address: str, market: str) -> Dialect:
        try:
            spoken = recorded_dialect(self._venue, _BOOK_DEPTH, market, address)
        except KeyError:
            what = address or f"{self._venue} {self._market}".strip()
            raise UnspokenError(f"{what} isn't spoken here") from None
        if self._instruments is None:
            spoken.discover()
        else:
            own = spoken.market
            # Where two markets spell a symbol alike, the last that is bound is the one that is meant: our own.
            spoken.bind(sorted(self._instruments, key=lambda each: each.market == own))
        return spoken


def _markets_told(venue: str, beginning: Sequence[Recorded]) -> dict[str, Market]:
    """By connection."""
    markets: dict[str, Market] = {}
    for record in beginning:
        unknown = record.kind == "frame" and record.connection not in markets
        if unknown and (market := market_told(venue, record.text)):
            markets[record.connection] = market
    return markets


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
