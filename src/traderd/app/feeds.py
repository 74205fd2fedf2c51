"""What the venues tell, into the pipeline: for each seat its listing, its sessions, and the tape of a recording run."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from traderd.adapters.capture import Header, Recorder
from traderd.adapters.clock import SystemClock
from traderd.adapters.rest import HttpRest
from traderd.adapters.telemetry import Telemetry
from traderd.adapters.websocket import WebsocketConnector
from traderd.config.schema import Venue
from traderd.core.backoff import Backoff
from traderd.core.market import Instrument
from traderd.runtime.admission import Admission, AdmittedRest
from traderd.runtime.listing import Ask, asking, listed, watch_listing
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.polling import TellsOpenInterest, poll_open_interest
from traderd.runtime.surroundings import Surroundings
from traderd.runtime.venue import VenueSessions
from traderd.venues.dialect import Dialect, Endpoint
from traderd.venues.roster import Seat

_REPORT_S = 1.0
_TOGETHER_NS = 1_000_000_000
Heal = Callable[[Dialect, Endpoint, Sequence[Instrument], Stream, Admission], None]


class Recordings:
    """`run --record`: one file for each seat."""

    def __init__(self, folder: Path | None, started_ns: int) -> None:
        """Without a folder nothing is recorded."""
        self._folder = folder
        self._started_ns = started_ns
        self._open: list[Recorder] = []

    def tape(self, seat: Seat) -> Recorder | None:
        """A new file."""
        if self._folder is None:
            return None
        symbols = tuple(instrument.venue_symbol for instrument in seat.instruments)
        recorder = Recorder(self._folder, Header(1, seat.exchange, seat.market, symbols), self._started_ns)
        self._open.append(recorder)
        return recorder

    def close(self) -> None:
        """Close what was opened."""
        for recorder in self._open:
            recorder.close()


class Feeds:
    """The natively spoken venues. Seats of one venue share one budget and one ban."""

    def __init__(
        self,
        settings: Mapping[str, Venue],
        pipeline: Pipeline,
        rest: HttpRest,
        clock: SystemClock,
        telemetry: Telemetry,
        recordings: Recordings,
    ) -> None:
        """`settings` are the configured venues by name."""
        self._settings = settings
        self._pipeline = pipeline
        self._rest = rest
        self._clock = clock
        self._telemetry = telemetry
        self._recordings = recordings
        self._admissions: dict[str, Admission] = {}
        self.heal: Heal = lambda *patient: None
        """Who is told what is listened to, to fetch what is missing of it."""
        self.forsake: Callable[[str, str], None] = lambda exchange, symbol: None
        """Who is told what can't be fetched any more."""
        self.described: Callable[[list[Instrument]], None] = _nobody
        """Who is told of new figures."""
        self.delisted: Callable[[list[Instrument]], None] = _nobody
        """Who is told of what a venue trades no more."""
        self.unlisted: Callable[[list[Instrument]], None] = _nobody
        """Who is told of what a venue doesn't trade at the start."""
        self.venues: dict[str, VenueSessions] = {}
        """Those that are connected to, by seat."""

    async def run(self, seat: Seat, endpoint: Endpoint, newest: Mapping[str, int]) -> None:
        """Learn what the venue lists, then stay connected; what it doesn't list is looked for again.

        `newest`: of the tick journal's labels, what earlier runs had of them.
        """
        symbols = [instrument.symbol for instrument in seat.instruments]
        stream = self._pipeline.stream(seat.exchange, symbols)
        if newest:
            for channel in chain.from_iterable(seat.dialect.by_connection(seat.channels)):
                since_ns = away_since_ns(newest, seat.exchange, channel)
                for instrument in seat.instruments:
                    if seat.dialect.offers(instrument, channel):
                        self._pipeline.gap_opened(seat.exchange, instrument.symbol, channel, "restart", since_ns)
        ask, backoff = asking(seat.dialect, endpoint, seat.instruments, self.rest(seat)), Backoff(0.25, 30.0, 60.0)
        instruments = await listed(seat.exchange, ask, seat.instruments, backoff, random.random, self._telemetry)
        seat.dialect.bind(instruments)
        self.described(instruments)
        there = {instrument.index for instrument in instruments}
        missing = [instrument for instrument in seat.instruments if instrument.index not in there]
        for instrument in missing:
            self._pipeline.delisted(seat.exchange, instrument.symbol)
        self.unlisted(missing)
        admission = self._admission(seat)
        tape, uniform = self._recordings.tape(seat), random.random
        world = Surroundings(WebsocketConnector(), self._rest, self._clock, uniform, self._telemetry, admission, tape)
        settings = self._settings[seat.exchange]
        sessions = VenueSessions(
            seat.name,
            seat.speak,
            endpoint,
            instruments,
            seat.channels,
            stream,
            self._pipeline,
            world,
            settings.streams_per_connection_max,
            settings.connection_age_max_s,
        )
        self._heal(seat, endpoint, instruments, stream)
        self.venues[seat.name] = sessions
        async with asyncio.TaskGroup() as group:
            group.create_task(sessions.run())
            group.create_task(self._watch_listing(seat, endpoint, ask, sessions))
            if "open_interest" in seat.channels and isinstance(seat.dialect, TellsOpenInterest):
                group.create_task(self._poll(seat.dialect, endpoint, sessions, admission))

    def rest(self, seat: Seat) -> AdmittedRest:
        """For what is asked seldom and without a budget."""
        return AdmittedRest(self._rest, self._admission(seat))

    def _admission(self, seat: Seat) -> Admission:
        return self._admissions.setdefault(seat.exchange, Admission(seat.dialect.limits, self._clock))

    async def _watch_listing(self, seat: Seat, endpoint: Endpoint, ask: Ask, sessions: VenueSessions) -> None:
        def listed(news: list[Instrument]) -> None:
            for instrument in news:
                self._pipeline.listed(seat.exchange, instrument.symbol)
            sessions.revive(news)
            seat.dialect.bind(sessions.known)
            self._heal(seat, endpoint, news, sessions.stream)
            self.described(news)

        def delisted(gone: list[Instrument]) -> None:
            sessions.retire(gone)
            for instrument in gone:
                self._pipeline.delisted(seat.exchange, instrument.symbol)
                self.forsake(seat.exchange, instrument.symbol)
            self.delisted(gone)

        known = sessions.known
        await watch_listing(seat.exchange, ask, seat.instruments, known, listed, delisted, self._telemetry)

    def _heal(self, seat: Seat, endpoint: Endpoint, instruments: Sequence[Instrument], stream: Stream) -> None:
        self.heal(seat.dialect, endpoint, instruments, stream, self._admissions[seat.exchange])

    async def _poll(
        self, dialect: TellsOpenInterest, endpoint: Endpoint, sessions: VenueSessions, admission: Admission
    ) -> None:
        sink, wanted = self._pipeline.on_derivative, lambda: sessions.wanted
        await poll_open_interest(dialect, endpoint, wanted, self._rest, self._clock, admission, sink, self._telemetry)

    @property
    def live(self) -> dict[str, bool]:
        """Whether all of its connections are up, by seat; a venue that lists nothing of ours isn't connected to."""
        return {name: sessions.live for name, sessions in self.venues.items() if sessions.known}

    async def report(self) -> None:
        """Until cancelled: tell how the links are."""
        while True:
            await asyncio.sleep(_REPORT_S)
            for sessions in self.venues.values():
                sessions.report(self._telemetry)


def away_since_ns(newest: Mapping[str, int], exchange: str, channel: str) -> int:
    """From when on rows of this channel may be missing after an earlier run, whose `newest` rows the journal knows.

    What gathers together is journalled channel by channel, and a kill may come in between: it is the channel's own
    newest row that counts, unless the channel was silent for longer than anything gathers.
    """
    newest_ns = max(newest.values())
    own_ns = (at_ns for label, at_ns in newest.items() if label.split(":")[1:] == [exchange, channel])
    return max(next(own_ns, newest_ns), newest_ns - _TOGETHER_NS)


def _nobody(instruments: list[Instrument]) -> None:
    raise AssertionError("nobody listens to the listings")
