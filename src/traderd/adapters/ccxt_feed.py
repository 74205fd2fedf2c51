"""A venue that isn't spoken natively, heard through ccxt: the slower path.

By ccxt's websockets where it has them for the venue, else polled (`ccxt_sources`). An update that arrives between two
of ccxt's `watch` calls may be dropped without a word, so every tape is held against the venue's REST trades at
intervals: what is missing is stored and written down as a gap (`unseen`), what REST doesn't reach or can't tell stays
on record (`unchecked`). A book that falls silent is asked for by REST. Ends only by being cancelled or by our mistake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from traderd.adapters.ccxt_books import CcxtBooks
from traderd.adapters.ccxt_candles import EndedCandles
from traderd.adapters.ccxt_client import CcxtClient, ParkedError
from traderd.core.backoff import Backoff
from traderd.core.errors import BadFrameError, JournalError, VenueRefusalError
from traderd.core.gaps import healed
from traderd.core.market import Instrument, Quote, Trade, VenueEvent
from traderd.core.tape import Finding, Tape
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

_SETTLED_NS = 2 * 10**9
"""So long a trade may take to us by websocket before it counts as missing."""
_SILENCE_S_MAX = 60.0
_QUIET_S = 30.0
"""A book may say nothing for so long before it is asked for by REST."""
_FOLLOW_S = 0.5
_POLL_S_MIN = 1.0
_INTERVALS_S: Final[dict[AnyChannel, float]] = {"mark": 15.0, "funding": 60.0, "open_interest": 60.0}
_QUICK: Final[frozenset[AnyChannel]] = frozenset({"quote", "trade", "book"})
"""By these a venue is seen to be there."""
_PAGE = 1000
_FRAME_BYTES = 300


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
        on_listed: Callable[[list[Instrument]], None],
    ) -> None:
        """`on_listed` is told, once, which of the instruments the venue trades, with its figures."""
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
        self._on_listed = on_listed
        self.books = CcxtBooks(exchange, book_depth, pipeline)
        self.ways: dict[AnyChannel, str] = {}
        """How each channel comes, once ccxt is loaded: `websocket`, `polled` or `unavailable`."""
        self._sources: dict[AnyChannel, Source] = {}
        self._tapes: dict[int, Tape] = {}
        self._quotes: dict[int, Quote] = {}
        self._pages: dict[str, int | None] = {}
        self._last_ns = 0
        self._allowed_ns = 0
        self._told_away = False
        self.unseen = 0
        """Trades that only the comparison with REST brought."""
        self.live = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._until_done(self._list)
            async with asyncio.TaskGroup() as group:
                for instrument in self._listed:
                    for step in self._steps(instrument):
                        group.create_task(self._until_done(step))
                group.create_task(self._until_done(self._follow_books))
                group.create_task(self._watch())
        finally:
            self.live = False
            await self._client.close()

    async def _list(self) -> bool:
        """Learn the markets. True: done."""
        await self._client.open()
        markets, mode = self._client.markets, self._client.precision_mode
        self._listed = [described(markets[i.symbol], mode, i) for i in self._wanted if i.symbol in markets]
        for instrument in self._wanted:
            if instrument.symbol not in markets:
                self._observer.refused(self._exchange, "", instrument.symbol, "the venue doesn't trade it")
        self._tapes = {instrument.index: Tape() for instrument in self._listed}
        self.books.begin(self._listed if "book" in self._channels else [])
        self.ways = ways(self._channels, self._client.can)
        for channel in self._channels:
            if (source := source_of(channel, self._client.can)) is not None:
                self._sources[channel] = source
            else:
                self._observer.refused(self._exchange, channel, "", f"ccxt has no {channel} of {self._exchange}")
        self._on_listed(self._listed)
        return True

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
                delay_s = backoff.delay(self._uniform())
                if isinstance(fault, VenueRefusalError):
                    delay_s = max(delay_s, fault.retry_after_s, 1.0)
                    self._allowed_ns = self._clock.monotonic_ns() + int(delay_s * 1e9)
                self._away(str(fault), delay_s)
                await asyncio.sleep(delay_s)
            else:
                backoff.healthy((self._clock.monotonic_ns() - started_ns) / 1e9)

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """What the venue refuses to one of us it refuses to all: then everybody waits."""
        await asyncio.sleep((self._allowed_ns - self._clock.monotonic_ns()) / 1e9)
        return await self._client.ask(method, *arguments)

    def _steps(self, instrument: Instrument) -> list[Callable[[], Awaitable[bool]]]:
        """What is to be done for one instrument, for ever."""
        sources = {channel: source for channel, source in self._sources.items() if offers(instrument, channel)}
        steps = [self._source(instrument, channel, source) for channel, source in sources.items()]
        if "trade" in self._channels:
            steps.append(self._checker(instrument))
        if (book := sources.get("book")) is not None and not book.polled:
            steps.append(self._book_keeper(instrument))
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
        candles = EndedCandles(
            instrument, self._listed.index(instrument) / len(self._listed), self._ask, self._now_ns()
        )

        async def step() -> bool:
            if new := await candles.new(self._now_ns):
                self._on_told(new)
            await asyncio.sleep(max(self._poll_s(), candles.pause_s(self._now_ns())))
            return False

        return step

    def _book_keeper(self, instrument: Instrument) -> Callable[[], Awaitable[bool]]:
        """A book that falls silent is asked for by REST; if that tells another one, ccxt's subscription is dead."""

        async def step() -> bool:
            await asyncio.sleep(_QUIET_S / 3)
            silent = self.books.silent_s(instrument, self._now_ns()) >= _QUIET_S
            if silent and not self._client.can("fetchOrderBook"):
                self.books.lose(instrument, "stale", self._now_ns(), "silent, and the venue has no REST books")
            elif silent:
                before = self.books.touch(instrument)
                answer = await self._ask("fetch_order_book", instrument.symbol)
                self.books.take(instrument, answer, self._now_ns())
                if before and before != self.books.touch(instrument):
                    await self._client.close()
            return False

        return step

    async def _follow_books(self) -> bool:
        self.books.follow(self._now_ns())
        await asyncio.sleep(_FOLLOW_S)
        return False

    def _on_trades(self, instrument: Instrument, answer: Any) -> None:
        received_ns, tape = self._now_ns(), self._tapes[instrument.index]
        events = [trade for trade in self._trades(instrument, answer, received_ns) if tape.add(trade)]
        if tape.heard == len(events) > 0 and not tape.given_up:  # the first: from here on candles can be compared
            self._pipeline.whole(self._exchange, instrument.symbol, "trade", received_ns)
        events.sort(key=lambda trade: trade.time_venue_ns)
        self._heard(received_ns)
        self._stream.on_events(events)

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

    def _checker(self, instrument: Instrument) -> Callable[[], Awaitable[bool]]:
        """Hold the tape against REST at intervals; done when that can't be."""
        symbol, tape = instrument.symbol, self._tapes[instrument.index]
        pace_s = max(self._tape_check_s, self._poll_s())
        heard = 0

        async def step() -> bool:
            nonlocal heard
            await asyncio.sleep(pace_s)
            if not self._client.can("fetchTrades"):
                return self._unchecked(instrument, tape, "the venue has no REST trades")
            asked_ns = self._now_ns()
            answer = await self._page(symbol)
            page = self._trades(instrument, answer, self._now_ns())
            finding = tape.compare(page, asked_ns - _SETTLED_NS)
            if finding.verdict == "incomparable":
                return self._unchecked(instrument, tape, "REST numbers trades otherwise than the websocket does")
            stood_still = tape.heard == heard
            self._found(instrument, tape, finding)
            if finding.missing and stood_still:
                # The tape stands still while trades are made: ccxt waits on a subscription that is dead.
                await self._client.close()
            heard = tape.heard
            return False

        return step

    async def _page(self, symbol: str) -> Any:
        """The venue's newest trades, as many as it gives: not every venue takes a limit of a thousand."""
        try:
            return await self._ask("fetch_trades", symbol, None, self._pages.get(symbol, _PAGE))
        except BadFrameError:
            if symbol in self._pages:
                raise
            self._pages[symbol] = None
            return await self._ask("fetch_trades", symbol)

    def _found(self, instrument: Instrument, tape: Tape, finding: Finding) -> None:
        """Write down what is missing, store it, and say what could not be compared."""
        symbol, missing = instrument.symbol, finding.missing
        if missing:
            told = f"{len(missing)} trades came by REST alone"
            first_ns, last_ns = missing[0].time_venue_ns, missing[-1].time_venue_ns
            self._pipeline.gap_opened(self._exchange, symbol, "trade", "unseen", first_ns, told)
            try:
                self._pipeline.backfill(self._stream, missing)
            except JournalError as fault:
                tape.checked_ns = finding.from_ns  # compared again, when the journal takes them
                self._observer.refused(self._exchange, "trade", symbol, str(fault))
                return
            for trade in missing:
                tape.add(trade)
            self.unseen += len(missing)
            gap = self._pipeline.gap_closed(self._exchange, symbol, "trade", "unseen", last_ns)
            if gap is not None:
                self._pipeline.record(healed(gap, len(missing), self._now_ns()))
        if finding.verdict == "out_of_reach":
            why, from_ns = "REST doesn't reach back so far", finding.from_ns
            self._pipeline.gap_opened(self._exchange, symbol, "trade", "unchecked", from_ns, why)

    def _unchecked(self, instrument: Instrument, tape: Tape, why: str) -> bool:
        self._observer.refused(self._exchange, "trade", instrument.symbol, f"the tape can't be checked: {why}")
        from_ns, tape.given_up = tape.checked_ns or self._now_ns(), True
        self._pipeline.gap_opened(self._exchange, instrument.symbol, "trade", "unchecked", from_ns, why)
        return True

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
            if self.live and silence_s > _SILENCE_S_MAX and _QUICK.intersection(self._sources):
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
