"""One market of one venue: its streams spread over as many sessions as it takes, under one budget.

What the venue begins to trade later gets sessions of its own. Refuses to be called live while one of them is away.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from traderd.core.backoff import Backoff
from traderd.core.book import Book
from traderd.core.market import Instrument
from traderd.core.subscriptions import Census
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.session import Session
from traderd.runtime.streams import Streams
from traderd.runtime.surroundings import Surroundings
from traderd.venues.dialect import AnyChannel, Dialect, Endpoint
from traderd.venues.shards import shards

_BASE_S = 0.25
_CAP_S = 30.0
_HEALTHY_AFTER_S = 60.0


class LinksObserver(Protocol):
    """Who is told, now and then, how the links are."""

    def links(self, venue: str, up: int, wanted: int, census: Census, renewals: int) -> None:
        """So many of the wanted connections are up; the census is over all of them."""
        ...


class VenueSessions:
    """All connections of one seat."""

    def __init__(
        self,
        name: str,
        speak: Callable[[], Dialect],
        endpoint: Endpoint,
        instruments: Sequence[Instrument],
        channels: Sequence[AnyChannel],
        stream: Stream,
        pipeline: Pipeline,
        world: Surroundings,
        streams_per_connection_max: int = 0,
        connection_age_max_s: float = 0.0,
    ) -> None:
        """`name` is the seat's, `instruments` what its venue lists; 0 leaves a limit to the venue."""
        self.name = name
        self.stream = stream
        self._speak = speak
        self._endpoint = endpoint
        self._channels = channels
        self._pipeline = pipeline
        self._world = world
        self._streams_max = streams_per_connection_max
        self._age_max_s = connection_age_max_s
        self._known: dict[int, Instrument] = {}
        self._retired: set[int] = set()
        self._group: asyncio.TaskGroup | None = None
        self.sessions: list[Session] = []
        self._add(instruments)

    async def run(self) -> None:
        """Until cancelled, or until a mistake of ours in one of them ends all."""
        async with asyncio.TaskGroup() as self._group:
            for session in self.sessions:
                self._group.create_task(session.run())
            await asyncio.Event().wait()

    def retire(self, instruments: Sequence[Instrument]) -> None:
        """The venue trades these no more: nobody asks for them."""
        self._retired.update(instrument.index for instrument in instruments)
        for instrument in instruments:
            for session in self.sessions:
                session.retire(instrument)

    def revive(self, instruments: Sequence[Instrument]) -> None:
        """The venue trades these; what it hadn't traded so far, or had ceased to trade, is asked for."""
        self._retired.difference_update(instrument.index for instrument in instruments)
        for instrument in instruments:
            for session in self.sessions:
                session.revive(instrument)
        self._add(instruments)

    @property
    def known(self) -> list[Instrument]:
        """What the venue lists, or has listed in this run, with the figures that it told last."""
        return list(self._known.values())

    @property
    def wanted(self) -> list[Instrument]:
        """What it trades now."""
        return [instrument for instrument in self.known if instrument.index not in self._retired]

    def _add(self, instruments: Sequence[Instrument]) -> None:
        new = [instrument for instrument in instruments if instrument.index not in self._known]
        self._known |= {instrument.index: instrument for instrument in instruments}
        dialect = self._speak()
        for shard in shards(dialect, new, self._channels, self._streams_max):
            session = Session(
                f"ws{len(self.sessions) + 1}",
                self._speak,
                self._endpoint,
                Streams(shard.instruments, shard.channels, dialect.offers),
                self.stream,
                self._pipeline,
                Backoff(_BASE_S, _CAP_S, _HEALTHY_AFTER_S),
                self._world,
                self._age_max_s,
            )
            self.sessions.append(session)
            if self._group is not None:
                self._group.create_task(session.run())

    @property
    def live(self) -> bool:
        """Whether every connection is up."""
        return all(session.live for session in self.sessions)

    @property
    def books(self) -> dict[int, Book]:
        """All books, by instrument."""
        return {index: book for session in self.sessions for index, book in session.books.items()}

    def report(self, observer: LinksObserver) -> None:
        """How it is now."""
        each = [session.census for session in self.sessions]
        census = Census(
            sum(one.wanted for one in each),
            sum(one.acknowledged for one in each),
            sum(one.seen for one in each),
            sum(one.parked for one in each),
        )
        up = sum(session.live for session in self.sessions)
        renewals = sum(session.renewals for session in self.sessions)
        observer.links(self.name, up, len(self.sessions), census, renewals)
