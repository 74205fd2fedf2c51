"""A venue that isn't spoken natively, heard through ccxt: the slower path.

By ccxt's websockets where it has them for the venue, else polled (`ccxt_sources`). An update that arrives between two
of ccxt's `watch` calls may be dropped without a word, so every tape is held against the venue's REST trades at
intervals (`ccxt_tapes`), and a book that falls silent is asked for by REST. What the venue lists is looked at again and
again: a symbol that it ceases to trade is left, one that it begins to trade is heard. Ends only by being cancelled or
by our mistake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from traderd.adapters.ccxt_books import CcxtBooks
from traderd.adapters.ccxt_candles import EndedCandles
from traderd.adapters.ccxt_client import CcxtClient, ParkedError
from traderd.adapters.ccxt_tapes import CcxtTapes
from traderd.core.backoff import Backoff
from traderd.core.errors import BadFrameError, VenueRefusalError
from traderd.core.market import Instrument, Quote, Trade, VenueEvent
from traderd.runtime.listing import watch_listing
from traderd.runtime.pipeline import Pipeline, Stream
from traderd.runtime.ports import Clock
from traderd.runtime.surroundings import SessionObserver
from traderd.venues.ccxt_sources import Source, offers, source_of, ways
from traderd.venues.ccxt_words import (
    candles_from,
    described,
    funding_from,
    mark_from,
    open_interest_from,
    quote_from_book,
    quote_from_ticker,
    trade_from,
)
from traderd.venues.dialect import AnyChannel

_SILENCE_S_MAX = 60.0
_FOLLOW_S = 0.5
_POLL_S_MIN = 1.0
_INTERVALS_S: Final[dict[AnyChannel, float]] = {"mark": 15.0, "funding": 60.0, "open_interest": 60.0}
_QUICK: Final[frozenset[AnyChannel]] = frozenset({"quote", "trade", "book"})
"""By these a venue is seen to be there."""
_FRAME_BYTES = 300


class Listener(Protocol):
    """Who is told what the venue lists."""

    def described(self, instruments: Sequence[Instrument]) -> None:
        """It trades these; their figures may be new."""
        ...

    def delisted(self, instruments: Sequence[Instrument]) -> None:
        """It trades these no more."""
        ...

    def unlisted(self, instruments: Sequence[Instrument]) -> None:
        """It doesn't trade these at the start."""
        ...


