"""The venues that aren't spoken natively, into the pipeline: a feed through ccxt for each."""

import random
from collections.abc import Callable, Iterable, Mapping

from traderd.adapters.ccxt_client import CcxtClient
from traderd.adapters.ccxt_feed import CcxtFeed, Listener
from traderd.adapters.clock import SystemClock
from traderd.adapters.telemetry import Telemetry
from traderd.app.feeds import away_since_ns
from traderd.config.schema import Venue
from traderd.core.book import Book
from traderd.core.market import Instrument
from traderd.core.tape import Tape
from traderd.runtime.pipeline import Pipeline
from traderd.venues.ccxt_seats import CcxtSeat, ccxt_seats
from traderd.venues.dialect import AnyChannel, Endpoint

Heal = Callable[[str, Callable[[], Mapping[str, Tape]]], None]


class CcxtFeeds:
    """Their seats at once; `run` for each of them, once there is a pipeline."""

    def __init__(self, venues: Iterable[Venue], first: int) -> None:
        """`first` is the index of the first instrument: the natively spoken ones come before."""
        self._settings = {venue.name: venue for venue in venues if venue.through_ccxt}
        told = ((venue.name, venue.symbols, venue.channels, venue.book_depth) for venue in self._settings.values())
        self.seats: list[CcxtSeat] = ccxt_seats(told, first)
        self.feeds: dict[str, CcxtFeed] = {}
        """Those that run, by venue."""
        self.heal: Heal = lambda venue, tapes: None
        """Who is told whose tapes are held against REST, to say what became of their holes."""

    @property
    def instruments(self) -> list[Instrument]:
        """As configured, in the order of their indices."""
        return [instrument for seat in self.seats for instrument in seat.instruments]

    @property
    def books(self) -> dict[int, Book]:
        """All books, by instrument."""
        return {index: book for feed in self.feeds.values() for index, book in feed.books.books.items()}

    @property
    def ways(self) -> dict[str, dict[AnyChannel, str]]:
        """How each channel comes, by venue: `websocket`, `polled` or `unavailable`; nothing while ccxt is loaded."""
        return {seat.name: self.feeds[seat.name].ways if seat.name in self.feeds else {} for seat in self.seats}

    @property
    def live(self) -> dict[str, bool]:
        """Whether data flows, by venue."""
        return {name: feed.live for name, feed in self.feeds.items()}

    async def run(
        self,
        seat: CcxtSeat,
        simulated: Endpoint | None,
        newest: Mapping[str, int],
        pipeline: Pipeline,
        clock: SystemClock,
        telemetry: Telemetry,
        listener: Listener,
    ) -> None:
        """Learn what the venue lists, then listen.

        `newest`: of the tick journal's labels, what earlier runs had of them. `listener` is told what the venue lists.
        """
        settings = self._settings[seat.name]
        symbols = [instrument.symbol for instrument in seat.instruments]
        stream = pipeline.stream(seat.name, symbols)
        away_ns = {channel: away_since_ns(newest, seat.name, channel) for channel in seat.channels} if newest else {}
        if away_ns:
            pipeline.gap_opened(seat.name, "", "", "restart", min(away_ns.values()))
        spot_only = not any(":" in symbol for symbol in symbols)
        client = CcxtClient(seat.name, _endpoint(settings, simulated), spot_only)
        telemetry.slower_path(seat.name)
        feed = CcxtFeed(
            client,
            seat.name,
            seat.channels,
            seat.instruments,
            seat.book_depth,
            stream,
            pipeline,
            clock,
            random.random,
            telemetry,
            settings.tape_check_s,
            listener,
            away_ns.get("trade", 0),
        )
        self.feeds[seat.name] = feed
        if "trade" in seat.channels:
            self.heal(seat.name, lambda: feed.tapes.by_symbol)
        await feed.run()


def _endpoint(venue: Venue, simulated: Endpoint | None) -> Endpoint | None:
    """Another server that speaks the venue's protocol; None is the venue itself."""
    if venue.endpoint == "sim":
        return simulated
    if venue.endpoint == "live":
        return None
    websocket = venue.endpoint.rstrip("/")
    return Endpoint(websocket, venue.rest.rstrip("/") or "http" + websocket.removeprefix("ws"))