class CcxtFeed:
    """One venue's streams through ccxt."""

    def __init__(
        self,
        client: CcxtClient,
        exchange: str,
        channels: Sequence[AnyChannel],
        instruments: Sequence[Instrument],
        book_depth: int,
        stream: Stream,
        pipeline: Pipeline,
        clock: Clock,
        uniform: Callable[[], float],
        observer: SessionObserver,
        tape_check_s: float,
        listener: Listener,
        heard_until_ns: int,
    ) -> None:
        """`heard_until_ns`: the newest trade of an earlier run, 0 if there was none."""
        self._client = client
        self._exchange = exchange
        self._channels = channels
        self._wanted = instruments
        self._stream = stream
        self._pipeline = pipeline
        self._clock = clock
        self._uniform = uniform
        self._observer = observer
        self._tape_check_s = tape_check_s
        self._listener = listener
        self.books = CcxtBooks(client, exchange, book_depth, pipeline, clock, self._ask)
        self.tapes = CcxtTapes(client, stream, pipeline, clock, observer, self._ask, self._trades, heard_until_ns)
        self.ways: dict[AnyChannel, str] = {}
        """How each channel comes, once ccxt is loaded: `websocket`, `polled` or `unavailable`."""
        self._sources: dict[AnyChannel, Source] = {}
        self._listed: dict[int, Instrument] = {}
        self._tasks: dict[int, list[asyncio.Task[None]]] = {}
        self._left: set[int] = set()
        self._quotes: dict[int, Quote] = {}
        self._last_ns = 0
        self._allowed_ns = 0
        self._told_away = False
        self.live = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._until_done(self._list)
            async with asyncio.TaskGroup() as group:
                self._group = group
                listed = list(self._listed.values())
                self._begin(listed)
                group.create_task(self._until_done(self._follow_books))
                group.create_task(self._watch())
                group.create_task(self._watch_listing(listed))
        finally:
            self.live = False
            await self._client.close()

    async def _list(self) -> bool:
        """Learn the markets, and how each channel comes. True: done."""
        await self._client.open()
        self._listed = {instrument.index: instrument for instrument in self._traded().values()}
        missing = [instrument for instrument in self._wanted if instrument.index not in self._listed]
        for instrument in missing:
            self._pipeline.delisted(self._exchange, instrument.symbol)
            self._observer.refused(self._exchange, "", instrument.symbol, "the venue doesn't trade it")
        self._listener.unlisted(missing)
        self.ways = ways(self._channels, self._client.can)
        for channel in self._channels:
            if (source := source_of(channel, self._client.can)) is not None:
                self._sources[channel] = source
            else:
                self._observer.refused(self._exchange, channel, "", f"ccxt has no {channel} of {self._exchange}")
        return True

    def _traded(self) -> dict[str, Instrument]:
        """Those of the wanted that the venue trades, as the markets were last told. Raises BadFrameError."""
        markets, mode = self._client.markets, self._client.precision_mode
        told = ((instrument, markets.get(instrument.symbol)) for instrument in self._wanted)
        return {
            instrument.symbol: described(market, mode, instrument)
            for instrument, market in told
            if market is not None and market.get("active") is not False
        }

    async def _watch_listing(self, listed: Sequence[Instrument]) -> None:
        async def ask() -> dict[str, Instrument]:
            await self._allowed()
            try:
                await self._client.refresh()
            except ParkedError as fault:
                raise ConnectionError(str(fault)) from fault
            except ConnectionError as fault:
                self._heeded_s(fault)
                raise
            return self._traded()

        await watch_listing(self._exchange, ask, self._wanted, listed, self._begin, self._leave, self._observer)

    def _begin(self, instruments: Sequence[Instrument]) -> None:
        """The venue trades these: those that aren't yet are listened to."""
        new = [instrument for instrument in instruments if instrument.index not in self._tasks]
        self._listed |= {instrument.index: instrument for instrument in instruments}
        for instrument in new:
            self._pipeline.listed(self._exchange, instrument.symbol)
            if "trade" in self._channels:
                self.tapes.begin(instrument)
            if "book" in self._channels:
                self.books.begin(instrument)
        self._listener.described(instruments)
        for instrument in new:
            steps = self._steps(instrument)
            self._tasks[instrument.index] = [self._group.create_task(self._until_done(step)) for step in steps]
        if self._left.intersection(instrument.index for instrument in new):
            # ccxt still counts as subscribed what the venue dropped: all is subscribed to anew.
            self._group.create_task(self._until_done(self._reconnect))

    def _leave(self, instruments: Sequence[Instrument]) -> None:
        """The venue trades these no more: nothing of them is asked for."""
        for instrument in instruments:
            del self._listed[instrument.index]
            self._left.add(instrument.index)
            for task in self._tasks.pop(instrument.index):
                task.cancel()
            if "trade" in self._channels:
                self.tapes.leave(instrument)
            if "book" in self._channels:
                self.books.leave(instrument)
            self._pipeline.delisted(self._exchange, instrument.symbol)
        self._listener.delisted(instruments)

    async def _until_done(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Take steps until one says that it is done, or can never be; a fault is told, and waited upon."""
        backoff = Backoff(0.25, 30.0, 60.0)
        while True:
            started_ns = self._clock.monotonic_ns()
            try:
                if await step():
                    return
            except ParkedError as fault:
                self._observer.refused(self._exchange, "", "", f"not asked again: {fault}")
                return
            except BadFrameError as fault:
                await asyncio.sleep(self._bad(fault, backoff))
            except ConnectionError as fault:
                delay_s = max(backoff.delay(self._uniform()), self._heeded_s(fault))
                self._away(str(fault), delay_s)
                await asyncio.sleep(delay_s)
            else:
                backoff.healthy((self._clock.monotonic_ns() - started_ns) / 1e9)

    async def _ask(self, method: str, *arguments: Any) -> Any:
        await self._allowed()
        return await self._client.ask(method, *arguments)

    async def _allowed(self) -> None:
        """What the venue refuses to one of us it refuses to all: then everybody waits."""
        await asyncio.sleep((self._allowed_ns - self._clock.monotonic_ns()) / 1e9)

    def _heeded_s(self, fault: ConnectionError) -> float:
        """For how many seconds the venue won't have any of us."""
        if not isinstance(fault, VenueRefusalError):
            return 0.0
        delay_s = max(fault.retry_after_s, 1.0)
        self._allowed_ns = self._clock.monotonic_ns() + int(delay_s * 1e9)
        return delay_s

    def _steps(self, instrument: Instrument) -> list[Callable[[], Awaitable[bool]]]:
        """What is to be done for one instrument, for ever."""
        sources = {channel: source for channel, source in self._sources.items() if offers(instrument, channel)}
        steps = [self._source(instrument, channel, source) for channel, source in sources.items()]
        if "trade" in self._channels:
            steps.append(self.tapes.checker(instrument, max(self._tape_check_s, self._poll_s())))
        if (book := sources.get("book")) is not None and not book.polled:
            steps.append(self.books.keeper(instrument))
        return steps

    def _source(self, instrument: Instrument, channel: AnyChannel, source: Source) -> Callable[[], Awaitable[bool]]:
        """One stream, told or polled."""
        if channel == "candle" and source.polled:
            return self._candles(instrument)
        take = CcxtFeed._on_quoted_book if channel == "quote" and "order_book" in source.method else _TAKERS[channel]
        poll_s = max(self._poll_s(), _INTERVALS_S.get(channel, 0.0)) if source.polled else 0.0
        argument: Any = [instrument.symbol] if source.has == "watchBidsAsks" else instrument.symbol

        async def step() -> bool:
            try:
                take(self, instrument, await self._ask(source.method, argument))
            except (ConnectionError, BadFrameError, ParkedError) as fault:
                if channel == "book":
                    self.books.lose(instrument, "disconnect", self._now_ns(), str(fault))
                raise
            await asyncio.sleep(poll_s)
            return False

        return step

    def _poll_s(self) -> float:
        """So that all polled streams together stay within the venue's rate."""
        polled = sum(source.polled for source in self._sources.values())
        return max(_POLL_S_MIN, 1.5 * self._client.pace_s * len(self._listed) * polled)

    def _candles(self, instrument: Instrument) -> Callable[[], Awaitable[bool]]:
        """Each minute's, once it has ended."""
        place = list(self._listed).index(instrument.index) / len(self._listed)
        candles = EndedCandles(instrument, place, self._ask, self._now_ns())

        async def step() -> bool:
            if new := await candles.new(self._now_ns):
                self._on_told(new)
            await asyncio.sleep(max(self._poll_s(), candles.pause_s(self._now_ns())))
            return False

        return step

    async def _reconnect(self) -> bool:
        await self._client.close()
        return True

    async def _follow_books(self) -> bool:
        self.books.follow(self._now_ns())
        await asyncio.sleep(_FOLLOW_S)
        return False

    def _on_trades(self, instrument: Instrument, answer: Any) -> None:
        received_ns = self._now_ns()
        new = self.tapes.new(instrument, self._trades(instrument, answer, received_ns))
        self._heard(received_ns)
        self._stream.on_events(new)

    def _on_ticker(self, instrument: Instrument, answer: Any) -> None:
        self._on_quote(quote_from_ticker(answer.get(instrument.symbol, answer), instrument, self._now_ns()))

    def _on_book(self, instrument: Instrument, answer: Any) -> None:
        received_ns = self._now_ns()
        self.books.take(instrument, answer, received_ns)
        self._heard(received_ns)

    def _on_quoted_book(self, instrument: Instrument, answer: Any) -> None:
        quote = quote_from_book(answer, instrument, self._now_ns())
        if quote is not None:
            self._on_quote(quote)

    def _on_told(self, events: Sequence[VenueEvent]) -> None:
        """What REST tells says nothing of the websockets, where there are any."""
        if not _QUICK.intersection(self._sources):
            self._heard(self._now_ns())
        self._stream.on_events(events)

    def _on_quote(self, quote: Quote) -> None:
        """Only what differs from the last: a book changes below its best levels too."""
        self._heard(quote.time_received_ns)
        last = self._quotes.get(quote.instrument.index)
        if last is None or last.text != quote.text:
            self._quotes[quote.instrument.index] = quote
            self._stream.on_events([quote])

    def _trades(self, instrument: Instrument, answer: Sequence[Any], received_ns: int) -> list[Trade]:
        """One bad trade doesn't take its neighbours with it."""
        trades = []
        for told in answer:
            try:
                trades.append(trade_from(told, instrument, received_ns))
            except BadFrameError as fault:
                self._quarantine(fault, repr(dict(told)), "trade")
        return trades

    async def _watch(self) -> None:
        """A venue from which nothing comes at all is connected to anew."""
        while True:
            await asyncio.sleep(1.0)
            silence_s = (self._clock.time_ns() - self._last_ns) / 1e9
            if self.live and self._listed and silence_s > _SILENCE_S_MAX and _QUICK.intersection(self._sources):
                self._away(f"silent for {silence_s:.0f} s", 0.0)
                await self._client.close()

    def _heard(self, received_ns: int) -> None:
        """Data flows, for the first time or again."""
        self._last_ns = received_ns
        if not self.live:
            self.live, self._told_away = True, False
            self._observer.connected(self._exchange)
            self._pipeline.healed(self._exchange, received_ns)

    def _away(self, reason: str, delay_s: float) -> None:
        """Told once, by whichever stream notices first."""
        if self.live:
            self._pipeline.gap_opened(self._exchange, "", "", "disconnect", self._last_ns, reason)
            self.books.lose_all()
        self.live = False
        if not self._told_away:
            self._told_away = True
            self._observer.disconnected(self._exchange, reason, delay_s)

    def _bad(self, fault: BadFrameError, backoff: Backoff) -> float:
        self._quarantine(fault, f"{fault.__cause__ or fault}"[:_FRAME_BYTES], "")
        return backoff.delay(self._uniform())

    def _quarantine(self, fault: BadFrameError, told: str, channel: str) -> None:
        frame = told.encode(errors="replace")
        self._observer.bad_frame(self._exchange, fault.reason, frame)
        self._stream.on_bad_frame(channel, fault.reason, frame, self._now_ns())

    def _now_ns(self) -> int:
        return self._clock.time_ns()


_Take = Callable[[CcxtFeed, Instrument, Any], None]


def _telling(read: Callable[[Any, Instrument, int], VenueEvent]) -> _Take:
    """What is done with an answer that is handed on as it is."""
    return lambda feed, instrument, answer: feed._on_told([read(answer, instrument, feed._now_ns())])


_TAKERS: Final[dict[AnyChannel, _Take]] = {
    "quote": CcxtFeed._on_ticker,
    "trade": CcxtFeed._on_trades,
    "book": CcxtFeed._on_book,
    "candle": lambda feed, at, answer: feed._on_told(candles_from(answer, at, feed._now_ns())),
    "funding": _telling(funding_from),
    "mark": _telling(mark_from),
    "open_interest": _telling(open_interest_from),
}
